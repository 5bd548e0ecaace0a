//! Sealing on a disk that is nearly full: it must not take what the log itself needs, and what makes room goes on.

use std::{env, fs, path::Path, time::Duration};

use privet::operations::segments::Error;

use super::*;
use crate::support::{child::Child, child::say, shim};

const MIB: u64 = 1 << 20;

#[tokio::test(flavor = "multi_thread")]
async fn with_scarce_room_nothing_is_sealed_and_what_makes_room_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let bench = open(dir.path(), bench_clock()).await;
    bench.append(600).await;
    bench.segments.seal(256).await.unwrap();
    bench.clock.advance(400 * DAY);
    // Found due, and from now on for a day.
    bench.segments.tend().await.unwrap();
    let sealed = bench.log.history().bounds().sealed_end();
    bench.append(600).await;
    bench.clock.advance(30 * DAY);
    bench.faults.scarce_room(true);
    let refused = bench.segments.tend().await.unwrap_err();
    assert!(matches!(refused, Error::NoRoom), "{refused}");
    assert!(refused.to_string().contains("make room"), "{refused}");
    let bounds = bench.log.history().bounds();
    assert_eq!(
        (bounds.sealed_end(), bounds.retained_from()),
        (sealed, sealed),
        "what was kept for its time is deleted"
    );
    bench.check(sealed).await;
    bench.faults.scarce_room(false);
    bench.segments.tend().await.unwrap();
    assert!(bench.log.history().bounds().sealed_end() > sealed);
    bench.check(sealed).await;
}

/// A segment that is longer than what is left on the disk: it is given up before the log's own writes fail.
#[test]
fn a_segment_that_would_fill_the_disk_is_given_up_and_the_log_goes_on() {
    let disk = tempfile::tempdir().unwrap();
    let (dir, bytes) = (disk.path().join("disk"), disk.path().join("bytes"));
    fs::create_dir(&dir).unwrap();
    let child = Child::start(
        "segments::full_disk::child_seals_on_a_disk_that_fills_up",
        [
            ("LD_PRELOAD", shim::compile("fulldisk").as_os_str()),
            ("PRIVET_DISK_DIR", dir.as_os_str()),
            ("PRIVET_DISK_BYTES", bytes.as_os_str()),
        ],
    );
    let (status, said) = child.wait(Duration::from_secs(60));
    assert!(status.success(), "{status}, after {said:?}");
    assert_eq!(said, ["given up", "went on", "sealed"]);
}

#[test]
#[ignore = "the child of the test above"]
fn child_seals_on_a_disk_that_fills_up() {
    let (Some(dir), Some(bytes)) = (env::var_os("PRIVET_DISK_DIR"), env::var_os("PRIVET_DISK_BYTES")) else { return };
    let dir = Path::new(&dir);
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        let bench = open(dir, bench_clock()).await;
        for _ in 0..4 {
            bench.append_long(256).await;
        }
        let used: u64 = files(dir).iter().map(|path| fs::metadata(path).unwrap().len()).sum();
        let before = files(&dir.join("archive"));
        // Room for some bundles beside what is kept free for the log.
        fs::write(&bytes, (used + 22 * MIB).to_string()).unwrap();
        assert!(matches!(bench.segments.seal(1_024).await, Err(Error::NoRoom)));
        assert_eq!(files(&dir.join("archive")), before, "what was written of it is gone");
        say("given up");
        bench.append(300).await;
        bench.check(0).await;
        say("went on");
        fs::write(&bytes, (used + 400 * MIB).to_string()).unwrap();
        bench.segments.tend().await.unwrap();
        assert_eq!(bench.log.history().bounds().sealed_end(), 1_024);
        bench.check(0).await;
        say("sealed");
    });
}

impl Bench {
    /// Entries of some 40,000 bytes.
    async fn append_long(&self, count: usize) {
        let commit = |n: usize| async move {
            let target = Target { aliases: vec![n as u8; 40_000], ..Default::default() };
            let record = Record::encode(&Tenant::parse("acme").unwrap(), Entry::default(), vec![target]).unwrap();
            self.log.commit(record, Basis::default(), Effects::default(), Unreleased::new(())).await.unwrap();
        };
        futures_util::future::join_all((0..count).map(commit)).await;
    }
}

/// Every file in a directory and below.
fn files(dir: &Path) -> Vec<std::path::PathBuf> {
    let (mut found, mut left) = (Vec::new(), vec![dir.to_owned()]);
    while let Some(dir) = left.pop() {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { left.push(path) } else { found.push(path) }
        }
    }
    found.sort();
    found
}
