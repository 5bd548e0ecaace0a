//! Sealing and opening, and all the ways in which a ciphertext can be wrong.

use privet::{
    proto::v1::{self, Outcome, Reason, decrypted_field},
    store::{Direction, Space, Store, sled::SledStore},
};
use tonic::Code;

use crate::support::deployment::{Deployment, ciphertext, decrypt, encrypt, opened, to_decrypt, to_encrypt};

const EMAIL: &str = "pii/account/email";
const PHONE: &str = "pii/account/phone";
const TAX_ID: &str = "pii/billing/tax_id";

#[tokio::test(flavor = "multi_thread")]
async fn what_was_sealed_opens_in_order_and_in_each_form() {
    let server = Deployment::start().await;
    let client = server.client("tester").await;
    let fields = vec![
        to_encrypt("anna", EMAIL, "anna@mail.example"),
        to_encrypt("anna", TAX_ID, "DE 123 456 789"),
        to_encrypt("bert", EMAIL, ""),
    ];
    let sealed = client.encryption().encrypt(encrypt("acme", fields)).await.unwrap().into_inner();
    assert_eq!(sealed.receipts.len(), 1);
    assert_eq!(ciphertext(&sealed, 2).len(), 45);
    assert!(sealed.fields.iter().all(|field| field.key_version == 1 && field.key_id.len() == 16));

    let mut fields = vec![
        to_decrypt("bert", EMAIL, &ciphertext(&sealed, 2)),
        to_decrypt("anna", EMAIL, &ciphertext(&sealed, 0)),
        to_decrypt("anna", EMAIL, &ciphertext(&sealed, 0)),
        to_decrypt("anna", TAX_ID, &ciphertext(&sealed, 1)),
    ];
    fields[2].form = v1::Form::Masked.into();
    fields[3].form = v1::Form::BestAllowed.into();
    let answer = client.encryption().decrypt(decrypt("acme", fields)).await.unwrap().into_inner();
    assert_eq!(opened(&answer, 0).unwrap(), b"");
    assert_eq!(opened(&answer, 1).unwrap(), b"anna@mail.example");
    let decrypted_field::Result::Masked(masked) = answer.fields[2].result.clone().unwrap() else { panic!() };
    assert!(masked.contains('•') && !masked.contains("anna@"), "{masked}");
    assert_eq!(opened(&answer, 3).unwrap(), b"DE 123 456 789");

    let entry = client.log("acme").await.into_iter().find(|entry| entry.operation() == v1::Operation::Decrypt).unwrap();
    let outcomes: Vec<_> = entry.targets.iter().map(|target| (target.object.as_str(), target.outcome())).collect();
    assert!(outcomes.contains(&(EMAIL, Outcome::Opened)) && outcomes.contains(&(EMAIL, Outcome::Masked)));
    assert_eq!(entry.principal, "spiffe://acme.example/tester");
}

