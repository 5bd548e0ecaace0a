//! The [`Store`] on a local sled database: one directory, one process, one tree.
//!
//! sled alone keeps neither of the port's two hard promises, so this file does what sled leaves out:
//!
//! * `flush` hands bytes to the kernel and never syncs them. A commit is `flush`, then `fdatasync` on our own handle of the
//!   same file, then the answer.
//! * Large pages go to files under `blobs/` that are never synced. The segment size is chosen so that the largest page that
//!   the port's bounds allow stays out of there, and a directory with a blob in it is refused.
//! * A recovery that is cut off can take acknowledged batches with it. What it may need again is kept until it is durable.
//! * A full disk fails in the middle of a write. A reserve of 64 MiB is kept beside the database, and room is scarce before
//!   the disk is full.
//! * Each call of sled is consistent, several in a row are not. A read of several slots excludes commits while it runs.
//!
//! It refuses a directory that is not its own, is open to other users, is in use, or has another format.
//!
//! INVARIANT: after a commit that failed or a panic inside sled nothing is written any more. The kernel reports a failed
//! sync once and then forgets it, so a second try could succeed without the bytes.
//!
//! What it can't do: sled takes damage for a torn write wherever it can, and goes on without what follows. A number of
//! entries kept beside the database tells when the newest batches went that way. Whether the entries before are
//! all there, and are the ones that were written, is for the log's own hashes to say.

use std::{
    fs::File,
    ops::Range,
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
    sync::{
        Arc, Mutex, PoisonError, RwLock,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use self::{
    directory::{Contents, Directory},
    reserve::Reserve,
    tip::Tip,
};
use super::{Batch, Commit, Direction, Effect, Error, Head, Reading, Room, Slot, Space, Store};

mod directory;
mod recovery;
mod reserve;
mod tip;

/// A store in a directory of this machine.
pub struct SledStore(Arc<Database>);

impl SledStore {
    /// Opens the store in `path`, and makes it if there is nothing there yet: the directory may be missing (its parent may
    /// not) or empty.
    ///
    /// # Errors
    /// [`Error::Refused`] for a directory that can't be used as it is, [`Error::Damaged`] if what is stored does not open,
    /// [`Error::Storage`] if reading or writing fails.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let directory = Directory::take(path)?;
        let contents = directory.prepare()?;
        let reserve = Reserve::open(directory.path())?;
        directory.forget_cached()?;
        recovery::prepare(&directory)?;
        let tree = open_tree(&directory)?;
        let file = directory.database_file()?;
        let tip = Tip::open(directory.path())?;
        // sled syncs none of the names and only some of the files that it makes while it opens.
        directory.sync()?;
        recovery::done(&directory)?;
        let head = match contents {
            Contents::Store => read_head(&tree)?,
            Contents::Nothing => Head::default(),
        };
        tip.refuse_older(head.entries)?;
        let database = Database {
            tree: Some(tree),
            file,
            tip,
            reserve,
            whole_batches: RwLock::new(()),
            writer: Mutex::new(()),
            head: Mutex::new(head.clone()),
            failed: AtomicBool::new(false),
            directory,
        };
        if contents == Contents::Nothing {
            database.write(&Batch { head, effects: Vec::new() })?;
            database.directory.mark_complete()?;
        }
        Ok(Self(Arc::new(database)))
    }

    /// Whether there is a store in `path`, whatever is left of it. Looks, and changes nothing.
    ///
    /// # Errors
    /// [`Error::Storage`].
    pub fn is_there(path: &Path) -> Result<bool, Error> {
        directory::is_marked(path)
    }

    /// How many bytes the database takes on disk. One system call.
    ///
    /// # Errors
    /// [`Error::Storage`].
    pub fn bytes_on_disk(&self) -> Result<u64, Error> {
        self.0.file.metadata().map(|metadata| metadata.len()).map_err(|e| storage("measured the database", e))
    }

    fn on_blocking_pool<'a, T: Send + 'static>(
        &self,
        job: impl FnOnce(&::sled::Tree) -> ::sled::Result<T> + Send + 'static,
    ) -> Reading<'a, T> {
        let database = Arc::clone(&self.0);
        Box::pin(async move {
            match tokio::task::spawn_blocking(move || database.read(job)).await {
                Ok(outcome) => outcome,
                Err(stopped) => Err(storage("waited for a read", stopped)),
            }
        })
    }
}

impl Store for SledStore {
    fn head(&self) -> Result<Head, Error> {
        self.0.refuse_if_failed()?;
        Ok(self.0.head.lock().unwrap_or_else(PoisonError::into_inner).clone())
    }

    fn read<'a>(&'a self, slots: &'a [Slot]) -> Reading<'a, Vec<Option<Vec<u8>>>> {
        let keys: Vec<Vec<u8>> = slots.iter().map(|slot| stored_key(slot.space, &slot.key)).collect();
        self.on_blocking_pool(move |tree| {
            keys.iter().map(|key| Ok(tree.get(key)?.map(|value| value.to_vec()))).collect()
        })
    }

