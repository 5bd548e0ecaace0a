//! The `privet` command as its users run it: `dev`, `init`, `check-config`, `serve`, and clients that compose in a shell.

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    os::unix::fs::PermissionsExt,
    path::Path,
    process::{Child, Command, Output, Stdio},
    time::Duration,
};

/// The command, without anything that the surroundings say.
pub fn privet(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_privet"));
    command.args(args);
    for name in ["PRIVET_IDENTITY", "PRIVET_SERVER", "PRIVET_CA", "PRIVET_TENANT", "PRIVET_LOG"] {
        command.env_remove(name);
    }
    command
}

pub fn run(args: &[&str]) -> Output {
    privet(args).output().unwrap()
}

pub fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

pub fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

pub fn code(output: &Output) -> i32 {
    output.status.code().unwrap()
}

#[test]
fn dev_does_the_main_job_in_a_screenful_and_resumes() {
    let scratch = tempfile::tempdir().unwrap();
    let dir = scratch.path().join("dev");
    let args = ["dev", "--dir", dir.to_str().unwrap(), "--listen", "127.0.0.1:0", "--once"];
    for began in ["made", "resumed"] {
        let output = run(&args);
        let text = stdout(&output);
        assert_eq!(code(&output), 0, "{text}{}", stderr(&output));
        assert!(text.lines().count() <= 40 && text.contains(began), "{text}");
        assert_eq!(text.matches('✓').count(), 8, "{text}");
        assert!(!text.contains("Next") && !text.contains("Ctrl-C"), "{text}");
        assert!(text.lines().all(|line| line.chars().count() <= 100), "{text}");
    }
    let quiet = stdout(&run(&[&args[..], &["--quiet"]].concat()));
    assert_eq!((quiet.lines().count(), quiet.matches('✓').count()), (8, 8), "{quiet}");
    for identity in [
        "signup-service",
        "billing-service",
        "support-desk",
        "privacy-officer",
        "policy-admin",
        "policy-approver",
        "auditor",
        "operator",
    ] {
        for file in ["cert.pem", "key.pem"] {
            assert_eq!(mode(&dir.join("identities").join(identity).join(file)), 0o600);
        }
    }
    assert_eq!((mode(&dir), mode(&dir.join("store")), mode(&dir.join("ca.pem"))), (0o700, 0o700, 0o600));
    assert!(fs::read_to_string(dir.join("address")).unwrap().starts_with("127.0.0.1:"));

    let served = run(&["serve", "--config", dir.join("privet.toml").to_str().unwrap()]);
    assert_eq!(code(&served), 2);
    assert!(stderr(&served).contains("privet dev"), "{}", stderr(&served));
}

#[test]
fn dev_refuses_a_directory_that_is_not_its_own() {
    let scratch = tempfile::tempdir().unwrap();
    fs::write(scratch.path().join("thesis.txt"), "mine").unwrap();
    let output = run(&["dev", "--dir", scratch.path().to_str().unwrap(), "--listen", "127.0.0.1:0", "--once"]);
    assert_eq!(code(&output), 2);
    assert!(stderr(&output).contains("nothing in it was touched"), "{}", stderr(&output));
    assert_eq!(fs::read_dir(scratch.path()).unwrap().count(), 1);
}

/// A command of one of the identities of a `privet dev`, with something on its standard input.
pub fn call(dir: &Path, name: &str, input: &[u8], args: &[&str]) -> Output {
    // What was verified is remembered at home: each test has its own.
    let mut child = privet(args)
        .env("HOME", dir)
        .env_remove("XDG_STATE_HOME")
        .env("PRIVET_IDENTITY", dir.join("identities").join(name))
        .env("PRIVET_TENANT", "acme")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A command that refuses its arguments does not read its input.
    let _ = child.stdin.take().unwrap().write_all(input);
    child.wait_with_output().unwrap()
}

/// A `privet dev` that stays up.
pub struct Dev {
    child: Child,
}

impl Dev {
    pub fn start(dir: &Path) -> Self {
        let args = ["dev", "--dir", dir.to_str().unwrap(), "--listen", "127.0.0.1:0"];
        let mut child = privet(&args).stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        assert!(lines.map_while(Result::ok).any(|line| line.contains("Ctrl-C")), "dev did not come up");
        Self { child }
    }

    /// Asks it to end, as a service manager does.
    pub fn terminate(mut self) -> i32 {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        self.child.wait().unwrap().code().unwrap()
    }
}

