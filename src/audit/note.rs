//! C2SP signed notes: a text and the signatures under it, <https://c2sp.org/signed-note>.
//!
//! ```text
//! the text, one or more lines
//!
//! — key name base64(key id ‖ signature)
//! ```
//!
//! The text of a note can only be had through [`open`], which checks the signatures first. Signatures of unknown keys are
//! ignored, as the specification says; one that names a known key and does not verify makes the whole note worthless.
//! Every other departure from the form is refused, and so is a note that is too long or has too many signatures.

pub mod key;

#[cfg(test)]
mod tests;

use base64::{Engine, prelude::BASE64_STANDARD};

pub use key::{SignerKey, VerifierKey};

/// The longest note: room for 16 signatures of the largest post-quantum kind, as the specification asks, and for a text.
pub const NOTE_BYTES_MAX: usize = 128 * 1_024;

/// The most signatures a note can have.
pub const SIGNATURES_MAX: usize = 100;

/// A note can't be made, or is not to be believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// It does not have the form of a signed note, or is too long.
    #[error("not a signed note")]
    Malformed,
    /// A signature of a known key is not over this text.
    #[error("a signature of the note is wrong")]
    Forged,
    /// No known key has signed it.
    #[error("the note has no signature of a known key")]
    Unsigned,
}

/// A note whose signatures were checked.
#[derive(Debug, PartialEq, Eq)]
pub struct Opened<'n, 'k> {
    /// Its text, up to and with the last newline.
    pub text: &'n str,
    /// Which of the known keys have signed it: at least one.
    pub signed_by: Vec<&'k VerifierKey>,
}

/// Signs a text, which ends with a newline, with each of the keys.
///
/// # Errors
/// [`Error::Malformed`] if this text can't be a note's, [`Error::Unsigned`] without a key.
pub fn sign(text: &str, signers: &[&SignerKey]) -> Result<String, Error> {
    if signers.is_empty() {
        return Err(Error::Unsigned);
    }
    let mut note = format!("{text}\n");
    for signer in signers {
        let named = [signer.verifier().id().as_slice(), &signer.sign(text.as_bytes())].concat();
        note.push_str(&format!("{DASH}{} {}\n", signer.verifier().name(), BASE64_STANDARD.encode(named)));
    }
    // Whatever is signed can be opened.
    let (read, signatures) = parse(&note)?;
    if read == text && signatures.len() == signers.len() { Ok(note) } else { Err(Error::Malformed) }
}

/// Checks a note with the known keys.
///
/// # Errors
/// [`Error`].
pub fn open<'n, 'k>(note: &'n str, known: &'k [VerifierKey]) -> Result<Opened<'n, 'k>, Error> {
    let (text, signatures) = parse(note)?;
    let mut signed_by: Vec<&VerifierKey> = Vec::new();
    for signature in &signatures {
        let mut named = known.iter().filter(|key| key.name() == signature.name && key.id() == signature.id).peekable();
        if named.peek().is_none() {
            continue;
        }
        let key = named.find(|key| key.verify(text.as_bytes(), &signature.bytes)).ok_or(Error::Forged)?;
        if !signed_by.contains(&key) {
            signed_by.push(key);
        }
    }
    if signed_by.is_empty() { Err(Error::Unsigned) } else { Ok(Opened { text, signed_by }) }
}

struct Signature<'n> {
    name: &'n str,
    id: [u8; 4],
    bytes: Vec<u8>,
}

fn parse(note: &str) -> Result<(&str, Vec<Signature<'_>>), Error> {
    let control = |byte: u8| byte < b' ' && byte != b'\n';
    if note.len() > NOTE_BYTES_MAX || note.bytes().any(control) {
        return Err(Error::Malformed);
    }
    // The last empty line parts the text from the signatures; the newline before it is the text's.
    let (before, lines) = note.rsplit_once("\n\n").ok_or(Error::Malformed)?;
    let text = note.get(..=before.len()).ok_or(Error::Malformed)?;
    let lines = lines.strip_suffix('\n').ok_or(Error::Malformed)?;
    let mut signatures = Vec::new();
    for line in lines.split('\n') {
        if signatures.len() == SIGNATURES_MAX {
            return Err(Error::Malformed);
        }
        signatures.push(parse_signature(line).ok_or(Error::Malformed)?);
    }
    Ok((text, signatures))
}

fn parse_signature(line: &str) -> Option<Signature<'_>> {
    let (name, encoded) = line.strip_prefix(DASH)?.split_once(' ')?;
    let decoded = BASE64_STANDARD.decode(encoded).ok()?;
    let (id, bytes) = decoded.split_first_chunk::<4>()?;
    (key::is_name(name) && !bytes.is_empty()).then(|| Signature { name, id: *id, bytes: bytes.to_vec() })
}

const DASH: &str = "\u{2014} ";
