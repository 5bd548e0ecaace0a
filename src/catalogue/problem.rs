//! What is wrong with a file of the policy document, and where.
//!
//! A message may name what has passed its rule (a class, a role, a purpose, a grant id), never a principal and never text that
//! failed its rule: a policy file lands in logs and terminals, and a typo in it may be anything.

use std::fmt;

/// One thing wrong with one file: `policies/policy.csv:12: field act: …`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
pub struct Problem {
    /// The file, as a reader finds it.
    pub file: String,
    /// The line, from 1; `None` where the whole file is meant.
    pub line: Option<usize>,
    /// The field of the line, where there is one to point at.
    pub field: Option<&'static str>,
    /// What is wrong and what is asked for.
    pub message: String,
}

impl Problem {
    /// A problem with the whole file.
    pub fn of_file(file: &str, message: impl Into<String>) -> Self {
        Self { file: file.into(), line: None, field: None, message: message.into() }
    }

    /// A problem with one line.
    pub fn of_line(file: &str, line: usize, message: impl Into<String>) -> Self {
        Self { file: file.into(), line: Some(line), field: None, message: message.into() }
    }

    /// A problem with one field of a line.
    pub fn of_field(file: &str, line: usize, field: &'static str, message: impl Into<String>) -> Self {
        Self { file: file.into(), line: Some(line), field: Some(field), message: message.into() }
    }
}

impl Problem {
    /// Where it is: `policies/policy.csv:12: field act`.
    pub fn place(&self) -> String {
        let line = self.line.map(|line| format!(":{line}")).unwrap_or_default();
        let field = self.field.map(|field| format!(": field {field}")).unwrap_or_default();
        format!("{}{line}{field}", self.file)
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place(), self.message)
    }
}

/// The line, from 1, that byte `offset` of `text` lies on.
pub(crate) fn line_at(text: &str, offset: usize) -> usize {
    1 + text.bytes().take(offset).filter(|byte| *byte == b'\n').count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_reads_as_file_line_field_message() {
        let problem = Problem::of_field("policies/policy.csv", 12, "act", "must be an action");
        assert_eq!(problem.to_string(), "policies/policy.csv:12: field act: must be an action");
        assert_eq!(Problem::of_line("p", 3, "x").to_string(), "p:3: x");
        assert_eq!(Problem::of_file("p", "x").to_string(), "p: x");
    }

    #[test]
    fn an_offset_is_on_the_line_whose_newline_is_not_yet_passed() {
        assert_eq!([0, 1, 2, 3, 99].map(|offset| line_at("a\nb\n", offset)), [1, 1, 2, 2, 3]);
    }
}
