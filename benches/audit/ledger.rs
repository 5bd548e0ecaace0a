//! A log on sled in a directory, with its archive and its index, and entries to fill it with.

use std::{path::Path, sync::Arc, time::Instant};

use privet::{
    audit::{
        Basis, Effects, Log, Record, Unreleased,
        index::Index,
        log::{Ending, Options},
        note::SignerKey,
    },
    clock::SystemClock,
    entropy::SystemEntropy,
    id::Tenant,
    operations::indexing,
    proto::stored::{Entry, Operation, Target, Verdict},
    secret::Key,
    store::{Direction, Store, sled::SledStore},
};

const ORIGIN: &str = "bench.example/log";
/// Every so manieth entry is about the one subject that queries look for.
pub const SUBJECT: [u8; 16] = [7; 16];

/// A log that is open.
pub struct Ledger {
    pub store: Arc<dyn Store>,
    pub sled: Arc<SledStore>,
    pub log: Log,
    pub index: Arc<Index>,
    ending: Ending,
}

impl Ledger {
    /// Opens the log in `dir`; gives also how long that took.
    pub async fn open(dir: &Path) -> (Self, std::time::Duration) {
        let began = Instant::now();
        let sled = Arc::new(SledStore::open(&dir.join("store")).unwrap());
        let store: Arc<dyn Store> = sled.clone();
        let signer = Arc::new(SignerKey::new(ORIGIN, &Key::new([7; 32])).unwrap());
        let options = Options {
            origin: ORIGIN.into(),
            signer,
            log_key: 1,
            signs_from: 0,
            archive: Some(dir.join("archive")),
            anchor: None,
            new_anchor: false,
        };
        let (clock, entropy) = (Arc::new(SystemClock::start()), Arc::new(SystemEntropy::open()));
        let (log, ending) = Log::open(store.clone(), clock, entropy, options).await.unwrap();
        let index = Arc::new(Index::open(&dir.join("index"), ORIGIN, 0..log.read_point().0).unwrap());
        let took = began.elapsed();
        (Self { store, sled, log, index, ending }, took)
    }

    /// Closes it, so that it can be opened again.
    pub fn close(self) {
        let Self { store, sled, log, index, ending } = self;
        drop((log, index));
        ending.join();
        drop((store, sled));
    }

    /// Appends entries up to `size`, `in_flight` at once; the subject has `of_subject` of all `size` entries.
    pub async fn fill(&self, size: u64, in_flight: u64, of_subject: u64) {
        self.fill_every(size, in_flight, size / of_subject).await;
    }

    /// The same; each `every`th entry is the subject's.
    pub async fn fill_evenly(&self, size: u64, every: u64) {
        self.fill_every(size, 2_048, every).await;
    }

    async fn fill_every(&self, size: u64, in_flight: u64, every: u64) {
        let mut next = self.log.read_point().0;
        while next < size {
            let end = size.min(next + in_flight);
            let appends = (next..end).map(|n| self.append(n, n % every == every / 2));
            futures_util::future::join_all(appends).await;
            next = end;
        }
    }

    /// Appends one entry of some 300 bytes.
    pub async fn append(&self, n: u64, of_subject: bool) {
        let record = record(n, of_subject);
        self.log.commit(record, Basis::default(), Effects::default(), Unreleased::new(())).await.unwrap();
    }

    /// How long an entry is.
    pub async fn entry_bytes(&self) -> usize {
        self.append(0, false).await;
        self.log.history().entries(0..1, Direction::Ascending).await.unwrap()[0].bytes.len()
    }

    /// Indexes all of it.
    pub async fn index(&self) {
        let end = self.log.read_point().0;
        while self.index.watermark() < end {
            indexing::advance(&self.log, &self.index, self.index.watermark(), end).await.unwrap();
        }
    }
}

/// What an Encrypt of one field leaves.
pub fn record(n: u64, of_subject: bool) -> Record {
    let alias = if of_subject { SUBJECT } else { u128::from(n).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c).to_be_bytes() };
    let target = Target {
        object: "pii/account/email".into(),
        outcome: 1,
        count: 1,
        aliases: alias.to_vec(),
        ..Target::default()
    };
    let entry = Entry {
        operation: Operation::Encrypt.into(),
        principal: "spiffe://acme.example/svc/signup".into(),
        authentication: "mtls:0123456789abcdef".into(),
        roles: vec!["role:signup".into()],
        purpose: "signup".into(),
        policy_version: 3,
        policy_hash: vec![5; 32],
        verdict: if n % 100 == 1 { Verdict::Deny } else { Verdict::Allow }.into(),
        grant_ids: vec!["signup-encrypts-account".into()],
        reference: format!("ticket-{n}"),
        region: "us-east".into(),
        ..Default::default()
    };
    Record::encode(&acme(), entry, vec![target]).unwrap()
}

pub fn acme() -> Tenant {
    Tenant::parse("acme").unwrap()
}
