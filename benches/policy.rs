//! Group `policy`: what it costs to ask the policy engine, to build it and to keep it.
//!
//! Nothing here is compared by the clock alone. A decision that is remembered is measured in look-ups of the same question in
//! a plain hash map; one that is not, in lines of plain casbin: the time casbin takes for a decision over the whole policy,
//! divided by its lines. Both sides take turns, round by round. Building and memory are compared with casbin's over the
//! same lines.

mod document;
mod memory;
mod sides;
mod table;

use std::{path::Path, time::Instant};

use privet::policy::Snapshot;

use self::{
    document::{Document, about_all},
    memory::{Memory, Side},
    sides::{Casbin, Sides, allows},
};
use crate::{compare::Plan, report::Report};

/// How many lines the policies have.
const LINES: [usize; 4] = [10, 1_000, 10_000, 100_000];
/// Building takes long where there is much to build, and varies little.
const BUILDS: usize = 3;

/// What was measured of one policy. Times are nanoseconds, one for each round.
struct Row {
    lines: usize,
    look_up: Vec<f64>,
    hit: Vec<f64>,
    /// A decision over all lines.
    casbin: Vec<f64>,
    miss: Vec<f64>,
    casbin_build: Vec<f64>,
    build: Vec<f64>,
    /// Building, and a first decision about everything, which compiles every enforcer.
    ready: Vec<f64>,
    casbin_memory: Memory,
    memory: Memory,
}

/// Measures the group.
pub fn measure(plan: &Plan, _directory: &Path) -> Report {
    memory::measure_if_asked();
    let asked = LINES.into_iter().filter(|lines| format!("{lines} lines").contains(&plan.rows));
    let rows: Vec<Row> = asked.map(|lines| row(plan, lines)).collect();
    Report { table: table::table(&rows), document: table::json(&rows) }
}

fn row(plan: &Plan, lines: usize) -> Row {
    eprintln!("policy: {lines} lines");
    let document = Document::of(lines);
    let (casbin_memory, memory) = (memory::of(Side::Casbin, lines), memory::of(Side::Privet, lines));
    let (mut casbin_build, mut build, mut ready) = (Vec::new(), Vec::new(), Vec::new());
    let mut built = None;
    for _ in 0..plan.rounds.min(BUILDS) {
        drop(built.take());
        let start = Instant::now();
        let casbin = Casbin::build(&document);
        casbin_build.push(start.elapsed().as_nanos() as f64);
        let start = Instant::now();
        let snapshot = Snapshot::build(1, &document.sources).unwrap();
        build.push(start.elapsed().as_nanos() as f64);
        about_all().for_each(|asked| _ = allows(&snapshot, &asked));
        ready.push(start.elapsed().as_nanos() as f64);
        built = Some((casbin, snapshot));
    }
    let (casbin, snapshot) = built.unwrap();
    let mut sides = Sides::new(casbin, snapshot);
    sides.must_agree(100_000_usize.div_ceil(lines).clamp(8, 500));
    let (mut look_up, mut hit, mut casbin, mut miss) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let time = plan.round / 8;
    for round in 0..=plan.rounds {
        let times = [sides.look_up(time), sides.hit(time), sides.casbin(time), sides.miss(time)];
        // The first round warms up.
        if round > 0 {
            [&mut look_up, &mut hit, &mut casbin, &mut miss]
                .into_iter()
                .zip(times)
                .for_each(|(to, time)| to.push(time));
        }
    }
    Row { lines, look_up, hit, casbin, miss, casbin_build, build, ready, casbin_memory, memory }
}
