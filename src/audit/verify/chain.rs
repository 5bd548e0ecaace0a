//! A tenant's entries as a chain: numbered without a gap, each pointing to the one before, in a time that does not run back.

use serde::{Deserialize, Serialize};

use super::{finding::Finding, gaps::Gap};
use crate::proto::stored::Entry;

/// An entry that was shown whole: where and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Shown {
    pub(super) index: u64,
    pub(super) time_unix_micros: u64,
}

/// How far a tenant's chain was followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Chain {
    /// The number of the next entry; none if the chain was not seen from its beginning and no entry was seen yet.
    next_seq: Option<u64>,
    /// The newest entry.
    newest: Option<Shown>,
    /// Everything before this index is in its place: a signed checkpoint or a later link says so.
    #[serde(skip)]
    settled: u64,
}

impl Chain {
    /// A chain from its beginning.
    pub(super) fn new() -> Self {
        Self { next_seq: Some(0), newest: None, settled: 0 }
    }

    /// A chain that is joined somewhere.
    pub(super) fn joined() -> Self {
        Self { next_seq: None, newest: None, settled: 0 }
    }

    /// Whether it is known how far the chain is.
    pub(super) fn is_known(&self) -> bool {
        self.next_seq.is_some()
    }

    /// Everything before `index` is proven to be in its place.
    pub(super) fn settle(&mut self, index: u64) {
        self.settled = self.settled.max(index);
    }

    /// Follows the chain to an entry, and says what was left out on the way.
    pub(super) fn follow(&mut self, index: u64, entry: &Entry) -> Result<Option<Gap>, Finding> {
        let (seq, previous) = (entry.tenant_seq, entry.tenant_previous_plus_one);
        let before = self.newest.map_or(0, |newest| newest.index + 1);
        // The entry before may itself be the one that is out of its place: only the one before that was pointed to.
        let settled = self.settled;
        let link = || Finding::Link { range: settled..index.saturating_add(1) };
        if previous > index || (seq == 0) != (previous == 0) {
            return Err(link());
        }
        let expected = self.next_seq.unwrap_or(seq);
        let missing = seq.checked_sub(expected).ok_or(Finding::Sequence { index, seq, expected })?;
        if self.next_seq.is_some() {
            let room = previous.checked_sub(before).ok_or_else(link)?;
            // Each that is missing has a place, and the last one's is known.
            if missing > room || (missing == 0) != (room == 0) {
                return Err(link());
            }
        }
        let witness = self.newest;
        self.settle(before);
        self.next_seq = Some(seq.checked_add(1).ok_or(Finding::Sequence { index, seq, expected })?);
        self.newest = Some(Shown { index, time_unix_micros: entry.time_unix_micros });
        Ok((missing > 0).then_some(Gap { first: before, end: previous, missing, witness }))
    }
}
