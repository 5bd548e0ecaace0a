//! A store, a log and clocks for the keyring's tests.

use std::{
    collections::HashMap,
    ops::Range,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use tempfile::TempDir;

use super::{
    Changes, Keyring, Limits, Rests, SubjectKey, TenantKeys, WantSeal,
    root::{FileRoot, RootProvider},
};
use crate::{
    clock::Clock,
    entropy::{Entropy, SystemEntropy, Unavailable},
    id::{Category, Subject, Tenant},
    store::{Batch, Commit, Direction, Effect, Error, Head, ReadPoint, Reading, Room, Slot, Space, Store},
};

pub(super) fn subject(id: &str) -> Subject {
    Subject::parse(id.into()).unwrap()
}

pub(super) fn category(name: &str) -> Category {
    Category::parse(name).unwrap()
}

/// A clock that stands still until it is set.
#[derive(Default)]
pub(super) struct TestClock {
    pub wall_secs: AtomicU64,
    pub monotonic_secs: AtomicU64,
}

impl Clock for TestClock {
    fn wall_micros(&self) -> u64 {
        self.wall_secs.load(Ordering::Relaxed) * 1_000_000
    }

    fn monotonic(&self) -> Duration {
        Duration::from_secs(self.monotonic_secs.load(Ordering::Relaxed))
    }
}

/// The system's randomness, counted, and gone on demand.
pub(super) struct TestEntropy {
    system: SystemEntropy,
    pub calls: AtomicUsize,
    pub broken: AtomicUsize,
}

impl Entropy for TestEntropy {
    fn fill(&self, out: &mut [u8]) -> Result<(), Unavailable> {
        self.calls.fetch_add(1, Ordering::Relaxed);
        if self.broken.load(Ordering::Relaxed) > 0 { Err(Unavailable) } else { self.system.fill(out) }
    }
}

/// Values in memory.
#[derive(Default)]
pub(super) struct MemoryStore {
    pub values: Mutex<HashMap<Slot, Vec<u8>>>,
    pub reads: AtomicUsize,
}

impl Store for MemoryStore {
    fn head(&self) -> Result<Head, Error> {
        Ok(Head::default())
    }

    fn read<'a>(&'a self, slots: &'a [Slot]) -> Reading<'a, Vec<Option<Vec<u8>>>> {
        self.reads.fetch_add(1, Ordering::Relaxed);
        Box::pin(async move {
            tokio::task::yield_now().await;
            let values = self.values.lock().unwrap();
            Ok(slots.iter().map(|slot| values.get(slot).cloned()).collect())
        })
    }

    fn scan<'a>(
        &'a self,
        space: Space,
        keys: Range<Vec<u8>>,
        _: Direction,
        max: usize,
    ) -> Reading<'a, Vec<(Vec<u8>, Vec<u8>)>> {
        let values = self.values.lock().unwrap();
        let of = |(slot, value): (&Slot, &Vec<u8>)| {
            (slot.space == space && keys.contains(&slot.key)).then(|| (slot.key.clone(), value.clone()))
        };
        let mut found: Vec<_> = values.iter().filter_map(of).collect();
        found.sort();
        found.truncate(max);
        Box::pin(async { Ok(found) })
    }

    fn commit(&self, _: &Head, _: &Batch) -> Result<Commit, Error> {
        Ok(Commit::Committed)
    }

    fn room(&self) -> Result<Room, Error> {
        Ok(Room::Ample)
    }

    fn release_reserve(&self) -> Result<(), Error> {
        Ok(())
    }
}

/// What a commit stands on has moved.
#[derive(Debug)]
pub(super) struct Stale;

#[derive(Default)]
struct Log {
    entries: u64,
    written: HashMap<Slot, u64>,
    removed: HashMap<Slot, u64>,
}

/// A keyring, and around it what it needs.
pub(super) struct World {
    pub store: MemoryStore,
    pub clock: Arc<TestClock>,
    pub entropy: Arc<TestEntropy>,
    pub root: Arc<dyn RootProvider>,
    pub keyring: Keyring,
    limits: Limits,
    log: Mutex<Log>,
    _dir: TempDir,
}

