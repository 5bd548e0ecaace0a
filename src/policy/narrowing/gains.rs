//! Who can do more after a change than before.
//!
//! What a principal holds in a tenant is every grant that reaches it, itself or through roles, for as long as the way there
//! lasts. It gains if an allow that it holds was not held before, or if it no longer holds a deny that stood in the way of
//! one. A principal that may break the glass is looked at twice: as it is, and with the emergency roles taken, before and
//! after. What they gain, it can take; and what it could take for hours is a gain once it has it for good.
//!
//! INVARIANT: whoever some question is answered to by a yes that was a no is found. A property test holds it against every
//! question. The other way round it errs on the safe side: one allow that two others together made needless is a gain.

use std::collections::{BTreeSet, HashMap, HashSet};

use super::{
    super::{
        Document,
        diff::Diff,
        grant::{Effect, Grant, Grantee, Pattern, Tenants, Window},
        roles::RoleGraph,
        sources::CATALOGUE,
    },
    owner,
};
use crate::{
    catalogue::{Catalogue, ClassSpec},
    id::{Action, Object, Principal, Role, Tenant},
};

pub(super) fn beneficiaries(before: &Document, after: &Document, diff: &Diff) -> BTreeSet<Principal> {
    let (old, new) = (Side::of(before), Side::of(after));
    let mut tenants: BTreeSet<Tenant> = diff.memberships.rules().map(|rule| rule.tenant.clone()).collect();
    let mut all_tenants = false;
    for grant in diff.grants.rules() {
        tenants.insert(owner(&grant.tenants));
        all_tenants |= grant.tenants == Tenants::All;
    }
    let of_grants = diff.grants.rules().map(|grant| grant.grantee.clone());
    let mut seeds: HashSet<Grantee> =
        of_grants.chain(diff.memberships.rules().map(|membership| membership.member.clone())).collect();
    let catalogue_changes = diff.files.iter().any(|change| change.file == CATALOGUE);
    if catalogue_changes {
        seeds.extend(old.grantees().chain(new.grantees()).cloned());
    }
    if all_tenants || catalogue_changes {
        tenants.extend(old.tenants().chain(new.tenants()));
    }
    // Whoever may break the glass reaches what the emergency roles do.
    seeds.extend([&old, &new].into_iter().flat_map(Side::glass_breakers).cloned());
    let renewed = renewed(&before.catalogue, &after.catalogue);
    let mut gains = Gains { old: &old, new: &new, renewed: &renewed, known: HashMap::new() };
    let suspects: BTreeSet<Principal> = [&old, &new].into_iter().flat_map(|side| side.principals_of(&seeds)).collect();
    let gaining = suspects.into_iter().filter(|principal| tenants.iter().any(|tenant| gains.any(principal, tenant)));
    let mut found: BTreeSet<Principal> = gaining.collect();
    found.extend(regrouped(&before.catalogue, &after.catalogue));
    found
}

/// Classes that are new, or whose values are masked, bounded or kept in another way.
fn renewed(before: &Catalogue, after: &Catalogue) -> Vec<Object> {
    let same = |was: &ClassSpec, is: &ClassSpec| {
        (was.kind, was.max_bytes, was.retention) == (is.kind, is.max_bytes, is.retention)
    };
    let classes = after.classes().filter(|is| !before.class(is.class.as_str()).is_some_and(|was| same(was, is)));
    classes.map(|spec| Object::Class(spec.class.clone())).collect()
}

/// The principals of persons that are not made of the same principals as before: they may now count as two, or as another.
fn regrouped(before: &Catalogue, after: &Catalogue) -> BTreeSet<Principal> {
    let persons = |catalogue: &Catalogue| -> BTreeSet<(String, BTreeSet<Principal>)> {
        let person = catalogue.persons().map(|spec| (spec.id.to_string(), spec.principals.iter().cloned().collect()));
        person.collect()
    };
    let (was, is) = (persons(before), persons(after));
    was.symmetric_difference(&is).flat_map(|(_, principals)| principals.clone()).collect()
}

/// One of the two documents, by what is looked up in it.
struct Side<'a> {
    grants: HashMap<&'a Grantee, Vec<&'a Grant>>,
    graphs: HashMap<Tenant, RoleGraph>,
    emergency: Vec<&'a Role>,
}

