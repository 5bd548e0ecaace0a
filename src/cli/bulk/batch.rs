//! Some rows of a file, with the cells that are on their way.

use std::borrow::Cow;

use bytes::Bytes;
use csv::ByteRecord;

use super::{
    super::{answer::misfit, failure::Failure},
    map::Columns,
};
use crate::id::Class;

/// Rows that travel together: their cells are one message.
#[derive(Default)]
pub(super) struct Batch {
    /// The number of its message, if it has waiting cells.
    pub(super) sequence: u64,
    pub(super) rows: Vec<Row>,
    /// The cells to work on that are not empty, row by row, from left to right.
    pub(super) cells: Vec<Cell>,
    /// Bytes of all waiting payloads.
    pub(super) payload_bytes: usize,
    /// How far into the file its last row reaches.
    pub(super) end_byte: u64,
}

/// One row.
pub(super) struct Row {
    /// The line that it begins on.
    pub(super) line: u64,
    pub(super) record: ByteRecord,
}

/// One cell to work on.
pub(super) struct Cell {
    /// Its row in the batch.
    pub(super) row: usize,
    /// Its column among the mapped ones.
    pub(super) column: usize,
    /// What is sent for it.
    pub(super) payload: Bytes,
    /// What to write, once that is known.
    pub(super) result: Option<Result<Bytes, Fault>>,
}

/// Why a cell has no result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fault {
    /// In upper snake case.
    pub(super) reason: Cow<'static, str>,
    /// Names the rule; never a value.
    pub(super) message: Cow<'static, str>,
}

/// The fields of one request.
pub(super) struct Message {
    pub(super) sequence: u64,
    pub(super) fields: Vec<Field>,
}

/// One field of a request.
pub(super) struct Field {
    pub(super) subject: String,
    pub(super) class: Class,
    pub(super) payload: Bytes,
}

impl Batch {
    /// Whether any cell has no result yet.
    pub(super) fn is_waiting(&self) -> bool {
        self.cells.iter().any(|cell| cell.result.is_none())
    }

    /// The cells without result, as a request.
    pub(super) fn message(&self, columns: &Columns) -> Message {
        let field = |cell: &Cell| {
            let subject = self.rows.get(cell.row)?.record.get(columns.subject)?;
            Some(Field {
                subject: String::from_utf8_lossy(subject).into_owned(),
                class: columns.mapped.get(cell.column)?.class.clone(),
                payload: cell.payload.clone(),
            })
        };
        let waiting = self.cells.iter().filter(|cell| cell.result.is_none());
        Message { sequence: self.sequence, fields: waiting.filter_map(field).collect() }
    }

    /// Gives each waiting cell its result; there must be one for each.
    pub(super) fn settle(&mut self, results: Vec<Result<Bytes, Fault>>) -> Result<(), Failure> {
        if results.len() != self.waiting().count() {
            return Err(misfit());
        }
        self.waiting().zip(results).for_each(|(cell, result)| cell.result = Some(result));
        Ok(())
    }

    /// The cells without result, in the order of their message.
    pub(super) fn waiting(&mut self) -> impl Iterator<Item = &mut Cell> {
        self.cells.iter_mut().filter(|cell| cell.result.is_none())
    }

    /// Where each cell failed, and why.
    pub(super) fn faults(&self) -> impl Iterator<Item = (u64, usize, &Fault)> {
        self.cells.iter().filter_map(|cell| match &cell.result {
            Some(Err(fault)) => Some((self.rows.get(cell.row)?.line, cell.column, fault)),
            Some(Ok(_)) | None => None,
        })
    }
}

impl Fault {
    pub(super) fn new(reason: &'static str, message: &'static str) -> Self {
        Self { reason: reason.into(), message: message.into() }
    }
}
