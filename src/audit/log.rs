//! The writer: one thread that checks what every answer rests on, makes a group of records durable at once, and only then
//! lets their answers go.
//!
//! While one group is being synced the next queues up, so a slow disk makes groups larger, not answers fewer.
//!
//! Ownership: [`Writer`] owns the head, the tenants' places and the memory of recent changes; nobody else writes them.
//! [`Shared`] is what others read: the durable end of the log, and whether it failed.
//!
//! After a storage fault nothing is acknowledged any more. Whether the failed group became durable is not known, so its
//! answers are not given, and the process has to end: the next start reads what is there.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread::JoinHandle,
};

use prost::Message;
use tokio::sync::{mpsc, oneshot, watch};

use super::{
    block::Packer,
    entry::{self, Place},
    recent::Recent,
    record::Record,
    release::{Receipt, Released, Unreleased},
};
use crate::{
    clock::Clock,
    entropy::Entropy,
    id::Tenant,
    proto::stored,
    store::{self, Batch, Commit, Direction, Effect, Head, ReadPoint, Rests, Slot, Space, Store},
};

/// Requests that wait for the writer, at most.
const QUEUE_MAX: usize = 4_096;
/// Requests in one group commit, at most.
const GROUP_JOBS_MAX: usize = 1_024;
/// Bytes of entries and effects in one group commit, at most (one request may exceed it by itself).
const GROUP_BYTES_MAX: usize = 4 << 20;
/// Changed slots that the writer remembers.
const RECENT_SLOTS_MAX: usize = 65_536;
/// How often a batch whose fate the backend can't tell is committed again.
const UNKNOWN_RETRIES_MAX: usize = 3;

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
    /// The log can't be written.
    #[error("the log can't be written")]
    Unavailable,
}

/// How the log was opened and what it is called.
#[derive(Clone, Debug)]
pub struct Options {
    /// The log's name, in every receipt.
    pub origin: String,
}

