//! `privet subject erase`: one subject, or a file of them.
//!
//! A file is worked through in requests of 1,000. What was done is written line by line to `--out`; a run that was cut off goes on
//! behind the last whole line there, and asking twice erases once.

use std::{
    fs::{File, OpenOptions},
    io::{BufRead, BufReader, Seek, SeekFrom, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use clap::Args;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::{Value, json};

use super::{
    super::{
        answer::{misfit, put_json},
        client::{Clients, FAILED_PRECONDITION, NOT_FOUND},
        failure::{Exit, Failure},
        table::plural,
        terminal::Terminal,
    },
    Acting, Whom, say,
};
use crate::{
    id::{Category, Subject},
    operations::subjects::erase::SUBJECTS_MAX,
    proto::v1::{
        EraseSubjectsRequest, ErasureError, ErasureReason, ErasureResult,
        erasure_result::Result::{Erased, Error},
    },
};

#[derive(Args)]
#[command(after_help = "\
A file has one customer's id a line. With it, --out gets a line of JSON for each: its line number and
its certificates, or why it was not erased. Run again with the same files, it goes on where it stopped.

Examples:
  privet subject erase --subject cust-42 --yes
  privet subject erase --file leavers.txt --category usage --out erased.jsonl --yes")]
pub struct Erase {
    #[command(flatten)]
    whom: Whom,
    /// File of customers' ids, one a line
    #[arg(long, value_name = "FILE", conflicts_with_all = ["subject", "subject_file"], requires = "out")]
    file: Option<PathBuf>,
    /// Where certificates go, with --file
    #[arg(long, value_name = "FILE", requires = "file")]
    out: Option<PathBuf>,
    /// Only this category; may be given again [default: all]
    #[arg(long = "category", value_name = "NAME", value_parser = Category::parse)]
    categories: Vec<Category>,
    /// Confirm: erasing is final
    #[arg(long, required = true)]
    yes: bool,
    #[command(flatten)]
    acting: Acting,
}

impl Erase {
    pub(super) async fn run(self, terminal: &Terminal) -> Result<Exit, Failure> {
        let Self { whom, file, out, categories, acting, yes: _ } = self;
        let Acting { tenant, reference, request_id, connection } = acting;
        let request = EraseSubjectsRequest {
            tenant: tenant.to_string(),
            categories: categories.iter().map(ToString::to_string).collect(),
            request_id: request_id.to_string(),
            reference: reference.to_string(),
            ..Default::default()
        };
        match file.zip(out) {
            Some((file, out)) => many(request, &connection.open().await?, &file, &out, terminal).await,
            None => {
                let request = EraseSubjectsRequest { subjects: vec![whom.id()?.expose().to_owned()], ..request };
                one(request, &connection.open().await?, terminal).await
            }
        }
    }
}

async fn one(request: EraseSubjectsRequest, clients: &Clients, terminal: &Terminal) -> Result<Exit, Failure> {
    let answer = clients.subjects().erase_subjects(request).await?.into_inner();
    let result = answer.results.first().ok_or_else(misfit)?;
    let Some(Erased(erased)) = &result.result else { return Err(misfit()) };
    // Signed notes, byte for byte.
    let text: String = erased.erasures.iter().map(|one| one.certificate.as_str()).collect::<Vec<_>>().join("\n");
    say(&text, json!({ "erasures": erasures(result) }), &answer.receipts, terminal)
}

async fn many(
    request: EraseSubjectsRequest,
    clients: &Clients,
    file: &Path,
    out: &Path,
    terminal: &Terminal,
) -> Result<Exit, Failure> {
    let unreadable = |error: std::io::Error| Failure::usage(format!("{}: {}", file.display(), error.kind()));
    let lines = BufReader::new(File::open(file).map_err(unreadable)?).lines();
    let (mut out, done) = resume(out)?;
    let hidden = !terminal.details();
    let target = if hidden { ProgressDrawTarget::hidden() } else { ProgressDrawTarget::stderr() };
    let bar = ProgressBar::with_draw_target(None, target);
    bar.set_style(
        ProgressStyle::with_template("{spinner} {pos} erased").unwrap_or_else(|_| ProgressStyle::default_bar()),
    );
    bar.inc(done);
    let (mut erased, mut refused) = (0u64, 0u64);
    let mut batch: Vec<(u64, String)> = Vec::new();
    let mut numbered = lines.zip(1u64..);
    loop {
        let next = numbered.next();
        if let Some((line, number)) = next {
            let line = line.map_err(unreadable)?;
            // Each line is checked, those before the place to go on, too: it is the same file, or an error.
            let subject = Subject::parse(line)
                .map_err(|invalid| Failure::usage(format!("{}:{number}: {invalid}", file.display())))?;
            if number > done && !batch.iter().any(|(_, known)| known == subject.expose()) {
                batch.push((number, subject.expose().to_owned()));
            }
            if batch.len() < SUBJECTS_MAX {
                continue;
            }
        }
        let finished = batch.len() < SUBJECTS_MAX;
        if !batch.is_empty() {
            let (numbers, subjects): (Vec<u64>, Vec<String>) = std::mem::take(&mut batch).into_iter().unzip();
            let results = send(clients, &request, subjects).await?;
            if results.len() != numbers.len() {
                return Err(misfit());
            }
            let mut text = Vec::new();
            for (number, result) in numbers.iter().zip(&results) {
                let is_erased = matches!(result.result, Some(Erased(_)));
                erased += u64::from(is_erased);
                refused += u64::from(!is_erased);
                let _ = writeln!(text, "{}", line(*number, result));
            }
            out.write_all(&text).and_then(|()| out.sync_data()).map_err(Failure::output)?;
            bar.inc(numbers.len() as u64);
        }
        if finished {
            break;
        }
    }
    bar.finish_and_clear();
    if terminal.json {
        put_json(&json!({ "erased": erased, "refused": refused, "before": done }))?;
    } else if !terminal.quiet {
        let before = if done > 0 { format!("; went on behind line {done}") } else { String::new() };
        eprintln!("{} erased, {refused} refused{before}", plural(erased, "customer"));
    }
    Ok(if refused == 0 { Exit::Ok } else { Exit::Refused })
}

/// Erases some. A server refuses a request about one subject as a whole.
async fn send(
    clients: &Clients,
    request: &EraseSubjectsRequest,
    subjects: Vec<String>,
) -> Result<Vec<ErasureResult>, Failure> {
    let is_one = subjects.len() == 1;
    let request = EraseSubjectsRequest { subjects, ..request.clone() };
    let status = match clients.subjects().erase_subjects(request).await {
        Ok(answer) => return Ok(answer.into_inner().results),
        Err(status) => status,
    };
    let known = [(NOT_FOUND, ErasureReason::UnknownSubject), (FAILED_PRECONDITION, ErasureReason::Held)];
    let reason = known.into_iter().find(|(code, _)| is_one && status.code() == *code);
    let Some((_, reason)) = reason else { return Err(status.into()) };
    let error = ErasureError { reason: reason.into(), message: status.message().to_owned() };
    Ok(vec![ErasureResult { result: Some(Error(error)) }])
}

/// What is written of one line of the file. The customer's id is not repeated.
fn line(number: u64, result: &ErasureResult) -> Value {
    match &result.result {
        Some(Error(error)) => {
            let reason = error.reason().as_str_name().trim_start_matches("ERASURE_REASON_");
            json!({ "line": number, "error": reason, "message": error.message })
        }
        Some(Erased(_)) | None => json!({ "line": number, "erasures": erasures(result) }),
    }
}

fn erasures(result: &ErasureResult) -> Vec<Value> {
    let Some(Erased(erased)) = &result.result else { return Vec::new() };
    let erasure = |one: &crate::proto::v1::Erasure| json!({ "id": hex::encode(&one.id), "now": one.now, "certificate": one.certificate });
    erased.erasures.iter().map(erasure).collect()
}

/// Opens the output and says which line of the input its last whole line is about. What was cut off is cut away.
fn resume(out: &Path) -> Result<(File, u64), Failure> {
    let failed = |error: std::io::Error| Failure::usage(format!("{}: {}", out.display(), error.kind()));
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).mode(0o600);
    let mut file = options.open(out).map_err(failed)?;
    let (mut whole, mut done) = (0, 0);
    let mut lines = BufReader::new(&mut file);
    let mut line = String::new();
    while lines.read_line(&mut line).map_err(failed)? > 0 && line.ends_with('\n') {
        let number = serde_json::from_str::<Value>(&line).ok().and_then(|line| line.get("line")?.as_u64());
        let next = number.filter(|number| *number > done);
        done = next.ok_or_else(|| Failure::usage(format!("{}: is not the output of this command", out.display())))?;
        whole += line.len() as u64;
        line.clear();
    }
    file.set_len(whole).and_then(|()| file.seek(SeekFrom::Start(whole))).map_err(failed)?;
    Ok((file, done))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_goes_on_behind_the_last_whole_line() {
        let dir = tempfile::tempdir().unwrap();
        let out = dir.path().join("out.jsonl");
        assert_eq!(resume(&out).unwrap().1, 0);
        std::fs::write(&out, "{\"line\":1,\"erasures\":[]}\n{\"line\":3,\"error\":\"HELD\"}\n{\"line\":4,\"er")
            .unwrap();
        let (mut file, done) = resume(&out).unwrap();
        assert_eq!(done, 3);
        file.write_all(b"{\"line\":4}\n").unwrap();
        assert_eq!(resume(&out).unwrap().1, 4);
        for foreign in ["thesis\n", "{\"line\":2}\n{\"line\":2}\n", "{\"line\":0}\n", "[]\n"] {
            std::fs::write(&out, foreign).unwrap();
            assert!(resume(&out).is_err(), "{foreign}");
            assert_eq!(std::fs::read_to_string(&out).unwrap(), foreign, "nothing was changed");
        }
    }

    #[test]
    fn a_line_says_what_became_of_a_customer_and_not_who_it_was() {
        let held = ErasureError { reason: ErasureReason::Held.into(), message: "hold CASE-7 stops it".into() };
        let held = ErasureResult { result: Some(Error(held)) };
        assert_eq!(line(7, &held).to_string(), r#"{"error":"HELD","line":7,"message":"hold CASE-7 stops it"}"#);
    }
}
