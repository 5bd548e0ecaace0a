//! The life of a tenant: there is one, its end is wanted, it is ending, its keys are gone. A name is used once.
//!
//! INVARIANT: whatever changes here disrupts. What stands on a tenant's keys as they were is decided again, and while a tenant
//! is ending nothing is sealed or opened for it.

use prost::Message;

use super::{
    Changes, Error, Keyring, NewTenant, Pending,
    slots::{self, BUCKETS},
};
use crate::{
    id::Tenant,
    proto::stored::{TenantDestruction, TenantRecord},
    store::{Direction, Effect, ReadPoint, Rests, Space, Store},
};

/// A tenant as it is stored, without its keys.
#[derive(Clone, Debug)]
pub struct Life {
    tenant: Tenant,
    record: TenantRecord,
}

/// How far it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It is there.
    Active,
    /// A person wants it destroyed; it works as before.
    Wanted,
    /// Another has confirmed that: nothing is sealed or opened, and from this second since 1970 on it may be destroyed.
    Ending(u64),
    /// Its keys are gone.
    Destroyed,
}

impl Life {
    pub(super) fn of(tenant: &Tenant, stored: &[u8]) -> Result<Self, Error> {
        let record = TenantRecord::decode(stored).map_err(|_| DAMAGED)?;
        Ok(Self { tenant: tenant.clone(), record })
    }

    /// Whose.
    pub fn tenant(&self) -> &Tenant {
        &self.tenant
    }

    /// Where its data must lie; empty: wherever the deployment runs that has no region.
    pub fn region(&self) -> &str {
        &self.record.region
    }

    /// When it was made, in seconds since 1970.
    pub fn created_unix_secs(&self) -> u64 {
        self.record.created_unix_secs
    }

    /// Who wants its end.
    pub fn destruction(&self) -> Option<&TenantDestruction> {
        self.record.destruction.as_ref()
    }

    /// How far it is.
    pub fn standing(&self) -> Standing {
        standing(&self.record)
    }

    /// The life with another wish, and what makes it so. `at` is when this one was read.
    #[must_use]
    pub fn with(mut self, destruction: Option<TenantDestruction>, at: ReadPoint) -> (Self, Changes) {
        self.record.destruction = destruction;
        let changes = self.changes(at);
        (self, changes)
    }

    /// The end: the tenant's own keys and all its bucket keys go, and with them every key of its subjects.
    #[must_use]
    pub fn ended(mut self, now_unix_secs: u64, at: ReadPoint) -> Changes {
        self.record.wrapped_lookup_key = Vec::new();
        self.record.wrapped_index_key = Vec::new();
        let destruction = self.record.destruction.take().unwrap_or_default();
        self.record.destruction = Some(TenantDestruction { destroyed_unix_secs: now_unix_secs.max(1), ..destruction });
        let mut changes = self.changes(at);
        let buckets = (0..BUCKETS).map(|number| Effect { slot: slots::bucket(&self.tenant, number), value: None });
        changes.effects.extend(buckets);
        changes
    }

    fn changes(&self, at: ReadPoint) -> Changes {
        let slot = slots::tenant(&self.tenant);
        Changes {
            effects: vec![Effect { slot: slot.clone(), value: Some(self.record.encode_to_vec()) }],
            rests: Rests { relied: Vec::new(), rewritten: vec![(slot.clone(), at)] },
            disrupts: vec![slot],
            pending: Pending::none(&self.tenant),
        }
    }
}

impl Changes {
    /// What makes a tenant, and the tenant that it makes.
    ///
    /// # Errors
    /// [`Error::Damaged`]: what was just made is none.
    pub fn of_new(tenant: &Tenant, new: NewTenant) -> Result<(Life, Self), Error> {
        let NewTenant { effects, rests } = new;
        let record = effects.first().and_then(|effect| effect.value.as_deref()).ok_or(DAMAGED)?;
        let life = Life::of(tenant, record)?;
        Ok((life, Self { effects, rests, disrupts: Vec::new(), pending: Pending::none(tenant) }))
    }
}

impl Pending {
    /// No record.
    pub fn none(tenant: &Tenant) -> Self {
        Self { tenant: tenant.clone(), records: Vec::new(), saved: Vec::new() }
    }
}

pub(super) fn standing(record: &TenantRecord) -> Standing {
    match &record.destruction {
        None => Standing::Active,
        Some(destruction) if destruction.destroyed_unix_secs > 0 => Standing::Destroyed,
        Some(destruction) if destruction.confirmed_unix_secs > 0 => Standing::Ending(destruction.due_unix_secs),
        Some(_) => Standing::Wanted,
    }
}

impl Keyring {
    /// A tenant's life; `None` if there never was such a tenant.
    ///
    /// # Errors
    /// [`Error::Store`], [`Error::Damaged`].
    pub async fn life(&self, store: &dyn Store, tenant: &Tenant) -> Result<Option<Life>, Error> {
        let values = store.read(&[slots::tenant(tenant)]).await?;
        values.into_iter().next().flatten().map(|stored| Life::of(tenant, &stored)).transpose()
    }

    /// The lives of all tenants that there ever were, by name from this one on, and at most `max`.
    ///
    /// # Errors
    /// [`Error::Store`], [`Error::Damaged`].
    pub async fn lives(&self, store: &dyn Store, from: Option<&Tenant>, max: usize) -> Result<Vec<Life>, Error> {
        let first = from.map_or_else(Vec::new, |tenant| slots::tenant(tenant).key);
        // No name of a tenant has a byte above `z`.
        let found = store.scan(Space::Tenant, first..vec![0xff], Direction::Ascending, max).await?;
        let life = |(key, stored): (Vec<u8>, Vec<u8>)| {
            let tenant = std::str::from_utf8(&key).ok().and_then(|name| Tenant::parse(name).ok()).ok_or(DAMAGED)?;
            Life::of(&tenant, &stored)
        };
        found.into_iter().map(life).collect()
    }

