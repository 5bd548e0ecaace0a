//! Keys to open with: exactly the one that each field names, or the reason why there is none.

use std::sync::Arc;

use super::{
    Alias, Error, Keyring, NoKey, Rests, SubjectKey, Tag, TenantKeys,
    load::{Found, Seen, distinct},
    slots,
    version::Place,
};
use crate::{
    envelope::KeyId,
    id::Category,
    store::{ReadPoint, Store},
};

/// A field to be opened.
#[derive(Clone, Copy, Debug)]
pub struct WantOpen<'a> {
    /// Whose field it is.
    pub tag: Tag,
    /// Its class's category.
    pub category: &'a Category,
    /// The key that its ciphertext names.
    pub key_id: KeyId,
}

/// Keys to open with.
#[derive(Debug)]
pub struct Opening {
    /// One answer for each want, in order.
    pub keys: Vec<Result<Arc<SubjectKey>, NoKey>>,
    /// What the keys stand on.
    pub rests: Rests,
}

impl Keyring {
    /// The keys that `wanted` names. Nothing but the exact key id in the exact category is ever tried.
    ///
    /// That there is none is answered only from what was read at `at` or later: a record in memory may lack a key that was
    /// added since.
    ///
    /// # Errors
    /// [`Error::Store`], [`Error::Root`]; [`Error::Damaged`] if any of the records or keys is.
    pub async fn for_opening(
        &self,
        store: &dyn Store,
        tenant: &TenantKeys,
        wanted: &[WantOpen<'_>],
        at: ReadPoint,
    ) -> Result<Opening, Error> {
        let (tags, places) = distinct(wanted.iter().map(|want| want.tag));
        let mut seen = self.recall(tenant, tags);
        for (want, place) in wanted.iter().zip(&places) {
            if let Some(one) = seen.get_mut(*place).filter(|one| one.loaded_at < at && one.lacks(want)) {
                one.found = Found::Unread;
            }
        }
        self.load(store, tenant, &mut seen, at).await?;

        let key = |(want, place): (&WantOpen<'_>, &usize)| match seen.get(*place) {
            Some(one) => one.open(tenant, want),
            None => Ok(Err(NoKey::UnknownSubject)),
        };
        let keys = wanted.iter().zip(&places).map(key).collect::<Result<_, _>>()?;
        let known = seen.iter().filter(|one| matches!(one.found, Found::Record(_)));
        let subjects = known.map(|one| (slots::subject(tenant.tenant(), one.tag), one.loaded_at));
        let mut rests = tenant.rests();
        rests.relied.extend(subjects);
        Ok(Opening { keys, rests })
    }

    /// The name that the log has for a subject, if anything is stored for it, and what that stands on.
    ///
    /// # Errors
    /// [`Error::Store`], [`Error::Root`]; [`Error::Damaged`] if the record or its key is.
    pub async fn alias(
        &self,
        store: &dyn Store,
        tenant: &TenantKeys,
        tag: Tag,
        at: ReadPoint,
    ) -> Result<(Option<Alias>, Rests), Error> {
        let mut seen = self.recall(tenant, vec![tag]);
        self.load(store, tenant, &mut seen, at).await?;
        let relied = seen.iter().map(|one| (slots::subject(tenant.tenant(), one.tag), one.loaded_at)).collect();
        let alias = seen.iter().find_map(|one| match &one.found {
            Found::Record(record) => Some(record.alias),
            Found::Unread | Found::Absent(_) => None,
        });
        Ok((alias, Rests { relied, rewritten: Vec::new() }))
    }
}

impl Seen {
    fn lacks(&self, want: &WantOpen<'_>) -> bool {
        match &self.found {
            Found::Record(record) => record.find(want.category, want.key_id).is_none(),
            Found::Unread | Found::Absent(_) => true,
        }
    }