#[tokio::test(flavor = "multi_thread")]
async fn best_allowed_serves_the_most_that_the_policy_grants() {
    let server = Deployment::start().await;
    let tester = server.client("tester").await;
    let (email, phone, tax_id) = (
        tester.seal("acme", "anna", EMAIL, b"anna@mail.example", b"").await,
        tester.seal("acme", "anna", PHONE, b"+12025550123", b"").await,
        tester.seal("acme", "anna", TAX_ID, b"123456789", b"").await,
    );
    let mut fields =
        vec![to_decrypt("anna", EMAIL, &email), to_decrypt("anna", PHONE, &phone), to_decrypt("anna", TAX_ID, &tax_id)];
    fields.iter_mut().for_each(|field| field.form = v1::Form::BestAllowed.into());
    let mut request = decrypt("acme", fields);
    request.purpose = "support-ticket".into();
    let support = server.client("support-desk").await;
    let answer = support.encryption().decrypt(request).await.unwrap().into_inner();
    assert_eq!(opened(&answer, 0).unwrap(), b"anna@mail.example");
    assert!(matches!(answer.fields[1].result, Some(decrypted_field::Result::Masked(_))));
    assert_eq!(opened(&answer, 2), Err(Reason::Denied));
    let entry =
        tester.log("acme").await.into_iter().rfind(|entry| entry.operation() == v1::Operation::Decrypt).unwrap();
    assert_eq!(entry.verdict(), v1::Verdict::Partial);
    let denied = entry.targets.iter().find(|target| target.outcome() == Outcome::Denied).unwrap();
    assert!(denied.aliases.is_empty(), "a denial does not look for the subject");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_ciphertext_fails_alone_and_always_in_the_same_words() {
    let server = Deployment::start().await;
    let client = server.client("tester").await;
    let good = client.seal("acme", "anna", EMAIL, b"anna@mail.example", b"").await;
    let of_bert = client.seal("acme", "bert", EMAIL, b"bert@mail.example", b"").await;
    let of_other = client.seal("other", "anna", EMAIL, b"anna@mail.example", b"").await;
    let mut flipped = good.to_vec();
    *flipped.last_mut().unwrap() ^= 1;
    let mut newer = good.to_vec();
    newer[0] = 2;
    let wrong = [
        bytes::Bytes::new(),
        bytes::Bytes::from_static(b"\x01"),
        good.slice(..good.len() - 1),
        flipped.into(),
        newer.into(),
        of_bert,
        of_other,
        vec![1; 65_536 + 45].into(),
    ];
    let mut fields: Vec<_> = wrong.iter().map(|wrong| to_decrypt("anna", EMAIL, wrong)).collect();
    fields.push(to_decrypt("anna", PHONE, &good));
    fields.push(v1::FieldToDecrypt { context: vec![1].into(), ..to_decrypt("anna", EMAIL, &good) });
    fields.push(to_decrypt("anna", EMAIL, &good));
    let count = fields.len();
    let answer = client.encryption().decrypt(decrypt("acme", fields)).await.unwrap().into_inner();
    let mut texts: Vec<_> = answer.fields[..count - 1]
        .iter()
        .map(|field| match field.result.clone().unwrap() {
            decrypted_field::Result::Error(error) => (error.reason(), error.message),
            _ => panic!("a wrong ciphertext was opened"),
        })
        .collect();
    texts.dedup();
    assert_eq!(texts.len(), 1);
    assert_eq!(texts[0].0, Reason::InvalidCiphertext);
    assert_eq!(opened(&answer, count - 1).unwrap(), b"anna@mail.example");
    let stranger = decrypt("acme", vec![to_decrypt("nobody", EMAIL, &good), to_decrypt("anna", TAX_ID, &good)]);
    let answer = client.encryption().decrypt(stranger).await.unwrap().into_inner();
    assert_eq!(opened(&answer, 0), Err(Reason::UnknownSubject));
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_diagonal_of_the_binding_matrix_opens() {
    let server = Deployment::start().await;
    let client = server.client("tester").await;
    let mut places = Vec::new();
    for tenant in ["acme", "other"] {
        for subject in ["anna", "bert"] {
            for class in [EMAIL, PHONE] {
                for context in [&b""[..], b"order 7"] {
                    places.push((tenant, subject, class, context));
                }
            }
        }
    }
    let mut sealed = Vec::new();
    for (tenant, subject, class, context) in &places {
        sealed.push(client.seal(tenant, subject, class, b"+12025550123", context).await);
    }
    for (i, (tenant, subject, class, context)) in places.iter().enumerate() {
        let fields = sealed
            .iter()
            .map(|sealed| v1::FieldToDecrypt { context: context.to_vec().into(), ..to_decrypt(subject, class, sealed) })
            .collect();
        let answer = client.encryption().decrypt(decrypt(tenant, fields)).await.unwrap().into_inner();
        for j in 0..places.len() {
            let expected = if i == j { Ok(b"+12025550123".to_vec()) } else { Err(Reason::InvalidCiphertext) };
            assert_eq!(opened(&answer, j), expected, "sealed at {j}, opened at {i}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_first_encrypts_for_one_subject_make_one_key() {
    let server = Deployment::start().await;
    let client = server.client("tester").await;
    let all = (0..200).map(|n| {
        let client = client.clone();
        async move {
            let field = to_encrypt("anna", EMAIL, &format!("anna+{n}@mail.example"));
            client.encryption().encrypt(encrypt("acme", vec![field])).await.unwrap().into_inner()
        }
    });
    let answers = futures_util::future::join_all(all).await;
    let mut keys: Vec<_> = answers.iter().map(|answer| answer.fields[0].key_id.clone()).collect();
    keys.dedup();
    assert_eq!(keys.len(), 1);
    let fields = answers.iter().map(|answer| to_decrypt("anna", EMAIL, &ciphertext(answer, 0))).collect();
    let answer = client.encryption().decrypt(decrypt("acme", fields)).await.unwrap().into_inner();
    assert!((0..200).all(|n| opened(&answer, n) == Ok(format!("anna+{n}@mail.example").into_bytes())));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_index_is_the_same_for_the_same_value_and_another_for_each_class_and_tenant() {
    let server = Deployment::start().await;
    let client = server.client("tester").await;
    let field = v1::FieldToEncrypt { index: true, ..to_encrypt("anna", EMAIL, " Anna@Mail.example") };
    let sealed = client.encryption().encrypt(encrypt("acme", vec![field])).await.unwrap().into_inner();
    let index = |tenant: &'static str, class: &'static str, value: &'static str| {
        let client = client.clone();
        async move {
            let request = v1::ComputeIndexRequest {
                tenant: tenant.into(),
                purpose: "signup".into(),
                values: vec![v1::ValueToIndex { class: class.into(), value: value.as_bytes().into() }],
                ..Default::default()
            };
            let answer = client.encryption().compute_index(request).await.unwrap().into_inner();
            match answer.values[0].result.clone().unwrap() {
                v1::indexed_value::Result::Index(index) => Ok(index),
                v1::indexed_value::Result::Error(error) => Err(error.reason()),
            }
        }
    };
    let found = index("acme", EMAIL, "anna@mail.example").await.unwrap();
    assert_eq!((found.len(), &found), (17, &sealed.fields[0].index));
    assert_ne!(index("other", EMAIL, "anna@mail.example").await.unwrap(), found);
    assert_ne!(index("acme", "pii/usage/activity", "anna@mail.example").await.unwrap(), found);
    assert_eq!(index("acme", EMAIL, "not an address").await, Err(Reason::InvalidValue));
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_is_still_there_after_a_restart() {
    let mut server = Deployment::start().await;
    let client = server.client("tester").await;
    let sealed = client.seal("acme", "anna", EMAIL, b"anna@mail.example", b"").await;
    let before = client.log("acme").await;
    server.restart().await;
    let client = server.client("tester").await;
    let answer = client.encryption().decrypt(decrypt("acme", vec![to_decrypt("anna", EMAIL, &sealed)])).await;
    assert_eq!(opened(&answer.unwrap().into_inner(), 0).unwrap(), b"anna@mail.example");
    let after = client.log("acme").await;
    assert_eq!(after[..before.len()], before[..]);
    assert!(after.iter().zip(0..).all(|(entry, seq)| entry.tenant_seq == seq), "no gap");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_seals_of_a_busy_key_are_written_down() {
    let mut server = Deployment::start().await;
    let client = server.client("tester").await;
    client.seal("acme", "anna", EMAIL, b"anna@mail.example", b"").await;
    assert_eq!(server.stop().await, privet::server::Ended::Shutdown);
    let record = async |server: &Deployment| {
        let store = SledStore::open(&server.dir.path().join("store")).unwrap();
        let records = store.scan(Space::Subject, vec![]..vec![0xff; 8], Direction::Ascending, 9).await.unwrap();
        assert_eq!(records.len(), 1);
        records[0].1.clone()
    };
    let before = record(&server).await;
    // Fewer than 4,096 cost no write; those that pass it cost one.
    for (batches, written) in [(3, false), (5, true)] {
        server.run().await;
        let client = server.client("tester").await;
        for _ in 0..batches {
            let fields = vec![to_encrypt("anna", EMAIL, "anna@mail.example"); 1_000];
            client.encryption().encrypt(encrypt("acme", fields)).await.unwrap();
        }
        assert_eq!(server.stop().await, privet::server::Ended::Shutdown);
        assert_eq!(record(&server).await != before, written, "after {batches} batches");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_answers_each_message_in_order_and_outlives_a_bad_one() {
    let server = Deployment::start().await;
    let client = server.client("tester").await;
    let messages = (0..50_u64).map(|sequence| {
        let subject = if sequence == 20 { String::new() } else { format!("customer {sequence}") };
        let request = encrypt("acme", vec![to_encrypt(&subject, EMAIL, &format!("c{sequence}@mail.example"))]);
        v1::EncryptStreamRequest { sequence, request: Some(request) }
    });
    let mut answers = client.encryption().encrypt_stream(tokio_stream::iter(messages)).await.unwrap().into_inner();
    let mut to_open = Vec::new();
    for expected in 0..50 {
        let answer = answers.message().await.unwrap().unwrap();
        assert_eq!(answer.sequence, expected);
        match answer.result.unwrap() {
            v1::encrypt_stream_response::Result::Response(response) => {
                let sealed = ciphertext(&response, 0);
                let fields = vec![to_decrypt(&format!("customer {expected}"), EMAIL, &sealed)];
                to_open.push(v1::DecryptStreamRequest { sequence: expected, request: Some(decrypt("acme", fields)) });
            }
            v1::encrypt_stream_response::Result::Error(error) => {
                assert_eq!((expected, Code::from_i32(error.code)), (20, Code::InvalidArgument));
                assert!(error.message.contains("fields[0].subject") && !error.details.is_empty());
            }
        }
    }
    assert!(answers.message().await.unwrap().is_none());
    let mut answers = client.encryption().decrypt_stream(tokio_stream::iter(to_open)).await.unwrap().into_inner();
    let mut count = 0;
    while let Some(answer) = answers.message().await.unwrap() {
        let v1::decrypt_stream_response::Result::Response(response) = answer.result.unwrap() else { panic!() };
        assert_eq!(opened(&response, 0).unwrap(), format!("c{}@mail.example", answer.sequence).into_bytes());
        count += 1;
    }
    assert_eq!(count, 49);
}

#[tokio::test(flavor = "multi_thread")]
async fn many_batches_that_bring_the_same_new_customers_at_once_all_succeed() {
    let server = Deployment::start().await;
    let client = server.client("tester").await;
    let classes = [EMAIL, PHONE, TAX_ID, "pii/usage/activity"];
    // Each batch shares its customers with many others, in other categories and other orders.
    let all = (0..60_usize).map(|batch| {
        let client = client.clone();
        async move {
            let fields = (0..100).map(|n| {
                let customer = (batch * 7 + n * (1 + batch % 3)) % 150;
                to_encrypt(&format!("customer {customer}"), classes[(batch + n) % classes.len()], "+12025550123")
            });
            client.encryption().encrypt(encrypt("acme", fields.collect())).await
        }
    });
    for answer in futures_util::future::join_all(all).await {
        let answer = answer.unwrap().into_inner();
        assert!((0..100).all(|n| ciphertext(&answer, n).len() > 45));
    }
}
