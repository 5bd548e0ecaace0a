//! How long the disk takes to make something durable: what every answer of Privet waits for at least once.

use std::{fs::File, os::unix::fs::FileExt, path::Path, time::Duration, time::Instant};

use crate::compare::share;

/// `fdatasync` after 4 KiB of new data.
#[derive(Clone, Copy, Debug)]
pub struct SyncLatency {
    pub p50: Duration,
    pub p99: Duration,
}

/// Measures in `directory`.
pub fn sync_latency(directory: &Path) -> SyncLatency {
    let file = File::create(directory.join("synced")).unwrap();
    let mut latencies: Vec<u32> = (0..SYNCS)
        .map(|n| {
            file.write_all_at(&[n as u8; BYTES], n * BYTES as u64).unwrap();
            let start = Instant::now();
            file.sync_data().unwrap();
            u32::try_from(start.elapsed().as_nanos()).unwrap_or(u32::MAX)
        })
        .collect();
    latencies.sort_unstable();
    SyncLatency { p50: share(&latencies, 0.50), p99: share(&latencies, 0.99) }
}

const SYNCS: u64 = 100;
const BYTES: usize = 4_096;
