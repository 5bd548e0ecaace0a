//! A tenant's own keys: what finds its subjects, what indexes its values, and the bucket keys that its subjects' keys hang
//! from. Each is a random key wrapped by a root generation and bound to tenant and place.
//!
//! All bucket keys are made with the tenant, so that no two first seals ever race for one.

use std::{fmt, sync::Arc};

use arc_swap::ArcSwapOption;
use prost::Message;
use ring::hmac;

use super::{
    Error, Rests, aead,
    drawn::Drawn,
    life::{self, Standing},
    root::{Generation, RootProvider, ToWrap},
    slots::{self, BUCKETS, Tag},
};
use crate::{
    entropy::Entropy,
    envelope::IndexKey,
    id::{Class, Region, Subject, Tenant},
    proto::stored,
    secret::Key,
    store::{Effect, ReadPoint},
};

/// A tenant's keys, in memory. The bucket keys fill in as they are needed.
pub struct TenantKeys {
    tenant: Tenant,
    standing: Standing,
    rotated_unix_secs: u64,
    loaded_at: ReadPoint,
    /// ring can't wipe an HMAC key on drop.
    lookup: hmac::Key,
    index: Key,
    buckets: Box<[ArcSwapOption<Bucket>]>,
}

impl TenantKeys {
    /// Whose keys these are.
    pub fn tenant(&self) -> &Tenant {
        &self.tenant
    }

    /// Whether the tenant is ending.
    pub fn standing(&self) -> Standing {
        self.standing
    }

    /// What an answer by these keys stands on: that they are the tenant's, and that it is not ending.
    pub fn rests(&self) -> Rests {
        Rests { relied: vec![(slots::tenant(&self.tenant), self.loaded_at)], rewritten: Vec::new() }
    }

    /// How `subject` is found in the store.
    pub fn tag(&self, subject: &Subject) -> Tag {
        let mac = hmac::sign(&self.lookup, subject.expose().as_bytes());
        let mut tag = [0; 16];
        tag.iter_mut().zip(mac.as_ref()).for_each(|(to, from)| *to = *from);
        Tag(tag)
    }

    /// The blind-index key of one of this tenant's classes. Derived anew each time: ask once a class of a request.
    pub fn index_key(&self, class: &Class) -> IndexKey {
        IndexKey::derive(&self.index, class)
    }

    /// Subject keys made until this second since 1970 seal no more; `None`: all do.
    pub fn rotated_unix_secs(&self) -> Option<u64> {
        Some(self.rotated_unix_secs).filter(|secs| *secs > 0)
    }

    /// The second, since 1970, that a subject key made at `now_unix_secs` is said to be made in: after the rotation, also when the
    /// clock has stepped back since.
    pub(super) fn made_at(&self, now_unix_secs: u64) -> u64 {
        if self.rotated_unix_secs == 0 {
            now_unix_secs
        } else {
            now_unix_secs.max(self.rotated_unix_secs.saturating_add(1))
        }
    }

    pub(super) fn loaded_at(&self) -> ReadPoint {
        self.loaded_at
    }

    /// Opens a stored tenant record.
    pub(super) fn open(
        root: &dyn RootProvider,
        tenant: &Tenant,
        stored: &[u8],
        loaded_at: ReadPoint,
    ) -> Result<Self, Error> {
        let record = stored::TenantRecord::decode(stored).map_err(|_| DAMAGED)?;
        let standing = life::standing(&record);
        if standing == Standing::Destroyed {
            return Err(Error::Destroyed);
        }
        let generation = Generation(record.root_generation);
        let open = |own: Own, wrapped: &[u8]| root.unwrap(generation, &own.place(tenant, generation), wrapped);
        let lookup = open(Own::Lookup, &record.wrapped_lookup_key)?;
        Ok(Self {
            tenant: tenant.clone(),
            standing,
            rotated_unix_secs: record.rotated_unix_secs,
            loaded_at,
            lookup: hmac::Key::new(hmac::HMAC_SHA256, lookup.expose()),
            index: open(Own::Index, &record.wrapped_index_key)?,
            buckets: (0..BUCKETS).map(|_| ArcSwapOption::empty()).collect(),
        })
    }

    /// A bucket key that is in memory.
    pub(super) fn bucket(&self, number: u16) -> Option<Arc<Bucket>> {
        self.buckets.get(usize::from(number))?.load_full()
    }

