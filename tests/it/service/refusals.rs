//! What bad input gets: a code, the field and the rule – and a record, but nothing else.

use privet::proto::v1::{self, Operation, Outcome, Reason, Verdict};
use tonic::{Code, Status};
use tonic_types::StatusExt;

use crate::support::deployment::{Deployment, decrypt, encrypt, opened, to_decrypt, to_encrypt};

const EMAIL: &str = "pii/account/email";

fn violation(status: &Status) -> (String, String) {
    assert_eq!(status.code(), Code::InvalidArgument, "{status:?}");
    let details = status.get_error_details();
    let info = details.error_info().unwrap();
    assert_eq!((info.reason.as_str(), info.domain.as_str()), ("INVALID_ARGUMENT", "privet.v1"));
    let violation = details.bad_request().unwrap().field_violations[0].clone();
    (violation.field, violation.description)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_encrypt_names_the_field_and_the_rule_and_seals_nothing() {
    let server = Deployment::start().await;
    let client = server.client("tester").await;
    let good = || encrypt("acme", vec![to_encrypt("anna", EMAIL, "anna@mail.example")]);
    type Break = Box<dyn Fn(&mut v1::EncryptRequest)>;
    let cases: Vec<(&str, &str, Break)> = vec![
        ("tenant", "trust domain", Box::new(|r| r.tenant = "nobody".into())),
        ("tenant", "[a-z0-9]", Box::new(|r| r.tenant = "ACME".into())),
        ("tenant", "[a-z0-9]", Box::new(|r| r.tenant = "_system".into())),
        ("tenant", "[a-z0-9]", Box::new(|r| r.tenant = "a".repeat(1 << 20))),
        ("purpose", "catalogue", Box::new(|r| r.purpose = "curiosity".into())),
        ("purpose", "catalogue", Box::new(|r| r.purpose = String::new())),
        ("fields", "1 to 1000", Box::new(|r| r.fields.clear())),
        ("fields", "1 to 1000", Box::new(|r| r.fields = vec![to_encrypt("a", EMAIL, "x"); 1_001])),
        ("fields[0].class", "catalogue", Box::new(|r| r.fields[0].class = "pii/account/shoe_size".into())),
        ("fields[0].class", "catalogue", Box::new(|r| r.fields[0].class = "audit".into())),
        ("fields[0].subject", "256 bytes", Box::new(|r| r.fields[0].subject = String::new())),
        ("fields[0].subject", "256 bytes", Box::new(|r| r.fields[0].subject = "é".repeat(129))),
        ("fields[0].plaintext", "at most", Box::new(|r| r.fields[0].plaintext = vec![0; 65_537].into())),
        ("fields[0].context", "1024", Box::new(|r| r.fields[0].context = vec![0; 1_025].into())),
        ("fields[1].class", "catalogue", Box::new(|r| r.fields.push(to_encrypt("bert", "pii/x/y", "z")))),
        ("request_id", "{0,64}", Box::new(|r| r.request_id = "a b".into())),
        ("reference", "{0,64}", Box::new(|r| r.reference = "x".repeat(65))),
        ("actor", "principal", Box::new(|r| r.actor = "system:start".into())),
        ("actor", "principal", Box::new(|r| r.actor = "role:admin".into())),
    ];
    for (field, rule, break_it) in &cases {
        let mut request = good();
        break_it(&mut request);
        let status = client.encryption().encrypt(request).await.unwrap_err();
        let (named, text) = violation(&status);
        assert!(named == *field && text.contains(rule), "{named}: {text}, expected {field}: {rule}");
        assert!(!status.message().contains("anna"), "{}", status.message());
    }
    let log = client.log("acme").await;
    assert!(log.iter().all(|entry| entry.operation() != Operation::Encrypt || entry.refusal == "INVALID_ARGUMENT"));
    assert!(log.iter().all(|entry| entry.targets.iter().all(|target| target.outcome() != Outcome::Sealed)));
    let unknown = decrypt("acme", vec![to_decrypt("anna", EMAIL, &vec![1; 60].into())]);
    let answer = client.encryption().decrypt(unknown).await.unwrap().into_inner();
    assert_eq!(
        opened(&answer, 0),
        Err(Reason::UnknownSubject),
        "nothing was made for the subject of a refused request"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_decrypts_checks_indexes_and_lists_name_the_field_and_the_rule() {
    let server = Deployment::start().await;
    let client = server.client("tester").await;
    let mut request = decrypt("acme", vec![to_decrypt("anna", EMAIL, &vec![1; 60].into())]);
    request.fields[0].form = 0;
    let status = client.encryption().decrypt(request.clone()).await.err().unwrap();
    assert_eq!(violation(&status).0, "fields[0].form");
    request.fields[0].form = 77;
    assert_eq!(violation(&client.encryption().decrypt(request.clone()).await.err().unwrap()).0, "fields[0].form");
    request.fields[0].form = 1;
    request.fields[0].ciphertext = vec![1; 65_536 + 46].into();
    assert_eq!(violation(&client.encryption().decrypt(request).await.err().unwrap()).0, "fields[0].ciphertext");

    let mut check = v1::CheckRequest {
        tenant: "acme".into(),
        purpose: "signup".into(),
        items: vec![v1::CheckItem { object: EMAIL.into(), action: "decrypt".into() }],
        ..Default::default()
    };
    for (field, object, action) in [
        ("items[0].object", "pii/*", "decrypt"),
        ("items[0].object", "pii/account/nothing", "decrypt"),
        ("items[0].action", EMAIL, "erase"),
        ("items[0].action", EMAIL, "Decrypt"),
        ("items[0].action", "audit", "decrypt"),
    ] {
        check.items[0] = v1::CheckItem { object: object.into(), action: action.into() };
        assert_eq!(
            violation(&client.authorization().check(check.clone()).await.unwrap_err()).0,
            field,
            "{object} {action}"
        );
    }
    check.items.clear();
    assert_eq!(violation(&client.authorization().check(check.clone()).await.unwrap_err()).0, "items");

    let index = v1::ComputeIndexRequest { tenant: "acme".into(), purpose: "signup".into(), ..Default::default() };
    assert_eq!(violation(&client.encryption().compute_index(index).await.unwrap_err()).0, "values");

    let list = v1::ListEntriesRequest { tenant: "acme".into(), ..Default::default() };
    type Break = fn(&mut v1::ListEntriesRequest);
    let cases: [(&str, Break); 8] = [
        ("tenant", |r| r.tenant = "nobody".into()),
        ("page_size", |r| r.page_size = -1),
        ("order", |r| r.order = 3),
        ("page_token", |r| r.page_token = "AAAA".into()),
        ("principal", |r| r.principal = "anna".into()),
        ("operation", |r| r.operation = 77),
        ("verdict", |r| r.verdict = -1),
        ("end_time", |r| {
            r.start_time = Some(prost_types::Timestamp { seconds: 9, nanos: 0 });
            r.end_time = Some(prost_types::Timestamp { seconds: 9, nanos: 0 });
        }),
    ];
    for (field, break_it) in cases {
        let mut request = list.clone();
        break_it(&mut request);
        assert_eq!(violation(&client.audit().list_entries(request).await.unwrap_err()).0, field);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_of_which_nothing_is_allowed_is_denied_and_says_whom_to_ask() {
    let server = Deployment::start().await;
    let tester = server.client("tester").await;
    let sealed = tester.seal("acme", "anna", "pii/billing/tax_id", b"123456789", b"").await;
    let support = server.client("support-desk").await;
    for purpose in ["support-ticket", "signup", "subject-request"] {
        for subject in ["anna", "nobody"] {
            let mut request = decrypt("acme", vec![to_decrypt(subject, "pii/billing/tax_id", &sealed)]);
            request.purpose = purpose.into();
            let status = support.encryption().decrypt(request).await.err().unwrap();
            assert_eq!(status.code(), Code::PermissionDenied, "the same for a known and an unknown subject");
            let details = status.get_error_details();
            let info = details.error_info().unwrap();
            assert_eq!((info.reason.as_str(), info.metadata["tenant"].as_str()), ("DENIED", "acme"));
        }
    }
    let log = tester.log("acme").await;
    let denied: Vec<_> = log.iter().filter(|entry| entry.principal.ends_with("/support-desk")).collect();
    assert_eq!(denied.len(), 6);
    for entry in denied {
        assert_eq!((entry.verdict(), entry.targets[0].outcome()), (Verdict::Deny, Outcome::Denied));
        assert!(entry.targets[0].aliases.is_empty());
    }
    // A principal without any grant, and one whose name is a role's.
    for name in ["stranger", "support", "role-support"] {
        let client = server.client(name).await;
        let request = encrypt("acme", vec![to_encrypt("anna", EMAIL, "a@b.example")]);
        assert_eq!(client.encryption().encrypt(request).await.unwrap_err().code(), Code::PermissionDenied);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn asking_about_somebody_else_needs_a_grant_and_is_recorded() {
    let server = Deployment::start().await;
    let tester = server.client("tester").await;
    let about = |principal: &str| v1::CheckRequest {
        tenant: "acme".into(),
        principal: principal.into(),
        purpose: "signup".into(),
        items: vec![
            v1::CheckItem { object: EMAIL.into(), action: "encrypt".into() },
            v1::CheckItem { object: EMAIL.into(), action: "decrypt".into() },
        ],
        ..Default::default()
    };
    let own = tester.authorization().check(about("")).await.unwrap().into_inner();
    assert!(own.results.iter().all(|result| result.verdict() == Verdict::Allow && !result.grant_ids.is_empty()));
    let status = tester.authorization().check(about("spiffe://acme.example/signup-service")).await.unwrap_err();
    assert_eq!(status.code(), Code::PermissionDenied);

    let admin = server.client("policy-admin").await;
    let answer = admin.authorization().check(about("spiffe://acme.example/signup-service")).await;
    let answer = answer.unwrap().into_inner();
    let verdicts: Vec<_> = answer.results.iter().map(|result| result.verdict()).collect();
    assert_eq!((verdicts, answer.policy_version), (vec![Verdict::Allow, Verdict::Deny], 1));
    let entry = tester.log("acme").await.into_iter().rfind(|e| e.principal.ends_with("/policy-admin")).unwrap();
    assert_eq!(entry.effect, "about spiffe://acme.example/signup-service");
    assert_eq!(entry.targets.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_without_one_spiffe_id_is_nobodys_and_floods_are_counted() {
    let server = Deployment::start().await;
    for uris in [&[][..], &["spiffe://acme.example/a", "spiffe://acme.example/b"], &["https://acme.example/a"]] {
        let client = server.client_with(&server.ca.client(uris)).await;
        for _ in 0..50 {
            let request = encrypt("acme", vec![to_encrypt("anna", EMAIL, "a@b.example")]);
            let status = client.encryption().encrypt(request).await.unwrap_err();
            assert_eq!(status.code(), Code::Unauthenticated);
            assert_eq!(status.get_error_details().error_info().unwrap().reason, "UNIDENTIFIED");
        }
    }
    tokio::time::sleep(std::time::Duration::from_millis(2_200)).await;
    let tester = server.client("tester").await;
    let status = tester.audit().list_entries(list("_system")).await.unwrap_err();
    assert_eq!(status.code(), Code::PermissionDenied, "a tenant's principal does not read the deployment's log");
    let auditor = server.client("auditor").await;
    let log = auditor.audit().list_entries(list("_system")).await.unwrap().into_inner().entries;
    let refused: Vec<_> = log.iter().filter(|entry| entry.refusal == "UNIDENTIFIED").collect();
    let total: u64 = refused.iter().map(|entry| entry.count.max(1)).sum();
    assert_eq!(total, 150, "every refusal is in the log, by itself or in a count");
    assert!(refused.len() < 60 && refused.iter().any(|entry| entry.count > 1), "{} entries", refused.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_outlives_its_certificate_is_nobodys_from_then_on() {
    let server = Deployment::start().await;
    let client = server.client_with(&server.ca.client_for("spiffe://acme.example/tester", 2)).await;
    client.seal("acme", "anna", EMAIL, b"a@b.example", b"").await;
    tokio::time::sleep(std::time::Duration::from_millis(3_100)).await;
    let request = encrypt("acme", vec![to_encrypt("anna", EMAIL, "a@b.example")]);
    let status = client.encryption().encrypt(request).await.unwrap_err();
    assert_eq!(status.code(), Code::Unauthenticated);
    assert!(status.message().contains("expired"), "{}", status.message());
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_end_where_they_say_and_their_tokens_are_bound_to_query_and_caller() {
    let server = Deployment::start().await;
    let tester = server.client("tester").await;
    for n in 0..25 {
        tester.seal("acme", &format!("customer {n}"), EMAIL, b"a@b.example", b"").await;
    }
    let first = v1::ListEntriesRequest { page_size: 10, operation: Operation::Encrypt.into(), ..list("acme") };
    let mut request = first.clone();
    let mut indexes = Vec::new();
    loop {
        let page = tester.audit().list_entries(request.clone()).await.unwrap().into_inner();
        assert!(page.entries.len() <= 10 && page.entries.iter().all(|e| e.operation() == Operation::Encrypt));
        indexes.extend(page.entries.iter().map(|entry| entry.index));
        if page.next_page_token.is_empty() {
            break;
        }
        request.page_token = page.next_page_token;
    }
    assert_eq!(indexes.len(), 25);
    assert!(indexes.is_sorted_by(|a, b| a > b), "newest first, none twice");

    let token = tester.audit().list_entries(first.clone()).await.unwrap().into_inner().next_page_token;
    let stolen = v1::ListEntriesRequest { page_token: token.clone(), ..first.clone() };
    let auditor = server.client("auditor").await;
    assert_eq!(violation(&auditor.audit().list_entries(stolen.clone()).await.unwrap_err()).0, "page_token");
    let other = v1::ListEntriesRequest { reference: "x".into(), ..stolen.clone() };
    assert_eq!(violation(&tester.audit().list_entries(other).await.unwrap_err()).0, "page_token");
    let other = v1::ListEntriesRequest { tenant: "other".into(), ..stolen };
    assert_eq!(violation(&tester.audit().list_entries(other).await.unwrap_err()).0, "page_token");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenants_log_shows_nothing_of_another_tenant() {
    let server = Deployment::start().await;
    let tester = server.client("tester").await;
    tester.seal("acme", "anna", EMAIL, b"a@b.example", b"").await;
    tester.seal("other", "anna", EMAIL, b"a@b.example", b"").await;
    for tenant in ["acme", "other"] {
        let log = tester.log(tenant).await;
        assert!(!log.is_empty() && log.iter().all(|entry| entry.tenant == tenant));
    }
}

fn list(tenant: &str) -> v1::ListEntriesRequest {
    v1::ListEntriesRequest { tenant: tenant.into(), page_size: 1_000, ..Default::default() }
}
