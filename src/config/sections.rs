//! The sections of `privet.toml` that say who and where.

use std::{
    collections::BTreeSet,
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    time::Duration,
};

use serde::Deserialize;

use super::value;
use crate::{
    id::{Region, Tenant},
    identity::TrustDomain,
};

/// `[server]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Server {
    /// Address and port of the gRPC service. Default `127.0.0.1:7443`; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Address and port of the metrics, loopback only. Default: none, no metrics are served.
    pub metrics_listen: Option<SocketAddr>,
    /// Seconds that requests under way get to finish when the server stops, 1 to 600; then connections are cut.
    /// Default 30.
    #[serde(deserialize_with = "value::secs::<_, 1, 600>")]
    pub drain_secs_max: Duration,
}

impl Default for Server {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 7443)),
            metrics_listen: None,
            drain_secs_max: Duration::from_secs(30),
        }
    }
}

/// `[tls]`. TLS 1.3 with a client certificate is always required; there is no key for that. The files are read again on
/// SIGHUP, for new connections.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tls {
    /// PEM file with the server's certificate and its intermediates, leaf first.
    pub cert: PathBuf,
    /// PEM file with the server's private key.
    pub key: PathBuf,
    /// `[[tls.client_ca]]`: whose client certificates are trusted, and for what. At least one.
    #[serde(default)]
    pub client_ca: Vec<ClientCa>,
}

/// `[[tls.client_ca]]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClientCa {
    /// PEM file with the CA's certificate (several, if it is being replaced).
    pub file: PathBuf,
    /// The trust domains that this CA may vouch for. At least one.
    #[serde(deserialize_with = "value::trust_domains")]
    pub trust_domains: BTreeSet<TrustDomain>,
}

/// `[[trust_domain]]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrustDomainEntry {
    /// Its name, as in `spiffe://<name>/…`.
    #[serde(deserialize_with = "value::trust_domain")]
    pub name: TrustDomain,
    /// The tenants that its callers may name, listed under `[[tenant]]`; `_system` for operators of the deployment; `*` for every
    /// tenant that there is, those made later by CreateTenant among them, but not for `_system`.
    #[serde(deserialize_with = "value::tenants_named")]
    pub tenants: TenantsNamed,
}

/// Tenants that may be named.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TenantsNamed {
    /// Every one that there is.
    pub all: bool,
    /// These.
    pub named: BTreeSet<Tenant>,
}

/// `[[tenant]]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TenantEntry {
    /// Its name.
    #[serde(deserialize_with = "value::tenant")]
    pub id: Tenant,
    /// Where its data must lie. Default: wherever this deployment runs.
    #[serde(default, deserialize_with = "value::region")]
    pub region: Option<Region>,
}

/// `[store]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Store {
    /// The directory that holds all state; made if it is not there.
    pub dir: PathBuf,
}

/// `[root]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Root {
    /// Who keeps the root key.
    pub kind: RootKind,
    /// Of `"file"`: the directory of the root key's files. Never inside the store's directory, outside `privet dev`.
    pub dir: Option<PathBuf>,
    /// Of `"file"`: file with the passphrase that the root key's files are sealed with; one line break at its end is no part of it.
    /// Default: none; a sealed root key is asked for at a terminal.
    pub passphrase_file: Option<PathBuf>,
    /// Of `"pkcs11"`: the shared library of the token's maker.
    pub module: Option<PathBuf>,
    /// Of `"pkcs11"`: the token's label.
    pub token: Option<String>,
    /// Of `"pkcs11"`: how the labels of its keys begin; `-` and the generation follow. Default `privet-root`.
    pub key: Option<String>,
    /// Of `"pkcs11"`: file with the token's user PIN; one line break at its end is no part of it. Default: none; it is asked for at a
    /// terminal.
    pub pin_file: Option<PathBuf>,
}

/// A root-key provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RootKind {
    /// `"file"`: 32 bytes in a file, perhaps sealed with a passphrase.
    File,
    /// `"pkcs11"`: a key that never leaves a token.
    Pkcs11,
}

/// Where a root key is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keeper<'a> {
    /// In files.
    Files {
        /// Their directory.
        dir: &'a Path,
        /// A file with the passphrase that they are sealed with.
        passphrase_file: Option<&'a Path>,
    },
    /// In a token.
    Token {
        /// The shared library of its maker.
        module: &'a Path,
        /// Its label.
        token: &'a str,
        /// How the labels of the keys begin.
        key: &'a str,
        /// A file with its PIN.
        pin_file: Option<&'a Path>,
    },
}

impl Root {
    /// How the labels of a token's root keys begin, if nothing else is said.
    pub const KEY: &str = "privet-root";

