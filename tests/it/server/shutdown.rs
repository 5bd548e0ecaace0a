//! That a server ends in its time, whoever is connected.

use std::time::Duration;

use privet::server::Ended;
use tokio::{
    io::AsyncWriteExt,
    net::TcpStream,
    time::{Instant, sleep},
};
use tonic_health::pb::{HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient};

use super::harness::{Harness, ask};

const DRAIN: Duration = Duration::from_secs(1);

#[tokio::test]
async fn silent_clients_do_not_hold_the_drain_up_past_its_deadline() {
    let mut harness = Harness::with(|config| config.server.drain_secs_max = DRAIN).await;
    let _tcp = TcpStream::connect(harness.address).await.unwrap();
    let _tls = harness.tls(harness.billing_config()).await.unwrap();
    let mut _preface = harness.tls(harness.billing_config()).await.unwrap();
    _preface.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await.unwrap();
    let client = harness.client(harness.billing_config()).await;
    let stalled = tokio::spawn(async move { ask(&client, "stall").await });
    harness.counted("privet_connections_open 4").await;
    sleep(Duration::from_millis(100)).await;

    harness.stop();
    let began = Instant::now();
    assert_eq!(harness.ended().await, Ended::Shutdown);
    assert!(began.elapsed() >= DRAIN - Duration::from_millis(50), "the request had its time");
    assert!(began.elapsed() < DRAIN + Duration::from_millis(700), "{:?}", began.elapsed());
    assert!(stalled.await.unwrap().is_err());
}

#[tokio::test]
async fn a_request_under_way_is_answered_and_then_the_drain_is_over() {
    let mut harness = Harness::start().await;
    let client = harness.client(harness.billing_config()).await;
    let waiting = tokio::spawn({
        let client = client.clone();
        async move { ask(&client, "wait").await }
    });
    harness.doing.entered.notified().await;
    harness.stop();
    sleep(Duration::from_millis(200)).await;
    assert!(TcpStream::connect(harness.address).await.is_err(), "no more connections");
    harness.doing.go_on.notify_one();
    waiting.await.unwrap().unwrap();
    let began = Instant::now();
    assert_eq!(harness.ended().await, Ended::Shutdown);
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
}

#[tokio::test]
async fn watchers_of_our_health_hear_that_a_fault_ends_it_and_do_not_hold_it_up() {
    let mut harness = Harness::start().await;
    let mut health = HealthClient::new(harness.channel(harness.billing_config()).await.unwrap());
    let request = HealthCheckRequest { service: "privet.v1.EncryptionService".into() };
    let mut statuses = health.watch(request).await.unwrap().into_inner();
    assert_eq!(statuses.message().await.unwrap().unwrap().status(), ServingStatus::Serving);
    harness.fail();
    assert_eq!(statuses.message().await.unwrap().unwrap().status(), ServingStatus::NotServing);
    let began = Instant::now();
    assert_eq!(harness.ended().await, Ended::Fault);
    assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
}
