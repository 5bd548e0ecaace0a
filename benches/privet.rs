//! `cargo bench`: what Privet costs, measured beside what it is compared with.
//!
//! ```text
//! cargo bench                    every group
//! cargo bench -- quick           every group, shorter: at most a minute
//! cargo bench -- rpc [quick]     the groups named
//! cargo bench -- rpc --row 256   rows with this in their name: for a profiler, which tells the sides' threads apart by name
//! cargo bench -- --json          JSON to stdout, the tables to stderr
//!
//! cargo bench -- audit --row 5M [--keep DIR]    the memory, size and speed of a log of five million entries, for which it
//!                                must be asked by this name; DIR keeps the log, or has it from before
//! ```
//!
//! Each group also writes `target/bench/<group>.json`. Two sides take turns within one run, many short rounds each, because
//! machines are noisy: the ratio of two neighbouring rounds means something, a number by itself does not. Server and client
//! run in this one process, on a runtime each, and share its cores.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::disallowed_methods,
    clippy::wildcard_enum_match_arm,
    reason = "a benchmark ends at the first thing that is wrong, and reads the machine's clock"
)]

mod audit;
mod compare;
mod cpu;
mod disk;
mod keys;
mod memory;
mod policy;
mod report;
mod rpc;
#[path = "../tests/support/support.rs"]
mod support;

use std::{
    env, fs,
    path::{Path, PathBuf},
};

use compare::Plan;
use report::Report;

/// Measures a group in a directory on disk.
type Measure = fn(&Plan, &Path) -> Report;

/// Every group: its name, and what measures it.
const GROUPS: [(&str, Measure); 4] = [
    ("rpc", |plan, directory| Report::of("rpc", &rpc::measure(plan, directory))),
    ("audit", |plan, directory| Report::of("audit", &audit::measure(plan, directory))),
    ("policy", policy::measure),
    ("keys", |plan, directory| Report::of("keys", &keys::measure(plan, directory))),
];

fn main() {
    let Asked { groups, quick, json, rows, keep } = Asked::read(env::args().skip(1));
    let plan = Plan { rows, keep, ..if quick { Plan::quick(GROUPS.len()) } else { Plan::full() } };
    let mut documents = Vec::new();
    for (name, measure) in GROUPS.iter().filter(|(name, _)| groups.is_empty() || groups.iter().any(|g| g == name)) {
        let directory = tempfile::tempdir_in(target().join("tmp")).unwrap();
        let Report { table, mut document } = measure(&plan, directory.path());
        document["group"] = (*name).into();
        document["quick"] = quick.into();
        if json {
            eprintln!("{table}");
        } else {
            println!("{table}");
        }
        let written = target().join("bench");
        fs::create_dir_all(&written).unwrap();
        fs::write(written.join(format!("{name}.json")), format!("{document:#}\n")).unwrap();
        documents.push(document);
    }
    if json {
        println!("{:#}", serde_json::Value::from(documents));
    }
}

/// The command line.
#[derive(Default)]
struct Asked {
    groups: Vec<String>,
    quick: bool,
    json: bool,
    rows: String,
    keep: Option<PathBuf>,
}

impl Asked {
    fn read(mut arguments: impl Iterator<Item = String>) -> Self {
        let mut asked = Self::default();
        while let Some(argument) = arguments.next() {
            match argument.as_str() {
                // Cargo adds it.
                "--bench" => {}
                "quick" => asked.quick = true,
                "--json" => asked.json = true,
                "--row" => asked.rows = arguments.next().unwrap_or_default(),
                "--keep" => asked.keep = arguments.next().map(PathBuf::from),
                group if GROUPS.iter().any(|(name, _)| *name == group) => asked.groups.push(group.to_owned()),
                unknown => {
                    eprintln!("there is no group {unknown:?}; groups: {}", GROUPS.map(|(name, _)| name).join(", "));
                    std::process::exit(2);
                }
            }
        }
        asked
    }
}

/// Cargo's target directory: on disk, unlike the system's place for temporary files on many machines.
fn target() -> PathBuf {
    let tmp = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
    fs::create_dir_all(&tmp).unwrap();
    tmp.parent().unwrap().to_owned()
}
