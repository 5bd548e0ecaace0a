//! ReviewBreakGlass: another person has looked at what was done while the glass was broken, and says so.

use std::sync::Arc;

use super::{end_secs, is_of, of_tenant};
use crate::{
    audit::{Basis, Effects, Released, Unreleased},
    id::Action,
    identity::Caller,
    operations::{
        Halt, Header, Operation, Service, Violation,
        policies::{asked, refusal::Refusal, rights::Rights, said::Said, stored},
        validate::{self, Checked},
    },
    policy::Snapshot,
    proto::stored::{self as entries, BrokenGlass},
    store::{ReadPoint, Rests},
};

/// What is asked.
pub struct ReviewBreakGlass {
    /// The tenant, and the request's id.
    pub header: Header,
    /// Which breaking.
    pub number: u64,
    /// What was found.
    pub note: String,
}

/// A request that holds.
pub struct Asked {
    header: Checked,
    number: u64,
    note: String,
}

impl Operation for ReviewBreakGlass {
    type Asked = Asked;
    type Answer = BrokenGlass;
    const NAME: entries::Operation = entries::Operation::ReviewBreakGlass;

    fn header(&self) -> &Header {
        &self.header
    }

    fn validate(self, _: &Service, _: &Snapshot, caller: &Caller) -> Result<Asked, Violation> {
        let header = validate::control(&self.header, caller)?;
        let note = asked::reason(self.note, true).map_err(|broken| Violation { field: "note".into(), ..broken })?;
        Ok(Asked { header, number: self.number, note })
    }

    async fn attempt(service: &Service, caller: &Caller, asked: &Asked) -> Result<Released<BrokenGlass>, Halt> {
        let Asked { header, number, note } = asked;
        let at = service.log.read_point();

        // Decide.
        let mut rights = Rights::now(service, caller);
        let action = Action::Approve;
        if !rights.allows(&header.tenant, action) {
            return Err(rights.denied(service, Self::NAME, header, action, header.tenant.clone()));
        }
        let refused = |rights: &Rights<'_>, refusal| rights.refused(service, Self::NAME, header, action, refusal);
        let Some(found) = of_tenant(service, *number, &header.tenant).await? else {
            return Err(refused(&rights, Refusal::NoGlass));
        };
        if !rights.policy.person_of(&caller.principal).is_listed() {
            return Err(refused(&rights, Refusal::NoPerson));
        }
        if is_of(&found, &rights.policy, &caller.principal) {
            return Err(refused(&rights, Refusal::OwnGlass));
        }
        if end_secs(&found) > service.log.now_secs() {
            return Err(refused(&rights, Refusal::GlassBroken));
        }
        if !found.reviewer.is_empty() {
            return Err(refused(&rights, Refusal::GlassReviewed));
        }

        // Record, and with it release.
        let said = Said::new(&*service.entropy, note).map_err(|error| Halt::unreadable(&error))?;
        let reviewed = BrokenGlass {
            reviewer: caller.principal.as_str().to_owned(),
            review_time_unix_micros: service.log.now_micros(),
            review_note: note.clone(),
            review_salt: said.salt,
            ..found
        };
        let effect = format!("glass {number} reviewed; note {}", said.hash);
        let record = rights.record(service, Self::NAME, header, action, effect)?;
        let effects = Effects { writes: vec![stored::glass_effect(&reviewed)], ..Effects::default() };
        let basis = basis(&rights, *number, at);
        Ok(service.log.commit(record, basis, effects, Unreleased::new(reviewed)).await?)
    }
}

/// The policy, and that nobody else has changed the record.
pub(super) fn basis(rights: &Rights<'_>, number: u64, at: ReadPoint) -> Basis {
    let rests = Rests { rewritten: vec![(stored::glass_slot(number), at)], ..Rests::default() };
    Basis { policy: Some(rights.basis()), rests: Arc::new(rests) }
}
