//! The writer's thread: the one place where state changes.

use std::{collections::HashMap, sync::Arc, time::Duration};

use prost::Message;
use tokio::sync::mpsc;

use super::{
    Asked, Basis, Effects, Job, Leaf, Published, Refused, Sealed, Shared, believed, micros,
    position::Position,
    publisher::{Publication, Publisher},
    sign,
};
use crate::{
    audit::{
        block::Packer,
        entry::{self, Place},
        note::SignerKey,
        recent::Recent,
        record::Record,
        tiles::{
            self,
            edge::{Edge, FullTile},
        },
    },
    clock::Clock,
    entropy::Entropy,
    id::Tenant,
    proto::stored::{self, LogHead},
    store::{self, Batch, Commit, Effect, Head, Room, Slot, Space, Store},
};

/// Requests in one group commit, at most.
const GROUP_JOBS_MAX: usize = 1_024;
/// Bytes of entries and effects in one group commit, at most (one request may exceed it by itself).
const GROUP_BYTES_MAX: usize = 4 << 20;
/// Changed slots that the writer remembers: enough for hundreds of requests of 1,000 new subjects each to be under way.
const RECENT_SLOTS_MAX: usize = 262_144;
/// How often a batch whose fate the backend can't tell is committed again.
const UNKNOWN_RETRIES_MAX: usize = 3;
/// Salts drawn at once.
const SALTS: usize = 64;

pub(super) struct Writer {
    jobs: mpsc::Receiver<Job>,
    /// The newest durable head.
    head: Head,
    state: stored::LogHead,
    tenants: HashMap<Tenant, stored::TenantHead>,
    /// The tree over every entry appended so far: of the newest durable head, or while a group is built, ahead of it.
    edge: Edge,
    signer: Arc<SignerKey>,
    recent_writes: Recent,
    recent_disruptions: Recent,
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    shared: Arc<Shared>,
    publisher: Publisher,
    /// When the newest group of this run was committed, by the monotonic clock.
    synced_at: Option<Duration>,
}

/// Marks the log as failed unless its writer ended in good order, so that a panic counts as a failure too.
pub(super) struct FailUnlessDone(pub(super) Arc<Shared>, pub(super) bool);

impl Drop for FailUnlessDone {
    fn drop(&mut self) {
        if !self.1 {
            self.0.failed.send_replace(true);
        }
    }
}

impl Writer {
    /// A writer that goes on from where the store ends.
    pub(super) fn new(
        jobs: mpsc::Receiver<Job>,
        Position { head, state, tenants, edge }: Position,
        signer: Arc<SignerKey>,
        store: Arc<dyn Store>,
        (clock, entropy): (Arc<dyn Clock>, Arc<dyn Entropy>),
        (shared, publisher): (Arc<Shared>, Publisher),
    ) -> Self {
        let recent = || Recent::new(head.entries, RECENT_SLOTS_MAX);
        let (recent_writes, recent_disruptions) = (recent(), recent());
        Self {
            jobs,
            head,
            state,
            tenants,
            edge,
            signer,
            recent_writes,
            recent_disruptions,
            store,
            clock,
            entropy,
            shared,
            publisher,
            synced_at: None,
        }
    }

    /// Commits group after group until every [`Log`](super::Log) is gone or the store fails.
    pub(super) fn run(mut self) {
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
        let scarce = self.store.room()? == Room::Scarce;
        if scarce && jobs.iter().any(Job::takes_from_reserve) {
            self.store.release_reserve()?;
        }
        let mut group = Group::new(self)?;
        let mut answers = Vec::with_capacity(jobs.len());
        for job in jobs.drain(..) {
            if scarce && !job.takes_from_reserve() {
                answers.push((job.answer, Err(Refused::Full)));
                continue;
            }
            let stands = group.stands(self, &job.basis, &job.effects);
            let outcome = match job.asked {
                Asked::Record(record) if stands => Ok(group.append(self, record, job.effects)?),
                Asked::Remove { upto } if upto <= self.state.sealed_end => Ok(group.remove(job.effects, upto)),
                Asked::Record(_) | Asked::Remove { .. } => Err(Refused::Stale),
            };
            answers.push((job.answer, outcome));
        }
        let signer = if group.changes(self) { self.write(group)? } else { None };
        // Also when nothing was written: who was told to decide again must then see what was committed before.
        self.publisher.publish(Publication {
            published: Published::new(&self.state, &self.state.checkpoint, &self.edge),
            time_unix_micros: self.state.last_time_unix_micros,
            synced_at: self.synced_at,
            policy_version: self.state.policy_version,
            sealed_end: self.state.sealed_end,
            retained_from: self.state.retained_from,
            signer,
            answers,
        })
    }

    /// The time of the next group.
    ///
    /// INVARIANT: time does not run back, whatever the wall clock does. Nor does it leap: what is once in the log can't be
    /// taken back, so a wall clock that runs ahead of the monotonic one is not believed before the next start.
    fn time(&self) -> u64 {
        let last = self.state.last_time_unix_micros;
        let wall = self.clock.wall_micros();
        let Some(since) = self.synced_at else { return last.max(wall) };
        let believed = believed(last, wall, micros(self.clock.monotonic().saturating_sub(since)));
        if believed < wall {
            tracing::error!(
                ahead_secs = (wall - believed) / 1_000_000,
                "the wall clock leapt ahead and is not believed; set it right, or restart if it is right"
            );
        }
        believed
    }

