//! `privet.toml`: what an operator decides, typed, bounded and checked before anything starts.
//!
//! Unknown keys, values out of bounds and names that don't fit together are refused, with the place in the file. There is
//! no key that weakens security without `danger` in its name, and no secret in this file: it names files that hold them.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt, fs, io,
    ops::Range,
    path::{Path, PathBuf},
    sync::Arc,
};

use serde::Deserialize;

use crate::{
    id::{Region, Tenant},
    identity::{Bindings, Bound, Tenants, TrustDomain},
};

mod limits;
mod place;
mod sections;
mod value;

pub use limits::{Keys, Limits};
pub use sections::{
    Anchor, ClientCa, Keeper, Log, Policy, Root, RootKind, Server, Store, TenantEntry, TenantsNamed, Tls,
    TrustDomainEntry,
};
pub use value::parse_origin;

/// All of `privet.toml`. Relative paths are taken from the directory that the file lies in.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Marks the configuration of `privet dev`, which `privet serve` refuses. Default false.
    #[serde(default)]
    pub dev: bool,
    /// Whether the server describes its API to clients (gRPC reflection). Default false.
    #[serde(default)]
    pub reflection: bool,
    /// Where this deployment runs. A tenant with another region is refused. Default: none, and no tenant may have one.
    #[serde(default, deserialize_with = "value::region")]
    pub region: Option<Region>,
    /// `[server]`: where it listens.
    #[serde(default)]
    pub server: Server,
    /// `[tls]`: its certificate, and whose certificates it trusts.
    pub tls: Tls,
    /// `[[trust_domain]]`: which tenants the callers of a trust domain may name. At least one.
    pub trust_domain: Vec<TrustDomainEntry>,
    /// `[[tenant]]`: tenants that are made at the start. At least one, unless a trust domain may name all.
    #[serde(default)]
    pub tenant: Vec<TenantEntry>,
    /// `[store]`: where state lies.
    pub store: Store,
    /// `[root]`: where the root key lies.
    pub root: Root,
    /// `[policy]`: the first policy.
    pub policy: Policy,
    /// `[log]`: the audit log's name, key, anchor and retention.
    pub log: Log,
    /// `[limits]`: how much of anything at once.
    #[serde(default)]
    pub limits: Limits,
    /// `[keys]`: caches and ages of keys.
    #[serde(default)]
    pub keys: Keys,
}

impl Config {
    /// Reads and checks a configuration file.
    ///
    /// # Errors
    /// [`Error`], with the place in the file.
    pub fn load(file: &Path) -> Result<Self, Error> {
        let unreadable = |source| Error::Unreadable { file: file.to_owned(), source };
        if fs::metadata(file).map_err(unreadable)?.len() > FILE_BYTES_MAX {
            return Err(unreadable(io::Error::new(io::ErrorKind::FileTooLarge, "more than 1 MiB")));
        }
        Self::parse(&fs::read_to_string(file).map_err(unreadable)?, file)
    }

    /// Checks the text of a configuration file that lies at `file`.
    ///
    /// # Errors
    /// [`Error::Invalid`], with the place in the text.
    pub fn parse(text: &str, file: &Path) -> Result<Self, Error> {
        let invalid = |at: Range<usize>, key: String, rule: String| {
            let (line, column) = place::line_and_column(text, at.start);
            Error::Invalid(Box::new(Invalid { file: file.to_owned(), line, column, key, rule }))
        };
        let mut config: Self = toml::from_str(text).map_err(|error| {
            let at = error.span().unwrap_or_default();
            let key = place::key_at(text, at.start);
            // The parser's own text may repeat a value: there is no secret in this file.
            invalid(at, key, error.message().trim().to_owned())
        })?;
        if let Err(problem) = config.check() {
            let at = place::find_key(text, problem.section, problem.key, problem.nth);
            return Err(invalid(at, format!("{}.{}", problem.section, problem.key), problem.rule.to_owned()));
        }
        let dir = file.parent().unwrap_or(Path::new(""));
        for path in config.paths() {
            *path = dir.join(&*path);
        }
        if let Err(section) = config.check_apart() {
            let at = place::find_key(text, section, "dir", 0);
            let rule = "must not lie in store.dir, nor store.dir in it".to_owned();
            return Err(invalid(at, format!("{section}.dir"), rule));
        }
        Ok(config)
    }

    /// The tenants that the callers of each trust domain may name, of those that there are.
    pub fn bindings(&self, there_are: &Arc<Tenants>) -> Bindings {
        let bound = |domain: &TrustDomainEntry| {
            let TenantsNamed { all, named } = &domain.tenants;
            (domain.name.clone(), Bound::new(named.clone(), all.then(|| Arc::clone(there_are))))
        };
        self.trust_domain.iter().map(bound).collect()
    }

