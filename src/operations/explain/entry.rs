//! What an entry of the log has decided: who asked what, as the entry tells it, and why the policy of its time answered so.

use prost::Message;

use super::{
    super::{Halt, Operation, Service, decide::Decisions, describe, validate::Checked},
    Answer, Explain, Matter, QUESTIONS_MAX, Then, no_entry,
};
use crate::{
    audit::{Basis, Effects, Released, Unreleased, record::Targets},
    id::{Action, ControlObject, Object, Principal, Purpose},
    identity::Caller,
    proto::stored::{self, Outcome},
};

pub(super) async fn explain(
    service: &Service,
    caller: &Caller,
    header: &Checked,
    index: u64,
) -> Result<Released<Answer>, Halt> {
    let at = service.log.read_point();
    let (policy, now) = (service.policy.load_full(), service.log.now_secs());

    // May the caller read the log?
    let mut permission = Decisions::new(policy, &caller.principal, &header.tenant, &header.purpose, now);
    let mut targets = Targets::default();
    if !permission.allows_control(ControlObject::Audit, Action::Read) {
        targets.add(ControlObject::Audit.as_str(), Action::Read.as_str(), Outcome::Denied, None);
        return Err(describe::denied(service, Explain::NAME, caller, header, &permission, targets));
    }
    let record = |targets, permission: &Decisions<'_>, effect| {
        describe::checked(service, Explain::NAME, (caller, header), &[permission], (targets, effect))
    };

    // Read.
    let leaf = if index < at.0 { service.log.history().leaf(index).await } else { Ok(None) };
    let body = leaf.map_err(|error| Halt::unreadable(&error))?.and_then(|leaf| leaf.body);
    let entry = body.map(|body| stored::Entry::decode(body.as_slice())).transpose();
    let entry = entry.map_err(|error| Halt::unreadable(&error))?;
    let Some(entry) = entry.filter(|entry| entry.tenant == header.tenant.as_str()) else {
        targets.add(ControlObject::Audit.as_str(), Action::Read.as_str(), Outcome::Allowed, None);
        let effect = format!("of entry {index}, which the tenant does not have");
        return Err(no_entry(record(targets, &permission, effect)?));
    };

    // May it ask about whom the entry is about?
    let asked = asked(&entry);
    let own = asked.principal.as_ref() == Some(&caller.principal);
    let may_ask_about_others = permission.allows_control(ControlObject::Policy, Action::Check);
    if !own && !may_ask_about_others {
        targets.add(ControlObject::Policy.as_str(), Action::Check.as_str(), Outcome::Denied, None);
        return Err(describe::denied(service, Explain::NAME, caller, header, &permission, targets));
    }

    // Explain, under the policy of its time.
    let (explained, more_questions) = match asked.principal.clone() {
        Some(principal) if !asked.questions.is_empty() => {
            let mut questions = asked.questions;
            let more = questions.len().saturating_sub(QUESTIONS_MAX);
            questions.truncate(QUESTIONS_MAX);
            let matter = Matter {
                policy: service.policy_of(index, &entry).await?,
                principal,
                tenant: header.tenant.clone(),
                purpose: asked.purpose.clone(),
                questions,
                now_secs: entry.time_unix_micros / 1_000_000,
                whole_tenant: may_ask_about_others,
                caller: own.then(|| caller.clone()),
                bytes_max: service.limits.message_bytes_max,
            };
            (matter.explain().await?, more)
        }
        Some(_) | None => (Vec::new(), 0),
    };

    // Record, and with it release.
    targets.add(ControlObject::Audit.as_str(), Action::Read.as_str(), Outcome::Allowed, None);
    if !own {
        targets.add(ControlObject::Policy.as_str(), Action::Check.as_str(), Outcome::Allowed, None);
    }
    let record = record(targets, &permission, format!("of entry {index}"))?;
    let basis = Basis { policy: Some(permission.basis()), ..Basis::default() };
    let answer = Answer {
        explained,
        more_questions,
        principal: asked.principal.map(|principal| principal.as_str().to_owned()).unwrap_or_default(),
        purpose: asked.purpose.as_str().to_owned(),
        policy_version: entry.policy_version,
        policy_hash: entry.policy_hash.clone(),
        time_micros: entry.time_unix_micros,
        entry: Some(entry),
        entry_index: index,
        own_grants_only: !may_ask_about_others,
    };
    Ok(service.log.commit(record, basis, Effects::default(), Unreleased::new(answer)).await?)
}

/// What an entry says that was asked of the policy.
#[derive(Debug, PartialEq, Eq)]
struct Asked {
    /// `None` for a caller without an identity.
    principal: Option<Principal>,
    purpose: Purpose,
    /// Each once, in the order of the entry.
    questions: Vec<(Object, Action, Then)>,
}

