//! What is stored for subjects, to be looked at and changed: erasure, holds, closure.
//!
//! A change makes a new record, as sealing does, and comes to hold with its commit. What destroys keys names the slots that it
//! disrupts: whatever stands on a key that is gone is decided again, and never released.
//!
//! INVARIANT: once no key is left, nothing in the store leads from the subject's tag to the alias under which the log has
//! spoken of it: the record is given another.

use std::sync::Arc;

use super::{
    Alias, Erased, ErasureId, Error, Keyring, Pending, Rests, Tag, TenantKeys,
    drawn::Drawn,
    load::{Found, Seen},
    record::{CategoryKeys, Record},
    slots,
    version::{Fresh, Place, Version},
};
use crate::{
    id::{Category, Tenant},
    proto::stored,
    store::{Direction, Effect, ReadPoint, Slot, Space, Store, VALUE_BYTES_MAX},
};

/// The longest reason of a hold, in bytes.
pub const HOLD_REASON_BYTES_MAX: usize = 200;

/// Holds on one subject, at most; fewer where its record is nearly full.
const HOLDS_MAX: usize = 8;

/// Some subjects of one tenant, as they were read and as they are to be.
pub struct Subjects {
    tenant: Arc<TenantKeys>,
    seen: Vec<Seen>,
    /// By subject: what its record is to become.
    drafts: Vec<Option<Draft>>,
}

struct Draft {
    record: Record,
    /// Whether something goes that answers may stand on.
    disrupts: bool,
    /// Whether the alias goes, too.
    renames: bool,
    /// Categories that get a new version.
    fresh: Vec<Category>,
}

/// What a change comes to.
#[derive(Debug)]
pub struct Changes {
    /// What to commit.
    pub effects: Vec<Effect>,
    /// What it stands on.
    pub rests: Rests,
    /// The slots from which keys go.
    pub disrupts: Vec<Slot>,
    /// What [`Keyring::settle`] takes once it is committed.
    pub pending: Pending,
}

/// What is stored for a subject.
pub struct View<'a>(&'a Record);

/// Why nothing was erased.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unerased {
    /// Nothing is stored in these categories.
    Unknown,
    /// By this hold.
    Held(String),
}

/// Why there is no new version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unrotated {
    /// Nothing is stored in these categories.
    Unknown,
    /// There is no room for another version of this one.
    Full(Category),
}

/// Why no version was destroyed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unretired {
    /// Nothing is stored in this category.
    Unknown,
    /// The newest would go.
    Newest,
    /// A hold of this id stops it.
    Held(String),
}

/// What became of a hold that was to be placed.
#[derive(Clone, Debug, PartialEq)]
pub enum Holding {
    /// Nothing is stored for the subject.
    Unknown,
    /// It is there: newly, or from before.
    Placed(stored::Hold),
    /// The record has no room for it.
    Full,
}

impl Keyring {
    /// Reads some subjects, each named once, at `at` or later.
    ///
    /// # Errors
    /// [`Error::Store`], [`Error::Root`]; [`Error::Damaged`] if any of the records is.
    pub async fn subjects(
        &self,
        store: &dyn Store,
        tenant: &Arc<TenantKeys>,
        tags: impl IntoIterator<Item = Tag>,
        at: ReadPoint,
    ) -> Result<Subjects, Error> {
        let unread = |tag| Seen { tag, found: Found::Unread, loaded_at: ReadPoint::default() };
        let mut seen: Vec<Seen> = tags.into_iter().map(unread).collect();
        self.load(store, tenant, &mut seen, at).await?;
        let drafts = seen.iter().map(|_| None).collect();
        Ok(Subjects { tenant: Arc::clone(tenant), seen, drafts })
    }