impl World {
    pub fn new() -> Self {
        Self::with(Limits::default())
    }

    pub fn with(limits: Limits) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let clock = Arc::new(TestClock::default());
        clock.wall_secs.store(1_800_000_000, Ordering::Relaxed);
        let entropy = Arc::new(TestEntropy { system: SystemEntropy::open(), calls: 0.into(), broken: 0.into() });
        let root: Arc<dyn RootProvider> = Arc::new(FileRoot::create(dir.path(), entropy.clone()).unwrap());
        let keyring = Keyring::new(root.clone(), entropy.clone(), clock.clone(), limits);
        let (store, log) = (MemoryStore::default(), Mutex::default());
        Self { store, clock, entropy, root, keyring, limits, log, _dir: dir }
    }

    /// Forgets all that is in memory, as a restart does.
    pub fn restart(&mut self) {
        self.keyring = Keyring::new(self.root.clone(), self.entropy.clone(), self.clock.clone(), self.limits);
    }

    pub fn at(&self) -> ReadPoint {
        ReadPoint(self.log.lock().unwrap().entries)
    }

    /// What the log's writer does: checks, and writes one entry with its effects.
    pub fn commit(&self, rests: &Rests, effects: &[Effect]) -> Result<ReadPoint, Stale> {
        let mut log = self.log.lock().unwrap();
        let moved = |at: Option<&u64>, read: &ReadPoint| at.is_some_and(|index| *index >= read.0);
        if rests.relied.iter().any(|(slot, read)| moved(log.removed.get(slot), read))
            || rests.rewritten.iter().any(|(slot, read)| moved(log.written.get(slot), read))
        {
            return Err(Stale);
        }
        let index = log.entries;
        let mut values = self.store.values.lock().unwrap();
        for effect in effects {
            log.written.insert(effect.slot.clone(), index);
            match &effect.value {
                Some(value) => values.insert(effect.slot.clone(), value.clone()),
                None => {
                    log.removed.insert(effect.slot.clone(), index);
                    values.remove(&effect.slot)
                }
            };
        }
        log.entries += 1;
        Ok(ReadPoint(log.entries))
    }

    /// Commits changes that disrupt, and forgets what is not so any more.
    pub fn change(&self, changes: &Changes) {
        self.commit(&changes.rests, &changes.effects).unwrap();
        let mut log = self.log.lock().unwrap();
        let index = log.entries - 1;
        let mut gone = Vec::new();
        for slot in &changes.disrupts {
            log.removed.insert(slot.clone(), index);
            gone.push((slot.clone(), ReadPoint(u64::MAX)));
        }
        drop(log);
        self.keyring.forget(&gone);
    }

    /// A tenant's keys; makes the tenant if there is none.
    pub async fn tenant(&self, name: &str) -> Arc<TenantKeys> {
        let name = Tenant::parse(name).unwrap();
        if let Some(keys) = self.keyring.tenant(&self.store, &name, self.at()).await.unwrap() {
            return keys;
        }
        let new = self.keyring.create_tenant(&name, None, self.at()).await.unwrap();
        self.commit(&new.rests, &new.effects).unwrap();
        self.keyring.tenant(&self.store, &name, self.at()).await.unwrap().unwrap()
    }

    /// A whole operation: keys, commit, settle; again if it went stale.
    pub async fn seal(&self, tenant: &str, id: &str, category: &Category, seals: u32) -> Arc<SubjectKey> {
        loop {
            let at = self.at();
            let tenant = self.tenant(tenant).await;
            let want = WantSeal {
                tag: tenant.tag(&subject(id)),
                category,
                seals,
                age_max_secs: None,
                outlives_closure: false,
            };
            let sealing = self.keyring.for_sealing(&self.store, &tenant, &[want], at).await.unwrap();
            match self.commit(&sealing.rests, &sealing.effects) {
                Ok(committed) => {
                    self.keyring.settle(sealing.pending, committed);
                    return sealing.keys.into_iter().next().unwrap().unwrap();
                }
                Err(Stale) => self.keyring.forget(sealing.rests.iter()),
            }
        }
    }

    pub fn reads(&self) -> usize {
        self.store.reads.load(Ordering::Relaxed)
    }
}
