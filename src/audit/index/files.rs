//! The files of the index: `<first>-<end>.run` in hexadecimal, and the same with `.tmp` behind while it is written.
//!
//! A run is written under its temporary name, synced, renamed, and its directory synced. Every step goes through here, and
//! in tests each can be watched and made to fail.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Write},
    ops::Range,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

/// Makes the directory, for its owner only, if it is not there.
pub(super) fn make_directory(dir: &Path) -> io::Result<()> {
    step("make", dir)?;
    match DirBuilder::new().mode(0o700).create(dir) {
        Err(there) if there.kind() == io::ErrorKind::AlreadyExists && dir.is_dir() => Ok(()),
        made => made,
    }
}

/// The files of a directory that are the index's: runs, and what a crash left of them. Other files are none of its business.
pub(super) struct Listing {
    /// Each with the entries that its name says it has.
    pub(super) runs: Vec<(Range<u64>, PathBuf)>,
    pub(super) temporaries: Vec<PathBuf>,
}

/// Lists the directory.
pub(super) fn list(dir: &Path) -> io::Result<Listing> {
    let (mut runs, mut temporaries) = (Vec::new(), Vec::new());
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let name = entry.file_name();
        let Some(name) = name.to_str().filter(|_| entry.file_type().is_ok_and(|kind| kind.is_file())) else { continue };
        if let Some(indexes) = parse(name) {
            runs.push((indexes, entry.path()));
        } else if name.strip_suffix(TEMPORARY).and_then(parse).is_some() {
            temporaries.push(entry.path());
        }
    }
    Ok(Listing { runs, temporaries })
}

/// The path of the run of these entries.
pub(super) fn run_path(dir: &Path, indexes: &Range<u64>) -> PathBuf {
    dir.join(format!("{:016x}-{:016x}{RUN}", indexes.start, indexes.end))
}

/// Removes a file of the index, if it is there.
pub(super) fn remove(path: &Path) -> io::Result<()> {
    step("remove", path)?;
    match fs::remove_file(path) {
        Err(gone) if gone.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

/// Makes names that were given and taken away durable.
pub(super) fn sync_directory(dir: &Path) -> io::Result<()> {
    step("sync directory", dir)?;
    sync(&File::open(dir)?)
}

/// How many bytes can still be written where the directory lies.
#[cfg(not(test))]
pub(super) fn room(dir: &Path) -> io::Result<u64> {
    let found = rustix::fs::statvfs(dir)?;
    Ok(found.f_bavail.saturating_mul(found.f_frsize))
}

/// A run being written. Dropped before [`Self::publish`], it takes its temporary file with it.
pub(super) struct Temporary {
    file: File,
    buffer: Vec<u8>,
    path: PathBuf,
    temporary: PathBuf,
}

impl Temporary {
    /// Starts a file that will be at `path`.
    pub(super) fn create(path: PathBuf) -> io::Result<Self> {
        let temporary = path.with_extension(format!("{}{TEMPORARY}", RUN.trim_start_matches('.')));
        step("create", &temporary)?;
        let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
        Ok(Self { file, buffer: Vec::new(), path, temporary })
    }

    /// Adds bytes.
    pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.buffer.extend_from_slice(bytes);
        if self.buffer.len() < BUFFER_BYTES { Ok(()) } else { self.write_out() }
    }

    /// Makes the bytes durable and gives them their name.
    pub(super) fn publish(mut self) -> io::Result<PathBuf> {
        self.write_out()?;
        step("sync", &self.temporary)?;
        sync(&self.file)?;
        step("rename", &self.temporary)?;
        fs::rename(&self.temporary, &self.path)?;
        match self.path.parent() {
            Some(dir) => sync_directory(dir)?,
            None => return Err(io::ErrorKind::InvalidInput.into()),
        }
        Ok(self.path.clone())
    }

    fn write_out(&mut self) -> io::Result<()> {
        step("write", &self.temporary)?;
        self.file.write_all(&self.buffer)?;
        self.buffer.clear();
        Ok(())
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        // After a rename there is nothing to remove; what can't be removed is removed at the next open.
        let _ = remove(&self.temporary);
    }
}

const RUN: &str = ".run";
const TEMPORARY: &str = ".tmp";
const BUFFER_BYTES: usize = 256 << 10;

/// The entries of the run with this name.
fn parse(name: &str) -> Option<Range<u64>> {
    let (start, end) = name.strip_suffix(RUN)?.split_once('-')?;
    let number = |text: &str| u64::from_str_radix(text, 16).ok().filter(|number| format!("{number:016x}") == text);
    Some(number(start)?..number(end)?)
}

#[cfg(not(test))]
fn step(_: &'static str, _: &Path) -> io::Result<()> {
    Ok(())
}

#[cfg(not(test))]
fn sync(file: &File) -> io::Result<()> {
    file.sync_all()
}

/// Tests write thousands of runs and do not wait for the disk; they watch when this would be called.
#[cfg(test)]
fn sync(_: &File) -> io::Result<()> {
    Ok(())
}

#[cfg(test)]
pub(super) use watched::{room, set_room, step, watch};

#[cfg(test)]
mod watched {
    use super::*;
    use std::cell::{Cell, RefCell};

    type Watcher = Box<dyn FnMut(&'static str, &Path) -> io::Result<()>>;

    thread_local! {
        static WATCHER: RefCell<Option<Watcher>> = const { RefCell::new(None) };
        static ROOM: Cell<u64> = const { Cell::new(u64::MAX) };
    }

    /// How much room this thread finds.
    pub(in crate::audit::index) fn set_room(bytes: u64) {
        ROOM.set(bytes);
    }

    #[expect(clippy::unnecessary_wraps, reason = "the disk may not answer")]
    pub(in crate::audit::index) fn room(_: &Path) -> io::Result<u64> {
        Ok(ROOM.get())
    }

    /// Has `watcher` see each step of this thread before it is taken, and stop it; `None`: no more.
    pub(in crate::audit::index) fn watch(watcher: Option<Watcher>) {
        WATCHER.with(|slot| *slot.borrow_mut() = watcher);
    }

    pub(in crate::audit::index) fn step(what: &'static str, path: &Path) -> io::Result<()> {
        // Taken out for the call, so that the watcher may use the index itself.
        let Some(mut watcher) = WATCHER.with(|slot| slot.borrow_mut().take()) else { return Ok(()) };
        let outcome = watcher(what, path);
        WATCHER.with(|slot| *slot.borrow_mut() = Some(watcher));
        outcome
    }
}
