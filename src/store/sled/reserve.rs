//! Disk space kept back: a file of 64 MiB, really allocated, that holds nothing. It goes when the disk is nearly full, so that
//! erasures, revocations, retention and the recovery of the database still find room, and comes back when there is room again.
//!
//! INVARIANT: there is ample room only while the reserve is held. What was given back is never taken for room to spare.
//!
//! What it can't do: a quota that the file system does not count as full, and another program on the same file system, can
//! still make a write fail. That stops the store as any failed write does.

use std::{
    fs::{File, OpenOptions},
    io::{self, ErrorKind},
    os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt},
    path::Path,
    sync::{Mutex, PoisonError},
};

use rustix::{
    fs::{FallocateFlags, fallocate, fstatvfs},
    io::Errno,
};

use super::{directory::FILE_MODE, storage};
use crate::store::{Error, Room};

/// The reserve of a data directory.
pub(super) struct Reserve {
    file: File,
    /// Whether all of it is allocated.
    held: Mutex<bool>,
}

impl Reserve {
    /// Takes the reserve of a data directory, before its database is opened. Where there is no room for a reserve there is none
    /// until there is; one that stands in the way of a recovery is given back.
    pub(super) fn open(directory: &Path) -> Result<Self, Error> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(FILE_MODE);
        let file = options.open(directory.join(RESERVE)).map_err(|e| storage("opened the reserve", e))?;
        // A copy of a data directory may have the length without the blocks.
        let held = allocated(&file).map_err(|e| storage("looked at the reserve", e))?;
        let reserve = Self { file, held: Mutex::new(held) };
        if reserve.room()? == Room::Scarce {
            reserve.release()?;
        }
        Ok(reserve)
    }

    /// Whether there is room to spare. One system call, unless the reserve has to be made anew.
    pub(super) fn room(&self) -> Result<Room, Error> {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let found = fstatvfs(&self.file).map_err(|e| storage("asked for room on the disk", io::Error::from(e)))?;
        let available = found.f_bavail.saturating_mul(found.f_frsize);
        let missing = if *held { 0 } else { RESERVE_BYTES };
        if available < missing + SCARCE_BYTES {
            return Ok(Room::Scarce);
        }
        if !*held {
            *held = self.make().map_err(|e| storage("made the reserve", e))?;
        }
        Ok(if *held { Room::Ample } else { Room::Scarce })
    }

    /// Gives it back. The sync is what makes some file systems let others have the room.
    pub(super) fn release(&self) -> Result<(), Error> {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        *held = false;
        self.file.set_len(0).and_then(|()| self.file.sync_all()).map_err(|e| storage("gave back the reserve", e))
    }

    /// Whether there was room for it.
    fn make(&self) -> io::Result<bool> {
        let made = self.allocate();
        match &made {
            Err(full) if is_full(full) => {
                self.file.set_len(0)?;
                Ok(false)
            }
            Err(_) => made.map(|()| false),
            Ok(()) => Ok(true),
        }
    }

    fn allocate(&self) -> io::Result<()> {
        match fallocate(&self.file, FallocateFlags::empty(), 0, RESERVE_BYTES) {
            Ok(()) | Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL) => {}
            Err(e) => return Err(e.into()),
        }
        // Some file systems can't, and some say yes and only set the length.
        if !allocated(&self.file)? {
            self.fill()?;
        }
        self.file.sync_data()
    }

    /// Writes bytes that no file system can make smaller.
    fn fill(&self) -> io::Result<()> {
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let mut chunk = vec![0; CHUNK_BYTES];
        for at in (0..RESERVE_BYTES).step_by(CHUNK_BYTES) {
            for word in chunk.as_chunks_mut::<8>().0 {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                *word = state.to_ne_bytes();
            }
            self.file.write_all_at(&chunk, at)?;
        }
        Ok(())
    }
}

fn allocated(file: &File) -> io::Result<bool> {
    let found = file.metadata()?;
    Ok(found.len() >= RESERVE_BYTES && found.blocks().saturating_mul(512) >= RESERVE_BYTES)
}

fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded)
}

pub(super) const RESERVE: &str = "reserve";
const RESERVE_BYTES: u64 = 64 << 20;
/// With less than this left beside the reserve, room is scarce: several times what one group commit takes.
const SCARCE_BYTES: u64 = 16 << 20;
const CHUNK_BYTES: usize = 1 << 20;
