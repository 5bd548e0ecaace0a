//! The newest entries, in memory until there are enough of them for a run.

use std::{
    collections::BTreeSet,
    convert::Infallible,
    ops::Range,
    sync::{PoisonError, RwLock, RwLockReadGuard},
};

use super::{
    block::Posting,
    search::Postings,
    term::{Indexed, Term},
    time::Samples,
};
use crate::store::Direction;

/// Entries one after the other from a first one on.
pub(super) struct Table {
    first: u64,
    content: RwLock<Content>,
}

/// What a table holds.
pub(super) struct Content {
    /// How many entries.
    pub(super) entries: u64,
    /// By term, then by the entry's offset from the first.
    pub(super) postings: BTreeSet<Posting>,
    /// Some entries' times.
    pub(super) samples: Samples,
    /// Of the newest entry.
    pub(super) last_leaf_hash: [u8; 32],
}

impl Table {
    /// An empty table.
    pub(super) fn new(first: u64) -> Self {
        let content =
            Content { entries: 0, postings: BTreeSet::new(), samples: Samples::default(), last_leaf_hash: [0; 32] };
        Self { first, content: RwLock::new(content) }
    }

    /// The entries in it.
    pub(super) fn indexes(&self) -> Range<u64> {
        self.first..self.first + self.read().entries
    }

    /// Adds the next entry. `false`: it is not the next, and nothing was added.
    pub(super) fn push(&self, entry: &Indexed) -> bool {
        let mut content = self.content.write().unwrap_or_else(PoisonError::into_inner);
        let offset = content.entries;
        if entry.index != self.first + offset {
            return false;
        }
        content.postings.extend(entry.terms.iter().map(|term| (*term, offset)));
        content.samples.note(offset, entry.index, entry.time_unix_micros);
        content.last_leaf_hash = entry.leaf_hash;
        content.entries += 1;
        true
    }

    /// Holds the content still; entries can't be added meanwhile.
    pub(super) fn read(&self) -> RwLockReadGuard<'_, Content> {
        self.content.read().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Content {
    /// The postings of one term, for entries that lie from `first` on.
    pub(super) fn cursor(&self, first: u64, term: Term, direction: Direction) -> Cursor<'_> {
        Cursor { postings: &self.postings, first, term, direction }
    }

    /// How many different terms there are.
    pub(super) fn terms(&self) -> u64 {
        let mut last = None;
        self.postings.iter().filter(|(term, _)| last.replace(*term) != Some(*term)).count() as u64
    }
}

/// The postings of one term in a table.
pub(super) struct Cursor<'a> {
    postings: &'a BTreeSet<Posting>,
    first: u64,
    term: Term,
    direction: Direction,
}

impl Postings for Cursor<'_> {
    type Error = Infallible;

    fn seek(&mut self, at: u64, _: &mut usize) -> Result<Option<u64>, Infallible> {
        let term = self.term;
        let found = match self.direction {
            Direction::Ascending => {
                let offset = at.saturating_sub(self.first);
                self.postings.range((term, offset)..=(term, u64::MAX)).next()
            }
            Direction::Descending => {
                let Some(offset) = at.checked_sub(self.first) else { return Ok(None) };
                self.postings.range((term, 0)..=(term, offset)).next_back()
            }
        };
        Ok(found.map(|(_, offset)| self.first + offset))
    }
}
