//! What every backend of the `Store` port owes, one function a clause. A backend's test module calls
//! [`conformance_suite!`] with an expression that makes a [`Backend`] with nothing in it.

use std::{
    ops::Range,
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

use privet::store::{
    Batch, Commit, Direction, Effect, Error, HEAD_STATE_BYTES_MAX, Head, KEY_BYTES_MAX, Room, Slot, Space, Store,
    VALUE_BYTES_MAX,
};

use super::shorthand::{batch, committed, everything, put, read, remove, runtime, scan, slot, text};

/// One place where a state is kept.
pub trait Backend {
    /// The store under test.
    type Store: Store;

    /// Opens the state: nothing the first time, later all that was committed. No earlier store is open any more.
    fn open(&self) -> Self::Store;
}

/// Makes a test of each clause.
macro_rules! conformance_suite {
    ($backend:expr) => {
        $crate::store::conformance::conformance_suite! { $backend;
            a_new_store_has_an_empty_head_and_no_values
            a_batch_is_there_once_committed
            a_batch_and_its_head_survive_closing_and_opening
            values_answer_in_the_order_of_the_slots_and_missing_ones_are_none
            the_later_effect_on_a_slot_wins
            removing_removes_and_removing_nothing_is_fine
            an_empty_value_is_a_value
            a_batch_on_an_old_head_changes_nothing_and_names_the_newest
            a_head_with_the_same_count_and_another_state_is_another_head
            committing_the_newest_batch_again_changes_nothing_and_answers_committed
            the_longest_key_value_and_head_are_kept
            one_byte_too_many_anywhere_changes_nothing
            the_store_takes_the_next_batch_after_a_refused_one
            a_scan_is_ordered_bounded_and_half_open_in_both_directions
            an_empty_or_inverted_range_and_a_zero_limit_find_nothing
            spaces_do_not_leak_into_each_other
            keys_order_by_bytes_and_prefixes_come_first
            a_batch_of_5_000_effects_is_one_batch
            readers_see_whole_batches_only
            of_two_writers_on_one_head_exactly_one_wins
            room_is_ample_with_and_after_a_reserve
        }
    };
    ($backend:expr; $($clause:ident)*) => {
        $(#[test]
        fn $clause() {
            $crate::store::conformance::$clause(&$backend);
        })*
    };
}
pub(crate) use conformance_suite;

pub fn a_new_store_has_an_empty_head_and_no_values(backend: &impl Backend) {
    let store = backend.open();
    assert_eq!(store.head().unwrap(), Head::default());
    assert_eq!(read(&store, &[slot(Space::Subject, "a")]), [None]);
    for space in Space::ALL {
        assert_eq!(scan(&store, space, &everything(), Direction::Ascending, 10), []);
    }
}

pub fn a_batch_is_there_once_committed(backend: &impl Backend) {
    let store = backend.open();
    let batch = batch(1, vec![put(Space::Block, "0", "block"), put(Space::Subject, "s", "record")]);
    assert_eq!(store.commit(&Head::default(), &batch).unwrap(), Commit::Committed);
    assert_eq!(store.head().unwrap(), batch.head);
    assert_eq!(
        read(&store, &[slot(Space::Block, "0"), slot(Space::Subject, "s")]),
        [Some(b"block".to_vec()), Some(b"record".to_vec())]
    );
}

pub fn a_batch_and_its_head_survive_closing_and_opening(backend: &impl Backend) {
    let mut head = Head::default();
    for round in 1..=3 {
        let store = backend.open();
        assert_eq!(store.head().unwrap(), head);
        for earlier in 1..round {
            assert_eq!(text(&store, Space::Tenant, &earlier.to_string()).as_deref(), Some("kept"));
        }
        let next = batch(round, vec![put(Space::Tenant, &round.to_string(), "kept")]);
        assert_eq!(store.commit(&head, &next).unwrap(), Commit::Committed);
        head = next.head;
    }
}

pub fn values_answer_in_the_order_of_the_slots_and_missing_ones_are_none(backend: &impl Backend) {
    let store = backend.open();
    committed(&store, batch(1, vec![put(Space::Bucket, "a", "1"), put(Space::Bucket, "b", "2")]));
    let slots = ["b", "none", "a", "b"].map(|key| slot(Space::Bucket, key));
    let found = read(&store, &slots);
    assert_eq!(found, [Some(b"2".to_vec()), None, Some(b"1".to_vec()), Some(b"2".to_vec())]);
    assert_eq!(read(&store, &[]), []);
}

pub fn the_later_effect_on_a_slot_wins(backend: &impl Backend) {
    let store = backend.open();
    committed(
        &store,
        batch(
            1,
            vec![
                put(Space::Policy, "twice", "first"),
                put(Space::Policy, "gone", "first"),
                remove(Space::Policy, "back"),
                put(Space::Policy, "twice", "second"),
                remove(Space::Policy, "gone"),
                put(Space::Policy, "back", "again"),
            ],
        ),
    );
    assert_eq!(text(&store, Space::Policy, "twice").as_deref(), Some("second"));
    assert_eq!(text(&store, Space::Policy, "gone"), None);
    assert_eq!(text(&store, Space::Policy, "back").as_deref(), Some("again"));
}

pub fn removing_removes_and_removing_nothing_is_fine(backend: &impl Backend) {
    {
        let store = backend.open();
        committed(&store, batch(1, vec![put(Space::Subject, "a", "1"), put(Space::Subject, "b", "2")]));
        committed(&store, batch(2, vec![remove(Space::Subject, "a"), remove(Space::Subject, "never there")]));
        assert_eq!(text(&store, Space::Subject, "a"), None);
    }
    let store = backend.open();
    assert_eq!(text(&store, Space::Subject, "a"), None);
    assert_eq!(text(&store, Space::Subject, "b").as_deref(), Some("2"));
}

pub fn an_empty_value_is_a_value(backend: &impl Backend) {
    let store = backend.open();
    let empty_key = Effect { slot: Slot::new(Space::Tenant, &[]), value: Some(b"at the empty key".to_vec()) };
    committed(&store, batch(1, vec![put(Space::Tenant, "empty", ""), empty_key]));
    assert_eq!(text(&store, Space::Tenant, "empty").as_deref(), Some(""));
    assert_eq!(text(&store, Space::Tenant, "").as_deref(), Some("at the empty key"));
    assert_eq!(scan(&store, Space::Tenant, &everything(), Direction::Ascending, 10).len(), 2);
}

pub fn a_batch_on_an_old_head_changes_nothing_and_names_the_newest(backend: &impl Backend) {
    let newest = {
        let store = backend.open();
        committed(&store, batch(1, vec![put(Space::Subject, "kept", "first")]));
        let newest = committed(&store, batch(2, vec![put(Space::Subject, "other", "second")]));
        let late = batch(9, vec![put(Space::Subject, "kept", "late"), remove(Space::Subject, "other")]);
        for old in [Head::default(), batch(1, vec![]).head] {
            assert_eq!(store.commit(&old, &late).unwrap(), Commit::Moved(newest.clone()));
        }
        let ahead = batch(3, vec![]).head;
        assert_eq!(store.commit(&ahead, &late).unwrap(), Commit::Moved(newest.clone()));
        newest
    };
    let store = backend.open();
    assert_eq!(store.head().unwrap(), newest);
    assert_eq!(text(&store, Space::Subject, "kept").as_deref(), Some("first"));
    assert_eq!(text(&store, Space::Subject, "other").as_deref(), Some("second"));
}

pub fn a_head_with_the_same_count_and_another_state_is_another_head(backend: &impl Backend) {
    let store = backend.open();
    let newest = committed(&store, batch(1, vec![]));
    let forked = Head { entries: newest.entries, state: b"another".to_vec() };
    assert_eq!(store.commit(&forked, &batch(2, vec![])).unwrap(), Commit::Moved(newest.clone()));
    assert_eq!(store.head().unwrap(), newest);
}

pub fn committing_the_newest_batch_again_changes_nothing_and_answers_committed(backend: &impl Backend) {
    let store = backend.open();
    let batch = batch(1, vec![put(Space::Subject, "a", "1")]);
    committed(&store, batch.clone());
    assert_eq!(store.commit(&Head::default(), &batch).unwrap(), Commit::Committed);
    assert_eq!(store.head().unwrap(), batch.head);
    assert_eq!(text(&store, Space::Subject, "a").as_deref(), Some("1"));
}

pub fn the_longest_key_value_and_head_are_kept(backend: &impl Backend) {
    let longest = longest();
    {
        let store = backend.open();
        committed(&store, longest.clone());
    }
    let store = backend.open();
    assert_eq!(store.head().unwrap(), longest.head);
    assert_eq!(read(&store, &[longest.effects[0].slot.clone()]), [longest.effects[0].value.clone()]);
}

pub fn one_byte_too_many_anywhere_changes_nothing(backend: &impl Backend) {
    let store = backend.open();
    let before = committed(&store, batch(1, vec![put(Space::Subject, "kept", "1")]));
    let mut long_key = longest();
    long_key.effects[0].slot.key.push(0);
    let mut long_removed_key = longest();
    long_removed_key.effects[0].slot.key.push(0);
    long_removed_key.effects[0].value = None;
    let mut long_value = longest();
    long_value.effects[0].value.as_mut().unwrap().push(0);
    let mut long_state = longest();
    long_state.head.state.push(0);
    for mut too_long in [long_key, long_removed_key, long_value, long_state] {
        // What comes before the offender must not have happened either.
        too_long.effects.insert(0, put(Space::Subject, "kept", "changed"));
        too_long.effects.insert(0, put(Space::Subject, "new", "changed"));
        let refused = store.commit(&before, &too_long);
        assert!(matches!(refused, Err(Error::TooLong { .. })), "{refused:?}");
        assert_eq!(store.head().unwrap(), before);
        assert_eq!(text(&store, Space::Subject, "kept").as_deref(), Some("1"));
        assert_eq!(text(&store, Space::Subject, "new"), None);
    }
}

pub fn the_store_takes_the_next_batch_after_a_refused_one(backend: &impl Backend) {
    let store = backend.open();
    let mut too_long = longest();
    too_long.head.state.push(0);
    assert!(store.commit(&Head::default(), &too_long).is_err());
    committed(&store, batch(1, vec![put(Space::Subject, "a", "1")]));
    assert_eq!(text(&store, Space::Subject, "a").as_deref(), Some("1"));
}

pub fn a_scan_is_ordered_bounded_and_half_open_in_both_directions(backend: &impl Backend) {
    let store = backend.open();
    let effects = ["d", "b", "a", "e", "c"].map(|key| put(Space::TenantHead, key, &key.to_uppercase()));
    committed(&store, batch(1, effects.to_vec()));
    let keys = |range: Range<&str>, direction, limit| -> Vec<String> {
        let range = range.start.as_bytes().to_vec()..range.end.as_bytes().to_vec();
        let rows = scan(&store, Space::TenantHead, &range, direction, limit);
        rows.iter()
            .map(|(key, value)| {
                assert_eq!(value, &key.to_ascii_uppercase());
                String::from_utf8(key.clone()).unwrap()
            })
            .collect()
    };
    assert_eq!(keys("b".."e", Direction::Ascending, 10), ["b", "c", "d"]);
    assert_eq!(keys("b".."e", Direction::Descending, 10), ["d", "c", "b"]);
    assert_eq!(keys("b".."e", Direction::Ascending, 2), ["b", "c"]);
    assert_eq!(keys("b".."e", Direction::Descending, 2), ["d", "c"]);
    assert_eq!(keys("".."z", Direction::Ascending, 5), ["a", "b", "c", "d", "e"]);
    assert_eq!(keys("aa".."cc", Direction::Ascending, 10), ["b", "c"]);
    assert_eq!(keys("e".."f", Direction::Descending, 1), ["e"]);
    assert_eq!(keys("f".."z", Direction::Ascending, 10), [""; 0]);
}

pub fn an_empty_or_inverted_range_and_a_zero_limit_find_nothing(backend: &impl Backend) {
    let store = backend.open();
    committed(&store, batch(1, vec![put(Space::Block, "a", "1"), put(Space::Block, "b", "2")]));
    for direction in [Direction::Ascending, Direction::Descending] {
        assert_eq!(scan(&store, Space::Block, &(b"a".to_vec()..b"a".to_vec()), direction, 10), []);
        assert_eq!(scan(&store, Space::Block, &(b"z".to_vec()..b"a".to_vec()), direction, 10), []);
        assert_eq!(scan(&store, Space::Block, &everything(), direction, 0), []);
        assert_eq!(scan(&store, Space::Block, &everything(), direction, usize::MAX).len(), 2);
    }
}

pub fn spaces_do_not_leak_into_each_other(backend: &impl Backend) {
    let store = backend.open();
    let lowest = |space: Space| Effect { slot: Slot::new(space, &[]), value: Some(vec![space as u8, 0]) };
    let highest =
        |space: Space| Effect { slot: Slot::new(space, &[&[0xff; KEY_BYTES_MAX]]), value: Some(vec![space as u8, 1]) };
    let effects = Space::ALL.into_iter().flat_map(|space| [lowest(space), highest(space)]).collect();
    committed(&store, batch(1, effects));
    for space in Space::ALL {
        let rows = scan(&store, space, &everything(), Direction::Ascending, 10);
        let expected = [(vec![], vec![space as u8, 0]), (vec![0xff; KEY_BYTES_MAX], vec![space as u8, 1])];
        assert_eq!(rows, expected);
        assert_eq!(scan(&store, space, &everything(), Direction::Descending, 1), expected[1..]);
    }
    committed(&store, batch(2, vec![Effect { value: None, ..lowest(Space::Tenant) }]));
    for space in Space::ALL {
        let there = read(&store, &[Slot::new(space, &[])]);
        assert_eq!(there[0].is_some(), space != Space::Tenant);
    }
}

pub fn keys_order_by_bytes_and_prefixes_come_first(backend: &impl Backend) {
    let store = backend.open();
    let mut keys: Vec<Vec<u8>> = (0..=255_u8).flat_map(|byte| [vec![byte], vec![byte, 0], vec![byte, 255]]).collect();
    keys.extend((0..40).map(|length| vec![7; length]));
    keys.sort();
    keys.dedup();
    let shuffled = (0..keys.len()).map(|i| keys[i * 397 % keys.len()].clone());
    let effects = shuffled.map(|key| Effect { slot: Slot { space: Space::Subject, key }, value: Some(vec![1]) });
    committed(&store, batch(1, effects.collect()));
    let found = |direction| -> Vec<Vec<u8>> {
        scan(&store, Space::Subject, &everything(), direction, 10_000).into_iter().map(|(key, _)| key).collect()
    };
    assert_eq!(found(Direction::Ascending), keys);
    keys.reverse();
    assert_eq!(found(Direction::Descending), keys);
}

pub fn a_batch_of_5_000_effects_is_one_batch(backend: &impl Backend) {
    let key = |i: u32| Slot::new(Space::Subject, &[&i.wrapping_mul(2_654_435_761).to_be_bytes()]);
    let value = |i: u32| vec![i as u8; 1 + i as usize % 600];
    {
        let store = backend.open();
        let effects = (0..5_000).map(|i| Effect { slot: key(i), value: Some(value(i)) }).collect();
        committed(&store, batch(1, effects));
    }
    let store = backend.open();
    assert_eq!(store.head().unwrap().entries, 1);
    let slots: Vec<Slot> = (0..5_000).map(key).collect();
    let found = read(&store, &slots);
    assert!(found.iter().zip(0..).all(|(found, i)| found.as_ref() == Some(&value(i))));
    assert_eq!(scan(&store, Space::Subject, &everything(), Direction::Descending, 10_000).len(), 5_000);
}

/// Each batch writes one number to many slots; two numbers in one answer would be half of a batch.
pub fn readers_see_whole_batches_only(backend: &impl Backend) {
    let store = backend.open();
    let slots: Vec<Slot> = (0..50_u8).map(|i| Slot::new(Space::Tenant, &[&[i]])).collect();
    let all = |number: u64| -> Batch {
        let value = Some(number.to_be_bytes().to_vec());
        let effects = slots.iter().map(|slot| Effect { slot: slot.clone(), value: value.clone() }).collect();
        batch(number, effects)
    };
    let mut head = committed(&store, all(1));
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let look = || {
            let runtime = runtime();
            let mut answers = 0_u32;
            while !stop.load(Ordering::Relaxed) || answers < 10 {
                let (read, scanned) = runtime.block_on(async {
                    let scanned = store.scan(Space::Tenant, everything(), Direction::Descending, 100).await;
                    (store.read(&slots).await.unwrap(), scanned.unwrap())
                });
                assert_eq!((read.len(), scanned.len()), (slots.len(), slots.len()));
                assert!(read.iter().all(|value| value == &read[0]), "a read saw half of a batch");
                assert!(scanned.iter().all(|(_, value)| value == &scanned[0].1), "a scan saw half of a batch");
                answers += 1;
            }
        };
        let readers = [scope.spawn(look), scope.spawn(look)];
        for number in 2..150 {
            let next = all(number);
            assert_eq!(store.commit(&head, &next).unwrap(), Commit::Committed);
            head = next.head;
        }
        stop.store(true, Ordering::Relaxed);
        for reader in readers {
            reader.join().unwrap();
        }
    });
}

