//! Nothing readable is left behind: after a day's worth of requests, good and bad, no value, no subject id and no part of a
//! live key is found in the data directory, in the log at its finest, in errors, or in metrics.
//!
//! Not looked for: `reference` and `request_id`, which are recorded as sent, and what says who called.

use std::fs;

use bytes::Bytes;
use privet::{
    envelope::SealingKey,
    proto::v1::{self, Reason},
    secret::Key,
    store::{Batch, Effect, Head, Slot, Space, Store, sled::SledStore},
};
use ring::hkdf::{HKDF_SHA256, Salt};
use tonic::{Code, Request, Status};

use super::{
    load::Random,
    scan::{Wanted, forms},
    site::Site,
};
use crate::support::deployment::{
    Client, Setup, ciphertext, decrypt, encrypt, free_address, metrics, opened, to_decrypt,
};

const SUBJECTS: usize = 60;
const NAME: &str = "pii/account/name";
const EMAIL: &str = "pii/account/email";
const PHONE: &str = "pii/account/phone";
const CLASSES: [&str; 7] =
    [NAME, EMAIL, PHONE, "pii/account/address", "pii/billing/tax_id", "pii/billing/payment", "pii/usage/activity"];

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_value_no_subject_id_and_no_part_of_a_key_is_left_anywhere() {
    let metrics_address = free_address();
    let site = Site::with(Setup { metrics: Some(metrics_address), ..Setup::default() });
    let aside = tempfile::tempdir().unwrap();
    let (log, draws) = (aside.path().join("log"), aside.path().join("draws"));
    let node = site.boot_watched(&log, &draws);
    let clients = Clients {
        tester: node.client(&site, "tester").await,
        support: node.client(&site, "support-desk").await,
        stranger: node.client(&site, "stranger").await,
        nobody: node.client_with(&site, &site.ca.client(&[])).await,
    };

    let mut said = Said::default();
    let mut random = Random::new(4);
    let people: Vec<Person> = (0..SUBJECTS).map(|_| Person::new(&mut random)).collect();
    for person in &people {
        seal_and_open(&clients, person, &mut said).await;
        be_refused(&clients, person, &mut said).await;
    }
    assert!(said.errors > 20 * SUBJECTS, "{} errors", said.errors);
    let exposed = metrics(metrics_address).await;
    assert!(exposed.contains("privet_rpcs"), "{exposed}");
    node.stop();

    let mut wanted = Wanted::default();
    for person in &people {
        person.canaries().iter().for_each(|canary| wanted.add_value(canary));
    }
    let subject_keys = keys(&fs::read(&draws).unwrap(), &said.key_ids, &mut wanted);
    assert_eq!(subject_keys.len(), said.key_ids.len(), "every key that sealed is looked for");
    let root = fs::read(site.dir.path().join("root/root-1.key")).unwrap();
    wanted.add_key(&root);

    let log = fs::read(log).unwrap();
    let said_finely = String::from_utf8_lossy(&log).contains("DEBUG privet::");
    assert!(said_finely, "a log at its finest says more than {:?}", String::from_utf8_lossy(&log));
    let (found, bytes) = wanted.find_in_files(site.dir.path(), &["root", "key.pem"]);
    assert!(found.is_empty() && bytes > 100_000, "in {bytes} bytes of the data directory: {found:#?}");
    for (place, text) in [("the log", &log[..]), ("errors", &said.text), ("metrics", exposed.as_bytes())] {
        let found = wanted.find(text);
        assert!(found.is_empty(), "in {place}: {found:#?}");
    }

    // The control: what the server's own store writes is found, and so is each form in a file.
    let (canary, key) = (&people[0].subject, &subject_keys[0]);
    let store = SledStore::open(&site.store()).unwrap();
    let head = store.head().unwrap();
    let planted = [canary.as_bytes(), b"/", &key[3..11]].concat();
    let slot = Slot::new(Space::Block, &[&u64::MAX.to_be_bytes()]);
    let effects = vec![Effect { slot, value: Some(planted) }];
    let next = Head { entries: head.entries + 1, ..head.clone() };
    assert_eq!(store.commit(&head, &Batch { head: next, effects }).unwrap(), privet::store::Commit::Committed);
    drop(store);
    let (found, _) = wanted.find_in_files(&site.store(), &[]);
    assert!(found.iter().any(|found| found.starts_with(canary.as_str())), "{found:#?}");
    assert!(found.iter().any(|found| found.starts_with("a key, raw")), "{found:#?}");
    for (how, form) in forms(canary.as_bytes()) {
        fs::write(site.store().join("planted"), form).unwrap();
        let (found, _) = wanted.find_in_files(&site.store().join("planted"), &[]);
        assert!(found.iter().any(|found| found.starts_with(&format!("{canary} as {how}"))), "{how}: {found:#?}");
    }
}

