//! `privet subject erase`: one subject, or a file of them.
//!
//! A file is worked through in requests of 1,000. What was done is written line by line to `--out`; a run that was cut off goes on
//! behind the last whole line there, and asking twice erases once.

mod output;

use std::{
    collections::HashSet,
    fs::File,
    io::Read,
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
use output::{Header, Output};

#[derive(Args)]
#[command(after_help = "\
A file has one customer's id a line. With it, --out gets a line of JSON for each: its line number
and its certificates, or why it was not erased. The first line of --out says of which tenant,
categories and file (SHA-256) it is. Run again with the same, it goes on where it stopped, and
counts what all runs have done; an --out of another erasure is refused.

The certificates of one customer are printed; verify-certificate takes them all together.

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
    // Signed notes, byte for byte; together they are what `verify-certificate` takes.
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
    let content = customers(file)?;
    let header = Header::new(&request.tenant, &request.categories, content.as_bytes());
    let mut out = Output::open(out, &header)?;
    let before = out.before;
    let hidden = !terminal.details();
    let target = if hidden { ProgressDrawTarget::hidden() } else { ProgressDrawTarget::stderr() };
    let bar = ProgressBar::with_draw_target(None, target);
    bar.set_style(
        ProgressStyle::with_template("{spinner} {pos} erased").unwrap_or_else(|_| ProgressStyle::default_bar()),
    );
    bar.inc(before);
    let mut ids = content.lines().zip(1u64..).filter(|(_, number)| *number > before);
    loop {
        let (numbers, subjects) = batch(&mut ids);
        if numbers.is_empty() {
            break;
        }
        let results = send(clients, &request, subjects).await?;
        out.add(&numbers, &results)?;
        bar.inc(numbers.len() as u64);
    }
    bar.finish_and_clear();
    let Output { erased, refused, .. } = out;
    if terminal.json {
        put_json(&json!({ "erased": erased, "refused": refused, "before": before }))?;
    } else if !terminal.quiet {
        let before = if before > 0 { format!("; went on behind line {before}") } else { String::new() };
        eprintln!("{} erased, {refused} refused{before}", plural(erased, "customer"));
    }
    Ok(if refused == 0 { Exit::Ok } else { Exit::Refused })
}

/// The file of customers, each line of it checked before any is erased. It is read at once: what the header of the output
/// says of it is true to the end.
fn customers(file: &Path) -> Result<String, Failure> {
    let failed = |what: String| Failure::usage(format!("{}: {what}", file.display()));
    let mut content = Vec::new();
    let open = File::open(file).map_err(|error| failed(error.kind().to_string()))?;
    open.take(FILE_BYTES_MAX + 1).read_to_end(&mut content).map_err(|error| failed(error.kind().to_string()))?;
    if content.len() as u64 > FILE_BYTES_MAX {
        return Err(failed("is longer than 256 MiB; split it".to_owned()));
    }
    let content = String::from_utf8(content).map_err(|_| failed("is no text".to_owned()))?;
    for (line, number) in content.lines().zip(1u64..) {
        Subject::parse(line.to_owned())
            .map_err(|invalid| Failure::usage(format!("{}:{number}: {invalid}", file.display())))?;
    }
    Ok(content)
}

/// The next request: numbers of lines, and whom they name; nobody twice.
fn batch<'a>(ids: &mut impl Iterator<Item = (&'a str, u64)>) -> (Vec<u64>, Vec<String>) {
    let mut known = HashSet::new();
    let new = ids.filter(|(id, _)| known.insert(*id));
    new.take(SUBJECTS_MAX).map(|(id, number)| (number, id.to_owned())).unzip()
}

/// Erases some: in halves, if their certificates don't fit an answer. Then nothing was done yet.
async fn send(
    clients: &Clients,
    request: &EraseSubjectsRequest,
    subjects: Vec<String>,
) -> Result<Vec<ErasureResult>, Failure> {
    let (mut results, mut parts) = (Vec::with_capacity(subjects.len()), vec![subjects]);
    while let Some(part) = parts.pop() {
        match send_part(clients, request, part.clone()).await {
            Ok(more) => results.extend(more),
            Err(failure) if failure.given_reason() == Some("ANSWER_TOO_LONG") && part.len() > 1 => {
                let (first, second) = part.split_at(part.len() / 2);
                parts.extend([second.to_vec(), first.to_vec()]);
            }
            Err(failure) => return Err(failure),
        }
    }
    Ok(results)
}

