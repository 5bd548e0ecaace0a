//! A subject's record: its alias, and for each category the versions of its key.
//!
//! Stored as `0x01 ‖ nonce ‖ AES-256-GCM(bucket key, SubjectBody) ‖ tag`, bound to tenant, tag and bucket. A record that this
//! file did not write is refused as damaged, whatever is wrong with it. A later format takes another first byte: one that
//! adds fields to the body must, or an older program would drop them. So `0x02` came with erasures; `0x01` is still read.
//!
//! A record is immutable. A change makes a new one that shares the versions.

use std::sync::Arc;

use prost::Message;

use super::{
    aead::{self, NONCE_BYTES, WRAPPED_KEY_BYTES},
    tenant::Bucket,
    version::{Alias, Place, Version},
};
use crate::{envelope::KeyId, id::Category, proto::stored, store::VALUE_BYTES_MAX};

/// Most live versions of one category.
pub const VERSIONS_MAX: usize = 64;

/// A subject's keys. They hang from `bucket`: what wrapped them when the record was read or made.
#[derive(Clone)]
pub(super) struct Record {
    pub alias: Alias,
    pub bucket: Arc<Bucket>,
    pub categories: Vec<CategoryKeys>,
    pub holds: Vec<stored::Hold>,
    pub closed_unix_secs: u64,
    pub erased: Vec<Erased>,
}

#[derive(Clone)]
pub(super) struct CategoryKeys {
    pub category: Category,
    /// Ascending by number, never empty.
    pub versions: Vec<Arc<Version>>,
}

/// What was erased and not reinstated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Erased {
    /// The category; `None` for every one there is, and then it is the only one.
    pub category: Option<Category>,
    /// Names the certificate.
    pub erasure: ErasureId,
}

/// The name of an erasure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ErasureId(pub [u8; 16]);

impl Record {
    /// A subject without any key yet.
    pub(super) fn new(alias: Alias, bucket: Arc<Bucket>) -> Self {
        Self { alias, bucket, categories: Vec::new(), holds: Vec::new(), closed_unix_secs: 0, erased: Vec::new() }
    }

    /// Whether a category was erased and not reinstated.
    pub(super) fn is_erased(&self, category: &Category) -> bool {
        self.erased.iter().any(|erased| erased.category.as_ref().is_none_or(|erased| erased == category))
    }

    /// The version that seals for a category.
    pub(super) fn newest(&self, category: &Category) -> Option<&Arc<Version>> {
        self.versions(category).last()
    }

    /// The version of a category that has exactly this key id.
    pub(super) fn find(&self, category: &Category, key_id: KeyId) -> Option<&Arc<Version>> {
        self.versions(category).iter().find(|version| version.key_id == key_id)
    }

    /// Whether a version of `category` may be added, on top of what is there and of `planned` versions of other categories:
    /// keeps each category's bound, and the bound on a stored value with every number at its longest, so that writing down
    /// a count never fails.
    pub(super) fn has_room(&self, category: &Category, planned: usize) -> bool {
        // Each planned version may open a category of its own.
        let bytes = self.keys_bytes_max(planned + 1) + self.holds_bytes().max(HOLDS_BYTES_RESERVED);
        self.versions(category).len() < VERSIONS_MAX && bytes <= VALUE_BYTES_MAX
    }

    /// The longest that it may be stored as it is.
    pub(super) fn bytes_max(&self) -> usize {
        self.keys_bytes_max(0) + self.holds_bytes()
    }

    fn keys_bytes_max(&self, more: usize) -> usize {
        let versions: usize = self.categories.iter().map(|one| one.versions.len()).sum();
        FIXED_BYTES
            + self.erased.len() * ERASED_BYTES_MAX
            + (versions + more) * VERSION_BYTES_MAX
            + (self.categories.len() + more) * CATEGORY_BYTES_MAX
    }

    fn holds_bytes(&self) -> usize {
        self.holds.iter().map(|hold| hold.encoded_len() + 4).sum()
    }

