//! Files and directories that are this user's alone, for what is believed without another proof: keys, and where the log
//! stood.
//!
//! Refused: another owner, a file that group or others may touch, a directory that they may write, a symbolic link, and what
//! is no regular file. A file is checked once it is open, so that nobody can swap it in between.

use std::{
    fs::{self, File},
    io,
    os::unix::fs::MetadataExt,
    path::Path,
};

use rustix::fs::{Mode, OFlags};

/// Why a file or a directory is not used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It is not this user's alone. The text says what is wrong, and what to do where that is clear.
    #[error("{0}")]
    Refused(&'static str),
    /// The file system failed.
    #[error("can't {doing} it")]
    Io {
        /// What was being done.
        doing: &'static str,
        /// The system's own error; [`io::ErrorKind::NotFound`] if nothing is there.
        #[source]
        source: io::Error,
    },
}

/// Opens a file to read.
///
/// # Errors
/// [`Error`].
pub fn open(path: &Path) -> Result<File, Error> {
    open_with(path, OFlags::RDONLY)
}

/// Opens a file to read and to write. Never makes one.
///
/// # Errors
/// [`Error`].
pub fn open_to_write(path: &Path) -> Result<File, Error> {
    open_with(path, OFlags::RDWR)
}

/// Checks a directory: who may put files into it may put there what will be believed.
///
/// # Errors
/// [`Error`].
pub fn check_dir(path: &Path) -> Result<(), Error> {
    let meta = fs::metadata(path).map_err(io_error("inspect"))?;
    if !meta.is_dir() {
        return Err(Error::Refused("it is not a directory"));
    }
    if meta.uid() != rustix::process::geteuid().as_raw() {
        return Err(Error::Refused("the directory belongs to another user"));
    }
    if meta.mode() & 0o022 != 0 {
        return Err(Error::Refused("group or others may write to the directory; chmod it to 0700"));
    }
    Ok(())
}

fn open_with(path: &Path, access: OFlags) -> Result<File, Error> {
    // NONBLOCK so that a named pipe can't hold the start up.
    let flags = access | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = match rustix::fs::open(path, flags, Mode::empty()) {
        Ok(fd) => File::from(fd),
        Err(rustix::io::Errno::LOOP) => return Err(Error::Refused("it is a symbolic link")),
        Err(source) => return Err(io_error("open")(source.into())),
    };
    let meta = file.metadata().map_err(io_error("inspect"))?;
    if !meta.is_file() {
        return Err(Error::Refused("it is not a regular file"));
    }
    if meta.uid() != rustix::process::geteuid().as_raw() {
        return Err(Error::Refused("it belongs to another user"));
    }
    if meta.mode() & 0o077 != 0 {
        return Err(Error::Refused("group or others have access to it; chmod it to 0600"));
    }
    Ok(file)
}

fn io_error(doing: &'static str) -> impl FnOnce(io::Error) -> Error {
    move |source| Error::Io { doing, source }
}
