//! What the index consists of at a moment: its runs, and the table behind them.
//!
//! INVARIANT: the runs are consecutive, the table begins where the last one ends, and the first one has the first entry kept
//! if there is one.

use std::{io, ops::Range, path::Path, sync::Arc};

use super::{Sizes, Unread, files, run::Run, search::Search, table::Table, term::Term};
use crate::store::Direction;

/// Runs and table.
pub(super) struct State {
    /// The first entry kept.
    pub(super) first: u64,
    pub(super) runs: Vec<Arc<Run>>,
    /// The newest entries.
    pub(super) table: Arc<Table>,
}

/// A run or the table.
pub(super) struct Part {
    /// Its entries.
    pub(super) indexes: Range<u64>,
    place: Place,
}

enum Place {
    Run(Arc<Run>),
    Table(Arc<Table>),
}

impl State {
    /// Takes up the runs of a directory that follow one another from the first of `indexes` on, and removes every other file
    /// of the index.
    pub(super) fn load(dir: &Path, origin: &[u8; 32], indexes: Range<u64>) -> io::Result<Self> {
        let files::Listing { runs: named, temporaries } = files::list(dir)?;
        let opened = named.iter().filter_map(|(name, path)| {
            let run = Run::open(path.clone(), origin).ok()?;
            (run.indexes() == *name && name.end <= indexes.end).then(|| Arc::new(run))
        });
        let opened: Vec<_> = opened.collect();
        let mut runs: Vec<Arc<Run>> = Vec::new();
        let mut end = indexes.start;
        // What was merged and not removed before a crash lies within a longer run.
        while let Some(next) =
            opened.iter().filter(|run| follows(run, end, runs.is_empty())).max_by_key(|run| run.indexes().end)
        {
            end = next.indexes().end;
            runs.push(Arc::clone(next));
        }
        let unused = named.into_iter().map(|(_, path)| path).filter(|path| runs.iter().all(|run| run.path() != path));
        for path in unused.chain(temporaries) {
            files::remove(&path)?;
        }
        Ok(Self { first: indexes.start, runs, table: Arc::new(Table::new(end)) })
    }

    /// The end of what is covered.
    pub(super) fn watermark(&self) -> u64 {
        self.table.indexes().end
    }

    /// The part of `indexes` that a search in this direction can look at now.
    pub(super) fn covered(&self, indexes: &Range<u64>, direction: Direction) -> Range<u64> {
        let (Range { start, end }, watermark) = (indexes.clone(), self.watermark());
        match direction {
            Direction::Ascending => start..end.min(watermark).max(start),
            Direction::Descending if end <= watermark => start.min(end)..end,
            Direction::Descending => end..end,
        }
    }

    /// The runs and the table, oldest first.
    pub(super) fn parts(&self) -> Vec<Part> {
        let runs = self.runs.iter().map(|run| Part { indexes: run.indexes(), place: Place::Run(Arc::clone(run)) });
        let table = Part { indexes: self.table.indexes(), place: Place::Table(Arc::clone(&self.table)) };
        runs.chain([table]).collect()
    }

    /// Whether the run is one of these.
    pub(super) fn has(&self, run: &Arc<Run>) -> bool {
        self.runs.iter().any(|other| Arc::ptr_eq(other, run))
    }

    /// Puts a run in the table's place. `false`: it is no longer the table.
    pub(super) fn append(&mut self, table: &Arc<Table>, run: &Arc<Run>) -> bool {
        let current = Arc::ptr_eq(&self.table, table);
        if current {
            self.runs.push(Arc::clone(run));
            self.table = Arc::new(Table::new(run.indexes().end));
        }
        current
    }

    /// Runs to be merged.
    pub(super) fn mergeable(&self, sizes: &Sizes) -> Option<Vec<Arc<Run>>> {
        let level = |run: &Arc<Run>| run.footer().level;
        let alike = |runs: &&[Arc<Run>]| {
            runs.first().is_some_and(|first| {
                level(first) < sizes.level_max && runs.iter().all(|run| level(run) == level(first))
            })
        };
        self.runs.windows(sizes.fan).rfind(alike).map(<[_]>::to_vec)
    }

    /// Puts a run in the place of those it was merged from. `false`: they are no longer all there.
    pub(super) fn replace(&mut self, merged: &[Arc<Run>], run: &Arc<Run>) -> bool {
        let all = |runs: &[Arc<Run>]| runs.iter().zip(merged).all(|(here, there)| Arc::ptr_eq(here, there));
        let Some(at) = self.runs.windows(merged.len().max(1)).position(all) else { return false };
        self.runs.splice(at..at + merged.len(), [Arc::clone(run)]);
        true
    }

    /// Forgets entries before `index`. Answers the runs that are no longer needed.
    pub(super) fn forget_before(&mut self, index: u64) -> Vec<Arc<Run>> {
        self.first = self.first.max(index);
        let first = self.first;
        if self.watermark() < first {
            self.table = Arc::new(Table::new(first));
        }
        self.runs.extract_if(.., |run| run.indexes().end <= first).collect()
    }

    /// Forgets entries from `index` on, with the runs and the table that have any of them, and removes their files: also those
    /// of runs that are being written, or could not be put in their place.
    pub(super) fn forget_from(&mut self, index: u64, dir: &Path) -> io::Result<()> {
        self.runs.retain(|run| run.indexes().end <= index);
        let end = self.runs.last().map_or(self.first, |run| run.indexes().end);
        if end < self.table.indexes().start || index < self.table.indexes().end {
            self.table = Arc::new(Table::new(end));
        }
        for (_, path) in files::list(dir)?.runs.iter().filter(|(indexes, _)| indexes.end > index) {
            files::remove(path)?;
        }
        files::sync_directory(dir)
    }
}

impl Part {
    /// Looks for entries `within` it that have all terms. Answers what the search did not come to.
    pub(super) fn look(&self, terms: &[Term], search: &mut Search, within: Range<u64>) -> Result<Range<u64>, Unread> {
        let direction = search.direction;
        match &self.place {
            Place::Run(run) => {
                if !terms.iter().all(|term| run.may_have(*term)) {
                    return Ok(within.end..within.end);
                }
                let mut terms = terms.to_vec();
                terms.sort_by_key(|term| run.spread(*term));
                let mut cursors: Vec<_> = terms.into_iter().map(|term| run.cursor(term, direction)).collect();
                search.look(&mut cursors, within).map_err(|source| Unread(Arc::clone(run), source))
            }
            Place::Table(table) => {
                let content = table.read();
                let cursor = |term: &Term| content.cursor(self.indexes.start, *term, direction);
                let mut cursors: Vec<_> = terms.iter().map(cursor).collect();
                let Ok(left) = search.look(&mut cursors, within);
                Ok(left)
            }
        }
    }
}

/// Whether a run goes on where the last one ended; the first one may begin before the first entry kept.
fn follows(run: &Run, end: u64, first: bool) -> bool {
    let indexes = run.indexes();
    indexes.end > end && (indexes.start == end || first && indexes.start < end)
}
