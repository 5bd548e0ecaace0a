//! The log proved from outside: the command as auditors and services run it, on a real server, and what it finds in the hands
//! of somebody who changes what it was given.

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use base64::{Engine, prelude::BASE64_STANDARD};
use privet::{
    audit::{note::SignerKey, proof::Proof},
    proto::stored,
    secret::Key,
};
use prost::Message;
use ring::digest::{SHA256, digest};
use serde_json::Value;
use signed_note::{Note, StandardVerifier, VerifierList};
use tempfile::TempDir;
use tlog_tiles::tlog;

use crate::command::{Dev, code, privet, run, stderr, stdout};

const ORIGIN: &str = "dev.privet.example/log";

/// A `privet dev`, and who works with it.
struct Site {
    scratch: TempDir,
    dev: Option<Dev>,
}

impl Site {
    fn start() -> Self {
        let scratch = tempfile::tempdir().unwrap();
        let dev = Some(Dev::start(&scratch.path().join("dev")));
        Self { scratch, dev }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.scratch.path().join(name)
    }

    fn text(&self, name: &str) -> String {
        self.path(name).to_str().unwrap().to_owned()
    }

    /// The key as its auditor was given it.
    fn key(&self) -> String {
        fs::read_to_string(self.path("dev/log.vkey")).unwrap().trim().to_owned()
    }

    fn command(&self, name: &str, args: &[&str]) -> Command {
        let mut command = privet(args);
        command.env("PRIVET_IDENTITY", self.path("dev/identities").join(name)).env("PRIVET_TENANT", "acme");
        command.env("HOME", self.scratch.path()).env_remove("XDG_STATE_HOME");
        command
    }

    fn call(&self, name: &str, args: &[&str]) -> Output {
        self.command(name, args).output().unwrap()
    }

    fn verify(&self, key: &str, args: &[&str]) -> (i32, Value) {
        let verify = ["audit", "verify", "--json", "--verifier-key", key];
        let verified = self.call("auditor", &[&verify[..], args].concat());
        (code(&verified), serde_json::from_slice(&verified.stdout).unwrap_or_default())
    }

    fn export(&self, name: &str) -> String {
        let file = self.text(name);
        let exported = self.call("auditor", &["audit", "export", "--out", &file]);
        assert_eq!(code(&exported), 0, "{}", stderr(&exported));
        file
    }

    fn seal(&self) {
        let args = ["encrypt", "--purpose", "signup", "--subject", "cust-42", "--class", "pii/account/email"];
        let sealing = self.command("signup-service", &args).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        let mut sealing = sealing.unwrap();
        sealing.stdin.take().unwrap().write_all(b"zoe@mail.example").unwrap();
        fs::write(self.path("sealed"), sealing.wait_with_output().unwrap().stdout).unwrap();
    }

    /// Opens what was sealed, if its receipt is proved with this key.
    fn open_with(&self, key: &str) -> Output {
        let sealed = self.text("sealed");
        let args = ["decrypt", "--purpose", "support-ticket", "--subject", "cust-42", "--class", "pii/account/email"];
        self.call("support-desk", &[&args[..], &["--in", &sealed, "--verify-receipt", key]].concat())
    }

    /// The indexes of the entries about the customer above.
    fn about_the_customer(&self) -> Vec<u64> {
        fs::write(self.path("subject"), "cust-42\n").unwrap();
        let listed = self.call("auditor", &["audit", "list", "--json", "--subject-from", &self.text("subject")]);
        assert_eq!(code(&listed), 0, "{}", stderr(&listed));
        let index = |line: &str| serde_json::from_str::<Value>(line).unwrap()["index"].as_u64().unwrap();
        stdout(&listed).lines().map(index).collect()
    }

    /// A command for the server's host, while no server runs.
    fn on_host(&self, command: &str) -> Output {
        run(&["audit", command, "--config", &self.text("dev/privet.toml")])
    }

    fn stop(&mut self) {
        assert_eq!(self.dev.take().unwrap().terminate(), 0);
    }

    fn start_again(&mut self) {
        self.dev = Some(Dev::start(&self.path("dev")));
    }
}

/// A key of the same name that has nothing to do with the log.
fn stranger() -> String {
    SignerKey::new(ORIGIN, &Key::new([7; 32])).unwrap().verifier().to_string()
}

/// The lines of an export with one character of a line changed, and with this line's sum mended if the forger knows to.
fn changed(export: &str, line: usize, member: &str, mend: bool) -> String {
    let change = |text: &str| {
        let at = text.find(member).unwrap() + member.len() + 20;
        let other = if &text[at..=at] == "A" { "B" } else { "A" };
        let text = format!("{}{other}{}", &text[..at], &text[at + 1..]);
        if !mend {
            return text;
        }
        let body = text.rsplit_once(",\"sum\"").unwrap().0;
        format!("{body},\"sum\":\"{}\"}}", &hex::encode(digest(&SHA256, body.as_bytes()))[..8])
    };
    let lines = export.lines().enumerate().map(|(at, text)| if at == line { change(text) } else { text.to_owned() });
    lines.map(|line| line + "\n").collect()
}

