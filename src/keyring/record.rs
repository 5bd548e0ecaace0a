//! A subject's record: its alias, and for each category the versions of its key.
//!
//! Stored as `0x01 ‖ nonce ‖ AES-256-GCM(bucket key, SubjectBody) ‖ tag`, bound to tenant, tag and bucket. A record that this
//! file did not write is refused as damaged, whatever is wrong with it. A later format takes another first byte: one that
//! adds fields to the body must, or an older program would drop them. So `0x02` came with erasures and `0x03` with the time of
//! what loosened; older ones are still read.
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
    /// When something let more of it be erased: it was closed, or a hold was released.
    pub loosened_unix_secs: u64,
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
        Self {
            alias,
            bucket,
            categories: Vec::new(),
            holds: Vec::new(),
            closed_unix_secs: 0,
            loosened_unix_secs: 0,
            erased: Vec::new(),
        }
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
        sealed_body.extend_from_slice(&aead::seal(&self.bucket.key, nonce, &body_place(place, FORMAT), &body));
        stored::SubjectRecord { sealed_body }.encode_to_vec()
    }

    /// Opens a stored record.
    ///
    /// # Errors
    /// [`NotThis::Sealed`] if the bucket key does not open it, [`NotThis::Body`] if what it holds is no record.
    pub(super) fn open(place: Place<'_>, bucket: &Arc<Bucket>, stored: &[u8]) -> Result<Self, NotThis> {
        let record = stored::SubjectRecord::decode(stored).map_err(|_| NotThis::Sealed)?;
        let (format, sealed) = record.sealed_body.split_first().ok_or(NotThis::Sealed)?;
        if !(FORMAT_FIRST..=FORMAT).contains(format) {
            return Err(NotThis::Sealed);
        }
        let body = aead::open(&bucket.key, &body_place(place, *format), sealed).ok_or(NotThis::Sealed)?;
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
            loosened_unix_secs: self.loosened_unix_secs,
            erased: self.erased.iter().map(erased).collect(),
        }
    }

    fn from_body(body: stored::SubjectBody, bucket: &Arc<Bucket>) -> Option<Self> {
        let mut record = Self::new(Alias(body.alias.try_into().ok()?), Arc::clone(bucket));
        record.holds = body.holds;
        record.closed_unix_secs = body.closed_unix_secs;
        record.loosened_unix_secs = body.loosened_unix_secs;
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

/// From the third on, the format is bound as well: a record is not read as an older one.
fn body_place(place: Place<'_>, format: u8) -> Vec<u8> {
    let label: &[u8] = if format < 3 { b"privet/subject-record/v1" } else { b"privet/subject-record/v3" };
    aead::place(&[label, place.tenant.as_str().as_bytes(), &place.tag.0, &place.bucket.number.to_be_bytes()])
}

const FORMAT: u8 = 3;
const FORMAT_FIRST: u8 = 1;

/// Alias, times, seal, format byte and message headers.
const FIXED_BYTES: usize = 108;

/// One version with every number at its longest: 6 + 18 + 62 + 11 + 11 and a header.
const VERSION_BYTES_MAX: usize = 111;

/// A category's name and headers.
const CATEGORY_BYTES_MAX: usize = 40;

/// An erased category's name, the erasure's id and headers.
const ERASED_BYTES_MAX: usize = 56;

/// What new keys leave free, so that a hold can still be placed on a full record.
const HOLDS_BYTES_RESERVED: usize = 704;

#[cfg(test)]
mod tests;
