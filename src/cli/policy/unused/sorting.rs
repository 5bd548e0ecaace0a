//! What becomes of allows that nobody has needed: those that go, the memberships that go with them, and those that stay.
//!
//! Seldom used is no sign everywhere. What an emergency role reaches is there for the day that nobody hopes for, and on the
//! control plane a grant may be needed once a year by the only one who has it: both stay, whatever the log says.

use std::collections::{HashMap, HashSet};

use prost_types::Timestamp;

use crate::{
    cli::policy::{
        show::Read,
        usage::{Usage, is_control},
    },
    id::Tenant,
    policy::CHANGES_MAX,
    proto::v1::{GrantEffect, PolicyGrant, PolicyMembership},
};

/// Why an allow stays that nobody has needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kept {
    /// An emergency role has it, itself or through others.
    Emergency,
    /// It is on the control plane.
    Control,
    /// An entry may have left it out.
    Unclear,
}

impl Kept {
    /// In the order of the listing.
    pub(super) const ALL: [Self; 3] = [Self::Emergency, Self::Control, Self::Unclear];

    /// What it is called.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Emergency => "emergency",
            Self::Control => "control",
            Self::Unclear => "unclear",
        }
    }

    /// Why, in a line.
    pub(super) fn why(self) -> &'static str {
        match self {
            Self::Emergency => "whoever breaks the glass must find these, however seldom that is",
            Self::Control => "privet itself is run by these, some of them once a year",
            Self::Unclear => "requests were decided by more grants than an entry names, perhaps by these",
        }
    }
}

/// Unused allows of one tenant, in the order of the file.
#[derive(Debug, Default)]
pub(super) struct Sorted {
    /// Those that go.
    pub(super) grants: Vec<PolicyGrant>,
    /// Memberships that lead nowhere without them.
    pub(super) memberships: Vec<PolicyMembership>,
    /// Those that stay.
    pub(super) kept: Vec<(Kept, PolicyGrant)>,
    /// How many are younger than the moment, or say something else since then.
    pub(super) younger: usize,
}

impl Sorted {
    /// Sorts a tenant's allows that were not used since a moment; `usage` is of the same version and moment.
    pub(super) fn of(tenant: &Tenant, read: &Read, usage: &Usage, since: Timestamp) -> Self {
        let emergency = emergency_roles(tenant, read);
        let mut sorted = Self::default();
        let allows = read.lines.grants.iter().filter(|grant| {
            grant.tenant == tenant.as_str() && grant.effect() == GrantEffect::Allow && usage.of(&grant.id).count == 0
        });
        for grant in allows {
            let holds = grant.not_before.is_none_or(|from| (from.seconds, from.nanos) <= (since.seconds, since.nanos));
            if !holds || !usage.is_old(&grant.id) {
                sorted.younger += 1;
            } else if emergency.contains(grant.grantee.as_str()) {
                sorted.kept.push((Kept::Emergency, grant.clone()));
            } else if is_control(grant) {
                sorted.kept.push((Kept::Control, grant.clone()));
            } else if usage.may_be_left_out(grant) {
                sorted.kept.push((Kept::Unclear, grant.clone()));
            } else {
                sorted.grants.push(grant.clone());
            }
        }
        sorted.memberships = emptied(tenant, read, &sorted.grants);
        sorted
    }

    /// The ids to remove, at most [`CHANGES_MAX`] at once, so that the policy is sound after each: no membership may be left of
    /// a role to which nothing is given, so memberships come first, and those of a role before those that it has itself.
    pub(super) fn chunks(&self) -> Vec<Vec<String>> {
        let memberships = outside_in(&self.memberships).map(|membership| membership.id.clone());
        let ids: Vec<String> = memberships.chain(self.grants.iter().map(|grant| grant.id.clone())).collect();
        ids.chunks(CHANGES_MAX).map(<[String]>::to_vec).collect()
    }
}

/// The emergency roles, and those that they have.
fn emergency_roles<'r>(tenant: &Tenant, read: &'r Read) -> HashSet<&'r str> {
    let graph = Graph::of(tenant, &read.lines.memberships);
    read.emergency_roles.iter().flat_map(|role| graph.reach(role)).collect()
}

/// Memberships that led to one of the grants that go, and lead to nothing without them.
fn emptied(tenant: &Tenant, read: &Read, gone: &[PolicyGrant]) -> Vec<PolicyMembership> {
    let ids: HashSet<&str> = gone.iter().map(|grant| grant.id.as_str()).collect();
    let lost: HashSet<&str> = gone.iter().map(|grant| grant.grantee.as_str()).collect();
    let here = |grant: &&PolicyGrant| grant.tenant == tenant.as_str() || grant.tenant == "*";
    let staying = read.lines.grants.iter().filter(here).filter(|grant| !ids.contains(grant.id.as_str()));
    let holding: HashSet<&str> = staying.map(|grant| grant.grantee.as_str()).collect();
    let graph = Graph::of(tenant, &read.lines.memberships);
    let of_tenant = read.lines.memberships.iter().filter(|membership| membership.tenant == tenant.as_str());
    let leads_nowhere = |membership: &&PolicyMembership| {
        let reached = graph.reach(&membership.role);
        reached.iter().any(|role| lost.contains(role)) && !reached.iter().any(|role| holding.contains(role))
    };
    of_tenant.filter(leads_nowhere).cloned().collect()
}

/// Memberships in an order in which none is of a role that an earlier one has left without what gave it something.
fn outside_in(memberships: &[PolicyMembership]) -> impl Iterator<Item = &PolicyMembership> {
    let (mut left, mut ordered): (Vec<&PolicyMembership>, Vec<&PolicyMembership>) =
        (memberships.iter().collect(), Vec::new());
    while !left.is_empty() {
        let with_members: HashSet<&str> = left.iter().map(|membership| membership.role.as_str()).collect();
        let (later, now): (Vec<_>, Vec<_>) =
            left.iter().copied().partition(|membership| with_members.contains(membership.member.as_str()));
        // A cycle can't be in force; it would have no outside.
        let (later, now) = if now.is_empty() { (Vec::new(), later) } else { (later, now) };
        ordered.extend(now);
        left = later;
    }
    ordered.into_iter()
}

/// Which roles have which.
struct Graph<'r>(HashMap<&'r str, Vec<&'r str>>);

impl<'r> Graph<'r> {
    fn of(tenant: &Tenant, memberships: &'r [PolicyMembership]) -> Self {
        let mut roles: HashMap<&str, Vec<&str>> = HashMap::new();
        for line in memberships.iter().filter(|line| line.tenant == tenant.as_str()) {
            roles.entry(&line.member).or_default().push(&line.role);
        }
        Self(roles)
    }

    /// A role and those that it leads to.
    fn reach(&self, role: &'r str) -> HashSet<&'r str> {
        let (mut reached, mut next) = (HashSet::from([role]), vec![role]);
        while let Some(role) = next.pop() {
            let further = self.0.get(role).into_iter().flatten().copied();
            next.extend(further.filter(|role| reached.insert(*role)));
        }
        reached
    }
}

#[cfg(test)]
mod tests;
