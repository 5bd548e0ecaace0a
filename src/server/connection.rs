//! One open connection: HTTP/2 with its bounds, from the preface to its end.
//!
//! INVARIANT: a connection ends: at its age, after idleness, or with the server; first politely (GOAWAY), and when the time
//! for that is over by being cut.

use std::{
    convert::Infallible,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use hyper::{server::conn::http2, service::service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::watch,
    time::{Instant, sleep},
};
use tonic::service::Routes;
use tracing::debug;

use super::{limits::Gate, shutdown::Phase, telemetry::Metrics};
use crate::{
    api::{admission::Budget, farewell::Farewell},
    config::Limits,
    identity::{self, Bindings},
};

/// What all connections of a server share.
pub(super) struct Shared {
    pub(super) bindings: Bindings,
    pub(super) limits: Limits,
    pub(super) routes: Routes,
    pub(super) metrics: Arc<Metrics>,
    pub(super) budget: Arc<Budget>,
}

/// Serves a connection until it ends.
pub(super) async fn drive<S>(
    shared: Arc<Shared>,
    connection: identity::Connection,
    stream: S,
    mut phases: watch::Receiver<Phase>,
) where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let limits = &shared.limits;
    let age = age(limits.connection_age_secs, connection.peer.port());
    let requests = Arc::new(Requests::default());
    let (leaving, farewell) = Farewell::new();
    let gate = Arc::new(Gate::new(shared.clone(), connection, farewell, requests.clone()));
    let service = service_fn(move |request| {
        let gate = gate.clone();
        async move { Ok::<_, Infallible>(gate.answer(request).await) }
    });
    let mut serving = pin!(http2(limits).serve_connection(TokioIo::new(stream), service));
    let mut ending = false;
    let mut old = pin!(sleep(age));
    let mut idle = pin!(sleep(limits.idle_secs_max));
    let mut cut = pin!(sleep(Duration::MAX));
    loop {
        let grace = tokio::select! {
            done = &mut serving => {
                if let Err(error) = done {
                    debug!(%error, "connection failed");
                }
                return;
            }
            () = &mut cut, if ending => return,
            () = &mut old, if !ending => limits.connection_grace_secs,
            () = &mut idle, if !ending => match requests.idle_since() {
                Some(since) if since.elapsed() >= limits.idle_secs_max => GOODBYE_MAX,
                Some(since) => {
                    idle.as_mut().reset(since + limits.idle_secs_max);
                    continue;
                }
                None => {
                    idle.as_mut().reset(Instant::now() + limits.idle_secs_max);
                    continue;
                }
            },
            changed = phases.changed() => match (changed.is_ok(), *phases.borrow_and_update()) {
                // The server is gone, or has no patience left.
                (false, _) | (_, Phase::Ended) => return,
                (true, Phase::Serving) => continue,
                // The server itself cuts what outlives its drain.
                (true, Phase::Draining) => Duration::MAX,
            },
        };
        leaving.say();
        serving.as_mut().graceful_shutdown();
        if !ending || grace < Duration::MAX {
            cut.set(sleep(grace));
        }
        ending = true;
    }
}

/// The requests of one connection that are not answered yet.
#[derive(Default)]
pub(super) struct Requests {
    open: AtomicUsize,
    /// Milliseconds since `start` at which the last one ended.
    ended: AtomicU64,
    start: Start,
}

impl Requests {
    /// Counts a request until the answer is dropped.
    pub(super) fn open(self: &Arc<Self>) -> OpenRequest {
        self.open.fetch_add(1, Ordering::AcqRel);
        OpenRequest(self.clone())
    }

    /// Since when there is none; `None` while there is one.
    fn idle_since(&self) -> Option<Instant> {
        let none = self.open.load(Ordering::Acquire) == 0;
        none.then(|| self.start.0 + Duration::from_millis(self.ended.load(Ordering::Acquire)))
    }
}

/// A request that is not answered yet.
pub(super) struct OpenRequest(Arc<Requests>);

impl Drop for OpenRequest {
    fn drop(&mut self) {
        let elapsed = self.0.start.0.elapsed().as_millis();
        self.0.ended.store(u64::try_from(elapsed).unwrap_or(u64::MAX), Ordering::Release);
        self.0.open.fetch_sub(1, Ordering::AcqRel);
    }
}

struct Start(Instant);

impl Default for Start {
    fn default() -> Self {
        Self(Instant::now())
    }
}

/// Spreads the age of connections that were made together over its last fifth, by the client's port.
fn age(max: Duration, port: u16) -> Duration {
    max.saturating_sub(max / 5 * u32::from(port % 64) / 64)
}

fn http2(limits: &Limits) -> http2::Builder<TokioExecutor> {
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(u32::try_from(limits.in_flight_per_connection).unwrap_or(u32::MAX))
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_header_list_size(HEADER_BYTES_MAX)
        .max_send_buf_size(SEND_BUFFER_BYTES)
        .max_pending_accept_reset_streams(PENDING_RESETS_MAX)
        .keep_alive_interval(KEEP_ALIVE)
        .keep_alive_timeout(KEEP_ALIVE);
    builder
}

/// What a client may send on a stream before a handler reads.
const STREAM_WINDOW_BYTES: u32 = 512 << 10;
/// What a client may send on all streams before handlers read: all that a connection makes us hold beside the budget.
const CONNECTION_WINDOW_BYTES: u32 = 1 << 20;
/// What a stream may hold of an answer that its client does not read.
const SEND_BUFFER_BYTES: usize = 128 << 10;
/// gRPC metadata; no request of ours needs a tenth of it.
const HEADER_BYTES_MAX: u32 = 16 << 10;
/// Streams that a client opened and reset at once: more end the connection (rapid reset, CVE-2023-44487).
const PENDING_RESETS_MAX: usize = 20;
/// A client that is gone without a word is noticed after twice this.
const KEEP_ALIVE: Duration = Duration::from_secs(20);
/// How long an idle connection gets to answer our GOAWAY.
const GOODBYE_MAX: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_are_spread_over_the_last_fifth() {
        let max = Duration::from_secs(600);
        let ages: Vec<_> = (0..=u16::MAX).map(|port| age(max, port)).collect();
        assert_eq!(ages.iter().max(), Some(&max));
        assert!(ages.iter().all(|age| *age > max * 4 / 5));
        assert!(ages.iter().collect::<std::collections::BTreeSet<_>>().len() == 64);
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_is_idle_from_its_last_answer_on() {
        let requests = Arc::new(Requests::default());
        let made = requests.idle_since().unwrap();
        let open = requests.open();
        assert_eq!(requests.idle_since(), None);
        sleep(Duration::from_secs(7)).await;
        drop(open);
        assert_eq!(requests.idle_since().unwrap() - made, Duration::from_secs(7));
    }
}
