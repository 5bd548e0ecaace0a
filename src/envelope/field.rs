//! Sealing and opening one field in format v1.
//!
//! Plaintext is never copied on the way: AES-GCM reads the caller's bytes and writes into the one buffer that is handed back.
//! INVARIANT: every refusal to open is [`InvalidCiphertext`], and no unauthenticated plaintext is ever written.

use aes_gcm::{
    Aes256Gcm,
    aead::{AeadInOut, inout::InOutBuf},
};
use zeroize::Zeroizing;

use super::key::{KeyId, SealingKey};
use crate::{
    id::{Class, Subject, Tenant},
    secret::Plaintext,
};

/// The bytes that a field is longer than its plaintext: version, key id, nonce and tag.
pub const OVERHEAD: usize = HEADER_LEN + TAG_LEN;

/// The nonce of one seal: 96 random bits, never used twice with one key.
pub type Nonce = [u8; 12];

/// What a field belongs to. It is not stored in the field; whoever opens it must name the same. Never printed, as a context
/// may hold anything.
#[derive(Clone, Copy)]
pub struct Binding<'a> {
    /// The controller.
    pub tenant: &'a Tenant,
    /// The customer.
    pub subject: &'a Subject,
    /// The kind of personal data.
    pub class: &'a Class,
    /// What else the caller binds the field to, e.g. its own row; may be empty.
    pub context: &'a [u8],
}

/// A ciphertext that does not open, for whatever reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid ciphertext")]
pub struct InvalidCiphertext;

/// A plaintext or context past what AES-GCM and the 32-bit length prefixes carry (64 GiB, 4 GiB).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("plaintext or context is too long to seal")]
pub struct TooLong;

/// What is sealed. One is never opened as the other: it is the first part of what is authenticated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content {
    /// A field.
    Field,
    /// A key for data that its owner keeps elsewhere.
    DataKey,
}

/// Seals a field; the answer is `plaintext.len() + OVERHEAD` bytes in one allocation of that size.
///
/// # Errors
/// [`TooLong`].
pub fn seal(key: &SealingKey, nonce: &Nonce, binding: &Binding<'_>, plaintext: &[u8]) -> Result<Vec<u8>, TooLong> {
    seal_as(Content::Field, key, nonce, binding, plaintext)
}

/// Seals a field or a data key, as [`seal`].
///
/// # Errors
/// [`TooLong`].
pub fn seal_as(
    content: Content,
    key: &SealingKey,
    nonce: &Nonce,
    binding: &Binding<'_>,
    plaintext: &[u8],
) -> Result<Vec<u8>, TooLong> {
    let header = header(key.id(), nonce);
    let aad = aad(content, &header, binding).ok_or(TooLong)?;
    let mut field = Vec::with_capacity(plaintext.len().checked_add(OVERHEAD).ok_or(TooLong)?);
    field.extend_from_slice(&header);
    field.resize(HEADER_LEN + plaintext.len(), 0);
    let body = field.get_mut(HEADER_LEN..).ok_or(TooLong)?;
    let tag = encrypt(key.cipher(), nonce, &aad, plaintext, body).ok_or(TooLong)?;
    field.extend_from_slice(&tag);
    Ok(field)
}

/// Opens a field that was sealed with this key for this binding.
///
/// # Errors
/// [`InvalidCiphertext`], also if the field names another key.
pub fn open(key: &SealingKey, binding: &Binding<'_>, ciphertext: &[u8]) -> Result<Plaintext, InvalidCiphertext> {
    open_as(Content::Field, key, binding, ciphertext)
}

/// Opens a field or a data key, as [`open`].
///
/// # Errors
/// [`InvalidCiphertext`]; also for a field asked for as a data key, and for a data key asked for as a field.
pub fn open_as(
    content: Content,
    key: &SealingKey,
    binding: &Binding<'_>,
    ciphertext: &[u8],
) -> Result<Plaintext, InvalidCiphertext> {
    let field = Field::parse(ciphertext)?;
    // Key ids are public: nothing is learnt from how long this takes.
    if field.key_id != key.id() {
        return Err(InvalidCiphertext);
    }
    let aad = aad(content, field.header, binding).ok_or(InvalidCiphertext)?;
    let mut plaintext = Zeroizing::new(vec![0; field.body.len()]);
    decrypt(key.cipher(), field.nonce, &aad, field.body, field.tag, &mut plaintext).ok_or(InvalidCiphertext)?;
    Ok(Plaintext::new(std::mem::take(&mut *plaintext)))
}

