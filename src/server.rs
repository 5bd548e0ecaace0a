//! The edge: accepts connections, bounds everything about them, and ends them in time.
//!
//! TLS 1.3 with a client certificate, always. No connection outlives its deadlines: handshake, HTTP/2 preface, idleness,
//! age, and the drain at the end. A handler that panics fails its own request alone. What a request says is never logged.
//!
//! tonic's own server is not used under its routes: it ends old connections without a GOAWAY, and a client that says
//! nothing holds its shutdown up for ever.

use std::{future::Future, sync::Arc, time::Duration};

use tokio::{
    net::TcpListener,
    sync::watch,
    time::{sleep, timeout},
};
use tonic::service::Routes;
use tonic_health::{ServingStatus, server::HealthReporter};
use tracing::{info, warn};

use crate::{api::admission::Budget, config::Config, identity::Bindings};

mod body;
mod connection;
mod deadline;
mod limits;
mod listener;
mod preface;
pub mod shutdown;
pub mod telemetry;
pub mod tls;

use connection::Shared;
use listener::Listener;
use shutdown::Phase;
use telemetry::{Metrics, endpoint::Endpoint};
use tls::Tls;

/// What a server is made of.
#[derive(Debug)]
pub struct Parts {
    /// Limits and deadlines.
    pub config: Arc<Config>,
    /// Who may name which tenants.
    pub bindings: Bindings,
    /// Certificates.
    pub tls: Arc<Tls>,
    /// The gRPC services, the one of `health` among them.
    pub routes: Routes,
    /// Tells clients whether the services serve.
    pub health: HealthReporter,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// Where that can be read.
    pub endpoint: Option<Endpoint>,
    /// Bytes and requests under way, over all connections.
    pub budget: Arc<Budget>,
}

/// Why a server ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Ended {
    /// It was told to.
    Shutdown,
    /// The log can't be written any more.
    Fault,
}

/// Serves until `shutdown` or `fault` is ready; then says NOT_SERVING, accepts no more, lets requests under way finish
/// for at most `drain_secs_max`, and cuts what is left.
pub async fn serve(
    listener: TcpListener,
    parts: Parts,
    shutdown: impl Future<Output = ()>,
    fault: impl Future<Output = ()>,
) -> Ended {
    let drain_max = parts.config.server.drain_secs_max;
    let health = parts.health.clone();
    let metrics = parts.metrics.clone();
    let budget = parts.budget.clone();
    metrics.observe("bytes_in_flight", "Bytes of requests under way", move || budget.bytes_in_flight());
    let budget = parts.budget.clone();
    metrics.observe("requests_in_flight", "Requests under way", move || budget.requests_in_flight() as u64);
    let exposed = parts.endpoint.map(|endpoint| tokio::spawn(endpoint.serve(metrics.clone())));
    let (phase, phases) = watch::channel(Phase::Serving);
    let listener = Listener::new(
        listener,
        Arc::new(Shared {
            bindings: parts.bindings,
            limits: parts.config.limits.clone(),
            routes: parts.routes.prepare(),
            metrics,
            budget: parts.budget,
        }),
        parts.tls,
        phases,
    );
    let connections = listener.connections();

    report(&health, ServingStatus::Serving).await;
    let ended = tokio::select! {
        biased;
        () = fault => Ended::Fault,
        () = shutdown => Ended::Shutdown,
        () = listener.accept_all() => Ended::Shutdown,
    };
    report(&health, ServingStatus::NotServing).await;
    info!(reason = ?ended, open = connections.open(), "draining");

    let _ = phase.send(Phase::Draining);
    tokio::select! {
        () = connections.all_closed() => {}
        () = end_watches(health, drain_max) => {}
    }
    let _ = phase.send(Phase::Ended);
    if timeout(CUT_MAX, connections.all_closed()).await.is_err() {
        warn!(open = connections.open(), "connections outlived the drain");
    }
    if let Some(exposed) = exposed {
        exposed.abort();
    }
    ended
}

async fn report(health: &HealthReporter, status: ServingStatus) {
    for service in telemetry::methods::services() {
        health.set_service_status(service, status).await;
    }
    health.set_service_status("", status).await;
}

/// A client that watches our health would hold the drain up to its end: once it was told, its stream is ended.
async fn end_watches(mut health: HealthReporter, drain_max: Duration) {
    let told = drain_max.min(WATCH_TOLD);
    sleep(told).await;
    for service in telemetry::methods::services() {
        health.clear_service_status(&service).await;
    }
    health.clear_service_status("").await;
    sleep(drain_max.saturating_sub(told)).await;
}

/// How long watchers of our health have to hear NOT_SERVING.
const WATCH_TOLD: Duration = Duration::from_millis(500);

/// How long cutting connections may take.
const CUT_MAX: Duration = Duration::from_secs(1);
