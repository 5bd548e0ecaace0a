//! A log whose entries follow from their index, and a filter over it.

use std::{fs, path::PathBuf};

use super::*;
use crate::{
    audit::record::ALIAS_BYTES,
    id::Tenant,
    proto::stored::{self, Operation, Target, Verdict},
};

/// Small enough that a few hundred entries become runs of every level.
pub(super) const SMALL: Sizes = Sizes { entries: 30, postings: 400, fan: 3, level_max: 2 };

/// A log, by its seed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Log(pub(super) u64);

/// A question, from anything.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    pub(super) indexes: Range<u64>,
    tenant: u64,
    subject: Option<u64>,
    principal: Option<u64>,
    operation: Option<u64>,
    verdict: Option<u64>,
    class: Option<u64>,
    reference: Option<u64>,
    ends: (u64, u64),
}

/// What was found with the index, and how many entries had to be scanned for it.
pub(super) struct Answer {
    pub(super) found: Vec<u64>,
    pub(super) scanned: u64,
}

pub(super) fn directions() -> [Direction; 2] {
    [Direction::Ascending, Direction::Descending]
}

/// The index's files, with their lengths.
pub(super) fn list(dir: &Path) -> Vec<(PathBuf, u64)> {
    let listing = files::list(dir).unwrap();
    let paths = listing.runs.into_iter().map(|(_, path)| path).chain(listing.temporaries);
    let mut all: Vec<_> = paths.map(|path| (path.clone(), fs::metadata(&path).unwrap().len())).collect();
    all.sort();
    all
}

