//! The client: asks again as soon as it is answered, and looks at every answer.

use std::{
    collections::VecDeque,
    sync::Arc,
    time::{Duration, Instant},
};

use privet::proto::v1::{
    self, decrypt_stream_response, decrypted_field, encrypt_stream_response, encrypted_field,
    encryption_service_client::EncryptionServiceClient,
};
use tokio::{sync::mpsc, task::JoinSet};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Streaming, transport::Channel};

use crate::compare::Round;

/// How requests come.
#[derive(Clone, Copy, Debug)]
pub enum Shape {
    /// Single calls, so many at any time.
    Unary { in_flight: usize },
    /// Messages on so many streams, so many at any time on each.
    Streams { streams: usize, in_flight: usize },
}

/// A request.
#[derive(Clone)]
pub enum Ask {
    Encrypt(v1::EncryptRequest),
    Decrypt(v1::DecryptRequest),
}

/// Asks for `time`, and waits for what is under way then.
pub async fn run(channels: Vec<Channel>, shape: Shape, asks: Arc<[Ask]>, time: Duration) -> Round {
    let start = Instant::now();
    let turn = Turn { asks, until: start + time };
    let mut tasks = JoinSet::new();
    let workers = match shape {
        Shape::Unary { in_flight } => in_flight,
        Shape::Streams { streams, .. } => streams,
    };
    for (worker, channel) in (0..workers).zip(channels.iter().cycle()) {
        let client = EncryptionServiceClient::new(channel.clone());
        let turn = turn.clone();
        match (shape, &turn.asks[0]) {
            (Shape::Unary { .. }, _) => tasks.spawn(unary(client, turn, worker)),
            (Shape::Streams { in_flight, .. }, Ask::Encrypt(_)) => {
                tasks.spawn(encrypt_stream(client, turn, worker, in_flight))
            }
            (Shape::Streams { in_flight, .. }, Ask::Decrypt(_)) => {
                tasks.spawn(decrypt_stream(client, turn, worker, in_flight))
            }
        };
    }
    let latencies = tasks.join_all().await.concat();
    Round { ops: latencies.len() as u64, took: start.elapsed(), latencies, ..Round::default() }
}

type Client = EncryptionServiceClient<Channel>;

/// One worker's work in a round.
#[derive(Clone)]
struct Turn {
    asks: Arc<[Ask]>,
    until: Instant,
}

impl Turn {
    /// The next request: each worker walks through all of them from a place of its own.
    fn next(&self, worker: usize, n: usize) -> Option<Ask> {
        let at = (worker * 61 + n) % self.asks.len();
        (Instant::now() < self.until).then(|| self.asks[at].clone())
    }
}

async fn unary(mut client: Client, turn: Turn, worker: usize) -> Vec<u32> {
    let mut latencies = Vec::new();
    while let Some(ask) = turn.next(worker, latencies.len()) {
        let start = Instant::now();
        match ask {
            Ask::Encrypt(request) => check_sealed(&client.encrypt(request).await.unwrap().into_inner()),
            Ask::Decrypt(request) => check_opened(&client.decrypt(request).await.unwrap().into_inner()),
        }
        latencies.push(nanos(start));
    }
    latencies
}

async fn encrypt_stream(mut client: Client, turn: Turn, worker: usize, in_flight: usize) -> Vec<u32> {
    let (sender, messages) = mpsc::channel(in_flight);
    let next = move |n| match turn.next(worker, n)? {
        Ask::Encrypt(request) => Some(v1::EncryptStreamRequest { sequence: n as u64, request: Some(request) }),
        Ask::Decrypt(_) => panic!("one kind of request a row"),
    };
    let answers = async { client.encrypt_stream(ReceiverStream::new(messages)).await.unwrap().into_inner() };
    stream(sender, answers, in_flight, next, |answer| match answer.result.unwrap() {
        encrypt_stream_response::Result::Response(response) => check_sealed(&response),
        encrypt_stream_response::Result::Error(error) => panic!("{error:?}"),
    })
    .await
}

async fn decrypt_stream(mut client: Client, turn: Turn, worker: usize, in_flight: usize) -> Vec<u32> {
    let (sender, messages) = mpsc::channel(in_flight);
    let next = move |n| match turn.next(worker, n)? {
        Ask::Decrypt(request) => Some(v1::DecryptStreamRequest { sequence: n as u64, request: Some(request) }),
        Ask::Encrypt(_) => panic!("one kind of request a row"),
    };
    let answers = async { client.decrypt_stream(ReceiverStream::new(messages)).await.unwrap().into_inner() };
    stream(sender, answers, in_flight, next, |answer| match answer.result.unwrap() {
        decrypt_stream_response::Result::Response(response) => check_opened(&response),
        decrypt_stream_response::Result::Error(error) => panic!("{error:?}"),
    })
    .await
}

/// Keeps `in_flight` messages on one stream, whose answers come in order.
async fn stream<M, A>(
    sender: mpsc::Sender<M>,
    answers: impl Future<Output = Streaming<A>>,
    in_flight: usize,
    next: impl Fn(usize) -> Option<M>,
    check: impl Fn(A),
) -> Vec<u32> {
    let mut sent = VecDeque::with_capacity(in_flight);
    let mut sender = Some(sender);
    let mut count = 0;
    for _ in 0..in_flight {
        let Some(message) = next(count) else { break };
        sent.push_back(Instant::now());
        sender.as_ref().unwrap().send(message).await.unwrap_or_else(|_| panic!("the stream ended early"));
        count += 1;
    }
    let mut answers = answers.await;
    let mut latencies = Vec::new();
    while let Some(answer) = answers.message().await.unwrap() {
        check(answer);
        latencies.push(nanos(sent.pop_front().unwrap()));
        let message = sender.as_ref().and_then(|_| next(count));
        match (message, &sender) {
            (Some(message), Some(sender)) => {
                sent.push_back(Instant::now());
                sender.send(message).await.unwrap_or_else(|_| panic!("the stream ended early"));
                count += 1;
            }
            // Time is up: the answers still to come are the last.
            (_, _) => sender = None,
        }
    }
    assert_eq!(latencies.len(), count, "every message was answered");
    latencies
}

fn check_sealed(answer: &v1::EncryptResponse) {
    let sealed = |field: &v1::EncryptedField| matches!(field.result, Some(encrypted_field::Result::Ciphertext(_)));
    assert!(!answer.fields.is_empty() && answer.fields.iter().all(sealed));
    assert_eq!(answer.receipts.len(), 1);
}

fn check_opened(answer: &v1::DecryptResponse) {
    let opened = |field: &v1::DecryptedField| matches!(field.result, Some(decrypted_field::Result::Plaintext(_)));
    assert!(!answer.fields.is_empty() && answer.fields.iter().all(opened));
    assert_eq!(answer.receipts.len(), 1);
}

fn nanos(since: Instant) -> u32 {
    u32::try_from(since.elapsed().as_nanos()).unwrap_or(u32::MAX)
}
