//! Which person is behind a principal, and whether two of them keep each other in check.
//!
//! A principal that no person of the catalogue lists may be the second identity of anybody, so it counts nowhere where two
//! persons must agree: neither the one who proposes nor the one who approves.
//!
//! INVARIANT (kept by whoever changes the policy): at every moment there is, in every tenant that has rules, a person who can
//! propose a change and another who can approve it. Without them the policy could only be recovered on the host.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fmt,
    ops::Range,
};

use super::{
    Question, Snapshot, Verdict,
    grant::{Effect, Grant, Grantee, date},
    roles::RoleGraph,
    sources::POLICY,
};
use crate::{
    catalogue::Problem,
    id::{Action, ControlObject, Object, PersonId, Principal, Purpose, Tenant},
};

/// Who is behind a principal.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Person {
    /// A person of the catalogue.
    Listed(PersonId),
    /// Nobody knows who: perhaps another name of somebody listed.
    Unlisted(Principal),
}

impl Person {
    /// Whether it can be told apart from every other person.
    pub fn is_listed(&self) -> bool {
        matches!(self, Self::Listed(_))
    }

    /// Its id as it is stored; empty: nobody knows who.
    pub fn stored_id(&self) -> String {
        match self {
            Self::Listed(id) => id.to_string(),
            Self::Unlisted(_) => String::new(),
        }
    }
}

impl fmt::Display for Person {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Listed(id) => fmt::Display::fmt(id, f),
            Self::Unlisted(principal) => fmt::Display::fmt(principal, f),
        }
    }
}

/// The persons that can change a tenant's part of the policy.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FourEyes {
    /// Those who can propose.
    pub propose: BTreeSet<Person>,
    /// Those who can approve.
    pub approve: BTreeSet<Person>,
}

impl FourEyes {
    /// Whether one can propose and another approve.
    pub fn holds(&self) -> bool {
        self.propose.iter().any(|proposer| self.approve.iter().any(|approver| approver != proposer))
    }
}

/// For `_system` and each tenant that a rule names: who can propose and who can approve at `now`.
pub fn four_eyes(snapshot: &Snapshot, now: u64) -> BTreeMap<Tenant, FourEyes> {
    let control = Control::of(snapshot);
    let eyes = |tenant: &Tenant| {
        let stretches = control.stretches(tenant, now);
        let persons = |action| {
            let able = stretches.iter().filter(|stretch| stretch.action == action && stretch.from <= now);
            able.map(|stretch| stretch.person.clone()).collect()
        };
        FourEyes { propose: persons(Action::Propose), approve: persons(Action::Approve) }
    };
    snapshot.tenants().iter().map(|tenant| (tenant.clone(), eyes(tenant))).collect()
}

/// Checks that from `now` on there always are two persons in each tenant, one to propose and another to approve.
///
/// With `before`, only moments count at which a tenant has them without the change: what it lacks already, the change did not
/// end.
///
/// # Errors
/// A [`Problem`] that names the first tenant without them, and since when.
pub fn keeps_control(before: Option<&Snapshot>, candidate: &Snapshot, now: u64) -> Result<(), Problem> {
    let before = before.map(Control::of);
    let lacked_before = |tenant: &Tenant| {
        let known = before.as_ref().filter(|control| control.snapshot.tenants().contains(tenant));
        known.map(|control| control.lacks(tenant, now)).unwrap_or_default()
    };
    let control = Control::of(candidate);
    for tenant in candidate.tenants() {
        let lacks = control.lacks(tenant, now);
        if lacks.is_empty() {
            continue;
        }
        if let Some(lost) = first_outside(&lacks, &lacked_before(tenant)) {
            let when = match (lost.start > now, lost.end < u64::MAX) {
                (false, false) => String::new(),
                (false, true) => format!(", until {}", date(lost.end)),
                (true, false) => format!(", from {} on", date(lost.start)),
                (true, true) => format!(", from {} to {}", date(lost.start), date(lost.end)),
            };
            let message = format!(
                "leaves tenant {tenant} without a person who can propose a change and another who can approve it, both \
                 listed as a [[person]]{when}"
            );
            return Err(Problem::of_file(POLICY, message));
        }
    }
    Ok(())
}

/// What is left of the first of `times` that `known` does not hold whole, from its first moment outside of them. Both are in
/// order, and no two of one list touch.
fn first_outside(times: &[Range<u64>], known: &[Range<u64>]) -> Option<Range<u64>> {
    times.iter().find_map(|time| {
        let covering = known.iter().find(|known| known.contains(&time.start));
        let from = covering.map_or(time.start, |known| known.end);
        let until = known.iter().map(|known| known.start).find(|start| *start > from);
        (from < time.end).then(|| from..until.map_or(time.end, |until| until.min(time.end)))
    })
}

