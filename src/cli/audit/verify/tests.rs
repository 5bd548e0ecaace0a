//! The command, on files and against a server, and what it leaves behind.

use std::{
    ffi::OsString,
    fs,
    io::{self, Write},
    os::unix::fs::PermissionsExt,
    path::Path,
    process::Command,
    time::Duration,
};

use clap::Parser;
use tempfile::TempDir;

use super::{
    super::super::{
        Cli,
        client::fake::export::{Script, exporting},
    },
    *,
};
use crate::{
    audit::{
        export::{Leaf, Line},
        verify::{
            State,
            sample::{Export, Log, trust, verifier_key},
        },
    },
    proto::v1::{self, exported_leaf},
};

const SILENT: Terminal = Terminal { json: true, quiet: true, stdout: false, stderr: false, colours: false };

struct Scratch(TempDir);

impl Scratch {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn put(&self, export: &Export) -> PathBuf {
        let file = self.0.path().join("export.jsonl");
        fs::write(&file, export.file()).unwrap();
        file
    }

    fn ask(&self, save_every: u64) -> Ask {
        Ask { trust: trust(), dir: self.0.path().join("state"), fresh: false, save_every }
    }

    fn remembered(&self) -> Option<State> {
        let memory = self.ask(1).memory(&Tenant::parse("acme").unwrap());
        memory.read().unwrap().map(|saved| saved.verified)
    }

    /// What the whole command exits with.
    async fn exit(&self, args: &str) -> Exit {
        let state = self.0.path().join("state");
        let key = verifier_key(1);
        let args = format!("privet -q audit verify --state {} --verifier-key {key} {args}", state.display());
        Cli::try_parse_from(args.split_whitespace()).unwrap_or_else(|error| panic!("{error}")).run().await
    }
}

fn finding(outcome: Outcome) -> Finding {
    outcome.result.unwrap_err().finding
}

/// The export as a server streams it: checkpoints with the leaves that they follow, or a message later.
fn messages(export: &Export) -> Vec<v1::ExportEntriesResponse> {
    let first = v1::ExportEntriesResponse {
        checkpoint: export.head.checkpoint.clone(),
        key_announcements: export.head.key_announcements.clone(),
        ..Default::default()
    };
    let mut messages = vec![first];
    for line in &export.lines {
        let later = messages.len() > 1;
        let message = messages.last_mut().unwrap();
        match line {
            Line::Leaf(index, leaf) => {
                let leaf = match leaf {
                    Leaf::Raw(bytes) => exported_leaf::Leaf::Raw(bytes.clone().into()),
                    Leaf::Hash(hash) => exported_leaf::Leaf::LeafHash(hash.to_vec().into()),
                };
                message.leaves.push(v1::ExportedLeaf { index: *index, leaf: Some(leaf) });
                if message.leaves.len() == 100 {
                    messages.push(Default::default());
                }
            }
            Line::Checkpoint(note) if later && message.checkpoint.is_empty() => {
                message.checkpoint = note.clone();
            }
            // The server may leave out any but the first.
            Line::Checkpoint(_) => {}
        }
    }
    messages
}

fn script(export: &Export) -> Script {
    let newest = v1::GetCheckpointResponse {
        checkpoint: export.head.checkpoint.clone(),
        key_announcements: export.head.key_announcements.clone(),
        ..Default::default()
    };
    Script { newest, messages: messages(export), breaks: false }
}

async fn online(scratch: &Scratch, script: Script, save_every: u64) -> Result<(Outcome, Vec<(String, u64)>), Failure> {
    let (clients, asked) = exporting(script).await;
    let mut ask = scratch.ask(save_every);
    ask.trust.tenant = Some(Tenant::parse("acme").unwrap());
    let outcome = online::run(&clients, &ask, &SILENT).await?;
    let asked = asked.lock().unwrap().clone();
    Ok((outcome, asked))
}

