//! Recovery: on the host, with the server stopped, a policy is put in force that nobody approved. The one way around the second
//! person, for when there is none any more; it is on record as what it is.

use std::sync::Arc;

use super::{said::Said, stored};
use crate::{
    audit::{Basis, Effects, Log},
    catalogue::Problem,
    entropy::Entropy,
    id::{Principal, Tenant},
    operations::start::{self, Error},
    policy::{POLICY, Snapshot, Sources, keeps_control},
    proto::stored::{Entry, Operation, PolicyVersion},
    store::{self, Store},
};

/// Puts `sources` in force as the next version, and says which that is. `reason` is kept beside the log, which has its salted
/// hash.
///
/// # Errors
/// [`Error::Policy`] if it is not sound, if rules of it have expired, if it leaves fewer than two persons to change it, or if it
/// is in force already; [`Error::Store`] and [`Error::Log`] for a store or a log that fails.
pub async fn recover(
    log: &Log,
    store: &Arc<dyn Store>,
    entropy: &dyn Entropy,
    sources: &Sources,
    reason: &str,
) -> Result<u64, Error> {
    let before = log.policy_version();
    let in_force = match stored::document(&**store, before).await {
        Ok(in_force) => in_force,
        // That may be why it must be replaced.
        Err(store::Error::Damaged { what }) => {
            tracing::warn!(version = before, what, "the policy in force can't be read");
            None
        }
        Err(error) => return Err(error.into()),
    };
    let now = log.now_secs();
    if in_force.is_some_and(|document| document.hash() == sources.hash()) {
        return Err(Error::Policy(vec![Problem::of_file(POLICY, "is in force already".to_owned())]));
    }
    let version = before.saturating_add(1);
    let snapshot = Snapshot::build(version, sources).map_err(Error::Policy)?;
    let taken = snapshot.document().taken();
    let unfit: Vec<Problem> =
        taken.into_iter().chain(snapshot.expired(now)).chain(keeps_control(None, &snapshot, now).err()).collect();
    if !unfit.is_empty() {
        return Err(Error::Policy(unfit));
    }
    let said = Said::new(entropy, reason).map_err(crate::keyring::Error::from)?;
    let recoverer = Principal::system("recover");
    let entry = Entry {
        principal: recoverer.as_str().to_owned(),
        policy_version: version,
        policy_hash: snapshot.hash().to_vec(),
        effect: format!(
            "policy version {version} in force, {}, put there on the host; reason {}",
            hex::encode(snapshot.hash()),
            said.hash
        ),
        ..start::entry(Operation::RecoverPolicy)
    };
    let known = PolicyVersion {
        version,
        policy_hash: snapshot.hash().to_vec(),
        time_unix_micros: log.now_micros(),
        proposer: recoverer.as_str().to_owned(),
        reason: reason.to_owned(),
        reason_salt: said.salt,
        tenants: snapshot.tenants().iter().map(Tenant::to_string).take(TENANTS_MAX).collect(),
        ..Default::default()
    };
    let effects = Effects {
        writes: stored::version(&known, sources),
        policy: Some((version, *snapshot.hash())),
        ..Effects::default()
    };
    start::commit(log, &Tenant::system(), entry, Basis::default(), effects).await?;
    Ok(version)
}

/// Tenants that are said to be touched, at most.
const TENANTS_MAX: usize = 64;
