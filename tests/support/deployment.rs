//! A whole server in this process: real TLS, real policy, real sled, a clock and a directory of its own.

use std::{
    collections::HashMap, fs, io::Write, net::SocketAddr, os::unix::fs::OpenOptionsExt, path::Path, sync::Arc,
    time::Duration,
};

use hyper_util::rt::TokioIo;
use privet::{
    cli::serve::{self, Machine, Options, Running},
    config::Config,
    entropy::SystemEntropy,
    keyring::{
        log_key::{self, LogKey},
        root::FileRoot,
    },
    operations::start::Changed,
    proto::v1::{
        self, audit_service_client::AuditServiceClient, authorization_service_client::AuthorizationServiceClient,
        encryption_service_client::EncryptionServiceClient, key_service_client::KeyServiceClient,
        policy_service_client::PolicyServiceClient, subject_service_client::SubjectServiceClient,
        tenant_service_client::TenantServiceClient,
    },
    server::{Ended, tls::DevCertificates},
};
use rustls::ClientConfig;
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::TlsConnector;
use tonic::transport::{Channel, Endpoint};
use tower::service_fn;

use super::pki::{Ca, Leaf};

/// What the tests' own principal `tester` may do, beside the shipped policy: all to all data of both tenants.
const TESTER: &str = "\
#: id=test-encrypts reason=\"tests\"
p, spiffe://acme.example/tester, {tenant}, pii/*, encrypt, signup, 0, 0, allow
#: id=test-decrypts reason=\"tests\"
p, spiffe://acme.example/tester, {tenant}, pii/*, decrypt, signup, 0, 0, allow
#: id=test-masks reason=\"tests\"
p, spiffe://acme.example/tester, {tenant}, pii/*, mask, signup, 0, 0, allow
#: id=test-indexes reason=\"tests\"
p, spiffe://acme.example/tester, {tenant}, pii/*, index, signup, 0, 0, allow
#: id=test-reads reason=\"tests\"
p, spiffe://acme.example/tester, {tenant}, audit, read, operate, 0, 0, allow
";

