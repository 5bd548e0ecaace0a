//! The directory that a database lives in: whose it is, who may read it, and that its names survive a power cut.
//!
//! ```text
//! lock              held by the one process that uses the directory
//! format            "privet store 1": written once everything else is there and durable
//! format.creating   instead of it, until then: nothing has been acknowledged yet, and creation starts over
//! tip               how many entries were durable at least
//! recovering        what a recovery under way may need again
//! reserve           room kept back for a full disk; holds nothing
//! db conf snap.* blobs/   sled's own
//! ```
//!
//! Refused, with what to do: a directory with anything else in it and no `format`, one open to other users, one in use,
//! another format, a `format` whose database is gone (sled would quietly begin an empty one), and any blob.

use std::{
    ffi::OsStr,
    fs::{self, DirBuilder, File, OpenOptions, TryLockError},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
    thread,
};

use rustix::fs::{Advice, fadvise};

use super::{LOCK_PAUSE, LOCK_TRIES, recovery::RECOVERING, reserve::RESERVE, storage, tip::TIP};
use crate::store::Error;

/// What a directory holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Contents {
    /// A complete store.
    Store,
    /// Nothing that anybody could miss.
    Nothing,
}

/// A directory held by this process alone.
pub(super) struct Directory {
    path: PathBuf,
    _lock: File,
}

impl Directory {
    /// Makes the directory if it is missing, and takes it.
    pub(super) fn take(path: &Path) -> Result<Self, Error> {
        create_if_missing(path)?;
        // Not a file is written to a directory that is somebody else's.
        refuse_no_directory(path)?;
        classify(path)?;
        refuse_open_to_others(path)?;
        let lock = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(FILE_MODE)
            .open(path.join(LOCK))
            .map_err(|e| storage("opened the lock of the data directory", e))?;
        for _ in 0..LOCK_TRIES {
            match lock.try_lock() {
                Ok(()) => return Ok(Self { path: path.to_owned(), _lock: lock }),
                Err(TryLockError::WouldBlock) => thread::sleep(LOCK_PAUSE),
                Err(TryLockError::Error(e)) => return Err(storage("locked the data directory", e)),
            }
        }
        Err(in_use(path))
    }

