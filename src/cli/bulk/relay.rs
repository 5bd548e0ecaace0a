//! Brings each answer to the cells that wait for it.
//!
//! A message that is refused as a whole is not the end: a cell that breaks a rule is taken out and the rest is sent again, and
//! what is unavailable for the moment is asked again a few times. What remains refused is a fault of each of its cells.

use std::time::Duration;

use futures_util::StreamExt;
use tokio::{
    sync::mpsc::{Receiver, Sender},
    time::sleep,
};

use super::{
    super::{
        answer::misfit,
        failure::{Exit, Failure, Violation},
    },
    batch::{Batch, Cell, Fault},
    map::Columns,
    report::Report,
    wire::{Answers, Outcome, Wire},
};

/// How much was done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Totals {
    pub(super) rows: u64,
    /// Cells with a result.
    pub(super) done: u64,
    /// Cells without.
    pub(super) failed: u64,
    /// The first and the last entry that record it.
    pub(super) entries: Option<(u64, u64)>,
}

/// Settles each pending batch and hands it on, in order. Ends early if nobody takes them.
pub(super) async fn run(
    mut pending: Receiver<Batch>,
    mut answers: Answers,
    wire: &Wire,
    columns: &Columns,
    settled: Sender<Batch>,
    report: &mut Report,
) -> Result<Totals, Failure> {
    let mut totals = Totals::default();
    while let Some(mut batch) = pending.recv().await {
        if batch.is_waiting() {
            let answer = answers.next().await.ok_or_else(misfit)??;
            if answer.sequence != batch.sequence {
                return Err(misfit());
            }
            settle(&mut batch, answer.outcome, wire, columns, &mut totals).await?;
        }
        for (line, column, fault) in batch.faults() {
            report.fault(line, columns.mapped.get(column).map_or("", |column| &column.name), fault);
        }
        totals.count(&batch);
        if settled.send(batch).await.is_err() {
            break;
        }
    }
    Ok(totals)
}

async fn settle(
    batch: &mut Batch,
    mut outcome: Result<Outcome, Failure>,
    wire: &Wire,
    columns: &Columns,
    totals: &mut Totals,
) -> Result<(), Failure> {
    let mut pauses = PAUSES_MILLIS.into_iter();
    loop {
        let failure = match outcome {
            Ok(Outcome { results, receipts }) => {
                receipts.iter().for_each(|receipt| totals.record(receipt.entry_index));
                return batch.settle(results);
            }
            Err(failure) => failure,
        };
        match failure.exit() {
            Exit::Usage => {
                if !take_out(batch, failure.broken()) {
                    return Err(with_column(failure, batch, columns));
                }
                if !batch.is_waiting() {
                    return Ok(());
                }
            }
            // If nothing at all is allowed, an empty file would help nobody.
            Exit::Refused if totals.done == 0 => return Err(failure),
            Exit::Refused => {
                let fault = Fault { reason: "DENIED".into(), message: failure.to_string().into() };
                batch.waiting().for_each(|cell| cell.result = Some(Err(fault.clone())));
                return Ok(());
            }
            Exit::Unavailable | Exit::Ok => match pauses.next() {
                Some(millis) => sleep(Duration::from_millis(millis)).await,
                None => return Err(failure),
            },
        }
        outcome = wire.once(batch.message(columns)).await;
    }
}

/// Takes the cells out that break a rule. Says whether there were any: if not, it is the request that is wrong.
fn take_out(batch: &mut Batch, violations: &[Violation]) -> bool {
    let mut taken = false;
    for violation in violations {
        let Some((place, part)) = place(violation) else { continue };
        // A limit on length is one on each longer cell of the same column. An unknown class is so in each row.
        let Some((column, length)) = (match (part, batch.waiting().nth(place)) {
            ("plaintext" | "ciphertext", Some(cell)) => Some((cell.column, cell.payload.len())),
            ("subject", Some(cell)) => Some((cell.column, usize::MAX)),
            _ => None,
        }) else {
            continue;
        };
        let fault = Fault { reason: "INVALID_ARGUMENT".into(), message: violation.rule.clone().into() };
        let breaks =
            |(at, cell): &(usize, &mut Cell)| *at == place || (cell.column == column && cell.payload.len() >= length);
        for (_, cell) in batch.waiting().enumerate().filter(breaks) {
            cell.result = Some(Err(fault.clone()));
            taken = true;
        }
    }
    taken
}

/// Says which column a request is refused for, if it is for one.
fn with_column(failure: Failure, batch: &mut Batch, columns: &Columns) -> Failure {
    let cell = failure.broken().iter().find_map(place).and_then(|(place, _)| batch.waiting().nth(place));
    match cell.and_then(|cell| columns.mapped.get(cell.column)) {
        Some(column) => failure.hint(format!("this is about --map {}={}", column.name, column.class)),
        None => failure,
    }
}

/// Which of the waiting cells a violation is about, and which part of it.
fn place(violation: &Violation) -> Option<(usize, &str)> {
    let (place, part) = violation.field.strip_prefix("fields[")?.split_once("].")?;
    Some((place.parse().ok()?, part))
}

impl Totals {
    fn count(&mut self, batch: &Batch) {
        let failed = batch.faults().count();
        let add = |total: &mut u64, n: usize| *total = total.saturating_add(u64::try_from(n).unwrap_or(u64::MAX));
        add(&mut self.rows, batch.rows.len());
        add(&mut self.failed, failed);
        add(&mut self.done, batch.cells.len().saturating_sub(failed));
    }

    fn record(&mut self, entry: u64) {
        let (first, last) = self.entries.unwrap_or((entry, entry));
        self.entries = Some((first.min(entry), last.max(entry)));
    }
}

/// How long to wait before each further attempt.
const PAUSES_MILLIS: [u64; 3] = if cfg!(test) { [1, 1, 1] } else { [200, 1_000, 5_000] };
