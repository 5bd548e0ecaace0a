//! PlaceHold and ReleaseHold: what the law asks to be kept is neither erased nor swept.

use super::{About, about, refusal::Refusal};
use crate::{
    audit::Released,
    id::{Action, Reference},
    identity::Caller,
    keyring::{HOLD_REASON_BYTES_MAX, Holding},
    operations::{Halt, Header, Operation, Service, Violation, attempt::Attempt, policies::said::Said, validate},
    policy::{Snapshot, says_why},
    proto::stored::{self, Hold},
};

/// What is asked: to hold.
pub struct PlaceHold {
    /// The tenant, and the request's id.
    pub header: Header,
    /// The customer.
    pub subject: String,
    /// The hold's id, of the caller's choice.
    pub hold_id: String,
    /// Why.
    pub reason: String,
}

/// What is asked: to hold no longer.
pub struct ReleaseHold {
    /// The tenant, and the request's id.
    pub header: Header,
    /// The customer.
    pub subject: String,
    /// The hold's id.
    pub hold_id: String,
}

/// A request to hold that holds.
pub struct Placing {
    about: About,
    id: Reference,
    reason: String,
}

/// A request to release that holds.
pub struct Releasing {
    about: About,
    id: Reference,
}

impl Operation for PlaceHold {
    type Asked = Placing;
    /// The hold as it is: one of the same id that was there stays.
    type Answer = Hold;
    const NAME: stored::Operation = stored::Operation::PlaceHold;

    fn header(&self) -> &Header {
        &self.header
    }

    fn validate(self, _: &Service, _: &Snapshot, caller: &Caller) -> Result<Placing, Violation> {
        let about = about(&self.header, self.subject, caller)?;
        let id = hold_id(&self.hold_id)?;
        if !says_why(&self.reason) || self.reason.len() > HOLD_REASON_BYTES_MAX {
            let rule = format!("must be one line of 1 to {HOLD_REASON_BYTES_MAX} bytes that says why");
            return Err(Violation::new("reason", rule));
        }
        Ok(Placing { about, id, reason: self.reason })
    }

    async fn attempt(service: &Service, caller: &Caller, asked: &Placing) -> Result<Released<Hold>, Halt> {
        let Placing { about, id, reason } = asked;
        let attempt = Attempt::decide(service, caller, &about.header, Self::NAME, Action::Hold)?;
        let (keys, mut subjects, _turn) = attempt.read(std::slice::from_ref(&about.subject)).await?;
        // Nobody is to believe that it is held, and find its keys gone with its tenant's.
        service.tenant_keys(keys.tenant(), service.log.read_point()).await?;
        let said = Said::new(&*service.entropy, reason).map_err(|error| Halt::unreadable(&error))?;
        let hold = Hold {
            id: id.as_str().to_owned(),
            reason: reason.clone(),
            placed_unix_secs: service.log.believed_secs(),
            placed_by: caller.principal.as_str().to_owned(),
            reason_salt: said.salt.clone(),
        };
        let placed = match subjects.place_hold(0, hold) {
            Holding::Placed(hold) => hold,
            Holding::Unknown => return Err(attempt.refuse(Refusal::Unknown)),
            Holding::Full => return Err(attempt.refuse_of(&subjects, Refusal::NoRoom)),
        };
        let effect = if placed.reason_salt == said.salt {
            format!("hold {id} placed; reason {}", said.hash)
        } else {
            format!("hold {id} was placed before")
        };
        let record = attempt.record(attempt.one(&subjects), effect)?;
        attempt.commit(record, subjects, Vec::new(), placed).await
    }
}

impl Operation for ReleaseHold {
    type Asked = Releasing;
    /// The hold as it was.
    type Answer = Hold;
    const NAME: stored::Operation = stored::Operation::ReleaseHold;

    fn header(&self) -> &Header {
        &self.header
    }

    fn validate(self, _: &Service, _: &Snapshot, caller: &Caller) -> Result<Releasing, Violation> {
        Ok(Releasing { about: about(&self.header, self.subject, caller)?, id: hold_id(&self.hold_id)? })
    }

    async fn attempt(service: &Service, caller: &Caller, asked: &Releasing) -> Result<Released<Hold>, Halt> {
        let Releasing { about, id } = asked;
        let attempt = Attempt::decide(service, caller, &about.header, Self::NAME, Action::Hold)?;
        let (_, mut subjects, _turn) = attempt.read(std::slice::from_ref(&about.subject)).await?;
        if subjects.view(0).is_none() {
            return Err(attempt.refuse(Refusal::Unknown));
        }
        let Some(hold) = subjects.release_hold(0, id.as_str(), service.log.believed_secs()) else {
            return Err(attempt.refuse_of(&subjects, Refusal::NoHold));
        };
        let record = attempt.record(attempt.one(&subjects), format!("hold {id} released"))?;
        attempt.commit(record, subjects, Vec::new(), hold).await
    }
}

fn hold_id(text: &str) -> Result<Reference, Violation> {
    let id = Reference::parse(text).map_err(validate::broken("hold_id"))?;
    if text.is_empty() { Err(Violation::new("hold_id", "must not be empty")) } else { Ok(id) }
}
