//! Changes that are asked for rightly and wrongly, and what they leave of a file.

use proptest::{collection::vec, prelude::*, sample::Index, test_runner::Config};

use super::*;
use crate::policy::{Effect, Snapshot, grant};

const CATALOGUE_TEXT: &str = include_str!("../../../policies/catalogue.toml");
const MODEL_TEXT: &str = include_str!("../../../policies/model.conf");

const POLICY_TEXT: &str = "\
# Sign-up.
#: reason=\"they do\"   id=clerks-decrypt
p,role:signup,acme,   pii/account/email, decrypt, signup, 0, 0, allow

#   Billing – sorted by hand.
#: id=bills reason=\"invoices\"
p, role:billing, acme, pii/billing/*, decrypt, invoicing, 0, 0, allow
# Who is who.
#: id=anna-is-a-clerk reason=\"she is\"
g, user:idp/anna, role:signup, acme
#: id=bo-bills reason=\"he does\"
g, user:idp/bo, role:billing, acme
# The end.";

fn document(policy: &str) -> Document {
    let sources = Sources {
        model: MODEL_TEXT.into(),
        policy: policy.into(),
        catalogue: CATALOGUE_TEXT.into(),
        assertions: String::new(),
    };
    Document::read(sources).unwrap_or_else(|problems| panic!("{problems:#?}"))
}

fn grant() -> GrantDraft {
    GrantDraft {
        id: "clerks-index".into(),
        grantee: "role:signup".into(),
        tenant: "acme".into(),
        object: "pii/account/email".into(),
        action: "index".into(),
        purpose: "signup".into(),
        not_before: None,
        expires: None,
        effect: Some(Effect::Allow),
        reason: "they look".into(),
    }
}

fn membership() -> MembershipDraft {
    MembershipDraft {
        id: "kim-is-a-clerk".into(),
        member: "user:idp/kim".into(),
        role: "role:signup".into(),
        tenant: "acme".into(),
        expires: Some(1_798_761_600),
        reason: "she is, for a while".into(),
    }
}

fn policy(changes: &[Change]) -> String {
    let candidate = apply(&document(POLICY_TEXT), changes).unwrap_or_else(|problems| panic!("{problems:#?}"));
    candidate.sources.policy
}

#[track_caller]
fn refused(changes: &[Change], expected: &[&str]) {
    let found = apply(&document(POLICY_TEXT), changes).expect_err("refused");
    let found: Vec<String> = found.iter().map(ToString::to_string).collect();
    assert_eq!(found.len(), expected.len(), "{found:#?}");
    for (found, expected) in found.iter().zip(expected) {
        assert!(found.starts_with(expected), "{found}\n{expected}");
    }
}

#[test]
fn a_new_rule_stands_below_its_like_and_all_else_stays_as_it_was() {
    let found = policy(&[Change::AddGrant(grant()), Change::AddMembership(membership())]);
    let index = "#: id=clerks-index reason=\"they look\"\n\
                 p, role:signup, acme, pii/account/email, index, signup, 0, 0, allow\n";
    let kim = "#: id=kim-is-a-clerk expires=2027-01-01T00:00:00Z reason=\"she is, for a while\"\n\
               g, user:idp/kim, role:signup, acme\n";
    assert_eq!(
        found,
        POLICY_TEXT
            .replace("0, 0, allow\n\n#", &format!("0, 0, allow\n{index}\n#"))
            .replace("# The end.", &format!("{kim}# The end."))
    );
}

#[test]
fn a_rule_without_its_like_stands_at_the_end_on_a_line_of_its_own() {
    let lone = GrantDraft { grantee: "user:idp/kim".into(), ..grant() };
    let elsewhere = MembershipDraft { tenant: "bolt".into(), expires: None, ..membership() };
    let found = policy(&[Change::AddGrant(lone), Change::AddMembership(elsewhere)]);
    let added = found.strip_prefix(POLICY_TEXT).unwrap();
    assert_eq!(
        added,
        "\n#: id=clerks-index reason=\"they look\"\n\
         p, user:idp/kim, acme, pii/account/email, index, signup, 0, 0, allow\n\
         #: id=kim-is-a-clerk reason=\"she is, for a while\"\n\
         g, user:idp/kim, role:signup, bolt\n"
    );
}

#[test]
fn a_replaced_rule_stands_where_it_stood_and_a_removed_one_takes_its_comment_along() {
    let replaced = GrantDraft { id: "bills".into(), grantee: "role:billing".into(), ..grant() };
    let found = policy(&[Change::ReplaceGrant(replaced), Change::Remove("anna-is-a-clerk".into())]);
    let expected = POLICY_TEXT
        .replace("#: id=bills reason=\"invoices\"", "#: id=bills reason=\"they look\"")
        .replace("pii/billing/*, decrypt, invoicing", "pii/account/email, index, signup")
        .replace("#: id=anna-is-a-clerk reason=\"she is\"\ng, user:idp/anna, role:signup, acme\n", "");
    assert_eq!(found, expected);
}

#[test]
fn a_file_of_another_line_end_keeps_it_in_new_lines_too() {
    let base = document(&POLICY_TEXT.replace('\n', "\r\n"));
    let found = apply(&base, &[Change::AddGrant(grant())]).unwrap().sources.policy;
    assert_eq!(found.matches('\n').count(), found.matches("\r\n").count());
    assert!(found.contains("#: id=clerks-index reason=\"they look\"\r\np, role:signup"));
}

#[test]
fn each_malformed_field_has_a_problem_of_its_own_and_nothing_is_applied() {
    let grant = |change: fn(&mut GrantDraft)| {
        let mut draft = grant();
        change(&mut draft);
        Change::AddGrant(draft)
    };
    let membership = |change: fn(&mut MembershipDraft)| {
        let mut draft = membership();
        change(&mut draft);
        Change::AddMembership(draft)
    };
    let path = "changes[0].add_grant";
    for (change, field, rule) in [
        (grant(|g| g.id = "A".into()), "id", "must be an id"),
        (grant(|g| g.grantee = "*".into()), "grantee", "must be a role"),
        (grant(|g| g.grantee = "system:sweeper".into()), "grantee", "must be a role"),
        (grant(|g| g.tenant = "Acme".into()), "tenant", "must be a tenant"),
        (grant(|g| g.object = "*".into()), "object", "must be a class"),
        (grant(|g| g.action = "peek".into()), "action", "must be an action"),
        (grant(|g| g.purpose = "Sign up".into()), "purpose", "must be a purpose"),
        (grant(|g| g.not_before = Some(0)), "not_before", "must be a second after 1970"),
        (grant(|g| g.expires = Some(253_402_300_800)), "expires", "must be a second after 1970"),
        (grant(|g| g.effect = None), "effect", "must be allow or deny"),
        (grant(|g| g.reason = " ".into()), "reason", "must be one line of 1 to 300 bytes"),
        (grant(|g| g.reason = "x".repeat(301)), "reason", "must be one line of 1 to 300 bytes"),
        (grant(|g| g.reason = "a\" expires=\"b".into()), "reason", "must be one line"),
        (grant(|g| g.reason = "a\"\np, role:signup, acme".into()), "reason", "must be one line"),
        (grant(|g| g.reason = "a\u{202e}b".into()), "reason", "must be one line"),
        (grant(|g| g.reason = "a\rb".into()), "reason", "must be one line"),
    ] {
        refused(&[change], &[&format!("{path}.{field}: {rule}")]);
    }
    let path = "changes[0].add_membership";
    for (change, field, rule) in [
        (membership(|m| m.id = String::new()), "id", "must be an id"),
        (membership(|m| m.member = "anna".into()), "member", "must be a role"),
        (membership(|m| m.role = "signup".into()), "role", "must be a role"),
        (membership(|m| m.tenant = "*".into()), "tenant", "must be a tenant"),
        (membership(|m| m.expires = Some(u64::MAX)), "expires", "must be a second after 1970"),
        (membership(|m| m.reason = "\"".into()), "reason", "must be one line"),
    ] {
        refused(&[change], &[&format!("{path}.{field}: {rule}")]);
    }
    // All at once, each under its own change.
    refused(
        &[grant(|g| (g.id, g.action) = (String::new(), String::new())), membership(|m| m.tenant = "*".into())],
        &["changes[0].add_grant.id: ", "changes[0].add_grant.action: ", "changes[1].add_membership.tenant: "],
    );
}

#[test]
fn ids_must_fit_what_is_there_and_be_changed_once() {
    let named = |id: &str| GrantDraft { id: id.into(), ..grant() };
    refused(&[Change::AddGrant(named("bills"))], &["changes[0].add_grant.id: bills is taken already"]);
    refused(&[Change::AddGrant(named("bo-bills"))], &["changes[0].add_grant.id: bo-bills is taken already"]);
    refused(&[Change::ReplaceGrant(named("none"))], &["changes[0].replace_grant.id: there is no grant none"]);
    refused(
        &[Change::ReplaceGrant(named("bo-bills"))],
        &["changes[0].replace_grant.id: bo-bills is a membership, not a grant"],
    );
    refused(&[Change::Remove("none".into())], &["changes[0].remove: there is no grant and no membership none"]);
    refused(&[Change::Remove("No\nne".into())], &["changes[0].remove: must be an id"]);
    // Casbin's trap: to remove what matches nothing removes everything.
    refused(&[Change::Remove(String::new())], &["changes[0].remove: must be an id"]);
    refused(&[Change::Remove("*".into())], &["changes[0].remove: must be an id"]);
    refused(
        &[Change::Remove("bills".into()), Change::AddGrant(named("bills"))],
        &["changes[1].add_grant.id: changes[0] is about bills already"],
    );
    refused(
        &[Change::AddGrant(named("new")), Change::Remove("new".into())],
        &["changes[1].remove: changes[0] is about new already"],
    );
}

#[test]
fn whole_texts_are_replaced_once_and_a_document_alone() {
    let all = document(POLICY_TEXT).sources;
    let other = Sources { policy: "# none\n".into(), ..all.clone() };
    assert_eq!(apply(&document(POLICY_TEXT), &[Change::Document(other.clone())]).unwrap().sources, other);
    let texts = [Change::Catalogue("c".into()), Change::Assertions("a".into())];
    let expected = Sources { catalogue: "c".into(), assertions: "a".into(), ..all.clone() };
    assert_eq!(apply(&document(POLICY_TEXT), &texts).unwrap().sources, expected);
    refused(
        &[Change::Document(other), Change::Remove("bills".into())],
        &["changes[0].document: must be the only change"],
    );
    refused(
        &[Change::Catalogue("c".into()), Change::Catalogue("d".into())],
        &["changes[1].catalogue: another change replaces it already"],
    );
    refused(
        &[Change::Assertions("c".into()), Change::Assertions("c".into())],
        &["changes[1].assertions: another change replaces it already"],
    );
    refused(&[Change::Document(all.clone())], &["changes: change nothing"]);
    refused(&[Change::Catalogue(all.catalogue)], &["changes: change nothing"]);
    refused(&[], &["changes: must be 1 to 1000"]);
    refused(&vec![Change::Remove("bills".into()); 1_001], &["changes: must be 1 to 1000"]);
}

#[test]
fn what_is_wrong_with_a_written_line_is_put_to_the_change_that_wrote_it() {
    let blamed = |changes: &[Change]| -> Vec<String> {
        let candidate = apply(&document(POLICY_TEXT), changes).unwrap();
        let problems = Document::read(candidate.sources.clone()).expect_err("refused");
        candidate.blame(problems).iter().map(ToString::to_string).collect()
    };
    let unknown = Change::AddGrant(GrantDraft { grantee: "role:clerk".into(), purpose: "fun".into(), ..grant() });
    assert_eq!(
        blamed(&[unknown, Change::AddMembership(MembershipDraft { role: "role:x".into(), ..membership() })]),
        [
            "changes[1].add_membership.role: role:x is not a role of the catalogue",
            "changes[0].add_grant.purpose: fun is not a purpose of the catalogue",
            "changes[0].add_grant.grantee: role:clerk is not a role of the catalogue",
        ]
    );
    let again = Change::AddGrant(GrantDraft { action: "decrypt".into(), ..grant() });
    assert_eq!(blamed(&[again]), ["changes[0].add_grant: does nothing: line 3 (clerks-decrypt) says as much or more"]);
    // A line that nobody touched keeps its place.
    let wider = Change::AddGrant(GrantDraft { action: "decrypt".into(), object: "pii/*".into(), ..grant() });
    assert_eq!(blamed(&[wider]), ["policies/policy.csv:3: does nothing: line 5 (clerks-index) says as much or more"]);
}

/// Random comments, blank lines and line ends around rules that are sound.
fn files() -> impl Strategy<Value = String> {
    let between = "(\n|# [a-zé …]{0,12}\n|  #\n){0,3}";
    let rules = vec((between, any::<bool>(), "[a-z é…:#=,'\\\\-]{0,20}", any::<bool>(), 1_u64..4_000_000_000), 0..6);
    (rules, between, any::<bool>(), any::<bool>()).prop_map(|(rules, end, cut, crlf)| {
        let mut text = String::new();
        for (at, (between, is_grant, reason, dated, secs)) in rules.iter().enumerate() {
            let expires = if *dated { format!(" expires={}", grant::date(*secs)) } else { String::new() };
            let exp = if *dated { *secs } else { 0 };
            text += between;
            text += &if *is_grant {
                format!(
                    "#: id=r{at}{expires} reason=\"r{reason}\"\n\
                     p, user:idp/u{at}, acme, pii/account/email, decrypt, signup, 0, {exp}, allow\n"
                )
            } else {
                format!("#: id=r{at}{expires} reason=\"r{reason}\"\ng, user:idp/u{at}, role:signup, acme\n")
            };
        }
        text += &end;
        if cut {
            _ = text.pop();
        }
        // A membership's role must give something.
        text = format!(
            "#: id=clerks reason=\"r\"\np, role:signup, acme, pii/account/email, decrypt, signup, 0, 0, allow\n{text}"
        );
        if crlf { text.replace('\n', "\r\n") } else { text }
    })
}

proptest! {
    #![proptest_config(Config { failure_persistence: None, cases: 128, ..Config::default() })]

    #[test]
    fn rules_written_out_and_read_again_are_the_same_rules(text in files()) {
        let base = document(&text);
        let lines = |document: &Document| -> Vec<String> {
            let grants = document.rules.grants.iter().map(|line| line.rule.to_string());
            grants.chain(document.rules.memberships.iter().map(|line| line.rule.to_string())).collect()
        };
        let again = document(&lines(&base).concat());
        prop_assert_eq!(lines(&again), lines(&base));
    }

    #[test]
    fn what_is_added_and_removed_again_leaves_every_byte_as_it_was(text in files(), which in any::<Index>()) {
        let base = document(&text);
        let apply = |base: &Document, change| apply(base, &[change]).unwrap().sources.policy;
        let with = apply(&base, Change::AddMembership(membership()));
        let back = apply(&document(&with), Change::Remove("kim-is-a-clerk".into()));
        // Only a last line without its end has one now.
        prop_assert!(back == text || back.strip_prefix(&text).is_some_and(|end| ["\n", "\r\n"].contains(&end)));
        let ids: Vec<&GrantId> = base.rules.memberships.iter().map(|line| &line.rule.id).collect();
        if !ids.is_empty() {
            let id = which.get(&ids).as_str();
            let without = apply(&base, Change::Remove(id.into()));
            let kept: Vec<&str> = without.split_inclusive('\n').collect();
            let gone: Vec<&str> = text.split_inclusive('\n').filter(|line| !kept.contains(line)).collect();
            prop_assert!(gone.len() <= 2 && gone.iter().all(|line| text.contains(line)), "{gone:?}");
            prop_assert_eq!(without.len() + gone.iter().map(|line| line.len()).sum::<usize>(), text.len());
        }
    }

    #[test]
    fn no_reason_becomes_more_than_a_reason(reason in "\\PC{0,40}|[\"\n\r#:pg, =a-z\u{85}\u{2028}]{0,40}") {
        let draft = GrantDraft { reason: reason.clone(), ..grant() };
        if let Ok(candidate) = apply(&document(POLICY_TEXT), &[Change::AddGrant(draft)]) {
            let after = Document::read(candidate.sources).unwrap();
            prop_assert_eq!(after.rules.grants.len(), 3);
            prop_assert_eq!(after.rules.memberships.len(), 2);
            prop_assert!(after.rules.grants.iter().any(|line| line.rule.reason == reason));
        }
    }
}

#[test]
fn a_plan_refuses_new_rules_that_have_expired_and_leaves_old_ones_alone() {
    let plan = |changes: &[Change], now| {
        let sources = Sources {
            policy: POLICY_TEXT.replace("id=bo-bills reason", "id=bo-bills expires=2001-09-09T01:46:40Z reason"),
            ..document(POLICY_TEXT).sources
        };
        let before = Snapshot::build(7, &sources).unwrap();
        crate::policy::Plan::of(&before, changes, now)
            .map(|plan| plan.snapshot.version())
            .map_err(|problems| problems.iter().map(ToString::to_string).collect::<Vec<_>>())
    };
    let change = [Change::AddMembership(membership())];
    let expired = "changes[0].add_membership.expires: is in the past: the line does nothing".to_owned();
    assert_eq!(plan(&change, 1_798_761_600), Err(vec![expired]));
    // The document has nobody in control before either, so that is not this change's doing.
    assert_eq!(plan(&change, 1_798_761_599), Ok(8));
}
