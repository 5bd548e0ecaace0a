//! ApproveProposal: another person than the one who proposed it puts a change in force.

use std::sync::Arc;

use super::{
    candidate::Candidate,
    get_proposal::{visible, visible_part},
    refusal::Refusal,
    rights::Rights,
    said::Said,
    stored,
};
use crate::{
    audit::{Basis, Effects, Released, Unreleased},
    id::{Action, Tenant},
    identity::Caller,
    operations::{
        Failure, Halt, Header, Operation, Service, Violation, refusal,
        validate::{self, Checked},
    },
    policy::Snapshot,
    proto::stored::{self as entries, Proposal, ProposalState},
    store::{ReadPoint, Rests},
};

/// What is asked.
pub struct ApproveProposal {
    /// The tenant, and the request's id.
    pub header: Header,
    /// Which proposal.
    pub id: u64,
    /// The hash of the document that is meant; empty: whichever the proposal has.
    pub policy_hash: Vec<u8>,
    /// Why; may be empty.
    pub reason: String,
}

/// An approval that is one.
pub struct Asked {
    header: Checked,
    id: u64,
    policy_hash: Vec<u8>,
    reason: String,
}

impl Operation for ApproveProposal {
    type Asked = Asked;
    type Answer = Proposal;
    const NAME: entries::Operation = entries::Operation::ApproveProposal;

    fn header(&self) -> &Header {
        &self.header
    }

    fn validate(self, _: &Service, _: &Snapshot, caller: &Caller) -> Result<Asked, Violation> {
        let header = validate::control(&self.header, caller)?;
        if !matches!(self.policy_hash.len(), 0 | 32) {
            return Err(Violation::new("policy_hash", "must have 32 bytes, or none"));
        }
        let reason = super::asked::reason(self.reason, false)?;
        Ok(Asked { header, id: self.id, policy_hash: self.policy_hash, reason })
    }

    async fn attempt(service: &Service, caller: &Caller, asked: &Asked) -> Result<Released<Proposal>, Halt> {
        let Asked { header, id, .. } = asked;
        let at = service.log.read_point();

        // Decide: may the caller approve here at all, and in every tenant that the proposal touches?
        let mut rights = Rights::now(service, caller);
        let denied = |rights: &Rights<'_>, tenant: &Tenant| {
            rights.denied(service, Self::NAME, header, Action::Approve, tenant.clone())
        };
        if !rights.allows(&header.tenant, Action::Approve) {
            return Err(denied(&rights, &header.tenant));
        }
        let refused =
            |rights: &Rights<'_>, refusal| rights.refused(service, Self::NAME, header, Action::Approve, refusal);
        let Some(proposal) = visible(service, &mut rights, *id).await? else {
            return Err(refused(&rights, Refusal::NoProposal));
        };
        if !proposal.tenants.iter().any(|tenant| tenant == header.tenant.as_str()) {
            return Err(refused(&rights, Refusal::NotTouched));
        }
        for name in &proposal.tenants {
            let tenant = Tenant::parse_or_system(name).map_err(|invalid| Halt::unreadable(&invalid))?;
            if !rights.allows(&tenant, Action::Approve) {
                return Err(denied(&rights, &header.tenant));
            }
        }

        // Does it still stand, and is this the person to approve it?
        if proposal.state() != ProposalState::Open {
            return Err(refused(&rights, Refusal::NotOpen));
        }
        if !asked.policy_hash.is_empty() && asked.policy_hash != proposal.policy_hash {
            return Err(refused(&rights, Refusal::OtherDocument));
        }
        let Some(candidate) = Candidate::by_now(service, &rights.policy, &proposal).await? else {
            return Err(supersede(service, asked, &rights, proposal, at).await);
        };
        if let Some(refusal) = candidate.unfit_to_approve(&caller.principal, &proposal) {
            return Err(refused(&rights, refusal));
        }
        // Time may have taken away since what was left then.
        if let Some(why) = candidate.control_lost(service.log.now_secs()) {
            return Err(refused(&rights, Refusal::ControlLost(why)));
        }

        // Record, and with it put in force and release.
        let version = candidate.plan.snapshot.version();
        let said = Said::new(&*service.entropy, &asked.reason).map_err(|error| Halt::unreadable(&error))?;
        let approved = Proposal {
            state: ProposalState::Approved.into(),
            decider: caller.principal.as_str().to_owned(),
            decide_time_unix_micros: service.log.now_micros(),
            decide_reason: asked.reason.clone(),
            decide_salt: said.salt,
            version,
            ..proposal
        };
        let effect = format!(
            "proposal {id} by {}, touching {}: policy version {version} in force, {}; reason {}",
            approved.proposer,
            approved.tenants.join(", "),
            hex::encode(candidate.plan.snapshot.hash()),
            said.hash,
        );
        let record = rights.record(service, Self::NAME, header, Action::Approve, effect)?;
        let mut effects = Effects { writes: vec![stored::proposal_effect(&approved)], ..Effects::default() };
        candidate.take_effect(&approved, &mut effects);
        let answer = Unreleased::new(visible_part(&rights, approved));
        let released = service.log.commit(record, basis(&rights, *id, at), effects, answer).await?;
        service.put_in_force(candidate.plan.snapshot);
        Ok(released)
    }
}

/// Ends a proposal whose base is not in force any more, on record.
async fn supersede(
    service: &Service,
    asked: &Asked,
    rights: &Rights<'_>,
    mut proposal: Proposal,
    at: ReadPoint,
) -> Halt {
    let in_force = rights.policy.version();
    proposal.set_state(ProposalState::Superseded);
    let effect = format!("proposal {} superseded: its base is version {}", asked.id, proposal.base_version);
    let refusal = Refusal::StaleBase { in_force };
    let reason = refusal.reason();
    let record = match rights.refusal(service, ApproveProposal::NAME, &asked.header, (Action::Approve, reason), effect)
    {
        Ok(record) => record,
        Err(halt) => return halt,
    };
    let effects = Effects { writes: vec![stored::proposal_effect(&proposal)], ..Effects::default() };
    let answer = Unreleased::new(refusal::Refusal::Policy(refusal));
    match service.log.commit(record, basis(rights, asked.id, at), effects, answer).await {
        Ok(released) => Halt::Failed(Failure::Refused(released)),
        Err(refused) => refused.into(),
    }
}

/// What the end of a proposal stands on: the policy, and that nobody else has ended it.
pub(super) fn basis(rights: &Rights<'_>, id: u64, at: ReadPoint) -> Basis {
    let rests = Rests { rewritten: vec![(stored::proposal_slot(id), at)], ..Rests::default() };
    Basis { policy: Some(rights.basis()), rests: Arc::new(rests) }
}
