//! Certificates of erasure: a signed note under the log's key that says which keys were destroyed and when, and what that does
//! not reach. It names no person: whoever asked for the erasure keeps it with the id that it was given.
//!
//! ```text
//! privet-erasure-certificate/v1
//! origin dev.privet.example/log
//! tenant acme
//! erasure 0000506b0f1e2d3c4b5a69788796a5b4
//! categories account billing
//! time 2026-11-25T18:00:00Z
//! The keys of these categories of one subject are destroyed: no ciphertext under them opens any more.
//! …
//! ```
//!
//! The first line keeps it apart from a checkpoint, whose first line is the log's origin.

use std::fmt::Write as _;

use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use super::note::{self, SignerKey, VerifierKey};
use crate::id::{Category, Tenant};

const HEADER: &str = "privet-erasure-certificate/v1";

/// What every certificate says of its reach.
const STATEMENT: &str = "\
The keys of these categories of one subject are destroyed: no ciphertext under them opens any more.
A backup made before still holds them, wrapped: it is final there once every root key of that time is destroyed.
Blind indexes and plaintext that were given out are not reached.
";

/// Parts a text of certificates into their notes, one behind the other, with or without an empty line between. What is none
/// comes out as a note that does not open.
pub fn several(text: &str) -> Vec<String> {
    let (mut notes, mut note) = (Vec::new(), String::new());
    for line in text.split_inclusive('\n') {
        // No other line of a certificate is the same as its first.
        if line.strip_suffix('\n') == Some(HEADER) && !note.is_empty() {
            notes.push(std::mem::take(&mut note));
        }
        note.push_str(line);
    }
    for note in &mut notes {
        if note.ends_with("\n\n") {
            note.pop();
        }
    }
    notes.push(note);
    notes
}

/// What was erased.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    /// The log whose key signs it.
    pub origin: String,
    /// Whose subject it was.
    pub tenant: Tenant,
    /// The erasure's id.
    pub erasure: [u8; 16],
    /// The categories; none: all of them.
    pub categories: Vec<Category>,
    /// When, in whole seconds since 1970.
    pub unix_secs: u64,
}

/// A note that is no certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The note is not to be believed.
    #[error(transparent)]
    Note(#[from] note::Error),
    /// It is signed, and is no certificate of erasure.
    #[error("not a certificate of erasure")]
    Other,
    /// It names a log that has not signed it.
    #[error("signed by another log than the one that it names")]
    Origin,
}

impl Certificate {
    /// Signs it.
    ///
    /// # Errors
    /// [`note::Error`] if it can't be written down: a defect.
    pub fn sign(&self, signer: &SignerKey) -> Result<String, note::Error> {
        note::sign(&self.text().ok_or(note::Error::Malformed)?, &[signer])
    }

    /// Opens a note that one of these keys has signed, of the log that the note names: a log speaks for no other.
    ///
    /// # Errors
    /// [`Error`].
    pub fn open(note: &str, known: &[VerifierKey]) -> Result<Self, Error> {
        let opened = note::open(note, known)?;
        let certificate = Self::parse(opened.text).ok_or(Error::Other)?;
        let own = opened.signed_by.iter().any(|key| key.name() == certificate.origin);
        if own { Ok(certificate) } else { Err(Error::Origin) }
    }

    /// Reads a note that lies in the server's own store. Others' are read with [`Certificate::open`], which checks signatures.
    pub fn stored(note: &str) -> Option<Self> {
        let (text, _) = note.split_once("\n\n")?;
        Self::parse(&format!("{text}\n"))
    }

    fn text(&self) -> Option<String> {
        let time = OffsetDateTime::from_unix_timestamp(self.unix_secs.try_into().ok()?).ok()?.format(&Rfc3339).ok()?;
        let categories = match self.categories.as_slice() {
            [] => " *".to_owned(),
            some => some.iter().map(|category| format!(" {category}")).collect(),
        };
        let mut text = format!("{HEADER}\norigin {}\ntenant {}\n", self.origin, self.tenant);
        write!(text, "erasure {}\ncategories{categories}\ntime {time}\n{STATEMENT}", hex::encode(self.erasure)).ok()?;
        Some(text)
    }

