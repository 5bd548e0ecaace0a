//! The policy service's messages.

use prost_types::Timestamp;

use super::{super::call::receipts, Answer, audit::header, timestamp, timestamp_if_any};
use crate::{
    catalogue::Problem,
    operations::policies::{
        approve::ApproveProposal,
        asked::Sent,
        get_policy::{GetPolicy, Known},
        get_proposal::GetProposal,
        list_proposals::ListProposals,
        list_versions::ListVersions,
        plan::{Difference, Plan},
        propose::ProposeChange,
        reject::RejectProposal,
        simulate::Simulate,
    },
    policy::{Change, Effect, Grant, GrantDraft, Membership, MembershipDraft, Sources},
    proto::{
        stored,
        v1::{self, policy_change, policy_difference},
    },
};

pub(in super::super) fn get_policy(request: v1::GetPolicyRequest) -> GetPolicy {
    GetPolicy {
        header: header(request.tenant, request.request_id),
        version: request.version,
        document: request.document,
        page_size: request.page_size,
        page_token: request.page_token,
    }
}

pub(in super::super) fn got_policy(released: Answer<GetPolicy>) -> v1::GetPolicyResponse {
    let (shown, evidence) = released.into_parts();
    v1::GetPolicyResponse {
        version: Some(version(shown.version)),
        grants: shown.grants.iter().map(grant).collect(),
        memberships: shown.memberships.iter().map(membership).collect(),
        document: shown.document.map(|Sources { model, policy, catalogue, assertions }| v1::PolicyDocument {
            model,
            policy,
            catalogue,
            assertions,
        }),
        next_page_token: shown.next_page_token,
        hidden: u32::try_from(shown.hidden).unwrap_or(u32::MAX),
        emergency_roles: shown.emergency_roles.iter().map(ToString::to_string).collect(),
        receipts: receipts(evidence),
    }
}

pub(in super::super) fn list_versions(request: v1::ListPolicyVersionsRequest) -> ListVersions {
    ListVersions {
        header: header(request.tenant, request.request_id),
        page_size: request.page_size,
        page_token: request.page_token,
    }
}

pub(in super::super) fn listed_versions(released: Answer<ListVersions>) -> v1::ListPolicyVersionsResponse {
    let (page, evidence) = released.into_parts();
    v1::ListPolicyVersionsResponse {
        versions: page.versions.into_iter().map(version).collect(),
        next_page_token: page.next_page_token,
        receipts: receipts(evidence),
    }
}

pub(in super::super) fn propose_change(request: v1::ProposeChangeRequest) -> ProposeChange {
    ProposeChange {
        header: header(request.tenant, request.request_id),
        base_version: request.base_version,
        changes: request.changes.into_iter().map(change).collect(),
        reason: request.reason,
    }
}

pub(in super::super) fn proposed(released: Answer<ProposeChange>) -> v1::ProposeChangeResponse {
    let (proposed, evidence) = released.into_parts();
    v1::ProposeChangeResponse {
        proposal: Some(proposal(proposed.proposal)),
        plan: Some(plan(proposed.plan)),
        receipts: receipts(evidence),
    }
}

pub(in super::super) fn get_proposal(request: v1::GetProposalRequest) -> GetProposal {
    GetProposal { header: header(request.tenant, request.request_id), id: request.id }
}

pub(in super::super) fn got_proposal(released: Answer<GetProposal>) -> v1::GetProposalResponse {
    let (shown, evidence) = released.into_parts();
    v1::GetProposalResponse {
        proposal: Some(proposal(shown.proposal)),
        plan: Some(plan(shown.plan)),
        receipts: receipts(evidence),
    }
}

pub(in super::super) fn list_proposals(request: v1::ListProposalsRequest) -> ListProposals {
    ListProposals {
        header: header(request.tenant, request.request_id),
        page_size: request.page_size,
        page_token: request.page_token,
        // Numbered alike in both packages.
        state: request.state,
    }
}

pub(in super::super) fn listed_proposals(released: Answer<ListProposals>) -> v1::ListProposalsResponse {
    let (page, evidence) = released.into_parts();
    v1::ListProposalsResponse {
        proposals: page.proposals.into_iter().map(proposal).collect(),
        next_page_token: page.next_page_token,
        receipts: receipts(evidence),
    }
}

pub(in super::super) fn approve_proposal(request: v1::ApproveProposalRequest) -> ApproveProposal {
    ApproveProposal {
        header: header(request.tenant, request.request_id),
        id: request.id,
        policy_hash: request.policy_hash.into(),
        reason: request.reason,
    }
}

