//! Two persons agree to what widens, whatever names they have: who is not known for a person counts for none.

use privet::proto::v1::{self, PolicyChange, ProposalState, policy_change::Change};
use tonic::Code;

use super::{PERSONS, add, allow, approve, change, deployment, in_force, propose, reason, remove, state};
use crate::support::deployment::{Deployment, Setup};

/// Dora's third name, of which the catalogue knows nothing; it may propose, and break the glass.
const THIRD: &str = "
#: id=third-proposes reason=\"tests\"
p, spiffe://acme.example/third, acme, policy, propose, operate, 0, 0, allow
#: id=third-reads reason=\"tests\"
p, spiffe://acme.example/third, acme, policy, read, operate, 0, 0, allow
#: id=third-breaks reason=\"tests\"
p, spiffe://acme.example/third, acme, policy, breakglass, operate, 0, 0, allow
";

async fn with_third() -> Deployment {
    let policy = [super::ADMINS, THIRD].concat();
    Deployment::start_with(Setup { policy, catalogue: PERSONS.into(), ..Default::default() }).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_nobody_lists_proposes_nothing_that_needs_a_second_person() {
    let server = with_third().await;
    let third = server.client("third").await;
    let wider = propose(&third, "acme", 1, vec![add(allow("more", "acme"))]).await.unwrap_err();
    assert_eq!((wider.code(), reason(&wider).as_str()), (Code::PermissionDenied, "NO_PERSON"), "{wider:?}");
    let entry = server.client("tester").await.log("acme").await.pop().unwrap();
    assert_eq!(entry.refusal, "NO_PERSON", "it is on record");
    assert_eq!(in_force(&third, "acme").await, 1);
    // What takes away needs none.
    let narrower = propose(&third, "acme", 1, vec![remove("acme-test-masks")]).await.unwrap().proposal.unwrap();
    assert_eq!(narrower.state(), ProposalState::Approved);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_nobody_lists_breaks_no_glass() {
    let server = with_third().await;
    let request = v1::BreakGlassRequest {
        tenant: "acme".into(),
        role: "role:break-glass".into(),
        reason: "an emergency".into(),
        ..Default::default()
    };
    let taken = server.client("third").await.policy().break_glass(request).await.unwrap_err();
    assert_eq!((taken.code(), reason(&taken).as_str()), (Code::PermissionDenied, "NO_PERSON"), "{taken:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_rule_takes_an_id_that_breaking_the_glass_would_need() {
    let server = deployment().await;
    let admin = server.client("other-admin").await;
    let deny = v1::PolicyGrant { effect: v1::GrantEffect::Deny.into(), ..allow("glass-1", "other") };
    let refused = propose(&admin, "other", 1, vec![add(deny)]).await.unwrap_err();
    assert!(format!("{refused:?}").contains("only breaking the glass gives"), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_another_tenant_changes_leaves_a_proposal_open_and_its_difference_as_it_was() {
    let server = deployment().await;
    let (admin, other) = (server.client("policy-admin").await, server.client("other-admin").await);
    let id = propose(&admin, "acme", 1, vec![add(allow("more", "acme"))]).await.unwrap().proposal.unwrap().id;
    propose(&other, "other", 1, vec![remove("other-test-masks")]).await.unwrap();
    propose(&other, "other", 2, vec![remove("other-test-indexes")]).await.unwrap();
    assert_eq!(state(&admin, "acme", id).await, ProposalState::Open);
    let list = v1::ListProposalsRequest { tenant: "acme".into(), state: 1, ..Default::default() };
    assert_eq!(admin.policy().list_proposals(list).await.unwrap().into_inner().proposals.len(), 1);
    let approver = server.client("policy-approver").await;
    assert_eq!(approve(&approver, "acme", id).await.unwrap().version, 4);
    // Both hold: what was approved, and what was taken away meanwhile.
    let request = v1::GetPolicyRequest { tenant: "_system".into(), document: true, ..Default::default() };
    let text = admin.policy().get_policy(request).await.unwrap().into_inner().document.unwrap().policy;
    assert!(text.contains("id=more ") && !text.contains("id=other-test-masks") && !text.contains("other-test-indexes"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_changed_for_all_tenants_supersedes_every_proposal() {
    let server = deployment().await;
    let (admin, approver) = (server.client("policy-admin").await, server.client("policy-approver").await);
    let id = propose(&admin, "acme", 1, vec![add(allow("more", "acme"))]).await.unwrap().proposal.unwrap().id;
    let nothing = vec![change(Change::Assertions("# none\n".into()))];
    let all = propose(&admin, "_system", 1, nothing).await.unwrap().proposal.unwrap().id;
    approve(&approver, "_system", all).await.unwrap();
    assert_eq!(state(&admin, "acme", id).await, ProposalState::Superseded);
    let late = approve(&approver, "acme", id).await.unwrap_err();
    assert_eq!((late.code(), reason(&late).as_str()), (Code::Aborted, "STALE_BASE"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_same_tenant_changes_supersedes_its_proposals() {
    let server = deployment().await;
    let admin = server.client("policy-admin").await;
    let id = propose(&admin, "acme", 1, vec![add(allow("more", "acme"))]).await.unwrap().proposal.unwrap().id;
    propose(&admin, "acme", 1, vec![remove("acme-test-masks")]).await.unwrap();
    assert_eq!(state(&admin, "acme", id).await, ProposalState::Superseded);
    let late = approve(&server.client("policy-approver").await, "acme", id).await.unwrap_err();
    assert_eq!((late.code(), reason(&late).as_str()), (Code::Aborted, "STALE_BASE"));
    assert_eq!(in_force(&admin, "acme").await, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_person_leaves_32_proposals_waiting_and_no_more() {
    let server = deployment().await;
    let (admin, dora) = (server.client("policy-admin").await, server.client("dora-proposes").await);
    let more = |n: usize| vec![add(allow(&format!("more-{n}"), "acme"))];
    for n in 0..32 {
        propose(&admin, "acme", 1, more(n)).await.unwrap();
    }
    let full = propose(&admin, "acme", 1, more(32)).await.unwrap_err();
    assert_eq!((full.code(), reason(&full).as_str()), (Code::FailedPrecondition, "TOO_MANY_OPEN_PROPOSALS"));
    propose(&dora, "acme", 1, more(33)).await.expect("others are not kept from it");
    super::reject(&admin, "acme", 7).await.unwrap();
    propose(&admin, "acme", 1, more(34)).await.expect("one was withdrawn");
}

#[tokio::test(flavor = "multi_thread")]
async fn whose_lines_a_whole_document_would_break_is_told_to_who_may_read_them() {
    let server = deployment().await;
    let (admin, other) = (server.client("policy-admin").await, server.client("other-admin").await);
    let request = v1::GetPolicyRequest { tenant: "_system".into(), document: true, ..Default::default() };
    let mut document = admin.policy().get_policy(request).await.unwrap().into_inner().document.unwrap();
    document.policy = document.policy.replace("role:billing, acme", "role:biling, acme");
    let told = |status: tonic::Status| format!("{status:?}").contains("biling");
    let whole = |tenant: &str| (tenant.to_owned(), vec![change(Change::Document(document.clone()))]);
    let (tenant, changes) = whole("_system");
    assert!(told(propose(&admin, &tenant, 1, changes).await.unwrap_err()));
    let (tenant, changes) = whole("other");
    let refused = propose(&other, &tenant, 1, changes).await.unwrap_err();
    assert!(format!("{refused:?}").contains("is refused; why is told to"), "{refused:?}");
    assert!(!told(refused));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_that_no_rule_names_any_more_is_begun_again_by_the_deployments_admins() {
    let server = deployment().await;
    let (admin, other) = (server.client("policy-admin").await, server.client("other-admin").await);
    let (approver, others) = (server.client("policy-approver").await, server.client("other-approver").await);
    let mine = |ids: &[&str]| -> Vec<PolicyChange> { ids.iter().map(|id| remove(id)).collect() };
    let all = [
        "other-test-encrypts",
        "other-test-decrypts",
        "other-test-masks",
        "other-test-indexes",
        "other-test-reads",
        "other-admin-reads",
        "other-admin-proposes",
        "other-approver-reads",
        "other-approver-approves",
        "admin-of-acme-reads-other",
    ];
    let id = propose(&other, "other", 1, mine(&all)).await.unwrap().proposal.unwrap().id;
    assert_eq!(propose(&admin, "other", 1, mine(&all[..1])).await.unwrap_err().code(), Code::PermissionDenied);
    approve(&others, "other", id).await.unwrap();
    assert_eq!(propose(&other, "other", 2, vec![]).await.unwrap_err().code(), Code::InvalidArgument);
    let grant = |id: &str, who: &str, action: &str| {
        add(v1::PolicyGrant {
            grantee: format!("spiffe://acme.example/{who}"),
            object: "policy".into(),
            action: action.into(),
            purpose: "operate".into(),
            ..allow(id, "other")
        })
    };
    let alone = vec![grant("begins", "other-admin", "propose")];
    let refused = propose(&admin, "other", 2, alone.clone()).await.unwrap_err();
    assert!(format!("{refused:?}").contains("without a person"), "{refused:?}");
    let both = vec![alone[0].clone(), grant("agrees", "other-approver", "approve")];
    let denied = propose(&other, "other", 2, both.clone()).await.unwrap_err();
    assert_eq!(denied.code(), Code::PermissionDenied, "it has nothing there any more");
    let id = propose(&admin, "other", 2, both).await.unwrap().proposal.unwrap().id;
    approve(&approver, "other", id).await.unwrap();
    // From now on it is the tenant's own matter again.
    let again = propose(&admin, "other", 3, vec![add(allow("more", "other"))]).await.unwrap_err();
    assert_eq!(again.code(), Code::PermissionDenied);
    propose(&other, "other", 3, vec![add(allow("more", "other"))]).await.unwrap();
}
