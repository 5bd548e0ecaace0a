//! Whether a change narrows what is allowed, or must be approved.
//!
//! Narrowing is only this: to drop an allow, or to shorten it; to drop a membership whose role carries no deny; to add a deny.
//! All of it on data: whatever touches the control plane, the catalogue, the assertions or the model widens, and so does all
//! that is not named here, however harmless it looks. An allow for a narrower pattern, another reason, a comment, a membership
//! that ends sooner: each waits for a second person. What is easy to tell apart is hard to be wrong about.

mod gains;
#[cfg(test)]
mod tests;

use std::collections::{BTreeSet, HashMap};

use super::{
    Document,
    diff::{Changed, Diff},
    grant::{Effect, Grant, Grantee, Membership, Pattern, Tenants},
    roles::RoleGraph,
};
use crate::id::{Object, Principal, Role, Tenant};

/// What a change comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Impact {
    /// Whether somebody else must approve it, and why.
    pub direction: Direction,
    /// Who can do more after it than before, at some moment; nobody who can is missing, and somebody may be in it who can't
    /// because of rules that only together come to the same. Empty if it narrows.
    pub beneficiaries: BTreeSet<Principal>,
    /// The tenants whose rules it changes; what is for all tenants or for none is `_system`'s.
    pub tenants: BTreeSet<Tenant>,
}

/// Whether a change only narrows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Direction {
    /// It takes effect at once.
    Narrows,
    /// Another person must approve it.
    Widens {
        /// Every reason; at least one.
        why: Vec<Widening>,
    },
}

/// Something that must be approved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Widening {
    /// The tenants whose matter it is.
    pub tenants: BTreeSet<Tenant>,
    /// What it is, in a line; no principal's name is in it.
    pub because: String,
}

impl Impact {
    /// What it comes to that `before` becomes `after`; `diff` is theirs.
    pub fn of(before: &Document, after: &Document, diff: &Diff) -> Self {
        let why = widenings(before, diff);
        let beneficiaries = if why.is_empty() { BTreeSet::new() } else { gains::beneficiaries(before, after, diff) };
        let direction = if why.is_empty() { Direction::Narrows } else { Direction::Widens { why } };
        Self { direction, beneficiaries, tenants: touched(diff) }
    }

    /// Whether another person must approve it.
    pub fn widens(&self) -> bool {
        matches!(self.direction, Direction::Widens { .. })
    }
}

fn widenings(before: &Document, diff: &Diff) -> Vec<Widening> {
    let mut why = Vec::new();
    let mut of_grant = |grant: &Grant, other: Option<&Grant>, what: String| {
        let tenants = [Some(grant), other].into_iter().flatten().map(|grant| owner(&grant.tenants)).collect();
        why.push(Widening { tenants, because: format!("grant {} {what}", grant.id) });
    };
    for grant in &diff.grants.removed {
        if let Some(what) = dropped(grant) {
            of_grant(grant, None, what);
        }
    }
    for grant in &diff.grants.added {
        match (grant.effect, control(grant)) {
            (Effect::Allow, _) => of_grant(grant, None, "is a new allow".into()),
            (Effect::Deny, Some(object)) => of_grant(grant, None, format!("denies on {object}: the control plane")),
            (Effect::Deny, None) => {}
        }
    }
    for changed in &diff.grants.changed {
        if let Some(what) = altered(changed) {
            of_grant(&changed.after, Some(&changed.before), what);
        }
    }
    why.extend(of_memberships(before, diff));
    for change in &diff.files {
        let because = format!("{}: {} lines added, {} removed", change.file, change.added, change.removed);
        why.push(Widening { tenants: [Tenant::system()].into(), because });
    }
    why
}

/// Why dropping a grant widens, if it does.
fn dropped(grant: &Grant) -> Option<String> {
    match (grant.effect, control(grant)) {
        (Effect::Deny, _) => Some("was a deny".into()),
        (Effect::Allow, Some(object)) => Some(format!("was on {object}: the control plane")),
        (Effect::Allow, None) => None,
    }
}

