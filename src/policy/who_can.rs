//! Who is granted what: everybody who may do one thing, and everything that one principal may do.
//!
//! A grant names a principal or a role and never everybody, so the lines name all who can.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    sync::Arc,
};

use super::{
    Question, REACHING_MAX, Snapshot, Verdict,
    grant::{Effect, Grant, Grantee, Membership},
    reach::{Reach, Reaching},
};
use crate::id::{Action, Object, Principal, Purpose, Role, Tenant};

/// Something to do to something, for a purpose or for whichever, in a tenant.
#[derive(Clone, Debug)]
pub struct Privilege {
    /// In whose domain.
    pub tenant: Tenant,
    /// About what.
    pub object: Object,
    /// To do what.
    pub action: Action,
    /// Why; `None`: for any purpose that somebody has it for.
    pub purpose: Option<Purpose>,
}

/// Everybody whom an allow of a [`Privilege`] reaches at one moment.
#[derive(Debug)]
pub struct Holders<'a> {
    privilege: &'a Privilege,
    now: u64,
    allows: Vec<&'a Arc<Grant>>,
    denies: Vec<&'a Arc<Grant>>,
    /// Sorted.
    principals: Vec<&'a Principal>,
}

/// One whom an allow reaches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Granted {
    /// Who.
    pub principal: Principal,
    /// What the policy answers: a deny may stop it. Of any purpose, whether it allows one.
    pub verdict: Verdict,
    /// The allows that reach it: at most [`REACHING_MAX`].
    pub allows: Vec<Reaching>,
    /// The denies that reach it: at most [`REACHING_MAX`].
    pub denies: Vec<Reaching>,
    /// Allows and denies that are left out.
    pub more: usize,
}

impl Granted {
    /// About how long this is in an answer, in bytes.
    pub fn bytes(&self) -> usize {
        let lines = self.allows.iter().chain(&self.denies);
        self.principal.as_str().len() + lines.map(Reaching::bytes).sum::<usize>()
    }
}

impl Holders<'_> {
    /// How many they are.
    pub fn count(&self) -> usize {
        self.principals.len()
    }
}

impl Snapshot {
    /// Finds everybody whom an allow of `privilege` reaches at `now_secs`. Takes time in proportion to the policy.
    pub fn holders<'a>(&'a self, privilege: &'a Privilege, now_secs: u64) -> Holders<'a> {
        let Privilege { tenant, object, action, purpose } = privilege;
        let matched = |grant: &&Arc<Grant>| {
            grant.action == *action
                && grant.tenants.include(tenant)
                && purpose.as_ref().is_none_or(|purpose| grant.purposes.include(purpose))
                && grant.window.holds_at(now_secs)
                && grant.pattern.matches(object)
        };
        let grants = self.document.rules.grants.iter().map(|line| &line.rule).filter(matched);
        let (allows, denies): (Vec<_>, Vec<_>) = grants.partition(|grant| grant.effect == Effect::Allow);
        let memberships = self.shards.graph(tenant).map(|graph| graph.memberships()).unwrap_or_default();
        let grantees = allows.iter().map(|grant| &grant.grantee);
        let principals = behind(grantees, memberships.iter().filter(|membership| membership.holds_at(now_secs)));
        Holders { privilege, now: now_secs, allows, denies, principals: principals.into_iter().collect() }
    }

    /// The holder at this place, by name; `None` past the last.
    pub fn granted(&self, holders: &Holders<'_>, at: usize) -> Option<Granted> {
        let principal = *holders.principals.get(at)?;
        let Privilege { tenant, object, action, purpose } = holders.privilege;
        let reach = Reach::new(principal, self.shards.graph(tenant), |membership| membership.holds_at(holders.now));
        let mut more = 0;
        let mut reaching = |grants: &[&Arc<Grant>]| -> Vec<Reaching> {
            let all: Vec<&Arc<Grant>> = grants.iter().copied().filter(|grant| reach.reaches(&grant.grantee)).collect();
            more += all.len().saturating_sub(REACHING_MAX);
            all.into_iter().take(REACHING_MAX).map(|grant| reach.reaching(grant)).collect()
        };
        let (allows, denies) = (reaching(&holders.allows), reaching(&holders.denies));
        let allowed = |purpose: &Purpose| {
            let question = Question { principal, tenant, object, action: *action, purpose };
            self.decide_once(&question, holders.now).verdict == Verdict::Allow
        };
        let is_allowed = match purpose {
            Some(purpose) => allowed(purpose),
            // Each purpose once, of those that an allow names.
            None => {
                let mut purposes = self.catalogue().purposes().map(|spec| &spec.purpose);
                purposes.any(|purpose| {
                    holders.allows.iter().any(|grant| grant.purposes.include(purpose)) && allowed(purpose)
                })
            }
        };
        let verdict = if is_allowed { Verdict::Allow } else { Verdict::Deny };
        Some(Granted { principal: principal.clone(), verdict, allows, denies, more })
    }

    /// Everything from the line `from` on that is granted or denied to `principal` in `tenant` at `now_secs` or later, each with
    /// its place among all lines, in their order. A membership that has ended leads to nothing.
    pub fn grants_for<'a>(
        &'a self,
        principal: &'a Principal,
        tenant: &'a Tenant,
        now_secs: u64,
        from: usize,
    ) -> impl Iterator<Item = (usize, Reaching)> {
        let reach = Reach::new(principal, self.shards.graph(tenant), move |membership| membership.holds_at(now_secs));
        let lines = self.document.rules.grants.iter().map(|line| &line.rule).enumerate().skip(from);
        lines.filter_map(move |(at, grant)| {
            let applies = grant.tenants.include(tenant)
                && grant.window.expires.is_none_or(|end| now_secs < end)
                && reach.reaches(&grant.grantee);
            applies.then(|| (at, reach.reaching(grant)))
        })
    }
}

/// The principals that are one of `grantees`, or have one of those roles.
fn behind<'a>(
    grantees: impl Iterator<Item = &'a Grantee>,
    memberships: impl Iterator<Item = &'a Arc<Membership>>,
) -> BTreeSet<&'a Principal> {
    let mut into: HashMap<&Role, Vec<&Grantee>> = HashMap::new();
    for membership in memberships {
        into.entry(&membership.role).or_default().push(&membership.member);
    }
    let (mut principals, mut seen) = (BTreeSet::new(), HashSet::new());
    let mut next: Vec<&Grantee> = grantees.collect();
    while let Some(grantee) = next.pop() {
        match grantee {
            Grantee::Principal(principal) => _ = principals.insert(principal),
            Grantee::Role(role) if seen.insert(role) => next.extend(into.get(role).into_iter().flatten()),
            Grantee::Role(_) => {}
        }
    }
    principals
}

#[cfg(test)]
mod tests;
