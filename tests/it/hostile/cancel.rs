//! Clients that hang up at random moments: no effect without its record, and nothing of them stays behind.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use privet::{proto::v1, server::Ended};
use tokio::{
    task::JoinSet,
    time::{sleep, timeout},
};
use tonic::Request;

use super::{
    left::Left,
    load::{EMAIL, Random, TAX_ID},
};
use crate::support::deployment::{
    Client, Deployment, Setup, decrypt, encrypt, free_address, metrics, to_decrypt, to_encrypt,
};

const CLIENTS: u64 = 8;
const CALLS: u64 = 120;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn clients_that_cancel_at_random_leave_no_effect_without_its_record_and_no_place_taken() {
    let metrics_address = free_address();
    let setup = Setup { metrics: Some(metrics_address), ..Setup::default() };
    let mut server = Deployment::start_with(setup).await;
    let known = server.client("tester").await.seal("acme", "anna", EMAIL, b"anna@mail.example", b"").await;

    let server_ref = Arc::new(server);
    let mut clients = JoinSet::new();
    for n in 0..CLIENTS {
        clients.spawn(hang_up_at_random(server_ref.clone(), Random::new(n), known.clone()));
    }
    let fates = clients.join_all().await;
    server = Arc::into_inner(server_ref).unwrap();
    let (answered, cancelled) = fates.iter().fold((0, 0), |sum, fate| (sum.0 + fate.0, sum.1 + fate.1));
    assert!(answered > 50 && cancelled > 50, "{answered} were answered and {cancelled} were not: that tries nothing");

    let idle = |text: &str| {
        ["privet_requests_in_flight 0", "privet_bytes_in_flight 0"]
            .iter()
            .all(|line| text.lines().any(|have| have == *line))
    };
    let mut text = String::new();
    for _ in 0..200 {
        text = metrics(metrics_address).await;
        if idle(&text) {
            break;
        }
        sleep(Duration::from_millis(25)).await;
    }
    assert!(idle(&text), "requests stay in flight:\n{text}");
    // Every place on a connection is there to be taken.
    let client = server.client("tester").await;
    let mut calls = JoinSet::new();
    for n in 0..256 {
        let client = client.clone();
        calls.spawn(async move { client.seal("acme", &format!("late {n}"), EMAIL, b"a@mail.example", b"").await });
    }
    assert_eq!(calls.join_all().await.len(), 256);
    drop(client);

    assert_eq!(server.stop().await, Ended::Shutdown);
    let left = Left::read(server.dir.path(), &server.dir.path().join("store")).await.unwrap();
    let aliases = left.sealed_aliases();
    assert_eq!(aliases.len(), left.subjects, "every key has its entry, and every entry its key");
    assert!(left.subjects > 300, "{} subjects", left.subjects);
    let request_ids: BTreeSet<&str> = left.entries().map(|entry| entry.request_id.as_str()).collect();
    let answered_ids: BTreeSet<String> = fates.into_iter().flat_map(|fate| fate.2).collect();
    assert!(answered_ids.iter().all(|id| request_ids.contains(id.as_str())), "an answer without its record");
}

/// How many calls were answered, how many were not, and the request ids of those that were.
type Fate = (usize, usize, Vec<String>);

async fn hang_up_at_random(server: Arc<Deployment>, mut random: Random, known: bytes::Bytes) -> Fate {
    let mut client = server.client("tester").await;
    let (mut answered, mut cancelled, mut ids) = (0, 0, Vec::new());
    for _ in 0..CALLS {
        let patience = Duration::from_micros(random.below(6_000));
        let id = format!("call-{:x}", random.next());
        let call = call(client.clone(), &mut random, &id, &known);
        let outcome = match random.below(4) {
            // The future is dropped: the stream is reset.
            0 | 1 => timeout(patience, call).await.ok(),
            // The connection goes, with the calls on it.
            2 => {
                let task = tokio::spawn(call);
                sleep(patience).await;
                task.abort();
                client = server.client("tester").await;
                task.await.ok()
            }
            _ => Some(call.await),
        };
        if outcome == Some(true) {
            answered += 1;
            ids.push(id);
        } else {
            cancelled += 1;
        }
    }
    (answered, cancelled, ids)
}

/// A call of a random kind, sometimes with a deadline that can't be kept; gives whether it was answered.
fn call(
    client: Client,
    random: &mut Random,
    id: &str,
    known: &bytes::Bytes,
) -> impl Future<Output = bool> + Send + 'static {
    let fields = |random: &mut Random| -> Vec<v1::FieldToEncrypt> {
        let class = if random.below(2) == 0 { EMAIL } else { TAX_ID };
        (0..=random.below(4)).map(|_| to_encrypt(&format!("customer {}", random.next()), class, "a value")).collect()
    };
    let deadline = (random.below(3) == 0).then(|| Duration::from_micros(1 + random.below(5_000)));
    let kind = random.below(5);
    let id = id.to_owned();
    let to_seal = v1::EncryptRequest { request_id: id.clone(), ..encrypt("acme", fields(random)) };
    let more = v1::EncryptRequest { request_id: id.clone(), ..encrypt("acme", fields(random)) };
    let to_open = v1::DecryptRequest { request_id: id, ..decrypt("acme", vec![to_decrypt("anna", EMAIL, known); 20]) };
    async move {
        match kind {
            0 => client.encryption().decrypt(timed(to_open, deadline)).await.is_ok(),
            1 => {
                let messages =
                    [to_seal, more].map(|request| v1::EncryptStreamRequest { sequence: 0, request: Some(request) });
                let Ok(answers) =
                    client.encryption().encrypt_stream(timed(tokio_stream::iter(messages), deadline)).await
                else {
                    return false;
                };
                // The second answer is not waited for.
                matches!(
                    answers.into_inner().message().await,
                    Ok(Some(v1::EncryptStreamResponse {
                        result: Some(v1::encrypt_stream_response::Result::Response(_)),
                        ..
                    }))
                )
            }
            _ => client.encryption().encrypt(timed(to_seal, deadline)).await.is_ok(),
        }
    }
}

fn timed<T>(message: T, deadline: Option<Duration>) -> Request<T> {
    let mut request = Request::new(message);
    if let Some(deadline) = deadline {
        request.set_timeout(deadline);
    }
    request
}