#[tokio::test]
async fn the_exit_code_says_what_came_of_it() {
    let scratch = Scratch::new();
    let mut export = Log::grown(41, 300).export("acme", 0);
    let file = scratch.put(&export);
    assert_eq!(scratch.exit(&format!("{}", file.display())).await, Exit::Ok);
    assert_eq!(scratch.exit(&format!("{} --tenant acme --json", file.display())).await, Exit::Ok);
    assert_eq!(scratch.exit(&format!("{} --tenant globex", file.display())).await, Exit::Refused);
    let key = scratch.0.path().join("log.vkey");
    let dir = scratch.0.path().display();
    // The first of several keys vouches for the later ones.
    for (keys, exit) in [(&[1][..], Exit::Ok), (&[1, 2], Exit::Ok), (&[2, 1], Exit::Refused)] {
        let lines: String = keys.iter().map(|seed| format!("{}\n", verifier_key(*seed))).collect();
        fs::write(&key, lines).unwrap();
        let command =
            format!("privet -q audit verify {} --state {dir} --verifier-key @{}", file.display(), key.display());
        assert_eq!(Cli::try_parse_from(command.split_whitespace()).unwrap().run().await, exit, "{keys:?}");
    }
    export.hide(export.shown()[5]);
    let file = scratch.put(&export);
    assert_eq!(scratch.exit(&format!("{} --fresh", file.display())).await, Exit::Refused);
    fs::write(&file, "<html>\n").unwrap();
    assert_eq!(scratch.exit(&format!("{}", file.display())).await, Exit::Refused);
    assert_eq!(scratch.exit("/nowhere/export.jsonl").await, Exit::Usage);
    assert_eq!(scratch.exit("--tenant acme").await, Exit::Usage);
    for key in ["rubbish", "@/nowhere/log.vkey"] {
        let args = format!("privet -q audit verify {} --verifier-key {key}", file.display());
        let refused = Cli::try_parse_from(args.split_whitespace()).err().unwrap();
        assert_eq!(refused.exit_code(), 2);
    }
    // One that begins in the middle of nowhere is a question put wrongly.
    let file = scratch.put(&Log::grown(41, 300).export("acme", 100));
    assert_eq!(scratch.exit(&format!("{} --fresh", file.display())).await, Exit::Usage);
}

#[test]
fn what_was_verified_is_remembered_for_its_owner_only() {
    let scratch = Scratch::new();
    let mut log = Log::grown(42, 300);
    let run = |export: &Export| offline::run(Some(&scratch.put(export)), &scratch.ask(u64::MAX), &SILENT).unwrap();
    let first = run(&log.export("acme", 0));
    let file = first.saved.unwrap();
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(fs::metadata(file.parent().unwrap()).unwrap().permissions().mode() & 0o777, 0o700);
    assert_eq!(scratch.remembered().unwrap().size(), 300);
    log.grow_to(500);
    let (rest, whole) = (run(&log.export("acme", 300)), run(&log.export("acme", 0)));
    assert_eq!((rest.remembered, whole.remembered), (300, 500));
    assert_eq!(scratch.remembered().unwrap().root(), log.tree.root());
    // Each tenant's view is remembered by itself.
    assert_eq!(run(&log.export("globex", 0)).remembered, 0);
    // A finding changes nothing of it.
    let older = run(&Log::grown(42, 300).export("acme", 0));
    assert_eq!(finding(older), Finding::Truncated { size: 300, verified: 500 });
    assert_eq!(scratch.remembered().unwrap().size(), 500);
    let fresh = Ask { fresh: true, ..scratch.ask(u64::MAX) };
    let older = scratch.put(&Log::grown(42, 300).export("acme", 0));
    assert!(offline::run(Some(&older), &fresh, &SILENT).unwrap().result.is_ok());
    assert_eq!(scratch.remembered().unwrap().size(), 300);
}

