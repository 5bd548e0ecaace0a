//! Where root key, store, log key and anchor lie: whether they can be used, and on how many devices. That neither root key nor
//! anchor lies in the store, the configuration has made sure of.

use std::{
    fs, io,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::Path,
    sync::Arc,
};

use super::found::Found;
use crate::{
    audit::anchor::{self, Anchor, placed, same_device},
    cli::verifier,
    config::{Config, Keeper},
    keyring::root::{self, RootProvider},
};

/// The root key.
pub(super) fn root(config: &Config, opened: &Result<Arc<dyn RootProvider>, root::Error>) -> Found {
    let root = match opened {
        Ok(root) => root,
        Err(error) => {
            let advice = match config.root.keeper() {
                Keeper::Files { dir, .. } if !dir.exists() => "; `privet init` makes one",
                Keeper::Files { .. } | Keeper::Token { .. } => "",
            };
            return Found::problem(format!("{}{advice}", whole(error)));
        }
    };
    let generation = root.newest();
    match config.root.keeper() {
        Keeper::Token { token, key, .. } => Found::well(format!("generation {generation}, {key} in token {token}")),
        Keeper::Files { dir, .. } => {
            let mut found = Found::well(format!("generation {generation}, file in {}", dir.display()));
            if !config.dev && same_device(dir, &config.store.dir).unwrap_or(false) {
                let warning = "it lies on the store's device: who takes that, or a copy of it, has both";
                found.warnings.push(warning.to_owned());
            }
            found
        }
    }
}

/// The log's first key. Later ones are announced in the log, which is not opened here.
pub(super) fn log_key(config: &Config, root: Option<&dyn RootProvider>) -> Found {
    let path = &config.log.key;
    // That it can't be opened is said of the root key.
    let Some(root) = root else { return Found::well(format!("{}, not opened", path.display())) };
    match verifier::first_of(config, root) {
        Ok(key) => {
            let key = key.to_string();
            Found { verifier_key: Some(key.clone()), ..Found::well(format!("the log's first verifier key: {key}")) }
        }
        Err(error) => {
            let advice = if path.exists() { "" } else { "; `privet init` makes one" };
            Found::problem(format!("{error:#}{advice}"))
        }
    }
}

/// The log's anchor. A server may be using it, so it is not locked.
pub(super) fn anchor(config: &Config) -> Found {
    let dir = match placed(config) {
        Ok(Some(dir)) => dir,
        Ok(None) if config.dev => return Found::well("none, as for development"),
        Ok(None) => {
            let warning = "nothing notices if an older copy of the store is put back (log.danger_no_anchor)".to_owned();
            return Found { warnings: vec![warning], ..Found::well("none") };
        }
        Err(error) => return Found::problem(format!("{:#}", anyhow::Error::from(error))),
    };
    let near = !config.dev && same_device(dir, &config.store.dir).unwrap_or(false);
    let shown = dir.display();
    let mut found = match Anchor::peek(dir, &config.log.origin) {
        Ok(Some(note)) => Found::well(format!("{shown}, at {} entries", note.lines().nth(1).unwrap_or_default())),
        Ok(None) => Found::well(format!("{shown}, without a checkpoint yet")),
        Err(absent @ anchor::Error::Absent { .. }) if config.store.dir.join("format").exists() => {
            Found { warnings: vec![absent.to_string()], ..Found::default() }
        }
        Err(anchor::Error::Absent { .. }) => made_later(dir),
        Err(error) => Found::problem(format!("{:#}", anyhow::Error::from(error))),
    };
    if near {
        found.warnings.push(
            "it lies on the store's device: who puts back an older copy of that puts back both (log.danger_anchor_on_same_device)"
                .to_owned(),
        );
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
        Err(missing) if missing.kind() == io::ErrorKind::NotFound => made_later(dir),
        Err(error) => Found::problem(format!("{shown} can't be looked at: {error}")),
    }
}

/// An error with what it comes from.
fn whole(error: &dyn std::error::Error) -> String {
    match error.source() {
        Some(source) => format!("{error}: {}", whole(source)),
        None => error.to_string(),
    }
}

/// A directory that is not there yet.
fn made_later(dir: &Path) -> Found {
    let shown = dir.display();
    match dir.parent().map(above) {
        Some(parent) if parent.is_dir() => Found::well(format!("{shown}, made at the first start")),
        _ => Found::problem(format!("{shown} can't be made: the directory above it is missing")),
    }
}

/// A path that is not empty: the current directory has no other name.
fn above(path: &Path) -> &Path {
    if path.as_os_str().is_empty() { Path::new(".") } else { path }
}
