//! The envelope: how one field of personal data is sealed, opened, looked up and shown in part.
//!
//! Pure: bytes and keys in, bytes out; no IO, no async, no clock, no randomness of its own.
//!
//! # Field format v1
//!
//! ```text
//! 0x01 ‖ key id (16) ‖ nonce (12) ‖ AES-256-GCM ciphertext ‖ tag (16)
//! ```
//!
//! The key id is derived from the subject key, so it *commits* to it: two subject keys of one id are a collision on 128
//! bits, some 2^64 work for one who may choose both. The header and the [`Binding`] are authenticated, each part with its
//! length before it, so that a field opens only for the tenant, subject, class and context it was sealed for.
//!
//! A data key is 32 random bytes sealed in the same format under a label of its own, so neither opens as the other.
//!
//! # Refusals
//!
//! Whatever is wrong with a ciphertext (its version, its length, its key, its binding, one bit of it), the answer is the one
//! [`InvalidCiphertext`]. A version that isn't known is not opened. No key but the one that the header names is tried.
//!
//! # Nonces and budgets
//!
//! The caller draws nonces at random, and keeps a key below 2^28 seals: the chance that two of 2^28 random 96-bit nonces are
//! alike is below 2^-40.

mod country;
mod derive;
mod field;
#[cfg(test)]
mod golden;
mod index;
mod key;
mod mask;
mod normalise;
mod provider;
pub mod text;

pub use field::{Binding, Content, InvalidCiphertext, Nonce, OVERHEAD, TooLong, key_id, open, open_as, seal, seal_as};
pub use index::{INDEX_LEN, IndexKey, blind_index};
pub use key::{KeyId, SealingKey};
pub use mask::{HIDDEN, mask};
pub use normalise::{InvalidValue, Normalised, normalise};
