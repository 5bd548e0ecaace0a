//! The life of a policy change: proposed by one person, approved by another, in force for everybody from one entry of the log
//! on.
//!
//! INVARIANT: a version comes into force by one atomic commit, of the entry that says so, the document, what is known of it, the
//! proposal's end and the version that the writer checks answers against. From that entry on nothing is released that was
//! decided under the version before; [`Service::put_in_force`](super::Service) then lets new decisions see the new one.
//!
//! Who may read the policy of one tenant is shown nothing of another's: `rights::Rights` decides line by line.

pub mod approve;
pub mod asked;
mod candidate;
pub mod get_policy;
pub mod get_proposal;
pub mod glass;
pub mod list_proposals;
pub mod list_versions;
pub mod plan;
pub mod propose;
pub mod recover;
pub mod refusal;
pub mod reject;
mod replay;
mod rights;
pub(super) mod said;
pub mod simulate;
mod since;
pub(super) mod stored;

use std::sync::Arc;

use super::Service;
use crate::policy::Snapshot;

impl Service {
    /// Lets decisions be made under a version that the log has in force.
    fn put_in_force(&self, snapshot: Arc<Snapshot>) {
        // Versions come into force one after the other, each decided on under the one before; never back, whatever happens.
        self.policy.rcu(|current| {
            let newest = if current.version() < snapshot.version() { &snapshot } else { current };
            Arc::clone(newest)
        });
    }
}
