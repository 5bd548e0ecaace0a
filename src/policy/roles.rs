//! Who has which role: the graph that memberships span within one tenant.
//!
//! Casbin walks the same graph to decide; this one answers what casbin can't: which roles led to an answer, which
//! memberships can matter to a set of grants, and whether the graph is sound (no cycle, no chain longer than casbin follows).

use std::{
    collections::{HashMap, HashSet, VecDeque},
    sync::Arc,
};

use super::grant::{Grantee, Membership};
use crate::id::{Principal, Role, Tenant};

/// The longest chain of memberships from a principal to a role. Casbin silently stops following at 9 to 10.
pub const CHAIN_MAX: usize = 8;

/// The memberships of one tenant.
#[derive(Debug, Default)]
pub(super) struct RoleGraph {
    memberships: Vec<Arc<Membership>>,
    of_member: HashMap<Grantee, Vec<Arc<Membership>>>,
    of_role: HashMap<Role, Vec<Arc<Membership>>>,
}

/// What is wrong with a graph.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Flaw {
    /// A role is, through others, its own member.
    Cycle(Arc<Membership>),
    /// This membership makes a chain longer than [`CHAIN_MAX`].
    TooLong(Arc<Membership>),
}

impl RoleGraph {
    /// The graph of `memberships`, which are all of one tenant.
    pub(super) fn new(memberships: Vec<Arc<Membership>>) -> Self {
        let mut of_member: HashMap<Grantee, Vec<Arc<Membership>>> = HashMap::new();
        let mut of_role: HashMap<Role, Vec<Arc<Membership>>> = HashMap::new();
        for membership in &memberships {
            of_member.entry(membership.member.clone()).or_default().push(Arc::clone(membership));
            of_role.entry(membership.role.clone()).or_default().push(Arc::clone(membership));
        }
        Self { memberships, of_member, of_role }
    }