struct Clients {
    tester: Client,
    support: Client,
    stranger: Client,
    nobody: Client,
}

/// What the server said in errors, and the ids of all keys that it sealed with.
#[derive(Default)]
struct Said {
    text: Vec<u8>,
    errors: usize,
    key_ids: Vec<Bytes>,
}

impl Said {
    fn refused<T>(&mut self, outcome: Result<tonic::Response<T>, Status>, code: Code) {
        let Err(status) = outcome else { panic!("answered instead of {code:?}") };
        assert_eq!(status.code(), code, "{status:?}");
        self.text.extend(format!("{status:?}\n{}\n", status.message()).into_bytes());
        self.text.extend_from_slice(status.details());
        self.errors += 1;
    }

    fn field(&mut self, error: &v1::FieldError) {
        self.text.extend(format!("{error:?}\n").into_bytes());
        self.errors += 1;
    }

    fn key_id(&mut self, id: &Bytes) {
        if !self.key_ids.contains(id) {
            self.key_ids.push(id.clone());
        }
    }
}

/// A customer of whom nothing may be found. All values are in their normalised form already, but for the name.
struct Person {
    subject: String,
    context: Vec<u8>,
    values: [String; 7],
}

impl Person {
    fn new(random: &mut Random) -> Self {
        let mut tag = || format!("{:016x}", random.next());
        let subject = format!("subject-{}", tag());
        let context = [b"context\0\xff".as_slice(), tag().as_bytes()].concat();
        let (name, email, address) = (tag(), tag(), tag());
        let mut digits = |count: u32| random.below(9 * 10_u64.pow(count - 1)) + 10_u64.pow(count - 1);
        let values = [
            format!("Zoë Canary-{name}"),
            format!("canary.{email}@mail.example"),
            format!("+4930{}", digits(9)),
            format!("{address} canary street, springfield"),
            format!("DE{}", digits(12)),
            format!("4{}", digits(15)),
            format!("opened page {}", digits(16)),
        ];
        Self { subject, context, values }
    }

    fn canaries(&self) -> Vec<Vec<u8>> {
        let folded = self.values[0].to_lowercase();
        let texts = self.values.iter().chain([&self.subject, &folded]).map(|text| text.clone().into_bytes());
        texts.chain([self.context.clone()]).collect()
    }

    fn to_encrypt(&self) -> Vec<v1::FieldToEncrypt> {
        let fields = CLASSES.iter().zip(&self.values).map(|(class, value)| v1::FieldToEncrypt {
            subject: self.subject.clone(),
            class: (*class).to_owned(),
            plaintext: value.clone().into(),
            context: self.context.clone().into(),
            index: true,
        });
        fields.collect()
    }

    fn to_decrypt(&self, class: &str, ciphertext: &Bytes) -> v1::FieldToDecrypt {
        v1::FieldToDecrypt { context: self.context.clone().into(), ..to_decrypt(&self.subject, class, ciphertext) }
    }
}