    /// Adds a version newer than all others of its category.
    pub(super) fn push(&mut self, category: &Category, version: Arc<Version>) {
        match self.categories.iter_mut().find(|one| one.category == *category) {
            Some(one) => one.versions.push(version),
            None => self.categories.push(CategoryKeys { category: category.clone(), versions: vec![version] }),
        }
    }

    /// Shares the versions of an earlier reading of the same record, so that its opened keys and its counts live on.
    pub(super) fn share(&mut self, earlier: &Self) {
        if self.alias != earlier.alias {
            return;
        }
        for one in &mut self.categories {
            for version in &mut one.versions {
                let known = earlier.find(&one.category, version.key_id);
                if let Some(known) = known.filter(|known| known.wrapped == version.wrapped) {
                    known.count_at_least(version.seals());
                    *version = Arc::clone(known);
                }
            }
        }
    }

    /// The record as it is stored.
    pub(super) fn seal(&self, place: Place<'_>, nonce: &[u8; NONCE_BYTES]) -> Vec<u8> {
        let body = self.body().encode_to_vec();
        let mut sealed_body = vec![FORMAT];
        sealed_body.extend_from_slice(&aead::seal(&self.bucket.key, nonce, &body_place(place), &body));
        stored::SubjectRecord { sealed_body }.encode_to_vec()
    }

    /// Opens a stored record.
    ///
    /// # Errors
    /// [`NotThis::Sealed`] if the bucket key does not open it, [`NotThis::Body`] if what it holds is no record.
    pub(super) fn open(place: Place<'_>, bucket: &Arc<Bucket>, stored: &[u8]) -> Result<Self, NotThis> {
        let record = stored::SubjectRecord::decode(stored).map_err(|_| NotThis::Sealed)?;
        let (format, sealed) = record.sealed_body.split_first().ok_or(NotThis::Sealed)?;
        if !matches!(*format, FORMAT_BEFORE_ERASURES | FORMAT) {
            return Err(NotThis::Sealed);
        }
        let body = aead::open(&bucket.key, &body_place(place), sealed).ok_or(NotThis::Sealed)?;
        let body = stored::SubjectBody::decode(body.as_slice()).map_err(|_| NotThis::Body)?;
        Self::from_body(body, bucket).ok_or(NotThis::Body)
    }

    fn versions(&self, category: &Category) -> &[Arc<Version>] {
        self.categories.iter().find(|one| one.category == *category).map_or(&[], |one| &one.versions)
    }

    fn body(&self) -> stored::SubjectBody {
        let version = |version: &Arc<Version>| stored::KeyVersion {
            version: version.number,
            key_id: version.key_id.as_bytes().to_vec(),
            wrapped_key: version.wrapped.clone(),
            created_unix_secs: version.created_unix_secs,
            seals: version.seals(),
        };
        let category = |one: &CategoryKeys| stored::CategoryKeys {
            category: one.category.to_string(),
            versions: one.versions.iter().map(version).collect(),
        };
        let erased = |one: &Erased| stored::ErasedCategory {
            category: one.category.as_ref().map(ToString::to_string).unwrap_or_default(),
            erasure_id: one.erasure.0.to_vec(),
        };
        stored::SubjectBody {
            alias: self.alias.0.to_vec(),
            categories: self.categories.iter().map(category).collect(),
            holds: self.holds.clone(),
            closed_unix_secs: self.closed_unix_secs,
            erased: self.erased.iter().map(erased).collect(),
        }
    }

