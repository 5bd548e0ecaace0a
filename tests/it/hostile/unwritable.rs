//! A log that can't be written: no answer, no health, an end with a fault – and everything acknowledged before is there.

use std::{error::Error as _, ffi::OsStr, fs, path::PathBuf, time::Duration};

use privet::{
    proto::{stored, v1},
    server::Ended,
};
use tokio::time::timeout;
use tonic::{Code, Status};
use tonic_health::pb::{HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient};
use tonic_types::StatusExt;

use super::{
    left::Left,
    load::{EMAIL, Load, opening},
    site::{DAYS_AHEAD, Node, Site},
};
use crate::support::{
    deployment::{Setup, decrypt, encrypt, opened, to_decrypt, to_encrypt},
    shim,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_disk_that_fails_to_sync_ends_the_server() {
    fail("store", "sync EIO").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_full_disk_ends_the_server() {
    fail("store", "write ENOSPC").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_disk_that_turns_read_only_ends_the_server() {
    fail("store", "all EROFS").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_disk_that_fails_to_write_ends_the_server() {
    fail("store", "write EIO").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_anchor_that_fails_to_sync_ends_the_server() {
    fail("anchor", "sync EIO").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_anchor_on_a_full_disk_ends_the_server() {
    fail("anchor", "write ENOSPC").await;
}

/// The index and sealed segments are no part of an answer: a disk that fails them costs nobody anything.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_archive_that_fails_is_tried_again_and_answers_go_on() {
    let site = Site::with(Setup { config: "segment_age_max_days = 1".into(), ..Setup::default() });
    let node = site.boot(&[]);
    let client = node.client(&site, "tester").await;
    let load = Load::start(&[client], 16, 5);
    while load.acknowledged_so_far() < 700 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    node.stop();
    let (mut acknowledged, _) = load.end().await;
    let archive = fs::canonicalize(site.store().join("archive")).unwrap();
    for (what, fault) in
        [("tile", "write ENOSPC"), ("tile", "write EIO"), ("sealing.new", "sync EIO"), ("checkpoint.new", "sync EIO")]
    {
        let trigger = site.dir.path().join("fault");
        fs::write(&trigger, fault).unwrap();
        let node = site.boot(&[
            (DAYS_AHEAD, OsStr::new("2")),
            ("LD_PRELOAD", shim::compile("fault").as_os_str()),
            ("PRIVET_FAULT_DIR", archive.join(what).as_os_str()),
            ("PRIVET_FAULT_TRIGGER", trigger.as_os_str()),
        ]);
        let client = node.client(&site, "tester").await;
        assert_eq!(opening(&client, &acknowledged).await, acknowledged.len());
        let load = Load::start(&[client], 8, 6);
        while load.acknowledged_so_far() < 50 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        node.stop();
        acknowledged.extend(load.end().await.0);
        let left = Left::read(site.dir.path(), &site.store()).await.unwrap();
        assert_eq!((left.whole.sealed_end, left.lost(&acknowledged).len()), (0, 0), "{fault}");
    }
    // A stop may come between the archive's files and their record in the log; the next start goes on.
    let mut sealed_end = 0;
    for _ in 0..10 {
        let node = site.boot(&[(DAYS_AHEAD, OsStr::new("2"))]);
        while !site.store().join("archive/checkpoint").exists() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        node.stop();
        let left = Left::read(site.dir.path(), &site.store()).await.unwrap();
        assert!(left.lost(&acknowledged).is_empty());
        sealed_end = left.whole.sealed_end;
        if sealed_end > 0 {
            break;
        }
    }
    assert!(sealed_end > 0);
}

/// Whatever fails while it commits, an erasure is there as a whole – keys gone, certificate, record – or not at all.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_erasure_whose_commit_fails_is_fully_before_or_fully_after() {
    for fault in ["sync EIO", "write EIO", "write ENOSPC", "all EROFS"] {
        let site = Site::new();
        let (node, trigger) = boot(&site, "store");
        let (tester, officer) = (node.client(&site, "tester").await, node.client(&site, "privacy-officer").await);
        let (mut gone, mut kept) = (Vec::new(), Vec::new());
        for n in 0..20 {
            gone.push((format!("gone-{n}"), tester.seal("acme", &format!("gone-{n}"), EMAIL, b"a", b"").await));
            kept.push((format!("kept-{n}"), tester.seal("acme", &format!("kept-{n}"), EMAIL, b"a", b"").await));
        }
        let request = v1::EraseSubjectsRequest {
            tenant: "acme".into(),
            subjects: gone.iter().map(|(subject, _)| subject.clone()).collect(),
            ..Default::default()
        };
        fs::write(&trigger, fault).unwrap();
        let refused = officer.subjects().erase_subjects(request.clone()).await.unwrap_err();
        assert_eq!(refused.code(), Code::Unavailable, "{fault}: {refused:?}");
        assert_eq!(node.ended(Duration::from_secs(60)), Ended::Fault, "{fault}");

        let left = Left::read(site.dir.path(), &site.store()).await.unwrap();
        let recorded = left.entries().any(|entry| entry.operation() == stored::Operation::EraseSubjects);
        let node = site.boot(&[]);
        let (tester, officer) = (node.client(&site, "tester").await, node.client(&site, "privacy-officer").await);
        let open = async |all: &[(String, bytes::Bytes)]| {
            let fields = all.iter().map(|(subject, ciphertext)| to_decrypt(subject, EMAIL, ciphertext)).collect();
            let answer = tester.encryption().decrypt(decrypt("acme", fields)).await.unwrap().into_inner();
            (0..all.len()).map(|at| opened(&answer, at).err()).collect::<Vec<_>>()
        };
        assert_eq!(open(&kept).await, vec![None; 20], "{fault}: no key is lost that should live");
        let expected = recorded.then_some(v1::Reason::SubjectErased);
        assert_eq!(open(&gone).await, vec![expected; 20], "{fault}: recorded {recorded}");
        let answer = officer.subjects().erase_subjects(request).await.unwrap().into_inner();
        for result in answer.results {
            let Some(v1::erasure_result::Result::Erased(erased)) = result.result else { panic!("{fault}") };
            assert_eq!((erased.erasures.len(), erased.erasures[0].now), (1, !recorded), "{fault}");
            assert!(erased.erasures[0].certificate.starts_with("privet-erasure-certificate/v1"));
        }
        node.stop();
    }
}

/// `what` is a directory of the site.
async fn fail(what: &str, fault: &str) {
    let site = Site::new();
    let (node, trigger) = boot(&site, what);
    let mut clients = Vec::new();
    for _ in 0..3 {
        clients.push(node.client(&site, "tester").await);
    }
    let tester = &clients[0];
    let known = tester.seal("acme", "anna", EMAIL, b"anna@mail.example", b"").await;
    let mut health = HealthClient::new(tester.channel.clone())
        .watch(HealthCheckRequest { service: String::new() })
        .await
        .unwrap()
        .into_inner();
    assert_eq!(health.message().await.unwrap().unwrap().status(), ServingStatus::Serving);

    let load = Load::start(&clients, 32, 3);
    while load.acknowledged_so_far() < 50 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    fs::write(trigger.with_extension("new"), fault).unwrap();
    fs::rename(trigger.with_extension("new"), &trigger).unwrap();

    // What was under way when the disk failed.
    let (acknowledged, failures) = load.end().await;
    assert!(failures.iter().any(is_refused_for_the_log), "{failures:?}");
    assert!(failures.iter().all(|status| is_refused_for_the_log(status) || is_hung_up(status)), "{failures:?}");
    // What comes after gets no answer either, whatever it asks for.
    for status in [
        tester.encryption().encrypt(encrypt("acme", vec![to_encrypt("late", EMAIL, "late@mail.example")])).await.err(),
        tester.encryption().decrypt(decrypt("acme", vec![to_decrypt("anna", EMAIL, &known)])).await.err(),
        tester.authorization().check(check()).await.err(),
        tester.audit().list_entries(v1::ListEntriesRequest { tenant: "acme".into(), ..Default::default() }).await.err(),
    ] {
        let status = status.expect("nothing is answered without its record");
        assert!(is_refused_for_the_log(&status) || is_hung_up(&status), "{status:?}");
    }
    let told = timeout(Duration::from_secs(5), health.message()).await.expect("who watches is told");
    assert_eq!(told.unwrap().unwrap().status(), ServingStatus::NotServing);
    assert_eq!(node.ended(Duration::from_secs(15)), Ended::Fault);

    let left = Left::read(site.dir.path(), &site.store()).await.unwrap();
    assert_eq!(left.lost(&acknowledged).len(), 0, "of {} acknowledged", acknowledged.len());
    assert_eq!(left.sealed_aliases().len(), left.subjects, "no key without its entry");
    let node = site.boot(&[]);
    let tester = node.client(&site, "tester").await;
    assert_eq!(opening(&tester, &acknowledged).await, acknowledged.len());
    let late = tester.encryption().decrypt(decrypt("acme", vec![to_decrypt("late", EMAIL, &known)])).await.unwrap();
    let v1::decrypted_field::Result::Error(error) = late.into_inner().fields.remove(0).result.unwrap() else {
        panic!()
    };
    assert_eq!(error.reason(), v1::Reason::UnknownSubject, "nothing was made for what was refused after the fault");
    node.kill();
}

/// Serves on a disk that fails once the file whose path is given is there.
pub fn boot(site: &Site, what: &str) -> (Node, PathBuf) {
    let trigger = site.dir.path().join("fault");
    // A first start makes the directory, so that its path is what the shim compares.
    site.boot(&[]).kill();
    let failing = fs::canonicalize(site.dir.path().join(what)).unwrap();
    let node = site.boot(&[
        ("LD_PRELOAD", shim::compile("fault").as_os_str()),
        ("PRIVET_FAULT_DIR", failing.as_os_str()),
        ("PRIVET_FAULT_TRIGGER", trigger.as_os_str()),
    ]);
    (node, trigger)
}

fn check() -> v1::CheckRequest {
    let items = vec![v1::CheckItem { object: EMAIL.into(), action: "decrypt".into() }];
    v1::CheckRequest { tenant: "acme".into(), purpose: "signup".into(), items, ..Default::default() }
}

fn is_refused_for_the_log(status: &Status) -> bool {
    let reason = status.get_error_details().error_info().map(|info| info.reason.clone());
    // A failing disk may stop a reader a moment before the log knows.
    let reasons = ["LOG_UNAVAILABLE", "STATE_UNREADABLE"];
    status.code() == Code::Unavailable && reason.is_some_and(|reason| reasons.contains(&reason.as_str()))
}

/// The connection was closed, so no answer came: the error is the client's own.
fn is_hung_up(status: &Status) -> bool {
    status.source().is_some_and(|source| source.is::<tonic::transport::Error>())
}
