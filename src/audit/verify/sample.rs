//! Logs for tests: made as the writer makes them, and exports of them in the hands of an attacker.

use std::collections::{BTreeMap, HashMap};

use prost::Message;

use super::{Found, Trust, Verified, Verifier, state::State};
use crate::{
    audit::{
        announcement::Announcement,
        checkpoint::Checkpoint,
        entry::{self, Place},
        export::{Head, Leaf, Line, Reader, Writer, read},
        merkle::Tree,
        note::{SignerKey, VerifierKey},
        verify::Finding,
    },
    id::Tenant,
    proto::stored::{Entry, LogChange, Operation, TenantHead},
    secret::Key,
};

pub(crate) const ORIGIN: &str = "log.example/privet";
/// Between two entries: 10,000 of them take 625 days.
pub(crate) const STEP_MICROS: u64 = 90 * 60 * 1_000_000;
const START_MICROS: u64 = 1_700_000_000_000_000;

/// A generator of numbers that are the same each time (splitmix64).
pub(crate) struct Numbers(pub(crate) u64);

impl Numbers {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }
}

pub(crate) fn signer(seed: u8) -> SignerKey {
    SignerKey::new(ORIGIN, &Key::new([seed; 32])).unwrap()
}

pub(crate) fn verifier_key(seed: u8) -> VerifierKey {
    signer(seed).verifier().clone()
}

/// The auditor who was given the first key.
pub(crate) fn trust() -> Trust {
    Trust { key: verifier_key(1), tenant: None, retention_days: 400 }
}

/// A log and what its keeper knows.
pub(crate) struct Log {
    numbers: Numbers,
    pub(crate) key: u8,
    pub(crate) now: u64,
    pub(crate) entries: Vec<Entry>,
    bytes: Vec<Vec<u8>>,
    pub(crate) tree: Tree,
    tenants: HashMap<String, TenantHead>,
    pub(crate) checkpoints: BTreeMap<u64, String>,
    pub(crate) announcements: Vec<String>,
    /// Bodies before this are gone.
    pub(crate) deleted: u64,
}

