//! Every file operation of the archive, each a step at which a crash may come.
//!
//! A file is written under its final name only where nobody looks yet, and made durable with many others by one
//! [`Sync`](SyncPoint): a segment has tens of thousands of files, and an fsync of each costs ten times as much as their bytes.
//! What readers go by is replaced by a rename.

#[cfg(test)]
pub(super) mod fuse;

use std::{
    ffi::OsString,
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, ErrorKind, Read, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use super::error::{Error, storage};

/// The directory, and what is done in it. Names are relative to it.
pub(super) struct Files {
    root: PathBuf,
    #[cfg(test)]
    pub(super) fuse: fuse::Fuse,
}

impl Files {
    pub(super) fn new(root: PathBuf) -> Self {
        Self {
            root,
            #[cfg(test)]
            fuse: fuse::Fuse::default(),
        }
    }

    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    pub(super) fn at(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    /// The bytes of a file; `None` if there is none. A file that is longer than `bytes_max` is given a byte too long.
    pub(super) fn read(&self, name: &str, bytes_max: usize) -> Result<Option<Vec<u8>>, Error> {
        let path = self.at(name);
        let limit = u64::try_from(bytes_max).unwrap_or(u64::MAX).saturating_add(1);
        let mut bytes = Vec::new();
        match File::open(&path).and_then(|file| file.take(limit).read_to_end(&mut bytes)) {
            Ok(_) => Ok(Some(bytes)),
            Err(none) if none.kind() == ErrorKind::NotFound => Ok(None),
            Err(e) => Err(storage("read", &path)(e)),
        }
    }

    /// Makes the directory itself.
    pub(super) fn make_root(&self) -> Result<(), Error> {
        self.step("made", &self.root)?;
        match DirBuilder::new().mode(DIRECTORY_MODE).create(&self.root) {
            Err(e) if e.kind() != ErrorKind::AlreadyExists => Err(storage("made", &self.root)(e)),
            Ok(()) | Err(_) => Ok(()),
        }
    }

    /// Writes a new file and the directories above it. Durable with the next sync.
    pub(super) fn write(&self, name: &str, bytes: &[u8]) -> Result<(), Error> {
        let path = self.at(name);
        self.tear(&path, bytes)?;
        self.step("wrote", &path)?;
        let written = create(&path, OpenOptions::new().create_new(true)).and_then(|mut file| file.write_all(bytes));
        written.map_err(storage("wrote", &path))
    }

    /// Puts a file of the top in the place of the one there is. Durable, and there before or after, never in between.
    pub(super) fn replace(&self, name: &str, bytes: &[u8]) -> Result<(), Error> {
        let (path, unfinished) = (self.at(name), self.at(&format!("{name}{UNFINISHED_SUFFIX}")));
        self.tear(&unfinished, bytes)?;
        self.step("wrote", &unfinished)?;
        let written = create(&unfinished, OpenOptions::new().create(true).truncate(true)).and_then(|mut file| {
            file.write_all(bytes)?;
            file.sync_all()
        });
        written.map_err(storage("wrote", &unfinished))?;
        self.step("renamed", &unfinished)?;
        fs::rename(&unfinished, &path).map_err(storage("renamed", &unfinished))?;
        self.sync_root()
    }

    /// Removes a file and says how long it was; `None` if there was none.
    pub(super) fn remove(&self, name: &str) -> Result<Option<u64>, Error> {
        let path = self.at(name);
        let bytes = match fs::symlink_metadata(&path) {
            Ok(metadata) => metadata.len(),
            Err(none) if none.kind() == ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(storage("looked at", &path)(e)),
        };
        self.step("removed", &path)?;
        fs::remove_file(&path).map_err(storage("removed", &path))?;
        Ok(Some(bytes))
    }

    /// Removes a directory of files, if it is there.
    pub(super) fn remove_tree(&self, name: &str) -> Result<(), Error> {
        let path = self.at(name);
        self.step("removed", &path)?;
        match fs::remove_dir_all(&path) {
            Err(e) if e.kind() != ErrorKind::NotFound => Err(storage("removed", &path)(e)),
            Ok(()) | Err(_) => Ok(()),
        }
    }

    /// Removes a directory if it is there and nothing is in it.
    pub(super) fn remove_if_empty(&self, name: &str) -> Result<(), Error> {
        let path = self.at(name);
        self.step("removed", &path)?;
        match fs::remove_dir(&path) {
            Err(e) if !matches!(e.kind(), ErrorKind::NotFound | ErrorKind::DirectoryNotEmpty) => {
                Err(storage("removed", &path)(e))
            }
            Ok(()) | Err(_) => Ok(()),
        }
    }

    /// The names in a directory; none if it is not there.
    pub(super) fn list(&self, name: &str) -> Result<Vec<OsString>, Error> {
        let path = self.at(name);
        let list = || -> io::Result<Vec<_>> { fs::read_dir(&path)?.map(|entry| Ok(entry?.file_name())).collect() };
        match list() {
            Err(none) if none.kind() == ErrorKind::NotFound => Ok(Vec::new()),
            listed => listed.map_err(storage("listed", &path)),
        }
    }

    /// Makes what was renamed or removed at the top durable.
    pub(super) fn sync_root(&self) -> Result<(), Error> {
        self.step("synced", &self.root)?;
        File::open(&self.root).and_then(|root| root.sync_all()).map_err(storage("synced", &self.root))
    }

    /// Makes the name of the directory itself durable.
    pub(super) fn sync_above(&self) -> Result<(), Error> {
        self.step("synced", &self.root)?;
        let sync = || self.root.canonicalize()?.parent().map_or(Ok(()), |above| File::open(above)?.sync_all());
        sync().map_err(storage("synced", &self.root))
    }

    /// To be had before the first of the writes that it is to make durable: it then tells if one of them failed later.
    pub(super) fn sync_point(&self) -> Result<SyncPoint<'_>, Error> {
        let handle = File::open(&self.root).map_err(storage("opened", &self.root))?;
        Ok(SyncPoint { files: self, handle })
    }

    #[cfg(not(test))]
    #[expect(clippy::unused_self, reason = "tests have steps fail")]
    fn step(&self, _doing: &'static str, _file: &Path) -> Result<(), Error> {
        Ok(())
    }

    #[cfg(not(test))]
    #[expect(clippy::unused_self, reason = "tests have writes end in the middle")]
    fn tear(&self, _file: &Path, _bytes: &[u8]) -> Result<(), Error> {
        Ok(())
    }
}

/// Makes durable whatever was done below the directory since it was made. It takes one system call, syncfs, for all of the
/// file system; since Linux 5.8 that call tells of failed writes.
pub(super) struct SyncPoint<'a> {
    files: &'a Files,
    handle: File,
}

impl SyncPoint<'_> {
    pub(super) fn sync(&self) -> Result<(), Error> {
        let root = self.files.root();
        self.files.step("synced", root)?;
        rustix::fs::syncfs(&self.handle).map_err(|e| storage("synced", root)(e.into()))
    }
}

/// Opens a file for writing, and makes the directories above it.
fn create(path: &Path, how: &mut OpenOptions) -> io::Result<File> {
    let mut open = || how.write(true).mode(FILE_MODE).open(path);
    match open() {
        Err(e) if e.kind() == ErrorKind::NotFound => {
            if let Some(above) = path.parent() {
                DirBuilder::new().recursive(true).mode(DIRECTORY_MODE).create(above)?;
            }
            open()
        }
        opened => opened,
    }
}

/// The end of a file's name while it is written.
pub(super) const UNFINISHED_SUFFIX: &str = ".new";
const DIRECTORY_MODE: u32 = 0o700;
const FILE_MODE: u32 = 0o600;
