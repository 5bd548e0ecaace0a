//! The index: finds a tenant's entries by what they say, and any entry by its leaf hash, without reading the log.
//!
//! It is derived from the log and holds nothing that is not in it: its directory can be deleted at any time. It is given
//! decoded entries and knows neither the writer nor the store. It covers the entries up to its [watermark](Index::watermark);
//! what lies behind, the caller looks through itself, so that an answer is complete however far the index has come.
//!
//! The newest entries are held in a table in memory. 65,536 of them become a run, an immutable sorted file; eight runs of one
//! level are merged into one of the next, up to some 4 million entries. A search reads a run only if its Bloom filter says
//! that the run may have every term, and then about one block of 4,096 bytes for a term that few entries have.
//!
//! * `term` – what entries are found by
//! * `block`, `bloom`, `time`, `footer` – what runs are made of
//! * `run`, `table` – the two places where postings lie
//! * `write`, `files` – how runs come to be
//! * `search` – the intersection of terms
//!
//! INVARIANT: runs and table follow one another without a gap. A run that can't be read is dropped with all that follows it,
//! and the watermark falls to where it began: an answer is never shorter because of damage.
//!
//! What is deliberately absent: a cache of blocks (the kernel has one), a log of its own (a crash costs at most the table,
//! which is indexed again), and a list of runs beside the directory's (each run says itself what it covers).

mod block;
mod bloom;
mod files;
mod footer;
mod run;
mod search;
mod state;
mod table;
mod term;
mod time;
mod write;

#[cfg(test)]
mod tests;

use std::{
    io,
    ops::Range,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
};

use ring::digest::{SHA256, digest};

use self::{run::Run, search::Search, state::State, table::Table, term::Term, write::Unmerged};
use crate::store::Direction;

pub use term::{Indexed, Query};

/// A search answers with at most so many candidates, whatever its limit.
pub const CANDIDATES_MAX: usize = 65_536;

/// A search reads about so many blocks at most: then it says how far it came.
pub const BLOCKS_MAX: usize = 1_024;

/// The index of one log, in a directory of its own. One caller adds, any number find meanwhile.
pub struct Index {
    dir: PathBuf,
    /// SHA-256 of the log's origin.
    origin: [u8; 32],
    sizes: Sizes,
    /// Held for moments only, never while a file is written.
    state: RwLock<State>,
    /// Held by the one who adds.
    adding: Mutex<()>,
}

/// What a search found, and where it looked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Entries to be checked, in the order of the search: each that has what was asked for, and perhaps some that don't.
    pub candidates: Vec<u64>,
    /// The part of the asked indexes that the candidates answer for; it begins where the search began. What is left of them
    /// is for the next search, or not indexed yet. Indexes before the first one kept count as looked at.
    pub looked: Range<u64>,
    /// How many blocks were read.
    pub blocks: usize,
}

