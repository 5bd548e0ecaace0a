//! A power cut while the database recovers, on a disk that writes bytes back before names: what recovery fills with zeros may be
//! gone, and the snapshot that makes it needless not there yet.

use std::{
    env, fs,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use privet::store::{Batch, Commit, Effect, Head, Slot, Space, Store, sled::SledStore};

use super::shorthand::read;
use crate::support::{
    child::say,
    files::copy_directory,
    machine::{Machine, acknowledged},
};

const ROUNDS: u64 = 24;

#[test]
fn a_power_cut_while_the_database_recovers_loses_nothing() {
    let mut lost_without = 0;
    for round in 0..ROUNDS {
        // Few values stay, so that whole segments are needed no more.
        let stay = [5, 10, 20][round as usize % 3];
        let machine = Machine::new();
        let child = machine.boot("store::recovering::child_writes_and_removes", &[("STAY", stay.to_string().into())]);
        let newest = acknowledged(child, 40 + round * 31 % 200);
        let machine = machine.after_the_cut();
        let before = machine.real().with_extension("before");
        copy_directory(&machine.real().join("data"), &before);
        // Before it recovers the store keeps what it may need again.
        let child = machine.boot("store::recovering::child_opens", &[]);
        let start = Instant::now();
        let recovering = loop {
            assert!(start.elapsed() < Duration::from_secs(30), "nothing is kept");
            match fs::read(machine.shadow().join("data/recovering")) {
                Ok(bytes) => break bytes,
                Err(_) => thread::yield_now(),
            }
        };
        child.kill();
        // All that a recovery writes to the database is on the disk, and no name that it gives or takes.
        let scratch = tempfile::tempdir().unwrap();
        let [recovered, left, without] = ["recovered", "left", "without"].map(|name| scratch.path().join(name));
        for copy in [&recovered, &left, &without] {
            copy_directory(&before, copy);
        }
        let store = SledStore::open(&recovered).unwrap();
        for copy in [&left, &without] {
            fs::copy(recovered.join("db"), copy.join("db")).unwrap();
        }
        drop(store);
        fs::write(left.join("recovering"), recovering).unwrap();
        lost_without += u32::from(kept(&without).is_none_or(|kept| kept < newest));
        let kept = kept(&left).unwrap_or_else(|| panic!("round {round}: it does not open"));
        assert!(kept >= newest, "round {round}: {kept} of {newest}");
    }
    // The positive control.
    assert!(lost_without > 0, "what was kept was not needed");
}

/// As somebody may leave it who puts back a database alone, or a crash while it was written.
#[test]
fn what_was_kept_of_another_database_or_half_of_it_is_not_put_back() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let store = SledStore::open(&data).unwrap();
    let effects = (0..300)
        .map(|n: u64| Effect { slot: Slot::new(Space::Tenant, &[&n.to_be_bytes()]), value: Some(vec![1; 5_000]) });
    let batch = Batch { head: Head { entries: 1, state: vec![] }, effects: effects.collect() };
    assert_eq!(store.commit(&Head::default(), &batch).unwrap(), Commit::Committed);
    drop(store);
    let segment = [&0_u64.to_be_bytes()[..], &4_096_u32.to_be_bytes(), &[7; 4_096]].concat();
    let whole = [b"privet recovery 1\n".to_vec(), segment].concat();
    let hash = ring::digest::digest(&ring::digest::SHA256, &whole);
    let whole = [&whole, hash.as_ref()].concat();
    for left in [&whole[..], &whole[..whole.len() - 1], b"", b"privet recovery 1\n"] {
        fs::write(data.join("recovering"), left).unwrap();
        let store = SledStore::open(&data).unwrap();
        let slots = [0, 299].map(|n: u64| Slot::new(Space::Tenant, &[&n.to_be_bytes()]));
        assert_eq!(read(&store, &slots), [Some(vec![1; 5_000]), Some(vec![1; 5_000])]);
        assert!(!data.join("recovering").exists());
    }
}

/// How many batches are there, each whole.
fn kept(data: &Path) -> Option<u64> {
    let store = SledStore::open(data).ok()?;
    let entries = store.head().unwrap().entries;
    for i in 0..4_u8 {
        let slot = Slot::new(Space::Block, &[&entries.to_be_bytes(), &[i]]);
        assert_eq!(read(&store, &[slot]), [Some(vec![entries as u8; 3_000])]);
    }
    Some(entries)
}

fn data() -> Option<PathBuf> {
    Some(Path::new(&env::var_os("PRIVET_POWERCUT_DIR")?).join("data"))
}

#[test]
#[ignore = "the child of the test above"]
fn child_opens() {
    let Some(data) = data() else { return };
    let _store = SledStore::open(&data).unwrap();
    thread::sleep(Duration::from_secs(60));
}

#[test]
#[ignore = "the child of the test above"]
fn child_writes_and_removes() {
    let Some(data) = data() else { return };
    let stay: u64 = env::var("STAY").unwrap().parse().unwrap();
    let store = SledStore::open(&data).unwrap();
    let mut head = store.head().unwrap();
    let slot = |number: u64, i: u8| Slot::new(Space::Block, &[&number.to_be_bytes(), &[i]]);
    loop {
        let number = head.entries + 1;
        let put = |i| Effect { slot: slot(number, i), value: Some(vec![number as u8; 3_000]) };
        let mut effects: Vec<Effect> = (0..4).map(put).collect();
        if number.is_multiple_of(stay) {
            let old = number.saturating_sub(2 * stay)..number.saturating_sub(5);
            effects.extend(old.flat_map(|old| (0..4).map(move |i| Effect { slot: slot(old, i), value: None })));
        }
        let batch = Batch { head: Head { entries: number, state: number.to_string().into_bytes() }, effects };
        assert_eq!(store.commit(&head, &batch).unwrap(), Commit::Committed);
        head = batch.head;
        say(&number.to_string());
    }
}
