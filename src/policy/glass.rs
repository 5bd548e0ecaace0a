//! Breaking the glass: a principal takes an emergency role for a while, without another person's approval.
//!
//! What is taken is a membership like any other, in a version of the policy of its own: it ends on its second, and whatever
//! explains or lists memberships shows it. It is told from others by its id, which no change may write. It is no part of what a
//! whole document says either: one that is put in force, old or new, leaves what is held as it is.
//!
//! Assertions say what the policy allows while nothing is broken, so they are held against the document without what was taken.

use std::sync::Arc;

use super::{
    Document, Snapshot,
    change::{CHANGES_MAX, Change, MembershipDraft, apply},
    csv::Rules,
    diff::Diff,
    grant::{GrantId, Membership},
    person::keeps_control,
    sources::{POLICY, Sources},
};
use crate::{
    catalogue::Problem,
    id::{Principal, Role, Tenant},
};

/// How the ids of memberships begin that were taken, and no others.
const PREFIX: &str = "glass-";

/// What somebody takes.
#[derive(Clone, Debug)]
pub struct Taking {
    /// The number of the breaking.
    pub number: u64,
    /// Who takes it.
    pub principal: Principal,
    /// An emergency role of the catalogue.
    pub role: Role,
    /// In which tenant.
    pub tenant: Tenant,
    /// The first second it no longer holds, since 1970.
    pub expires: u64,
}

impl Taking {
    /// The policy after it, as the next version. What was taken before and has ended goes.
    ///
    /// # Errors
    /// Every [`Problem`] of the document that it gives, or that nobody would be left to change the policy.
    pub fn take(&self, before: &Snapshot, now: u64) -> Result<Snapshot, Vec<Problem>> {
        let memberships = before.document.rules.memberships.iter().map(|line| &line.rule);
        let ended = memberships.filter(|membership| is_taken(membership) && !membership.holds_at(now));
        let mut changes: Vec<Change> =
            ended.take(CHANGES_MAX - 1).map(|membership| Change::Remove(membership.id.as_str().to_owned())).collect();
        changes.push(Change::AddMembership(MembershipDraft {
            id: id(self.number),
            member: self.principal.as_str().to_owned(),
            role: self.role.as_str().to_owned(),
            tenant: self.tenant.as_str().to_owned(),
            expires: Some(self.expires),
            // What was said is kept with the breaking, not in every version from here on.
            reason: format!("break-glass {}", self.number),
        }));
        next(before, &changes, now)
    }
}

/// The policy without what was taken by the breaking of this number; `None` if it is there no more.
///
/// # Errors
/// As [`Taking::take`].
pub fn put_back(before: &Snapshot, number: u64, now: u64) -> Result<Option<Snapshot>, Vec<Problem>> {
    let id = id(number);
    if !before.memberships().any(|membership| membership.id.as_str() == id) {
        return Ok(None);
    }
    next(before, &[Change::Remove(id)], now).map(Some)
}

fn next(before: &Snapshot, changes: &[Change], now: u64) -> Result<Snapshot, Vec<Problem>> {
    let candidate = apply(&before.document, changes)?;
    let document = Document::read(candidate.sources().clone())?;
    let snapshot = Snapshot::of(before.version() + 1, document)?;
    keeps_control(Some(before), &snapshot, now).map_err(|problem| vec![problem])?;
    Ok(snapshot)
}

fn id(number: u64) -> String {
    format!("{PREFIX}{number}")
}

/// Whether it was taken, and not given by a change.
pub(super) fn is_taken(membership: &Membership) -> bool {
    is_given(&membership.id)
}

/// Whether only breaking the glass gives this id.
pub(super) fn is_given(id: &GrantId) -> bool {
    id.as_str().starts_with(PREFIX)
}

/// A problem for each membership that a change would have be taken.
pub(super) fn forged(diff: &Diff) -> Vec<Problem> {
    let changed = diff.memberships.changed.iter().map(|changed| &changed.after);
    let written = diff.memberships.added.iter().chain(changed);
    written.filter(|membership| is_taken(membership)).map(|membership| forgery(&membership.id)).collect()
}

fn forgery(id: &GrantId) -> Problem {
    let why = format!("membership {id}: an id that begins with {PREFIX} is given by breaking the glass");
    Problem::of_file(POLICY, why)
}

impl Document {
    /// A problem for each membership that was taken: a document that stands for itself has none.
    pub fn taken(&self) -> Vec<Problem> {
        let memberships = self.rules.memberships.iter().map(|line| &line.rule);
        memberships.filter(|membership| is_taken(membership)).map(|membership| forgery(&membership.id)).collect()
    }

    /// This document with what is held in `before` by breaking the glass, and nothing else that ever was.
    ///
    /// # Errors
    /// Every [`Problem`] of taking it: what is held may not fit in here.
    pub fn with_taken_of(&self, before: &Document) -> Result<Sources, Vec<Problem>> {
        let taken = |document: &Document| -> Vec<Arc<Membership>> {
            let memberships = document.rules.memberships.iter().map(|line| &line.rule);
            memberships.filter(|membership| is_taken(membership)).cloned().collect()
        };
        let (held, stale) = (taken(before), taken(self));
        let gone = stale.iter().filter(|membership| !held.contains(membership));
        let missing = held.iter().filter(|membership| !stale.contains(membership));
        let changes: Vec<Change> = gone
            .map(|membership| Change::Remove(membership.id.to_string()))
            .chain(missing.map(|membership| Change::AddMembership(MembershipDraft::of(membership))))
            .collect();
        if changes.is_empty() {
            return Ok(self.sources.clone());
        }
        Ok(apply(self, &changes)?.sources().clone())
    }
}

/// The rules without what was taken; `None` if nothing was.
pub(super) fn unbroken(rules: &Rules) -> Option<Rules> {
    if !rules.memberships.iter().any(|line| is_taken(&line.rule)) {
        return None;
    }
    let given = rules.memberships.iter().filter(|line| !is_taken(&line.rule)).cloned().collect();
    Some(Rules { grants: rules.grants.clone(), memberships: given })
}

#[cfg(test)]
mod tests;
