//! One version of a subject key: as it lies in its record, and as it seals.
//!
//! A version is opened at most once while its record is in memory, and its seals are counted here. Both survive a rewrite of
//! the record, because old and new record share the version.

use std::{
    fmt,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
};

use super::{Error, aead, slots::Tag, tenant::Bucket};
use crate::{
    envelope::{KeyId, SealingKey},
    id::{Category, Tenant},
    secret::Key,
};

/// Most seals under one version: far below the 2^32 at which random nonces of AES-GCM begin to risk a collision (NIST SP
/// 800-38D, 8.3), which leaves room for the seals that a restart or an eviction forgets.
pub const SEALS_MAX: u64 = 1 << 28;

/// How many seals may pass before their count is written down again.
pub const SEALS_UNSAVED_MAX: u64 = 4096;

/// The only name that the log uses for a subject: 16 random bytes.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Alias(pub(super) [u8; 16]);

impl Alias {
    /// Its bytes, as the log packs them.
    pub fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl fmt::Debug for Alias {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Alias")
    }
}

/// An opened subject key. Wiped when the last holder lets go of it: the cache, and each operation under way.
pub struct SubjectKey {
    alias: Alias,
    version: u32,
    sealing: SealingKey,
}

impl SubjectKey {
    /// How the log names the subject.
    pub fn alias(&self) -> Alias {
        self.alias
    }

    /// Which version of its category's key this is, counted from 1.
    pub fn version(&self) -> u32 {
        self.version
    }

    /// What seals and opens fields.
    pub fn sealing(&self) -> &SealingKey {
        &self.sealing
    }
}

impl fmt::Debug for SubjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SubjectKey")
    }
}

/// Where a subject's keys hang.
#[derive(Clone, Copy)]
pub(super) struct Place<'a> {
    pub tenant: &'a Tenant,
    pub tag: Tag,
    pub bucket: &'a Bucket,
}

/// One version, wrapped, and opened once it was needed.
pub(super) struct Version {
    pub number: u32,
    pub key_id: KeyId,
    pub wrapped: Vec<u8>,
    pub created_unix_secs: u64,
    seals: AtomicU64,
    /// A count that the store holds, or a greater one.
    saved: AtomicU64,
    opened: OnceLock<Arc<SubjectKey>>,
}

impl Version {
    /// A version as it is stored.
    pub(super) fn stored(number: u32, key_id: KeyId, wrapped: Vec<u8>, created_unix_secs: u64, seals: u64) -> Self {
        Self {
            number,
            key_id,
            wrapped,
            created_unix_secs,
            seals: seals.into(),
            saved: seals.into(),
            opened: OnceLock::new(),
        }
    }

    /// Makes a version out of a fresh random key, and opens it.
    pub(super) fn fresh(
        place: Place<'_>,
        fresh: Fresh<'_>,
        alias: Alias,
        key: &Key,
        nonce: &[u8; aead::NONCE_BYTES],
    ) -> (Self, Arc<SubjectKey>) {
        let sealing = SealingKey::derive(key);
        let key_id = sealing.id();
        let aad = wrap_place(place, fresh.category, fresh.number, key_id);
        let wrapped = aead::seal(&place.bucket.key, nonce, &aad, key.expose());
        let opened = Arc::new(SubjectKey { alias, version: fresh.number, sealing });
        let version = Self {
            opened: OnceLock::from(Arc::clone(&opened)),
            ..Self::stored(fresh.number, key_id, wrapped, fresh.created_unix_secs, fresh.seals)
        };
        (version, opened)
    }

    /// The opened key. `place` and `category` are where the record says the version is.
    pub(super) fn key(&self, place: Place<'_>, category: &Category, alias: Alias) -> Result<Arc<SubjectKey>, Error> {
        if let Some(opened) = self.opened.get() {
            return Ok(Arc::clone(opened));
        }
        let aad = wrap_place(place, category, self.number, self.key_id);
        let key = aead::open_key(&place.bucket.key, &aad, &self.wrapped).ok_or(DAMAGED)?;
        let sealing = SealingKey::derive(&key);
        if sealing.id() != self.key_id {
            return Err(DAMAGED);
        }
        let opened = || Arc::new(SubjectKey { alias, version: self.number, sealing });
        Ok(Arc::clone(self.opened.get_or_init(opened)))
    }

