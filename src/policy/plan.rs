//! From what somebody asks for to a policy that could be put in force, and what that would mean.

use std::sync::Arc;

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
    pub snapshot: Arc<Snapshot>,
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
        let document = Document::read(candidate.sources().clone()).map_err(|problems| candidate.blame(problems))?;
        let document = match changes {
            [Change::Document(_)] => keeping_taken(&before.document, document)?,
            _ => document,
        };
        let diff = Diff::between(&before.document, &document);
        let written = diff.written();
        let expired = lint::expired(&document.rules, now, |id| written.contains(id));
        refuse_if_any(candidate.blame(expired))?;
        refuse_if_any(glass::forged(&diff))?;
        let impact = Impact::of(&before.document, &document, &diff);
        let snapshot = Snapshot::of(before.version() + 1, document).map_err(|problems| candidate.blame(problems))?;
        keeps_control(Some(before), &snapshot, now).map_err(|problem| vec![problem])?;
        Ok(Self { snapshot: Arc::new(snapshot), diff, impact })
    }

    /// What leads from one policy to another that was found sound before.
    pub fn to(before: &Snapshot, snapshot: Arc<Snapshot>) -> Self {
        let diff = Diff::between(&before.document, &snapshot.document);
        let impact = Impact::of(&before.document, &snapshot.document, &diff);
        Self { snapshot, diff, impact }
    }

    /// The same change of `now_in_force`, which others have changed since: the same rules become the same. `None` if it would
    /// be another change by now, or none that holds.
    pub fn again(&self, now_in_force: &Snapshot, now: u64) -> Option<Self> {
        let changes = self.diff.changes(&self.snapshot.document)?;
        let again = Self::of(now_in_force, &changes, now).ok()?;
        (again.diff == self.diff && again.impact.tenants == self.impact.tenants).then_some(again)
    }
}

/// A whole document, which says nothing of what is held by breaking the glass: that stays.
fn keeping_taken(before: &Document, document: Document) -> Result<Document, Vec<Problem>> {
    refuse_if_any(glass::forged(&Diff::between(before, &document)))?;
    let sources = document.with_taken_of(before)?;
    if sources == before.sources {
        return Err(vec![Problem::of_file("changes", "change nothing: the policy says all of it already")]);
    }
    if sources == document.sources { Ok(document) } else { Document::read(sources) }
}
