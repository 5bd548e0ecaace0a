//! The anchor: the newest checkpoint, kept in a directory apart from the store – on another device, so that a copy of the one is
//! no copy of the other. An older store put back, or one whose past was altered, does not fit it, and is noticed at the start.
//!
//! ```text
//! lock      held by the one process that advances the anchor
//! anchor    two slots, written in turns: a write that is torn leaves the other
//! ```
//!
//! An anchor belongs to one log, by its origin, from the moment it is made. It signs nothing and checks no signature: who
//! opens it checks the note, as any other note.
//!
//! INVARIANT: what [`Anchor::advance`] wrote is durable when it returns, and it never writes over a checkpoint that it did not
//! expect. After a failed write it never writes again: the kernel reports a failed sync once and then forgets it.
//!
//! What it can't do: a lock and a look before each write keep two servers apart that see the same files; a file system that
//! shows one of them old bytes hides the other.

mod place;
mod slots;
mod standing;
#[cfg(test)]
mod tests;

use std::{
    fs::{self, DirBuilder, File, OpenOptions, TryLockError},
    io::{self, ErrorKind, Write},
    os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt},
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

pub use place::{Misplaced, placed, same_device};
use slots::{FILE_BYTES, Slot, Unreadable};
pub use standing::{Mismatch, check};

use crate::private;

/// The longest checkpoint that an anchor takes, as a signed note, in bytes.
pub const NOTE_BYTES_MAX: usize = slots::TEXT_BYTES_MAX;

/// An anchor, ours alone as long as this lives.
#[derive(Debug)]
pub struct Anchor {
    dir: PathBuf,
    /// The first line of every note: the log's origin and a line break.
    first_line: String,
    file: File,
    newest: Slot,
    /// Set for good by a failed read or write.
    failed: bool,
    _lock: File,
}

impl Anchor {
    /// Opens the anchor of the log `origin`.
    ///
    /// # Errors
    /// [`Error::Absent`] if there is none; [`Error::InUse`]; [`Error::Refused`] if it is another log's, of another format, or
    /// not this user's alone; [`Error::Damaged`]; [`Error::Io`].
    pub fn open(dir: &Path, origin: &str) -> Result<Self, Error> {
        check_dir(dir)?;
        let path = dir.join(ANCHOR);
        if !path.try_exists().map_err(io_error("look for", &path))? {
            return Err(Error::Absent { dir: dir.to_owned() });
        }
        Self::open_locked(dir, origin, lock(dir)?)
    }