pub fn of_two_writers_on_one_head_exactly_one_wins(backend: &impl Backend) {
    let store = backend.open();
    let mut base = Head::default();
    for round in 1..=20 {
        let contender = |name: &str| Batch {
            head: Head { entries: round, state: name.as_bytes().to_vec() },
            effects: vec![put(Space::Tenant, "winner", name)],
        };
        let (a, b) = (contender("a"), contender("b"));
        let (answer_a, answer_b) = thread::scope(|scope| {
            let other = scope.spawn(|| store.commit(&base, &b).unwrap());
            (store.commit(&base, &a).unwrap(), other.join().unwrap())
        });
        let winner = match (answer_a, answer_b) {
            (Commit::Committed, Commit::Moved(newest)) if newest == a.head => a,
            (Commit::Moved(newest), Commit::Committed) if newest == b.head => b,
            both => panic!("not exactly one won: {both:?}"),
        };
        assert_eq!(store.head().unwrap(), winner.head);
        assert_eq!(text(&store, Space::Tenant, "winner").unwrap().as_bytes(), winner.head.state);
        base = winner.head;
    }
}

/// Backends that know of less say so in tests of their own.
pub fn room_is_ample_with_and_after_a_reserve(backend: &impl Backend) {
    let store = backend.open();
    assert_eq!(store.room().unwrap(), Room::Ample);
    store.release_reserve().unwrap();
    store.release_reserve().unwrap();
    committed(&store, batch(1, vec![put(Space::Subject, "a", "1")]));
    assert_eq!(store.room().unwrap(), Room::Ample);
    assert_eq!(text(&store, Space::Subject, "a").as_deref(), Some("1"));
}

/// A batch that is as long as the bounds allow, everywhere.
fn longest() -> Batch {
    let slot = Slot::new(Space::Block, &[&[0xab; KEY_BYTES_MAX]]);
    Batch {
        head: Head { entries: u64::MAX, state: vec![0xcd; HEAD_STATE_BYTES_MAX] },
        effects: vec![Effect { slot, value: Some(vec![0xef; VALUE_BYTES_MAX]) }],
    }
}
