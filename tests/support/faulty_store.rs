//! A [`Store`] that fails on order. Wrap any store, keep a [`Faults`] handle, and say what goes wrong and when:
//!
//! ```ignore
//! let (store, faults) = FaultyStore::new(MemoryStore::default());
//! faults.on_commit(2, CommitFault::FailBefore);    // the third commit from now fails; nothing of it is there
//! faults.fail_reads(true);                         // reads and scans fail until told otherwise
//! faults.delay_commits(Duration::from_millis(50)); // each commit first waits
//! faults.scarce_room(true);                        // room is scarce until told otherwise
//! ```
//!
//! A commit fault is used up when it strikes. A real store never writes again after a failed commit; this one does if asked,
//! so that a test can see that nobody asks. `faults.commits()` counts the calls.

use std::{
    collections::BTreeMap,
    future::ready,
    io,
    ops::Range,
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::Duration,
};

use privet::store::{Batch, Commit, Direction, Error, Head, Reading, Room, Slot, Space, Store};

/// What happens to one commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CommitFault {
    /// It fails with [`Error::Storage`], and nothing of it is there.
    FailBefore,
    /// It fails with [`Error::Storage`], and all of it is there.
    FailAfter,
    /// It answers [`Commit::Unknown`], and nothing of it is there.
    UnknownBefore,
    /// It answers [`Commit::Unknown`], and all of it is there.
    UnknownAfter,
    /// It panics, and nothing of it is there.
    Panic,
}

/// The wrapped store.
pub struct FaultyStore<S> {
    inner: S,
    faults: Faults,
}

/// The handle that orders faults; clones order for the same store.
#[derive(Clone, Default)]
pub struct Faults(Arc<Mutex<Orders>>);

#[derive(Default)]
struct Orders {
    commits: u64,
    on_commit: BTreeMap<u64, CommitFault>,
    every_commit: Option<CommitFault>,
    reads_fail: bool,
    commit_delay: Duration,
    scarce: bool,
    releases: u64,
}

impl<S: Store> FaultyStore<S> {
    /// Wraps a store; without orders it behaves as the store does.
    pub fn new(inner: S) -> (Self, Faults) {
        let faults = Faults::default();
        (Self { inner, faults: faults.clone() }, faults)
    }
}

impl Faults {
    /// Orders a fault for one commit, counted from now: 0 is the next.
    pub fn on_commit(&self, from_now: u64, fault: CommitFault) {
        self.with(|orders| orders.on_commit.insert(orders.commits + from_now, fault));
    }

    /// Orders a fault for every commit that has none of its own; `None` ends it.
    pub fn on_every_commit(&self, fault: Option<CommitFault>) {
        self.with(|orders| orders.every_commit = fault);
    }

    /// Makes reads and scans fail with [`Error::Storage`], or work again.
    pub fn fail_reads(&self, fail: bool) {
        self.with(|orders| orders.reads_fail = fail);
    }

    /// Makes each commit wait before it does anything.
    pub fn delay_commits(&self, delay: Duration) {
        self.with(|orders| orders.commit_delay = delay);
    }

    /// Makes room scarce, or as it is.
    pub fn scarce_room(&self, scarce: bool) {
        self.with(|orders| orders.scarce = scarce);
    }

    /// How often the reserve was given back.
    pub fn releases(&self) -> u64 {
        self.with(|orders| orders.releases)
    }

    /// How often `commit` was called.
    pub fn commits(&self) -> u64 {
        self.with(|orders| orders.commits)
    }

    fn next_commit(&self) -> (Duration, Option<CommitFault>) {
        self.with(|orders| {
            let fault = orders.on_commit.remove(&orders.commits).or(orders.every_commit);
            orders.commits += 1;
            (orders.commit_delay, fault)
        })
    }

    fn with<T>(&self, job: impl FnOnce(&mut Orders) -> T) -> T {
        job(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl<S: Store> Store for FaultyStore<S> {
    fn head(&self) -> Result<Head, Error> {
        self.inner.head()
    }

    fn read<'a>(&'a self, slots: &'a [Slot]) -> Reading<'a, Vec<Option<Vec<u8>>>> {
        if self.faults.with(|orders| orders.reads_fail) {
            return Box::pin(ready(Err(ordered("read"))));
        }
        self.inner.read(slots)
    }

    fn scan<'a>(
        &'a self,
        space: Space,
        keys: Range<Vec<u8>>,
        direction: Direction,
        limit: usize,
    ) -> Reading<'a, Vec<(Vec<u8>, Vec<u8>)>> {
        if self.faults.with(|orders| orders.reads_fail) {
            return Box::pin(ready(Err(ordered("scanned"))));
        }
        self.inner.scan(space, keys, direction, limit)
    }

    fn commit(&self, base: &Head, batch: &Batch) -> Result<Commit, Error> {
        let (delay, fault) = self.faults.next_commit();
        thread::sleep(delay);
        match fault {
            None => self.inner.commit(base, batch),
            Some(CommitFault::FailBefore) => Err(ordered("committed")),
            Some(CommitFault::UnknownBefore) => Ok(Commit::Unknown),
            Some(CommitFault::Panic) => panic!("a fault was ordered"),
            Some(CommitFault::FailAfter) => match self.inner.commit(base, batch)? {
                Commit::Committed => Err(ordered("committed")),
                other => Ok(other),
            },
            Some(CommitFault::UnknownAfter) => match self.inner.commit(base, batch)? {
                Commit::Committed => Ok(Commit::Unknown),
                other => Ok(other),
            },
        }
    }

    fn room(&self) -> Result<Room, Error> {
        if self.faults.with(|orders| orders.scarce) { Ok(Room::Scarce) } else { self.inner.room() }
    }

    fn release_reserve(&self) -> Result<(), Error> {
        self.faults.with(|orders| orders.releases += 1);
        self.inner.release_reserve()
    }
}

fn ordered(doing: &'static str) -> Error {
    Error::Storage { doing, source: Box::new(io::Error::other("a fault was ordered")) }
}
