//! Sealed segments: the older entries of the log as a static C2SP tlog-tiles log in a directory.
//!
//! ```text
//! format         "privet archive 1" and the log's origin
//! tile/…         entry bundles and tiles, named as C2SP tlog-tiles names them
//! checkpoint     the signed note of exactly what is sealed: a multiple of 256 entries
//! sealing        from the start of a seal until the caller has taken it: how to go back
//! due            what retention has found due so far
//! *.new          a file that is being written
//! ```
//!
//! What `checkpoint` speaks of is always there, whole and durable, so any web server can serve the directory as a log. Files of
//! a seal that is under way may lie beside it; nobody who goes by the checkpoint asks for them.
//!
//! * `directory`, `marker` – whose the directory is, and what an unfinished seal left
//! * [`seal`] – adds a segment; a crash at any step leaves the archive before it or the one after it
//! * `top`, `read` – bundles, tiles and leaf hashes, none of them given before it was checked
//! * `retain`, `due` – deletes old entry bundles, and remembers which are to go; says whether what must be there is there
//!
//! Root of trust is the checkpoint, whose signature is checked when it is read. The tiles on the tree's right edge are kept in
//! memory and have its root; a full tile has the hash that the tile above it holds, and a bundle's entries that of theirs. So a
//! change of any file, or of several that fit together, is noticed by whoever reads one of them. What goes unnoticed: a whole
//! directory swapped for another that the log's key has signed (an older copy has another size; a forked log is what anchor
//! and verifiers are for), and damage to what nobody reads.
//!
//! The archive takes no lock of its own: it lies in a directory that its process holds. No file that the checkpoint speaks of is
//! ever written again; retention unlinks.

mod directory;
mod due;
mod error;
mod files;
mod kept;
mod marker;
mod read;
mod retain;
pub mod seal;
mod top;

#[cfg(test)]
mod tests;

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use arc_swap::ArcSwap;

pub use due::{Due, DueOf};
pub use error::Error;
pub use seal::{Sealed, Source, SourceError};

use self::{files::Files, kept::Kept, marker::Marker, top::Top};
use super::{
    entry::Stored,
    merkle::Hash,
    note::VerifierKey,
    tiles::{Tile, WIDTH_MAX, path},
};

/// An open archive. Readers never wait for a seal.
pub struct Archive {
    files: Files,
    origin: String,
    /// Replaced by a seal once the segment is durable.
    top: ArcSwap<Top>,
    /// Held by whoever changes the directory.
    changing: Mutex<()>,
    tiles: Mutex<Kept<Tile, Arc<[Hash]>>>,
    bundles: Mutex<Kept<u64, Arc<[Stored]>>>,
}

impl Archive {
    /// Opens the archive of the log `origin` at `sealed_end`, which is how much the caller knows to be sealed, and makes it if
    /// nothing is sealed yet. Nothing that was sealed is touched: the caller may turn out to be an older copy. Once it knows
    /// better it calls [`finish_opening`](Self::finish_opening). `known` are the keys that the log ever had. Reads a handful of
    /// files; [`check`](Self::check) looks for the others.
    ///
    /// # Errors
    /// [`Error`]: the directory is not this archive, holds less than `sealed_end` or more than that and what the last seal may
    /// have left, or its checkpoint is not to be believed.
    pub fn open(dir: &Path, origin: &str, known: &[VerifierKey], sealed_end: u64) -> Result<Self, Error> {
        Self::open_in(Files::new(dir.to_owned()), origin, known, sealed_end)
    }

