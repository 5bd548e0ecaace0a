//! How far a job is, and which cells failed, on standard error.
//!
//! People are shown the first few cells that fail for the same reason and how many more there are; machines get each.

use std::collections::BTreeMap;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::json;

use super::{
    super::{
        table::number,
        terminal::{Terminal, printable},
    },
    batch::Fault,
};

/// Progress and faults of one job.
pub(super) struct Report {
    bar: ProgressBar,
    json: bool,
    /// How many cells failed, by column and reason: both of few kinds.
    faults: BTreeMap<(String, String), u64>,
}

impl Report {
    /// A report on a job that reads `length` bytes; the bar shows only where somebody watches.
    pub(super) fn new(length: Option<u64>, terminal: &Terminal) -> Self {
        let target = if terminal.details() { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        let bar = ProgressBar::with_draw_target(length, target);
        let template = if length.is_some() { WITH_LENGTH } else { WITHOUT_LENGTH };
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style.progress_chars("█▉▊▋▌▍▎▏ "));
        }
        Self { bar, json: terminal.json, faults: BTreeMap::new() }
    }

    /// The bar, for who writes the rows.
    pub(super) fn progress(&self) -> ProgressBar {
        self.bar.clone()
    }

    /// Tells of a cell without result.
    pub(super) fn fault(&mut self, line: u64, column: &str, fault: &Fault) {
        if let Some(text) = self.told(line, column, fault) {
            self.bar.suspend(|| eprintln!("{text}"));
        }
    }

    /// Takes the bar away, and says how many cells were not told of.
    pub(super) fn finish(&self) {
        self.bar.finish_and_clear();
        self.untold().for_each(|text| eprintln!("{text}"));
    }

    fn told(&mut self, line: u64, column: &str, fault: &Fault) -> Option<String> {
        let alike = self.faults.entry((column.to_owned(), fault.reason.clone().into_owned())).or_default();
        *alike = alike.saturating_add(1);
        (self.json || *alike <= ALIKE_MAX).then(|| fault_text(line, column, fault, self.json))
    }

    fn untold(&self) -> impl Iterator<Item = String> {
        let more = |count: u64| count.checked_sub(ALIKE_MAX).filter(|more| *more > 0 && !self.json);
        self.faults.iter().filter_map(move |((column, reason), count)| {
            Some(format!("… and {} more of column {}: {}", number(more(*count)?), printable(column), printable(reason)))
        })
    }
}

fn fault_text(line: u64, column: &str, Fault { reason, message }: &Fault, json: bool) -> String {
    if json {
        json!({ "line": line, "column": column, "reason": reason, "message": message }).to_string()
    } else {
        format!("line {line}, column {}: {}: {}", printable(column), printable(reason), printable(message))
    }
}

/// Cells of one column told of for one reason.
const ALIKE_MAX: u64 = 10;
const WITH_LENGTH: &str = "{bar:40} {percent:>3}%  {msg}  {elapsed}, {eta} to go";
const WITHOUT_LENGTH: &str = "{spinner} {bytes} read  {msg}  {elapsed}";

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: Terminal = Terminal { json: false, quiet: true, stdout: false, stderr: false, colours: false };

    #[test]
    fn of_many_cells_that_fail_alike_people_are_told_ten_and_a_number_and_machines_all() {
        let (denied, wrong) = (Fault::new("DENIED", "no grant"), Fault::new("INVALID_VALUE", "too long"));
        let tell = |report: &mut Report, n: u64, column: &str, fault| {
            (0..n).filter(|line| report.told(*line, column, fault).is_some()).count()
        };
        let mut report = Report::new(None, &PLAIN);
        assert_eq!(tell(&mut report, 2_292, "email", &denied), 10);
        assert_eq!(tell(&mut report, 11, "email", &wrong), 10);
        assert_eq!(tell(&mut report, 10, "no\nte", &denied), 10);
        assert_eq!(
            report.untold().collect::<Vec<_>>(),
            ["… and 2,282 more of column email: DENIED", "… and 1 more of column email: INVALID_VALUE"]
        );
        let mut report = Report::new(None, &Terminal { json: true, ..PLAIN });
        assert_eq!((tell(&mut report, 12, "email", &denied), report.untold().count()), (12, 0));
    }

    #[test]
    fn a_fault_names_line_column_and_reason_on_one_line() {
        let fault = Fault::new("DENIED", "no grant");
        assert_eq!(fault_text(18, "e\nmail", &fault, false), "line 18, column e\\u{a}mail: DENIED: no grant");
        let json: serde_json::Value = serde_json::from_str(&fault_text(18, "email", &fault, true)).unwrap();
        assert_eq!((&json["line"], &json["column"], &json["reason"]), (&18.into(), &"email".into(), &"DENIED".into()));
    }
}
