//! The export file: every leaf of the log in order, as one tenant may see it. JSON, one object a line.
//!
//! ```text
//! {"format":"privet-export-v1","origin":"…","tenant":"acme","start":0,"end":3,"checkpoint":"<signed note>","key_announcements":[],"sum":"01234567"}
//! {"index":0,"raw":"<base64>","sum":"…"}          the tenant's entries, and those about the log itself
//! {"index":1,"leaf_hash":"<base64>","sum":"…"}    all others, and those whose bodies retention has deleted
//! {"checkpoint":"<signed note>","sum":"…"}        signed when the log had as many entries as stand above it
//! {"index":2,…
//! ```
//!
//! `sum` is the first 8 hexadecimal digits of SHA-256 over what stands before `,"sum"`. It is no protection against people:
//! it finds a damaged line as that line. What protects is the signature of the checkpoint, see [`super::verify`].
//!
//! An export of entries from `start` > 0 is verified by who has verified those before, or with an `"edge"` after the
//! announcements: the hashes of the tree of `start` entries, see [`super::merkle::Tree::edge`].
//!
//! * [`Writer`] – writes one
//! * [`read`] – reads one, and takes no line that the writer would not have written
//!
//! INVARIANT: a line has one spelling.

pub mod read;

#[cfg(test)]
mod tests;

use std::io::{self, Write};

use base64::{Engine, prelude::BASE64_STANDARD};
use ring::digest::{SHA256, digest};
use serde::Serialize;

pub use read::Reader;

use super::{
    checkpoint::parse_decimal,
    merkle::{HASH_BYTES, Hash},
};
use crate::id::Tenant;

/// The longest line, its line break included: an entry takes 80,000 bytes, a head with a thousand announcements fits.
pub const LINE_BYTES_MAX: usize = 1 << 20;

/// What an export says of itself.
#[derive(Clone, PartialEq, Eq)]
pub struct Head {
    /// Which log it is of.
    pub origin: String,
    /// Whose entries are shown.
    pub tenant: Tenant,
    /// The first index.
    pub start: u64,
    /// One past the last index.
    pub end: u64,
    /// The checkpoint of the log of `end` entries, a signed note.
    pub checkpoint: String,
    /// The announcements of the log's keys, oldest first.
    pub key_announcements: Vec<String>,
    /// The edge of the tree of `start` entries; empty if the reader has to know it.
    pub edge: Vec<Hash>,
}

/// What an export shows of an entry.
#[derive(Clone, PartialEq, Eq)]
pub enum Leaf {
    /// Its stored bytes.
    Raw(Vec<u8>),
    /// Its leaf hash.
    Hash(Hash),
}

/// A line after the first.
#[derive(Clone, PartialEq, Eq)]
pub enum Line {
    /// An entry and its index.
    Leaf(u64, Leaf),
    /// A signed note.
    Checkpoint(String),
}

/// How many entries a checkpoint speaks of, by its own words: nothing is checked.
pub fn claimed_size(checkpoint: &str) -> Option<u64> {
    checkpoint.split('\n').nth(1).and_then(parse_decimal)
}

/// Writes an export: the head, then leaves and checkpoints in order. What is written is not checked.
#[derive(Debug)]
pub struct Writer<W> {
    out: W,
    line: Vec<u8>,
}

impl<W: Write> Writer<W> {
    /// A writer that has written the head.
    ///
    /// # Errors
    /// `out` can't be written.
    pub fn new(out: W, head: &Head) -> io::Result<Self> {
        let mut writer = Self { out, line: Vec::new() };
        spell_head(head, &mut writer.line)?;
        writer.out.write_all(&writer.line)?;
        Ok(writer)
    }

    /// Writes the entry at `index`.
    ///
    /// # Errors
    /// `out` can't be written.
    pub fn leaf(&mut self, index: u64, leaf: &Leaf) -> io::Result<()> {
        spell_leaf(index, leaf, &mut self.line)?;
        self.out.write_all(&self.line)
    }

    /// Writes a checkpoint, after as many entries as it speaks of.
    ///
    /// # Errors
    /// `out` can't be written.
    pub fn checkpoint(&mut self, note: &str) -> io::Result<()> {
        spell_checkpoint(note, &mut self.line)?;
        self.out.write_all(&self.line)
    }

    /// Hands back what was written to; it is not flushed.
    pub fn into_inner(self) -> W {
        self.out
    }
}

fn spell_head(head: &Head, line: &mut Vec<u8>) -> io::Result<()> {
    #[derive(Serialize)]
    struct Spelled<'a> {
        format: &'static str,
        origin: &'a str,
        tenant: &'a str,
        start: u64,
        end: u64,
        checkpoint: &'a str,
        key_announcements: &'a [String],
        #[serde(skip_serializing_if = "Vec::is_empty")]
        edge: Vec<String>,
    }
    let Head { origin, tenant, start, end, checkpoint, key_announcements, edge } = head;
    let edge = edge.iter().map(|hash| BASE64_STANDARD.encode(hash)).collect();
    let (start, end) = (*start, *end);
    let tenant = tenant.as_str();
    spell(&Spelled { format: FORMAT, origin, tenant, start, end, checkpoint, key_announcements, edge }, line)
}

fn spell_leaf(index: u64, leaf: &Leaf, line: &mut Vec<u8>) -> io::Result<()> {
    let (member, bytes) = match leaf {
        Leaf::Raw(bytes) => (RAW, bytes.as_slice()),
        Leaf::Hash(hash) => (LEAF_HASH, hash.as_slice()),
    };
    line.clear();
    // Without an intermediate string: most of an export is this.
    write!(line, "{INDEX}{index}{member}")?;
    let at = line.len();
    line.resize(at + bytes.len().div_ceil(3) * 4, 0);
    let room = line.get_mut(at..).unwrap_or_default();
    BASE64_STANDARD.encode_slice(bytes, room).map_err(io::Error::other)?;
    line.push(b'"');
    seal(line)
}

fn spell_checkpoint(note: &str, line: &mut Vec<u8>) -> io::Result<()> {
    #[derive(Serialize)]
    struct Spelled<'a> {
        checkpoint: &'a str,
    }
    spell(&Spelled { checkpoint: note }, line)
}

fn spell(object: &impl Serialize, line: &mut Vec<u8>) -> io::Result<()> {
    line.clear();
    serde_json::to_writer(&mut *line, object)?;
    // The closing brace comes after the sum.
    line.pop();
    seal(line)
}

fn seal(line: &mut Vec<u8>) -> io::Result<()> {
    let sum = sum(line);
    writeln!(line, "{SUM}{sum}{END}")
}

/// The first 8 hexadecimal digits of SHA-256.
fn sum(body: &[u8]) -> String {
    hex::encode(digest(&SHA256, body).as_ref().first_chunk::<4>().unwrap_or(&[0; 4]))
}

const FORMAT: &str = "privet-export-v1";
const INDEX: &str = "{\"index\":";
const RAW: &str = ",\"raw\":\"";
const LEAF_HASH: &str = ",\"leaf_hash\":\"";
const SUM: &str = ",\"sum\":\"";
const END: &str = "\"}";
/// What follows the body of a line: the sum and the brace.
const SEALED_BYTES: usize = SUM.len() + 8 + END.len();
