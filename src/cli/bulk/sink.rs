//! Writes the rows out.
//!
//! A file is written under another name beside its own, readable by its owner only, and takes its name once it is whole and
//! on disk. An existing file is replaced only on demand.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, BufWriter, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    process,
};

use csv::{ByteRecord, Writer};
use indicatif::ProgressBar;
use tokio::sync::mpsc::Receiver;

use super::{
    super::{answer::misfit, failure::Failure, input::is_stdin, table::plural},
    batch::Batch,
    map::Columns,
};

/// Refuses early to replace a file, before anything is read or sent.
pub(super) fn check(out: &Path, force: bool) -> Result<(), Failure> {
    if force || is_stdin(Some(out)) || fs::symlink_metadata(out).is_err() { Ok(()) } else { Err(exists(out)) }
}

/// Where the rows go. A file that was not kept is removed on drop.
pub(super) enum Output {
    /// Standard output.
    Stdout,
    /// A file, under another name for now.
    File {
        /// Its name once it is whole.
        name: PathBuf,
        /// Its name until then.
        unfinished: PathBuf,
        /// Whether an existing file may be replaced.
        force: bool,
        /// Whether it has its name.
        kept: bool,
    },
}

impl Output {
    pub(super) fn create(out: &Path, force: bool) -> Result<Self, Failure> {
        if is_stdin(Some(out)) {
            return Ok(Self::Stdout);
        }
        let Some(file_name) = out.file_name() else {
            return Err(Failure::usage(format!("--out {} is no file", out.display())));
        };
        let mut name = std::ffi::OsString::from(".");
        name.push(file_name);
        name.push(format!(".{}.unfinished", process::id()));
        Ok(Self::File { name: out.to_owned(), unfinished: out.with_file_name(name), force, kept: false })
    }

    /// What to write to.
    pub(super) fn writer(&self) -> Result<Sink, Failure> {
        match self {
            Self::Stdout => Ok(Sink { csv: csv_writer(Box::new(io::stdout())), file: None }),
            Self::File { unfinished, .. } => {
                let unwritable = |error| Failure::usage(format!("{}: {error}", unfinished.display()));
                let open = || OpenOptions::new().write(true).create_new(true).mode(0o600).open(unfinished);
                let file = open().map_err(unwritable)?;
                let copy = file.try_clone().map_err(unwritable)?;
                Ok(Sink { csv: csv_writer(Box::new(copy)), file: Some(file) })
            }
        }
    }

    /// Gives the file its name.
    pub(super) fn keep(mut self) -> Result<(), Failure> {
        let Self::File { name, unfinished, force, kept } = &mut self else { return Ok(()) };
        let failed = |error: io::Error| Failure::unavailable(format!("{}: {error}", name.display()));
        if *force {
            fs::rename(&unfinished, &name).map_err(failed)?;
        } else {
            // A link, unlike a renaming, never replaces what came there in the meantime.
            match fs::hard_link(&unfinished, &name) {
                Ok(()) => fs::remove_file(&unfinished).map_err(failed)?,
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Err(exists(name)),
                Err(_) if name.exists() => return Err(exists(name)),
                Err(_) => fs::rename(&unfinished, &name).map_err(failed)?,
            }
        }
        *kept = true;
        Ok(())
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        if let Self::File { unfinished, kept: false, .. } = self {
            // If it can't be removed there is nobody left to tell.
            let _ = fs::remove_file(unfinished);
        }
    }
}

/// An open output.
pub(super) struct Sink {
    csv: Writer<BufWriter<Box<dyn Write + Send>>>,
    file: Option<File>,
}

impl Sink {
    /// Writes the header line and all rows, and brings them to disk.
    pub(super) fn run(
        mut self,
        header: &ByteRecord,
        columns: &Columns,
        mut rows: Receiver<Batch>,
        progress: &ProgressBar,
    ) -> Result<(), Failure> {
        self.csv.write_byte_record(header).map_err(unwritten)?;
        let mut count = 0_u64;
        while let Some(batch) = rows.blocking_recv() {
            count += u64::try_from(batch.rows.len()).unwrap_or_default();
            let end_byte = batch.end_byte;
            self.write(batch, columns)?;
            progress.set_position(end_byte);
            progress.set_message(plural(count, "row"));
        }
        self.csv.flush().map_err(Failure::output)?;
        self.file.map_or(Ok(()), |file| file.sync_all()).map_err(Failure::output)
    }

    fn write(&mut self, batch: Batch, columns: &Columns) -> Result<(), Failure> {
        let mut cells = batch.cells.into_iter().peekable();
        for (at, row) in batch.rows.iter().enumerate() {
            for (place, content) in row.record.iter().enumerate() {
                let here = cells.next_if(|cell| {
                    cell.row == at && columns.mapped.get(cell.column).is_some_and(|column| column.place == place)
                });
                match here.map(|cell| cell.result) {
                    None => self.csv.write_field(content),
                    Some(Some(Ok(result))) => self.csv.write_field(result),
                    Some(Some(Err(_))) => self.csv.write_field(b""),
                    Some(None) => return Err(misfit()),
                }
                .map_err(unwritten)?;
            }
            self.csv.write_record(None::<&[u8]>).map_err(unwritten)?;
        }
        // A cell that was passed over would be written as it came in.
        if cells.next().is_none() { Ok(()) } else { Err(misfit()) }
    }
}

fn csv_writer(output: Box<dyn Write + Send>) -> Writer<BufWriter<Box<dyn Write + Send>>> {
    Writer::from_writer(BufWriter::new(output))
}

fn unwritten(error: csv::Error) -> Failure {
    if let csv::ErrorKind::Io(error) = error.into_kind() { Failure::output(error) } else { misfit() }
}

fn exists(out: &Path) -> Failure {
    Failure::usage(format!("{} exists already", out.display())).hint("--force replaces it")
}
