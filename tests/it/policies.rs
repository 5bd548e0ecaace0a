//! `privet policy lint`, `test` and `diff` as a repository's checks run them: on directories, without a server or an identity.

use std::{fs, path::Path, process::Output};

use serde_json::Value;
use tempfile::TempDir;

use crate::command::{code, run, stderr, stdout};

/// The shipped files in a directory, with some texts of `policy.csv` replaced.
fn dir(edits: &[(&str, &str)]) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    for name in ["model.conf", "policy.csv", "catalogue.toml", "assertions.toml"] {
        let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("policies").join(name);
        fs::copy(shipped, dir.path().join(name)).unwrap();
    }
    let policy = dir.path().join("policy.csv");
    let text = edits.iter().fold(fs::read_to_string(&policy).unwrap(), |text, (from, to)| {
        assert!(text.contains(from), "{from}");
        text.replacen(from, to, 1)
    });
    fs::write(policy, text).unwrap();
    dir
}

fn policy(command: &str, dirs: &[&TempDir], options: &[&str]) -> Output {
    let dirs = dirs.iter().map(|dir| dir.path().to_str().unwrap());
    run(&["policy", command].into_iter().chain(dirs).chain(options.iter().copied()).collect::<Vec<_>>())
}

fn json(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {}", stderr(output)))
}

fn golden(file: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/policy").join(file)).unwrap()
}

/// What a policy that the commands refuse is refused for: `file:line: field name: why`.
const BROKEN: (&str, &str) = ("pii/account/*, mask, support-ticket", "pii/account/*, peek, support-ticket");

/// The edits of `diff-narrows.txt`.
const NARROWER: [(&str, &str); 3] = [
    (
        "#: id=support-decrypts-email reason=\"support answers tickets by e-mail\"\n\
         p, role:support, acme, pii/account/email, decrypt, support-ticket, 0, 0, allow\n",
        "",
    ),
    ("id=billing-decrypts-email reason", "id=billing-decrypts-email expires=2028-01-01T00:00:00Z reason"),
    ("pii/account/email, decrypt, invoicing, 0, 0,", "pii/account/email, decrypt, invoicing, 0, 1830297600,"),
];

#[test]
fn lint_accepts_a_sound_policy_and_says_each_problem_of_another() {
    let shipped = dir(&[]);
    let sound = policy("lint", &[&shipped], &[]);
    assert_eq!((code(&sound), stderr(&sound).as_str()), (0, ""));
    assert!(stdout(&sound).starts_with("sound: ") && stdout(&sound).lines().count() == 1, "{}", stdout(&sound));
    assert_eq!(stdout(&policy("lint", &[&shipped], &["--quiet"])), "");
    assert_eq!(json(&policy("lint", &[&shipped], &["--json"]))["sound"], true);

    let broken = dir(&[BROKEN]);
    let refused = policy("lint", &[&broken], &[]);
    let place = format!("{}/policy.csv:36: field act: must be an action", broken.path().display());
    assert_eq!(code(&refused), 1);
    assert!(
        stdout(&refused).starts_with(&place) && stdout(&refused).ends_with("\n1 problem\n"),
        "{}",
        stdout(&refused)
    );
    assert_eq!(stdout(&policy("lint", &[&broken], &["--quiet"])), stdout(&refused), "a refusal is never quiet");
    let value = json(&policy("lint", &[&broken], &["--json"]));
    let problem = &value["problems"][0];
    assert_eq!((&value["sound"], &problem["line"], &problem["field"]), (&false.into(), &36.into(), &"act".into()));
}

#[test]
fn test_runs_the_assertions_and_fails_with_them() {
    let shipped = dir(&[]);
    let holds = policy("test", &[&shipped], &[]);
    assert_eq!((code(&holds), stdout(&holds)), (0, golden("test.txt")), "{}", stderr(&holds));
    let fails = dir(&[("pii/account/*, mask, support-ticket", "pii/account/*, mask, signup")]);
    let failed = policy("test", &[&fails], &["--quiet"]);
    assert_eq!((code(&failed), stdout(&failed)), (1, golden("test-failed.txt")), "{}", stderr(&failed));
    assert_eq!(json(&policy("test", &[&fails], &["--json"]))["holds"], false);
    let unsound = policy("test", &[&dir(&[BROKEN])], &[]);
    assert_eq!(code(&unsound), 1);
    assert!(stdout(&unsound).contains("policy.csv:36: field act"), "{}", stdout(&unsound));
}

#[test]
fn diff_says_what_needs_an_approval_and_refuses_what_is_unsound() {
    let (shipped, narrower) = (dir(&[]), dir(&NARROWER));
    let narrows = policy("diff", &[&shipped, &narrower], &[]);
    assert_eq!((code(&narrows), stdout(&narrows)), (0, golden("diff-narrows.txt")), "{}", stderr(&narrows));
    assert_eq!(json(&policy("diff", &[&shipped, &narrower], &["--json"]))["widens"], false);
    let back = json(&policy("diff", &[&narrower, &shipped], &["--json"]));
    assert_eq!(back["widens"], true, "the way back widens");
    let gain: Vec<&str> = back["beneficiaries"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    assert_eq!(gain, ["spiffe://acme.example/billing-service", "spiffe://acme.example/support-desk"]);
    assert_eq!(stdout(&policy("diff", &[&shipped, &shipped], &[])), "no difference\n");
    for dirs in [[&shipped, &dir(&[BROKEN])], [&dir(&[BROKEN]), &shipped]] {
        let unsound = policy("diff", &dirs, &[]);
        assert_eq!(code(&unsound), 1);
        assert!(stdout(&unsound).contains("policy.csv:36: field act"), "{}", stdout(&unsound));
    }
}

#[test]
fn a_directory_that_is_not_there_is_a_failed_check_and_a_missing_one_wrong_usage() {
    for args in
        [&["lint", "/nowhere/at/all"][..], &["test", "/nowhere/at/all"], &["diff", "/nowhere", "/nowhere/at/all"]]
    {
        let output = run(&[&["policy"], args].concat());
        assert_eq!(code(&output), 1, "{args:?}");
        assert!(stdout(&output).contains("/policy.csv: can't be read: entity not found"), "{}", stdout(&output));
        let without = run(&["policy", args[0]]);
        assert_eq!((code(&without), stdout(&without).as_str()), (2, ""), "{args:?}");
    }
}
