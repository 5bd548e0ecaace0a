//! The log proved over the wire: checkpoints, proofs, exports, tails, and the entries of one subject.

use std::time::Duration;

use privet::{
    audit::{
        checkpoint::Checkpoint,
        entry,
        merkle::{Hash, Tree, verify},
        note::VerifierKey,
    },
    proto::{
        stored,
        v1::{self, Operation, exported_leaf::Leaf, get_inclusion_proof_request::Entry},
    },
};
use prost::Message;
use tokio::time::timeout;
use tonic::Code;

use crate::support::deployment::{Client, Deployment, decrypt, encrypt, to_decrypt, to_encrypt};

const EMAIL: &str = "pii/account/email";
const LONG: Duration = Duration::from_secs(30);

async fn checkpoint(client: &Client) -> (Checkpoint, VerifierKey) {
    let request = v1::GetCheckpointRequest { tenant: "acme".into(), ..Default::default() };
    let answer = client.audit().get_checkpoint(request).await.unwrap().into_inner();
    let key: VerifierKey = answer.verifier_keys[0].parse().unwrap();
    let checkpoint = open(&answer.checkpoint, &key);
    assert_eq!(checkpoint.size(), answer.receipts[0].entry_index + 1, "it covers the record of the call");
    (checkpoint, key)
}

fn open(note: &str, key: &VerifierKey) -> Checkpoint {
    Checkpoint::open(note, key.name(), std::slice::from_ref(key)).unwrap()
}

fn hashes(hashes: &[bytes::Bytes]) -> Vec<Hash> {
    hashes.iter().map(|hash| hash.as_ref().try_into().unwrap()).collect()
}

fn inclusion(entry: Entry) -> v1::GetInclusionProofRequest {
    v1::GetInclusionProofRequest { tenant: "acme".into(), entry: Some(entry), ..Default::default() }
}

async fn seal(client: &Client, tenant: &str, subject: &str) -> v1::EncryptResponse {
    let request = encrypt(tenant, vec![to_encrypt(subject, EMAIL, "anna@mail.example")]);
    client.encryption().encrypt(request).await.unwrap().into_inner()
}