    /// Brings the directory to a state that sled may open.
    pub(super) fn prepare(&self) -> Result<Contents, Error> {
        let contents = classify(&self.path)?;
        match contents {
            Contents::Nothing => self.start_over()?,
            Contents::Store => {
                self.refuse_missing_database()?;
                self.refuse_blobs()?;
                self.remove_unfinished_snapshots()?;
            }
        }
        Ok(contents)
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// A handle of sled's file of our own, to sync it with.
    pub(super) fn database_file(&self) -> Result<File, Error> {
        let opened = OpenOptions::new().read(true).write(true).open(self.path.join(DATABASE));
        opened.map_err(|e| storage("opened the database file", e))
    }

    /// The same, if there is one yet.
    pub(super) fn database_if_there(&self) -> io::Result<Option<File>> {
        match OpenOptions::new().read(true).write(true).open(self.path.join(DATABASE)) {
            Err(none) if none.kind() == io::ErrorKind::NotFound => Ok(None),
            opened => opened.map(Some),
        }
    }

    /// Makes every name in the directory durable.
    pub(super) fn sync_names(&self) -> io::Result<()> {
        sync_directory(&self.path)
    }

    /// Makes every file and every name in the directory durable.
    pub(super) fn sync(&self) -> Result<(), Error> {
        let sync_all = || -> io::Result<()> {
            for entry in fs::read_dir(&self.path)? {
                let path = entry?.path();
                match File::open(&path) {
                    Ok(file) => file.sync_all()?,
                    Err(gone) if gone.kind() == io::ErrorKind::NotFound => {}
                    Err(e) => return Err(e),
                }
            }
            sync_directory(&self.path)
        };
        sync_all().map_err(|e| storage("synced the data directory", e))
    }

    /// Makes the kernel forget what it holds of sled's file, so that what is read next comes from the disk.
    ///
    /// After a failed sync it may go on giving out pages that it calls clean and that never reached the disk. A start that
    /// believes them would go on from a state that the next power cut takes away.
    pub(super) fn forget_cached(&self) -> Result<(), Error> {
        let forget = || -> io::Result<()> {
            let Some(file) = self.database_if_there()? else { return Ok(()) };
            // Only clean pages are forgotten.
            file.sync_all()?;
            Ok(fadvise(&file, 0, None, Advice::DontNeed)?)
        };
        forget().map_err(|e| storage("looked past the cache of the database file", e))
    }

    /// Says that the store is complete. Everything else is durable already.
    pub(super) fn mark_complete(&self) -> Result<(), Error> {
        let mark = || {
            fs::rename(self.path.join(CREATING), self.path.join(FORMAT))?;
            sync_directory(&self.path)
        };
        mark().map_err(|e| storage("marked the data directory", e))
    }

    pub(super) fn in_use(&self) -> Error {
        in_use(&self.path)
    }

    /// Removes what a creation that was cut short left behind, and begins a new one.
    fn start_over(&self) -> Result<(), Error> {
        let start = || -> io::Result<()> {
            for entry in fs::read_dir(&self.path)? {
                let entry = entry?;
                let name = entry.file_name();
                if name == BLOBS {
                    fs::remove_dir(entry.path())?;
                } else if LEFTOVERS.iter().any(|known| name == *known) || is_snapshot(&name) {
                    fs::remove_file(entry.path())?;
                }
            }
            let marker = self.path.join(CREATING);
            let mut file = OpenOptions::new().write(true).create_new(true).mode(FILE_MODE).open(marker)?;
            file.write_all(FORMAT_TEXT.as_bytes())?;
            file.sync_all()?;
            sync_directory(&self.path)?;
            self.path.canonicalize()?.parent().map_or(Ok(()), sync_directory)
        };
        start().map_err(|e| storage("prepared the data directory", e))
    }

    fn refuse_missing_database(&self) -> Result<(), Error> {
        match fs::metadata(self.path.join(DATABASE)) {
            Ok(metadata) if metadata.len() > 0 => Ok(()),
            Ok(_) => Err(Error::Damaged { what: "the database file is empty".to_owned() }),
            Err(gone) if gone.kind() == io::ErrorKind::NotFound => {
                Err(Error::Damaged { what: "the database file is missing".to_owned() })
            }
            Err(e) => Err(storage("looked for the database file", e)),
        }
    }

    /// sled never syncs a blob, so what one holds may be lost already.
    fn refuse_blobs(&self) -> Result<(), Error> {
        let mut blobs = match fs::read_dir(self.path.join(BLOBS)) {
            Ok(blobs) => blobs,
            Err(gone) if gone.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(e) => return Err(storage("looked for blobs", e)),
        };
        match blobs.next() {
            None => Ok(()),
            Some(_) => Err(Error::Refused(format!(
                "{} holds files, which privet never writes: restore the data directory from a backup",
                self.path.join(BLOBS).display()
            ))),
        }
    }

    /// A crash can leave a half-written snapshot under its working name. sled would take it for the newest one, find it
    /// corrupt and never open again; the one before it is still there.
    fn remove_unfinished_snapshots(&self) -> Result<(), Error> {
        let remove = || -> io::Result<()> {
            for entry in fs::read_dir(&self.path)? {
                let entry = entry?;
                let name = entry.file_name();
                if is_snapshot(&name) && name.to_string_lossy().ends_with(UNFINISHED_SUFFIX) {
                    fs::remove_file(entry.path())?;
                }
            }
            Ok(())
        };
        remove().map_err(|e| storage("removed an unfinished snapshot", e))
    }
}

/// Whether a store was completed here once.
pub(super) fn is_marked(path: &Path) -> Result<bool, Error> {
    path.join(FORMAT).try_exists().map_err(|e| storage("looked for a data directory", e))
}

fn create_if_missing(path: &Path) -> Result<(), Error> {
    match DirBuilder::new().mode(DIRECTORY_MODE).create(path) {
        Ok(()) => Ok(()),
        Err(there) if there.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(above) if above.kind() == io::ErrorKind::NotFound => Err(Error::Refused(format!(
            "the data directory {} can't be made, because the directory it lies in is missing: make that first",
            path.display()
        ))),
        Err(e) => Err(storage("made the data directory", e)),
    }
}

fn refuse_no_directory(path: &Path) -> Result<(), Error> {
    if path.is_dir() {
        return Ok(());
    }
    Err(Error::Refused(format!("{} is not a directory: name another data directory", path.display())))
}

fn refuse_open_to_others(path: &Path) -> Result<(), Error> {
    let metadata = fs::metadata(path).map_err(|e| storage("looked at the data directory", e))?;
    if metadata.mode() & OTHERS_MODE != 0 {
        return Err(Error::Refused(format!(
            "the data directory {0} is open to other users: run `chmod 700 {0}`",
            path.display()
        )));
    }
    Ok(())
}

fn classify(path: &Path) -> Result<Contents, Error> {
    match fs::read(path.join(FORMAT)) {
        Ok(text) if text == FORMAT_TEXT.as_bytes() => return Ok(Contents::Store),
        Ok(text) if text.starts_with(FORMAT_NAME.as_bytes()) => {
            return Err(Error::Refused(format!(
                "{} has another format than this privet reads: run the version that wrote it",
                path.display()
            )));
        }
        Ok(_) => return Err(not_ours(path)),
        Err(none) if none.kind() == io::ErrorKind::NotFound => {}
        Err(e) => return Err(storage("read the format of the data directory", e)),
    }
    let names = || -> io::Result<Vec<_>> { fs::read_dir(path)?.map(|entry| Ok(entry?.file_name())).collect() };
    let names = names().map_err(|e| storage("listed the data directory", e))?;
    if names.iter().any(|name| name == CREATING) || names.iter().all(|name| name == LOCK) {
        return Ok(Contents::Nothing);
    }
    Err(not_ours(path))
}

fn is_snapshot(name: &OsStr) -> bool {
    name.to_string_lossy().starts_with(SNAPSHOT_PREFIX)
}

fn not_ours(path: &Path) -> Error {
    Error::Refused(format!(
        "{} holds files that are not a privet store: name an empty directory, or one that does not exist yet; if it is a store, put back its file {FORMAT}",
        path.display()
    ))
}

fn in_use(path: &Path) -> Error {
    Error::Refused(format!(
        "the data directory {} is in use by another process: stop that process, or name another directory",
        path.display()
    ))
}

fn sync_directory(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

const LOCK: &str = "lock";
const FORMAT: &str = "format";
const CREATING: &str = "format.creating";
const FORMAT_NAME: &str = "privet store ";
const FORMAT_TEXT: &str = "privet store 1\n";
const DATABASE: &str = "db";
/// What a creation that was cut short leaves, beside snapshots and an empty `blobs`.
const LEFTOVERS: [&str; 6] = [CREATING, DATABASE, TIP, RECOVERING, RESERVE, "conf"];
const BLOBS: &str = "blobs";
const SNAPSHOT_PREFIX: &str = "snap.";
const UNFINISHED_SUFFIX: &str = ".generating";
const DIRECTORY_MODE: u32 = 0o700;
pub(super) const FILE_MODE: u32 = 0o600;
const OTHERS_MODE: u32 = 0o077;
