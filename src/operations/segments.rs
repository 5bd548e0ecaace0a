//! What a server does with old entries: seals them into segments, removes what is sealed from the store, and deletes the
//! bodies of entries that were kept for their time.
//!
//! Each step is safe to be cut off: a segment counts as sealed once the log says so, the store is emptied of it afterwards,
//! and a deletion that the log has recorded is tried until it is done. None of them waits for another.
//!
//! * `retention` – which bodies are deleted, and when

mod retention;

use std::{
    ops::{Range, RangeInclusive},
    sync::{Arc, Mutex, atomic::AtomicU64},
    time::Duration,
};

use prost::Message;
use tokio::{runtime::Handle, task::spawn_blocking};

use self::retention::Watch;
use super::start;
use crate::{
    audit::{
        Basis, Effects, History, Log, Refused,
        archive::{self, Archive, Source, SourceError},
        block,
        history::NoProof,
        keys,
        log::Sealed,
        note::VerifierKey,
        tiles::{self, Tile, WIDTH_MAX},
    },
    id::Tenant,
    proto::stored::{self, LogChange, Operation, Segment},
    store::{self, Direction, Effect, Room, Slot, Space, Store},
};

/// When entries are sealed, and how long their bodies are kept.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// Bytes of unsealed entries from which on they are sealed, so many at a time.
    pub bytes_max: u64,
    /// Age of the oldest unsealed entry from which on they are sealed.
    pub age_max: Duration,
    /// Age of a segment's newest entry from which on its bodies are deleted.
    pub retention: Duration,
}

