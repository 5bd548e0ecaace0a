//! The rights of the people whose data it is, over real mTLS: erasure and its evidence, holds, closure, and what is held.

use privet::server::Ended;
use privet::{
    audit::{certificate::Certificate, checkpoint::Checkpoint, merkle::verify, note::VerifierKey},
    proto::stored::LogKey,
    proto::v1::{
        self, ErasureReason, Operation, Outcome, Reason,
        erasure_result::Result::{Erased, Error},
    },
    store::{Direction, Space, Store, sled::SledStore},
};
use prost::Message;
use tonic::{Code, Status};
use tonic_types::StatusExt;

use crate::support::deployment::{Client, Deployment, decrypt, encrypt, opened, to_decrypt, to_encrypt};
use crate::support::files::copy_directory;

const EMAIL: &str = "pii/account/email";
const TAX_ID: &str = "pii/billing/tax_id";
const ACTIVITY: &str = "pii/usage/activity";

fn erasing(subjects: &[&str], categories: &[&str]) -> v1::EraseSubjectsRequest {
    v1::EraseSubjectsRequest {
        tenant: "acme".into(),
        subjects: subjects.iter().map(ToString::to_string).collect(),
        categories: categories.iter().map(ToString::to_string).collect(),
        ..Default::default()
    }
}

async fn erase(client: &Client, subject: &str, categories: &[&str]) -> Result<Vec<v1::Erasure>, Status> {
    let answer = client.subjects().erase_subjects(erasing(&[subject], categories)).await?.into_inner();
    assert_eq!((answer.results.len(), answer.receipts.len()), (1, 1));
    match answer.results.into_iter().next().unwrap().result.unwrap() {
        Erased(erased) => Ok(erased.erasures),
        Error(error) => panic!("{error:?}"),
    }
}

async fn open(client: &Client, subject: &str, class: &str, ciphertext: &bytes::Bytes) -> Result<Vec<u8>, Reason> {
    let request = decrypt("acme", vec![to_decrypt(subject, class, ciphertext)]);
    opened(&client.encryption().decrypt(request).await.unwrap().into_inner(), 0)
}

async fn seal(client: &Client, subject: &str, class: &str) -> Result<bytes::Bytes, Reason> {
    let request = encrypt("acme", vec![to_encrypt(subject, class, "value")]);
    let answer = client.encryption().encrypt(request).await.unwrap().into_inner();
    match answer.fields.into_iter().next().unwrap().result.unwrap() {
        v1::encrypted_field::Result::Ciphertext(ciphertext) => Ok(ciphertext),
        v1::encrypted_field::Result::Error(error) => Err(error.reason()),
    }
}

async fn show(client: &Client, subject: &str) -> Result<v1::Subject, Status> {
    let request = v1::GetSubjectRequest { tenant: "acme".into(), subject: subject.into(), ..Default::default() };
    Ok(client.subjects().get_subject(request).await?.into_inner().subject.unwrap())
}

async fn hold(client: &Client, subject: &str, id: &str) -> Result<v1::Hold, Status> {
    let request = v1::PlaceHoldRequest {
        tenant: "acme".into(),
        subject: subject.into(),
        hold_id: id.into(),
        reason: "a court asked".into(),
        ..Default::default()
    };
    Ok(client.subjects().place_hold(request).await?.into_inner().hold.unwrap())
}

async fn release(client: &Client, subject: &str, id: &str) -> Result<v1::Hold, Status> {
    let request = v1::ReleaseHoldRequest {
        tenant: "acme".into(),
        subject: subject.into(),
        hold_id: id.into(),
        ..Default::default()
    };
    Ok(client.subjects().release_hold(request).await?.into_inner().hold.unwrap())
}

/// The key of the server's log, out of a copy of its store.
async fn log_key(server: &Deployment) -> VerifierKey {
    let copy = tempfile::tempdir().unwrap();
    let store = copy.path().join("store");
    copy_directory(&server.dir.path().join("store"), &store);
    let store = SledStore::open(&store).unwrap();
    let keys = store.scan(Space::LogKey, Vec::new()..vec![0xff; 8], Direction::Ascending, 2).await.unwrap();
    assert_eq!(keys.len(), 1);
    LogKey::decode(keys[0].1.as_slice()).unwrap().verifier_key.parse().unwrap()
}

