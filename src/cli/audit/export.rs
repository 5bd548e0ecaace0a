//! `privet audit export`: entries for elsewhere.
//!
//! The `privet` format is the verifiable one: every leaf of the log, with checkpoints. The others are views for SIEMs, one
//! line an entry, oldest first: whoever reads them trusts whoever made them.

mod verifiable;

use std::{
    io::{BufWriter, Write},
    path::{Path, PathBuf},
};

use clap::{Args, ValueEnum};

use super::{
    super::{
        client::Clients,
        failure::{Exit, Failure},
        options::Connection,
        output::{self, Opened, Output},
        table::number,
        terminal::Terminal,
    },
    cef, entry,
    filter::{Filter, Span},
    ocsf,
    pages::{PAGE_MAX, Pages, Progress},
};
use crate::{
    clock::{Clock, SystemClock},
    proto::v1::{AuditEntry, ListEntriesRequest, Order},
};

/// Write entries to a file: verifiable, or as a view for a SIEM
#[derive(Args)]
#[command(after_help = "\
Examples:
  privet audit export --out acme.privet
  privet audit export --format ocsf --since 2026-11-23 --until 2026-11-24 --out acme.ocsf.jsonl
A file is readable by its owner only, has its name once it is whole, and replaces none.")]
pub struct Export {
    /// What to write
    #[arg(long, value_enum, default_value_t = Format::Privet)]
    format: Format,
    /// File to write, which must not exist (- for standard output)
    #[arg(long, value_name = "FILE", default_value = "-", hide_default_value = true)]
    out: PathBuf,
    #[command(flatten)]
    filter: Filter,
    #[command(flatten)]
    span: Span,
    #[command(flatten)]
    connection: Connection,
}

/// A format of exports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// Every leaf of the log, for privet audit verify
    Privet,
    /// Entries as list --json shows them
    Jsonl,
    /// Open Cybersecurity Schema Framework 1.6.0
    Ocsf,
    /// ArcSight Common Event Format
    Cef,
}

/// What makes an entry a line.
type Line = fn(&AuditEntry) -> String;

impl Format {
    /// How this format writes an entry; `None` for the one that is no view of entries.
    fn line(self) -> Option<Line> {
        match self {
            Self::Privet => None,
            Self::Jsonl => Some(entry::json_line),
            Self::Ocsf => Some(ocsf::line),
            Self::Cef => Some(cef::line),
        }
    }
}

impl Export {
    pub(super) async fn run(self, terminal: &Terminal) -> Result<Exit, Failure> {
        output::check(&self.out, false)?;
        let Some(line) = self.format.line() else {
            return self.verifiable(terminal).await;
        };
        let now_micros = SystemClock::start().wall_micros();
        let request = self.filter.list(&self.span, Order::OldestFirst, now_micros)?;
        let now_secs = i64::try_from(now_micros / 1_000_000).unwrap_or(i64::MAX);
        let start = request.start_time.map(|time| time.seconds);
        let end = request.end_time.map_or(now_secs, |time| time.seconds.min(now_secs));
        let mut progress = Progress::new(start, end, terminal);
        let clients = self.connection.open().await?;
        let written = tokio::select! {
            written = view(clients, request, line, &self.out, &mut progress) => written,
            _ = tokio::signal::ctrl_c() => Err(Failure::refused("interrupted; the output is not complete")),
        };
        progress.finish();
        written?;
        if terminal.details() {
            let plural = if progress.listed() == 1 { "y" } else { "ies" };
            eprintln!("{} entr{plural}", number(progress.listed()));
        }
        Ok(Exit::Ok)
    }

    /// The format that proves itself. What it leaves out can't be chosen: a filter would make it prove nothing.
    async fn verifiable(self, terminal: &Terminal) -> Result<Exit, Failure> {
        if self.filter.narrows() || self.span.narrows() {
            return Err(Failure::usage("a verifiable export has all entries: it takes no filters and no times")
                .hint("--format jsonl, ocsf or cef writes some of them"));
        }
        let (tenant, request_id) = (self.filter.tenant.clone(), self.filter.request_id.to_string());
        let clients = self.connection.open().await?;
        let leaves = tokio::select! {
            written = verifiable::write(&clients, &tenant, request_id, &self.out, terminal) => written?,
            _ = tokio::signal::ctrl_c() => return Err(Failure::refused("interrupted; the output is not complete")),
        };
        if terminal.details() {
            eprintln!(
                "{} leaves of the log; verify them with: privet audit verify {} --verifier-key KEY",
                number(leaves),
                self.out.display()
            );
        }
        Ok(Exit::Ok)
    }
}

/// Writes all entries that match, each as a line.
async fn view(
    clients: Clients,
    request: ListEntriesRequest,
    line: Line,
    out: &Path,
    progress: &mut Progress,
) -> Result<(), Failure> {
    let output = Output::create(out, false)?;
    let (writer, file): Opened = output.open()?;
    let mut writer = BufWriter::new(writer);
    let mut pages = Pages::new(clients, request);
    while let Some(entries) = pages.next(PAGE_MAX).await? {
        for entry in &entries {
            writer.write_all(line(entry).as_bytes()).map_err(Failure::output)?;
        }
        progress.page(&entries);
    }
    writer.flush().map_err(Failure::output)?;
    file.map_or(Ok(()), |file| file.sync_all()).map_err(Failure::output)?;
    output.keep()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::cli::{audit::golden, client::fake::audit as fake};

    const PLAIN: Terminal = Terminal { json: false, quiet: true, stdout: false, stderr: false, colours: false };

    async fn export(log: &fake::Log, format: Format, out: &Path) -> Result<(), Failure> {
        let request = ListEntriesRequest { order: Order::OldestFirst.into(), ..Default::default() };
        let mut progress = Progress::new(None, golden::NOW_SECS, &PLAIN);
        view(log.clients().await, request, format.line().unwrap(), out, &mut progress).await
    }

    #[tokio::test]
    async fn views_are_the_golden_ones_with_a_line_an_entry_oldest_first() {
        let log = fake::Log::of(golden::entries());
        let dir = tempfile::tempdir().unwrap();
        for (format, file) in
            [(Format::Jsonl, "export.jsonl"), (Format::Ocsf, "export.ocsf.jsonl"), (Format::Cef, "export.cef")]
        {
            let out = dir.path().join(file);
            export(&log, format, &out).await.unwrap();
            let text = fs::read_to_string(&out).unwrap();
            assert_eq!(u64::try_from(text.lines().count()).unwrap(), log.size());
            golden::check(file, &text);
            assert!(export(&log, format, &out).await.is_err(), "no file is replaced");
        }
    }

    #[tokio::test]
    async fn an_export_that_breaks_off_leaves_no_file() {
        let log = fake::Log::of(golden::entries());
        log.set(fake::Tamper::Denied);
        let dir = tempfile::tempdir().unwrap();
        assert!(export(&log, Format::Cef, &dir.path().join("out")).await.is_err());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn no_view_lets_hostile_text_out_of_its_line() {
        for format in [Format::Jsonl, Format::Ocsf, Format::Cef] {
            let line = format.line().unwrap()(&golden::hostile());
            let body = line.strip_suffix('\n').unwrap();
            assert!(!body.contains(|c: char| c.is_control() || c == '\u{202e}'), "{format:?}: {body:?}");
        }
    }
}