/// A time in which one principal of a person can do one of the two.
struct Stretch {
    action: Action,
    person: Person,
    from: u64,
    until: Option<u64>,
}

/// A snapshot by what decides who can change it.
struct Control<'a> {
    snapshot: &'a Snapshot,
    /// The allows of either action on the policy.
    grants: Vec<&'a Grant>,
    graphs: HashMap<Tenant, RoleGraph>,
}

impl<'a> Control<'a> {
    fn of(snapshot: &'a Snapshot) -> Self {
        let decides =
            |grant: &&Grant| grant.effect == Effect::Allow && matches!(grant.action, Action::Propose | Action::Approve);
        let memberships = snapshot.document.rules.memberships.iter().map(|line| &line.rule);
        Self {
            snapshot,
            grants: snapshot.grants().filter(decides).collect(),
            graphs: RoleGraph::by_tenant(memberships),
        }
    }

    /// From `now` on, the times in which a tenant has no two such persons; in order, and no two of them touch.
    fn lacks(&self, tenant: &Tenant, now: u64) -> Vec<Range<u64>> {
        let stretches = self.stretches(tenant, now);
        // Each ability begins and ends with a step; several principals of one person may be able at once.
        let mut steps: BTreeMap<u64, Vec<(&Stretch, bool)>> = BTreeMap::from([(now, Vec::new())]);
        for stretch in &stretches {
            steps.entry(stretch.from).or_default().push((stretch, true));
            if let Some(until) = stretch.until {
                steps.entry(until).or_default().push((stretch, false));
            }
        }
        let mut able: BTreeMap<(Action, &Person), usize> = BTreeMap::new();
        let (mut lacks, mut since) = (Vec::new(), None);
        for (moment, steps) in steps {
            for (stretch, begins) in steps {
                let count = able.entry((stretch.action, &stretch.person)).or_default();
                *count = if begins { *count + 1 } else { count.saturating_sub(1) };
            }
            able.retain(|_, count| *count > 0);
            let persons = |wanted| able.keys().filter(move |(action, _)| *action == wanted).map(|(_, person)| *person);
            // Two of each are enough to find two that differ.
            let apart = |proposer: &Person| persons(Action::Approve).take(2).any(|approver| approver != proposer);
            if !persons(Action::Propose).take(2).any(apart) {
                since.get_or_insert(moment);
            } else if let Some(since) = since.take() {
                lacks.push(since..moment);
            }
        }
        lacks.extend(since.map(|since| since..u64::MAX));
        lacks
    }

    /// From `now` on, when who can propose or approve in a tenant.
    fn stretches(&self, tenant: &Tenant, now: u64) -> Vec<Stretch> {
        let mut stretches = Vec::new();
        for action in [Action::Propose, Action::Approve] {
            for principal in self.reached(tenant, action) {
                let person = self.snapshot.person_of(&principal);
                if !person.is_listed() {
                    continue;
                }
                let (object, purpose) = (Object::Control(ControlObject::Policy), Purpose::operate());
                let question = Question { principal: &principal, tenant, object: &object, action, purpose: &purpose };
                let mut moment = now;
                // What is unclear is no ability.
                while let Ok((decision, holds)) = self.snapshot.shards.decide(&question, moment) {
                    let until = (holds.end < u64::MAX).then_some(holds.end);
                    if decision.verdict == Verdict::Allow {
                        stretches.push(Stretch { action, person: person.clone(), from: moment, until });
                    }
                    let Some(next) = until else { break };
                    moment = next;
                }
            }
        }
        stretches
    }

    /// Principals that an allow of `action` reaches in a tenant, at any time.
    fn reached(&self, tenant: &Tenant, action: Action) -> BTreeSet<Principal> {
        let grants = self.grants.iter().filter(|grant| grant.action == action && grant.tenants.include(tenant));
        let grantees: Vec<&Grantee> = grants.map(|grant| &grant.grantee).collect();
        let graph = self.graphs.get(tenant);
        let leading = graph.map(|graph| graph.leading_to(grantees.iter().copied())).unwrap_or_default();
        let members = leading.iter().map(|membership| &membership.member);
        let principals = grantees.into_iter().chain(members).filter_map(|grantee| match grantee {
            Grantee::Principal(principal) => Some(principal.clone()),
            Grantee::Role(_) => None,
        });
        principals.collect()
    }
}

#[cfg(test)]
mod tests;