/// Why a segment could not be sealed or deleted. Nothing is lost: it is tried again.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The archive.
    #[error(transparent)]
    Archive(#[from] archive::Error),
    /// The store.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// The log's own tiles.
    #[error(transparent)]
    Proof(#[from] NoProof),
    /// The log.
    #[error(transparent)]
    Log(#[from] Refused),
    /// There is no room on the disk for another segment.
    #[error("room on the disk is scarce, so nothing is sealed: make room")]
    NoRoom,
    /// The process is ending.
    #[error("sealing was cut off")]
    Stopped(#[from] tokio::task::JoinError),
    /// Where a record can't be read, or another hand moved the log meanwhile.
    #[error("{0}")]
    Unfit(&'static str),
}

/// Seals and deletes. One for a log.
pub struct Segments {
    log: Log,
    store: Arc<dyn Store>,
    archive: Arc<Archive>,
    rules: Rules,
    /// What was found due for deletion; never held while waiting.
    watch: Mutex<Option<Watch>>,
    /// The bodies of entries before this index are known to be gone.
    gone_before: AtomicU64,
}

impl Segments {
    /// For a log that seals segments; `None` for one that does not.
    pub fn new(log: Log, store: Arc<dyn Store>, rules: Rules) -> Option<Self> {
        let archive = Arc::clone(log.history().archive()?);
        Some(Self { log, store, archive, rules, watch: Mutex::default(), gone_before: AtomicU64::new(0) })
    }

    /// Seals what is due, removes from the store what is sealed, and deletes what was kept for its time.
    ///
    /// # Errors
    /// The first [`Error`] of [`Self::tend_each`]. What was done stands.
    pub async fn tend(&self) -> Result<(), Error> {
        self.tend_each().await.into_iter().collect()
    }

    /// The same, each step whatever became of the others: what can't be sealed is no reason not to make room. What became of
    /// sealing, removing, deciding what is to be deleted, and deleting it.
    pub async fn tend_each(&self) -> [Result<(), Error>; 4] {
        [self.seal_due().await, self.remove_sealed().await, self.delete_due().await, self.delete_left().await]
    }

    async fn seal_due(&self) -> Result<(), Error> {
        // If that failed after the last seal.
        self.settle().await?;
        while let Some(end) = self.due_end().await? {
            self.seal(end).await?;
        }
        Ok(())
    }

    /// Where a segment that is due would end; `None` if none is.
    async fn due_end(&self) -> Result<Option<u64>, Error> {
        let log = &self.log;
        let published = log.published();
        let sealed_end = log.history().bounds().sealed_end();
        let width = u64::from(WIDTH_MAX);
        let end = published.edge.size() / width * width;
        // A checkpoint of a size that an earlier log key signed can't be signed any more.
        let least = log.signs_from().max(sealed_end + 1).next_multiple_of(width);
        if end < least {
            return Ok(None);
        }
        if published.unsealed_bytes >= self.rules.bytes_max {
            return self.full_end(sealed_end, least..=end).await.map(Some);
        }
        let oldest = entry_time(log.history(), sealed_end).await?;
        let age = log.now_micros().saturating_sub(oldest);
        Ok((u128::from(age) >= self.rules.age_max.as_micros()).then_some(end))
    }

    /// Where the entries from `first` on have the bytes of a segment: the first of the possible ends, or the last one if they
    /// have not.
    async fn full_end(&self, first: u64, ends: RangeInclusive<u64>) -> Result<u64, Error> {
        let (mut next, mut bytes) = (first, 0);
        while next < *ends.end() {
            for entry in self.log.history().entries(next..*ends.end(), Direction::Ascending).await? {
                next = entry.index + 1;
                bytes += entry.bytes.len() as u64;
                let is_end = next.is_multiple_of(WIDTH_MAX.into()) && ends.contains(&next);
                if is_end && bytes >= self.rules.bytes_max {
                    return Ok(next);
                }
            }
        }
        Ok(*ends.end())
    }

    /// Seals all entries before `end`, a multiple of 256, that are not sealed yet. Gives up once room on the disk is scarce:
    /// the log needs what is left.
    ///
    /// # Errors
    /// [`Error`]; nothing is sealed then.
    pub async fn seal(&self, end: u64) -> Result<(), Error> {
        let log = &self.log;
        if self.store.room()? == Room::Scarce {
            return Err(Error::NoRoom);
        }
        let history = log.history().clone();
        let first = history.bounds().sealed_end();
        let checkpoint = log.checkpoint_at(end).await?;
        let stored = keys::all(&*self.store).await?;
        let mut known: Vec<VerifierKey> = stored.iter().filter_map(|key| key.verifier_key.parse().ok()).collect();
        known.push(log.verifier());
        let (archive, note) = (Arc::clone(&self.archive), Arc::clone(&checkpoint));
        let source = LogSource {
            history: history.clone(),
            store: self.store.clone(),
            runtime: Handle::current(),
            entry_bytes: 0,
        };
        let (sealed, entry_bytes) = spawn_blocking(move || {
            let mut source = source;
            let sealed = archive.seal(first..end, &mut source, &note, &known)?;
            Ok::<_, archive::Error>((sealed, source.entry_bytes))
        })
        .await?
        .map_err(of_seal)?;

        let (oldest, newest) = (entry_time(&history, first).await?, entry_time(&history, end - 1).await?);
        let segment = Segment {
            end_index: end,
            first_time_unix_micros: oldest,
            last_time_unix_micros: newest,
            bytes: sealed.bundle_bytes,
            deleted: false,
        };
        let entry = stored::Entry {
            effect: format!("entries {first} to {end} sealed"),
            log_change: Some(change(&(first..end), newest)),
            ..start::entry(Operation::SealSegment)
        };
        let kept = Slot::new(Space::Checkpoint, &[&end.to_be_bytes()]);
        let effects = Effects {
            writes: vec![
                segment_effect(first, &segment),
                Effect { slot: kept, value: Some(checkpoint.as_bytes().to_vec()) },
            ],
            sealed: Some(Sealed { first, end, entry_bytes }),
            ..Effects::default()
        };
        start::commit(log, &Tenant::system(), entry, Basis::default(), effects).await?;
        tracing::info!(first, end, bytes = sealed.bundle_bytes, "sealed a segment");
        // At once: as long as the archive can go back, an older copy of the store can have it do so.
        self.settle().await
    }

    async fn settle(&self) -> Result<(), Error> {
        let archive = Arc::clone(&self.archive);
        Ok(spawn_blocking(move || archive.settle()).await??)
    }

    /// Removes from the store the blocks and tiles of sealed entries, some at a time, so that answers never wait long.
    async fn remove_sealed(&self) -> Result<(), Error> {
        let log = &self.log;
        let sealed_end = log.history().bounds().sealed_end();
        // The block that holds the first unsealed entry may hold sealed ones too: it stays.
        let Some(end) = self.block_before(sealed_end).await? else { return Ok(()) };
        let mut from = log.published().removed_end;
        while from < end {
            let keys = block::keys(from..end);
            let page = self.store.scan(Space::Block, keys, Direction::Ascending, BLOCKS).await?;
            let whole = page.len() < BLOCKS;
            let last = page.last().and_then(|(key, _)| block::first_index(key));
            // The last block of a full page may go on in values that the page does not have.
            let upto = if whole { end } else { last.ok_or(Error::Unfit("a block's key can't be read"))? };
            let gone = |key: &[u8]| block::first_index(key).is_some_and(|first| first < upto);
            let blocks = page.into_iter().map(|(key, _)| key).filter(|key| gone(key));
            let mut removals: Vec<Slot> = blocks.map(|key| Slot { space: Space::Block, key }).collect();
            removals.extend(tiles::filled(from, upto).flat_map(tiles::stored::slots));
            log.remove_sealed(removals, upto).await?;
            from = upto;
        }
        Ok(())
    }

    /// The first index of the block that holds `index`, or would.
    async fn block_before(&self, index: u64) -> Result<Option<u64>, Error> {
        let keys = block::key(0, 0)..block::key(index.saturating_add(1), 0);
        let last = self.store.scan(Space::Block, keys, Direction::Descending, 1).await?;
        Ok(last.first().and_then(|(key, _)| block::first_index(key)))
    }
}

impl std::fmt::Debug for Segments {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Segments").field("rules", &self.rules).finish_non_exhaustive()
    }
}

/// Gives the archive what the store holds.
struct LogSource {
    history: History,
    store: Arc<dyn Store>,
    runtime: Handle,
    entry_bytes: u64,
}

impl Source for LogSource {
    fn entries(&mut self, bundle: u64) -> Result<Vec<Vec<u8>>, SourceError> {
        let width = u64::from(WIDTH_MAX);
        // A segment may be longer than what is left on the disk, and the log's own writes must not be what fails.
        if self.store.room()? == Room::Scarce {
            return Err(Box::new(Error::NoRoom));
        }
        let (mut next, end) = (bundle * width, (bundle + 1) * width);
        let mut entries = Vec::with_capacity(usize::from(WIDTH_MAX));
        while next < end {
            for entry in self.runtime.block_on(self.history.entries(next..end, Direction::Ascending))? {
                next = entry.index + 1;
                self.entry_bytes += entry.bytes.len() as u64;
                entries.push(entry.bytes);
            }
        }
        Ok(entries)
    }

    fn tile(&mut self, tile: Tile) -> Result<Option<Vec<u8>>, SourceError> {
        Ok(self.runtime.block_on(self.history.tiles(&[tile]))?.pop())
    }
}

async fn entry_time(history: &History, index: u64) -> Result<u64, Error> {
    let unfit = || Error::Unfit("an entry of the log can't be read");
    let run = history.entries(index..index.saturating_add(1), Direction::Ascending).await?;
    let entry = run.first().ok_or_else(unfit)?.decode().map_err(|_| unfit())?;
    Ok(entry.time_unix_micros)
}

fn change(range: &Range<u64>, newest: u64) -> LogChange {
    LogChange {
        first_index: range.start,
        end_index: range.end,
        newest_time_unix_micros: newest,
        verifier_key: String::new(),
    }
}

fn segment_effect(first: u64, segment: &Segment) -> Effect {
    Effect { slot: Slot::new(Space::Segment, &[&first.to_be_bytes()]), value: Some(segment.encode_to_vec()) }
}

fn read_segment(key: &[u8], value: &[u8]) -> Result<(u64, Segment), Error> {
    let unfit = || Error::Unfit("the record of a segment can't be read; restore the data directory from a backup");
    let first = key.try_into().map(u64::from_be_bytes).map_err(|_| unfit())?;
    Ok((first, Segment::decode(value).map_err(|_| unfit())?))
}

fn of_seal(error: archive::Error) -> Error {
    let no_room = match &error {
        archive::Error::Source { source, .. } => matches!(source.downcast_ref(), Some(Error::NoRoom)),
        archive::Error::Refused(_)
        | archive::Error::Storage { .. }
        | archive::Error::Missing { .. }
        | archive::Error::Damaged { .. }
        | archive::Error::Entry { .. }
        | archive::Error::Checkpoint { .. }
        | archive::Error::Unsealable { .. } => false,
    };
    if no_room { Error::NoRoom } else { Error::Archive(error) }
}

/// Blocks removed in one group commit.
const BLOCKS: usize = 256;
