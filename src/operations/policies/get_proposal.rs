//! GetProposal: one proposal, as far as the caller may read what it touches.

use super::{candidate::Candidate, plan::Plan, refusal::Refusal, rights::Rights, since::Since, stored};
use crate::{
    audit::{Basis, Effects, Released, Unreleased},
    id::Action,
    identity::Caller,
    operations::{
        Halt, Header, Operation, Service, Violation,
        validate::{self, Checked},
    },
    policy::Snapshot,
    proto::stored::{self as entries, Proposal, ProposalState},
};

/// What is asked.
pub struct GetProposal {
    /// The tenant, and the request's id.
    pub header: Header,
    /// Which proposal.
    pub id: u64,
}

/// A question that holds.
pub struct Asked {
    header: Checked,
    id: u64,
}

/// A proposal and what it comes to.
#[derive(Debug)]
pub struct Shown {
    /// As it is stored, of what the caller may read.
    pub proposal: Proposal,
    /// What it comes to, from its base.
    pub plan: Plan,
}

impl Operation for GetProposal {
    type Asked = Asked;
    type Answer = Shown;
    const NAME: entries::Operation = entries::Operation::GetProposal;

    fn header(&self) -> &Header {
        &self.header
    }

    fn validate(self, _: &Service, _: &Snapshot, caller: &Caller) -> Result<Asked, Violation> {
        Ok(Asked { header: validate::control(&self.header, caller)?, id: self.id })
    }

    async fn attempt(service: &Service, caller: &Caller, asked: &Asked) -> Result<Released<Shown>, Halt> {
        let Asked { header, id } = asked;

        // Decide.
        let mut rights = Rights::now(service, caller);
        if !rights.allows(&header.tenant, Action::Read) {
            return Err(rights.denied(service, Self::NAME, header, Action::Read, header.tenant.clone()));
        }

        // Read.
        let Some(proposal) = visible(service, &mut rights, *id).await? else {
            return Err(rights.refused(service, Self::NAME, header, Action::Read, Refusal::NoProposal));
        };
        let (candidate, simulation) = Candidate::of_proposal(service, &rights.policy, &proposal).await?;
        let plan = candidate.shown(&mut rights, &simulation);
        let since = Since::read(service, proposal.base_version, rights.policy.version()).await?;
        let shown = Shown { proposal: shown(&rights, &since, proposal), plan };

        // Record, and with it release.
        let record = rights.record(service, Self::NAME, header, Action::Read, format!("proposal {id}"))?;
        let basis = Basis { policy: Some(rights.basis()), ..Basis::default() };
        Ok(service.log.commit(record, basis, Effects::default(), Unreleased::new(shown)).await?)
    }
}

/// A proposal, if it touches anything that the caller may read.
pub(super) async fn visible(service: &Service, rights: &mut Rights<'_>, id: u64) -> Result<Option<Proposal>, Halt> {
    let found = stored::proposal(&*service.store, id).await.map_err(|error| Halt::unreadable(&error))?;
    let Some(proposal) = found else { return Ok(None) };
    rights.look_by_name(proposal.tenants.iter());
    Ok(Some(proposal).filter(|proposal| rights.sees_any(&proposal.tenants)))
}

/// A proposal as the caller may see it: an open one that can't be approved any more is superseded.
pub(super) fn shown(rights: &Rights<'_>, since: &Since, mut proposal: Proposal) -> Proposal {
    if proposal.state() == ProposalState::Open && !since.stands(&proposal) {
        proposal.set_state(ProposalState::Superseded);
    }
    visible_part(rights, proposal)
}

/// A proposal without the tenants that the caller may not read.
pub(super) fn visible_part(rights: &Rights<'_>, mut proposal: Proposal) -> Proposal {
    proposal.tenants.retain(|tenant| rights.sees_any(std::slice::from_ref(tenant)));
    proposal
}
