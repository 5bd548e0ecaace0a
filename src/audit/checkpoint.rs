//! Checkpoints: what the log promises about itself, as a C2SP tlog-checkpoint in a signed note
//! (<https://c2sp.org/tlog-checkpoint>).
//!
//! ```text
//! origin
//! size
//! base64 of the root
//!
//! — origin base64(key id ‖ signature)
//! ```
//!
//! A checkpoint that was [opened](Checkpoint::open) was signed by a known key and speaks of the log that was asked for.
//! Extension lines are accepted in what others wrote and not kept; none are written.

#[cfg(test)]
mod tests;

use base64::{Engine, prelude::BASE64_STANDARD};

use super::{
    merkle::{EMPTY_ROOT, Hash},
    note::{self, SignerKey, VerifierKey},
};

/// The longest origin.
pub const ORIGIN_BYTES_MAX: usize = 256;

/// A checkpoint can't be made, or is not to be believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The note.
    #[error(transparent)]
    Note(#[from] note::Error),
    /// The text is not a checkpoint's.
    #[error("not a checkpoint")]
    Malformed,
    /// The checkpoint is of another log.
    #[error("the checkpoint is of another log")]
    Origin,
}

/// The size and root of a log at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    origin: String,
    size: u64,
    root: Hash,
}

impl Checkpoint {
    /// The checkpoint of the log `origin` at `size`.
    ///
    /// # Errors
    /// [`Error::Malformed`] if the origin is empty, too long or has a control character, or if an empty log has another root
    /// than the empty tree.
    pub fn new(origin: &str, size: u64, root: Hash) -> Result<Self, Error> {
        let fits = !origin.is_empty() && origin.len() <= ORIGIN_BYTES_MAX && !origin.contains(|c: char| c < ' ');
        if !fits || (size == 0 && root != EMPTY_ROOT) {
            return Err(Error::Malformed);
        }
        Ok(Self { origin: origin.to_owned(), size, root })
    }

    /// Checks a signed note with the known keys of the log `origin` and reads its checkpoint.
    ///
    /// # Errors
    /// [`Error`].
    pub fn open(note: &str, origin: &str, known: &[VerifierKey]) -> Result<Self, Error> {
        let opened = note::open(note, known)?;
        let checkpoint = Self::parse(opened.text)?;
        if checkpoint.origin == origin { Ok(checkpoint) } else { Err(Error::Origin) }
    }

    /// The size that a note claims for the log `origin`. Nobody's signature was checked: it is for telling a person what is
    /// there, and nothing may rest on it.
    pub fn claimed_size(note: &str, origin: &str) -> Option<u64> {
        let mut lines = note.lines();
        lines.next().filter(|first| *first == origin)?;
        lines.next().and_then(parse_decimal)
    }

    /// The signed note, as it is published.
    ///
    /// # Errors
    /// [`note::Error::Unsigned`] without a key.
    pub fn sign(&self, signers: &[&SignerKey]) -> Result<String, note::Error> {
        note::sign(&self.text(), signers)
    }

    /// Which log it is of.
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// How many entries the log had.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The root of the tree over them.
    pub fn root(&self) -> &Hash {
        &self.root
    }

    fn text(&self) -> String {
        format!("{}\n{}\n{}\n", self.origin, self.size, BASE64_STANDARD.encode(self.root))
    }

    fn parse(text: &str) -> Result<Self, Error> {
        let mut lines = text.strip_suffix('\n').ok_or(Error::Malformed)?.split('\n');
        let (Some(origin), Some(size), Some(root)) = (lines.next(), lines.next(), lines.next()) else {
            return Err(Error::Malformed);
        };
        if lines.any(str::is_empty) {
            return Err(Error::Malformed);
        }
        let size = parse_decimal(size).ok_or(Error::Malformed)?;
        let root = parse_hash(root).ok_or(Error::Malformed)?;
        Self::new(origin, size, root)
    }
}

/// A number without sign or leading zeros.
pub(super) fn parse_decimal(text: &str) -> Option<u64> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    text.parse().ok().filter(|_| digits)
}

/// A hash in canonical base64.
pub(super) fn parse_hash(text: &str) -> Option<Hash> {
    if text.len() != HASH_ENCODED_BYTES {
        return None;
    }
    BASE64_STANDARD.decode(text).ok()?.try_into().ok()
}

const HASH_ENCODED_BYTES: usize = 44;
