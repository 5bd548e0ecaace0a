//! The client against TLS servers that are as they should be, and that are not.

use std::{fs, net::SocketAddr, os::unix::fs::PermissionsExt};

use rcgen::{BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, Issuer, KeyPair};
use rustls::{
    RootCertStore, ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer},
    server::WebPkiClientVerifier,
};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::{super::failure::Exit, *};

struct Ca {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
    der: CertificateDer<'static>,
}

impl Ca {
    fn new(name: &str) -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let cert = params.self_signed(&key).unwrap();
        Self { pem: cert.pem(), der: cert.der().clone(), issuer: Issuer::new(params, key) }
    }

    fn leaf(&self, host: &str) -> (rcgen::Certificate, KeyPair) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new([host.to_owned()]).unwrap();
        (params.signed_by(&key, &self.issuer).unwrap(), key)
    }
}

/// A directory as `privet dev` lays it out, with one identity, `svc`.
fn dir(server_ca: &Ca, client_ca: &Ca, address: &str) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    let identity = dir.path().join("identities/svc");
    fs::create_dir_all(&identity).unwrap();
    let (cert, key) = client_ca.leaf("svc");
    fs::write(dir.path().join("ca.pem"), &server_ca.pem).unwrap();
    fs::write(dir.path().join("address"), format!("{address}\n")).unwrap();
    fs::write(identity.join("cert.pem"), cert.pem()).unwrap();
    fs::write(identity.join("key.pem"), key.serialize_pem()).unwrap();
    fs::set_permissions(identity.join("key.pem"), fs::Permissions::from_mode(0o600)).unwrap();
    dir
}

/// A server that shakes hands, and then says nothing. Yields whether it saw a client certificate, version and protocol.
async fn serve(ca: &Ca, clients: &Ca, host: &str, old: bool) -> (SocketAddr, tokio::task::JoinHandle<Option<Seen>>) {
    let (cert, key) = ca.leaf(host);
    let mut roots = RootCertStore::empty();
    roots.add(clients.der.clone()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider)).build().unwrap();
    let versions = if old { [&rustls::version::TLS12] } else { [&rustls::version::TLS13] };
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&versions)
        .unwrap()
        .with_client_cert_verifier(verifier)
        .with_single_cert(vec![cert.der().clone()], PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der())))
        .unwrap();
    config.alpn_protocols = vec![b"h2".to_vec()];
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let task = tokio::spawn(async move {
        let (tcp, _) = listener.accept().await.unwrap();
        let stream = TlsAcceptor::from(Arc::new(config)).accept(tcp).await.ok()?;
        let connection = stream.get_ref().1;
        Some(Seen {
            version: connection.protocol_version()?,
            protocol: connection.alpn_protocol()?.to_vec(),
            certificates: connection.peer_certificates()?.len(),
        })
    });
    (address, task)
}

struct Seen {
    version: rustls::ProtocolVersion,
    protocol: Vec<u8>,
    certificates: usize,
}

#[tokio::test]
async fn a_client_shows_its_certificate_over_tls_1_3_and_speaks_h2() {
    let ca = Ca::new("one CA");
    let (address, server) = serve(&ca, &ca, "127.0.0.1", false).await;
    let dir = dir(&ca, &ca, &address.to_string());
    let target = Target::from_dev_dir(dir.path(), "svc").unwrap();
    connect(&target).await.unwrap();
    let seen = server.await.unwrap().unwrap();
    assert_eq!(seen.version, rustls::ProtocolVersion::TLSv1_3);
    assert_eq!(seen.protocol, b"h2");
    assert_eq!(seen.certificates, 1);
}

#[tokio::test]
async fn a_server_that_can_not_be_trusted_is_not_spoken_to() {
    let (ca, other) = (Ca::new("one CA"), Ca::new("another CA"));
    for (issuer, host, old) in
        [(&other, "127.0.0.1", false), (&ca, "elsewhere.example", false), (&ca, "127.0.0.1", true)]
    {
        let (address, server) = serve(issuer, &ca, host, old).await;
        let dir = dir(&ca, &ca, &address.to_string());
        let failure = connect(&Target::from_dev_dir(dir.path(), "svc").unwrap()).await.unwrap_err();
        assert_eq!(failure.exit(), Exit::Unavailable, "{failure}");
        assert!(server.await.unwrap().is_none());
    }
}