    /// What takes away so many records of subjects of a tenant whose keys are gone; `None` once there is none. Nobody can read them
    /// any more: this gives their room back.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn remains(&self, store: &dyn Store, life: &Life, max: usize) -> Result<Option<Vec<Effect>>, Error> {
        if life.standing() != Standing::Destroyed {
            return Ok(None);
        }
        let keys = slots::subjects(&life.tenant, slots::Tag([0; 16]));
        let found = store.scan(Space::Subject, keys, Direction::Ascending, max).await?;
        let gone = |(key, _)| Effect { slot: crate::store::Slot { space: Space::Subject, key }, value: None };
        Ok(Some(found.into_iter().map(gone).collect()).filter(|effects: &Vec<Effect>| !effects.is_empty()))
    }
}

const DAMAGED: Error = Error::Damaged { what: "a tenant's record" };

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keyring::{
        WantSeal,
        testing::{World, category, subject},
    };

    async fn life(world: &World, name: &str) -> Life {
        world.keyring.life(&world.store, &Tenant::parse(name).unwrap()).await.unwrap().unwrap()
    }

    async fn drafted(world: &World, id: &str) -> crate::keyring::Sealing {
        let (tenant, category) = (world.tenant("acme").await, category("account"));
        let want = WantSeal {
            tag: tenant.tag(&subject(id)),
            category: &category,
            seals: 1,
            age_max_secs: None,
            outlives_closure: false,
        };
        world.keyring.for_sealing(&world.store, &tenant, &[want], world.at()).await.unwrap()
    }

    fn confirmed(due_unix_secs: u64) -> TenantDestruction {
        TenantDestruction { requested_unix_secs: 1, confirmed_unix_secs: 2, due_unix_secs, ..Default::default() }
    }

    #[tokio::test]
    async fn a_tenant_ends_step_by_step_and_each_step_disrupts_what_stands_on_its_keys() {
        let world = World::new();
        let keys = world.tenant("acme").await;
        let other = world.tenant("other").await;
        assert_eq!(life(&world, "acme").await.standing(), Standing::Active);
        let wanted = TenantDestruction { requested_unix_secs: 1, ..Default::default() };
        let mut before = drafted(&world, "anna").await;
        for (destruction, standing) in
            [(Some(wanted), Standing::Wanted), (Some(confirmed(9)), Standing::Ending(9)), (None, Standing::Active)]
        {
            let (after, changes) = life(&world, "acme").await.with(destruction, world.at());
            assert_eq!((after.standing(), &changes.disrupts), (standing, &vec![slots::tenant(keys.tenant())]));
            world.change(&changes);
            assert!(world.commit(&before.rests, &before.effects).is_err(), "{standing:?}");
            assert_eq!(life(&world, "acme").await.standing(), standing);
            let keys = world.tenant("acme").await;
            assert_eq!(keys.standing(), standing);
            before = drafted(&world, "anna").await;
        }
        world.commit(&before.rests, &before.effects).unwrap();

        let (ending, changes) = life(&world, "acme").await.with(Some(confirmed(9)), world.at());
        world.change(&changes);
        assert!(world.keyring.remains(&world.store, &ending, 10).await.unwrap().is_none(), "only what is dead");
        let changes = ending.ended(77, world.at());
        assert_eq!(changes.effects.len(), 1 + usize::from(BUCKETS));
        world.change(&changes);
        let ended = life(&world, "acme").await;
        assert_eq!((ended.standing(), ended.destruction().unwrap().destroyed_unix_secs), (Standing::Destroyed, 77));
        let name = Tenant::parse("acme").unwrap();
        assert!(matches!(world.keyring.tenant(&world.store, &name, world.at()).await, Err(Error::Destroyed)));
        for number in [0, 1, BUCKETS - 1] {
            assert_eq!(world.store.read(&[slots::bucket(&name, number)]).await.unwrap(), [None]);
            assert!(world.store.read(&[slots::bucket(other.tenant(), number)]).await.unwrap()[0].is_some());
        }
        let remains = world.keyring.remains(&world.store, &ended, 10).await.unwrap().unwrap();
        assert_eq!(remains.len(), 1);
        world.commit(&Rests::default(), &remains).unwrap();
        assert!(world.keyring.remains(&world.store, &ended, 10).await.unwrap().is_none());
        assert_eq!(other.tag(&subject("anna")), world.tenant("other").await.tag(&subject("anna")));
    }

    #[tokio::test]
    async fn lives_are_listed_by_name_from_any_on() {
        let world = World::new();
        for name in ["b", "a", "z9", "c-1"] {
            world.tenant(name).await;
        }
        let names = async |from: Option<&str>, max| {
            let from = from.map(|name| Tenant::parse(name).unwrap());
            let lives = world.keyring.lives(&world.store, from.as_ref(), max).await.unwrap();
            lives.iter().map(|life| life.tenant().to_string()).collect::<Vec<_>>()
        };
        assert_eq!(names(None, 9).await, ["a", "b", "c-1", "z9"]);
        assert_eq!(names(Some("b"), 2).await, ["b", "c-1"]);
        assert_eq!(names(Some("bb"), 9).await, ["c-1", "z9"]);
        assert!(names(Some("zz"), 9).await.is_empty());
    }
}
