//! Group `keys`: the life of keys, each beside the everyday work that it is most like, on the same server.
//!
//! * Erasing customers beside sealing for them the first time: both write a record each.
//! * Rewrapping beside opening: a rewrap opens and seals again. Each field is another customer's, under an old version.
//! * Opening with keys that are not in memory beside opening with keys that are: on a server that keeps a tenth of them.

use std::{
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use privet::proto::v1::{self, erasure_result, rewrapped_field};
use tokio::runtime::{self, Runtime};

use crate::{
    compare::{Plan, Round, Row, take_turns},
    cpu,
    disk::Disk,
    report::Group,
    support::deployment::{self, Client, Deployment, Setup},
};

const EMAIL: &str = "pii/account/email";
const BATCH: usize = 100;
const IN_FLIGHT: usize = 8;
const SUBJECTS: usize = 1_000;
const SERVER: [&str; 3] = ["server", "privet-log", "sled-io"];

const REWRAPS: &str = "
#: id=bench-rewraps reason=\"a benchmark\"
p, spiffe://acme.example/tester, acme, pii/*, rewrap, signup, 0, 0, allow
#: id=bench-rotates reason=\"a benchmark\"
p, spiffe://acme.example/tester, acme, keys, rotate, operate, 0, 0, allow
#: id=bench-erases reason=\"a benchmark\"
p, spiffe://acme.example/tester, acme, subjects, erase, operate, 0, 0, allow
";

/// Measures the group in `directory`.
pub fn measure(plan: &Plan, directory: &Path) -> Group {
    let disk = Disk::new(directory);
    let server = runtime::Builder::new_multi_thread().enable_all().thread_name(SERVER[0]).build().unwrap();
    let client = runtime::Builder::new_multi_thread().enable_all().thread_name("client").build().unwrap();
    let start = |config: &str| {
        let setup = Setup { policy: REWRAPS.into(), config: config.into(), ..Setup::default() };
        server.block_on(Deployment::start_in(directory, setup))
    };
    let (mut warm, mut cold) = (start(""), start("[keys]\ncache_subjects = 100\n"));
    let connect = |to: &Deployment| client.block_on(to.client("tester"));
    let (to_warm, to_cold) = (connect(&warm), connect(&cold));

    let mut rows = Vec::new();
    let mut row = |name: &str, base: &mut dyn FnMut(Duration) -> Round, privet: &mut dyn FnMut(Duration) -> Round| {
        if name.contains(&plan.rows) {
            eprintln!("keys: {name}");
            rows.push(take_turns(plan, name.to_owned(), BATCH as u64, || disk.probe(), base, privet));
        }
    };

    let (made, next) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicU64::new(0)));
    let seal = |time| run(&client, time, || seal_new(to_warm.clone(), next.clone(), made.clone()));
    let erase = |time| run(&client, time, || erase(to_warm.clone(), next.clone(), made.clone()));
    row("erase, beside a first seal", &mut { seal }, &mut { erase });

    let asks = client.block_on(sealed(&to_warm));
    client.block_on(rotate(&to_warm));
    let (open, rewrap) = (asks.clone(), asks);
    let at = Arc::new(AtomicU64::new(0));
    let open = |time| run(&client, time, || open_one(to_warm.clone(), open.clone(), at.clone()));
    let rewrap = |time| run(&client, time, || rewrap_one(to_warm.clone(), rewrap.clone(), at.clone()));
    row("rewrap, beside an opening", &mut { open }, &mut { rewrap });

    let (of_warm, of_cold) = (client.block_on(sealed(&to_warm)), client.block_on(sealed(&to_cold)));
    let open_warm = |time| run(&client, time, || open_one(to_warm.clone(), of_warm.clone(), at.clone()));
    let open_cold = |time| run(&client, time, || open_one(to_cold.clone(), of_cold.clone(), at.clone()));
    row("open with cold keys, beside warm ones", &mut { open_warm }, &mut { open_cold });

    drop((to_warm, to_cold));
    for deployment in [&mut warm, &mut cold] {
        let _ended = server.block_on(deployment.stop());
    }
    let rows: Vec<Row> = rows;
    Group {
        base: "what each row names after `beside`, on a server that is as shipped",
        privet: "what each row names first: policy, keys, log on sled with fdatasync",
        items: "fields or customers",
        cpu: "both servers' threads",
        disk: disk.latency(),
        rows,
        facts: Vec::new(),
    }
}

