//! Tests of metering and of late messages, with a clock that stands still.

use std::convert::Infallible;

use http_body::Body as _;
use http_body_util::BodyExt;
use tokio::sync::mpsc;
use tonic::Code;

use super::*;
use crate::api::admission::Budget;

/// A body that a test feeds.
struct Fed(mpsc::UnboundedReceiver<Bytes>);

impl http_body::Body for Fed {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0.poll_recv(cx).map(|data| data.map(|data| Ok(Frame::data(data))))
    }
}

const PATIENCE: Duration = Duration::from_secs(30);

fn metered(bytes_max: u64) -> (mpsc::UnboundedSender<Bytes>, Metered<Fed>, Arc<ByteMeter>, Arc<Budget>) {
    let budget = Budget::new(bytes_max, 1);
    let meter = Arc::new(ByteMeter::new(budget.clone()));
    let (feed, fed) = mpsc::unbounded_channel();
    (feed, Metered::new(Fed(fed), meter.clone(), PATIENCE), meter, budget)
}

#[tokio::test]
async fn what_arrives_is_charged_until_the_budget_ends() {
    let (feed, mut body, meter, budget) = metered(10);
    feed.send(Bytes::from_static(b"0123456789")).unwrap();
    feed.send(Bytes::from_static(b"x")).unwrap();
    assert!(body.frame().await.unwrap().is_ok());
    assert_eq!(budget.bytes_in_flight(), 10);
    assert_eq!(body.frame().await.unwrap().unwrap_err().code(), Code::ResourceExhausted);
    assert!(body.frame().await.is_none() && body.is_end_stream());
    drop((body, meter));
    assert_eq!(budget.bytes_in_flight(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_message_that_stops_half_way_is_late() {
    let (feed, mut body, _meter, _budget) = metered(100);
    feed.send(Bytes::from_static(b"half")).unwrap();
    assert!(body.frame().await.unwrap().is_ok());
    let before = Instant::now();
    assert_eq!(body.frame().await.unwrap().unwrap_err().code(), Code::DeadlineExceeded);
    assert_eq!(before.elapsed().as_secs(), PATIENCE.as_secs());
}

#[tokio::test(start_paused = true)]
async fn a_message_that_drips_is_late_all_the_same() {
    let (feed, mut body, _meter, _budget) = metered(100);
    let dripping = tokio::spawn(async move {
        while feed.send(Bytes::from_static(b".")).is_ok() {
            sleep(Duration::from_secs(7)).await;
        }
    });
    let before = Instant::now();
    let error = loop {
        if let Err(error) = body.frame().await.unwrap() {
            break error;
        }
    };
    assert_eq!(error.code(), Code::DeadlineExceeded);
    assert_eq!(before.elapsed().as_secs(), PATIENCE.as_secs());
    dripping.abort();
}

#[tokio::test(start_paused = true)]
async fn a_stream_may_be_silent_between_messages_and_slow_to_be_read() {
    let (feed, mut body, meter, _budget) = metered(100);
    feed.send(Bytes::from_static(b"a message")).unwrap();
    assert!(body.frame().await.unwrap().is_ok());
    drop(meter.take_all());
    assert!(tokio::time::timeout(PATIENCE * 10, body.frame()).await.is_err(), "silence ended the stream");

    feed.send(Bytes::from_static(b"a message and half of the n")).unwrap();
    assert!(body.frame().await.unwrap().is_ok());
    assert!(tokio::time::timeout(PATIENCE / 2, body.frame()).await.is_err());
    drop(meter.take(4));
    // The handler is busy for longer than the client has time.
    sleep(PATIENCE * 2).await;
    assert!(tokio::time::timeout(PATIENCE / 2, body.frame()).await.is_err(), "the handler's time was counted");
    assert_eq!(body.frame().await.unwrap().unwrap_err().code(), Code::DeadlineExceeded);
}
