//! Why the policy answers as it does, who has been granted what, and who can: told to those who may know, and recorded.

use privet::{
    operations::start::Changed,
    proto::v1::{self, Cause, Mismatch, Operation, Outcome, Verdict},
    server::Ended,
};
use tonic::{Code, Status};
use tonic_types::StatusExt;

use crate::support::deployment::{Client, Deployment, Setup, encrypt, to_encrypt};

const EMAIL: &str = "pii/account/email";
const TAX_ID: &str = "pii/billing/tax_id";
const SUPPORT: &str = "spiffe://acme.example/support-desk";
const BILLING: &str = "spiffe://acme.example/billing-service";

/// An administrator of the other tenant, and of no other.
const OTHER_ADMIN: &str = "\
#: id=other-admin-checks reason=\"tests\"
p, spiffe://acme.example/other-admin, other, policy, check, operate, 0, 0, allow
#: id=other-admin-reads-log reason=\"tests\"
p, spiffe://acme.example/other-admin, other, audit, read, operate, 0, 0, allow
";

fn item(object: &str, action: &str) -> v1::CheckItem {
    v1::CheckItem { object: object.into(), action: action.into() }
}

fn explain(principal: &str, purpose: &str, items: &[(&str, &str)]) -> v1::ExplainRequest {
    v1::ExplainRequest {
        tenant: "acme".into(),
        principal: principal.into(),
        purpose: purpose.into(),
        items: items.iter().map(|(object, action)| item(object, action)).collect(),
        ..Default::default()
    }
}

fn who_can(object: &str, action: &str, purpose: &str) -> v1::WhoCanRequest {
    v1::WhoCanRequest {
        tenant: "acme".into(),
        object: object.into(),
        action: action.into(),
        purpose: purpose.into(),
        ..Default::default()
    }
}

fn grants_for(principal: &str) -> v1::ListGrantsForRequest {
    v1::ListGrantsForRequest { tenant: "acme".into(), principal: principal.into(), ..Default::default() }
}

fn ids(lines: &[v1::ReachingGrant]) -> Vec<&str> {
    lines.iter().map(|line| line.grant.as_ref().unwrap().id.as_str()).collect()
}

fn violation(status: &Status) -> (String, String) {
    assert_eq!(status.code(), Code::InvalidArgument, "{status:?}");
    let violation = status.get_error_details().bad_request().unwrap().field_violations[0].clone();
    (violation.field, violation.description)
}