#[test]
fn an_export_proves_itself_and_the_first_changed_byte_is_named() {
    let site = Site::start();
    let (key, file) = (site.key(), site.export("acme.privet"));
    let (exit, verified) = site.verify(&key, &[&file]);
    assert_eq!((exit, &verified["verified"]), (0, &true.into()), "{verified}");
    let text = fs::read_to_string(&file).unwrap();
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(verified["size"], lines[0]["end"]);

    // The tenant's own whole, and of the others nothing but hashes.
    let (mut own, mut foreign) = (0, 0);
    for line in lines.iter().filter(|line| line.get("index").is_some()) {
        let Some(raw) = line.get("raw") else {
            foreign += 1;
            continue;
        };
        let raw = BASE64_STANDARD.decode(raw.as_str().unwrap()).unwrap();
        let entry = stored::Entry::decode(raw.as_slice()).unwrap();
        assert!(entry.tenant == "acme" || entry.log_change.is_some(), "{entry:?}");
        own += u64::from(entry.tenant == "acme");
    }
    assert!(own > 130 && foreign > 0 && verified["shown"] == own, "{own} {foreign} {verified}");

    let bad = site.path("bad.privet");
    let find = |member: &str, from: usize| (from..lines.len()).find(|at| lines[*at].get(member).is_some()).unwrap();
    for (line, member) in [(find("raw", 60), "\"raw\":\""), (find("leaf_hash", 1), "\"leaf_hash\":\"")] {
        let index = lines[line]["index"].as_u64().unwrap();
        fs::write(&bad, changed(&text, line, member, false)).unwrap();
        let (exit, found) = site.verify(&key, &[bad.to_str().unwrap(), "--fresh"]);
        assert_eq!((exit, &found["first_index"], &found["line"]), (1, &index.into(), &(line + 1).into()), "{found}");
        // With the sum mended it is the log's signature that says so: it leaves this range.
        fs::write(&bad, changed(&text, line, member, true)).unwrap();
        let (exit, found) = site.verify(&key, &[bad.to_str().unwrap(), "--fresh"]);
        let range = found["first_index"].as_u64().unwrap()..found["end_index"].as_u64().unwrap();
        assert!(exit == 1 && range.contains(&index), "entry {index}: {found}");
    }
    assert_eq!(site.verify(&stranger(), &[&file, "--fresh"]).0, 1, "signed by nobody whom this auditor knows");
    let told = site.call("auditor", &["audit", "verify", &file, "--verifier-key", &stranger(), "--fresh"]);
    assert!(stdout(&told).starts_with("NOT VERIFIED"), "{}", stdout(&told));
}

#[test]
fn a_running_log_is_proved_as_it_grows_and_entry_by_entry() {
    let site = Site::start();
    let key = site.key();
    let (exit, first) = site.verify(&key, &[]);
    assert_eq!(exit, 0, "{first}");
    site.seal();
    let (exit, second) = site.verify(&key, &[]);
    assert_eq!((exit, &second["remembered"], &second["start"]), (0, &first["size"], &first["size"]), "{second}");
    assert!(second["size"].as_u64() > first["size"].as_u64() && second["shown"].as_u64() >= Some(1), "{second}");
    assert_eq!(site.verify(&stranger(), &[]).0, 1);

    // What a service was given is shown only if the log has it on record.
    let opened = site.open_with(&key);
    assert_eq!((code(&opened), stdout(&opened).as_str()), (0, "zoe@mail.example"), "{}", stderr(&opened));
    let unproved = site.open_with(&stranger());
    assert_eq!((code(&unproved), stdout(&unproved).as_str()), (1, ""));
    assert!(stderr(&unproved).contains("RECEIPT_NOT_PROVED"), "{}", stderr(&unproved));

    let about = site.about_the_customer();
    assert_eq!(about.len(), 3, "{about:?}");
    let file = site.text("entry.tlog-proof");
    let index = about[2].to_string();
    let prove = ["audit", "prove", &index, "--with-entry", "--out", &file, "--verifier-key"];
    let refused = site.call("auditor", &[&prove[..], &[&stranger()]].concat());
    assert!(code(&refused) == 1 && !Path::new(&file).exists(), "{}", stderr(&refused));
    let proved = site.call("auditor", &[&prove[..], &[&key]].concat());
    assert_eq!(code(&proved), 0, "{}", stderr(&proved));
    check_proof(&fs::read_to_string(&file).unwrap(), about[2], &key);
    let of_another = site.call("auditor", &["audit", "prove", "1", "--verifier-key", &key]);
    assert!(code(&of_another) == 1 && stderr(&of_another).contains("another tenant's"), "{}", stderr(&of_another));

    assert_eq!(tailed(&site), 0);
}

