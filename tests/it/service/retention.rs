//! Retention: what was kept for its time is erased, after a day of looking, and nothing else is.

use std::{env, sync::Arc, time::Duration};

use privet::{
    cli::serve::Machine,
    proto::v1::{self, Operation, Outcome, Reason},
};
use tokio::time::sleep;
use tonic::Code;

use crate::support::{
    clock::TestClock,
    deployment::{Client, Deployment, Setup, decrypt, encrypt, opened, to_decrypt, to_encrypt},
};

const EMAIL: &str = "pii/account/email";
const TAX_ID: &str = "pii/billing/tax_id";
const ACTIVITY: &str = "pii/usage/activity";
const START: u64 = 1_800_000_000;
const DAY: u64 = 86_400;

async fn server(clock: &Arc<TestClock>) -> Deployment {
    let machine = Machine { clock: clock.clone(), ..Machine::this() };
    Deployment::start_on(machine, &env::temp_dir(), Setup::default()).await
}

async fn seal(client: &Client, subject: &str, class: &str) -> (bytes::Bytes, u32) {
    let request = encrypt("acme", vec![to_encrypt(subject, class, "value")]);
    let answer = client.encryption().encrypt(request).await.unwrap().into_inner();
    (crate::support::deployment::ciphertext(&answer, 0), answer.fields[0].key_version)
}

async fn open(client: &Client, subject: &str, class: &str, sealed: &(bytes::Bytes, u32)) -> Result<Vec<u8>, Reason> {
    let request = decrypt("acme", vec![to_decrypt(subject, class, &sealed.0)]);
    opened(&client.encryption().decrypt(request).await.unwrap().into_inner(), 0)
}

async fn close(officer: &Client, subject: &str) {
    let request = v1::CloseSubjectRequest { tenant: "acme".into(), subject: subject.into(), ..Default::default() };
    officer.subjects().close_subject(request).await.unwrap();
}

/// Due by a day after the start: category, closed, versions, held.
async fn due(officer: &Client, day: u64) -> Vec<(String, u64, u64, u64)> {
    let before = prost_types::Timestamp { seconds: (START + day * DAY) as i64, nanos: 0 };
    let request = v1::CountDueRequest { tenant: "acme".into(), before: Some(before), ..Default::default() };
    let answer = officer.subjects().count_due(request).await.unwrap().into_inner();
    answer.counts.into_iter().map(|one| (one.category, one.closed, one.versions, one.held)).collect()
}

/// Goes on by so many days, and one more in which every look finds the same.
async fn days_pass(clock: &TestClock, days: u64) {
    for days in [days, 1] {
        clock.advance(Duration::from_secs(days * DAY));
        some_looks().await;
    }
}

/// There is one each second, if the machine has time for it.
async fn some_looks() {
    sleep(Duration::from_millis(4_000)).await;
}

/// Waits for so many sweeps, and lets days pass for looks that came late.
async fn until_swept(clock: &TestClock, tester: &Client, count: usize) {
    for _ in 0..15 {
        if sweeps(tester).await.len() >= count {
            return;
        }
        some_looks().await;
        clock.advance(Duration::from_secs(DAY));
    }
    panic!("nothing is swept");
}

