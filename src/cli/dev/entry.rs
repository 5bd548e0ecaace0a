//! An entry of the log, as one reads it aloud.

use std::collections::HashSet;

use serde::Serialize;

use crate::proto::v1::{AuditEntry, Operation, Outcome as FieldOutcome};

/// An entry of the log, in words.
#[derive(Debug, Serialize)]
pub(super) struct Entry {
    pub(super) index: u64,
    pub(super) who: String,
    pub(super) did: String,
    pub(super) purpose: String,
    pub(super) verdict: String,
    pub(super) what: String,
}

impl From<&AuditEntry> for Entry {
    fn from(entry: &AuditEntry) -> Self {
        let plain = |name: &str, prefix| name.trim_start_matches(prefix).to_lowercase().replace('_', " ");
        let operation: Operation = entry.operation();
        Self {
            index: entry.index,
            who: entry.principal.rsplit('/').next().unwrap_or_default().to_owned(),
            did: plain(operation.as_str_name(), "OPERATION_"),
            purpose: entry.purpose.clone(),
            verdict: plain(entry.verdict().as_str_name(), "VERDICT_"),
            what: targets(entry, |outcome| plain(outcome.as_str_name(), "OUTCOME_")),
        }
    }
}

/// What became of which data: `1 account/email: opened`, `250 values of 6 classes: masked`.
fn targets(entry: &AuditEntry, plain: impl Fn(FieldOutcome) -> String) -> String {
    let outcome = match entry.targets.iter().map(|target| target.outcome()).collect::<HashSet<_>>().into_iter().next() {
        Some(outcome) if entry.targets.iter().all(|target| target.outcome() == outcome) => plain(outcome),
        Some(_) => "various".to_owned(),
        None => return String::new(),
    };
    match entry.targets.as_slice() {
        [one] => format!("{} {}: {outcome}", one.count, one.object.trim_start_matches("pii/")),
        several => {
            let classes = several.iter().map(|target| &target.object).collect::<HashSet<_>>().len();
            let classes = if classes == 1 { "1 class".to_owned() } else { format!("{classes} classes") };
            format!("{} values of {classes}: {outcome}", several.iter().map(|target| target.count).sum::<u32>())
        }
    }
}
