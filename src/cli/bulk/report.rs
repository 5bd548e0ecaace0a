//! How far a job is, and which cells failed, on standard error.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::json;

use super::{
    super::terminal::{Terminal, printable},
    batch::Fault,
};

/// Progress and faults of one job.
pub(super) struct Report {
    bar: ProgressBar,
    json: bool,
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
        Self { bar, json: terminal.json }
    }

    /// The bar, for who writes the rows.
    pub(super) fn progress(&self) -> ProgressBar {
        self.bar.clone()
    }

    /// Tells of a cell without result.
    pub(super) fn fault(&self, line: u64, column: &str, fault: &Fault) {
        let text = fault_text(line, column, fault, self.json);
        self.bar.suspend(|| eprintln!("{text}"));
    }

    /// Takes the bar away.
    pub(super) fn finish(&self) {
        self.bar.finish_and_clear();
    }
}

fn fault_text(line: u64, column: &str, Fault { reason, message }: &Fault, json: bool) -> String {
    if json {
        json!({ "line": line, "column": column, "reason": reason, "message": message }).to_string()
    } else {
        format!("line {line}, column {}: {}: {}", printable(column), printable(reason), printable(message))
    }
}

const WITH_LENGTH: &str = "{bar:40} {percent:>3}%  {msg}  {elapsed}, {eta} to go";
const WITHOUT_LENGTH: &str = "{spinner} {bytes} read  {msg}  {elapsed}";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_names_line_column_and_reason_on_one_line() {
        let fault = Fault::new("DENIED", "no grant");
        assert_eq!(fault_text(18, "e\nmail", &fault, false), "line 18, column e\\u{a}mail: DENIED: no grant");
        let json: serde_json::Value = serde_json::from_str(&fault_text(18, "email", &fault, true)).unwrap();
        assert_eq!((&json["line"], &json["column"], &json["reason"]), (&18.into(), &"email".into(), &"DENIED".into()));
    }
}
