//! Policies that were in force, built again from what is stored; and one place for work on whole policies.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, PoisonError},
};

use tokio::sync::{Semaphore, SemaphorePermit};

use super::{Halt, Service, apart, policies::stored};
use crate::{policy::Snapshot, proto::stored::Entry, store::Store};

/// Policies kept ready, at most.
const KEPT_MAX: usize = 4;

/// Policies that were asked for lately, and one at a time that is being built.
#[derive(Debug)]
pub struct Past {
    /// The most recently used last.
    kept: Mutex<VecDeque<Arc<Snapshot>>>,
    building: Semaphore,
}

impl Default for Past {
    fn default() -> Self {
        Self { kept: Mutex::default(), building: Semaphore::new(1) }
    }
}

/// A stored policy that is not the one an entry names.
#[derive(Debug, thiserror::Error)]
enum Lost {
    #[error("policy version {0}, which entry {1} was decided under, is not in the store")]
    Missing(u64, u64),
    #[error("policy version {0} in the store is not the one that entry {1} was decided under")]
    Other(u64, u64),
    #[error("policy version {0} is not sound by the rules of this program: {1}")]
    Unsound(u64, String),
}

impl Service {
    /// The policy that an entry was decided under.
    ///
    /// # Errors
    /// A version that is not stored, is not the one that the entry names by hash, or can't be read any more.
    pub(super) async fn policy_of(&self, index: u64, entry: &Entry) -> Result<Arc<Snapshot>, Halt> {
        let is_of = |snapshot: &Snapshot| {
            snapshot.version() == entry.policy_version && snapshot.hash() == entry.policy_hash.as_slice()
        };
        let in_force = self.policy.load_full();
        if is_of(&in_force) {
            return Ok(in_force);
        }
        let version = entry.policy_version;
        match self.past.version(&*self.store, version).await? {
            Some(snapshot) if is_of(&snapshot) => Ok(snapshot),
            Some(_) => Err(Halt::unreadable(&Lost::Other(version, index))),
            None => Err(Halt::unreadable(&Lost::Missing(version, index))),
        }
    }
}

impl Past {
    /// A policy that was in force, built from what is stored; `None` if there is none such.
    ///
    /// # Errors
    /// [`Halt`] if it can't be read any more.
    pub(super) async fn version(&self, store: &dyn Store, version: u64) -> Result<Option<Arc<Snapshot>>, Halt> {
        if let Some(kept) = self.find(version) {
            return Ok(Some(kept));
        }
        let _one_at_a_time = self.turn().await?;
        if let Some(kept) = self.find(version) {
            return Ok(Some(kept));
        }
        let stored = stored::document(store, version).await.map_err(|error| Halt::unreadable(&error))?;
        let Some(sources) = stored else { return Ok(None) };
        let built = apart::work(move |_| Snapshot::build_past(version, &sources)).await?;
        let snapshot = built.map_err(|problems| {
            Halt::unreadable(&Lost::Unsound(version, problems.first().map(ToString::to_string).unwrap_or_default()))
        })?;
        Ok(Some(self.keep(snapshot)))
    }

    /// Does work on whole policies: one at a time, for each takes a processor for a while and the memory of a document. Not for
    /// what an emergency would have to queue for.
    ///
    /// # Errors
    /// [`Halt`] if it stopped.
    pub(super) async fn work<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, Halt> {
        let _one_at_a_time = self.turn().await?;
        apart::work(|_| work()).await
    }

    async fn turn(&self) -> Result<SemaphorePermit<'_>, Halt> {
        self.building.acquire().await.map_err(|closed| Halt::unreadable(&closed))
    }

    fn find(&self, version: u64) -> Option<Arc<Snapshot>> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let at = kept.iter().position(|snapshot| snapshot.version() == version)?;
        let snapshot = kept.remove(at)?;
        kept.push_back(Arc::clone(&snapshot));
        Some(snapshot)
    }

    fn keep(&self, snapshot: Snapshot) -> Arc<Snapshot> {
        let snapshot = Arc::new(snapshot);
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() >= KEPT_MAX {
            kept.pop_front();
        }
        kept.push_back(Arc::clone(&snapshot));
        snapshot
    }
}
