//! Where root key and store lie: whether they can be used, and on how many devices. That neither lies in the other, the
//! configuration has made sure of.

use std::{
    fs, io,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::Path,
    sync::Arc,
};

use super::found::Found;
use crate::{
    config::{Config, RootKind},
    entropy::SystemEntropy,
    keyring::root::{FileRoot, RootProvider},
};

/// The root key.
pub(super) fn root(config: &Config) -> Found {
    let dir = &config.root.dir;
    let opened = match config.root.kind {
        RootKind::File => FileRoot::open(dir, Arc::new(SystemEntropy::open())),
    };
    let root = match opened {
        Ok(root) => root,
        Err(error) => {
            let advice = if dir.exists() { "" } else { "; `privet init` makes one" };
            return Found::problem(format!("{:#}{advice}", anyhow::Error::from(error)));
        }
    };
    let mut found = Found::well(format!("generation {}, file in {}", root.newest(), dir.display()));
    let store = &config.store.dir;
    if let (Some(root), Some(store)) = (device(dir), device(store))
        && root == store
        && !config.dev
    {
        found.warnings.push("it lies on the store's device: who takes that, or a copy of it, has both".to_owned());
    }
    found
}

/// The store. Opening it would lock it against a running server and write to it, so it is only looked at.
pub(super) fn store(config: &Config) -> Found {
    let dir = &config.store.dir;
    let shown = dir.display();
    match fs::metadata(dir) {
        Ok(found) if !found.is_dir() => Found::problem(format!("{shown} is not a directory")),
        Ok(found) => {
            let mut check = Found::well(shown.to_string());
            if found.permissions().mode() & 0o077 != 0 {
                check.problems.push(format!("{shown} is open to other users: chmod 700"));
            }
            if found.uid() != rustix::process::geteuid().as_raw() {
                check.warnings.push(format!("{shown} belongs to another user: run this as the one who serves"));
            }
            check
        }
        Err(missing) if missing.kind() == io::ErrorKind::NotFound => match dir.parent().map(above) {
            Some(parent) if parent.is_dir() => Found::well(format!("{shown}, made at the first start")),
            _ => Found::problem(format!("{shown} can't be made: the directory above it is missing")),
        },
        Err(error) => Found::problem(format!("{shown} can't be looked at: {error}")),
    }
}

/// The device of a path, or of what it will be made in.
fn device(path: &Path) -> Option<u64> {
    let found = fs::metadata(path).or_else(|_| fs::metadata(path.parent().map_or(Path::new("."), above)));
    Some(found.ok()?.dev())
}

/// A path that is not empty: the current directory has no other name.
fn above(path: &Path) -> &Path {
    if path.as_os_str().is_empty() { Path::new(".") } else { path }
}
