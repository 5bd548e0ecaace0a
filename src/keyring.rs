//! Keys: from the root down to the one key that seals one category of one subject.
//!
//! ```text
//! root generation ─wraps→ bucket keys (4,096 a tenant) ─wraps→ subject keys ─seal→ fields
//!                 └wraps→ a tenant's lookup key and index key, and the log's keys, which wrap nothing
//! ```
//!
//! INVARIANT: a subject key is wrapped only by its bucket key, a bucket key only by root generations. Every wrap is bound to
//! its place, so nothing can be moved in the store. A subject's id is never stored: its [`Tag`] is.
//!
//! The keyring reads, and never writes or locks. An operation takes a [`ReadPoint`], asks for keys, and gets with them the
//! effects that make new keys exist and the [`Rests`]: what the answer stands on. The log's writer commits all of it or
//! answers that something moved; then the operation calls [`Keyring::forget`] and runs again.
//!
//! INVARIANT: a key that is not committed is never in the cache. New and changed records enter it through
//! [`Keyring::settle`], after their commit: else a failed commit would leave ciphertext under a key that doesn't exist.
//!
//! Opened subject keys are wiped when the last holder drops them. The cache lets go of one in the call that evicts, forgets
//! or replaces it, or finds it expired; [`Keyring::sweep`], called now and then, bounds how long an idle process keeps one.
//! Tenants' own keys stay in memory until forgotten. Correctness rests on [`Rests`], never on eviction.

mod aead;
mod cache;
mod drawn;
mod life;
mod load;
pub mod log_key;
mod opening;
mod record;
pub mod root;
mod sealing;
mod slots;
mod subject;
mod tenant;
#[cfg(test)]
mod testing;
mod version;

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

pub use life::{Life, Standing};
pub use opening::{Opening, WantOpen};
pub use record::{Erased, ErasureId, VERSIONS_MAX};
pub use sealing::{Pending, Sealing, WantSeal};
pub use slots::{BUCKETS, Tag};
pub use subject::{Changes, HOLD_REASON_BYTES_MAX, Holding, Subjects, Unerased, Unretired, Unrotated, View};
pub use tenant::{NewTenant, TenantKeys};
pub use version::{Alias, SEALS_MAX, SEALS_UNSAVED_MAX, SubjectKey};

use tokio::task::JoinError;

use crate::{
    clock::Clock,
    entropy::{self, Entropy},
    id::{Region, Tenant},
    store::{self, Effect, ReadPoint, Rests, Slot, Store},
};

/// The longest that a subject record may stay in memory without being read again.
pub const CACHE_TTL_MAX: Duration = Duration::from_secs(300);

/// How much is kept in memory, and for how long a key seals.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Most subjects whose records are in memory.
    pub cache_subjects: usize,
    /// How long a record stays in memory; [`CACHE_TTL_MAX`] if that is less.
    pub cache_ttl: Duration,
    /// Most tenants whose own keys are in memory (up to 0.5 MiB each); at least one.
    pub cache_tenants: usize,
    /// A subject key of this age no longer seals: the next seal makes a new version.
    pub subject_key_max_age: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            cache_subjects: 100_000,
            cache_ttl: CACHE_TTL_MAX,
            cache_tenants: 1_024,
            subject_key_max_age: Duration::from_secs(365 * 24 * 3600),
        }
    }
}

/// Why there is no key for one field. The other fields of the request are not touched by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoKey {
    /// Nothing is stored for the subject.
    #[error("nothing is stored for this subject")]
    UnknownSubject,
    /// The subject is known; its category has no key of that id.
    #[error("the subject has no such key")]
    NoSuchKey {
        /// How the log names the subject.
        alias: Alias,
    },
    /// The subject's keys of this category were destroyed.
    #[error("the subject was erased")]
    Erased,
    /// The subject was closed: what was sealed now would be erased by that.
    #[error("the subject is closed")]
    Closed,
    /// The key may seal no more, and the record has no room for another version.
    #[error("the subject's record has no room for another key version; retire old ones")]
    OverBudget,
}