/// One request. A server refuses one about one subject as a whole.
async fn send_part(
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
    let of_line = is_one && [NOT_FOUND, FAILED_PRECONDITION].contains(&status.code());
    let message = status.message().to_owned();
    let failure = Failure::from(status);
    match of_subject(&failure) {
        Some(reason) if of_line => {
            let error = ErasureError { reason: reason.into(), message };
            Ok(vec![ErasureResult { result: Some(Error(error)) }])
        }
        // Of the tenant, the region or the server, and so of every line that follows.
        Some(_) | None => Err(failure),
    }
}

/// Why one subject was not erased, if that is why the request failed.
fn of_subject(failure: &Failure) -> Option<ErasureReason> {
    match failure.given_reason()? {
        "UNKNOWN_SUBJECT" => Some(ErasureReason::UnknownSubject),
        "HELD" => Some(ErasureReason::Held),
        _ => None,
    }
}

fn erasures(result: &ErasureResult) -> Vec<Value> {
    let Some(Erased(erased)) = &result.result else { return Vec::new() };
    let erasure = |one: &crate::proto::v1::Erasure| json!({ "id": hex::encode(&one.id), "now": one.now, "certificate": one.certificate });
    erased.erasures.iter().map(erasure).collect()
}

/// Some ten million ids.
const FILE_BYTES_MAX: u64 = 256 << 20;

#[cfg(test)]
mod tests {
    use std::{collections::HashMap, fs};

    use tonic::{Code, Status};
    use tonic_types::{ErrorDetails, StatusExt};

    use super::*;

    #[test]
    fn only_what_is_of_one_subject_becomes_its_line() {
        let reason = |code, reason: &str| {
            let details = ErrorDetails::with_error_info(reason, "privet.v1", HashMap::new());
            of_subject(&Status::with_error_details(code, "no", details).into())
        };
        assert_eq!(reason(Code::NotFound, "UNKNOWN_SUBJECT"), Some(ErasureReason::UnknownSubject));
        assert_eq!(reason(Code::FailedPrecondition, "HELD"), Some(ErasureReason::Held));
        for other in ["NO_TENANT", "OTHER_REGION", "TENANT_ENDING", "TENANT_DESTROYED", "NO_ROOM", "held", ""] {
            assert_eq!(
                [Code::NotFound, Code::FailedPrecondition].map(|code| reason(code, other)),
                [None; 2],
                "{other}"
            );
        }
        assert_eq!(of_subject(&Status::not_found("").into()), None);
    }

    #[test]
    fn requests_name_a_thousand_each_and_nobody_twice() {
        let content: String = (0..2_500).map(|n| format!("c{}\n", n / 2)).collect();
        let mut ids = content.lines().zip(1u64..);
        let mut batches = std::iter::from_fn(|| Some(batch(&mut ids)).filter(|(numbers, _)| !numbers.is_empty()));
        let (numbers, subjects) = batches.next().unwrap();
        assert_eq!(
            (numbers.len(), subjects.len(), numbers[999], subjects[999].as_str()),
            (1_000, 1_000, 1_999, "c999")
        );
        // It is filled without a look ahead: the next begins with the second line of its last.
        assert_eq!(batches.next().unwrap().0[..2], [2_000, 2_001]);
        assert!(batches.next().is_none());
    }

    #[test]
    fn a_file_is_checked_to_its_end_before_anybody_is_erased() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let read = |content: &[u8]| {
            fs::write(file.path(), content).unwrap();
            customers(file.path()).map_err(|failure| failure.to_string())
        };
        assert_eq!(read(b"cust-1\ncust-2").unwrap(), "cust-1\ncust-2");
        assert!(read(b"cust-1\n\ncust-2\n").unwrap_err().contains(":2: must be a subject id"));
        assert!(read(b"cust-1\n\xff\n").unwrap_err().ends_with("is no text"));
    }
}
