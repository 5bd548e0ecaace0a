//! `privet policy test`: asks the assertions of a directory's policy, and says of each whether it holds.

use std::path::PathBuf;

use clap::Args;
use serde_json::{Value, json};

use super::problems::{placed, read, show};
use crate::{
    cli::{
        answer::{put, put_json},
        failure::{Exit, Failure},
        table::plural,
        terminal::{Terminal, printable},
    },
    policy::{Asserted, Assertions, Verdict},
};

/// Ask a policy's assertions, and say which hold
#[derive(Args, Debug)]
pub struct Test {
    /// Directory with model.conf, policy.csv, catalogue.toml and assertions.toml
    #[arg(value_name = "DIR")]
    dir: PathBuf,
}

impl Test {
    /// Refused if an assertion does not hold, or the files are not sound.
    pub(super) fn run(&self, terminal: &Terminal) -> Result<Exit, Failure> {
        let assertions = match read(&self.dir) {
            Ok(document) => Assertions::run(&document).map_err(|problems| placed(&self.dir, problems)),
            Err(problems) => Err(problems),
        };
        let assertions = match assertions {
            Ok(assertions) => assertions,
            Err(problems) => return show(&problems, terminal),
        };
        let shown = if terminal.json {
            put_json(&value(&assertions))
        } else {
            put(text(&assertions, terminal.quiet, terminal.colour_stdout()).as_bytes())
        };
        if failures(&assertions) > 0 {
            // Whether or not anybody reads which.
            return Ok(Exit::Refused);
        }
        shown.map(|()| Exit::Ok)
    }
}

fn failures(assertions: &Assertions) -> usize {
    assertions.asserted.iter().filter(|asserted| asserted.failed > 0).count()
}

pub(super) fn text(assertions: &Assertions, quiet: bool, colours: bool) -> String {
    let paint = |code: &str, text: &str| if colours { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() };
    let mut text = String::new();
    for Asserted { line, why, expected, questions, failed, first_failure } in &assertions.asserted {
        let expected = verdict(*expected);
        let (why, questions) = (printable(why), plural(*questions as u64, "question"));
        match first_failure {
            None if quiet => {}
            None => text.push_str(&format!("{} {line:>4}  {expected:<5}  {why} ({questions})\n", paint("32", "✓"))),
            Some(first) => {
                let first = printable(first);
                text.push_str(&format!("{} {line:>4}  {expected:<5}  {why}\n", paint("31", "✗")));
                text.push_str(&format!("               {failed} of {questions} fail; the first: {first}\n"));
            }
        }
    }
    let (count, failures) = (assertions.asserted.len() as u64, failures(assertions) as u64);
    let decisions = plural(assertions.decisions as u64, "decision");
    text.push_str(&format!("{}, {}; {decisions}\n", plural(count, "assertion"), plural(failures, "failure")));
    text
}

pub(super) fn value(assertions: &Assertions) -> Value {
    let asserted = |asserted: &Asserted| {
        json!({
            "line": asserted.line,
            "why": asserted.why,
            "expected": verdict(asserted.expected),
            "questions": asserted.questions,
            "failed": asserted.failed,
            "first_failure": asserted.first_failure,
        })
    };
    let failures = failures(assertions);
    json!({
        "sound": true,
        "holds": failures == 0,
        "assertions": assertions.asserted.iter().map(asserted).collect::<Vec<_>>(),
        "failures": failures,
        "decisions": assertions.decisions,
    })
}

fn verdict(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Allow => "allow",
        Verdict::Deny => "deny",
    }
}
