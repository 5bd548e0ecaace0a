//! Breaking the glass: an emergency role for a few hours, at once and without another person, and then the questions.
//!
//! INVARIANT: each breaking is a record that goes into the store in the same commit as the policy version that it makes, and
//! stays open until another person has looked at it.

pub mod end;
pub mod list;
pub mod review;
pub mod take;

use super::{rights::Rights, stored};
use crate::{
    id::{Principal, Tenant},
    operations::{Halt, Service},
    policy::Snapshot,
    proto::stored::{BrokenGlass, PolicyVersion},
    store::Effect,
};

/// For how long at most, in seconds.
pub const SECS_MAX: u64 = 4 * 3_600;
/// For how long if nothing is said.
pub const SECS_DEFAULT: u64 = 3_600;
/// For how long at least.
pub const SECS_MIN: u64 = 60;
/// A person breaks the glass once in so many seconds.
pub const AGAIN_SECS: u64 = 24 * 3_600;

/// The record of this number, if it is of this tenant.
async fn of_tenant(service: &Service, number: u64, tenant: &Tenant) -> Result<Option<BrokenGlass>, Halt> {
    let found = stored::glass(&*service.store, number).await.map_err(|error| Halt::unreadable(&error))?;
    Ok(found.filter(|glass| glass.tenant == tenant.as_str()))
}

/// When the role is held no more: when it was put back, or else when it expires.
fn end_secs(glass: &BrokenGlass) -> u64 {
    let ended = glass.end_time_unix_micros / 1_000_000;
    if ended > 0 { ended.min(glass.expires_unix_secs) } else { glass.expires_unix_secs }
}

/// Whether a breaking was this person's, under whatever name.
fn is_of(glass: &BrokenGlass, policy: &Snapshot, principal: &Principal) -> bool {
    let person = policy.person_of(principal).stored_id();
    let then = Principal::parse(&glass.principal).map(|then| policy.person_of(&then).stored_id()).unwrap_or_default();
    glass.principal == principal.as_str() || !person.is_empty() && (glass.person == person || then == person)
}

/// What a version writes that nobody approved.
fn version(rights: &Rights<'_>, snapshot: &Snapshot, glass: &BrokenGlass, by: &Principal, time: u64) -> Vec<Effect> {
    debug_assert!(snapshot.version() > rights.policy.version());
    let known = PolicyVersion {
        version: snapshot.version(),
        policy_hash: snapshot.hash().to_vec(),
        time_unix_micros: time,
        proposer: by.as_str().to_owned(),
        reason: format!("break-glass {}", glass.number),
        tenants: vec![glass.tenant.clone()],
        ..Default::default()
    };
    stored::version(&known, snapshot.document().sources())
}
