//! Verifies a file, or standard input.

use std::{
    fs::{File, Metadata},
    io::{self, BufRead, BufReader, Seek, SeekFrom},
    path::Path,
};

use indicatif::ProgressBar;

use super::{
    super::super::{failure::Failure, input, terminal::Terminal},
    Ask, Outcome,
    memory::{Memory, Saved, Unfinished},
    report,
};
use crate::{
    audit::{
        export::{Head, Line, Reader, read},
        verify::{Finding, Found, Signed, State, Verified, Verifier},
    },
    id::Tenant,
};

/// Verifies.
pub(super) fn run(file: Option<&Path>, ask: &Ask, terminal: &Terminal) -> Result<Outcome, Failure> {
    let Some(path) = file else {
        let bar = report::bar(None, terminal);
        let opened = Reader::open(io::stdin().lock());
        return with_head(opened, None, ask, |_, _| Ok(()), &bar);
    };
    let unread = |error| Failure::usage(format!("{}: {error}", input::name(Some(path))));
    let open = File::open(path).map_err(unread)?;
    let metadata = open.metadata().map_err(unread)?;
    let bar = report::bar(Some(metadata.len()), terminal);
    let seek = |reader: &mut Reader<BufReader<File>>, to: &Unfinished| {
        reader.get_mut().seek(SeekFrom::Start(to.offset)).map(drop).map_err(unread)
    };
    let opened = Reader::open(BufReader::with_capacity(BUFFER_BYTES, open));
    with_head(opened, Some(&metadata), ask, seek, &bar)
}

fn with_head<R: BufRead>(
    opened: Result<(Head, Reader<R>), read::Error>,
    file: Option<&Metadata>,
    ask: &Ask,
    seek: impl Fn(&mut Reader<R>, &Unfinished) -> Result<(), Failure>,
    bar: &ProgressBar,
) -> Result<Outcome, Failure> {
    let (mut head, mut reader) = match opened {
        Ok(opened) => opened,
        Err(error) => {
            let found = Found { finding: of_line(error)?, signed: Signed::Unknown };
            let tenant = ask.trust.tenant.clone().unwrap_or_else(Tenant::system);
            return Ok(outcome(ask, tenant, 0, (Err(found), Some(1))));
        }
    };
    let memory = ask.memory(&head.tenant);
    let saved = if ask.fresh { None } else { memory.read()? };
    let remembered = saved.as_ref().map_or(0, |saved| saved.verified.size());
    let unfinished = saved.as_ref().and_then(|saved| saved.unfinished).filter(|at| file.is_some_and(|f| at.is_in(f)));
    if let Some(at) = unfinished {
        // Everything before is verified, and the file is the same.
        seek(&mut reader, &at)?;
        reader.skipped_to(at.offset, at.line, remembered);
        head.start = remembered;
    }
    let tenant = head.tenant.clone();
    let mut work = Work { reader, file, memory, save_every: ask.save_every, bar };
    let result = work.verify(ask, &head, saved.map(|Saved { verified, .. }| verified))?;
    bar.finish_and_clear();
    let mut outcome = outcome(ask, tenant, remembered, (result, Some(work.reader.line())));
    outcome.saved = remember(&work.memory, &outcome.result)?;
    Ok(outcome)
}

struct Work<'a, R> {
    reader: Reader<R>,
    file: Option<&'a Metadata>,
    memory: Memory,
    save_every: u64,
    bar: &'a ProgressBar,
}

impl<R: BufRead> Work<'_, R> {
    fn verify(
        &mut self,
        ask: &Ask,
        head: &Head,
        remembered: Option<State>,
    ) -> Result<Result<Verified, Found>, Failure> {
        let mut verifier = match Verifier::begin(&ask.trust, head, remembered) {
            Ok(verifier) => verifier,
            Err(found) => return Ok(Err(found)),
        };
        let mut saved_at = verifier.size();
        loop {
            let line = match self.reader.next_line() {
                Ok(Some(line)) => line,
                Ok(None) => return Ok(verifier.finish()),
                Err(error) => return Ok(Err(verifier.stop(of_line(error)?))),
            };
            if let Err(found) = verifier.line(&line) {
                return Ok(Err(found));
            }
            if let Line::Checkpoint(_) = line {
                self.bar.set_position(self.reader.offset());
                if verifier.size().saturating_sub(saved_at) >= self.save_every {
                    self.save(&verifier)?;
                    saved_at = verifier.size();
                }
            }
        }
    }

    fn save(&self, verifier: &Verifier) -> Result<(), Failure> {
        let at = |file| Unfinished::new(file, self.reader.offset(), self.reader.line());
        verifier.state().map_or(Ok(()), |state| self.memory.write(state, self.file.map(at)))
    }
}

/// Remembers what was verified, if it can be, and says where.
pub(super) fn remember(
    memory: &Memory,
    result: &Result<Verified, Found>,
) -> Result<Option<std::path::PathBuf>, Failure> {
    let Some(state) = result.as_ref().ok().and_then(|verified| verified.state.clone()) else { return Ok(None) };
    memory.write(state, None)?;
    Ok(Some(memory.file().to_owned()))
}

fn outcome(
    ask: &Ask,
    tenant: Tenant,
    remembered: u64,
    (result, line): (Result<Verified, Found>, Option<u64>),
) -> Outcome {
    Outcome { origin: ask.trust.key.name().to_owned(), tenant, remembered, result, line, saved: None }
}

fn of_line(error: read::Error) -> Result<Finding, Failure> {
    match error {
        read::Error::Line(bad) => Ok(Finding::Line(bad)),
        read::Error::Read(error) => Err(Failure::unavailable(format!("the export can't be read: {error}"))),
    }
}

const BUFFER_BYTES: usize = 1 << 18;
