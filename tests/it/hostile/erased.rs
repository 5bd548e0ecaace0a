//! Erasure against everybody at once: first seals that race it, openings in flight, and a server that is killed about when it
//! is acknowledged. What was acknowledged opens, or is erased; and nothing is released behind an erasure.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use privet::proto::{
    stored::{Operation, Outcome},
    v1::{self, Reason, encrypted_field, erasure_result},
};
use tokio::task::JoinSet;

use super::{left::Left, load::EMAIL, site::Site};
use crate::support::deployment::{Client, decrypt, encrypt, opened, to_decrypt, to_encrypt};

/// Races in all; a kill every [`EACH`].
const RACES: u64 = 10_000;
const EACH: u64 = 1_000;
/// Races at once.
const AT_ONCE: u64 = 16;

/// What was acknowledged of one subject.
#[derive(Default)]
struct Acknowledged {
    sealed: Vec<Bytes>,
    erased: bool,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn ten_thousand_first_seals_race_an_erasure_and_each_opens_or_is_erased() {
    let site = Site::new();
    let (mut erased, mut survived) = (0, 0);
    for first in (0..RACES).step_by(EACH as usize) {
        let node = site.boot(&[]);
        let raced = Arc::new(AtomicU64::new(0));
        let mut racers = JoinSet::new();
        for racer in 0..AT_ONCE {
            let (tester, officer) = (node.client(&site, "tester").await, node.client(&site, "privacy-officer").await);
            let raced = Arc::clone(&raced);
            racers.spawn(async move {
                let mut seen = HashMap::new();
                for n in (first + racer..first + EACH).step_by(AT_ONCE as usize) {
                    let subject = format!("subject-{n}");
                    let acknowledged = race(&tester, &officer, &subject).await;
                    raced.fetch_add(1, Ordering::SeqCst);
                    seen.insert(subject, acknowledged);
                }
                seen
            });
        }
        // In the midst of the last races, or right after them.
        while raced.load(Ordering::SeqCst) < EACH - first / EACH * 10 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        node.kill();
        let seen: HashMap<String, Acknowledged> = racers.join_all().await.into_iter().flatten().collect();

        let node = site.boot(&[]);
        let tester = node.client(&site, "tester").await;
        let all: Vec<_> =
            seen.iter().flat_map(|(id, seen)| seen.sealed.iter().map(move |one| (id, seen, one))).collect();
        for part in all.chunks(500) {
            let fields = part.iter().map(|(id, _, ciphertext)| to_decrypt(id, EMAIL, ciphertext)).collect();
            let answer = tester.encryption().decrypt(decrypt("acme", fields)).await.unwrap().into_inner();
            for (at, (id, seen, _)) in part.iter().enumerate() {
                match opened(&answer, at) {
                    // Sealed before an acknowledged erasure, or refused: nothing is sealed behind it.
                    Ok(value) => assert!(value == b"value" && !seen.erased, "{id}"),
                    Err(reason) => assert_eq!(reason, Reason::SubjectErased, "{id}"),
                }
                survived += u64::from(opened(&answer, at).is_ok());
            }
        }
        erased += seen.values().filter(|seen| seen.erased).count();
        node.stop();
    }
    assert!(erased > 1_000, "erasures came second often enough: {erased}, {survived} survived");
}

/// Two first seals and an erasure of one subject at once.
async fn race(tester: &Client, officer: &Client, subject: &str) -> Acknowledged {
    let seal = || async {
        let request = encrypt("acme", vec![to_encrypt(subject, EMAIL, "value")]);
        let answer = tester.encryption().encrypt(request).await.ok()?.into_inner();
        match answer.fields.into_iter().next()?.result? {
            encrypted_field::Result::Ciphertext(ciphertext) => Some(ciphertext),
            encrypted_field::Result::Error(error) => {
                assert_eq!(error.reason(), Reason::SubjectErased);
                None
            }
        }
    };
    let request =
        v1::EraseSubjectsRequest { tenant: "acme".into(), subjects: vec![subject.into()], ..Default::default() };
    let erase = async {
        // Some come first and find nothing.
        tokio::task::yield_now().await;
        let answer = officer.subjects().erase_subjects(request).await.ok()?.into_inner();
        matches!(answer.results[0].result, Some(erasure_result::Result::Erased(_))).then_some(())
    };
    let (one, other, erased) = tokio::join!(seal(), seal(), erase);
    Acknowledged { sealed: [one, other].into_iter().flatten().collect(), erased: erased.is_some() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nothing_is_released_behind_an_erasure_though_openings_are_in_flight_and_the_server_is_killed() {
    let mut acknowledged = 0;
    for round in 0..8_u64 {
        let site = Site::new();
        let node = site.boot(&[]);
        let tester = node.client(&site, "tester").await;
        let sealed = tester.seal("acme", "anna", EMAIL, b"a@mail.example", b"").await;
        let answered = Arc::new(AtomicU64::new(0));
        let mut readers = JoinSet::new();
        for _ in 0..12 {
            let (client, sealed, answered) =
                (node.client(&site, "tester").await, sealed.clone(), Arc::clone(&answered));
            readers.spawn(async move {
                let mut newest = 0;
                loop {
                    let request = decrypt("acme", vec![to_decrypt("anna", EMAIL, &sealed)]);
                    let Ok(answer) = client.encryption().decrypt(request).await else { return newest };
                    let answer = answer.into_inner();
                    match opened(&answer, 0) {
                        Ok(_) => newest = answer.receipts[0].entry_index,
                        Err(reason) => assert_eq!(reason, Reason::SubjectErased),
                    }
                    answered.fetch_add(1, Ordering::SeqCst);
                }
            });
        }
        while answered.load(Ordering::SeqCst) < 100 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let officer = node.client(&site, "privacy-officer").await;
        let erasing = tokio::spawn(async move {
            let request =
                v1::EraseSubjectsRequest { tenant: "acme".into(), subjects: vec!["anna".into()], ..Default::default() };
            Some(officer.subjects().erase_subjects(request).await.ok()?.into_inner().receipts[0].entry_index)
        });
        let erased = if round < 5 {
            tokio::time::sleep(Duration::from_millis(round * 4)).await;
            node.kill();
            erasing.await.unwrap()
        } else {
            let erased = erasing.await.unwrap();
            assert!(erased.is_some());
            tokio::time::sleep(Duration::from_millis(20 * (round - 4))).await;
            node.kill();
            erased
        };
        acknowledged += u64::from(erased.is_some());
        let newest = readers.join_all().await.into_iter().max().unwrap();

        let left = Left::read(site.dir.path(), &site.store()).await.unwrap();
        let at = left.whole.entries.iter().find(|(_, entry)| entry.operation() == Operation::EraseSubjects);
        let at = at.map(|(at, _)| *at);
        assert!(erased.is_none() || erased == at, "round {round}: an acknowledged erasure is there");
        if let Some(at) = at {
            let after = left.whole.entries.range(at + 1..).flat_map(|(_, entry)| &entry.targets);
            let released = after.filter(|target| target.outcome() == Outcome::Opened);
            assert_eq!(released.count(), 0, "round {round}");
            assert!(newest < at, "round {round}: nothing that was answered lies behind it");
        }
        let node = site.boot(&[]);
        let tester = node.client(&site, "tester").await;
        let request = decrypt("acme", vec![to_decrypt("anna", EMAIL, &sealed)]);
        let answer = tester.encryption().decrypt(request).await.unwrap().into_inner();
        assert_eq!(opened(&answer, 0).is_ok(), at.is_none(), "round {round}: fully before or fully after");
        node.stop();
    }
    assert!(acknowledged >= 3, "{acknowledged}");
}