/// All that a caller with grants does, and the errors of single fields.
async fn seal_and_open(Clients { tester, support, .. }: &Clients, person: &Person, said: &mut Said) {
    let sealed = tester.encryption().encrypt(encrypt("acme", person.to_encrypt())).await.unwrap().into_inner();
    sealed.fields.iter().for_each(|field| said.key_id(&field.key_id));
    let ciphertexts: Vec<Bytes> = (0..CLASSES.len()).map(|at| ciphertext(&sealed, at)).collect();
    let fields: Vec<_> = CLASSES.iter().zip(&ciphertexts).map(|(class, one)| person.to_decrypt(class, one)).collect();
    for form in [v1::Form::Plaintext, v1::Form::Masked, v1::Form::BestAllowed] {
        let mut request = decrypt("acme", fields.clone());
        request.fields.iter_mut().for_each(|field| field.form = form.into());
        let answer = tester.encryption().decrypt(request).await.unwrap().into_inner();
        for (at, value) in person.values.iter().enumerate() {
            let opened = opened(&answer, at).unwrap();
            assert!(form == v1::Form::Masked || opened == value.as_bytes());
        }
    }
    let streamed = v1::EncryptStreamRequest { sequence: 1, request: Some(encrypt("other", person.to_encrypt())) };
    let mut answers = tester.encryption().encrypt_stream(tokio_stream::iter([streamed])).await.unwrap().into_inner();
    let answer = answers.message().await.unwrap().unwrap().result.unwrap();
    let v1::encrypt_stream_response::Result::Response(answer) = answer else { panic!("not what was expected") };
    answer.fields.iter().for_each(|field| said.key_id(&field.key_id));

    let items = vec![v1::CheckItem { object: EMAIL.into(), action: "decrypt".into() }];
    let check = v1::CheckRequest { tenant: "acme".into(), purpose: "signup".into(), items, ..Default::default() };
    tester.authorization().check(check).await.unwrap();

    // Not this subject's, context's or class's; changed; cut; of a subject that is not there; not an e-mail address.
    let mut changed = ciphertexts[1].to_vec();
    *changed.last_mut().unwrap() ^= 1;
    let broken = vec![
        v1::FieldToDecrypt { context: person.subject.clone().into(), ..person.to_decrypt(EMAIL, &ciphertexts[1]) },
        person.to_decrypt(NAME, &ciphertexts[1]),
        person.to_decrypt(EMAIL, &changed.into()),
        person.to_decrypt(EMAIL, &ciphertexts[1].slice(..50)),
        person.to_decrypt(EMAIL, &person.values[0].clone().into()),
        to_decrypt(&person.values[1], EMAIL, &ciphertexts[1]),
    ];
    let count = broken.len();
    let answer = tester.encryption().decrypt(decrypt("acme", broken)).await.unwrap().into_inner();
    assert_eq!(opened(&answer, count - 1), Err(Reason::UnknownSubject));
    for field in answer.fields {
        let Some(v1::decrypted_field::Result::Error(error)) = field.result else { panic!("no error") };
        said.field(&error);
    }
    let mut misplaced = person.to_encrypt();
    misplaced.truncate(3);
    misplaced[1].plaintext = person.values[0].clone().into();
    misplaced[2].plaintext = person.values[0].clone().into();
    let answer = tester.encryption().encrypt(encrypt("acme", misplaced)).await.unwrap().into_inner();
    for field in &answer.fields[1..] {
        let Some(v1::encrypted_field::Result::Error(error)) = &field.result else { panic!("no error") };
        said.field(error);
    }

    // Some of it allowed, some denied.
    let mut request = decrypt("acme", fields);
    request.purpose = "support-ticket".into();
    let answer = support.encryption().decrypt(request).await.unwrap().into_inner();
    match opened(&answer, 1) {
        Ok(value) => assert_eq!(value, person.values[1].as_bytes()),
        // Support reaches thirty persons a minute.
        Err(reason) => assert_eq!(reason, v1::Reason::OverBudget),
    }
    for field in answer.fields {
        if let Some(v1::decrypted_field::Result::Error(error)) = field.result {
            said.field(&error);
        }
    }
}