impl Log {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            numbers: Numbers(seed),
            key: 1,
            now: START_MICROS,
            entries: Vec::new(),
            bytes: Vec::new(),
            tree: Tree::new(),
            tenants: HashMap::new(),
            checkpoints: BTreeMap::new(),
            announcements: Vec::new(),
            deleted: 0,
        }
    }

    /// A log of `size` entries of acme, globex and `_system`, with a checkpoint every 20 to 400.
    pub(crate) fn grown(seed: u64, size: u64) -> Self {
        let mut log = Self::new(seed);
        log.grow_to(size);
        log
    }

    /// The log of the issue: 10,000 entries, a new key after 4,000, and near the end the oldest 1,024 deleted.
    pub(crate) fn long() -> Self {
        let mut log = Self::grown(7, 4_000);
        log.rotate();
        log.grow_to(9_900);
        log.delete(0, 1_024);
        log.grow_to(10_000);
        log
    }

    pub(crate) fn grow_to(&mut self, size: u64) {
        if self.size() == 0 && size > 0 {
            let verifier_key = verifier_key(self.key).to_string();
            self.about_log(Operation::RotateLogKey, LogChange { verifier_key, ..Default::default() });
        }
        let mut next_checkpoint = self.size() + 20;
        while self.size() < size {
            let tenant = ["acme", "acme", "globex", "globex", "_system"][self.numbers.below(5) as usize];
            self.append(tenant, Entry { operation: Operation::Decrypt.into(), ..Default::default() });
            if self.size() == next_checkpoint {
                self.sign();
                next_checkpoint += 20 + self.numbers.below(380);
            }
        }
        self.sign();
    }

    pub(crate) fn size(&self) -> u64 {
        self.entries.len() as u64
    }

    pub(crate) fn append(&mut self, tenant: &str, entry: Entry) -> u64 {
        let index = self.size();
        let head = self.tenants.entry(tenant.to_owned()).or_default();
        let place = Place {
            salt: [self.numbers.next().to_be_bytes(), self.numbers.next().to_be_bytes()].concat().try_into().unwrap(),
            time_unix_micros: self.now,
            tenant_seq: head.next_seq,
            tenant_previous_plus_one: head.last_index_plus_one,
        };
        *head = TenantHead { next_seq: head.next_seq + 1, last_index_plus_one: index + 1 };
        let principal = format!("spiffe://{tenant}/svc");
        let draft = Entry { tenant: tenant.to_owned(), principal, ..entry };
        let bytes = entry::complete(&draft.encode_to_vec(), &place);
        self.put(bytes);
        self.now += STEP_MICROS;
        index
    }

    /// Puts bytes at the end, whatever they are.
    pub(crate) fn put(&mut self, bytes: Vec<u8>) {
        self.tree.push(entry::leaf_hash(&bytes));
        self.entries.push(Entry::decode(bytes.as_slice()).unwrap_or_default());
        self.bytes.push(bytes);
    }

    /// Puts an entry at the end as it is.
    pub(crate) fn put_entry(&mut self, entry: &Entry) {
        self.put(entry.encode_to_vec());
    }

    pub(crate) fn sign(&mut self) -> String {
        let checkpoint = Checkpoint::new(ORIGIN, self.size(), self.tree.root()).unwrap();
        let note = checkpoint.sign(&[&signer(self.key)]).unwrap();
        self.checkpoints.insert(self.size(), note.clone());
        note
    }

    /// Hands the log to the next key.
    pub(crate) fn rotate(&mut self) -> u64 {
        let (old, new) = (signer(self.key), signer(self.key + 1));
        let index = self.about_log(
            Operation::RotateLogKey,
            LogChange { verifier_key: new.verifier().to_string(), ..Default::default() },
        );
        self.announcements.push(Announcement::sign(ORIGIN, index, &old, &new).unwrap());
        self.key += 1;
        self.sign();
        index
    }

    /// Deletes the bodies from `first` to `end`, and records it.
    pub(crate) fn delete(&mut self, first: u64, end: u64) -> u64 {
        self.deleted = self.deleted.max(end);
        let newest_time_unix_micros = self.entries[end as usize - 1].time_unix_micros;
        let change = LogChange { first_index: first, end_index: end, newest_time_unix_micros, ..Default::default() };
        self.about_log(Operation::DeleteEntries, change)
    }

    pub(crate) fn about_log(&mut self, operation: Operation, change: LogChange) -> u64 {
        let entry = Entry { operation: operation.into(), log_change: Some(change), ..Default::default() };
        self.append("_system", entry)
    }

    /// What the server shows `tenant` of the entries from `start` on.
    pub(crate) fn export(&self, tenant: &str, start: u64) -> Export {
        let size = self.size();
        let mut lines = Vec::new();
        for (index, (bytes, entry)) in self.bytes.iter().zip(&self.entries).enumerate().skip(start as usize) {
            let index = index as u64;
            let shown = index >= self.deleted && (entry.tenant == tenant || entry.log_change.is_some());
            let leaf = if shown { Leaf::Raw(bytes.clone()) } else { Leaf::Hash(entry::leaf_hash(bytes)) };
            lines.push(Line::Leaf(index, leaf));
            if let Some(note) = self.checkpoints.get(&(index + 1)) {
                lines.push(Line::Checkpoint(note.clone()));
            }
        }
        let head = Head {
            origin: ORIGIN.to_owned(),
            tenant: Tenant::parse_or_system(tenant).unwrap(),
            start,
            end: size,
            checkpoint: self.checkpoints[&size].clone(),
            key_announcements: self.announcements.clone(),
            edge: Vec::new(),
        };
        Export { head, lines }
    }
}

/// An export in somebody's hands: whatever is done to it, its sums fit.
#[derive(Clone)]
pub(crate) struct Export {
    pub(crate) head: Head,
    pub(crate) lines: Vec<Line>,
}

