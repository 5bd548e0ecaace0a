//! The files in which verifications are remembered: one for each log and tenant, written whole or not at all, 0600.

use std::{
    env,
    fs::{self, Metadata},
    io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use ring::digest::{SHA256, digest};
use serde::{Deserialize, Serialize};

use super::super::super::{failure::Failure, files};
use crate::{audit::verify::State, id::Tenant};

/// Where one verification is remembered.
pub(super) struct Memory {
    file: PathBuf,
}

/// What is remembered.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Saved {
    /// What was proven.
    pub(super) verified: State,
    /// How far the file was read when the verification was broken off.
    pub(super) unfinished: Option<Unfinished>,
}

/// A place in a file, and the file: one that was changed since is another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Unfinished {
    device: u64,
    inode: u64,
    bytes: u64,
    changed: (i64, i64),
    /// Where the next line begins.
    pub(super) offset: u64,
    /// The number of the line before.
    pub(super) line: u64,
}

impl Unfinished {
    /// A place in a file.
    pub(super) fn new(file: &Metadata, offset: u64, line: u64) -> Self {
        // When it changed last: unlike when it was written, that is nothing to be set at will.
        let changed = (file.ctime(), file.ctime_nsec());
        Self { device: file.dev(), inode: file.ino(), bytes: file.size(), changed, offset, line }
    }

    /// Whether this is a place in that file.
    pub(super) fn is_in(&self, file: &Metadata) -> bool {
        *self == Self::new(file, self.offset, self.line)
    }
}

impl Memory {
    /// The memory of a tenant's view of a log.
    pub(super) fn of(dir: &Path, origin: &str, tenant: &Tenant) -> Self {
        let named = digest(&SHA256, format!("{origin}\n{tenant}").as_bytes());
        let named = hex::encode(named.as_ref().first_chunk::<8>().unwrap_or(&[0; 8]));
        Self { file: dir.join(format!("verified-{tenant}-{named}.json")) }
    }

    /// Its file.
    pub(super) fn file(&self) -> &Path {
        &self.file
    }

    /// What is remembered, if anything is.
    pub(super) fn read(&self) -> Result<Option<Saved>, Failure> {
        let bytes = match fs::read(&self.file) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(Failure::usage(format!("{}: {error}", self.file.display()))),
        };
        serde_json::from_slice(&bytes).map(Some).map_err(|error| {
            Failure::usage(format!("{}: what was remembered is damaged: {error}", self.file.display()))
                .hint(DAMAGED_HINT)
        })
    }

    /// Remembers.
    pub(super) fn write(&self, verified: State, unfinished: Option<Unfinished>) -> Result<(), Failure> {
        let failed = |error: &dyn std::fmt::Display| Failure::unavailable(format!("can't be remembered: {error:#}"));
        let mut text = serde_json::to_vec(&Saved { verified, unfinished }).map_err(|error| failed(&error))?;
        text.push(b'\n');
        let dir = self.file.parent().unwrap_or(Path::new("."));
        files::make_dir(dir).and_then(|()| files::replace(&self.file, &text)).map_err(|error| failed(&error))
    }
}

/// `$XDG_STATE_HOME/privet`, by default `~/.local/state/privet`.
pub(super) fn default_dir() -> Result<PathBuf, Failure> {
    // The specification has relative paths ignored.
    let set = |name| env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let base = set("XDG_STATE_HOME").or_else(|| Some(set("HOME")?.join(".local/state")));
    base.map(|base| base.join("privet"))
        .ok_or_else(|| Failure::usage("there is no home directory to remember in: give --state DIR"))
}

/// What to do about a damaged memory.
pub(super) const DAMAGED_HINT: &str = "--fresh begins anew; ask yourself first who could have changed it";
