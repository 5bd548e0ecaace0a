//! Proofs and queries on one log.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use privet::{
    audit::{
        entry::{self, Stored},
        index::Query,
        merkle::{Hash, verify},
        tiles::{self, Tile},
    },
    proto::stored::{Entry, Verdict},
    store::Direction,
};

use super::{
    Size,
    corpus::{Corpus, SUBJECTS_ENTRIES, alias, principal, tenant},
    repeat, scatter,
};
use crate::{
    compare::{Plan, Row, take_turns},
    disk::Disk,
    report::Fact,
};

/// Every row of [`measure`].
pub const NAMES: [&str; 5] = ["inclusion proof", "consistency proof", "verify 100 proofs", "subject", "denied"];

/// Measures proofs and queries.
pub fn measure(plan: &Plan, disk: &Disk, corpus: &Arc<Corpus>, size: Size, rows: &mut Vec<Row>, facts: &mut Vec<Fact>) {
    proofs(plan, disk, corpus, size, "", rows);
    let name = NAMES[2];
    if size.is_wanted(plan, name) {
        rows.push(verification(plan, disk, corpus, size.row(name)));
    }
    for (name, query) in [(NAMES[3], subject as fn(u64) -> Query), (NAMES[4], denied)] {
        if size.is_wanted(plan, name) {
            let (row, fact) = queries(plan, disk, corpus, size, name, query);
            rows.push(row);
            facts.push(fact);
        }
    }
}

/// Making proofs. `suffix` says in what state the log is.
pub fn proofs(plan: &Plan, disk: &Disk, corpus: &Arc<Corpus>, size: Size, suffix: &str, rows: &mut Vec<Row>) {
    let Corpus { runtime, log, .. } = &**corpus;
    let published = log.published();
    let (edge, history) = (&published.edge, log.history());
    let entries = edge.size();
    let mut n = 0;
    let mut next = || {
        n += 1;
        scatter(n)
    };
    let inclusion = |index: u64| drop(runtime.block_on(history.inclusion(edge, index % entries, entries)).unwrap());
    let consistency = |first: u64| {
        let first = first % entries + 1;
        drop(runtime.block_on(history.consistency(edge, first, entries)).unwrap());
    };
    for (name, prove) in [(NAMES[0], &inclusion as &dyn Fn(u64)), (NAMES[1], &consistency)] {
        if !size.is_wanted(plan, &format!("{name}{suffix}")) {
            continue;
        }
        eprintln!("audit: {}", size.row(&format!("{name}{suffix}")));
        let mut n = 0;
        let read = |time| {
            repeat(time, || {
                let tile = Tile { level: 0, index: scatter(n) % (entries >> tiles::HEIGHT) };
                n += 1;
                assert_eq!(runtime.block_on(history.tiles(&[tile])).unwrap()[0].len(), tiles::TILE_BYTES_MAX);
            })
        };
        let made = |time| repeat(time, || prove(next()));
        rows.push(take_turns(plan, size.row(&format!("{name}{suffix}")), 1, || disk.probe(), read, made));
    }
}

fn verification(plan: &Plan, disk: &Disk, corpus: &Corpus, name: String) -> Row {
    eprintln!("audit: {name}");
    let published = corpus.log.published();
    let (edge, history) = (&published.edge, corpus.log.history());
    let (entries, root) = (edge.size(), edge.root());
    let samples: Vec<(Stored, Vec<Hash>)> = (0..PROOFS)
        .map(|n| {
            let index = scatter(n) % entries;
            let proof = corpus.runtime.block_on(history.inclusion(edge, index, entries)).unwrap();
            (read(corpus, index).pop().unwrap(), proof)
        })
        .collect();
    let hash = |time| {
        repeat(time, || {
            for (stored, _) in &samples {
                assert_eq!(entry::leaf_hash(&stored.bytes), stored.leaf_hash);
            }
        })
    };
    let check = |time| {
        repeat(time, || {
            for (stored, proof) in &samples {
                verify::inclusion(&stored.leaf_hash, stored.index, entries, proof, &root).unwrap();
            }
        })
    };
    take_turns(plan, name, PROOFS, || disk.probe(), hash, check)
}

const PROOFS: u64 = 100;