#[test]
fn a_damaged_memory_is_told_of() {
    let scratch = Scratch::new();
    let file = scratch.put(&Log::grown(43, 100).export("acme", 0));
    let outcome = offline::run(Some(&file), &scratch.ask(u64::MAX), &SILENT).unwrap();
    let memory = outcome.saved.unwrap();
    let whole = fs::read_to_string(&memory).unwrap();
    fs::write(&memory, &whole[..whole.len() / 2]).unwrap();
    let failure = offline::run(Some(&file), &scratch.ask(u64::MAX), &SILENT).err().unwrap();
    assert_eq!(failure.exit(), Exit::Usage);
    assert!(failure.for_people(false).contains("--fresh"));
    // One whose tree was changed reads well, and is told of too.
    fs::write(&memory, whole.replace("\"edge\":[\"", "\"edge\":[\"AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=\",\""))
        .unwrap();
    assert!(offline::run(Some(&file), &scratch.ask(u64::MAX), &SILENT).is_err());
    fs::write(&memory, whole.replace("\"size\":100", "\"size\":104")).unwrap();
    let outcome = offline::run(Some(&file), &scratch.ask(u64::MAX), &SILENT).unwrap();
    assert!(matches!(report::tell(&outcome, &SILENT), Err(failure) if failure.exit() == Exit::Usage));
}

#[test]
fn a_verification_that_was_broken_off_goes_on_in_the_same_file_and_no_other() {
    let scratch = Scratch::new();
    let log = Log::long();
    let export = log.export("acme", 0);
    let whole = export.file();
    let file = scratch.put(&export);
    // It is broken off where the file can't be read on: here, by a line that is not yet there.
    let line = whole[whole.len() * 3 / 4..].iter().position(|b| *b == b'\n').unwrap();
    let cut = whole.len() * 3 / 4 + line + 10;
    fs::write(&file, &whole[..cut]).unwrap();
    let ask = scratch.ask(500);
    let outcome = offline::run(Some(&file), &ask, &SILENT).unwrap();
    assert!(matches!(finding(outcome), Finding::Line(_)));
    let progress = scratch.remembered().unwrap();
    assert!((6_000..8_000).contains(&progress.size()), "{}", progress.size());

    // Another file with the same name is read from the beginning, and has to agree.
    fs::write(&file, &whole).unwrap();
    let outcome = offline::run(Some(&file), &scratch.ask(u64::MAX), &SILENT).unwrap();
    assert_eq!(outcome.remembered, progress.size());
    assert_eq!((outcome.result.unwrap().start, outcome.line), (0, Some(export.lines.len() as u64 + 1)));

    // The same file is gone on with.
    let memory = ask.memory(&Tenant::parse("acme").unwrap());
    let metadata = fs::metadata(&file).unwrap();
    let before = export.lines.iter().position(|l| matches!(l, Line::Leaf(at, _) if *at == progress.size())).unwrap();
    let offset = whole.iter().enumerate().filter(|(_, b)| **b == b'\n').nth(before).unwrap().0 as u64 + 1;
    memory.write(progress.clone(), Some(memory::Unfinished::new(&metadata, offset, before as u64 + 1))).unwrap();
    let outcome = offline::run(Some(&file), &scratch.ask(u64::MAX), &SILENT).unwrap();
    let verified = outcome.result.unwrap();
    assert_eq!((verified.start, verified.size, verified.root), (progress.size(), 10_000, log.tree.root()));
    assert_eq!(outcome.line, Some(export.lines.len() as u64 + 1));
    assert!(memory.read().unwrap().unwrap().unfinished.is_none());

    // Once it is written to, it is another.
    memory.write(progress, Some(memory::Unfinished::new(&metadata, offset, before as u64 + 1))).unwrap();
    std::thread::sleep(Duration::from_millis(20));
    fs::write(&file, &whole).unwrap();
    let outcome = offline::run(Some(&file), &scratch.ask(u64::MAX), &SILENT).unwrap();
    assert_eq!(outcome.result.unwrap().start, 0);
}

