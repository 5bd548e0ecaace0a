//! Documents that somebody got wrong, or wrote to get more than they were given: each is refused with its file, line and field,
//! and every trap known of casbin is shown to be shut.

mod assertions;
mod decisions;
mod lines;
mod together;

use super::*;

const CATALOGUE_TEXT: &str = include_str!("../../policies/catalogue.toml");
const MODEL_TEXT: &str = include_str!("../../policies/model.conf");
const NOW: u64 = 1_800_000_000;

const GOOD: &str = "\
# A good policy.
#: id=clerks-decrypt reason=\"they do\"
p, role:signup, acme, pii/account/email, decrypt, signup, 0, 0, allow
#: id=anna-is-a-clerk reason=\"she is\"
g, user:idp/anna, role:signup, acme
";

fn sources(policy: &str) -> Sources {
    Sources {
        model: MODEL_TEXT.into(),
        policy: policy.into(),
        catalogue: CATALOGUE_TEXT.into(),
        assertions: String::new(),
    }
}

fn build(policy: &str) -> Snapshot {
    Snapshot::build(1, &sources(policy)).unwrap_or_else(|problems| panic!("{problems:#?}"))
}

fn problems(sources: &Sources) -> Vec<String> {
    let problems = Snapshot::build(1, sources).expect_err("refused");
    problems.iter().map(ToString::to_string).collect()
}

/// The good policy with one text replaced gives exactly one problem, which starts like this.
#[track_caller]
fn refused(text: &str, by: &str, expected: &str) {
    assert!(GOOD.contains(text), "{text}");
    let found = problems(&sources(&GOOD.replacen(text, by, 1)));
    assert_eq!(found.len(), 1, "{found:#?}");
    assert!(found[0].starts_with(expected), "{found:#?}");
    assert!(!found[0].contains("anna"), "a principal is never shown: {found:?}");
}

/// Rules after the good ones give exactly these problems.
#[track_caller]
fn added(rules: &str, expected: &[&str]) {
    let found = problems(&sources(&format!("{GOOD}{rules}")));
    assert_eq!(found.len(), expected.len(), "{found:#?}");
    for (found, expected) in found.iter().zip(expected) {
        assert!(found.starts_with(expected), "{found}\n{expected}");
    }
}

fn asked_as(
    snapshot: &Snapshot,
    who: &str,
    tenant: &str,
    object: &str,
    action: Action,
    purpose: &str,
    now: u64,
) -> Decision {
    let (principal, tenant) = (Principal::parse(who).unwrap(), Tenant::parse_or_system(tenant).unwrap());
    let (object, purpose) = (Object::parse(object).unwrap(), Purpose::parse(purpose).unwrap());
    snapshot
        .decide(&Question { principal: &principal, tenant: &tenant, object: &object, action, purpose: &purpose }, now)
}

/// Whether `who` may decrypt e-mail addresses for sign-up in acme.
fn may(snapshot: &Snapshot, who: &str) -> bool {
    may_at(snapshot, who, NOW)
}

fn may_at(snapshot: &Snapshot, who: &str, now: u64) -> bool {
    asked_as(snapshot, who, "acme", "pii/account/email", Action::Decrypt, "signup", now).verdict == Verdict::Allow
}
