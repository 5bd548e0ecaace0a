//! Group `audit`: the log by itself, without a server.
//!
//! What is compared differs from row to row:
//!
//! * `append` – the whole of a group commit (tree, tiles, checkpoint, blocks, `fdatasync`) beside an append of the same entries'
//!   bytes to a file and its `fdatasync`. See [`append`].
//! * `anchor` – the anchor's own step beside a write of 4 KiB over itself and its `fdatasync`
//! * `… proof` – a proof made from the tiles of a log beside a plain read of one such tile from where it lies
//! * `verify` – a hundred proofs checked beside a hundred leaf hashes of an entry
//! * `subject`, `denied` – at the smaller size the index asked for 50 entries, and these read, checked and decoded, beside a scan
//!   of the whole log; at the larger one beside the same entries read where they are known to lie, so that what is left is
//!   what finding them costs
//!
//! Proofs and queries come one after the other, and every log lies in memory as far as the kernel and sled keep it there.
//! `quick` has a larger log of 70,000 entries instead of a million; the names of the rows say how many.

mod append;
mod corpus;
mod five_million;
mod history;
mod sizes;

use std::{path::Path, sync::Arc};

use self::corpus::Corpus;
use crate::{
    compare::{Plan, Round},
    disk::Disk,
    report::Group,
};

/// Measures the group in `directory`.
pub fn measure(plan: &Plan, directory: &Path) -> Group {
    let disk = Disk::new(directory);
    let (mut rows, mut facts) = (Vec::new(), Vec::new());
    if plan.rows.starts_with(five_million::ROW) {
        facts = five_million::measure(plan, directory);
    } else {
        append::measure(plan, directory, &disk, &mut rows, &mut facts);
        for (entries, is_small) in plan.entries.into_iter().zip([true, false]) {
            let size = Size { entries, is_small };
            if !history::NAMES.iter().chain(&sizes::NAMES).any(|name| size.is_wanted(plan, name)) {
                continue;
            }
            let place = directory.join(size.name());
            let corpus = Arc::new(Corpus::build(&place, entries));
            history::measure(plan, &disk, &corpus, size, &mut rows, &mut facts);
            sizes::measure(plan, &disk, corpus, size, &mut rows, &mut facts);
            std::fs::remove_dir_all(&place).unwrap();
        }
    }
    Group {
        base: "append: the same bytes appended to a file, fdatasync; proofs: one tile read; verify: leaf hashes; \
               queries: a full scan of the smaller log, the same entries read where they are known to lie of the larger",
        privet: "the log on sled, with tree, tiles, a signature a group and an anchor where it says so; fdatasync before every answer",
        items: "items",
        cpu: "append: the side's own threads, without its clients; else: all",
        disk: disk.latency(),
        rows,
        facts,
    }
}

/// One of the two logs.
#[derive(Clone, Copy)]
struct Size {
    entries: u64,
    is_small: bool,
}

impl Size {
    fn name(self) -> String {
        match self.entries {
            millions if millions.is_multiple_of(1_000_000) => format!("{} M", millions / 1_000_000),
            thousands => format!("{} k", thousands / 1_000),
        }
    }

    /// What a row about this log is called.
    fn row(self, name: &str) -> String {
        format!("{name}, {}", self.name())
    }

    fn is_wanted(self, plan: &Plan, name: &str) -> bool {
        self.row(name).contains(&plan.rows)
    }
}

/// Does the same again and again until time is up.
fn repeat(time: std::time::Duration, mut once: impl FnMut()) -> Round {
    let before = crate::cpu::spent(&[""]);
    let start = std::time::Instant::now();
    let mut latencies = Vec::new();
    while start.elapsed() < time {
        let began = std::time::Instant::now();
        once();
        latencies.push(u32::try_from(began.elapsed().as_nanos()).unwrap_or(u32::MAX));
    }
    let (ops, took) = (latencies.len() as u64, start.elapsed());
    Round { ops, took, cpu: crate::cpu::spent(&[""]).saturating_sub(before), latencies }
}

/// Numbers that look random and are the same in every run.
fn scatter(n: u64) -> u64 {
    let mixed = (n ^ (n >> 31)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed ^ (mixed >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9) >> 16
}
