//! People's rights from the command line, and `docs/privacy-policy.md` kept true: every test that it names exists, and every
//! command that it names does what it says.

use std::{fs, path::Path};

use crate::command::{Dev, call, code, stderr, stdout};

#[test]
fn rights_are_commands_and_each_leaves_its_evidence() {
    let scratch = tempfile::tempdir().unwrap();
    let dir = scratch.path().join("dev");
    let _dev = Dev::start(&dir);
    let officer = |args: &[&str]| call(&dir, "privacy-officer", b"", args);
    let whom = ["--subject", "cust-000001"];
    let with = |args: &[&'static str]| [args, &whom[..]].concat();

    let shown = officer(&with(&["subject", "show"]));
    assert!(code(&shown) == 0 && stdout(&shown).contains("account: sealed "), "{}", stderr(&shown));
    let report = officer(&with(&["subject", "report"]));
    assert!(stdout(&report).contains("support-desk (role:support) saw a part of account/name, account/"), "{report:?}");
    let report = officer(&[&with(&["subject", "report"])[..], &["--json"]].concat());
    let report: serde_json::Value = serde_json::from_str(stdout(&report).lines().next().unwrap()).unwrap();
    assert!(report["accesses"].as_array().unwrap().iter().all(|access| access["proof"].is_array()));
    assert!(!report.to_string().contains("cust-000001"));

    assert_eq!(code(&officer(&with(&["subject", "hold", "CASE-1", "--reason", "a court asked"]))), 0);
    assert_eq!(code(&officer(&with(&["subject", "erase"]))), 2, "erasing is final, and confirmed");
    let held = officer(&with(&["subject", "erase", "--yes"]));
    assert!(code(&held) == 1 && stderr(&held).contains("CASE-1"), "{}", stderr(&held));
    assert_eq!(code(&officer(&with(&["subject", "release", "CASE-1"]))), 0);
    let certificate = officer(&with(&["subject", "erase", "--yes"]));
    assert_eq!(code(&certificate), 0, "{}", stderr(&certificate));
    let key = format!("@{}", dir.join("log.vkey").display());
    let verify = ["subject", "verify-certificate", "--verifier-key", &key];
    let verified = call(&dir, "nobody", &certificate.stdout, &verify);
    assert!(code(&verified) == 0 && stdout(&verified).contains("all categories"), "{}", stderr(&verified));
    let forged = stdout(&certificate).replace("categories *", "categories account");
    assert_eq!(code(&call(&dir, "nobody", forged.as_bytes(), &verify)), 1);

    // Erased in parts, a customer has several certificates: printed together, they verify together.
    let parts = ["subject", "erase", "--yes", "--subject", "cust-001600"];
    assert_eq!(code(&officer(&[&parts[..], &["--category", "usage"]].concat())), 0);
    let both = officer(&parts);
    assert_eq!(stdout(&both).matches("privet-erasure-certificate/v1\n").count(), 2, "{}", stdout(&both));
    let verified = call(&dir, "nobody", &both.stdout, &verify);
    let told = stdout(&verified);
    assert!(code(&verified) == 0 && told.matches("verified: ").count() == 2 && told.contains(" usage of"), "{told}");
    let json = call(&dir, "nobody", &both.stdout, &[&verify[..], &["--json"]].concat());
    assert_eq!(stdout(&json).lines().count(), 2);
    let forged = stdout(&both).replace("categories usage", "categories account");
    let refused = call(&dir, "nobody", forged.as_bytes(), &verify);
    assert!(code(&refused) == 1 && stdout(&refused).is_empty(), "{}", stdout(&refused));
    assert!(stderr(&refused).contains(" of 2: a signature of the note is wrong"), "{}", stderr(&refused));

    // A file of many, cut off and taken up again.
    let (ids, out) = (scratch.path().join("ids"), scratch.path().join("erased.jsonl"));
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/customers.csv");
    let mut customers = csv::Reader::from_path(data).unwrap();
    let column = customers.headers().unwrap().iter().position(|name| name == "id").unwrap();
    let lines: String = customers.records().take(1_500).map(|row| format!("{}\n", &row.unwrap()[column])).collect();
    fs::write(&ids, &lines).unwrap();
    let file = ["subject", "erase", "--yes", "--file", ids.to_str().unwrap(), "--out", out.to_str().unwrap()];
    let erased = officer(&file);
    assert!(code(&erased) == 0 && stderr(&erased).contains("1,500 customers erased"), "{}", stderr(&erased));
    let whole = fs::read_to_string(&out).unwrap();
    assert!(whole.lines().count() == 1_501 && !whole.contains("cust-"));
    let cut: String = whole.lines().take(701).map(|line| format!("{line}\n")).collect::<String>() + "{\"line\":70";
    fs::write(&out, cut).unwrap();
    let again = officer(&file);
    assert!(
        stderr(&again).contains("1,500 customers erased, 0 refused; went on behind line 700"),
        "{}",
        stderr(&again)
    );
    let certificates = |text: &str| -> Vec<String> {
        let certificate =
            |line: &str| serde_json::from_str::<serde_json::Value>(line).unwrap()["erasures"][0]["id"].to_string();
        text.lines().skip(1).map(certificate).collect()
    };
    assert_eq!(certificates(&fs::read_to_string(&out).unwrap()), certificates(&whole), "erased once");

    // Neither whom nor why need stand among the arguments.
    let why = scratch.path().join("why");
    fs::write(&why, "a court asked\n").unwrap();
    let hold = ["subject", "hold", "CASE-2", "--reason-file", why.to_str().unwrap(), "--subject-file", "-", "--json"];
    let held = call(&dir, "privacy-officer", b"cust-001601\n", &hold);
    assert!(stdout(&held).contains(r#""reason":"a court asked""#), "{}", stderr(&held));
    let twice = ["subject", "hold", "CASE-3", "--reason-file", "-", "--subject-file", "-"];
    let twice = call(&dir, "privacy-officer", b"cust-001601\n", &twice);
    assert!(code(&twice) == 2 && stderr(&twice).contains("only one of"), "{}", stderr(&twice));
    let quiet = |args: &[&str]| call(&dir, "operator", b"cust-001605\n", &[args, &["--subject-file", "-"]].concat());
    let rotated = quiet(&["keys", "rotate", "--category", "account"]);
    assert!(stdout(&rotated).contains("account: version 2"), "{}", stderr(&rotated));
    let status = quiet(&["keys", "status"]);
    assert!(stdout(&status).contains("VALUES SEALED") && code(&status) == 0, "{}", stderr(&status));
    let retired = quiet(&["keys", "retire", "--category", "account", "--up-to-version", "1", "--rewrapped"]);
    assert!(stdout(&retired).contains("destroyed: 1"), "{}", stderr(&retired));

    let operator = |args: &[&str]| call(&dir, "operator", b"", args);
    let rotated = operator(&["keys", "rotate", "--subject", "cust-002000"]);
    assert!(code(&rotated) == 0 && stdout(&rotated).contains("account: version 2"), "{}", stderr(&rotated));
    assert_eq!(
        code(&operator(&[
            "keys",
            "retire",
            "--subject",
            "cust-002000",
            "--category",
            "account",
            "--up-to-version",
            "1"
        ])),
        2
    );
    let status = operator(&["keys", "status"]);
    assert!(
        stdout(&status).lines().any(|line| line.starts_with("account") && line.contains(" 2 ")),
        "{}",
        stdout(&status)
    );

    let key = scratch.path().join("key.bin");
    let belongs = ["--class", "pii/account/email", "--subject", "cust-002001", "--purpose", "signup"];
    let generate = [&["data-key", "generate", "--key", key.to_str().unwrap()], &belongs[..]].concat();
    let wrapped = call(&dir, "signup-service", b"", &generate);
    assert_eq!((code(&wrapped), fs::read(&key).unwrap().len()), (0, 32), "{}", stderr(&wrapped));
    assert_eq!(code(&call(&dir, "signup-service", b"", &generate)), 2, "no key is overwritten");
    let belongs = ["--class", "pii/account/email", "--subject", "cust-002001", "--purpose", "invoicing"];
    let unwrapped = call(&dir, "billing-service", &wrapped.stdout, &[&["data-key", "unwrap"], &belongs[..]].concat());
    assert_eq!(unwrapped.stdout, fs::read(&key).unwrap(), "{}", stderr(&unwrapped));
}

#[test]
fn a_file_of_erasures_is_taken_up_only_by_the_erasure_that_began_it() {
    let scratch = tempfile::tempdir().unwrap();
    let dir = scratch.path().join("dev");
    let _dev = Dev::start(&dir);
    let officer = |args: &[&str]| call(&dir, "privacy-officer", b"", args);
    let (ids, out) = (scratch.path().join("ids"), scratch.path().join("erased.jsonl"));
    let erase = |more: &[&str]| {
        let file = ["subject", "erase", "--yes", "--file", ids.to_str().unwrap(), "--out", out.to_str().unwrap()];
        officer(&[&file[..], more].concat())
    };
    fs::write(&ids, "cust-000001\ncust-000002\nnobody\n").unwrap();
    let hold = ["subject", "hold", "CASE-1", "--reason", "a court asked", "--subject", "cust-000002"];
    assert_eq!(code(&officer(&hold)), 0);

    let usage = erase(&["--category", "usage"]);
    assert!(code(&usage) == 1 && stderr(&usage).contains("1 customer erased, 2 refused\n"), "{}", stderr(&usage));
    let written = fs::read(&out).unwrap();
    let untouched = |more: &[&str], why: &str| {
        let other = erase(more);
        assert!(code(&other) == 2 && stderr(&other).contains(why), "{}", stderr(&other));
        assert_eq!(fs::read(&out).unwrap(), written);
    };
    untouched(&[], "with other categories");
    untouched(&["--category", "usage", "--tenant", "beta"], "with another tenant");
    fs::write(&ids, "cust-000003\ncust-000002\nnobody\n").unwrap();
    untouched(&["--category", "usage"], "with another --file");
    fs::write(&ids, "cust-000001\ncust-000002\nnobody\n").unwrap();

    // What the run before refused is no success of this one.
    let again = erase(&["--category", "usage"]);
    let summary = "1 customer erased, 2 refused; went on behind line 3";
    assert!(code(&again) == 1 && stderr(&again).contains(summary), "{}", stderr(&again));
    assert_eq!(fs::read(&out).unwrap(), written);

    // A file that was never an output keeps what it holds.
    fs::write(&out, "thesis").unwrap();
    let foreign = erase(&[]);
    assert!(code(&foreign) == 2 && stderr(&foreign).contains("not the output of this command"), "{}", stderr(&foreign));
    assert_eq!(fs::read(&out).unwrap(), b"thesis");

    // A request about one is refused as a whole, and is a line all the same.
    fs::remove_file(&out).unwrap();
    fs::write(&ids, "cust-000002\n").unwrap();
    let one = erase(&[]);
    assert!(code(&one) == 1 && stderr(&one).contains("0 customers erased, 1 refused"), "{}", stderr(&one));
    assert!(fs::read_to_string(&out).unwrap().contains(r#""error":"HELD","line":1"#));
}

#[test]
fn every_command_and_every_test_of_the_privacy_policy_is_real() {
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/privacy-policy.md")).unwrap();
    let rows: Vec<&str> = text.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| clause")).collect();
    assert!(rows.len() > 20);
    let scratch = tempfile::tempdir().unwrap();
    let dir = scratch.path().join("dev");
    let _dev = Dev::start(&dir);
    let sources = sources();
    let mut commands = 0;
    for row in rows {
        let shown = row.rsplit('|').nth(1).unwrap().trim().trim_matches('`');
        if let Some(command) = shown.strip_prefix("privet ") {
            let key = format!("@{}", dir.join("log.vkey").display());
            let args: Vec<&str> =
                command.split(' ').map(|word| if word == "@log.vkey" { &key } else { word }).collect();
            let name = if args[0] == "subject" { "privacy-officer" } else { "auditor" };
            let output = call(&dir, name, b"", &args);
            assert_eq!(code(&output), 0, "{command}: {}", stderr(&output));
            assert!(!stdout(&output).is_empty(), "{command}");
            commands += 1;
            continue;
        }
        let (modules, name) = shown.rsplit_once("::").unwrap();
        let file = modules.split("::").filter(|module| *module != "tests").collect::<Vec<_>>().join("/");
        let found = sources.iter().any(|(path, text)| {
            let in_place = path.contains(&format!("/{file}.rs")) || path.contains(&format!("/{file}/"));
            in_place && text.contains(&format!("fn {name}("))
        });
        assert!(found, "there is no test {shown}");
    }
    assert!(commands >= 5);
}

/// The sources of the crate and of its tests, with their paths.
fn sources() -> Vec<(String, String)> {
    let mut found = Vec::new();
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut left = vec![root.join("src"), root.join("tests/it")];
    while let Some(dir) = left.pop() {
        for entry in fs::read_dir(dir).unwrap().map(Result::unwrap) {
            if entry.path().is_dir() {
                left.push(entry.path());
            } else if entry.path().extension().is_some_and(|extension| extension == "rs") {
                found.push((entry.path().display().to_string(), fs::read_to_string(entry.path()).unwrap()));
            }
        }
    }
    found
}
