//! Finds the entries that have all of several terms, in either direction, by leaping: each term's postings are asked for the
//! next entry from where another's stands, so what only one of them has is passed over.

use std::ops::Range;

use crate::store::Direction;

/// The entries of one term within a part of the index, in one direction.
pub(super) trait Postings {
    /// Why they can't be read.
    type Error;

    /// Ascending the first entry at or after `at`, descending the last one at or before it. Counts the blocks it reads.
    ///
    /// # Errors
    /// The postings can't be read.
    fn seek(&mut self, at: u64, blocks: &mut usize) -> Result<Option<u64>, Self::Error>;
}

/// A search under way.
pub(super) struct Search {
    pub(super) direction: Direction,
    /// Stops after so many candidates.
    pub(super) limit: usize,
    /// Stops after so many blocks; the last step may take one more a term.
    pub(super) blocks_max: usize,
    /// What was found, in the search's direction.
    pub(super) candidates: Vec<u64>,
    /// How many blocks were read.
    pub(super) blocks: usize,
}

impl Search {
    /// Looks through `indexes` for entries that all of `terms` have, the rarest first. Answers what it did not come to.
    ///
    /// # Errors
    /// Those of [`Postings::seek`].
    pub(super) fn look<P: Postings>(&mut self, terms: &mut [P], indexes: Range<u64>) -> Result<Range<u64>, P::Error> {
        let mut rest = indexes;
        while !rest.is_empty() && self.candidates.len() < self.limit && self.blocks < self.blocks_max {
            let from = match self.direction {
                Direction::Ascending => rest.start,
                Direction::Descending => rest.end - 1,
            };
            let Some((at, all)) = self.leap(terms, from)? else { return Ok(rest.end..rest.end) };
            if !rest.contains(&at) {
                return Ok(rest.end..rest.end);
            }
            if all {
                self.candidates.push(at);
            }
            match self.direction {
                Direction::Ascending => rest.start = at + u64::from(all),
                Direction::Descending => rest.end = at + u64::from(!all),
            }
        }
        Ok(rest)
    }

    /// The first entry from `from` on that may have all terms, and whether it has. `None`: there is none.
    fn leap<P: Postings>(&mut self, terms: &mut [P], from: u64) -> Result<Option<(u64, bool)>, P::Error> {
        let mut at = None;
        for term in terms {
            let Some(next) = term.seek(at.unwrap_or(from), &mut self.blocks)? else { return Ok(None) };
            if *at.get_or_insert(next) != next {
                return Ok(Some((next, false)));
            }
        }
        Ok(at.map(|at| (at, true)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::{collections::BTreeSet, convert::Infallible};

    struct Listed(BTreeSet<u64>, Direction);

    impl Postings for Listed {
        type Error = Infallible;

        fn seek(&mut self, at: u64, blocks: &mut usize) -> Result<Option<u64>, Infallible> {
            *blocks += 1;
            Ok(match self.1 {
                Direction::Ascending => self.0.range(at..).next().copied(),
                Direction::Descending => self.0.range(..=at).next_back().copied(),
            })
        }
    }

    fn search(direction: Direction, limit: usize, blocks_max: usize) -> Search {
        Search { direction, limit, blocks_max, candidates: Vec::new(), blocks: 0 }
    }

    proptest! {
        #[test]
        fn what_all_terms_have_is_found_however_often_the_search_has_to_go_on(
            sets in proptest::collection::vec(proptest::collection::btree_set(0u64..60, 0..50), 1..4),
            (start, end) in (0u64..70, 0u64..70),
            (limit, blocks_max) in (1usize..6, 1usize..9),
            ascending: bool,
        ) {
            let direction = if ascending { Direction::Ascending } else { Direction::Descending };
            let mut expected: Vec<u64> =
                (start..end).filter(|index| sets.iter().all(|set| set.contains(index))).collect();
            if !ascending {
                expected.reverse();
            }
            let mut terms: Vec<_> = sets.into_iter().map(|set| Listed(set, direction)).collect();
            let (mut rest, mut found) = (start..end, Vec::new());
            while !rest.is_empty() {
                let mut search = search(direction, limit, blocks_max);
                let Ok(left) = search.look(&mut terms, rest.clone());
                prop_assert!(search.candidates.len() <= limit && search.blocks <= blocks_max + terms.len());
                let gone = if ascending { rest.start..left.start } else { left.end..rest.end };
                prop_assert!(left.is_empty() || search.candidates.iter().all(|index| gone.contains(index)));
                found.extend(search.candidates);
                prop_assert!(left != rest, "it gets on");
                rest = left;
            }
            prop_assert_eq!(found, expected);
        }
    }
}
