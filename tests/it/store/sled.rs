//! The sled backend: the contract, and what it refuses.

use std::{
    fs,
    os::unix::fs::{PermissionsExt, symlink},
    path::{Path, PathBuf},
};

use privet::store::{Effect, Error, Head, KEY_BYTES_MAX, Slot, Space, Store, VALUE_BYTES_MAX, sled::SledStore};
use tempfile::TempDir;

use super::{
    conformance::{Backend, conformance_suite},
    shorthand::{batch, committed, put, runtime, slot, text},
};
use crate::support::files::{copy_directory, make_private};

struct OnDisk(TempDir);

impl OnDisk {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        make_private(directory.path());
        Self(directory)
    }

    fn path(&self) -> PathBuf {
        self.0.path().join("data")
    }
}

impl Backend for OnDisk {
    type Store = SledStore;

    fn open(&self) -> SledStore {
        SledStore::open(&self.path()).unwrap()
    }
}

conformance_suite!(OnDisk::new());

#[test]
fn the_directory_is_made_for_its_owner_alone() {
    let disk = OnDisk::new();
    drop(disk.open());
    assert_eq!(fs::metadata(disk.path()).unwrap().permissions().mode() & 0o777, 0o700);
}

#[test]
fn an_empty_directory_is_taken_and_a_missing_parent_refused() {
    let disk = OnDisk::new();
    drop(SledStore::open(disk.0.path()).unwrap());
    drop(SledStore::open(disk.0.path()).unwrap());
    assert_refused(&disk.0.path().join("no/such"), "make that first");
}

#[test]
fn a_directory_that_is_not_a_store_is_refused_and_left_as_it_was() {
    let disk = OnDisk::new();
    fs::write(disk.0.path().join("thesis.txt"), "mine").unwrap();
    assert_refused(disk.0.path(), "not a privet store");
    assert_eq!(fs::read_dir(disk.0.path()).unwrap().count(), 1);

    // A database of another program is not ours either.
    let other = OnDisk::new();
    for name in ["db", "conf"] {
        fs::write(other.0.path().join(name), "theirs").unwrap();
    }
    assert_refused(other.0.path(), "not a privet store");
    assert_refused(&other.0.path().join("conf"), "not a directory");
}

#[test]
fn a_directory_open_to_others_is_refused_and_says_how_to_close_it() {
    let disk = OnDisk::new();
    drop(disk.open());
    for mode in [0o701, 0o710, 0o750, 0o777] {
        fs::set_permissions(disk.path(), fs::Permissions::from_mode(mode)).unwrap();
        assert_refused(&disk.path(), "chmod 700");
    }
    fs::set_permissions(disk.path(), fs::Permissions::from_mode(0o700)).unwrap();
    drop(disk.open());
}

#[test]
fn a_second_store_on_the_directory_is_refused_by_any_name() {
    let disk = OnDisk::new();
    let first = disk.open();
    assert_refused(&disk.path(), "in use by another process");
    let alias = disk.0.path().join("alias");
    symlink(disk.path(), &alias).unwrap();
    assert_refused(&alias, "in use by another process");
    committed(&first, batch(1, vec![]));
    drop(first);
    drop(SledStore::open(&alias).unwrap());
}

#[test]
fn another_format_is_refused() {
    let disk = OnDisk::new();
    drop(disk.open());
    fs::write(disk.path().join("format"), "privet store 2\n").unwrap();
    assert_refused(&disk.path(), "run the version that wrote it");
    fs::write(disk.path().join("format"), "").unwrap();
    assert_refused(&disk.path(), "not a privet store");
}

#[test]
fn a_missing_or_empty_database_is_damage_and_not_a_new_store() {
    let disk = OnDisk::new();
    committed(&disk.open(), batch(1, vec![put(Space::Tenant, "a", "1")]));
    fs::write(disk.path().join("db"), "").unwrap();
    assert!(matches!(SledStore::open(&disk.path()), Err(Error::Damaged { .. })));
    fs::remove_file(disk.path().join("db")).unwrap();
    assert!(matches!(SledStore::open(&disk.path()), Err(Error::Damaged { .. })));
    assert!(!disk.path().join("db").exists());
}