    /// Gives a subject new versions, of some categories' keys or with `None` of all that it has; gives their numbers.
    ///
    /// # Errors
    /// [`Unrotated`]; nothing was changed.
    pub fn rotate(
        &self,
        subjects: &mut Subjects,
        at: usize,
        categories: Option<&[Category]>,
    ) -> Result<Vec<(Category, u32)>, Unrotated> {
        let Some(View(record)) = subjects.view(at) else { return Err(Unrotated::Unknown) };
        let wanted = record.categories.iter().map(|one| &one.category);
        let wanted = wanted.filter(|category| categories.is_none_or(|some| some.contains(category)));
        let fresh: Vec<Category> = wanted.cloned().collect();
        if fresh.is_empty() {
            return Err(Unrotated::Unknown);
        }
        let mut numbers = Vec::with_capacity(fresh.len());
        for (planned, category) in fresh.iter().enumerate() {
            let number = record.newest(category).and_then(|newest| newest.number.checked_add(1));
            match number.filter(|_| record.has_room(category, planned)) {
                Some(number) => numbers.push((category.clone(), number)),
                None => return Err(Unrotated::Full(category.clone())),
            }
        }
        // An answer sealed under the version before goes stale: after a rotation nothing comes out under it any more.
        let draft = Draft { record: record.clone(), disrupts: true, renames: false, fresh };
        subjects.draft(at, draft);
        Ok(numbers)
    }

    /// What the changes of some subjects come to.
    ///
    /// # Errors
    /// [`Error::Entropy`].
    pub fn changes(&self, subjects: Subjects) -> Result<Changes, Error> {
        let Subjects { tenant, seen, drafts } = subjects;
        let each = super::aead::NONCE_BYTES + ALIAS_BYTES;
        let fresh: usize = drafts.iter().flatten().map(|draft| draft.fresh.len()).sum();
        let entropy_bytes = drafts.iter().flatten().count() * each + fresh * (32 + super::aead::NONCE_BYTES);
        let mut drawn = Drawn::draw(&*self.entropy, entropy_bytes)?;
        let created_unix_secs = tenant.made_at(self.clock.wall_secs());
        let mut changes = Changes {
            effects: Vec::new(),
            rests: tenant.rests(),
            disrupts: Vec::new(),
            pending: Pending::none(tenant.tenant()),
        };
        for (seen, draft) in seen.into_iter().zip(drafts) {
            let slot = slots::subject(tenant.tenant(), seen.tag);
            let Some(Draft { mut record, disrupts, renames, fresh }) = draft else {
                if matches!(seen.found, Found::Record(_)) {
                    changes.rests.relied.push((slot, seen.loaded_at));
                }
                continue;
            };
            let (nonce, alias) = (drawn.take()?, drawn.take()?);
            if renames {
                record.alias = Alias(alias);
            }
            let bucket = Arc::clone(&record.bucket);
            let place = Place { tenant: tenant.tenant(), tag: seen.tag, bucket: &bucket };
            for category in &fresh {
                let number = record.newest(category).map_or(1, |newest| newest.number.saturating_add(1));
                let fresh = Fresh { category, number, created_unix_secs, seals: 0 };
                let (version, _) = Version::fresh(place, fresh, record.alias, &drawn.take_key()?, &drawn.take()?);
                record.push(category, Arc::new(version));
            }
            changes.effects.push(Effect { slot: slot.clone(), value: Some(record.seal(place, &nonce)) });
            changes.rests.rewritten.push((slot.clone(), seen.loaded_at));
            let bucket = slots::bucket(tenant.tenant(), record.bucket.number);
            changes.rests.relied.push((bucket, record.bucket.loaded_at));
            if disrupts {
                changes.disrupts.push(slot);
            }
            changes.pending.records.push((seen.tag, Arc::new(record)));
        }
        Ok(changes)
    }
}

impl Subjects {
    /// Where subjects' records lie: for taking turns with whoever else is about to write them.
    pub fn slots(tenant: &TenantKeys, tags: &[Tag]) -> Vec<(Slot, ReadPoint)> {
        tags.iter().map(|tag| (slots::subject(tenant.tenant(), *tag), ReadPoint::default())).collect()
    }

