//! `privet dev` when things go wrong: cut off, started twice, on other people's policies, on open addresses.

use std::{
    fs,
    path::Path,
    process::{Output, Stdio},
    thread,
    time::Duration,
};

use crate::command::{code, privet, run, stderr, stdout};

fn once(dir: &Path) -> Output {
    run(&["dev", "--dir", dir.to_str().unwrap(), "--listen", "127.0.0.1:0", "--once"])
}

fn edit(file: &Path, from: &str, to: &str) {
    let text = fs::read_to_string(file).unwrap();
    assert!(text.contains(from), "{} has no {from:?}", file.display());
    fs::write(file, text.replacen(from, to, 1)).unwrap();
}

#[test]
fn a_first_run_that_is_killed_anywhere_is_taken_up_again() {
    let scratch = tempfile::tempdir().unwrap();
    let mut cut_short = 0;
    for (round, millis) in [2, 5, 10, 20, 40, 80, 160].into_iter().enumerate() {
        let dir = scratch.path().join(round.to_string());
        let args = ["dev", "--dir", dir.to_str().unwrap(), "--listen", "127.0.0.1:0"];
        let mut child = privet(&args).stdout(Stdio::null()).spawn().unwrap();
        thread::sleep(Duration::from_millis(millis));
        child.kill().unwrap();
        child.wait().unwrap();
        cut_short += usize::from(!dir.join("address").exists());
        let output = once(&dir);
        assert_eq!(code(&output), 0, "after {millis} ms: {}{}", stdout(&output), stderr(&output));
    }
    assert!(cut_short > 0, "no run was killed before it served");
}

#[test]
fn a_scenario_that_does_not_hold_is_seen_and_told() {
    let scratch = tempfile::tempdir().unwrap();
    let too_little = ("g, spiffe://acme.example/support-desk, role:support, acme", "", "✗ masked");
    let too_much = (
        "g, spiffe://acme.example/billing-service, role:billing, acme",
        "g, spiffe://acme.example/billing-service, role:billing, acme\n\
         #: id=too-much reason=\"a mistake\"\n\
         p, role:billing, acme, pii/billing/*, decrypt, signup, 0, 0, allow",
        "✗ denied",
    );
    for (round, (from, to, shown)) in [too_little, too_much].into_iter().enumerate() {
        let dir = scratch.path().join(round.to_string());
        assert_eq!(code(&once(&dir)), 0);
        let policies = dir.join("policies");
        if to.is_empty() {
            let id = "#: id=support-desk-in-acme reason=\"the support tool\"\n";
            edit(&policies.join("policy.csv"), &format!("{id}{from}"), to);
        } else {
            edit(&policies.join("policy.csv"), from, to);
        }
        // The shipped assertions would not let such a policy start at all.
        let refused = once(&dir);
        if code(&refused) != 1 {
            assert_eq!(code(&refused), 2);
            assert!(stderr(&refused).contains("assertions.toml:"), "{}", stderr(&refused));
            fs::write(policies.join("assertions.toml"), "").unwrap();
        }
        let output = once(&dir);
        let text = stdout(&output);
        assert_eq!(code(&output), 1, "{text}{}", stderr(&output));
        assert!(text.contains(shown) && text.contains("policy.csv") && !text.contains("please report"), "{text}");

        for name in ["policy.csv", "assertions.toml"] {
            fs::remove_file(policies.join(name)).unwrap();
        }
        let again = once(&dir);
        assert_eq!(code(&again), 0, "as shipped, it holds again: {}{}", stdout(&again), stderr(&again));
    }
}

#[test]
fn a_second_run_on_the_same_directory_touches_nothing_of_the_first() {
    let scratch = tempfile::tempdir().unwrap();
    let dir = scratch.path();
    let args = ["dev", "--dir", dir.to_str().unwrap(), "--listen", "127.0.0.1:0"];
    let mut first = privet(&args).stdout(Stdio::null()).spawn().unwrap();
    let address = dir.join("address");
    for _ in 0..600 {
        if address.exists() {
            break;
        }
        thread::sleep(Duration::from_millis(50));
    }
    let before = fs::read(&address).unwrap();
    fs::remove_file(dir.join("policies/policy.csv")).unwrap();
    let second = once(dir);
    first.kill().unwrap();
    first.wait().unwrap();
    assert_eq!(code(&second), 3, "{}", stderr(&second));
    assert!(stderr(&second).contains("in use by another `privet dev`"), "{}", stderr(&second));
    assert_eq!(fs::read(&address).unwrap(), before);
    assert!(!dir.join("policies/policy.csv").exists());
}

#[test]
fn only_this_machine_is_served() {
    let scratch = tempfile::tempdir().unwrap();
    let dir = scratch.path().join("dev");
    for open in ["0.0.0.0:0", "[::]:0", "192.0.2.1:0"] {
        let output = run(&["dev", "--dir", dir.to_str().unwrap(), "--listen", open, "--once"]);
        assert_eq!(code(&output), 2);
        assert!(stderr(&output).contains("loopback"), "{}", stderr(&output));
    }
    assert!(!dir.exists());
}

#[test]
fn machines_read_one_line_of_json() {
    let scratch = tempfile::tempdir().unwrap();
    let dir = scratch.path().join("it's a dir");
    let args = ["dev", "--json", "--dir", dir.to_str().unwrap(), "--listen", "127.0.0.1:0", "--once"];
    let output = run(&args);
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    assert!(output.stderr.is_empty(), "{}", stderr(&output));
    let report: serde_json::Value = serde_json::from_str(&stdout(&output)).unwrap();
    assert_eq!((report["held"].as_bool(), report["customers"].as_u64()), (Some(true), Some(2_500)));
    let steps: Vec<_> = report["steps"].as_array().unwrap().iter().map(|step| step["done"].as_str().unwrap()).collect();
    assert_eq!(steps, ["sealed", "opened", "masked", "guarded", "denied", "refused", "recorded", "proved"]);
}