    /// A root key in the store's directory would be in every copy of the store, and so would an anchor. Gives the section of
    /// the directory that is.
    fn check_apart(&self) -> Result<(), &'static str> {
        // What is not there yet will be made in a directory that is.
        let real = |path: &Path| {
            let parent = || Some(path.parent()?.canonicalize().ok()?.join(path.file_name()?));
            path.canonicalize().ok().or_else(parent).unwrap_or(path.into())
        };
        let store = real(&self.store.dir);
        let together = |dir: &Path| real(dir).starts_with(&store) || store.starts_with(real(dir));
        if self.root.dir.as_deref().is_some_and(together) {
            return Err("root");
        }
        if self.log.anchor.as_ref().is_some_and(|anchor| together(&anchor.dir)) {
            return Err("log.anchor");
        }
        Ok(())
    }

    fn paths(&mut self) -> impl Iterator<Item = &mut PathBuf> {
        let fixed =
            [&mut self.tls.cert, &mut self.tls.key, &mut self.store.dir, &mut self.policy.dir, &mut self.log.key];
        let cas = self.tls.client_ca.iter_mut().map(|ca| &mut ca.file);
        let Root { dir, passphrase_file, module, pin_file, .. } = &mut self.root;
        let root = [dir, passphrase_file, module, pin_file].into_iter().flatten();
        fixed.into_iter().chain(cas).chain(root).chain(self.log.anchor.iter_mut().map(|anchor| &mut anchor.dir))
    }

    /// What no single value can break.
    fn check(&self) -> Result<(), Problem> {
        self.check_names()?;
        self.check_regions()?;
        if let Some((key, rule)) = self.root.misfit() {
            return Err(Problem::new("root", key, rule));
        }
        let limits = &self.limits;
        if limits.field_bytes_max > limits.message_bytes_max {
            return Err(Problem::new("limits", "field_bytes_max", "must not be more than message_bytes_max"));
        }
        if limits.message_bytes_max as u64 > limits.bytes_in_flight_max {
            return Err(Problem::new("limits", "bytes_in_flight_max", "must not be less than message_bytes_max"));
        }
        if self.log.danger_no_anchor && self.log.anchor.is_some() {
            return Err(Problem::new("log", "danger_no_anchor", "must not be set beside [log.anchor]"));
        }
        if self.server.metrics_listen.is_some_and(|address| !address.ip().is_loopback()) {
            return Err(Problem::new("server", "metrics_listen", "must be a loopback address"));
        }
        Ok(())
    }

    fn check_names(&self) -> Result<(), Problem> {
        let mut tenants = BTreeSet::from([Tenant::system()]);
        for (nth, tenant) in self.tenant.iter().enumerate() {
            if !tenants.insert(tenant.id.clone()) {
                return Err(Problem::new("tenant", "id", "must not be there twice").nth(nth));
            }
        }
        if self.tenant.is_empty() && !self.trust_domain.iter().any(|domain| domain.tenants.all) {
            return Err(Problem::new(
                "",
                "tenant",
                "must list at least one tenant, unless a trust domain may name all (*)",
            ));
        }
        let mut domains = BTreeMap::<&TrustDomain, bool>::new();
        for (nth, domain) in self.trust_domain.iter().enumerate() {
            if domains.insert(&domain.name, false).is_some() {
                return Err(Problem::new("trust_domain", "name", "must not be there twice").nth(nth));
            }
            if !domain.tenants.named.iter().all(|tenant| tenants.contains(tenant)) {
                let rule = "must be tenants listed under [[tenant]], or * for all";
                return Err(Problem::new("trust_domain", "tenants", rule).nth(nth));
            }
        }
        if self.tls.client_ca.is_empty() {
            return Err(Problem::new("tls", "client_ca", "must list at least one CA"));
        }
        for (nth, ca) in self.tls.client_ca.iter().enumerate() {
            if ca.trust_domains.is_empty() {
                return Err(Problem::new("tls.client_ca", "trust_domains", "must list at least one").nth(nth));
            }
            for name in &ca.trust_domains {
                let Some(vouched) = domains.get_mut(name) else {
                    let rule = "must be trust domains listed under [[trust_domain]]";
                    return Err(Problem::new("tls.client_ca", "trust_domains", rule).nth(nth));
                };
                *vouched = true;
            }
        }
        match self.trust_domain.iter().position(|domain| domains.get(&domain.name) == Some(&false)) {
            Some(nth) => {
                Err(Problem::new("trust_domain", "name", "must be vouched for by a [[tls.client_ca]]").nth(nth))
            }
            None => Ok(()),
        }
    }

    fn check_regions(&self) -> Result<(), Problem> {
        let elsewhere = |tenant: &TenantEntry| tenant.region.is_some() && tenant.region != self.region;
        match self.tenant.iter().position(elsewhere) {
            Some(nth) => Err(Problem::new("tenant", "region", "must be the deployment's region").nth(nth)),
            None => Ok(()),
        }
    }
}

/// A configuration that can't be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file can't be read.
    #[error("{} can't be read", file.display())]
    Unreadable {
        /// Which file.
        file: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The file breaks a rule.
    #[error(transparent)]
    Invalid(Box<Invalid>),
}

/// A broken rule and its place.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct Invalid {
    /// Which file.
    pub file: PathBuf,
    /// Which line, from 1.
    pub line: usize,
    /// Which character of the line, from 1.
    pub column: usize,
    /// Which key, dotted; empty if the text is no TOML there.
    pub key: String,
    /// The rule.
    pub rule: String,
}

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}: ", self.file.display(), self.line, self.column)?;
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        f.write_str(&self.rule)
    }
}

/// A rule between values that is broken, and the key to point at.
struct Problem {
    section: &'static str,
    key: &'static str,
    nth: usize,
    rule: &'static str,
}

impl Problem {
    fn new(section: &'static str, key: &'static str, rule: &'static str) -> Self {
        Self { section, key, nth: 0, rule }
    }

    /// In the nth section of that name.
    fn nth(self, nth: usize) -> Self {
        Self { nth, ..self }
    }
}

const FILE_BYTES_MAX: u64 = 1 << 20;

#[cfg(test)]
mod tests;