    /// Makes an anchor with nothing in it, durable when this returns: the directory may be missing, the one it lies in may not.
    ///
    /// # Errors
    /// [`Error::Refused`] if there is one already, and as [`Anchor::open`].
    pub fn create(dir: &Path, origin: &str) -> Result<Self, Error> {
        match DirBuilder::new().mode(0o700).create(dir) {
            Err(there) if there.kind() == ErrorKind::AlreadyExists => {}
            Err(above) if above.kind() == ErrorKind::NotFound => {
                return Err(refused(dir, "the directory it lies in is missing; make that, or mount its device, first"));
            }
            made => made.map_err(io_error("make", dir))?,
        }
        check_dir(dir)?;
        let lock = lock(dir)?;
        let path = dir.join(ANCHOR);
        if path.try_exists().map_err(io_error("look for", &path))? {
            return Err(refused(dir, "there is an anchor already; move it away if it is not this store's"));
        }
        let too_long = || refused(dir, "the log's origin is too long");
        let slot = slots::encode(FIRST, &first_line(origin)).ok_or_else(too_long)?;
        let unfinished = dir.join(CREATING);
        let write = || -> io::Result<()> {
            match fs::remove_file(&unfinished) {
                Err(e) if e.kind() != ErrorKind::NotFound => return Err(e),
                _ => {}
            }
            let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&unfinished)?;
            file.write_all(&slots::file(FIRST, &slot))?;
            file.sync_all()?;
            fs::rename(&unfinished, &path)?;
            sync_directory(dir)?;
            dir.canonicalize()?.parent().map_or(Ok(()), sync_directory)
        };
        write().map_err(io_error("write", &path))?;
        Self::open_locked(dir, origin, lock)
    }

    /// The newest checkpoint of an anchor that may be in use, as a signed note; `None` if it has none yet. Locks nothing.
    ///
    /// # Errors
    /// As [`Anchor::open`].
    pub fn peek(dir: &Path, origin: &str) -> Result<Option<String>, Error> {
        check_dir(dir)?;
        let file = open_file(dir)?;
        // A slot that is being written is torn; the other one is whole, unless they are written faster than read.
        let mut read = read(dir, &file);
        for _ in 0..PEEK_TRIES {
            match read {
                Err(Error::Damaged { .. }) => read = self::read(dir, &file),
                Ok(_) | Err(_) => break,
            }
        }
        let slot = read?;
        refuse_other_log(dir, &slot, &first_line(origin))?;
        Ok(note(&slot, &first_line(origin)).map(ToOwned::to_owned))
    }

    /// The newest checkpoint, as a signed note; `None` if there is none yet.
    pub fn newest(&self) -> Option<&str> {
        note(&self.newest, &self.first_line)
    }

    /// Puts the checkpoint `to` in the place of `from`, durable when this returns. Blocks: one sync of the file.
    ///
    /// # Errors
    /// [`Error::Moved`] if the newest checkpoint is not `from`, [`Error::Refused`] if `to` is not a note of this log or is
    /// longer than [`NOTE_BYTES_MAX`]: nothing was written. After [`Error::Io`] or [`Error::Damaged`] either of the two may
    /// be there, and every later call answers [`Error::Failed`].
    pub fn advance(&mut self, from: Option<&str>, to: &str) -> Result<(), Error> {
        if self.failed {
            return Err(Error::Failed { dir: self.dir.clone() });
        }
        let outcome = self.compare_and_swap(from, to);
        self.failed = matches!(outcome, Err(Error::Io { .. } | Error::Damaged { .. }));
        outcome
    }

    fn compare_and_swap(&mut self, from: Option<&str>, to: &str) -> Result<(), Error> {
        let there = read(&self.dir, &self.file)?;
        if there.text != from.unwrap_or(&self.first_line) {
            return Err(Error::Moved { dir: self.dir.clone() });
        }
        let unfit = || refused(&self.dir, "a checkpoint for it is not of its log, or is too long");
        let next = Slot { sequence: there.sequence.saturating_add(1), text: to.to_owned() };
        if note(&next, &self.first_line).is_none() {
            return Err(unfit());
        }
        let bytes = slots::encode(next.sequence, to).ok_or_else(unfit)?;
        let written = self.file.write_all_at(&bytes, slots::offset(next.sequence)).and_then(|()| self.file.sync_data());
        written.map_err(io_error("advance", &self.dir))?;
        self.newest = next;
        Ok(())
    }

    fn open_locked(dir: &Path, origin: &str, lock: File) -> Result<Self, Error> {
        let file = open_file(dir)?;
        let newest = read(dir, &file)?;
        let first_line = first_line(origin);
        refuse_other_log(dir, &newest, &first_line)?;
        Ok(Self { dir: dir.to_owned(), first_line, file, newest, failed: false, _lock: lock })
    }
}

/// Why an anchor can't be used. The text says what to do.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is none.
    #[error(
        "there is no anchor in {}: put it back; if there never was one, start once with --new-anchor, which is recorded",
        dir.display()
    )]
    Absent {
        /// Where it was looked for.
        dir: PathBuf,
    },
    /// Another process holds it.
    #[error("the anchor in {} is in use by another process: stop that process, most likely a server of this log", dir.display())]
    InUse {
        /// Which one.
        dir: PathBuf,
    },
    /// It can't be used as it is.
    #[error("the anchor in {} is refused: {why}", dir.display())]
    Refused {
        /// Which one.
        dir: PathBuf,
        /// What is wrong, and what to do.
        why: String,
    },
    /// Neither slot is whole: no torn write does that.
    #[error(
        "the anchor in {} is damaged: make sure that the store is the newest there is, move the anchor away, and start once with --new-anchor, which is recorded",
        dir.display()
    )]
    Damaged {
        /// Which one.
        dir: PathBuf,
    },
    /// Somebody else has advanced it.
    #[error(
        "another server has advanced the anchor in {}: two servers write the same log; stop both, and keep the store that the anchor fits",
        dir.display()
    )]
    Moved {
        /// Which one.
        dir: PathBuf,
    },
    /// An earlier write failed.
    #[error("an earlier failure stopped the anchor in {}", dir.display())]
    Failed {
        /// Which one.
        dir: PathBuf,
    },
    /// The file system failed.
    #[error("can't {doing} {}", path.display())]
    Io {
        /// What was being done.
        doing: &'static str,
        /// To which file or directory.
        path: PathBuf,
        /// The system's own error.
        #[source]
        source: io::Error,
    },
}