impl<'a> Side<'a> {
    fn of(document: &'a Document) -> Self {
        let mut grants: HashMap<&Grantee, Vec<&Grant>> = HashMap::new();
        for grant in document.rules.grants.iter().map(|line| &*line.rule) {
            grants.entry(&grant.grantee).or_default().push(grant);
        }
        let graphs = RoleGraph::by_tenant(document.rules.memberships.iter().map(|line| &line.rule));
        let emergency = document.catalogue.roles().filter(|spec| spec.emergency).map(|spec| &spec.role).collect();
        Self { grants, graphs, emergency }
    }

    fn grantees(&self) -> impl Iterator<Item = &Grantee> {
        self.grants.keys().copied()
    }

    fn tenants(&self) -> impl Iterator<Item = Tenant> {
        let of_grants = self.grants.values().flatten().map(|grant| owner(&grant.tenants));
        of_grants.chain(self.graphs.keys().cloned())
    }

    fn glass_breakers(&self) -> impl Iterator<Item = &Grantee> {
        let may = |grants: &Vec<&Grant>| grants.iter().any(|grant| breaks_glass(grant));
        self.grants.iter().filter(move |(_, grants)| may(grants)).map(|(grantee, _)| *grantee)
    }

    /// Every principal that is, or can come to be, one of `grantees` in some tenant.
    fn principals_of(&self, grantees: &HashSet<Grantee>) -> BTreeSet<Principal> {
        let principal = |grantee: &Grantee| match grantee {
            Grantee::Principal(principal) => Some(principal.clone()),
            Grantee::Role(_) => None,
        };
        let mut found: BTreeSet<Principal> = grantees.iter().filter_map(principal).collect();
        for graph in self.graphs.values() {
            let leading = graph.leading_to(grantees.iter());
            found.extend(leading.iter().filter_map(|membership| principal(&membership.member)));
        }
        found
    }

    /// The roles a principal has in a tenant, each with the second at which the way to it ends.
    fn roles(&self, principal: &Principal, tenant: &Tenant) -> Vec<(Role, u64)> {
        let graph = self.graphs.get(tenant);
        let mut roles: Vec<(Role, u64)> =
            graph.map(|graph| graph.reach_until(principal)).unwrap_or_default().into_iter().collect();
        roles.sort();
        roles
    }

    fn own(&self, grantee: &Grantee) -> &[&'a Grant] {
        self.grants.get(grantee).map(Vec::as_slice).unwrap_or_default()
    }

    /// Every grant that reaches the principal in the tenant, with when it does; then the same with the glass broken, if it may.
    fn holdings(&self, principal: &Principal, tenant: &Tenant, roles: &[(Role, u64)]) -> [Vec<Holding<'a>>; 2] {
        let as_itself = (Grantee::Principal(principal.clone()), u64::MAX);
        let through = roles.iter().map(|(role, until)| (Grantee::Role(role.clone()), *until));
        let mut held: Vec<Holding<'a>> = Vec::new();
        for (grantee, until) in through.chain([as_itself]) {
            held.extend(self.own(&grantee).iter().filter_map(|grant| Holding::of(grant, tenant, until)));
        }
        let mut taking = held.clone();
        if held.iter().any(|holding| breaks_glass(holding.grant)) {
            let taken = self.emergency.iter().flat_map(|role| {
                let further = self.graphs.get(tenant).map(|graph| graph.roles_ever(role)).unwrap_or_default();
                further.into_iter().chain([Role::clone(role)])
            });
            // What is taken for a while allows; that it also denies helps nobody.
            let allows = taken.flat_map(|role| self.own(&Grantee::Role(role)).to_vec());
            let allows = allows.filter(|grant| grant.effect == Effect::Allow);
            taking.extend(allows.filter_map(|grant| Holding::of(grant, tenant, u64::MAX)));
        }
        [held, taking]
    }
}

fn breaks_glass(grant: &Grant) -> bool {
    grant.action == Action::Breakglass && grant.effect == Effect::Allow
}

/// A grant that reaches a principal, and when.
#[derive(Clone, Copy)]
struct Holding<'a> {
    grant: &'a Grant,
    window: Window,
}

