//! What a verification came to, for people and for machines.

use base64::{Engine, prelude::BASE64_STANDARD};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::{Value, json};

use super::{
    super::super::{
        answer::{put, put_json},
        failure::{Exit, Failure},
        table::{number, plural},
        terminal::{Terminal, printable},
    },
    Outcome, misasked,
};
use crate::audit::verify::{Finding, Found, Signed, Verified};

/// Tells what a verification came to, and with which exit code.
pub(super) fn tell(outcome: &Outcome, terminal: &Terminal) -> Result<Exit, Failure> {
    if let Err(found) = &outcome.result
        && let Some(failure) = misasked(&found.finding)
    {
        return Err(failure);
    }
    if terminal.json {
        put_json(&machine(outcome))?
    } else {
        put(human(outcome, terminal).as_bytes())?
    }
    if let (true, Some(file)) = (terminal.details(), &outcome.saved) {
        eprintln!("remembered in {}", file.display());
    }
    Ok(if outcome.result.is_ok() { Exit::Ok } else { Exit::Refused })
}

/// How far into a file of so many bytes.
pub(super) fn bar(bytes: Option<u64>, terminal: &Terminal) -> ProgressBar {
    styled(bytes, if bytes.is_some() { OF_BYTES } else { OF_INPUT }, terminal)
}

/// How far into so many entries.
pub(in super::super) fn bar_of_entries(entries: u64, terminal: &Terminal) -> ProgressBar {
    styled(Some(entries), OF_ENTRIES, terminal)
}

fn styled(length: Option<u64>, template: &str, terminal: &Terminal) -> ProgressBar {
    let target = if terminal.details() { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
    let bar = ProgressBar::with_draw_target(length, target);
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style.progress_chars("█▉▊▋▌▍▎▏ "));
    }
    bar
}

pub(super) fn human(outcome: &Outcome, terminal: &Terminal) -> String {
    let (green, red, plain) =
        if terminal.colour_stdout() { ("\x1b[1;32m", "\x1b[1;31m", "\x1b[0m") } else { ("", "", "") };
    let Outcome { origin, tenant, remembered, .. } = outcome;
    let log = format!("{} for {tenant}", printable(origin));
    match &outcome.result {
        Ok(Verified { start, size, root, shown, deleted, state }) => {
            let mut text =
                format!("{green}verified{plain}  {log}: {}\n", plural(*size, "entry").replace("entrys", "entries"));
            text.push_str(&format!("  root     {}\n", BASE64_STANDARD.encode(root)));
            text.push_str(&format!("  shown    {} of {tenant}, numbered without a gap\n", number(*shown)));
            if *deleted > 0 {
                text.push_str(&format!("  deleted  {} of {tenant}, by recorded retention\n", number(*deleted)));
            }
            if *remembered > 0 {
                text.push_str(&format!("  agrees with the {} entries verified before\n", number(*remembered)));
            } else if state.is_none() && *start > 0 {
                text.push_str(&format!("  entries before {} were not looked at\n", number(*start)));
            }
            text
        }
        Err(found) => {
            let finding = &found.finding;
            // The head is the first line, and what is wrong in it says so.
            let line = outcome.line.filter(|line| *line > 1 && !matches!(finding, Finding::Line(_)));
            let line = line.map(|line| format!(" (read up to line {line})")).unwrap_or_default();
            let finding = finding.to_string();
            format!(
                "{red}NOT VERIFIED{plain}  {log}\n  {}{line}\n  {}\n",
                printable(&finding),
                in_words(&found.finding, found.signed)
            )
        }
    }
}

/// What an auditor has to know next: whom to ask.
fn in_words(finding: &Finding, signed: Signed) -> &'static str {
    if let Finding::Line(_) = finding {
        return "the file was damaged or changed, or is no export: get it again";
    }
    if let Finding::Truncated { .. } = finding {
        return "if it is an older export, verify it by itself, with another --state directory";
    }
    match signed {
        Signed::Yes => "the log's own key has signed this: whoever keeps the log wrote or shows it so",
        Signed::No => "the log's own key has signed something else: this was changed after it was signed",
        Signed::Unknown => "whether the log's own key has signed this can't be told from here",
    }
}

pub(super) fn machine(outcome: &Outcome) -> Value {
    let Outcome { origin, tenant, remembered, line, .. } = outcome;
    match &outcome.result {
        Ok(Verified { start, size, root, shown, deleted, .. }) => json!({
            "verified": true,
            "origin": origin,
            "tenant": tenant.as_str(),
            "start": start,
            "size": size,
            "root": hex::encode(root),
            "shown": shown,
            "deleted": deleted,
            "remembered": remembered,
        }),
        Err(Found { finding, signed }) => {
            let range = finding.range();
            let (first, end) = if range.is_empty() { (None, None) } else { (Some(range.start), Some(range.end)) };
            json!({
                "verified": false,
                "origin": origin,
                "tenant": tenant.as_str(),
                "finding": finding.name(),
                "message": finding.to_string(),
                "first_index": first,
                "end_index": end,
                "line": line,
                "signed": match signed {
                    Signed::Yes => Some(true),
                    Signed::No => Some(false),
                    Signed::Unknown => None,
                },
            })
        }
    }
}

const OF_BYTES: &str = "{bar:40} {percent:>3}%  {bytes} of {total_bytes}  {elapsed}, {eta} to go";
const OF_INPUT: &str = "{spinner} {bytes} read  {elapsed}";
const OF_ENTRIES: &str = "{bar:40} {percent:>3}%  {pos} of {len} entries  {elapsed}, {eta} to go";
