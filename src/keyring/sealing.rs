//! Keys to seal with: each category's newest version, or a fresh one where there is none, where it is too old, or where its
//! budget is spent.

use std::{fmt, sync::Arc};

use super::{
    Error, Keyring, NoKey, Rests, SEALS_MAX, SubjectKey, Tag, TenantKeys,
    aead::NONCE_BYTES,
    drawn::Drawn,
    load::{Found, Seen, distinct},
    record::Record,
    slots,
    tenant::Bucket,
    version::{Alias, Counted, Fresh, Place, Version},
};
use crate::{
    id::{Category, Tenant},
    store::{Effect, ReadPoint, Store},
};

/// Fields to be sealed.
#[derive(Clone, Copy, Debug)]
pub struct WantSeal<'a> {
    /// Whose fields they are.
    pub tag: Tag,
    /// Their classes' category.
    pub category: &'a Category,
    /// How many will be sealed. They count against the key's budget whether or not they are.
    pub seals: u32,
    /// How old a version may be to seal for this category, in seconds, if it is less than for all; `None`: it is not.
    pub age_max_secs: Option<u64>,
    /// Whether a closure of the subject is nothing to it: it was sealed before, or is kept from its sealing on.
    pub outlives_closure: bool,
}

/// Keys to seal with, and what makes those that are new exist.
#[derive(Debug)]
pub struct Sealing {
    /// One answer for each want, in order. Wants of one subject and category share a key.
    pub keys: Vec<Result<Arc<SubjectKey>, NoKey>>,
    /// What to commit before anything sealed under `keys` leaves the process.
    pub effects: Vec<Effect>,
    /// What the keys and effects stand on.
    pub rests: Rests,
    /// What [`Keyring::settle`] takes once the effects are committed. Dropped if they are not.
    pub pending: Pending,
}

/// Records that exist once their effects are committed.
pub struct Pending {
    pub(super) tenant: Tenant,
    pub(super) records: Vec<(Tag, Arc<Record>)>,
    /// Versions with the counts that the records hold, where they were to be written down.
    pub(super) saved: Vec<(Arc<Version>, u64)>,
}

impl fmt::Debug for Pending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Pending")
    }
}

impl Keyring {
    /// Keys to seal `wanted` with. A subject that is not known gets a record.
    ///
    /// # Errors
    /// [`Error::Store`], [`Error::Root`], [`Error::Entropy`]; [`Error::Damaged`] if any of the records or keys is.
    pub async fn for_sealing(
        &self,
        store: &dyn Store,
        tenant: &TenantKeys,
        wanted: &[WantSeal<'_>],
        at: ReadPoint,
    ) -> Result<Sealing, Error> {
        let (tags, places) = distinct(wanted.iter().map(|want| want.tag));
        let mut seen = self.recall(tenant, tags);
        self.load(store, tenant, &mut seen, at).await?;

        let now = self.clock.wall_secs();
        let mut drafts: Vec<Draft<'_>> = seen.iter().map(Draft::of).collect::<Option<_>>().ok_or(DAMAGED)?;
        let choices: Vec<Choice<'_>> = wanted
            .iter()
            .zip(&places)
            .map(|(want, place)| match drafts.get_mut(*place) {
                Some(draft) => draft.choose(want, tenant, now, self.age_max_secs),
                None => Choice::None,
            })
            .collect();

        let mut drawn = Drawn::draw(&*self.entropy, drafts.iter().map(Draft::entropy_bytes).sum())?;
        let mut sealing = Sealing {
            keys: Vec::with_capacity(wanted.len()),
            effects: Vec::new(),
            rests: tenant.rests(),
            pending: Pending::none(tenant.tenant()),
        };
        let mut made = Vec::with_capacity(drafts.len());
        for draft in &drafts {
            made.push(draft.write(tenant.tenant(), &mut drawn, &mut sealing)?);
        }
        for ((want, place), choice) in wanted.iter().zip(&places).zip(choices) {
            sealing.keys.push(match choice {
                Choice::Stored(record, version) => {
                    let place = Place { tenant: tenant.tenant(), tag: want.tag, bucket: &record.bucket };
                    Ok(version.key(place, want.category, record.alias)?)
                }
                Choice::Fresh(at) => {
                    let key = made.get(*place).and_then(|keys: &Vec<_>| keys.get(at));
                    key.map(Arc::clone).ok_or(NoKey::OverBudget)
                }
                Choice::None => Err(NoKey::OverBudget),
                Choice::Erased => Err(NoKey::Erased),
                Choice::Closed => Err(NoKey::Closed),
            });
        }
        Ok(sealing)
    }
}

/// What is to become of one subject's record.
struct Draft<'a> {
    tag: Tag,
    loaded_at: ReadPoint,
    record: Option<&'a Record>,
    bucket: &'a Arc<Bucket>,
    fresh: Vec<Fresh<'a>>,
    /// A count is to be written down.
    save: bool,
}

/// Which key a want gets.
enum Choice<'a> {
    /// One that is there, and its record.
    Stored(&'a Record, &'a Version),
    /// One that its draft makes, by position.
    Fresh(usize),
    /// None: budget and record are full.
    None,
    /// None: the category was erased.
    Erased,
    /// None: the subject is closed.
    Closed,
}

