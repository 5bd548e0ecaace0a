//! Failing disks: a seal that can't be made durable is an error and leaves the archive that was there. See
//! `tests/support/fault.c`.

use std::{env, ffi::OsStr, fs, time::Duration};

use super::*;
use crate::support::{
    child::{Child, say},
    shim,
};

#[test]
fn a_disk_that_fails_stops_the_seal_and_loses_nothing() {
    for order in ["sync EIO", "sync ENOSPC", "write ENOSPC", "write EROFS", "write EIO", "all EIO"] {
        let disk = tempfile::tempdir().unwrap();
        let directory = disk.path().join("archive");
        let child = Child::start(
            "archive::faults::child_seals_while_the_disk_fails",
            [
                ("LD_PRELOAD", shim::compile("fault").as_os_str()),
                ("PRIVET_FAULT_DIR", directory.as_os_str()),
                ("PRIVET_FAULT_TRIGGER", disk.path().join("trigger").as_os_str()),
                ("PRIVET_TEST_ORDER", OsStr::new(order)),
            ],
        );
        let (status, said) = child.wait(Duration::from_secs(60));
        assert!(status.success(), "{order}: {status}");
        assert_eq!(said, ["failed early", "failed late", "opened", "sealed"], "{order}");
        let log = Log::sized(2_048);
        assert_whole(&log, &log.open(&directory, 2_048).unwrap(), 2_048);
    }
}

/// Its source breaks the disk once it is asked for a bundle.
struct Breaking<'a> {
    log: &'a Log,
    at: u64,
    trigger: &'a Path,
}

impl Source for Breaking<'_> {
    fn entries(&mut self, bundle: u64) -> Result<Vec<Vec<u8>>, SourceError> {
        if bundle == self.at {
            break_disk(self.trigger);
        }
        (&*self.log).entries(bundle)
    }

    fn tile(&mut self, tile: Tile) -> Result<Option<Vec<u8>>, SourceError> {
        (&*self.log).tile(tile)
    }
}

fn break_disk(trigger: &Path) {
    let ready = trigger.with_extension("ready");
    fs::write(&ready, env::var("PRIVET_TEST_ORDER").unwrap()).unwrap();
    fs::rename(ready, trigger).unwrap();
}

#[test]
#[ignore = "the child of the test above"]
fn child_seals_while_the_disk_fails() {
    let (Some(directory), Some(trigger)) = (env::var_os("PRIVET_FAULT_DIR"), env::var_os("PRIVET_FAULT_TRIGGER"))
    else {
        return;
    };
    let (directory, trigger) = (Path::new(&directory), Path::new(&trigger));
    let log = Log::sized(2_048);
    let archive = log.open(directory, 0).unwrap();
    let _sealed = log.seal(&archive, 0..1_024).unwrap();
    drop(archive);
    let archive = log.open(directory, 1_024).unwrap();

    break_disk(trigger);
    assert!(matches!(log.seal(&archive, 1_024..2_048), Err(Error::Storage { .. })));
    assert_whole(&log, &archive, 1_024);
    say("failed early");
    fs::remove_file(trigger).unwrap();

    let checkpoint = Checkpoint::new(ORIGIN, 2_048, log.roots[&2_048]).unwrap().sign(&[&log.key]).unwrap();
    let failed =
        archive.seal(1_024..2_048, &mut Breaking { log: &log, at: 6, trigger }, &checkpoint, &log.known()).unwrap_err();
    assert!(matches!(failed, Error::Storage { .. }), "{failed}");
    assert!(failed.to_string().contains(directory.to_str().unwrap()), "{failed}");
    assert_whole(&log, &archive, 1_024);
    // What was half written is gone, and its room is free again.
    assert!(!directory.join("tile/entries/004").exists());
    say("failed late");
    drop(archive);
    fs::remove_file(trigger).unwrap();

    drop(log.open(directory, 1_024).unwrap());
    break_disk(trigger);
    // There is nothing to repair, so opening writes nothing.
    let archive = log.open(directory, 1_024).unwrap();
    assert_whole(&log, &archive, 1_024);
    say("opened");
    fs::remove_file(trigger).unwrap();
    let _sealed = log.seal(&archive, 1_024..2_048).unwrap();
    say("sealed");
}
