//! Grants and memberships that begin and end while the server runs: on the second, in remembered decisions too, and whatever
//! the machine's clock does.

use std::{
    env,
    fmt::Write as _,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use privet::{
    cli::serve::Machine,
    clock::Clock,
    proto::v1::{self, Operation, Outcome, Verdict},
};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};
use tonic::Code;

use crate::support::{
    clock::TestClock,
    deployment::{Client, Deployment, Setup, decrypt, encrypt, to_decrypt, to_encrypt},
};

const EMAIL: &str = "pii/account/email";
const START: u64 = 1_800_000_000;

async fn server(clock: Arc<dyn Clock>, policy: String) -> Deployment {
    let machine = Machine { clock, ..Machine::this() };
    Deployment::start_on(machine, &env::temp_dir(), Setup { policy, ..Setup::default() }).await
}

/// A grant to decrypt e-mail addresses of acme for sign-up.
fn grant(who: &str, not_before: u64, expires: u64) -> String {
    let dates = [dated("not_before", not_before), dated("expires", expires)].concat();
    format!(
        "#: id={who}-decrypts{dates} reason=\"a test\"\n\
         p, spiffe://acme.example/{who}, acme, {EMAIL}, decrypt, signup, {not_before}, {expires}, allow\n"
    )
}

fn membership(who: &str, role: &str, expires: u64) -> String {
    let dates = dated("expires", expires);
    format!("#: id={who}-member{dates} reason=\"a test\"\ng, spiffe://acme.example/{who}, {role}, acme\n")
}

fn dated(key: &str, secs: u64) -> String {
    let date = OffsetDateTime::from_unix_timestamp(secs as i64).unwrap().format(&Rfc3339).unwrap();
    if secs == 0 { String::new() } else { format!(" {key}={date}") }
}

/// What the policy answers to the client about `action`, and until when.
async fn check(client: &Client, action: &str) -> (bool, Option<u64>) {
    let request = v1::CheckRequest {
        tenant: "acme".into(),
        purpose: "signup".into(),
        items: vec![v1::CheckItem { object: EMAIL.into(), action: action.into() }],
        ..Default::default()
    };
    let answer = client.authorization().check(request).await.unwrap().into_inner();
    let result = &answer.results[0];
    (result.verdict() == Verdict::Allow, result.valid_until.as_ref().map(|until| until.seconds as u64))
}

