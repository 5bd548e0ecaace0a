//! Casbin as its own documentation has it, for tests to hold the engine against: one enforcer over every line, from an adapter,
//! with casbin's own role manager.

use casbin::{Adapter, CoreApi, DefaultModel, MemoryAdapter, function_map::OperatorFunction};

use super::{Enforcer, MODEL, Unclear, class_match, fenced, in_window, ready};
use crate::policy::grant::{Grant, Membership};

impl Enforcer {
    /// Over all of these.
    pub(in crate::policy) fn whole<'a>(
        grants: impl Iterator<Item = &'a Grant>,
        memberships: impl Iterator<Item = &'a Membership>,
    ) -> Result<Self, Unclear> {
        Self::whole_of_lines(
            grants.map(|grant| grant.casbin_fields().to_vec()).collect(),
            memberships.map(|membership| membership.casbin_fields().to_vec()).collect(),
        )
    }

    pub(super) fn whole_of_lines(grants: Vec<Vec<String>>, memberships: Vec<Vec<String>>) -> Result<Self, Unclear> {
        let without_grants = grants.is_empty();
        fenced(|| {
            let mut lines = MemoryAdapter::default();
            ready(lines.add_policies("p", "p", grants))?;
            ready(lines.add_policies("g", "g", memberships))?;
            let mut casbin = ready(casbin::Enforcer::new(ready(DefaultModel::from_str(MODEL))?, lines))?;
            casbin.add_function("classMatch", OperatorFunction::Arg2(class_match));
            casbin.add_function("inWindow", OperatorFunction::Arg3(in_window));
            Ok(Self { casbin, without_grants })
        })
    }
}
