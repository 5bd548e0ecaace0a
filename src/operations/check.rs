//! Check: what would the policy answer? For the caller itself, or with action `check` on `policy` for another principal.
//!
//! A verdict is an answer too: it is recorded before it is given.

use super::{
    Halt, Header, Operation, Service, Violation,
    decide::{Decisions, is_allow},
    describe,
    validate::{self, Checked},
};
use crate::{
    audit::{Basis, Effects, Released, Unreleased, record::Targets},
    id::{Action, ControlObject, Object, Principal, Purpose},
    identity::Caller,
    policy::{Decision, Snapshot, applies},
    proto::stored::{self, Outcome},
};

/// What is asked.
pub struct Check {
    /// For whom and why.
    pub header: Header,
    /// Whom the question is about; empty: the caller.
    pub principal: String,
    /// What is to be done to what.
    pub items: Vec<Item>,
}

/// One question, as it was sent.
pub struct Item {
    /// A class or a control-plane object.
    pub object: String,
    /// An action.
    pub action: String,
}

/// The answers, in the order of the items, and the policy they stand on.
#[derive(Debug)]
pub struct Answer {
    /// One an item.
    pub decisions: Vec<Decision>,
    /// The policy version.
    pub policy_version: u64,
}

/// A question that holds.
pub struct Asked {
    header: Checked,
    /// Whom it is about, if not the caller.
    other: Option<Principal>,
    items: Vec<(Object, Action)>,
}

impl Operation for Check {
    type Asked = Asked;
    type Answer = Answer;
    const NAME: stored::Operation = stored::Operation::Check;

    fn header(&self) -> &Header {
        &self.header
    }

    fn validate(self, service: &Service, policy: &Snapshot, caller: &Caller) -> Result<Asked, Violation> {
        let header = validate::header_or_system(&self.header, policy, caller)?;
        validate::count("items", self.items.len(), service.limits.fields_max)?;
        let other = validate::other(&self.principal, caller)?;
        Ok(Asked { header, other, items: items(policy, &self.items)? })
    }

    async fn attempt(service: &Service, caller: &Caller, asked: &Asked) -> Result<Released<Answer>, Halt> {
        let Asked { header, other, items } = asked;
        let policy = service.policy.load_full();
        let now = service.log.now_secs();

        // May the caller ask?
        let operate = Purpose::operate();
        let mut permission = Decisions::new(policy.clone(), &caller.principal, &header.tenant, &operate, now);
        let mut targets = Targets::default();
        if let Some(other) = other
            && !permission.allows_control(ControlObject::Policy, Action::Check)
        {
            return Err(describe::denied_about(service, Self::NAME, (caller, header), &permission, other));
        }

        // Ask.
        let principal = other.as_ref().unwrap_or(&caller.principal);
        let mut questions = Decisions::new(policy.clone(), principal, &header.tenant, &header.purpose, now);
        let decisions: Vec<Decision> =
            items.iter().map(|(object, action)| questions.ask(object.clone(), *action).clone()).collect();
        for ((object, action), decision) in items.iter().zip(&decisions) {
            let outcome = if is_allow(decision) { Outcome::Allowed } else { Outcome::Denied };
            targets.add(object.as_str(), action.as_str(), outcome, None);
        }

        // Record, and with it release. The grants named are those that reached the caller.
        let by = if other.is_some() { &permission } else { &questions };
        let about = other.as_ref().map(describe::about).unwrap_or_default();
        let record = describe::checked(service, Self::NAME, (caller, header), &[by], (targets, about))?;
        let (version, until) = questions.basis();
        let until = [until, permission.basis().1].into_iter().flatten().min();
        let basis = Basis { policy: Some((version, until)), ..Basis::default() };
        let answer = Answer { decisions, policy_version: version };
        Ok(service.log.commit(record, basis, Effects::default(), Unreleased::new(answer)).await?)
    }
}

/// Checks questions one by one.
///
/// # Errors
/// A [`Violation`] of `items[i].object` or `items[i].action`.
pub(super) fn items(policy: &Snapshot, items: &[Item]) -> Result<Vec<(Object, Action)>, Violation> {
    let items = items.iter().enumerate().map(|(i, item)| question(policy, item, &|part| format!("items[{i}].{part}")));
    items.collect()
}

/// Checks one question, whose object and action are called so in a violation.
pub(super) fn question(
    policy: &Snapshot,
    item: &Item,
    field: &dyn Fn(&str) -> String,
) -> Result<(Object, Action), Violation> {
    let object = Object::parse(&item.object).map_err(|invalid| validate::broken(&field("object"))(invalid))?;
    let action = Action::parse(&item.action).map_err(|invalid| validate::broken(&field("action"))(invalid))?;
    match &object {
        Object::Class(class) if policy.catalogue().class(class.as_str()).is_none() => {
            Err(Violation::new(field("object"), "must be one of the catalogue's classes"))
        }
        object if applies(action, object) => Ok((object.clone(), action)),
        Object::Class(_) | Object::Control(_) => {
            Err(Violation::new(field("action"), "must be an action that exists on this object"))
        }
    }
}
