//! What operators see: counts and times by RPC and outcome, and log lines that never hold what a request says.
//!
//! Labels come from closed sets (the API's methods, gRPC's codes, our reasons), so no client can make them grow.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use http::{HeaderMap, HeaderValue};
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric, text},
    metrics::{
        counter::Counter,
        family::Family,
        gauge::{ConstGauge, Gauge},
        histogram::Histogram,
    },
    registry::Registry,
};
use tokio::time::Instant;
use tonic::Code;

use crate::api::status;

pub mod endpoint;
pub mod logging;
pub(super) mod methods;
mod reason;
mod throttle;

pub(super) use reason::handshake_failure;
pub(super) use throttle::Throttle;

/// Everything that is counted.
pub struct Metrics {
    registry: Mutex<Registry>,
    connections_open: Gauge,
    connections_refused: Family<ByReason, Counter>,
    handshakes_failed: Family<ByReason, Counter>,
    rpcs: Family<ByCode, Counter>,
    rpc_seconds: Family<ByMethod, Histogram, fn() -> Histogram>,
    panics: Counter,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByReason {
    reason: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByCode {
    method: &'static str,
    code: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByMethod {
    method: &'static str,
}

impl Metrics {
    /// Counts from zero.
    pub fn new() -> Arc<Self> {
        let metrics = Self {
            registry: Mutex::new(Registry::with_prefix("privet")),
            connections_open: Gauge::default(),
            connections_refused: Family::default(),
            handshakes_failed: Family::default(),
            rpcs: Family::default(),
            rpc_seconds: Family::new_with_constructor(|| Histogram::new(SECONDS)),
            panics: Counter::default(),
        };
        metrics.register(|registry| {
            registry.register("connections_open", "Connections, handshakes included", metrics.connections_open.clone());
            let refused = metrics.connections_refused.clone();
            registry.register("connections_refused", "Connections closed at once, over a limit", refused);
            let failed = metrics.handshakes_failed.clone();
            registry.register("handshakes_failed", "Connections that never became one", failed);
            registry.register("rpcs", "Answered requests", metrics.rpcs.clone());
            registry.register(
                "rpc_seconds",
                "Seconds from a request's head to its answer's end",
                metrics.rpc_seconds.clone(),
            );
            registry.register("panics", "Requests that failed inside the service", metrics.panics.clone());
        });
        Arc::new(metrics)
    }

    /// Adds metrics of other parts of the service.
    pub fn register(&self, add: impl FnOnce(&mut Registry)) {
        add(&mut self.registry.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// Adds a gauge that is read when it is asked for.
    pub fn observe(&self, name: &'static str, help: &'static str, read: impl Fn() -> u64 + Send + Sync + 'static) {
        self.register(|registry| registry.register_collector(Box::new(Observed { name, help, read })));
    }

    /// All of it, as OpenMetrics text.
    ///
    /// # Errors
    /// If a metric can't be written as text.
    pub fn text(&self) -> Result<String, fmt::Error> {
        let mut out = String::new();
        text::encode(&mut out, &self.registry.lock().unwrap_or_else(PoisonError::into_inner))?;
        Ok(out)
    }

    /// Counts a connection until the answer is dropped.
    pub(super) fn connection_opened(&self) -> OpenConnection {
        self.connections_open.inc();
        OpenConnection(self.connections_open.clone())
    }

    pub(super) fn connection_refused(&self, reason: &'static str) {
        self.connections_refused.get_or_create(&ByReason { reason }).inc();
    }

    pub(super) fn handshake_failed(&self, reason: &'static str) {
        self.handshakes_failed.get_or_create(&ByReason { reason }).inc();
    }

    /// A request by its path; counted when the record is dropped.
    pub(super) fn request(self: &Arc<Self>, path: &str, began: Instant) -> Record {
        Record { metrics: self.clone(), method: methods::label(path), began, code: None, message_bytes_max: 0 }
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Metrics")
    }
}

/// An open connection.
pub(super) struct OpenConnection(Gauge);

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// A request under way, which is counted with the code that its answer ends with: CANCELLED if it has no end.
pub(super) struct Record {
    metrics: Arc<Metrics>,
    method: &'static str,
    began: Instant,
    code: Option<Code>,
    message_bytes_max: usize,
}

impl Record {
    /// Reads the code of an answer that is over with its headers.
    pub(super) fn headers(&mut self, headers: &mut HeaderMap, message_bytes_max: usize) {
        self.message_bytes_max = message_bytes_max;
        self.trailers(headers);
    }

    /// Reads the code of an answer's end. tonic's own code for a message over the limit is put right here.
    pub(super) fn trailers(&mut self, trailers: &mut HeaderMap) {
        let Some(code) = trailers.get(STATUS).map(HeaderValue::as_bytes).map(Code::from_bytes) else { return };
        self.code = Some(code);
        if code == Code::OutOfRange {
            let status = status::message_too_large(self.message_bytes_max);
            for header in [STATUS, "grpc-message", "grpc-status-details-bin"] {
                trailers.remove(header);
            }
            // It holds nothing that a header could refuse; without it the client sees no status, an error as well.
            let _ = status.add_header(trailers);
            self.code = Some(status.code());
        }
    }

    /// The handler panicked.
    pub(super) fn panicked(&self) {
        self.metrics.panics.inc();
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        let Self { metrics, method, began, code, .. } = self;
        let code = methods::code(code.unwrap_or(Code::Cancelled));
        metrics.rpcs.get_or_create(&ByCode { method, code }).inc();
        metrics.rpc_seconds.get_or_create(&ByMethod { method }).observe(began.elapsed().as_secs_f64());
    }
}

struct Observed<F> {
    name: &'static str,
    help: &'static str,
    read: F,
}

impl<F: Fn() -> u64 + Send + Sync + 'static> Collector for Observed<F> {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let gauge = ConstGauge::new((self.read)());
        gauge.encode(encoder.encode_descriptor(self.name, self.help, None, gauge.metric_type())?)
    }
}

impl<F> fmt::Debug for Observed<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

const STATUS: &str = "grpc-status";

/// Upper bounds of the latency buckets.
const SECONDS: [f64; 13] = [0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0];
