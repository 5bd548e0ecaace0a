//! The authorization service's messages, but for Check's.

use std::sync::Arc;

use prost_types::Timestamp;

use super::{super::call::receipts, Answer, timestamp};
use crate::{
    operations::{
        Header,
        explain::{self, Explain, Explained, Item},
        list_grants::ListGrantsFor,
        who_can::WhoCan,
    },
    policy::{Cause, Effect, Explanation, Grant, Granted, Membership, Mismatch, Near, Reaching, Verdict},
    proto::v1,
};

pub(in super::super) fn explain(request: v1::ExplainRequest) -> Explain {
    Explain {
        header: Header {
            tenant: request.tenant,
            purpose: request.purpose,
            request_id: request.request_id,
            reference: request.reference,
            actor: String::new(),
        },
        principal: request.principal,
        items: request.items.into_iter().map(|item| Item { object: item.object, action: item.action }).collect(),
        entry_index: request.entry_index,
    }
}

pub(in super::super) fn explained(released: Answer<Explain>) -> v1::ExplainResponse {
    let (answer, evidence) = released.into_parts();
    let explain::Answer { entry, entry_index: index, .. } = answer;
    v1::ExplainResponse {
        explanations: answer.explained.into_iter().map(explanation).collect(),
        more_questions: count(answer.more_questions),
        principal: answer.principal,
        purpose: answer.purpose,
        policy_version: answer.policy_version,
        policy_hash: answer.policy_hash.into(),
        time: Some(timestamp(answer.time_micros)),
        entry: entry.map(|entry| v1::ExplainedEntry {
            index,
            // Numbered alike in both packages.
            operation: entry.operation,
            verdict: entry.verdict,
            grant_ids: entry.grant_ids,
            refusal: entry.refusal,
        }),
        own_grants_only: answer.own_grants_only,
        receipts: receipts(evidence),
    }
}

pub(in super::super) fn list_grants_for(request: v1::ListGrantsForRequest) -> ListGrantsFor {
    ListGrantsFor {
        header: Header { tenant: request.tenant, request_id: request.request_id, ..Default::default() },
        principal: request.principal,
        page_size: request.page_size,
        page_token: request.page_token,
    }
}

pub(in super::super) fn listed_grants(released: Answer<ListGrantsFor>) -> v1::ListGrantsForResponse {
    let (page, evidence) = released.into_parts();
    v1::ListGrantsForResponse {
        grants: all_reaching(&page.grants),
        next_page_token: page.next_page_token,
        policy_version: page.policy_version,
        time: Some(moment(page.time_secs)),
        receipts: receipts(evidence),
    }
}

pub(in super::super) fn who_can(request: v1::WhoCanRequest) -> WhoCan {
    WhoCan {
        header: Header { tenant: request.tenant, request_id: request.request_id, ..Default::default() },
        item: Item { object: request.object, action: request.action },
        purpose: request.purpose,
        page_size: request.page_size,
        page_token: request.page_token,
    }
}

pub(in super::super) fn who_could(released: Answer<WhoCan>) -> v1::WhoCanResponse {
    let (page, evidence) = released.into_parts();
    v1::WhoCanResponse {
        grantees: page.granted.into_iter().map(grantee).collect(),
        next_page_token: page.next_page_token,
        policy_version: page.policy_version,
        time: Some(moment(page.time_secs)),
        receipts: receipts(evidence),
    }
}

fn explanation(Explained { object, action, explanation }: Explained) -> v1::Explanation {
    let Explanation { decision, cause, deciding, overruled, more_matched, near } = explanation;
    v1::Explanation {
        object: object.as_str().to_owned(),
        action: action.as_str().to_owned(),
        verdict: verdict(decision.verdict).into(),
        cause: match cause {
            Cause::Allowed => v1::Cause::Allowed,
            Cause::Denied => v1::Cause::Denied,
            Cause::NoGrant => v1::Cause::NoGrant,
            Cause::Unknown => v1::Cause::Unknown,
            Cause::Unclear => v1::Cause::Unclear,
        }
        .into(),
        deciding: all_reaching(&deciding),
        overruled: all_reaching(&overruled),
        more_matched: count(more_matched),
        near: near.iter().map(near_grant).collect(),
        valid_until: decision.valid_until.map(moment),
    }
}

fn grantee(granted: Granted) -> v1::Grantee {
    v1::Grantee {
        principal: granted.principal.as_str().to_owned(),
        verdict: verdict(granted.verdict).into(),
        allows: all_reaching(&granted.allows),
        denies: all_reaching(&granted.denies),
        more_grants: count(granted.more),
    }
}

fn near_grant(near: &Near) -> v1::NearGrant {
    let mismatch = |mismatch: &Mismatch| {
        let mismatch = match mismatch {
            Mismatch::Tenant => v1::Mismatch::Tenant,
            Mismatch::Action => v1::Mismatch::Action,
            Mismatch::Purpose => v1::Mismatch::Purpose,
            Mismatch::Object => v1::Mismatch::Object,
            Mismatch::Window => v1::Mismatch::Window,
            Mismatch::Membership => v1::Mismatch::Membership,
        };
        i32::from(mismatch)
    };
    v1::NearGrant {
        grant: Some(grant(&near.grant)),
        mismatches: near.mismatches.iter().map(mismatch).collect(),
        memberships: chain(&near.chain),
    }
}

fn all_reaching(lines: &[Reaching]) -> Vec<v1::ReachingGrant> {
    let reaching =
        |line: &Reaching| v1::ReachingGrant { grant: Some(grant(&line.grant)), memberships: chain(&line.chain) };
    lines.iter().map(reaching).collect()
}

fn chain(memberships: &[Arc<Membership>]) -> Vec<v1::PolicyMembership> {
    memberships.iter().map(|line| membership(line)).collect()
}

fn grant(grant: &Grant) -> v1::PolicyGrant {
    v1::PolicyGrant {
        id: grant.id.as_str().to_owned(),
        grantee: grant.grantee.as_str().to_owned(),
        tenant: grant.tenants.as_str().to_owned(),
        object: grant.pattern.to_string(),
        action: grant.action.as_str().to_owned(),
        purpose: grant.purposes.as_str().to_owned(),
        not_before: (grant.window.not_before > 0).then(|| moment(grant.window.not_before)),
        expires: grant.window.expires.map(moment),
        effect: match grant.effect {
            Effect::Allow => v1::GrantEffect::Allow,
            Effect::Deny => v1::GrantEffect::Deny,
        }
        .into(),
        reason: grant.reason.clone(),
    }
}

fn membership(membership: &Membership) -> v1::PolicyMembership {
    v1::PolicyMembership {
        id: membership.id.as_str().to_owned(),
        member: membership.member.as_str().to_owned(),
        role: membership.role.as_str().to_owned(),
        tenant: membership.tenant.as_str().to_owned(),
        expires: membership.expires.map(moment),
        reason: membership.reason.clone(),
    }
}

fn verdict(verdict: Verdict) -> v1::Verdict {
    match verdict {
        Verdict::Allow => v1::Verdict::Allow,
        Verdict::Deny => v1::Verdict::Deny,
    }
}

fn moment(secs: u64) -> Timestamp {
    timestamp(secs.saturating_mul(1_000_000))
}

fn count(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}
