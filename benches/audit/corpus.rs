//! A log of many entries, with its index and its archive, as a server keeps them.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use futures_util::future::join_all;
use privet::{
    audit::{
        Basis, Effects, Log, Record, Unreleased,
        anchor::Anchor,
        index::Index,
        log::{Ending, Options},
        note::SignerKey,
    },
    clock::SystemClock,
    entropy::SystemEntropy,
    id::Tenant,
    operations::{
        indexing,
        segments::{Rules, Segments},
    },
    proto::stored::{Entry, Operation, Outcome, Target, Verdict},
    secret::Key,
    store::{Store, sled::SledStore},
};
use tokio::runtime::{self, Runtime};

use super::scatter;

/// An open log.
pub struct Corpus {
    pub place: PathBuf,
    pub runtime: Runtime,
    pub store: Arc<dyn Store>,
    pub log: Log,
    pub index: Arc<Index>,
    ending: Ending,
}

impl Corpus {
    /// A log of so many entries, and all of them indexed.
    pub fn build(place: &Path, entries: u64) -> Self {
        std::fs::create_dir(place).unwrap();
        let corpus = Self::open(place);
        eprintln!("audit: building a log of {entries} entries");
        corpus.append(0..entries, entries);
        corpus.follow();
        corpus
    }

    /// The log in a place.
    pub fn open(place: &Path) -> Self {
        let runtime = runtime();
        let store: Arc<dyn Store> = Arc::new(SledStore::open(&place.join(STORE)).unwrap());
        let (log, ending) = open_log(&runtime, store.clone(), place, None);
        let index = open_index(&log, place);
        Self { place: place.to_owned(), runtime, store, log, index: Arc::new(index), ending }
    }

    /// Appends entries of a log that is to have so many in all.
    pub fn append(&self, numbers: std::ops::Range<u64>, of: u64) {
        let mut next = numbers.start;
        while next < numbers.end {
            let end = numbers.end.min(next + APPENDS);
            let commit = |n| commit(&self.log, record(n, of));
            self.runtime.block_on(join_all((next..end).map(commit)));
            next = end;
        }
    }

    /// Indexes all that there is.
    pub fn follow(&self) {
        let end = self.log.read_point().0;
        while self.index.watermark() < end {
            let advance = indexing::advance(&self.log, &self.index, self.index.watermark(), end);
            self.runtime.block_on(advance).unwrap();
        }
    }

    /// Seals what lies in the store if it is as much, and removes it from there.
    pub fn tend(&self, bytes_max: u64) {
        let rules = Rules { bytes_max, age_max: YEARS, retention: YEARS };
        let segments = Segments::new(self.log.clone(), self.store.clone(), rules).unwrap();
        self.runtime.block_on(segments.tend()).unwrap();
    }

    /// Closes everything.
    pub fn close(self) {
        let Self { runtime, store, log, index, ending, .. } = self;
        drop((log, index));
        ending.join();
        drop(store);
        drop(runtime);
    }
}

/// For the log's readers.
pub fn runtime() -> Runtime {
    runtime::Builder::new_multi_thread().worker_threads(1).thread_name("reader").build().unwrap()
}

/// Opens the log of a place on its store.
pub fn open_log(runtime: &Runtime, store: Arc<dyn Store>, place: &Path, anchor: Option<Anchor>) -> (Log, Ending) {
    let options = Options {
        origin: ORIGIN.to_owned(),
        signer: Arc::new(SignerKey::new(ORIGIN, &Key::new([7; 32])).unwrap()),
        log_key: 1,
        signs_from: 0,
        archive: Some(place.join(ARCHIVE)),
        anchor,
        new_anchor: false,
    };
    let (clock, entropy) = (Arc::new(SystemClock::start()), Arc::new(SystemEntropy::open()));
    runtime.block_on(Log::open(store, clock, entropy, options)).unwrap()
}

/// Opens the index of a place.
pub fn open_index(log: &Log, place: &Path) -> Index {
    Index::open(&place.join(INDEX), ORIGIN, 0..log.read_point().0).unwrap()
}

/// Appends one record.
pub async fn commit(log: &Log, record: Record) {
    let _receipts = log.commit(record, Basis::default(), Effects::default(), Unreleased::new(())).await.unwrap();
}

/// The record of request `n` of so many: of about 300 bytes once it is in the log. Each subject has 50 entries, which lie as far
/// apart as they can.
pub fn record(n: u64, of: u64) -> Record {
    let verdict = if scatter(n ^ 0x5555).is_multiple_of(64) { Verdict::Deny } else { Verdict::Allow };
    let entry = Entry {
        operation: Operation::Decrypt.into(),
        principal: principal(scatter(n) % PRINCIPALS),
        authentication: "mtls:0123456789abcdef".into(),
        roles: vec!["role:support".into()],
        purpose: "support".into(),
        policy_version: 7,
        policy_hash: vec![7; 32],
        verdict: verdict.into(),
        grant_ids: vec!["support-reads-contacts".into()],
        request_id: format!("{:032x}", scatter(n) as u128 * scatter(n + 1) as u128),
        trace_id: vec![9; 16],
        ..Entry::default()
    };
    let target = Target {
        object: "pii/account/email".into(),
        outcome: Outcome::Opened.into(),
        count: 1,
        aliases: alias(n % (of / SUBJECTS_ENTRIES)).to_vec(),
        ..Target::default()
    };
    Record::encode(&tenant(), entry, vec![target]).unwrap()
}

/// The only tenant.
pub fn tenant() -> Tenant {
    Tenant::parse("acme").unwrap()
}

/// One of [`PRINCIPALS`].
pub fn principal(number: u64) -> String {
    format!("spiffe://acme.example/service-{number:02}")
}

/// A subject's alias.
pub fn alias(subject: u64) -> [u8; 16] {
    [scatter(subject).to_be_bytes(), subject.to_be_bytes()].concat().try_into().unwrap()
}

pub const ORIGIN: &str = "bench.example/log";
pub const STORE: &str = "store";
pub const ARCHIVE: &str = "archive";
pub const INDEX: &str = "index";
pub const PRINCIPALS: u64 = 20;
pub const SUBJECTS_ENTRIES: u64 = 50;
/// Requests at any time.
const APPENDS: u64 = 2_048;
const YEARS: std::time::Duration = std::time::Duration::from_secs(400 * 86_400);
