//! Seals or opens columns of a CSV file over one stream.
//!
//! ```text
//! source (thread) → wire (stream of messages, a few in flight) → relay (answers to their cells) → sink (thread)
//! ```
//!
//! Rows keep their order and their other columns; empty cells stay empty. Every queue is bounded, so a file of any size takes
//! the same memory. A cell without result is left empty, reported and counted, and makes the command exit with 1. The
//! output takes its name only once it is whole.

use std::{path::PathBuf, sync::Arc};

use serde_json::json;
use tokio::{sync::mpsc, task};

use super::{
    answer::put_json,
    failure::{Exit, Failure},
    input::is_stdin,
    options::{Connection, Header},
    output::{self, Output},
    table::{number, plural},
    terminal::Terminal,
};
use crate::{
    clock::{Clock, SystemClock},
    proto::v1,
};

mod batch;
mod map;
mod relay;
mod report;
mod sink;
mod source;
mod wire;

pub use map::Mapping;
use relay::Totals;
use report::Report;
use sink::Sink;
use source::Source;
use wire::Wire;

/// What to do with each cell.
#[derive(Clone, Copy, Debug)]
pub enum Work {
    /// Seal it.
    Seal,
    /// Open it in this form.
    Open(v1::Form),
    /// Seal it anew under the newest key.
    Rewrap,
}

/// Which cells of which file, and where the outcome goes.
#[derive(Debug)]
pub struct Job {
    csv: PathBuf,
    out: PathBuf,
    force: bool,
    subject_column: String,
    map: Vec<Mapping>,
    batch_fields: usize,
}

impl Job {
    /// Checks what can be checked without opening a file.
    ///
    /// # Errors
    /// [`Failure`] (usage).
    pub fn new(
        csv: PathBuf,
        out: PathBuf,
        force: bool,
        subject_column: String,
        map: Vec<Mapping>,
        batch_fields: usize,
    ) -> Result<Self, Failure> {
        map::check(&map, &subject_column)?;
        Ok(Self { csv, out, force, subject_column, map, batch_fields })
    }
}

/// Does a job.
///
/// # Errors
/// [`Failure`] if it can't be done to its end; then there is no output file.
pub async fn run(
    connection: Connection,
    header: Header,
    work: Work,
    job: Job,
    terminal: &Terminal,
) -> Result<Exit, Failure> {
    output::check(&job.out, job.force).map_err(|exists| exists.hint("--force replaces it"))?;
    let source = Source::open(&job, work)?;
    let wire = Wire::new(connection.open().await?, header, work);
    let clock = SystemClock::start();
    let mut report = Report::new(source.length(), terminal);
    let done = tokio::select! {
        done = work_through(source, &wire, &job, &mut report) => done,
        _ = tokio::signal::ctrl_c() => Err(Failure::refused("interrupted; the output is not complete")),
    };
    report.finish();
    let summary = Summary { work, totals: done?, secs: clock.monotonic().as_secs_f64() };
    match (terminal.json, is_stdin(Some(&job.out))) {
        (true, false) => put_json(&summary.for_machines())?,
        (true, true) => eprintln!("{}", summary.for_machines()),
        (false, _) if terminal.quiet => {}
        (false, _) => eprintln!("{}", summary.for_people()),
    }
    Ok(if summary.totals.failed == 0 { Exit::Ok } else { Exit::Refused })
}

/// From the first row to the last; what was begun is gone if this fails or is dropped.
async fn work_through(source: Source, wire: &Wire, job: &Job, report: &mut Report) -> Result<Totals, Failure> {
    let output = Output::create(&job.out, job.force)?;
    let (header, columns) = (source.header().clone(), source.columns());
    let (messages, outgoing) = mpsc::channel(1);
    let (pending, incoming) = mpsc::channel(IN_FLIGHT_MAX);
    let (settled, rows) = mpsc::channel(IN_FLIGHT_MAX);
    // Each stage ends when the one before it has, or when the one after it is gone.
    let sink = Sink::open(&output)?;
    let (progress, sunk) = (report.progress(), Arc::clone(&columns));
    let sink = task::spawn_blocking(move || sink.run(&header, &sunk, rows, &progress));
    let source = task::spawn_blocking(move || source.run(&pending, &messages));
    let answers = wire.stream(outgoing).await?;
    let totals = relay::run(incoming, answers, wire, &columns, settled, report).await?;
    sink.await.map_err(|_| stopped())??;
    source.await.map_err(|_| stopped())??;
    output.keep()?;
    Ok(totals)
}

/// How a job went.
struct Summary {
    work: Work,
    totals: Totals,
    secs: f64,
}

impl Summary {
    fn for_people(&self) -> String {
        let Totals { rows, done, failed, entries } = &self.totals;
        let done_word = match self.work {
            Work::Seal => "sealed",
            Work::Open(_) => "opened",
            Work::Rewrap => "rewrapped",
        };
        let (rows, fields) = (plural(*rows, "row"), plural(*done, "field"));
        let (failed, rate) = (plural(*failed, "error"), number(self.rate()));
        let entries = match entries {
            Some((first, last)) if first == last => format!("; recorded as entry {}", number(*first)),
            Some((first, last)) => format!("; recorded in entries {} to {}", number(*first), number(*last)),
            None => String::new(),
        };
        format!("{rows}: {fields} {done_word}, {failed}, in {:.2} s ({rate} fields/s){entries}", self.secs)
    }

    fn for_machines(&self) -> serde_json::Value {
        let Totals { rows, done, failed, entries } = &self.totals;
        json!({
            "rows": rows,
            "fields": done,
            "errors": failed,
            "secs": self.secs,
            "fields_per_sec": self.rate(),
            "first_entry": entries.map(|(first, _)| first),
            "last_entry": entries.map(|(_, last)| last),
        })
    }

    fn rate(&self) -> u64 {
        let micros = u128::from(self.totals.done) * 1_000_000;
        let elapsed = std::time::Duration::try_from_secs_f64(self.secs).unwrap_or_default().as_micros().max(1);
        u64::try_from(micros / elapsed).unwrap_or(u64::MAX)
    }
}

fn stopped() -> Failure {
    Failure::unavailable("a part of this program stopped; the output is not complete")
}

/// Messages sent and not yet written.
const IN_FLIGHT_MAX: usize = 8;

#[cfg(test)]
mod tests;
