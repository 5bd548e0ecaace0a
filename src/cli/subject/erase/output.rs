//! The file of `--out`: what became of each line of the file of customers.
//!
//! Its first line says which erasure it is of, so that no other is taken for done. A file without such a line was not written
//! here, and is never changed.

use std::{
    fs::{File, OpenOptions},
    io::{BufRead, BufReader, Read, Seek, SeekFrom, Write},
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

use ring::digest::{SHA256, digest};
use serde_json::{Value, json};

use super::{
    super::super::{answer::misfit, failure::Failure},
    erasures,
};
use crate::proto::v1::{
    ErasureReason, ErasureResult,
    erasure_result::Result::{Erased, Error},
};

/// The first line of a file: what is erased, of whom.
pub(super) struct Header(Value);

impl Header {
    /// The erasure of these categories, none for all, of the customers that a file with this content names.
    pub(super) fn new(tenant: &str, categories: &[String], content: &[u8]) -> Self {
        let mut categories = categories.to_vec();
        categories.sort();
        categories.dedup();
        Self(json!({
            "format": FORMAT,
            "tenant": tenant,
            "categories": (!categories.is_empty()).then_some(categories),
            "file_sha256": hex::encode(digest(&SHA256, content)),
        }))
    }

    /// Refuses another erasure's first line, and what is none.
    fn check(&self, out: &Path, line: &[u8]) -> Result<(), Failure> {
        let found: Value =
            line.strip_suffix(b"\n").and_then(|line| serde_json::from_slice(line).ok()).unwrap_or_default();
        if found.get("format") != self.0.get("format") {
            return Err(foreign(out));
        }
        let known =
            [("tenant", "another tenant"), ("categories", "other categories"), ("file_sha256", "another --file")];
        let other: Vec<&str> =
            known.into_iter().filter(|(name, _)| found.get(name) != self.0.get(name)).map(|(_, what)| what).collect();
        if other.is_empty() {
            return Ok(());
        }
        let message = format!("{}: is the output of another erasure, with {}", out.display(), other.join(" and "));
        Err(Failure::usage(message).hint("nothing was erased; name another --out, or run the same erasure again"))
    }
}

/// An open file, behind its last whole line.
pub(super) struct Output {
    file: File,
    /// The line of the file of customers that earlier runs have come to.
    pub(super) before: u64,
    /// How many were erased, by all runs.
    pub(super) erased: u64,
    /// How many were not, in all runs.
    pub(super) refused: u64,
}

impl Output {
    /// Opens the file, or makes it. A line that was cut off is cut away.
    ///
    /// # Errors
    /// [`Failure`] (usage) if it can't be, or is not of this erasure: then it was not changed.
    pub(super) fn open(out: &Path, header: &Header) -> Result<Self, Failure> {
        let failed = |error: std::io::Error| Failure::usage(format!("{}: {}", out.display(), error.kind()));
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).mode(0o600);
        let mut output = Self { file: options.open(out).map_err(failed)?, before: 0, erased: 0, refused: 0 };
        let mut lines = BufReader::new(&output.file);
        let mut line = Vec::new();
        lines.by_ref().take(HEADER_BYTES_MAX).read_until(b'\n', &mut line).map_err(failed)?;
        if line.is_empty() {
            // On the disk before anything is erased: a file that was begun is known again.
            writeln!(output.file, "{}", header.0).and_then(|()| output.file.sync_data()).map_err(failed)?;
            return Ok(output);
        }
        header.check(out, &line)?;
        let mut whole = line.len() as u64;
        loop {
            line.clear();
            // Bytes and no text: a certificate may be cut off within a character.
            lines.read_until(b'\n', &mut line).map_err(failed)?;
            if !line.ends_with(b"\n") {
                break;
            }
            let (number, is_erased) =
                read(&line).filter(|(number, _)| *number > output.before).ok_or_else(|| foreign(out))?;
            output.before = number;
            output.erased += u64::from(is_erased);
            output.refused += u64::from(!is_erased);
            whole += line.len() as u64;
        }
        output.file.set_len(whole).and_then(|()| output.file.seek(SeekFrom::Start(whole))).map_err(failed)?;
        Ok(output)
    }

    /// Writes what became of some lines, and waits until that is on the disk.
    ///
    /// # Errors
    /// [`Failure`] if it can't be written, or an answer is none.
    pub(super) fn add(&mut self, numbers: &[u64], results: &[ErasureResult]) -> Result<(), Failure> {
        if results.len() != numbers.len() {
            return Err(misfit());
        }
        let mut text = String::new();
        let (mut erased, mut refused) = (0, 0);
        for (number, result) in numbers.iter().zip(results) {
            let (line, is_erased) = line(*number, result).ok_or_else(misfit)?;
            text.push_str(&format!("{line}\n"));
            erased += u64::from(is_erased);
            refused += u64::from(!is_erased);
        }
        self.file.write_all(text.as_bytes()).and_then(|()| self.file.sync_data()).map_err(Failure::output)?;
        self.erased += erased;
        self.refused += refused;
        Ok(())
    }
}

fn foreign(out: &Path) -> Failure {
    Failure::usage(format!("{}: is not the output of this command", out.display()))
        .hint("nothing was erased, and the file was not changed; name another --out")
}