fn reason(status: &Status) -> (Code, String) {
    (status.code(), status.get_error_details().error_info().map(|info| info.reason.clone()).unwrap_or_default())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_erased_opens_and_seals_no_more_not_even_after_a_restart() {
    let mut server = Deployment::start().await;
    let (tester, officer) = (server.client("tester").await, server.client("privacy-officer").await);
    let email = seal(&tester, "anna", EMAIL).await.unwrap();
    let tax_id = seal(&tester, "anna", TAX_ID).await.unwrap();
    let other = seal(&tester, "bert", EMAIL).await.unwrap();

    let erased = erase(&officer, "anna", &["account"]).await.unwrap();
    assert!(erased.len() == 1 && erased[0].now && erased[0].id.len() == 16);
    for restarted in [false, true] {
        if restarted {
            server.restart().await;
        }
        let tester = server.client("tester").await;
        assert_eq!(open(&tester, "anna", EMAIL, &email).await, Err(Reason::SubjectErased));
        assert_eq!(seal(&tester, "anna", EMAIL).await, Err(Reason::SubjectErased));
        assert!(open(&tester, "anna", TAX_ID, &tax_id).await.is_ok());
        assert!(open(&tester, "bert", EMAIL, &other).await.is_ok());
    }
    let officer = server.client("privacy-officer").await;
    let again = erase(&officer, "anna", &["account"]).await.unwrap();
    assert_eq!((again.len(), again[0].now, &again[0].certificate), (1, false, &erased[0].certificate));

    let all = erase(&officer, "anna", &[]).await.unwrap();
    assert_eq!(all.iter().map(|one| one.now).collect::<Vec<_>>(), [false, true]);
    let tester = server.client("tester").await;
    for class in [EMAIL, TAX_ID, ACTIVITY] {
        assert_eq!(seal(&tester, "anna", class).await, Err(Reason::SubjectErased), "{class}");
    }
    assert_eq!(erase(&officer, "anna", &[]).await.unwrap()[0].certificate, all[1].certificate);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_reinstated_is_sealed_for_again_and_what_was_erased_stays_so() {
    let server = Deployment::start().await;
    let (tester, officer) = (server.client("tester").await, server.client("privacy-officer").await);
    let before = seal(&tester, "anna", EMAIL).await.unwrap();
    erase(&officer, "anna", &[]).await.unwrap();
    let request = v1::ReinstateSubjectRequest { tenant: "acme".into(), subject: "anna".into(), ..Default::default() };
    officer.subjects().reinstate_subject(request.clone()).await.unwrap();
    let after = seal(&tester, "anna", EMAIL).await.unwrap();
    assert!(open(&tester, "anna", EMAIL, &after).await.is_ok());
    assert_eq!(open(&tester, "anna", EMAIL, &before).await, Err(Reason::InvalidCiphertext));
    officer.subjects().reinstate_subject(request.clone()).await.unwrap();
    let nobody = v1::ReinstateSubjectRequest { subject: "nobody".into(), ..request };
    let refused = officer.subjects().reinstate_subject(nobody).await.unwrap_err();
    assert_eq!(reason(&refused), (Code::NotFound, "UNKNOWN_SUBJECT".into()));
}

/// What was sealed behind a closure would go with it.
#[tokio::test(flavor = "multi_thread")]
async fn who_was_closed_is_sealed_for_no_more_until_reinstated_and_opens_meanwhile() {
    let server = Deployment::start().await;
    let (tester, officer) = (server.client("tester").await, server.client("privacy-officer").await);
    let before = seal(&tester, "anna", EMAIL).await.unwrap();
    let (tenant, subject) = ("acme".to_owned(), "anna".to_owned());
    let close = v1::CloseSubjectRequest { tenant: tenant.clone(), subject: subject.clone(), ..Default::default() };
    officer.subjects().close_subject(close).await.unwrap();
    for class in [EMAIL, TAX_ID] {
        assert_eq!(seal(&tester, "anna", class).await, Err(Reason::SubjectClosed), "{class}");
    }
    assert!(open(&tester, "anna", EMAIL, &before).await.is_ok());
    let log = tester.log("acme").await;
    let closed = |target: &v1::AuditTarget| target.outcome() == v1::Outcome::SubjectClosed;
    assert_eq!(log.iter().filter(|entry| entry.targets.iter().any(closed)).count(), 2);
    let reinstate = v1::ReinstateSubjectRequest { tenant, subject, ..Default::default() };
    officer.subjects().reinstate_subject(reinstate).await.unwrap();
    assert!(seal(&tester, "anna", EMAIL).await.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hold_stops_erasure_by_its_name_until_it_is_released() {
    let server = Deployment::start().await;
    let (tester, officer) = (server.client("tester").await, server.client("privacy-officer").await);
    let email = seal(&tester, "anna", EMAIL).await.unwrap();
    seal(&tester, "bert", EMAIL).await.unwrap();
    let placed = hold(&officer, "anna", "CASE-17").await.unwrap();
    assert!(placed.placed_by.ends_with("/privacy-officer") && placed.reason == "a court asked");
    assert_eq!(hold(&officer, "anna", "CASE-17").await.unwrap(), placed, "placed once");

    let refused = erase(&officer, "anna", &[]).await.unwrap_err();
    assert_eq!(reason(&refused), (Code::FailedPrecondition, "HELD".into()));
    assert!(refused.message().contains("CASE-17"), "{}", refused.message());
    let answer = officer.subjects().erase_subjects(erasing(&["anna", "nobody", "bert"], &[])).await.unwrap();
    let answer = answer.into_inner();
    let error = |result: &v1::ErasureResult| match result.result.as_ref().unwrap() {
        Erased(_) => None,
        Error(error) => Some((error.reason(), error.message.contains("CASE-17"))),
    };
    let errors: Vec<_> = answer.results.iter().map(error).collect();
    assert_eq!(errors, [Some((ErasureReason::Held, true)), Some((ErasureReason::UnknownSubject, false)), None]);
    assert!(open(&tester, "anna", EMAIL, &email).await.is_ok());

    assert_eq!(reason(&release(&officer, "anna", "CASE-18").await.unwrap_err()), (Code::NotFound, "NO_HOLD".into()));
    assert_eq!(release(&officer, "anna", "CASE-17").await.unwrap(), placed);
    erase(&officer, "anna", &[]).await.unwrap();
    let unknown = hold(&officer, "nobody", "CASE-17").await.unwrap_err();
    assert_eq!(reason(&unknown), (Code::NotFound, "UNKNOWN_SUBJECT".into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subject_is_shown_with_all_that_is_known_of_it_and_nothing_of_its_data() {
    let server = Deployment::start().await;
    let (tester, officer) = (server.client("tester").await, server.client("privacy-officer").await);
    for class in [EMAIL, EMAIL, TAX_ID, ACTIVITY] {
        seal(&tester, "anna", class).await.unwrap();
    }
    hold(&officer, "anna", "CASE-1").await.unwrap();
    release(&officer, "anna", "CASE-1").await.unwrap();
    erase(&officer, "anna", &["usage"]).await.unwrap();
    hold(&officer, "anna", "CASE-2").await.unwrap();
    let close = v1::CloseSubjectRequest { tenant: "acme".into(), subject: "anna".into(), ..Default::default() };
    let closed = officer.subjects().close_subject(close.clone()).await.unwrap().into_inner().close_time;
    let again = officer.subjects().close_subject(close.clone()).await.unwrap().into_inner().close_time;
    assert!(closed.is_some() && closed == again);
    let subject = show(&officer, "anna").await.unwrap();
    let seals = |at: usize| subject.categories[at].versions.iter().map(|version| version.seals).collect::<Vec<_>>();
    let names: Vec<_> = subject.categories.iter().map(|one| one.category.as_str()).collect();
    assert_eq!((names, seals(0), seals(1)), (vec!["account", "billing"], vec![2], vec![1]));
    assert_eq!(subject.holds.iter().map(|hold| hold.id.as_str()).collect::<Vec<_>>(), ["CASE-2"]);
    assert_eq!(subject.close_time, closed);
    assert_eq!(subject.erased.iter().map(|one| one.category.as_str()).collect::<Vec<_>>(), ["usage"]);
    assert_eq!(reason(&show(&officer, "nobody").await.unwrap_err()), (Code::NotFound, "UNKNOWN_SUBJECT".into()));

    for (seconds, ok) in [(-1, false), (0, false), (1, true), (i64::MAX, false)] {
        let time = prost_types::Timestamp { seconds, nanos: 0 };
        let request = v1::CloseSubjectRequest { close_time: Some(time), ..close.clone() };
        assert_eq!(officer.subjects().close_subject(request).await.is_ok(), ok, "{seconds}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn certificates_are_listed_fetched_and_proved_with_the_logs_key_alone() {
    let server = Deployment::start().await;
    let (tester, officer) = (server.client("tester").await, server.client("privacy-officer").await);
    let mut expected = Vec::new();
    for n in 0..5 {
        let subject = format!("subject-{n}");
        seal(&tester, &subject, EMAIL).await.unwrap();
        let categories: &[&str] = if n % 2 == 0 { &[] } else { &["account", "billing"] };
        expected.push(erase(&officer, &subject, categories).await.unwrap().remove(0));
    }
    let mut listed = Vec::new();
    let mut request = v1::ListErasuresRequest { tenant: "acme".into(), page_size: 2, ..Default::default() };
    loop {
        let page = officer.subjects().list_erasures(request.clone()).await.unwrap().into_inner();
        assert!(page.erasures.len() <= 2);
        listed.extend(page.erasures);
        if page.next_page_token.is_empty() {
            break;
        }
        request.page_token = page.next_page_token;
    }
    let mut ids: Vec<_> = expected.iter().map(|one| one.id.clone()).collect();
    ids.sort();
    assert_eq!(listed.iter().map(|one| one.id.clone()).collect::<Vec<_>>(), ids);
    // What never was there is not said to have been erased.
    let of_some = listed.iter().filter(|one| one.categories == ["account"]).count();
    assert_eq!((of_some, listed.iter().filter(|one| one.categories.is_empty()).count()), (2, 3));

    let known = [log_key(&server).await];
    for erasure in &expected {
        let request = v1::GetErasureCertificateRequest {
            tenant: "acme".into(),
            erasure_id: erasure.id.clone(),
            ..Default::default()
        };
        let note = officer.subjects().get_erasure_certificate(request).await.unwrap().into_inner().certificate;
        assert_eq!(note, erasure.certificate);
        let certificate = Certificate::open(&note, &known).unwrap();
        assert_eq!((certificate.tenant.as_str(), certificate.erasure.as_slice()), ("acme", &*erasure.id));
        assert!(!note.contains("subject-"));
    }
    let nothing = |erasure_id: Vec<u8>| v1::GetErasureCertificateRequest {
        tenant: "acme".into(),
        erasure_id: erasure_id.into(),
        ..Default::default()
    };
    let unknown = officer.subjects().get_erasure_certificate(nothing(vec![9; 16])).await.unwrap_err();
    assert_eq!(reason(&unknown), (Code::NotFound, "NO_ERASURE".into()));
    let short = officer.subjects().get_erasure_certificate(nothing(vec![9; 15])).await.unwrap_err();
    assert_eq!(short.code(), Code::InvalidArgument);
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_requests_are_refused_by_field_and_change_nothing() {
    let server = Deployment::start().await;
    let (tester, officer) = (server.client("tester").await, server.client("privacy-officer").await);
    let email = seal(&tester, "anna", EMAIL).await.unwrap();
    let many: Vec<String> = (0..1_001).map(|n| format!("s{n}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    for (request, field) in [
        (erasing(&[], &[]), "subjects"),
        (erasing(&many, &[]), "subjects"),
        (erasing(&["anna", "anna"], &[]), "subjects[1]"),
        (erasing(&["anna", ""], &[]), "subjects[1]"),
        (erasing(&["anna", &"x".repeat(257)], &[]), "subjects[1]"),
        (erasing(&["anna"], &["account", "shoes"]), "categories[1]"),
        (erasing(&["anna"], &[""]), "categories[0]"),
        (v1::EraseSubjectsRequest { tenant: "_system".into(), ..erasing(&["anna"], &[]) }, "tenant"),
        (v1::EraseSubjectsRequest { reference: "a b".into(), ..erasing(&["anna"], &[]) }, "reference"),
    ] {
        let refused = officer.subjects().erase_subjects(request).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument, "{field}");
        let details = refused.get_error_details();
        assert_eq!(details.bad_request().unwrap().field_violations[0].field, field);
        assert!(!refused.message().contains("anna"), "{}", refused.message());
    }
    for (id, reason) in
        [("", "r"), ("a b", "r"), (&"x".repeat(65), "r"), ("c", ""), ("c", "a\nb"), ("c", &"x".repeat(201))]
    {
        let request = v1::PlaceHoldRequest {
            tenant: "acme".into(),
            subject: "anna".into(),
            hold_id: id.into(),
            reason: reason.into(),
            ..Default::default()
        };
        assert_eq!(officer.subjects().place_hold(request).await.unwrap_err().code(), Code::InvalidArgument, "{id}");
    }
    // Of another tenant, or without the grant.
    let foreign = v1::EraseSubjectsRequest { tenant: "other".into(), ..erasing(&["anna"], &[]) };
    assert_eq!(officer.subjects().erase_subjects(foreign).await.unwrap_err().code(), Code::PermissionDenied);
    for name in ["support-desk", "auditor", "operator", "policy-admin", "tester"] {
        let client = server.client(name).await;
        let refused = client.subjects().erase_subjects(erasing(&["anna"], &[])).await.unwrap_err();
        assert_eq!(refused.code(), Code::PermissionDenied, "{name}");
    }
    assert!(open(&tester, "anna", EMAIL, &email).await.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_tells_of_an_erasure_and_leads_from_it_to_nobody() {
    let mut server = Deployment::start().await;
    let (tester, officer) = (server.client("tester").await, server.client("privacy-officer").await);
    seal(&tester, "anna", EMAIL).await.unwrap();
    seal(&tester, "anna", TAX_ID).await.unwrap();
    hold(&officer, "anna", "CASE-1").await.unwrap();
    release(&officer, "anna", "CASE-1").await.unwrap();
    let erasure = erase(&officer, "anna", &[]).await.unwrap().remove(0);
    let log = tester.log("acme").await;
    let of = |operation| log.iter().filter(move |entry| entry.operation() == operation);
    let aliases: Vec<_> =
        of(Operation::Encrypt).flat_map(|entry| &entry.targets).flat_map(|one| one.aliases.clone()).collect();
    assert!(!aliases.is_empty() && aliases.iter().all(|alias| *alias == aliases[0]));
    let entry = of(Operation::EraseSubjects).next().unwrap();
    assert_eq!((entry.targets.len(), entry.targets[0].outcome()), (1, Outcome::Allowed));
    assert_eq!(entry.targets[0].aliases, std::slice::from_ref(&erasure.id));
    let placed = of(Operation::PlaceHold).next().unwrap();
    assert!(placed.effect.contains("CASE-1") && !placed.effect.contains("court"), "{}", placed.effect);

    // Nobody who asks for the customer's entries is led to them any more, and nothing in the store names the old alias.
    let request = v1::ListEntriesRequest {
        tenant: "acme".into(),
        subject: "anna".into(),
        order: v1::Order::NewestFirst.into(),
        ..Default::default()
    };
    let found = tester.audit().list_entries(request).await.unwrap().into_inner();
    assert!(found.entries.is_empty(), "{:?}", found.entries);
    assert_eq!(server.stop().await, Ended::Shutdown);
    let store = SledStore::open(&server.dir.path().join("store")).unwrap();
    for space in Space::ALL.into_iter().filter(|space| *space != Space::Block) {
        let values = store.scan(space, Vec::new()..vec![0xff; 64], Direction::Ascending, 100_000).await.unwrap();
        for (key, value) in values {
            let bytes = [key, value].concat();
            assert!(!bytes.windows(16).any(|window| window == &*aliases[0]), "{space:?}");
            assert!(!bytes.windows(4).any(|window| window == b"anna"), "{space:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_is_told_every_access_with_its_proof_and_nothing_of_anybody_else() {
    let server = Deployment::start().await;
    let (tester, officer) = (server.client("tester").await, server.client("privacy-officer").await);
    let fields =
        vec![to_encrypt("anna", EMAIL, "a"), to_encrypt("anna", TAX_ID, "1"), to_encrypt("bert", ACTIVITY, "x")];
    let sealed = tester.encryption().encrypt(encrypt("acme", fields)).await.unwrap().into_inner();
    let ciphertext = crate::support::deployment::ciphertext(&sealed, 0);
    for _ in 0..3 {
        open(&tester, "anna", EMAIL, &ciphertext).await.unwrap();
    }
    open(&tester, "bert", EMAIL, &ciphertext).await.unwrap_err();
    hold(&officer, "anna", "CASE-1").await.unwrap();

    let mut request =
        v1::ReportAccessRequest { tenant: "acme".into(), subject: "anna".into(), page_size: 2, ..Default::default() };
    let known = [log_key(&server).await];
    let mut accesses = Vec::new();
    loop {
        let page = officer.subjects().report_access(request.clone()).await.unwrap().into_inner();
        assert!(page.accesses.len() <= 2 && page.kept_since.is_none());
        assert_eq!(page.subject.unwrap().categories.len(), 2);
        let checkpoint = Checkpoint::open(&page.checkpoint, "test.example/log", &known).unwrap();
        for access in &page.accesses {
            let proof: Vec<[u8; 32]> = access.proof.iter().map(|hash| (&**hash).try_into().unwrap()).collect();
            let leaf = (&*access.leaf_hash).try_into().unwrap();
            verify::inclusion(&leaf, access.entry_index, checkpoint.size(), &proof, checkpoint.root()).unwrap();
        }
        accesses.extend(page.accesses);
        if page.next_page_token.is_empty() {
            break;
        }
        request.page_token = page.next_page_token;
    }
    let of = |operation| accesses.iter().filter(move |access| access.operation() == operation).collect::<Vec<_>>();
    assert_eq!((of(Operation::Decrypt).len(), of(Operation::PlaceHold).len()), (3, 1));
    let sealed = of(Operation::Encrypt);
    let objects: Vec<_> = sealed[0].data.iter().map(|data| (data.object.as_str(), data.outcome())).collect();
    assert_eq!((sealed.len(), objects), (1, vec![(EMAIL, Outcome::Sealed), (TAX_ID, Outcome::Sealed)]));
    assert!(
        of(Operation::Decrypt).iter().all(|access| access.purpose == "signup" && access.principal.ends_with("/tester"))
    );
    // The pages of this report came while it was made: they are not in it. The next report tells of them.
    assert!(of(Operation::ReportAccess).is_empty());
    request.page_token.clear();
    request.page_size = 0;
    let again = officer.subjects().report_access(request.clone()).await.unwrap().into_inner();
    let reports = again.accesses.iter().filter(|access| access.operation() == Operation::ReportAccess);
    assert!(reports.count() >= 3);

    erase(&officer, "anna", &[]).await.unwrap_err();
    release(&officer, "anna", "CASE-1").await.unwrap();
    erase(&officer, "anna", &[]).await.unwrap();
    let after = officer.subjects().report_access(request.clone()).await.unwrap().into_inner();
    assert!(after.accesses.is_empty() && after.subject.unwrap().categories.is_empty(), "nothing leads back");
    let nobody = v1::ReportAccessRequest { subject: "nobody".into(), ..request };
    assert_eq!(reason(&officer.subjects().report_access(nobody).await.unwrap_err()).1, "UNKNOWN_SUBJECT");
}
