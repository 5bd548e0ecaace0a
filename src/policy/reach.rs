//! How a principal comes to be who a grant is given to: the chain of memberships between them.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};

use super::{
    grant::{Grant, Grantee, Membership},
    roles::RoleGraph,
};
use crate::id::{Principal, Role};

/// A grant, and how it reaches a principal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reaching {
    /// The grant.
    pub grant: Arc<Grant>,
    /// From the principal to the role that the grant is given to, a shortest way: at most [`CHAIN_MAX`](super::CHAIN_MAX).
    /// Empty if it is given to the principal itself.
    pub chain: Vec<Arc<Membership>>,
}

impl Reaching {
    /// About how long this is in an answer, in bytes.
    pub fn bytes(&self) -> usize {
        Self::bytes_of(&self.grant, &self.chain)
    }

    /// As [`Self::bytes`], of its parts.
    pub fn bytes_of(grant: &Grant, chain: &[Arc<Membership>]) -> usize {
        // As text it has commas where a message has tags, and its dates twice.
        grant.to_string().len() + chain.iter().map(|membership| membership.to_string().len()).sum::<usize>()
    }
}

/// The roles that one principal comes to in one tenant, each by a shortest way.
pub(super) struct Reach<'a> {
    principal: &'a Principal,
    came_by: HashMap<&'a Role, &'a Arc<Membership>>,
}

impl<'a> Reach<'a> {
    /// Follows the memberships of `graph` that `holds` admits.
    pub(super) fn new(
        principal: &'a Principal,
        graph: Option<&'a RoleGraph>,
        holds: impl Fn(&Membership) -> bool,
    ) -> Self {
        let mut came_by: HashMap<&Role, &Arc<Membership>> = HashMap::new();
        let mut next = VecDeque::from([Grantee::Principal(principal.clone())]);
        while let (Some(graph), Some(member)) = (graph, next.pop_front()) {
            for membership in graph.of(&member).iter().filter(|membership| holds(membership)) {
                came_by.entry(&membership.role).or_insert_with(|| {
                    next.push_back(Grantee::Role(membership.role.clone()));
                    membership
                });
            }
        }
        Self { principal, came_by }
    }

    /// Whether the principal is `grantee`, or has that role.
    pub(super) fn reaches(&self, grantee: &Grantee) -> bool {
        match grantee {
            Grantee::Principal(principal) => principal == self.principal,
            Grantee::Role(role) => self.came_by.contains_key(role),
        }
    }

    /// The way to `grantee`: empty if that is the principal itself, or out of reach.
    pub(super) fn chain(&self, grantee: &Grantee) -> Vec<Arc<Membership>> {
        let mut chain = Vec::new();
        let mut at = grantee;
        while let Grantee::Role(role) = at
            && let Some(membership) = self.came_by.get(role)
        {
            chain.push(Arc::clone(membership));
            at = &membership.member;
        }
        chain.reverse();
        chain
    }

    /// A grant that reaches the principal, with the way.
    pub(super) fn reaching(&self, grant: &Arc<Grant>) -> Reaching {
        Reaching { grant: Arc::clone(grant), chain: self.chain(&grant.grantee) }
    }
}
