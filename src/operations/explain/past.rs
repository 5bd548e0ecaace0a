//! The policies that entries were decided under, built again from what is stored.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, PoisonError},
};

use tokio::sync::Semaphore;

use super::super::{Halt, Service, apart, policies::stored};
use crate::{policy::Snapshot, proto::stored::Entry};

/// Policies kept ready, at most.
const KEPT_MAX: usize = 4;

/// Policies of entries that were explained lately, and one at a time that is being built.
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
        let in_force = self.policy.load_full();
        if is_of(&in_force, entry) {
            return Ok(in_force);
        }
        if let Some(kept) = self.past.find(entry) {
            return Ok(kept);
        }
        let _one_at_a_time = self.past.building.acquire().await.map_err(|closed| Halt::unreadable(&closed))?;
        if let Some(kept) = self.past.find(entry) {
            return Ok(kept);
        }
        let version = entry.policy_version;
        let stored = stored::document(&*self.store, version).await.map_err(|error| Halt::unreadable(&error))?;
        let Some(sources) = stored else { return Err(Halt::unreadable(&Lost::Missing(version, index))) };
        if sources.hash() != entry.policy_hash.as_slice() {
            return Err(Halt::unreadable(&Lost::Other(version, index)));
        }
        let built = apart::work(move |_| Snapshot::build_past(version, &sources)).await?;
        let snapshot = built.map_err(|problems| {
            Halt::unreadable(&Lost::Unsound(version, problems.first().map(ToString::to_string).unwrap_or_default()))
        })?;
        Ok(self.past.keep(snapshot))
    }
}

impl Past {
    fn find(&self, entry: &Entry) -> Option<Arc<Snapshot>> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let at = kept.iter().position(|snapshot| is_of(snapshot, entry))?;
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

fn is_of(snapshot: &Snapshot, entry: &Entry) -> bool {
    snapshot.version() == entry.policy_version && snapshot.hash() == entry.policy_hash.as_slice()
}
