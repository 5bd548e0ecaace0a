//! Failing and slow disks: a commit that can't be made durable is an error, nothing is written after it, the store closes
//! without hanging, and everything acknowledged is there afterwards. See `tests/support/fault.c` and `slowsync.c`.

use std::{
    env,
    ffi::OsStr,
    fs,
    path::Path,
    time::{Duration, Instant},
};

use privet::store::{Commit, Error, Space, Store, sled::SledStore};

use super::shorthand::{batch, committed, put, text};
use crate::support::{
    child::{Child, say},
    shim,
};

#[test]
fn a_disk_that_fails_stops_the_store_and_loses_nothing_acknowledged() {
    for order in ["sync EIO", "sync ENOSPC", "write ENOSPC", "write EROFS", "write EIO", "all EIO"] {
        let disk = tempfile::tempdir().unwrap();
        let trigger = disk.path().join("trigger");
        let child = Child::start(
            "store::faults::child_commits_until_the_disk_fails",
            [
                ("LD_PRELOAD", shim::compile("fault").as_os_str()),
                ("PRIVET_FAULT_DIR", disk.path().join("data").as_os_str()),
                ("PRIVET_FAULT_TRIGGER", trigger.as_os_str()),
                ("PRIVET_TEST_ORDER", OsStr::new(order)),
            ],
        );
        let (status, said) = child.wait(Duration::from_secs(60));
        assert!(status.success(), "{order}: {status}");
        assert_eq!(said, ["failed", "failed again", "no head", "closed"], "{order}");

        let store = SledStore::open(&disk.path().join("data")).unwrap();
        let entries = store.head().unwrap().entries;
        // The batch that failed may be there; it was never acknowledged.
        assert!((20..=21).contains(&entries), "{order}: {entries}");
        assert!((1..=20).all(|i| text(&store, Space::Tenant, &i.to_string()).is_some()), "{order}");
        committed(&store, batch(entries + 1, vec![put(Space::Tenant, "after", "1")]));
    }
}

#[test]
#[ignore = "the child of the test above"]
fn child_commits_until_the_disk_fails() {
    let (Some(directory), Some(trigger)) = (env::var_os("PRIVET_FAULT_DIR"), env::var_os("PRIVET_FAULT_TRIGGER"))
    else {
        return;
    };
    let store = SledStore::open(Path::new(&directory)).unwrap();
    let mut head = store.head().unwrap();
    for i in 1..=20 {
        head = committed(&store, batch(i, vec![put(Space::Tenant, &i.to_string(), "kept")]));
    }
    let ready = Path::new(&trigger).with_extension("ready");
    fs::write(&ready, env::var("PRIVET_TEST_ORDER").unwrap()).unwrap();
    fs::rename(ready, &trigger).unwrap();

    let next = batch(21, vec![put(Space::Tenant, "late", "lost")]);
    assert!(matches!(store.commit(&head, &next), Err(Error::Storage { .. })));
    say("failed");
    fs::remove_file(&trigger).unwrap();
    // The disk works again, and still the store must not: what the failed sync was to keep may be gone.
    assert!(matches!(store.commit(&head, &next), Err(Error::Storage { .. })));
    say("failed again");
    assert!(matches!(store.head(), Err(Error::Storage { .. })));
    say("no head");
    drop(store);
    say("closed");
}

#[test]
fn a_commit_waits_for_the_disk() {
    let disk = tempfile::tempdir().unwrap();
    let child = Child::start(
        "store::faults::child_times_a_commit",
        [
            ("LD_PRELOAD", shim::compile("slowsync").as_os_str()),
            ("PRIVET_SLOWSYNC_MS", OsStr::new("200")),
            ("PRIVET_TEST_DIR", disk.path().join("data").as_os_str()),
        ],
    );
    let (status, said) = child.wait(Duration::from_secs(60));
    assert!(status.success());
    let took_ms: Vec<u64> = said.iter().map(|ms| ms.parse().unwrap()).collect();
    assert!(took_ms.len() == 2 && took_ms.iter().all(|ms| (200..400).contains(ms)), "{took_ms:?}");
}

#[test]
#[ignore = "the child of the test above"]
fn child_times_a_commit() {
    let Some(directory) = env::var_os("PRIVET_TEST_DIR") else { return };
    let store = SledStore::open(Path::new(&directory)).unwrap();
    for i in 1..=2 {
        let before = Instant::now();
        assert_eq!(store.commit(&store.head().unwrap(), &batch(i, vec![])).unwrap(), Commit::Committed);
        say(&before.elapsed().as_millis().to_string());
    }
}
