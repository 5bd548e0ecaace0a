//! How much memory this process holds, as Linux counts it.

use std::fs;

/// Resident now, in MiB; zero where there is no such file.
pub fn resident() -> f64 {
    mebibytes("VmRSS:")
}

/// The most that was resident since the last [`reset_peak`], in MiB.
pub fn peak() -> f64 {
    mebibytes("VmHWM:")
}

/// Forgets the peak.
pub fn reset_peak() {
    // Where that can't be done, the peak is since the start.
    let _kept = fs::write("/proc/self/clear_refs", "5");
}

fn mebibytes(field: &str) -> f64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(field)).unwrap_or_default();
    let kibibytes: f64 = line.trim().trim_end_matches(" kB").parse().unwrap_or(0.0);
    kibibytes / 1024.0
}
