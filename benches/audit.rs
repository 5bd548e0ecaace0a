//! Group `audit`: the log below everything else, beside the least that a durable log could do.
//!
//! * append – base: the same bytes written to a file, `fdatasync` for each group. Privet: `Log::commit` on sled, with tree,
//!   tiles, a signed checkpoint a group and blocks. Twice as many records are in flight as a group has, so that the next group
//!   is there when one is durable.
//! * proofs – base: the leaf hash of an entry. Privet: a proof from stored tiles.
//! * queries – base: reading the whole log of 10,000 entries once. Privet: index and entries.

mod ledger;
pub mod scale;

use std::{
    fs::File,
    io::Write,
    path::Path,
    time::{Duration, Instant},
};

use privet::{
    audit::{entry, index::Query},
    proto::stored::{Operation, Verdict},
    store::Direction,
};
use tokio::runtime::{self, Runtime};

use self::ledger::{Ledger, SUBJECT, acme};
use crate::{
    compare::{Plan, Round, Row, take_turns},
    cpu,
    disk::Disk,
    report::Group,
};

/// Measures the group in `directory`.
pub fn measure(plan: &Plan, directory: &Path) -> Group {
    let disk = Disk::new(directory);
    let runtime = runtime();
    let mut rows = Vec::new();
    for group in GROUPS.into_iter().filter(|group| append_name(*group).contains(&plan.rows)) {
        rows.push(append(plan, &runtime, &disk, directory, group));
    }
    let mut notes = Vec::new();
    // A plan of short rounds is a quick one.
    let sizes: &[u64] = if plan.round < Duration::from_millis(500) { &[10_000] } else { &[10_000, 1_000_000] };
    for size in sizes {
        let dir = directory.join(size.to_string());
        std::fs::create_dir(&dir).unwrap();
        rows.extend(reads(plan, &runtime, &disk, &dir, *size, &mut notes));
        std::fs::remove_dir_all(&dir).unwrap();
    }
    Group {
        base: "append: write + fdatasync of the same bytes; proofs: the leaf hash of an entry; queries: all of 10,000 entries read",
        privet: "the log on sled: tree, tiles, a signed checkpoint a group; no server",
        disk: disk.latency(),
        rows,
        notes,
    }
}

const GROUPS: [u64; 4] = [1, 16, 128, 1_024];

fn append_name(group: u64) -> String {
    format!("append, groups of {group}")
}

fn append(plan: &Plan, runtime: &Runtime, disk: &Disk, directory: &Path, group: u64) -> Row {
    eprintln!("audit: {}", append_name(group));
    let dir = directory.join(format!("append-{group}"));
    std::fs::create_dir(&dir).unwrap();
    let (ledger, _) = runtime.block_on(Ledger::open(&dir));
    let mut file = File::create(dir.join("raw")).unwrap();
    let bytes = vec![7; runtime.block_on(ledger.entry_bytes()) * group as usize];
    let base = |time: Duration| {
        let (began, mut ops) = (Instant::now(), 0);
        while began.elapsed() < time {
            file.write_all(&bytes).unwrap();
            file.sync_data().unwrap();
            ops += group;
        }
        Round { ops, took: began.elapsed(), ..Round::default() }
    };
    let in_flight = if group == 1 { 1 } else { 2 * group };
    let privet = |time: Duration| {
        let before = cpu::spent(&WRITER);
        let round = runtime.block_on(appends(&ledger, in_flight, time));
        Round { cpu: cpu::spent(&WRITER).saturating_sub(before), ..round }
    };
    let row = take_turns(plan, append_name(group), 1, || disk.probe(), base, privet);
    ledger.close();
    row
}

/// So many at once, each the next as soon as it is durable.
async fn appends(ledger: &Ledger, in_flight: u64, time: Duration) -> Round {
    let began = Instant::now();
    let one = |n: u64| async move {
        let mut ops = 0;
        while began.elapsed() < time {
            ledger.append(n, false).await;
            ops += 1;
        }
        ops
    };
    let ops = futures_util::future::join_all((0..in_flight).map(one)).await.into_iter().sum();
    Round { ops, took: began.elapsed(), ..Round::default() }
}

