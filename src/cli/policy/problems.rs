//! What is wrong with the files of a directory, for people and for machines.

use std::path::Path;

use serde_json::{Value, json};

use crate::{
    catalogue::Problem,
    cli::{
        answer::{put, put_json},
        failure::{Exit, Failure},
        table::plural,
        terminal::{Terminal, printable},
    },
    policy::{Document, Sources},
};

/// Reads the document of a directory.
///
/// # Errors
/// Every problem, with its file as it lies on this disk.
pub(super) fn read(dir: &Path) -> Result<Document, Vec<Problem>> {
    let sources = Sources::read(dir)?;
    Document::read(sources).map_err(|problems| placed(dir, problems))
}

/// The problems with their files as they lie on this disk.
pub(in crate::cli) fn placed(dir: &Path, problems: Vec<Problem>) -> Vec<Problem> {
    let place = |problem: Problem| {
        let name = Path::new(&problem.file).file_name().unwrap_or_default();
        Problem { file: dir.join(name).display().to_string(), ..problem }
    };
    problems.into_iter().map(place).collect()
}

/// Shows what keeps a directory from being a policy: a failed check, whether or not anybody reads why.
pub(super) fn show(problems: &[Problem], terminal: &Terminal) -> Result<Exit, Failure> {
    let shown = if terminal.json {
        put_json(&json!({ "sound": false, "problems": values(problems) }))
    } else {
        put(text(problems).as_bytes())
    };
    match shown {
        Err(failure) if failure.exit() != Exit::Ok => Err(failure),
        Ok(()) | Err(_) => Ok(Exit::Refused),
    }
}

/// One line a problem, and their number.
pub(super) fn text(problems: &[Problem]) -> String {
    let lines: String = problems.iter().map(|problem| format!("{}\n", printable(&problem.to_string()))).collect();
    format!("{lines}{}\n", plural(problems.len() as u64, "problem"))
}

/// Problems for machines.
pub(super) fn values(problems: &[Problem]) -> Value {
    let value = |Problem { file, line, field, message }: &Problem| json!({ "file": file, "line": line, "field": field, "message": message });
    problems.iter().map(value).collect()
}
