//! How operations appear in the log.

use super::{Service, decide::Decisions, refusal::Denied, refusal::Halt, validate::Checked};
use crate::{
    audit::{Record, record::Targets},
    id::{Principal, Tenant},
    identity::Caller,
    proto::stored::{self, Operation},
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

/// The record of a question to the policy, which may be about somebody else.
pub(super) fn checked(
    service: &Service,
    caller: &Caller,
    asked: &Checked,
    about: Option<&Principal>,
    decisions: &Decisions<'_>,
    targets: Targets,
) -> Result<Record, Halt> {
    let mut entry = common(service, Operation::Check, caller, asked);
    entry.effect = about.map(|principal| format!("about {principal}")).unwrap_or_default();
    decisions.describe(&mut entry);
    entry.verdict = targets.verdict().into();
    Ok(Record::encode(&asked.tenant, entry, targets.finish())?)
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