/// Requests that are refused as a whole, with values where no value belongs.
async fn be_refused(clients: &Clients, person: &Person, said: &mut Said) {
    let Clients { tester, stranger, nobody, .. } = clients;
    let good = || encrypt("acme", person.to_encrypt());
    said.refused(stranger.encryption().encrypt(good()).await, Code::PermissionDenied);
    said.refused(nobody.encryption().encrypt(good()).await, Code::Unauthenticated);
    let to_open = vec![person.to_decrypt(EMAIL, &vec![1; 60].into())];
    said.refused(stranger.encryption().decrypt(decrypt("acme", to_open.clone())).await, Code::PermissionDenied);
    said.refused(nobody.encryption().decrypt(decrypt("acme", to_open)).await, Code::Unauthenticated);

    let (id, value) = (|| person.subject.clone(), || person.values[0].clone());
    type Break<'a> = Box<dyn Fn(&mut v1::EncryptRequest) + Send + 'a>;
    let breaks: Vec<Break<'_>> = vec![
        Box::new(|request| request.tenant = id()),
        Box::new(|request| request.tenant = value()),
        Box::new(|request| request.purpose = id()),
        Box::new(|request| request.purpose = value()),
        Box::new(|request| request.request_id = value()),
        Box::new(|request| request.reference = value()),
        Box::new(|request| request.actor = value()),
        Box::new(|request| request.fields[1].class = format!("pii/account/{}", id())),
        Box::new(|request| request.fields[1].class = format!("pii/account/{}", id().replace('-', "_"))),
        Box::new(|request| request.fields[1].class = value()),
        Box::new(|request| request.fields[1].subject = value().repeat(20)),
        Box::new(|request| request.fields[1].plaintext = value().repeat(20).into()),
        Box::new(|request| request.fields[1].context = value().repeat(60).into()),
        Box::new(|request| request.fields[0].plaintext = value().repeat(160_000).into()),
    ];
    for break_it in breaks {
        let mut request = good();
        break_it(&mut request);
        said.refused(tester.encryption().encrypt(request).await, Code::InvalidArgument);
    }
    let item = |object: String, action: String| v1::CheckItem { object, action };
    for item in [item(value(), "decrypt".into()), item(EMAIL.into(), value()), item(id(), id())] {
        let check = v1::CheckRequest {
            items: vec![item],
            tenant: "acme".into(),
            purpose: "signup".into(),
            ..Default::default()
        };
        said.refused(tester.authorization().check(check).await, Code::InvalidArgument);
    }
    let list = || v1::ListEntriesRequest { tenant: "acme".into(), ..Default::default() };
    for list in [
        v1::ListEntriesRequest { tenant: id(), ..list() },
        v1::ListEntriesRequest { page_token: value(), ..list() },
        v1::ListEntriesRequest { principal: value(), ..list() },
        v1::ListEntriesRequest { class: value(), ..list() },
    ] {
        said.refused(tester.audit().list_entries(list).await, Code::InvalidArgument);
    }
    let one = v1::ValueToIndex { class: value(), value: value().into() };
    let index = v1::ComputeIndexRequest {
        tenant: "acme".into(),
        purpose: "signup".into(),
        values: vec![one],
        ..Default::default()
    };
    said.refused(tester.encryption().compute_index(index).await, Code::InvalidArgument);
    let request = v1::EncryptStreamRequest { sequence: 1, request: Some(encrypt(&id(), person.to_encrypt())) };
    let mut answers = tester.encryption().encrypt_stream(tokio_stream::iter([request])).await.unwrap().into_inner();
    let answer = answers.message().await.unwrap().unwrap().result.unwrap();
    let v1::encrypt_stream_response::Result::Error(error) = answer else { panic!("not what was expected") };
    said.text.extend(format!("{error:?}\n").into_bytes());

    // In a header, in the path, and as no message at all.
    let mut request = Request::new(good());
    request.metadata_mut().insert("authorization", format!("Bearer {}", id()).parse().unwrap());
    request.metadata_mut().insert_bin("x-value-bin", tonic::metadata::MetadataValue::from_bytes(value().as_bytes()));
    tester.encryption().encrypt(request).await.unwrap();
    for (path, message) in [
        (format!("/privet.v1.EncryptionService/{}", id()), person.context.clone()),
        ("/privet.v1.EncryptionService/Encrypt".to_owned(), value().into_bytes()),
        ("/privet.v1.EncryptionService/Encrypt".to_owned(), field_of_bad_text(person)),
    ] {
        let mut grpc = tonic::client::Grpc::new(tester.channel.clone());
        grpc.ready().await.unwrap();
        let request = Request::new(tokio_stream::iter([Bytes::from(message)]));
        let answer = match grpc.streaming(request, path.parse().unwrap(), super::coverage::Raw).await {
            Ok(answers) => answers.into_inner().message().await.map(tonic::Response::new),
            Err(status) => Err(status),
        };
        let Err(status) = answer else { panic!("answered {path}") };
        said.text.extend(format!("{status:?}\n").into_bytes());
        said.text.extend_from_slice(status.details());
    }
}

/// An EncryptRequest whose tenant is a value, but no UTF-8.
fn field_of_bad_text(person: &Person) -> Vec<u8> {
    let text = [person.values[1].as_bytes(), &[0xff]].concat();
    [&[0x0a, text.len() as u8], text.as_slice()].concat()
}

/// Adds every key that was drawn, and what is derived to seal with; gives the subject keys.
///
/// A subject key is known by the id that commits to it, so this needs not know how draws are cut into keys, nonces and
/// aliases. A new tenant's keys are one draw, and so is a key that is drawn by itself.
fn keys(draws: &[u8], key_ids: &[Bytes], wanted: &mut Wanted) -> Vec<[u8; 32]> {
    let (mut subject_keys, mut tenants, mut rest) = (Vec::new(), 0, draws);
    while let Some((length, after)) = rest.split_first_chunk() {
        let (draw, after) = after.split_at(u32::from_be_bytes(*length) as usize);
        rest = after;
        if draw.len() >= 4_096 * 32 && draw.len() % 32 == 0 {
            wanted.add_key(draw);
            tenants += 1;
        } else if draw.len() == 32 {
            wanted.add_key(draw);
        } else {
            subject_keys.extend(draw.windows(32).map(|window| window.try_into().unwrap()).filter(|key: &[u8; 32]| {
                let id = SealingKey::derive(&Key::new(*key)).id();
                key_ids.iter().any(|known| known[..] == id.as_bytes()[..])
            }));
        }
    }
    assert_eq!(tenants, 2, "both tenants' keys are looked for");
    for key in &subject_keys {
        wanted.add_key(key);
        let mut sealing = [0; 32];
        let prk = Salt::new(HKDF_SHA256, &[]).extract(key);
        prk.expand(&[b"privet/v1/seal"], HKDF_SHA256).unwrap().fill(&mut sealing).unwrap();
        wanted.add_key(&sealing);
    }
    subject_keys
}
