//! From what somebody asks for to a policy that could be put in force, and what that would mean.

use super::{
    Document, Snapshot,
    change::{Change, apply},
    diff::Diff,
    glass, lint,
    narrowing::Impact,
    person::keeps_control,
    refuse_if_any,
};
use crate::catalogue::Problem;

/// A sound change: everything that can be known about it without asking the log.
#[derive(Debug)]
pub struct Plan {
    /// The policy after it, as the next version.
    pub snapshot: Snapshot,
    /// What differs.
    pub diff: Diff,
    /// Whether it must be approved, who gains by it, and whose matter it is.
    pub impact: Impact,
}

impl Plan {
    /// Applies all of `changes` to the policy in force, `before`, at `now` (seconds since 1970).
    ///
    /// # Errors
    /// Every [`Problem`]: of the changes themselves, of the document that they give, of assertions that fail, of new rules
    /// that have expired, and that nobody is left to change the policy. Nothing is changed in any case.
    pub fn of(before: &Snapshot, changes: &[Change], now: u64) -> Result<Self, Vec<Problem>> {
        let candidate = apply(&before.document, changes)?;
        let sources = candidate.sources().clone();
        let document = Document::read(sources).map_err(|problems| candidate.blame(problems))?;
        let diff = Diff::between(&before.document, &document);
        let written = diff.written();
        let expired = lint::expired(&document.rules, now, |id| written.contains(id));
        refuse_if_any(candidate.blame(expired))?;
        refuse_if_any(glass::forged(&diff))?;
        let impact = Impact::of(&before.document, &document, &diff);
        let snapshot = Snapshot::of(before.version() + 1, document).map_err(|problems| candidate.blame(problems))?;
        keeps_control(Some(before), &snapshot, now).map_err(|problem| vec![problem])?;
        Ok(Self { snapshot, diff, impact })
    }
}
