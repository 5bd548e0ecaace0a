//! Which proposals still stand: a version that came into force since one was made may have changed what it is about.
//!
//! What somebody changes in one tenant leaves the proposals of others as they are: else one proposer could keep all others from
//! ever being heard. What is changed for all of them may give a proposal another meaning, so it ends every one.

use super::stored;
use crate::{
    id::{Principal, Tenant},
    operations::{Halt, Service},
    proto::stored::{PolicyVersion, Proposal},
};

/// Versions looked at, at most: a proposal of an earlier one stands no more.
const VERSIONS_MAX: usize = 1_000;

/// What came into force since.
pub(super) struct Since {
    /// The lowest version since which everything is here.
    from: u64,
    versions: Vec<PolicyVersion>,
}

impl Since {
    /// What came into force after version `base`.
    ///
    /// # Errors
    /// [`Halt`] if it can't be read.
    pub(super) async fn read(service: &Service, base: u64, in_force: u64) -> Result<Self, Halt> {
        let since = in_force.saturating_sub(base);
        let count = usize::try_from(since).unwrap_or(usize::MAX).min(VERSIONS_MAX);
        if count == 0 {
            return Ok(Self { from: in_force, versions: Vec::new() });
        }
        let versions = stored::versions(&*service.store, in_force.saturating_add(1), count).await;
        let versions = versions.map_err(|error| Halt::unreadable(&error))?;
        let from = versions.last().map_or(in_force, |oldest| oldest.version.saturating_sub(1));
        Ok(Self { from, versions })
    }

    /// Whether everything since this version is here.
    pub(super) fn reaches(&self, version: u64) -> bool {
        version >= self.from
    }

    /// Whether a proposal can still be approved, as far as its tenants tell.
    pub(super) fn stands(&self, proposal: &Proposal) -> bool {
        let mut since = self.versions.iter().filter(|version| version.version > proposal.base_version);
        self.reaches(proposal.base_version) && since.all(|version| leaves_alone(version, proposal))
    }
}

/// Whether a version did nothing to a proposal.
fn leaves_alone(version: &PolicyVersion, proposal: &Proposal) -> bool {
    if version.proposal > 0 {
        let touches = |tenant: &String| *tenant == Tenant::system().as_str() || proposal.tenants.contains(tenant);
        return !version.tenants.iter().any(touches);
    }
    // Without a proposal the glass was broken or mended, which touches no line that a proposal may be about; or else all of it
    // was put there on the host.
    Principal::parse(&version.proposer).is_ok_and(|proposer| !proposer.is_system())
}