/// Who changes the policy of `other`: no policy is taken that nobody could change.
const OTHER: &str = "\
#: id=other-admin-reads reason=\"tests\"
p, spiffe://acme.example/other-admin, other, policy, read, operate, 0, 0, allow
#: id=other-admin-proposes reason=\"tests\"
p, spiffe://acme.example/other-admin, other, policy, propose, operate, 0, 0, allow
#: id=other-approver-reads reason=\"tests\"
p, spiffe://acme.example/other-approver, other, policy, read, operate, 0, 0, allow
#: id=other-approver-approves reason=\"tests\"
p, spiffe://acme.example/other-approver, other, policy, approve, operate, 0, 0, allow
";
const PERSONS: &str = "
[[person]]
id = \"other-admin\"
principals = [\"spiffe://acme.example/other-admin\"]
[[person]]
id = \"other-approver\"
principals = [\"spiffe://acme.example/other-approver\"]
";

/// What makes a deployment different from the usual one.
#[derive(Default)]
pub struct Setup {
    /// More lines of `policy.csv`.
    pub policy: String,
    /// More lines of `catalogue.toml`.
    pub catalogue: String,
    /// More principals of the person `operator`, each with its quotes and a comma before.
    pub operator: &'static str,
    /// More tenants that callers may name, each with its quotes and a comma before.
    pub bound: &'static str,
    /// More lines of `privet.toml`.
    pub config: String,
    /// Where the metrics are served, if anywhere.
    pub metrics: Option<SocketAddr>,
}

/// A directory with all that a server needs, and the server.
pub struct Deployment {
    pub dir: TempDir,
    pub ca: Ca,
    running: Option<Running>,
    pub address: SocketAddr,
}

impl Deployment {
    /// A server with the shipped policy and a `tester` who may do all to the data of `acme` and `other`.
    pub async fn start() -> Self {
        Self::start_with(Setup::default()).await
    }

    pub async fn start_with(setup: Setup) -> Self {
        Self::start_in(&std::env::temp_dir(), setup).await
    }

    /// The same, in a directory of its own below `parent`.
    pub async fn start_in(parent: &Path, setup: Setup) -> Self {
        Self::start_on(Machine::this(), parent, setup).await
    }

    /// The same, with time and randomness of the test's choice.
    pub async fn start_on(machine: Machine, parent: &Path, setup: Setup) -> Self {
        let dir = tempfile::tempdir_in(parent).unwrap();
        let ca = Ca::new("test CA");
        write_files(dir.path(), &ca, &setup);
        make_keys(dir.path());
        let (running, address) = run_on(machine, dir.path()).await;
        Self { dir, ca, running: Some(running), address }
    }

    /// Stops the server and starts another on the same directory.
    pub async fn restart(&mut self) {
        assert_eq!(self.stop().await, Ended::Shutdown);
        self.run().await;
    }

    /// Starts a server that was stopped.
    pub async fn run(&mut self) {
        self.run_with(Changed::Refuse).await;
    }

    /// The same, with time and randomness of the test's choice.
    pub async fn run_at(&mut self, machine: Machine) {
        let (running, address) = run_on(machine, self.dir.path()).await;
        self.running = Some(running);
        self.address = address;
    }

    /// The same, by somebody who says that the clock is right.
    pub async fn run_confirmed_at(&mut self, machine: Machine) {
        let (running, address) = run_with(machine, self.dir.path(), (Changed::Refuse, true)).await;
        self.running = Some(running);
        self.address = address;
    }

    /// The same, where the policy's files are the next version.
    pub async fn run_adopting_at(&mut self, machine: Machine) {
        let (running, address) = run_with(machine, self.dir.path(), (Changed::Adopt, false)).await;
        self.running = Some(running);
        self.address = address;
    }

    /// The same, where the policy's files may be others than the policy in force.
    pub async fn run_with(&mut self, changed: Changed) {
        let (running, address) = run_with(Machine::this(), self.dir.path(), (changed, false)).await;
        self.running = Some(running);
        self.address = address;
    }

    pub async fn stop(&mut self) -> Ended {
        self.running.take().unwrap().shutdown().await.unwrap()
    }

    /// Waits until the server ends by itself.
    pub async fn ended(&mut self) -> Ended {
        self.running.take().unwrap().wait(std::future::pending()).await.unwrap()
    }

    /// A client with the SPIFFE id `spiffe://acme.example/<name>`.
    pub async fn client(&self, name: &str) -> Client {
        let leaf = self.ca.client(&[&format!("spiffe://acme.example/{name}")]);
        self.client_with(&leaf).await
    }

    /// A client with a certificate of the test's choice.
    pub async fn client_with(&self, leaf: &Leaf) -> Client {
        let channel = connect(self.address, self.ca.client_config(Some(leaf))).await.unwrap();
        Client { channel }
    }
}

/// A root key and a log key, as `privet init` makes them.
pub fn make_keys(dir: &Path) {
    let entropy = Arc::new(SystemEntropy::open());
    let root = FileRoot::create(&dir.join("root"), entropy.clone()).unwrap();
    let log_key = LogKey::create(&root, &*entropy, log_key::FIRST).unwrap().to_bytes();
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(dir.join("log-key")).unwrap();
    file.write_all(&log_key).unwrap();
}

/// One connection.
#[derive(Clone)]
pub struct Client {
    pub channel: Channel,
}

impl Client {
    pub fn encryption(&self) -> EncryptionServiceClient<Channel> {
        EncryptionServiceClient::new(self.channel.clone()).max_decoding_message_size(16 << 20)
    }

    pub fn authorization(&self) -> AuthorizationServiceClient<Channel> {
        AuthorizationServiceClient::new(self.channel.clone())
    }

    pub fn policy(&self) -> PolicyServiceClient<Channel> {
        PolicyServiceClient::new(self.channel.clone()).max_decoding_message_size(16 << 20)
    }

    pub fn keys(&self) -> KeyServiceClient<Channel> {
        KeyServiceClient::new(self.channel.clone())
    }

    pub fn subjects(&self) -> SubjectServiceClient<Channel> {
        SubjectServiceClient::new(self.channel.clone())
    }

    pub fn tenants(&self) -> TenantServiceClient<Channel> {
        TenantServiceClient::new(self.channel.clone())
    }

    pub fn audit(&self) -> AuditServiceClient<Channel> {
        AuditServiceClient::new(self.channel.clone()).max_decoding_message_size(16 << 20)
    }

    /// Seals one value for `tenant` and gives its ciphertext.
    pub async fn seal(&self, tenant: &str, subject: &str, class: &str, value: &[u8], context: &[u8]) -> bytes::Bytes {
        let field = v1::FieldToEncrypt {
            subject: subject.into(),
            class: class.into(),
            plaintext: value.to_vec().into(),
            context: context.to_vec().into(),
            index: false,
        };
        let answer = self.encryption().encrypt(encrypt(tenant, vec![field])).await.unwrap().into_inner();
        ciphertext(&answer, 0)
    }

    /// Every entry of a tenant's log, oldest first.
    pub async fn log(&self, tenant: &str) -> Vec<v1::AuditEntry> {
        let mut entries = Vec::new();
        let mut page_token = String::new();
        loop {
            let request = v1::ListEntriesRequest {
                tenant: tenant.into(),
                page_size: 1_000,
                page_token,
                order: v1::Order::OldestFirst.into(),
                ..Default::default()
            };
            let page = self.audit().list_entries(request).await.unwrap().into_inner();
            entries.extend(page.entries);
            page_token = page.next_page_token;
            if page_token.is_empty() {
                return entries;
            }
        }
    }
}

pub fn encrypt(tenant: &str, fields: Vec<v1::FieldToEncrypt>) -> v1::EncryptRequest {
    v1::EncryptRequest { tenant: tenant.into(), purpose: "signup".into(), fields, ..Default::default() }
}

pub fn decrypt(tenant: &str, fields: Vec<v1::FieldToDecrypt>) -> v1::DecryptRequest {
    v1::DecryptRequest { tenant: tenant.into(), purpose: "signup".into(), fields, ..Default::default() }
}

pub fn to_encrypt(subject: &str, class: &str, value: &str) -> v1::FieldToEncrypt {
    v1::FieldToEncrypt {
        subject: subject.into(),
        class: class.into(),
        plaintext: value.as_bytes().to_vec().into(),
        ..Default::default()
    }
}

pub fn to_decrypt(subject: &str, class: &str, ciphertext: &bytes::Bytes) -> v1::FieldToDecrypt {
    v1::FieldToDecrypt {
        subject: subject.into(),
        class: class.into(),
        ciphertext: ciphertext.clone(),
        form: v1::Form::Plaintext.into(),
        ..Default::default()
    }
}

pub fn ciphertext(answer: &v1::EncryptResponse, at: usize) -> bytes::Bytes {
    match answer.fields[at].result.clone().unwrap() {
        v1::encrypted_field::Result::Ciphertext(ciphertext) => ciphertext,
        v1::encrypted_field::Result::Error(error) => panic!("{error:?}"),
    }
}

/// What a decrypted field holds: the value, or the reason for its absence.
pub fn opened(answer: &v1::DecryptResponse, at: usize) -> Result<Vec<u8>, v1::Reason> {
    match answer.fields[at].result.clone().unwrap() {
        v1::decrypted_field::Result::Plaintext(value) => Ok(value.to_vec()),
        v1::decrypted_field::Result::Masked(value) => Ok(value.into_bytes()),
        v1::decrypted_field::Result::Error(error) => Err(error.reason()),
    }
}

/// Opens a TLS connection and speaks gRPC on it.
pub async fn connect(address: SocketAddr, config: ClientConfig) -> Result<Channel, tonic::transport::Error> {
    let tls = TlsConnector::from(Arc::new(config));
    let connector = service_fn(move |_| {
        let tls = tls.clone();
        async move {
            let tcp = TcpStream::connect(address).await?;
            tcp.set_nodelay(true)?;
            let stream = tls.connect("localhost".try_into().unwrap(), tcp).await?;
            Ok::<_, std::io::Error>(TokioIo::new(stream))
        }
    });
    Endpoint::from_static("http://localhost").timeout(Duration::from_secs(60)).connect_with_connector(connector).await
}

/// A loopback address that nobody listens on just now.
pub fn free_address() -> SocketAddr {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

/// What the metrics listener at this address says.
pub async fn metrics(address: SocketAddr) -> String {
    let text = http(address, "GET /metrics HTTP/1.1\r\nhost: localhost\r\n\r\n").await;
    assert!(text.starts_with("HTTP/1.1 200"), "{text}");
    text
}

/// One HTTP/1 exchange without TLS.
pub async fn http(address: SocketAddr, request: &str) -> String {
    let mut tcp = TcpStream::connect(address).await.unwrap();
    tcp.write_all(request.as_bytes()).await.unwrap();
    let mut text = String::new();
    timeout(Duration::from_secs(10), tcp.read_to_string(&mut text)).await.unwrap().unwrap();
    text
}

/// Starts a server on a directory that holds all that one needs.
pub async fn run(dir: &Path) -> (Running, SocketAddr) {
    run_on(Machine::this(), dir).await
}

/// The same, with time and randomness of the test's choice.
pub async fn run_on(machine: Machine, dir: &Path) -> (Running, SocketAddr) {
    run_with(machine, dir, (Changed::Refuse, false)).await
}

async fn run_with(
    machine: Machine,
    dir: &Path,
    (policy_changed, clock_is_right): (Changed, bool),
) -> (Running, SocketAddr) {
    let config = Config::load(&dir.join("privet.toml")).unwrap();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let options =
        Options { listener, policy_changed, new_anchor: false, clock_is_right, dev: DevCertificates::Refused };
    let running = serve::start_on(machine, config, options).await.unwrap();
    let address = running.address();
    (running, address)
}

/// Writes everything but the root key: certificates, policies and `privet.toml`.
pub fn write_files(dir: &Path, ca: &Ca, setup: &Setup) {
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("policies");
    let policies = dir.join("policies");
    fs::create_dir(&policies).unwrap();
    let mut files: HashMap<&str, String> = ["model.conf", "policy.csv", "catalogue.toml"]
        .map(|name| (name, fs::read_to_string(shipped.join(name)).unwrap()))
        .into();
    // The shipped assertions forbid a principal that can do everything.
    files.insert("assertions.toml", String::new());
    let policy = files.get_mut("policy.csv").unwrap();
    for tenant in ["acme", "other"] {
        policy.push_str(&TESTER.replace("{tenant}", tenant).replace("id=test", &format!("id={tenant}-test")));
    }
    policy.push_str(OTHER);
    policy.push_str(&setup.policy);
    let catalogue = files.get_mut("catalogue.toml").unwrap();
    let operator = "\"spiffe://acme.example/operator\"";
    assert!(catalogue.contains(operator));
    *catalogue = catalogue.replace(operator, &[operator, setup.operator].concat()) + PERSONS;
    catalogue.push_str(&setup.catalogue);
    for (name, text) in files {
        fs::write(policies.join(name), text).unwrap();
    }
    fs::write(dir.join("ca.pem"), ca.pem()).unwrap();
    ca.server().write(dir);
    let config = format!(
        r#"
[server]
drain_secs_max = 2
{}
[tls]
cert = "cert.pem"
key = "key.pem"
[[tls.client_ca]]
file = "ca.pem"
trust_domains = ["acme.example"]
[[trust_domain]]
name = "acme.example"
tenants = ["acme", "other", "_system"{}]
[[tenant]]
id = "acme"
[[tenant]]
id = "other"
[store]
dir = "store"
[root]
kind = "file"
dir = "root"
[policy]
dir = "policies"
[log.anchor]
dir = "anchor"
[log]
origin = "test.example/log"
danger_anchor_on_same_device = true
{}
"#,
        setup.metrics.map(|address| format!("metrics_listen = \"{address}\"")).unwrap_or_default(),
        setup.bound,
        setup.config
    );
    fs::write(dir.join("privet.toml"), config).unwrap();
}
