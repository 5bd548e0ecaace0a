//! How operations appear in the log.

use super::{Service, decide::Decisions, refusal::Denied, refusal::Halt, validate::Checked};
use crate::{
    audit::{Record, record::Targets},
    id::{Action, ControlObject, Principal, Tenant},
    identity::Caller,
    proto::stored::{self, Operation, Outcome},
};

/// The record of a request that was decided.
pub(super) fn decided(
    service: &Service,
    operation: Operation,
    caller: &Caller,
    asked: &Checked,
    decisions: &Decisions<'_>,
    targets: Targets,
) -> Result<Record, Halt> {
    let mut entry = common(service, operation, caller, asked);
    decisions.describe(&mut entry);
    entry.verdict = targets.verdict().into();
    Ok(Record::encode(&asked.tenant, entry, targets.finish())?)
}

/// The record of a call that is open to every authenticated caller.
pub(super) fn open(
    service: &Service,
    operation: Operation,
    caller: &Caller,
    asked: &Checked,
    effect: String,
) -> Result<Record, Halt> {
    let policy = service.policy.load();
    let entry = stored::Entry {
        policy_version: policy.version(),
        policy_hash: policy.hash().to_vec(),
        verdict: stored::Verdict::Allow.into(),
        effect,
        ..common(service, operation, caller, asked)
    };
    Ok(Record::encode(&asked.tenant, entry, Vec::new())?)
}

/// The record of a decided request that reads the log, and what of it.
pub(super) fn reading(
    service: &Service,
    operation: Operation,
    caller: &Caller,
    asked: &Checked,
    decisions: &Decisions<'_>,
    (targets, effect): (Targets, String),
) -> Result<Record, Halt> {
    let mut entry = common(service, operation, caller, asked);
    decisions.describe(&mut entry);
    entry.verdict = targets.verdict().into();
    entry.effect = effect;
    Ok(Record::encode(&asked.tenant, entry, targets.finish())?)
}

/// The record of a request that is allowed and yet can't be answered with what it asks for, the reason, and what it was about.
pub(super) fn refused(
    service: &Service,
    operation: Operation,
    (caller, asked): (&Caller, &Checked),
    decisions: &Decisions<'_>,
    (targets, reason, about): (Targets, &str, &str),
) -> Result<Record, Halt> {
    let mut entry = common(service, operation, caller, asked);
    decisions.describe(&mut entry);
    entry.verdict = stored::Verdict::Deny.into();
    entry.refusal = reason.to_owned();
    entry.effect = about.to_owned();
    Ok(Record::encode(&asked.tenant, entry, targets.finish())?)
}

/// The record of a tail that ended.
pub(super) fn tail_ended(
    service: &Service,
    caller: &Caller,
    tenant: &Tenant,
    next_index: u64,
) -> Result<Record, crate::audit::record::TooLong> {
    let entry = stored::Entry {
        operation: Operation::TailEntries.into(),
        principal: caller.principal.as_str().to_owned(),
        authentication: caller.authentication.clone(),
        purpose: crate::id::Purpose::operate().as_str().to_owned(),
        verdict: stored::Verdict::Allow.into(),
        effect: format!("tail ended before entry {next_index}"),
        region: service.region().to_owned(),
        ..Default::default()
    };
    Record::encode(tenant, entry, Vec::new())
}

/// What every record of a request says.
pub(super) fn common(service: &Service, operation: Operation, caller: &Caller, asked: &Checked) -> stored::Entry {
    stored::Entry {
        operation: operation.into(),
        principal: caller.principal.as_str().to_owned(),
        authentication: caller.authentication.clone(),
        purpose: asked.purpose.as_str().to_owned(),
        reference: asked.reference.as_str().to_owned(),
        request_id: asked.request_id.as_str().to_owned(),
        actor: asked.actor.as_ref().map(|actor| actor.as_str().to_owned()).unwrap_or_default(),
        region: service.region().to_owned(),
        ..Default::default()
    }
}

/// The effect of an entry whose questions are about somebody else.
pub(super) fn about(principal: &Principal) -> String {
    format!("{ABOUT}{principal}")
}

/// The effect of an entry of whoever may not ask about this principal.
pub(super) fn refused_about(principal: &Principal) -> String {
    format!("{REFUSED_ABOUT}{principal}")
}

/// Whom an entry's questions are about.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum About {
    /// The one who asked.
    Nobody,
    /// Another.
    Answered(Principal),
    /// Another, but they were not answered.
    Refused,
}

/// What [`about`] and [`refused_about`] have said.
pub(super) fn about_whom(effect: &str) -> About {
    match effect.strip_prefix(ABOUT).map(Principal::parse_external) {
        Some(Ok(principal)) => About::Answered(principal),
        Some(Err(_)) | None if effect.starts_with(REFUSED_ABOUT) => About::Refused,
        Some(Err(_)) | None => About::Nobody,
    }
}

const ABOUT: &str = "about ";
const REFUSED_ABOUT: &str = "not answered about ";

/// The record of a question to the policy, and what of it. The grants named are those of all `decisions`.
pub(super) fn checked(
    service: &Service,
    operation: Operation,
    (caller, asked): (&Caller, &Checked),
    decisions: &[&Decisions<'_>],
    (targets, effect): (Targets, String),
) -> Result<Record, Halt> {
    let mut entry = common(service, operation, caller, asked);
    entry.effect = effect;
    decisions.iter().for_each(|decisions| decisions.describe(&mut entry));
    entry.verdict = targets.verdict().into();
    Ok(Record::encode(&asked.tenant, entry, targets.finish())?)
}

/// A question about somebody else, of a caller that may ask none.
pub(super) fn denied_about(
    service: &Service,
    operation: Operation,
    (caller, asked): (&Caller, &Checked),
    permission: &Decisions<'_>,
    other: &Principal,
) -> Halt {
    let mut targets = Targets::default();
    targets.add(ControlObject::Policy.as_str(), Action::Check.as_str(), Outcome::Denied, None);
    let said = (targets, refused_about(other));
    match checked(service, operation, (caller, asked), &[permission], said) {
        Ok(record) => Halt::Denied(Denied { tenant: asked.tenant.clone(), record }),
        Err(halt) => halt,
    }
}

/// A request of which nothing is allowed.
pub(super) fn denied(
    service: &Service,
    operation: Operation,
    caller: &Caller,
    asked: &Checked,
    decisions: &Decisions<'_>,
    targets: Targets,
) -> Halt {
    match decided(service, operation, caller, asked, decisions, targets) {
        Ok(record) => Halt::Denied(Denied { tenant: asked.tenant.clone(), record }),
        Err(halt) => halt,
    }
}

/// The record of a call that came to no decision.
pub(super) fn refusal(
    service: &Service,
    operation: Operation,
    principal: Option<&Principal>,
    authentication: &str,
    tenant: &Tenant,
    reason: &str,
) -> Option<Record> {
    let entry = stored::Entry {
        operation: operation.into(),
        principal: principal.map(|principal| principal.as_str().to_owned()).unwrap_or_default(),
        authentication: authentication.to_owned(),
        verdict: stored::Verdict::Deny.into(),
        refusal: reason.to_owned(),
        region: service.region().to_owned(),
        ..Default::default()
    };
    Record::encode(tenant, entry, Vec::new()).ok()
}