/// Checks a proof with code that is not ours, and that it holds for this entry and this key only.
fn check_proof(text: &str, index: u64, key: &str) {
    let proof: Proof = text.parse().unwrap();
    let entry = stored::Entry::decode(proof.extra()).unwrap();
    assert_eq!((proof.index(), entry.operation()), (index, stored::Operation::Encrypt));
    let leaf = tlog::record_hash(proof.extra());
    let (head, checkpoint) = text.split_once("\n\n").unwrap();
    let hash = |line: &str| tlog::Hash(BASE64_STANDARD.decode(line).unwrap().try_into().unwrap());
    let hashes: Vec<_> = head.lines().skip_while(|line| !line.starts_with("index ")).skip(1).map(hash).collect();

    let note = Note::from_bytes(checkpoint.as_bytes()).unwrap();
    let opens =
        |key: &str| note.verify(&VerifierList::new(vec![Box::new(StandardVerifier::new(key).unwrap())])).is_ok();
    assert!(opens(key) && !opens(&stranger()));
    let signed = tlog_tiles::checkpoint::Checkpoint::from_bytes(note.text()).unwrap();
    let holds = |at, leaf| tlog::check_record(&hashes, signed.size(), tlog::Hash(signed.hash().0), at, leaf).is_ok();
    assert!(signed.origin() == ORIGIN && holds(index, leaf));
    assert!(!holds(index + 1, leaf) && !holds(index, tlog::record_hash(b"another entry")));
}

/// Reads along until an entry comes, then interrupts: the exit code.
fn tailed(site: &Site) -> i32 {
    let mut tail = site.command("auditor", &["audit", "tail", "--json", "--operation", "encrypt"]);
    let mut tail = tail.stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(tail.stdout.take().unwrap()).lines();
    let reading = std::thread::spawn(move || lines.next().unwrap().unwrap());
    // From when on it reads along can't be seen from here.
    while !reading.is_finished() {
        site.seal();
    }
    let entry: Value = serde_json::from_str(&reading.join().unwrap()).unwrap();
    assert_eq!((&entry["operation"], &entry["verdict"]), (&"encrypt".into(), &"allow".into()), "{entry}");
    rustix::process::kill_process(rustix::process::Pid::from_child(&tail), rustix::process::Signal::INT).unwrap();
    tail.wait().unwrap().code().unwrap()
}

#[test]
fn a_new_index_finds_the_same_and_a_new_key_is_believed_by_who_has_the_old_one() {
    let mut site = Site::start();
    let first = site.key();
    site.seal();
    site.seal();
    let about = site.about_the_customer();
    assert_eq!((site.verify(&first, &[]).0, about.len()), (0, 2), "{about:?}");
    let busy = site.on_host("reindex");
    assert_eq!(code(&busy), 3, "a server has the store: {}", stderr(&busy));

    site.stop();
    let reindexed = site.on_host("reindex");
    assert_eq!(code(&reindexed), 0, "{}", stderr(&reindexed));
    let rotated = site.on_host("rotate-key");
    assert_eq!(code(&rotated), 0, "{}", stderr(&rotated));
    let second = stdout(&rotated).trim().to_owned();
    assert!(second.starts_with(ORIGIN) && second != first);
    site.start_again();
    assert_eq!(site.about_the_customer(), about);

    let file = site.export("acme.privet");
    for key in [&first, &second] {
        assert_eq!(site.verify(key, &[&file, "--state", &site.text("anew"), "--fresh"]).0, 0, "{key}");
    }
    assert_eq!(site.verify(&stranger(), &[&file, "--fresh"]).0, 1);
    // It goes on from what was verified before the change.
    let (exit, verified) = site.verify(&first, &[]);
    assert!(exit == 0 && verified["remembered"].as_u64() > Some(0), "{verified}");
    assert_eq!(code(&site.open_with(&first)), 0);
    assert_eq!(code(&site.call("auditor", &["audit", "checkpoint", "--verifier-key", &first])), 0);
    let index = about[0].to_string();
    assert_eq!(code(&site.call("auditor", &["audit", "prove", &index, "--verifier-key", &first])), 0);
    let keys = site.call("auditor", &["audit", "checkpoint", "--keys"]);
    assert_eq!(stdout(&keys).lines().collect::<Vec<_>>(), [&first, &second]);
    fs::write(site.path("keys"), &keys.stdout).unwrap();
    assert_eq!(site.verify(&format!("@{}", site.text("keys")), &[]).0, 0);
}
