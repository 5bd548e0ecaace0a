//! RejectProposal: who could have approved a proposal ends it, or who made it withdraws it.

use super::{
    approve::basis,
    get_proposal::{visible, visible_part},
    refusal::Refusal,
    rights::Rights,
    said::Said,
    stored,
};
use crate::{
    audit::{Effects, Released, Unreleased},
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
pub struct RejectProposal {
    /// The tenant, and the request's id.
    pub header: Header,
    /// Which proposal.
    pub id: u64,
    /// Why.
    pub reason: String,
}

/// A rejection that is one.
pub struct Asked {
    header: Checked,
    id: u64,
    reason: String,
}

impl Operation for RejectProposal {
    type Asked = Asked;
    type Answer = Proposal;
    const NAME: entries::Operation = entries::Operation::RejectProposal;

    fn header(&self) -> &Header {
        &self.header
    }

    fn validate(self, _: &Service, _: &Snapshot, caller: &Caller) -> Result<Asked, Violation> {
        let header = validate::control(&self.header, caller)?;
        Ok(Asked { header, id: self.id, reason: super::asked::reason(self.reason, true)? })
    }

    async fn attempt(service: &Service, caller: &Caller, asked: &Asked) -> Result<Released<Proposal>, Halt> {
        let Asked { header, id, reason } = asked;
        let at = service.log.read_point();

        // Decide: as one who could approve it, or as the one who proposed it.
        let mut rights = Rights::now(service, caller);
        let action =
            [Action::Approve, Action::Propose].into_iter().find(|action| rights.allows(&header.tenant, *action));
        let Some(action) = action else {
            return Err(rights.denied(service, Self::NAME, header, Action::Approve, header.tenant.clone()));
        };
        let refused = |rights: &Rights<'_>, refusal| rights.refused(service, Self::NAME, header, action, refusal);
        let Some(proposal) = visible(service, &mut rights, *id).await? else {
            return Err(refused(&rights, Refusal::NoProposal));
        };
        if !proposal.tenants.iter().any(|tenant| tenant == header.tenant.as_str()) {
            return Err(refused(&rights, Refusal::NotTouched));
        }
        if action == Action::Propose && proposal.proposer != caller.principal.as_str() {
            return Err(rights.denied(service, Self::NAME, header, Action::Approve, header.tenant.clone()));
        }
        if proposal.state() != ProposalState::Open {
            return Err(refused(&rights, Refusal::NotOpen));
        }

        // Record, and with it end it and release.
        let said = Said::new(&*service.entropy, reason).map_err(|error| Halt::unreadable(&error))?;
        let rejected = Proposal {
            state: ProposalState::Rejected.into(),
            decider: caller.principal.as_str().to_owned(),
            decide_time_unix_micros: service.log.now_micros(),
            decide_reason: reason.clone(),
            decide_salt: said.salt,
            ..proposal
        };
        let effect = format!("proposal {id} rejected; reason {}", said.hash);
        let record = rights.record(service, Self::NAME, header, action, effect)?;
        let effects = Effects { writes: vec![stored::proposal_effect(&rejected)], ..Effects::default() };
        let answer = Unreleased::new(visible_part(&rights, rejected));
        Ok(service.log.commit(record, basis(&rights, *id, at), effects, answer).await?)
    }
}