/// Scatters (SplitMix64's finalizer): entries are made over and over, so it has to be cheap.
fn mix(seed: u64, n: u64) -> u64 {
    let z = seed.rotate_left(31) ^ n.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

fn alias(subject: u64) -> [u8; ALIAS_BYTES] {
    mix(7, subject).to_be_bytes().repeat(2).try_into().unwrap()
}

const CLASSES: [&str; 4] = ["pii/account/email", "pii/account/name", "pii/billing/tax_id", "audit"];

impl Log {
    pub(super) fn entry(&self, index: u64) -> stored::Entry {
        let random = |what: u64, below: u64| mix(self.0 ^ what << 32, index) % below;
        let targets = (0..random(0, 3)).map(|n| Target {
            object: CLASSES[random(10 + n, 4) as usize].into(),
            aliases: (0..random(20 + n, 3)).flat_map(|m| alias(random(30 + n * 5 + m, 60))).collect(),
            ..Target::default()
        });
        stored::Entry {
            tenant: ["acme", "acme-2"][random(1, 2) as usize].into(),
            principal: format!("user:okta/{}", random(2, 4)),
            operation: [Operation::Encrypt, Operation::Decrypt, Operation::Check][random(3, 3) as usize].into(),
            verdict: if random(4, 20) == 0 { Verdict::Deny.into() } else { Verdict::Allow.into() },
            reference: if random(5, 2) == 0 { String::new() } else { format!("T-{}", random(6, 40)) },
            targets: targets.collect(),
            time_unix_micros: index / 3 * 10,
            ..stored::Entry::default()
        }
    }

    pub(super) fn leaf_hash(&self, index: u64) -> [u8; 32] {
        mix(self.0, index).to_be_bytes().repeat(4).try_into().unwrap()
    }

    pub(super) fn indexed(&self, indexes: Range<u64>) -> Vec<Indexed> {
        indexes.map(|index| Indexed::new(index, self.leaf_hash(index), &self.entry(index))).collect()
    }

    /// Adds what is missing up to `end`, as often as it takes.
    pub(super) fn catch_up(&self, index: &Index, end: u64) {
        for _ in 0..20 {
            let from = index.watermark();
            if from == end || index.add(&self.indexed(from..end)).is_ok() {
                break;
            }
        }
        assert_eq!(index.watermark(), end);
    }

    /// The answer without an index.
    pub(super) fn filter(&self, asked: &Asked, direction: Direction) -> Vec<u64> {
        let mut found: Vec<u64> = asked.indexes.clone().filter(|index| asked.matches(&self.entry(*index))).collect();
        if direction == Direction::Descending {
            found.reverse();
        }
        found
    }

    /// The answer with the index, and by scanning where it has not come to.
    pub(super) fn answer(&self, index: &Index, asked: &Asked, direction: Direction, limit: usize) -> Answer {
        let mut answer = Answer { found: Vec::new(), scanned: 0 };
        let (mut rest, mut damaged) = (asked.indexes.clone(), 0);
        while !rest.is_empty() {
            let found = match index.find(&asked.query(), rest.clone(), direction, limit) {
                Ok(found) => found,
                Err(Error::Damaged { .. }) if damaged < 10 => {
                    damaged += 1;
                    continue;
                }
                Err(error) => panic!("{error:?}"),
            };
            assert!(found.candidates.len() <= limit);
            assert!(found.candidates.iter().all(|candidate| found.looked.contains(candidate)));
            answer.found.extend(found.candidates);
            let scan = match (direction, found.looked.is_empty()) {
                (Direction::Ascending, false) => {
                    assert_eq!(found.looked.start, rest.start);
                    rest.start = found.looked.end;
                    continue;
                }
                (Direction::Descending, false) => {
                    assert_eq!(found.looked.end, rest.end);
                    rest.end = found.looked.start;
                    continue;
                }
                (Direction::Ascending, true) => {
                    rest.start += 1;
                    rest.start - 1
                }
                (Direction::Descending, true) => {
                    rest.end -= 1;
                    rest.end
                }
            };
            answer.scanned += 1;
            if asked.matches(&self.entry(scan)) {
                answer.found.push(scan);
            }
        }
        answer
    }

    /// Some questions over all of `indexes`, in both directions, get their complete answers. Answers how much was scanned.
    pub(super) fn check(&self, index: &Index, indexes: Range<u64>) -> u64 {
        let mut scanned = 0;
        let all = Asked::all(indexes);
        let one = Asked { subject: Some(5), ..all.clone() };
        let two = Asked { principal: Some(1), verdict: Some(1), ..all.clone() };
        for (asked, direction) in [all, one, two].into_iter().zip(directions().into_iter().cycle()) {
            let answer = self.answer(index, &asked, direction, 1_000);
            assert_eq!(answer.found, self.filter(&asked, direction));
            scanned += answer.scanned;
        }
        scanned
    }
}

impl Arbitrary for Asked {
    type Parameters = ();
    type Strategy = BoxedStrategy<Self>;

    fn arbitrary_with((): ()) -> BoxedStrategy<Self> {
        let maybe = |below: u64| proptest::option::weighted(0.25, 0..below);
        let terms = (0u64..3, maybe(61), maybe(5), maybe(4), maybe(3), maybe(5), maybe(41));
        // Ends in thousandths of what there is, somewhat beyond it too; all of it often.
        let ends = prop_oneof![Just((0u64, 1_000u64)), (0u64..1_100, 0u64..1_100)];
        (terms, ends)
            .prop_map(|((tenant, subject, principal, operation, verdict, class, reference), ends)| Self {
                indexes: 0..0,
                tenant,
                subject,
                principal,
                operation,
                verdict,
                class,
                reference,
                ends,
            })
            .boxed()
    }
}

impl Asked {
    /// All of a tenant's entries.
    pub(super) fn all(indexes: Range<u64>) -> Self {
        Self {
            indexes,
            tenant: 0,
            subject: None,
            principal: None,
            operation: None,
            verdict: None,
            class: None,
            reference: None,
            ends: (0, 1_000),
        }
    }

    /// The question about these entries.
    pub(super) fn of(mut self, indexes: Range<u64>) -> Self {
        let at =
            |thousandth: u64| (indexes.start + (indexes.end - indexes.start) * thousandth / 1_000).min(indexes.end);
        self.indexes = at(self.ends.0)..at(self.ends.1);
        self
    }

    pub(super) fn query(&self) -> Query {
        let mut query = Query::new(&Tenant::parse(self.tenant()).unwrap());
        if let Some(subject) = self.subject {
            query = query.subject(&alias(subject));
        }
        if let Some(principal) = self.principal {
            query = query.principal(&format!("user:okta/{principal}"));
        }
        if let Some(operation) = self.operation() {
            query = query.operation(operation);
        }
        if let Some(verdict) = self.verdict() {
            query = query.verdict(verdict);
        }
        if let Some(class) = self.class() {
            query = query.class(class);
        }
        if let Some(reference) = self.reference {
            query = query.reference(&format!("T-{reference}"));
        }
        query
    }

    fn matches(&self, entry: &stored::Entry) -> bool {
        let has =
            |subject: u64| entry.targets.iter().any(|t| t.aliases.chunks(ALIAS_BYTES).any(|a| a == alias(subject)));
        entry.tenant == self.tenant()
            && self.subject.is_none_or(has)
            && self.principal.is_none_or(|principal| entry.principal == format!("user:okta/{principal}"))
            && self.operation().is_none_or(|operation| entry.operation == i32::from(operation))
            && self.verdict().is_none_or(|verdict| entry.verdict == i32::from(verdict))
            && self.class().is_none_or(|class| entry.targets.iter().any(|target| target.object == class))
            && self.reference.is_none_or(|reference| entry.reference == format!("T-{reference}"))
    }

    fn tenant(&self) -> &'static str {
        ["acme", "acme-2", "nobody"][self.tenant as usize]
    }

    fn operation(&self) -> Option<Operation> {
        let all = [Operation::Encrypt, Operation::Decrypt, Operation::Check, Operation::Start];
        self.operation.map(|n| all[n as usize])
    }

    fn verdict(&self) -> Option<Verdict> {
        self.verdict.map(|n| [Verdict::Allow, Verdict::Deny, Verdict::Partial][n as usize])
    }

    fn class(&self) -> Option<&'static str> {
        self.class.map(|n| CLASSES.get(n as usize).copied().unwrap_or("pii/account/phone"))
    }
}