impl Drop for Dev {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn commands_compose_in_a_shell_and_exit_as_documented() {
    let scratch = tempfile::tempdir().unwrap();
    let dir = scratch.path().join("dev");
    let dev = Dev::start(&dir);
    let call = |name: &str, input: &[u8], args: &[&str]| call(&dir, name, input, args);
    let email = ["--subject", "cust-42", "--class", "pii/account/email"];
    let with = |command: &'static str, purpose: &'static str| [&[command, "--purpose", purpose], &email[..]].concat();

    let sealed = call("signup-service", "zoë@mail.example".as_bytes(), &with("encrypt", "signup"));
    assert_eq!(code(&sealed), 0, "{}", stderr(&sealed));
    assert!(stdout(&sealed).starts_with("pv1_"));
    let opened = call("support-desk", &sealed.stdout, &with("decrypt", "support-ticket"));
    assert_eq!((code(&opened), stdout(&opened).as_str()), (0, "zoë@mail.example"), "{}", stderr(&opened));
    let masked = call("support-desk", &sealed.stdout, &with("mask", "support-ticket"));
    assert!(code(&masked) == 0 && stdout(&masked).contains('•') && !stdout(&masked).contains("mail"));

    let denied = call("support-desk", &sealed.stdout, &with("decrypt", "signup"));
    assert_eq!((code(&denied), stdout(&denied).as_str()), (1, ""));
    assert!(stderr(&denied).contains("DENIED") && !stderr(&denied).contains("cust-42"), "{}", stderr(&denied));
    let wrong = call("support-desk", b"pv1_AAAA", &with("decrypt", "support-ticket"));
    assert_eq!(code(&wrong), 1, "{}", stderr(&wrong));
    let value_in_argv = [&with("encrypt", "signup")[..], &["zoe@mail.example"]].concat();
    let misplaced = call("signup-service", b"", &value_in_argv);
    assert_eq!(code(&misplaced), 2);
    assert!(!stderr(&misplaced).contains("zoe@"), "{}", stderr(&misplaced));
    let unknown = call(
        "signup-service",
        b"x",
        &["encrypt", "--purpose", "curiosity", "--subject", "c", "--class", "pii/account/email"],
    );
    assert_eq!(code(&unknown), 2);
    assert!(stderr(&unknown).contains("purpose"), "{}", stderr(&unknown));
    let check =
        ["check", "--purpose", "support-ticket", "pii/account/email", "decrypt", "pii/billing/tax_id", "decrypt"];
    assert_eq!(code(&call("support-desk", b"", &check)), 1);
    assert_eq!(code(&call("support-desk", b"", &check[..5])), 0);

    let listed = call("auditor", b"", &["audit", "list", "--limit", "3", "--json"]);
    assert_eq!(code(&listed), 0, "{}", stderr(&listed));
    let entries: Vec<serde_json::Value> =
        stdout(&listed).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(entries.len(), 3);

    let rows = call("auditor", b"", &["audit", "list", "--by", "hour", "--json"]);
    let rows: Vec<serde_json::Value> = stdout(&rows).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let sum = |what: &str| rows.iter().map(|row| row[what].as_u64().unwrap()).sum::<u64>();
    assert!((24..=26).contains(&rows.len()) && sum("allow") > 130 && sum("deny") >= 4, "{rows:?}");
    let ocsf = scratch.path().join("ocsf.jsonl");
    let export = ["audit", "export", "--format", "ocsf", "--verdict", "deny", "--out", ocsf.to_str().unwrap()];
    let exported = call("auditor", b"", &export);
    assert_eq!((code(&exported), mode(&ocsf)), (0, 0o600), "{}", stderr(&exported));
    let events = fs::read_to_string(&ocsf).unwrap();
    assert!(events.lines().count() >= 4 && events.lines().all(|line| line.contains("\"status_id\":2")), "{events}");
    assert_eq!(code(&call("auditor", b"", &export)), 2, "nothing is overwritten");
    let some = call("auditor", b"", &["audit", "export", "--verdict", "deny"]);
    assert!(code(&some) == 2 && stderr(&some).contains("no filters"), "{}", stderr(&some));

    let strange = "elsewhere.example/log+80619d24+AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEB";
    let unproved = [&with("decrypt", "support-ticket")[..], &["--verify-receipt", strange]].concat();
    let unproved = call("support-desk", &sealed.stdout, &unproved);
    assert_eq!((code(&unproved), stdout(&unproved).as_str()), (1, ""), "{}", stderr(&unproved));
    assert!(stderr(&unproved).contains("RECEIPT_NOT_PROVED"), "{}", stderr(&unproved));

