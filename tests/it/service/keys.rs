//! The life of subject keys over real mTLS: new versions, sealing anew, the end of old versions, and keys for documents.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use privet::proto::v1::{self, Operation, Outcome, Reason, generated_data_key, rewrapped_field, unwrapped_data_key};
use tokio::task::JoinSet;
use tonic::{Code, Status};
use tonic_types::StatusExt;

use crate::support::deployment::{Client, Deployment, Setup, decrypt, encrypt, opened, to_decrypt, to_encrypt};

const EMAIL: &str = "pii/account/email";
const NAME: &str = "pii/account/name";
const TAX_ID: &str = "pii/billing/tax_id";

const REWRAPS: &str = "
#: id=tester-rewraps reason=\"tests\"
p, spiffe://acme.example/tester, acme, pii/account/*, rewrap, signup, 0, 0, allow
#: id=tester-rewraps-other reason=\"tests\"
p, spiffe://acme.example/tester, other, pii/account/*, rewrap, signup, 0, 0, allow
";

async fn deployment() -> Deployment {
    Deployment::start_with(Setup { policy: REWRAPS.into(), ..Default::default() }).await
}

fn to_rewrap(subject: &str, class: &str, ciphertext: &Bytes) -> v1::FieldToRewrap {
    v1::FieldToRewrap {
        subject: subject.into(),
        class: class.into(),
        ciphertext: ciphertext.clone(),
        ..Default::default()
    }
}

fn rewrapping(tenant: &str, fields: Vec<v1::FieldToRewrap>) -> v1::RewrapRequest {
    v1::RewrapRequest { tenant: tenant.into(), purpose: "signup".into(), fields, ..Default::default() }
}

async fn rewrap(client: &Client, field: v1::FieldToRewrap) -> Result<(Bytes, bool, u32), Reason> {
    let answer = client.encryption().rewrap(rewrapping("acme", vec![field])).await.unwrap().into_inner();
    result(answer.fields.into_iter().next().unwrap())
}

fn result(field: v1::RewrappedField) -> Result<(Bytes, bool, u32), Reason> {
    match field.result.unwrap() {
        rewrapped_field::Result::Ciphertext(ciphertext) => Ok((ciphertext, field.changed, field.key_version)),
        rewrapped_field::Result::Error(error) => Err(error.reason()),
    }
}

async fn open(client: &Client, subject: &str, class: &str, ciphertext: &Bytes) -> Result<Vec<u8>, Reason> {
    let request = decrypt("acme", vec![to_decrypt(subject, class, ciphertext)]);
    opened(&client.encryption().decrypt(request).await.unwrap().into_inner(), 0)
}

async fn rotate(client: &Client, subject: &str, categories: &[&str]) -> Result<v1::RotateSubjectKeysResponse, Status> {
    let request = v1::RotateSubjectKeysRequest {
        tenant: "acme".into(),
        subject: subject.into(),
        categories: categories.iter().map(ToString::to_string).collect(),
        ..Default::default()
    };
    Ok(client.keys().rotate_subject_keys(request).await?.into_inner())
}

async fn retire(client: &Client, subject: &str, up_to_version: u32, rewrapped: bool) -> Result<Vec<u32>, Status> {
    let request = v1::RetireKeyVersionsRequest {
        tenant: "acme".into(),
        subject: subject.into(),
        category: "account".into(),
        up_to_version,
        rewrapped,
        ..Default::default()
    };
    Ok(client.keys().retire_key_versions(request).await?.into_inner().versions)
}

fn reason(status: &Status) -> (Code, String) {
    (status.code(), status.get_error_details().error_info().map(|info| info.reason.clone()).unwrap_or_default())
}