/// The key a field names: what to fetch before opening it. Nothing but version and length is checked.
///
/// # Errors
/// [`InvalidCiphertext`].
pub fn key_id(ciphertext: &[u8]) -> Result<KeyId, InvalidCiphertext> {
    Field::parse(ciphertext).map(|field| field.key_id)
}

/// A field cut into its parts.
struct Field<'a> {
    header: &'a [u8; HEADER_LEN],
    key_id: KeyId,
    nonce: &'a Nonce,
    body: &'a [u8],
    tag: &'a [u8; TAG_LEN],
}

impl<'a> Field<'a> {
    fn parse(ciphertext: &'a [u8]) -> Result<Self, InvalidCiphertext> {
        Self::split(ciphertext).ok_or(InvalidCiphertext)
    }

    fn split(ciphertext: &'a [u8]) -> Option<Self> {
        let (header, rest) = ciphertext.split_first_chunk()?;
        let (body, tag) = rest.split_last_chunk()?;
        let (version, rest) = header.split_first()?;
        let (key_id, nonce) = rest.split_first_chunk()?;
        if *version != VERSION {
            return None;
        }
        Some(Self { header, key_id: KeyId::new(*key_id), nonce: nonce.try_into().ok()?, body, tag })
    }
}

fn header(key_id: KeyId, nonce: &Nonce) -> [u8; HEADER_LEN] {
    // The first byte stays the version.
    let mut header = [VERSION; HEADER_LEN];
    let parts = key_id.as_bytes().iter().chain(nonce);
    header.iter_mut().skip(1).zip(parts).for_each(|(to, from)| *to = *from);
    header
}

/// The associated data: each part after its length as u32 BE. Wiped, as it holds the subject's id.
fn aad(content: Content, header: &[u8; HEADER_LEN], binding: &Binding<'_>) -> Option<Zeroizing<Vec<u8>>> {
    let parts: [&[u8]; 6] = [
        match content {
            Content::Field => LABEL,
            Content::DataKey => LABEL_OF_DATA_KEY,
        },
        header,
        binding.tenant.as_str().as_bytes(),
        binding.subject.expose().as_bytes(),
        binding.class.as_str().as_bytes(),
        binding.context,
    ];
    let length = parts.iter().try_fold(0_usize, |sum, part| sum.checked_add(4)?.checked_add(part.len()))?;
    let mut aad = Zeroizing::new(Vec::with_capacity(length));
    for part in parts {
        aad.extend_from_slice(&u32::try_from(part.len()).ok()?.to_be_bytes());
        aad.extend_from_slice(part);
    }
    Some(aad)
}

/// AES-256-GCM (NIST SP 800-38D) from `plaintext` into `out`, which is as long.
fn encrypt(cipher: &Aes256Gcm, nonce: &Nonce, aad: &[u8], plaintext: &[u8], out: &mut [u8]) -> Option<[u8; TAG_LEN]> {
    let buffer = InOutBuf::new(plaintext, out).ok()?;
    Some(cipher.encrypt_inout_detached(nonce.into(), aad, buffer).ok()?.into())
}

/// The reverse of [`encrypt`]. `out` is written only once the tag is found right.
fn decrypt(
    cipher: &Aes256Gcm,
    nonce: &Nonce,
    aad: &[u8],
    body: &[u8],
    tag: &[u8; TAG_LEN],
    out: &mut [u8],
) -> Option<()> {
    let buffer = InOutBuf::new(body, out).ok()?;
    cipher.decrypt_inout_detached(nonce.into(), aad, buffer, tag.into()).ok()
}

const VERSION: u8 = 1;
const HEADER_LEN: usize = 1 + 16 + 12;
const TAG_LEN: usize = 16;
const LABEL: &[u8] = b"privet/field/v1";
const LABEL_OF_DATA_KEY: &[u8] = b"privet/data-key/v1";

#[cfg(test)]
mod tests;
