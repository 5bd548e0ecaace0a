//! A real server on loopback with a service that does what a test asks, and clients for it.

use std::{
    convert::Infallible,
    io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use hyper_util::rt::TokioIo;
use privet::{
    api::admission::{Admission, Budget, ByteMeter},
    config::Config,
    identity::Connection,
    proto::v1::{
        CheckRequest, CheckResponse, CheckResult, ExplainRequest, ExplainResponse, ListGrantsForRequest,
        ListGrantsForResponse, WhoCanRequest, WhoCanResponse,
        authorization_service_client::AuthorizationServiceClient,
        authorization_service_server::{AuthorizationService, AuthorizationServiceServer},
    },
    server::{
        Ended, Parts, serve,
        telemetry::{Metrics, endpoint::Endpoint},
        tls::{DevCertificates, Tls},
    },
};
use rustls::{ClientConfig, pki_types::ServerName};
use tokio::{
    io::{AsyncRead, AsyncReadExt},
    net::{TcpListener, TcpStream},
    sync::{Notify, oneshot},
    task::JoinHandle,
    time::timeout,
};
use tokio_rustls::{TlsConnector, client::TlsStream};
use tonic::{
    Request, Response, Status,
    service::Routes,
    transport::{Channel, Endpoint as ClientEndpoint, Uri},
};
use tonic_health::server::health_reporter;

use crate::support::{
    deployment,
    pki::{Ca, Leaf},
};

pub const BILLING: &str = "spiffe://acme.example/billing";

/// Longer than anything here may take.
pub const LONG: Duration = Duration::from_secs(10);

/// A running server and all that a test needs to reach it.
pub struct Harness {
    pub address: SocketAddr,
    pub metrics_address: SocketAddr,
    pub ca: Ca,
    pub other_ca: Ca,
    pub budget: Arc<Budget>,
    pub tls: Arc<Tls>,
    pub dir: tempfile::TempDir,
    pub doing: Arc<Doing>,
    stop: Option<oneshot::Sender<()>>,
    fail: Option<oneshot::Sender<()>>,
    serving: JoinHandle<Ended>,
}

/// What the service is asked to do, by the request's purpose.
#[derive(Default)]
pub struct Doing {
    pub go_on: Notify,
    pub entered: Notify,
    pub stalled: AtomicBool,
}

impl Harness {
    pub async fn start() -> Self {
        Self::with(|_| {}).await
    }

    /// A server whose configuration a test changes.
    pub async fn with(change: impl FnOnce(&mut Config)) -> Self {
        let (ca, other_ca) = (Ca::new("Acme CA"), Ca::new("Other CA"));
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("ca.pem"), ca.pem()).unwrap();
        std::fs::write(dir.path().join("other.pem"), other_ca.pem()).unwrap();
        ca.server().write(dir.path());
        let mut config = Config::parse(CONFIG, &dir.path().join("privet.toml")).unwrap();
        change(&mut config);

        let tls = Arc::new(Tls::load(&config.tls, DevCertificates::Refused).unwrap());
        let budget = Budget::new(config.limits.bytes_in_flight_max, config.limits.in_flight_max);
        let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        let endpoint = Endpoint::bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let metrics_address = endpoint.address().unwrap();
        let doing = Arc::new(Doing::default());
        let (health, health_service) = health_reporter();
        let service = AuthorizationServiceServer::new(Asked(doing.clone()))
            .max_decoding_message_size(config.limits.message_bytes_max);
        let parts = Parts {
            bindings: config.bindings(&Default::default()),
            config: Arc::new(config),
            tls: tls.clone(),
            routes: Routes::new(service).add_service(health_service),
            health,
            metrics: Metrics::new(),
            endpoint: Some(endpoint),
            budget: budget.clone(),
        };
        let (stop, stopped) = oneshot::channel::<()>();
        let (fail, failed) = oneshot::channel::<()>();
        let serving =
            tokio::spawn(serve(
                socket,
                parts,
                async move { stopped.await.unwrap() },
                async move { failed.await.unwrap() },
            ));
        Self {
            address,
            metrics_address,
            ca,
            other_ca,
            budget,
            tls,
            dir,
            doing,
            stop: Some(stop),
            fail: Some(fail),
            serving,
        }
    }

    /// As a SIGTERM does.
    pub fn stop(&mut self) {
        self.stop.take().unwrap().send(()).unwrap();
    }

    /// As a log that can't be written does.
    pub fn fail(&mut self) {
        self.fail.take().unwrap().send(()).unwrap();
    }

    pub async fn ended(self) -> Ended {
        timeout(LONG, self.serving).await.expect("the server ends").unwrap()
    }

    pub fn billing(&self) -> Leaf {
        self.ca.client(&[BILLING])
    }

    pub fn billing_config(&self) -> ClientConfig {
        self.ca.client_config(Some(&self.billing()))
    }

    /// A TLS connection on which nothing is said yet.
    pub async fn tls(&self, config: ClientConfig) -> io::Result<TlsStream<TcpStream>> {
        connect(self.address, Arc::new(config)).await
    }

    /// A gRPC client.
    pub async fn client(&self, config: ClientConfig) -> Client {
        AuthorizationServiceClient::new(self.channel(config).await.unwrap()).max_decoding_message_size(64 << 20)
    }

    pub async fn channel(&self, config: ClientConfig) -> Result<Channel, tonic::transport::Error> {
        let (address, config) = (self.address, Arc::new(config));
        let connector = tower::service_fn(move |_: Uri| {
            let config = config.clone();
            async move { connect(address, config).await.map(TokioIo::new) }
        });
        ClientEndpoint::from_static("https://localhost").connect_with_connector(connector).await
    }

    /// The metrics' text.
    pub async fn metrics(&self) -> String {
        deployment::metrics(self.metrics_address).await
    }

    /// Waits until the metrics have a line.
    pub async fn counted(&self, line: &str) {
        let mut text = String::new();
        for _ in 0..100 {
            text = self.metrics().await;
            if text.lines().any(|have| have == line) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("no line {line}:\n{text}");
    }
}

pub type Client = AuthorizationServiceClient<Channel>;

/// A call that makes the service do something.
pub async fn ask(client: &Client, purpose: &str) -> Result<CheckResponse, Status> {
    ask_with(client, purpose, 0).await
}

/// The same, in a message of about so many bytes.
pub async fn ask_with(client: &Client, purpose: &str, bytes: usize) -> Result<CheckResponse, Status> {
    let request = CheckRequest { purpose: purpose.into(), reference: "x".repeat(bytes), ..CheckRequest::default() };
    timeout(LONG, client.clone().check(request)).await.expect("an answer").map(Response::into_inner)
}

/// Reads until the server closes; fails if it does not.
pub async fn closed(stream: &mut (impl AsyncRead + Unpin)) -> Vec<u8> {
    let mut said = Vec::new();
    // An end without a TLS goodbye, or a reset, is an end.
    let _ = timeout(LONG, stream.read_to_end(&mut said)).await.expect("the server closes");
    said
}

async fn connect(address: SocketAddr, config: Arc<ClientConfig>) -> io::Result<TlsStream<TcpStream>> {
    let tcp = TcpStream::connect(address).await?;
    TlsConnector::from(config).connect(ServerName::try_from("localhost").unwrap(), tcp).await
}

struct Asked(Arc<Doing>);

#[tonic::async_trait]
impl AuthorizationService for Asked {
    async fn check(&self, request: Request<CheckRequest>) -> Result<Response<CheckResponse>, Status> {
        let extensions = request.extensions();
        let connection = extensions.get::<Arc<Connection>>().unwrap().clone();
        let admission = extensions.get::<Arc<Admission>>().unwrap().clone();
        let charge = extensions.get::<Arc<ByteMeter>>().unwrap().take_all();
        match request.get_ref().purpose.as_str() {
            "who" => {
                let caller = connection.caller.as_ref().map_err(|rule| Status::unauthenticated(rule.to_string()))?;
                let grant_ids = vec![caller.principal.to_string(), caller.authentication.clone()];
                let results = vec![CheckResult { grant_ids, ..CheckResult::default() }];
                Ok(Response::new(CheckResponse { results, ..CheckResponse::default() }))
            }
            "wait" => {
                let _place = admission.try_admit()?;
                self.0.entered.notify_one();
                self.0.go_on.notified().await;
                Ok(Response::new(CheckResponse::default()))
            }
            "stall" => {
                self.0.stalled.store(true, Ordering::SeqCst);
                std::future::pending::<Infallible>().await;
                unreachable!()
            }
            "panic" => panic!("anna@example.com"),
            "deliver" => {
                let results = vec![CheckResult { grant_ids: vec!["x".repeat(1 << 20)], ..CheckResult::default() }];
                let mut response = Response::new(CheckResponse { results, ..CheckResponse::default() });
                response.extensions_mut().insert(charge.until_delivered());
                Ok(response)
            }
            _ => Ok(Response::new(CheckResponse::default())),
        }
    }

    async fn explain(&self, _: Request<ExplainRequest>) -> Result<Response<ExplainResponse>, Status> {
        Err(Status::unimplemented("not asked here"))
    }

    async fn list_grants_for(
        &self,
        _: Request<ListGrantsForRequest>,
    ) -> Result<Response<ListGrantsForResponse>, Status> {
        Err(Status::unimplemented("not asked here"))
    }

    async fn who_can(&self, _: Request<WhoCanRequest>) -> Result<Response<WhoCanResponse>, Status> {
        Err(Status::unimplemented("not asked here"))
    }
}

const CONFIG: &str = r#"
[tls]
cert = "cert.pem"
key = "key.pem"
[[tls.client_ca]]
file = "ca.pem"
trust_domains = ["acme.example"]
[[tls.client_ca]]
file = "other.pem"
trust_domains = ["other.example"]
[[trust_domain]]
name = "acme.example"
tenants = ["acme"]
[[trust_domain]]
name = "other.example"
tenants = []
[[tenant]]
id = "acme"
[store]
dir = "data"
[root]
kind = "file"
dir = "root"
[policy]
dir = "policies"
[log]
origin = "privet.acme.example/log"
"#;