pub(in super::super) fn approved(released: Answer<ApproveProposal>) -> v1::ApproveProposalResponse {
    let (approved, evidence) = released.into_parts();
    v1::ApproveProposalResponse { proposal: Some(proposal(approved)), receipts: receipts(evidence) }
}

pub(in super::super) fn reject_proposal(request: v1::RejectProposalRequest) -> RejectProposal {
    RejectProposal { header: header(request.tenant, request.request_id), id: request.id, reason: request.reason }
}

pub(in super::super) fn rejected(released: Answer<RejectProposal>) -> v1::RejectProposalResponse {
    let (rejected, evidence) = released.into_parts();
    v1::RejectProposalResponse { proposal: Some(proposal(rejected)), receipts: receipts(evidence) }
}

pub(in super::super) fn simulate(request: v1::SimulateRequest) -> Simulate {
    Simulate {
        header: header(request.tenant, request.request_id),
        base_version: request.base_version,
        changes: request.changes.into_iter().map(change).collect(),
    }
}

pub(in super::super) fn simulated(released: Answer<Simulate>) -> v1::SimulateResponse {
    let (simulated, evidence) = released.into_parts();
    let (problems, planned) = match simulated {
        Ok(planned) => (Vec::new(), Some(plan(planned))),
        Err(problems) => (problems.into_iter().map(problem).collect(), None),
    };
    v1::SimulateResponse { problems, plan: planned, receipts: receipts(evidence) }
}

fn change(change: v1::PolicyChange) -> Sent {
    let Some(change) = change.change else { return Sent::Nothing };
    Sent::Change(Box::new(match change {
        policy_change::Change::AddGrant(grant) => Change::AddGrant(grant_draft(grant)),
        policy_change::Change::ReplaceGrant(grant) => Change::ReplaceGrant(grant_draft(grant)),
        policy_change::Change::AddMembership(membership) => Change::AddMembership(membership_draft(membership)),
        policy_change::Change::ReplaceMembership(membership) => Change::ReplaceMembership(membership_draft(membership)),
        policy_change::Change::Remove(id) => Change::Remove(id),
        policy_change::Change::Catalogue(text) => Change::Catalogue(text),
        policy_change::Change::Assertions(text) => Change::Assertions(text),
        policy_change::Change::Document(document) => {
            let v1::PolicyDocument { model, policy, catalogue, assertions } = document;
            Change::Document(Sources { model, policy, catalogue, assertions })
        }
        policy_change::Change::Version(version) => return Sent::Version(version),
    }))
}

fn grant_draft(grant: v1::PolicyGrant) -> GrantDraft {
    GrantDraft {
        effect: match grant.effect() {
            v1::GrantEffect::Unspecified => None,
            v1::GrantEffect::Allow => Some(Effect::Allow),
            v1::GrantEffect::Deny => Some(Effect::Deny),
        },
        not_before: grant.not_before.as_ref().map(whole_secs),
        expires: grant.expires.as_ref().map(whole_secs),
        id: grant.id,
        grantee: grant.grantee,
        tenant: grant.tenant,
        object: grant.object,
        action: grant.action,
        purpose: grant.purpose,
        reason: grant.reason,
    }
}

fn membership_draft(membership: v1::PolicyMembership) -> MembershipDraft {
    MembershipDraft {
        expires: membership.expires.as_ref().map(whole_secs),
        id: membership.id,
        member: membership.member,
        role: membership.role,
        tenant: membership.tenant,
        reason: membership.reason,
    }
}

/// Seconds since 1970; between two seconds, and before, 0: no moment that a line can have.
fn whole_secs(time: &Timestamp) -> u64 {
    if time.nanos == 0 { u64::try_from(time.seconds).unwrap_or_default() } else { 0 }
}

fn grant(grant: &Grant) -> v1::PolicyGrant {
    v1::PolicyGrant {
        id: grant.id.to_string(),
        grantee: grant.grantee.as_str().to_owned(),
        tenant: grant.tenants.as_str().to_owned(),
        object: grant.pattern.to_string(),
        action: grant.action.as_str().to_owned(),
        purpose: grant.purposes.as_str().to_owned(),
        not_before: (grant.window.not_before > 0).then(|| secs(grant.window.not_before)),
        expires: grant.window.expires.map(secs),
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
        id: membership.id.to_string(),
        member: membership.member.as_str().to_owned(),
        role: membership.role.to_string(),
        tenant: membership.tenant.to_string(),
        expires: membership.expires.map(secs),
        reason: membership.reason.clone(),
    }
}

