//! What the command says, writes and proposes.

use super::*;
use crate::{
    cli::{
        client::fake::{audit::Log, policy::Policy},
        golden,
    },
    proto::v1::PolicyMembership,
};

const PLAIN: Terminal = Terminal { json: false, quiet: true, stdout: false, stderr: false, colours: false };
const SINCE: Timestamp = Timestamp { seconds: 1_795_461_365, nanos: 0 };

fn grant(id: &str, grantee: &str, action: &str, object: &str, purpose: &str) -> PolicyGrant {
    PolicyGrant {
        id: id.into(),
        grantee: grantee.into(),
        tenant: "acme".into(),
        action: action.into(),
        object: object.into(),
        purpose: purpose.into(),
        ..Default::default()
    }
}

fn example() -> Sorted {
    let membership = PolicyMembership {
        id: "billing-service-in-acme".into(),
        member: "spiffe://acme.example/billing-service".into(),
        role: "role:billing".into(),
        tenant: "acme".into(),
        ..Default::default()
    };
    Sorted {
        grants: vec![
            grant("billing-decrypts-billing", "role:billing", "decrypt", "pii/billing/*", "invoicing"),
            grant("kim-masks-account", "user:okta/kim", "mask", "pii/account/*", "support-ticket"),
        ],
        memberships: vec![membership],
        kept: vec![
            (Kept::Control, grant("privacy-erases-subjects", "role:privacy-officer", "erase", "subjects", "operate")),
            (
                Kept::Emergency,
                grant("break-glass-decrypts", "role:break-glass", "decrypt", "pii/account/*", "emergency"),
            ),
            (Kept::Unclear, grant("export-decrypts", "role:export", "decrypt", "pii/usage/*", "subject-request")),
        ],
        younger: 3,
    }
}

#[test]
fn what_goes_and_what_stays_reads_as_it_did() {
    let text = human(&example(), SINCE, &PLAIN);
    assert!(text.lines().all(|line| line.chars().count() <= 100), "{text}");
    let nothing = human(&Sorted::default(), SINCE, &PLAIN);
    golden::check("policy/unused.txt", &format!("{text}---\n{nothing}"));
    let lines: Vec<String> = machine(&example()).iter().map(|value| format!("{value}\n")).collect();
    golden::check("policy/unused.jsonl", &lines.concat());
}

#[test]
fn what_an_id_says_can_not_drive_the_terminal() {
    let mut sorted = example();
    sorted.grants[0].grantee = "role:\x1b[2J".into();
    sorted.memberships[0].member = "user:\x1b[2J".into();
    sorted.kept[0].1.id = "\x1b[2J".into();
    assert!(!human(&sorted, SINCE, &PLAIN).contains('\x1b'));
}

fn chunks(sizes: &[usize]) -> Vec<Vec<String>> {
    let chunk = |(at, size): (usize, &usize)| (0..*size).map(|n| format!("c{at}-{n}")).collect();
    sizes.iter().enumerate().map(chunk).collect()
}

#[test]
fn each_file_holds_one_proposal_and_an_empty_one_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("unused.json");
    let written = |chunks: &[Vec<String>]| -> Vec<(String, usize)> {
        let files = written(&file, chunks).unwrap();
        let size = |file: &PathBuf| {
            let changes: Vec<Value> = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
            assert!(changes.iter().all(|change| change["remove"].is_string()), "{changes:?}");
            (file.file_name().unwrap().to_str().unwrap().to_owned(), changes.len())
        };
        files.iter().map(size).collect()
    };
    let expected = [("unused.json", 1_000), ("unused.json.2", 1_000), ("unused.json.3", 2)];
    assert_eq!(written(&chunks(&[1_000, 1_000, 2])), expected.map(|(name, size)| (name.to_owned(), size)));
    assert_eq!(written(&[]), [("unused.json".to_owned(), 0)], "what was there is no longer");
    super::written(&dir.path().join("no/where"), &chunks(&[1])).unwrap_err();
}

async fn proposed(narrow: usize, sizes: &[usize]) -> Vec<(u64, usize)> {
    let policy = Policy::of(Vec::new(), narrow);
    let clients = policy.clients(&Log::of(Vec::new())).await;
    let proposing = Proposing {
        tenant: Tenant::parse("acme").unwrap(),
        reason: "nobody needed them".into(),
        request_id: Reference::parse("").unwrap(),
        base_version: 7,
    };
    proposing.all(&clients, chunks(sizes), &PLAIN).await.unwrap();
    policy.proposed().into_iter().map(|(base, ids)| (base, ids.len())).collect()
}

#[tokio::test]
async fn each_further_proposal_is_made_on_the_version_that_the_last_one_made() {
    assert_eq!(proposed(9, &[1_000, 1_000, 5]).await, [(7, 1_000), (17, 1_000), (27, 5)]);
}

#[tokio::test]
async fn nothing_more_is_proposed_once_one_waits() {
    assert_eq!(proposed(1, &[1_000, 1_000, 5]).await, [(7, 1_000), (17, 1_000)]);
    assert_eq!(proposed(0, &[3]).await, [(7, 3)]);
}