    fn scan<'a>(
        &'a self,
        space: Space,
        keys: Range<Vec<u8>>,
        direction: Direction,
        limit: usize,
    ) -> Reading<'a, Vec<(Vec<u8>, Vec<u8>)>> {
        if keys.start >= keys.end {
            return Box::pin(async { Ok(Vec::new()) });
        }
        let keys = stored_key(space, &keys.start)..stored_key(space, &keys.end);
        self.on_blocking_pool(move |tree| {
            // sled looks at a page of memory again, to give it up, only after 64 reads in its 256th part of all pages: leaves
            // that are read once each would fill memory by the hundred megabytes. So each value is read by itself.
            let row = |key: ::sled::Result<::sled::IVec>| -> ::sled::Result<Option<(Vec<u8>, Vec<u8>)>> {
                let key = key?;
                let value = tree.get(&key)?;
                Ok(value.map(|value| (key.iter().skip(SPACE_BYTES).copied().collect(), value.to_vec())))
            };
            let found = tree.range(keys).keys();
            match direction {
                Direction::Ascending => found.take(limit).filter_map(|key| row(key).transpose()).collect(),
                Direction::Descending => found.rev().take(limit).filter_map(|key| row(key).transpose()).collect(),
            }
        })
    }

    /// See [`Store::commit`]. A batch is known by its head: one whose head is the newest already is there, and committing it
    /// again answers [`Commit::Committed`]. Never answers [`Commit::Unknown`].
    fn commit(&self, base: &Head, batch: &Batch) -> Result<Commit, Error> {
        batch.check_bounds()?;
        let _writer = self.0.writer.lock().unwrap_or_else(PoisonError::into_inner);
        let newest = self.head()?;
        if newest != *base {
            return Ok(if newest == batch.head { Commit::Committed } else { Commit::Moved(newest) });
        }
        self.0.write(batch)?;
        *self.0.head.lock().unwrap_or_else(PoisonError::into_inner) = batch.head.clone();
        Ok(Commit::Committed)
    }

    fn room(&self) -> Result<Room, Error> {
        self.0.reserve.room()
    }

    fn release_reserve(&self) -> Result<(), Error> {
        self.0.reserve.release()
    }
}

/// What reads and the writer share.
struct Database {
    /// `None` only while it is dropped.
    tree: Option<::sled::Db>,
    /// Our own handle of sled's file, to sync it.
    file: File,
    tip: Tip,
    reserve: Reserve,
    /// Held shared by a read, and alone while a batch becomes visible.
    whole_batches: RwLock<()>,
    /// Held through a commit.
    writer: Mutex<()>,
    /// The newest durable head; never held while waiting for the disk.
    head: Mutex<Head>,
    /// Set for good by a failed commit or a panic inside sled.
    failed: AtomicBool,
    /// Holds the lock on the directory; dropped last.
    directory: Directory,
}

impl Database {
    fn write(&self, batch: &Batch) -> Result<(), Error> {
        let outcome = self.no_panic(|| self.make_durable(batch));
        let outcome = outcome.unwrap_or_else(|panicked| Err(storage("wrote a batch", panicked)));
        if outcome.is_err() {
            self.failed.store(true, Ordering::SeqCst);
        }
        outcome
    }

    fn make_durable(&self, batch: &Batch) -> Result<(), Error> {
        let writes = stored_batch(batch);
        let tree = self.tree()?;
        {
            let _alone = self.whole_batches.write().unwrap_or_else(PoisonError::into_inner);
            tree.apply_batch(writes).map_err(|e| sled_error("wrote a batch", e))?;
        }
        tree.flush().map_err(|e| sled_error("flushed a batch", e))?;
        self.file.sync_data().map_err(|e| storage("synced a batch", e))?;
        self.tip.note(batch.head.entries)
    }

    fn read<T>(&self, job: impl FnOnce(&::sled::Tree) -> ::sled::Result<T>) -> Result<T, Error> {
        let outcome = self.no_panic(|| {
            let _shared = self.whole_batches.read().unwrap_or_else(PoisonError::into_inner);
            job(self.tree()?).map_err(|e| sled_error("read", e))
        });
        outcome.unwrap_or_else(|Panicked| Err(Error::Damaged { what: "a page can't be read".to_owned() }))
    }

    /// sled panics where it meets damage it does not expect, and is in no known state afterwards.
    fn no_panic<T>(&self, job: impl FnOnce() -> T) -> Result<T, Panicked> {
        catch_unwind(AssertUnwindSafe(job)).map_err(|_panic| {
            self.failed.store(true, Ordering::SeqCst);
            Panicked
        })
    }

