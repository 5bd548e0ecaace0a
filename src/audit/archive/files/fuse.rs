//! In tests: the process dies at a given step.

use std::{
    fs::OpenOptions,
    io::{self, Write},
    path::Path,
    sync::atomic::{AtomicU64, Ordering},
};

use super::{Error, Files, create, storage};

/// How many steps are left. Once there are none every step fails, as for a process that is dead.
pub(in crate::audit::archive) struct Fuse(AtomicU64);

impl Default for Fuse {
    fn default() -> Self {
        Self(AtomicU64::new(u64::MAX))
    }
}

impl Fuse {
    pub(in crate::audit::archive) fn set(&self, steps: u64) {
        self.0.store(steps, Ordering::Relaxed);
    }

    /// Whether it has blown.
    pub(in crate::audit::archive) fn is_blown(&self) -> bool {
        self.0.load(Ordering::Relaxed) == 0
    }
}

impl Files {
    pub(super) fn step(&self, doing: &'static str, file: &Path) -> Result<(), Error> {
        let left = self.fuse.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |steps| steps.checked_sub(1));
        left.map(drop).map_err(|_| storage(doing, file)(io::Error::from_raw_os_error(5)))
    }

    /// The step in the middle of a write.
    pub(super) fn tear(&self, file: &Path, bytes: &[u8]) -> Result<(), Error> {
        self.step("wrote", file)?;
        if self.fuse.is_blown() {
            let half = bytes.get(..bytes.len() / 2).unwrap_or_default();
            create(file, OpenOptions::new().create(true).truncate(true))
                .and_then(|mut file| file.write_all(half))
                .map_err(storage("wrote", file))?;
        }
        Ok(())
    }
}