impl Export {
    pub(crate) fn file(&self) -> Vec<u8> {
        let mut writer = Writer::new(Vec::new(), &self.head).unwrap();
        for line in &self.lines {
            match line {
                Line::Leaf(index, leaf) => writer.leaf(*index, leaf).unwrap(),
                Line::Checkpoint(note) => writer.checkpoint(note).unwrap(),
            }
        }
        writer.into_inner()
    }

    pub(crate) fn verify(&self) -> Result<Verified, Found> {
        self.verify_with(&trust(), None)
    }

    pub(crate) fn verify_after(&self, state: &State) -> Result<Verified, Found> {
        self.verify_with(&trust(), Some(state.clone()))
    }

    pub(crate) fn verify_with(&self, trust: &Trust, state: Option<State>) -> Result<Verified, Found> {
        verify(&self.file(), trust, state)
    }

    /// Which line has the entry at `index`.
    pub(crate) fn position(&self, index: u64) -> usize {
        self.lines.iter().position(|line| matches!(line, Line::Leaf(at, _) if *at == index)).unwrap()
    }

    /// What is shown of the entry at `index`.
    pub(crate) fn leaf(&mut self, index: u64) -> &mut Leaf {
        let at = self.position(index);
        let Line::Leaf(_, leaf) = &mut self.lines[at] else { panic!("no leaf") };
        leaf
    }

    /// Changes an entry that is shown.
    pub(crate) fn alter(&mut self, index: u64, change: impl FnOnce(&mut Entry)) {
        let Leaf::Raw(bytes) = self.leaf(index) else { panic!("not shown") };
        let mut entry = Entry::decode(bytes.as_slice()).unwrap();
        change(&mut entry);
        *bytes = entry.encode_to_vec();
    }

    /// Hides an entry that is shown.
    pub(crate) fn hide(&mut self, index: u64) {
        let leaf = self.leaf(index);
        if let Leaf::Raw(bytes) = leaf {
            *leaf = Leaf::Hash(entry::leaf_hash(bytes));
        }
    }

    /// Takes away every checkpoint but the head's.
    pub(crate) fn without_checkpoints(mut self) -> Self {
        self.lines.retain(|line| matches!(line, Line::Leaf(..)));
        self
    }

    /// Numbers the entries again.
    pub(crate) fn renumber(&mut self) {
        let mut next = self.head.start;
        for line in &mut self.lines {
            if let Line::Leaf(index, _) = line {
                *index = next;
                next += 1;
            }
        }
    }

    /// The indexes of the entries that are shown.
    pub(crate) fn shown(&self) -> Vec<u64> {
        let shown = |line: &Line| match line {
            Line::Leaf(index, Leaf::Raw(_)) => Some(*index),
            Line::Leaf(_, Leaf::Hash(_)) | Line::Checkpoint(_) => None,
        };
        self.lines.iter().filter_map(shown).collect()
    }

    /// The indexes of those that are not.
    pub(crate) fn hidden(&self) -> Vec<u64> {
        let shown = self.shown();
        (self.head.start..self.head.end).filter(|index| shown.binary_search(index).is_err()).collect()
    }
}

/// Verifies a file.
pub(crate) fn verify(file: &[u8], trust: &Trust, state: Option<State>) -> Result<Verified, Found> {
    let of_line = |error| match error {
        read::Error::Line(bad) => Finding::Line(bad),
        read::Error::Read(error) => panic!("{error}"),
    };
    let at_once = |finding| Found { finding, signed: super::Signed::Unknown };
    let (head, mut reader) = Reader::open(file).map_err(|error| at_once(of_line(error)))?;
    let mut verifier = Verifier::begin(trust, &head, state)?;
    loop {
        match reader.next_line() {
            Ok(Some(line)) => verifier.line(&line)?,
            Ok(None) => return verifier.finish(),
            Err(error) => return Err(verifier.stop(of_line(error))),
        }
    }
}
