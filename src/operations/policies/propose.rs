//! ProposeChange: a change with all that is known of its consequences. One that narrows is in force when this answers; any other
//! waits for another person.

use std::sync::Arc;

use super::{
    asked::{self, Sent, Wanted},
    candidate,
    plan::Plan,
    refusal::Refusal,
    rights::Rights,
    said::Said,
    since::Since,
    stored,
};
use crate::{
    audit::{Basis, Effects, Released, Unreleased},
    id::Action,
    identity::Caller,
    operations::{
        Halt, Header, Operation, Service, Violation,
        validate::{self, Checked},
    },
    policy::Snapshot,
    proto::stored::{self as entries, Proposal, ProposalBody, ProposalState},
    store::Rests,
};

/// Proposals that may wait for somebody at once, of one person.
const OPEN_MAX: usize = 32;
/// Proposals read at once.
const READ_MAX: usize = 256;

/// What is asked.
pub struct ProposeChange {
    /// The tenant, and the request's id.
    pub header: Header,
    /// The version that the change was made from.
    pub base_version: u64,
    /// What is to be otherwise.
    pub changes: Vec<Sent>,
    /// Why.
    pub reason: String,
}

/// A proposal that is one.
pub struct Asked {
    header: Checked,
    base_version: u64,
    wanted: Wanted,
    reason: String,
}

/// What was proposed.
#[derive(Debug)]
pub struct Proposed {
    /// As it is stored.
    pub proposal: Proposal,
    /// What it comes to.
    pub plan: Plan,
}

impl Operation for ProposeChange {
    type Asked = Asked;
    type Answer = Proposed;
    const NAME: entries::Operation = entries::Operation::ProposeChange;

    fn header(&self) -> &Header {
        &self.header
    }

    fn validate(self, _: &Service, _: &Snapshot, caller: &Caller) -> Result<Asked, Violation> {
        let header = validate::control(&self.header, caller)?;
        let wanted = asked::wanted(self.changes)?;
        let reason = asked::reason(self.reason, true)?;
        Ok(Asked { header, base_version: self.base_version, wanted, reason })
    }

    async fn attempt(service: &Service, caller: &Caller, asked: &Asked) -> Result<Released<Proposed>, Halt> {
        let Asked { header, base_version, wanted, reason } = asked;
        let at = service.log.read_point();

        // Decide, and find out what the change comes to: whom it touches decides who may make it.
        let mut rights = Rights::now(service, caller);
        let may = candidate::Asking { operation: Self::NAME, header };
        let candidate = match candidate::candidate(service, &mut rights, &may, *base_version, wanted).await? {
            Ok(candidate) => candidate,
            Err(problems) => {
                let refusal = Refusal::bad_policy(problems);
                return Err(rights.refused(service, Self::NAME, header, Action::Propose, refusal));
            }
        };
        let widens = candidate.widens();
        let person = rights.policy.person_of(&caller.principal).stored_id();
        if widens {
            let refused = |refusal| rights.refused(service, Self::NAME, header, Action::Propose, refusal);
            // Whoever approved it could be the same.
            if person.is_empty() {
                return Err(refused(Refusal::NoPerson));
            }
            if waiting(service, &rights, &person).await? >= OPEN_MAX {
                return Err(refused(Refusal::TooManyOpen(OPEN_MAX)));
            }
        }
        let simulation = candidate.simulate(service).await?;

        // Describe.
        let newest = stored::proposals(&*service.store, u64::MAX, 1).await.map_err(|error| Halt::unreadable(&error))?;
        let id = newest.first().map_or(1, |newest| newest.id.saturating_add(1));
        let said = Said::new(&*service.entropy, reason).map_err(|error| Halt::unreadable(&error))?;
        let proposal = Proposal {
            id,
            state: if widens { ProposalState::Open } else { ProposalState::Approved }.into(),
            base_version: *base_version,
            proposer: caller.principal.as_str().to_owned(),
            proposer_person: person,
            propose_time_unix_micros: service.log.now_micros(),
            reason: reason.clone(),
            reason_salt: said.salt,
            policy_hash: candidate.plan.snapshot.hash().to_vec(),
            widens,
            tenants: candidate.tenant_names(),
            version: if widens { 0 } else { candidate.plan.snapshot.version() },
            ..Default::default()
        };
        let body = ProposalBody { document: candidate.document().to_bytes(), simulation: Some(simulation.clone()) };
        let plan = candidate.shown(&mut rights, &simulation);

        // Record, and with it release; what narrows is in force from this entry on.
        let effect = describe(&proposal, &said.hash);
        let record = rights.record(service, Self::NAME, header, Action::Propose, effect)?;
        let slot = stored::proposal_slot(id);
        let rests = Rests { rewritten: vec![(slot, at)], ..Rests::default() };
        let basis = Basis { policy: Some(rights.basis()), rests: Arc::new(rests) };
        let mut effects = Effects { writes: stored::body_effects(id, &body), ..Effects::default() };
        effects.writes.push(stored::proposal_effect(&proposal));
        if !widens {
            candidate.take_effect(&proposal, &mut effects);
        }
        let answer = Unreleased::new(Proposed { proposal, plan });
        let released = service.log.commit(record, basis, effects, answer).await?;
        if !widens {
            service.put_in_force(candidate.plan.snapshot);
        }
        Ok(released)
    }
}

/// How many proposals of a person wait for another one.
async fn waiting(service: &Service, rights: &Rights<'_>, person: &str) -> Result<usize, Halt> {
    let since = Since::read(service, 0, rights.policy.version()).await?;
    let (mut below, mut count) = (u64::MAX, 0);
    loop {
        let page = stored::proposals(&*service.store, below, READ_MAX).await;
        let page = page.map_err(|error| Halt::unreadable(&error))?;
        let waits = |proposal: &&Proposal| {
            proposal.state() == ProposalState::Open && proposal.proposer_person == person && since.stands(proposal)
        };
        count += page.iter().filter(waits).count();
        match page.last() {
            Some(last) if page.len() == READ_MAX && since.reaches(last.base_version) => below = last.id,
            Some(_) | None => return Ok(count),
        }
    }
}

/// What the log says of a proposal.
fn describe(proposal: &Proposal, reason_hash: &str) -> String {
    let Proposal { id, base_version, version, tenants, .. } = proposal;
    let touched = tenants.join(", ");
    let hash = hex::encode(&proposal.policy_hash);
    let outcome =
        if proposal.widens { "waits for approval".to_owned() } else { format!("policy version {version} in force") };
    format!(
        "proposal {id} of policy {hash} on version {base_version}, touching {touched}: {outcome}; reason {reason_hash}"
    )
}
