//! How much memory a policy takes, ready to be asked: in a process of its own, which has done nothing else before.

use std::{env, fs, hint::black_box, process::Command};

use privet::policy::Snapshot;

use super::{
    document::{Document, about_all},
    sides::{Casbin, allows},
};

/// Names the side and the lines to a process that is to measure them.
const ASKED: &str = "PRIVET_BENCH_POLICY_MEMORY";

/// Who takes the memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    Casbin,
    Privet,
}

/// Bytes that stay taken, and bytes that were taken at most meanwhile.
#[derive(Clone, Copy, Debug)]
pub struct Memory {
    pub kept: f64,
    pub peak: f64,
}

/// Starts a process that measures.
pub fn of(side: Side, lines: usize) -> Memory {
    let mut measuring = Command::new(env::current_exe().unwrap());
    let output = measuring.args(["policy", "quick"]).env(ASKED, format!("{side:?} {lines}")).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let said = String::from_utf8(output.stdout).unwrap();
    let (kept, peak) = said.trim().split_once(' ').unwrap();
    Memory { kept: kept.parse().unwrap(), peak: peak.parse().unwrap() }
}

/// Measures, if this process is one that is to, and ends it.
pub fn measure_if_asked() {
    let Ok(asked) = env::var(ASKED) else { return };
    let (side, lines) = asked.split_once(' ').unwrap();
    let document = Document::of(lines.parse().unwrap());
    let before = kib("VmRSS:");
    let held: Box<dyn std::any::Any> = if side == "Casbin" {
        Box::new(Casbin::build(&document))
    } else {
        let snapshot = Snapshot::build(1, &document.sources).unwrap();
        about_all().for_each(|asked| _ = allows(&snapshot, &asked));
        Box::new(snapshot)
    };
    let (kept, peak) = (kib("VmRSS:") - before, kib("VmHWM:") - before);
    black_box(held);
    println!("{} {}", kept * 1_024.0, peak * 1_024.0);
    std::process::exit(0);
}

fn kib(what: &str) -> f64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(what)).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}