#[tokio::test]
async fn a_servers_log_is_verified_from_where_the_last_time_ended() {
    let scratch = Scratch::new();
    let mut log = Log::grown(44, 1_000);
    let (outcome, asked) = online(&scratch, script(&log.export("acme", 0)), u64::MAX).await.unwrap();
    assert_eq!((outcome.result.unwrap().root, asked), (log.tree.root(), vec![("acme".to_owned(), 0)]));
    log.rotate();
    log.grow_to(2_345);
    let (outcome, asked) = online(&scratch, script(&log.export("acme", 1_000)), u64::MAX).await.unwrap();
    assert_eq!((outcome.result.unwrap().root, asked), (log.tree.root(), vec![("acme".to_owned(), 1_000)]));
    assert_eq!(scratch.remembered().unwrap().size(), 2_345);
}

#[tokio::test]
async fn a_server_that_shows_a_shorter_or_another_log_is_found_out() {
    let scratch = Scratch::new();
    let log = Log::grown(45, 600);
    online(&scratch, script(&log.export("acme", 0)), u64::MAX).await.unwrap();
    let (outcome, asked) = online(&scratch, script(&Log::grown(45, 500).export("acme", 0)), 1).await.unwrap();
    assert_eq!((finding(outcome), asked.len()), (Finding::Truncated { size: 500, verified: 600 }, 0));
    let other = Log::grown(46, 900).export("acme", 600);
    let (outcome, _) = online(&scratch, script(&other), u64::MAX).await.unwrap();
    assert!(finding(outcome).range().end > 600);
    // It sends the wrong leaves, none, too few, or something else altogether.
    let mut log = log;
    log.grow_to(900);
    let right = script(&log.export("acme", 600));
    let wrong = Script { messages: messages(&log.export("acme", 0)), ..right.clone() };
    assert_eq!(finding(online(&scratch, wrong, 1).await.unwrap().0), Finding::Order { expected: 600, found: 0 });
    let few = Script { messages: right.messages[..1].to_vec(), ..right.clone() };
    assert!(matches!(finding(online(&scratch, few, u64::MAX).await.unwrap().0), Finding::CutShort { end: 900, .. }));
    for messages in [vec![], vec![Default::default()]] {
        let none = Script { messages, ..right.clone() };
        assert_eq!(online(&scratch, none, 1).await.err().unwrap().exit(), Exit::Unavailable);
    }
    let mut odd = right.clone();
    odd.messages[0].leaves[3].leaf = Some(exported_leaf::Leaf::LeafHash(vec![7; 31].into()));
    assert_eq!(finding(online(&scratch, odd, 1).await.unwrap().0), Finding::Unreadable { index: 603 });
    assert_eq!(scratch.remembered().unwrap().size(), 600);
    assert!(online(&scratch, right, 1).await.unwrap().0.result.is_ok());
}

#[tokio::test]
async fn a_stream_that_breaks_off_is_gone_on_with_where_it_was_last_proven() {
    let scratch = Scratch::new();
    let log = Log::grown(47, 3_000);
    let mut broken = script(&log.export("acme", 0));
    broken.messages.truncate(20);
    broken.breaks = true;
    assert_eq!(online(&scratch, broken, 500).await.err().unwrap().exit(), Exit::Unavailable);
    let size = scratch.remembered().unwrap().size();
    assert!((500..2_000).contains(&size), "{size}");
    let (outcome, asked) = online(&scratch, script(&log.export("acme", size)), 500).await.unwrap();
    assert_eq!((outcome.result.unwrap().root, asked), (log.tree.root(), vec![("acme".to_owned(), size)]));
}

