//! What goes and what stays.

use super::*;
use crate::{
    cli::policy::lines::Lines,
    proto::v1::{AuditEntry, Operation},
};

const SINCE: Timestamp = Timestamp { seconds: 1_795_461_365, nanos: 0 };

fn grant(id: &str, grantee: &str, action: &str, object: &str) -> PolicyGrant {
    PolicyGrant {
        id: id.into(),
        grantee: grantee.into(),
        tenant: "acme".into(),
        object: object.into(),
        action: action.into(),
        purpose: "invoicing".into(),
        effect: GrantEffect::Allow.into(),
        ..Default::default()
    }
}

fn opens(id: &str, grantee: &str) -> PolicyGrant {
    grant(id, grantee, "decrypt", "pii/billing/tax_id")
}

fn joins(member: &str, role: &str) -> PolicyMembership {
    PolicyMembership {
        id: format!("{}-{}", member.trim_start_matches("role:"), role.trim_start_matches("role:")),
        member: member.into(),
        role: role.into(),
        tenant: "acme".into(),
        ..Default::default()
    }
}

fn read(grants: Vec<PolicyGrant>, memberships: Vec<PolicyMembership>) -> Read {
    let emergency_roles = vec!["role:glass".to_owned()];
    Read { version: Default::default(), lines: Lines { grants, memberships }, hidden: 0, emergency_roles }
}

fn sort(read: &Read, usage: &Usage) -> Sorted {
    Sorted::of(&Tenant::parse("acme").unwrap(), read, usage, SINCE)
}

/// All old and unused.
fn sorted(grants: Vec<PolicyGrant>, memberships: Vec<PolicyMembership>) -> Sorted {
    let ids: Vec<String> = grants.iter().map(|grant| grant.id.clone()).collect();
    let usage = Usage::old(&ids.iter().map(String::as_str).collect::<Vec<_>>());
    sort(&read(grants, memberships), &usage)
}

fn going(sorted: &Sorted) -> Vec<&str> {
    sorted.grants.iter().map(|grant| grant.id.as_str()).collect()
}

fn kept(sorted: &Sorted) -> Vec<(&str, Kept)> {
    sorted.kept.iter().map(|(kept, grant)| (grant.id.as_str(), *kept)).collect()
}

fn emptied(sorted: &Sorted) -> Vec<&str> {
    sorted.memberships.iter().map(|membership| membership.id.as_str()).collect()
}

#[test]
fn what_an_emergency_role_has_stays_itself_or_through_others() {
    let sorted = sorted(
        vec![
            opens("own", "role:glass"),
            opens("through-desk", "role:desk"),
            opens("through-two", "role:clerk"),
            opens("of-a-member", "role:oncall"),
            opens("elsewhere", "role:elsewhere"),
            grant("control", "role:glass", "read", "subjects"),
        ],
        vec![
            joins("role:glass", "role:desk"),
            joins("role:desk", "role:clerk"),
            joins("role:oncall", "role:glass"),
            PolicyMembership { tenant: "other".into(), ..joins("role:glass", "role:elsewhere") },
        ],
    );
    assert_eq!(going(&sorted), ["of-a-member", "elsewhere"]);
    let emergency = ["own", "through-desk", "through-two", "control"].map(|id| (id, Kept::Emergency));
    assert_eq!(kept(&sorted), emergency);
    assert!(sorted.memberships.is_empty(), "whoever is on call has what the glass role has: {sorted:?}");
}

#[test]
fn what_is_on_the_control_plane_stays_and_so_does_what_nobody_knows() {
    let objects =
        [("read", "policy"), ("export", "audit"), ("rotate", "keys"), ("erase", "subjects"), ("create", "tenants")];
    let mut grants: Vec<PolicyGrant> =
        objects.iter().map(|(action, object)| grant(object, "role:boss", action, object)).collect();
    grants.push(grant("unheard-of", "role:boss", "shred", "pii/billing/*"));
    grants.push(opens("data", "role:boss"));
    let sorted = sorted(grants, vec![joins("user:idp/kim", "role:boss")]);
    assert_eq!(going(&sorted), ["data"]);
    let control = ["policy", "audit", "keys", "subjects", "tenants", "unheard-of"].map(|id| (id, Kept::Control));
    assert_eq!(kept(&sorted), control);
    assert!(sorted.memberships.is_empty());
}

