//! Whose directory this is. Only one that is missing, empty, or begun by `privet dev` is touched, and by one process at a time.
//!
//! INVARIANT: the marker is there, durable and locked, before anything else is written: a setup that is cut off anywhere
//! leaves a directory that is recognised.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::{ErrorKind, Read, Seek, Write},
    os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt},
    path::Path,
};

use anyhow::{Context, Result, bail};
use rustix::{fs::OFlags, process::geteuid};

use crate::cli::{failure::Failure, files::make_dir};

/// The file that says whose directory this is.
const MARKER: &str = "made-by-privet-dev";
/// What it holds: how the directory is laid out.
const FORMAT: &str = "privet dev directory, format 1\n";

/// A directory that is ours until this is dropped.
#[derive(Debug)]
pub(super) struct Claim {
    _lock: File,
    /// Whether it was ours before.
    pub(super) resumed: bool,
}

impl Claim {
    /// Makes the directory if it is missing, and takes it.
    pub(super) fn take(dir: &Path) -> Result<Self> {
        let shown = dir.display();
        if !may_be_ours(dir)? {
            bail!(
                "{shown} is not empty and was not made by `privet dev`: nothing in it was touched; name another with --dir"
            );
        }
        make_dir(dir)?;
        if fs::metadata(dir)?.uid() != geteuid().as_raw() {
            bail!("{shown} belongs to another user: nothing in it was touched; name another with --dir");
        }
        fs::set_permissions(dir, fs::Permissions::from_mode(0o700)).with_context(|| shown.to_string())?;
        let mut marker = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .custom_flags(OFlags::NOFOLLOW.bits().cast_signed())
            .open(dir.join(MARKER))
            .with_context(|| format!("{shown}/{MARKER}"))?;
        match marker.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let failure = Failure::unavailable(format!("{shown} is in use by another `privet dev`"))
                    .hint("stop that one, or name another directory with --dir");
                return Err(failure.into());
            }
            Err(TryLockError::Error(error)) => return Err(error).with_context(|| format!("{shown} can't be locked")),
        }
        let mut text = String::new();
        (&marker).take(FORMAT.len() as u64 + 1).read_to_string(&mut text)?;
        if text == FORMAT {
            return Ok(Self { _lock: marker, resumed: true });
        }
        // Cut off while it was being written, a marker is a beginning of what it should hold, and alone.
        if !FORMAT.starts_with(&text) {
            bail!("{shown} was made by another version of privet: remove it, or name another with --dir");
        }
        marker.rewind()?;
        marker.write_all(FORMAT.as_bytes())?;
        marker.sync_all()?;
        File::open(dir)?.sync_all()?;
        Ok(Self { _lock: marker, resumed: false })
    }
}

/// Whether a directory is missing, empty or marked.
fn may_be_ours(dir: &Path) -> Result<bool> {
    match fs::read_dir(dir) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(true),
        Err(error) => Err(error).with_context(|| format!("{} can't be read", dir.display())),
        Ok(mut entries) => Ok(entries.next().is_none() || dir.join(MARKER).is_file()),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;
    use crate::cli::failure::Exit;

    #[test]
    fn a_missing_an_empty_and_an_own_directory_are_taken() {
        let scratch = tempfile::tempdir().unwrap();
        fs::create_dir(scratch.path().join("empty")).unwrap();
        for name in ["missing/below", "empty"] {
            let dir = scratch.path().join(name);
            assert!(!Claim::take(&dir).unwrap().resumed, "{name}");
            assert!(Claim::take(&dir).unwrap().resumed, "{name}");
            assert_eq!(fs::metadata(&dir).unwrap().permissions().mode() & 0o777, 0o700);
        }
    }

    #[test]
    fn anybody_elses_directory_is_refused_and_left_alone() {
        let scratch = tempfile::tempdir().unwrap();
        for theirs in ["notes.txt", "privet.toml", ".hidden"] {
            let dir = scratch.path().join(format!("with {theirs}"));
            fs::create_dir(&dir).unwrap();
            fs::set_permissions(&dir, fs::Permissions::from_mode(0o755)).unwrap();
            fs::write(dir.join(theirs), "dev = true\n").unwrap();
            let refused = Claim::take(&dir).unwrap_err().to_string();
            assert!(refused.contains("not made by `privet dev`"), "{refused}");
            assert_eq!(fs::read_dir(&dir).unwrap().count(), 1);
            assert_eq!(fs::metadata(&dir).unwrap().permissions().mode() & 0o777, 0o755);
        }
        let file = scratch.path().join("file");
        fs::write(&file, "").unwrap();
        assert!(Claim::take(&file).is_err());
    }

    #[test]
    fn a_directory_in_use_is_unavailable_until_it_is_left() {
        let scratch = tempfile::tempdir().unwrap();
        let first = Claim::take(scratch.path()).unwrap();
        let refused = Claim::take(scratch.path()).unwrap_err().downcast::<Failure>().unwrap();
        assert_eq!(refused.exit(), Exit::Unavailable);
        assert!(refused.to_string().contains("in use"), "{refused}");
        drop(first);
        assert!(Claim::take(scratch.path()).unwrap().resumed);
    }

    #[test]
    fn a_marker_that_was_cut_off_is_written_again_and_another_format_is_refused() {
        let scratch = tempfile::tempdir().unwrap();
        let marker = scratch.path().join(MARKER);
        for cut in [0, 1, FORMAT.len() - 1] {
            fs::write(&marker, &FORMAT[..cut]).unwrap();
            assert!(!Claim::take(scratch.path()).unwrap().resumed);
            assert_eq!(fs::read_to_string(&marker).unwrap(), FORMAT);
        }
        for other in ["privet dev directory, format 2\n", "privet dev directory, format 1\n+"] {
            fs::write(&marker, other).unwrap();
            let refused = Claim::take(scratch.path()).unwrap_err().to_string();
            assert!(refused.contains("another version"), "{refused}");
            assert_eq!(fs::read_to_string(&marker).unwrap(), other);
        }
    }

    #[test]
    fn a_marker_is_never_written_through_a_link() {
        let scratch = tempfile::tempdir().unwrap();
        let (dir, target) = (scratch.path().join("dir"), scratch.path().join("target"));
        fs::create_dir(&dir).unwrap();
        fs::write(&target, "").unwrap();
        symlink(&target, dir.join(MARKER)).unwrap();
        assert!(Claim::take(&dir).is_err());
        assert_eq!(fs::read_to_string(&target).unwrap(), "");
    }
}