impl<'a> Holding<'a> {
    fn of(grant: &'a Grant, tenant: &Tenant, until: u64) -> Option<Self> {
        let end = grant.window.end().min(until);
        let window = Window { expires: (end < u64::MAX).then_some(end), ..grant.window };
        (grant.tenants.include(tenant) && window.not_before < end).then_some(Self { grant, window })
    }

    /// Whether it says something on every question, at every moment, on which `other` does.
    fn covers(&self, other: &Self) -> bool {
        self.grant.action == other.grant.action
            && (self.grant.purposes == other.grant.purposes || self.grant.purposes.as_str() == "*")
            && self.grant.pattern.covers(&other.grant.pattern)
            && self.window.covers(other.window)
    }

    /// Whether there is a question, and a moment, on which both say something.
    fn meets(&self, other: &Self) -> bool {
        let (ours, theirs) = (&self.grant.purposes, &other.grant.purposes);
        self.grant.action == other.grant.action
            && (ours == theirs || [ours, theirs].iter().any(|purposes| purposes.as_str() == "*"))
            && (self.grant.pattern.covers(&other.grant.pattern) || other.grant.pattern.covers(&self.grant.pattern))
            && self.window.not_before.max(other.window.not_before) < self.window.end().min(other.window.end())
    }
}

/// Roles in a tenant, before and after.
type Standing = (Tenant, Vec<(Role, u64)>, Vec<(Role, u64)>);

struct Gains<'a> {
    old: &'a Side<'a>,
    new: &'a Side<'a>,
    renewed: &'a [Object],
    /// Principals with the same roles and no grant of their own gain alike.
    known: HashMap<Standing, bool>,
}

impl Gains<'_> {
    fn any(&mut self, principal: &Principal, tenant: &Tenant) -> bool {
        let (was, is) = (self.old.roles(principal, tenant), self.new.roles(principal, tenant));
        let itself = Grantee::Principal(principal.clone());
        let by_roles_alone = self.old.own(&itself).is_empty() && self.new.own(&itself).is_empty();
        let old = |roles: &[_]| self.old.holdings(principal, tenant, roles);
        let new = |roles: &[_]| self.new.holdings(principal, tenant, roles);
        let gains = |old: [Vec<Holding<'_>>; 2], new: [Vec<Holding<'_>>; 2]| {
            old.iter().zip(&new).any(|(old, new)| self.between(old, new))
        };
        if !by_roles_alone {
            return gains(old(&was), new(&is));
        }
        let standing = (tenant.clone(), was, is);
        if let Some(gains) = self.known.get(&standing) {
            return *gains;
        }
        let gains = gains(old(&standing.1), new(&standing.2));
        self.known.insert(standing, gains);
        gains
    }

    fn between(&self, old: &[Holding<'_>], new: &[Holding<'_>]) -> bool {
        let (old_allows, old_denies) = split(old);
        let (new_allows, new_denies) = split(new);
        let covered = |by: &[Holding<'_>], holding: &Holding<'_>| by.iter().any(|other| other.covers(holding));
        let mut effective = new_allows.iter().filter(|allow| !covered(&new_denies, allow));
        let renewed = |allow: &Holding<'_>| self.renewed.iter().any(|class| allow.grant.pattern.matches(class));
        effective.any(|allow| renewed(allow) || !covered(&old_allows, allow))
            || old_denies
                .iter()
                .any(|deny| !covered(&new_denies, deny) && new_allows.iter().any(|allow| allow.meets(deny)))
    }
}

fn split<'a>(holdings: &[Holding<'a>]) -> (Vec<Holding<'a>>, Vec<Holding<'a>>) {
    holdings.iter().copied().partition(|holding| holding.grant.effect == Effect::Allow)
}

impl Pattern {
    /// Whether it means everything that `other` means.
    fn covers(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Exact(one), Self::Exact(object)) => one == object,
            (Self::Exact(_), Self::Below(_)) => false,
            (Self::Below(_), Self::Exact(object)) => self.matches(object),
            (Self::Below(prefix), Self::Below(other)) => {
                prefix == other || other.strip_prefix(prefix.as_str()).is_some_and(|rest| rest.starts_with('/'))
            }
        }
    }
}