    fn open(&self, tenant: &TenantKeys, want: &WantOpen<'_>) -> Result<Result<Arc<SubjectKey>, NoKey>, Error> {
        let record = match &self.found {
            Found::Record(record) => record,
            Found::Unread | Found::Absent(_) => return Ok(Err(NoKey::UnknownSubject)),
        };
        let Some(version) = record.find(want.category, want.key_id) else {
            if record.is_erased(want.category) {
                return Ok(Err(NoKey::Erased));
            }
            return Ok(Err(NoKey::NoSuchKey { alias: record.alias }));
        };
        let place = Place { tenant: tenant.tenant(), tag: self.tag, bucket: &record.bucket };
        version.key(place, want.category, record.alias).map(Ok)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, atomic::Ordering};

    use prost::Message;

    use super::*;
    use crate::{
        keyring::{
            root::ToWrap,
            testing::{Stale, World, category, subject},
        },
        proto::stored,
        secret::Key,
        store::{Effect, Slot, Space},
    };

    async fn open(world: &World, tenant: &str, id: &str, category: &Category, key_id: KeyId) -> Result<Opening, Error> {
        let tenant = world.tenant(tenant).await;
        let want = WantOpen { tag: tenant.tag(&subject(id)), category, key_id };
        world.keyring.for_opening(&world.store, &tenant, &[want], world.at()).await
    }

    async fn subject_slot(world: &World, tenant: &str, id: &str) -> Slot {
        let tenant = world.tenant(tenant).await;
        slots::subject(tenant.tenant(), tenant.tag(&subject(id)))
    }

    fn stored(world: &World, slot: &Slot) -> Vec<u8> {
        world.store.values.lock().unwrap().get(slot).unwrap().clone()
    }

    fn put(world: &World, slot: &Slot, value: Vec<u8>) {
        world.store.values.lock().unwrap().insert(slot.clone(), value);
    }

    #[tokio::test]
    async fn every_version_opens_from_memory_and_after_a_restart() {
        let mut world = World::new();
        let account = category("account");
        let first = world.seal("acme", "anna", &account, 1).await;
        world.clock.wall_secs.fetch_add(366 * 24 * 3600, Ordering::Relaxed);
        let second = world.seal("acme", "anna", &account, 1).await;
        assert_eq!((first.version(), second.version()), (1, 2));
        for _ in 0..2 {
            for sealed in [&first, &second] {
                let opening = open(&world, "acme", "anna", &account, sealed.sealing().id()).await.unwrap();
                let key = opening.keys[0].as_ref().unwrap();
                assert_eq!((key.sealing().id(), key.version()), (sealed.sealing().id(), sealed.version()));
                assert_eq!(key.alias(), first.alias());
            }
            world.restart();
        }
    }

    #[tokio::test]
    async fn only_the_exact_subject_category_and_key_id_open() {
        let world = World::new();
        let (account, billing) = (category("account"), category("billing"));
        let anna = world.seal("acme", "anna", &account, 1).await;
        world.seal("acme", "anna", &billing, 1).await;
        let ben = world.seal("acme", "ben", &account, 1).await;

        let no_such = |key: &Arc<SubjectKey>| NoKey::NoSuchKey { alias: key.alias() };
        for (id, category, key_id, why) in [
            ("anna", &billing, anna.sealing().id(), no_such(&anna)),
            ("ben", &account, anna.sealing().id(), no_such(&ben)),
            ("anna", &account, KeyId::new([0; 16]), no_such(&anna)),
            ("anna", &category("usage"), anna.sealing().id(), no_such(&anna)),
            ("carl", &account, anna.sealing().id(), NoKey::UnknownSubject),
        ] {
            let opening = open(&world, "acme", id, category, key_id).await.unwrap();
            assert_eq!(opening.keys[0].as_ref().unwrap_err(), &why, "{id} {category}");
            assert!(opening.rests.rewritten.is_empty());
        }
        let elsewhere = open(&world, "other", "anna", &account, anna.sealing().id()).await.unwrap();
        assert_eq!(elsewhere.keys[0].as_ref().unwrap_err(), &NoKey::UnknownSubject);
    }