    let table = scratch.path().join("in.csv");
    fs::write(&table, "id,email,note\nanna,anna@mail.example,\"a, b\"\nbert,,c\n").unwrap();
    let (sealed, back) = (scratch.path().join("sealed.csv"), scratch.path().join("back.csv"));
    let bulk = |name: &str, command: &str, purpose: &str, from: &Path, to: &Path| {
        let (from, to) = (from.to_str().unwrap(), to.to_str().unwrap());
        let map = "email=pii/account/email";
        call(name, b"", &[command, "--csv", from, "--subject", "id", "--map", map, "--purpose", purpose, "--out", to])
    };
    assert_eq!(code(&bulk("signup-service", "encrypt", "signup", &table, &sealed)), 0);
    assert!(!fs::read_to_string(&sealed).unwrap().contains("anna@"));
    assert_eq!(code(&bulk("billing-service", "decrypt", "invoicing", &sealed, &back)), 0);
    assert_eq!(fs::read(&back).unwrap(), fs::read(&table).unwrap());
    let with_csv = ["encrypt", "--csv", table.to_str().unwrap(), "--subject", "id", "--map", "email=pii/account/email"];
    let with_csv = [&with_csv[..], &["--purpose", "signup", "--verify-receipt", strange]].concat();
    assert_eq!(code(&call("signup-service", b"", &with_csv)), 2);
    let seal = ["encrypt", "--subject", "id", "--map", "email=pii/account/email", "--purpose", "signup", "--csv"];
    let piped = call("signup-service", b"", &[&seal[..], &[table.to_str().unwrap()]].concat());
    assert!(code(&piped) == 0 && stdout(&piped).starts_with("id,email,note\nanna,pv1_"), "{}", stderr(&piped));
    let twice = call("signup-service", b"", &[&seal[..], &[sealed.to_str().unwrap()]].concat());
    assert_eq!(code(&twice), 1, "what is sealed is not sealed again: {}", stderr(&twice));
    assert_eq!(code(&bulk("billing-service", "decrypt", "invoicing", &sealed, &back)), 2, "nothing is overwritten");

    let second = run(&["dev", "--dir", dir.to_str().unwrap(), "--listen", "127.0.0.1:0", "--once"]);
    assert_eq!(code(&second), 3);
    assert!(stderr(&second).contains("in use"), "{}", stderr(&second));

