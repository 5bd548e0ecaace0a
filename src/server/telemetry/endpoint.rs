//! The metrics over HTTP, for a collector on the same machine: `GET /metrics`, and nothing else.
//!
//! INVARIANT: it listens on loopback only. There is neither TLS nor a password here, and counts tell of business.

use std::{convert::Infallible, io, net::SocketAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header::CONTENT_TYPE};
use http_body_util::Full;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    time::{sleep, timeout},
};

use super::Metrics;

/// A socket for metrics.
#[derive(Debug)]
pub struct Endpoint(TcpListener);

impl Endpoint {
    /// Listens on a loopback address.
    ///
    /// # Errors
    /// If the address is not loopback, or can't be listened on.
    pub async fn bind(address: SocketAddr) -> io::Result<Self> {
        if !address.ip().is_loopback() {
            let rule = "metrics are served on a loopback address only";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, rule));
        }
        TcpListener::bind(address).await.map(Self)
    }

    /// Where it listens.
    ///
    /// # Errors
    /// If the operating system can't say.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }

    pub(in crate::server) async fn serve(self, metrics: Arc<Metrics>) {
        let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        loop {
            let Ok((tcp, _)) = self.0.accept().await else {
                sleep(ACCEPT_RETRY).await;
                continue;
            };
            let Ok(place) = places.clone().try_acquire_owned() else { continue };
            let metrics = metrics.clone();
            tokio::spawn(async move {
                // Who asks must have its answer in time; how it ends otherwise is its own affair.
                let _ = timeout(CONNECTION_MAX, serve_one(tcp, metrics)).await;
                drop(place);
            });
        }
    }
}

async fn serve_one(tcp: TcpStream, metrics: Arc<Metrics>) -> hyper::Result<()> {
    let service = service_fn(move |request| {
        let response = answer(&request, &metrics);
        async move { Ok::<_, Infallible>(response) }
    });
    http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADERS_MAX)
        .max_buf_size(HEADER_BYTES_MAX)
        .keep_alive(false)
        .serve_connection(TokioIo::new(tcp), service)
        .await
}

fn answer(request: &Request<Incoming>, metrics: &Metrics) -> Response<Full<Bytes>> {
    let plain = |code| {
        let mut response = Response::new(Full::default());
        *response.status_mut() = code;
        response
    };
    if request.uri().path() != "/metrics" {
        return plain(StatusCode::NOT_FOUND);
    }
    if request.method() != Method::GET {
        return plain(StatusCode::METHOD_NOT_ALLOWED);
    }
    let Ok(text) = metrics.text() else { return plain(StatusCode::INTERNAL_SERVER_ERROR) };
    let mut response = Response::new(Full::from(text));
    response.headers_mut().insert(CONTENT_TYPE, http::HeaderValue::from_static(OPEN_METRICS));
    response
}

const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
const CONNECTIONS_MAX: usize = 8;
const CONNECTION_MAX: Duration = Duration::from_secs(10);
const HEADERS_MAX: Duration = Duration::from_secs(5);
const HEADER_BYTES_MAX: usize = 8 << 10;
const ACCEPT_RETRY: Duration = Duration::from_millis(100);