/// The index can't do what was asked. Whatever the error, [`Index::watermark`] says what is covered now.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Its files can't be made, written or removed.
    #[error("the index can't {what}")]
    Io {
        /// What failed.
        what: &'static str,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// There is no room on the disk for another file.
    #[error("room on the disk is scarce, so nothing more is indexed: make room")]
    NoRoom,
    /// A run could not be read. It was dropped, with all that follows it.
    #[error("the index had a damaged file, {run}, which was dropped")]
    Damaged {
        /// The name of its file.
        run: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The entries do not begin at the watermark.
    #[error("the index goes on at {watermark}")]
    Gap {
        /// Where they have to begin.
        watermark: u64,
    },
}

impl Index {
    /// Opens the index of the log with this origin, of which the entries in `indexes` exist. The directory is made if it is
    /// missing; its parent has to be there. Files that are damaged, of another log or format, or reach past the end are
    /// removed, and so is what a crash left.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn open(dir: &Path, origin: &str, indexes: Range<u64>) -> Result<Self, Error> {
        Self::open_sized(dir, origin, indexes, Sizes::default())
    }

    fn open_sized(dir: &Path, origin: &str, indexes: Range<u64>, sizes: Sizes) -> Result<Self, Error> {
        files::make_directory(dir).map_err(io_error("make its directory"))?;
        let mut hash = [0; 32];
        hash.copy_from_slice(digest(&SHA256, origin.as_bytes()).as_ref());
        let state = State::load(dir, &hash, indexes).map_err(io_error("open its directory"))?;
        Ok(Self { dir: dir.to_owned(), origin: hash, sizes, state: RwLock::new(state), adding: Mutex::new(()) })
    }

    /// Where indexing goes on: all entries before are covered, from the first one kept.
    pub fn watermark(&self) -> u64 {
        self.state().watermark()
    }

    /// Adds entries, which begin at the watermark and follow one another. Blocks: it may write a run, and merge some. What it
    /// writes leaves room on the disk for others: without enough, runs stay unmerged, and at last nothing more is added.
    ///
    /// # Errors
    /// [`Error::Gap`], [`Error::NoRoom`], [`Error::Io`] or [`Error::Damaged`]. The entries before the watermark have been added.
    pub fn add(&self, entries: &[Indexed]) -> Result<(), Error> {
        let _adding = self.adding.lock().unwrap_or_else(PoisonError::into_inner);
        for entry in entries {
            let mut table = Arc::clone(&self.state().table);
            if self.sizes.fills(&table) {
                self.flush(&table)?;
                self.merge()?;
                table = Arc::clone(&self.state().table);
            }
            if !table.push(entry) {
                return Err(Error::Gap { watermark: self.watermark() });
            }
        }
        Ok(())
    }

    /// Finds entries among `indexes`, at most `limit` of them, in either order. It may stop early: see [`Found::looked`]. A
    /// descending search does not begin before the watermark has reached the end of `indexes`. Blocks.
    ///
    /// # Errors
    /// [`Error::Damaged`]: the watermark has fallen, ask again.
    pub fn find(&self, query: &Query, indexes: Range<u64>, direction: Direction, limit: usize) -> Result<Found, Error> {
        self.find_all(&query.terms(), indexes, direction, limit)
    }

    /// Finds the entries, if any, that may have this leaf hash, the newest first: [`Found::looked`] ends at the watermark.
    /// Entries before the first one kept are not found. Blocks.
    ///
    /// # Errors
    /// [`Error::Damaged`]: the watermark has fallen, ask again.
    pub fn leaf(&self, leaf_hash: &[u8; 32]) -> Result<Found, Error> {
        let term = term::of_leaf_hash(leaf_hash);
        self.find_all(&[term], 0..self.watermark(), Direction::Descending, LEAVES_MAX)
    }

    /// No entry at or after this time has a smaller index. Microseconds since 1970.
    pub fn time_floor(&self, micros: u64) -> u64 {
        let state = self.state();
        let newest = state.table.read().samples.floor(micros);
        let floor = newest.or_else(|| state.runs.iter().rev().find_map(|run| run.samples().floor(micros)));
        floor.unwrap_or(0).max(state.first)
    }

    /// No entry before this time has this index or a greater one. Microseconds since 1970. `None`: the index knows no such
    /// entry.
    pub fn time_ceiling(&self, micros: u64) -> Option<u64> {
        let state = self.state();
        let oldest = state.runs.iter().find_map(|run| run.samples().ceiling(micros));
        oldest.or_else(|| state.table.read().samples.ceiling(micros))
    }

    /// Forgets entries before `index`, which are no longer kept: none of them is found any more, and runs without any other
    /// entries are removed.
    ///
    /// # Errors
    /// [`Error::Io`]: a file is still there; it is removed at the next open.
    pub fn forget_before(&self, index: u64) -> Result<(), Error> {
        let forgotten = self.write().forget_before(index);
        let removed = forgotten.iter().map(|run| files::remove(run.path()));
        removed.collect::<io::Result<()>>().map_err(io_error("remove a file"))
    }

    /// Forgets the entries from `index` on, and some before it where runs are cut: the watermark falls.
    ///
    /// # Errors
    /// [`Error::Io`]: a file is still there, and the next open may find it; delete the directory then.
    pub fn forget_from(&self, index: u64) -> Result<(), Error> {
        self.write().forget_from(index, &self.dir).map_err(io_error("remove a file"))
    }

    /// Forgets everything, so that it is indexed again.
    ///
    /// # Errors
    /// As [`Self::forget_from`].
    pub fn clear(&self) -> Result<(), Error> {
        self.forget_from(0)
    }

    /// The last entry of each run, oldest first, with its leaf hash: where the log has another there, the index is of another
    /// past of it; [`Self::forget_from`] the first such entry.
    pub fn ends(&self) -> Vec<(u64, [u8; 32])> {
        let state = self.state();
        state.runs.iter().map(|run| (run.indexes().end.saturating_sub(1), run.footer().last_leaf_hash)).collect()
    }

    /// How many bytes the runs take on disk.
    pub fn bytes_on_disk(&self) -> u64 {
        self.state().runs.iter().map(|run| run.bytes()).sum()
    }

    fn find_all(
        &self,
        terms: &[Term],
        indexes: Range<u64>,
        direction: Direction,
        limit: usize,
    ) -> Result<Found, Error> {
        let state = self.state();
        let looked = state.covered(&indexes, direction);
        let kept = looked.start.max(state.first)..looked.end;
        let mut parts = state.parts();
        drop(state);
        if direction == Direction::Descending {
            parts.reverse();
        }
        let limit = limit.clamp(1, CANDIDATES_MAX);
        let mut search = Search { direction, limit, blocks_max: BLOCKS_MAX, candidates: Vec::new(), blocks: 0 };
        for part in parts {
            let within = part.indexes.start.max(kept.start)..part.indexes.end.min(kept.end);
            if within.is_empty() {
                continue;
            }
            let left = part.look(terms, &mut search, within);
            let left = left.map_err(|Unread(run, source)| self.drop_damaged(&run, source))?;
            if !left.is_empty() {
                let looked = match direction {
                    Direction::Ascending => looked.start..left.start,
                    Direction::Descending => left.end..looked.end,
                };
                return Ok(Found { candidates: search.candidates, looked, blocks: search.blocks });
            }
        }
        Ok(Found { candidates: search.candidates, looked, blocks: search.blocks })
    }

    /// Makes a run of the table.
    fn flush(&self, table: &Arc<Table>) -> Result<(), Error> {
        if !self.has_room(write::table_bytes_max(table))? {
            return Err(Error::NoRoom);
        }
        let run = Arc::new(write::table(&self.dir, &self.origin, table).map_err(io_error("write a run"))?);
        if self.write().append(table, &run) {
            return Ok(());
        }
        // Damage was found before it, meanwhile.
        files::remove(run.path()).map_err(io_error("remove a file"))
    }

    /// Merges runs until nothing is left to merge, or no room to do it in: while they are merged they are there twice.
    fn merge(&self) -> Result<(), Error> {
        loop {
            let Some(runs) = self.state().mergeable(&self.sizes) else { return Ok(()) };
            if !self.has_room(runs.iter().map(|run| run.bytes()).sum())? {
                return Ok(());
            }
            let merged = match write::merged(&self.dir, &self.origin, &runs) {
                Ok(merged) => Arc::new(merged),
                Err(Unmerged::Read(Unread(run, source))) => return Err(self.drop_damaged(&run, source)),
                Err(Unmerged::Write(source)) => return Err(Error::Io { what: "merge runs", source }),
            };
            let replaced = self.write().replace(&runs, &merged);
            let gone = if replaced { runs } else { vec![merged] };
            let removed = gone.iter().map(|run| files::remove(run.path()));
            removed.collect::<io::Result<()>>().map_err(io_error("remove a file"))?;
            if !replaced {
                return Ok(());
            }
        }
    }

    /// Whether so many bytes can be written, and the room that others need is still there.
    fn has_room(&self, bytes: u64) -> Result<bool, Error> {
        let room = files::room(&self.dir).map_err(io_error("ask for room on the disk"))?;
        Ok(room >= bytes.saturating_add(ROOM_LEFT))
    }

    /// Drops a run that can't be read, unless another took its place already.
    fn drop_damaged(&self, run: &Arc<Run>, source: io::Error) -> Error {
        let mut state = self.write();
        if state.has(run) {
            // A file that stays is noticed again when it is opened or read.
            let _ = state.forget_from(run.indexes().start, &self.dir);
        }
        let name = run.path().file_name().unwrap_or_default();
        Error::Damaged { run: name.to_string_lossy().into_owned(), source }
    }

    fn state(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A run that can't be read, and why.
struct Unread(Arc<Run>, io::Error);

/// When there is enough for a file.
#[derive(Clone, Copy, Debug)]
struct Sizes {
    /// A table with so many entries becomes a run,
    entries: u64,
    /// and one with so many postings, about 25 bytes of memory each.
    postings: usize,
    /// So many runs of one level are merged into one of the next,
    fan: usize,
    /// unless they are of this level.
    level_max: u32,
}

impl Default for Sizes {
    fn default() -> Self {
        Self { entries: 65_536, postings: 786_432, fan: 8, level_max: 2 }
    }
}

impl Sizes {
    fn fills(&self, table: &Table) -> bool {
        let content = table.read();
        content.entries >= self.entries || content.postings.len() >= self.postings
    }
}

/// More entries than this have the same leaf hash only if the hash is broken.
const LEAVES_MAX: usize = 16;

/// What is left for the store, which keeps its reserve besides, and takes less than half of this for scarce.
const ROOM_LEFT: u64 = 48 << 20;

fn io_error(what: &'static str) -> impl Fn(io::Error) -> Error {
    move |source| Error::Io { what, source }
}
