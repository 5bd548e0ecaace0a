//! How many entries were durable at least, kept outside the database: one that opens with fewer is refused. After damage near
//! the end of its file sled opens an older state without a word.
//!
//! INVARIANT: the number is written after each commit and not synced, so what survives a power cut may be an older number and
//! never a newer one than the database holds.

use std::{
    fs::{File, OpenOptions},
    io,
    os::unix::fs::{FileExt, OpenOptionsExt},
    path::Path,
};

use super::{directory::FILE_MODE, storage};
use crate::store::Error;

/// The file with the number, twice.
pub(super) struct Tip(File);

impl Tip {
    /// Opens the number in a data directory, or makes the file.
    pub(super) fn open(directory: &Path) -> Result<Self, Error> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(FILE_MODE);
        options.open(directory.join(TIP)).map(Self).map_err(|e| storage("opened the number of entries", e))
    }

    /// Notes a number of entries that are durable by now.
    pub(super) fn note(&self, entries: u64) -> Result<(), Error> {
        let twice = [entries.to_be_bytes(), entries.to_be_bytes()].concat();
        self.0.write_all_at(&twice, 0).map_err(|e| storage("noted the number of entries", e))
    }

    /// Refuses a database with fewer entries than were durable once.
    pub(super) fn refuse_older(&self, entries: u64) -> Result<(), Error> {
        let mut twice = [0; 16];
        match self.0.read_exact_at(&mut twice, 0) {
            Ok(()) => {}
            Err(none) if none.kind() == io::ErrorKind::UnexpectedEof => return Ok(()),
            Err(e) => return Err(storage("read the number of entries", e)),
        }
        let number = u128::from_be_bytes(twice);
        let (first, second) = ((number >> 64) as u64, number as u64);
        // A torn write says nothing.
        if first == second && entries < first {
            return Err(Error::Damaged { what: format!("{first} entries were durable and {entries} are left") });
        }
        Ok(())
    }
}

pub(super) const TIP: &str = "tip";
