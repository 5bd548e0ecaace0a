//! Entries that an auditor should be shown and is not, and the recorded deletions that may explain it.
//!
//! Retention deletes the bodies of old entries and records it. The record comes long after what it deletes, so gaps wait
//! until the end of the export, or in the remembered state, for their explanation.

use std::{collections::VecDeque, ops::Range};

use serde::{Deserialize, Serialize};

use super::{chain::Shown, finding::Finding};

/// Entries that are not shown: `missing` of those from `first` to `end`, and the last of these is one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Gap {
    pub(super) first: u64,
    pub(super) end: u64,
    /// How many of the tenant's; 0 for the one entry that announces a log key.
    pub(super) missing: u64,
    /// The tenant's entry before the gap.
    pub(super) witness: Option<Shown>,
}

/// An entry that records that the bodies of others were deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Deletion {
    pub(super) by: u64,
    pub(super) first: u64,
    pub(super) end: u64,
    pub(super) newest_time_unix_micros: u64,
    pub(super) time_unix_micros: u64,
}

/// Gaps without an explanation so far, and deletions that may explain later ones.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Gaps {
    open: Vec<Gap>,
    deletions: VecDeque<Deletion>,
}

/// How long entries are to be kept.
#[derive(Clone, Copy, Debug)]
pub(super) struct Retention {
    pub(super) days: u32,
}

impl Gaps {
    /// Adds a gap.
    pub(super) fn add(&mut self, gap: Gap) -> Result<(), Finding> {
        if self.open.len() == GAPS_MAX {
            return Err(Finding::TooManyGaps { range: gap.first..gap.end });
        }
        self.open.push(gap);
        Ok(())
    }

    /// Adds a recorded deletion. Past [`DELETIONS_MAX`] the oldest is forgotten, which makes the verifier stricter.
    pub(super) fn deleted(&mut self, deletion: Deletion) {
        if self.deletions.len() == DELETIONS_MAX {
            self.deletions.pop_front();
        }
        self.deletions.push_back(deletion);
    }

    /// Explains every gap, or says which one has no explanation. Returns how many entries of the tenant were deleted.
    pub(super) fn explain(&mut self, retention: Retention) -> Result<u64, Finding> {
        let mut deletions: Vec<Deletion> = self.deletions.iter().copied().collect();
        deletions.sort_unstable_by_key(|deletion| deletion.first);
        let unexplained = self.open.iter().find_map(|gap| unexplained(gap, &deletions, retention));
        if let Some(finding) = unexplained {
            return Err(finding);
        }
        Ok(self.open.drain(..).fold(0, |deleted: u64, gap| deleted.saturating_add(gap.missing)))
    }
}

impl Retention {
    fn is_kept_by(self, deletion: &Deletion) -> bool {
        let age = u64::from(self.days).checked_mul(DAY_MICROS);
        let due = age.and_then(|age| deletion.newest_time_unix_micros.checked_add(age));
        due.is_some_and(|due| deletion.time_unix_micros >= due)
    }
}

/// `deletions` are sorted by their first index.
fn unexplained(gap: &Gap, deletions: &[Deletion], retention: Retention) -> Option<Finding> {
    let misdated = |deletion: &Deletion| {
        gap.witness.filter(|shown| {
            (deletion.first..deletion.end).contains(&shown.index)
                && shown.time_unix_micros > deletion.newest_time_unix_micros
        })
    };
    let mut explained = gap.first;
    for deletion in deletions.iter().filter(|d| retention.is_kept_by(d) && misdated(d).is_none()) {
        if deletion.first <= explained {
            explained = explained.max(deletion.end);
        }
    }
    if explained >= gap.end {
        return None;
    }
    let range: Range<u64> = explained..gap.end;
    let claimed = deletions.iter().find(|deletion| (deletion.first..deletion.end).contains(&explained));
    Some(match claimed {
        Some(deletion) => match misdated(deletion) {
            Some(witness) => Finding::DeletionMisdated { by: deletion.by, witness: witness.index },
            None => Finding::DeletedTooYoung { range, by: deletion.by, days: retention.days },
        },
        None if gap.missing == 0 => Finding::Unrecorded { index: gap.first },
        None => Finding::Missing { range, missing: gap.missing },
    })
}

/// Retention deletes from the beginning, so that an honest export has one gap, or a few.
const GAPS_MAX: usize = 1_024;
/// One a day for more than a century.
const DELETIONS_MAX: usize = 65_536;
const DAY_MICROS: u64 = 86_400_000_000;
