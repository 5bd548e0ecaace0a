//! The candidate: the document that a change leads to, whether it may be proposed or approved, and what puts it in force.

use std::sync::Arc;

use super::{
    asked::Wanted, get_policy::snapshot, refusal::Refusal, replay::replay, rights::Rights, since::Since, stored,
};
use crate::{
    audit::Effects,
    catalogue::Problem,
    id::{Action, Principal, Tenant},
    operations::{Failure, Halt, Service, validate::Checked},
    policy::{self, Change, Document, GrantId, Person, Snapshot, Sources, Tenants},
    proto::stored::{Operation, PolicyVersion, Proposal, Simulation},
};

/// Tenants that one change may touch: they are named in its entry.
const TENANTS_MAX: usize = 64;

/// A document that may come into force, next to the one it was made from.
pub(super) struct Candidate {
    pub(super) before: Arc<Snapshot>,
    pub(super) plan: policy::Plan,
}

/// Who asks for a candidate, and for what.
pub(super) struct Asking<'a> {
    pub(super) operation: Operation,
    pub(super) header: &'a Checked,
}

/// The candidate that changes lead to, if the caller may propose them; or what is wrong with it.
///
/// # Errors
/// [`Halt`]: the caller may not, the base is not in force, or something can't be read.
pub(super) async fn candidate(
    service: &Service,
    rights: &mut Rights<'_>,
    Asking { operation, header }: &Asking<'_>,
    base_version: u64,
    wanted: &Wanted,
) -> Result<Result<Candidate, Vec<Problem>>, Halt> {
    let action = Action::Propose;
    if !rights.allows(&header.tenant, action) {
        return Err(rights.denied(service, *operation, header, action, header.tenant.clone()));
    }
    let in_force = rights.policy.version();
    if base_version != in_force {
        return Err(rights.refused(service, *operation, header, action, Refusal::StaleBase { in_force }));
    }
    let earlier = match wanted {
        Wanted::Version(version) if *version <= in_force => {
            stored::document(&*service.store, *version).await.map_err(|error| Halt::unreadable(&error))?
        }
        Wanted::Version(_) | Wanted::Changes(_) => None,
    };
    let changes = match (wanted, &earlier) {
        (Wanted::Changes(changes), _) => changes.clone(),
        (Wanted::Version(_), Some(_)) => Vec::new(),
        (Wanted::Version(_), None) => {
            return Err(rights.refused(service, *operation, header, action, Refusal::NoVersion));
        }
    };
    match looked_at(rights, &changes) {
        None => return Err(rights.denied(service, *operation, header, action, header.tenant.clone())),
        Some(problems) if !problems.is_empty() => return Ok(Err(problems)),
        Some(_) => {}
    }
    let whole = matches!(changes[..], [] | [Change::Document(_)]);
    let (before, now) = (Arc::clone(&rights.policy), service.log.now_secs());
    let built = service
        .past
        .work(move || {
            let changes = match earlier {
                // What was held by breaking the glass in its day is not brought back.
                Some(earlier) => vec![Change::Document(Document::read(earlier)?.with_taken_of(before.document())?)],
                None => changes,
            };
            let plan = policy::Plan::of(&before, &changes, now)?;
            Ok(Candidate { before, plan })
        })
        .await?;
    let candidate = match built {
        Ok(candidate) => candidate,
        Err(problems) => return Ok(Err(if whole { told(rights, problems) } else { problems })),
    };
    let tenants = &candidate.plan.impact.tenants;
    if !tenants.iter().all(|tenant| rights.allows(tenant, action)) {
        return Err(rights.denied(service, *operation, header, action, header.tenant.clone()));
    }
    if tenants.len() > TENANTS_MAX {
        return Err(rights.refused(service, *operation, header, action, Refusal::TooManyTenants(TENANTS_MAX)));
    }
    if !tenants.contains(&header.tenant) {
        return Err(rights.refused(service, *operation, header, action, Refusal::NotTouched));
    }
    Ok(Ok(candidate))
}