    /// Where it is.
    pub fn keeper(&self) -> Keeper<'_> {
        match self.kind {
            RootKind::File => Keeper::Files {
                dir: self.dir.as_deref().unwrap_or(Path::new("")),
                passphrase_file: self.passphrase_file.as_deref(),
            },
            RootKind::Pkcs11 => Keeper::Token {
                module: self.module.as_deref().unwrap_or(Path::new("")),
                token: self.token.as_deref().unwrap_or_default(),
                key: self.key.as_deref().unwrap_or(Self::KEY),
                pin_file: self.pin_file.as_deref(),
            },
        }
    }

    /// The key that does not fit the kind, and what is asked of it.
    pub fn misfit(&self) -> Option<(&'static str, &'static str)> {
        let files = [("dir", self.dir.is_some()), ("passphrase_file", self.passphrase_file.is_some())];
        let token = [
            ("module", self.module.is_some()),
            ("token", self.token.is_some()),
            ("key", self.key.is_some()),
            ("pin_file", self.pin_file.is_some()),
        ];
        let stray = |keys: &[(&'static str, bool)]| keys.iter().find(|(_, is_there)| *is_there).map(|(key, _)| *key);
        match self.kind {
            RootKind::File => match (stray(&token), &self.dir) {
                (Some(key), _) => Some((key, "is for kind = \"pkcs11\" only")),
                (None, None) => Some(("dir", "must be the directory of the root key's files")),
                (None, Some(_)) => None,
            },
            RootKind::Pkcs11 if !cfg!(feature = "pkcs11") => {
                Some(("kind", "this program was built without tokens: build it with `--features pkcs11`"))
            }
            RootKind::Pkcs11 => match (stray(&files), &self.module, &self.token) {
                (Some(key), ..) => Some((key, "is for kind = \"file\" only")),
                (None, None, _) => Some(("module", "must be the shared library of the token's maker")),
                (None, Some(_), token) if !token.as_deref().is_some_and(|label| is_label(label, 32)) => {
                    Some(("token", "must be the token's label, 1 to 32 bytes"))
                }
                (None, Some(_), _) if self.key.as_deref().is_some_and(|label| !is_label(label, 64)) => {
                    Some(("key", "must be 1 to 64 bytes of printable ASCII"))
                }
                (None, Some(_), _) => None,
            },
        }
    }
}

fn is_label(text: &str, bytes_max: usize) -> bool {
    (1..=bytes_max).contains(&text.len()) && text.bytes().all(|byte| (b' '..=b'~').contains(&byte))
}

/// `[policy]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Policy {
    /// The directory of `model.conf`, `policy.csv`, `catalogue.toml` and `assertions.toml`.
    pub dir: PathBuf,
}

/// `[log]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Log {
    /// The log's unique name, a URL without its scheme: `[A-Za-z0-9._/-]{1,128}`. It is signed into every checkpoint.
    #[serde(deserialize_with = "value::origin")]
    pub origin: String,
    /// The file of the first key that signs checkpoints, wrapped by the root key. Default `log-key`.
    #[serde(default = "log_key")]
    pub key: PathBuf,
    /// Bytes of entries after which a segment of the log is sealed, 16 MiB to 16 GiB. Default 1 GiB.
    #[serde(default = "gibibyte", deserialize_with = "value::number::<_, _, 16_777_216, 17_179_869_184>")]
    pub segment_bytes_max: u64,
    /// Days after which a segment is sealed even if it is smaller, 1 to 3,650. Default 30.
    #[serde(default = "days::<30>", deserialize_with = "value::days::<_, 1, 3_650>")]
    pub segment_age_max_days: Duration,
    /// Days that entries are kept, 1 to 36,500; a sealed segment is deleted once all of its entries are older. Default 400.
    #[serde(default = "days::<400>", deserialize_with = "value::days::<_, 1, 36_500>")]
    pub retention_days: Duration,
    /// Serves without an anchor: nothing notices if an older copy of the store is put back. Default false.
    #[serde(default)]
    pub danger_no_anchor: bool,
    /// Accepts an anchor on the store's device, where one older copy puts back both. Default false.
    #[serde(default)]
    pub danger_anchor_on_same_device: bool,
    /// `[log.anchor]`: where the newest checkpoint is kept, apart from the store. Required outside `privet dev`, unless
    /// `danger_no_anchor` is set.
    pub anchor: Option<Anchor>,
}

/// `[log.anchor]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Anchor {
    /// Its directory, on another device than the store; made at the first start, the directory it lies in is not. Never inside
    /// the store's directory.
    pub dir: PathBuf,
}

fn log_key() -> PathBuf {
    PathBuf::from("log-key")
}

fn gibibyte() -> u64 {
    1 << 30
}

fn days<const DAYS: u64>() -> Duration {
    Duration::from_secs(DAYS * 86_400)
}