    /// Whether the version still seals at this age. A clock that ran back makes no version old.
    pub(super) fn is_young(&self, now_unix_secs: u64, age_max_secs: u64) -> bool {
        now_unix_secs.saturating_sub(self.created_unix_secs) < age_max_secs
    }

    /// Takes `seals` out of the version's budget. They count even if the operation comes to nothing, and for as long as the
    /// store does not hold the count of a whole further [`SEALS_UNSAVED_MAX`], each caller is told to write it down.
    pub(super) fn count(&self, seals: u32) -> Counted {
        let add = |before: u64| before.checked_add(u64::from(seals)).filter(|after| *after <= SEALS_MAX);
        let saved = self.saved.load(Ordering::Relaxed);
        match self.seals.fetch_update(Ordering::Relaxed, Ordering::Relaxed, add) {
            Ok(before) if (before + u64::from(seals)) / SEALS_UNSAVED_MAX > saved / SEALS_UNSAVED_MAX => Counted::Save,
            Ok(_) => Counted::Within,
            Err(_) => Counted::Over,
        }
    }

    /// The seals counted so far.
    pub(super) fn seals(&self) -> u64 {
        self.seals.load(Ordering::Relaxed)
    }

    /// Takes note that the store holds this count.
    pub(super) fn saved(&self, seals: u64) {
        self.saved.fetch_max(seals, Ordering::Relaxed);
    }

    /// Takes over a count that may be ahead of this one.
    pub(super) fn count_at_least(&self, seals: u64) {
        self.seals.fetch_max(seals, Ordering::Relaxed);
    }
}

/// What a version is to be made of, beside its key.
#[derive(Clone, Copy)]
pub(super) struct Fresh<'a> {
    pub category: &'a Category,
    pub number: u32,
    pub created_unix_secs: u64,
    pub seals: u64,
}

/// What became of a count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Counted {
    /// Counted, in memory.
    Within,
    /// Counted, and it is time to write the count down.
    Save,
    /// Not counted: the budget does not cover it.
    Over,
}

fn wrap_place(place: Place<'_>, category: &Category, version: u32, child: KeyId) -> Vec<u8> {
    aead::place(&[
        b"privet/wrap/v1",
        b"subject-key",
        place.tenant.as_str().as_bytes(),
        child.as_bytes(),
        &place.bucket.number.to_be_bytes(),
        &place.tag.0,
        category.as_str().as_bytes(),
        &version.to_be_bytes(),
    ])
}

