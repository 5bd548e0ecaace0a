//! Reads an export, line by line, and says of each that is wrong which one it is and how.
//!
//! The file may come from anyone. A line is taken only if it is, byte for byte, what the writer makes of its content, so there
//! is nothing between the lines that two readers could understand differently. Lines are bounded, and so is the memory.

use std::{
    fmt,
    io::{self, BufRead, Read},
};

use base64::{Engine, prelude::BASE64_STANDARD};
use serde::Deserialize;

use super::{
    END, HASH_BYTES, Head, INDEX, LEAF_HASH, LINE_BYTES_MAX, Leaf, Line, RAW, SEALED_BYTES, SUM, spell_checkpoint,
    spell_head, spell_leaf, sum,
};
use crate::{
    audit::{
        checkpoint::parse_hash,
        entry,
        merkle::{Hash, SIZE_MAX},
    },
    id::Tenant,
};

/// Why a line could not be had.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The line is not one of an export.
    #[error(transparent)]
    Line(#[from] BadLine),
    /// The file can't be read.
    #[error("the export can't be read")]
    Read(#[source] io::Error),
}

/// A line that is wrong in itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}, {place}: {problem}")]
pub struct BadLine {
    /// Which one, from 1.
    pub line: u64,
    /// What it is, as far as it can be told.
    pub place: Place,
    /// What is wrong.
    pub problem: Problem,
}

/// What a line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// The first line.
    Head,
    /// The entry with this index.
    Entry(u64),
    /// A checkpoint that stands before the entry with this index.
    Checkpoint(u64),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Head => f.write_str("the head"),
            Self::Entry(index) => write!(f, "entry {index}"),
            Self::Checkpoint(next) => write!(f, "a checkpoint before entry {next}"),
        }
    }
}

/// What is wrong with a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// There is nothing there.
    #[error("the export has no lines")]
    Empty,
    /// Past [`LINE_BYTES_MAX`].
    #[error("the line is longer than any of an export")]
    TooLong,
    /// The file ends within it.
    #[error("the line is cut off")]
    CutOff,
    /// Its sum is another one.
    #[error("the line was changed: its sum does not fit")]
    Sum,
    /// Its sum fits and it is all the same not what an export holds.
    #[error("the line does not have the form of an export")]
    Form,
    /// Of another version, or something else altogether.
    #[error("not an export that this version of privet reads")]
    Format,
}

/// Reads an export whose head was read.
#[derive(Debug)]
pub struct Reader<R> {
    input: R,
    /// How many lines were read.
    line: u64,
    /// How many bytes they took.
    offset: u64,
    /// The index of the next entry, if all is well.
    next: u64,
    bytes: Vec<u8>,
    respelled: Vec<u8>,
}

impl<R: BufRead> Reader<R> {
    /// Reads the head.
    ///
    /// # Errors
    /// [`Error`].
    pub fn open(input: R) -> Result<(Head, Self), Error> {
        let (bytes, respelled) = (Vec::new(), Vec::new());
        let mut reader = Self { input, line: 0, offset: 0, next: 0, bytes, respelled };
        if !reader.advance(&Place::Head)? {
            return Err(reader.bad(Place::Head, Problem::Empty).into());
        }
        let head = head(&reader.bytes, &mut reader.respelled);
        let head = head.map_err(|problem| reader.bad(Place::Head, problem))?;
        reader.next = head.start;
        Ok((head, reader))
    }

    /// The next line; `None` at the end of the file.
    ///
    /// # Errors
    /// [`Error`]. There is no going on after one.
    pub fn next_line(&mut self) -> Result<Option<Line>, Error> {
        let next = Place::Entry(self.next);
        if !self.advance(&next)? {
            return Ok(None);
        }
        let line = line(&self.bytes, &mut self.respelled).map_err(|problem| self.bad(self.place(), problem))?;
        if let Line::Leaf(index, _) = line {
            self.next = index.saturating_add(1);
        }
        Ok(Some(line))
    }

    /// The number of the line that was read last, from 1.
    pub fn line(&self) -> u64 {
        self.line
    }

    /// Where the next line begins.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Goes on as if everything before the line after `line` was read: at `offset`, where entry `next` is the first. The
    /// input must stand there already.
    pub fn skipped_to(&mut self, offset: u64, line: u64, next: u64) {
        (self.offset, self.line, self.next) = (offset, line, next);
    }

    /// What is read from.
    pub fn get_mut(&mut self) -> &mut R {
        &mut self.input
    }

    /// Reads a line without its line break; whether there was one.
    fn advance(&mut self, expected: &Place) -> Result<bool, Error> {
        self.bytes.clear();
        let mut bounded = (&mut self.input).take(LINE_BYTES_MAX as u64);
        let read = bounded.read_until(b'\n', &mut self.bytes).map_err(Error::Read)?;
        if read == 0 {
            return Ok(false);
        }
        self.line += 1;
        self.offset += read as u64;
        if self.bytes.pop() == Some(b'\n') {
            return Ok(true);
        }
        let problem = if read == LINE_BYTES_MAX { Problem::TooLong } else { Problem::CutOff };
        Err(self.bad(if self.line == 1 { *expected } else { self.place() }, problem).into())
    }

