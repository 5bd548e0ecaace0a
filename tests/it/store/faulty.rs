//! The wrapper that fails on order: without orders it is the store, with them it fails exactly as told.

use std::time::{Duration, Instant};

use privet::store::{Commit, Error, Head, Room, Space, Store};

use super::{
    conformance::{Backend, conformance_suite},
    shorthand::{batch, committed, put, runtime, slot, text},
};
use crate::support::{
    faulty_store::{CommitFault, FaultyStore},
    memory_store::MemoryStore,
};

struct Faulty(MemoryStore);

impl Backend for Faulty {
    type Store = FaultyStore<MemoryStore>;

    fn open(&self) -> Self::Store {
        FaultyStore::new(self.0.clone()).0
    }
}

conformance_suite!(Faulty(MemoryStore::default()));

#[test]
fn a_fault_strikes_the_ordered_commit_only() {
    let (store, faults) = FaultyStore::new(MemoryStore::default());
    faults.on_commit(1, CommitFault::FailBefore);
    committed(&store, batch(1, vec![]));
    let next = batch(2, vec![put(Space::Tenant, "a", "1")]);
    assert!(matches!(store.commit(&store.head().unwrap(), &next), Err(Error::Storage { .. })));
    assert_eq!((store.head().unwrap().entries, text(&store, Space::Tenant, "a")), (1, None));
    committed(&store, next);
    assert_eq!(faults.commits(), 3);
}

#[test]
fn a_fault_after_or_an_unknown_outcome_leaves_the_batch_there() {
    for (fault, there) in [
        (CommitFault::FailAfter, true),
        (CommitFault::UnknownAfter, true),
        (CommitFault::UnknownBefore, false),
        (CommitFault::FailBefore, false),
    ] {
        let (store, faults) = FaultyStore::new(MemoryStore::default());
        faults.on_commit(0, fault);
        let batch = batch(1, vec![put(Space::Tenant, "a", "1")]);
        match store.commit(&Head::default(), &batch) {
            Ok(Commit::Unknown) => {
                assert!(matches!(fault, CommitFault::UnknownAfter | CommitFault::UnknownBefore));
            }
            Err(Error::Storage { .. }) => {
                assert!(matches!(fault, CommitFault::FailAfter | CommitFault::FailBefore));
            }
            other => panic!("{fault:?}: {other:?}"),
        }
        assert_eq!(text(&store, Space::Tenant, "a").is_some(), there, "{fault:?}");
        // Committing the same batch again is how a caller finds out.
        assert_eq!(store.commit(&Head::default(), &batch).unwrap(), Commit::Committed);
        assert_eq!(text(&store, Space::Tenant, "a").as_deref(), Some("1"));
    }
}

#[test]
fn reads_fail_while_told_to_and_commits_wait() {
    let (store, faults) = FaultyStore::new(MemoryStore::default());
    faults.fail_reads(true);
    let slots = [slot(Space::Tenant, "a")];
    let runtime = runtime();
    assert!(matches!(runtime.block_on(store.read(&slots)), Err(Error::Storage { .. })));
    faults.fail_reads(false);
    assert_eq!(runtime.block_on(store.read(&slots)).unwrap(), [None]);

    faults.delay_commits(Duration::from_millis(30));
    let before = Instant::now();
    committed(&store, batch(1, vec![]));
    assert!(before.elapsed() >= Duration::from_millis(30));
}

#[test]
fn room_is_scarce_while_told_to_and_releases_are_counted() {
    let (store, faults) = FaultyStore::new(MemoryStore::default());
    faults.scarce_room(true);
    store.release_reserve().unwrap();
    assert_eq!((store.room().unwrap(), faults.releases()), (Room::Scarce, 1));
    faults.scarce_room(false);
    assert_eq!(store.room().unwrap(), Room::Ample);
}

#[test]
fn a_panic_strikes_before_anything_is_there() {
    let (store, faults) = FaultyStore::new(MemoryStore::default());
    faults.on_every_commit(Some(CommitFault::Panic));
    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        store.commit(&Head::default(), &batch(1, vec![])).map(|_| ())
    }));
    assert!(panicked.is_err());
    faults.on_every_commit(None);
    assert_eq!(store.head().unwrap(), Head::default());
    committed(&store, batch(1, vec![]));
}
