//! Reads a CSV file, and makes its rows into batches.
//!
//! A row is read whole, so its length is bounded: a quote left open must not read a file into memory.

use std::{
    fs::File,
    io::{self, Read},
    path::Path,
    sync::Arc,
};

use bytes::Bytes;
use csv::{ByteRecord, ErrorKind, Reader, ReaderBuilder};
use tokio::sync::mpsc::Sender;

use super::{
    super::{
        failure::Failure,
        input::{is_stdin, name},
    },
    Job, Work,
    batch::{Batch, Cell, Fault, Message, Row},
    map::Columns,
};
use crate::{envelope::text::from_text, id::Subject};

/// A CSV file, its header line read.
pub(super) struct Source {
    reader: Reader<Bounded>,
    header: ByteRecord,
    columns: Arc<Columns>,
    length: Option<u64>,
    work: Work,
    batch_fields: usize,
    name: String,
}

impl Source {
    /// Opens a file and reads its header line.
    pub(super) fn open(job: &Job, work: Work) -> Result<Self, Failure> {
        let (input, length) = open(&job.csv)?;
        let name = name(Some(&job.csv));
        let mut reader = ReaderBuilder::new().buffer_capacity(BUFFER_BYTES).from_reader(Bounded::new(input));
        let header = reader.byte_headers().map_err(|error| unreadable(&name, &error))?.clone();
        if header.is_empty() {
            return Err(Failure::usage(format!("{name} has no header line")));
        }
        let columns = Columns::find(&header, &job.map, &job.subject_column)?;
        Ok(Self { reader, header, columns: Arc::new(columns), length, work, batch_fields: job.batch_fields, name })
    }

    /// The header line.
    pub(super) fn header(&self) -> &ByteRecord {
        &self.header
    }

    /// The columns that matter.
    pub(super) fn columns(&self) -> Arc<Columns> {
        Arc::clone(&self.columns)
    }

    /// The file's length, if it has one.
    pub(super) fn length(&self) -> Option<u64> {
        self.length
    }

    /// Reads to the end. Each batch goes to `pending` before its message goes to `messages`. Ends early if nobody takes them.
    pub(super) fn run(mut self, pending: &Sender<Batch>, messages: &Sender<Message>) -> Result<(), Failure> {
        let mut batch = Batch::default();
        loop {
            let row = self.row()?;
            let ended = row.is_none();
            let (cells, bytes) = row.as_ref().map(|row| self.size(row)).unwrap_or_default();
            let full = batch.cells.len() + cells > self.batch_fields
                || batch.payload_bytes + bytes > MESSAGE_BYTES
                || batch.rows.len() == BATCH_ROWS_MAX;
            if (full || ended) && !batch.rows.is_empty() {
                let next = Batch { sequence: batch.sequence + 1, ..Batch::default() };
                if self.send(std::mem::replace(&mut batch, next), pending, messages).is_none() {
                    return Ok(());
                }
            }
            match row {
                Some(row) => self.add(&mut batch, row),
                None => return Ok(()),
            }
        }
    }

    fn send(&self, batch: Batch, pending: &Sender<Batch>, messages: &Sender<Message>) -> Option<()> {
        let message = batch.is_waiting().then(|| batch.message(&self.columns));
        pending.blocking_send(batch).ok()?;
        match message {
            Some(message) => messages.blocking_send(message).ok(),
            None => Some(()),
        }
    }

    fn row(&mut self) -> Result<Option<Row>, Failure> {
        self.reader.get_mut().renew();
        let mut record = ByteRecord::new();
        match self.reader.read_byte_record(&mut record) {
            Ok(true) => Ok(Some(Row { line: record.position().map_or(0, csv::Position::line), record })),
            Ok(false) => Ok(None),
            Err(error) => Err(unreadable(&self.name, &error)),
        }
    }

    /// How many cells of a row are not empty, and how long they are in all.
    fn size(&self, row: &Row) -> (usize, usize) {
        let lengths = self.columns.mapped.iter().filter_map(|column| row.record.get(column.place)).map(<[u8]>::len);
        lengths.filter(|length| *length > 0).fold((0, 0), |(cells, bytes), length| (cells + 1, bytes + length))
    }