    fn parse(text: &str) -> Option<Self> {
        let mut lines = text.strip_prefix(HEADER)?.strip_prefix('\n')?.splitn(6, '\n');
        let mut field = |name: &str| lines.next()?.strip_prefix(name)?.strip_prefix(' ');
        let origin = field("origin")?.to_owned();
        let tenant = Tenant::parse(field("tenant")?).ok()?;
        let erasure = hex::decode(field("erasure")?).ok()?.try_into().ok()?;
        let categories = match field("categories")? {
            "*" => Vec::new(),
            some => some.split(' ').map(Category::parse).collect::<Result<_, _>>().ok()?,
        };
        let time = OffsetDateTime::parse(field("time")?, &Rfc3339).ok()?;
        let certificate =
            Self { origin, tenant, erasure, categories, unix_secs: time.unix_timestamp().try_into().ok()? };
        // There is one way to write it.
        (certificate.text()? == text).then_some(certificate)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::Key;

    fn signer(seed: u8) -> SignerKey {
        signer_of("a.example/log", seed)
    }

    fn signer_of(origin: &str, seed: u8) -> SignerKey {
        SignerKey::new(origin, &Key::new([seed; 32])).unwrap()
    }

    fn certificate(categories: &[&str]) -> Certificate {
        Certificate {
            origin: "a.example/log".into(),
            tenant: Tenant::parse("acme").unwrap(),
            erasure: [0xab; 16],
            categories: categories.iter().map(|name| Category::parse(name).unwrap()).collect(),
            unix_secs: 1_795_461_365,
        }
    }

    #[test]
    fn a_certificate_reads_back_under_its_key_and_no_other() {
        for categories in [vec![], vec!["account"], vec!["account", "billing"]] {
            let made = certificate(&categories);
            let note = made.sign(&signer(1)).unwrap();
            assert_eq!(Certificate::open(&note, &[signer(1).verifier().clone()]), Ok(made));
            let other = Certificate::open(&note, &[signer(2).verifier().clone()]);
            assert_eq!(other, Err(Error::Note(note::Error::Unsigned)));
        }
    }

    #[test]
    fn a_log_speaks_for_no_other() {
        let [a, b] = [signer(1), signer_of("b.example/log", 2)];
        let known = [a.verifier().clone(), b.verifier().clone()];
        let by_a = certificate(&["account"]);
        let of_b = Certificate { origin: "b.example/log".into(), ..by_a.clone() };
        assert_eq!(Certificate::open(&of_b.sign(&a).unwrap(), &known), Err(Error::Origin));
        assert_eq!(Certificate::open(&by_a.sign(&b).unwrap(), &known), Err(Error::Origin));
        assert_eq!(Certificate::open(&of_b.sign(&b).unwrap(), &known), Ok(of_b.clone()));
        // Whoever else signs it takes nothing away.
        let both = note::sign(&of_b.text().unwrap(), &[&a, &b]).unwrap();
        assert_eq!(Certificate::open(&both, &known), Ok(of_b));
        assert_eq!(Certificate::open(&both, &known[..1]), Err(Error::Origin));
    }

    #[test]
    fn certificates_part_where_the_next_begins() {
        let [one, two] = [certificate(&["account"]), certificate(&[])];
        let [a, b] = [&one, &two].map(|certificate| certificate.sign(&signer(1)).unwrap());
        assert_eq!(several(&a), std::slice::from_ref(&a));
        for between in ["", "\n"] {
            assert_eq!(
                several(&format!("{a}{between}{b}{between}{a}")),
                [a.clone(), b.clone(), a.clone()],
                "{between:?}"
            );
        }
        // Whatever else is there stays with a note, which then does not open.
        let known = [signer(1).verifier().clone()];
        for text in [
            format!("{a}\n\n{b}"),
            format!("{a}{b}\n"),
            format!("\n{a}{b}"),
            format!("x\n{a}"),
            format!("{a}x\n{b}"),
            format!("{a}{}", b.replacen('\n', "", 1)),
            String::new(),
        ] {
            assert!(several(&text).iter().any(|note| Certificate::open(note, &known).is_err()), "{text}");
        }
    }

    #[test]
    fn no_byte_of_it_can_be_changed() {
        let note = certificate(&["account"]).sign(&signer(1)).unwrap();
        let known = [signer(1).verifier().clone()];
        for at in 0..note.len() {
            let mut changed = note.clone().into_bytes();
            changed[at] = if changed[at] == b'0' { b'1' } else { b'0' };
            if let Ok(changed) = String::from_utf8(changed) {
                assert!(Certificate::open(&changed, &known).is_err(), "byte {at}");
            }
        }
    }

    #[test]
    fn what_the_key_signed_otherwise_is_no_certificate() {
        let known = [signer(1).verifier().clone()];
        let text = certificate(&["account"]).text().unwrap();
        for (from, to) in [
            ("privet-erasure-certificate/v1", "privet-erasure-certificate/v2"),
            ("tenant acme", "tenant Acme"),
            ("account", "account  billing"),
            ("account", "* account"),
            ("abab", "ABAB"),
            (":05Z", ":05.0Z"),
            ("no ciphertext", "some ciphertext"),
            ("privet-erasure", "\nprivet-erasure"),
        ] {
            assert!(text.contains(from), "{from}");
            let note = note::sign(&text.replacen(from, to, 1), &[&signer(1)]);
            let opened = note.map(|note| Certificate::open(&note, &known));
            assert!(!matches!(opened, Ok(Ok(_))), "{to}");
        }
        let checkpoint = note::sign("a.example/log\n1\nAAAA\n", &[&signer(1)]).unwrap();
        assert_eq!(Certificate::open(&checkpoint, &known), Err(Error::Other));
    }
}