#[test]
fn denies_and_other_tenants_allows_are_no_matter_and_young_ones_are_counted() {
    let grants = vec![
        PolicyGrant { effect: GrantEffect::Deny.into(), ..opens("deny", "role:a") },
        PolicyGrant { effect: GrantEffect::Unspecified.into(), ..opens("unknown", "role:a") },
        PolicyGrant { tenant: "*".into(), ..opens("everywhere", "role:a") },
        PolicyGrant { tenant: "other".into(), ..opens("other", "role:a") },
        PolicyGrant {
            not_before: Some(Timestamp { seconds: SINCE.seconds + 1, nanos: 0 }),
            ..opens("begins", "role:a")
        },
        PolicyGrant { not_before: Some(SINCE), ..opens("began", "role:a") },
        opens("young", "role:a"),
    ];
    let usage = Usage::old(&["deny", "unknown", "everywhere", "other", "begins", "began"]);
    let sorted = sort(&read(grants, Vec::new()), &usage);
    assert_eq!((going(&sorted), kept(&sorted), sorted.younger), (vec!["began"], Vec::new(), 2));
}

#[test]
fn what_was_used_stays_and_what_a_full_entry_may_have_left_out_is_kept() {
    let grants = vec![opens("used", "role:a"), opens("full", "role:b"), grant("else", "role:b", "mask", "pii/usage/*")];
    let mut usage = Usage::old(&["used", "full", "else"]);
    let mut names: Vec<String> = (1..crate::operations::NAMED_MAX).map(|n| format!("named-{n}")).collect();
    names.push("used".into());
    let target = crate::proto::v1::AuditTarget { object: "pii/billing/tax_id".into(), ..Default::default() };
    usage.add(&AuditEntry {
        operation: Operation::Decrypt.into(),
        purpose: "invoicing".into(),
        grant_ids: names,
        targets: vec![target],
        ..Default::default()
    });
    let sorted = sort(&read(grants, Vec::new()), &usage);
    assert_eq!((going(&sorted), kept(&sorted)), (vec!["else"], vec![("full", Kept::Unclear)]));
}

#[test]
fn memberships_go_whose_role_leads_to_nothing_else() {
    let deny = |id: &str, role: &str| PolicyGrant { effect: GrantEffect::Deny.into(), ..opens(id, role) };
    let everywhere = |id: &str, role: &str| PolicyGrant { tenant: "*".into(), ..opens(id, role) };
    let elsewhere = |id: &str, role: &str| PolicyGrant { tenant: "other".into(), ..opens(id, role) };
    let sorted = sorted(
        vec![
            opens("a", "role:empty"),
            elsewhere("a-elsewhere", "role:empty"),
            opens("b", "role:denies"),
            deny("b-deny", "role:denies"),
            opens("c", "role:everywhere"),
            everywhere("c-everywhere", "role:everywhere"),
            opens("d", "role:heir"),
            opens("e", "role:heir-of-empty"),
            grant("f", "role:boss", "read", "audit"),
            opens("g", "user:idp/kim"),
        ],
        vec![
            joins("user:idp/kim", "role:empty"),
            joins("user:idp/kim", "role:denies"),
            joins("user:idp/kim", "role:everywhere"),
            joins("user:idp/kim", "role:heir"),
            joins("role:heir", "role:boss"),
            joins("user:idp/kim", "role:heir-of-empty"),
            joins("role:heir-of-empty", "role:empty"),
            // Empty before.
            joins("user:idp/kim", "role:hollow"),
            PolicyMembership { tenant: "other".into(), ..joins("user:idp/lee", "role:empty") },
        ],
    );
    assert_eq!(going(&sorted), ["a", "b", "c", "d", "e", "g"]);
    assert_eq!(emptied(&sorted), ["user:idp/kim-empty", "user:idp/kim-heir-of-empty", "heir-of-empty-empty"]);
}

#[test]
fn no_chunk_leaves_a_membership_of_a_role_that_nothing_is_given_to() {
    let chain = |at: usize| format!("role:r{at}");
    let members = (0..CHANGES_MAX).map(|n| joins(&format!("user:idp/{n}"), "role:r0"));
    // In the file the inner ones come first.
    let roles = (0..3).rev().map(|at| joins(&chain(at), &chain(at + 1)));
    let grants: Vec<PolicyGrant> = (0..CHANGES_MAX).map(|n| opens(&format!("g{n}"), "role:r3")).collect();
    let sorted = sorted(grants, roles.chain(members).collect());
    let chunks = sorted.chunks();
    assert_eq!(chunks.iter().map(Vec::len).collect::<Vec<_>>(), [CHANGES_MAX, CHANGES_MAX, 3]);
    assert!(chunks[0].iter().all(|id| id.starts_with("user:idp/")), "{:?}", &chunks[0][..3]);
    assert_eq!(chunks[1][..4], ["r0-r1", "r1-r2", "r2-r3", "g0"]);
    let all: HashSet<&String> = chunks.iter().flatten().collect();
    assert_eq!(all.len(), 2 * CHANGES_MAX + 3);
    assert!(Sorted::default().chunks().is_empty());
}