    /// What the line is, by its marks. One of an entry's two marks survives if a single byte is changed.
    fn place(&self) -> Place {
        let has = |mark: &str| self.bytes.windows(mark.len()).any(|window| window == mark.as_bytes());
        let of_entry = self.bytes.starts_with(INDEX.as_bytes()) || has(RAW) || has(LEAF_HASH);
        // A note has line breaks, spelled out.
        if !of_entry && (self.bytes.starts_with(CHECKPOINT_MARK) || has("\\n")) {
            Place::Checkpoint(self.next)
        } else {
            Place::Entry(self.next)
        }
    }

    fn bad(&self, place: Place, problem: Problem) -> BadLine {
        BadLine { line: self.line.max(1), place, problem }
    }
}

fn head(bytes: &[u8], respelled: &mut Vec<u8>) -> Result<Head, Problem> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Spelled {
        #[serde(rename = "format")]
        _format: String,
        origin: String,
        tenant: String,
        start: u64,
        end: u64,
        checkpoint: String,
        key_announcements: Vec<String>,
        #[serde(default)]
        edge: Vec<String>,
        #[serde(rename = "sum")]
        _sum: String,
    }
    if !bytes.starts_with(FORMAT_MARK.as_bytes()) {
        return Err(Problem::Format);
    }
    check_sum(bytes)?;
    let Spelled { _format, origin, tenant, start, end, checkpoint, key_announcements, edge, _sum } =
        serde_json::from_slice(bytes).map_err(|_| Problem::Form)?;
    let tenant = Tenant::parse_or_system(&tenant).map_err(|_| Problem::Form)?;
    let edge: Vec<Hash> = edge.iter().map(|hash| parse_hash(hash)).collect::<Option<_>>().ok_or(Problem::Form)?;
    if start > end || end > SIZE_MAX {
        return Err(Problem::Form);
    }
    let head = Head { origin, tenant, start, end, checkpoint, key_announcements, edge };
    spell_head(&head, respelled).map_err(|_| Problem::Form)?;
    same(bytes, respelled).then_some(head).ok_or(Problem::Form)
}

fn line(bytes: &[u8], respelled: &mut Vec<u8>) -> Result<Line, Problem> {
    check_sum(bytes)?;
    let line = parts(bytes).ok_or(Problem::Form)?;
    match &line {
        Line::Leaf(index, leaf) => spell_leaf(*index, leaf, respelled),
        Line::Checkpoint(note) => spell_checkpoint(note, respelled),
    }
    .map_err(|_| Problem::Form)?;
    same(bytes, respelled).then_some(line).ok_or(Problem::Form)
}

/// The content of a line, by the places of its marks; whether they are all there is for the comparison to find.
fn parts(bytes: &[u8]) -> Option<Line> {
    #[derive(Deserialize)]
    struct Checkpoint {
        checkpoint: String,
    }
    let text = std::str::from_utf8(bytes).ok()?;
    let Some(rest) = text.strip_prefix(INDEX) else {
        let Checkpoint { checkpoint } = serde_json::from_str(text).ok()?;
        return Some(Line::Checkpoint(checkpoint));
    };
    let (index, _) = rest.split_once(',')?;
    let rest = rest.get(index.len()..rest.len().checked_sub(SEALED_BYTES + 1)?)?;
    let index = index.parse().ok()?;
    let leaf = match rest.strip_prefix(RAW) {
        Some(raw) => Leaf::Raw(BASE64_STANDARD.decode(raw).ok().filter(|raw| raw.len() <= entry::BYTES_MAX)?),
        None => {
            let hash: [u8; HASH_BYTES] = parse_hash(rest.strip_prefix(LEAF_HASH)?)?;
            Leaf::Hash(hash)
        }
    };
    Some(Line::Leaf(index, leaf))
}

fn check_sum(bytes: &[u8]) -> Result<(), Problem> {
    let (body, sealed) = bytes.split_at_checked(bytes.len().saturating_sub(SEALED_BYTES)).ok_or(Problem::Sum)?;
    let fits = sealed
        .strip_prefix(SUM.as_bytes())
        .and_then(|rest| rest.strip_suffix(END.as_bytes()))
        .is_some_and(|found| found == sum(body).as_bytes());
    if fits { Ok(()) } else { Err(Problem::Sum) }
}

fn same(bytes: &[u8], respelled: &[u8]) -> bool {
    respelled.strip_suffix(b"\n") == Some(bytes)
}

const FORMAT_MARK: &str = "{\"format\":\"privet-export-v1\",";
const CHECKPOINT_MARK: &[u8] = b"{\"c";
