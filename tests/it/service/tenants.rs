//! Tenants over real mTLS: made while the server runs, told apart, and ended by two persons and a waiting period.

use std::{
    env, fs,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use privet::{
    cli::serve::Machine,
    proto::v1::{self, Operation, Reason, TenantState},
    store::{Direction, Space, Store, sled::SledStore},
};
use tokio::{task::JoinSet, time::sleep};
use tonic::{Code, Status};
use tonic_types::StatusExt;

use crate::support::{
    clock::TestClock,
    deployment::{Client, Deployment, Setup, ciphertext, decrypt, encrypt, opened, to_decrypt, to_encrypt},
};

const EMAIL: &str = "pii/account/email";
const START: u64 = 1_800_000_000;
const DAY: u64 = 86_400;

/// Who may do what in a tenant that is made later: all that a policy wants of each, and the tests' own principal.
fn policy() -> String {
    let grant = |id: &str, who: &str, rest: &str| {
        format!("#: id=bolt-{id} reason=\"tests\"\np, spiffe://acme.example/{who}, bolt, {rest}, 0, 0, allow\n")
    };
    let mut policy = String::new();
    for action in ["encrypt", "decrypt", "index", "rewrap"] {
        policy += &grant(action, "tester", &format!("pii/account/*, {action}, signup"));
    }
    policy += &grant("audit", "tester", "audit, read, operate");
    for action in ["read", "erase", "hold"] {
        policy += &grant(&format!("subjects-{action}"), "privacy-officer", &format!("subjects, {action}, operate"));
    }
    policy += &grant("keys", "operator", "keys, rotate, operate");
    policy += &grant("admin-reads", "other-admin", "policy, read, operate");
    policy += &grant("admin-proposes", "other-admin", "policy, propose, operate");
    policy += &grant("approver-reads", "other-approver", "policy, read, operate");
    policy += &grant("approver-approves", "other-approver", "policy, approve, operate");
    policy
        + "#: id=unlisted-destroys reason=\"tests\"\n\
           p, spiffe://acme.example/unlisted, _system, tenants, destroy, operate, 0, 0, allow\n"
}

fn setup() -> Setup {
    Setup { policy: policy(), bound: ", \"*\"", ..Default::default() }
}

async fn server(clock: &Arc<TestClock>) -> Deployment {
    let machine = Machine { clock: clock.clone(), ..Machine::this() };
    Deployment::start_on(machine, &env::temp_dir(), setup()).await
}

async fn create(client: &Client, tenant: &str, region: &str) -> Result<v1::Tenant, Status> {
    let request = v1::CreateTenantRequest { tenant: tenant.into(), region: region.into(), ..Default::default() };
    let answer = client.tenants().create_tenant(request).await?.into_inner();
    assert_eq!(answer.receipts.len(), 1);
    Ok(answer.tenant.unwrap())
}

async fn destroy(client: &Client, tenant: &str, reason: &str) -> Result<v1::Tenant, Status> {
    let (tenant, reason) = (tenant.to_owned(), reason.to_owned());
    let request = v1::DestroyTenantRequest { confirmation: tenant.clone(), tenant, reason, ..Default::default() };
    Ok(client.tenants().destroy_tenant(request).await?.into_inner().tenant.unwrap())
}

async fn cancel(client: &Client, tenant: &str) -> Result<v1::Tenant, Status> {
    let request = v1::CancelDestroyTenantRequest { tenant: tenant.into(), ..Default::default() };
    Ok(client.tenants().cancel_destroy_tenant(request).await?.into_inner().tenant.unwrap())
}

/// Name and state of each, read in pages of two.
async fn list(client: &Client) -> Vec<(String, TenantState)> {
    let (mut tenants, mut page_token) = (Vec::new(), String::new());
    loop {
        let request = v1::ListTenantsRequest { page_size: 2, page_token, ..Default::default() };
        let page = client.tenants().list_tenants(request).await.unwrap().into_inner();
        assert!(page.tenants.len() <= 2);
        tenants.extend(page.tenants.into_iter().map(|tenant| (tenant.id.clone(), tenant.state())));
        page_token = page.next_page_token;
        if page_token.is_empty() {
            return tenants;
        }
    }
}

async fn seal(client: &Client, tenant: &str, subject: &str) -> Result<bytes::Bytes, Status> {
    let request = encrypt(tenant, vec![to_encrypt(subject, EMAIL, "anna@mail.example")]);
    Ok(ciphertext(&client.encryption().encrypt(request).await?.into_inner(), 0))
}

async fn open(client: &Client, tenant: &str, sealed: &bytes::Bytes) -> Result<Result<Vec<u8>, Reason>, Status> {
    let request = decrypt(tenant, vec![to_decrypt("anna", EMAIL, sealed)]);
    Ok(opened(&client.encryption().decrypt(request).await?.into_inner(), 0))
}

async fn index(client: &Client, tenant: &str) -> Result<bytes::Bytes, Status> {
    let value = v1::ValueToIndex { class: EMAIL.into(), value: b"anna@mail.example".to_vec().into() };
    let request = v1::ComputeIndexRequest {
        tenant: tenant.into(),
        purpose: "signup".into(),
        values: vec![value],
        ..Default::default()
    };
    let answer = client.encryption().compute_index(request).await?.into_inner();
    match answer.values.into_iter().next().unwrap().result.unwrap() {
        v1::indexed_value::Result::Index(index) => Ok(index),
        v1::indexed_value::Result::Error(error) => panic!("{error:?}"),
    }
}

async fn data_key(client: &Client) -> Result<(), Status> {
    let key = v1::DataKeyToGenerate { subject: "anna".into(), class: EMAIL.into(), ..Default::default() };
    let request = v1::GenerateDataKeyRequest {
        tenant: "bolt".into(),
        purpose: "signup".into(),
        keys: vec![key],
        ..Default::default()
    };
    client.encryption().generate_data_key(request).await.map(drop)
}

async fn rewrap(client: &Client, sealed: &bytes::Bytes) -> Result<(), Status> {
    let field = v1::FieldToRewrap {
        subject: "anna".into(),
        class: EMAIL.into(),
        ciphertext: sealed.clone(),
        ..Default::default()
    };
    let request = v1::RewrapRequest {
        tenant: "bolt".into(),
        purpose: "signup".into(),
        fields: vec![field],
        ..Default::default()
    };
    client.encryption().rewrap(request).await.map(drop)
}

async fn hold(officer: &Client, id: &str) -> Result<(), Status> {
    let request = v1::PlaceHoldRequest {
        tenant: "bolt".into(),
        subject: "anna".into(),
        hold_id: id.into(),
        reason: "r".into(),
        ..Default::default()
    };
    officer.subjects().place_hold(request).await.map(drop)
}

async fn release(officer: &Client, id: &str) {
    let request = v1::ReleaseHoldRequest {
        tenant: "bolt".into(),
        subject: "anna".into(),
        hold_id: id.into(),
        ..Default::default()
    };
    officer.subjects().release_hold(request).await.unwrap();
}

/// The code and the reason of a refusal.
fn why<T: std::fmt::Debug>(result: Result<T, Status>) -> (Code, String) {
    let status = result.unwrap_err();
    let reason = status.get_details_error_info().map(|info| info.reason).unwrap_or_default();
    (status.code(), reason)
}

fn failed(reason: &str) -> (Code, String) {
    (Code::FailedPrecondition, reason.to_owned())
}

/// The field of a bad request, and the rule.
fn rule<T: std::fmt::Debug>(result: Result<T, Status>) -> (String, String) {
    let status = result.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument, "{status:?}");
    let violation = status.get_details_bad_request().unwrap().field_violations.remove(0);
    (violation.field, violation.description)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_made_while_the_server_runs_is_there_at_once_and_until_then_like_any_that_never_was() {
    let mut server = Deployment::start_with(setup()).await;
    let (tester, operator) = (server.client("tester").await, server.client("operator").await);
    let unknown = rule(seal(&tester, "bolt", "anna").await);
    assert_eq!(unknown, rule(seal(&tester, "never-was", "anna").await));
    assert_eq!(unknown.0, "tenant");

    let made = create(&operator, "bolt", "").await.unwrap();
    assert_eq!((made.id.as_str(), made.state(), made.region.as_str()), ("bolt", TenantState::Active, ""));
    assert!(made.create_time.is_some() && made.destruction.is_none());
    let sealed = seal(&tester, "bolt", "anna").await.unwrap();
    assert_eq!(open(&tester, "bolt", &sealed).await.unwrap().unwrap(), b"anna@mail.example");
    assert_eq!(open(&tester, "acme", &sealed).await.unwrap(), Err(Reason::UnknownSubject));
    assert_ne!(index(&tester, "bolt").await.unwrap(), index(&tester, "acme").await.unwrap());
    assert_eq!(rule(seal(&tester, "never-was", "anna").await), unknown);

    assert_eq!(why(create(&operator, "bolt", "").await), (Code::AlreadyExists, "TENANT_EXISTS".into()));
    assert_eq!(why(create(&operator, "volt", "eu-west").await), failed("OTHER_REGION"));
    for bad in ["", "_system", "*", "Bolt", "-bolt", "bolt\n", &"b".repeat(64)] {
        assert_eq!(rule(create(&operator, bad, "").await).0, "tenant", "{bad:?}");
    }
    assert_eq!(rule(create(&operator, "volt", "EU west").await).0, "region");
    let denied = why(create(&tester, "volt", "").await);
    assert_eq!(denied, (Code::PermissionDenied, "DENIED".into()));
    let all = ["acme", "bolt", "other"].map(|name| (name.to_owned(), TenantState::Active));
    assert_eq!(list(&operator).await, all);

    // Many ask for the same name at once: one makes it.
    let mut asked = JoinSet::new();
    for _ in 0..6 {
        let operator = operator.clone();
        asked.spawn(async move { create(&operator, "volt", "").await.is_ok() });
    }
    let made = asked.join_all().await;
    assert_eq!(made.iter().filter(|made| **made).count(), 1, "{made:?}");

    server.restart().await;
    let tester = server.client("tester").await;
    assert_eq!(open(&tester, "bolt", &sealed).await.unwrap().unwrap(), b"anna@mail.example");
    let system = server.client("auditor").await.log("_system").await;
    let created: Vec<_> = system.iter().filter(|entry| entry.operation() == Operation::CreateTenant).collect();
    assert!(created.iter().any(|entry| entry.effect.starts_with("tenant bolt created")), "{created:?}");
    assert!(created.iter().any(|entry| entry.refusal == "OTHER_REGION"), "{created:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_listed_persons_and_a_wait_end_a_tenant_and_until_then_it_can_be_taken_back() {
    let clock = Arc::new(TestClock::at(START));
    let mut server = server(&clock).await;
    let (tester, operator) = (server.client("tester").await, server.client("operator").await);
    let (approver, officer) = (server.client("policy-approver").await, server.client("privacy-officer").await);
    create(&operator, "bolt", "").await.unwrap();
    let sealed = seal(&tester, "bolt", "anna").await.unwrap();
    let acme = seal(&tester, "acme", "anna").await.unwrap();

    // What is asked has to be meant, and by two.
    assert!(data_key(&tester).await.is_ok() && rewrap(&tester, &sealed).await.is_ok());
    let unmeant = v1::DestroyTenantRequest {
        tenant: "bolt".into(),
        confirmation: "acme".into(),
        reason: "r".into(),
        ..Default::default()
    };
    assert_eq!(rule(operator.tenants().destroy_tenant(unmeant).await).0, "confirmation");
    assert_eq!(rule(destroy(&operator, "bolt", "two\nlines").await).0, "reason");
    assert_eq!(why(destroy(&operator, "bolt", "").await), (Code::InvalidArgument, "NO_REASON".into()));
    assert_eq!(why(destroy(&operator, "never-was", "r").await), (Code::NotFound, "NO_TENANT".into()));
    assert_eq!(why(cancel(&operator, "bolt").await), failed("NOT_ENDING"));
    let unlisted = server.client("unlisted").await;
    assert_eq!(why(destroy(&unlisted, "bolt", "r").await), (Code::PermissionDenied, "NO_PERSON".into()));
    let wanted = destroy(&operator, "bolt", "the contract ended").await.unwrap();
    assert_eq!(wanted.state(), TenantState::DestructionRequested);
    assert_eq!(wanted.destruction.as_ref().unwrap().reason, "the contract ended");
    assert_eq!(why(destroy(&operator, "bolt", "").await), (Code::PermissionDenied, "SAME_PERSON".into()));
    assert_eq!(why(destroy(&unlisted, "bolt", "").await), (Code::PermissionDenied, "NO_PERSON".into()));
    assert!(seal(&tester, "bolt", "anna").await.is_ok(), "one person ends nothing");
    assert_eq!(why(destroy(&approver, "bolt", "I ask for it").await), failed("DESTRUCTION_REQUESTED"));

    // A wish is good for a week; after that it has to be said anew.
    clock.advance(Duration::from_secs(8 * DAY));
    assert_eq!(destroy(&approver, "bolt", "still so").await.unwrap().state(), TenantState::DestructionRequested);
    hold(&officer, "CASE-1").await.unwrap();
    assert_eq!(why(destroy(&operator, "bolt", "").await), failed("HELD"));
    release(&officer, "CASE-1").await;
    let ending = destroy(&operator, "bolt", "").await.unwrap();
    assert_eq!(ending.state(), TenantState::Ending);
    let asked = ending.destruction.unwrap();
    let due = START + 38 * DAY;
    assert!(asked.due_time.unwrap().seconds.abs_diff(due as i64) < 60, "{asked:?}");
    assert!(asked.requested_by.ends_with("policy-approver") && asked.confirmed_by.ends_with("/operator"));
    assert_eq!(destroy(&operator, "bolt", "").await.unwrap().state(), TenantState::Ending, "once more changes nothing");

    // Nothing is sealed or opened, nothing is held; what there is can be looked at.
    for refused in [
        why(seal(&tester, "bolt", "anna").await),
        why(seal(&tester, "bolt", "bert").await),
        why(open(&tester, "bolt", &sealed).await),
        why(index(&tester, "bolt").await),
        why(data_key(&tester).await),
        why(rewrap(&tester, &sealed).await),
        why(hold(&officer, "CASE-2").await),
        why(operator
            .keys()
            .rotate_subject_keys(v1::RotateSubjectKeysRequest { tenant: "bolt".into(), ..Default::default() })
            .await),
    ] {
        assert_eq!(refused, failed("TENANT_ENDING"));
    }
    let show = v1::GetSubjectRequest { tenant: "bolt".into(), subject: "anna".into(), ..Default::default() };
    assert_eq!(officer.subjects().get_subject(show).await.unwrap().into_inner().subject.unwrap().categories.len(), 1);
    let log = tester.log("bolt").await;
    assert!(log.iter().any(|entry| entry.refusal == "TENANT_ENDING"), "the refusals are on record");
    assert!(open(&tester, "acme", &acme).await.unwrap().is_ok());

    assert_eq!(cancel(&approver, "bolt").await.unwrap().state(), TenantState::Active);
    assert_eq!(open(&tester, "bolt", &sealed).await.unwrap().unwrap(), b"anna@mail.example");

    // The end. A restart in between changes nothing.
    destroy(&operator, "bolt", "now really").await.unwrap();
    destroy(&approver, "bolt", "").await.unwrap();
    assert_eq!(server.stop().await, privet::server::Ended::Shutdown);
    server.run_at(Machine { clock: clock.clone(), ..Machine::this() }).await;
    let (tester, operator) = (server.client("tester").await, server.client("operator").await);
    assert_eq!(why(open(&tester, "bolt", &sealed).await), failed("TENANT_ENDING"));
    for days in [28, 1] {
        clock.advance(Duration::from_secs(days * DAY));
        sleep(Duration::from_secs(3)).await;
    }
    let state = async |operator: &Client| list(operator).await[1].1;
    assert_eq!(state(&operator).await, TenantState::Ending, "not before its day");
    for _ in 0..20 {
        if state(&operator).await == TenantState::Destroyed {
            break;
        }
        clock.advance(Duration::from_secs(DAY));
        sleep(Duration::from_secs(3)).await;
    }
    assert_eq!(state(&operator).await, TenantState::Destroyed);
    assert_eq!(why(open(&tester, "bolt", &sealed).await), failed("TENANT_DESTROYED"));
    assert_eq!(why(seal(&tester, "bolt", "anna").await), failed("TENANT_DESTROYED"));
    assert_eq!(why(index(&tester, "bolt").await), failed("TENANT_DESTROYED"));
    assert_eq!(why(cancel(&operator, "bolt").await), failed("TENANT_DESTROYED"));
    assert_eq!(why(destroy(&operator, "bolt", "r").await), failed("TENANT_DESTROYED"));
    assert_eq!(why(create(&operator, "bolt", "").await), (Code::AlreadyExists, "TENANT_EXISTS".into()));
    assert!(open(&tester, "acme", &acme).await.unwrap().is_ok(), "others go on");
    let log = tester.log("bolt").await;
    let end: Vec<_> = log.iter().filter(|entry| entry.principal == "system:tenants").collect();
    assert!(end[0].effect.contains("destroyed with all its keys, as requested by spiffe://acme.example/operator"));
    assert!(end[1].effect.starts_with("1 records"), "{end:?}");
    let of_anna = v1::ListEntriesRequest {
        tenant: "bolt".into(),
        subject: "anna".into(),
        order: v1::Order::OldestFirst.into(),
        ..Default::default()
    };
    assert!(
        tester.audit().list_entries(of_anna).await.unwrap().into_inner().entries.is_empty(),
        "nobody is known there"
    );

    // On the disk there is no key of it left, and of the others all.
    assert_eq!(server.stop().await, privet::server::Ended::Shutdown);
    let store = SledStore::open(&server.dir.path().join("store")).unwrap();
    for space in [Space::Bucket, Space::Subject] {
        let of = async |tenant: &str| {
            let keys = [tenant.as_bytes(), &[0]].concat()..[tenant.as_bytes(), &[1]].concat();
            store.scan(space, keys, Direction::Ascending, 10_000).await.unwrap().len()
        };
        assert_eq!(of("bolt").await, 0, "{space:?}");
        assert!(of("acme").await > 0, "{space:?}");
    }
    drop(store);
    server.run_at(Machine { clock, ..Machine::this() }).await;
    let operator = server.client("operator").await;
    assert_eq!(state(&operator).await, TenantState::Destroyed);
    assert_eq!(why(create(&operator, "bolt", "").await), (Code::AlreadyExists, "TENANT_EXISTS".into()));
}

/// One human being under two names is one person.
#[tokio::test(flavor = "multi_thread")]
async fn a_second_name_of_the_same_person_confirms_nothing() {
    let second = "#: id=second-name-destroys reason=\"tests\"\n\
                  p, spiffe://acme.example/operator-2, _system, tenants, destroy, operate, 0, 0, allow\n";
    let setup = Setup {
        policy: policy() + second,
        operator: ", \"spiffe://acme.example/operator-2\"",
        bound: ", \"*\"",
        ..Default::default()
    };
    let server = Deployment::start_with(setup).await;
    let (operator, second) = (server.client("operator").await, server.client("operator-2").await);
    destroy(&operator, "acme", "r").await.unwrap();
    for same in [&operator, &second] {
        assert_eq!(why(destroy(same, "acme", "").await), (Code::PermissionDenied, "SAME_PERSON".into()));
    }
    // Refused and denied, the record says which tenant it was about.
    assert!(destroy(&server.client("tester").await, "acme", "").await.is_err());
    let log = server.client("auditor").await.log("_system").await;
    let about: Vec<_> = log.iter().filter(|entry| entry.effect == "tenant acme").collect();
    assert_eq!(about.iter().filter(|entry| entry.refusal == "SAME_PERSON").count(), 2, "{log:?}");
    assert_eq!(about.len(), 3, "{log:?}");
    // Nor does anybody confirm what its author may not want any more.
    let remove =
        v1::PolicyChange { change: Some(v1::policy_change::Change::Remove("operator-destroys-tenants".into())) };
    let admin = server.client("policy-admin").await;
    let proposal = v1::ProposeChangeRequest {
        tenant: "_system".into(),
        base_version: 1,
        changes: vec![remove],
        reason: "r".into(),
        ..Default::default()
    };
    let proposed = admin.policy().propose_change(proposal).await.unwrap().into_inner();
    let approver = server.client("policy-approver").await;
    if proposed.proposal.as_ref().is_some_and(|proposal| proposal.version == 0) {
        let id = proposed.proposal.unwrap().id;
        let approval = v1::ApproveProposalRequest { tenant: "_system".into(), id, ..Default::default() };
        approver.policy().approve_proposal(approval).await.unwrap();
    }
    assert_eq!(why(destroy(&approver, "acme", "").await), (Code::InvalidArgument, "NO_REASON".into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_comes_out_behind_the_confirmed_end_of_a_tenant() {
    let server = Deployment::start_with(setup()).await;
    let (tester, operator) = (server.client("tester").await, server.client("operator").await);
    let approver = server.client("policy-approver").await;
    create(&operator, "bolt", "").await.unwrap();
    let sealed = seal(&tester, "bolt", "anna").await.unwrap();
    for _ in 0..10 {
        let ended = Arc::new(AtomicBool::new(false));
        let mut callers = JoinSet::new();
        for caller in 0..9 {
            let (client, ended, sealed) = (server.client("tester").await, ended.clone(), sealed.clone());
            callers.spawn(async move {
                loop {
                    let was_ended = ended.load(Ordering::SeqCst);
                    let given = match caller % 3 {
                        0 => open(&client, "bolt", &sealed).await.map(drop),
                        1 => seal(&client, "bolt", "anna").await.map(drop),
                        _ => index(&client, "bolt").await.map(drop),
                    };
                    assert!(given.is_err() || !was_ended, "something came out behind the end");
                    if was_ended {
                        return assert_eq!(why(given), failed("TENANT_ENDING"));
                    }
                }
            });
        }
        destroy(&operator, "bolt", "r").await.unwrap();
        sleep(Duration::from_millis(50)).await;
        let confirm =
            v1::DestroyTenantRequest { tenant: "bolt".into(), confirmation: "bolt".into(), ..Default::default() };
        let confirmed = approver.tenants().destroy_tenant(confirm).await.unwrap().into_inner().receipts;
        ended.store(true, Ordering::SeqCst);
        callers.join_all().await;
        // Nor did anything commit behind it that was decided before.
        let allowed = tester.log("bolt").await.into_iter().filter(|entry| entry.verdict() == v1::Verdict::Allow);
        let last = allowed.filter(|entry| entry.operation() != Operation::ListEntries).map(|entry| entry.index).max();
        assert!(last < Some(confirmed[0].entry_index), "{last:?}");
        cancel(&operator, "bolt").await.unwrap();
        assert!(open(&tester, "bolt", &sealed).await.unwrap().is_ok());
    }
}

/// Each wish and each cancellation disrupts; whoever only indexes reads the keys anew, and is served.
#[tokio::test(flavor = "multi_thread")]
async fn indexing_goes_on_however_often_the_tenants_record_changes() {
    let server = Deployment::start_with(setup()).await;
    let operator = server.client("operator").await;
    create(&operator, "bolt", "").await.unwrap();
    let over = Arc::new(AtomicBool::new(false));
    let mut callers = JoinSet::new();
    for _ in 0..8 {
        let (client, over) = (server.client("tester").await, over.clone());
        callers.spawn(async move {
            while !over.load(Ordering::SeqCst) {
                // It may move as often as an attempt is made; then it says so.
                let _moved_too_often = index(&client, "bolt").await;
            }
        });
    }
    let tester = server.client("tester").await;
    for _ in 0..60 {
        destroy(&operator, "bolt", "r").await.unwrap();
        cancel(&operator, "bolt").await.unwrap();
        index(&tester, "bolt").await.unwrap();
    }
    over.store(true, Ordering::SeqCst);
    callers.join_all().await;
    index(&tester, "bolt").await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_of_another_region_is_refused_on_each_request_and_on_record() {
    let mut server = Deployment::start_with(setup()).await;
    create(&server.client("operator").await, "bolt", "").await.unwrap();
    let sealed = seal(&server.client("tester").await, "bolt", "anna").await.unwrap();
    assert_eq!(server.stop().await, privet::server::Ended::Shutdown);

    // The deployment is said to be elsewhere; no tenant stands in its configuration that would stop the start.
    let file = server.dir.path().join("privet.toml");
    let text = fs::read_to_string(&file).unwrap();
    let moved = text.replace("[[tenant]]\nid = \"acme\"\n[[tenant]]\nid = \"other\"\n", "");
    let moved = moved.replace("tenants = [\"acme\", \"other\", \"_system\", \"*\"]", "tenants = [\"_system\", \"*\"]");
    assert_ne!(moved, text);
    fs::write(&file, format!("region = \"eu-west\"\n{moved}")).unwrap();
    server.run().await;
    let (tester, operator) = (server.client("tester").await, server.client("operator").await);
    assert_eq!(why(open(&tester, "bolt", &sealed).await), failed("OTHER_REGION"));
    assert_eq!(why(seal(&tester, "bolt", "anna").await), failed("OTHER_REGION"));
    assert_eq!(why(index(&tester, "bolt").await), failed("OTHER_REGION"));
    let read =
        v1::ListEntriesRequest { tenant: "bolt".into(), order: v1::Order::NewestFirst.into(), ..Default::default() };
    assert_eq!(why(tester.audit().list_entries(read).await), failed("OTHER_REGION"));
    assert_eq!(why(destroy(&operator, "bolt", "r").await), failed("OTHER_REGION"));
    assert_eq!(why(cancel(&operator, "bolt").await), failed("OTHER_REGION"));
    assert_eq!(create(&operator, "volt", "eu-west").await.unwrap().region, "eu-west");
    assert_eq!(why(create(&operator, "watt", "us-east").await), failed("OTHER_REGION"));
    // A start that names it in its configuration does not even come up.
    assert_eq!(server.stop().await, privet::server::Ended::Shutdown);
    fs::write(&file, format!("region = \"eu-west\"\n{text}")).unwrap();
    let dir = server.dir.path().to_owned();
    assert!(tokio::spawn(async move { crate::support::deployment::run(&dir).await }).await.is_err());
    // Back where it belongs, the log tells of it.
    fs::write(&file, &text).unwrap();
    server.run().await;
    let entries = server.client("tester").await.log("bolt").await;
    assert_eq!(entries.iter().filter(|entry| entry.refusal == "OTHER_REGION").count(), 4);
}
