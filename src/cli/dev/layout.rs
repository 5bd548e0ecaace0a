//! The directory of `privet dev`: what is in it, and whose it is.
//!
//! ```text
//! privet.toml  ca.pem  ca-key.pem  cert.pem  key.pem  address  policies/  root/  store/  identities/<name>/{cert,key}.pem
//! ```
//!
//! Only a directory that is missing, empty, or begun by `privet dev` is touched; the mark is made first, so that a setup
//! that was cut off is taken up again. What is there is kept, what is missing is made, certificates near their end are
//! renewed. Directories are 0700 and files 0600.

use std::{
    fs::{self, File, OpenOptions},
    io::{ErrorKind, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Context, Result, bail};
use time::OffsetDateTime;

use super::pki::{Authority, Pair, is_current};
use crate::{cli::init::POLICIES, entropy::Entropy, keyring::root::FileRoot};

/// Who there is, in the order of the shipped policy.
pub(super) const IDENTITIES: [&str; 8] = [
    "signup-service",
    "billing-service",
    "support-desk",
    "privacy-officer",
    "policy-admin",
    "policy-approver",
    "auditor",
    "operator",
];

/// The trust domain of all of them.
const TRUST_DOMAIN: &str = "acme.example";
/// The first line of a `privet.toml` that `privet dev` may overwrite.
const MARK: &str = "# Made by `privet dev`, format 1. Do not use it for anything but development.";

/// A development directory.
#[derive(Debug)]
pub(super) struct Layout {
    dir: PathBuf,
    /// Whether it was there before.
    pub(super) resumed: bool,
}

impl Layout {
    /// Opens or makes a development directory and completes it.
    pub(super) fn open(dir: &Path, now: OffsetDateTime, entropy: Arc<dyn Entropy>) -> Result<Self> {
        let resumed = claim(dir)?;
        let layout = Self { dir: dir.to_owned(), resumed };
        layout.complete(now, entropy).with_context(|| format!("{} can't be set up", dir.display()))?;
        Ok(layout)
    }

    /// The configuration file.
    pub(super) fn config(&self) -> PathBuf {
        self.dir.join("privet.toml")
    }

    /// Tells clients where the server listens.
    pub(super) fn write_address(&self, address: std::net::SocketAddr) -> Result<()> {
        write(&self.dir.join("address"), format!("{address}\n").as_bytes())
    }

    fn complete(&self, now: OffsetDateTime, entropy: Arc<dyn Entropy>) -> Result<()> {
        let authority = self.authority(now)?;
        self.pair(&self.dir, "cert.pem", "key.pem", now, || authority.server())?;
        let identities = self.dir.join("identities");
        for name in IDENTITIES {
            let dir = identities.join(name);
            make_dir(&dir)?;
            let spiffe_id = format!("spiffe://{TRUST_DOMAIN}/{name}");
            self.pair(&dir, "cert.pem", "key.pem", now, || authority.client(name, &spiffe_id))?;
        }
        let policies = self.dir.join("policies");
        make_dir(&policies)?;
        for (name, text) in POLICIES {
            write_if_missing(&policies.join(name), text.as_bytes())?;
        }
        let root = self.dir.join("root");
        let has_root = root.exists() && fs::read_dir(&root)?.next().is_some();
        if !has_root {
            if self.dir.join("store").exists() {
                bail!(
                    "root/ is gone, and without it nothing in store/ can be opened: put it back, or remove the whole directory"
                );
            }
            FileRoot::create(&root, entropy)?;
        }
        Ok(())
    }

    /// The authority; a new one comes with new certificates for all.
    fn authority(&self, now: OffsetDateTime) -> Result<Authority> {
        let pair = self.pair(&self.dir, "ca.pem", "ca-key.pem", now, || {
            for stale in ["cert.pem", "key.pem"] {
                remove(&self.dir.join(stale))?;
                for name in IDENTITIES {
                    remove(&self.dir.join("identities").join(name).join(stale))?;
                }
            }
            Authority::make(now)
        })?;
        Authority::load(&pair, now)
    }

    /// A certificate and its key: as they are if both are there and current, else made anew.
    fn pair(
        &self,
        dir: &Path,
        cert: &str,
        key: &str,
        now: OffsetDateTime,
        make: impl FnOnce() -> Result<Pair>,
    ) -> Result<Pair> {
        let (cert, key) = (dir.join(cert), dir.join(key));
        if let (Some(cert), Some(key)) = (read(&cert)?, read(&key)?)
            && is_current(&cert, now)
        {
            return Ok(Pair { cert, key });
        }
        let pair = make()?;
        // Cut off between the two, the certificate is missing and both are made anew.
        remove(&cert)?;
        write(&key, pair.key.as_bytes())?;
        write(&cert, pair.cert.as_bytes())?;
        Ok(pair)
    }
}

/// Makes sure that the directory is ours, before anything else is written. Whether it was there before.
fn claim(dir: &Path) -> Result<bool> {
    let config = dir.join("privet.toml");
    match fs::read_dir(dir) {
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => return Err(error).with_context(|| format!("{} can't be read", dir.display())),
        Ok(mut entries) => {
            let ours = read(&config)?.is_some_and(|text| text.starts_with(MARK));
            if ours {
                fs::set_permissions(dir, fs::Permissions::from_mode(0o700))?;
                return Ok(true);
            }
            if entries.next().is_some() {
                bail!(
                    "{} is not empty and was not made by `privet dev`: nothing in it was touched; name another with --dir",
                    dir.display()
                );
            }
        }
    }
    make_dir(dir)?;
    fs::set_permissions(dir, fs::Permissions::from_mode(0o700))?;
    write(&config, config_text().as_bytes())?;
    Ok(false)
}

fn config_text() -> String {
    format!(
        r#"{MARK}
# `privet init` writes a configuration for real use, with every key explained.
dev = true
reflection = true

[server]
listen = "127.0.0.1:7443"
drain_secs_max = 5

[tls]
cert = "cert.pem"
key = "key.pem"

[[tls.client_ca]]
file = "ca.pem"
trust_domains = ["{TRUST_DOMAIN}"]

[[trust_domain]]
name = "{TRUST_DOMAIN}"
tenants = ["acme", "_system"]

[[tenant]]
id = "acme"

[store]
dir = "store"

[root]
kind = "file"
dir = "root"

[policy]
dir = "policies"

[log]
origin = "dev.privet.example/log"
"#
    )
}

fn make_dir(dir: &Path) -> Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(dir).with_context(|| dir.display().to_string())
}