/// What a caller may be told of problems with a whole document: they may name lines of any tenant.
fn told(rights: &mut Rights<'_>, problems: Vec<Problem>) -> Vec<Problem> {
    let policy = Arc::clone(&rights.policy);
    if policy.tenants().iter().all(|tenant| rights.allows(tenant, Action::Read)) {
        return problems;
    }
    let why = "is refused; why is told to who may read the policy of every tenant, for it may name lines of each";
    vec![Problem::of_file("the document", why)]
}

/// Looks at whose lines changes are about, before anything is said of them: `None` if the caller may not propose that, and
/// otherwise what is wrong with changes of lines that it may know nothing of – the same as if there were none.
fn looked_at(rights: &mut Rights<'_>, changes: &[Change]) -> Option<Vec<Problem>> {
    let policy = Arc::clone(&rights.policy);
    let mut problems = Vec::new();
    for (at, change) in changes.iter().enumerate() {
        let (path, what, old, new) = match change {
            Change::AddGrant(draft) => ("", "", None, owner_named(&draft.tenant)),
            Change::AddMembership(draft) => ("", "", None, owner_named(&draft.tenant)),
            Change::ReplaceGrant(draft) => ("replace_grant.id", "grant", Some(&draft.id), owner_named(&draft.tenant)),
            Change::ReplaceMembership(draft) => {
                ("replace_membership.id", "membership", Some(&draft.id), owner_named(&draft.tenant))
            }
            Change::Remove(id) => ("remove", "grant and no membership", Some(id), None),
            Change::Catalogue(_) | Change::Assertions(_) => ("", "", None, Some(Tenant::system())),
            // All of it is the caller's own text; whose lines it changes is seen once it is read.
            Change::Document(_) => continue,
        };
        if new.is_some_and(|tenant| !rights.allows(&tenant, Action::Propose)) {
            return None;
        }
        let Some(id) = old.and_then(|id| GrantId::parse(id).ok()) else { continue };
        let Some(tenant) = owner(&policy, &id) else { continue };
        if rights.allows(&tenant, Action::Propose) {
            continue;
        }
        rights.look(std::iter::once(&tenant));
        if rights.sees(&tenant) {
            return None;
        }
        problems.push(Problem::of_file(&format!("changes[{at}].{path}"), format!("there is no {what} {id}")));
    }
    Some(problems)
}

/// The tenant whose a line with this tenant is; `None` if that is no tenant.
fn owner_named(tenant: &str) -> Option<Tenant> {
    if tenant == "*" { Some(Tenant::system()) } else { Tenant::parse_or_system(tenant).ok() }
}

/// The tenant whose a line is.
fn owner(policy: &Snapshot, id: &GrantId) -> Option<Tenant> {
    let grant = policy.grants().find(|grant| grant.id == *id).map(|grant| match &grant.tenants {
        Tenants::One(tenant) => tenant.clone(),
        Tenants::All => Tenant::system(),
    });
    let membership = || policy.memberships().find(|membership| membership.id == *id);
    grant.or_else(|| membership().map(|membership| membership.tenant.clone()))
}

impl Candidate {
    /// The candidate of a proposal that can still be approved: from its base, or the same change of what came into force since,
    /// if that leaves the tenants alone that it touches. `None` if it is superseded.
    ///
    /// # Errors
    /// [`Halt`] if something can't be read.
    pub(super) async fn by_now(
        service: &Service,
        in_force: &Arc<Snapshot>,
        proposal: &Proposal,
    ) -> Result<Option<Self>, Halt> {
        if proposal.base_version == in_force.version() {
            return Ok(Some(Self::of_proposal(service, in_force, proposal).await?.0));
        }
        if !Since::read(service, proposal.base_version, in_force.version()).await?.stands(proposal) {
            return Ok(None);
        }
        let (then, _) = Self::of_proposal(service, in_force, proposal).await?;
        let (in_force, now) = (Arc::clone(in_force), service.log.now_secs());
        let again = move || then.plan.again(&in_force, now).map(|plan| Self { before: in_force, plan });
        service.past.work(again).await
    }

