//! How an operation comes to see the subjects that it is about: from memory, and all the rest in one read.

use std::{
    collections::{HashMap, hash_map::Entry},
    sync::Arc,
};

use super::{
    Error, Keyring,
    record::{NotThis, Record},
    slots::{self, Tag},
    tenant::{Bucket, TenantKeys},
    version::Place,
};
use crate::store::{ReadPoint, Slot, Store};

/// A subject of an operation.
pub(super) struct Seen {
    pub tag: Tag,
    pub found: Found,
    /// When it was read; may be earlier than the operation.
    pub loaded_at: ReadPoint,
}

/// What there is of a subject.
pub(super) enum Found {
    /// Not known: not in memory, or not recent enough. Gone after [`Keyring::load`].
    Unread,
    /// Nothing is stored; a record would hang from this bucket key.
    Absent(Arc<Bucket>),
    /// Its record.
    Record(Arc<Record>),
}

/// The subjects that `tags` names, each once, and for each tag its subject's position.
pub(super) fn distinct(tags: impl ExactSizeIterator<Item = Tag>) -> (Vec<Tag>, Vec<usize>) {
    let mut places = Vec::with_capacity(tags.len());
    let mut subjects: Vec<Tag> = Vec::new();
    let mut known: HashMap<Tag, usize> = HashMap::new();
    for tag in tags {
        // Most requests are about one subject: no map for them.
        if subjects.last() == Some(&tag) {
            places.push(subjects.len() - 1);
            continue;
        }
        let next = subjects.len();
        match known.entry(tag) {
            Entry::Occupied(at) => places.push(*at.get()),
            Entry::Vacant(free) => {
                free.insert(next);
                subjects.push(tag);
                places.push(next);
            }
        }
    }
    (subjects, places)
}

impl Keyring {
    /// What is in memory of each subject.
    pub(super) fn recall(&self, tenant: &TenantKeys, tags: Vec<Tag>) -> Vec<Seen> {
        let now = self.clock.monotonic();
        let recall = |tag| match self.subjects.find(tenant.tenant(), tag, now) {
            Some((record, loaded_at)) => Seen { tag, found: Found::Record(record), loaded_at },
            None => Seen { tag, found: Found::Unread, loaded_at: ReadPoint::default() },
        };
        tags.into_iter().map(recall).collect()
    }

    /// Reads whatever is [`Found::Unread`], in one read, and keeps it. Reads nothing, and does not yield, if all is known.
    ///
    /// A record that doesn't open is read once or twice more together with its bucket key: a purge may have replaced both
    /// between two looks. Only then is it damaged.
    pub(super) async fn load(
        &self,
        store: &dyn Store,
        tenant: &TenantKeys,
        seen: &mut [Seen],
        at: ReadPoint,
    ) -> Result<(), Error> {
        for _ in 0..READS_MAX {
            let reading = Reading::of(tenant, seen);
            if reading.slots.is_empty() {
                return Ok(());
            }
            let values = store.read(&reading.slots).await?;
            self.take(tenant, seen, &reading, values, at)?;
        }
        if seen.iter().any(|one| matches!(one.found, Found::Unread)) { Err(DAMAGED) } else { Ok(()) }
    }

    fn take(
        &self,
        tenant: &TenantKeys,
        seen: &mut [Seen],
        reading: &Reading,
        values: Vec<Option<Vec<u8>>>,
        at: ReadPoint,
    ) -> Result<(), Error> {
        let mut values = values.into_iter();
        let mut buckets: HashMap<u16, Arc<Bucket>> = HashMap::new();
        for number in &reading.buckets {
            let stored = values.next().flatten().ok_or(Error::Damaged { what: "a bucket key" })?;
            buckets.insert(*number, tenant.open_bucket(&*self.root, *number, &stored, at)?);
        }
        let unread = seen.iter_mut().filter(|one| matches!(one.found, Found::Unread));
        // One value for each: a store that answers too few has answered nothing.
        for one in unread {
            let stored = values.next().ok_or(DAMAGED)?;
            let number = one.tag.bucket();
            let bucket = buckets.get(&number).map(Arc::clone).or_else(|| tenant.bucket(number));
            // Forgotten since the slots were listed: the next round reads it.
            let Some(bucket) = bucket else { continue };
            one.loaded_at = at;
            one.found = self.found(tenant, one.tag, bucket, stored, at)?;
        }
        Ok(())
    }

    fn found(
        &self,
        tenant: &TenantKeys,
        tag: Tag,
        bucket: Arc<Bucket>,
        stored: Option<Vec<u8>>,
        at: ReadPoint,
    ) -> Result<Found, Error> {
        let now = self.clock.monotonic();
        let Some(stored) = stored else {
            self.subjects.forget(tenant.tenant().as_str().as_bytes(), tag, at);
            return Ok(Found::Absent(bucket));
        };
        let place = Place { tenant: tenant.tenant(), tag, bucket: &bucket };
        match Record::open(place, &bucket, &stored) {
            Ok(mut record) => {
                if let Some((earlier, _)) = self.subjects.find(tenant.tenant(), tag, now) {
                    record.share(&earlier);
                }
                let record = Arc::new(record);
                self.subjects.keep(tenant.tenant(), tag, Arc::clone(&record), at, now);
                Ok(Found::Record(record))
            }
            Err(NotThis::Sealed) => {
                tenant.forget_bucket(bucket.number, bucket.loaded_at);
                Ok(Found::Unread)
            }
            Err(NotThis::Body) => Err(DAMAGED),
        }
    }
}

/// One read: the bucket keys that are lacking, then the subjects.
struct Reading {
    slots: Vec<Slot>,
    buckets: Vec<u16>,
}

impl Reading {
    fn of(tenant: &TenantKeys, seen: &[Seen]) -> Self {
        let unread = || seen.iter().filter(|one| matches!(one.found, Found::Unread)).map(|one| one.tag);
        let mut buckets: Vec<u16> =
            unread().map(Tag::bucket).filter(|number| tenant.bucket(*number).is_none()).collect();
        buckets.sort_unstable();
        buckets.dedup();
        let of_buckets = buckets.iter().map(|number| slots::bucket(tenant.tenant(), *number));
        let slots = of_buckets.chain(unread().map(|tag| slots::subject(tenant.tenant(), tag))).collect();
        Self { slots, buckets }
    }
}

const READS_MAX: usize = 3;

const DAMAGED: Error = Error::Damaged { what: "a subject's record" };
