//! The sections of `privet.toml` that say who and where.

use std::{
    collections::BTreeSet,
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
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
    /// The tenants that its callers may name, listed under `[[tenant]]`; `_system` for operators of the deployment.
    #[serde(deserialize_with = "value::tenants_or_system")]
    pub tenants: BTreeSet<Tenant>,
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
    /// The directory of the root key's files. Never inside the store's directory, outside `privet dev`.
    pub dir: PathBuf,
}

/// A root-key provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RootKind {
    /// `"file"`: 32 bytes in a file.
    File,
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
}