    /// Opens a stored bucket record and keeps its key.
    pub(super) fn open_bucket(
        &self,
        root: &dyn RootProvider,
        number: u16,
        stored: &[u8],
        loaded_at: ReadPoint,
    ) -> Result<Arc<Bucket>, Error> {
        let record = stored::BucketRecord::decode(stored).map_err(|_| DAMAGED)?;
        let generation = Generation(record.root_generation);
        let key = root.unwrap(generation, &Own::Bucket(number).place(&self.tenant, generation), &record.wrapped_key)?;
        let bucket = Arc::new(Bucket { number, key, loaded_at });
        if let Some(kept) = self.buckets.get(usize::from(number)) {
            kept.store(Some(Arc::clone(&bucket)));
        }
        Ok(bucket)
    }

    /// Drops a bucket key that was loaded no later than `upto`.
    pub(super) fn forget_bucket(&self, number: u16, upto: ReadPoint) {
        if let Some(kept) = self.buckets.get(usize::from(number)) {
            kept.rcu(|held| held.as_ref().filter(|bucket| bucket.loaded_at > upto).cloned());
        }
    }
}

impl fmt::Debug for TenantKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TenantKeys")
    }
}

/// A bucket key: it wraps the subject keys of one 4,096th of a tenant's subjects and seals their records.
pub(super) struct Bucket {
    pub number: u16,
    pub key: Key,
    /// When its record was read.
    pub loaded_at: ReadPoint,
}

/// What makes a tenant exist once committed, and what that commit rests on.
#[derive(Debug)]
pub struct NewTenant {
    /// The tenant's record and all its bucket keys.
    pub effects: Vec<Effect>,
    /// That nobody made the same tenant meanwhile.
    pub rests: Rests,
}

/// Draws a tenant's keys and wraps them by the newest root generation.
pub(super) fn create(
    root: &dyn RootProvider,
    entropy: &dyn Entropy,
    tenant: &Tenant,
    region: Option<&Region>,
    created_unix_secs: u64,
    at: ReadPoint,
) -> Result<NewTenant, Error> {
    let generation = root.newest();
    let own: Vec<Own> = [Own::Lookup, Own::Index].into_iter().chain((0..BUCKETS).map(Own::Bucket)).collect();
    let mut drawn = Drawn::draw(entropy, own.len() * 32)?;
    let keys = own.iter().map(|_| drawn.take_key()).collect::<Result<Vec<_>, _>>()?;
    let places: Vec<Vec<u8>> = own.iter().map(|own| own.place(tenant, generation)).collect();
    let to_wrap: Vec<ToWrap<'_>> = places.iter().zip(&keys).map(|(aad, key)| ToWrap { aad, key }).collect();
    let mut wrapped = root.wrap(generation, &to_wrap)?.into_iter();

    let record = stored::TenantRecord {
        root_generation: generation.0,
        wrapped_lookup_key: wrapped.next().unwrap_or_default(),
        wrapped_index_key: wrapped.next().unwrap_or_default(),
        region: region.map(ToString::to_string).unwrap_or_default(),
        created_unix_secs,
        rotated_unix_secs: 0,
        destruction: None,
    };
    let buckets = (0..BUCKETS).zip(wrapped).map(|(number, wrapped_key)| Effect {
        slot: slots::bucket(tenant, number),
        value: Some(stored::BucketRecord { root_generation: generation.0, wrapped_key }.encode_to_vec()),
    });
    let slot = slots::tenant(tenant);
    let first = Effect { slot: slot.clone(), value: Some(record.encode_to_vec()) };
    Ok(NewTenant {
        effects: std::iter::once(first).chain(buckets).collect(),
        rests: Rests { relied: Vec::new(), rewritten: vec![(slot, at)] },
    })
}

/// A tenant's record with the marker that subject keys made until `now_unix_secs` seal no more, and the marker as it is: it never
/// goes back. `None` if the record is none, or of a tenant that was destroyed.
pub(super) fn rotated(stored: &[u8], now_unix_secs: u64) -> Option<(Vec<u8>, u64)> {
    let record = stored::TenantRecord::decode(stored).ok();
    let mut record = record.filter(|record| life::standing(record) != Standing::Destroyed)?;
    // What was made since the last rotation may be said to be of the second behind it.
    let last = record.rotated_unix_secs;
    record.rotated_unix_secs = if last == 0 { now_unix_secs } else { now_unix_secs.max(last.saturating_add(1)) };
    Some((record.encode_to_vec(), record.rotated_unix_secs))
}

/// One of the keys that a root generation wraps for a tenant.
#[derive(Clone, Copy)]
enum Own {
    Lookup,
    Index,
    Bucket(u16),
}

