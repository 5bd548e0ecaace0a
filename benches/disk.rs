//! How long the disk takes to make something durable: what every answer of Privet waits for at least once.

use std::{
    cell::RefCell,
    fs::File,
    os::unix::fs::FileExt,
    path::Path,
    time::{Duration, Instant},
};

use crate::compare::share;

/// A file beside Privet's own, synced now and then: a disk's latency changes with the minute.
#[derive(Debug)]
pub struct Disk {
    file: File,
    latencies: RefCell<Vec<u32>>,
}

/// `fdatasync` of 4 KiB that lie in a file already.
#[derive(Clone, Copy, Debug)]
pub struct SyncLatency {
    pub p50: Duration,
    pub p99: Duration,
}

impl Disk {
    /// A file in `directory`.
    pub fn new(directory: &Path) -> Self {
        Self { file: File::create(directory.join("synced")).unwrap(), latencies: RefCell::default() }
    }

    /// Syncs a few times, one after the other.
    pub fn probe(&self) {
        for n in 0..SYNCS {
            self.file.write_all_at(&[n; BYTES], 0).unwrap();
            let start = Instant::now();
            self.file.sync_data().unwrap();
            self.latencies.borrow_mut().push(u32::try_from(start.elapsed().as_nanos()).unwrap_or(u32::MAX));
        }
    }

    /// Writes over the same 4 KiB once, and syncs them.
    pub fn sync_once(&self) {
        self.file.write_all_at(&[0; BYTES], 0).unwrap();
        self.file.sync_data().unwrap();
    }

    /// Over all probes.
    pub fn latency(self) -> SyncLatency {
        let mut latencies = self.latencies.into_inner();
        latencies.sort_unstable();
        SyncLatency { p50: share(&latencies, 0.50), p99: share(&latencies, 0.99) }
    }
}

const SYNCS: u8 = 10;
const BYTES: usize = 4_096;