/// Asking for 50 entries, and how many blocks it takes to answer.
pub fn queries(
    plan: &Plan,
    disk: &Disk,
    corpus: &Arc<Corpus>,
    size: Size,
    name: &str,
    query: fn(u64) -> Query,
) -> (Row, Fact) {
    let name = size.row(name);
    eprintln!("audit: {name}");
    let entries = size.entries;
    let subjects = entries / SUBJECTS_ENTRIES;
    let mut n = 0;
    let mut next = move || {
        n += 1;
        scatter(n) % subjects
    };
    let found: Vec<Answer> = (0..ANSWERS).map(|n| answer(corpus, &query(scatter(n) % subjects))).collect();
    let items = found.iter().map(|answer| answer.entries.len()).sum::<usize>() / found.len();
    assert!(items > 0, "there is something to find");
    let blocks = found.iter().map(Answer::blocks).max().unwrap();
    let fact = Fact::new(format!("{name}: blocks read at most, of index and log"), blocks as f64, "blocks");
    let indexed = |time| repeat(time, || drop(answer(corpus, &query(next()))));
    let row = if size.is_small {
        let scan = |time| repeat(time, || scan(corpus));
        take_turns(plan, format!("{name} ÷ full scan"), items as u64, || disk.probe(), scan, indexed)
    } else {
        let mut turn = 0;
        let known = |time: Duration| {
            repeat(time, || {
                turn += 1;
                found[turn % found.len()].entries.iter().for_each(|index| decoded(read(corpus, *index)));
            })
        };
        take_turns(plan, format!("{name} ÷ known places"), items as u64, || disk.probe(), known, indexed)
    };
    (row, fact)
}

/// So many different questions.
const ANSWERS: u64 = 20;

/// What a query found.
pub struct Answer {
    pub entries: Vec<u64>,
    /// Blocks of the index that were read,
    pub of_index: usize,
    /// and blocks or bundles of the log: each entry's own.
    pub of_log: usize,
}

impl Answer {
    pub fn blocks(&self) -> usize {
        self.of_index + self.of_log
    }
}

/// The newest 50 entries that a query is for, read and checked.
pub fn answer(corpus: &Corpus, query: &Query) -> Answer {
    let end = corpus.log.read_point().0.min(corpus.index.watermark());
    let found = corpus.index.find(query, 0..end, Direction::Descending, SUBJECTS_ENTRIES as usize).unwrap();
    found.candidates.iter().for_each(|index| decoded(read(corpus, *index)));
    let sealed_end = corpus.log.history().bounds().sealed_end();
    // Unsealed ones lie at least 50 apart, and a block has fewer.
    let places = |index: &u64| if *index < sealed_end { index >> tiles::HEIGHT } else { *index | 1 << 63 };
    let of_log = found.candidates.iter().map(places).collect::<BTreeSet<_>>().len();
    Answer { entries: found.candidates, of_index: found.blocks, of_log }
}

/// One subject's entries.
pub fn subject(number: u64) -> Query {
    Query::new(&tenant()).subject(&alias(number))
}

/// What one principal was denied.
pub fn denied(number: u64) -> Query {
    Query::new(&tenant()).principal(&principal(number % super::corpus::PRINCIPALS)).verdict(Verdict::Deny)
}

fn read(corpus: &Corpus, index: u64) -> Vec<Stored> {
    corpus.runtime.block_on(corpus.log.history().entries(index..index + 1, Direction::Ascending)).unwrap()
}

fn decoded(entries: Vec<Stored>) {
    let entries: Vec<Entry> = entries.iter().map(|entry| entry.decode().unwrap()).collect();
    assert_eq!(std::hint::black_box(entries).len(), 1);
}

/// Reads every entry of the log and looks at it.
fn scan(corpus: &Corpus) {
    let (mut next, end, wanted) = (0, corpus.log.read_point().0, alias(1));
    let mut found = 0;
    while next < end {
        let run = corpus.runtime.block_on(corpus.log.history().entries(next..end, Direction::Ascending)).unwrap();
        next = run.last().unwrap().index + 1;
        for entry in run {
            let fields = entry.decode().unwrap();
            found += usize::from(fields.targets.iter().any(|target| target.aliases == wanted));
        }
    }
    assert_eq!(found as u64, SUBJECTS_ENTRIES);
}
