//! The writer: one thread that checks what every answer rests on, makes a group of records durable at once, and only then
//! lets their answers go.
//!
//! While one group is being synced the next queues up, so a slow disk makes groups larger, not answers fewer.
//!
//! Each group moves the tree's root and signs a checkpoint of it, which lies at the store's head with the entries it covers
//! and goes out with the receipts.
//!
//! Ownership: `Writer` owns the head, the tree, the tenants' places and the memory of recent changes; nobody else writes
//! them. `Shared` is what others read: the durable end of the log, what it signed there, and whether it failed.
//!
//! After a storage fault nothing is acknowledged any more. Whether the failed group became durable is not known, so its
//! answers are not given, and the process has to end: the next start reads what is there.

mod lease;
mod position;
mod published;
mod publisher;
mod time;
mod writer;

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

use arc_swap::ArcSwap;
use tokio::sync::{mpsc, oneshot, watch};

pub use lease::Lease;
use position::{Position, anchored, finish_archive, verifiers};
pub use published::Published;
use published::sign;
use publisher::Publisher;
pub use time::LogClock;
use time::{believed, micros};
use writer::Writer;

use super::{
    History,
    anchor::{self, Anchor, Mismatch},
    history::Bounds,
    note::SignerKey,
    record::Record,
    release::{Receipt, Released, Unreleased},
};
use crate::{
    clock::Clock,
    entropy::Entropy,
    proto::stored::LogHead,
    store::{self, Effect, ReadPoint, Rests, Slot, Store},
};

/// Requests that wait for the writer, at most.
const QUEUE_MAX: usize = 4_096;

/// What an answer stands on; the writer refuses to release it if any of this moved.
#[derive(Debug, Default)]
pub struct Basis {
    /// The policy version it was decided under, and the second from which the clock alone may change the decision.
    pub policy: Option<(u64, Option<u64>)>,
    /// The records it read. Shared, so that the operation can still name them when they turn out stale.
    pub rests: Arc<Rests>,
}

/// What an operation changes, in the same atomic batch as its record.
#[derive(Debug, Default)]
pub struct Effects {
    /// The writes.
    pub writes: Vec<Effect>,
    /// The slots from which something is removed that answers may rely on.
    pub disrupts: Vec<Slot>,
    /// A new policy in force from here on: its version and hash.
    pub policy: Option<(u64, [u8; 32])>,
    /// A new key that signs the log from here on, announced by the record's only entry, which must get this index.
    pub log_key: Option<(u64, Arc<SignerKey>)>,
    /// A segment that is sealed from here on.
    pub sealed: Option<Sealed>,
    /// The bodies of entries before this index are deleted from here on.
    pub retained_from: Option<u64>,
    /// Whether this goes through on a disk that is nearly full, from the store's reserve: what erases, revokes, deletes or
    /// recovers.
    pub from_reserve: bool,
}

/// A sealed segment: it begins where the last one ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sealed {
    /// The length of its entries.
    pub entry_bytes: u64,
    /// The index of its first entry.
    pub first: u64,
    /// The index after its last entry: a multiple of 256.
    pub end: u64,
}

/// Why a commit released nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// What the answer stands on has moved: decide again. Nothing was written.
    #[error("decided on a state that has moved")]
    Stale,
    /// An effect is longer than a store takes. Nothing was written.
    #[error("a value to store is too long")]
    TooLong,
    /// There is nearly no room on the disk, and this is not what the reserve is for. Nothing was written.
    #[error("the disk is nearly full")]
    Full,
    /// The log can't be written.
    #[error("the log can't be written")]
    Unavailable,
}

/// What the log is called, who signs it, and what lies beside its store.
#[derive(Debug)]
pub struct Options {
    /// The log's name, in every receipt and checkpoint.
    pub origin: String,
    /// The newest log key. Its name is the origin.
    pub signer: Arc<SignerKey>,
    /// The number of that key, from 1.
    pub log_key: u32,
    /// The smallest size of a checkpoint that the key signs: one more than the index of the entry that announces it, 0 for the
    /// first.
    pub signs_from: u64,
    /// Where sealed segments lie; `None` for a log that seals none.
    pub archive: Option<PathBuf>,
    /// What keeps the newest checkpoint apart from the store; `None`: nothing does.
    pub anchor: Option<Anchor>,
    /// Whether an anchor that has seen nothing is taken for a log that has entries. The next commit has to be the record of it:
    /// with that the anchor begins, so that it can't go unrecorded.
    pub new_anchor: bool,
}

