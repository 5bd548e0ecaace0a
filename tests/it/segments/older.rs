//! An older copy of the store put back beside an archive that was not: whatever refuses it must have left the newer store's
//! segments alone.

use std::collections::BTreeMap;

use privet::{audit::keys, proto::stored::LogKey};

use super::*;
use crate::support::{faulty_store::CommitFault, files::copy_directory};

/// Each file of a directory, with its bytes.
fn contents(dir: &Path) -> BTreeMap<std::path::PathBuf, Vec<u8>> {
    let (mut found, mut left) = (BTreeMap::new(), vec![dir.to_owned()]);
    while let Some(dir) = left.pop() {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { left.push(path) } else { drop(found.insert(path.clone(), fs::read(path).unwrap())) }
        }
    }
    found
}

/// Puts one store in the place of another; the archive stays.
fn put_back(dir: &Path, store: &str, instead_of: &str) {
    fs::rename(dir.join("store"), dir.join(instead_of)).unwrap();
    fs::rename(dir.join(store), dir.join("store")).unwrap();
}

async fn name_key(bench: &Bench) {
    let verifier_key = bench.log.verifier().to_string();
    let key = keys::effect(1, &LogKey { verifier_key, ..Default::default() });
    let record = Record::encode(&Tenant::system(), Entry::default(), vec![]).unwrap();
    let effects = Effects { writes: vec![key], ..Default::default() };
    bench.log.commit(record, Basis::default(), effects, Unreleased::new(())).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn without_an_anchor_an_older_store_is_refused_by_the_archive_and_costs_it_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let mut bench = open(dir, bench_clock()).await;
    bench.append(300).await;
    let clock = bench.close();
    copy_directory(&dir.join("store"), &dir.join("older"));
    bench = open(dir, clock).await;
    bench.segments.seal(256).await.unwrap();
    let clock = bench.close();
    let archive = contents(&dir.join("archive"));

    put_back(dir, "older", "newer");
    let refused = try_open(dir, clock.clone(), None).await.err().unwrap().to_string();
    assert!(refused.contains("the store is older than its archive"), "{refused}");
    assert_eq!(contents(&dir.join("archive")), archive);
    put_back(dir, "newer", "older");
    open(dir, clock).await.check(0).await;
}

/// The process ended between the commit of the segment and all that comes after.
#[tokio::test(flavor = "multi_thread")]
async fn the_anchor_refuses_an_older_store_before_the_archive_is_touched() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let anchor = dir.join("anchor");
    let bench = try_open(dir, bench_clock(), Some(Anchor::create(&anchor, ORIGIN).unwrap())).await.unwrap();
    name_key(&bench).await;
    bench.append(300).await;
    let clock = bench.close();
    copy_directory(&dir.join("store"), &dir.join("older"));
    let bench = try_open(dir, clock, Some(Anchor::open(&anchor, ORIGIN).unwrap())).await.unwrap();
    bench.append(10).await;
    bench.faults.on_commit(0, CommitFault::FailAfter);
    bench.segments.seal(256).await.unwrap_err();
    let clock = bench.close();
    let archive = contents(&dir.join("archive"));
    assert!(archive.contains_key(&dir.join("archive/sealing")));

    put_back(dir, "older", "newer");
    let older = try_open(dir, clock.clone(), Some(Anchor::open(&anchor, ORIGIN).unwrap())).await.err().unwrap();
    assert!(older.to_string().contains("the store is older than its anchor"), "{older}");
    let without = try_open(dir, clock.clone(), None).await.err().unwrap().to_string();
    assert!(without.contains("if there is a newer store, put that back"), "{without}");
    assert_eq!(contents(&dir.join("archive")), archive);
    put_back(dir, "newer", "older");
    let bench = try_open(dir, clock, Some(Anchor::open(&anchor, ORIGIN).unwrap())).await.unwrap();
    assert_eq!(bench.log.history().bounds().sealed_end(), 256);
    bench.check(0).await;
}

/// The process ended before the commit: no store has the segment, and the newest one goes on without it.
#[tokio::test(flavor = "multi_thread")]
async fn the_newest_store_seals_anew_what_it_never_took() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let anchor = dir.join("anchor");
    let bench = try_open(dir, bench_clock(), Some(Anchor::create(&anchor, ORIGIN).unwrap())).await.unwrap();
    name_key(&bench).await;
    bench.append(300).await;
    bench.faults.on_commit(0, CommitFault::FailBefore);
    bench.segments.seal(256).await.unwrap_err();
    let clock = bench.close();
    assert!(dir.join("archive/checkpoint").exists());
    let bench = try_open(dir, clock, Some(Anchor::open(&anchor, ORIGIN).unwrap())).await.unwrap();
    assert!(!dir.join("archive/checkpoint").exists());
    bench.segments.seal(256).await.unwrap();
    assert!(!dir.join("archive/sealing").exists());
    bench.check(0).await;
}