async fn sweeps(tester: &Client) -> Vec<v1::AuditEntry> {
    tester.log("acme").await.into_iter().filter(|entry| entry.operation() == Operation::Sweep).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_kept_for_its_time_is_erased_and_what_is_held_or_open_stays() {
    let clock = Arc::new(TestClock::at(START));
    let server = server(&clock).await;
    let (tester, officer) = (server.client("tester").await, server.client("privacy-officer").await);
    let (email, tax_id) = (seal(&tester, "anna", EMAIL).await, seal(&tester, "anna", TAX_ID).await);
    let (held, still_open) = (seal(&tester, "carl", EMAIL).await, seal(&tester, "dora", EMAIL).await);
    close(&officer, "anna").await;
    close(&officer, "carl").await;
    let hold = v1::PlaceHoldRequest {
        tenant: "acme".into(),
        subject: "carl".into(),
        hold_id: "CASE-1".into(),
        reason: "r".into(),
        ..Default::default()
    };
    officer.subjects().place_hold(hold).await.unwrap();
    assert_eq!(due(&officer, 29).await, []);
    assert_eq!(due(&officer, 30).await, [("account".into(), 1, 0, 1)]);
    assert_eq!(due(&officer, 2_557).await, [("account".into(), 1, 0, 1), ("billing".into(), 1, 0, 0)]);

    days_pass(&clock, 28).await;
    assert!(open(&tester, "anna", EMAIL, &email).await.is_ok() && sweeps(&tester).await.is_empty());
    clock.advance(Duration::from_secs(3 * DAY));
    until_swept(&clock, &tester, 1).await;
    assert_eq!(open(&tester, "anna", EMAIL, &email).await, Err(Reason::SubjectErased));
    assert!(open(&tester, "anna", TAX_ID, &tax_id).await.is_ok(), "billing is kept for seven years");
    assert!(open(&tester, "carl", EMAIL, &held).await.is_ok(), "held");
    assert!(open(&tester, "dora", EMAIL, &still_open).await.is_ok(), "open");

    let swept = sweeps(&tester).await;
    assert_eq!(swept.len(), 1);
    assert!(
        swept[0].effect.contains("1 subjects erased") && swept[0].principal == "system:retention",
        "{:?}",
        swept[0]
    );
    assert_eq!((swept[0].targets[0].outcome(), swept[0].targets[0].aliases.len()), (Outcome::Allowed, 1));
    let request = v1::GetErasureCertificateRequest {
        tenant: "acme".into(),
        erasure_id: swept[0].targets[0].aliases[0].clone(),
        ..Default::default()
    };
    let note = officer.subjects().get_erasure_certificate(request).await.unwrap().into_inner().certificate;
    assert!(note.contains("\ncategories account\n"), "{note}");
}

#[tokio::test(flavor = "multi_thread")]
async fn usage_data_is_sealed_under_monthly_keys_and_each_goes_when_its_last_value_was_kept_for_its_time() {
    let clock = Arc::new(TestClock::at(START));
    let server = server(&clock).await;
    let (tester, officer) = (server.client("tester").await, server.client("privacy-officer").await);
    let first = seal(&tester, "anna", ACTIVITY).await;
    clock.advance(Duration::from_secs(29 * DAY));
    let same_month = seal(&tester, "anna", ACTIVITY).await;
    clock.advance(Duration::from_secs(2 * DAY));
    let next_month = seal(&tester, "anna", ACTIVITY).await;
    assert_eq!((first.1, same_month.1, next_month.1), (1, 1, 2));
    assert_eq!((due(&officer, 429).await, due(&officer, 430).await), (vec![], vec![("usage".into(), 0, 1, 0)]));

    clock.advance(Duration::from_secs(400 * DAY));
    until_swept(&clock, &tester, 1).await;
    for gone in [&first, &same_month] {
        assert_eq!(open(&tester, "anna", ACTIVITY, gone).await, Err(Reason::InvalidCiphertext));
    }
    assert!(open(&tester, "anna", ACTIVITY, &next_month).await.is_ok());
    assert_eq!(seal(&tester, "anna", ACTIVITY).await.1, 3, "what expires is no erasure");
    let swept = sweeps(&tester).await;
    assert!(swept.last().unwrap().effect.contains("1 key versions destroyed"), "{:?}", swept.last());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_steps_stops_the_sweeper_until_somebody_says_that_it_is_right() {
    let clock = Arc::new(TestClock::at(START));
    let mut server = server(&clock).await;
    let (tester, officer) = (server.client("tester").await, server.client("privacy-officer").await);
    let email = seal(&tester, "anna", EMAIL).await;
    close(&officer, "anna").await;
    some_looks().await;
    clock.set_wall_secs(START + 365 * DAY);
    days_pass(&clock, 2).await;
    days_pass(&clock, 2).await;
    assert!(open(&tester, "anna", EMAIL, &email).await.is_ok(), "a wrong clock costs nobody's data");

    // A start alone, as after a crash, says nothing of the clock.
    let machine = || Machine { clock: clock.clone(), ..Machine::this() };
    assert_eq!(server.stop().await, privet::server::Ended::Shutdown);
    server.run_at(machine()).await;
    days_pass(&clock, 2).await;
    days_pass(&clock, 2).await;
    assert!(
        open(&server.client("tester").await, "anna", EMAIL, &email).await.is_ok(),
        "a start is no word on the clock"
    );
    assert_eq!(server.stop().await, privet::server::Ended::Shutdown);
    server.run_confirmed_at(machine()).await;
    let tester = server.client("tester").await;
    some_looks().await;
    assert!(open(&tester, "anna", EMAIL, &email).await.is_ok(), "not before a day of looking");
    let log = server.client("auditor").await.log("_system").await;
    assert!(log.iter().any(|entry| entry.effect.contains("the clock is said to be right")));
    until_swept(&clock, &tester, 1).await;
    assert_eq!(open(&tester, "anna", EMAIL, &email).await, Err(Reason::SubjectErased));
}

/// What is put right within a day costs nothing: a closure of long ago, and a hold that is released.
#[tokio::test(flavor = "multi_thread")]
async fn what_has_become_due_by_a_word_is_due_for_a_day_before_it_goes() {
    let clock = Arc::new(TestClock::at(START));
    let server = server(&clock).await;
    let (tester, officer) = (server.client("tester").await, server.client("privacy-officer").await);
    let email = seal(&tester, "anna", EMAIL).await;
    some_looks().await;
    clock.advance(Duration::from_secs(DAY / 2));
    some_looks().await;
    let long_ago = prost_types::Timestamp { seconds: (START - 365 * DAY) as i64, nanos: 0 };
    let request = v1::CloseSubjectRequest {
        tenant: "acme".into(),
        subject: "anna".into(),
        close_time: Some(long_ago),
        ..Default::default()
    };
    officer.subjects().close_subject(request).await.unwrap();
    clock.advance(Duration::from_secs(DAY * 3 / 4));
    some_looks().await;
    assert!(open(&tester, "anna", EMAIL, &email).await.is_ok(), "closed less than a day ago");
    until_swept(&clock, &tester, 1).await;
    assert_eq!(open(&tester, "anna", EMAIL, &email).await, Err(Reason::SubjectErased));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_retention_that_was_shortened_counts_once_it_has_stood_for_a_day() {
    let clock = Arc::new(TestClock::at(START));
    let mut server = server(&clock).await;
    let (tester, officer) = (server.client("tester").await, server.client("privacy-officer").await);
    let email = seal(&tester, "anna", EMAIL).await;
    close(&officer, "anna").await;
    some_looks().await;
    clock.advance(Duration::from_secs(10 * DAY));
    some_looks().await;
    some_looks().await;
    clock.advance(Duration::from_secs(DAY / 2));
    some_looks().await;
    assert_eq!(server.stop().await, privet::server::Ended::Shutdown);
    let file = server.dir.path().join("policies/catalogue.toml");
    let text = std::fs::read_to_string(&file).unwrap();
    let shorter = text.replace("days = 30 }", "days = 1 }");
    assert_ne!(text, shorter);
    std::fs::write(&file, shorter).unwrap();
    server.run_adopting_at(Machine { clock: clock.clone(), ..Machine::this() }).await;
    let tester = server.client("tester").await;
    some_looks().await;
    clock.advance(Duration::from_secs(DAY * 3 / 4));
    some_looks().await;
    assert!(open(&tester, "anna", EMAIL, &email).await.is_ok(), "it has been so for less than a day");
    until_swept(&clock, &tester, 1).await;
    assert_eq!(open(&tester, "anna", EMAIL, &email).await, Err(Reason::SubjectErased));
}

/// A clock that is behind when the server seals makes no key look old once it is right.
#[tokio::test(flavor = "multi_thread")]
async fn a_key_made_under_a_clock_that_is_behind_is_not_swept_as_an_old_one() {
    let clock = Arc::new(TestClock::at(START));
    let server = server(&clock).await;
    let tester = server.client("tester").await;
    clock.set_wall_secs(START - 500 * DAY);
    let activity = seal(&tester, "anna", ACTIVITY).await;
    let show = v1::GetSubjectRequest { tenant: "acme".into(), subject: "anna".into(), ..Default::default() };
    let shown = server.client("privacy-officer").await.subjects().get_subject(show).await.unwrap().into_inner();
    let made = shown.subject.unwrap().categories[0].versions[0].create_time.unwrap().seconds;
    assert!(made >= START as i64, "{made}");
    assert!(open(&tester, "anna", ACTIVITY, &activity).await.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_started_anew_each_half_day_sweeps_as_well() {
    let clock = Arc::new(TestClock::at(START));
    let mut server = server(&clock).await;
    let (tester, officer) = (server.client("tester").await, server.client("privacy-officer").await);
    let email = seal(&tester, "anna", EMAIL).await;
    close(&officer, "anna").await;
    let restart = async |server: &mut Deployment| {
        let machine = Machine { clock: clock.clone(), ..Machine::this() };
        assert_eq!(server.stop().await, privet::server::Ended::Shutdown);
        server.run_at(machine).await;
        some_looks().await;
    };
    // What it has looked until now goes with the first sweep: there is nothing yet.
    clock.advance(Duration::from_secs(31 * DAY));
    some_looks().await;
    for _ in 0..2 {
        restart(&mut server).await;
        assert!(open(&server.client("tester").await, "anna", EMAIL, &email).await.is_ok());
        clock.advance(Duration::from_secs(DAY / 2));
        some_looks().await;
    }
    let tester = server.client("tester").await;
    assert_eq!(open(&tester, "anna", EMAIL, &email).await, Err(Reason::SubjectErased));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_preview_is_of_a_time_and_of_ones_own_tenant() {
    let server = Deployment::start().await;
    let officer = server.client("privacy-officer").await;
    let code = async |tenant: &str, seconds: Option<i64>| {
        let before = seconds.map(|seconds| prost_types::Timestamp { seconds, nanos: 0 });
        let request = v1::CountDueRequest { tenant: tenant.into(), before, ..Default::default() };
        officer.subjects().count_due(request).await.map_or_else(|status| status.code(), |_| Code::Ok)
    };
    assert_eq!(code("acme", Some(i64::MAX)).await, Code::Ok);
    for none in [None, Some(0), Some(-1)] {
        assert_eq!(code("acme", none).await, Code::InvalidArgument);
    }
    assert_eq!(code("other", Some(1)).await, Code::PermissionDenied);
}