impl Own {
    fn place(self, tenant: &Tenant, parent: Generation) -> Vec<u8> {
        let parts = |what: &[u8], child: &[u8]| {
            aead::place(&[b"privet/wrap/v1", what, tenant.as_str().as_bytes(), child, &parent.0.to_be_bytes()])
        };
        match self {
            Self::Lookup => parts(b"lookup-key", b""),
            Self::Index => parts(b"index-key", b""),
            Self::Bucket(number) => parts(b"bucket-key", &number.to_be_bytes()),
        }
    }
}

const DAMAGED: Error = Error::Damaged { what: "a tenant's keys" };

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        keyring::testing::{World, subject},
        store::Space,
    };

    #[tokio::test]
    async fn a_tenants_keys_fit_its_own_slots_only() {
        let world = World::new();
        let (acme, other) = (Tenant::parse("acme").unwrap(), Tenant::parse("other").unwrap());
        let new = world.keyring.create_tenant(&acme, None, ReadPoint(3)).await.unwrap();
        assert_eq!(new.effects.len(), 1 + usize::from(BUCKETS));
        assert_eq!(new.rests, Rests { relied: vec![], rewritten: vec![(slots::tenant(&acme), ReadPoint(3))] });
        let root = &*world.root;
        let value = |at: usize| new.effects[at].value.clone().unwrap();

        let keys = TenantKeys::open(root, &acme, &value(0), ReadPoint(4)).unwrap();
        assert!(keys.open_bucket(root, 0, &value(1), ReadPoint(4)).is_ok());
        let mismatch = |result: Result<(), Error>| {
            assert!(matches!(result, Err(Error::Root(super::super::root::Error::Mismatch(_)))), "{result:?}");
        };
        mismatch(TenantKeys::open(root, &other, &value(0), ReadPoint(4)).map(drop));
        mismatch(keys.open_bucket(root, 1, &value(1), ReadPoint(4)).map(drop));

        // The two keys of a tenant changed places, and a bucket key in the place of one.
        let mut record = stored::TenantRecord::decode(value(0).as_slice()).unwrap();
        std::mem::swap(&mut record.wrapped_lookup_key, &mut record.wrapped_index_key);
        mismatch(TenantKeys::open(root, &acme, &record.encode_to_vec(), ReadPoint(4)).map(drop));
        record.wrapped_lookup_key = stored::BucketRecord::decode(value(1).as_slice()).unwrap().wrapped_key;
        mismatch(TenantKeys::open(root, &acme, &record.encode_to_vec(), ReadPoint(4)).map(drop));
    }

    #[tokio::test]
    async fn all_wraps_are_different_and_of_one_length() {
        let world = World::new();
        let new = world.keyring.create_tenant(&Tenant::parse("acme").unwrap(), None, ReadPoint(0)).await.unwrap();
        let wraps: std::collections::HashSet<Vec<u8>> = new
            .effects
            .iter()
            .filter(|effect| effect.slot.space == Space::Bucket)
            .map(|effect| stored::BucketRecord::decode(effect.value.as_deref().unwrap()).unwrap().wrapped_key)
            .collect();
        assert_eq!(wraps.len(), usize::from(BUCKETS));
        assert!(wraps.iter().all(|wrapped| wrapped.len() == aead::WRAPPED_KEY_BYTES));
    }

    #[test]
    fn torn_records_are_damaged() {
        let world = World::new();
        for bytes in [vec![0xff], vec![0x0a, 0x7f]] {
            let opened = TenantKeys::open(&*world.root, &Tenant::parse("acme").unwrap(), &bytes, ReadPoint(0));
            assert!(matches!(opened, Err(Error::Damaged { .. })));
        }
    }

    #[tokio::test]
    async fn a_tag_tells_nothing_and_is_each_tenants_own() {
        let world = World::new();
        let acme = world.tenant("acme").await;
        let other = world.tenant("other").await;
        let id = "0123456789abcdef";
        let tag = acme.tag(&subject(id));
        assert_eq!(tag, acme.tag(&subject(id)));
        assert_ne!(tag, other.tag(&subject(id)));
        assert_ne!(tag, acme.tag(&subject("0123456789abcdeg")));
        assert!(!tag.0.windows(4).any(|window| id.as_bytes().windows(4).any(|part| part == window)));
        assert_eq!(format!("{acme:?}"), "TenantKeys");
    }

    #[tokio::test]
    async fn a_region_is_kept() {
        let world = World::new();
        let (acme, region) = (Tenant::parse("acme").unwrap(), Region::parse("us-east").unwrap());
        let new = world.keyring.create_tenant(&acme, Some(&region), world.at()).await.unwrap();
        world.commit(&new.rests, &new.effects).unwrap();
        let life = world.keyring.life(&world.store, &acme).await.unwrap().unwrap();
        assert_eq!((life.tenant(), life.region()), (&acme, region.as_str()));
    }
}
