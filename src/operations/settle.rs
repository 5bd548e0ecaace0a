//! What operations that seal, or change what is stored for subjects, have in common: they find or make keys in turn, and what the
//! keyring is to hold is settled by their commit.

use std::sync::Arc;

use super::{Halt, Service, turns::Turn};
use crate::{
    audit::{Basis, Effects, Record, Released, Unreleased},
    keyring::{Pending, Sealing, TenantKeys, WantSeal},
    store::{ReadPoint, Rests},
};

impl Service {
    /// Keys to seal with. Where some are to be made, one request after the other with those that make some for the same subjects,
    /// and what is there by then is looked at again.
    pub(super) async fn sealing(
        &self,
        tenant_keys: &TenantKeys,
        wanted: &[WantSeal<'_>],
        at: ReadPoint,
    ) -> Result<(Sealing, Option<Turn<'_>>), Halt> {
        let keys = async |at| {
            let sealing = self.keyring.for_sealing(&*self.store, tenant_keys, wanted, at).await;
            sealing.map_err(|error| Halt::unreadable(&error))
        };
        let sealing = keys(at).await?;
        if sealing.rests.rewritten.is_empty() {
            return Ok((sealing, None));
        }
        let turn = self.turns.take(&sealing.rests.rewritten).await;
        Ok((keys(self.log.read_point()).await?, Some(turn)))
    }

    /// Commits a record that changes nothing and releases the answer. What the answer stood on and is not so any more is not kept in
    /// memory: with it every further attempt would be stale, too.
    pub(super) async fn release<T>(
        &self,
        record: Record,
        (policy, rests): ((u64, Option<u64>), Rests),
        answer: T,
    ) -> Result<Released<T>, Halt> {
        let rests = Arc::new(rests);
        let basis = Basis { policy: Some(policy), rests: Arc::clone(&rests) };
        let released = self.log.commit(record, basis, Effects::default(), Unreleased::new(answer)).await;
        released.map_err(|refused| {
            self.keyring.forget(rests.iter());
            refused.into()
        })
    }

    /// Commits a record with its effects and releases the answer. What the effects make is in memory then; what the answer stood on
    /// and is not so any more, is not.
    pub(super) async fn settle<T>(
        &self,
        record: Record,
        (policy, rests): ((u64, Option<u64>), Rests),
        (effects, pending): (Effects, Pending),
        answer: T,
    ) -> Result<Released<T>, Halt> {
        let rests = Arc::new(rests);
        let basis = Basis { policy: Some(policy), rests: Arc::clone(&rests) };
        let gone: Vec<_> = effects.disrupts.iter().map(|slot| (slot.clone(), ReadPoint(u64::MAX))).collect();
        match self.log.commit(record, basis, effects, Unreleased::new(answer)).await {
            Ok(released) => {
                self.keyring.forget(&gone);
                self.keyring.settle(pending, released.end());
                Ok(released)
            }
            Err(refused) => {
                self.keyring.forget(rests.iter());
                Err(refused.into())
            }
        }
    }
}