fn reads(plan: &Plan, runtime: &Runtime, disk: &Disk, dir: &Path, size: u64, notes: &mut Vec<String>) -> Vec<Row> {
    eprintln!("audit: {size} entries");
    let ledger = runtime.block_on(async {
        let (ledger, _) = Ledger::open(dir).await;
        ledger.fill(size, 2_048, OF_SUBJECT).await;
        ledger.index().await;
        ledger
    });
    let per_entry = |bytes: u64| bytes as f64 / size as f64;
    let store = per_entry(ledger.sled.bytes_on_disk().unwrap());
    let index = per_entry(ledger.index.bytes_on_disk());
    ledger.close();
    let (ledger, opened) = runtime.block_on(Ledger::open(dir));
    runtime.block_on(ledger.index());
    let (took, blocks) = runtime.block_on(subject(&ledger));
    notes.push(format!(
        "{size} entries: {store:.0} bytes of store and {index:.0} of index an entry; opened in {:.0} ms; one subject's {OF_SUBJECT}: {:.1} ms, {blocks} blocks of index",
        opened.as_secs_f64() * 1e3,
        took.as_secs_f64() * 1e3,
    ));
    let leaf = vec![7; runtime.block_on(ledger.entry_bytes())];
    let hash = |time: Duration| {
        repeat(time, || {
            std::hint::black_box(entry::leaf_hash(&leaf));
        })
    };
    let mut n = 0;
    let mut at = || {
        n = (n + 7_919) % size;
        n
    };
    let published = ledger.log.published();
    let (history, edge) = (ledger.log.history(), &published.edge);
    let mut rows = Vec::new();
    let mut row = |name: &str, base: &mut dyn FnMut(Duration) -> Round, privet: &mut dyn FnMut(Duration) -> Round| {
        let name = format!("{name}, {size} entries");
        if name.contains(&plan.rows) {
            rows.push(take_turns(plan, name, 1, || disk.probe(), base, privet));
        }
    };
    row("inclusion proof", &mut |time| hash(time), &mut |time| {
        repeat(time, || drop(runtime.block_on(history.inclusion(edge, at(), edge.size())).unwrap()))
    });
    let mut m = 0;
    row("consistency proof", &mut |time| hash(time), &mut |time| {
        repeat(time, || {
            m = (m + 7_919) % size;
            drop(runtime.block_on(history.consistency(edge, m + 1, edge.size())).unwrap());
        })
    });
    let mut scan = |time: Duration| repeat(time, || runtime.block_on(scan(&ledger)));
    row("one subject's entries", &mut scan, &mut |time| {
        repeat(time, || {
            runtime.block_on(subject(&ledger));
        })
    });
    row("refused by one principal", &mut scan, &mut |time| repeat(time, || runtime.block_on(refused(&ledger))));
    ledger.close();
    rows
}

/// Does it again and again.
fn repeat(time: Duration, mut job: impl FnMut()) -> Round {
    let (began, mut ops) = (Instant::now(), 0);
    while began.elapsed() < time {
        job();
        ops += 1;
    }
    Round { ops, took: began.elapsed(), ..Round::default() }
}

/// The newest 10,000 entries, all of them.
async fn scan(ledger: &Ledger) {
    let end = ledger.log.read_point().0;
    let mut next = end - 10_000;
    while next < end {
        let run = ledger.log.history().entries(next..end, Direction::Ascending).await.unwrap();
        next = run.last().unwrap().index + 1;
    }
}

/// One subject's entries, read; how long it took, and how many blocks of the index were read.
pub(crate) async fn subject(ledger: &Ledger) -> (Duration, usize) {
    let began = Instant::now();
    let query = Query::new(&acme()).subject(&SUBJECT);
    let found = ledger.index.find(&query, 0..ledger.index.watermark(), Direction::Descending, 1_000).unwrap();
    assert_eq!(found.candidates.len() as u64, OF_SUBJECT);
    for index in &found.candidates {
        ledger.log.history().entries(*index..index + 1, Direction::Ascending).await.unwrap();
    }
    (began.elapsed(), found.blocks)
}

/// The newest 50 refusals of one principal.
async fn refused(ledger: &Ledger) {
    let query = Query::new(&acme()).principal("spiffe://acme.example/svc/signup").verdict(Verdict::Deny);
    let query = query.operation(Operation::Encrypt);
    let found = ledger.index.find(&query, 0..ledger.index.watermark(), Direction::Descending, 50).unwrap();
    assert!(!found.candidates.is_empty());
    for index in &found.candidates {
        ledger.log.history().entries(*index..index + 1, Direction::Ascending).await.unwrap();
    }
}

fn runtime() -> Runtime {
    runtime::Builder::new_multi_thread().enable_all().thread_name("bench").build().unwrap()
}

/// Entries of the one subject that queries look for.
pub(crate) const OF_SUBJECT: u64 = 50;
/// The threads that write the log.
const WRITER: [&str; 2] = ["privet-log", "sled-io"];
