//! Who gets through the handshake.

use std::{sync::Arc, time::Duration};

use privet::server::tls::{DevCertificates, Error, Tls};
use rustls::{ClientConfig, HandshakeKind, client::ClientSessionMemoryCache, version::TLS12};
use tokio::{io::AsyncWriteExt, net::TcpStream};
use tonic::Code;

use super::harness::{BILLING, Harness, ask, closed};
use crate::support::pki::Ca;

/// A handshake that fails: the client sees it then, or with its first read (in TLS 1.3 the client is done first).
async fn refused(harness: &Harness, config: ClientConfig, reason: &str) {
    if let Ok(mut stream) = harness.tls(config).await {
        assert!(closed(&mut stream).await.is_empty());
    }
    harness.counted(&format!("privet_handshakes_failed_total{{reason=\"{reason}\"}} 1")).await;
}

#[tokio::test]
async fn a_certificate_of_the_ca_is_its_spiffe_id() {
    let harness = Harness::start().await;
    let leaf = harness.billing();
    let client = harness.client(harness.ca.client_config(Some(&leaf))).await;
    let answer = ask(&client, "who").await.unwrap();
    let hash = hex::encode(ring::digest::digest(&ring::digest::SHA256, leaf.der()));
    assert_eq!(answer.results[0].grant_ids, [BILLING.to_owned(), format!("mtls:{}", &hash[..16])]);
}

#[tokio::test]
async fn no_certificate_is_refused() {
    let harness = Harness::start().await;
    refused(&harness, harness.ca.client_config(None), "no_certificate").await;
}

#[tokio::test]
async fn a_foreign_cas_certificate_is_refused_even_under_the_same_name() {
    let harness = Harness::start().await;
    let foreign = Ca::new("Acme CA").client(&[BILLING]);
    refused(&harness, harness.ca.client_config(Some(&foreign)), "unknown_ca").await;
}

#[tokio::test]
async fn an_expired_certificate_is_refused() {
    let harness = Harness::start().await;
    let expired = harness.ca.expired_client(BILLING);
    refused(&harness, harness.ca.client_config(Some(&expired)), "expired").await;
}

#[tokio::test]
async fn a_certificate_that_is_not_for_clients_is_refused() {
    let harness = Harness::start().await;
    let server = harness.ca.client_without_client_usage(BILLING);
    refused(&harness, harness.ca.client_config(Some(&server)), "certificate").await;
}

#[tokio::test]
async fn a_ca_vouches_for_its_own_trust_domains_only() {
    let harness = Harness::start().await;
    let outside = harness.other_ca.client(&[BILLING]);
    refused(&harness, harness.ca.client_config(Some(&outside)), "trust_domain").await;
    let inside = harness.other_ca.client(&["spiffe://other.example/billing"]);
    let client = harness.client(harness.ca.client_config(Some(&inside))).await;
    assert_eq!(ask(&client, "who").await.unwrap().results[0].grant_ids[0], "spiffe://other.example/billing");
}

#[tokio::test]
async fn tls_1_2_is_refused() {
    let harness = Harness::start().await;
    let config = harness.ca.client_config_of(Some(&harness.billing()), &TLS12);
    refused(&harness, config, "protocol_version").await;
}

#[tokio::test]
async fn another_protocol_than_http2_is_refused() {
    let harness = Harness::start().await;
    let mut other = harness.billing_config();
    other.alpn_protocols = vec![b"http/1.1".to_vec()];
    refused(&harness, other, "alpn").await;
    let mut none = harness.billing_config();
    none.alpn_protocols.clear();
    let mut stream = harness.tls(none).await.unwrap();
    assert!(closed(&mut stream).await.is_empty());
    harness.counted("privet_handshakes_failed_total{reason=\"alpn\"} 2").await;
}

#[tokio::test]
async fn plaintext_is_refused() {
    let harness = Harness::start().await;
    let mut tcp = TcpStream::connect(harness.address).await.unwrap();
    tcp.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.unwrap();
    closed(&mut tcp).await;
    harness.counted("privet_handshakes_failed_total{reason=\"not_tls\"} 1").await;
}

#[tokio::test]
async fn none_or_two_spiffe_ids_are_nobodys() {
    let harness = Harness::start().await;
    for (uris, rule) in [
        (&[][..], "has none"),
        (&["https://acme.example"][..], "has none"),
        (&[BILLING, "spiffe://acme.example/admin"][..], "has several"),
        (&["spiffe://acme.example/../admin"][..], "strictly written"),
    ] {
        let leaf = harness.ca.client(uris);
        let client = harness.client(harness.ca.client_config(Some(&leaf))).await;
        let status = ask(&client, "who").await.unwrap_err();
        assert_eq!(status.code(), Code::Unauthenticated, "{uris:?}");
        assert!(status.message().ends_with(rule), "{uris:?}: {}", status.message());
    }
}

#[tokio::test]
async fn no_session_is_resumed() {
    let harness = Harness::start().await;
    let mut config = harness.billing_config();
    config.resumption = rustls::client::Resumption::store(Arc::new(ClientSessionMemoryCache::new(8)));
    for _ in 0..3 {
        let stream = harness.tls(config.clone()).await.unwrap();
        assert_eq!(stream.get_ref().1.handshake_kind(), Some(HandshakeKind::Full));
        assert_eq!(stream.get_ref().1.tls13_tickets_received(), 0);
        // Time for a ticket to arrive, if there were one.
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn a_reload_changes_whom_new_connections_trust_and_a_bad_file_changes_nothing() {
    let harness = Harness::start().await;
    let next = Ca::new("Acme CA 2");
    let config = || harness.ca.client_config(Some(&next.client(&[BILLING])));
    refused(&harness, config(), "unknown_ca").await;

    let file = harness.dir.path().join("ca.pem");
    std::fs::write(&file, "no certificate").unwrap();
    assert!(matches!(harness.tls.reload(), Err(Error::Unusable { .. })));
    assert!(ask(&harness.client(harness.billing_config()).await, "who").await.is_ok());

    std::fs::write(&file, next.pem()).unwrap();
    harness.tls.reload().unwrap();
    assert!(ask(&harness.client(config()).await, "who").await.is_ok());
}

#[tokio::test]
async fn development_certificates_are_refused_and_so_is_a_key_of_another_certificate() {
    let harness = Harness::start().await;
    let dir = harness.dir.path();
    let text = |file: &str| std::fs::read_to_string(dir.join(file)).unwrap();
    let config = privet::config::Tls {
        cert: dir.join("cert.pem"),
        key: dir.join("key.pem"),
        client_ca: vec![privet::config::ClientCa {
            file: dir.join("dev.pem"),
            trust_domains: [privet::identity::TrustDomain::parse("acme.example").unwrap()].into(),
        }],
    };
    std::fs::write(dir.join("dev.pem"), Ca::new("privet dev CA").pem()).unwrap();
    assert!(matches!(Tls::load(&config, DevCertificates::Refused), Err(Error::Refused { .. })));
    assert!(Tls::load(&config, DevCertificates::Accepted).is_ok());

    let before = text("cert.pem");
    harness.other_ca.server().write(dir);
    std::fs::write(dir.join("cert.pem"), before).unwrap();
    assert!(matches!(Tls::load(&config, DevCertificates::Accepted), Err(Error::Unusable { .. })));
}