/// Asks again and again for `time`, some at once.
fn run<F: Future<Output = ()> + Send + 'static>(client: &Runtime, time: Duration, ask: impl Fn() -> F) -> Round {
    let before = cpu::spent(&SERVER);
    let start = Instant::now();
    let latencies = client.block_on(async {
        let mut under_way = tokio::task::JoinSet::new();
        let mut latencies = Vec::new();
        loop {
            while start.elapsed() < time && under_way.len() < IN_FLIGHT {
                let (began, asked) = (Instant::now(), ask());
                under_way.spawn(async move {
                    asked.await;
                    u32::try_from(began.elapsed().as_nanos()).unwrap_or(u32::MAX)
                });
            }
            match under_way.join_next().await {
                Some(latency) => latencies.push(latency.unwrap()),
                None => return latencies,
            }
        }
    });
    let took = start.elapsed();
    Round { ops: latencies.len() as u64, took, cpu: cpu::spent(&SERVER).saturating_sub(before), latencies }
}

type Made = Arc<Mutex<Vec<Vec<String>>>>;

/// Seals for customers who are new.
async fn seal_new(client: Client, next: Arc<AtomicU64>, made: Made) {
    let first = next.fetch_add(BATCH as u64, Ordering::Relaxed);
    let subjects: Vec<String> = (first..first + BATCH as u64).map(|n| format!("new-{n}")).collect();
    let fields = subjects.iter().map(|subject| deployment::to_encrypt(subject, EMAIL, "a@mail.example")).collect();
    let answer = client.encryption().encrypt(deployment::encrypt("acme", fields)).await.unwrap().into_inner();
    assert!((0..BATCH).all(|at| !deployment::ciphertext(&answer, at).is_empty()));
    made.lock().unwrap().push(subjects);
}

/// Erases customers who were sealed for; if there are none, some are sealed for first, which makes the round slower.
async fn erase(client: Client, next: Arc<AtomicU64>, made: Made) {
    let taken = || made.lock().unwrap().pop();
    let subjects = match taken() {
        Some(subjects) => subjects,
        None => {
            seal_new(client.clone(), next, made.clone()).await;
            made.lock().unwrap().pop().unwrap_or_default()
        }
    };
    if subjects.is_empty() {
        return;
    }
    let request = v1::EraseSubjectsRequest { tenant: "acme".into(), subjects, ..Default::default() };
    let answer = client.subjects().erase_subjects(request).await.unwrap().into_inner();
    assert!(answer.results.iter().all(|one| matches!(one.result, Some(erasure_result::Result::Erased(_)))));
}

type Asks = Arc<[v1::DecryptRequest]>;

/// Requests to open fields of many customers.
async fn sealed(client: &Client) -> Asks {
    let mut asks = Vec::new();
    for first in (0..SUBJECTS).step_by(BATCH) {
        let fields = (first..first + BATCH)
            .map(|n| deployment::to_encrypt(&format!("customer-{n:08}"), EMAIL, &format!("{n:0>64}")));
        let request = deployment::encrypt("acme", fields.collect());
        let answer = client.encryption().encrypt(request.clone()).await.unwrap().into_inner();
        let field = |(at, field): (usize, &v1::FieldToEncrypt)| {
            deployment::to_decrypt(&field.subject, &field.class, &deployment::ciphertext(&answer, at))
        };
        asks.push(deployment::decrypt("acme", request.fields.iter().enumerate().map(field).collect()));
    }
    asks.into()
}

async fn rotate(client: &Client) {
    let request = v1::RotateSubjectKeysRequest { tenant: "acme".into(), ..Default::default() };
    client.keys().rotate_subject_keys(request).await.unwrap();
    // Versions made in the second of the marker count as old.
    tokio::time::sleep(Duration::from_millis(1_100)).await;
}

fn take(asks: &Asks, at: &AtomicU64) -> v1::DecryptRequest {
    let at = usize::try_from(at.fetch_add(1, Ordering::Relaxed)).unwrap();
    asks[at % asks.len()].clone()
}

async fn open_one(client: Client, asks: Asks, at: Arc<AtomicU64>) {
    let answer = client.encryption().decrypt(take(&asks, &at)).await.unwrap().into_inner();
    assert!((0..BATCH).all(|at| deployment::opened(&answer, at).is_ok()));
}

async fn rewrap_one(client: Client, asks: Asks, at: Arc<AtomicU64>) {
    let ask = take(&asks, &at);
    let field = |field: v1::FieldToDecrypt| v1::FieldToRewrap {
        subject: field.subject,
        class: field.class,
        ciphertext: field.ciphertext,
        ..Default::default()
    };
    let request = v1::RewrapRequest {
        tenant: ask.tenant,
        purpose: ask.purpose,
        fields: ask.fields.into_iter().map(field).collect(),
        ..Default::default()
    };
    let answer = client.encryption().rewrap(request).await.unwrap().into_inner();
    let changed = |field: &v1::RewrappedField| {
        field.changed && matches!(field.result, Some(rewrapped_field::Result::Ciphertext(_)))
    };
    assert!(answer.fields.iter().all(changed));
}