/// What a slot holds before there is a checkpoint, and how each checkpoint begins.
fn first_line(origin: &str) -> String {
    format!("{origin}\n")
}

fn note<'a>(slot: &'a Slot, first_line: &str) -> Option<&'a str> {
    Some(slot.text.as_str()).filter(|text| text.starts_with(first_line) && text.len() > first_line.len())
}

fn refuse_other_log(dir: &Path, slot: &Slot, first_line: &str) -> Result<(), Error> {
    if slot.text.starts_with(first_line) {
        return Ok(());
    }
    let origin = slot.text.lines().next().unwrap_or_default();
    Err(refused(dir, format!("it is of the log {origin}; name another directory, or the log by that name")))
}

fn check_dir(dir: &Path) -> Result<(), Error> {
    private::check_dir(dir).map_err(private_error(dir, dir))
}

fn open_file(dir: &Path) -> Result<File, Error> {
    let path = dir.join(ANCHOR);
    private::open_to_write(&path).map_err(private_error(dir, &path))
}

fn read(dir: &Path, file: &File) -> Result<Slot, Error> {
    let mut bytes = [0; FILE_BYTES];
    let damaged = || Error::Damaged { dir: dir.to_owned() };
    match file.read_exact_at(&mut bytes, 0) {
        Ok(()) => {}
        Err(short) if short.kind() == ErrorKind::UnexpectedEof => return Err(damaged()),
        Err(source) => return Err(io_error("read", &dir.join(ANCHOR))(source)),
    }
    slots::newest(&bytes).map_err(|unreadable| match unreadable {
        Unreadable::Damaged => damaged(),
        Unreadable::Format => refused(dir, "it has another format; run the version that wrote it"),
    })
}

fn lock(dir: &Path) -> Result<File, Error> {
    let path = dir.join(LOCK);
    let mut options = OpenOptions::new();
    let opened = options.write(true).create(true).truncate(false).mode(0o600).open(&path);
    let lock = opened.map_err(io_error("open", &path))?;
    for _ in 0..LOCK_TRIES {
        match lock.try_lock() {
            Ok(()) => return Ok(lock),
            Err(TryLockError::WouldBlock) => thread::sleep(LOCK_PAUSE),
            Err(TryLockError::Error(source)) => return Err(io_error("lock", &path)(source)),
        }
    }
    Err(Error::InUse { dir: dir.to_owned() })
}

fn sync_directory(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

fn refused(dir: &Path, why: impl Into<String>) -> Error {
    Error::Refused { dir: dir.to_owned(), why: why.into() }
}

fn private_error(dir: &Path, path: &Path) -> impl FnOnce(private::Error) -> Error {
    move |error| match error {
        private::Error::Io { source, .. } if source.kind() == ErrorKind::NotFound => {
            Error::Absent { dir: dir.to_owned() }
        }
        private::Error::Io { doing, source } => io_error(doing, path)(source),
        private::Error::Refused(why) if dir == path => refused(dir, why),
        private::Error::Refused(why) => refused(dir, format!("{}: {why}", path.display())),
    }
}

fn io_error(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Error {
    move |source| Error::Io { doing, path: path.to_owned(), source }
}

const LOCK: &str = "lock";
const ANCHOR: &str = "anchor";
const CREATING: &str = "anchor.creating";
/// The sequence number of a new anchor.
const FIRST: u64 = 1;
/// A process just ended, or about to run another program, may hold the lock a moment longer.
const LOCK_TRIES: u32 = 50;
const LOCK_PAUSE: Duration = Duration::from_millis(20);
const PEEK_TRIES: u32 = 3;