    fn from_body(body: stored::SubjectBody, bucket: &Arc<Bucket>) -> Option<Self> {
        let mut record = Self::new(Alias(body.alias.try_into().ok()?), Arc::clone(bucket));
        record.holds = body.holds;
        record.closed_unix_secs = body.closed_unix_secs;
        for stored in body.categories {
            let category = Category::parse(&stored.category).ok()?;
            let fits = (1..=VERSIONS_MAX).contains(&stored.versions.len()) && record.versions(&category).is_empty();
            if !fits || !stored.versions.is_sorted_by(|one, next| one.version < next.version) {
                return None;
            }
            let versions = stored.versions.into_iter().map(version_from).collect::<Option<_>>()?;
            record.categories.push(CategoryKeys { category, versions });
        }
        let all = body.erased.len();
        for stored in body.erased {
            let category = match stored.category.as_str() {
                "" if all > 1 => return None,
                "" => None,
                category => Some(Category::parse(category).ok()?),
            };
            let erasure = ErasureId(stored.erasure_id.try_into().ok()?);
            record.erased.push(Erased { category, erasure });
        }
        // Nothing is left of what was erased.
        if record.categories.iter().any(|one| record.is_erased(&one.category)) {
            return None;
        }
        Some(record)
    }
}

/// Why stored bytes are no record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NotThis {
    /// They don't open here: moved, altered, or sealed under a bucket key that came or went meanwhile.
    Sealed,
    /// They open, and hold nothing that this program wrote.
    Body,
}

fn version_from(stored: stored::KeyVersion) -> Option<Arc<Version>> {
    let key_id = KeyId::new(stored.key_id.try_into().ok()?);
    let sound = stored.version > 0 && stored.wrapped_key.len() == WRAPPED_KEY_BYTES;
    let version = Version::stored(stored.version, key_id, stored.wrapped_key, stored.created_unix_secs, stored.seals);
    sound.then(|| Arc::new(version))
}

fn body_place(place: Place<'_>) -> Vec<u8> {
    aead::place(&[
        b"privet/subject-record/v1",
        place.tenant.as_str().as_bytes(),
        &place.tag.0,
        &place.bucket.number.to_be_bytes(),
    ])
}

const FORMAT: u8 = 2;
const FORMAT_BEFORE_ERASURES: u8 = 1;

/// Alias, close time, seal, format byte and message headers.
const FIXED_BYTES: usize = 96;

/// One version with every number at its longest: 6 + 18 + 62 + 11 + 11 and a header.
const VERSION_BYTES_MAX: usize = 111;

/// A category's name and headers.
const CATEGORY_BYTES_MAX: usize = 40;

/// An erased category's name, the erasure's id and headers.
const ERASED_BYTES_MAX: usize = 56;