    /// What is stored for one of them; `None`: nothing.
    pub fn view(&self, at: usize) -> Option<View<'_>> {
        match (self.drafts.get(at), self.seen.get(at)) {
            (Some(Some(draft)), _) => Some(View(&draft.record)),
            (_, Some(Seen { found: Found::Record(record), .. })) => Some(View(record)),
            _ => None,
        }
    }

    /// The tags of a tenant's subjects from one on, in their order.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn tags(store: &dyn Store, tenant: &Tenant, from: Option<Tag>, limit: usize) -> Result<Vec<Tag>, Error> {
        let keys = slots::subjects(tenant, from.unwrap_or(Tag([0; 16])));
        let found = store.scan(Space::Subject, keys, Direction::Ascending, limit).await?;
        let tag = |(key, _): (Vec<u8>, Vec<u8>)| match slots::read(&Slot { space: Space::Subject, key }) {
            Some(slots::Held::Subject(_, tag)) => Some(tag),
            Some(_) | None => None,
        };
        Ok(found.into_iter().filter_map(tag).collect())
    }

    /// Destroys the versions of a category's key up to a number, never the newest; gives those that there were.
    ///
    /// # Errors
    /// [`Unretired`]; nothing was changed.
    pub fn retire(&mut self, at: usize, category: &Category, up_to: u32) -> Result<Vec<u32>, Unretired> {
        let Some(View(record)) = self.view(at) else { return Err(Unretired::Unknown) };
        let Some(newest) = record.newest(category) else { return Err(Unretired::Unknown) };
        if newest.number <= up_to {
            return Err(Unretired::Newest);
        }
        if let Some(hold) = record.holds.first() {
            return Err(Unretired::Held(hold.id.clone()));
        }
        let mut record = record.clone();
        let mut retired = Vec::new();
        for one in record.categories.iter_mut().filter(|one| one.category == *category) {
            retired.extend(one.versions.iter().map(|version| version.number).filter(|number| *number <= up_to));
            one.versions.retain(|version| version.number > up_to);
        }
        if !retired.is_empty() {
            self.draft(at, Draft { record, disrupts: true, renames: false, fresh: Vec::new() });
        }
        Ok(retired)
    }

    /// Destroys the versions of a category's key that `is_due` says so of, by the second of their making; gives how many. What may
    /// have been sealed lately is not known to be due: the caller sees to it.
    pub fn expire(&mut self, at: usize, category: &Category, is_due: impl Fn(u64) -> bool) -> usize {
        let Some(View(record)) = self.view(at) else { return 0 };
        let mut record = record.clone();
        let mut expired = 0;
        for one in record.categories.iter_mut().filter(|one| one.category == *category) {
            expired += one.versions.iter().filter(|version| is_due(version.created_unix_secs)).count();
            one.versions.retain(|version| !is_due(version.created_unix_secs));
        }
        if expired > 0 && record.holds.is_empty() {
            record.categories.retain(|one| !one.versions.is_empty());
            let renames = record.categories.is_empty();
            self.draft(at, Draft { record, disrupts: true, renames, fresh: Vec::new() });
            return expired;
        }
        0
    }

    /// Erases some categories of a subject, or with `None` all of it; gives what is erased of it then: newly, and from before.
    ///
    /// # Errors
    /// [`Unerased`]; nothing was changed.
    pub fn erase(
        &mut self,
        at: usize,
        categories: Option<&[Category]>,
        erasure: ErasureId,
    ) -> Result<Vec<ErasureId>, Unerased> {
        let Some(View(record)) = self.view(at) else { return Err(Unerased::Unknown) };
        let covers = |category: &Category| categories.is_none_or(|some| some.contains(category));
        let before = |one: &&Erased| match &one.category {
            // All of it is gone, whatever is asked for.
            None => true,
            Some(category) => covers(category),
        };
        let mut erasures: Vec<ErasureId> = record.erased.iter().filter(before).map(|one| one.erasure).collect();
        erasures.dedup();
        let goes: Vec<Category> =
            record.categories.iter().map(|one| one.category.clone()).filter(|category| covers(category)).collect();
        let is_whole = categories.is_none() && !record.erased.iter().any(|one| one.category.is_none());
        if goes.is_empty() && !is_whole {
            return if erasures.is_empty() { Err(Unerased::Unknown) } else { Ok(erasures) };
        }
        if let Some(hold) = record.holds.first() {
            return Err(Unerased::Held(hold.id.clone()));
        }
        let mut record = record.clone();
        record.categories.retain(|one| !goes.contains(&one.category));
        if is_whole {
            record.erased = vec![Erased { category: None, erasure }];
        } else {
            record.erased.extend(goes.into_iter().map(|category| Erased { category: Some(category), erasure }));
        }
        let renames = record.categories.is_empty();
        self.draft(at, Draft { record, disrupts: true, renames, fresh: Vec::new() });
        erasures.push(erasure);
        Ok(erasures)
    }

    /// Lets a subject be sealed for again; whether that changes anything.
    pub fn reinstate(&mut self, at: usize) -> Option<bool> {
        let View(record) = self.view(at)?;
        if record.erased.is_empty() && record.closed_unix_secs == 0 {
            return Some(false);
        }
        let mut record = record.clone();
        record.erased.clear();
        record.closed_unix_secs = 0;
        self.draft(at, Draft { record, disrupts: false, renames: false, fresh: Vec::new() });
        Some(true)
    }

    /// Places a hold. One of the same id that is there stays as it is.
    pub fn place_hold(&mut self, at: usize, hold: stored::Hold) -> Holding {
        let Some(View(record)) = self.view(at) else { return Holding::Unknown };
        if let Some(placed) = record.holds.iter().find(|placed| placed.id == hold.id) {
            return Holding::Placed(placed.clone());
        }
        let mut record = record.clone();
        record.holds.push(hold.clone());
        if record.holds.len() > HOLDS_MAX || record.bytes_max() > VALUE_BYTES_MAX {
            return Holding::Full;
        }
        self.draft(at, Draft { record, disrupts: false, renames: false, fresh: Vec::new() });
        Holding::Placed(hold)
    }

    /// Releases a hold and gives it; `None` if there is none of this id.
    pub fn release_hold(&mut self, at: usize, id: &str, now_unix_secs: u64) -> Option<stored::Hold> {
        let View(record) = self.view(at)?;
        let position = record.holds.iter().position(|placed| placed.id == id)?;
        let mut record = record.clone();
        let hold = record.holds.remove(position);
        record.loosened_unix_secs = now_unix_secs;
        self.draft(at, Draft { record, disrupts: false, renames: false, fresh: Vec::new() });
        Some(hold)
    }

    /// Closes a subject; gives when it was closed: now, or before. `None` if nothing is stored for it.
    pub fn close(&mut self, at: usize, closed_unix_secs: u64, now_unix_secs: u64) -> Option<u64> {
        let View(record) = self.view(at)?;
        if record.closed_unix_secs > 0 {
            return Some(record.closed_unix_secs);
        }
        let mut record = record.clone();
        record.closed_unix_secs = closed_unix_secs;
        record.loosened_unix_secs = now_unix_secs;
        // What is being sealed meanwhile would go with it.
        self.draft(at, Draft { record, disrupts: true, renames: false, fresh: Vec::new() });
        Some(closed_unix_secs)
    }

    fn draft(&mut self, at: usize, draft: Draft) {
        if let Some(slot) = self.drafts.get_mut(at) {
            *slot = Some(draft);
        }
    }
}

