//! The index against a filter over the same entries, however it is built, cut, damaged and stopped.

mod crash;
mod damage;
mod model;
mod scale;
mod together;

use std::{fs, os::unix::fs::PermissionsExt};

use proptest::prelude::*;

use self::model::{Asked, Log, SMALL, directions, list};
use super::*;

/// What is done to an index between two questions.
#[derive(Clone, Debug)]
enum Move {
    Add(u64),
    Reopen,
    ForgetBefore(u64),
    ForgetFrom(u64),
}

fn moves() -> impl Strategy<Value = Move> {
    prop_oneof![
        6 => (1u64..250).prop_map(Move::Add),
        2 => Just(Move::Reopen),
        1 => (0u64..200).prop_map(Move::ForgetBefore),
        1 => (0u64..600).prop_map(Move::ForgetFrom),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn answers_are_those_of_a_filter_over_all_entries(
        seed: u64,
        start in prop_oneof![Just(0u64), 1u64..1 << 40],
        moves in proptest::collection::vec((moves(), any::<Asked>(), 1usize..40), 1..14),
    ) {
        let dir = tempfile::tempdir().unwrap();
        let (log, mut first, mut end) = (Log(seed), start, start);
        let mut index = Index::open_sized(dir.path(), "log", first..end, SMALL).unwrap();
        for (next, asked, limit) in moves {
            match next {
                Move::Add(count) => {
                    // The log is ahead of the index now and then.
                    end = end.max(index.watermark() + count);
                    index.add(&log.indexed(index.watermark()..index.watermark() + count)).unwrap();
                }
                Move::Reopen => {
                    drop(index);
                    index = Index::open_sized(dir.path(), "log", first..end, SMALL).unwrap();
                }
                Move::ForgetBefore(more) => {
                    first = end.min(first + more);
                    index.forget_before(first).unwrap();
                }
                Move::ForgetFrom(back) => {
                    let from = end.saturating_sub(back);
                    index.forget_from(from).unwrap();
                    prop_assert!(index.watermark() <= from.max(first));
                }
            }
            prop_assert!(first <= index.watermark() && index.watermark() <= end);
            let asked = asked.of(first..end);
            for direction in directions() {
                let answer = log.answer(&index, &asked, direction, limit);
                prop_assert_eq!(&answer.found, &log.filter(&asked, direction));
                let unindexed = asked.indexes.end.saturating_sub(asked.indexes.start.max(index.watermark()));
                prop_assert_eq!(answer.scanned, unindexed, "only what is not indexed is scanned");
            }
            for at in [first, (first + end) / 2, end.saturating_sub(1)] {
                let expected = if (first..index.watermark()).contains(&at) { vec![at] } else { vec![] };
                prop_assert_eq!(index.leaf(&log.leaf_hash(at)).unwrap().candidates, expected);
            }
            for (at, leaf_hash) in index.ends() {
                prop_assert_eq!(leaf_hash, log.leaf_hash(at));
            }
        }
    }

    #[test]
    fn a_range_of_time_lies_within_its_range_of_indexes(seed: u64, start in 0u64..5_000, micros in 0u64..40_000) {
        let (dir, log, indexes) = (tempfile::tempdir().unwrap(), Log(seed), start..start + 500);
        let index = Index::open_sized(dir.path(), "log", indexes.clone(), SMALL).unwrap();
        index.add(&log.indexed(indexes.clone())).unwrap();
        let first = indexes.clone().find(|at| log.entry(*at).time_unix_micros >= micros).unwrap_or(indexes.end);
        let (floor, ceiling) = (index.time_floor(micros), index.time_ceiling(micros).unwrap_or(indexes.end));
        prop_assert!(floor <= first && first <= ceiling);
        // A sample at least each run.
        prop_assert!(ceiling - floor <= SMALL.entries * 9 + 1);
    }
}

#[test]
fn entries_that_do_not_begin_at_the_watermark_are_refused() {
    let (dir, log) = (tempfile::tempdir().unwrap(), Log(1));
    let index = Index::open_sized(dir.path(), "log", 10..1_000, SMALL).unwrap();
    for wrong in [0..5, 9..12, 11..12] {
        let refused = index.add(&log.indexed(wrong));
        assert!(matches!(refused, Err(Error::Gap { watermark: 10 })), "{refused:?}");
    }
    index.add(&log.indexed(10..12)).unwrap();
    let mut torn = log.indexed(12..14);
    torn.extend(log.indexed(15..16));
    assert!(matches!(index.add(&torn), Err(Error::Gap { watermark: 14 })));
    assert_eq!(index.watermark(), 14);
}

#[test]
fn a_descending_search_does_not_skip_what_is_not_indexed_yet() {
    let (dir, log) = (tempfile::tempdir().unwrap(), Log(1));
    let index = Index::open_sized(dir.path(), "log", 0..1_000, SMALL).unwrap();
    index.add(&log.indexed(0..500)).unwrap();
    let query = Asked::all(0..1_000).query();
    let found = index.find(&query, 0..501, Direction::Descending, 10).unwrap();
    assert_eq!(found, Found { candidates: vec![], looked: 501..501, blocks: 0 });
    let found = index.find(&query, 600..700, Direction::Ascending, 10).unwrap();
    assert_eq!(found, Found { candidates: vec![], looked: 600..600, blocks: 0 });
    let found = index.find(&query, 0..501, Direction::Ascending, 1_000).unwrap();
    assert_eq!(found.looked, 0..500);
}

#[test]
fn a_search_ends_at_its_limit_and_says_how_far_it_came() {
    let (dir, log) = (tempfile::tempdir().unwrap(), Log(1));
    let index = Index::open_sized(dir.path(), "log", 0..500, SMALL).unwrap();
    index.add(&log.indexed(0..500)).unwrap();
    let asked = Asked::all(0..500);
    let all = log.filter(&asked, Direction::Ascending);
    let found = index.find(&asked.query(), 0..500, Direction::Ascending, 3).unwrap();
    assert_eq!((found.candidates.as_slice(), found.looked), (&all[..3], 0..all[2] + 1));
    let found = index.find(&asked.query(), 0..500, Direction::Descending, 1).unwrap();
    let last = *all.last().unwrap();
    assert_eq!((found.candidates.as_slice(), found.looked), (&[last][..], last..500));
}

#[test]
fn entries_that_are_not_kept_are_not_found() {
    let (dir, log) = (tempfile::tempdir().unwrap(), Log(1));
    let index = Index::open_sized(dir.path(), "log", 0..400, SMALL).unwrap();
    index.add(&log.indexed(0..400)).unwrap();
    let before = index.bytes_on_disk();
    index.forget_before(390).unwrap();
    assert!(index.bytes_on_disk() < before && list(dir.path()).len() <= 1);
    for direction in directions() {
        let found = index.find(&Asked::all(0..400).query(), 0..390, direction, 10).unwrap();
        assert_eq!(found, Found { candidates: vec![], looked: 0..390, blocks: 0 });
    }
    index.forget_before(1_000).unwrap();
    assert_eq!((index.watermark(), index.bytes_on_disk()), (1_000, 0));
    index.add(&log.indexed(1_000..1_400)).unwrap();
    assert_eq!(index.leaf(&log.leaf_hash(1_399)).unwrap().candidates, [1_399]);
}

#[test]
fn what_was_cleared_is_gone_and_can_be_indexed_again() {
    let (dir, log) = (tempfile::tempdir().unwrap(), Log(1));
    let index = Index::open_sized(dir.path(), "log", 5..2_000, SMALL).unwrap();
    index.add(&log.indexed(5..1_000)).unwrap();
    fs::write(dir.path().join("0000000000000001-0000000000000002.run"), "left by a failed step").unwrap();
    index.clear().unwrap();
    assert_eq!((index.watermark(), index.bytes_on_disk(), list(dir.path()).len()), (5, 0, 0));
    index.add(&log.indexed(5..1_000)).unwrap();
    let asked = Asked::all(5..1_000);
    let answer = log.answer(&index, &asked, Direction::Ascending, 100);
    assert_eq!((answer.found, answer.scanned), (log.filter(&asked, Direction::Ascending), 0));
}

#[test]
fn files_are_the_owners_alone_and_strangers_files_are_left_alone() {
    let (parent, log) = (tempfile::tempdir().unwrap(), Log(1));
    let dir = parent.path().join("index");
    drop(Index::open_sized(&dir, "log", 0..0, SMALL).unwrap());
    for stranger in ["notes.txt", "0-1.run", "000000000000000A-000000000000000F.run", ".run", "-.run.tmp"] {
        fs::write(dir.join(stranger), "kept").unwrap();
    }
    fs::create_dir(dir.join("0000000000000000-0000000000000001.run")).unwrap();
    let index = Index::open_sized(&dir, "log", 0..0, SMALL).unwrap();
    index.add(&log.indexed(0..200)).unwrap();
    assert_eq!(fs::metadata(&dir).unwrap().permissions().mode() & 0o777, 0o700);
    let runs: Vec<_> = list(&dir).into_iter().filter(|(path, _)| files::run_path(&dir, &(0..90)) == *path).collect();
    assert_eq!(runs.len(), 1, "the run is there");
    assert_eq!(fs::metadata(&runs[0].0).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(
        fs::read_dir(&dir)
            .unwrap()
            .filter(|entry| {
                let kept = entry.as_ref().unwrap().path();
                kept.is_dir() || fs::read(kept).unwrap() == b"kept"
            })
            .count(),
        6
    );
}

#[test]
fn a_directory_that_can_not_be_made_is_an_error() {
    let parent = tempfile::tempdir().unwrap();
    let missing = parent.path().join("missing/index");
    assert!(matches!(Index::open(&missing, "log", 0..0), Err(Error::Io { .. })));
    let file = parent.path().join("file");
    fs::write(&file, "").unwrap();
    assert!(matches!(Index::open(&file, "log", 0..0), Err(Error::Io { .. })));
}

#[test]
fn a_long_search_without_candidates_stops_and_gets_on() {
    // Two terms that no entry shares, by turns: every block of both has to be read.
    let mut left = 0..1_000_000;
    let mut turns = [Turns(0), Turns(1)];
    let mut rounds = 0;
    while !left.is_empty() {
        let direction = Direction::Ascending;
        let mut search = Search { direction, limit: 10, blocks_max: BLOCKS_MAX, candidates: Vec::new(), blocks: 0 };
        let Ok(next) = search.look(&mut turns, left.clone());
        assert!(search.candidates.is_empty() && search.blocks <= BLOCKS_MAX + turns.len());
        assert!(next.is_empty() || next.start > left.start);
        (left, rounds) = (next, rounds + 1);
    }
    assert!(rounds > 100, "{rounds}");
}

/// Every other entry.
struct Turns(u64);

impl search::Postings for Turns {
    type Error = std::convert::Infallible;

    fn seek(&mut self, at: u64, blocks: &mut usize) -> Result<Option<u64>, Self::Error> {
        *blocks += 1;
        Ok(Some(at + (at + self.0) % 2))
    }
}

#[test]
fn what_is_written_leaves_room_for_others() {
    let (dir, log) = (tempfile::tempdir().unwrap(), Log(1));
    let sizes = Sizes { entries: 300, postings: 1 << 20, fan: 12, level_max: 2 };
    let index = Index::open_sized(dir.path(), "log", 0..5_000, sizes).unwrap();
    let runs = || files::list(dir.path()).unwrap().runs.len();
    index.add(&log.indexed(0..301)).unwrap();
    // Enough for whatever one such run could take, not for twelve of them as they are.
    files::set_room(ROOM_LEFT + index.bytes_on_disk() * 10);
    index.add(&log.indexed(301..3_601)).unwrap();
    assert_eq!(runs(), 12, "a merge takes as much as it replaces");
    files::set_room(ROOM_LEFT + index.bytes_on_disk() / 24);
    let refused = index.add(&log.indexed(3_601..4_000)).unwrap_err();
    assert!(matches!(refused, Error::NoRoom), "{refused}");
    assert_eq!((runs(), index.watermark()), (12, 3_900));
    // What is in memory is found all the same, and with room again it goes on.
    let found = index.leaf(&log.leaf_hash(3_899)).unwrap();
    assert_eq!(found.candidates, [3_899]);
    files::set_room(u64::MAX);
    index.add(&log.indexed(3_900..4_000)).unwrap();
    assert_eq!((runs(), index.watermark()), (2, 4_000), "merged as soon as there is room");
}
