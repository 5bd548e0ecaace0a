//! The end of a tenant whose waiting period is over: its keys go in one commit, and then what nobody can read any more, piece by
//! piece.

use super::destroy::hold;
use crate::{
    audit::{Effects, Record, Released, record::Targets},
    id::{Action, ControlObject, Principal, Tenant},
    keyring::{Changes, Life, Pending, Standing},
    operations::{Halt, Service, start},
    proto::stored::{self, Operation, Outcome, TenantDestruction},
    store::{ReadPoint, Rests},
};

/// Records that are taken away by one commit.
const REMAINS: usize = 4_000;

impl Service {
    /// Destroys the keys of a tenant that is ending and was due at `cutoff`, unless somebody is held; and takes away what is left
    /// of one that was destroyed. `life` was read no earlier than `at`.
    pub(in crate::operations) async fn end_tenant(&self, life: Life, at: ReadPoint, cutoff: u64) -> Result<(), Halt> {
        match life.standing() {
            Standing::Active | Standing::Wanted => return Ok(()),
            Standing::Ending(due) if due > cutoff => return Ok(()),
            Standing::Ending(_) => {}
            Standing::Destroyed => return self.clear(&life).await,
        }
        let tenant = life.tenant().clone();
        // Placed in the moment of the confirmation: nobody could place one since.
        if let Some(hold) = hold(self, &life).await? {
            tracing::error!(tenant = tenant.as_str(), hold, "a hold stops the end of a tenant: cancel it");
            return Ok(());
        }
        let TenantDestruction { requested_by, confirmed_by, .. } = life.destruction().cloned().unwrap_or_default();
        let effect = format!(
            "tenant destroyed with all its keys, as requested by {requested_by} and confirmed by {confirmed_by}"
        );
        let Changes { effects, rests, disrupts, pending } = life.ended(self.log.believed_secs(), at);
        self.commit_end(&tenant, effect, rests, Effects { writes: effects, disrupts, ..Effects::default() }, pending)
            .await?;
        tracing::warn!(tenant = tenant.as_str(), "a tenant was destroyed with all its keys");
        let ended = self.keyring.life(&*self.store, &tenant).await.map_err(|error| Halt::unreadable(&error))?;
        match ended {
            Some(ended) => self.clear(&ended).await,
            None => Ok(()),
        }
    }

    /// Takes away the records of a destroyed tenant's customers.
    async fn clear(&self, life: &Life) -> Result<(), Halt> {
        loop {
            let remains = self.keyring.remains(&*self.store, life, REMAINS).await;
            let Some(writes) = remains.map_err(|error| Halt::unreadable(&error))? else { return Ok(()) };
            let effect = format!("{} records of a destroyed tenant's customers taken away", writes.len());
            let pending = Pending::none(life.tenant());
            // Nothing stands on them any more, so they disrupt nobody.
            let effects = Effects { writes, ..Effects::default() };
            self.commit_end(life.tenant(), effect, Rests::default(), effects, pending).await?;
        }
    }

    /// In the tenant's own log: it is the last that its auditors read there.
    async fn commit_end(
        &self,
        tenant: &Tenant,
        effect: String,
        rests: Rests,
        effects: Effects,
        pending: Pending,
    ) -> Result<(), Halt> {
        let policy = self.policy.load_full();
        let mut targets = Targets::default();
        targets.add(ControlObject::Tenants.as_str(), Action::Destroy.as_str(), Outcome::Allowed, None);
        let entry = stored::Entry {
            principal: Principal::system("tenants").as_str().to_owned(),
            effect,
            policy_version: policy.version(),
            policy_hash: policy.hash().to_vec(),
            region: self.region().to_owned(),
            ..start::entry(Operation::DestroyTenant)
        };
        let record = Record::encode(tenant, entry, targets.finish())?;
        let effects = Effects { from_reserve: true, ..effects };
        let _: Released<()> = self.settle(record, ((policy.version(), None), rests), (effects, pending), ()).await?;
        Ok(())
    }
}