    assert_eq!(dev.terminate(), 0);
    std::thread::sleep(Duration::from_millis(50));
    let nobody = call("auditor", b"", &["audit", "list"]);
    assert_eq!(code(&nobody), 3, "{}", stderr(&nobody));
}

#[test]
fn init_makes_what_serve_needs_and_check_config_says_what_is_missing() {
    let scratch = tempfile::tempdir().unwrap();
    let dir = scratch.path().join("privet");
    let (root, config) = (scratch.path().join("root"), dir.join("privet.toml"));
    let anchor = scratch.path().join("anchor");
    let mut init = vec!["init", "--dir", dir.to_str().unwrap(), "--root-dir", root.to_str().unwrap()];
    init.extend(["--anchor-dir", anchor.to_str().unwrap(), "--origin", "privet.test.example/log"]);
    let made = run(&init);
    assert_eq!(code(&made), 0, "{}", stderr(&made));
    assert_eq!((mode(&root.join("root-1.key")), mode(&dir.join("log-key")), mode(&anchor)), (0o600, 0o600, 0o700));
    let verifier_key =
        stdout(&made).lines().find_map(|line| line.strip_prefix("  privet.test.example/log+")).unwrap().to_owned();
    assert_eq!(code(&run(&init)), 2, "nothing is overwritten");
    assert_eq!(code(&run(&["init", "--dir", "/nonexistent/privet", "--origin", "a b"])), 2, "a bad name makes nothing");

    let check = ["check-config", "--config", config.to_str().unwrap()];
    let missing = run(&check);
    assert_eq!(code(&missing), 1, "{}{}", stdout(&missing), stderr(&missing));
    assert!(stdout(&missing).contains("✗ server") && stdout(&missing).contains(".pem can't be read"));

    let (other, no_words) = (scratch.path().join("other"), scratch.path().join("no-words"));
    let made = run(&["init", "--json", "--dir", other.to_str().unwrap()]);
    let made: serde_json::Value = serde_json::from_slice(&made.stdout).unwrap();
    for (key, path) in [("dir", &other), ("config", &other.join("privet.toml")), ("root", &other.join("root"))] {
        assert_eq!(made[key], path.to_str().unwrap());
    }
    let quiet = run(&["init", "--quiet", "--dir", no_words.to_str().unwrap()]);
    assert_eq!((code(&quiet), stdout(&quiet).as_str()), (0, ""));

    let ca = crate::support::pki::Ca::new("company CA");
    let made = scratch.path().join("made");
    fs::create_dir(&made).unwrap();
    ca.server().write(&made);
    fs::rename(made.join("cert.pem"), dir.join("server.pem")).unwrap();
    fs::rename(made.join("key.pem"), dir.join("server-key.pem")).unwrap();
    fs::set_permissions(dir.join("server-key.pem"), fs::Permissions::from_mode(0o600)).unwrap();
    fs::write(dir.join("clients-ca.pem"), ca.pem()).unwrap();
    let near = run(&check);
    assert_eq!(code(&near), 1, "{}", stdout(&near));
    assert!(stdout(&near).contains("`danger_anchor_on_same_device = true`"), "{}", stdout(&near));
    let text = fs::read_to_string(&config).unwrap();
    let accepted = text.replace("# = danger_anchor_on_same_device = false", "danger_anchor_on_same_device = true");
    fs::write(&config, accepted).unwrap();
    let complete = run(&check);
    assert_eq!(code(&complete), 0, "{}{}", stdout(&complete), stderr(&complete));
    assert!(stdout(&complete).contains(&verifier_key), "{}", stdout(&complete));
    let json = run(&[&check[..], &["--json"]].concat());
    let json: serde_json::Value = serde_json::from_slice(&json.stdout).unwrap();
    let log_key = json["checks"].as_array().unwrap().iter().find(|check| check["what"] == "log key").unwrap();
    assert_eq!(log_key["verifier_key"], format!("privet.test.example/log+{verifier_key}"));

    let text = fs::read_to_string(&config).unwrap();
    fs::write(&config, text.replace("# = listen = \"127.0.0.1:7443\"", "listen = \"127.0.0.1:0\"")).unwrap();
    let serve = ["serve", "--config", config.to_str().unwrap()];
    assert_eq!(serve_until_ready(&serve), (0, true), "made, and ended when told to");

    let (policies, policy) = (dir.join("policies"), dir.join("policies/policy.csv"));
    let text = fs::read_to_string(&policy).unwrap();
    fs::write(&policy, text.replacen("sign-up stores account data", "sign-up keeps account data", 1)).unwrap();
    let changed = run(&serve);
    assert_eq!(code(&changed), 2, "changed policy files do not come into force by themselves");
    assert!(stderr(&changed).contains("privet policy apply"), "{}", stderr(&changed));
    fs::write(&policy, &text).unwrap();
    assert_eq!(serve_until_ready(&serve), (0, true), "nothing had changed");
    fs::write(&policy, text.replacen(", encrypt, signup,", ", encrypts, signup,", 1)).unwrap();
    let bad = run(&check);
    assert_eq!(code(&bad), 1);
    assert!(stdout(&bad).contains("policy.csv:"), "{}", stdout(&bad));

    // With nobody left to approve, the host can; what is unsound it can't, nor while a server runs.
    let recover = ["policy", "recover", policies.to_str().unwrap(), "--config", config.to_str().unwrap(), "--reason"];
    let recovering = |reason: &str| run(&[&recover[..], &[reason]].concat());
    let unsound = recovering("a test");
    assert_eq!(code(&unsound), 2);
    assert!(stderr(&unsound).contains("policy.csv:"), "{}", stderr(&unsound));
    fs::write(&policy, text.replacen("sign-up stores account data", "sign-up keeps account data", 1)).unwrap();
    for reason in ["", "two\nlines", &"r".repeat(301)] {
        assert!(stderr(&recovering(reason)).contains("--reason"), "{reason:?}");
    }
    let recovered = recovering("nobody is left");
    assert_eq!(code(&recovered), 0, "{}", stderr(&recovered));
    assert!(stdout(&recovered).contains("policy version 2 in force"), "{}", stdout(&recovered));
    assert!(stderr(&recovering("once more")).contains("is in force already"));
    assert_eq!(serve_until_ready(&serve), (0, true), "these files are a version now");
}

/// Runs a server until it says that it serves, then tells it to end: its exit code, and whether it said so.
fn serve_until_ready(args: &[&str]) -> (i32, bool) {
    let child = privet(args).stderr(Stdio::piped()).spawn().unwrap();
    let mut dev = Dev { child };
    let mut lines = BufReader::new(dev.child.stderr.take().unwrap()).lines();
    let ready = lines.by_ref().map_while(Result::ok).any(|line| line.contains("serving"));
    (dev.terminate(), ready)
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}
