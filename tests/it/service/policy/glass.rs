//! Broken glass: taken at once by who may, held to its second, once a day for a person, and reviewed by another.

use std::{sync::Arc, time::Duration};

use privet::{
    cli::serve::Machine,
    proto::v1::{self, BrokenGlass, Operation, ProposalState, Verdict, policy_change::Change},
};
use tonic::{Code, Status};

use super::{ADMINS, PERSONS, add, allow, change, in_force, propose, reason};
use crate::support::{
    clock::TestClock,
    deployment::{Client, Deployment, Setup, decrypt, opened, to_decrypt},
};

const EMAIL: &str = "pii/account/email";
const START: u64 = 1_800_000_000;
const HOUR: u64 = 3_600;

/// A second identity of the operator, and an approver who is the operator too.
const MORE: &str = "
#: id=pager-breaks reason=\"tests\"
p, spiffe://acme.example/pager, acme, policy, breakglass, operate, 0, 0, allow
#: id=pager-approves reason=\"tests\"
p, spiffe://acme.example/pager-approves, acme, policy, approve, operate, 0, 0, allow
";
const OPERATOR: &str = ", \"spiffe://acme.example/pager\", \"spiffe://acme.example/pager-approves\"";

async fn deployment() -> (Deployment, Arc<TestClock>) {
    let clock = Arc::new(TestClock::at(START));
    let machine = Machine { clock: clock.clone(), ..Machine::this() };
    let policy = [ADMINS, MORE].concat();
    let setup = Setup { policy, catalogue: PERSONS.into(), operator: OPERATOR, ..Default::default() };
    (Deployment::start_on(machine, &std::env::temp_dir(), setup).await, clock)
}

fn taking(seconds: u64) -> v1::BreakGlassRequest {
    v1::BreakGlassRequest {
        tenant: "acme".into(),
        role: "role:break-glass".into(),
        seconds: seconds.try_into().unwrap(),
        reason: "INC-42: the mail relay lost its addresses".into(),
        ..Default::default()
    }
}

async fn take(client: &Client, seconds: u64) -> Result<BrokenGlass, Status> {
    Ok(client.policy().break_glass(taking(seconds)).await?.into_inner().broken.unwrap())
}

async fn end(client: &Client, number: u64) -> Result<BrokenGlass, Status> {
    let request = v1::EndBreakGlassRequest { tenant: "acme".into(), number, ..Default::default() };
    Ok(client.policy().end_break_glass(request).await?.into_inner().broken.unwrap())
}

async fn review(client: &Client, number: u64) -> Result<BrokenGlass, Status> {
    let note = "as the incident says".into();
    let request = v1::ReviewBreakGlassRequest { tenant: "acme".into(), number, note, ..Default::default() };
    Ok(client.policy().review_break_glass(request).await?.into_inner().broken.unwrap())
}

async fn list(client: &Client, unreviewed: bool) -> Vec<u64> {
    let request = v1::ListBreakGlassRequest { tenant: "acme".into(), unreviewed, ..Default::default() };
    let page = client.policy().list_break_glass(request).await.unwrap().into_inner();
    page.broken.into_iter().map(|broken| broken.number).collect()
}

/// Whether the client gets the address, in an emergency.
async fn opens(client: &Client, sealed: &bytes::Bytes) -> bool {
    let request =
        v1::DecryptRequest { purpose: "emergency".into(), ..decrypt("acme", vec![to_decrypt("anna", EMAIL, sealed)]) };
    match client.encryption().decrypt(request).await {
        Ok(answer) => opened(&answer.into_inner(), 0).is_ok(),
        Err(status) => {
            assert_eq!(status.code(), Code::PermissionDenied, "{status:?}");
            false
        }
    }
}