const DAMAGED: Error = Error::Damaged { what: "a subject's key" };

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::ReadPoint;

    const ALIAS: Alias = Alias([9; 16]);

    fn bucket(number: u16, key: u8) -> Bucket {
        Bucket { number, key: Key::new([key; 32]), loaded_at: ReadPoint(0) }
    }

    fn fresh(category: &Category) -> Fresh<'_> {
        Fresh { category, number: 1, created_unix_secs: 1000, seals: 0 }
    }

    /// The same version as another process would read it.
    fn reread(version: &Version) -> Version {
        Version::stored(version.number, version.key_id, version.wrapped.clone(), version.created_unix_secs, 0)
    }

    #[test]
    fn a_wrapped_key_opens_in_its_own_place_only() {
        let (acme, other) = (Tenant::parse("acme").unwrap(), Tenant::parse("other").unwrap());
        let (account, billing) = (Category::parse("account").unwrap(), Category::parse("billing").unwrap());
        let home = bucket(1, 1);
        let place = Place { tenant: &acme, tag: Tag([1; 16]), bucket: &home };
        let (version, key) = Version::fresh(place, fresh(&account), ALIAS, &Key::new([5; 32]), &[0; 12]);

        let opened = reread(&version).key(place, &account, ALIAS).unwrap();
        assert_eq!((opened.sealing().id(), opened.version(), opened.alias()), (key.sealing().id(), 1, ALIAS));

        let refused = |version: Version, place: Place<'_>, category: &Category| {
            assert!(matches!(version.key(place, category, ALIAS), Err(Error::Damaged { .. })));
        };
        refused(reread(&version), Place { tenant: &other, ..place }, &account);
        refused(reread(&version), Place { tag: Tag([2; 16]), ..place }, &account);
        refused(reread(&version), Place { bucket: &bucket(2, 1), ..place }, &account);
        refused(reread(&version), Place { bucket: &bucket(1, 2), ..place }, &account);
        refused(reread(&version), place, &billing);
        refused(Version { number: 2, ..reread(&version) }, place, &account);
        refused(Version { key_id: KeyId::new([0; 16]), ..reread(&version) }, place, &account);
        for bit in 0..version.wrapped.len() * 8 {
            let mut flipped = reread(&version);
            flipped.wrapped[bit / 8] ^= 1 << (bit % 8);
            refused(flipped, place, &account);
        }
    }

    #[test]
    fn a_key_that_is_not_the_one_its_id_commits_to_is_refused() {
        let acme = Tenant::parse("acme").unwrap();
        let account = Category::parse("account").unwrap();
        let home = bucket(1, 1);
        let place = Place { tenant: &acme, tag: Tag([1; 16]), bucket: &home };
        // Wrapped by one who holds the bucket key, in the right place, under another key's id.
        let claimed = KeyId::new([3; 16]);
        let aad = wrap_place(place, &account, 1, claimed);
        let wrapped = aead::seal(&home.key, &[0; 12], &aad, &[5; 32]);
        let version = Version::stored(1, claimed, wrapped, 0, 0);
        assert!(matches!(version.key(place, &account, ALIAS), Err(Error::Damaged { .. })));
    }

    fn counted(seals: u64) -> Version {
        Version::stored(1, KeyId::new([0; 16]), Vec::new(), 1000, seals)
    }

    #[test]
    fn a_count_is_to_be_saved_from_each_4096_on_until_the_store_holds_it() {
        let version = counted(0);
        assert_eq!(version.count(4095), Counted::Within);
        assert_eq!(version.count(1), Counted::Save);
        assert_eq!(version.count(1), Counted::Save, "a save that came to nothing is asked for again");
        assert_eq!(version.seals(), 4097);
        let saved = counted(4097);
        assert_eq!(saved.count(4094), Counted::Within);
        assert_eq!(saved.count(1), Counted::Save);
    }

    #[test]
    fn a_budget_ends_at_2_to_the_28_and_a_refused_count_costs_nothing() {
        let version = counted(SEALS_MAX - 2);
        assert_eq!(version.count(3), Counted::Over);
        assert_eq!(version.count(u32::MAX), Counted::Over);
        assert_eq!(version.count(2), Counted::Save);
        assert_eq!(version.count(1), Counted::Over);
        assert_eq!(version.seals(), SEALS_MAX);
        assert_eq!(counted(u64::MAX).count(1), Counted::Over);
    }

    #[test]
    fn a_version_is_old_from_its_birthday_on_and_never_before_its_birth() {
        let version = counted(0);
        assert!(version.is_young(1099, 100) && !version.is_young(1100, 100));
        assert!(version.is_young(0, 100) && version.is_young(999, 1));
    }

    #[test]
    fn keys_and_names_print_nothing_of_themselves() {
        let acme = Tenant::parse("acme").unwrap();
        let account = Category::parse("account").unwrap();
        let home = bucket(1, 1);
        let place = Place { tenant: &acme, tag: Tag([1; 16]), bucket: &home };
        let (_, key) = Version::fresh(place, fresh(&account), ALIAS, &Key::new([5; 32]), &[0; 12]);
        assert_eq!(format!("{key:?} {ALIAS:?} {:?}", place.tag), "SubjectKey Alias Tag");
    }
}
