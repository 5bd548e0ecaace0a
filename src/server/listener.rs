//! Accepts connections, up to the cap, and takes each through TLS and the HTTP/2 preface under deadlines.
//!
//! INVARIANT: a connection holds its place among `connections_max` from the moment it is accepted until its socket is
//! closed; nothing else keeps it alive.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore, watch},
    time::{sleep, timeout},
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use tracing::{info, warn};

use super::{
    connection::{Shared, drive},
    preface::Prefaced,
    shutdown::Phase,
    telemetry::{self, Throttle},
    tls::{ALPN, Tls},
};
use crate::identity;

/// An open socket and what connections on it need.
pub(super) struct Listener {
    socket: TcpListener,
    shared: Arc<Shared>,
    tls: Arc<Tls>,
    phases: watch::Receiver<Phase>,
    connections: Connections,
    handshakes: Arc<Semaphore>,
    throttle: Arc<Throttle>,
}

impl Listener {
    pub(super) fn new(socket: TcpListener, shared: Arc<Shared>, tls: Arc<Tls>, phases: watch::Receiver<Phase>) -> Self {
        let connections = Connections::new(shared.limits.connections_max);
        let handshakes = Arc::new(Semaphore::new(shared.limits.handshakes_max));
        Self { socket, shared, tls, phases, connections, handshakes, throttle: Arc::default() }
    }

    /// The connections that this accepts.
    pub(super) fn connections(&self) -> Connections {
        self.connections.clone()
    }

    /// Accepts for ever. Dropping the future closes the socket.
    pub(super) async fn accept_all(self) {
        loop {
            match self.socket.accept().await {
                Ok((tcp, peer)) => self.accept(tcp, peer),
                // The client's fault, gone with it.
                Err(error) if is_of_one_connection(&error) => {}
                // Ours, such as no free file descriptor: connections that end will help.
                Err(error) => {
                    self.throttle.run(|| warn!(%error, "accept failed"));
                    sleep(ACCEPT_RETRY).await;
                }
            }
        }
    }

    fn accept(&self, tcp: TcpStream, peer: SocketAddr) {
        let refuse = |reason| {
            self.shared.metrics.connection_refused(reason);
            self.throttle.run(|| warn!(%peer, reason, "connection refused"));
        };
        let Some(place) = self.connections.enter() else { return refuse("connections") };
        let Ok(unproved) = self.handshakes.clone().try_acquire_owned() else { return refuse("handshakes") };
        let (shared, acceptor) = (self.shared.clone(), TlsAcceptor::from(self.tls.current()));
        let (mut phases, throttle) = (self.phases.clone(), self.throttle.clone());
        tokio::spawn(async move {
            let _open = shared.metrics.connection_opened();
            let opened = tokio::select! {
                opened = open(&shared, acceptor, tcp, unproved) => opened,
                _ = phases.wait_for(|phase| *phase != Phase::Serving) => return,
            };
            match opened {
                Ok(stream) => {
                    let connection = identify(&shared, peer, stream.stream());
                    if let Err(rule) = &connection.caller {
                        throttle.run(|| info!(%peer, %rule, "connection without identity"));
                    }
                    drive(shared, connection, stream, phases).await;
                }
                Err(reason) => {
                    shared.metrics.handshake_failed(reason);
                    throttle.run(|| warn!(%peer, reason, "handshake failed"));
                }
            }
            drop(place);
        });
    }
}

/// The open connections.
#[derive(Clone)]
pub(super) struct Connections {
    places: Arc<Semaphore>,
    max: u32,
}

impl Connections {
    fn new(max: usize) -> Self {
        let max = u32::try_from(max).unwrap_or(u32::MAX);
        Self { places: Arc::new(Semaphore::new(max as usize)), max }
    }

    fn enter(&self) -> Option<OwnedSemaphorePermit> {
        self.places.clone().try_acquire_owned().ok()
    }

    /// How many there are.
    pub(super) fn open(&self) -> usize {
        (self.max as usize).saturating_sub(self.places.available_permits())
    }

    /// Is ready when there are none.
    pub(super) async fn all_closed(&self) {
        // An error would mean a closed semaphore, on which nothing waits any more either.
        let _ = self.places.acquire_many(self.max).await;
    }
}

type Opened = Prefaced<TlsStream<TcpStream>>;

/// TLS and the preface; the error is the reason that is counted.
async fn open(
    shared: &Shared,
    acceptor: TlsAcceptor,
    tcp: TcpStream,
    unproved: OwnedSemaphorePermit,
) -> Result<Opened, &'static str> {
    // Small answers must not wait for more to send.
    tcp.set_nodelay(true).map_err(|_| "io")?;
    let tls = timeout(shared.limits.handshake_secs_max, acceptor.accept(tcp))
        .await
        .map_err(|_| "handshake_deadline")?
        .map_err(|error| telemetry::handshake_failure(&error))?;
    drop(unproved);
    if tls.get_ref().1.alpn_protocol() != Some(ALPN) {
        return Err("alpn");
    }
    timeout(shared.limits.preface_secs_max, Prefaced::read(tls))
        .await
        .map_err(|_| "preface_deadline")?
        .map_err(|_| "preface")
}

fn identify(shared: &Shared, peer: SocketAddr, tls: &TlsStream<TcpStream>) -> identity::Connection {
    // The handshake required a certificate; if there were none, an empty one is nobody's.
    let leaf = tls.get_ref().1.peer_certificates().and_then(<[_]>::first).map(AsRef::as_ref).unwrap_or_default();
    identity::Connection::new(peer, leaf, &shared.bindings)
}

fn is_of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    [ConnectionAborted, ConnectionRefused, ConnectionReset].contains(&error.kind())
}

const ACCEPT_RETRY: Duration = Duration::from_millis(100);
