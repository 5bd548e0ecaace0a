//! Grants and memberships for people and for machines.

use serde_json::{Value, json};

use super::super::table::rfc3339;
use crate::proto::v1::{GrantEffect, PolicyGrant, PolicyMembership, ReachingGrant};

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
