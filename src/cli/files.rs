//! The files that the command line makes: directories 0700 and files 0600, whatever the umask, durable once they are there.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::Path,
};

use anyhow::{Context, Result};

/// The shipped policy.
pub const POLICIES: [(&str, &str); 4] = [
    ("model.conf", include_str!("../../policies/model.conf")),
    ("policy.csv", include_str!("../../policies/policy.csv")),
    ("catalogue.toml", include_str!("../../policies/catalogue.toml")),
    ("assertions.toml", include_str!("../../policies/assertions.toml")),
];

/// Makes a directory and those above it; one that is there is left as it is.
pub fn make_dir(dir: &Path) -> Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(dir).with_context(|| dir.display().to_string())
}

/// Writes a file that must not be there yet.
pub fn write_new(file: &Path, bytes: &[u8]) -> Result<()> {
    let write = || {
        fill(file, bytes, OpenOptions::new().create_new(true))?;
        sync_parent(file)
    };
    write().with_context(|| file.display().to_string())
}

/// Writes a file whole or not at all, over what was there: it is written beside, synced, and put in place.
pub fn replace(file: &Path, bytes: &[u8]) -> Result<()> {
    let beside = file.with_extension("new");
    let put = || {
        fill(&beside, bytes, OpenOptions::new().create(true).truncate(true))?;
        fs::rename(&beside, file)?;
        sync_parent(file)
    };
    put().with_context(|| file.display().to_string())
}

fn fill(file: &Path, bytes: &[u8], options: &mut OpenOptions) -> io::Result<()> {
    let mut open = options.write(true).mode(0o600).open(file)?;
    open.write_all(bytes)?;
    open.sync_all()
}

fn sync_parent(file: &Path) -> io::Result<()> {
    file.parent().map_or(Ok(()), |dir| File::open(dir)?.sync_all())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn what_is_made_is_closed_to_others() {
        let scratch = tempfile::tempdir().unwrap();
        let dir = scratch.path().join("a/b");
        make_dir(&dir).unwrap();
        make_dir(&dir).unwrap();
        write_new(&dir.join("new"), b"1").unwrap();
        replace(&dir.join("replaced"), b"1").unwrap();
        assert_eq!(
            ["a", "a/b", "a/b/new", "a/b/replaced"].map(|path| mode(&scratch.path().join(path))),
            [0o700, 0o700, 0o600, 0o600]
        );
    }

    #[test]
    fn a_new_file_replaces_nothing_and_a_replaced_one_leaves_nothing_behind() {
        let scratch = tempfile::tempdir().unwrap();
        let file = scratch.path().join("file.pem");
        write_new(&file, b"first").unwrap();
        assert!(write_new(&file, b"second").is_err());
        assert_eq!(fs::read(&file).unwrap(), b"first");
        fs::write(scratch.path().join("file.new"), "cut off, and longer").unwrap();
        replace(&file, b"third").unwrap();
        assert_eq!(fs::read(&file).unwrap(), b"third");
        assert_eq!(fs::read_dir(scratch.path()).unwrap().count(), 1);
    }
}