    #[tokio::test]
    async fn answers_come_in_order_and_an_opening_reads_nothing_twice() {
        let world = World::new();
        let account = category("account");
        let anna = world.seal("acme", "anna", &account, 1).await;
        let ben = world.seal("acme", "ben", &account, 1).await;
        let tenant = world.tenant("acme").await;
        let want = |id, key: &SubjectKey| WantOpen {
            tag: tenant.tag(&subject(id)),
            category: &account,
            key_id: key.sealing().id(),
        };
        let wanted = [want("anna", &anna), want("ben", &ben), want("anna", &ben), want("anna", &anna)];
        world.commit(&Rests::default(), &[]).unwrap();
        let reads = world.reads();
        let opening = world.keyring.for_opening(&world.store, &tenant, &wanted, world.at()).await.unwrap();
        assert_eq!(world.reads(), reads + 1, "only what was not found in memory, once");
        assert!(Arc::ptr_eq(opening.keys[0].as_ref().unwrap(), opening.keys[3].as_ref().unwrap()));
        assert!(Arc::ptr_eq(opening.keys[1].as_ref().unwrap(), &ben));
        assert!(opening.keys[2].is_err());
        assert_eq!(opening.rests.relied.len(), 3, "the tenant and two subjects");
    }

    #[tokio::test]
    async fn a_key_added_elsewhere_is_found_although_an_older_record_is_in_memory() {
        let world = World::new();
        let (account, billing) = (category("account"), category("billing"));
        world.seal("acme", "anna", &account, 1).await;
        // Committed, and not settled here: another replica's, or one that settles a moment later.
        let tenant = world.tenant("acme").await;
        let want = crate::keyring::WantSeal {
            tag: tenant.tag(&subject("anna")),
            category: &billing,
            seals: 1,
            age_max_secs: None,
            outlives_closure: false,
        };
        let sealing = world.keyring.for_sealing(&world.store, &tenant, &[want], world.at()).await.unwrap();
        world.commit(&sealing.rests, &sealing.effects).unwrap();

        let key_id = sealing.keys[0].as_ref().unwrap().sealing().id();
        assert!(open(&world, "acme", "anna", &billing, key_id).await.unwrap().keys[0].is_ok());
    }

    #[tokio::test]
    async fn an_opening_goes_stale_when_its_subject_is_erased_and_then_finds_nothing() {
        let world = World::new();
        let account = category("account");
        let key = world.seal("acme", "anna", &account, 1).await;
        let opening = open(&world, "acme", "anna", &account, key.sealing().id()).await.unwrap();
        let slot = subject_slot(&world, "acme", "anna").await;
        world.commit(&Rests::default(), &[Effect { slot, value: None }]).unwrap();

        assert!(matches!(world.commit(&opening.rests, &[]), Err(Stale)));
        world.keyring.forget(opening.rests.iter());
        let again = open(&world, "acme", "anna", &account, key.sealing().id()).await.unwrap();
        assert_eq!(again.keys[0].as_ref().unwrap_err(), &NoKey::UnknownSubject);
    }

    #[tokio::test]
    async fn a_record_found_gone_leaves_memory_at_once() {
        let world = World::new();
        let account = category("account");
        let key = Arc::downgrade(&world.seal("acme", "anna", &account, 1).await);
        let slot = subject_slot(&world, "acme", "anna").await;
        world.commit(&Rests::default(), &[Effect { slot, value: None }]).unwrap();
        assert!(key.upgrade().is_some());
        let opening = open(&world, "acme", "anna", &account, KeyId::new([0; 16])).await.unwrap();
        assert_eq!(opening.keys[0].as_ref().unwrap_err(), &NoKey::UnknownSubject);
        assert!(key.upgrade().is_none());
    }

    #[tokio::test]
    async fn a_record_moved_or_altered_in_the_store_is_damaged() {
        let mut world = World::new();
        let account = category("account");
        let key_id = world.seal("acme", "anna", &account, 1).await.sealing().id();
        world.seal("acme", "ben", &account, 1).await;
        world.seal("other", "anna", &account, 1).await;
        let home = subject_slot(&world, "acme", "anna").await;
        let right = stored(&world, &home);

        let mut wrong = vec![
            stored(&world, &subject_slot(&world, "acme", "ben").await),
            stored(&world, &subject_slot(&world, "other", "anna").await),
            Vec::new(),
        ];
        for bit in (0..right.len() * 8).step_by(7) {
            let mut flipped = right.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            wrong.push(flipped);
        }
        world.restart();
        for value in wrong {
            put(&world, &home, value);
            assert!(matches!(open(&world, "acme", "anna", &account, key_id).await, Err(Error::Damaged { .. })));
        }
        put(&world, &home, right);
        assert!(open(&world, "acme", "anna", &account, key_id).await.unwrap().keys[0].is_ok());
    }

