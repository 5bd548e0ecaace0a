//! One tenant's admin, and everything of another tenant.

use privet::proto::v1::{self, PolicyChange, PolicyGrant, policy_change::Change};
use tonic::{Code, Status};

use super::{
    add, allow, approve, change, deployment, in_force, membership, policy, proposal, propose, reason, reject, remove,
};

fn denied<T: std::fmt::Debug>(outcome: Result<T, Status>) {
    let status = outcome.unwrap_err();
    assert_eq!((status.code(), reason(&status).as_str()), (Code::PermissionDenied, "DENIED"), "{status:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_admin_of_another_tenant_is_denied_every_call_and_nothing_changes() {
    let server = deployment().await;
    let (admin, intruder) = (server.client("policy-admin").await, server.client("other-admin").await);
    let accomplice = server.client("other-approver").await;
    let id = propose(&admin, "acme", 1, vec![add(allow("more", "acme"))]).await.unwrap().proposal.unwrap().id;

    // In the tenant's name.
    denied(policy(&intruder, "acme", 0).await);
    denied(policy(&intruder, "acme", 1).await);
    denied(proposal(&intruder, "acme", id).await);
    denied(propose(&intruder, "acme", 1, vec![remove("acme-test-masks")]).await);
    denied(approve(&accomplice, "acme", id).await);
    denied(reject(&accomplice, "acme", id).await);
    denied(reject(&intruder, "acme", id).await);
    let versions = v1::ListPolicyVersionsRequest { tenant: "acme".into(), ..Default::default() };
    denied(intruder.policy().list_policy_versions(versions).await);
    let proposals = v1::ListProposalsRequest { tenant: "acme".into(), ..Default::default() };
    denied(intruder.policy().list_proposals(proposals).await);
    let simulate = |tenant: &str, change: PolicyChange| v1::SimulateRequest {
        tenant: tenant.into(),
        base_version: 1,
        changes: vec![change],
        ..Default::default()
    };
    denied(intruder.policy().simulate(simulate("acme", remove("acme-test-masks"))).await);

    // In the name of its own, at the other's lines.
    let moved = PolicyGrant { tenant: "other".into(), ..allow("acme-test-masks", "acme") };
    for (changes, text) in [
        (vec![remove("acme-test-masks")], "there is no grant and no membership"),
        (vec![remove("signup-service-in-acme")], "there is no grant and no membership"),
        (vec![change(Change::ReplaceGrant(moved))], "there is no grant acme-test-masks"),
    ] {
        let hidden = propose(&intruder, "other", 1, changes.clone()).await.unwrap_err();
        assert_eq!(hidden.code(), Code::InvalidArgument);
        assert!(format!("{hidden:?}").contains(text), "the same as for what is not there: {hidden:?}");
        denied_or_hidden(&intruder.policy().simulate(simulate("other", changes[0].clone())).await);
    }
    let system = PolicyGrant { tenant: "*".into(), ..allow("more", "other") };
    for change in [
        add(allow("more", "acme")),
        add(system),
        change(Change::AddMembership(membership("takes-over", "other-admin", "role:policy-admin", "acme"))),
        change(Change::AddMembership(membership("takes-over", "other-admin", "role:policy-admin", "_system"))),
        change(Change::Assertions("# none\n".into())),
        change(Change::Version(1)),
    ] {
        let outcome = propose(&intruder, "other", 1, vec![change.clone()]).await.unwrap_err();
        let is_same_version = change.change == Some(Change::Version(1));
        assert_eq!(
            outcome.code(),
            if is_same_version { Code::InvalidArgument } else { Code::PermissionDenied },
            "{change:?}"
        );
        let both = vec![add(allow("own", "other")), change.clone()];
        if !is_same_version {
            denied(propose(&intruder, "other", 1, both).await);
        }
    }
    let document = v1::GetPolicyRequest { tenant: "other".into(), document: true, ..Default::default() };
    denied(intruder.policy().get_policy(document).await);
    for caller in [&intruder, &accomplice] {
        assert_eq!(reason(&proposal(caller, "other", id).await.unwrap_err()), "NO_PROPOSAL");
    }
    assert_eq!(reason(&approve(&accomplice, "other", id).await.unwrap_err()), "NO_PROPOSAL");
    assert_eq!(in_force(&admin, "acme").await, 1);
    assert_eq!(proposal(&admin, "acme", id).await.unwrap().proposal.unwrap().decider, "");
}

fn denied_or_hidden(outcome: &Result<tonic::Response<v1::SimulateResponse>, Status>) {
    let answer = outcome.as_ref().unwrap().get_ref();
    assert!(answer.plan.is_none() && answer.problems.iter().all(|problem| problem.message.starts_with("there is no")));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_shown_is_of_tenants_that_the_caller_may_read() {
    let server = deployment().await;
    let (admin, other) = (server.client("policy-admin").await, server.client("other-admin").await);
    // Both have something to look at.
    let tester = server.client("tester").await;
    for tenant in ["acme", "other"] {
        tester.seal(tenant, "anna", "pii/account/email", b"a@mail.example", b"").await;
    }
    propose(&admin, "acme", 1, vec![remove("acme-test-encrypts")]).await.unwrap();
    propose(&other, "other", 2, vec![add(allow("more", "other"))]).await.unwrap();

    let shown = policy(&other, "other", 0).await.unwrap();
    assert!(!shown.grants.is_empty() && shown.hidden > 0);
    assert!(shown.grants.iter().all(|grant| grant.tenant == "other"), "{:?}", shown.grants);
    assert!(shown.memberships.iter().all(|membership| membership.tenant == "other"));
    let versions = v1::ListPolicyVersionsRequest { tenant: "other".into(), ..Default::default() };
    let versions = other.policy().list_policy_versions(versions).await.unwrap().into_inner().versions;
    let [second, first] = versions.as_slice() else { panic!("{versions:?}") };
    assert_eq!((second.version, second.proposer.as_str(), second.reason.as_str(), second.proposal), (2, "", "", 0));
    assert_eq!(first.proposer, "system:start");
    let proposals = v1::ListProposalsRequest { tenant: "other".into(), ..Default::default() };
    let proposals = other.policy().list_proposals(proposals).await.unwrap().into_inner().proposals;
    assert_eq!(proposals.iter().map(|proposal| proposal.id).collect::<Vec<_>>(), [2]);

    // Who reads both sees both; a simulation of one's own tenant is of its own log.
    let both = proposal(&admin, "acme", 2).await.unwrap().proposal.unwrap();
    assert_eq!(both.tenants, ["other"]);
    let simulate = v1::SimulateRequest {
        tenant: "other".into(),
        base_version: 2,
        changes: vec![remove("other-test-encrypts")],
        ..Default::default()
    };
    let plan = other.policy().simulate(simulate).await.unwrap().into_inner().plan.unwrap();
    let simulation = plan.simulation.unwrap();
    assert!(simulation.flips.iter().all(|flip| flip.tenant == "other") && simulation.flipped == 1, "{simulation:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_of_the_policy_ends_where_it_says() {
    let server = deployment().await;
    let admin = server.client("policy-admin").await;
    let whole = policy(&admin, "acme", 0).await.unwrap();
    let mut request = v1::GetPolicyRequest { tenant: "acme".into(), page_size: 7, ..Default::default() };
    let (mut grants, mut memberships) = (Vec::new(), Vec::new());
    loop {
        let page = admin.policy().get_policy(request.clone()).await.unwrap().into_inner();
        assert!(page.grants.len() + page.memberships.len() <= 7);
        grants.extend(page.grants);
        memberships.extend(page.memberships);
        if page.next_page_token.is_empty() {
            break;
        }
        request.page_token = page.next_page_token;
        if grants.len() == 7 {
            // What comes into force meanwhile is of another version.
            propose(&admin, "acme", 1, vec![remove("acme-test-masks")]).await.unwrap();
        }
    }
    assert_eq!((grants, memberships), (whole.grants, whole.memberships));
}
