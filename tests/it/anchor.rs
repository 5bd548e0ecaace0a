//! The anchor among other processes and on disks that fail: one holder, nothing acknowledged is lost, and nothing is written
//! after a failure. The format and what is refused are tested beside the code.

mod standing;

use std::{env, ffi::OsStr, fs, path::Path, thread, time::Duration};

use privet::audit::anchor::{Anchor, Error};

use crate::support::{
    child::{Child, say},
    machine::{Machine, acknowledged},
    shim,
};

const CHILD: &str = "anchor::child_advances_until_it_is_killed";
const ORIGIN: &str = "privet.acme.example/log";

/// The checkpoint of so many entries; longer and shorter in turns, so that slots hold remains of longer ones.
fn note(size: u64) -> String {
    let filling = "x".repeat(usize::try_from(size * 397 % 2_000).unwrap());
    format!("{ORIGIN}\n{size}\n{filling}\n")
}

fn size(anchor: &Anchor) -> u64 {
    anchor.newest().map_or(0, |note| note.lines().nth(1).unwrap().parse().unwrap())
}

fn newest(anchor: &Anchor) -> Option<String> {
    anchor.newest().map(ToOwned::to_owned)
}

#[test]
fn a_second_process_is_refused_until_the_first_has_ended() {
    let place = tempfile::tempdir().unwrap();
    let dir = place.path().join("anchor");
    let child = Child::start("anchor::child_holds_it", [("PRIVET_TEST_DIR", dir.as_os_str())]);
    assert_eq!(child.next_said().as_deref(), Some("held"));
    match Anchor::open(&dir, ORIGIN) {
        Err(error @ Error::InUse { .. }) => assert!(error.to_string().contains("stop that process"), "{error}"),
        other => panic!("{other:?}"),
    }
    assert_eq!(Anchor::peek(&dir, ORIGIN).unwrap(), Some(note(1)));
    child.kill();
    assert_eq!(size(&Anchor::open(&dir, ORIGIN).unwrap()), 1);
}

#[test]
#[ignore = "the child of the test above"]
fn child_holds_it() {
    let Some(dir) = env::var_os("PRIVET_TEST_DIR") else { return };
    let mut anchor = Anchor::create(Path::new(&dir), ORIGIN).unwrap();
    anchor.advance(None, &note(1)).unwrap();
    say("held");
    thread::sleep(Duration::from_secs(60));
}

#[test]
fn a_disk_that_fails_stops_it_for_good_and_loses_nothing_acknowledged() {
    for order in ["sync EIO", "write ENOSPC", "write EROFS", "all EIO"] {
        let disk = tempfile::tempdir().unwrap();
        let (dir, trigger) = (disk.path().join("anchor"), disk.path().join("trigger"));
        let child = Child::start(
            "anchor::child_advances_until_the_disk_fails",
            [
                ("LD_PRELOAD", shim::compile("fault").as_os_str()),
                ("PRIVET_FAULT_DIR", dir.as_os_str()),
                ("PRIVET_FAULT_TRIGGER", trigger.as_os_str()),
                ("PRIVET_TEST_ORDER", OsStr::new(order)),
            ],
        );
        let (status, said) = child.wait(Duration::from_secs(60));
        assert!(status.success(), "{order}: {status}");
        assert_eq!(said, ["failed", "failed for good"], "{order}");
        // The one that failed may be there; it was never acknowledged.
        let left = size(&Anchor::open(&dir, ORIGIN).unwrap());
        assert!((20..=21).contains(&left), "{order}: {left}");
    }
}

#[test]
#[ignore = "the child of the test above"]
fn child_advances_until_the_disk_fails() {
    let (Some(dir), Some(trigger)) = (env::var_os("PRIVET_FAULT_DIR"), env::var_os("PRIVET_FAULT_TRIGGER")) else {
        return;
    };
    let mut anchor = Anchor::create(Path::new(&dir), ORIGIN).unwrap();
    for size in 1..=20 {
        let before = newest(&anchor);
        anchor.advance(before.as_deref(), &note(size)).unwrap();
    }
    let ready = Path::new(&trigger).with_extension("ready");
    fs::write(&ready, env::var("PRIVET_TEST_ORDER").unwrap()).unwrap();
    fs::rename(ready, &trigger).unwrap();
    assert!(matches!(anchor.advance(Some(&note(20)), &note(21)), Err(Error::Io { .. })));
    say("failed");
    fs::remove_file(&trigger).unwrap();
    // The disk works again, and still it must not: what the failed sync was to keep may be gone.
    for from in [20, 21] {
        assert!(matches!(anchor.advance(Some(&note(from)), &note(22)), Err(Error::Failed { .. })));
    }
    assert_eq!(size(&anchor), 20);
    say("failed for good");
}

#[test]
fn power_cuts_lose_nothing_acknowledged_even_with_torn_writes() {
    let mut machine = Machine::new();
    let (mut newest, mut random) = (0, 11_u64);
    for round in 0..12_u32 {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let luck = random >> 33;
        let torn = [("PRIVET_POWERCUT_TORN", luck.to_string().into())];
        let child = machine.boot(CHILD, if round % 2 == 0 { &[] } else { &torn });
        newest = newest.max(acknowledged(child, 1 + luck % 60));
        machine = machine.after_the_cut();
        let left = size(&Anchor::open(&machine.real().join("anchor"), ORIGIN).unwrap());
        assert!(left >= newest, "round {round}: {left} of {newest}");
        newest = left;
    }
    assert!(newest > 100, "only {newest} were tried");
}

/// The positive control: what the test above finds must not be there for another reason than the sync.
#[test]
fn without_the_sync_a_power_cut_loses_what_was_acknowledged() {
    let machine = Machine::new();
    let newest = acknowledged(machine.boot(CHILD, &[("PRIVET_POWERCUT_SKIP", "fdatasync".into())]), 40);
    let left = size(&Anchor::open(&machine.after_the_cut().real().join("anchor"), ORIGIN).unwrap());
    assert!(left < newest, "{left} of {newest}");
}

#[test]
#[ignore = "the child of the tests above"]
fn child_advances_until_it_is_killed() {
    let Some(disk) = env::var_os("PRIVET_POWERCUT_DIR") else { return };
    let dir = Path::new(&disk).join("anchor");
    let mut anchor = match Anchor::open(&dir, ORIGIN) {
        Err(Error::Absent { .. }) => Anchor::create(&dir, ORIGIN).unwrap(),
        opened => opened.unwrap(),
    };
    loop {
        let (before, next) = (newest(&anchor), size(&anchor) + 1);
        anchor.advance(before.as_deref(), &note(next)).unwrap();
        say(&next.to_string());
    }
}
