//! What a diff shows, and that it shows everything.

use super::*;
use crate::policy::Sources;

const POLICY_TEXT: &str = include_str!("../../../policies/policy.csv");
const CATALOGUE_TEXT: &str = include_str!("../../../policies/catalogue.toml");

fn sources(policy: &str) -> Sources {
    Sources {
        model: include_str!("../../../policies/model.conf").into(),
        policy: policy.into(),
        catalogue: CATALOGUE_TEXT.into(),
        assertions: String::new(),
    }
}

fn diff(before: Sources, after: Sources) -> Diff {
    let read = |sources| Document::read(sources).unwrap_or_else(|problems| panic!("{problems:#?}"));
    Diff::between(&read(before), &read(after))
}

/// The diff of the shipped policy and what it becomes when some texts are replaced.
fn replaced(edits: &[(&str, &str)]) -> Diff {
    let after = edits.iter().fold(POLICY_TEXT.to_owned(), |policy, (from, to)| {
        assert!(policy.contains(from), "{from}");
        policy.replacen(from, to, 1)
    });
    diff(sources(POLICY_TEXT), sources(&after))
}

#[test]
fn the_same_text_differs_in_nothing() {
    let same = diff(sources(POLICY_TEXT), sources(POLICY_TEXT));
    assert!(same.is_empty() && same.to_string().is_empty());
}

#[test]
fn rules_differ_by_id_and_field_by_field() {
    let found = replaced(&[
        (
            "#: id=support-decrypts-email reason=\"support answers tickets by e-mail\"\n\
             p, role:support, acme, pii/account/email, decrypt, support-ticket, 0, 0, allow\n",
            "#: id=support-decrypts-name expires=2027-01-01T00:00:00Z reason=\"support is polite\"\n\
             p, role:support, acme, pii/account/name, decrypt, support-ticket, 0, 1798761600, allow\n",
        ),
        ("#: id=billing-decrypts-email reason", "#: id=billing-decrypts-email not_before=2027-01-01T00:00:00Z reason"),
        ("email, decrypt, invoicing, 0, 0", "email, decrypt, invoicing, 1798761600, 0"),
        (
            "#: id=auditor-in-acme reason=\"the auditor\"",
            "#: id=auditor-in-acme expires=2028-01-01T00:00:00Z reason=\"hers\"",
        ),
        (
            "#: id=operator-in-acme reason=\"the operator on call\"\ng, spiffe://acme.example/operator, role:operator, acme\n",
            "",
        ),
    ]);
    assert!(found.files.is_empty(), "{:?}", found.files);
    let fields: Vec<&str> = found.memberships.changed[0].fields.iter().map(|change| change.field).collect();
    assert_eq!(fields, ["expires", "reason"]);
    assert_eq!(
        found.to_string(),
        "grants\n  \
         - support-decrypts-email: allow role:support to decrypt pii/account/email for support-ticket in acme – support \
         answers tickets by e-mail\n  \
         + support-decrypts-name: allow role:support to decrypt pii/account/name for support-ticket in acme, until \
         2027-01-01T00:00:00Z – support is polite\n  \
         ~ billing-decrypts-email: not_before always → 2027-01-01T00:00:00Z\n\
         memberships\n  \
         - operator-in-acme: spiffe://acme.example/operator has role:operator in acme – the operator on call\n  \
         ~ auditor-in-acme: expires never → 2028-01-01T00:00:00Z; reason the auditor → hers\n"
    );
}

#[test]
fn what_no_rule_shows_is_shown_as_lines() {
    let heading = "# ── Who is who in the deployment itself";
    let found = replaced(&[(heading, "# \u{2500} Who"), ("p, role:signup, acme", "p,  role:signup, acme")]);
    assert!(found.grants.is_empty() && found.memberships.is_empty());
    let [change] = found.files.as_slice() else { panic!("{found:?}") };
    assert_eq!((change.file, change.added, change.removed), (POLICY, 2, 2));
    assert!(change.lines[0].starts_with("-p, role:signup") && change.lines[1].starts_with("+p,  role:signup"));
    let after = Sources {
        catalogue: CATALOGUE_TEXT.replacen("days = 30", "days = 30 ", 1),
        assertions: "# none".into(),
        ..sources(POLICY_TEXT)
    };
    let found = diff(sources(POLICY_TEXT), after);
    assert_eq!(found.files.iter().map(|change| change.file).collect::<Vec<_>>(), [CATALOGUE, ASSERTIONS]);
}

#[test]
fn a_rule_that_moves_or_ends_its_line_otherwise_is_no_difference_of_rules_and_still_one() {
    let first = "#: id=signup-encrypts-account reason=\"sign-up stores account data\"\n\
                 p, role:signup, acme, pii/account/*, encrypt, signup, 0, 0, allow\n";
    let rest = POLICY_TEXT.replacen(first, "", 1);
    for other in [format!("{rest}{first}"), POLICY_TEXT.replacen("allow\n", "allow\r\n", 1)] {
        let found = diff(sources(POLICY_TEXT), sources(&other));
        assert!(found.grants.is_empty() && found.files.len() == 1 && !found.is_empty());
    }
}

#[test]
fn a_long_file_is_shown_in_part_and_counted_whole() {
    let after = Sources { assertions: "#\n".repeat(1_500), ..sources(POLICY_TEXT) };
    let found = diff(sources(POLICY_TEXT), after);
    assert_eq!((found.files[0].added, found.files[0].lines.len()), (1_500, LINES_SHOWN_MAX));
    assert!(found.to_string().ends_with("  and 500 more\n"));
}

#[test]
fn an_id_that_was_a_grant_and_is_a_membership_goes_and_comes() {
    let grant = "#: id=auditor-reads-policy reason=\"an access is judged by the policy of its day\"\n\
                 p, role:auditor, acme, policy, read, operate, 0, 0, allow\n";
    let membership = "#: id=auditor-reads-policy reason=\"r\"\ng, user:idp/x, role:auditor, acme\n";
    let found = replaced(&[(grant, membership)]);
    assert_eq!((found.grants.removed.len(), found.memberships.added.len()), (1, 1));
}
