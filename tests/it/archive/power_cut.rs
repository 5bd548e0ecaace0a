//! Kills and power cuts while segments are sealed and deleted: a segment that was acknowledged is wholly there, one that was
//! not is gone without a trace. `tests/support/powercut.c` says what a power cut is here.

use std::{env, thread, time::Duration};

use super::*;
use crate::support::{
    child::{Child, say},
    files::copy_directory,
    machine::Machine,
};

const CHILD: &str = "archive::power_cut::child_seals_until_it_is_killed";
const ROUNDS: u64 = 12;

#[test]
fn kills_lose_no_sealed_segment() {
    fail_again_and_again(Failure::Kill);
}

#[test]
fn power_cuts_lose_no_sealed_segment() {
    fail_again_and_again(Failure::PowerCut);
}

/// A disk writes back early and in any order: some bytes that nobody synced survive as well.
#[test]
fn power_cuts_with_torn_and_reordered_writes_lose_no_sealed_segment() {
    fail_again_and_again(Failure::TornPowerCut);
}

/// The positive control: what the tests above find must not be there for another reason than the syncs.
#[test]
fn without_the_syncs_a_power_cut_loses_what_was_sealed() {
    for skip in ["syncfs", "1"] {
        let machine = Machine::new();
        let child = machine.boot(CHILD, &[("PRIVET_POWERCUT_SKIP", skip.into())]);
        let (sealed_end, _) = acknowledged(child, 4, Duration::ZERO);
        assert!(sealed_end > 0);
        let log = Log::sized(0);
        let left = machine.shadow().join("archive");
        let whole = log.open(&left, sealed_end).and_then(|archive| archive.check(&log.known(), 0));
        assert!(whole.is_err(), "{skip}");
    }
}

/// Seals segments of 1 to 3 bundles, and deletes the entries of every other one that is older than three.
#[test]
#[ignore = "the child of the tests above"]
fn child_seals_until_it_is_killed() {
    let Some(directory) = env::var_os("PRIVET_POWERCUT_DIR") else { return };
    let number = |name: &str| env::var(name).map_or(0, |text| text.parse::<u64>().unwrap());
    let (mut start, mut deleted) = (number("PRIVET_TEST_SEALED_END"), number("PRIVET_TEST_DELETED_END"));
    let mut log = Log::sized(start);
    let archive = log.open(&Path::new(&directory).join("archive"), start).unwrap();
    loop {
        let end = start + 256 * (1 + start / 256 % 3);
        log.grow(end);
        assert_eq!(log.seal(&archive, start..end).unwrap().segment, start..end);
        start = end;
        say(&format!("{start} {deleted}"));
        if start - deleted > 3_000 {
            archive.delete_entries(deleted..deleted + 1_024).unwrap();
            deleted += 1_024;
            say(&format!("{start} {deleted}"));
        }
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
    let (mut sealed_end, mut deleted_end, mut random, mut undone) = (0, 0, 7_u64, 0);
    let mut log = Log::sized(0);
    for round in 0..ROUNDS {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let luck = random >> 33;
        let mut environment = vec![
            ("PRIVET_TEST_SEALED_END", sealed_end.to_string().into()),
            ("PRIVET_TEST_DELETED_END", deleted_end.to_string().into()),
        ];
        if failure == Failure::TornPowerCut {
            environment.push(("PRIVET_POWERCUT_TORN", luck.to_string().into()));
        }
        let child = machine.boot(CHILD, &environment);
        // Every third time at any moment: also while it makes or opens the archive.
        let count = if round % 3 == 0 { 0 } else { 1 + luck % 5 };
        let heard = acknowledged(child, count, Duration::from_millis(luck % 60));
        sealed_end = sealed_end.max(heard.0);
        deleted_end = deleted_end.max(heard.1);
        if failure != Failure::Kill {
            machine = machine.after_the_cut();
        }
        log.grow(sealed_end);
        let left = machine.real().join("archive");
        if sealed_end == 0 && !left.exists() {
            continue;
        }
        let copy = Machine::new();
        let copied = copy.real().join("archive");
        copy_directory(&left, &copied);
        undone += u64::from(copied.join("sealing").exists());
        let archive = log.open(&copied, sealed_end).unwrap_or_else(|e| panic!("round {round}: {e}"));
        assert_eq!(archive.sealed_end(), sealed_end);
        // A deletion may be ahead of what was heard; it is finished then.
        if deleted_end + 1_024 < sealed_end {
            archive.delete_entries(deleted_end..deleted_end + 1_024).unwrap();
        }
        let retained = deleted_end + 1_024;
        archive.check(&log.known(), retained).unwrap();
        for entry in archive.entries(retained..sealed_end) {
            let found = entry.unwrap();
            assert_eq!(found.bytes, super::entry(found.index), "round {round}");
        }
        for index in 0..sealed_end / 256 {
            let tile = Tile { level: 0, index };
            assert_eq!(archive.tile(tile).unwrap().as_ref(), Some(&log.tiles[&tile]), "round {round}");
        }
        assert!(!copied.join("sealing").exists());
    }
    assert!(
        sealed_end > 10 * 256 && undone > 2,
        "only {sealed_end} entries were sealed, {undone} seals were interrupted"
    );
}

/// Hears so many things, waits a little, cuts, and gives the newest ends that were acknowledged.
fn acknowledged(child: Child, count: u64, pause: Duration) -> (u64, u64) {
    let mut newest = (0, 0);
    for _ in 0..count {
        newest = numbers(&child.next_said().unwrap());
    }
    thread::sleep(pause);
    child.kill().last().map_or(newest, |said| numbers(said))
}

fn numbers(said: &str) -> (u64, u64) {
    let (sealed, deleted) = said.split_once(' ').unwrap();
    (sealed.parse().unwrap(), deleted.parse().unwrap())
}
