//! Proofs that stand alone: an entry's index, its inclusion proof and the signed checkpoint in one text file, extension
//! `.tlog-proof` (<https://c2sp.org/tlog-proof>).
//!
//! ```text
//! c2sp.org/tlog-proof@v1
//! extra base64                  only if there is any
//! index 73894
//! base64 of a hash              from the leaf's sibling to the root's child
//!
//! the checkpoint, as it was signed
//! ```
//!
//! Nothing in a proof is to be believed before [`Proof::verify`] says so; the extra data not even then.

#[cfg(test)]
mod tests;

use std::{fmt, str::FromStr};

use base64::{Engine, prelude::BASE64_STANDARD};

use super::{
    checkpoint::{self, Checkpoint, parse_decimal, parse_hash},
    entry,
    merkle::{
        Hash,
        verify::{self, Invalid},
    },
    note::{NOTE_BYTES_MAX, VerifierKey},
};

/// The most extra data: an entry fits.
pub const EXTRA_BYTES_MAX: usize = 65_536;

/// The most hashes: the height of a tree of 2^64 leaves.
pub const HASHES_MAX: usize = 64;

/// The longest file.
pub const PROOF_BYTES_MAX: usize = 256 * 1_024;

/// A proof as it is carried. It may be anyone's invention.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proof {
    index: u64,
    extra: Vec<u8>,
    hashes: Vec<Hash>,
    checkpoint: String,
}

/// The text is no proof, or its parts can't be one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a transparency log proof")]
pub struct Malformed;

/// The proof does not show that the log has the entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The checkpoint is not to be believed.
    #[error(transparent)]
    Checkpoint(#[from] checkpoint::Error),
    /// The checkpoint is good, but its log has not this entry at this index.
    #[error("the log does not have this entry there")]
    Entry(#[from] Invalid),
}

impl Proof {
    /// A proof from its parts: the entry's index, the inclusion proof for the size of the checkpoint, and the checkpoint as
    /// it was signed.
    ///
    /// # Errors
    /// [`Malformed`] if there are too many hashes, or if the checkpoint is empty, too long or does not end a line.
    pub fn new(index: u64, hashes: Vec<Hash>, checkpoint: String) -> Result<Self, Malformed> {
        let fits = hashes.len() <= HASHES_MAX && checkpoint.len() <= NOTE_BYTES_MAX && checkpoint.ends_with('\n');
        if fits { Ok(Self { index, extra: Vec::new(), hashes, checkpoint }) } else { Err(Malformed) }
    }

    /// Adds data that the proof carries but does not prove.
    ///
    /// # Errors
    /// [`Malformed`] past [`EXTRA_BYTES_MAX`].
    pub fn with_extra(mut self, extra: Vec<u8>) -> Result<Self, Malformed> {
        if extra.len() > EXTRA_BYTES_MAX {
            return Err(Malformed);
        }
        self.extra = extra;
        Ok(self)
    }

    /// The entry's index, once verified.
    pub fn index(&self) -> u64 {
        self.index
    }

    /// The extra data. Never verified; empty if there is none.
    pub fn extra(&self) -> &[u8] {
        &self.extra
    }

    /// Checks that the log `origin`, whose keys are known, has an entry with this leaf hash at [`index`](Self::index), and
    /// returns the checkpoint that says so.
    ///
    /// # Errors
    /// [`Error`].
    pub fn verify(&self, leaf_hash: &Hash, origin: &str, known: &[VerifierKey]) -> Result<Checkpoint, Error> {
        let checkpoint = Checkpoint::open(&self.checkpoint, origin, known)?;
        verify::inclusion(leaf_hash, self.index, checkpoint.size(), &self.hashes, checkpoint.root())?;
        Ok(checkpoint)
    }

    /// [`verify`](Self::verify) for the entry's bytes.
    ///
    /// # Errors
    /// [`Error`].
    pub fn verify_entry(&self, bytes: &[u8], origin: &str, known: &[VerifierKey]) -> Result<Checkpoint, Error> {
        self.verify(&entry::leaf_hash(bytes), origin, known)
    }
}

impl fmt::Display for Proof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{HEADER}")?;
        if !self.extra.is_empty() {
            writeln!(f, "{EXTRA}{}", BASE64_STANDARD.encode(&self.extra))?;
        }
        writeln!(f, "{INDEX}{}", self.index)?;
        for hash in &self.hashes {
            writeln!(f, "{}", BASE64_STANDARD.encode(hash))?;
        }
        write!(f, "\n{}", self.checkpoint)
    }
}

impl FromStr for Proof {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        if text.len() > PROOF_BYTES_MAX {
            return Err(Malformed);
        }
        // No line of the head is empty, so the first empty line ends it.
        let (head, checkpoint) = text.split_once("\n\n").ok_or(Malformed)?;
        let mut lines = head.split('\n').peekable();
        if lines.next() != Some(HEADER) {
            return Err(Malformed);
        }
        let extra = match lines.next_if(|line| line.starts_with(EXTRA)) {
            Some(line) => parse_extra(line).ok_or(Malformed)?,
            None => Vec::new(),
        };
        let index = lines.next().and_then(|line| line.strip_prefix(INDEX)).and_then(parse_decimal).ok_or(Malformed)?;
        let hashes = lines.take(HASHES_MAX + 1).map(parse_hash).collect::<Option<_>>().ok_or(Malformed)?;
        Self::new(index, hashes, checkpoint.to_owned())?.with_extra(extra)
    }
}

fn parse_extra(line: &str) -> Option<Vec<u8>> {
    let extra = BASE64_STANDARD.decode(line.strip_prefix(EXTRA)?).ok()?;
    // Without extra data there is no such line.
    (!extra.is_empty()).then_some(extra)
}

const HEADER: &str = "c2sp.org/tlog-proof@v1";
const EXTRA: &str = "extra ";
const INDEX: &str = "index ";