/// Why the keyring can't answer at all.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The store can't be read.
    #[error("keys can't be read")]
    Store(#[from] store::Error),
    /// The root can't be used.
    #[error("the root key can't be used")]
    Root(#[from] root::Error),
    /// No randomness for a new key.
    #[error(transparent)]
    Entropy(#[from] entropy::Unavailable),
    /// The tenant's keys are gone for good.
    #[error("the tenant was destroyed")]
    Destroyed,
    /// What is stored can't be what this program wrote, or was moved.
    #[error("stored keys are damaged: {what} can't be opened; restore the data directory from a backup")]
    Damaged {
        /// What does not fit.
        what: &'static str,
    },
}

/// All keys, in memory as far as they are in use.
pub struct Keyring {
    root: Arc<dyn root::RootProvider>,
    entropy: Arc<dyn Entropy>,
    clock: Arc<dyn Clock>,
    age_max_secs: u64,
    tenants_max: usize,
    /// The lock is held for a look-up or an insertion, never across a read.
    tenants: RwLock<HashMap<Tenant, Arc<TenantKeys>>>,
    subjects: cache::Cache<record::Record>,
}

impl Keyring {
    /// A keyring with nothing in memory yet.
    pub fn new(
        root: Arc<dyn root::RootProvider>,
        entropy: Arc<dyn Entropy>,
        clock: Arc<dyn Clock>,
        limits: Limits,
    ) -> Self {
        Self {
            root,
            entropy,
            clock,
            age_max_secs: limits.subject_key_max_age.as_secs(),
            tenants_max: limits.cache_tenants.max(1),
            tenants: RwLock::default(),
            subjects: cache::Cache::new(limits.cache_subjects, limits.cache_ttl.min(CACHE_TTL_MAX)),
        }
    }

    /// Draws a new tenant's keys: its lookup and index keys, and all its bucket keys, wrapped by the newest root generation.
    /// The caller has made sure, at `at`, that there is no such tenant yet.
    ///
    /// # Errors
    /// [`Error::Entropy`], [`Error::Root`].
    pub async fn create_tenant(
        &self,
        tenant: &Tenant,
        region: Option<&Region>,
        at: ReadPoint,
    ) -> Result<NewTenant, Error> {
        let (root, entropy, now) = (Arc::clone(&self.root), Arc::clone(&self.entropy), self.clock.wall_secs());
        let (tenant, region) = (tenant.clone(), region.cloned());
        // Thousands of wraps: a root that is not in this process takes seconds for them.
        let created =
            tokio::task::spawn_blocking(move || tenant::create(&*root, &*entropy, &tenant, region.as_ref(), now, at));
        match created.await.map_err(JoinError::try_into_panic) {
            Ok(created) => created,
            Err(Ok(panic)) => std::panic::resume_unwind(panic),
            // Cut off by the end of the runtime, which ends this task, too.
            Err(Err(_)) => std::future::pending().await,
        }
    }

    /// A tenant's keys; `None` if there is no such tenant.
    ///
    /// # Errors
    /// [`Error::Destroyed`], [`Error::Store`], [`Error::Root`], [`Error::Damaged`].
    pub async fn tenant(
        &self,
        store: &dyn Store,
        tenant: &Tenant,
        at: ReadPoint,
    ) -> Result<Option<Arc<TenantKeys>>, Error> {
        let held = self.tenants.read().unwrap_or_else(PoisonError::into_inner).get(tenant).map(Arc::clone);
        if held.is_some() {
            return Ok(held);
        }
        let values = store.read(&[slots::tenant(tenant)]).await?;
        let Some(stored) = values.into_iter().next().flatten() else { return Ok(None) };
        let keys = TenantKeys::open(&*self.root, tenant, &stored, at)?;
        Ok(Some(self.keep_tenant(keys)))
    }

    /// What it takes that subject keys of a tenant made until now seal no more, and the second, since 1970, that this is. `None` if
    /// there is no such tenant.
    ///
    /// # Errors
    /// [`Error::Store`], [`Error::Damaged`].
    pub async fn rotate_tenant(
        &self,
        store: &dyn Store,
        tenant: &Tenant,
        at: ReadPoint,
    ) -> Result<Option<(Changes, u64)>, Error> {
        let slot = slots::tenant(tenant);
        let values = store.read(std::slice::from_ref(&slot)).await?;
        let Some(stored) = values.into_iter().next().flatten() else { return Ok(None) };
        let rotated = tenant::rotated(&stored, self.clock.wall_secs());
        let (value, until) = rotated.ok_or(Error::Damaged { what: "a tenant's record" })?;
        let changes = Changes {
            effects: vec![Effect { slot: slot.clone(), value: Some(value) }],
            rests: Rests { relied: Vec::new(), rewritten: vec![(slot.clone(), at)] },
            disrupts: vec![slot],
            pending: Pending::none(tenant),
        };
        Ok(Some((changes, until)))
    }

    /// Takes what an operation changed into memory, after its commit. `committed` is the read point right after its entry:
    /// the entry's index plus one.
    pub fn settle(&self, pending: Pending, committed: ReadPoint) {
        let now = self.clock.monotonic();
        for (version, seals) in pending.saved {
            version.saved(seals);
        }
        for (tag, record) in pending.records {
            self.subjects.keep(&pending.tenant, tag, record, committed, now);
        }
    }

    /// Drops from memory what was read no later than the points given: after a commit found it stale, so that the next run
    /// reads anew; and with [`ReadPoint`]`(u64::MAX)` after an erasure. What was read later stays, so many operations
    /// that go stale together cost one reading.
    pub fn forget<'a>(&self, rests: impl IntoIterator<Item = &'a (Slot, ReadPoint)>) {
        for (slot, upto) in rests {
            match slots::read(slot) {
                Some(slots::Held::Tenant(tenant)) => self.forget_tenant(tenant, *upto),
                Some(slots::Held::Bucket(tenant, number)) => {
                    if let Some(keys) = self.held_tenant(tenant) {
                        keys.forget_bucket(number, *upto);
                    }
                }
                Some(slots::Held::Subject(tenant, tag)) => self.subjects.forget(tenant, tag, *upto),
                None => {}
            }
        }
    }

    /// Drops every subject record that has been in memory for its time. Call it every half minute or so: keys of an idle
    /// process are wiped by it alone.
    pub fn sweep(&self) {
        self.subjects.sweep(self.clock.monotonic());
    }

    /// Keeps a tenant's keys, unless some that were read later are there; gives those that are kept.
    fn keep_tenant(&self, keys: TenantKeys) -> Arc<TenantKeys> {
        let mut tenants = self.tenants.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(held) = tenants.get(keys.tenant()).filter(|held| held.loaded_at() >= keys.loaded_at()) {
            return Arc::clone(held);
        }
        if tenants.len() >= self.tenants_max && !tenants.contains_key(keys.tenant()) {
            let oldest = tenants.values().min_by_key(|held| held.loaded_at()).map(|held| held.tenant().clone());
            oldest.and_then(|oldest| tenants.remove(&oldest));
        }
        let keys = Arc::new(keys);
        tenants.insert(keys.tenant().clone(), Arc::clone(&keys));
        keys
    }

    fn held_tenant(&self, tenant: &[u8]) -> Option<Arc<TenantKeys>> {
        let tenant = std::str::from_utf8(tenant).ok()?;
        self.tenants.read().unwrap_or_else(PoisonError::into_inner).get(tenant).map(Arc::clone)
    }

    fn forget_tenant(&self, tenant: &[u8], upto: ReadPoint) {
        let Ok(tenant) = std::str::from_utf8(tenant) else { return };
        let mut tenants = self.tenants.write().unwrap_or_else(PoisonError::into_inner);
        if tenants.get(tenant).is_some_and(|held| held.loaded_at() <= upto) {
            tenants.remove(tenant);
        }
    }
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Keyring")
    }
}

#[cfg(test)]
mod tests;
