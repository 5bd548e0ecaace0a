//! Two sides, taking turns: what is compared with, and Privet.

use std::{path::PathBuf, time::Duration};

/// How long and how often.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Rounds of each side.
    pub rounds: usize,
    /// How long one round takes.
    pub round: Duration,
    /// How long each side runs before the first.
    pub warm_up: Duration,
    /// How many entries the smaller and the larger log have.
    pub entries: [u64; 2],
    /// Only rows with this in their name.
    pub rows: String,
    /// A place to build a large log in, or that has one from before; it stays there.
    pub keep: Option<PathBuf>,
}

impl Plan {
    /// For numbers to quote.
    pub fn full() -> Self {
        Self {
            rounds: 9,
            round: Duration::from_millis(1_000),
            warm_up: Duration::from_millis(500),
            entries: [10_000, 1_000_000],
            rows: String::new(),
            keep: None,
        }
    }

    /// For a look: all of `groups` groups within a minute.
    pub fn quick(groups: usize) -> Self {
        let share = u32::try_from(groups).unwrap();
        let (round, warm_up) = (Duration::from_millis(200) / share, Duration::from_millis(100) / share);
        Self { rounds: 5, round, warm_up, entries: [10_000, 70_000], rows: String::new(), keep: None }
    }
}

/// What one side did in one round.
#[derive(Debug, Default)]
pub struct Round {
    /// Requests answered.
    pub ops: u64,
    /// From the first request to the last answer.
    pub took: Duration,
    /// Processor time of what is measured, without its clients where they can be told apart.
    pub cpu: Duration,
    /// How long each request took, in nanoseconds.
    pub latencies: Vec<u32>,
}

/// All rounds of one side.
#[derive(Debug)]
pub struct Side {
    /// Requests answered a second, the median round.
    pub ops_per_sec: f64,
    /// Processor time for one request, over all rounds.
    pub cpu_per_op: Duration,
    /// Over all requests of all rounds.
    pub p50: Duration,
    pub p99: Duration,
}

/// One row: the same work by both sides.
#[derive(Debug)]
pub struct Row {
    pub name: String,
    pub items_per_op: u64,
    pub base: Side,
    pub privet: Side,
    /// Privet's rate over the other's in each pair of neighbouring rounds, sorted.
    pub ratios: Vec<f64>,
}

impl Row {
    /// The median ratio.
    pub fn ratio(&self) -> f64 {
        middle(&self.ratios)
    }
}

/// Runs both sides in turn; each pair of rounds begins with the other side. `between` runs before each pair.
pub fn take_turns(
    plan: &Plan,
    name: String,
    items_per_op: u64,
    mut between: impl FnMut(),
    mut base: impl FnMut(Duration) -> Round,
    mut privet: impl FnMut(Duration) -> Round,
) -> Row {
    base(plan.warm_up);
    privet(plan.warm_up);
    let (mut of_base, mut of_privet) = (Vec::new(), Vec::new());
    for pair in 0..plan.rounds {
        between();
        if pair % 2 == 0 {
            of_base.push(base(plan.round));
        }
        of_privet.push(privet(plan.round));
        if pair % 2 == 1 {
            of_base.push(base(plan.round));
        }
    }
    let ratios = of_base.iter().zip(&of_privet).map(|(base, privet)| rate(privet) / rate(base)).collect();
    Row { name, items_per_op, base: Side::of(of_base), privet: Side::of(of_privet), ratios: sorted(ratios) }
}

impl Side {
    fn of(rounds: Vec<Round>) -> Self {
        let ops_per_sec = middle(&sorted(rounds.iter().map(rate).collect()));
        let ops = rounds.iter().map(|round| round.ops).sum::<u64>().max(1);
        let cpu = rounds.iter().map(|round| round.cpu).sum::<Duration>();
        let cpu_per_op = cpu.div_f64(ops as f64);
        let mut latencies = rounds.into_iter().map(|round| round.latencies).collect::<Vec<_>>().concat();
        latencies.sort_unstable();
        Self { ops_per_sec, cpu_per_op, p50: share(&latencies, 0.50), p99: share(&latencies, 0.99) }
    }
}

fn rate(round: &Round) -> f64 {
    round.ops as f64 / round.took.as_secs_f64()
}

fn sorted(mut numbers: Vec<f64>) -> Vec<f64> {
    numbers.sort_unstable_by(f64::total_cmp);
    numbers
}

fn middle(sorted: &[f64]) -> f64 {
    sorted[sorted.len() / 2]
}

/// The value that `share` of `sorted` nanoseconds stay under.
pub fn share(sorted: &[u32], share: f64) -> Duration {
    let at = (sorted.len() as f64 * share) as usize;
    Duration::from_nanos(sorted.get(at).or(sorted.last()).copied().unwrap_or_default().into())
}
