//! That every stage of a connection ends, and how many there may be.

use std::time::Duration;

use tokio::{
    io::AsyncWriteExt,
    net::TcpStream,
    time::{Instant, sleep},
};

use super::harness::{Harness, ask, closed};

const SHORT: Duration = Duration::from_millis(300);

#[tokio::test]
async fn a_client_that_never_finishes_its_handshake_is_closed() {
    let harness = Harness::with(|config| config.limits.handshake_secs_max = SHORT).await;
    let mut silent = TcpStream::connect(harness.address).await.unwrap();
    let began = Instant::now();
    closed(&mut silent).await;
    assert!(began.elapsed() >= SHORT / 2);
    harness.counted("privet_handshakes_failed_total{reason=\"handshake_deadline\"} 1").await;
}

#[tokio::test]
async fn a_client_that_is_silent_after_tls_is_closed() {
    let harness = Harness::with(|config| config.limits.preface_secs_max = SHORT).await;
    for said in [&b""[..], b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r"] {
        let mut silent = harness.tls(harness.billing_config()).await.unwrap();
        silent.write_all(said).await.unwrap();
        assert!(closed(&mut silent).await.is_empty());
    }
    harness.counted("privet_handshakes_failed_total{reason=\"preface_deadline\"} 2").await;
}

#[tokio::test]
async fn http_1_inside_tls_is_closed() {
    let harness = Harness::start().await;
    let mut client = harness.tls(harness.billing_config()).await.unwrap();
    client.write_all(b"GET /metrics HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
    assert!(closed(&mut client).await.is_empty());
    harness.counted("privet_handshakes_failed_total{reason=\"preface\"} 1").await;
}

#[tokio::test]
async fn a_client_that_is_silent_after_the_preface_is_closed_when_idle() {
    let harness = Harness::with(|config| config.limits.idle_secs_max = SHORT).await;
    let mut silent = harness.tls(harness.billing_config()).await.unwrap();
    silent.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await.unwrap();
    closed(&mut silent).await;
    harness.counted("privet_connections_open 0").await;
}

#[tokio::test]
async fn a_request_under_way_is_not_idle() {
    let harness = Harness::with(|config| config.limits.idle_secs_max = SHORT).await;
    let client = harness.client(harness.billing_config()).await;
    let waiting = tokio::spawn(async move { ask(&client, "wait").await });
    sleep(SHORT * 3).await;
    harness.doing.go_on.notify_one();
    waiting.await.unwrap().unwrap();
}

#[tokio::test]
async fn an_old_connection_lets_its_requests_finish_and_takes_no_new_ones() {
    let harness = Harness::with(|config| config.limits.connection_age_secs = SHORT).await;
    let channel = harness.client(harness.billing_config()).await;
    let waiting = tokio::spawn({
        let client = channel.clone();
        async move { ask(&client, "wait").await }
    });
    sleep(SHORT * 2).await;
    harness.doing.go_on.notify_one();
    waiting.await.unwrap().unwrap();
    // The channel connects anew.
    ask(&channel, "who").await.unwrap();
}

#[tokio::test]
async fn an_old_connection_is_cut_when_its_grace_is_over() {
    let harness = Harness::with(|config| {
        config.limits.connection_age_secs = SHORT;
        config.limits.connection_grace_secs = SHORT;
    })
    .await;
    let client = harness.client(harness.billing_config()).await;
    assert!(ask(&client, "stall").await.is_err());
    harness.counted("privet_rpcs_total{method=\"privet.v1.AuthorizationService/Check\",code=\"CANCELLED\"} 1").await;
}

#[tokio::test]
async fn a_connection_over_the_cap_is_closed_at_once_and_room_comes_back() {
    let harness = Harness::with(|config| config.limits.connections_max = 2).await;
    let first = harness.tls(harness.billing_config()).await.unwrap();
    let second = TcpStream::connect(harness.address).await.unwrap();
    harness.counted("privet_connections_open 2").await;
    let mut third = TcpStream::connect(harness.address).await.unwrap();
    closed(&mut third).await;
    harness.counted("privet_connections_refused_total{reason=\"connections\"} 1").await;
    drop((first, second));
    harness.counted("privet_connections_open 0").await;
    assert!(ask(&harness.client(harness.billing_config()).await, "who").await.is_ok());
}

#[tokio::test]
async fn connections_without_proof_leave_room_for_those_with() {
    let harness = Harness::with(|config| config.limits.handshakes_max = 2).await;
    let client = harness.client(harness.billing_config()).await;
    let _silent =
        [TcpStream::connect(harness.address).await.unwrap(), TcpStream::connect(harness.address).await.unwrap()];
    harness.counted("privet_connections_open 3").await;
    let mut third = TcpStream::connect(harness.address).await.unwrap();
    closed(&mut third).await;
    harness.counted("privet_connections_refused_total{reason=\"handshakes\"} 1").await;
    assert!(ask(&client, "who").await.is_ok());
}
