//! Writes the rows out.

use std::{
    fs::File,
    io::{BufWriter, Write},
};

use csv::{ByteRecord, Writer};
use indicatif::ProgressBar;
use tokio::sync::mpsc::Receiver;

use super::{
    super::{answer::misfit, failure::Failure, output::Output, table::plural},
    batch::Batch,
    map::Columns,
};

/// An open output.
pub(super) struct Sink {
    csv: Writer<BufWriter<Box<dyn Write + Send>>>,
    file: Option<File>,
}

impl Sink {
    /// Opens the output.
    pub(super) fn open(output: &Output) -> Result<Self, Failure> {
        let (writer, file) = output.open()?;
        Ok(Self { csv: Writer::from_writer(BufWriter::new(writer)), file })
    }

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

fn unwritten(error: csv::Error) -> Failure {
    if let csv::ErrorKind::Io(error) = error.into_kind() { Failure::output(error) } else { misfit() }
}
