//! Grants and memberships for people and for machines, and how two versions differ in them.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::super::table::rfc3339;
use crate::proto::v1::{
    FileDifference, GrantDifference, GrantEffect, MembershipDifference, PolicyDifference, PolicyDocument, PolicyGrant,
    PolicyMembership, ReachingGrant, policy_difference::What,
};

/// A grant in a sentence's order, without its id: `role:support may decrypt pii/account/email for support-ticket in acme`.
pub(in super::super) fn grant(grant: &PolicyGrant) -> String {
    let PolicyGrant { grantee, action, object, purpose, tenant, .. } = grant;
    let may = match grant.effect() {
        GrantEffect::Allow => "may",
        GrantEffect::Deny => "must not",
        GrantEffect::Unspecified => "?",
    };
    let from = grant.not_before.as_ref().map(|time| format!(" from {}", rfc3339(time))).unwrap_or_default();
    let until = grant.expires.as_ref().map(|time| format!(" until {}", rfc3339(time))).unwrap_or_default();
    format!("{grantee} {may} {action} {object} for {purpose} in {tenant}{from}{until}")
}

/// A membership likewise: `spiffe://… is role:support in acme`.
pub(in super::super) fn membership(membership: &PolicyMembership) -> String {
    let PolicyMembership { member, role, tenant, .. } = membership;
    let until = membership.expires.as_ref().map(|time| format!(" until {}", rfc3339(time))).unwrap_or_default();
    format!("{member} is {role} in {tenant}{until}")
}

/// A grant for machines.
pub(in super::super) fn grant_json(grant: &PolicyGrant) -> Value {
    json!({
        "id": grant.id,
        "grantee": grant.grantee,
        "tenant": grant.tenant,
        "object": grant.object,
        "action": grant.action,
        "purpose": grant.purpose,
        "not_before": grant.not_before.as_ref().map(rfc3339),
        "expires": grant.expires.as_ref().map(rfc3339),
        "effect": grant.effect().as_str_name().trim_start_matches("GRANT_EFFECT_").to_ascii_lowercase(),
        "reason": grant.reason,
    })
}

/// A membership for machines.
pub(in super::super) fn membership_json(membership: &PolicyMembership) -> Value {
    json!({
        "id": membership.id,
        "member": membership.member,
        "role": membership.role,
        "tenant": membership.tenant,
        "expires": membership.expires.as_ref().map(rfc3339),
        "reason": membership.reason,
    })
}

/// How a grant comes to a principal: a line a step, or one that says that it is given to it directly.
pub(in super::super) fn way(principal: &str, memberships: &[PolicyMembership], indent: &str) -> String {
    if memberships.is_empty() {
        return format!("{indent}given to {principal} itself\n");
    }
    memberships.iter().map(|line| format!("{indent}{}  ({})\n", membership(line), line.id)).collect()
}

/// A grant and how it comes to a principal, for machines.
pub(in super::super) fn reaching_json(line: &ReachingGrant) -> Value {
    json!({
        "grant": line.grant.as_ref().map(grant_json),
        "memberships": line.memberships.iter().map(membership_json).collect::<Vec<_>>(),
    })
}

/// The lines of one version.
#[derive(Default)]
pub(in crate::cli) struct Lines {
    pub(in crate::cli) grants: Vec<PolicyGrant>,
    pub(in crate::cli) memberships: Vec<PolicyMembership>,
}

/// How one version differs from another, by id; files only if both documents are known.
pub(super) fn differences(
    (before, old): (Lines, Option<&PolicyDocument>),
    (after, new): (Lines, Option<&PolicyDocument>),
) -> Vec<PolicyDifference> {
    let grants = pairs(before.grants, after.grants, |grant| grant.id.clone())
        .map(|(before, after)| What::Grant(GrantDifference { before, after }));
    let memberships = pairs(before.memberships, after.memberships, |membership| membership.id.clone())
        .map(|(before, after)| What::Membership(MembershipDifference { before, after }));
    let files = old.zip(new).into_iter().flat_map(|(old, new)| {
        let texts = [
            ("model.conf", &old.model, &new.model),
            ("catalogue.toml", &old.catalogue, &new.catalogue),
            ("assertions.toml", &old.assertions, &new.assertions),
        ];
        texts.into_iter().filter(|(_, old, new)| old != new).map(|(file, old, new)| {
            What::File(FileDifference { file: file.into(), lines: changed_lines(old, new), more_lines: 0 })
        })
    });
    grants.chain(memberships).chain(files).map(|what| PolicyDifference { what: Some(what) }).collect()
}

/// What is not the same in two lists, in the order of ids.
fn pairs<T: PartialEq>(
    before: Vec<T>,
    after: Vec<T>,
    id: impl Fn(&T) -> String,
) -> impl Iterator<Item = (Option<T>, Option<T>)> {
    let mut by_id: BTreeMap<String, (Option<T>, Option<T>)> = BTreeMap::new();
    for line in before {
        let id = id(&line);
        by_id.entry(id).or_default().0 = Some(line);
    }
    for line in after {
        let id = id(&line);
        by_id.entry(id).or_default().1 = Some(line);
    }
    by_id.into_values().filter(|(before, after)| before != after)
}

/// Lines that are only in one of two texts, taken as a whole: those that begin and end both alike are left out.
fn changed_lines(old: &str, new: &str) -> Vec<String> {
    let (old, new): (Vec<&str>, Vec<&str>) = (old.lines().collect(), new.lines().collect());
    let start = old.iter().zip(&new).take_while(|(a, b)| a == b).count();
    let rest = |lines: &[&str]| lines.len() - start;
    let shared = rest(&old).min(rest(&new));
    let end = old.iter().rev().zip(new.iter().rev()).take(shared).take_while(|(a, b)| a == b).count();
    let middle = |lines: &[&str], sign: char| -> Vec<String> {
        lines.iter().take(lines.len() - end).skip(start).map(|line| format!("{sign}{line}")).collect()
    };
    [middle(&old, '-'), middle(&new, '+')].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_middle_that_changed_is_shown() {
        assert_eq!(changed_lines("a\nb\nc\n", "a\nx\nc\n"), ["-b", "+x"]);
        assert_eq!(changed_lines("a\nb\n", "a\nb\nc\n"), ["+c"]);
        assert_eq!(changed_lines("a\na\n", "a\n"), ["-a"]);
        assert_eq!(changed_lines("", "a\n"), ["+a"]);
        assert!(changed_lines("a\n", "a\n").is_empty());
    }

    #[test]
    fn versions_are_compared_by_id() {
        let grant = |id: &str, action: &str| PolicyGrant { id: id.into(), action: action.into(), ..Default::default() };
        let lines = |grants| Lines { grants, memberships: Vec::new() };
        let before = lines(vec![grant("a", "mask"), grant("b", "mask"), grant("c", "mask")]);
        let after = lines(vec![grant("c", "mask"), grant("a", "decrypt"), grant("d", "mask")]);
        let shown: Vec<(bool, bool)> = differences((before, None), (after, None))
            .into_iter()
            .map(|difference| match difference.what.unwrap() {
                What::Grant(GrantDifference { before, after }) => (before.is_some(), after.is_some()),
                other @ (What::Membership(_) | What::File(_)) => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(shown, [(true, true), (true, false), (false, true)]);
    }
}
