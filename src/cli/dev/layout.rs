//! What is in the directory of `privet dev`.
//!
//! ```text
//! made-by-privet-dev  privet.toml  ca.pem  ca-key.pem  cert.pem  key.pem  log-key  log.vkey  address
//! policies/  root/  store/  anchor/  identities/<name>/{cert,key}.pem
//! ```
//!
//! What is there is kept, what is missing is made, certificates near their end are renewed. Directories are 0700 and files
//! 0600, whatever the umask; files come whole or not at all.

use std::{
    fs,
    io::ErrorKind,
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Context, Result, bail};
use time::OffsetDateTime;

use super::{
    claim::Claim,
    pki::{Authority, LEAF_LIFE, Pair, RENEWED_BEFORE},
};
use crate::{
    audit::note::VerifierKey,
    cli::files::{POLICIES, make_dir, replace},
    entropy::Entropy,
    keyring::{
        log_key::{self, LogKey},
        root::FileRoot,
    },
};

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

/// A development directory, ours as long as this lives.
#[derive(Debug)]
pub(super) struct Layout {
    dir: PathBuf,
    claim: Claim,
}

impl Layout {
    /// Opens or makes a development directory and completes it.
    pub(super) fn open(dir: &Path, now: OffsetDateTime, entropy: Arc<dyn Entropy>) -> Result<Self> {
        let layout = Self { dir: dir.to_owned(), claim: Claim::take(dir)? };
        layout.complete(now, entropy).with_context(|| format!("{} can't be set up", dir.display()))?;
        Ok(layout)
    }

    /// Whether the directory was there before.
    pub(super) fn resumed(&self) -> bool {
        self.claim.resumed
    }

    /// The configuration file.
    pub(super) fn config(&self) -> PathBuf {
        self.dir.join("privet.toml")
    }

    /// Tells clients where the server listens.
    pub(super) fn write_address(&self, address: std::net::SocketAddr) -> Result<()> {
        replace(&self.dir.join("address"), format!("{address}\n").as_bytes())
    }

    /// Tells auditors the log's first key.
    pub(super) fn write_verifier_key(&self, key: &VerifierKey) -> Result<()> {
        replace(&self.dir.join("log.vkey"), format!("{key}\n").as_bytes())
    }