async fn export(client: &Client, start_index: u64, end_index: u64) -> Vec<v1::ExportEntriesResponse> {
    let request = v1::ExportEntriesRequest { tenant: "acme".into(), start_index, end_index, ..Default::default() };
    let mut stream = client.audit().export_entries(request).await.unwrap().into_inner();
    let mut messages = Vec::new();
    while let Some(message) = timeout(LONG, stream.message()).await.unwrap().unwrap() {
        messages.push(message);
    }
    messages
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_holds_a_receipt_can_have_it_proved() {
    let server = Deployment::start().await;
    let (tester, stranger) = (server.client("tester").await, server.client("stranger").await);
    let receipt = seal(&tester, "acme", "anna").await.receipts.remove(0);
    let (newest, key) = checkpoint(&stranger).await;

    let promised = open(&receipt.checkpoint, &key);
    assert!(promised.size() > receipt.entry_index);
    let proof = stranger.audit().get_inclusion_proof(inclusion(Entry::LeafHash(receipt.leaf_hash.clone()))).await;
    let proof = proof.unwrap().into_inner();
    let led_to = open(&proof.checkpoint, &key);
    let leaf: Hash = receipt.leaf_hash.as_ref().try_into().unwrap();
    assert_eq!(proof.index, receipt.entry_index);
    for index_hint in [receipt.entry_index, 0, u64::MAX] {
        let hinted = v1::GetInclusionProofRequest {
            index_hint: Some(index_hint),
            ..inclusion(Entry::LeafHash(receipt.leaf_hash.clone()))
        };
        let found = stranger.audit().get_inclusion_proof(hinted).await.unwrap().into_inner();
        assert_eq!((found.index, &found.leaf_hash), (receipt.entry_index, &receipt.leaf_hash), "a hint is no more");
    }
    verify::inclusion(&leaf, proof.index, led_to.size(), &hashes(&proof.hashes), led_to.root()).unwrap();

    let request = v1::GetConsistencyProofRequest {
        tenant: "acme".into(),
        first_size: promised.size(),
        second_size: newest.size(),
        ..Default::default()
    };
    let proof = stranger.audit().get_consistency_proof(request).await.unwrap().into_inner();
    let (first, second) = (promised.size(), newest.size());
    verify::consistency(first, promised.root(), second, newest.root(), &hashes(&proof.hashes)).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_entry_is_named_by_its_index_only_to_those_who_may_read_it() {
    let server = Deployment::start().await;
    let (tester, stranger) = (server.client("tester").await, server.client("stranger").await);
    let acmes = seal(&tester, "acme", "anna").await.receipts.remove(0);
    let others = seal(&tester, "other", "ben").await.receipts.remove(0);
    let ask = async |client: &Client, entry| client.audit().get_inclusion_proof(inclusion(entry)).await;

    let proof = ask(&tester, Entry::Index(acmes.entry_index)).await.unwrap().into_inner();
    assert_eq!(proof.leaf_hash, acmes.leaf_hash);
    assert_eq!(ask(&stranger, Entry::Index(acmes.entry_index)).await.unwrap_err().code(), Code::PermissionDenied);
    for (what, entry) in [
        ("another tenant's", Entry::Index(others.entry_index)),
        ("not there yet", Entry::Index(1 << 40)),
        ("past any log", Entry::Index(u64::MAX)),
        ("of no entry", Entry::LeafHash(vec![7; 32].into())),
    ] {
        assert_eq!(ask(&tester, entry).await.unwrap_err().code(), Code::NotFound, "{what}");
    }
    let short = ask(&tester, Entry::LeafHash(vec![7; 31].into())).await.unwrap_err();
    assert_eq!(short.code(), Code::InvalidArgument);
    assert!(short.message().contains("leaf_hash"), "{}", short.message());
    // The first entry is about the log itself: every auditor may have it.
    ask(&tester, Entry::Index(0)).await.unwrap();
    let log = tester.log("acme").await;
    let missing = |entry: &&v1::AuditEntry| entry.effect.contains("does not have");
    assert_eq!(log.iter().filter(missing).count(), 4, "what was asked in vain is recorded");
}

#[tokio::test(flavor = "multi_thread")]
async fn sizes_that_the_log_does_not_have_are_refused_by_name() {
    let server = Deployment::start().await;
    let stranger = server.client("stranger").await;
    for (first_size, second_size, field) in
        [(2, 1, "first_size"), (0, 1 << 40, "second_size"), (u64::MAX, 0, "first_size")]
    {
        let tenant = "acme".into();
        let request = v1::GetConsistencyProofRequest { tenant, first_size, second_size, ..Default::default() };
        let refused = stranger.audit().get_consistency_proof(request).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument);
        assert!(refused.message().starts_with(field), "{}", refused.message());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_leads_to_its_checkpoint_and_shows_only_what_is_the_tenants() {
    let server = Deployment::start().await;
    let (tester, auditor) = (server.client("tester").await, server.client("auditor").await);
    for n in 0..300 {
        seal(&tester, if n % 3 == 0 { "other" } else { "acme" }, &format!("subject-{n}")).await;
    }
    let (_, key) = checkpoint(&auditor).await;
    let messages = export(&auditor, 0, 0).await;
    let whole = open(&messages[0].checkpoint, &key);
    let (mut tree, mut acme_seq, mut foreign, mut kept) = (Tree::new(), 0, 0, 0);
    for message in &messages {
        for leaf in &message.leaves {
            assert_eq!(leaf.index, tree.size());
            match leaf.leaf.as_ref().unwrap() {
                Leaf::Raw(raw) => {
                    let entry = stored::Entry::decode(raw.as_ref()).unwrap();
                    assert!(entry.tenant == "acme" || entry.log_change.is_some(), "{entry:?}");
                    if entry.tenant == "acme" {
                        assert_eq!(entry.tenant_seq, acme_seq);
                        acme_seq += 1;
                    }
                    tree.push(entry::leaf_hash(raw));
                }
                Leaf::LeafHash(hash) => {
                    foreign += 1;
                    tree.push(hash.as_ref().try_into().unwrap());
                }
            }
        }
        if !message.checkpoint.is_empty() && !message.leaves.is_empty() {
            kept += 1;
            let checkpoint = open(&message.checkpoint, &key);
            assert_eq!((checkpoint.size(), *checkpoint.root()), (tree.size(), tree.root()));
        }
        assert_eq!(message.receipts.len(), 1);
    }
    assert_eq!((whole.size(), *whole.root()), (tree.size(), tree.root()));
    assert!(acme_seq > 200 && foreign > 100 && kept >= 1, "{acme_seq} {foreign} {kept}");

    // A part of it, up to a size at which nothing was signed before.
    let part = export(&auditor, 10, 123).await;
    assert_eq!(open(&part[0].checkpoint, &key).size(), 123);
    let indexes: Vec<u64> = part.iter().flat_map(|message| message.leaves.iter().map(|leaf| leaf.index)).collect();
    assert!(indexes.into_iter().eq(10..123));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tail_sends_what_is_recorded_and_not_its_own_records() {
    let server = Deployment::start().await;
    let tester = server.client("tester").await;
    let request = v1::TailEntriesRequest { tenant: "acme".into(), ..Default::default() };
    let mut tail = tester.audit().tail_entries(request).await.unwrap().into_inner();
    let opened = timeout(LONG, tail.message()).await.unwrap().unwrap().unwrap();
    assert!(opened.entries.is_empty() && opened.receipts.len() == 1);
    let mut next = opened.next_index;
    for n in 0..5 {
        let sealed = seal(&tester, "acme", &format!("subject-{n}")).await;
        seal(&tester, "other", "elsewhere").await;
        let message = timeout(LONG, tail.message()).await.unwrap().unwrap().unwrap();
        let [entry] = message.entries.as_slice() else { panic!("{} entries", message.entries.len()) };
        assert_eq!(entry.index, sealed.receipts[0].entry_index);
        next = message.next_index;
    }
    drop(tail);
    let last = seal(&tester, "acme", "later").await.receipts[0].entry_index;

    // Going on from where it broke loses nothing and repeats nothing.
    let operation = Operation::Encrypt.into();
    let request =
        v1::TailEntriesRequest { tenant: "acme".into(), start_index: Some(next), operation, ..Default::default() };
    let mut tail = tester.audit().tail_entries(request).await.unwrap().into_inner();
    let mut indexes = Vec::new();
    while indexes.is_empty() {
        let message = timeout(LONG, tail.message()).await.unwrap().unwrap().unwrap();
        indexes.extend(message.entries.iter().map(|entry| entry.index));
    }
    assert_eq!(indexes, [last]);

    let mut effects: Vec<String> = Vec::new();
    for _ in 0..100 {
        let log = tester.log("acme").await;
        let tails = log.into_iter().filter(|entry| entry.operation() == Operation::TailEntries);
        effects = tails.map(|entry| entry.effect).collect();
        if effects.iter().any(|effect| effect.contains("ended")) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(effects.iter().filter(|effect| effect.starts_with("tail from")).count(), 2, "{effects:?}");
    assert_eq!(effects.iter().filter(|effect| effect.starts_with("tail ended")).count(), 1, "{effects:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tail_ends_in_good_order_with_the_server_and_does_not_hold_it_up() {
    let mut server = Deployment::start().await;
    let tester = server.client("tester").await;
    let request = v1::TailEntriesRequest { tenant: "acme".into(), ..Default::default() };
    let mut tail = tester.audit().tail_entries(request).await.unwrap().into_inner();
    timeout(LONG, tail.message()).await.unwrap().unwrap().unwrap();
    let began = std::time::Instant::now();
    let _ = server.stop().await;
    let took = began.elapsed();
    assert!(timeout(LONG, tail.message()).await.unwrap().unwrap().is_none(), "ended, and not broken off");
    // The drain would wait two seconds.
    assert!(took < Duration::from_millis(1_500), "{took:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subjects_entries_are_found_by_its_id_and_nobody_elses() {
    let server = Deployment::start().await;
    let tester = server.client("tester").await;
    let sealed = seal(&tester, "acme", "anna").await;
    seal(&tester, "acme", "ben").await;
    seal(&tester, "other", "anna").await;
    let ciphertext = crate::support::deployment::ciphertext(&sealed, 0);
    let opened = decrypt("acme", vec![to_decrypt("anna", EMAIL, &ciphertext)]);
    let opened = tester.encryption().decrypt(opened).await.unwrap().into_inner();
    let list = async |subject: &str| {
        let request = v1::ListEntriesRequest { tenant: "acme".into(), subject: subject.into(), ..Default::default() };
        tester.audit().list_entries(request).await.map(|page| page.into_inner().entries)
    };
    let indexes = |entries: Vec<v1::AuditEntry>| entries.iter().map(|entry| entry.index).collect::<Vec<_>>();
    let expected = [opened.receipts[0].entry_index, sealed.receipts[0].entry_index];
    assert_eq!(indexes(list("anna").await.unwrap()), expected);
    assert!(list("carla").await.unwrap().is_empty());
    assert_eq!(list(&"x".repeat(257)).await.unwrap_err().code(), Code::InvalidArgument);
    let log = tester.log("acme").await;
    assert!(log.iter().all(|entry| !String::from_utf8_lossy(&entry.raw).contains("anna")));
    // What was looked for is recorded, and by whose name the log knows the subject.
    let alias = log
        .iter()
        .find(|entry| entry.index == sealed.receipts[0].entry_index)
        .map(|entry| entry.targets[0].aliases[0].iter().map(|byte| format!("{byte:02x}")).collect::<String>())
        .unwrap();
    let asked =
        |effect: &str| log.iter().any(|entry| entry.operation() == Operation::ListEntries && entry.effect == effect);
    assert!(asked(&format!("2 entries, subject {alias}")) && asked("0 entries, of an unknown subject"));
}