fn secs(secs: u64) -> Timestamp {
    timestamp(secs.saturating_mul(1_000_000))
}

fn version(Known { stored, in_force }: Known) -> v1::PolicyVersion {
    v1::PolicyVersion {
        version: stored.version,
        policy_hash: stored.policy_hash.into(),
        time: timestamp_if_any(stored.time_unix_micros),
        proposer: stored.proposer,
        approver: stored.approver,
        reason: stored.reason,
        proposal: stored.proposal,
        in_force,
    }
}

fn proposal(proposal: stored::Proposal) -> v1::Proposal {
    v1::Proposal {
        id: proposal.id,
        // Numbered alike in both packages.
        state: proposal.state,
        base_version: proposal.base_version,
        proposer: proposal.proposer,
        propose_time: timestamp_if_any(proposal.propose_time_unix_micros),
        reason: proposal.reason,
        policy_hash: proposal.policy_hash.into(),
        widens: proposal.widens,
        tenants: proposal.tenants,
        decider: proposal.decider,
        decide_time: timestamp_if_any(proposal.decide_time_unix_micros),
        decide_reason: proposal.decide_reason,
        version: proposal.version,
    }
}

fn problem(problem: Problem) -> v1::PolicyProblem {
    v1::PolicyProblem {
        file: problem.file,
        line: problem.line.and_then(|line| u32::try_from(line).ok()).unwrap_or_default(),
        field: problem.field.unwrap_or_default().to_owned(),
        message: problem.message,
    }
}

fn plan(plan: Plan) -> v1::PolicyPlan {
    let difference = |difference: Difference| v1::PolicyDifference {
        what: Some(match difference {
            Difference::Grant { before, after } => policy_difference::What::Grant(v1::GrantDifference {
                before: before.as_deref().map(grant),
                after: after.as_deref().map(grant),
            }),
            Difference::Membership { before, after } => policy_difference::What::Membership(v1::MembershipDifference {
                before: before.as_deref().map(membership),
                after: after.as_deref().map(membership),
            }),
            Difference::File { file, lines, more_lines } => policy_difference::What::File(v1::FileDifference {
                file: file.to_owned(),
                lines,
                more_lines: u32::try_from(more_lines).unwrap_or(u32::MAX),
            }),
        }),
    };
    v1::PolicyPlan {
        differences: plan.differences.into_iter().map(difference).collect(),
        hidden_differences: u32::try_from(plan.hidden).unwrap_or(u32::MAX),
        tenants: plan.tenants,
        widens: plan.widens,
        widens_because: plan.widens_because,
        simulation: Some(simulation(plan.simulation)),
    }
}

fn simulation(simulation: stored::Simulation) -> v1::Simulation {
    let sum = |of: fn(&stored::TenantFlips) -> u64| simulation.tenants.iter().map(of).sum();
    let (decisions, flipped) = (sum(|tenant| tenant.decisions), sum(|tenant| tenant.flipped));
    let more_flips = simulation.tenants.iter().map(|tenant| tenant.more_flips).sum();
    let verdict = |allow| if allow { v1::Verdict::Allow } else { v1::Verdict::Deny };
    let flips = simulation.tenants.into_iter().flat_map(|of_tenant| {
        let tenant = of_tenant.tenant;
        of_tenant.flips.into_iter().map(move |flip| v1::Flip {
            principal: flip.principal,
            tenant: tenant.clone(),
            object: flip.object,
            action: flip.action,
            purpose: flip.purpose,
            before: verdict(!flip.allowed).into(),
            after: verdict(flip.allowed).into(),
            count: flip.count,
            last_time: timestamp_if_any(flip.last_time_unix_micros),
        })
    });
    v1::Simulation {
        first_index: simulation.first_index,
        end_index: simulation.end_index,
        decisions,
        flipped,
        flips: flips.collect(),
        more_flips,
        cut_short: simulation.cut_short,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_are_numbered_alike_in_both_packages() {
        for n in 0..100 {
            let public = v1::ProposalState::try_from(n).ok().map(|state| state.as_str_name());
            assert_eq!(public, stored::ProposalState::try_from(n).ok().map(|state| state.as_str_name()));
        }
    }

    #[test]
    fn a_moment_between_two_seconds_is_none() {
        assert_eq!(whole_secs(&Timestamp { seconds: 5, nanos: 0 }), 5);
        assert_eq!(whole_secs(&Timestamp { seconds: 5, nanos: 1 }), 0);
        assert_eq!(whole_secs(&Timestamp { seconds: -5, nanos: 0 }), 0);
    }
}