/// Why the log can't be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The store can't be read, holds another log, or not what the log has signed.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// The anchor can't be used.
    #[error(transparent)]
    Anchor(#[from] anchor::Error),
    /// The store is not the one that the anchor last saw.
    #[error(transparent)]
    Mismatch(#[from] Mismatch),
}

/// A handle on the log. Cheap to clone; the writer ends when the last one is gone.
#[derive(Clone)]
pub struct Log {
    queue: mpsc::Sender<Job>,
    shared: Arc<Shared>,
    history: History,
    clock: Arc<dyn Clock>,
}

/// Waits for the writer to end.
#[derive(Debug)]
pub struct Ending(JoinHandle<()>);

impl Ending {
    /// Blocks until the writer has committed what was queued and ended. Every [`Log`] must be gone first.
    pub fn join(self) {
        // A writer that panicked has marked the log as failed already.
        let _ = self.0.join();
    }
}

impl Log {
    /// Opens the log on `store` and starts its writer.
    ///
    /// # Errors
    /// A store that can't be read, that holds a log of another origin, format or key, or whose newest entries are not what the
    /// log has signed.
    pub async fn open(
        store: Arc<dyn Store>,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
        options: Options,
    ) -> Result<(Self, Ending), OpenError> {
        let (position, history) = Position::read(&store, &options).await?;
        let Options { origin, signer, signs_from, anchor, new_anchor, .. } = options;
        let known = verifiers(&*store, &signer).await?;
        // Nothing is changed before it is known that this store is to be served.
        let seen = anchor.as_ref().is_some_and(|anchor| anchor.newest().is_some());
        let anchor = match anchor {
            Some(anchor) => Some(anchored(anchor, new_anchor, &origin, &known, &position, &history).await?),
            None => None,
        };
        finish_archive(&history, known, seen).await?;
        let Position { head, state, edge, .. } = &position;
        let shared = Arc::new(Shared {
            entries: AtomicU64::new(head.entries),
            time_unix_micros: AtomicU64::new(state.last_time_unix_micros),
            synced_at_micros: AtomicU64::new(0),
            opened_at_micros: (state.last_time_unix_micros.max(clock.wall_micros()), micros(clock.monotonic())),
            policy_version: AtomicU64::new(state.policy_version),
            opened_with_policy_hash: state.policy_hash.clone(),
            bounds: history.bounds().clone(),
            published: ArcSwap::from_pointee(Published::new(state, &state.checkpoint, edge)),
            grown: watch::Sender::new(head.entries),
            signer: ArcSwap::from_pointee((signer.clone(), signs_from)),
            failed: watch::Sender::new(false),
            origin: origin.into(),
        });
        let (queue, jobs) = mpsc::channel(QUEUE_MAX);
        let no_thread =
            |source: std::io::Error| store::Error::Storage { doing: "started the writer", source: source.into() };
        let publisher = Publisher::start(anchor, shared.clone()).map_err(no_thread)?;
        let time_and_luck = (clock.clone(), entropy);
        let writer = Writer::new(jobs, position, signer, store, time_and_luck, (shared.clone(), publisher));
        let thread =
            std::thread::Builder::new().name("privet-log".into()).spawn(move || writer.run()).map_err(no_thread)?;
        Ok((Self { queue, shared, history, clock }, Ending(thread)))
    }

    /// Reads entries back and makes proofs.
    pub fn history(&self) -> &History {
        &self.history
    }

    /// Waits until the log has durable entries from `next` on, and gives their end.
    pub async fn grown(&self, next: u64) -> u64 {
        let mut grown = self.shared.grown.subscribe();
        let end = grown.wait_for(|entries| *entries > next).await.ok().map(|entries| *entries);
        match end {
            Some(end) => end,
            // The sender lives as long as this does.
            None => std::future::pending().await,
        }
    }

    /// Removes from the store what lies in sealed segments as well: blocks and tiles of entries before `upto`. They are no
    /// state any more, so no entry explains it.
    ///
    /// # Errors
    /// [`Refused::Stale`] unless all of it is sealed; [`Refused::Unavailable`].
    pub async fn remove_sealed(&self, removals: Vec<Slot>, upto: u64) -> Result<(), Refused> {
        let removals = removals.into_iter().map(|slot| Effect { slot, value: None }).collect();
        let effects = Effects { writes: removals, ..Effects::default() };
        self.append(Asked::Remove { upto }, Basis::default(), effects).await.map(drop)
    }

    /// The log's name.
    pub fn origin(&self) -> &str {
        &self.shared.origin
    }

    /// The point to read at: take it before the first read of an operation.
    pub fn read_point(&self) -> ReadPoint {
        ReadPoint(self.shared.entries.load(Ordering::Acquire))
    }

    /// Microseconds since 1970 as the log sees them: they do not run back when the wall clock does.
    pub fn now_micros(&self) -> u64 {
        self.clock.wall_micros().max(self.shared.time_unix_micros.load(Ordering::Acquire))
    }

    /// The wall clock, in whole seconds since 1970: it may run back.
    pub fn wall_secs(&self) -> u64 {
        self.clock.wall_secs()
    }

    /// Time since some moment before the start, which does not step.
    pub fn monotonic(&self) -> Duration {
        self.clock.monotonic()
    }

    /// [`Self::now_micros`] in whole seconds.
    pub fn now_secs(&self) -> u64 {
        self.now_micros() / 1_000_000
    }

    /// The hash of the policy in force when the log was opened, empty before the first.
    pub fn opened_with_policy_hash(&self) -> &[u8] {
        &self.shared.opened_with_policy_hash
    }

    /// The policy version in force, 0 before the first.
    pub fn policy_version(&self) -> u64 {
        self.shared.policy_version.load(Ordering::Acquire)
    }

    /// Whether the log has failed. Once it has, it stays so.
    pub fn has_failed(&self) -> bool {
        *self.shared.failed.borrow()
    }

    /// Ends when the log fails; otherwise never.
    pub fn failure(&self) -> impl Future<Output = ()> + Send + 'static {
        let mut failed = self.shared.failed.subscribe();
        async move {
            if failed.wait_for(|failed| *failed).await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }

    /// Makes `record` durable together with `effects`, if all that `basis` names still stands, and then releases `result`.
    ///
    /// Once queued, a record is written whether or not anybody still waits for it.
    ///
    /// # Errors
    /// [`Refused::Stale`]: nothing was written, decide again. [`Refused::TooLong`], [`Refused::Full`]: nothing was written.
    /// [`Refused::Unavailable`]: nothing is released any more.
    pub async fn commit<T>(
        &self,
        record: Record,
        basis: Basis,
        effects: Effects,
        result: Unreleased<T>,
    ) -> Result<Released<T>, Refused> {
        let Appended { leaves, checkpoint } = self.append(Asked::Record(record), basis, effects).await?;
        let receipts = leaves
            .into_iter()
            .map(|(entry_index, leaf_hash)| Receipt {
                origin: Arc::clone(&self.shared.origin),
                entry_index,
                leaf_hash,
                checkpoint: Arc::clone(&checkpoint),
            })
            .collect();
        Ok(result.release(receipts))
    }

    async fn append(&self, asked: Asked, basis: Basis, effects: Effects) -> Result<Appended, Refused> {
        // Before queueing, so that no request can make a whole group fail.
        if !effects.writes.iter().all(fits) {
            return Err(Refused::TooLong);
        }
        let (answer, answered) = oneshot::channel();
        let job = Job { asked, basis, effects, answer };
        self.queue.send(job).await.map_err(|_| Refused::Unavailable)?;
        answered.await.map_err(|_| Refused::Unavailable)?
    }
}

impl std::fmt::Debug for Log {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Log").field("origin", &self.shared.origin).finish_non_exhaustive()
    }
}

