//! Why a command ended without doing what it was asked, and the exit code that says so.
//!
//! A failure names rules, files and tenants; never a value or a subject id.

use std::{fmt, io, process::ExitCode};

use serde_json::json;

use super::terminal::printable;
use crate::{
    audit::{self, anchor},
    store,
};

/// How a command ended, for the shell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// It did all that it was asked.
    Ok,
    /// It was refused, or a check failed.
    Refused,
    /// It was asked wrongly: usage, bad input, bad files.
    Usage,
    /// Nobody answered, or the answer can't be given now.
    Unavailable,
}

impl Exit {
    /// The number that the shell sees.
    pub fn code(self) -> u8 {
        match self {
            Self::Ok => 0,
            Self::Refused => 1,
            Self::Usage => 2,
            Self::Unavailable => 3,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

/// Why a command failed, for people and for machines.
#[derive(Debug)]
pub struct Failure {
    exit: Exit,
    message: String,
    reason: Option<String>,
    violations: Vec<Violation>,
    hint: Option<String>,
}

/// A part of a request that breaks a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Its path in the request, e.g. `fields[3].class`.
    pub field: String,
    /// What is asked of it.
    pub rule: String,
}

impl Failure {
    /// Asked wrongly: exit code 2.
    pub fn usage(message: impl Into<String>) -> Self {
        Self::new(Exit::Usage, message)
    }

    /// Refused: exit code 1.
    pub fn refused(message: impl Into<String>) -> Self {
        Self::new(Exit::Refused, message)
    }

    /// Not available: exit code 3.
    pub fn unavailable(message: impl Into<String>) -> Self {
        Self::new(Exit::Unavailable, message)
    }

    /// A command that could not do its work on this machine: unavailable if the store is at fault, else asked wrongly. A
    /// text of several lines becomes a message with its details.
    pub fn on_host(error: anyhow::Error) -> Self {
        let error = match error.downcast::<Self>() {
            Ok(failure) => return failure,
            Err(error) => error,
        };
        let in_use = |cause: &anchor::Error| matches!(cause, anchor::Error::InUse { .. });
        let of_store = error.chain().any(|cause| {
            cause.is::<store::Error>() || cause.is::<audit::Refused>() || cause.downcast_ref().is_some_and(in_use)
        });
        let text = format!("{error:#}");
        let mut lines = text.lines();
        let message = lines.next().unwrap_or_default().trim_end_matches(':').to_owned();
        let detail = |line: &str| {
            let (field, rule) = line.trim().split_once(": ").unwrap_or(("", line.trim()));
            Violation { field: field.to_owned(), rule: rule.to_owned() }
        };
        Self::new(if of_store { Exit::Unavailable } else { Exit::Usage }, message)
            .violations(lines.map(detail).collect())
    }

    /// Output that can't be written. That its reader went away, as in `| head`, is no fault: it ends quietly.
    pub fn output(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            return Self::new(Exit::Ok, "");
        }
        Self::unavailable(format!("the output can't be written: {error}"))
    }

    /// The machine-readable reason, if the server gave one.
    pub fn given_reason(&self) -> Option<&str> {
        self.reason.as_deref()
    }

    /// Adds what the user may do about it.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Adds the reason by which machines tell failures apart, in upper snake case.
    #[must_use]
    pub fn reason(mut self, reason: impl Into<String>) -> Self {
        self.reason = Some(reason.into());
        self
    }

    /// Adds the parts of the request that break a rule.
    #[must_use]
    pub fn violations(mut self, violations: Vec<Violation>) -> Self {
        self.violations = violations;
        self
    }

    /// The exit code.
    pub fn exit(&self) -> Exit {
        self.exit
    }

    /// The parts of the request that break a rule.
    pub fn broken(&self) -> &[Violation] {
        &self.violations
    }

    /// The failure for a terminal: what happened, which rules, what to do.
    pub fn for_people(&self, colour: bool) -> String {
        let (red, dim, plain) = if colour { ("\x1b[1;31m", "\x1b[2m", "\x1b[0m") } else { ("", "", "") };
        let mut text = format!("{red}error:{plain} {}\n", printable(&self.message));
        // A message that only repeats the one violation needs no second line.
        let told = |v: &&Violation| self.message != format!("{}: {}", v.field, v.rule);
        for Violation { field, rule } in self.violations.iter().filter(told) {
            text.push_str(&format!("  {}: {}\n", printable(field), printable(rule)));
        }
        if let Some(reason) = &self.reason {
            text.push_str(&format!("  {dim}reason: {}{plain}\n", printable(reason)));
        }
        if let Some(hint) = &self.hint {
            text.push_str(&format!("  {dim}hint: {}{plain}\n", printable(hint)));
        }
        text
    }

    /// The failure as one line of JSON.
    pub fn for_machines(&self) -> String {
        let violations = self.violations.iter().map(|v| json!({"field": v.field, "rule": v.rule}));
        let error = json!({
            "exit": self.exit.code(),
            "message": self.message,
            "reason": self.reason,
            "violations": violations.collect::<Vec<_>>(),
            "hint": self.hint,
        });
        format!("{}\n", json!({ "error": error }))
    }

    fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self { exit, message: message.into(), reason: None, violations: Vec::new(), hint: None }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Failure {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exit_codes_are_the_documented_ones() {
        let codes = [Exit::Ok, Exit::Refused, Exit::Usage, Exit::Unavailable].map(Exit::code);
        assert_eq!(codes, [0, 1, 2, 3]);
    }

    #[test]
    fn a_failure_says_what_which_rule_why_and_what_next() {
        let failure = Failure::usage("bad request")
            .reason("INVALID_ARGUMENT")
            .violations(vec![Violation { field: "fields[0].class".into(), rule: "must be known".into() }])
            .hint("look it up");
        assert_eq!(
            failure.for_people(false),
            "error: bad request\n  fields[0].class: must be known\n  reason: INVALID_ARGUMENT\n  hint: look it up\n"
        );
        let json: serde_json::Value = serde_json::from_str(&failure.for_machines()).unwrap();
        assert_eq!(json["error"]["exit"], 2);
        assert_eq!(json["error"]["violations"][0]["field"], "fields[0].class");
        assert!(failure.for_people(true).contains("\x1b[1;31merror:"));
    }

    #[test]
    fn a_hostile_message_can_not_drive_the_terminal() {
        let failure = Failure::refused("a\x1b]0;owned\x07b\nerror: all is well");
        assert_eq!(failure.for_people(false).lines().count(), 1);
        assert!(!failure.for_people(false).contains('\x1b'));
        assert_eq!(failure.for_machines().lines().count(), 1);
    }
}