/// What new keys leave free, so that a hold can still be placed on a full record.
const HOLDS_BYTES_RESERVED: usize = 704;

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;
    use crate::{id::Tenant, keyring::slots::Tag, secret::Key, store::ReadPoint};

    const TAG: Tag = Tag([0x11; 16]);

    fn bucket() -> Arc<Bucket> {
        Arc::new(Bucket { number: TAG.bucket(), key: Key::new([7; 32]), loaded_at: ReadPoint(0) })
    }

    fn at(tenant: &Tenant, bucket: &Arc<Bucket>, check: impl FnOnce(Place<'_>)) {
        check(Place { tenant, tag: TAG, bucket });
    }

    fn category(n: usize) -> Category {
        Category::parse(&format!("{n:032}")).unwrap()
    }

    fn largest(number: u32) -> Arc<Version> {
        let version = Version::stored(number, KeyId::new([1; 16]), vec![1; WRAPPED_KEY_BYTES], u64::MAX, u64::MAX);
        Arc::new(version)
    }

    fn stored_version() -> impl Strategy<Value = stored::KeyVersion> {
        (any::<[u8; 16]>(), vec(any::<u8>(), WRAPPED_KEY_BYTES), any::<u64>(), any::<u64>()).prop_map(
            |(key_id, wrapped_key, created_unix_secs, seals)| stored::KeyVersion {
                version: 0,
                key_id: key_id.to_vec(),
                wrapped_key,
                created_unix_secs,
                seals,
            },
        )
    }

    prop_compose! {
        fn body()(
            alias in any::<[u8; 16]>(),
            categories in vec(vec((stored_version(), 1..1000_u32), 1..8), 0..5),
            holds in vec(("[a-z]{0,20}", "[a-z]{0,20}", any::<u64>()), 0..3),
            closed_unix_secs in any::<u64>(),
            erased in vec(any::<[u8; 16]>(), 0..4),
        ) -> stored::SubjectBody {
            let categories = categories.into_iter().enumerate().map(|(n, versions)| {
                let mut number = 0;
                let versions = versions.into_iter().map(|(version, step)| {
                    number += step;
                    stored::KeyVersion { version: number, ..version }
                });
                stored::CategoryKeys { category: category(n).to_string(), versions: versions.collect() }
            });
            let holds = holds.into_iter().map(|(id, reason, placed_unix_secs)| {
                stored::Hold { id, reason, placed_unix_secs, placed_by: "spiffe://a/b".into(), reason_salt: vec![5; 16] }
            });
            stored::SubjectBody {
                alias: alias.to_vec(),
                categories: categories.collect(),
                holds: holds.collect(),
                closed_unix_secs,
                erased: erased.into_iter().enumerate().map(|(n, id)| stored::ErasedCategory {
                    category: category(1_000 + n).to_string(),
                    erasure_id: id.to_vec(),
                }).collect(),
            }
        }
    }

    proptest! {
        #[test]
        fn what_is_sealed_opens_as_it_was(body in body(), nonce in any::<[u8; NONCE_BYTES]>()) {
            let tenant = Tenant::parse("acme").unwrap();
            let bucket = bucket();
            let record = Record::from_body(body.clone(), &bucket).unwrap();
            at(&tenant, &bucket, |place| {
                let opened = Record::open(place, &bucket, &record.seal(place, &nonce)).ok().unwrap();
                assert_eq!(opened.body(), body);
            });
        }

        #[test]
        fn any_bytes_are_refused_without_a_panic(bytes in vec(any::<u8>(), 0..300)) {
            let tenant = Tenant::parse("acme").unwrap();
            let bucket = bucket();
            at(&tenant, &bucket, |place| {
                assert_eq!(Record::open(place, &bucket, &bytes).err(), Some(NotThis::Sealed));
                let framed = stored::SubjectRecord { sealed_body: [&[FORMAT], bytes.as_slice()].concat() };
                assert_eq!(Record::open(place, &bucket, &framed.encode_to_vec()).err(), Some(NotThis::Sealed));
                // Even bytes that the bucket key did seal.
                let mut sealed_body = vec![FORMAT];
                sealed_body.extend(aead::seal(&bucket.key, &[0; NONCE_BYTES], &body_place(place), &bytes));
                let sealed = stored::SubjectRecord { sealed_body }.encode_to_vec();
                assert_ne!(Record::open(place, &bucket, &sealed).err(), Some(NotThis::Sealed));
            });
        }
    }

    #[test]
    fn a_record_opens_in_its_own_place_only_and_unaltered() {
        let (acme, other) = (Tenant::parse("acme").unwrap(), Tenant::parse("other").unwrap());
        let bucket = bucket();
        let mut record = Record::new(Alias([2; 16]), Arc::clone(&bucket));
        record.push(&category(1), largest(1));
        let place = Place { tenant: &acme, tag: TAG, bucket: &bucket };
        let sealed = record.seal(place, &[3; NONCE_BYTES]);
        assert!(Record::open(place, &bucket, &sealed).is_ok());

        let refused = |place: Place<'_>, sealed: &[u8]| {
            assert_eq!(Record::open(place, &bucket, sealed).err(), Some(NotThis::Sealed));
        };
        refused(Place { tenant: &other, ..place }, &sealed);
        refused(Place { tag: Tag([0x12; 16]), ..place }, &sealed);
        let elsewhere = Bucket { number: 5, key: Key::new([7; 32]), loaded_at: ReadPoint(0) };
        refused(Place { bucket: &elsewhere, ..place }, &sealed);
        for bit in 0..sealed.len() * 8 {
            let mut flipped = sealed.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            refused(place, &flipped);
        }
        for len in 0..sealed.len() {
            refused(place, &sealed[..len]);
        }
    }

    #[test]
    fn a_body_that_this_program_never_writes_is_refused() {
        let version = |number| stored::KeyVersion {
            version: number,
            key_id: vec![1; 16],
            wrapped_key: vec![1; WRAPPED_KEY_BYTES],
            created_unix_secs: 1,
            seals: 1,
        };
        let one = |versions| stored::CategoryKeys { category: "account".into(), versions };
        let body = |categories| stored::SubjectBody { alias: vec![1; 16], categories, ..Default::default() };
        let opens = |body| Record::from_body(body, &bucket()).is_some();

        assert!(opens(body(vec![one(vec![version(1), version(3)])])));
        assert!(opens(body(vec![one((1..=64).map(version).collect())])));
        assert!(!opens(body(vec![one((1..=65).map(version).collect())])));
        for versions in [vec![], vec![version(0)], vec![version(2), version(1)], vec![version(1), version(1)]] {
            assert!(!opens(body(vec![one(versions)])));
        }
        assert!(!opens(body(vec![one(vec![version(1)]), one(vec![version(1)])])));
        assert!(!opens(body(vec![one(vec![stored::KeyVersion { key_id: vec![1; 15], ..version(1) }])])));
        assert!(!opens(body(vec![one(vec![stored::KeyVersion { wrapped_key: vec![1; 59], ..version(1) }])])));
        assert!(!opens(body(vec![stored::CategoryKeys { category: "A".into(), versions: vec![version(1)] }])));
        assert!(!opens(stored::SubjectBody { alias: vec![1; 15], ..Default::default() }));
        let erased = |category: &str| stored::ErasedCategory { category: category.into(), erasure_id: vec![1; 16] };
        let with = |erased| stored::SubjectBody { erased, ..body(vec![one(vec![version(1)])]) };
        assert!(opens(with(vec![erased("billing"), erased("usage")])));
        for bad in [vec![erased("account")], vec![erased("")], vec![erased("A")]] {
            assert!(!opens(with(bad)), "keys of what was erased");
        }
        let without = |erased| stored::SubjectBody { erased, ..body(Vec::new()) };
        assert!(opens(without(vec![erased("")])) && !opens(without(vec![erased(""), erased("usage")])));
        assert!(!opens(without(vec![stored::ErasedCategory { erasure_id: vec![1; 15], ..erased("usage") }])));
    }

    #[test]
    fn a_record_from_before_there_were_erasures_opens() {
        let acme = Tenant::parse("acme").unwrap();
        let bucket = bucket();
        let place = Place { tenant: &acme, tag: TAG, bucket: &bucket };
        let mut record = Record::new(Alias([2; 16]), Arc::clone(&bucket));
        record.push(&category(1), largest(1));
        let mut sealed = stored::SubjectRecord::decode(record.seal(place, &[3; NONCE_BYTES]).as_slice()).unwrap();
        for (format, opens) in [(0, false), (1, true), (2, true), (3, false)] {
            sealed.sealed_body[0] = format;
            assert_eq!(Record::open(place, &bucket, &sealed.encode_to_vec()).is_ok(), opens, "{format}");
        }
    }

    #[test]
    fn a_full_record_still_fits_a_stored_value() {
        let acme = Tenant::parse("acme").unwrap();
        for categories in [1, 2, 5, 100] {
            let bucket = bucket();
            let place = Place { tenant: &acme, tag: TAG, bucket: &bucket };
            let mut record = Record::new(Alias([2; 16]), Arc::clone(&bucket));
            let mut versions = 0;
            for n in 0.. {
                let category = category(n % categories);
                if !record.has_room(&category, 0) {
                    break;
                }
                record.push(&category, largest(u32::MAX - 64 + versions));
                versions += 1;
            }
            let bytes = record.seal(place, &[0; NONCE_BYTES]).len() + HOLDS_BYTES_RESERVED;
            assert!(bytes <= VALUE_BYTES_MAX, "{categories} categories: {bytes}");
            // A category's bound is reached, or else little room was wasted.
            assert!(
                if categories == 1 { versions == 64 } else { bytes > VALUE_BYTES_MAX - 700 },
                "{categories}: {versions}"
            );
        }
    }
}