fn read(file: &Path) -> Result<Option<String>> {
    match fs::read_to_string(file) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| file.display().to_string()),
    }
}

fn remove(file: &Path) -> Result<()> {
    match fs::remove_file(file) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error).with_context(|| file.display().to_string()),
        _ => Ok(()),
    }
}

fn write_if_missing(file: &Path, bytes: &[u8]) -> Result<()> {
    if file.exists() { Ok(()) } else { write(file, bytes) }
}

/// Whole or not at all: written beside, synced, and put in place.
fn write(file: &Path, bytes: &[u8]) -> Result<()> {
    let beside = file.with_extension("new");
    let put = || {
        let mut new = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&beside)?;
        new.write_all(bytes)?;
        new.sync_all()?;
        fs::rename(&beside, file)?;
        file.parent().map_or(Ok(()), |dir| File::open(dir)?.sync_all())
    };
    put().with_context(|| file.display().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{config::Config, entropy::SystemEntropy};

    fn now() -> OffsetDateTime {
        OffsetDateTime::from_unix_timestamp(1_800_000_000).unwrap()
    }

    fn open(dir: &Path) -> Result<Layout> {
        Layout::open(dir, now(), Arc::new(SystemEntropy::open()))
    }

    fn files(dir: &Path) -> Vec<PathBuf> {
        let mut files = Vec::new();
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { files.extend(self::files(&path)) } else { files.push(path) }
        }
        files.sort();
        files
    }

    #[test]
    fn a_new_directory_is_complete_and_closed_to_others() {
        let scratch = tempfile::tempdir().unwrap();
        let dir = scratch.path().join("dev");
        assert!(!open(&dir).unwrap().resumed);
        Config::load(&dir.join("privet.toml")).unwrap();
        for file in files(&dir) {
            assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600, "{}", file.display());
        }
        for part in ["", "identities", "identities/auditor", "policies", "root"] {
            assert_eq!(fs::metadata(dir.join(part)).unwrap().permissions().mode() & 0o777, 0o700, "{part}");
        }
    }

    #[test]
    fn resuming_keeps_what_is_there_and_makes_what_is_missing() {
        let scratch = tempfile::tempdir().unwrap();
        let dir = scratch.path().join("dev");
        open(&dir).unwrap();
        let all = files(&dir);
        let contents = |file: &PathBuf| fs::read(file).unwrap();
        let before: Vec<_> = all.iter().map(contents).collect();
        assert!(open(&dir).unwrap().resumed);
        assert_eq!(all.iter().map(contents).collect::<Vec<_>>(), before);
        for missing in all.iter().filter(|file| !file.ends_with("privet.toml")) {
            fs::remove_file(missing).unwrap();
            open(&dir).unwrap();
            assert_eq!(files(&dir), all, "without {}", missing.display());
        }
    }

    #[test]
    fn a_root_key_is_not_replaced_under_a_store_that_needs_it() {
        let scratch = tempfile::tempdir().unwrap();
        let dir = scratch.path().join("dev");
        open(&dir).unwrap();
        fs::create_dir(dir.join("store")).unwrap();
        fs::remove_dir_all(dir.join("root")).unwrap();
        assert!(format!("{:#}", open(&dir).unwrap_err()).contains("root/ is gone"));
    }

    #[test]
    fn anybody_elses_directory_is_refused_and_left_alone() {
        let scratch = tempfile::tempdir().unwrap();
        for theirs in ["notes.txt", "privet.toml"] {
            let dir = scratch.path().join(theirs);
            fs::create_dir(&dir).unwrap();
            fs::write(dir.join(theirs), "[server]\n").unwrap();
            let refused = open(&dir).unwrap_err().to_string();
            assert!(refused.contains("not made by `privet dev`"), "{refused}");
            assert_eq!(files(&dir), [dir.join(theirs)]);
        }
    }
}
