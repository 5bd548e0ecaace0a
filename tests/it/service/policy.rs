//! The life of a policy change over real mTLS: who may make one, who approves it, and what is answered from then on.

mod command;
mod glass;
mod lifecycle;
mod load;
mod persons;
mod refusals;
mod tenants;
mod unused;

use privet::proto::v1::{
    self, GrantEffect, PolicyChange, PolicyGrant, PolicyMembership, Proposal, ProposalState, policy_change::Change,
};
use tonic::Status;
use tonic_types::StatusExt;

use crate::support::deployment::{Client, Deployment, Setup};

/// One person with two identities, one of each kind; one who approves and nobody knows; and an admin who reads both tenants.
const ADMINS: &str = "
#: id=dora-proposes reason=\"tests\"
p, spiffe://acme.example/dora-proposes, acme, policy, propose, operate, 0, 0, allow
#: id=dora-proposes-reads reason=\"tests\"
p, spiffe://acme.example/dora-proposes, acme, policy, read, operate, 0, 0, allow
#: id=dora-approves reason=\"tests\"
p, spiffe://acme.example/dora-approves, acme, policy, approve, operate, 0, 0, allow
#: id=dora-approves-reads reason=\"tests\"
p, spiffe://acme.example/dora-approves, acme, policy, read, operate, 0, 0, allow
#: id=nameless-approves reason=\"tests\"
p, spiffe://acme.example/nameless, acme, policy, approve, operate, 0, 0, allow
#: id=nameless-reads reason=\"tests\"
p, spiffe://acme.example/nameless, acme, policy, read, operate, 0, 0, allow
#: id=admin-of-acme-reads-other reason=\"tests\"
p, spiffe://acme.example/policy-admin, other, policy, read, operate, 0, 0, allow
";

const PERSONS: &str = "
[[person]]
id = \"dora\"
principals = [\"spiffe://acme.example/dora-proposes\", \"spiffe://acme.example/dora-approves\"]
";

async fn deployment() -> Deployment {
    Deployment::start_with(Setup { policy: ADMINS.into(), catalogue: PERSONS.into(), ..Default::default() }).await
}

/// Everybody may mask names for support: something new.
fn allow(id: &str, tenant: &str) -> PolicyGrant {
    PolicyGrant {
        id: id.into(),
        grantee: "role:support".into(),
        tenant: tenant.into(),
        object: "pii/usage/activity".into(),
        action: "mask".into(),
        purpose: "support-ticket".into(),
        effect: GrantEffect::Allow.into(),
        reason: "support sees how the service is used".into(),
        ..Default::default()
    }
}

fn membership(id: &str, member: &str, role: &str, tenant: &str) -> PolicyMembership {
    PolicyMembership {
        id: id.into(),
        member: format!("spiffe://acme.example/{member}"),
        role: role.into(),
        tenant: tenant.into(),
        reason: "tests".into(),
        ..Default::default()
    }
}

fn add(grant: PolicyGrant) -> PolicyChange {
    PolicyChange { change: Some(Change::AddGrant(grant)) }
}

fn remove(id: &str) -> PolicyChange {
    PolicyChange { change: Some(Change::Remove(id.into())) }
}

fn change(change: Change) -> PolicyChange {
    PolicyChange { change: Some(change) }
}

fn proposing(tenant: &str, base_version: u64, changes: Vec<PolicyChange>) -> v1::ProposeChangeRequest {
    v1::ProposeChangeRequest {
        tenant: tenant.into(),
        base_version,
        changes,
        reason: "a test".into(),
        ..Default::default()
    }
}

async fn propose(
    client: &Client,
    tenant: &str,
    base_version: u64,
    changes: Vec<PolicyChange>,
) -> Result<v1::ProposeChangeResponse, Status> {
    Ok(client.policy().propose_change(proposing(tenant, base_version, changes)).await?.into_inner())
}

async fn approve(client: &Client, tenant: &str, id: u64) -> Result<Proposal, Status> {
    let request = v1::ApproveProposalRequest { tenant: tenant.into(), id, ..Default::default() };
    Ok(client.policy().approve_proposal(request).await?.into_inner().proposal.unwrap())
}

async fn reject(client: &Client, tenant: &str, id: u64) -> Result<Proposal, Status> {
    let request = v1::RejectProposalRequest { tenant: tenant.into(), id, reason: "no".into(), ..Default::default() };
    Ok(client.policy().reject_proposal(request).await?.into_inner().proposal.unwrap())
}

async fn proposal(client: &Client, tenant: &str, id: u64) -> Result<v1::GetProposalResponse, Status> {
    let request = v1::GetProposalRequest { tenant: tenant.into(), id, ..Default::default() };
    Ok(client.policy().get_proposal(request).await?.into_inner())
}

async fn state(client: &Client, tenant: &str, id: u64) -> ProposalState {
    proposal(client, tenant, id).await.unwrap().proposal.unwrap().state()
}

async fn policy(client: &Client, tenant: &str, version: u64) -> Result<v1::GetPolicyResponse, Status> {
    let request = v1::GetPolicyRequest { tenant: tenant.into(), version, ..Default::default() };
    Ok(client.policy().get_policy(request).await?.into_inner())
}

async fn in_force(client: &Client, tenant: &str) -> u64 {
    policy(client, tenant, 0).await.unwrap().version.unwrap().version
}

/// The reason by which machines tell a refusal apart.
fn reason(status: &Status) -> String {
    status.get_error_details().error_info().map(|info| info.reason.clone()).unwrap_or_default()
}