    /// The policy files that are not as shipped.
    pub(super) fn edited_policies(&self) -> Vec<&'static str> {
        let policies = self.dir.join("policies");
        let edited = |name: &str, text| !fs::read_to_string(policies.join(name)).is_ok_and(|found| found == text);
        POLICIES.iter().filter(|(name, text)| edited(name, *text)).map(|(name, _)| *name).collect()
    }

    fn complete(&self, now: OffsetDateTime, entropy: Arc<dyn Entropy>) -> Result<()> {
        // Nobody listens there any more.
        remove(&self.dir.join("address"))?;
        write_if_missing(&self.config(), config_text().as_bytes())?;
        let authority = self.authority(now)?;
        let leaves_end = now + RENEWED_BEFORE;
        self.pair(&self.dir, "cert.pem", "key.pem", leaves_end, || authority.server())?;
        let identities = self.dir.join("identities");
        for name in IDENTITIES {
            let dir = identities.join(name);
            make_dir(&dir)?;
            let spiffe_id = format!("spiffe://{TRUST_DOMAIN}/{name}");
            self.pair(&dir, "cert.pem", "key.pem", leaves_end, || authority.client(name, &spiffe_id))?;
        }
        let policies = self.dir.join("policies");
        make_dir(&policies)?;
        for (name, text) in POLICIES {
            write_if_missing(&policies.join(name), text.as_bytes())?;
        }
        self.root(entropy.clone())?;
        self.log_key(entropy)
    }

    /// Makes the log's key, unless there is one or a log that it belongs to.
    fn log_key(&self, entropy: Arc<dyn Entropy>) -> Result<()> {
        let file = self.dir.join("log-key");
        if self.dir.join("store").exists() {
            if !file.exists() {
                bail!(
                    "log-key is gone, and the log in store/ is signed with it: put it back, or remove the whole directory"
                );
            }
            // Whether it is the right one, the server finds out.
            return Ok(());
        }
        let root = FileRoot::open(&self.dir.join("root"), entropy.clone())?;
        if LogKey::read(&file).and_then(|key| key.open(&root)).is_ok() {
            return Ok(());
        }
        // Cut off, or of a root key that was: it has signed nothing yet.
        replace(&file, &LogKey::create(&root, &*entropy, log_key::FIRST)?.to_bytes())
    }

    /// Makes the root key, unless there is one or something that only the right one opens.
    fn root(&self, entropy: Arc<dyn Entropy>) -> Result<()> {
        let root = self.dir.join("root");
        let files = match fs::read_dir(&root) {
            Ok(entries) => entries.count(),
            Err(error) if error.kind() == ErrorKind::NotFound => 0,
            Err(error) => return Err(error).with_context(|| root.display().to_string()),
        };
        if self.dir.join("store").exists() {
            if files == 0 {
                bail!(
                    "root/ is gone, and without it nothing in store/ can be opened: put it back, or remove the whole directory"
                );
            }
            // Whether it is the right one, the server finds out.
            return Ok(());
        }
        if files > 0 {
            if FileRoot::open(&root, entropy.clone()).is_ok() {
                return Ok(());
            }
            // Cut off while it was being written: it has wrapped nothing yet.
            fs::remove_dir_all(&root).with_context(|| root.display().to_string())?;
        }
        FileRoot::create(&root, entropy)?;
        Ok(())
    }

    /// The authority; a new one comes with new certificates for all.
    fn authority(&self, now: OffsetDateTime) -> Result<Authority> {
        // No certificate outlives it.
        let end = now + LEAF_LIFE + RENEWED_BEFORE;
        let pair = self.pair(&self.dir, "ca.pem", "ca-key.pem", end, || {
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

    /// A certificate and its key: as they are if both are there, belong together and last until then, else made anew.
    fn pair(
        &self,
        dir: &Path,
        cert: &str,
        key: &str,
        until: OffsetDateTime,
        make: impl FnOnce() -> Result<Pair>,
    ) -> Result<Pair> {
        let (cert, key) = (dir.join(cert), dir.join(key));
        if let (Some(cert), Some(key)) = (read(&cert)?, read(&key)?) {
            let pair = Pair { cert, key };
            if pair.lasts(until) {
                return Ok(pair);
            }
        }
        let pair = make()?;
        // Cut off between the two, the certificate is missing and both are made anew.
        remove(&cert)?;
        replace(&key, pair.key.as_bytes())?;
        replace(&cert, pair.cert.as_bytes())?;
        Ok(pair)
    }
}

fn config_text() -> String {
    format!(
        r#"# Made by `privet dev`, for trying things out: `privet serve` refuses it.
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
tenants = ["acme", "_system", "*"]

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
[log.anchor]
dir = "anchor"
"#
    )
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
    if file.exists() { Ok(()) } else { replace(file, bytes) }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

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
        assert!(!open(&dir).unwrap().resumed());
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
        assert!(open(&dir).unwrap().resumed());
        assert_eq!(all.iter().map(contents).collect::<Vec<_>>(), before);
        for missing in all.iter().filter(|file| !file.ends_with("made-by-privet-dev")) {
            fs::remove_file(missing).unwrap();
            open(&dir).unwrap();
            assert_eq!(files(&dir), all, "without {}", missing.display());
        }
    }

    #[test]
    fn a_setup_that_is_cut_off_anywhere_is_taken_up_again() {
        // Each file that a setup writes is a place to be cut off at: those made later are missing then.
        let scratch = tempfile::tempdir().unwrap();
        let whole = scratch.path().join("whole");
        open(&whole).unwrap();
        let all = files(&whole);
        let made = |file: &PathBuf| fs::metadata(file).unwrap().modified().unwrap();
        let mut in_order: Vec<_> = all.iter().filter(|file| !file.ends_with("made-by-privet-dev")).collect();
        in_order.sort_by_key(|file| made(file));
        for missing in in_order.into_iter().rev() {
            fs::remove_file(missing).unwrap();
            let cut = scratch.path().join("cut");
            copy(&whole, &cut);
            open(&cut).unwrap();
            assert_eq!(files(&cut).len(), all.len(), "cut off before {}", missing.display());
            Config::load(&cut.join("privet.toml")).unwrap();
            fs::remove_dir_all(&cut).unwrap();
        }
    }

    fn copy(from: &Path, to: &Path) {
        fs::create_dir(to).unwrap();
        for entry in fs::read_dir(from).unwrap() {
            let entry = entry.unwrap();
            let to = to.join(entry.file_name());
            if entry.path().is_dir() {
                copy(&entry.path(), &to);
                let mode = fs::metadata(entry.path()).unwrap().permissions();
                fs::set_permissions(to, mode).unwrap();
            } else {
                fs::copy(entry.path(), to).unwrap();
            }
        }
    }

    #[test]
    fn certificates_are_renewed_in_time_and_a_broken_pair_is_replaced() {
        let scratch = tempfile::tempdir().unwrap();
        let dir = scratch.path().join("dev");
        open(&dir).unwrap();
        let read = |file: &str| fs::read_to_string(dir.join(file)).unwrap();
        let leaf = "identities/auditor/cert.pem";
        let (ca, auditor) = (read("ca.pem"), read(leaf));
        let at =
            |days| Layout::open(&dir, now() + time::Duration::days(days), Arc::new(SystemEntropy::open())).unwrap();
        at(80);
        assert_eq!((read("ca.pem"), read(leaf)), (ca.clone(), auditor.clone()));
        at(84);
        assert!(read("ca.pem") == ca && read(leaf) != auditor);
        let (server, renewed) = (read("cert.pem"), read(leaf));
        fs::copy(dir.join("identities/operator/key.pem"), dir.join("identities/auditor/key.pem")).unwrap();
        at(85);
        assert!(read(leaf) != renewed && read("cert.pem") == server);
        at(300);
        assert!(read("ca.pem") != ca && read("cert.pem") != server);
    }

    #[test]
    fn a_root_key_that_was_cut_off_is_made_again_as_long_as_there_is_no_store() {
        let scratch = tempfile::tempdir().unwrap();
        let dir = scratch.path().join("dev");
        open(&dir).unwrap();
        let key = dir.join("root/root-1.key");
        let whole = fs::read(&key).unwrap();
        fs::write(&key, &whole[..7]).unwrap();
        open(&dir).unwrap();
        assert!(fs::read(&key).unwrap().len() == 32 && fs::read(&key).unwrap() != whole);
        fs::create_dir(dir.join("store")).unwrap();
        fs::write(&key, &whole[..7]).unwrap();
        open(&dir).unwrap();
        assert_eq!(fs::read(&key).unwrap(), whole[..7], "left to the server to refuse");
    }

    #[test]
    fn edited_policies_are_kept_and_named() {
        let scratch = tempfile::tempdir().unwrap();
        let dir = scratch.path().join("dev");
        assert!(open(&dir).unwrap().edited_policies().is_empty());
        fs::write(dir.join("policies/policy.csv"), "# none\n").unwrap();
        assert_eq!(open(&dir).unwrap().edited_policies(), ["policy.csv"]);
        assert_eq!(fs::read_to_string(dir.join("policies/policy.csv")).unwrap(), "# none\n");
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
    fn a_log_key_is_made_anew_with_its_root_and_never_under_a_store() {
        let scratch = tempfile::tempdir().unwrap();
        let dir = scratch.path().join("dev");
        open(&dir).unwrap();
        let file = dir.join("log-key");
        let first = fs::read(&file).unwrap();
        fs::remove_dir_all(dir.join("root")).unwrap();
        open(&dir).unwrap();
        let second = fs::read(&file).unwrap();
        assert_ne!(second, first);
        fs::write(&file, &second[..7]).unwrap();
        open(&dir).unwrap();
        let third = fs::read(&file).unwrap();
        assert!(third.len() == second.len() && third != second);
        fs::create_dir(dir.join("store")).unwrap();
        fs::write(&file, &third[..7]).unwrap();
        open(&dir).unwrap();
        assert_eq!(fs::read(&file).unwrap(), third[..7], "left to the server to refuse");
        fs::remove_file(&file).unwrap();
        assert!(format!("{:#}", open(&dir).unwrap_err()).contains("log-key is gone"));
    }
}
