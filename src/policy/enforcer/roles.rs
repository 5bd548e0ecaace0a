//! Who has which role, as casbin asks for it while it decides: `g(member, role, tenant)`.
//!
//! Casbin's own role manager walks its graph anew for each line of a policy, with a mark for every name there is, and it looks
//! for a name that it doesn't know among all it knows, one by one: so a stranger would cost most. This one answers from an
//! index, and one serves all shards of a tenant. The property test holds it against casbin's own.
//!
//! INVARIANT: filled before casbin sees it, and never changed. Casbin changes a role manager only when it loads a policy or
//! is told to, and an [`Enforcer`](super::Enforcer) does neither.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use casbin::{MatchingFn, RoleManager};
use parking_lot::RwLock;

use crate::{
    id::{Role, Tenant},
    policy::grant::{Grantee, Membership},
};

/// The memberships that hold in some stretch of time. Cloning shares them.
#[derive(Clone)]
pub(in crate::policy) struct Roles(Arc<RwLock<dyn RoleManager>>);

impl Roles {
    /// Of memberships that hold.
    pub(in crate::policy) fn new<'a>(memberships: impl Iterator<Item = &'a Membership>) -> Self {
        let mut links = Links::default();
        let (mut members, mut given) = (HashSet::new(), Vec::new());
        for Membership { member, role, tenant, .. } in memberships {
            members.insert((tenant.clone(), member.as_str().to_owned()));
            given.push((member, role, tenant));
        }
        for (member, role, tenant) in given {
            let leads_on = members.contains(&(tenant.clone(), role.as_str().to_owned()));
            links.add(member, role, tenant, leads_on);
        }
        Self(Arc::new(RwLock::new(links)))
    }

    pub(super) fn for_casbin(&self) -> Arc<RwLock<dyn RoleManager>> {
        Arc::clone(&self.0)
    }
}

/// By tenant and member.
#[derive(Default)]
struct Links(HashMap<Tenant, HashMap<String, Held>>);

/// What one member has.
#[derive(Default)]
struct Held {
    roles: HashSet<Role>,
    /// Those of them that have roles themselves.
    leading_on: Vec<Role>,
}

impl Links {
    fn add(&mut self, member: &Grantee, role: &Role, tenant: &Tenant, leads_on: bool) {
        let held = self.0.entry(tenant.clone()).or_default().entry(member.as_str().to_owned()).or_default();
        if held.roles.insert(role.clone()) && leads_on {
            held.leading_on.push(role.clone());
        }
    }
}

impl RoleManager for Links {
    fn has_link(&self, member: &str, role: &str, tenant: Option<&str>) -> bool {
        if member == role {
            return true;
        }
        let Some(in_tenant) = tenant.and_then(|tenant| self.0.get(tenant)) else { return false };
        let (mut seen, mut next, mut at) = (HashSet::new(), Vec::new(), member);
        loop {
            if let Some(held) = in_tenant.get(at) {
                if held.roles.contains(role) {
                    return true;
                }
                next.extend(held.leading_on.iter().map(Role::as_str).filter(|role| seen.insert(*role)));
            }
            match next.pop() {
                Some(role) => at = role,
                None => return false,
            }
        }
    }

    fn get_roles(&self, member: &str, tenant: Option<&str>) -> Vec<String> {
        let held = tenant.and_then(|tenant| self.0.get(tenant)?.get(member));
        held.into_iter().flat_map(|held| &held.roles).map(ToString::to_string).collect()
    }

    fn get_users(&self, role: &str, tenant: Option<&str>) -> Vec<String> {
        let in_tenant = tenant.and_then(|tenant| self.0.get(tenant)).into_iter().flatten();
        in_tenant.filter(|(_, held)| held.roles.contains(role)).map(|(member, _)| member.clone()).collect()
    }

    fn clear(&mut self) {}

    fn add_link(&mut self, _: &str, _: &str, _: Option<&str>) {}

    fn matching_fn(&mut self, _: Option<MatchingFn>, _: Option<MatchingFn>) {}

    fn delete_link(&mut self, _: &str, _: &str, _: Option<&str>) -> casbin::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use casbin::DefaultRoleManager;

    use super::*;
    use crate::policy::grant::GrantId;

    const NAMES: [&str; 7] = ["spiffe://a/p", "spiffe://a/q", "role:a", "role:b", "role:c", "role:d", "role:e"];

    fn membership((member, role, tenant): (&str, &str, &str)) -> Membership {
        Membership {
            id: GrantId::parse("m").unwrap(),
            member: Grantee::parse(member).unwrap(),
            role: Role::parse(role).unwrap(),
            tenant: Tenant::parse(tenant).unwrap(),
            expires: None,
            reason: "r".into(),
        }
    }

    #[test]
    fn links_are_those_that_casbins_own_role_manager_has() {
        let given = [
            ("spiffe://a/p", "role:a", "acme"),
            ("spiffe://a/p", "role:b", "bolt"),
            ("role:a", "role:b", "acme"),
            ("role:a", "role:c", "acme"),
            ("role:b", "role:d", "acme"),
            ("role:c", "role:d", "acme"),
            ("role:d", "role:e", "acme"),
            ("role:d", "role:e", "bolt"),
        ];
        let memberships = given.map(membership);
        let roles = Roles::new(memberships.iter());
        let ours = roles.0.read();
        let mut casbins = DefaultRoleManager::new(10);
        given.iter().for_each(|(member, role, tenant)| casbins.add_link(member, role, Some(tenant)));
        let mut linked = 0;
        for tenant in ["acme", "bolt", "other"] {
            for (member, role) in NAMES.iter().flat_map(|member| NAMES.map(|role| (member, role))) {
                let has = casbins.has_link(member, role, Some(tenant));
                assert_eq!(ours.has_link(member, role, Some(tenant)), has, "{member} {role} {tenant}");
                linked += usize::from(has && *member != role);
            }
        }
        // acme: p → a b c d e, a → b c d e, b → d e, c → d e, d → e; bolt: p → b, d → e.
        assert_eq!(linked, 14 + 2);
        assert!(!ours.has_link("spiffe://a/p", "role:a", None));
    }
}