    fn add(&self, batch: &mut Batch, row: Row) {
        let subject = row.record.get(self.columns.subject).unwrap_or_default();
        let fit = if self.size(&row).1 > ROW_BYTES_MAX {
            Err(Fault::new("INVALID_VALUE", "the row's fields have more than 3 MiB in all"))
        } else if str::from_utf8(subject).ok().and_then(|id| Subject::parse(id.to_owned()).ok()).is_none() {
            Err(Fault::new("INVALID_SUBJECT", "the row has no subject id of 1 to 256 bytes of UTF-8"))
        } else {
            Ok(())
        };
        for (column, mapped) in self.columns.mapped.iter().enumerate() {
            let Some(value) = row.record.get(mapped.place).filter(|value| !value.is_empty()) else { continue };
            let payload = fit.clone().and_then(|()| self.payload(value));
            let (payload, result) = match payload {
                Ok(payload) => (payload, None),
                Err(fault) => (Bytes::new(), Some(Err(fault))),
            };
            batch.payload_bytes += payload.len();
            batch.cells.push(Cell { row: batch.rows.len(), column, payload, result });
        }
        batch.rows.push(row);
        batch.end_byte = self.reader.position().byte();
    }

    fn payload(&self, value: &[u8]) -> Result<Bytes, Fault> {
        match self.work {
            // Sealed twice, a value would come back as a ciphertext, and who asked for that has most likely mistaken the file.
            Work::Seal if is_sealed(value) => Err(Fault::new("INVALID_VALUE", "is sealed already: pv1_… text")),
            Work::Seal => Ok(Bytes::copy_from_slice(value)),
            Work::Open(_) | Work::Rewrap => ciphertext(value).ok_or(Fault::new("INVALID_CIPHERTEXT", "not pv1_… text")),
        }
    }
}

fn is_sealed(value: &[u8]) -> bool {
    ciphertext(value).is_some()
}

fn ciphertext(value: &[u8]) -> Option<Bytes> {
    from_text(str::from_utf8(value).ok()?).ok().map(Bytes::from)
}

/// A reader that gives out only so many bytes until it is renewed.
struct Bounded {
    input: Box<dyn Read + Send>,
    left: usize,
}

impl Bounded {
    fn new(input: Box<dyn Read + Send>) -> Self {
        Self { input, left: RECORD_BYTES_MAX }
    }

    fn renew(&mut self) {
        self.left = RECORD_BYTES_MAX;
    }
}

impl Read for Bounded {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.input.read(buffer)?;
        self.left = self.left.checked_sub(count).ok_or(io::ErrorKind::FileTooLarge)?;
        Ok(count)
    }
}

fn open(file: &Path) -> Result<(Box<dyn Read + Send>, Option<u64>), Failure> {
    if is_stdin(Some(file)) {
        return Ok((Box::new(io::stdin()), None));
    }
    let unreadable = |error| Failure::usage(format!("{}: {error}", file.display()));
    let open = File::open(file).map_err(unreadable)?;
    let metadata = open.metadata().map_err(unreadable)?;
    Ok((Box::new(open), metadata.is_file().then_some(metadata.len())))
}

/// What is wrong with a file, and where; never what is in it.
fn unreadable(name: &str, error: &csv::Error) -> Failure {
    if let ErrorKind::UnequalLengths { pos, expected_len, len } = error.kind() {
        let line = pos.as_ref().map_or(0, csv::Position::line);
        return Failure::usage(format!("{name}, line {line}: {len} cells under a header line of {expected_len}"));
    }
    let ErrorKind::Io(io) = error.kind() else { return Failure::usage(format!("{name} is no CSV file")) };
    if io.kind() == io::ErrorKind::FileTooLarge {
        return Failure::usage(format!("{name} has a row of more than 16 MiB")).hint("is a quote left open?");
    }
    Failure::usage(format!("{name}: {io}"))
}

const BUFFER_BYTES: usize = 64 << 10;
/// One row, and what is read ahead.
const RECORD_BYTES_MAX: usize = 16 << 20;
const BATCH_ROWS_MAX: usize = 1_000;
/// A message is sent before it grows past this, unless one row does.
const MESSAGE_BYTES: usize = 512 << 10;
/// A row is one message; servers take 4 MiB unless told otherwise.
const ROW_BYTES_MAX: usize = 3 << 20;