/// The version under which a value is sealed now.
async fn version(client: &Client, subject: &str) -> u32 {
    let request = encrypt("acme", vec![to_encrypt(subject, EMAIL, "value")]);
    client.encryption().encrypt(request).await.unwrap().into_inner().fields[0].key_version
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_rewrapped_opens_in_the_same_place_only_and_then_old_versions_can_go() {
    let server = deployment().await;
    let (tester, operator) = (server.client("tester").await, server.client("operator").await);
    let old = tester.seal("acme", "anna", EMAIL, b"anna@mail.example", b"row 7").await;
    let mut field = to_rewrap("anna", EMAIL, &old);
    field.context = b"row 7".to_vec().into();
    assert_eq!(rewrap(&tester, field.clone()).await, Ok((old.clone(), false, 1)), "under the newest already");

    let rotated = rotate(&operator, "anna", &[]).await.unwrap();
    assert_eq!(rotated.versions, [v1::NewKeyVersion { category: "account".into(), version: 2 }]);
    let (new, changed, version) = rewrap(&tester, field.clone()).await.unwrap();
    assert!(changed && version == 2 && new != old);
    for ciphertext in [&old, &new] {
        let mut field = to_decrypt("anna", EMAIL, ciphertext);
        field.context = b"row 7".to_vec().into();
        let answer = tester.encryption().decrypt(decrypt("acme", vec![field])).await.unwrap().into_inner();
        assert_eq!(opened(&answer, 0).unwrap(), b"anna@mail.example", "every live version opens");
        assert_eq!(open(&tester, "anna", EMAIL, ciphertext).await, Err(Reason::InvalidCiphertext), "the context stays");
    }

    let refused = retire(&operator, "anna", 1, false).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    assert_eq!(refused.get_error_details().bad_request().unwrap().field_violations[0].field, "rewrapped");
    assert_eq!(reason(&retire(&operator, "anna", 2, true).await.unwrap_err()).1, "NEWEST_KEY_VERSION");
    assert_eq!(reason(&retire(&operator, "bert", 1, true).await.unwrap_err()).1, "UNKNOWN_SUBJECT");
    assert_eq!(retire(&operator, "anna", 1, true).await.unwrap(), [1]);
    assert_eq!(retire(&operator, "anna", 1, true).await.unwrap(), [0; 0], "once");
    assert_eq!(rewrap(&tester, field.clone()).await, Err(Reason::InvalidCiphertext), "what was left under it is lost");
    field.ciphertext = new;
    assert!(rewrap(&tester, field).await.is_ok());

    let log = tester.log("acme").await;
    let outcomes: Vec<_> = log
        .iter()
        .filter(|entry| entry.operation() == Operation::Rewrap)
        .flat_map(|entry| entry.targets.iter().map(|target| target.outcome()))
        .collect();
    assert_eq!(outcomes.iter().filter(|outcome| **outcome == Outcome::Rewrapped).count(), 3);
    let retired = log.iter().find(|entry| entry.operation() == Operation::RetireKeyVersions).unwrap();
    assert!(!retired.effect.is_empty() || !retired.refusal.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn foreign_forged_and_erased_ciphertexts_are_not_rewrapped_and_each_says_why() {
    let server = deployment().await;
    let (tester, officer) = (server.client("tester").await, server.client("privacy-officer").await);
    let anna = tester.seal("acme", "anna", EMAIL, b"a", b"").await;
    let gone = tester.seal("acme", "gone", EMAIL, b"a", b"").await;
    let other = tester.seal("other", "anna", EMAIL, b"a", b"").await;
    tester.seal("acme", "bert", EMAIL, b"a", b"").await;
    let erase = v1::EraseSubjectsRequest { tenant: "acme".into(), subjects: vec!["gone".into()], ..Default::default() };
    officer.subjects().erase_subjects(erase).await.unwrap();
    let mut forged = anna.to_vec();
    *forged.last_mut().unwrap() ^= 1;
    let data_key = v1::FieldToRewrap { data_key: true, ..to_rewrap("anna", EMAIL, &anna) };
    for (field, expected) in [
        (to_rewrap("bert", EMAIL, &anna), Reason::InvalidCiphertext),
        (to_rewrap("anna", NAME, &anna), Reason::InvalidCiphertext),
        (to_rewrap("anna", EMAIL, &other), Reason::InvalidCiphertext),
        (to_rewrap("anna", EMAIL, &forged.into()), Reason::InvalidCiphertext),
        (to_rewrap("anna", EMAIL, &Bytes::new()), Reason::InvalidCiphertext),
        (data_key, Reason::InvalidCiphertext),
        (to_rewrap("nobody", EMAIL, &anna), Reason::UnknownSubject),
        (to_rewrap("gone", EMAIL, &gone), Reason::SubjectErased),
    ] {
        assert_eq!(rewrap(&tester, field).await, Err(expected));
    }
    // One of each, and one that may not be.
    let fields = vec![
        to_rewrap("anna", TAX_ID, &anna),
        to_rewrap("anna", EMAIL, &anna),
        to_rewrap("gone", EMAIL, &gone),
        to_rewrap("bert", EMAIL, &anna),
    ];
    let answer = tester.encryption().rewrap(rewrapping("acme", fields)).await.unwrap().into_inner();
    let results: Vec<_> = answer.fields.into_iter().map(|field| result(field).map(|(_, changed, _)| changed)).collect();
    let expected = [Err(Reason::Denied), Ok(false), Err(Reason::SubjectErased), Err(Reason::InvalidCiphertext)];
    assert_eq!(results, expected);
    let nothing = server.client("support-desk").await;
    let denied = nothing.encryption().rewrap(rewrapping("acme", vec![to_rewrap("anna", EMAIL, &anna)])).await;
    assert_eq!(denied.unwrap_err().code(), Code::PermissionDenied);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_rewraps_message_by_message_and_goes_on_behind_a_denial() {
    let server = deployment().await;
    let tester = server.client("tester").await;
    let anna = tester.seal("acme", "anna", EMAIL, b"a", b"").await;
    let message = |sequence, class: &str| v1::RewrapStreamRequest {
        sequence,
        request: Some(rewrapping("acme", vec![to_rewrap("anna", class, &anna)])),
    };
    let messages = tokio_stream::iter([message(1, EMAIL), message(2, TAX_ID), message(3, EMAIL)]);
    let mut answers = tester.encryption().rewrap_stream(messages).await.unwrap().into_inner();
    let mut codes = Vec::new();
    while let Some(answer) = answers.message().await.unwrap() {
        codes.push((
            answer.sequence,
            match answer.result.unwrap() {
                v1::rewrap_stream_response::Result::Response(_) => 0,
                v1::rewrap_stream_response::Result::Error(error) => error.code,
            },
        ));
    }
    assert_eq!(codes, [(1, 0), (2, Code::PermissionDenied as i32), (3, 0)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_whole_tenant_is_rotated_by_one_marker_and_each_key_follows_at_its_next_seal() {
    let mut server = deployment().await;
    let (tester, operator) = (server.client("tester").await, server.client("operator").await);
    let old = tester.seal("acme", "anna", EMAIL, b"a", b"").await;
    assert_eq!(version(&tester, "anna").await, 1);
    let rotated = rotate(&operator, "", &[]).await.unwrap();
    assert!(rotated.rotate_time.is_some() && rotated.versions.is_empty());
    for _ in 0..3 {
        assert_eq!(version(&tester, "anna").await, 2, "one new version, and no more");
    }
    assert_eq!(version(&tester, "bert").await, 1, "who comes later begins");
    assert!(open(&tester, "anna", EMAIL, &old).await.is_ok());
    assert_eq!(rewrap(&tester, to_rewrap("anna", EMAIL, &old)).await.unwrap().2, 2);
    server.restart().await;
    let (tester, operator) = (server.client("tester").await, server.client("operator").await);
    assert_eq!((version(&tester, "anna").await, version(&tester, "bert").await), (2, 1));

    let request = v1::GetKeyStatusRequest { tenant: "acme".into(), ..Default::default() };
    let status = operator.keys().get_key_status(request.clone()).await.unwrap().into_inner();
    assert_eq!((status.subjects, status.rotate_time, status.next_page_token.as_str()), (2, rotated.rotate_time, ""));
    let counts: Vec<_> = status.counts.iter().map(|one| (one.version, one.newest, one.days, one.count)).collect();
    assert_eq!(counts, [(1, false, 0, 1), (1, true, 0, 1), (2, true, 0, 1)]);
    let of_anna = v1::GetKeyStatusRequest { subject: "anna".into(), ..request };
    let status = operator.keys().get_key_status(of_anna).await.unwrap().into_inner();
    let versions: Vec<_> = status.categories[0].versions.iter().map(|one| one.version).collect();
    assert_eq!((status.categories.len(), versions), (1, vec![1, 2]));
    let bad = v1::RotateSubjectKeysRequest {
        tenant: "acme".into(),
        categories: vec!["account".into()],
        ..Default::default()
    };
    assert_eq!(operator.keys().rotate_subject_keys(bad).await.unwrap_err().code(), Code::InvalidArgument);
    assert_eq!(rotate(&operator, "anna", &["shoes"]).await.unwrap_err().code(), Code::InvalidArgument);
    assert_eq!(reason(&rotate(&operator, "anna", &["billing"]).await.unwrap_err()).1, "UNKNOWN_SUBJECT");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nothing_comes_out_under_an_old_version_once_a_rotation_is_acknowledged() {
    let server = deployment().await;
    let operator = server.client("operator").await;
    version(&server.client("tester").await, "anna").await;
    for (round, whole) in [(2, false), (3, true), (4, false), (5, true)] {
        let rotated = Arc::new(AtomicBool::new(false));
        let mut sealers = JoinSet::new();
        for _ in 0..8 {
            let (client, rotated) = (server.client("tester").await, rotated.clone());
            sealers.spawn(async move {
                loop {
                    let was_rotated = rotated.load(Ordering::SeqCst);
                    let version = version(&client, "anna").await;
                    assert!(version >= round || !was_rotated, "sealed under {version} behind the rotation to {round}");
                    if was_rotated {
                        return;
                    }
                }
            });
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
        rotate(&operator, if whole { "" } else { "anna" }, &[]).await.unwrap();
        rotated.store(true, Ordering::SeqCst);
        sealers.join_all().await;
        if whole {
            // Its marker is of this second: who seals in the same second gets a new version once.
            tokio::time::sleep(Duration::from_millis(1_100)).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_sixty_fifth_version_is_refused_until_old_ones_are_retired() {
    let server = deployment().await;
    let (tester, operator) = (server.client("tester").await, server.client("operator").await);
    version(&tester, "anna").await;
    for _ in 2..=64 {
        rotate(&operator, "anna", &["account"]).await.unwrap();
    }
    let refused = rotate(&operator, "anna", &[]).await.unwrap_err();
    assert_eq!(reason(&refused), (Code::FailedPrecondition, "TOO_MANY_KEY_VERSIONS".into()));
    assert_eq!(version(&tester, "anna").await, 64);
    assert_eq!(retire(&operator, "anna", 63, true).await.unwrap().len(), 63);
    assert_eq!(rotate(&operator, "anna", &[]).await.unwrap().versions[0].version, 65);
}

/// Under a newer key it would be kept longer than it may be.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_kept_by_the_age_of_its_key_is_not_moved_to_a_younger_one() {
    let rewraps_usage = REWRAPS.replace("pii/account/*", "pii/*");
    let server = Deployment::start_with(Setup { policy: rewraps_usage, ..Default::default() }).await;
    let (tester, operator) = (server.client("tester").await, server.client("operator").await);
    let activity = "pii/usage/activity";
    let sealed = tester.seal("acme", "anna", activity, b"logged in", b"").await;
    rotate(&operator, "anna", &[]).await.unwrap();
    let (same, changed, version) = rewrap(&tester, to_rewrap("anna", activity, &sealed)).await.unwrap();
    assert_eq!((same, changed, version), (sealed.clone(), false, 1));
    // So nobody can end the old one by hand either, taking it for empty.
    let request = v1::RetireKeyVersionsRequest {
        tenant: "acme".into(),
        subject: "anna".into(),
        category: "usage".into(),
        up_to_version: 1,
        rewrapped: true,
        ..Default::default()
    };
    let refused = operator.keys().retire_key_versions(request).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument, "{refused:?}");
    assert!(open(&tester, "anna", activity, &sealed).await.is_ok());
    let forged = Bytes::from([&sealed[..sealed.len() - 1], &[sealed[sealed.len() - 1] ^ 1]].concat());
    assert_eq!(rewrap(&tester, to_rewrap("anna", activity, &forged)).await, Err(Reason::InvalidCiphertext));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hold_keeps_old_versions_too() {
    let server = deployment().await;
    let clients =
        (server.client("tester").await, server.client("operator").await, server.client("privacy-officer").await);
    let (tester, operator, officer) = clients;
    version(&tester, "anna").await;
    rotate(&operator, "anna", &[]).await.unwrap();
    let hold = v1::PlaceHoldRequest {
        tenant: "acme".into(),
        subject: "anna".into(),
        hold_id: "CASE-9".into(),
        reason: "r".into(),
        ..Default::default()
    };
    officer.subjects().place_hold(hold).await.unwrap();
    let refused = retire(&operator, "anna", 1, true).await.unwrap_err();
    assert!(reason(&refused) == (Code::FailedPrecondition, "HELD".into()) && refused.message().contains("CASE-9"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_data_key_unwraps_in_its_place_only_and_is_never_a_field() {
    let server = deployment().await;
    let (tester, officer) = (server.client("tester").await, server.client("privacy-officer").await);
    let key = |subject: &str, context: &str| v1::DataKeyToGenerate {
        subject: subject.into(),
        class: EMAIL.into(),
        context: context.as_bytes().to_vec().into(),
    };
    let request = v1::GenerateDataKeyRequest {
        tenant: "acme".into(),
        purpose: "signup".into(),
        keys: vec![key("anna", "scan.pdf"), key("anna", "scan.pdf"), key("bert", "")],
        ..Default::default()
    };
    let answer = tester.encryption().generate_data_key(request).await.unwrap().into_inner();
    let keys: Vec<v1::DataKey> = answer
        .keys
        .into_iter()
        .map(|key| match key.result.unwrap() {
            generated_data_key::Result::Key(key) => key,
            generated_data_key::Result::Error(error) => panic!("{error:?}"),
        })
        .collect();
    assert!(keys.iter().all(|key| key.plaintext.len() == 32 && key.wrapped.len() == 77));
    assert!(keys[0].plaintext != keys[1].plaintext && keys[0].plaintext != vec![0; 32]);

    let unwrap = async |subject: &str, class: &str, context: &str, wrapped: &Bytes| {
        let key = v1::DataKeyToUnwrap {
            subject: subject.into(),
            class: class.into(),
            wrapped: wrapped.clone(),
            context: context.as_bytes().to_vec().into(),
        };
        let request = v1::UnwrapDataKeyRequest {
            tenant: "acme".into(),
            purpose: "signup".into(),
            keys: vec![key],
            ..Default::default()
        };
        let answer = tester.encryption().unwrap_data_key(request).await.unwrap().into_inner();
        match answer.keys.into_iter().next().unwrap().result.unwrap() {
            unwrapped_data_key::Result::Plaintext(key) => Ok(key),
            unwrapped_data_key::Result::Error(error) => Err(error.reason()),
        }
    };
    assert_eq!(unwrap("anna", EMAIL, "scan.pdf", &keys[0].wrapped).await, Ok(keys[0].plaintext.clone()));
    for (subject, class, context) in [("bert", EMAIL, "scan.pdf"), ("anna", NAME, "scan.pdf"), ("anna", EMAIL, "")] {
        assert_eq!(unwrap(subject, class, context, &keys[0].wrapped).await, Err(Reason::InvalidCiphertext));
    }
    // Neither is ever the other, whoever may decrypt.
    let mut field = to_decrypt("anna", EMAIL, &keys[0].wrapped);
    field.context = b"scan.pdf".to_vec().into();
    let answer = tester.encryption().decrypt(decrypt("acme", vec![field])).await.unwrap().into_inner();
    assert_eq!(opened(&answer, 0), Err(Reason::InvalidCiphertext));
    let sealed = tester.seal("acme", "anna", EMAIL, &[7; 32], b"").await;
    assert_eq!(unwrap("anna", EMAIL, "", &sealed).await, Err(Reason::InvalidCiphertext));

    rotate(&server.client("operator").await, "anna", &[]).await.unwrap();
    let old = v1::FieldToRewrap {
        data_key: true,
        context: b"scan.pdf".to_vec().into(),
        ..to_rewrap("anna", EMAIL, &keys[0].wrapped)
    };
    let (new, changed, _) = rewrap(&tester, old).await.unwrap();
    assert!(changed);
    assert_eq!(unwrap("anna", EMAIL, "scan.pdf", &new).await, Ok(keys[0].plaintext.clone()));

    let erase = v1::EraseSubjectsRequest { tenant: "acme".into(), subjects: vec!["anna".into()], ..Default::default() };
    officer.subjects().erase_subjects(erase).await.unwrap();
    assert_eq!(unwrap("anna", EMAIL, "scan.pdf", &new).await, Err(Reason::SubjectErased), "erasure reaches documents");
}
