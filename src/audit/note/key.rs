//! The keys that sign notes and check them: Ed25519 (RFC 8032), signature type 0x01.
//!
//! A key is named by a name and by the first four bytes of SHA-256(name ‖ newline ‖ type ‖ public key). The id is no secret and
//! no protection: whoever checks a note has the public key.

use std::{fmt, str::FromStr};

use base64::{Engine, prelude::BASE64_STANDARD};
use ring::{
    digest::{SHA256, digest},
    signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey},
};

use crate::secret::Key;

/// The longest name of a key of ours.
pub const NAME_BYTES_MAX: usize = 256;

/// A string that is no key, or a key that can't be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Names are not empty, not too long, and have no spaces, plus signs or control characters.
    #[error("not a key name")]
    Name,
    /// Not `<name>+<8 lower-case hex digits>+<base64>`.
    #[error("not a verifier key")]
    Malformed,
    /// Not an Ed25519 key.
    #[error("the verifier key is not for ed25519")]
    Algorithm,
    /// The id is not this key's: a digit of it or of the key was changed.
    #[error("the verifier key does not match its id")]
    Id,
}

/// What checks a signature: name and public key. Its text form is `<name>+<hex id>+<base64(0x01 ‖ public key)>`.
#[derive(Clone, PartialEq, Eq)]
pub struct VerifierKey {
    name: String,
    id: [u8; 4],
    public: [u8; PUBLIC_BYTES],
}

impl VerifierKey {
    /// The key's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The key's id.
    pub fn id(&self) -> [u8; 4] {
        self.id
    }

    /// Whether this key has made this signature over this message.
    pub fn verify(&self, message: &[u8], signature: &[u8]) -> bool {
        UnparsedPublicKey::new(&ED25519, &self.public).verify(message, signature).is_ok()
    }

    fn new(name: &str, public: [u8; PUBLIC_BYTES]) -> Result<Self, Error> {
        if !is_name(name) || name.len() > NAME_BYTES_MAX {
            return Err(Error::Name);
        }
        let hashed = digest(&SHA256, &[name.as_bytes(), b"\n", &[TYPE_ED25519], &public].concat());
        let id = *hashed.as_ref().first_chunk().ok_or(Error::Malformed)?;
        Ok(Self { name: name.to_owned(), id, public })
    }
}

impl fmt::Display for VerifierKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let typed = [&[TYPE_ED25519], self.public.as_slice()].concat();
        write!(f, "{}+{}+{}", self.name, hex::encode(self.id), BASE64_STANDARD.encode(typed))
    }
}

impl fmt::Debug for VerifierKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "VerifierKey({self})")
    }
}

impl FromStr for VerifierKey {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        // The base64 may have plus signs; name and id have none.
        let mut parts = text.splitn(3, '+');
        let (Some(name), Some(id), Some(encoded)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(Error::Malformed);
        };
        if encoded.len() != ENCODED_BYTES || id.len() != 8 {
            return Err(Error::Malformed);
        }
        let typed = BASE64_STANDARD.decode(encoded).map_err(|_| Error::Malformed)?;
        let (algorithm, public) = typed.split_first().ok_or(Error::Malformed)?;
        if *algorithm != TYPE_ED25519 {
            return Err(Error::Algorithm);
        }
        let key = Self::new(name, public.try_into().map_err(|_| Error::Malformed)?)?;
        if hex::encode(key.id) == id { Ok(key) } else { Err(Error::Id) }
    }
}

/// What signs. It is made from a 32-byte seed, which is what is stored, wrapped.
///
/// ring keeps the expanded key and does not wipe it; it stays in memory until the process ends or reuses the place. Core dumps
/// are off. The seed is a [`Key`] and wiped by whoever holds it.
pub struct SignerKey {
    pair: Ed25519KeyPair,
    verifier: VerifierKey,
}

impl SignerKey {
    /// The key with this name and seed.
    ///
    /// # Errors
    /// [`Error::Name`].
    pub fn new(name: &str, seed: &Key) -> Result<Self, Error> {
        // A seed has no form that could be wrong but its length, and that is right.
        let pair = Ed25519KeyPair::from_seed_unchecked(seed.expose()).map_err(|_| Error::Malformed)?;
        let public = pair.public_key().as_ref().try_into().map_err(|_| Error::Malformed)?;
        Ok(Self { verifier: VerifierKey::new(name, public)?, pair })
    }

    /// What checks its signatures.
    pub fn verifier(&self) -> &VerifierKey {
        &self.verifier
    }

    /// Its signature over a message. The same message has the same signature.
    pub fn sign(&self, message: &[u8]) -> [u8; SIGNATURE_BYTES] {
        let mut signature = [0; SIGNATURE_BYTES];
        signature.copy_from_slice(self.pair.sign(message).as_ref());
        signature
    }
}

impl fmt::Debug for SignerKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SignerKey")
    }
}

/// Whether a signature line can carry this name.
pub(super) fn is_name(name: &str) -> bool {
    !name.is_empty() && !name.contains(|c: char| c == '+' || c < ' ' || c.is_whitespace())
}

/// The length of a signature.
pub const SIGNATURE_BYTES: usize = 64;

const TYPE_ED25519: u8 = 1;
const PUBLIC_BYTES: usize = 32;
/// The base64 of type and public key.
const ENCODED_BYTES: usize = 44;