fn asked(entry: &stored::Entry) -> Asked {
    let operation = entry.operation();
    let caller = Principal::parse(&entry.principal).ok();
    let named = Purpose::parse(&entry.purpose).unwrap_or_else(|_| Purpose::operate());
    let may_be_about_another = matches!(operation, stored::Operation::Check | stored::Operation::Explain);
    let about = if may_be_about_another { describe::about_whom(&entry.effect) } else { describe::About::Nobody };
    let (principal, purpose) = match about {
        describe::About::Answered(other) => (Some(other), named),
        // Of whoever may not ask about others, only that was decided.
        describe::About::Refused => (caller, Purpose::operate()),
        describe::About::Nobody => (caller, named),
    };
    let mut questions = Vec::new();
    for target in &entry.targets {
        let Ok(object) = Object::parse(&target.object) else { continue };
        let asked = match (operation, target.outcome(), target.action.as_str()) {
            (stored::Operation::Encrypt, Outcome::SealedAndIndexed | Outcome::Denied, _) => {
                Some((Action::Encrypt, Then::IfAllowed(Action::Index)))
            }
            (stored::Operation::Encrypt, _, _) => Some((Action::Encrypt, Then::Nothing)),
            (stored::Operation::ComputeIndex, _, _) => Some((Action::Index, Then::Nothing)),
            (stored::Operation::Decrypt, _, "best-allowed") => Some((Action::Decrypt, Then::IfDenied(Action::Mask))),
            (_, _, action) => Action::parse(action).ok().map(|action| (action, Then::Nothing)),
        };
        let Some((action, then)) = asked else { continue };
        let question = (object, action, then);
        if !questions.contains(&question) {
            questions.push(question);
        }
    }
    Asked { principal, purpose, questions }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::stored::Operation;

    fn of(operation: Operation, effect: &str, targets: &[(&str, &str, Outcome)]) -> Vec<String> {
        let target = |(object, action, outcome): &(&str, &str, Outcome)| stored::Target {
            object: (*object).into(),
            action: (*action).into(),
            outcome: (*outcome).into(),
            ..Default::default()
        };
        let asked = asked(&stored::Entry {
            operation: operation.into(),
            principal: "spiffe://a/p".into(),
            purpose: "signup".into(),
            effect: effect.into(),
            targets: targets.iter().map(target).collect(),
            ..Default::default()
        });
        let who = asked.principal.map(|who| who.to_string()).unwrap_or_default();
        let text = |(object, action, then): &(Object, Action, Then)| {
            format!("{who} {action} {} {} {then:?}", object.as_str(), asked.purpose)
        };
        asked.questions.iter().map(text).collect()
    }

    #[test]
    fn an_entry_tells_what_was_asked_of_the_policy() {
        const EMAIL: &str = "pii/account/email";
        let one = |operation, action, outcome| of(operation, "", &[(EMAIL, action, outcome)]).join("; ");
        let question = |text: &str| format!("spiffe://a/p {text}");
        for (operation, action, outcome, expected) in [
            (Operation::Encrypt, "", Outcome::Sealed, "encrypt pii/account/email signup Nothing"),
            (Operation::Encrypt, "", Outcome::SealedAndIndexed, "encrypt pii/account/email signup IfAllowed(Index)"),
            (Operation::Encrypt, "", Outcome::Denied, "encrypt pii/account/email signup IfAllowed(Index)"),
            (Operation::ComputeIndex, "", Outcome::Indexed, "index pii/account/email signup Nothing"),
            (Operation::Decrypt, "decrypt", Outcome::InvalidCiphertext, "decrypt pii/account/email signup Nothing"),
            (Operation::Decrypt, "mask", Outcome::Masked, "mask pii/account/email signup Nothing"),
            (Operation::Decrypt, "best-allowed", Outcome::Masked, "decrypt pii/account/email signup IfDenied(Mask)"),
            (Operation::Check, "rewrap", Outcome::Denied, "rewrap pii/account/email signup Nothing"),
        ] {
            assert_eq!(one(operation, action, outcome), question(expected), "{operation:?} {outcome:?}");
        }
        let twice = [(EMAIL, "decrypt", Outcome::Opened), (EMAIL, "decrypt", Outcome::InvalidCiphertext)];
        assert_eq!(of(Operation::Decrypt, "", &twice).len(), 1);
        assert_eq!(of(Operation::Start, "privet started", &[]), [""; 0]);
        assert_eq!(
            of(Operation::Decrypt, "", &[("gone", "decrypt", Outcome::Denied), (EMAIL, "open", Outcome::Denied)]),
            [""; 0]
        );
    }

    #[test]
    fn questions_about_another_are_that_others_and_the_refusal_of_them_is_the_callers() {
        let check = [("pii/account/email", "decrypt", Outcome::Allowed)];
        let other = Principal::parse("user:idp/q").unwrap();
        for operation in [Operation::Check, Operation::Explain] {
            assert_eq!(
                of(operation, &describe::about(&other), &check),
                ["user:idp/q decrypt pii/account/email signup Nothing"]
            );
            let refused = [("policy", "check", Outcome::Denied)];
            assert_eq!(
                of(operation, &describe::refused_about(&other), &refused),
                ["spiffe://a/p check policy operate Nothing"]
            );
        }
        // Other operations may say of themselves what they like.
        assert_eq!(
            of(Operation::ListGrantsFor, &describe::about(&other), &[("policy", "check", Outcome::Allowed)]),
            ["spiffe://a/p check policy signup Nothing"]
        );
    }
}
