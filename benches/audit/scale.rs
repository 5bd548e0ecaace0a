//! Group `scale`: five million entries, sealed as they age: memory, opening time, and one subject's entries among them.

use std::{fs, path::Path, time::Duration};

use privet::operations::segments::{Rules, Segments};

use super::{OF_SUBJECT, ledger::Ledger, runtime, subject};
use crate::{compare::Plan, disk::Disk, report::Group};

/// Measures it in `directory`.
pub fn measure(_: &Plan, directory: &Path) -> Group {
    let disk = Disk::new(directory);
    disk.probe();
    let runtime = runtime();
    let mut notes = vec![format!("{:.0} MiB of memory before", resident_mib("VmRSS"))];
    runtime.block_on(async {
        let (ledger, _) = Ledger::open(directory).await;
        let day = Duration::from_secs(86_400);
        let rules = Rules { bytes_max: SEGMENT_BYTES, age_max: 30 * day, retention: 400 * day };
        let segments = Segments::new(ledger.log.clone(), ledger.store.clone(), rules).unwrap();
        for part in 1..=PARTS {
            ledger.fill_evenly(ENTRIES * part / PARTS, ENTRIES / OF_SUBJECT).await;
            ledger.index().await;
            segments.tend().await.unwrap();
            eprintln!("scale: {} entries, {:.0} MiB", ledger.log.read_point().0, resident_mib("VmRSS"));
        }
        notes.push(format!(
            "{ENTRIES} entries written, {} of them sealed: {:.0} MiB of memory, {:.0} at the most",
            ledger.log.history().bounds().sealed_end(),
            resident_mib("VmRSS"),
            resident_mib("VmHWM"),
        ));
        drop(segments);
        ledger.close();
    });
    // A process of its own would say more about opening; what the allocator keeps is the same there.
    runtime.block_on(async {
        let (ledger, opened) = Ledger::open(directory).await;
        notes.push(format!("opened in {:.2} s, {:.0} MiB of memory", opened.as_secs_f64(), resident_mib("VmRSS")));
        ledger.index().await;
        let (took, blocks) = subject(&ledger).await;
        notes.push(format!(
            "one subject's {OF_SUBJECT} entries: {:.1} ms, {blocks} blocks of index and {OF_SUBJECT} bundles or blocks; {:.0} MiB",
            took.as_secs_f64() * 1e3,
            resident_mib("VmRSS"),
        ));
        ledger.close();
    });
    Group {
        base: "none",
        privet: "the log on sled, sealed into segments, indexed; no server",
        disk: disk.latency(),
        rows: Vec::new(),
        notes,
    }
}

/// What Linux counts for this process.
fn resident_mib(field: &str) -> f64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(field)).unwrap_or_default();
    let kib = line.trim_start_matches(':').trim().split(' ').next().and_then(|kib| kib.parse::<f64>().ok());
    kib.unwrap_or_default() / 1_024.0
}

const ENTRIES: u64 = 5_000_000;
const PARTS: u64 = 100;
/// As the configuration has it by default.
const SEGMENT_BYTES: u64 = 1 << 30;
