//! Refusals: each recorded by itself until they come in floods, then counted.
//!
//! Without this, whoever is refused could fill the log. A count says who was refused, where and why, and how often in one
//! second; only requests that got nothing can end here.

use std::{collections::HashMap, sync::Mutex};

use super::{
    log::{Basis, Effects, Log, Refused},
    record::Record,
    release::{Refusal, Released, Unreleased},
};
use crate::{
    id::{Principal, Tenant},
    proto::stored::{self, Operation, Verdict},
};

/// Different refusals counted in one second, at most; the rest is counted together.
const KEYS_MAX: usize = 1_024;

/// What refusals are told apart by.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Kind {
    /// The operation asked for.
    pub operation: Operation,
    /// Who asked, if known.
    pub principal: Option<Principal>,
    /// The tenant whose log the refusal belongs to.
    pub tenant: Tenant,
    /// Why: UPPER_SNAKE.
    pub reason: &'static str,
}

/// Counts refusals.
#[derive(Debug, Default)]
pub struct Tally {
    counts: Mutex<HashMap<Kind, Count>>,
}

#[derive(Debug, Default)]
struct Count {
    recorded: u32,
    counted: u64,
}

impl Tally {
    /// Releases a refusal: after its record is durable for the first `each_max` of its kind in a second, and with a count
    /// beyond.
    ///
    /// # Errors
    /// [`Refused`] as for [`Log::commit`].
    pub async fn refuse<R: Refusal>(
        &self,
        log: &Log,
        kind: Kind,
        each_max: u32,
        record: impl FnOnce() -> Option<Record>,
        refusal: R,
    ) -> Result<Released<R>, Refused> {
        if log.has_failed() {
            return Err(Refused::Unavailable);
        }
        let refusal = Unreleased::new(refusal);
        if self.is_counted(kind, each_max) {
            return Ok(refusal.release(Vec::new()));
        }
        let record = record().ok_or(Refused::Unavailable)?;
        log.commit(record, Basis::default(), Effects::default(), refusal).await
    }

    /// Records what was counted since the last call. To be called each second, and before the end.
    ///
    /// # Errors
    /// [`Refused`] as for [`Log::commit`]. What could not be recorded is counted on.
    pub async fn flush(&self, log: &Log) -> Result<(), Refused> {
        let counts = match self.counts.lock() {
            Ok(mut counts) => std::mem::take(&mut *counts),
            Err(_) => return Err(Refused::Unavailable),
        };
        let mut counts = counts.into_iter().filter(|(_, count)| count.counted > 0);
        while let Some((kind, count)) = counts.next() {
            if let Err(refused) = self.record(log, &kind, count.counted).await {
                self.count_on(std::iter::once((kind, count)).chain(counts));
                return Err(refused);
            }
        }
        Ok(())
    }

    async fn record(&self, log: &Log, kind: &Kind, counted: u64) -> Result<(), Refused> {
        let entry = stored::Entry {
            operation: kind.operation.into(),
            principal: kind.principal.as_ref().map(|name| name.as_str().to_owned()).unwrap_or_default(),
            verdict: Verdict::Deny.into(),
            refusal: kind.reason.to_owned(),
            count: counted,
            ..Default::default()
        };
        let record = Record::encode(&kind.tenant, entry, Vec::new()).map_err(|_| Refused::Unavailable)?;
        let _: Released<()> = log.commit(record, Basis::default(), Effects::default(), Unreleased::new(())).await?;
        Ok(())
    }

    fn count_on(&self, counts: impl Iterator<Item = (Kind, Count)>) {
        let Ok(mut counted) = self.counts.lock() else { return };
        for (kind, count) in counts {
            let sum = counted.entry(kind).or_default();
            sum.counted = sum.counted.saturating_add(count.counted);
        }
    }

    fn is_counted(&self, kind: Kind, each_max: u32) -> bool {
        // A poisoned lock counts nothing: the refusal is recorded by itself.
        let Ok(mut counts) = self.counts.lock() else { return false };
        let kind = if counts.len() < KEYS_MAX || counts.contains_key(&kind) { kind } else { others() };
        let count = counts.entry(kind).or_default();
        if count.recorded < each_max {
            count.recorded += 1;
            return false;
        }
        count.counted += 1;
        true
    }
}

/// What is counted together once there are too many kinds to tell apart.
fn others() -> Kind {
    Kind { operation: Operation::Refuse, principal: None, tenant: Tenant::system(), reason: "OTHERS" }
}
