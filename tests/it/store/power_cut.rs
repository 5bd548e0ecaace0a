//! Kills and power cuts: at whatever moment one comes, every acknowledged batch is there, no batch is there in part, and the
//! store opens. `tests/support/powercut.c` says what a power cut is here.

use std::{collections::BTreeMap, env, path::Path, thread, time::Duration};

use privet::store::{Batch, Commit, Effect, Head, Slot, Space, Store, sled::SledStore};

use super::shorthand::{everything, scan};
use crate::support::{
    child::say,
    files::copy_directory,
    machine::{Machine, acknowledged},
};

const CHILD: &str = "store::power_cut::child_commits_until_it_is_killed";
const ROUNDS: u64 = 12;

/// After a kill everything written survives, synced or not: this is where half a batch would show.
#[test]
fn kills_lose_nothing_acknowledged() {
    fail_again_and_again(Failure::Kill);
}

#[test]
fn power_cuts_lose_nothing_acknowledged() {
    fail_again_and_again(Failure::PowerCut);
}

/// A disk writes back early and in any order: some bytes that nobody synced survive as well.
#[test]
fn power_cuts_with_torn_and_reordered_writes_lose_nothing_acknowledged() {
    fail_again_and_again(Failure::TornPowerCut);
}

/// The positive control: what the tests above find must not be there for another reason than the sync.
#[test]
fn without_the_sync_a_power_cut_loses_what_was_acknowledged() {
    for skip in ["fdatasync", "1"] {
        let machine = Machine::new();
        let child = machine.boot(CHILD, &[("PRIVET_POWERCUT_SKIP", skip.into())]);
        let acknowledged = acknowledged(child, 40);
        let left = machine.shadow().join("data");
        let kept = SledStore::open(&left).and_then(|store| store.head()).map_or(0, |head| head.entries);
        assert!(acknowledged >= 40 && kept < acknowledged, "{skip}: {kept} of {acknowledged}");
    }
}

#[test]
#[ignore = "the child of the tests above"]
fn child_commits_until_it_is_killed() {
    let Some(directory) = env::var_os("PRIVET_POWERCUT_DIR") else { return };
    let store = SledStore::open(&Path::new(&directory).join("data")).unwrap();
    let mut head = store.head().unwrap();
    loop {
        let next = batch_number(head.entries + 1);
        assert_eq!(store.commit(&head, &next).unwrap(), Commit::Committed);
        head = next.head;
        say(&head.entries.to_string());
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Failure {
    Kill,
    PowerCut,
    TornPowerCut,
}

fn fail_again_and_again(failure: Failure) {
    let mut machine = Machine::new();
    let (mut newest, mut random) = (0, 7_u64);
    for round in 0..ROUNDS {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let luck = random >> 33;
        let child = match failure {
            Failure::Kill | Failure::PowerCut => machine.boot(CHILD, &[]),
            Failure::TornPowerCut => machine.boot(CHILD, &[("PRIVET_POWERCUT_TORN", luck.to_string().into())]),
        };
        let heard = if round % 3 == 0 {
            // At any time: also while it starts, and makes or recovers the database.
            thread::sleep(Duration::from_millis(luck % 40));
            acknowledged(child, 0)
        } else {
            acknowledged(child, 1 + luck % 60)
        };
        newest = newest.max(heard);
        if failure != Failure::Kill {
            machine = machine.after_the_cut();
        }
        let left = machine.real().join("data");
        if newest == 0 && !left.exists() {
            continue;
        }
        let copy = Machine::new();
        copy_directory(&left, &copy.real().join("data"));
        let store = SledStore::open(&copy.real().join("data")).unwrap();
        let head = store.head().unwrap();
        assert!(head.entries >= newest, "round {round}: {} of {newest} acknowledged batches are left", head.entries);
        assert_holds_exactly(&store, &head);
        newest = head.entries;
    }
    assert!(newest > 100, "only {newest} batches were tried");
}

/// All of each batch up to the head, and nothing of a later one.
fn assert_holds_exactly(store: &SledStore, head: &Head) {
    let mut expected = BTreeMap::new();
    for number in 1..=head.entries {
        for effect in batch_number(number).effects {
            match effect.value {
                Some(value) => expected.insert((effect.slot.space, effect.slot.key), value),
                None => expected.remove(&(effect.slot.space, effect.slot.key)),
            };
        }
    }
    assert_eq!(head, &batch_number(head.entries).head);
    let mut found = BTreeMap::new();
    for space in Space::ALL {
        let rows = scan(store, space, &everything(), privet::store::Direction::Ascending, usize::MAX);
        found.extend(rows.into_iter().map(|(key, value)| ((space, key), value)));
    }
    assert!(found == expected, "what is left is not what the first {} batches wrote", head.entries);
}

/// The batch with this number, always the same: a block of its own, and changes to a few thousand subjects, so that old
/// pages are rewritten and their places used again. Some batches are longer than a segment of the file.
fn batch_number(number: u64) -> Batch {
    if number == 0 {
        return Batch::default();
    }
    let count = match number {
        _ if number.is_multiple_of(31) => 5_000,
        _ if number.is_multiple_of(19) => 900,
        _ => 1 + number * 7 % 24,
    };
    let mut effects = vec![Effect {
        slot: Slot::new(Space::Block, &[&number.to_be_bytes()]),
        value: Some(vec![number as u8; 2_000]),
    }];
    effects.extend((0..count).map(|i| {
        let mixed = (number << 20 | i).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 20;
        let length = 50 + mixed as usize / 4_000 % 900;
        Effect {
            slot: Slot::new(Space::Subject, &[&(mixed % 3_000).to_be_bytes()]),
            value: (!mixed.is_multiple_of(8)).then(|| [&number.to_be_bytes()[..], &vec![i as u8; length]].concat()),
        }
    }));
    Batch { head: Head { entries: number, state: number.to_string().into_bytes() }, effects }
}
