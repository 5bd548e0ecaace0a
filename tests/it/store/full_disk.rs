//! A disk that fills up: room is scarce before a commit fails, the reserve lets through what must go through, a store on a full
//! disk opens again, and nothing acknowledged is lost. `tests/support/fulldisk.c` says what a small disk is here.

use std::{
    env,
    ffi::OsStr,
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
    time::Duration,
};

use privet::store::{Batch, Commit, Effect, Error, Head, Room, Slot, Space, Store, sled::SledStore};

use super::shorthand::read;
use crate::support::{
    child::{Child, say},
    shim,
};

const MIB: u64 = 1 << 20;
const RESERVE: u64 = 64 * MIB;
/// Of a batch of ours in the database's file, which grows by whole segments.
const BATCH_BYTES_MAX: u64 = 4 * MIB;

#[test]
fn the_reserve_is_really_there_and_comes_back() {
    let scratch = tempfile::tempdir().unwrap();
    let dir = scratch.path().join("data");
    let reserve = || fs::metadata(dir.join("reserve")).unwrap();
    let store = SledStore::open(&dir).unwrap();
    assert!(reserve().len() == RESERVE && reserve().blocks() * 512 >= RESERVE);
    assert_eq!(reserve().permissions().mode() & 0o777, 0o600);
    store.release_reserve().unwrap();
    assert_eq!((reserve().len(), reserve().blocks()), (0, 0));
    assert_eq!(store.room().unwrap(), Room::Ample);
    assert!(reserve().blocks() * 512 >= RESERVE);
    drop(store);

    // As after a restore that kept the length and not the blocks, or nothing.
    fs::remove_file(dir.join("reserve")).unwrap();
    fs::File::create(dir.join("reserve")).unwrap().set_len(RESERVE).unwrap();
    drop(SledStore::open(&dir).unwrap());
    assert!(reserve().blocks() * 512 >= RESERVE);
    fs::remove_file(dir.join("reserve")).unwrap();
    drop(SledStore::open(&dir).unwrap());
    assert!(reserve().blocks() * 512 >= RESERVE);
}

#[test]
fn a_creation_cut_short_after_the_reserve_starts_over() {
    let scratch = tempfile::tempdir().unwrap();
    let dir = scratch.path().join("data");
    drop(SledStore::open(&dir).unwrap());
    fs::rename(dir.join("format"), dir.join("format.creating")).unwrap();
    assert_eq!(SledStore::open(&dir).unwrap().head().unwrap(), Head::default());
}

/// A file system that can't allocate, or only says that it did, gets the reserve written.
#[test]
fn without_allocation_the_reserve_is_written() {
    for how in ["no", "lie"] {
        let disk = Disk::new(400 * MIB);
        let said = disk.run("store::full_disk::child_makes_a_reserve", &[("PRIVET_DISK_ALLOCATE", OsStr::new(how))]);
        assert_eq!(said, ["ample"], "{how}");
        let reserve = fs::metadata(disk.data().join("reserve")).unwrap();
        assert!(reserve.len() == RESERVE && reserve.blocks() * 512 >= RESERVE, "{how}");
    }
}

#[test]
#[ignore = "the child of the test above"]
fn child_makes_a_reserve() {
    let Some(dir) = env::var_os("PRIVET_DISK_DIR") else { return };
    let store = SledStore::open(&Path::new(&dir).join("data")).unwrap();
    assert_eq!(store.room().unwrap(), Room::Ample);
    say("ample");
}

#[test]
fn a_disk_that_fills_up_is_noticed_in_time_and_the_reserve_lets_through_what_must() {
    let disk = Disk::new(140 * MIB);
    let said = disk.run("store::full_disk::child_fills_the_disk_and_uses_the_reserve", &[]);
    assert_eq!(said.first().map(String::as_str), Some("scarce in time"));
    assert_eq!(said.last().map(String::as_str), Some("ample again"));
    disk.assert_holds_all_acknowledged(&said);
}

#[test]
#[ignore = "the child of the test above"]
fn child_fills_the_disk_and_uses_the_reserve() {
    let (Some(dir), Some(bytes)) = (env::var_os("PRIVET_DISK_DIR"), env::var_os("PRIVET_DISK_BYTES")) else { return };
    let data = Path::new(&dir).join("data");
    let reserve = || fs::metadata(data.join("reserve")).unwrap().len();
    let store = SledStore::open(&data).unwrap();
    assert_eq!((store.room().unwrap(), reserve()), (Room::Ample, RESERVE));
    let mut head = store.head().unwrap();
    while store.room().unwrap() == Room::Ample {
        head = acknowledged(&store, &head);
    }
    // Whatever is under way still has room.
    for _ in 0..3 {
        head = acknowledged(&store, &head);
    }
    say("scarce in time");
    say(&head.entries.to_string());

    let before = head.entries;
    store.release_reserve().unwrap();
    assert_eq!(reserve(), 0);
    let enough = before + (RESERVE - 16 * MIB) / BATCH_BYTES_MAX;
    while head.entries < enough {
        assert_eq!(store.room().unwrap(), Room::Scarce, "what was given back is no room to spare");
        head = acknowledged(&store, &head);
    }
    say(&head.entries.to_string());
    assert_eq!(reserve(), 0);

    fs::write(&bytes, (400 * MIB).to_string()).unwrap();
    assert_eq!((store.room().unwrap(), reserve()), (Room::Ample, RESERVE));
    head = acknowledged(&store, &head);
    say(&head.entries.to_string());
    say("ample again");
}