async fn newest(reader: &Client, tenant: &str) -> v1::AuditEntry {
    let log = reader.log(tenant).await;
    // Each look at the log is an entry too.
    log.into_iter().rev().find(|entry| entry.operation() != Operation::ListEntries).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_administrator_learns_why_another_is_allowed_and_denied() {
    let server = Deployment::start().await;
    let (admin, tester) = (server.client("policy-admin").await, server.client("tester").await);
    let asked = explain(SUPPORT, "support-ticket", &[(EMAIL, "decrypt"), (TAX_ID, "decrypt"), (EMAIL, "encrypt")]);
    let answer = admin.authorization().explain(asked).await.unwrap().into_inner();
    let [allowed, denied, nothing] = answer.explanations.as_slice() else { panic!("{answer:?}") };

    assert_eq!((allowed.verdict(), allowed.cause()), (Verdict::Allow, Cause::Allowed));
    assert_eq!(ids(&allowed.deciding), ["support-decrypts-email"]);
    let [membership] = allowed.deciding[0].memberships.as_slice() else { panic!("{allowed:?}") };
    assert_eq!((membership.member.as_str(), membership.role.as_str()), (SUPPORT, "role:support"));

    assert_eq!((denied.verdict(), denied.cause()), (Verdict::Deny, Cause::Denied));
    assert_eq!(ids(&denied.deciding), ["support-never-decrypts-billing"]);

    assert_eq!((nothing.verdict(), nothing.cause()), (Verdict::Deny, Cause::NoGrant));
    assert!(nothing.deciding.is_empty());
    let signup = nothing.near.iter().find(|near| near.grant.as_ref().unwrap().id == "signup-encrypts-account").unwrap();
    assert_eq!(signup.mismatches, [Mismatch::Purpose as i32, Mismatch::Membership as i32]);

    let entry = newest(&tester, "acme").await;
    assert_eq!((entry.index, entry.operation()), (answer.receipts[0].entry_index, Operation::Explain));
    assert_eq!((entry.verdict(), entry.effect.as_str()), (Verdict::Partial, format!("about {SUPPORT}").as_str()));
    assert_eq!(entry.targets.len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_without_check_learns_of_itself_only() {
    let server = Deployment::start().await;
    let (support, tester) = (server.client("support-desk").await, server.client("tester").await);
    let own = explain("", "support-ticket", &[(EMAIL, "encrypt"), (EMAIL, "decrypt")]);
    let answer = support.authorization().explain(own).await.unwrap().into_inner();
    assert!(answer.own_grants_only && answer.principal == SUPPORT);
    let near: Vec<_> = answer.explanations.iter().flat_map(|one| &one.near).collect();
    let grantee = |near: &&v1::NearGrant| near.grant.as_ref().unwrap().grantee.clone();
    assert!(!near.is_empty() && near.iter().all(|near| ["role:support", SUPPORT].contains(&grantee(near).as_str())));

    let about_another = explain(BILLING, "invoicing", &[(EMAIL, "decrypt")]);
    assert_eq!(support.authorization().explain(about_another).await.unwrap_err().code(), Code::PermissionDenied);
    let grants_of_another = grants_for(BILLING);
    let refused = support.authorization().list_grants_for(grants_of_another).await.unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied);
    let entry = newest(&tester, "acme").await;
    assert_eq!((entry.operation(), entry.verdict()), (Operation::ListGrantsFor, Verdict::Deny));

    let answer = support.authorization().list_grants_for(grants_for("")).await.unwrap().into_inner();
    let grants = ids(&answer.grants);
    assert!(grants.contains(&"support-decrypts-email") && grants.contains(&"support-never-decrypts-billing"));
    assert!(answer.grants.iter().all(|line| line.memberships[0].member == SUPPORT));
    let entry = newest(&tester, "acme").await;
    assert_eq!((entry.index, entry.operation()), (answer.receipts[0].entry_index, Operation::ListGrantsFor));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_entry_of_the_log_is_explained_by_the_policy_of_its_time() {
    let mut server = Deployment::start().await;
    let desk = server.client("support-desk").await;
    let request = v1::EncryptRequest {
        purpose: "support-ticket".into(),
        ..encrypt("acme", vec![to_encrypt("anna", EMAIL, "anna@mail.example")])
    };
    assert_eq!(desk.encryption().encrypt(request).await.unwrap_err().code(), Code::PermissionDenied);
    let check = v1::CheckRequest {
        tenant: "acme".into(),
        purpose: "support-ticket".into(),
        items: vec![item(EMAIL, "decrypt")],
        ..Default::default()
    };
    let allowed = desk.authorization().check(check).await.unwrap().into_inner().receipts[0].entry_index;
    let denied = {
        let log = server.client("tester").await.log("acme").await;
        log.iter().rev().find(|entry| entry.operation() == Operation::Encrypt).unwrap().index
    };

    // Then support loses that grant.
    assert_eq!(server.stop().await, Ended::Shutdown);
    let file = server.dir.path().join("policies/policy.csv");
    let text = std::fs::read_to_string(&file).unwrap();
    let gone =
        |line: &&str| !line.contains("support-decrypts-email") && !line.contains("email, decrypt, support-ticket");
    let kept: Vec<_> = text.lines().filter(gone).collect();
    std::fs::write(&file, kept.join("\n") + "\n").unwrap();
    server.run_with(Changed::Adopt).await;

    let auditor = server.client("auditor").await;
    let of = |index| v1::ExplainRequest { tenant: "acme".into(), entry_index: Some(index), ..Default::default() };
    let answer = auditor.authorization().explain(of(allowed)).await.unwrap().into_inner();
    assert_eq!((answer.principal.as_str(), answer.purpose.as_str()), (SUPPORT, "support-ticket"));
    assert_eq!(answer.policy_version, 1);
    assert_eq!(ids(&answer.explanations[0].deciding), ["support-decrypts-email"]);
    let entry = answer.entry.unwrap();
    assert_eq!((entry.index, entry.operation(), entry.verdict()), (allowed, Operation::Check, Verdict::Allow));
    assert_eq!(entry.grant_ids, ["support-decrypts-email"]);
    let today = explain(SUPPORT, "support-ticket", &[(EMAIL, "decrypt")]);
    let now = auditor.authorization().explain(today).await.unwrap().into_inner();
    assert_eq!((now.policy_version, now.explanations[0].verdict()), (2, Verdict::Deny));

    let answer = auditor.authorization().explain(of(denied)).await.unwrap().into_inner();
    assert_eq!(answer.explanations[0].cause(), Cause::NoGrant);
    assert_eq!(answer.entry.unwrap().operation(), Operation::Encrypt);

    // Nobody explains what is not there, or another tenant's.
    let absent = auditor.authorization().explain(of(1 << 40)).await.unwrap_err();
    assert_eq!(absent.code(), Code::NotFound);
    let own = explain("", "support-ticket", &[(EMAIL, "decrypt")]);
    let both = v1::ExplainRequest { entry_index: Some(allowed), ..own };
    assert_eq!(violation(&auditor.authorization().explain(both).await.unwrap_err()).0, "purpose");
    assert_eq!(desk.authorization().explain(of(allowed)).await.unwrap_err().code(), Code::Unavailable);
    let desk = server.client("support-desk").await;
    assert_eq!(desk.authorization().explain(of(allowed)).await.unwrap_err().code(), Code::PermissionDenied);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_can_names_everybody_whom_an_allow_reaches_page_by_page() {
    let server = Deployment::start().await;
    let (admin, auditor) = (server.client("policy-admin").await, server.client("auditor").await);
    let request = who_can(TAX_ID, "decrypt", "invoicing");
    let answer = admin.authorization().who_can(request.clone()).await.unwrap().into_inner();
    let names: Vec<_> = answer.grantees.iter().map(|one| (one.principal.as_str(), one.verdict())).collect();
    assert_eq!(names, [(BILLING, Verdict::Allow)]);
    assert_eq!(ids(&answer.grantees[0].allows), ["billing-decrypts-billing"]);
    assert_eq!(answer.grantees[0].allows[0].memberships[0].role, "role:billing");

    let any = admin.authorization().who_can(who_can(TAX_ID, "decrypt", "")).await.unwrap().into_inner();
    let names: Vec<_> = any.grantees.iter().map(|one| one.principal.as_str()).collect();
    assert_eq!(names, [BILLING, "spiffe://acme.example/privacy-officer", "spiffe://acme.example/tester"]);

    let many = who_can(EMAIL, "encrypt", "signup");
    let whole = admin.authorization().who_can(many.clone()).await.unwrap().into_inner();
    assert_eq!(whole.grantees.len(), 2, "{whole:?}");
    let first = v1::WhoCanRequest { page_size: 1, ..many.clone() };
    let page = admin.authorization().who_can(first).await.unwrap().into_inner();
    assert_eq!(page.grantees, whole.grantees[..1]);
    let next = v1::WhoCanRequest { page_size: 1, page_token: page.next_page_token.clone(), ..many.clone() };
    let last = admin.authorization().who_can(next.clone()).await.unwrap().into_inner();
    assert_eq!((last.grantees.as_slice(), last.next_page_token.as_str()), (&whole.grantees[1..], ""));

    // A token is of one query and one caller.
    assert_eq!(violation(&auditor.authorization().who_can(next.clone()).await.unwrap_err()).0, "page_token");
    let other = v1::WhoCanRequest { action: "decrypt".into(), ..next.clone() };
    assert_eq!(violation(&admin.authorization().who_can(other).await.unwrap_err()).0, "page_token");
    let stolen = v1::ListGrantsForRequest { page_token: next.page_token, ..grants_for("") };
    assert_eq!(violation(&admin.authorization().list_grants_for(stolen).await.unwrap_err()).0, "page_token");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_administrator_of_one_tenant_learns_nothing_of_another() {
    let server = Deployment::start_with(Setup { policy: OTHER_ADMIN.into(), ..Setup::default() }).await;
    let (admin, tester) = (server.client("other-admin").await, server.client("tester").await);
    let mine = server.client("policy-admin").await;
    let own = explain(SUPPORT, "support-ticket", &[(EMAIL, "decrypt")]);
    let entry = mine.authorization().explain(own.clone()).await.unwrap().into_inner().receipts[0].entry_index;
    let others =
        |tenant: &str| v1::ExplainRequest { tenant: tenant.into(), entry_index: Some(entry), ..Default::default() };

    let denied = |outcome: Result<(), Status>| assert_eq!(outcome.unwrap_err().code(), Code::PermissionDenied);
    let mut ask = admin.authorization();
    denied(ask.explain(own).await.map(drop));
    denied(ask.explain(others("acme")).await.map(drop));
    denied(ask.list_grants_for(grants_for(SUPPORT)).await.map(drop));
    denied(ask.who_can(who_can(TAX_ID, "decrypt", "invoicing")).await.map(drop));
    let records = tester.log("acme").await;
    let records: Vec<_> = records.iter().filter(|entry| entry.principal.ends_with("/other-admin")).collect();
    assert_eq!(records.len(), 4);
    assert!(records.iter().all(|entry| entry.targets.iter().all(|target| target.outcome() == Outcome::Denied)));
    // In its own tenant the entry is not there, and nearly matching grants of the other are not told.
    assert_eq!(ask.explain(others("other")).await.unwrap_err().code(), Code::NotFound);
    let in_other = v1::ExplainRequest {
        tenant: "other".into(),
        ..explain(SUPPORT, "support-ticket", &[(EMAIL, "decrypt"), (TAX_ID, "decrypt")])
    };
    let answer = ask.explain(in_other).await.unwrap().into_inner();
    let tenants =
        answer.explanations.iter().flat_map(|one| &one.near).map(|near| near.grant.as_ref().unwrap().tenant.as_str());
    assert!(tenants.into_iter().all(|tenant| tenant == "other"), "{answer:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_questions_name_the_field_and_the_rule() {
    let server = Deployment::start().await;
    let admin = server.client("policy-admin").await;
    let good = || explain(SUPPORT, "support-ticket", &[(EMAIL, "decrypt")]);
    type Break = fn(&mut v1::ExplainRequest);
    let cases: [(&str, &str, Break); 8] = [
        ("tenant", "trust domain", |r| r.tenant = "nobody".into()),
        ("purpose", "catalogue", |r| r.purpose = "curiosity".into()),
        ("principal", "principal", |r| r.principal = "role:support".into()),
        ("items", "1 to 16", |r| r.items.clear()),
        ("items", "1 to 16", |r| r.items = vec![item(EMAIL, "decrypt"); 17]),
        ("items[0].object", "catalogue", |r| r.items[0].object = "pii/account/shoe_size".into()),
        ("items[0].action", "exists", |r| r.items[0].action = "erase".into()),
        ("principal", "entry_index", |r| r.entry_index = Some(1)),
    ];
    for (field, rule, break_it) in cases {
        let mut request = good();
        break_it(&mut request);
        let (named, text) = violation(&admin.authorization().explain(request).await.unwrap_err());
        assert!(named == field && text.contains(rule), "{named}: {text}, expected {field}: {rule}");
    }
    let ask = |request| async { violation(&admin.authorization().who_can(request).await.unwrap_err()).0 };
    assert_eq!(ask(who_can("pii/account/*", "decrypt", "signup")).await, "object");
    assert_eq!(ask(who_can(EMAIL, "read", "signup")).await, "action");
    assert_eq!(ask(who_can(EMAIL, "decrypt", "curiosity")).await, "purpose");
    assert_eq!(ask(v1::WhoCanRequest { page_size: -1, ..who_can(EMAIL, "decrypt", "signup") }).await, "page_size");
    assert_eq!(
        ask(v1::WhoCanRequest { page_token: "x".repeat(1 << 16), ..who_can(EMAIL, "decrypt", "signup") }).await,
        "page_token"
    );
    let mut list = grants_for("user:");
    assert_eq!(violation(&admin.authorization().list_grants_for(list.clone()).await.unwrap_err()).0, "principal");
    list = v1::ListGrantsForRequest { page_size: -1, ..grants_for(SUPPORT) };
    assert_eq!(violation(&admin.authorization().list_grants_for(list).await.unwrap_err()).0, "page_size");
}