    /// The candidate of a proposal, from its base, and the simulation of when it was proposed.
    ///
    /// # Errors
    /// [`Halt`] if either can't be read.
    pub(super) async fn of_proposal(
        service: &Service,
        in_force: &Arc<Snapshot>,
        proposal: &Proposal,
    ) -> Result<(Self, Simulation), Halt> {
        let body = stored::body(&*service.store, proposal.id).await.map_err(|error| Halt::unreadable(&error))?;
        let document = Sources::from_bytes(&body.document).map_err(|error| Halt::unreadable(&error))?;
        let damaged = || {
            tracing::error!(proposal = proposal.id, "a stored proposal is damaged");
            Halt::Failed(Failure::Unreadable)
        };
        if document.hash().as_slice() != proposal.policy_hash {
            return Err(damaged());
        }
        let before = snapshot(service, in_force, proposal.base_version).await?.ok_or_else(damaged)?;
        let next = proposal.base_version.saturating_add(1);
        let built = service.past.work(move || {
            let plan = policy::Plan::to(&before, Arc::new(Snapshot::build(next, &document)?));
            Ok::<_, Vec<Problem>>(Self { before, plan })
        });
        let candidate = built.await?.map_err(|_| damaged())?;
        Ok((candidate, body.simulation.unwrap_or_default()))
    }

    /// The text.
    pub(super) fn document(&self) -> &Sources {
        self.plan.snapshot.document().sources()
    }

    /// Whether another person must approve it.
    pub(super) fn widens(&self) -> bool {
        self.plan.impact.widens()
    }

    /// The tenants it touches, by name.
    pub(super) fn tenant_names(&self) -> Vec<String> {
        self.plan.impact.tenants.iter().map(Tenant::to_string).collect()
    }

    /// What the newest decisions would be.
    ///
    /// # Errors
    /// [`Halt`] if the log can't be read.
    pub(super) async fn simulate(&self, service: &Service) -> Result<Simulation, Halt> {
        replay(service, &self.before, &self.plan.snapshot, &self.plan.impact.tenants).await
    }

    /// Why fewer than two persons would be left who can propose and approve, if so.
    pub(super) fn control_lost(&self, now: u64) -> Option<String> {
        policy::keeps_control(Some(&self.before), &self.plan.snapshot, now).err().map(|problem| problem.message)
    }

    /// Why this principal can't approve it, if so. Persons are those of the catalogue in force: what a candidate says of them
    /// counts for nothing yet, except that nobody can write himself out of being its beneficiary.
    pub(super) fn unfit_to_approve(&self, approver: &Principal, proposal: &Proposal) -> Option<Refusal> {
        let by_both =
            |principal: &Principal| [self.before.person_of(principal), self.plan.snapshot.person_of(principal)];
        let [person, _] = by_both(approver);
        let Person::Listed(id) = &person else { return Some(Refusal::NoPerson) };
        if proposal.proposer_person.is_empty() {
            return Some(Refusal::NoPerson);
        }
        let is_person = |principal: &Principal| principal == approver || by_both(principal).contains(&person);
        // A proposer that is no principal any more can't be told apart from anybody.
        let proposed_it = Principal::parse(&proposal.proposer).map_or(true, |proposer| is_person(&proposer));
        if proposed_it || proposal.proposer_person == id.as_str() {
            return Some(Refusal::SelfApproval);
        }
        self.plan.impact.beneficiaries.iter().any(is_person).then_some(Refusal::Beneficiary)
    }

    /// Adds to the effects of the entry that puts it in force.
    pub(super) fn take_effect(&self, proposal: &Proposal, effects: &mut Effects) {
        let version = PolicyVersion {
            version: self.plan.snapshot.version(),
            policy_hash: self.plan.snapshot.hash().to_vec(),
            time_unix_micros: proposal.decide_time_unix_micros.max(proposal.propose_time_unix_micros),
            proposer: proposal.proposer.clone(),
            approver: proposal.decider.clone(),
            reason: proposal.reason.clone(),
            proposal: proposal.id,
            tenants: proposal.tenants.clone(),
            reason_salt: proposal.reason_salt.clone(),
        };
        effects.writes.extend(stored::version(&version, self.document()));
        effects.policy = Some((self.plan.snapshot.version(), *self.plan.snapshot.hash()));
        // What only takes away goes through on a full disk.
        effects.from_reserve = !self.widens();
    }
}