/// A handle on the log. Cheap to clone; the writer ends when the last one is gone.
#[derive(Clone)]
pub struct Log {
    queue: mpsc::Sender<Job>,
    shared: Arc<Shared>,
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
    /// A store that can't be read, or that holds a log of another origin or format.
    pub async fn open(
        store: Arc<dyn Store>,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
        options: Options,
    ) -> Result<(Self, Ending), store::Error> {
        let head = store.head()?;
        let state = head_state(&head, &options.origin)?;
        let tenants = tenant_heads(&*store).await?;
        let shared = Arc::new(Shared {
            origin: options.origin.into(),
            entries: AtomicU64::new(head.entries),
            time_unix_micros: AtomicU64::new(state.last_time_unix_micros),
            policy_version: AtomicU64::new(state.policy_version),
            failed: watch::Sender::new(false),
        });
        let (queue, jobs) = mpsc::channel(QUEUE_MAX);
        let writer = Writer {
            jobs,
            recent_writes: Recent::new(head.entries, RECENT_SLOTS_MAX),
            recent_disruptions: Recent::new(head.entries, RECENT_SLOTS_MAX),
            head,
            state,
            tenants,
            store,
            clock: Arc::clone(&clock),
            entropy,
            shared: Arc::clone(&shared),
        };
        let thread = std::thread::Builder::new()
            .name("privet-log".into())
            .spawn(move || writer.run())
            .map_err(|source| store::Error::Storage { doing: "started the writer", source: source.into() })?;
        Ok((Self { queue, shared, clock }, Ending(thread)))
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

    /// [`Self::now_micros`] in whole seconds.
    pub fn now_secs(&self) -> u64 {
        self.now_micros() / 1_000_000
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
    /// [`Refused::Stale`]: nothing was written, decide again. [`Refused::TooLong`]: nothing was written.
    /// [`Refused::Unavailable`]: nothing is released any more.
    pub async fn commit<T>(
        &self,
        record: Record,
        basis: Basis,
        effects: Effects,
        result: Unreleased<T>,
    ) -> Result<Released<T>, Refused> {
        // Before queueing, so that no request can make a whole group fail.
        if !effects.writes.iter().all(fits) {
            return Err(Refused::TooLong);
        }
        let (answer, answered) = oneshot::channel();
        let job = Job { record, basis, effects, answer };
        self.queue.send(job).await.map_err(|_| Refused::Unavailable)?;
        let leaves = answered.await.map_err(|_| Refused::Unavailable)??;
        let receipts = leaves
            .into_iter()
            .map(|(entry_index, leaf_hash)| Receipt { origin: Arc::clone(&self.shared.origin), entry_index, leaf_hash })
            .collect();
        Ok(result.release(receipts))
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
    /// The newest durable entry's time. Written by the writer only.
    time_unix_micros: AtomicU64,
    /// Written by the writer only.
    policy_version: AtomicU64,
    failed: watch::Sender<bool>,
}

type Leaf = (u64, [u8; 32]);

struct Job {
    record: Record,
    basis: Basis,
    effects: Effects,
    answer: oneshot::Sender<Result<Vec<Leaf>, Refused>>,
}

struct Writer {
    jobs: mpsc::Receiver<Job>,
    /// The newest durable head.
    head: Head,
    state: stored::LogHead,
    tenants: HashMap<Tenant, stored::TenantHead>,
    recent_writes: Recent,
    recent_disruptions: Recent,
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    shared: Arc<Shared>,
}

/// Marks the log as failed unless its writer ended in good order, so that a panic counts as a failure too.
struct FailUnlessDone(Arc<Shared>, bool);

impl Drop for FailUnlessDone {
    fn drop(&mut self) {
        if !self.1 {
            self.0.failed.send_replace(true);
        }
    }
}

impl Writer {
    fn run(mut self) {
        let mut guard = FailUnlessDone(Arc::clone(&self.shared), false);
        let mut jobs = Vec::new();
        while let Some(first) = self.jobs.blocking_recv() {
            let mut bytes = first.bytes();
            jobs.push(first);
            while jobs.len() < GROUP_JOBS_MAX && bytes < GROUP_BYTES_MAX {
                let Ok(job) = self.jobs.try_recv() else { break };
                bytes += job.bytes();
                jobs.push(job);
            }
            if let Err(error) = self.commit_group(&mut jobs) {
                tracing::error!(
                    error = &error as &dyn std::error::Error,
                    "the log can't be written; nothing more is answered"
                );
                // Dropping the queue and the jobs answers Unavailable to all of them.
                return;
            }
        }
        guard.1 = true;
    }

    fn commit_group(&mut self, jobs: &mut Vec<Job>) -> Result<(), store::Error> {
        let mut group = Group::new(self)?;
        let mut answers = Vec::with_capacity(jobs.len());
        for job in jobs.drain(..) {
            let stands = group.stands(self, &job.basis);
            let outcome = if stands { Ok(group.append(self, job.record, job.effects)?) } else { Err(Refused::Stale) };
            answers.push((job.answer, outcome));
        }
        if group.head.entries > self.head.entries {
            self.write(group)?;
        }
        for (answer, outcome) in answers {
            // Nobody waits any more: the record stands all the same.
            let _ = answer.send(outcome);
        }
        Ok(())
    }

    fn write(&mut self, group: Group) -> Result<(), store::Error> {
        let Group { mut head, state, packer, mut effects, tenants, .. } = group;
        head.state = state.encode_to_vec();
        effects.extend(packer.finish());
        effects.extend(tenants.iter().filter_map(|tenant| {
            let place = self.tenants.get(tenant)?;
            Some(Effect { slot: tenant_slot(tenant), value: Some(place.encode_to_vec()) })
        }));
        let batch = Batch { head, effects };
        let mut tries = 0;
        loop {
            match self.store.commit(&self.head, &batch)? {
                Commit::Committed => break,
                Commit::Unknown if tries < UNKNOWN_RETRIES_MAX => tries += 1,
                Commit::Unknown => {
                    return Err(store::Error::Refused("the store can't tell what it has committed".into()));
                }
                Commit::Moved(_) => {
                    return Err(store::Error::Refused("another writer has written to this log's store".into()));
                }
            }
        }
        self.head = batch.head;
        self.state = state;
        self.shared.time_unix_micros.store(self.state.last_time_unix_micros, Ordering::Release);
        self.shared.policy_version.store(self.state.policy_version, Ordering::Release);
        // Last: who sees these entries as durable must see all that they changed.
        self.shared.entries.store(self.head.entries, Ordering::Release);
        Ok(())
    }
}

impl Job {
    fn bytes(&self) -> usize {
        let effects = self.effects.writes.iter().map(|effect| effect.value.as_ref().map_or(0, Vec::len) + 64);
        self.record.bytes() + effects.sum::<usize>()
    }
}

fn fits(effect: &Effect) -> bool {
    effect.slot.key.len() <= store::KEY_BYTES_MAX
        && effect.value.as_ref().is_none_or(|value| value.len() <= store::VALUE_BYTES_MAX)
}

/// A group commit being built.
struct Group {
    head: Head,
    state: stored::LogHead,
    packer: Packer,
    effects: Vec<Effect>,
    /// Tenants with new entries.
    tenants: Vec<Tenant>,
    /// Drawn and not yet used.
    salts: Vec<[u8; entry::SALT_BYTES]>,
}

/// Salts drawn at once.
const SALTS: usize = 64;

impl Group {
    fn new(writer: &Writer) -> Result<Self, store::Error> {
        let mut state = writer.state.clone();
        // INVARIANT: time does not run back, whatever the wall clock does. One group, one time.
        state.last_time_unix_micros = state.last_time_unix_micros.max(writer.clock.wall_micros());
        Ok(Self {
            head: Head { entries: writer.head.entries, state: Vec::new() },
            state,
            packer: Packer::default(),
            effects: Vec::new(),
            tenants: Vec::new(),
            salts: Vec::new(),
        })
    }

    /// INVARIANT: an answer is released only if nothing it stands on moved before its record.
    fn stands(&self, writer: &Writer, basis: &Basis) -> bool {
        let policy = basis.policy.is_none_or(|(version, valid_until)| {
            version == self.state.policy_version
                && valid_until.is_none_or(|end| self.state.last_time_unix_micros / 1_000_000 < end)
        });
        let rests = &basis.rests;
        policy
            && rests.relied.iter().all(|(slot, point)| !writer.recent_disruptions.may_have_changed(slot, *point))
            && rests.rewritten.iter().all(|(slot, point)| !writer.recent_writes.may_have_changed(slot, *point))
    }

    /// Adds a record and its effects.
    ///
    /// # Errors
    /// There is no randomness for its salts: nothing was added.
    fn append(&mut self, writer: &mut Writer, record: Record, effects: Effects) -> Result<Vec<Leaf>, store::Error> {
        let salts = self.draw(writer, record.entries.len())?;
        let place = writer.tenants.entry(record.tenant.clone()).or_default();
        let mut leaves = Vec::with_capacity(record.entries.len());
        for (encoded, salt) in record.entries.iter().zip(salts) {
            let bytes = entry::complete(
                encoded,
                &Place {
                    salt,
                    time_unix_micros: self.state.last_time_unix_micros,
                    tenant_seq: place.next_seq,
                    tenant_previous_plus_one: place.last_index_plus_one,
                },
            );
            let leaf_hash = entry::leaf_hash(&bytes);
            let index = self.head.entries;
            self.packer.push(index, &leaf_hash, &bytes);
            leaves.push((index, leaf_hash));
            self.head.entries += 1;
            place.next_seq += 1;
            place.last_index_plus_one = self.head.entries;
        }
        if !self.tenants.contains(&record.tenant) {
            self.tenants.push(record.tenant);
        }
        let last = self.head.entries.saturating_sub(1);
        for effect in &effects.writes {
            writer.recent_writes.note(&effect.slot, last);
        }
        for slot in &effects.disrupts {
            writer.recent_disruptions.note(slot, last);
        }
        if let Some((version, hash)) = effects.policy {
            self.state.policy_version = version;
            self.state.policy_hash = hash.to_vec();
        }
        self.effects.extend(effects.writes);
        Ok(leaves)
    }

    /// Takes the next `count` salts, drawing many at once from the operating system.
    fn draw(&mut self, writer: &Writer, count: usize) -> Result<Vec<[u8; entry::SALT_BYTES]>, store::Error> {
        if self.salts.len() < count {
            let mut bytes = vec![0; count.max(SALTS) * entry::SALT_BYTES];
            let drawn = writer.entropy.fill(&mut bytes);
            drawn.map_err(|source| store::Error::Storage { doing: "drew salts", source: source.into() })?;
            self.salts = bytes.as_chunks().0.to_vec();
        }
        Ok(self.salts.split_off(self.salts.len() - count))
    }
}

fn head_state(head: &Head, origin: &str) -> Result<stored::LogHead, store::Error> {
    if *head == Head::default() {
        return Ok(stored::LogHead { format: FORMAT, origin: origin.to_owned(), ..Default::default() });
    }
    let state = stored::LogHead::decode(head.state.as_slice())
        .map_err(|_| store::Error::Damaged { what: "the log's head".into() })?;
    if state.format != FORMAT {
        return Err(store::Error::Refused(format!(
            "the log has format {} and this program writes format {FORMAT}: use a version of privet that knows it",
            state.format
        )));
    }
    if state.origin != origin {
        return Err(store::Error::Refused(format!(
            "the store holds the log {:?} and the configuration names {origin:?}: set log.origin to the former, or point store.dir elsewhere",
            state.origin
        )));
    }
    Ok(state)
}

const FORMAT: u32 = 1;

fn tenant_slot(tenant: &Tenant) -> Slot {
    Slot::new(Space::TenantHead, &[tenant.as_str().as_bytes()])
}

async fn tenant_heads(store: &dyn Store) -> Result<HashMap<Tenant, stored::TenantHead>, store::Error> {
    const PAGE: usize = 1_000;
    let damaged = || store::Error::Damaged { what: "a tenant's place in the log".into() };
    let mut heads = HashMap::new();
    let mut from = Vec::new();
    loop {
        let page = store.scan(Space::TenantHead, from..vec![0xff], Direction::Ascending, PAGE).await?;
        let full = page.len() == PAGE;
        from = page.last().map(|(key, _)| [key.as_slice(), &[0]].concat()).unwrap_or_default();
        for (key, value) in page {
            let tenant =
                str::from_utf8(&key).ok().and_then(|text| Tenant::parse_or_system(text).ok()).ok_or_else(damaged)?;
            heads.insert(tenant, stored::TenantHead::decode(value.as_slice()).map_err(|_| damaged())?);
        }
        if !full {
            return Ok(heads);
        }
    }
}
