//! EndBreakGlass: who took an emergency role, or somebody who approves changes, puts it back before its time.

use std::sync::Arc;

use super::{end_secs, is_of, of_tenant, version};
use crate::{
    audit::{Effects, Released, Unreleased},
    id::Action,
    identity::Caller,
    operations::{
        Halt, Header, Operation, Service, Violation, apart,
        policies::{refusal::Refusal, rights::Rights, stored},
        validate::{self, Checked},
    },
    policy::{Snapshot, glass},
    proto::stored::{self as entries, BrokenGlass},
};

/// What is asked.
pub struct EndBreakGlass {
    /// The tenant, and the request's id.
    pub header: Header,
    /// Which breaking.
    pub number: u64,
}

/// A request that holds.
pub struct Asked {
    header: Checked,
    number: u64,
}

impl Operation for EndBreakGlass {
    type Asked = Asked;
    type Answer = BrokenGlass;
    const NAME: entries::Operation = entries::Operation::EndBreakGlass;

    fn header(&self) -> &Header {
        &self.header
    }

    fn validate(self, _: &Service, _: &Snapshot, caller: &Caller) -> Result<Asked, Violation> {
        Ok(Asked { header: validate::control(&self.header, caller)?, number: self.number })
    }

    async fn attempt(service: &Service, caller: &Caller, asked: &Asked) -> Result<Released<BrokenGlass>, Halt> {
        let Asked { header, number } = asked;
        let at = service.log.read_point();

        // Decide: as one who approves changes, or as the one who took it, who may still break the glass.
        let mut rights = Rights::now(service, caller);
        let action =
            [Action::Approve, Action::Breakglass].into_iter().find(|action| rights.allows(&header.tenant, *action));
        let Some(action) = action else {
            return Err(rights.denied(service, Self::NAME, header, Action::Breakglass, header.tenant.clone()));
        };
        let refused = |rights: &Rights<'_>, refusal| rights.refused(service, Self::NAME, header, action, refusal);
        let Some(found) = of_tenant(service, *number, &header.tenant).await? else {
            return Err(refused(&rights, Refusal::NoGlass));
        };
        if action == Action::Breakglass && !is_of(&found, &rights.policy, &caller.principal) {
            return Err(rights.denied(service, Self::NAME, header, Action::Approve, header.tenant.clone()));
        }
        let now = service.log.now_secs();
        if end_secs(&found) <= now {
            return Err(refused(&rights, Refusal::GlassEnded));
        }

        // Put it back, unless a change has done so.
        let before = Arc::clone(&rights.policy);
        let number = *number;
        let built = apart::work(move |_| glass::put_back(&before, number, now)).await;
        let snapshot = match built? {
            Ok(snapshot) => snapshot.map(Arc::new),
            Err(problems) => return Err(refused(&rights, Refusal::bad_policy(problems))),
        };

        // Record, and with it put in force and release.
        let time = service.log.now_micros();
        let ended = BrokenGlass { end_time_unix_micros: time, ended_by: caller.principal.as_str().to_owned(), ..found };
        let mut effects = Effects { writes: vec![stored::glass_effect(&ended)], ..Effects::default() };
        let outcome = match &snapshot {
            Some(snapshot) => {
                effects.writes.extend(version(&rights, snapshot, &ended, &caller.principal, time));
                effects.policy = Some((snapshot.version(), *snapshot.hash()));
                effects.from_reserve = true;
                format!("policy version {} in force, {}", snapshot.version(), hex::encode(snapshot.hash()))
            }
            None => "a change has taken it away already".to_owned(),
        };
        let effect = format!("glass {number} mended: {} of {} put back; {outcome}", ended.role, ended.principal);
        let record = rights.record(service, Self::NAME, header, action, effect)?;
        let basis = super::review::basis(&rights, number, at);
        let released = service.log.commit(record, basis, effects, Unreleased::new(ended)).await?;
        if let Some(snapshot) = snapshot {
            service.put_in_force(snapshot);
        }
        Ok(released)
    }
}