    #[tokio::test]
    async fn another_tenants_or_buckets_key_in_the_place_of_one_is_refused() {
        let mut world = World::new();
        let account = category("account");
        let key_id = world.seal("acme", "anna", &account, 1).await.sealing().id();
        let tenant = world.tenant("acme").await;
        let number = tenant.tag(&subject("anna")).bucket();
        let home = slots::bucket(tenant.tenant(), number);
        let right = stored(&world, &home);
        let other = world.tenant("other").await;
        for from in [slots::bucket(other.tenant(), number), slots::bucket(tenant.tenant(), number ^ 1)] {
            put(&world, &home, stored(&world, &from));
            world.restart();
            assert!(matches!(open(&world, "acme", "anna", &account, key_id).await, Err(Error::Root(_))));
        }
        world.store.values.lock().unwrap().remove(&home);
        assert!(matches!(open(&world, "acme", "anna", &account, key_id).await, Err(Error::Damaged { .. })));
        put(&world, &home, right);
        assert!(open(&world, "acme", "anna", &account, key_id).await.is_ok());
    }

    #[tokio::test]
    async fn a_bucket_key_replaced_under_us_is_read_again_with_its_records() {
        let world = World::new();
        let account = category("account");
        let key_id = world.seal("acme", "anna", &account, 1).await.sealing().id();
        let tenant = world.tenant("acme").await;
        let tag = tenant.tag(&subject("anna"));
        let slot = slots::subject(tenant.tenant(), tag);
        // The bucket gets another key, under which nothing opens yet: the old key is still in memory.
        let (bucket, generation) = (slots::bucket(tenant.tenant(), tag.bucket()), world.root.newest());
        let aad = crate::keyring::aead::place(&[
            b"privet/wrap/v1",
            b"bucket-key",
            b"acme",
            &tag.bucket().to_be_bytes(),
            &generation.0.to_be_bytes(),
        ]);
        let fresh = Key::new([9; 32]);
        let wrapped_key = world.root.wrap(generation, &[ToWrap { aad: &aad, key: &fresh }]).unwrap().remove(0);
        let record = stored::BucketRecord { root_generation: generation.0, wrapped_key };
        let old_bucket = tenant.bucket(tag.bucket()).unwrap();
        put(&world, &bucket, record.encode_to_vec());

        // The survivor, moved under the new key.
        use crate::keyring::{record::Record, tenant::Bucket, version::Fresh, version::Version};
        let place = Place { tenant: tenant.tenant(), tag, bucket: &old_bucket };
        let old = Record::open(place, &old_bucket, &stored(&world, &slot)).ok().unwrap();
        let new_bucket = Arc::new(Bucket { number: tag.bucket(), key: fresh, loaded_at: world.at() });
        let place = Place { tenant: tenant.tenant(), tag, bucket: &new_bucket };
        let mut moved = Record::new(old.alias, Arc::clone(&new_bucket));
        let fresh = Fresh { category: &account, number: 1, created_unix_secs: 0, seals: 0 };
        let (version, key) = Version::fresh(place, fresh, old.alias, &Key::new([4; 32]), &[0; 12]);
        moved.push(&account, Arc::new(version));
        put(&world, &slot, moved.seal(place, &[0; 12]));
        world.commit(&Rests::default(), &[]).unwrap();

        let opening = open(&world, "acme", "anna", &account, key.sealing().id()).await.unwrap();
        assert_eq!(opening.keys[0].as_ref().unwrap().sealing().id(), key.sealing().id());
        assert_ne!(key.sealing().id(), key_id);
    }

    #[tokio::test]
    async fn nothing_of_the_keyrings_lies_in_another_space() {
        let world = World::new();
        world.seal("acme", "anna", &category("account"), 1).await;
        let values = world.store.values.lock().unwrap();
        assert!(values.keys().all(|slot| matches!(slot.space, Space::Tenant | Space::Bucket | Space::Subject)));
    }
}
