//! The policy document as text: four files, versioned, hashed and stored as one.

use std::{fs::File, io::Read, path::Path};

use ring::digest::{SHA256, digest};

use crate::catalogue::{self, Problem};

/// How problems name the model.
pub const MODEL: &str = "policies/model.conf";
/// How problems name the grants and memberships.
pub const POLICY: &str = "policies/policy.csv";
/// How problems name the catalogue.
pub const CATALOGUE: &str = "policies/catalogue.toml";
/// How problems name the assertions.
pub const ASSERTIONS: &str = "policies/assertions.toml";

/// The longest policy file, in bytes.
pub const POLICY_BYTES_MAX: usize = 32 << 20;

const MODEL_BYTES_MAX: usize = 16 << 10;
const ASSERTIONS_BYTES_MAX: usize = 1 << 20;
const FORMAT: u8 = 1;
const HASH_DOMAIN: &[u8] = b"privet/policy-document/v1";

/// The four files' text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sources {
    /// `model.conf`: casbin's model, which must be the one this program knows.
    pub model: String,
    /// `policy.csv`: grants and memberships.
    pub policy: String,
    /// `catalogue.toml`: classes, purposes and roles.
    pub catalogue: String,
    /// `assertions.toml`: what must be allowed and what must be denied.
    pub assertions: String,
}

/// Stored bytes that are not a policy document of a format this program knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("stored bytes are not a policy document of a known format")]
pub struct Unreadable;

impl Sources {
    /// Reads the four files of a directory.
    ///
    /// # Errors
    /// A [`Problem`] for each file that can't be read, is too long or is not UTF-8.
    pub fn read(dir: &Path) -> Result<Self, Vec<Problem>> {
        let mut problems = Vec::new();
        let [model, policy, catalogue, assertions] = FILES.map(|(name, bytes_max)| {
            read_text(dir, name, bytes_max).map_err(|problem| problems.push(problem)).unwrap_or_default()
        });
        if problems.is_empty() { Ok(Self { model, policy, catalogue, assertions }) } else { Err(problems) }
    }

    /// SHA-256 over the domain and [`Sources::to_bytes`], both length-prefixed: what identifies this document.
    pub fn hash(&self) -> [u8; 32] {
        let mut input = Vec::new();
        for part in [HASH_DOMAIN, &self.to_bytes()] {
            input.extend_from_slice(&(part.len() as u64).to_be_bytes());
            input.extend_from_slice(part);
        }
        let mut hash = [0; 32];
        hash.iter_mut().zip(digest(&SHA256, &input).as_ref()).for_each(|(to, from)| *to = *from);
        hash
    }

    /// The document as one value: the format's number, then each file's length (u64 BE) and text.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = vec![FORMAT];
        for text in self.texts() {
            bytes.extend_from_slice(&(text.len() as u64).to_be_bytes());
            bytes.extend_from_slice(text.as_bytes());
        }
        bytes
    }

    /// Reads what [`Sources::to_bytes`] wrote.
    ///
    /// # Errors
    /// [`Unreadable`] for another format, a length that does not fit, bytes left over, or text that is not UTF-8.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Unreadable> {
        let mut rest = bytes.strip_prefix(&[FORMAT]).ok_or(Unreadable)?;
        let mut next = || {
            let (length, tail) = rest.split_first_chunk::<8>().ok_or(Unreadable)?;
            let length = usize::try_from(u64::from_be_bytes(*length)).map_err(|_| Unreadable)?;
            let (text, tail) = tail.split_at_checked(length).ok_or(Unreadable)?;
            rest = tail;
            std::str::from_utf8(text).map(str::to_owned).map_err(|_| Unreadable)
        };
        let sources = Self { model: next()?, policy: next()?, catalogue: next()?, assertions: next()? };
        if rest.is_empty() { Ok(sources) } else { Err(Unreadable) }
    }

    /// A problem for each file that is longer than it may be.
    pub(super) fn oversized(&self) -> Vec<Problem> {
        let files = FILES.iter().zip(self.texts());
        files.filter(|((_, max), text)| text.len() > *max).map(|((name, max), _)| too_long(name, *max)).collect()
    }

    fn texts(&self) -> [&str; 4] {
        [&self.model, &self.policy, &self.catalogue, &self.assertions]
    }
}