/// Why altering a grant widens, if it does: only an allow on data that is shortened and otherwise the same does not.
fn altered(changed: &Changed<Grant>) -> Option<String> {
    let Changed { before, after, fields } = changed;
    let shortened = Grant { window: after.window, ..Grant::clone(before) };
    if before.effect == Effect::Allow && control(before).is_none() && **after == shortened {
        return (!before.window.covers(after.window)).then(|| "holds at moments at which it did not".into());
    }
    let fields: Vec<&str> = fields.iter().map(|change| change.field).collect();
    let of = control(before).or_else(|| control(after)).map(|object| format!(" on {object}: the control plane"));
    let deny = [before, after].iter().any(|grant| grant.effect == Effect::Deny);
    let kind = of.or_else(|| deny.then(|| " of a deny".into())).unwrap_or_default();
    Some(format!("changes its {}{kind}", fields.join(", ")))
}

fn of_memberships(before: &Document, diff: &Diff) -> Vec<Widening> {
    let mut why = Vec::new();
    let mut of_membership = |membership: &Membership, tenants: &[&Tenant], what: String| {
        let tenants = tenants.iter().copied().cloned().collect();
        why.push(Widening { tenants, because: format!("membership {} {what}", membership.id) });
    };
    if !diff.memberships.removed.is_empty() {
        let graphs = RoleGraph::by_tenant(before.rules.memberships.iter().map(|line| &line.rule));
        let mut carried: HashMap<&Role, Vec<&Grant>> = HashMap::new();
        for grant in before.rules.grants.iter().map(|line| &*line.rule) {
            match &grant.grantee {
                Grantee::Role(role) => carried.entry(role).or_default().push(grant),
                Grantee::Principal(_) => {}
            }
        }
        for membership in &diff.memberships.removed {
            let further = graphs.get(&membership.tenant).map(|graph| graph.roles_ever(&membership.role));
            let roles: BTreeSet<&Role> = further.iter().flatten().chain([&membership.role]).collect();
            let grants = roles.into_iter().filter_map(|role| carried.get(role)).flatten();
            let found = grants.filter(|grant| grant.tenants.include(&membership.tenant)).find_map(|grant| {
                match (grant.effect, control(grant)) {
                    (Effect::Deny, _) => Some(format!("carried a deny ({})", grant.id)),
                    (Effect::Allow, Some(object)) => Some(format!("led to {object}: the control plane ({})", grant.id)),
                    (Effect::Allow, None) => None,
                }
            });
            if let Some(what) = found {
                of_membership(membership, &[&membership.tenant], what);
            }
        }
    }
    for membership in &diff.memberships.added {
        of_membership(membership, &[&membership.tenant], "is new".into());
    }
    for Changed { before, after, fields } in &diff.memberships.changed {
        let fields: Vec<&str> = fields.iter().map(|change| change.field).collect();
        of_membership(after, &[&before.tenant, &after.tenant], format!("changes its {}", fields.join(", ")));
    }
    why
}

fn touched(diff: &Diff) -> BTreeSet<Tenant> {
    let of_grants = diff.grants.rules().map(|grant| owner(&grant.tenants));
    let of_memberships = diff.memberships.rules().map(|membership| membership.tenant.clone());
    let of_files = diff.files.iter().map(|_| Tenant::system());
    of_grants.chain(of_memberships).chain(of_files).collect()
}

/// Whose matter a rule is.
fn owner(tenants: &Tenants) -> Tenant {
    match tenants {
        Tenants::All => Tenant::system(),
        Tenants::One(tenant) => tenant.clone(),
    }
}

/// The control-plane object that a grant is on, if it is on one.
fn control(grant: &Grant) -> Option<&'static str> {
    match &grant.pattern {
        Pattern::Exact(Object::Control(object)) => Some(object.as_str()),
        Pattern::Exact(Object::Class(_)) | Pattern::Below(_) => None,
    }
}