    fn open_in(files: Files, origin: &str, known: &[VerifierKey], sealed_end: u64) -> Result<Self, Error> {
        directory::take(&files, origin, sealed_end)?;
        let top = match Marker::read(&files)? {
            Some(marker) if marker.segment.start == sealed_end => {
                match seal::before(&files, &marker, origin, known) {
                    // Settled half-way: the segment was taken.
                    Err(Error::Missing { .. }) if seal::is_whole(&files, &marker, origin, known)? => {
                        Top::load(&files, origin, known)?
                    }
                    top => top?,
                }
            }
            Some(_) | None => Top::load(&files, origin, known)?,
        };
        if top.size() == 0 && sealed_end > 0 {
            return Err(Error::Missing { file: files.at(CHECKPOINT) });
        }
        refuse_other_size(&files, top.size(), sealed_end)?;
        Ok(Self {
            files,
            origin: origin.to_owned(),
            top: ArcSwap::from_pointee(top),
            changing: Mutex::new(()),
            tiles: Mutex::new(Kept::new(TILES_KEPT)),
            bundles: Mutex::new(Kept::new(BUNDLES_KEPT)),
        })
    }

    /// Sees to what the last seal left when its process ended. A segment that the caller has is there for good; one that it
    /// does not have is removed if nobody can have it: if it never became whole, or if the caller is known to be the `newest`
    /// store. Otherwise an older copy of the store would unlink what the newer one relies on.
    ///
    /// # Errors
    /// [`Error::Refused`] for a whole segment that the caller does not have and a newer store may; [`Error`].
    pub fn finish_opening(&self, known: &[VerifierKey], newest: bool) -> Result<(), Error> {
        let _alone = self.change();
        let Some(marker) = Marker::read(&self.files)? else { return Ok(()) };
        if marker.segment.end == self.sealed_end() {
            return seal::settle(&self.files, &marker);
        }
        if !newest && seal::is_whole(&self.files, &marker, &self.origin, known)? {
            return Err(Error::Refused(format!(
                "the archive {0} holds {1} entries and the store says {2}: if there is a newer store, put that back; if this is the newest, move {3} away, and those from {2} on are sealed again",
                self.files.root().display(),
                marker.segment.end,
                marker.segment.start,
                self.files.at(CHECKPOINT).display(),
            )));
        }
        seal::undo(&self.files, &marker, &self.origin, known)
    }

    /// The caller has taken the segment that was sealed last: there is no going back behind it any more.
    ///
    /// # Errors
    /// [`Error`]; the next seal does it then, or the next opening.
    pub fn settle(&self) -> Result<(), Error> {
        let _alone = self.change();
        let Some(marker) = Marker::read(&self.files)? else { return Ok(()) };
        if marker.segment.end == self.sealed_end() { seal::settle(&self.files, &marker) } else { Ok(()) }
    }

    /// How many entries are sealed.
    pub fn sealed_end(&self) -> u64 {
        self.top.load().size()
    }

    /// The signed note of what is sealed; `None` if nothing is.
    pub fn checkpoint(&self) -> Option<String> {
        let top = self.top.load();
        (top.size() > 0).then(|| top.note().to_owned())
    }

    /// Where a static file of an archive lies.
    pub fn path(dir: &Path, path: path::Path) -> PathBuf {
        dir.join(path.to_string())
    }

    fn change(&self) -> MutexGuard<'_, ()> {
        self.changing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn forget_what_was_read(&self) {
        self.tiles.lock().unwrap_or_else(PoisonError::into_inner).clear();
        self.bundles.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

fn refuse_other_size(files: &Files, found: u64, sealed_end: u64) -> Result<(), Error> {
    let remedy = match found.cmp(&sealed_end) {
        std::cmp::Ordering::Equal => return Ok(()),
        std::cmp::Ordering::Less => "put back the newer archive",
        std::cmp::Ordering::Greater => "the store is older than its archive: put back the newer store",
    };
    Err(Error::Refused(format!(
        "the archive {} holds {found} entries and the store says {sealed_end}: {remedy}",
        files.root().display()
    )))
}

/// The name of a full file. `None`: there can't be one.
fn full(content: path::Content) -> Option<path::Path> {
    path::Path::new(content, WIDTH_MAX)
}

const CHECKPOINT: &str = "checkpoint";
/// 2 MiB: all that proofs need above the leaves of 16 million entries.
const TILES_KEPT: usize = 256;
/// Whoever pages through the log wants the same bundle a few times.
const BUNDLES_KEPT: usize = 8;