#[tokio::test]
async fn a_certificate_of_another_ca_is_refused_and_the_refusal_says_so() {
    let (ca, other) = (Ca::new("one CA"), Ca::new("another CA"));
    let (address, _server) = serve(&ca, &ca, "127.0.0.1", false).await;
    let dir = dir(&ca, &other, &address.to_string());
    let failure = match connect(&Target::from_dev_dir(dir.path(), "svc").unwrap()).await {
        // The alert may be in time for the connection, or meet the first call.
        Err(failure) => failure,
        Ok(clients) => Failure::from(
            clients.audit().list_entries(crate::proto::v1::ListEntriesRequest::default()).await.unwrap_err(),
        ),
    };
    assert_eq!(failure.exit(), Exit::Refused, "{failure:?}");
    assert!(failure.for_machines().contains("CERTIFICATE_REFUSED"), "{failure:?}");
}

#[tokio::test]
async fn nobody_there_is_unavailable_with_a_question() {
    let ca = Ca::new("one CA");
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let dir = dir(&ca, &ca, &address.to_string());
    let failure = connect(&Target::from_dev_dir(dir.path(), "svc").unwrap()).await.unwrap_err();
    assert_eq!(failure.exit(), Exit::Unavailable);
    assert!(failure.for_people(false).contains(&format!("is the server running at {address}?")), "{failure:?}");
}

#[tokio::test]
async fn a_key_that_others_can_read_is_not_used() {
    let ca = Ca::new("one CA");
    let dir = dir(&ca, &ca, "127.0.0.1:1");
    let key = dir.path().join("identities/svc/key.pem");
    for mode in [0o640, 0o604, 0o660, 0o610] {
        fs::set_permissions(&key, fs::Permissions::from_mode(mode)).unwrap();
        let failure = connect(&Target::from_dev_dir(dir.path(), "svc").unwrap()).await.unwrap_err();
        assert_eq!(failure.exit(), Exit::Usage, "{mode:o}");
        assert!(failure.for_people(false).contains("chmod 600"));
    }
}

#[tokio::test]
async fn files_that_are_not_what_they_should_be_are_named() {
    let ca = Ca::new("one CA");
    for file in ["ca.pem", "identities/svc/cert.pem", "identities/svc/key.pem"] {
        for content in ["", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "garbage"] {
            let dir = dir(&ca, &ca, "127.0.0.1:1");
            fs::write(dir.path().join(file), content).unwrap();
            let failure = connect(&Target::from_dev_dir(dir.path(), "svc").unwrap()).await.unwrap_err();
            assert_eq!(failure.exit(), Exit::Usage, "{file} {content:?}");
            assert!(failure.to_string().contains(".pem"), "{failure}");
        }
    }
}

#[test]
fn an_identity_finds_its_server_and_ca_where_dev_puts_them() {
    let ca = Ca::new("one CA");
    let dir = dir(&ca, &ca, "127.0.0.1:4711");
    let identity = dir.path().join("identities/svc");
    let target = Target::for_identity(&identity, None, None).unwrap();
    assert_eq!(target.address.to_string(), "127.0.0.1:4711");
    assert_eq!(fs::read_to_string(&target.ca).unwrap(), ca.pem);

    let given = Target::for_identity(&identity, Some("h:1".parse().unwrap()), Some("x.pem".into())).unwrap();
    assert_eq!((given.address.to_string().as_str(), given.ca.to_str()), ("h:1", Some("x.pem")));

    fs::write(identity.join("ca.pem"), &ca.pem).unwrap();
    fs::remove_file(dir.path().join("address")).unwrap();
    let target = Target::for_identity(&identity, None, None).unwrap();
    assert_eq!(target.address.to_string(), DEFAULT_ADDRESS);
    assert_eq!(target.ca, identity.join("ca.pem"));
    for nothing in [dir.path().join("identities/nope"), identity.join("cert.pem")] {
        let failure = Target::for_identity(&nothing, None, None).unwrap_err();
        assert!(failure.exit() == Exit::Usage && failure.to_string().ends_with("there is no such directory"));
    }
}

#[test]
fn addresses_are_a_host_and_a_port() {
    for good in ["127.0.0.1:7443", "[::1]:1", "localhost:65535", "privet.internal:7443"] {
        assert_eq!(good.parse::<Address>().unwrap().to_string(), good);
    }
    for bad in [
        "",
        "localhost",
        ":7443",
        "h:0",
        "h:65536",
        "::1:7443",
        "[::1]",
        "[h]:1",
        "a b:1",
        "h:1/x",
        "https://h:1",
        "u@h:1",
    ] {
        assert_eq!(bad.parse::<Address>(), Err(InvalidAddress), "{bad}");
    }
}