/// As after a restore of one file only, or damage that sled took for a torn write.
#[test]
fn a_database_older_than_it_was_is_damage_and_a_torn_note_of_its_age_is_not() {
    let disk = OnDisk::new();
    committed(&disk.open(), batch(1, vec![]));
    let older = fs::read(disk.path().join("db")).unwrap();
    for number in 2..=40 {
        committed(&disk.open(), batch(number, vec![put(Space::Tenant, &number.to_string(), &"v".repeat(7_000))]));
    }
    let newer = fs::read(disk.path().join("db")).unwrap();
    let copy = OnDisk::new();
    copy_directory(&disk.path(), &copy.path());
    fs::write(copy.path().join("db"), older).unwrap();
    for entry in fs::read_dir(copy.path()).unwrap().map(Result::unwrap) {
        if entry.file_name().to_str().unwrap().starts_with("snap.") {
            fs::remove_file(entry.path()).unwrap();
        }
    }
    match SledStore::open(&copy.path()) {
        Err(Error::Damaged { what }) => assert_eq!(what, "40 entries were durable and 1 are left"),
        other => panic!("{:?}", other.map(|_| ())),
    }
    assert_eq!(fs::read(disk.path().join("db")).unwrap(), newer);
    for torn in [&[][..], &[0xff; 7], &[0xff; 15], &[[0xff; 8], [0; 8]].concat()] {
        fs::write(disk.path().join("tip"), torn).unwrap();
        assert_eq!(disk.open().head().unwrap().entries, 40);
    }
    fs::remove_file(disk.path().join("tip")).unwrap();
    assert_eq!(disk.open().head().unwrap().entries, 40);
}

#[test]
fn a_blob_is_refused() {
    let disk = OnDisk::new();
    drop(disk.open());
    fs::write(disk.path().join("blobs/17"), "unsynced").unwrap();
    assert_refused(&disk.path(), "restore the data directory");
}

#[test]
fn a_creation_cut_short_starts_over() {
    let disk = OnDisk::new();
    drop(disk.open());
    fs::rename(disk.path().join("format"), disk.path().join("format.creating")).unwrap();
    fs::write(disk.path().join("db"), "torn").unwrap();
    fs::write(disk.path().join("snap.0000000000000010"), "torn").unwrap();
    committed(&disk.open(), batch(1, vec![]));
    assert_eq!(disk.open().head().unwrap().entries, 1);

    let barely = OnDisk::new();
    fs::write(barely.0.path().join("lock"), "").unwrap();
    drop(SledStore::open(barely.0.path()).unwrap());
}

#[test]
fn a_snapshot_left_half_written_by_a_crash_does_not_stop_the_next_start() {
    let disk = OnDisk::new();
    committed(&disk.open(), batch(1, vec![put(Space::Tenant, "a", "1")]));
    fs::write(disk.path().join("snap.00000000FFFFFFFF.generating"), "half of").unwrap();
    assert_eq!(text(&disk.open(), Space::Tenant, "a").as_deref(), Some("1"));
}

#[test]
fn a_lost_snapshot_or_settings_file_loses_nothing() {
    let disk = OnDisk::new();
    let mut head = Head::default();
    for round in 1..20 {
        let effects = (0..200).map(|i| put(Space::Tenant, &format!("{}", i * round), &"x".repeat(3_000))).collect();
        let store = disk.open();
        assert_eq!(store.head().unwrap(), head);
        head = committed(&store, batch(round, effects));
        drop(store);
        for entry in fs::read_dir(disk.path()).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap();
            if name.starts_with("snap.") || name == "conf" {
                fs::remove_file(path).unwrap();
            }
        }
    }
    let store = disk.open();
    assert_eq!(store.head().unwrap(), head);
    assert!((1..20).all(|round| text(&store, Space::Tenant, &round.to_string()).is_some()));
}

