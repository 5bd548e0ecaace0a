//! Where an anchor may lie: on another device than the store. On the same one, whoever puts back an older copy of it puts back
//! both, and nothing is noticed.

use std::{
    fs, io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use crate::config::Config;

/// A configuration whose anchor does not do what an anchor is for. The text names the key that accepts it.
#[derive(Debug, thiserror::Error)]
pub enum Misplaced {
    /// There is none.
    #[error(
        "log.anchor.dir is missing: nothing notices if an older copy of the store is put back and the newest entries are gone; name a directory on another device, or accept that with `danger_no_anchor = true` in [log]"
    )]
    Nowhere,
    /// It is on the store's device.
    #[error(
        "log.anchor.dir: {} is on the store's device: who puts back an older copy of that device puts back both, and nothing is noticed; name a directory on another device, or accept that with `danger_anchor_on_same_device = true` in [log]",
        dir.display()
    )]
    SameDevice {
        /// Where the anchor would lie.
        dir: PathBuf,
    },
    /// Which devices they are on can't be told.
    #[error("the devices of log.anchor.dir {} and store.dir can't be told", dir.display())]
    Unknown {
        /// Where the anchor would lie.
        dir: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// Where the anchor of a deployment lies; `None` if it does without one, and may: for development, or on purpose.
///
/// # Errors
/// [`Misplaced`].
pub fn placed(config: &Config) -> Result<Option<&Path>, Misplaced> {
    let Some(anchor) = &config.log.anchor else {
        return if config.dev || config.log.danger_no_anchor { Ok(None) } else { Err(Misplaced::Nowhere) };
    };
    if !config.dev && !config.log.danger_anchor_on_same_device {
        let dir = anchor.dir.clone();
        match same_device(&dir, &config.store.dir) {
            Ok(false) => {}
            Ok(true) => return Err(Misplaced::SameDevice { dir }),
            Err(source) => return Err(Misplaced::Unknown { dir, source }),
        }
    }
    Ok(Some(&anchor.dir))
}

/// Whether two directories are on one device, as far as the kernel tells file systems apart: two of them may still share a
/// disk. For one that is not there yet, the directory that it would be made in counts.
///
/// # Errors
/// One of them can't be looked at.
pub fn same_device(a: &Path, b: &Path) -> io::Result<bool> {
    Ok(device(a)? == device(b)?)
}

fn device(path: &Path) -> io::Result<u64> {
    match fs::metadata(path) {
        Err(missing) if missing.kind() == io::ErrorKind::NotFound => {
            let above = path.parent().ok_or(missing)?;
            // The current directory has no other name.
            fs::metadata(if above.as_os_str().is_empty() { Path::new(".") } else { above })
        }
        found => found,
    }
    .map(|found| found.dev())
}
