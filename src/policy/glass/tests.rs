//! Taking a role and putting it back, on the shipped policy.

use super::*;
use crate::{
    id::{Action, Object, Purpose},
    policy::{Question, Sources, Verdict},
};

const HOUR: u64 = 3_600;
const NOW: u64 = 1_800_000_000;

fn shipped() -> Snapshot {
    let sources = Sources::read(&std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("policies")).unwrap();
    Snapshot::build(1, &sources).unwrap()
}

fn taking(number: u64) -> Taking {
    Taking {
        number,
        principal: Principal::parse("spiffe://acme.example/operator").unwrap(),
        role: Role::parse("role:break-glass").unwrap(),
        tenant: Tenant::parse("acme").unwrap(),
        expires: NOW + HOUR,
    }
}

fn opens(snapshot: &Snapshot, now: u64) -> bool {
    let question = Question {
        principal: &Principal::parse("spiffe://acme.example/operator").unwrap(),
        tenant: &Tenant::parse("acme").unwrap(),
        object: &Object::parse("pii/account/email").unwrap(),
        action: Action::Decrypt,
        purpose: &Purpose::parse("emergency").unwrap(),
    };
    snapshot.decide(&question, now).verdict == Verdict::Allow
}

#[test]
fn a_role_that_was_taken_holds_to_its_second_though_assertions_forbid_it_for_good() {
    let before = shipped();
    assert!(!opens(&before, NOW));
    let after = taking(1).take(&before, NOW).unwrap();
    assert_eq!(after.version(), 2);
    assert!(opens(&after, NOW) && opens(&after, NOW + HOUR - 1) && !opens(&after, NOW + HOUR));
    let given = [Change::AddMembership(MembershipDraft {
        id: "operator-for-good".into(),
        member: "spiffe://acme.example/operator".into(),
        role: "role:break-glass".into(),
        tenant: "acme".into(),
        expires: None,
        reason: "r".into(),
    })];
    let refused = crate::policy::Plan::of(&before, &given, NOW).unwrap_err();
    assert!(refused.iter().any(|problem| problem.message.contains("questions fail")), "{refused:?}");
}

#[test]
fn it_is_put_back_once_and_what_has_ended_goes_with_the_next() {
    let taken = taking(1).take(&shipped(), NOW).unwrap();
    let back = put_back(&taken, 1, NOW + 1).unwrap().unwrap();
    assert!(!opens(&back, NOW + 1));
    assert!(put_back(&back, 1, NOW + 1).unwrap().is_none());
    assert!(taking(2).take(&taken, NOW).is_err(), "it has it already");
    let later = Taking { expires: NOW + 30 * HOUR, ..taking(2) };
    let again = later.take(&taken, NOW + 29 * HOUR).unwrap();
    let ids: Vec<_> = again.memberships().filter(|line| is_taken(line)).map(|line| line.id.as_str()).collect();
    assert_eq!(ids, ["glass-2"]);
}

#[test]
fn no_change_writes_such_an_id_and_no_file_gives_it_what_is_no_emergency() {
    let taken = taking(1).take(&shipped(), NOW).unwrap();
    let draft = MembershipDraft {
        id: "glass-1".into(),
        member: "spiffe://acme.example/operator".into(),
        role: "role:break-glass".into(),
        tenant: "acme".into(),
        expires: Some(NOW + 400 * HOUR),
        reason: "longer".into(),
    };
    for (before, change) in [
        (&taken, Change::ReplaceMembership(draft.clone())),
        (&shipped(), Change::AddMembership(MembershipDraft { id: "glass-7".into(), ..draft.clone() })),
    ] {
        let problems = crate::policy::Plan::of(before, &[change], NOW).unwrap_err();
        assert!(problems[0].message.contains("is given by breaking the glass"), "{problems:?}");
    }
    // Others go on to be changed while it is broken.
    let remove = [Change::Remove("support-indexes-email".into())];
    let problems = crate::policy::Plan::of(&taken, &remove, NOW).unwrap_err();
    assert!(problems.iter().all(|problem| problem.file.contains("assertions")), "{problems:?}");
    for (role, expires) in [("role:billing", "expires=2030-01-01T00:00:00Z "), ("role:break-glass", "")] {
        let mut sources = shipped().document().sources().clone();
        sources.policy.push_str(&format!(
            "#: id=glass-1 {expires}reason=\"r\"\ng, spiffe://acme.example/operator, {role}, acme\n"
        ));
        let problems = Snapshot::build(1, &sources).unwrap_err();
        assert!(problems.iter().any(|problem| problem.message.contains("breaking the glass")), "{problems:?}");
    }
}
