//! What may leave the process, by type.
//!
//! INVARIANT: a [`Released`] is made in this module's parent only, after its record is durable (or, for a refusal, counted).
//! `api` takes nothing else, so a result that was not recorded can't be sent. This does not compile:
//!
//! ```compile_fail
//! let sealed = privet::audit::Unreleased::new(b"ciphertext".to_vec());
//! let bytes: Vec<u8> = sealed.0; // error: the field is private, and there is no method that hands it over
//! ```
//!
//! Nor does this:
//!
//! ```compile_fail
//! let answer = privet::audit::Released { value: b"plaintext".to_vec(), receipts: vec![] }; // error: private fields
//! ```
//!
//! This does, so the two above fail for the reason given:
//!
//! ```
//! let _sealed = privet::audit::Unreleased::new(b"ciphertext".to_vec());
//! ```

use std::{fmt, sync::Arc};

use crate::store::ReadPoint;

/// A result whose record is not durable yet. Only [`Log::commit`](super::Log::commit) takes it apart; dropping it drops the
/// result.
#[must_use = "only a commit releases it"]
pub struct Unreleased<T>(T);

impl<T> Unreleased<T> {
    /// Holds a result back.
    pub fn new(result: T) -> Self {
        Self(result)
    }

    pub(super) fn release(self, receipts: Vec<Receipt>) -> Released<T> {
        Released { value: self.0, receipts }
    }
}

impl<T> fmt::Debug for Unreleased<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Unreleased")
    }
}

/// A result whose record is durable.
pub struct Released<T> {
    value: T,
    receipts: Vec<Receipt>,
}

impl<T> Released<T> {
    /// The end of the log as this result's record left it; 0 if it was only counted.
    pub fn end(&self) -> ReadPoint {
        ReadPoint(self.receipts.last().map_or(0, |receipt| receipt.entry_index.saturating_add(1)))
    }

    /// The result, and the evidence that it was recorded: one receipt an entry.
    pub fn into_parts(self) -> (T, Vec<Receipt>) {
        (self.value, self.receipts)
    }
}

impl<T> fmt::Debug for Released<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Released")
    }
}

/// Evidence that an entry is in the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// The log's name.
    pub origin: Arc<str>,
    /// The entry's place, from 0.
    pub entry_index: u64,
    /// RFC 6962 section 2.1: SHA-256(0x00 ‖ entry).
    pub leaf_hash: [u8; 32],
    /// A signed checkpoint whose tree has the entry.
    pub checkpoint: Arc<str>,
}

/// Marks an answer that refuses: it carries no value, no ciphertext and no verdict on data, so that a flood of them may be
/// recorded as a count.
pub trait Refusal: Send + 'static {}
