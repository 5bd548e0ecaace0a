//! What a change comes to, as far as a caller may read it: how it differs, whom it touches, whether it widens, and which
//! decisions flip.

use std::sync::Arc;

use super::{candidate::Candidate, rights::Rights};
use crate::{
    id::Tenant,
    policy::{Diff, Direction, Grant, Membership},
    proto::stored::Simulation,
};

/// What a change comes to, as far as the caller may read it.
#[derive(Debug)]
pub struct Plan {
    /// What is not as it was.
    pub differences: Vec<Difference>,
    /// How many differences there are that the caller may not read.
    pub hidden: usize,
    /// The tenants it touches.
    pub tenants: Vec<String>,
    /// Whether it needs an approval.
    pub widens: bool,
    /// Why it needs one.
    pub widens_because: Vec<String>,
    /// What the newest decisions would be.
    pub simulation: Simulation,
}

/// Something that is not as it was; what was added has no `before`, what was removed no `after`.
#[derive(Debug)]
pub enum Difference {
    /// A grant.
    Grant {
        /// What it was.
        before: Option<Arc<Grant>>,
        /// What it is.
        after: Option<Arc<Grant>>,
    },
    /// A membership.
    Membership {
        /// What it was.
        before: Option<Arc<Membership>>,
        /// What it is.
        after: Option<Arc<Membership>>,
    },
    /// A file, or what is no rule in `policy.csv`.
    File {
        /// Its name.
        file: &'static str,
        /// Lines that were added (`+`) or removed (`-`).
        lines: Vec<String>,
        /// Further such lines.
        more_lines: usize,
    },
}

impl Candidate {
    /// What of it the caller may read.
    pub(super) fn shown(&self, rights: &mut Rights<'_>, simulation: &Simulation) -> Plan {
        rights.look(self.plan.impact.tenants.iter());
        rights.look(self.before.tenants().iter());
        rights.look_by_name(simulation.tenants.iter().map(|flips| &flips.tenant));
        let all = self.differences();
        let count = all.len();
        let seen = |difference: &Difference| match difference {
            Difference::Grant { before, after } => before.iter().chain(after).all(|grant| rights.sees_grant(grant)),
            Difference::Membership { before, after } => {
                before.iter().chain(after).all(|membership| rights.sees_membership(membership))
            }
            // They name principals of every tenant.
            Difference::File { .. } => rights.sees(&Tenant::system()),
        };
        let differences: Vec<Difference> = all.into_iter().filter(seen).collect();
        let because = match &self.plan.impact.direction {
            Direction::Narrows => Vec::new(),
            Direction::Widens { why } => {
                let seen = why.iter().filter(|why| why.tenants.iter().all(|tenant| rights.sees(tenant)));
                seen.map(|why| why.because.clone()).collect()
            }
        };
        let mut simulation = simulation.clone();
        simulation.tenants.retain(|flips| rights.sees_any(std::slice::from_ref(&flips.tenant)));
        Plan {
            hidden: count - differences.len(),
            differences,
            tenants: self
                .tenant_names()
                .into_iter()
                .filter(|name| rights.sees_any(std::slice::from_ref(name)))
                .collect(),
            widens: self.widens(),
            widens_because: because,
            simulation,
        }
    }

    fn differences(&self) -> Vec<Difference> {
        let Diff { grants, memberships, files } = &self.plan.diff;
        let removed = grants.removed.iter().map(|grant| (Some(grant), None));
        let added = grants.added.iter().map(|grant| (None, Some(grant)));
        let changed = grants.changed.iter().map(|changed| (Some(&changed.before), Some(&changed.after)));
        let of_grants = removed.chain(added).chain(changed);
        let of_grants =
            of_grants.map(|(before, after)| Difference::Grant { before: before.cloned(), after: after.cloned() });
        let removed = memberships.removed.iter().map(|membership| (Some(membership), None));
        let added = memberships.added.iter().map(|membership| (None, Some(membership)));
        let changed = memberships.changed.iter().map(|changed| (Some(&changed.before), Some(&changed.after)));
        let of_memberships = removed.chain(added).chain(changed);
        let of_memberships = of_memberships
            .map(|(before, after)| Difference::Membership { before: before.cloned(), after: after.cloned() });
        let of_files = files.iter().map(|file| Difference::File {
            file: file.file,
            lines: file.lines.clone(),
            more_lines: (file.added + file.removed).saturating_sub(file.lines.len()),
        });
        of_grants.chain(of_memberships).chain(of_files).collect()
    }
}