/// What is written of one line of the file, and whether it was erased. The customer's id is not repeated.
fn line(number: u64, result: &ErasureResult) -> Option<(Value, bool)> {
    match result.result.as_ref()? {
        Erased(_) => Some((json!({ "line": number, "erasures": erasures(result) }), true)),
        Error(error) => {
            let reason = match error.reason() {
                ErasureReason::UnknownSubject | ErasureReason::Held => error.reason().as_str_name(),
                ErasureReason::Unspecified => return None,
            };
            let reason = reason.trim_start_matches("ERASURE_REASON_");
            Some((json!({ "line": number, "error": reason, "message": error.message }), false))
        }
    }
}

/// A line read back: its number, and whether it was erased.
fn read(line: &[u8]) -> Option<(u64, bool)> {
    let line: Value = serde_json::from_slice(line).ok()?;
    let number = line.get("line")?.as_u64()?;
    match (line.get("erasures"), line.get("error")) {
        (Some(Value::Array(_)), None) => Some((number, true)),
        (None, Some(Value::String(_))) => Some((number, false)),
        (Some(_) | None, _) => None,
    }
}

const FORMAT: &str = "privet-erasures/v1";
/// More than a first line with every category of the biggest catalogue.
const HEADER_BYTES_MAX: u64 = 1 << 20;

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::proto::v1::ErasureError;

    fn header() -> Header {
        Header::new("acme", &["usage".into(), "account".into()], b"cust-1\n")
    }

    fn refused(reason: ErasureReason) -> ErasureResult {
        let error = ErasureError { reason: reason.into(), message: "hold CASE-7 stops it".into() };
        ErasureResult { result: Some(Error(error)) }
    }

    #[test]
    fn a_run_goes_on_behind_the_last_whole_line_and_counts_what_earlier_ones_refused() {
        let dir = tempfile::tempdir().unwrap();
        let out = dir.path().join("out.jsonl");
        let open = || Output::open(&out, &header()).unwrap();
        assert_eq!(open().before, 0);
        let head = fs::read(&out).unwrap();
        assert!(head.ends_with(b"\n") && open().before == 0 && fs::read(&out).unwrap() == head);

        // The last is cut off within a dash.
        let lines =
            b"{\"line\":1,\"erasures\":[]}\n{\"line\":3,\"error\":\"HELD\"}\n{\"line\":4,\"erasures\":[\"\xe2\x80";
        fs::write(&out, [&head[..], lines].concat()).unwrap();
        let mut output = open();
        assert_eq!((output.before, output.erased, output.refused), (3, 1, 1));
        output.add(&[4, 7], &[refused(ErasureReason::Held), refused(ErasureReason::UnknownSubject)]).unwrap();
        assert_eq!(output.refused, 3);
        let output = open();
        assert_eq!((output.before, output.erased, output.refused), (7, 1, 3));
    }

    #[test]
    fn a_file_of_another_erasure_is_refused_and_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let out = dir.path().join("out.jsonl");
        Output::open(&out, &header()).unwrap().add(&[1], &[refused(ErasureReason::Held)]).unwrap();
        let written = fs::read(&out).unwrap();
        let names = |names: &[&str]| names.iter().map(ToString::to_string).collect::<Vec<_>>();
        let both = names(&["account", "usage", "account"]);
        assert!(
            Output::open(&out, &Header::new("acme", &both, b"cust-1\n")).is_ok(),
            "in another order it is the same"
        );
        for (other, what) in [
            (Header::new("beta", &both, b"cust-1\n"), "with another tenant"),
            (Header::new("acme", &[], b"cust-1\n"), "with other categories"),
            (Header::new("acme", &names(&["usage"]), b"cust-1\n"), "with other categories"),
            (Header::new("acme", &both, b"cust-1"), "with another --file"),
            (Header::new("beta", &[], b"cust-2\n"), "with another tenant and other categories and another --file"),
        ] {
            let failure = Output::open(&out, &other).err().unwrap();
            assert!(failure.exit().code() == 2 && failure.to_string().ends_with(what), "{failure}");
            assert_eq!(fs::read(&out).unwrap(), written);
        }
    }

    #[test]
    fn a_file_that_was_written_elsewhere_is_never_changed() {
        let dir = tempfile::tempdir().unwrap();
        let out = dir.path().join("out.jsonl");
        let head = header().0.to_string();
        let behind = |lines: &str| format!("{head}\n{lines}").into_bytes();
        for foreign in [
            b"thesis".to_vec(),
            b"thesis\n".to_vec(),
            b"\n".to_vec(),
            b"\xff\xfe".to_vec(),
            b"{}".to_vec(),
            b"{\"line\":1,\"erasures\":[]}\n".to_vec(),
            // Without its line break the first line is none.
            head.clone().into_bytes(),
            behind("thesis\n"),
            behind("{\"line\":0,\"erasures\":[]}\n"),
            behind("{\"line\":2}\n"),
            behind("{\"line\":2,\"error\":\"HELD\"}\n{\"line\":2,\"error\":\"HELD\"}\n"),
        ] {
            fs::write(&out, &foreign).unwrap();
            let failure = Output::open(&out, &header()).err().unwrap();
            assert_eq!(failure.exit().code(), 2);
            assert_eq!(fs::read(&out).unwrap(), foreign, "nothing was changed");
        }
    }

    #[test]
    fn a_line_says_what_became_of_a_customer_and_not_who_it_was() {
        let (held, is_erased) = line(7, &refused(ErasureReason::Held)).unwrap();
        assert_eq!(held.to_string(), r#"{"error":"HELD","line":7,"message":"hold CASE-7 stops it"}"#);
        assert!(!is_erased);
        assert_eq!(line(7, &refused(ErasureReason::Unspecified)), None);
        assert_eq!(line(7, &ErasureResult { result: None }), None);
    }
}