    fn refuse_if_failed(&self) -> Result<(), Error> {
        if self.failed.load(Ordering::SeqCst) {
            return Err(storage("was in use", FailedBefore));
        }
        Ok(())
    }

    fn tree(&self) -> Result<&::sled::Db, Error> {
        self.tree.as_ref().ok_or_else(|| storage("was in use", FailedBefore))
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        // sled syncs once more when it closes, and panics if that fails. Everything acknowledged is durable already.
        let tree = self.tree.take();
        let _closed = catch_unwind(AssertUnwindSafe(|| drop(tree)));
    }
}

fn open_tree(directory: &Directory) -> Result<::sled::Db, Error> {
    let config = ::sled::Config::new()
        .path(directory.path())
        .cache_capacity(CACHE_BYTES)
        .segment_size(SEGMENT_BYTES)
        .flush_every_ms(None);
    for _ in 0..LOCK_TRIES {
        match catch_unwind(AssertUnwindSafe(|| config.open())) {
            Ok(Ok(tree)) => return Ok(tree),
            // The directory is ours alone, so it is a thread of a store just closed in this process that still holds it.
            Ok(Err(::sled::Error::Io(e))) if e.to_string().contains("could not acquire lock") => {
                thread::sleep(LOCK_PAUSE);
            }
            Ok(Err(::sled::Error::Unsupported(what))) => {
                return Err(Error::Refused(format!(
                    "the database in {} was not written by this version of privet ({what}): run the version that wrote it",
                    directory.path().display()
                )));
            }
            Ok(Err(e)) => return Err(sled_error("opened the database", e)),
            Err(_panic) => return Err(Error::Damaged { what: "the database does not open".to_owned() }),
        }
    }
    Err(directory.in_use())
}

fn read_head(tree: &::sled::Tree) -> Result<Head, Error> {
    let damaged = |what: &str| Error::Damaged { what: what.to_owned() };
    let stored = catch_unwind(AssertUnwindSafe(|| tree.get(HEAD_KEY)))
        .map_err(|_panic| damaged("the head can't be read"))?
        .map_err(|e| sled_error("read the head", e))?
        .ok_or_else(|| damaged("the head is missing"))?;
    let (version, rest) = stored.split_first().ok_or_else(|| damaged("the head is empty"))?;
    if *version != HEAD_VERSION {
        return Err(Error::Refused(format!(
            "the store has format {version} and this privet reads format {HEAD_VERSION}: run the version that wrote it"
        )));
    }
    let (entries, state) = rest.split_first_chunk().ok_or_else(|| damaged("the head is cut short"))?;
    Ok(Head { entries: u64::from_be_bytes(*entries), state: state.to_vec() })
}

fn stored_batch(batch: &Batch) -> ::sled::Batch {
    let mut writes = ::sled::Batch::default();
    for Effect { slot, value } in &batch.effects {
        let key = stored_key(slot.space, &slot.key);
        match value {
            Some(value) => writes.insert(key, value.as_slice()),
            None => writes.remove(key),
        }
    }
    let head = [&[HEAD_VERSION], batch.head.entries.to_be_bytes().as_slice(), &batch.head.state].concat();
    writes.insert(HEAD_KEY, head);
    writes
}

fn stored_key(space: Space, key: &[u8]) -> Vec<u8> {
    [&[space as u8], key].concat()
}

fn sled_error(doing: &'static str, error: ::sled::Error) -> Error {
    match error {
        ::sled::Error::Corruption { .. } => {
            Error::Damaged { what: format!("a page is corrupt (found while it {doing})") }
        }
        error @ (::sled::Error::CollectionNotFound(_)
        | ::sled::Error::Unsupported(_)
        | ::sled::Error::ReportableBug(_)
        | ::sled::Error::Io(_)) => storage(doing, error),
    }
}

fn storage(doing: &'static str, source: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::Storage { doing, source: Box::new(source) }
}

#[derive(Debug, thiserror::Error)]
#[error("the database panicked")]
struct Panicked;

#[derive(Debug, thiserror::Error)]
#[error("an earlier failure stopped the store")]
struct FailedBefore;

/// Lies before every space.
const HEAD_KEY: &[u8] = b"\0head";
/// The format of keys, values and head.
const HEAD_VERSION: u8 = 1;
const SPACE_BYTES: usize = 1;
/// A soft limit on pages in memory; scans exceed it.
const CACHE_BYTES: u64 = 48 << 20;
/// sled moves a page of more than a quarter of this to `blobs/`. A leaf holds at most 17 values, or 21 while it takes in a
/// neighbour: 21 of the longest keys and values are 171 KB, under 256 KiB. sled's own default of 512 KiB is too small.
const SEGMENT_BYTES: usize = 1 << 20;
/// A store just closed, and a process just ended or about to run another program, may hold a lock a moment longer.
const LOCK_TRIES: u32 = 50;
const LOCK_PAUSE: Duration = Duration::from_millis(20);
