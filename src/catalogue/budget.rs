//! Guard budgets: how many different customers one principal may reach in a minute, an hour and a day.
//!
//! Least privilege bounds what a role may do to one field; a budget bounds how much of it. A stolen identity that may open any
//! customer's address still can't carry off all of them.

use std::collections::HashMap;

use crate::id::{Principal, Role};

/// The most customers that a budget may give a day.
pub(super) const SUBJECTS_MAX: u32 = 1_000_000;

/// How many different customers may be reached, in each stretch of time. Stretches are whole minutes, hours and days of UTC.
/// None is zero, and none is more than the next longer one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    /// A minute.
    pub minute: u32,
    /// An hour.
    pub hour: u32,
    /// A day; at most 1,000,000.
    pub day: u32,
}

impl Budget {
    /// Whichever is less, stretch by stretch.
    pub fn and(self, other: Self) -> Self {
        Self { minute: self.minute.min(other.minute), hour: self.hour.min(other.hour), day: self.day.min(other.day) }
    }
}

/// Whose budget it is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Spender {
    /// Everybody's, each of them by itself: `*`.
    Anyone,
    /// Each principal's that reaches customers by a grant of this role.
    Role(Role),
    /// This principal's.
    Principal(Principal),
}

/// Every budget there is.
#[derive(Debug, Default)]
pub struct Budgets {
    pub(super) anyone: Option<Budget>,
    pub(super) roles: HashMap<Role, Budget>,
    pub(super) principals: HashMap<Principal, Budget>,
}

impl Budgets {
    /// How many there are.
    pub fn count(&self) -> usize {
        usize::from(self.anyone.is_some()) + self.roles.len() + self.principals.len()
    }

    /// What a principal must keep to whatever it does: everybody's budget and its own.
    pub fn of(&self, principal: &Principal) -> Option<Budget> {
        least(self.anyone, self.principals.get(principal).copied())
    }

    /// What somebody must keep to who acts by grants of a role.
    pub fn of_role(&self, role: &Role) -> Option<Budget> {
        self.roles.get(role).copied()
    }

    /// The least of all roles' budgets: for when it is not known which of them apply.
    pub fn of_any_role(&self) -> Option<Budget> {
        self.roles.values().copied().reduce(Budget::and)
    }

    pub(super) fn insert(&mut self, spender: Spender, budget: Budget) -> bool {
        let before = match spender {
            Spender::Anyone => self.anyone.replace(budget),
            Spender::Role(role) => self.roles.insert(role, budget),
            Spender::Principal(principal) => self.principals.insert(principal, budget),
        };
        before.is_none()
    }
}

/// The least of what there is.
pub fn least(one: Option<Budget>, other: Option<Budget>) -> Option<Budget> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.and(other)),
        (one, other) => one.or(other),
    }
}