impl<'a> Draft<'a> {
    fn of(seen: &'a Seen) -> Option<Self> {
        let (record, bucket) = match &seen.found {
            Found::Record(record) => (Some(&**record), &record.bucket),
            Found::Absent(bucket) => (None, bucket),
            Found::Unread => return None,
        };
        Some(Self { tag: seen.tag, loaded_at: seen.loaded_at, record, bucket, fresh: Vec::new(), save: false })
    }

    fn choose(
        &mut self,
        want: &WantSeal<'a>,
        tenant: &TenantKeys,
        now_unix_secs: u64,
        age_max_secs: u64,
    ) -> Choice<'a> {
        if self.record.is_some_and(|record| record.is_erased(want.category)) {
            return Choice::Erased;
        }
        // What is closed is kept by its own time: what came later would go with it.
        if !want.outlives_closure && self.record.is_some_and(|record| record.closed_unix_secs > 0) {
            return Choice::Closed;
        }
        let seals = u64::from(want.seals);
        if let Some(at) = self.fresh.iter().position(|fresh| fresh.category == want.category) {
            let Some(fresh) = self.fresh.get_mut(at).filter(|fresh| fresh.seals + seals <= SEALS_MAX) else {
                return Choice::None;
            };
            fresh.seals += seals;
            return Choice::Fresh(at);
        }
        let newest = self.record.and_then(|record| Some((record, record.newest(want.category)?)));
        let seals_still = |version: &Version| {
            version.is_young(now_unix_secs, want.age_max_secs.unwrap_or(u64::MAX).min(age_max_secs))
                && tenant.rotated_unix_secs().is_none_or(|rotated| version.created_unix_secs > rotated)
        };
        if let Some((record, version)) = newest.filter(|(_, version)| seals_still(version)) {
            match version.count(want.seals) {
                Counted::Within => return Choice::Stored(record, version),
                Counted::Save => {
                    self.save = true;
                    return Choice::Stored(record, version);
                }
                Counted::Over => {}
            }
        }
        let number = newest.map_or(Some(1), |(_, version)| version.number.checked_add(1));
        let has_room = self.record.is_none_or(|record| record.has_room(want.category, self.fresh.len()))
            && self.fresh.len() < FRESH_MAX;
        match number.filter(|_| has_room && seals <= SEALS_MAX) {
            Some(number) => {
                self.fresh.push(Fresh {
                    category: want.category,
                    number,
                    created_unix_secs: tenant.made_at(now_unix_secs),
                    seals,
                });
                Choice::Fresh(self.fresh.len() - 1)
            }
            None => Choice::None,
        }
    }

    fn is_changed(&self) -> bool {
        self.save || !self.fresh.is_empty()
    }

    fn entropy_bytes(&self) -> usize {
        if !self.is_changed() {
            return 0;
        }
        let alias = if self.record.is_none() { ALIAS_BYTES } else { 0 };
        alias + self.fresh.len() * (32 + NONCE_BYTES) + NONCE_BYTES
    }

    /// Adds to `sealing` what the draft changes and stands on; gives its fresh keys.
    fn write(&self, tenant: &Tenant, drawn: &mut Drawn, sealing: &mut Sealing) -> Result<Vec<Arc<SubjectKey>>, Error> {
        let slot = slots::subject(tenant, self.tag);
        if !self.is_changed() {
            // A subject that is not there and gets no key is nothing to stand on.
            if self.record.is_some() {
                sealing.rests.relied.push((slot, self.loaded_at));
            }
            return Ok(Vec::new());
        }
        let mut record = match self.record {
            Some(record) => record.clone(),
            None => Record::new(Alias(drawn.take()?), Arc::clone(self.bucket)),
        };
        let place = Place { tenant, tag: self.tag, bucket: self.bucket };
        let mut made = Vec::with_capacity(self.fresh.len());
        for fresh in &self.fresh {
            let key = drawn.take_key()?;
            let (version, opened) = Version::fresh(place, *fresh, record.alias, &key, &drawn.take()?);
            record.push(fresh.category, Arc::new(version));
            made.push(opened);
        }
        if self.save {
            // Before they are encoded: what is counted meanwhile may or may not be in it.
            let counted = |version: &Arc<Version>| (Arc::clone(version), version.seals());
            sealing.pending.saved.extend(record.categories.iter().filter_map(|one| one.versions.last()).map(counted));
        }
        sealing.effects.push(Effect { slot: slot.clone(), value: Some(record.seal(place, &drawn.take()?)) });
        sealing.rests.rewritten.push((slot, self.loaded_at));
        sealing.rests.relied.push((slots::bucket(tenant, self.bucket.number), self.bucket.loaded_at));
        sealing.pending.records.push((self.tag, Arc::new(record)));
        Ok(made)
    }
}

const ALIAS_BYTES: usize = 16;

/// Most versions that one operation makes for one subject: as many as an empty record surely holds.
const FRESH_MAX: usize = 47;

const DAMAGED: Error = Error::Damaged { what: "a subject's record" };

#[cfg(test)]
mod tests;