fn read_text(dir: &Path, name: &str, bytes_max: usize) -> Result<String, Problem> {
    let path = dir.join(Path::new(name).file_name().unwrap_or_default());
    let shown = path.display().to_string();
    let mut bytes = Vec::new();
    File::open(&path)
        .and_then(|file| file.take(bytes_max as u64 + 1).read_to_end(&mut bytes))
        .map_err(|error| Problem::of_file(&shown, format!("can't be read: {}", error.kind())))?;
    if bytes.len() > bytes_max {
        return Err(too_long(&shown, bytes_max));
    }
    String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        let line = 1 + error.as_bytes().iter().take(at).filter(|byte| **byte == b'\n').count();
        Problem::of_line(&shown, line, "is not UTF-8")
    })
}

fn too_long(file: &str, bytes_max: usize) -> Problem {
    Problem::of_file(file, format!("is longer than {bytes_max} bytes"))
}

const FILES: [(&str, usize); 4] = [
    (MODEL, MODEL_BYTES_MAX),
    (POLICY, POLICY_BYTES_MAX),
    (CATALOGUE, catalogue::FILE_BYTES_MAX),
    (ASSERTIONS, ASSERTIONS_BYTES_MAX),
];

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn sources() -> Sources {
        Sources { model: "m".into(), policy: "pé".into(), catalogue: String::new(), assertions: "a".into() }
    }

    #[test]
    fn a_document_survives_its_bytes() {
        assert_eq!(Sources::from_bytes(&sources().to_bytes()), Ok(sources()));
    }

    #[test]
    fn every_cut_and_every_extension_of_the_bytes_is_refused() {
        let bytes = sources().to_bytes();
        for end in 0..bytes.len() {
            assert_eq!(Sources::from_bytes(&bytes[..end]), Err(Unreadable), "{end}");
        }
        assert_eq!(Sources::from_bytes(&[bytes.as_slice(), b"x"].concat()), Err(Unreadable));
        let huge = [&[FORMAT][..], &[0xff; 8], &bytes[9..]].concat();
        assert_eq!(Sources::from_bytes(&huge), Err(Unreadable));
        let other_format = [&[FORMAT + 1][..], &bytes[1..]].concat();
        assert_eq!(Sources::from_bytes(&other_format), Err(Unreadable));
        let not_utf8 = bytes.iter().map(|byte| if *byte == b'm' { 0xff } else { *byte }).collect::<Vec<_>>();
        assert_eq!(Sources::from_bytes(&not_utf8), Err(Unreadable));
    }

    #[test]
    fn the_hash_is_pinned_and_moves_with_every_file() {
        let hash = sources().hash();
        assert_eq!(hex::encode(hash), "8f7369c85f360247124deaf8ee3b0ef4c6c0777ff971baca3cf51b67feed9f2a");
        let moved = Sources { model: String::new(), policy: "mpé".into(), ..sources() };
        let changed = [
            moved,
            Sources { model: "n".into(), ..sources() },
            Sources { policy: "p".into(), ..sources() },
            Sources { catalogue: "c".into(), ..sources() },
            Sources { assertions: String::new(), ..sources() },
        ];
        assert!(changed.iter().all(|other| other.hash() != hash));
    }

    #[test]
    fn unreadable_files_are_all_named() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("policy.csv"), b"# a\n# \xff\n").unwrap();
        fs::write(dir.path().join("model.conf"), vec![b'#'; MODEL_BYTES_MAX + 1]).unwrap();
        fs::write(dir.path().join("catalogue.toml"), "").unwrap();
        let found: Vec<String> = Sources::read(dir.path()).unwrap_err().iter().map(ToString::to_string).collect();
        assert_eq!(found.len(), 3, "{found:?}");
        assert!(found[0].ends_with("model.conf: is longer than 16384 bytes"), "{found:?}");
        assert!(found[1].ends_with("policy.csv:2: is not UTF-8"), "{found:?}");
        assert!(found[2].contains("assertions.toml: can't be read"), "{found:?}");
    }
}