fn refused(outcome: Result<BrokenGlass, Status>) -> (Code, String) {
    let status = outcome.unwrap_err();
    (status.code(), reason(&status))
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_taken_holds_to_its_second_stands_out_and_waits_for_another_persons_review() {
    let (server, clock) = deployment().await;
    let (operator, approver) = (server.client("operator").await, server.client("policy-approver").await);
    let tester = server.client("tester").await;
    let sealed = tester.seal("acme", "anna", EMAIL, b"a@mail.example", b"").await;
    assert!(!opens(&operator, &sealed).await);

    let broken = take(&operator, 2 * HOUR).await.unwrap();
    assert_eq!((broken.number, broken.policy_version, broken.role.as_str()), (1, 2, "role:break-glass"));
    let (from, to) = (broken.time.unwrap().seconds, broken.expires.unwrap().seconds);
    assert!(to - from <= 2 * HOUR as i64 && to - from > 2 * HOUR as i64 - 2, "{from} {to}");
    assert!(opens(&operator, &sealed).await);
    let log = tester.log("acme").await;
    let entry = log.iter().find(|entry| entry.operation() == Operation::BreakGlass).unwrap();
    assert_eq!((entry.verdict(), entry.grant_ids.as_slice()), (Verdict::Allow, &["operator-breaks-glass".into()][..]));
    assert!(entry.effect.contains("role:break-glass taken for 7200 s") && !entry.effect.contains("INC-42"));
    let used = log.iter().find(|entry| entry.purpose == "emergency" && entry.verdict() == Verdict::Allow).unwrap();
    assert_eq!((used.roles.as_slice(), used.policy_version), (&["role:break-glass".into()][..], 2));

    assert_eq!(refused(review(&approver, 1).await), (Code::FailedPrecondition, "BREAK_GLASS_NOT_ENDED".into()));
    clock.advance(Duration::from_secs(to as u64 - START - 1));
    assert!(opens(&operator, &sealed).await, "to its last second");
    clock.advance(Duration::from_secs(1));
    assert!(!opens(&operator, &sealed).await, "and no longer, without anybody's doing");
    assert_eq!(refused(end(&operator, 1).await), (Code::FailedPrecondition, "BREAK_GLASS_ENDED".into()));

    // Not by the same person under another name.
    let pager = server.client("pager-approves").await;
    assert_eq!(refused(review(&pager, 1).await), (Code::PermissionDenied, "SELF_REVIEW".into()));
    assert_eq!(refused(review(&operator, 1).await).0, Code::PermissionDenied);
    assert_eq!(refused(review(&server.client("nameless").await, 1).await).1, "NO_PERSON");
    assert_eq!(list(&approver, true).await, [1]);
    let reviewed = review(&approver, 1).await.unwrap();
    assert_eq!(reviewed.reviewer, "spiffe://acme.example/policy-approver");
    assert_eq!(refused(review(&approver, 1).await).1, "BREAK_GLASS_REVIEWED");
    assert!(list(&approver, true).await.is_empty());
    assert_eq!(list(&approver, false).await, [1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_breaks_it_once_in_a_day_under_whatever_name() {
    let (server, clock) = deployment().await;
    let (operator, pager) = (server.client("operator").await, server.client("pager").await);
    assert_eq!(take(&operator, HOUR).await.unwrap().number, 1);
    for client in [&operator, &pager] {
        assert_eq!(refused(take(client, HOUR).await), (Code::FailedPrecondition, "BREAK_GLASS_ONCE_A_DAY".into()));
    }
    clock.advance(Duration::from_secs(24 * HOUR - 60));
    assert_eq!(refused(take(&pager, HOUR).await).1, "BREAK_GLASS_ONCE_A_DAY");
    clock.advance(Duration::from_secs(120));
    let second = take(&pager, HOUR).await.unwrap();
    assert_eq!(second.number, 2);
    // What had ended went with it, and two at once are one.
    let (one, two) = tokio::join!(take(&operator, HOUR), take(&operator, HOUR));
    assert!(one.is_err() && two.is_err());
    let admin = server.client("policy-admin").await;
    let request = v1::GetPolicyRequest { tenant: "acme".into(), ..Default::default() };
    let policy = admin.policy().get_policy(request).await.unwrap().into_inner();
    let taken: Vec<_> = policy.memberships.iter().filter(|line| line.id.starts_with("glass-")).collect();
    assert_eq!(taken.iter().map(|line| line.id.as_str()).collect::<Vec<_>>(), ["glass-2"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_put_back_by_who_took_it_or_by_an_approver_and_by_nobody_else() {
    let (server, _clock) = deployment().await;
    let (operator, tester) = (server.client("operator").await, server.client("tester").await);
    let sealed = tester.seal("acme", "anna", EMAIL, b"a@mail.example", b"").await;
    take(&operator, HOUR).await.unwrap();
    // Others change the policy meanwhile, and what was taken stays.
    let admin = server.client("policy-admin").await;
    propose(&admin, "acme", 2, vec![add(allow("more", "acme"))]).await.unwrap();
    assert_eq!(refused(end(&server.client("policy-admin").await, 1).await).0, Code::PermissionDenied);
    assert_eq!(refused(end(&operator, 7).await), (Code::NotFound, "NO_BREAK_GLASS".into()));
    assert!(opens(&operator, &sealed).await);
    let ended = end(&operator, 1).await.unwrap();
    assert_eq!(ended.ended_by, "spiffe://acme.example/operator");
    assert!(!opens(&operator, &sealed).await);
    assert_eq!(in_force(&admin, "acme").await, 3);
    review(&server.client("policy-approver").await, 1).await.unwrap();
    assert_eq!(refused(take(&operator, HOUR).await).1, "BREAK_GLASS_ONCE_A_DAY", "putting it back is no new day");
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_requests_name_their_field_and_another_tenants_glass_is_not_there() {
    let (server, _clock) = deployment().await;
    let operator = server.client("operator").await;
    type Break = fn(&mut v1::BreakGlassRequest);
    let cases: [(&str, Break); 8] = [
        ("tenant", |r| r.tenant = "_system".into()),
        ("role", |r| r.role = "role:billing".into()),
        ("role", |r| r.role = "break-glass".into()),
        ("role", |r| r.role = "r".repeat(1 << 20)),
        ("seconds", |r| r.seconds = 59),
        ("seconds", |r| r.seconds = 14_401),
        ("reason", |r| r.reason = " ".into()),
        ("reason", |r| r.reason = "turned \u{202e}round".into()),
    ];
    for (field, break_it) in cases {
        let mut request = taking(HOUR);
        break_it(&mut request);
        let status = operator.policy().break_glass(request).await.unwrap_err();
        let details = tonic_types::StatusExt::get_error_details(&status);
        let violation = details.bad_request().map(|bad| bad.field_violations[0].field.clone());
        assert_eq!(violation.as_deref(), Some(field), "{status:?}");
    }
    assert!(list(&server.client("policy-admin").await, false).await.is_empty());
    take(&operator, HOUR).await.unwrap();
    let other = server.client("other-approver").await;
    let ending = v1::EndBreakGlassRequest { tenant: "other".into(), number: 1, ..Default::default() };
    assert_eq!(other.policy().end_break_glass(ending.clone()).await.unwrap_err().code(), Code::NotFound);
    let ending = v1::EndBreakGlassRequest { tenant: "acme".into(), ..ending };
    assert_eq!(other.policy().end_break_glass(ending).await.unwrap_err().code(), Code::PermissionDenied);
    let intruder = server.client("other-admin").await;
    assert_eq!(refused(take(&intruder, HOUR).await).0, Code::PermissionDenied);
    assert_eq!(refused(review(&other, 1).await).0, Code::PermissionDenied);
    let reviewing =
        v1::ReviewBreakGlassRequest { tenant: "other".into(), number: 1, note: "n".into(), ..Default::default() };
    assert_eq!(other.policy().review_break_glass(reviewing).await.unwrap_err().code(), Code::NotFound);
    let listing = v1::ListBreakGlassRequest { tenant: "acme".into(), ..Default::default() };
    assert_eq!(intruder.policy().list_break_glass(listing).await.unwrap_err().code(), Code::PermissionDenied);
    let listing = v1::ListBreakGlassRequest { tenant: "other".into(), ..Default::default() };
    assert!(other.policy().list_break_glass(listing).await.unwrap().into_inner().broken.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_taken_is_there_after_a_restart_and_what_was_put_back_is_not() {
    let setup =
        Setup { policy: [ADMINS, MORE].concat(), catalogue: PERSONS.into(), operator: OPERATOR, ..Default::default() };
    let mut server = Deployment::start_with(setup).await;
    let sealed = server.client("tester").await.seal("acme", "anna", EMAIL, b"a@mail.example", b"").await;
    take(&server.client("operator").await, HOUR).await.unwrap();
    server.restart().await;
    let operator = server.client("operator").await;
    assert!(opens(&operator, &sealed).await);
    assert_eq!(refused(take(&operator, HOUR).await).1, "BREAK_GLASS_ONCE_A_DAY");
    end(&operator, 1).await.unwrap();
    server.restart().await;
    assert!(!opens(&server.client("operator").await, &sealed).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn whole_documents_leave_what_is_held_as_it_is_and_bring_back_nothing() {
    let (server, clock) = deployment().await;
    let (admin, operator) = (server.client("policy-admin").await, server.client("operator").await);
    let sealed = server.client("tester").await.seal("acme", "anna", EMAIL, b"a@mail.example", b"").await;
    let document = async |version| {
        let request = v1::GetPolicyRequest { tenant: "_system".into(), document: true, version, ..Default::default() };
        admin.policy().get_policy(request).await.unwrap().into_inner().document.unwrap()
    };
    let before = document(1).await;
    let text = &before.policy;
    let start = text.find("#: id=acme-test-masks ").unwrap();
    let end = start + text[start..].match_indices('\n').nth(1).unwrap().0 + 1;
    let narrower = v1::PolicyDocument { policy: [&text[..start], &text[end..]].concat(), ..before.clone() };
    take(&operator, HOUR).await.unwrap();
    // A directory from before the breaking says nothing of it, and ends nothing.
    let answer = propose(&admin, "acme", 2, vec![change(Change::Document(narrower))]).await.unwrap();
    assert_eq!(
        (answer.proposal.unwrap().state(), answer.plan.unwrap().differences.len()),
        (ProposalState::Approved, 1)
    );
    assert!(opens(&operator, &sealed).await, "still held");
    // Once it has ended, neither a version from then nor one from before is kept from coming back.
    clock.advance(Duration::from_secs(2 * HOUR));
    for earlier in [2, 1] {
        let back = propose(&admin, "acme", 3, vec![change(Change::Version(earlier))]).await.unwrap();
        let plan = back.plan.unwrap();
        assert_eq!((plan.differences.len(), plan.hidden_differences, plan.widens), (1, 0, true), "{earlier}: {plan:?}");
    }
    assert!(!opens(&operator, &sealed).await);
}
