//! Appending, and what it is made of.
//!
//! A group is exact: while one is being made durable, so many records are queued, and the store's answer is held back until all
//! of them are there. So the writer finds them whole, and as in a server they are queued while the disk works. An operation
//! is a group; its time is from the moment its batch goes to the store to the moment the next one does, which is encoding,
//! hashing, signing, storing, syncing, and giving the answers. The threads that ask are not in its processor time, which on
//! few cores is part of its time.
//!
//! The file that is compared with grows, as an appended one does, so its file system's journal is synced with it. sled's grows
//! by segments and is used again where it can be; where the journal is what takes long, Privet is faster than the file.
//!
//! With an anchor, which here lies on the same disk, groups go on while it is advanced; up to ten may wait for it.

mod gate;

use std::{
    collections::VecDeque,
    fs::{File, OpenOptions},
    io::Write,
    path::Path,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use futures_util::future::{BoxFuture, FutureExt, join_all};
use privet::{
    audit::{Log, Record, anchor::Anchor, checkpoint::Checkpoint, log::Ending, note::SignerKey},
    secret::Key,
    store::Direction,
};
use tokio::{runtime::Runtime, task::unconstrained};

use self::gate::{Began, Gated, Gates};
use super::{
    corpus::{self, ORIGIN},
    repeat,
};
use crate::{
    compare::{Plan, Round, Row, take_turns},
    cpu,
    disk::Disk,
    report::Fact,
};

/// Measures appending.
pub fn measure(plan: &Plan, directory: &Path, disk: &Disk, rows: &mut Vec<Row>, facts: &mut Vec<Fact>) {
    let mut seen = Vec::new();
    for (anchored, groups) in [(false, GROUPS.as_slice()), (true, &ANCHORED)] {
        for group in groups.iter().copied() {
            let name = format!("append, groups of {group}{}", if anchored { ", anchored" } else { "" });
            if !name.contains(&plan.rows) {
                continue;
            }
            eprintln!("audit: {name}");
            let place = directory.join("append");
            std::fs::create_dir(&place).unwrap();
            let mut appender = Appender::open(&place, group, anchored);
            let mut raw = Raw::create(&place, group * appender.entry_bytes());
            let row =
                take_turns(plan, name, group as u64, || disk.probe(), |time| raw.run(time), |time| appender.run(time));
            facts.push(appender.share(&row.name));
            appender.close();
            std::fs::remove_dir_all(&place).unwrap();
            if !anchored {
                seen.push((group, row.privet.cpu_per_op));
            }
            rows.push(row);
        }
    }
    if !seen.is_empty() {
        let signing = signing();
        facts.push(Fact::new("signing a checkpoint", signing.as_secs_f64() * 1e6, "µs"));
        for (group, cpu) in seen {
            let share = signing.as_secs_f64() / cpu.as_secs_f64() * 100.0;
            facts.push(Fact::new(format!("signing, of the log's processor time, groups of {group}"), share, "%"));
        }
    }
    let name = "anchor";
    if name.contains(&plan.rows) {
        eprintln!("audit: {name}");
        rows.push(anchor(plan, directory, disk, name));
    }
}

const GROUPS: [usize; 4] = [1, 16, 128, 1_024];
const ANCHORED: [usize; 2] = [1, 128];
/// Groups that are under way at most, with an anchor.
const AHEAD_MAX: usize = 10;

/// A log, and records on their way to it.
struct Appender {
    runtime: Runtime,
    log: Log,
    ending: Ending,
    gates: Gates,
    group: usize,
    ahead_max: usize,
    number: u64,
    /// Groups whose answers are not known yet.
    under_way: VecDeque<BoxFuture<'static, ()>>,
    /// In all rounds.
    took: Duration,
    took_in_store: Duration,
}

impl Appender {
    fn open(place: &Path, group: usize, anchored: bool) -> Self {
        let runtime = corpus::runtime();
        let (store, gates) = Gated::open(&place.join(corpus::STORE));
        let anchor = anchored.then(|| Anchor::create(&place.join("anchor"), ORIGIN).unwrap());
        let (log, ending) = corpus::open_log(&runtime, Arc::new(store), place, anchor);
        let ahead_max = if anchored { AHEAD_MAX } else { 1 };
        let mut appender = Self {
            runtime,
            log,
            ending,
            gates,
            group,
            ahead_max,
            number: 0,
            under_way: VecDeque::new(),
            took: Duration::ZERO,
            took_in_store: Duration::ZERO,
        };
        // The entry whose length is asked for.
        appender.run(Duration::ZERO);
        appender
    }

    /// Appends groups until time is up. The first is only there for the second to be queued behind it.
    fn run(&mut self, time: Duration) -> Round {
        let before = cpu::spent(&THREADS);
        let mut records = self.records(1);
        self.queue(records);
        let mut began: Vec<Began> = Vec::new();
        loop {
            records = self.records(self.group);
            began.push(self.gates.began.recv().unwrap());
            let is_over = began.get(1).is_some_and(|first| began[began.len() - 1].at.duration_since(first.at) >= time);
            if is_over {
                break;
            }
            self.queue(records);
            self.gates.queued.send(()).unwrap();
            while self.under_way.len() > self.ahead_max + 1 {
                self.runtime.block_on(self.under_way.pop_front().unwrap());
            }
        }
        self.gates.queued.send(()).unwrap();
        self.runtime.block_on(join_all(self.under_way.drain(..)));
        let cycles = began.windows(2).skip(1).map(|pair| pair[1].at.duration_since(pair[0].at));
        let latencies = cycles.map(|cycle| u32::try_from(cycle.as_nanos()).unwrap_or(u32::MAX)).collect::<Vec<_>>();
        let took = began[began.len() - 1].at.duration_since(began[1].at);
        self.took += took;
        self.took_in_store += began.iter().skip(2).map(|began| began.before_took).sum::<Duration>();
        Round { ops: latencies.len() as u64, took, cpu: cpu::spent(&THREADS).saturating_sub(before), latencies }
    }

    fn records(&mut self, count: usize) -> Vec<Record> {
        let first = self.number;
        self.number += count as u64;
        (first..self.number).map(|n| corpus::record(n, 1_000_000)).collect()
    }

    /// Queues records; their answers come later.
    fn queue(&mut self, records: Vec<Record>) {
        let log = self.log.clone();
        let mut group = async move {
            join_all(records.into_iter().map(|record| corpus::commit(&log, record))).await;
        }
        .boxed();
        // A record is queued when its commit is polled first; the runtime must not stop that midway.
        let early = self.runtime.block_on(unconstrained(async { (&mut group).now_or_never() }));
        assert!(early.is_none(), "a group was answered before it was committed");
        self.under_way.push_back(group);
    }

    fn entry_bytes(&self) -> usize {
        let history = self.log.history();
        let end = self.log.read_point().0;
        let run = self.runtime.block_on(history.entries(end - 1..end, Direction::Ascending)).unwrap();
        run[0].bytes.len()
    }

    /// What the store takes of a group's time.
    fn share(&self, name: &str) -> Fact {
        let share = self.took_in_store.as_secs_f64() / self.took.as_secs_f64() * 100.0;
        Fact::new(format!("{name}: time within the store"), share, "%")
    }

    fn close(self) {
        let Self { log, ending, under_way, runtime, gates, .. } = self;
        drop((under_way, gates, log));
        ending.join();
        drop(runtime);
    }
}

/// Those of the log and of what is below it.
const THREADS: [&str; 3] = ["privet-log", "privet-anchor", "sled-io"];

/// A file that is only appended to.
struct Raw {
    file: File,
    group: Vec<u8>,
}

impl Raw {
    fn create(place: &Path, bytes: usize) -> Self {
        let file = OpenOptions::new().create_new(true).append(true).open(place.join("raw")).unwrap();
        Self { file, group: (0..bytes).map(|n| ((n * n) >> 3) as u8).collect() }
    }

    fn run(&mut self, time: Duration) -> Round {
        self.file.set_len(0).and_then(|()| self.file.sync_all()).unwrap();
        let (file, group) = (&mut self.file, &self.group);
        let append = || {
            let before = cpu::spent(&["raw"]);
            let round = repeat(time, || {
                file.write_all(group).unwrap();
                file.sync_data().unwrap();
            });
            Round { cpu: cpu::spent(&["raw"]).saturating_sub(before), ..round }
        };
        thread::scope(|scope| {
            thread::Builder::new().name("raw".into()).spawn_scoped(scope, append).unwrap().join().unwrap()
        })
    }
}

/// How long one signature takes, with all that is signed and written around it.
fn signing() -> Duration {
    let signer = SignerKey::new(ORIGIN, &Key::new([7; 32])).unwrap();
    let start = Instant::now();
    for size in 1..=SIGNATURES {
        let checkpoint = Checkpoint::new(ORIGIN, size, [7; 32]).unwrap();
        let _note = std::hint::black_box(checkpoint.sign(&[&signer]).unwrap());
    }
    start.elapsed() / SIGNATURES as u32
}

const SIGNATURES: u64 = 1_000;

/// The anchor by itself.
fn anchor(plan: &Plan, directory: &Path, disk: &Disk, name: &str) -> Row {
    let signer = SignerKey::new(ORIGIN, &Key::new([7; 32])).unwrap();
    let notes = [1, 2].map(|size| Checkpoint::new(ORIGIN, size, [7; 32]).unwrap().sign(&[&signer]).unwrap());
    let mut anchor = Anchor::create(&directory.join("anchor"), ORIGIN).unwrap();
    let mut turn = 0;
    let advance = |time| {
        repeat(time, || {
            let from = anchor.newest().map(str::to_owned);
            anchor.advance(from.as_deref(), &notes[turn % 2]).unwrap();
            turn += 1;
        })
    };
    take_turns(plan, name.to_owned(), 1, || disk.probe(), |time| repeat(time, || disk.sync_once()), advance)
}