#[test]
fn a_store_on_a_full_disk_stops_opens_again_by_its_reserve_and_loses_nothing() {
    let disk = Disk::new(110 * MIB);
    let said = disk.run("store::full_disk::child_fills_the_disk_whatever_room_says", &[]);
    assert_eq!(said.last().map(String::as_str), Some("stopped"));
    let before = fs::metadata(disk.data().join("reserve")).unwrap().len();
    assert_eq!(before, RESERVE, "nobody gave it back");
    let mut all = said;
    all.extend(disk.run("store::full_disk::child_opens_on_the_full_disk", &[]));
    assert_eq!(all.last().map(String::as_str), Some("went through"));
    assert_eq!(fs::metadata(disk.data().join("reserve")).unwrap().len(), 0);
    disk.assert_holds_all_acknowledged(&all);
}

#[test]
#[ignore = "the child of the test above"]
fn child_fills_the_disk_whatever_room_says() {
    let Some(dir) = env::var_os("PRIVET_DISK_DIR") else { return };
    let store = SledStore::open(&Path::new(&dir).join("data")).unwrap();
    let mut head = store.head().unwrap();
    loop {
        let next = batch_number(head.entries + 1);
        match store.commit(&head, &next) {
            Ok(committed) => assert_eq!(committed, Commit::Committed),
            Err(Error::Storage { .. }) => break,
            Err(other) => panic!("{other}"),
        }
        head = next.head;
        say(&head.entries.to_string());
    }
    assert!(matches!(store.commit(&head, &batch_number(head.entries + 1)), Err(Error::Storage { .. })));
    drop(store);
    say("stopped");
}

#[test]
#[ignore = "the child of the test above"]
fn child_opens_on_the_full_disk() {
    let Some(dir) = env::var_os("PRIVET_DISK_DIR") else { return };
    let store = SledStore::open(&Path::new(&dir).join("data")).unwrap();
    assert_eq!(store.room().unwrap(), Room::Scarce);
    let mut head = store.head().unwrap();
    for _ in 0..8 {
        head = acknowledged(&store, &head);
    }
    say(&head.entries.to_string());
    say("went through");
}

fn acknowledged(store: &SledStore, head: &Head) -> Head {
    let next = batch_number(head.entries + 1);
    assert_eq!(store.commit(head, &next).unwrap(), Commit::Committed);
    next.head
}

fn batch_number(number: u64) -> Batch {
    let effects = (0..100).map(|i| Effect { slot: slot(number, i), value: Some(value(number)) }).collect();
    Batch { head: Head { entries: number, state: number.to_string().into_bytes() }, effects }
}

fn slot(number: u64, i: u8) -> Slot {
    Slot::new(Space::Block, &[&number.to_be_bytes(), &[i]])
}

fn value(number: u64) -> Vec<u8> {
    vec![number as u8; 7_500]
}

/// A disk of a few bytes.
struct Disk(tempfile::TempDir);

impl Disk {
    fn new(bytes: u64) -> Self {
        let disk = Self(tempfile::tempdir().unwrap());
        fs::create_dir(disk.0.path().join("disk")).unwrap();
        fs::write(disk.0.path().join("bytes"), bytes.to_string()).unwrap();
        disk
    }

    fn data(&self) -> PathBuf {
        self.0.path().join("disk/data")
    }

    fn run(&self, child: &str, more: &[(&str, &OsStr)]) -> Vec<String> {
        let (shim, dir, bytes) = (shim::compile("fulldisk"), self.0.path().join("disk"), self.0.path().join("bytes"));
        let mut environment = vec![
            ("LD_PRELOAD", shim.as_os_str()),
            ("PRIVET_DISK_DIR", dir.as_os_str()),
            ("PRIVET_DISK_BYTES", bytes.as_os_str()),
        ];
        environment.extend(more);
        let (status, said) = Child::start(child, environment).wait(Duration::from_secs(120));
        assert!(status.success(), "{child}: {status}, after {said:?}");
        said
    }

    /// On a disk as large as it is, every batch up to the highest number said is there.
    fn assert_holds_all_acknowledged(&self, said: &[String]) {
        let newest: u64 = said.iter().filter_map(|said| said.parse().ok()).max().unwrap();
        assert!(newest >= 20, "only {newest} batches fit");
        let store = SledStore::open(&self.data()).unwrap();
        // The one that failed may be there as well.
        let entries = store.head().unwrap().entries;
        assert!((newest..=newest + 1).contains(&entries), "{entries} of {newest}");
        for number in 1..=newest {
            let slots = [slot(number, 0), slot(number, 99)];
            assert_eq!(read(&store, &slots), [Some(value(number)), Some(value(number))], "{number}");
        }
    }
}
