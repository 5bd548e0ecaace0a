//! What is refused, each with its own error, and changes nothing.

use privet::proto::v1::{self, PolicyChange, PolicyGrant, ProposalState, policy_change::Change};
use prost_types::Timestamp;
use tonic::{Code, Status};
use tonic_types::StatusExt;

use super::{
    add, allow, approve, change, deployment, in_force, membership, propose, proposing, reason, reject, remove, state,
};

/// The first field that a refusal names, and the rule.
fn violation(status: &Status) -> (String, String) {
    assert_eq!(status.code(), Code::InvalidArgument, "{status:?}");
    let violation = status.get_error_details().bad_request().unwrap().field_violations[0].clone();
    (violation.field, violation.description)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_approves_nothing_that_it_proposed_under_whatever_name() {
    let server = deployment().await;
    let (proposes, approves) = (server.client("dora-proposes").await, server.client("dora-approves").await);
    let id = propose(&proposes, "acme", 1, vec![add(allow("more", "acme"))]).await.unwrap().proposal.unwrap().id;
    let own = approve(&approves, "acme", id).await.unwrap_err();
    assert_eq!((own.code(), reason(&own).as_str()), (Code::PermissionDenied, "SELF_APPROVAL"));
    let nameless = approve(&server.client("nameless").await, "acme", id).await.unwrap_err();
    assert_eq!((nameless.code(), reason(&nameless).as_str()), (Code::PermissionDenied, "NO_PERSON"));
    assert_eq!((state(&proposes, "acme", id).await, in_force(&proposes, "acme").await), (ProposalState::Open, 1));
    let log = server.client("tester").await.log("acme").await;
    let refused: Vec<_> = log.iter().filter(|entry| !entry.refusal.is_empty()).map(|entry| &entry.refusal).collect();
    assert_eq!(refused, ["SELF_APPROVAL", "NO_PERSON"], "both are on record");
    // Another person may.
    approve(&server.client("policy-approver").await, "acme", id).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_that_gains_by_a_proposal_does_not_approve_it() {
    let server = deployment().await;
    let admin = server.client("policy-admin").await;
    // To the approver's other self.
    let joins = change(Change::AddMembership(membership("dora-bills", "dora-proposes", "role:billing", "acme")));
    let id = propose(&admin, "acme", 1, vec![joins]).await.unwrap().proposal.unwrap().id;
    let gains = approve(&server.client("dora-approves").await, "acme", id).await.unwrap_err();
    assert_eq!((gains.code(), reason(&gains).as_str()), (Code::PermissionDenied, "BENEFICIARY"));
    assert_eq!(in_force(&admin, "acme").await, 1);
    approve(&server.client("policy-approver").await, "acme", id).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_that_leaves_nobody_to_propose_or_to_approve_is_refused() {
    let server = deployment().await;
    let admin = server.client("policy-admin").await;
    for ids in [
        vec!["policy-approver-approves-of-system"],
        vec!["policy-admin-in-system"],
        vec!["policy-approver-in-acme", "dora-approves"],
        vec!["other-approver-approves"],
    ] {
        let tenant = if ids[0].ends_with("system") { "_system" } else { "acme" };
        let status = propose(&admin, tenant, 1, ids.iter().copied().map(remove).collect()).await.unwrap_err();
        if ids == ["other-approver-approves"] {
            assert_eq!(status.code(), Code::PermissionDenied, "not its tenant: {status:?}");
            continue;
        }
        assert!(violation(&status).1.contains("without a person who can propose"), "{ids:?}: {status:?}");
    }
    let other = server.client("other-admin").await;
    let status = propose(&other, "other", 1, vec![remove("other-approver-approves")]).await.unwrap_err();
    assert!(violation(&status).1.contains("tenant other"), "{status:?}");
    assert_eq!(in_force(&admin, "acme").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_changes_have_an_error_each_and_change_nothing() {
    let server = deployment().await;
    let admin = server.client("policy-admin").await;
    let broken = |break_it: fn(&mut PolicyGrant)| {
        let mut grant = allow("more", "acme");
        break_it(&mut grant);
        vec![add(grant)]
    };
    let at = |seconds, nanos| Some(Timestamp { seconds, nanos });
    let past = PolicyGrant { expires: at(1_000_000_000, 0), ..allow("more", "acme") };
    let between = PolicyGrant { expires: at(4_000_000_000, 5), ..allow("more", "acme") };
    let cases: Vec<(Vec<PolicyChange>, &str, &str)> = vec![
        (vec![], "changes", "1 to 1000"),
        (vec![PolicyChange { change: None }], "changes[0]", "known"),
        (vec![remove("no-such-id")], "changes[0].remove", "no grant and no membership"),
        (vec![remove("No Such")], "changes[0].remove", "[a-z0-9-]"),
        (vec![remove("acme-test-masks"), remove("acme-test-masks")], "changes[1].remove", "already"),
        (vec![remove("acme-test-masks"), change(Change::Version(1))], "changes[1].version", "only change"),
        (vec![add(allow("acme-test-masks", "acme"))], "changes[0].add_grant.id", "is taken already"),
        (vec![change(Change::ReplaceGrant(allow("more", "acme")))], "changes[0].replace_grant.id", "there is no grant"),
        (broken(|g| g.grantee = "*".into()), "changes[0].add_grant.grantee", "never *"),
        (broken(|g| g.grantee = "role:nobody".into()), "changes[0].add_grant.grantee", "not a role"),
        (broken(|g| g.tenant = "a, b".into()), "changes[0].add_grant.tenant", "tenant"),
        (broken(|g| g.object = "*".into()), "changes[0].add_grant.object", "class"),
        (broken(|g| g.object = "pii/shoe/size".into()), "changes[0].add_grant.object", "catalogue"),
        (broken(|g| g.action = "open".into()), "changes[0].add_grant.action", "action"),
        (broken(|g| g.purpose = "*".into()), "changes[0].add_grant.purpose", "denies"),
        (broken(|g| g.purpose = "curiosity".into()), "changes[0].add_grant.purpose", "catalogue"),
        (broken(|g| g.effect = 0), "changes[0].add_grant.effect", "allow or deny"),
        (broken(|g| g.effect = 7), "changes[0].add_grant.effect", "allow or deny"),
        (broken(|g| g.reason = String::new()), "changes[0].add_grant.reason", "says why"),
        (broken(|g| g.reason = "a\n#: id=evil reason=\"b\"".into()), "changes[0].add_grant.reason", "one line"),
        (vec![add(past)], "changes[0].add_grant.expires", "past"),
        (vec![add(between)], "changes[0].add_grant.expires", "second"),
        (vec![change(Change::Catalogue("purpose = 3".into()))], "policies/catalogue.toml:1", ""),
        (vec![change(Change::Assertions("[[allow]]".into()))], "policies/assertions.toml:1", "missing"),
    ];
    for (changes, field, rule) in cases {
        let status = propose(&admin, "acme", 1, changes).await.unwrap_err();
        let (named, text) = violation(&status);
        assert!(named.starts_with(field) && text.contains(rule), "{named}: {text}; expected {field}: {rule}");
    }
    type Break = fn(&mut v1::ProposeChangeRequest);
    let requests: [(&str, Break); 5] = [
        ("reason", |r| r.reason = String::new()),
        ("reason", |r| r.reason = "r".repeat(301)),
        ("reason", |r| r.reason = "two\nlines".into()),
        ("tenant", |r| r.tenant = "nobody".into()),
        ("request_id", |r| r.request_id = "a b".into()),
    ];
    for (field, break_it) in requests {
        let mut request = proposing("acme", 1, vec![remove("acme-test-masks")]);
        break_it(&mut request);
        assert_eq!(violation(&admin.policy().propose_change(request).await.unwrap_err()).0, field);
    }
    let cycle = [("role:support", "role:billing"), ("role:billing", "role:support")];
    let cycle = cycle.iter().enumerate().map(|(n, (member, role))| {
        let mut membership = membership(&format!("cycle-{n}"), "x", role, "acme");
        membership.member = (*member).into();
        change(Change::AddMembership(membership))
    });
    let status = propose(&admin, "acme", 1, cycle.collect()).await.unwrap_err();
    assert!(violation(&status).1.contains("its own member"), "{status:?}");
    assert_eq!(in_force(&admin, "acme").await, 1);
    let none = v1::ListProposalsRequest { tenant: "acme".into(), ..Default::default() };
    assert!(admin.policy().list_proposals(none).await.unwrap().into_inner().proposals.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stale_base_is_aborted_and_says_which_version_is_in_force() {
    let server = deployment().await;
    let admin = server.client("policy-admin").await;
    propose(&admin, "acme", 1, vec![remove("acme-test-masks")]).await.unwrap();
    for base in [0, 1, 3, u64::MAX] {
        let status = propose(&admin, "acme", base, vec![remove("acme-test-indexes")]).await.unwrap_err();
        assert_eq!((status.code(), reason(&status).as_str()), (Code::Aborted, "STALE_BASE"), "{base}");
        let details = status.get_error_details();
        assert_eq!(details.error_info().unwrap().metadata["version_in_force"], "2");
        let simulate = v1::SimulateRequest {
            tenant: "acme".into(),
            base_version: base,
            changes: vec![remove("acme-test-indexes")],
            ..Default::default()
        };
        assert_eq!(reason(&admin.policy().simulate(simulate).await.unwrap_err()), "STALE_BASE");
    }
    assert_eq!(in_force(&admin, "acme").await, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_questions_and_decisions_name_their_field() {
    let server = deployment().await;
    let (admin, approver) = (server.client("policy-admin").await, server.client("policy-approver").await);
    let id = propose(&admin, "acme", 1, vec![add(allow("more", "acme"))]).await.unwrap().proposal.unwrap().id;
    let approval = |policy_hash: Vec<u8>, reason: &str| v1::ApproveProposalRequest {
        tenant: "acme".into(),
        id,
        policy_hash: policy_hash.into(),
        reason: reason.into(),
        ..Default::default()
    };
    let short = approver.policy().approve_proposal(approval(vec![1; 31], "")).await.unwrap_err();
    assert_eq!(violation(&short).0, "policy_hash");
    let long = approver.policy().approve_proposal(approval(vec![], &"r".repeat(301))).await.unwrap_err();
    assert_eq!(violation(&long).0, "reason");
    let other = approver.policy().approve_proposal(approval(vec![1; 32], "")).await.unwrap_err();
    assert_eq!((other.code(), reason(&other).as_str()), (Code::FailedPrecondition, "OTHER_DOCUMENT"));
    let reject_without = v1::RejectProposalRequest { tenant: "acme".into(), id, ..Default::default() };
    assert_eq!(violation(&approver.policy().reject_proposal(reject_without).await.unwrap_err()).0, "reason");
    for unknown in [0, 2, u64::MAX] {
        assert_eq!(reason(&approve(&approver, "acme", unknown).await.unwrap_err()), "NO_PROPOSAL");
        assert_eq!(reason(&reject(&approver, "acme", unknown).await.unwrap_err()), "NO_PROPOSAL");
    }
    let elsewhere = approve(&approver, "_system", id).await.unwrap_err();
    assert_eq!((elsewhere.code(), reason(&elsewhere).as_str()), (Code::InvalidArgument, "TENANT_NOT_TOUCHED"));
    let elsewhere = propose(&admin, "_system", 1, vec![add(allow("more", "acme"))]).await.unwrap_err();
    assert_eq!(reason(&elsewhere), "TENANT_NOT_TOUCHED");

    let read = |version| v1::GetPolicyRequest { tenant: "acme".into(), version, ..Default::default() };
    for version in [2, u64::MAX] {
        assert_eq!(reason(&admin.policy().get_policy(read(version)).await.unwrap_err()), "NO_POLICY_VERSION");
    }
    let negative = v1::GetPolicyRequest { page_size: -1, ..read(0) };
    assert_eq!(violation(&admin.policy().get_policy(negative).await.unwrap_err()).0, "page_size");
    let forged = v1::GetPolicyRequest { page_token: "AAAA".into(), ..read(0) };
    assert_eq!(violation(&admin.policy().get_policy(forged).await.unwrap_err()).0, "page_token");
    let unknown = v1::ListProposalsRequest { tenant: "acme".into(), state: 9, ..Default::default() };
    assert_eq!(violation(&admin.policy().list_proposals(unknown).await.unwrap_err()).0, "state");
    assert_eq!((state(&admin, "acme", id).await, in_force(&admin, "acme").await), (ProposalState::Open, 1));
}