#[test]
fn people_and_machines_are_told_what_was_found_and_whose_it_is() {
    let scratch = Scratch::new();
    let mut export = Log::grown(48, 300).export("acme", 0);
    let run = |export: &Export| offline::run(Some(&scratch.put(export)), &scratch.ask(u64::MAX), &SILENT).unwrap();
    let good = run(&export);
    let text = report::human(&good, &SILENT);
    assert!(text.starts_with("verified  log.example/privet for acme: 300 entries\n  root     "), "{text}");
    assert_eq!(report::machine(&good)["verified"], true);
    let hidden = export.shown()[5];
    export.hide(hidden);
    let bad = run(&export);
    let text = report::human(&bad, &SILENT);
    assert!(text.starts_with("NOT VERIFIED  log.example/privet for acme\n"), "{text}");
    assert!(text.contains("1 of the tenant's own are not shown") && text.contains("whoever keeps the log"), "{text}");
    let json = report::machine(&bad);
    assert_eq!(
        (&json["finding"], &json["signed"], &json["end_index"]),
        (&"MISSING".into(), &true.into(), &(hidden + 1).into())
    );
    // A log can't drive the terminal of who verifies it.
    export.head.origin = "\x1b[2J".into();
    assert!(!report::human(&run(&export), &SILENT).contains('\x1b'));
}

/// A Python that has the package "cryptography": `PRIVET_PYTHON`, or `python3` if that has it.
fn python() -> Option<OsString> {
    let named = std::env::var_os("PRIVET_PYTHON");
    let python = named.clone().unwrap_or_else(|| "python3".into());
    let has_it =
        Command::new(&python).args(["-c", "import cryptography"]).output().is_ok_and(|ran| ran.status.success());
    assert!(has_it || named.is_none(), "{python:?} has no package \"cryptography\"");
    has_it.then_some(python)
}

/// The export's format and its proofs are simple enough to be checked by eighty lines of another language.
#[test]
fn an_independent_verifier_agrees() {
    let Some(python) = python() else {
        // Past the harness, which keeps what a test that passes prints to itself.
        let said =
            "NOT RUN: tests/verify_export.py, for want of a python3 with \"cryptography\" (PRIVET_PYTHON names one)\n";
        return io::stderr().write_all(said.as_bytes()).unwrap();
    };
    let scratch = Scratch::new();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/verify_export.py");
    let run = |export: &Export, key: u8| {
        let file = scratch.put(export);
        let done = Command::new(&python).arg(&script).arg(&file).arg(verifier_key(key).to_string()).output().unwrap();
        (done.status.code(), String::from_utf8(done.stdout).unwrap(), String::from_utf8(done.stderr).unwrap())
    };
    let log = Log::grown(49, 1_000);
    let export = log.export("acme", 0);
    let root = base64::Engine::encode(&base64::prelude::BASE64_STANDARD, log.tree.root());
    let (code, stdout, stderr) = run(&export, 1);
    assert_eq!((code, stdout), (Some(0), format!("ok 1000 {root}\n")), "{stderr}");
    // The same log after its key changed, by the newest key.
    let mut rotated = Log::grown(49, 1_000);
    rotated.rotate();
    assert_eq!(run(&rotated.export("acme", 0), 2).0, Some(0));
    assert_eq!(run(&export, 9).0, Some(1), "another key");
    for size in 0..10 {
        let mut log = Log::grown(size, size);
        log.sign();
        assert_eq!(run(&log.export("acme", 0), 1).0, Some(0), "{size} entries");
    }
    let mut altered = export.clone();
    *altered.leaf(export.hidden()[7]) = Leaf::Hash([7; 32]);
    assert_eq!(run(&altered, 1).0, Some(1), "another leaf");
    let mut removed = export.clone();
    removed.lines.remove(removed.position(500));
    assert_eq!(run(&removed, 1).0, Some(1), "one leaf less");
    let mut older = export;
    older.head.checkpoint = log.checkpoints[log.checkpoints.keys().next().unwrap()].clone();
    assert_eq!(run(&older, 1).0, Some(1), "an older checkpoint");
}