/// Whether the client gets the address.
async fn opens(client: &Client, sealed: &bytes::Bytes) -> bool {
    match client.encryption().decrypt(decrypt("acme", vec![to_decrypt("anna", EMAIL, sealed)])).await {
        Ok(_) => true,
        Err(status) if status.code() == Code::PermissionDenied => false,
        Err(status) => panic!("{status:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_grant_begins_and_ends_on_its_seconds_while_the_server_runs() {
    let clock = Arc::new(TestClock::at(START));
    let (from, to) = (START + 100, START + 200);
    let server = server(clock.clone(), grant("clerk", from, to)).await;
    let sealed = server.client("tester").await.seal("acme", "anna", EMAIL, b"anna@mail.example", b"").await;
    let clerk = server.client("clerk").await;
    for (now, allowed, until) in [
        (START, false, Some(from)),
        (from - 1, false, Some(from)),
        (from, true, Some(to)),
        (to - 1, true, Some(to)),
        (to, false, None),
        (to + 1, false, None),
    ] {
        clock.set_wall_secs(now);
        // The second answer is a remembered one.
        for _ in 0..2 {
            assert_eq!(check(&clerk, "decrypt").await, (allowed, until), "{now}");
            assert_eq!(opens(&clerk, &sealed).await, allowed, "{now}");
        }
    }
    // What has ended does not come back because the machine's clock does: time in the log never runs back.
    clock.set_wall_secs(from);
    assert_eq!(check(&clerk, "decrypt").await, (false, None));
    assert!(!opens(&clerk, &sealed).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_grant_begins_within_the_second_that_the_clock_reaches_it() {
    let clock = Arc::new(TestClock::at(START));
    let server = server(clock.clone(), grant("clerk", START + 1, START + 2)).await;
    let clerk = server.client("clerk").await;
    for (step, allowed) in [(999_999, false), (1, true), (999_999, true), (1, false)] {
        clock.advance(Duration::from_micros(step));
        assert_eq!(check(&clerk, "decrypt").await.0, allowed, "{step} µs later");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_membership_ends_on_its_second_while_the_server_runs_and_others_go_on() {
    let clock = Arc::new(TestClock::at(START));
    let (end, later) = (START + 100, START + 200);
    let policy = [membership("temp", "role:signup", end), membership("other-temp", "role:signup", later)].concat();
    let server = server(clock.clone(), policy).await;
    let (temp, other, lasting) =
        (server.client("temp").await, server.client("other-temp").await, server.client("signup-service").await);
    let seals = async |client: &Client| {
        let request = encrypt("acme", vec![to_encrypt("anna", EMAIL, "anna@mail.example")]);
        client.encryption().encrypt(request).await.is_ok()
    };
    for (now, allowed, until) in [
        (START, [true, true, true], Some(end)),
        (end - 1, [true, true, true], Some(end)),
        (end, [false, true, true], Some(later)),
        (later - 1, [false, true, true], Some(later)),
        (later, [false, false, true], None),
    ] {
        clock.set_wall_secs(now);
        for (client, allowed) in [&temp, &other, &lasting].into_iter().zip(allowed) {
            for _ in 0..2 {
                assert_eq!(check(client, "encrypt").await, (allowed, until), "{now}");
                assert_eq!(seals(client).await, allowed, "{now}");
            }
        }
    }
}

/// A clock that stands on the last second of a grant, and goes on to the next second when it has been read often enough.
#[derive(Debug)]
struct Tripping {
    secs: AtomicU64,
    reads_left: AtomicU64,
}

impl Tripping {
    fn arm(&self, secs: u64, reads: u64) {
        self.secs.store(secs, Ordering::SeqCst);
        self.reads_left.store(reads, Ordering::SeqCst);
    }
}

impl Clock for Tripping {
    fn wall_micros(&self) -> u64 {
        let spend = |left: u64| left.checked_sub(1);
        if self.reads_left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, spend) == Ok(1) {
            self.secs.fetch_add(1, Ordering::SeqCst);
        }
        self.secs.load(Ordering::SeqCst) * 1_000_000
    }

    fn monotonic(&self) -> Duration {
        Duration::ZERO
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_grant_that_ends_between_the_decision_and_its_record_opens_nothing() {
    let clock = Arc::new(Tripping { secs: AtomicU64::new(START), reads_left: AtomicU64::new(0) });
    let ends: Vec<u64> = (1..=CLERKS).map(|n| START + n * 100).collect();
    let mut policy = String::new();
    ends.iter().enumerate().for_each(|(n, end)| policy.write_str(&grant(&format!("clerk-{n}"), 0, *end)).unwrap());
    let server = server(clock.clone(), policy).await;
    let tester = server.client("tester").await;
    let sealed = tester.seal("acme", "anna", EMAIL, b"anna@mail.example", b"").await;
    let mut opened = 0;
    for (reads, end) in (1..).zip(&ends) {
        let clerk = server.client(&format!("clerk-{}", reads - 1)).await;
        clock.arm(end - 1, 0);
        assert_eq!(check(&clerk, "decrypt").await, (true, Some(*end)), "remembered from here on");
        clock.arm(end - 1, reads);
        opened += u64::from(opens(&clerk, &sealed).await);
    }
    assert!((1..CLERKS).contains(&opened), "the clock went on before some records and after others: {opened}");

    let mut released = 0;
    for entry in tester.log("acme").await {
        let outcomes = || entry.targets.iter().map(|target| target.outcome());
        if entry.operation() != Operation::Decrypt || !outcomes().any(|outcome| outcome == Outcome::Opened) {
            continue;
        }
        let clerk: usize = entry.principal.rsplit('-').next().unwrap().parse().unwrap();
        let time = entry.time.as_ref().unwrap().seconds as u64;
        assert!(time < ends[clerk], "clerk {clerk} was given an answer {} s late", time - ends[clerk]);
        released += 1;
    }
    assert_eq!(released, opened);
}

const CLERKS: u64 = 12;