#[test]
fn the_longest_keys_and_values_never_become_blobs() {
    let disk = OnDisk::new();
    let store = disk.open();
    let value = Some(vec![0x5a; VALUE_BYTES_MAX]);
    let mut written = 0_u64;
    for round in 1..=12_u64 {
        // Scattered, rewritten and removed again: leaves fill, split and merge.
        let mut effects: Vec<Effect> = (0..150)
            .map(|_| {
                written += 1;
                Effect { slot: long_slot(written * 7_919 % 1_009), value: value.clone() }
            })
            .collect();
        let removed = (0..60).map(|i| Effect { slot: long_slot((round * 60 + i) * 31 % 1_009), value: None });
        effects.extend(removed);
        committed(&store, batch(round, effects));
        assert_eq!(fs::read_dir(disk.path().join("blobs")).unwrap().count(), 0, "round {round}");
    }
    drop(store);
    assert_eq!(disk.open().head().unwrap().entries, 12);
}

#[test]
fn the_size_on_disk_grows_with_what_is_written() {
    let disk = OnDisk::new();
    let store = disk.open();
    let before = store.bytes_on_disk().unwrap();
    let effects = (0..600).map(|i| Effect { slot: long_slot(i), value: Some(vec![1; VALUE_BYTES_MAX]) }).collect();
    committed(&store, batch(1, effects));
    assert!(store.bytes_on_disk().unwrap() >= before + 600 * VALUE_BYTES_MAX as u64);
}

#[test]
fn the_head_needs_no_runtime() {
    let disk = OnDisk::new();
    assert_eq!(disk.open().head().unwrap(), Head::default());
}

/// Whatever is overwritten or cut off: opening and reading work or fail with an error that says what to do, and an older
/// state is never taken for the newest. (A value may be missing without an error: only the log's hashes show that.)
#[test]
fn damage_anywhere_is_an_error_or_harmless_and_never_a_panic() {
    let disk = OnDisk::new();
    let store = disk.open();
    let slots = |round: u64| (0..40).map(move |i| slot(Space::Subject, &format!("{round}/{i}")));
    for round in 1..=30 {
        let value = Some(vec![b'v'; 900]);
        let effects = slots(round).map(|slot| Effect { slot, value: value.clone() }).collect();
        committed(&store, batch(round, effects));
    }
    drop(store);
    let bytes = fs::read(disk.path().join("db")).unwrap();
    let runtime = runtime();
    let mut at = 13_usize;
    let mut noticed = 0;
    for round in 0..60 {
        let copy = OnDisk::new();
        copy_directory(&disk.path(), &copy.path());
        let mut damaged = bytes.clone();
        at = at.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let start = (at >> 16) % bytes.len();
        match round % 4 {
            0 => damaged.truncate(start),
            1 => damaged[start] ^= 1 << (at % 8),
            2 => damaged[start..].iter_mut().take(4_096).for_each(|byte| *byte = 0),
            _ => damaged[start..].iter_mut().take(40_000).zip(0_u32..).for_each(|(byte, i)| *byte = i as u8),
        }
        fs::write(copy.path().join("db"), damaged).unwrap();
        match SledStore::open(&copy.path()) {
            Err(Error::Damaged { .. } | Error::Refused(_) | Error::Storage { .. }) => noticed += 1,
            Err(other) => panic!("{other}"),
            Ok(store) => {
                let mut failed = 0;
                for slot in (1..=30).flat_map(slots) {
                    match runtime.block_on(store.read(std::slice::from_ref(&slot))) {
                        Ok(_) => {}
                        Err(Error::Damaged { .. } | Error::Storage { .. }) => failed += 1,
                        Err(other) => panic!("{other}"),
                    }
                }
                // A read that panics inside sled stops the store.
                assert!(failed > 0 || store.head().unwrap().entries == 30, "an older state was opened");
                noticed += usize::from(failed > 0);
            }
        }
    }
    assert!(noticed > 0, "no damage was noticed");
}

fn assert_refused(path: &Path, saying: &str) {
    match SledStore::open(path) {
        Err(Error::Refused(why)) => assert!(why.contains(saying), "{why}"),
        Err(other) => panic!("{other:?}"),
        Ok(_) => panic!("{} was opened", path.display()),
    }
}

fn long_slot(number: u64) -> Slot {
    Slot::new(Space::Subject, &[&number.to_be_bytes(), &[7; KEY_BYTES_MAX - 8]])
}
