//! What becomes of changes that are well made.

use privet::proto::v1::{self, Operation, ProposalState, Verdict, policy_change::Change, policy_difference::What};
use tonic::Code;

use super::{
    add, allow, approve, change, deployment, in_force, membership, policy, proposal, propose, reason, reject, remove,
    state,
};
use crate::support::deployment::{Client, decrypt, to_decrypt};

const EMAIL: &str = "pii/account/email";

async fn may(client: &Client, object: &str, action: &str, purpose: &str) -> (Verdict, u64) {
    let items = vec![v1::CheckItem { object: object.into(), action: action.into() }];
    let request = v1::CheckRequest { tenant: "acme".into(), purpose: purpose.into(), items, ..Default::default() };
    let answer = client.authorization().check(request).await.unwrap().into_inner();
    (answer.results[0].verdict(), answer.policy_version)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_that_widens_waits_for_another_person_and_then_holds_for_the_next_answer_and_after_a_restart() {
    let mut server = deployment().await;
    let (admin, approver) = (server.client("policy-admin").await, server.client("policy-approver").await);
    let support = server.client("support-desk").await;
    let before = may(&support, "pii/usage/activity", "mask", "support-ticket").await;
    assert_eq!(before, (Verdict::Deny, 1));

    let answer = propose(&admin, "acme", 1, vec![add(allow("more", "acme"))]).await.unwrap();
    let (proposed, plan) = (answer.proposal.unwrap(), answer.plan.unwrap());
    assert_eq!((proposed.id, proposed.state(), proposed.version), (1, ProposalState::Open, 0));
    assert!(proposed.widens && plan.widens && plan.widens_because == ["grant more is a new allow"], "{plan:?}");
    assert_eq!((proposed.tenants, plan.tenants), (vec!["acme".to_owned()], vec!["acme".to_owned()]));
    let [difference] = plan.differences.as_slice() else { panic!("{:?}", plan.differences) };
    let Some(What::Grant(grant)) = &difference.what else { panic!("{difference:?}") };
    assert_eq!((grant.before.as_ref(), grant.after.as_ref()), (None, Some(&allow("more", "acme"))));
    let simulation = plan.simulation.unwrap();
    let [flip] = simulation.flips.as_slice() else { panic!("{:?}", simulation.flips) };
    assert_eq!((simulation.flipped, flip.before(), flip.after()), (1, Verdict::Deny, Verdict::Allow));
    assert!(flip.principal.ends_with("/support-desk") && flip.object == "pii/usage/activity" && flip.count == 1);

    assert_eq!(may(&support, "pii/usage/activity", "mask", "support-ticket").await, before, "it waits");
    let approved = approve(&approver, "acme", 1).await.unwrap();
    assert_eq!((approved.state(), approved.version), (ProposalState::Approved, 2));
    let after = may(&support, "pii/usage/activity", "mask", "support-ticket").await;
    assert_eq!(after, (Verdict::Allow, 2));

    let shown = policy(&admin, "acme", 0).await.unwrap();
    assert!(shown.grants.contains(&allow("more", "acme")));
    assert!(!policy(&admin, "acme", 1).await.unwrap().grants.contains(&allow("more", "acme")), "every version is kept");
    server.restart().await;
    let support = server.client("support-desk").await;
    assert_eq!(may(&support, "pii/usage/activity", "mask", "support-ticket").await, (Verdict::Allow, 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_that_only_narrows_is_in_force_when_it_is_answered() {
    let server = deployment().await;
    let admin = server.client("policy-admin").await;
    let tester = server.client("tester").await;
    let sealed = tester.seal("acme", "anna", EMAIL, b"a@mail.example", b"").await;
    let answer = propose(&admin, "acme", 1, vec![remove("acme-test-decrypts")]).await.unwrap();
    let proposed = answer.proposal.unwrap();
    assert_eq!((proposed.state(), proposed.version, proposed.widens), (ProposalState::Approved, 2, false));
    assert_eq!(proposed.decider, "", "nobody had to");
    let request = decrypt("acme", vec![to_decrypt("anna", EMAIL, &sealed)]);
    assert_eq!(tester.encryption().decrypt(request).await.err().unwrap().code(), Code::PermissionDenied);
    let log = tester.log("acme").await;
    let entry = log.iter().rfind(|entry| entry.operation() == Operation::ProposeChange).unwrap();
    assert!(entry.effect.contains("policy version 2 in force") && entry.effect.contains("touching acme"));
    assert!(!entry.effect.contains("a test"), "what a person wrote is not in the log: {}", entry.effect);
    assert_eq!(entry.grant_ids, ["policy-admin-proposes"]);
    assert_eq!(in_force(&admin, "acme").await, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_admins_from_one_base_get_one_change_each_or_are_told_and_nothing_is_lost() {
    let server = deployment().await;
    let (one, two) = (server.client("policy-admin").await, server.client("dora-proposes").await);
    let (a, b) = tokio::join!(
        propose(&one, "acme", 1, vec![remove("acme-test-decrypts")]),
        propose(&two, "acme", 1, vec![remove("acme-test-masks")]),
    );
    let (answers, refusals): (Vec<_>, Vec<_>) = [a, b].into_iter().partition(Result::is_ok);
    assert_eq!((answers.len(), refusals.len()), (1, 1));
    let refusal = refusals.into_iter().next().unwrap().unwrap_err();
    assert_eq!((refusal.code(), reason(&refusal).as_str()), (Code::Aborted, "STALE_BASE"));
    let (first, second) = (policy(&one, "acme", 1).await.unwrap(), policy(&one, "acme", 2).await.unwrap());
    assert_eq!((first.grants.len() - second.grants.len(), in_force(&one, "acme").await), (1, 2));

    // The same with approvals: the second finds its base gone, and says so for good.
    for id in [2, 3] {
        let grant = allow(&format!("more-{id}"), "acme");
        assert_eq!(propose(&one, "acme", 2, vec![add(grant)]).await.unwrap().proposal.unwrap().id, id);
    }
    let (approver, dora) = (server.client("policy-approver").await, server.client("dora-approves").await);
    let (a, b) = tokio::join!(approve(&approver, "acme", 2), approve(&dora, "acme", 3));
    let outcomes = [&a, &b].map(|outcome| outcome.as_ref().map(|proposal| proposal.version).map_err(reason));
    assert!(outcomes.contains(&Ok(3)) && outcomes.contains(&Err("STALE_BASE".into())), "{outcomes:?}");
    let lost = if a.is_ok() { 3 } else { 2 };
    assert_eq!(state(&one, "acme", lost).await, ProposalState::Superseded);
    assert_eq!(reason(&approve(&approver, "acme", lost).await.unwrap_err()), "PROPOSAL_NOT_OPEN");
    assert_eq!(in_force(&one, "acme").await, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rollback_is_a_proposal_of_an_old_version() {
    let server = deployment().await;
    let (admin, approver) = (server.client("policy-admin").await, server.client("policy-approver").await);
    propose(&admin, "acme", 1, vec![remove("acme-test-decrypts")]).await.unwrap();
    let back = propose(&admin, "acme", 2, vec![change(Change::Version(1))]).await.unwrap().proposal.unwrap();
    assert_eq!((back.state(), back.widens), (ProposalState::Open, true), "going back gives something back");
    approve(&approver, "acme", back.id).await.unwrap();
    let (first, third) = (policy(&admin, "acme", 1).await.unwrap(), policy(&admin, "acme", 3).await.unwrap());
    assert_eq!((first.grants, first.memberships), (third.grants, third.memberships));
    let hash = |version: Option<v1::PolicyVersion>| version.unwrap().policy_hash;
    assert_eq!(hash(first.version), hash(third.version));
    for version in [4, 99, u64::MAX] {
        let status = propose(&admin, "acme", 3, vec![change(Change::Version(version))]).await.unwrap_err();
        assert_eq!((status.code(), reason(&status).as_str()), (Code::NotFound, "NO_POLICY_VERSION"), "{version}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rejected_proposal_stays_rejected_and_a_proposer_may_withdraw_its_own_only() {
    let server = deployment().await;
    let (admin, approver) = (server.client("policy-admin").await, server.client("policy-approver").await);
    let dora = server.client("dora-proposes").await;
    for id in [1, 2] {
        propose(&admin, "acme", 1, vec![add(allow("more", "acme"))]).await.unwrap();
        assert_eq!(state(&approver, "acme", id).await, ProposalState::Open);
    }
    assert_eq!(reject(&dora, "acme", 1).await.unwrap_err().code(), Code::PermissionDenied, "not its own");
    let rejected = reject(&approver, "acme", 1).await.unwrap();
    assert_eq!((rejected.state(), rejected.decide_reason.as_str()), (ProposalState::Rejected, "no"));
    assert_eq!(reject(&admin, "acme", 2).await.unwrap().state(), ProposalState::Rejected, "withdrawn");
    for id in [1, 2] {
        let again = approve(&approver, "acme", id).await.unwrap_err();
        assert_eq!((again.code(), reason(&again).as_str()), (Code::FailedPrecondition, "PROPOSAL_NOT_OPEN"));
        assert_eq!(reason(&reject(&approver, "acme", id).await.unwrap_err()), "PROPOSAL_NOT_OPEN");
    }
    assert_eq!(in_force(&admin, "acme").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn versions_and_proposals_are_listed_newest_first_page_by_page() {
    let server = deployment().await;
    let (admin, approver) = (server.client("policy-admin").await, server.client("policy-approver").await);
    for (version, id) in [(1, "acme-test-encrypts"), (2, "acme-test-masks"), (3, "acme-test-indexes")] {
        propose(&admin, "acme", version, vec![remove(id)]).await.unwrap();
    }
    propose(&admin, "acme", 4, vec![add(allow("more", "acme"))]).await.unwrap();
    let mut request = v1::ListPolicyVersionsRequest { tenant: "acme".into(), page_size: 3, ..Default::default() };
    let page = admin.policy().list_policy_versions(request.clone()).await.unwrap().into_inner();
    assert_eq!(
        page.versions.iter().map(|v| (v.version, v.in_force)).collect::<Vec<_>>(),
        [(4, true), (3, false), (2, false)]
    );
    assert!(page.versions.iter().all(|v| v.proposer.ends_with("/policy-admin") && v.reason == "a test"));
    request.page_token = page.next_page_token;
    let rest = admin.policy().list_policy_versions(request.clone()).await.unwrap().into_inner();
    let [first] = rest.versions.as_slice() else { panic!("{:?}", rest.versions) };
    assert_eq!((first.version, first.proposer.as_str(), rest.next_page_token.as_str()), (1, "system:start", ""));
    let stolen = approver.policy().list_policy_versions(request).await.unwrap_err();
    assert_eq!(stolen.code(), Code::InvalidArgument, "a token is its caller's");

    let list = |page_size, state: ProposalState, page_token| v1::ListProposalsRequest {
        tenant: "acme".into(),
        page_size,
        state: state.into(),
        page_token,
        ..Default::default()
    };
    let ids = |page: &v1::ListProposalsResponse| page.proposals.iter().map(|p| p.id).collect::<Vec<_>>();
    let any = ProposalState::Unspecified;
    let page = admin.policy().list_proposals(list(3, any, String::new())).await.unwrap().into_inner();
    assert_eq!(ids(&page), [4, 3, 2]);
    let rest = admin.policy().list_proposals(list(3, any, page.next_page_token)).await.unwrap().into_inner();
    assert_eq!((ids(&rest), rest.next_page_token.as_str()), (vec![1], ""));
    let open = admin.policy().list_proposals(list(0, ProposalState::Open, String::new())).await.unwrap().into_inner();
    assert_eq!(ids(&open), [4]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_simulation_says_what_would_be_and_changes_nothing() {
    let server = deployment().await;
    let admin = server.client("policy-admin").await;
    let tester = server.client("tester").await;
    for n in 0..5 {
        tester.seal("acme", &format!("customer {n}"), EMAIL, b"a@mail.example", b"").await;
    }
    let request =
        |changes| v1::SimulateRequest { tenant: "acme".into(), base_version: 1, changes, ..Default::default() };
    let answer = admin.policy().simulate(request(vec![remove("acme-test-encrypts")])).await.unwrap().into_inner();
    let plan = answer.plan.unwrap();
    let simulation = plan.simulation.unwrap();
    assert!(!plan.widens && answer.problems.is_empty() && !simulation.cut_short);
    assert_eq!((simulation.flipped, simulation.flips.len()), (5, 1));
    let flip = &simulation.flips[0];
    assert_eq!((flip.count, flip.before(), flip.after()), (5, Verdict::Allow, Verdict::Deny));
    assert_eq!((flip.action.as_str(), flip.object.as_str(), flip.tenant.as_str()), ("encrypt", EMAIL, "acme"));

    let bad = vec![add(v1::PolicyGrant { purpose: "curiosity".into(), ..allow("more", "acme") })];
    let answer = admin.policy().simulate(request(bad)).await.unwrap().into_inner();
    assert!(answer.plan.is_none() && answer.problems.len() == 1, "{:?}", answer.problems);
    assert_eq!(in_force(&admin, "acme").await, 1);
    assert_eq!(proposal(&admin, "acme", 1).await.unwrap_err().code(), Code::NotFound);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_whole_document_is_shown_to_who_reads_all_of_it_and_can_be_proposed_back() {
    let server = deployment().await;
    let admin = server.client("policy-admin").await;
    let request = v1::GetPolicyRequest { tenant: "_system".into(), document: true, ..Default::default() };
    let mut document = admin.policy().get_policy(request).await.unwrap().into_inner().document.unwrap();
    let same = propose(&admin, "_system", 1, vec![change(Change::Document(document.clone()))]).await.unwrap_err();
    assert!(same.get_ref_violation("changes").contains("change nothing"), "{same:?}");
    document.catalogue.push_str("\n[[purpose]]\nname = \"research\"\nabout = \"Finding out.\"\n");
    let answer = propose(&admin, "_system", 1, vec![change(Change::Document(document))]).await.unwrap();
    let plan = answer.plan.unwrap();
    let Some(What::File(file)) = &plan.differences[0].what else { panic!("{:?}", plan.differences) };
    assert!(file.file.ends_with("catalogue.toml") && file.lines.contains(&"+name = \"research\"".to_owned()));
    assert_eq!((plan.tenants, plan.widens), (vec!["_system".to_owned()], true));
    let approver = server.client("policy-approver").await;
    approve(&approver, "_system", 1).await.unwrap();
    let (verdict, version) = may(&server.client("tester").await, EMAIL, "decrypt", "research").await;
    assert_eq!((verdict, version), (Verdict::Deny, 2), "the purpose is known, and nobody has a grant for it");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_membership_comes_and_goes_with_its_role() {
    let server = deployment().await;
    let (admin, approver) = (server.client("policy-admin").await, server.client("policy-approver").await);
    let newcomer = server.client("newcomer").await;
    assert_eq!(may(&newcomer, EMAIL, "decrypt", "invoicing").await.0, Verdict::Deny);
    let joins = change(Change::AddMembership(membership("newcomer-bills", "newcomer", "role:billing", "acme")));
    let id = propose(&admin, "acme", 1, vec![joins]).await.unwrap().proposal.unwrap().id;
    approve(&approver, "acme", id).await.unwrap();
    assert_eq!(may(&newcomer, EMAIL, "decrypt", "invoicing").await, (Verdict::Allow, 2));
    let leaves = propose(&admin, "acme", 2, vec![remove("newcomer-bills")]).await.unwrap().proposal.unwrap();
    assert_eq!(leaves.state(), ProposalState::Approved);
    assert_eq!(may(&newcomer, EMAIL, "decrypt", "invoicing").await, (Verdict::Deny, 3));
}

/// What a status says of one field.
trait Violations {
    fn get_ref_violation(&self, field: &str) -> String;
}

impl Violations for tonic::Status {
    fn get_ref_violation(&self, field: &str) -> String {
        use tonic_types::StatusExt;
        let details = self.get_error_details();
        let violations = details.bad_request().map(|bad| bad.field_violations.clone()).unwrap_or_default();
        violations.into_iter().find(|v| v.field.starts_with(field)).map(|v| v.description).unwrap_or_default()
    }
}