    /// One graph a tenant.
    pub(super) fn by_tenant<'a>(memberships: impl Iterator<Item = &'a Arc<Membership>>) -> HashMap<Tenant, RoleGraph> {
        let mut sorted: HashMap<Tenant, Vec<Arc<Membership>>> = HashMap::new();
        for membership in memberships {
            sorted.entry(membership.tenant.clone()).or_default().push(Arc::clone(membership));
        }
        sorted.into_iter().map(|(tenant, memberships)| (tenant, Self::new(memberships))).collect()
    }

    /// Every membership.
    pub(super) fn memberships(&self) -> &[Arc<Membership>] {
        &self.memberships
    }

    /// The memberships that this grantee has itself.
    pub(super) fn of(&self, member: &Grantee) -> &[Arc<Membership>] {
        self.of_member.get(member).map(Vec::as_slice).unwrap_or_default()
    }

    /// The roles that `principal` has at `now`, itself or through other roles.
    pub(super) fn roles_at(&self, principal: &Principal, now: u64) -> HashSet<Role> {
        self.reach(Grantee::Principal(principal.clone()), |membership| membership.holds_at(now))
    }

    /// The roles that `role` leads to at any time.
    pub(super) fn roles_ever(&self, role: &Role) -> HashSet<Role> {
        self.reach(Grantee::Role(role.clone()), |_| true)
    }

    /// The roles that `principal` leads to at any time, each with the first second at which no way there holds any more.
    pub(super) fn reach_until(&self, principal: &Principal) -> HashMap<Role, u64> {
        let mut ends: HashMap<Role, u64> = HashMap::new();
        let mut next = vec![(Grantee::Principal(principal.clone()), u64::MAX)];
        while let Some((grantee, until)) = next.pop() {
            for membership in self.of_member.get(&grantee).into_iter().flatten() {
                let end = until.min(membership.expires.unwrap_or(u64::MAX));
                let known = ends.entry(membership.role.clone()).or_default();
                if *known < end {
                    *known = end;
                    next.push((Grantee::Role(membership.role.clone()), end));
                }
            }
        }
        ends
    }

    /// The memberships through which anyone can come to be one of `grantees`, at any time.
    pub(super) fn leading_to<'a>(&self, grantees: impl Iterator<Item = &'a Grantee>) -> Vec<Arc<Membership>> {
        let mut seen: HashSet<&Role> = HashSet::new();
        let mut found = Vec::new();
        let mut next: Vec<&Grantee> = grantees.collect();
        while let Some(grantee) = next.pop() {
            let Grantee::Role(role) = grantee else { continue };
            let Some((role, memberships)) = self.of_role.get_key_value(role) else { continue };
            if seen.insert(role) {
                found.extend(memberships.iter().cloned());
                next.extend(memberships.iter().map(|membership| &membership.member));
            }
        }
        found
    }

    /// What is wrong with the graph, if anything: at most one flaw of each kind.
    pub(super) fn flaws(&self) -> Vec<Flaw> {
        let mut waits_for: HashMap<&str, usize> = HashMap::new();
        for membership in &self.memberships {
            waits_for.entry(membership.member.as_str()).or_default();
            *waits_for.entry(membership.role.as_str()).or_default() += 1;
        }
        // Kahn's algorithm: whoever is nobody's role comes first, and what is never reached lies on or behind a cycle.
        let mut first: Vec<&str> = waits_for.iter().filter(|(_, count)| **count == 0).map(|(name, _)| *name).collect();
        // The same file has the same problems each time.
        first.sort_unstable();
        let mut ready = VecDeque::from(first);
        let by_name: HashMap<&str, &Vec<Arc<Membership>>> =
            self.of_member.iter().map(|(member, memberships)| (member.as_str(), memberships)).collect();
        let mut chain: HashMap<&str, usize> = HashMap::new();
        let mut too_long = None;
        while let Some(name) = ready.pop_front() {
            let length = chain.get(name).copied().unwrap_or(0) + 1;
            for membership in by_name.get(name).into_iter().copied().flatten() {
                let role = membership.role.as_str();
                if length > CHAIN_MAX {
                    too_long.get_or_insert(membership);
                }
                let longest = chain.entry(role).or_default();
                *longest = length.max(*longest);
                if let Some(count) = waits_for.get_mut(role) {
                    *count -= 1;
                    if *count == 0 {
                        ready.push_back(role);
                    }
                }
            }
        }
        let stuck = |name: &str| waits_for.get(name).is_some_and(|count| *count > 0);
        let cycle = self.on_cycle(stuck).map(Flaw::Cycle);
        cycle.into_iter().chain(too_long.cloned().map(Flaw::TooLong)).collect()
    }

    /// A membership on a cycle. Whoever is stuck has a stuck member, so going from member to member ends up on a cycle.
    fn on_cycle(&self, stuck: impl Fn(&str) -> bool) -> Option<Arc<Membership>> {
        let into: HashMap<&str, &Arc<Membership>> = self
            .memberships
            .iter()
            .filter(|membership| stuck(membership.member.as_str()))
            .map(|membership| (membership.role.as_str(), membership))
            .collect();
        let mut seen = HashSet::new();
        let mut at = into.values().min_by(|a, b| a.id.cmp(&b.id))?;
        while seen.insert(at.role.as_str()) {
            at = into.get(at.member.as_str())?;
        }
        Some(Arc::clone(at))
    }

    fn reach(&self, from: Grantee, holds: impl Fn(&Membership) -> bool) -> HashSet<Role> {
        let mut roles = HashSet::new();
        let mut next = vec![from];
        while let Some(grantee) = next.pop() {
            for membership in self.of_member.get(&grantee).into_iter().flatten() {
                if holds(membership) && roles.insert(membership.role.clone()) {
                    next.push(Grantee::Role(membership.role.clone()));
                }
            }
        }
        roles
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::grant::GrantId;

    fn graph(edges: &[(&str, &str)]) -> RoleGraph {
        let membership = |(member, role): &(&str, &str)| {
            Arc::new(Membership {
                id: GrantId::parse("m").unwrap(),
                member: Grantee::parse(member).unwrap(),
                role: Role::parse(role).unwrap(),
                tenant: Tenant::parse("acme").unwrap(),
                expires: if *role == "role:brief" { Some(10) } else { None },
                reason: "r".into(),
            })
        };
        RoleGraph::new(edges.iter().map(membership).collect())
    }

    fn chain(length: usize) -> RoleGraph {
        let roles: Vec<String> = (1..=length).map(|at| format!("role:r{at}")).collect();
        let mut edges = vec![("spiffe://a/p", roles[0].as_str())];
        edges.extend(roles.windows(2).map(|pair| (pair[0].as_str(), pair[1].as_str())));
        graph(&edges)
    }

    #[test]
    fn a_chain_of_eight_is_the_longest() {
        assert_eq!(chain(CHAIN_MAX).flaws(), []);
        assert!(matches!(chain(CHAIN_MAX + 1).flaws().as_slice(), [Flaw::TooLong(m)] if m.role.as_str() == "role:r9"));
    }

    #[test]
    fn of_many_chains_that_are_too_long_the_same_is_named_each_time() {
        let chains: Vec<Vec<String>> =
            (0..20).map(|chain| (0..=CHAIN_MAX + 1).map(|at| format!("role:r{chain}-{at}")).collect()).collect();
        let edges: Vec<(&str, &str)> =
            chains.iter().flat_map(|chain| chain.windows(2).map(|pair| (pair[0].as_str(), pair[1].as_str()))).collect();
        let found: HashSet<String> = (0..10).map(|_| format!("{:?}", graph(&edges).flaws())).collect();
        assert!(found.len() == 1 && found.iter().all(|flaws| flaws.contains("TooLong")), "{found:#?}");
    }

    #[test]
    fn a_cycle_is_found_on_the_cycle_and_not_behind_it() {
        let found = graph(&[
            ("role:z", "role:y"),
            ("role:b", "role:tail"),
            ("role:a", "role:b"),
            ("role:b", "role:a"),
            ("spiffe://a/p", "role:a"),
        ])
        .flaws();
        assert!(
            matches!(found.as_slice(), [Flaw::Cycle(m)] if ["role:a", "role:b"].contains(&m.role.as_str())),
            "{found:?}"
        );
        assert!(matches!(graph(&[("role:a", "role:a")]).flaws().as_slice(), [Flaw::Cycle(_)]));
        assert_eq!(graph(&[("role:a", "role:b"), ("role:a", "role:c"), ("role:b", "role:c")]).flaws(), []);
    }

    #[test]
    fn a_hundred_thousand_chained_roles_overflow_no_stack() {
        assert!(matches!(chain(100_000).flaws().as_slice(), [Flaw::TooLong(_)]));
    }

    #[test]
    fn roles_are_reached_through_roles_until_a_membership_expires() {
        let graph = graph(&[("spiffe://a/p", "role:brief"), ("role:brief", "role:top"), ("spiffe://a/p", "role:own")]);
        let principal = Principal::parse("spiffe://a/p").unwrap();
        let at = |now| {
            let mut roles: Vec<String> = graph.roles_at(&principal, now).iter().map(ToString::to_string).collect();
            roles.sort();
            roles
        };
        assert_eq!(at(9), ["role:brief", "role:own", "role:top"]);
        assert_eq!(at(10), ["role:own"]);
    }

    #[test]
    fn a_role_is_reached_until_the_longest_way_to_it_ends() {
        let short = [("spiffe://a/p", "role:brief"), ("role:brief", "role:top"), ("spiffe://a/p", "role:own")];
        let until = |edges: &[(&str, &str)], role: &str| {
            let reached = graph(edges).reach_until(&Principal::parse("spiffe://a/p").unwrap());
            reached.get(&Role::parse(role).unwrap()).copied()
        };
        assert_eq!(until(&short, "role:top"), Some(10));
        assert_eq!(until(&short, "role:own"), Some(u64::MAX));
        assert_eq!(until(&short, "role:other"), None);
        assert_eq!(until(&[&short[..], &[("role:own", "role:top")]].concat(), "role:top"), Some(u64::MAX));
    }

    #[test]
    fn only_memberships_on_a_way_to_a_grantee_matter_to_it() {
        let graph =
            graph(&[("spiffe://a/p", "role:a"), ("role:a", "role:b"), ("role:b", "role:c"), ("role:x", "role:y")]);
        let target = Grantee::parse("role:b").unwrap();
        let found = graph.leading_to([&target].into_iter());
        let mut roles: Vec<&str> = found.iter().map(|m| m.role.as_str()).collect();
        roles.sort_unstable();
        assert_eq!(roles, ["role:a", "role:b"]);
    }
}
