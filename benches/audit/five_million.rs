//! A log of five million entries: how much memory it takes to write, index, seal and open it, and what it takes to ask it.
//!
//! Each step is a process of its own, this same program, so that one does not pay for what another left in memory:
//!
//! ```text
//! --row "5M build 128"    appends, indexes behind it, and seals segments of so many MiB, as a server does it
//! --row "5M open"         opens it, and finds one subject's 50 entries
//! --row "5M"              the first and then the second, for segments of 128 MiB and, in a place of its own, of 1 GiB
//! ```
//!
//! Aims: at most 300 MiB resident; open in 3 s; one subject's entries in milliseconds, from at most 60 blocks.

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use super::{
    corpus::{Corpus, SUBJECTS_ENTRIES},
    history::{Answer, answer, subject},
    scatter, sizes,
};
use crate::{compare::Plan, memory, report::Fact};

/// Asked for by a name that begins so.
pub const ROW: &str = "5M";

/// Measures what the row says.
pub fn measure(plan: &Plan, directory: &Path) -> Vec<Fact> {
    let place = plan.keep.clone().unwrap_or_else(|| directory.join("five_million"));
    let asked: Vec<&str> = plan.rows.split(' ').collect();
    match asked[..] {
        [_, "build", mebibytes] => build(&place, mebibytes.parse().unwrap()),
        [_, "open"] => open(&place),
        _ => SEGMENTS.iter().flat_map(|mebibytes| both(plan, &place, *mebibytes)).collect(),
    }
}

const SEGMENTS: [u64; 2] = [128, 1_024];

/// Both steps, in processes of their own.
fn both(plan: &Plan, place: &Path, mebibytes: u64) -> Vec<Fact> {
    let place = place.with_extension(mebibytes.to_string());
    let mut facts = Vec::new();
    if !place.exists() {
        facts.extend(step(&format!("{ROW} build {mebibytes}"), &place));
    }
    facts.extend(step(&format!("{ROW} open"), &place));
    for fact in &mut facts {
        fact.name = format!("segments of {mebibytes} MiB: {}", fact.name);
    }
    if plan.keep.is_none() {
        std::fs::remove_dir_all(&place).unwrap();
    }
    facts
}

fn step(row: &str, place: &Path) -> Vec<Fact> {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["audit", "--json", "--row", row, "--keep"]).arg(place).stderr(Stdio::inherit());
    let done = command.output().unwrap();
    assert!(done.status.success(), "{row}");
    let groups: serde_json::Value = serde_json::from_slice(&done.stdout).unwrap();
    let facts = groups[0]["facts"].as_array().unwrap().iter();
    facts
        .map(|fact| {
            Fact::new(fact["name"].as_str().unwrap(), fact["value"].as_f64().unwrap(), fact["unit"].as_str().unwrap())
        })
        .collect()
}

fn build(place: &PathBuf, mebibytes: u64) -> Vec<Fact> {
    std::fs::create_dir(place).unwrap();
    let corpus = Corpus::open(place);
    let mut facts = vec![Fact::new("resident, empty", memory::resident(), "MiB")];
    let (mut appending, mut indexing, mut sealing) = (Duration::ZERO, Duration::ZERO, Duration::ZERO);
    let (mut appended, mut indexed, mut sealed) = (0_f64, 0_f64, 0_f64);
    let timed = |took: &mut Duration, most: &mut f64, work: &mut dyn FnMut()| {
        memory::reset_peak();
        let began = Instant::now();
        work();
        *took += began.elapsed();
        *most = most.max(memory::peak());
    };
    let mut next = 0;
    while next < ENTRIES {
        let end = ENTRIES.min(next + STRETCH);
        timed(&mut appending, &mut appended, &mut || corpus.append(next..end, ENTRIES));
        timed(&mut indexing, &mut indexed, &mut || corpus.follow());
        timed(&mut sealing, &mut sealed, &mut || corpus.tend(mebibytes << 20));
        next = end;
        eprintln!("audit: {next} entries, {:.0} MiB resident", memory::resident());
    }
    for (name, took, most) in [("append", appending, appended), ("index", indexing, indexed), ("seal", sealing, sealed)]
    {
        facts.push(Fact::new(format!("{name}: most resident"), most, "MiB"));
        facts.push(Fact::new(format!("{name}: entries"), ENTRIES as f64 / took.as_secs_f64() / 1e3, "k/s"));
    }
    facts.push(Fact::new("resident at the end", memory::resident(), "MiB"));
    let sealed_end = corpus.log.history().bounds().sealed_end();
    facts.push(Fact::new("sealed", sealed_end as f64 / ENTRIES as f64 * 100.0, "%"));
    corpus.close();
    facts
}

fn open(place: &Path) -> Vec<Fact> {
    let parts = sizes::open_once(place);
    let mut facts = ["store", "log", "index"]
        .into_iter()
        .zip(parts)
        .map(|(part, took)| Fact::millis(format!("open {part}"), took))
        .collect::<Vec<_>>();
    let began = Instant::now();
    let corpus = Corpus::open(place);
    facts.push(Fact::millis("open all once more", began.elapsed()));
    facts.push(Fact::new("open: resident", memory::resident(), "MiB"));
    let missing = corpus.log.read_point().0 - corpus.index.watermark();
    let began = Instant::now();
    corpus.follow();
    facts.push(Fact::millis(format!("index the last {missing}"), began.elapsed()));
    let mut took = Vec::new();
    let answers: Vec<Answer> = (0..ANSWERS)
        .map(|n| {
            let query = subject(scatter(n) % (ENTRIES / SUBJECTS_ENTRIES));
            let began = Instant::now();
            let found = answer(&corpus, &query);
            took.push(began.elapsed());
            assert_eq!(found.entries.len() as u64, SUBJECTS_ENTRIES);
            found
        })
        .collect();
    facts.push(Fact::millis("one subject's 50 entries, the first asked for", took[0]));
    took.sort_unstable();
    facts.push(Fact::millis("one subject's 50 entries, the median", took[took.len() / 2]));
    let most = |part: fn(&Answer) -> usize| answers.iter().map(part).max().unwrap() as f64;
    facts.push(Fact::new("blocks read at most", most(Answer::blocks), "blocks"));
    facts.push(Fact::new("of them of the index", most(|answer| answer.of_index), "blocks"));
    facts.push(Fact::new("open and asked: most resident", memory::peak(), "MiB"));
    for (name, directory) in
        [("store", super::corpus::STORE), ("index", super::corpus::INDEX), ("archive", super::corpus::ARCHIVE)]
    {
        let bytes = sizes::bytes_below(&place.join(directory));
        facts.push(Fact::new(format!("room of the {name}"), bytes as f64 / ENTRIES as f64, "bytes an entry"));
    }
    corpus.close();
    facts
}

const ENTRIES: u64 = 5_000_000;
/// Entries appended between two looks at what is to be indexed and sealed: ten seconds' worth at a few thousand a second.
const STRETCH: u64 = 50_000;
const ANSWERS: u64 = 50;
