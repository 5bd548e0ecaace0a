//! The directory that an archive lies in: whose it is, and who may read it.
//!
//! Refused, with what to do: a directory with anything else in it and no `format`, one open to other users, another format,
//! the archive of another log, and an empty one where something was sealed.

use std::{fs, io::ErrorKind, os::unix::fs::MetadataExt, path::Path};

use super::{
    CHECKPOINT,
    due::{DUE, DUE_SUBJECTS},
    error::{Error, storage},
    files::{Files, UNFINISHED_SUFFIX},
    marker::MARKER,
};
use crate::audit::checkpoint::ORIGIN_BYTES_MAX;

/// Takes the archive of this log, or makes it if nothing is sealed yet. What a crash left half-written at the top is removed.
pub(super) fn take(files: &Files, origin: &str, sealed_end: u64) -> Result<(), Error> {
    let root = files.root();
    match fs::metadata(root) {
        Ok(metadata) if !metadata.is_dir() => {
            return Err(Error::Refused(format!(
                "{} is not a directory: move it away, or put back the archive",
                root.display()
            )));
        }
        Ok(metadata) => refuse_open_to_others(root, metadata.mode())?,
        Err(none) if none.kind() == ErrorKind::NotFound => {
            refuse_gone(root, sealed_end)?;
            files.make_root()?;
        }
        Err(e) => return Err(storage("looked at", root)(e)),
    }
    let expected = format!("{FORMAT_NAME}{FORMAT_VERSION}\n{origin}\n");
    match files.read(FORMAT, expected.len().max(FORMAT_BYTES_MAX))? {
        Some(text) if text == expected.as_bytes() => {}
        Some(text) => return Err(not_this_one(root, &text)),
        None => {
            refuse_foreign(files)?;
            refuse_gone(root, sealed_end)?;
            files.replace(FORMAT, expected.as_bytes())?;
            files.sync_above()?;
        }
    }
    for name in [FORMAT, CHECKPOINT, MARKER, DUE, DUE_SUBJECTS] {
        files.remove(&format!("{name}{UNFINISHED_SUFFIX}"))?;
    }
    Ok(())
}

fn refuse_open_to_others(root: &Path, mode: u32) -> Result<(), Error> {
    if mode & OTHERS_MODE == 0 {
        return Ok(());
    }
    Err(Error::Refused(format!("the archive {0} is open to other users: run `chmod 700 {0}`", root.display())))
}

fn refuse_gone(root: &Path, sealed_end: u64) -> Result<(), Error> {
    if sealed_end == 0 {
        return Ok(());
    }
    Err(Error::Refused(format!(
        "the archive {} is gone, and the first {sealed_end} entries of the log with it: put it back from a backup",
        root.display()
    )))
}

/// Everything but what the making of an archive leaves if it is cut short.
fn refuse_foreign(files: &Files) -> Result<(), Error> {
    let making = format!("{FORMAT}{UNFINISHED_SUFFIX}");
    match files.list("")?.iter().find(|name| name.to_str() != Some(&making)) {
        None => Ok(()),
        Some(name) => Err(Error::Refused(format!(
            "{} is not an archive of privet's and holds {}: move that away, or put back the archive's file {FORMAT}",
            files.root().display(),
            name.display()
        ))),
    }
}

fn not_this_one(root: &Path, format: &[u8]) -> Error {
    let text = String::from_utf8_lossy(format);
    let what = match text.strip_prefix(FORMAT_NAME).and_then(|rest| rest.split_once('\n')) {
        Some((FORMAT_VERSION, origin)) => {
            format!("is the archive of the log {:?}: put back the one of this log", origin.trim_end())
        }
        Some(_) => "has another format than this privet reads: run the version that wrote it".to_owned(),
        None => format!("has a damaged {FORMAT}: put that file back from a backup"),
    };
    Error::Refused(format!("the archive {} {what}", root.display()))
}

const FORMAT: &str = "format";
const FORMAT_NAME: &str = "privet archive ";
const FORMAT_VERSION: &str = "1";
const FORMAT_BYTES_MAX: usize = 64 + ORIGIN_BYTES_MAX;
const OTHERS_MODE: u32 = 0o077;
