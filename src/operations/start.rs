//! What a server does before it listens: puts a policy in force, gives new tenants their keys, and records that it started.
//!
//! These are operations like any other, recorded with their effects in one commit, in the name of `system:start`, which
//! nobody can authenticate as.

use std::sync::Arc;

use super::Service;
use crate::{
    audit::{Basis, Effects, Log, Record, Refused, Released, Unreleased},
    catalogue::Problem,
    id::{Principal, Region, Tenant},
    keyring::{self, Keyring, log_key},
    policy::{Snapshot, Sources},
    proto::stored::{self, Operation, Verdict},
    store::{self, Direction, Effect, Slot, Space, Store, VALUE_BYTES_MAX},
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
        "the policy files differ from policy version {version}, which is in force; put the files back, or start once with --adopt-policy to make them version {}",
        version.saturating_add(1)
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
/// # Errors
/// [`Error::Policy`], [`Error::PolicyChanged`], [`Error::PolicyDamaged`], or a store or log that fails.
pub async fn policy(log: &Log, store: &dyn Store, files: &Sources, changed: Changed) -> Result<Snapshot, Error> {
    let version = log.policy_version();
    if version > 0 {
        let stored = stored_policy(store, version).await?;
        // What the log says is in force, and nothing else.
        if stored.hash() != log.opened_with_policy_hash() {
            return Err(Error::PolicyDamaged { version });
        }
        if stored.hash() == files.hash() {
            return Snapshot::build(version, &stored).map_err(Error::Policy);
        }
        if changed == Changed::Refuse {
            return Err(Error::PolicyChanged { version });
        }
    }
    let next = version.saturating_add(1);
    let snapshot = Snapshot::build(next, files).map_err(Error::Policy)?;
    let entry = stored::Entry {
        policy_version: next,
        policy_hash: snapshot.hash().to_vec(),
        effect: format!("policy version {next} in force"),
        ..entry(Operation::AdoptPolicy)
    };
    let effects = Effects {
        writes: chunks(next, &files.to_bytes()),
        policy: Some((next, *snapshot.hash())),
        ..Effects::default()
    };
    commit(log, &Tenant::system(), entry, Basis::default(), effects).await?;
    Ok(snapshot)
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
    if let Some(keys) = keyring.tenant(store, tenant, at).await? {
        let stored = keys.region().map_or("", Region::as_str);
        return if stored == configured {
            Ok(())
        } else {
            Err(Error::Region { tenant: tenant.clone(), stored: stored.to_owned(), configured: configured.to_owned() })
        };
    }
    let entry = stored::Entry {
        effect: "tenant created with its lookup, index and bucket keys".to_owned(),
        region: configured.to_owned(),
        policy_version: log.policy_version(),
        ..entry(Operation::CreateTenant)
    };
    let created = keyring.create_tenant(tenant, region, at)?;
    let basis = Basis { rests: Arc::new(created.rests), ..Basis::default() };
    commit(log, tenant, entry, basis, Effects { writes: created.effects, ..Effects::default() }).await?;
    Ok(())
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

fn chunk_key(version: u64, chunk: u16) -> Vec<u8> {
    [version.to_be_bytes().as_slice(), &chunk.to_be_bytes()].concat()
}

fn chunks(version: u64, document: &[u8]) -> Vec<Effect> {
    let chunks = document.chunks(VALUE_BYTES_MAX).zip(0..);
    chunks
        .map(|(chunk, n)| Effect {
            slot: Slot { space: Space::Policy, key: chunk_key(version, n) },
            value: Some(chunk.to_vec()),
        })
        .collect()
}

/// The document of a version.
pub(super) async fn stored_policy(store: &dyn Store, version: u64) -> Result<Sources, Error> {
    const PAGE: usize = 256;
    let end = version.saturating_add(1).to_be_bytes().to_vec();
    let mut from = chunk_key(version, 0);
    let mut document = Vec::new();
    loop {
        let page = store.scan(Space::Policy, from..end.clone(), Direction::Ascending, PAGE).await?;
        from = page.last().map(|(key, _)| [key.as_slice(), &[0]].concat()).unwrap_or_default();
        let full = page.len() == PAGE;
        document.extend(page.into_iter().flat_map(|(_, chunk)| chunk));
        if !full {
            return Sources::from_bytes(&document).map_err(|_| Error::PolicyDamaged { version });
        }
    }
}