impl<'a> View<'a> {
    /// The only name that the log has for it.
    pub fn alias(&self) -> Alias {
        self.0.alias
    }

    /// Its categories with the versions of their keys, oldest first: number, second of its making, and seals.
    pub fn categories(&self) -> impl Iterator<Item = (&'a Category, Vec<(u32, u64, u64)>)> {
        self.0.categories.iter().map(|CategoryKeys { category, versions }| {
            let versions = versions.iter().map(|one| (one.number, one.created_unix_secs, one.seals()));
            (category, versions.collect())
        })
    }

    /// Its holds.
    pub fn holds(&self) -> &'a [stored::Hold] {
        &self.0.holds
    }

    /// When it was closed, since 1970; `None` while it is open.
    pub fn closed_unix_secs(&self) -> Option<u64> {
        Some(self.0.closed_unix_secs).filter(|secs| *secs > 0)
    }

    /// When it was last closed, or a hold on it released, since 1970: what was due before may be due by that only. 0: never.
    pub fn loosened_unix_secs(&self) -> u64 {
        self.0.loosened_unix_secs
    }

    /// What was erased of it and not reinstated.
    pub fn erased(&self) -> &'a [Erased] {
        &self.0.erased
    }

    /// The categories that an erasure took; none if it took all.
    pub fn erased_by(&self, erasure: ErasureId) -> Vec<Category> {
        self.0.erased.iter().filter(|one| one.erasure == erasure).filter_map(|one| one.category.clone()).collect()
    }
}

const ALIAS_BYTES: usize = 16;

#[cfg(test)]
mod tests;
