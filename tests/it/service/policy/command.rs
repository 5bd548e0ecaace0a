//! `privet policy` as admins use it, against a whole server.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Output,
};

use serde_json::{Value, json};
use tempfile::TempDir;

use super::deployment;
use crate::{
    command::{code, privet, stderr, stdout},
    support::deployment::Deployment,
};

/// A server, and the identities of those who ask it.
pub(super) struct Site {
    pub(super) server: Deployment,
    dir: TempDir,
}

impl Site {
    async fn start() -> Self {
        Self::of(deployment().await)
    }

    pub(super) fn of(server: Deployment) -> Self {
        let dir = tempfile::tempdir().unwrap();
        for name in ["policy-admin", "policy-approver", "dora-proposes", "other-admin", "auditor", "cleaner"] {
            let identity = dir.path().join(name);
            fs::create_dir(&identity).unwrap();
            server.ca.client(&[&format!("spiffe://acme.example/{name}")]).write(&identity);
            fs::write(identity.join("ca.pem"), server.ca.pem()).unwrap();
        }
        Self { server, dir }
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(super) async fn policy(&self, who: &str, tenant: &str, args: &[&str]) -> Output {
        let identity = self.path(who).display().to_string();
        let server = format!("localhost:{}", self.server.address.port());
        let options = ["--tenant", tenant, "--identity", &identity, "--server", &server];
        let mut command = privet(&[&["policy"], args, &options].concat());
        tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap()
    }

    /// What a command writes that must do its work.
    pub(super) async fn done(&self, who: &str, tenant: &str, args: &[&str]) -> String {
        let output = self.policy(who, tenant, args).await;
        assert_eq!(code(&output), 0, "{args:?}: {}{}", stdout(&output), stderr(&output));
        let text = stdout(&output);
        if !args.contains(&"--json") {
            assert!(text.lines().all(|line| line.chars().count() <= 100), "{text}");
        }
        text
    }

    pub(super) async fn json(&self, who: &str, tenant: &str, args: &[&str]) -> Value {
        serde_json::from_str(&self.done(who, tenant, &[args, &["--json"]].concat()).await).unwrap()
    }
}

fn edit(file: &Path, from: &str, to: &str) {
    let text = fs::read_to_string(file).unwrap();
    assert!(text.contains(from), "{} has no {from:?}", file.display());
    fs::write(file, text.replacen(from, to, 1)).unwrap();
}

const NEW_GRANT: &str = "\
#: id=support-masks-usage reason=\"support sees how the service is used\"
p, role:support, acme, pii/usage/*, mask, support-ticket, 0, 0, allow
";

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_goes_from_show_over_apply_and_approve_into_force() {
    let site = Site::start().await;
    let dir = site.path("policies");
    let policies = dir.to_str().unwrap();
    site.done("policy-admin", "acme", &["show", "--out", policies]).await;
    let base = fs::read_to_string(dir.join(".base-version")).unwrap();
    assert!(base.starts_with("1 ") && base.len() == 2 + 64 + 1, "{base}");
    let unchanged = site.policy("policy-admin", "acme", &["apply", policies, "--reason", "r"]).await;
    assert_eq!(code(&unchanged), 1, "{}", stderr(&unchanged));
    assert!(stdout(&unchanged).contains("change nothing"), "{}", stdout(&unchanged));

    let mark = "# ── Billing";
    edit(&dir.join("policy.csv"), mark, &format!("{NEW_GRANT}{mark}"));
    let planned = site.done("policy-admin", "acme", &["apply", policies, "--dry-run"]).await;
    assert!(
        planned.contains("+ support-masks-usage\n    role:support may mask pii/usage/* for support-ticket in acme\n")
    );
    assert!(planned.contains("It needs another person's approval:\n  grant support-masks-usage is a new allow\n"));
    assert!(planned.contains("decisions in the newest") && planned.contains("0 would flip."), "{planned}");
    assert!(site.done("policy-admin", "acme", &["proposals"]).await.lines().count() == 1, "a dry run proposes nothing");

    let applied = site.done("policy-admin", "acme", &["apply", policies, "--reason", "support asked"]).await;
    assert!(applied.ends_with(
        "Proposal 1 of spiffe://acme.example/policy-admin, on version 1: waits for approval\n  because support asked\n"
    ), "{applied}");
    let waiting = site.done("policy-approver", "acme", &["proposals"]).await;
    assert!(waiting.lines().nth(1).unwrap().starts_with("1   open"), "{waiting}");
    let shown = site.done("policy-approver", "acme", &["proposals", "1"]).await;
    assert!(shown.contains("+ support-masks-usage"), "{shown}");
    let hash = site.json("policy-approver", "acme", &["proposals", "1"]).await["proposal"]["policy_hash"].clone();
    let other = site.policy("policy-approver", "acme", &["approve", "1", "--policy-hash", &"ab".repeat(32)]).await;
    assert_eq!((code(&other), stderr(&other).contains("OTHER_DOCUMENT")), (1, true), "{}", stderr(&other));
    let approve = ["approve", "1", "--policy-hash", hash.as_str().unwrap()];
    let approved = site.done("policy-approver", "acme", &approve).await;
    assert!(approved.contains("policy version 2 in force"), "{approved}");

    let grants = site.done("policy-admin", "acme", &["show"]).await;
    assert!(grants.contains("support-masks-usage") || grants.contains("support-masks"), "{grants}");
    let history = site.done("policy-admin", "acme", &["history"]).await;
    let lines: Vec<&str> = history.lines().collect();
    assert!(lines[1].starts_with("2*") && history.contains("support asked"), "{history}");
    let differ = site.policy("policy-admin", "acme", &["compare", "1"]).await;
    assert_eq!(code(&differ), 1, "they differ: {}", stderr(&differ));
    assert!(stdout(&differ).starts_with("+ support-masks-usage\n"), "{}", stdout(&differ));
    let same = site.json("policy-admin", "acme", &["compare", "2", "2"]).await;
    assert_eq!(same, json!({"from": 2, "to": 2, "differences": []}));

    let back = site.done("policy-admin", "acme", &["rollback", "1", "--reason", "not so"]).await;
    assert!(back.contains("- support-masks-usage") && back.contains("policy version 3 in force"), "{back}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_that_does_not_know_what_the_server_has_is_not_applied_over_it() {
    let site = Site::start().await;
    let dir = site.path("policies");
    let policies = dir.to_str().unwrap();
    site.done("policy-admin", "acme", &["show", "--out", policies]).await;
    let changes = site.path("changes.json");
    fs::write(&changes, json!([{"remove": "acme-test-masks"}]).to_string()).unwrap();
    let narrowed = ["propose", "--change", changes.to_str().unwrap(), "--reason", "nobody masks"];
    let narrowed = site.done("dora-proposes", "acme", &narrowed).await;
    assert!(narrowed.contains("It only narrows") && narrowed.contains("policy version 2 in force"), "{narrowed}");

    let mark = "# ── Billing";
    edit(&dir.join("policy.csv"), mark, &format!("{NEW_GRANT}{mark}"));
    let stale = site.policy("policy-admin", "acme", &["apply", policies, "--reason", "r"]).await;
    assert_eq!(code(&stale), 1);
    assert!(stdout(&stale).starts_with("- acme-test-masks\n"), "{}", stdout(&stale));
    assert!(stderr(&stale).contains("made from version 1: it does not know of 1 change"), "{}", stderr(&stale));
    // Naming another base does not hide it: what would come back is in the plan.
    let forced = site.done("policy-admin", "acme", &["apply", policies, "--base", "2", "--dry-run"]).await;
    assert!(forced.contains("+ acme-test-masks") && forced.contains("+ support-masks-usage"), "{forced}");
    let simulated = site.done("policy-admin", "acme", &["simulate", policies, "--base", "2"]).await;
    let of_change = |text: &str| text.split("\nOf ").next().map(str::to_owned);
    assert_eq!(of_change(&simulated), of_change(&forced));

    fs::remove_file(dir.join(".base-version")).unwrap();
    let nameless = site.policy("policy-admin", "acme", &["apply", policies, "--reason", "r"]).await;
    assert_eq!(code(&nameless), 2);
    assert!(stderr(&nameless).contains("privet policy show --out"), "{}", stderr(&nameless));
    edit(&dir.join("policy.csv"), ", mask, support-ticket", ", masks, support-ticket");
    let bad = site.policy("policy-admin", "acme", &["apply", policies, "--base", "2", "--reason", "r"]).await;
    assert_eq!(code(&bad), 1);
    assert!(stdout(&bad).starts_with("policies/policy.csv:") && stdout(&bad).contains("field act"), "{}", stdout(&bad));
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_have_their_exit_codes() {
    let site = Site::start().await;
    let changes = site.path("changes.json");
    let file = changes.to_str().unwrap();
    fs::write(&changes, json!([{"remove": "acme-test-masks"}]).to_string()).unwrap();
    let cases: [(&str, &str, &[&str], i32, &str); 6] = [
        ("other-admin", "acme", &["show"], 1, "DENIED"),
        ("other-admin", "acme", &["propose", "--change", file, "--reason", "r"], 1, "DENIED"),
        ("policy-approver", "acme", &["approve", "7"], 1, "NO_PROPOSAL"),
        ("policy-admin", "acme", &["propose", "--change", "/nowhere", "--reason", "r"], 2, "can't be read"),
        ("policy-admin", "acme", &["propose", "--change", file, "--base", "9", "--reason", "r"], 1, "STALE_BASE"),
        ("policy-admin", "acme", &["show", "--version", "9"], 1, "NO_POLICY_VERSION"),
    ];
    for (who, tenant, args, exit, text) in cases {
        let output = site.policy(who, tenant, args).await;
        assert_eq!(code(&output), exit, "{args:?}: {}", stderr(&output));
        assert!(stderr(&output).contains(text), "{args:?}: {}", stderr(&output));
    }
    let rejected = ["propose", "--change", file, "--reason", "r"];
    fs::write(&changes, json!([{"remove": "support-never-decrypts-billing"}]).to_string()).unwrap();
    let waits = site.done("policy-admin", "acme", &rejected).await;
    assert!(waits.contains("It removes 1 line that the server has.\n"), "{waits}");
    let rejected = site.json("policy-approver", "acme", &["reject", "1", "--reason", "it stays"]).await;
    assert_eq!(
        (&rejected["proposal"]["state"], &rejected["proposal"]["decide_reason"]),
        (&json!("rejected"), &json!("it stays"))
    );
}