    /// Makes a group durable; gives the key that signs from the next one on, if that is new.
    fn write(&mut self, group: Group) -> Result<Option<(Arc<SignerKey>, u64)>, store::Error> {
        let Group { mut head, mut state, packer, filled, mut effects, tenants, new_signer, .. } = group;
        // Both keys sign what announces the new one.
        let signers = [Some(&*self.signer), new_signer.as_ref().map(|(signer, _)| &**signer)];
        let signers: Vec<&SignerKey> = signers.into_iter().flatten().collect();
        if head.entries > self.head.entries {
            state.checkpoint = sign(&self.shared.origin, &self.edge, &signers)
                .map_err(|source| store::Error::Storage { doing: "signed a checkpoint", source: source.into() })?;
        }
        head.state = state.encode_to_vec();
        effects.extend(packer.finish());
        effects.extend(filled.iter().flat_map(tiles::stored::effects));
        if !filled.is_empty() || new_signer.is_some() {
            effects.push(kept_checkpoint(head.entries, &state.checkpoint));
        }
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
        if let Some((signer, _)) = &new_signer {
            self.signer = Arc::clone(signer);
        }
        self.synced_at = Some(self.clock.monotonic());
        Ok(new_signer)
    }
}

/// A group commit being built.
struct Group {
    head: Head,
    state: stored::LogHead,
    packer: Packer,
    /// Tiles of the tree that are full with this group.
    filled: Vec<FullTile>,
    effects: Vec<Effect>,
    /// Signs from the next group on, and this one too; with the smallest size of a checkpoint that it signs.
    new_signer: Option<(Arc<SignerKey>, u64)>,
    /// Tenants with new entries.
    tenants: Vec<Tenant>,
    /// Drawn and not yet used.
    salts: Vec<[u8; entry::SALT_BYTES]>,
}

impl Group {
    fn new(writer: &Writer) -> Result<Self, store::Error> {
        let mut state = writer.state.clone();
        state.last_time_unix_micros = writer.time();
        Ok(Self {
            head: Head { entries: writer.head.entries, state: Vec::new() },
            state,
            packer: Packer::default(),
            filled: Vec::new(),
            effects: Vec::new(),
            new_signer: None,
            tenants: Vec::new(),
            salts: Vec::new(),
        })
    }

    /// INVARIANT: an answer is released only if nothing it stands on moved before its record.
    fn stands(&self, writer: &Writer, basis: &Basis, effects: &Effects) -> bool {
        let announced = effects.log_key.as_ref().is_none_or(|(index, _)| *index == self.head.entries);
        let LogHead { sealed_end, retained_from, .. } = self.state;
        let sealed = effects.sealed.is_none_or(|Sealed { first, end, .. }| {
            first == sealed_end
                && end > first
                && end.is_multiple_of(tiles::WIDTH_MAX.into())
                && end <= writer.head.entries
        });
        let retained = effects.retained_from.is_none_or(|from| (retained_from..=sealed_end).contains(&from));
        let policy = basis.policy.is_none_or(|(version, valid_until)| {
            version == self.state.policy_version
                && valid_until.is_none_or(|end| self.state.last_time_unix_micros / 1_000_000 < end)
        });
        let rests = &basis.rests;
        policy
            && announced
            && sealed
            && retained
            && rests.relied.iter().all(|(slot, point)| !writer.recent_disruptions.may_have_changed(slot, *point))
            && rests.rewritten.iter().all(|(slot, point)| !writer.recent_writes.may_have_changed(slot, *point))
    }

    /// Adds a record and its effects.
    ///
    /// # Errors
    /// There is no randomness for its salts: nothing was added.
    fn append(&mut self, writer: &mut Writer, record: Record, effects: Effects) -> Result<Vec<Leaf>, store::Error> {
        let salts = self.draw(writer, record.entries.len())?;
        let Writer { tenants, edge, .. } = writer;
        let place = tenants.entry(record.tenant.clone()).or_default();
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
            self.state.entry_bytes += bytes.len() as u64;
            edge.push(leaf_hash, &mut self.filled);
            leaves.push((index, leaf_hash));
            self.state.last_leaf_hash = leaf_hash.to_vec();
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
        if let Some(Sealed { end, entry_bytes, .. }) = effects.sealed {
            self.state.sealed_end = end;
            self.state.sealed_entry_bytes += entry_bytes;
        }
        if let Some(from) = effects.retained_from {
            self.state.retained_from = from;
        }
        if let Some((index, signer)) = effects.log_key {
            self.state.log_key += 1;
            self.new_signer = Some((signer, index + 1));
        }
        self.effects.extend(effects.writes);
        Ok(leaves)
    }

    /// Adds removals of what lies in sealed segments as well.
    fn remove(&mut self, effects: Effects, upto: u64) -> Vec<Leaf> {
        self.state.removed_end = self.state.removed_end.max(upto);
        self.effects.extend(effects.writes);
        Vec::new()
    }

    fn changes(&self, writer: &Writer) -> bool {
        self.head.entries > writer.head.entries || self.state.removed_end > writer.state.removed_end
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

/// Kept for good, so that a forged log can be told apart from this one close to where it departs.
fn kept_checkpoint(size: u64, note: &str) -> Effect {
    Effect { slot: Slot::new(Space::Checkpoint, &[&size.to_be_bytes()]), value: Some(note.as_bytes().to_vec()) }
}

fn tenant_slot(tenant: &Tenant) -> Slot {
    Slot::new(Space::TenantHead, &[tenant.as_str().as_bytes()])
}
