//! Secrets as types: wiped on drop, never cloned, never printed, never compared except in constant time.
//!
//! Declassification is one greppable call, `expose`. What these types can't reach: copies that the gRPC stack makes while it
//! encodes and decodes messages, and pages the kernel wrote to swap.

use std::fmt;

use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use crate::entropy::{Entropy, Unavailable};

/// A 256-bit key.
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct Key([u8; 32]);

impl Key {
    /// Takes over key bytes; the caller's copy is the caller's to wipe.
    pub fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Draws a fresh random key.
    ///
    /// # Errors
    /// [`Unavailable`] if the operating system gives no randomness.
    pub fn random(entropy: &dyn Entropy) -> Result<Self, Unavailable> {
        let mut key = Self([0; 32]);
        entropy.fill(&mut key.0)?;
        Ok(key)
    }

    /// The key bytes.
    pub fn expose(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key")
    }
}

/// What a person or a credential file gives to open a root key with.
pub struct Passphrase(Zeroizing<Vec<u8>>);

impl Passphrase {
    /// The longest, in bytes.
    pub const BYTES_MAX: usize = 1_024;

    /// Takes over a passphrase; `None` for an empty one and for one longer than [`Self::BYTES_MAX`].
    pub fn new(bytes: Vec<u8>) -> Option<Self> {
        let bytes = Zeroizing::new(bytes);
        (1..=Self::BYTES_MAX).contains(&bytes.len()).then_some(Self(bytes))
    }

    /// The passphrase.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Passphrase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Passphrase")
    }
}

/// An opened field's value.
pub struct Plaintext(Zeroizing<Vec<u8>>);

impl Plaintext {
    /// Takes over a value.
    pub fn new(bytes: Vec<u8>) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// The value.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }

    /// Hands the value over, to be sent; from here on it is the receiver's to wipe.
    pub fn expose_into(mut self) -> Vec<u8> {
        std::mem::take(&mut *self.0)
    }
}

impl fmt::Debug for Plaintext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Plaintext")
    }
}
