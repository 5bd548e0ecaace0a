//! What a server does before it listens: puts a policy in force, gives new tenants their keys, and records that it started.
//!
//! These are operations like any other, recorded with their effects in one commit, in the name of `system:start`, which
//! nobody can authenticate as.

use std::sync::Arc;

use super::{Service, policies};
use crate::{
    audit::{Basis, Effects, Log, Record, Refused, Released, Unreleased},
    catalogue::Problem,
    id::{Principal, Region, Tenant},
    identity::Tenants,
    keyring::{self, Keyring, Standing, log_key},
    policy::{Snapshot, Sources, keeps_control},
    proto::stored::{self, Operation, Verdict},
    store::{self, Store},
};

/// What the files on disk may do to a policy that is already in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Changed {
    /// Files that differ from it stop the start.
    Refuse,
    /// Files that differ from it become the next version, on record.
    Adopt,
}

/// Why a server can't start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The policy is bad; every problem is listed.
    #[error("the policy is refused:\n{}", .0.iter().map(|problem| format!("  {problem}\n")).collect::<String>())]
    Policy(Vec<Problem>),
    /// The files on disk are not the policy in force.
    #[error(
        "the policy files are not those of any policy version, and version {version} is in force; files on disk seed the first version only: put them back, start, and propose the change with `privet policy apply`"
    )]
    PolicyChanged {
        /// The version in force.
        version: u64,
    },
    /// The policy in the store can't be read.
    #[error("the stored policy version {version} is damaged; restore the data directory from a backup")]
    PolicyDamaged {
        /// Its version.
        version: u64,
    },
    /// A tenant was created for another region.
    #[error(
        "tenant {tenant} belongs to region {stored:?} and this deployment to {configured:?}; data does not move between regions"
    )]
    Region {
        /// The tenant.
        tenant: Tenant,
        /// Where it belongs.
        stored: String,
        /// Where this is.
        configured: String,
    },
    /// The key that signs the log is not the log's.
    #[error("the log's key does not belong to this log's origin; set log.origin back, or restore the data directory")]
    LogKey,
    /// The key that signs the log can't be read or opened.
    #[error(transparent)]
    WrappedLogKey(#[from] log_key::Error),
    /// The keys can't be used.
    #[error(transparent)]
    Keys(#[from] keyring::Error),
    /// The store can't be used.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// The log can't be written.
    #[error(transparent)]
    Log(#[from] Refused),
}

/// Puts the policy in force: the stored version if there is one, else `files` as version 1.
///
/// Once there is a version, files on disk change nothing: those of any version that there was are what a start before has left,
/// and all others are a change that nobody has approved.
///
/// # Errors
/// [`Error::Policy`], [`Error::PolicyChanged`], [`Error::PolicyDamaged`], or a store or log that fails.
pub async fn policy(log: &Log, store: &dyn Store, files: &Sources, changed: Changed) -> Result<Snapshot, Error> {
    let version = log.policy_version();
    if version > 0 {
        let stored = match policies::stored::document(store, version).await {
            Ok(Some(stored)) => stored,
            Ok(None) | Err(store::Error::Damaged { .. }) => return Err(Error::PolicyDamaged { version }),
            Err(error) => return Err(Error::Store(error)),
        };
        // What the log says is in force, and nothing else.
        if stored.hash() != log.opened_with_policy_hash() {
            return Err(Error::PolicyDamaged { version });
        }
        let unchanged = match changed {
            Changed::Refuse => any_version(store, version, |known| known.policy_hash == files.hash()).await?.is_some(),
            // Since they were adopted; what was proposed meanwhile stays in force.
            Changed::Adopt => {
                any_version(store, version, |known| known.proposer == Principal::system("start").as_str())
                    .await?
                    .is_some_and(|adopted| adopted.policy_hash == files.hash())
            }
        };
        if unchanged {
            tracing::info!(version, same = stored.hash() == files.hash(), "the policy in force is the store's");
            return Snapshot::build(version, &stored).map_err(Error::Policy);
        }
        if changed == Changed::Refuse {
            return Err(Error::PolicyChanged { version });
        }
    }
    let next = version.saturating_add(1);
    let snapshot = Snapshot::build(next, files).map_err(Error::Policy)?;
    let mut unfit = snapshot.document().taken();
    // Whoever tries things out may have a policy that nobody can change.
    if changed == Changed::Refuse {
        unfit.extend(keeps_control(None, &snapshot, log.now_secs()).err());
    }
    if !unfit.is_empty() {
        return Err(Error::Policy(unfit));
    }
    let entry = stored::Entry {
        policy_version: next,
        policy_hash: snapshot.hash().to_vec(),
        effect: format!("policy version {next} in force"),
        ..entry(Operation::AdoptPolicy)
    };
    let known = stored::PolicyVersion {
        version: next,
        policy_hash: snapshot.hash().to_vec(),
        time_unix_micros: log.now_micros(),
        proposer: Principal::system("start").as_str().to_owned(),
        tenants: vec![Tenant::system().to_string()],
        ..Default::default()
    };
    let effects = Effects {
        writes: policies::stored::version(&known, files),
        policy: Some((next, *snapshot.hash())),
        ..Effects::default()
    };
    commit(log, &Tenant::system(), entry, Basis::default(), effects).await?;
    Ok(snapshot)
}

/// The newest version, up to this one, that is as asked for.
async fn any_version(
    store: &dyn Store,
    version: u64,
    is: impl Fn(&stored::PolicyVersion) -> bool,
) -> Result<Option<stored::PolicyVersion>, Error> {
    const PAGE: usize = 256;
    let mut below = version.saturating_add(1);
    loop {
        let page = policies::stored::versions(store, below, PAGE).await?;
        let next = page.last().filter(|_| page.len() == PAGE).map(|last| last.version);
        if let Some(found) = page.into_iter().find(&is) {
            return Ok(Some(found));
        }
        let Some(next) = next else { return Ok(None) };
        below = next;
    }
}

/// Gives a tenant its keys if it has none yet, and checks that it belongs here if it has.
///
/// # Errors
/// [`Error::Region`], or keys, a store or a log that fail.
pub async fn tenant(
    log: &Log,
    store: &dyn Store,
    keyring: &Keyring,
    tenant: &Tenant,
    region: Option<&Region>,
) -> Result<(), Error> {
    let configured = region.map_or("", Region::as_str);
    let at = log.read_point();
    if let Some(life) = keyring.life(store, tenant).await? {
        let stored = life.region();
        if life.standing() == Standing::Destroyed {
            // A name is used once.
            tracing::warn!(tenant = tenant.as_str(), "this tenant was destroyed: take it out of the configuration");
            return Ok(());
        }
        if stored != configured {
            let (stored, configured) = (stored.to_owned(), configured.to_owned());
            return Err(Error::Region { tenant: tenant.clone(), stored, configured });
        }
        // Once, so that a root key that is not this store's stops the start.
        keyring.tenant(store, tenant, at).await?;
        return Ok(());
    }
    let entry = stored::Entry {
        effect: "tenant created with its lookup, index and bucket keys".to_owned(),
        region: configured.to_owned(),
        policy_version: log.policy_version(),
        ..entry(Operation::CreateTenant)
    };
    let created = keyring.create_tenant(tenant, region, at).await?;
    let basis = Basis { rests: Arc::new(created.rests), ..Basis::default() };
    commit(log, tenant, entry, basis, Effects { writes: created.effects, ..Effects::default() }).await?;
    Ok(())
}

/// The tenants that there ever were.
///
/// # Errors
/// A store that fails, or a tenant's record that can't be read.
pub async fn tenants(store: &dyn Store, keyring: &Keyring) -> Result<Tenants, Error> {
    let tenants = Tenants::default();
    let lives = keyring.lives(store, None, usize::MAX).await?;
    tenants.add(lives.iter().map(|life| (life.tenant().clone(), life.region().to_owned())));
    Ok(tenants)
}

/// Records that the log goes on under an anchor that had seen nothing of it.
///
/// # Errors
/// The log can't be written.
pub async fn new_anchor(log: &Log) -> Result<(), Error> {
    let effect = format!("a new anchor was taken at {} entries", log.read_point().0);
    let entry = stored::Entry { effect, policy_version: log.policy_version(), ..entry(Operation::Start) };
    commit(log, &Tenant::system(), entry, Basis::default(), Effects::default()).await?;
    Ok(())
}

/// Records that somebody says the clock is right, after it was seen to step.
///
/// # Errors
/// The log can't be written.
pub(super) async fn clock_confirmed(service: &Service) -> Result<(), Refused> {
    let effect = "the clock is said to be right: what is kept for its time is erased again".to_owned();
    let entry = stored::Entry { effect, policy_version: service.log.policy_version(), ..entry(Operation::Start) };
    commit(&service.log, &Tenant::system(), entry, Basis::default(), Effects::default()).await
}

/// Records that a server started.
///
/// # Errors
/// The log can't be written.
pub async fn started(service: &Arc<Service>) -> Result<(), Error> {
    let policy = service.policy.load();
    let entry = stored::Entry {
        effect: format!("privet {} started", env!("CARGO_PKG_VERSION")),
        policy_version: policy.version(),
        policy_hash: policy.hash().to_vec(),
        region: service.region().to_owned(),
        ..entry(Operation::Start)
    };
    commit(&service.log, &Tenant::system(), entry, Basis::default(), Effects::default()).await?;
    Ok(())
}

pub(super) fn entry(operation: Operation) -> stored::Entry {
    stored::Entry {
        operation: operation.into(),
        principal: Principal::system("start").as_str().to_owned(),
        authentication: "host".to_owned(),
        verdict: Verdict::Allow.into(),
        ..Default::default()
    }
}

pub(super) async fn commit(
    log: &Log,
    tenant: &Tenant,
    entry: stored::Entry,
    basis: Basis,
    effects: Effects,
) -> Result<(), Refused> {
    let record = Record::encode(tenant, entry, Vec::new()).map_err(|_| Refused::TooLong)?;
    // A server must start on a full disk, or nothing could be erased there.
    let effects = Effects { from_reserve: true, ..effects };
    let _: Released<()> = log.commit(record, basis, effects, Unreleased::new(())).await?;
    Ok(())
}