struct Shared {
    origin: Arc<str>,
    /// How many entries are durable. Written by the writer only.
    entries: AtomicU64,
    /// The same number, for who waits for more. Written by the writer only.
    grown: watch::Sender<u64>,
    /// The newest durable entry's time. Written by the writer only.
    time_unix_micros: AtomicU64,
    /// When that was written, by the monotonic clock; 0: before this start. Written by the writer only.
    synced_at_micros: AtomicU64,
    /// The time, and the monotonic clock, when the log was opened.
    opened_at_micros: (u64, u64),
    /// Written by the writer only.
    policy_version: AtomicU64,
    opened_with_policy_hash: Vec<u8>,
    /// Written by the writer only, before `entries`.
    published: ArcSwap<Published>,
    /// What is sealed and what is deleted. Written by the writer only.
    bounds: Arc<Bounds>,
    /// The newest log key, and the smallest size of a checkpoint that it signs. Written by the writer only.
    signer: ArcSwap<(Arc<SignerKey>, u64)>,
    failed: watch::Sender<bool>,
}

type Leaf = (u64, [u8; 32]);

/// A record that is durable.
struct Appended {
    leaves: Vec<Leaf>,
    checkpoint: Arc<str>,
}

/// What a job does to the log.
enum Asked {
    /// Appends a record.
    Record(Record),
    /// Notes that blocks and tiles of sealed entries before `upto` are gone.
    Remove { upto: u64 },
}

struct Job {
    asked: Asked,
    basis: Basis,
    effects: Effects,
    answer: oneshot::Sender<Result<Appended, Refused>>,
}

impl Job {
    fn takes_from_reserve(&self) -> bool {
        match self.asked {
            Asked::Record(_) => self.effects.from_reserve,
            // It frees room.
            Asked::Remove { .. } => true,
        }
    }

    fn bytes(&self) -> usize {
        let effects = self.effects.writes.iter().map(|effect| effect.value.as_ref().map_or(0, Vec::len) + 64);
        let record = match &self.asked {
            Asked::Record(record) => record.bytes(),
            Asked::Remove { .. } => 0,
        };
        record + effects.sum::<usize>()
    }
}

fn fits(effect: &Effect) -> bool {
    effect.slot.key.len() <= store::KEY_BYTES_MAX
        && effect.value.as_ref().is_none_or(|value| value.len() <= store::VALUE_BYTES_MAX)
}
