//! What requests may cost, and how they fail.

use std::{sync::atomic::Ordering, time::Duration};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{body::Incoming, client::conn::http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use privet::proto::v1::CheckRequest;
use prost::Message;
use tokio::time::{sleep, timeout};
use tonic::{Code, Request, Status};
use tonic_types::StatusExt;

use super::harness::{Harness, LONG, ask, ask_with};
use crate::support::deployment::http as http1;

#[tokio::test]
async fn an_oversize_message_is_refused_by_its_limit() {
    let harness = Harness::with(|config| config.limits.message_bytes_max = 10_000).await;
    let client = harness.client(harness.billing_config()).await;
    assert!(ask_with(&client, "who", 9_900).await.is_ok());
    let status = ask_with(&client, "who", 10_001).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
    assert_eq!(status.message(), "a message must be at most 10000 bytes");
    assert_eq!(status.get_error_details().error_info().unwrap().reason, "MESSAGE_TOO_LARGE");
    assert!(ask(&client, "who").await.is_ok(), "the connection goes on");
}

#[tokio::test]
async fn a_panic_is_an_internal_error_that_tells_nothing() {
    let harness = Harness::start().await;
    let client = harness.client(harness.billing_config()).await;
    let status = ask(&client, "panic").await.unwrap_err();
    assert_eq!((status.code(), status.message()), (Code::Internal, "the request failed inside the service"));
    assert!(!format!("{status:?}").contains("anna"));
    assert!(ask(&client, "who").await.is_ok(), "the connection goes on");
    harness.counted("privet_panics_total 1").await;
    harness.counted("privet_rpcs_total{method=\"privet.v1.AuthorizationService/Check\",code=\"INTERNAL\"} 1").await;
}

#[tokio::test]
async fn bytes_in_flight_are_refused_past_the_budget_and_come_back() {
    let harness = Harness::with(|config| config.limits.bytes_in_flight_max = 100_000).await;
    let client = harness.client(harness.billing_config()).await;
    let waiting = tokio::spawn({
        let client = client.clone();
        async move { ask_with(&client, "wait", 60_000).await }
    });
    harness.doing.entered.notified().await;
    assert!(harness.budget.bytes_in_flight() >= 60_000);

    let status = ask_with(&client, "who", 60_000).await.unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted);
    assert!(status.get_error_details().retry_info().unwrap().retry_delay.is_some());
    assert!(ask_with(&client, "who", 10_000).await.is_ok(), "what fits is served");

    harness.doing.go_on.notify_one();
    waiting.await.unwrap().unwrap();
    harness.counted("privet_bytes_in_flight 0").await;
    assert!(ask_with(&client, "who", 60_000).await.is_ok());
}

#[tokio::test]
async fn bytes_kept_until_delivery_are_held_while_the_client_does_not_read() {
    let harness = Harness::start().await;
    let response = raw(&harness, CheckRequest { purpose: "deliver".into(), ..CheckRequest::default() }).await;
    sleep(Duration::from_millis(200)).await;
    assert!(harness.budget.bytes_in_flight() > 0);
    assert!(response.into_body().collect().await.unwrap().to_bytes().len() > 1 << 20);
    harness.counted("privet_bytes_in_flight 0").await;
}

#[tokio::test]
async fn requests_in_flight_are_refused_past_the_limit_with_a_time_to_retry() {
    let harness = Harness::with(|config| config.limits.in_flight_max = 1).await;
    let client = harness.client(harness.billing_config()).await;
    let waiting = tokio::spawn({
        let client = client.clone();
        async move { ask(&client, "wait").await }
    });
    harness.doing.entered.notified().await;
    let status = ask(&client, "wait").await.unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted);
    assert!(status.get_error_details().retry_info().is_some());
    harness.doing.go_on.notify_one();
    waiting.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_clients_deadline_ends_its_request() {
    let harness = Harness::start().await;
    let response = raw(&harness, CheckRequest { purpose: "stall".into(), ..CheckRequest::default() }).await;
    assert_eq!(Status::from_header_map(response.headers()).unwrap().code(), Code::DeadlineExceeded);
    assert!(harness.doing.stalled.load(Ordering::SeqCst), "the handler had begun");
}

#[tokio::test]
async fn unknown_methods_are_unimplemented_and_share_one_label() {
    let harness = Harness::start().await;
    let channel = harness.channel(harness.billing_config()).await.unwrap();
    let mut grpc = tonic::client::Grpc::new(channel);
    for path in ["/privet.v1.AuthorizationService/anna", "/x.Y/z"] {
        grpc.ready().await.unwrap();
        let codec = tonic_prost::ProstCodec::<(), ()>::default();
        let status = grpc.unary(Request::new(()), path.parse().unwrap(), codec).await.unwrap_err();
        assert_eq!(status.code(), Code::Unimplemented);
    }
    harness.counted("privet_rpcs_total{method=\"other\",code=\"UNIMPLEMENTED\"} 2").await;
    assert!(!harness.metrics().await.contains("anna"));
}

#[tokio::test]
async fn metrics_answer_on_loopback_only_and_nothing_else_is_served_there() {
    let harness = Harness::start().await;
    ask(&harness.client(harness.billing_config()).await, "who").await.unwrap();
    let method = "method=\"privet.v1.AuthorizationService/Check\"";
    harness.counted(&format!("privet_rpcs_total{{{method},code=\"OK\"}} 1")).await;
    assert!(harness.metrics().await.contains(&format!("privet_rpc_seconds_count{{{method}}} 1")));
    for (request, status) in [("GET / HTTP/1.1", "404"), ("POST /metrics HTTP/1.1", "405")] {
        let text =
            http1(harness.metrics_address, &format!("{request}\r\nhost: localhost\r\ncontent-length: 0\r\n\r\n")).await;
        assert!(text.starts_with(&format!("HTTP/1.1 {status}")), "{text}");
    }
    for address in ["0.0.0.0:0", "[::]:0", "192.0.2.1:0"] {
        let refused = privet::server::telemetry::endpoint::Endpoint::bind(address.parse().unwrap()).await;
        assert_eq!(refused.unwrap_err().kind(), std::io::ErrorKind::InvalidInput, "{address}");
    }
}

/// A call with a deadline of 200 ms by a client that neither stops waiting by itself, as tonic's does, nor reads the answer.
async fn raw(harness: &Harness, message: CheckRequest) -> http::Response<Incoming> {
    let tls = harness.tls(harness.billing_config()).await.unwrap();
    let (mut client, connection) = http2::Builder::new(TokioExecutor::new())
        .initial_stream_window_size(65_535)
        .handshake(TokioIo::new(tls))
        .await
        .unwrap();
    tokio::spawn(connection);
    let message = message.encode_to_vec();
    let framed = [&[0, 0, 0, 0, u8::try_from(message.len()).unwrap()], message.as_slice()].concat();
    let request = http::Request::post("https://localhost/privet.v1.AuthorizationService/Check")
        .header("content-type", "application/grpc")
        .header("grpc-timeout", "200m")
        .body(Full::new(Bytes::from(framed)))
        .unwrap();
    let response = timeout(LONG, client.send_request(request)).await.unwrap().unwrap();
    // The connection lives as long as its client.
    tokio::spawn(async move { (client, sleep(LONG).await) });
    response
}
