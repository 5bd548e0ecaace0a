//! The keys that sign the log's checkpoints, at rest: 32-byte Ed25519 seeds, each wrapped by a root generation and bound to its
//! number. The first one lies in a file, since a log has it before it has a store; it must be this user's alone.
//!
//! ```text
//! "privet log key 1\n" ‖ number (4, big-endian) ‖ root generation (4) ‖ wrapped seed (60)
//! ```
//!
//! A log key wraps nothing. What it signs and how it is named is for the log to say.

use std::{
    io::{self, Read},
    path::{Path, PathBuf},
};

use super::{
    aead::{self, WRAPPED_KEY_BYTES},
    root::{self, Generation, RootProvider, ToWrap},
};
use crate::{entropy::Entropy, id::Tenant, private, proto::stored, secret::Key};

/// The number of a log's first key.
pub const FIRST: u32 = 1;

/// A key as it is kept: wrapped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogKey {
    number: u32,
    generation: Generation,
    wrapped_seed: Vec<u8>,
}

impl LogKey {
    /// Draws the log's key of this number and wraps it by the newest root generation.
    ///
    /// # Errors
    /// [`Error::Root`].
    pub fn create(root: &dyn RootProvider, entropy: &dyn Entropy, number: u32) -> Result<Self, Error> {
        let seed = Key::random(entropy).map_err(root::Error::from)?;
        let generation = root.newest();
        let to_wrap = [ToWrap { aad: &place(number, generation), key: &seed }];
        let wrapped_seed = root.wrap(generation, &to_wrap)?.pop().unwrap_or_default();
        Ok(Self { number, generation, wrapped_seed })
    }

    /// The key's seed.
    ///
    /// # Errors
    /// [`Error::Root`]: [`root::Error::Missing`] and [`root::Error::Mismatch`] if it is not this root's, or not of this number.
    pub fn open(&self, root: &dyn RootProvider) -> Result<Key, Error> {
        Ok(root.unwrap(self.generation, &place(self.number, self.generation), &self.wrapped_seed)?)
    }

    /// Which of the log's keys it is, from [`FIRST`].
    pub fn number(&self) -> u32 {
        self.number
    }

    /// Reads a key's file.
    ///
    /// # Errors
    /// [`Error::Missing`], [`Error::Refused`] if it is not this user's alone or no key's file, [`Error::Io`].
    pub fn read(path: &Path) -> Result<Self, Error> {
        let refused = |why| Error::Refused { path: path.to_owned(), why };
        let io_error = |doing, source| Error::Io { doing, path: path.to_owned(), source };
        let file = private::open(path).map_err(|error| match error {
            private::Error::Refused(why) => refused(why),
            private::Error::Io { source, .. } if source.kind() == io::ErrorKind::NotFound => {
                Error::Missing { path: path.to_owned() }
            }
            private::Error::Io { doing, source } => io_error(doing, source),
        })?;
        let mut bytes = Vec::with_capacity(FILE_BYTES + 1);
        file.take(FILE_BYTES as u64 + 1).read_to_end(&mut bytes).map_err(|source| io_error("read", source))?;
        Self::parse(&bytes).ok_or_else(|| {
            let later = bytes.starts_with(NAME) && !bytes.starts_with(MAGIC);
            refused(if later {
                "it has another format; run the version that wrote it"
            } else {
                "it is no log key; put back the one that `privet init` made"
            })
        })
    }

    /// What its file holds.
    pub fn to_bytes(&self) -> Vec<u8> {
        [MAGIC, &self.number.to_be_bytes(), &self.generation.0.to_be_bytes(), &self.wrapped_seed].concat()
    }

    /// The part of a stored record that this is; the rest is the log's.
    pub fn to_record(&self) -> stored::LogKey {
        stored::LogKey {
            root_generation: self.generation.0,
            wrapped_seed: self.wrapped_seed.clone(),
            ..stored::LogKey::default()
        }
    }

    /// The key that a stored record of this number holds.
    pub fn from_record(number: u32, record: &stored::LogKey) -> Self {
        Self { number, generation: Generation(record.root_generation), wrapped_seed: record.wrapped_seed.clone() }
    }

    fn parse(bytes: &[u8]) -> Option<Self> {
        let rest = bytes.strip_prefix(MAGIC)?;
        let (number, rest) = rest.split_first_chunk()?;
        let (generation, wrapped_seed) = rest.split_first_chunk()?;
        (wrapped_seed.len() == WRAPPED_KEY_BYTES).then(|| Self {
            number: u32::from_be_bytes(*number),
            generation: Generation(u32::from_be_bytes(*generation)),
            wrapped_seed: wrapped_seed.to_vec(),
        })
    }
}

/// Why there is no log key.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no such file, and the log has not begun, so the store has no key either.
    #[error(
        "there is no log key at {}: put back the one that `privet init` made, or name it in log.key",
        path.display()
    )]
    Missing {
        /// The file.
        path: PathBuf,
    },
    /// Its file can't be used as it is.
    #[error("the log key at {} is refused: {why}", path.display())]
    Refused {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: &'static str,
    },
    /// The file system failed.
    #[error("can't {doing} the log key at {}", path.display())]
    Io {
        /// What was being done.
        doing: &'static str,
        /// To which file.
        path: PathBuf,
        /// The system's own error.
        #[source]
        source: io::Error,
    },
    /// The root did not wrap or unwrap it.
    #[error("the log key can't be used")]
    Root(#[from] root::Error),
}

fn place(number: u32, parent: Generation) -> Vec<u8> {
    let tenant = Tenant::system();
    let parts: [&[u8]; 5] =
        [b"privet/wrap/v1", b"log-key", tenant.as_str().as_bytes(), &number.to_be_bytes(), &parent.0.to_be_bytes()];
    aead::place(&parts)
}

const NAME: &[u8] = b"privet log key ";
const MAGIC: &[u8] = b"privet log key 1\n";
const FILE_BYTES: usize = 17 + 4 + 4 + WRAPPED_KEY_BYTES;

#[cfg(test)]
mod tests {
    use std::{
        fs,
        os::unix::fs::{PermissionsExt, symlink},
        sync::Arc,
    };

    use tempfile::TempDir;

    use super::*;
    use crate::{entropy::SystemEntropy, keyring::root::FileRoot};

    fn root() -> (TempDir, FileRoot) {
        let dir = tempfile::tempdir().unwrap();
        let root = FileRoot::create(dir.path(), Arc::new(SystemEntropy::open())).unwrap();
        (dir, root)
    }

    fn create(root: &FileRoot, number: u32) -> LogKey {
        LogKey::create(root, &SystemEntropy::open(), number).unwrap()
    }

    fn write(dir: &Path, bytes: &[u8]) -> PathBuf {
        let path = dir.join("log-key");
        fs::write(&path, bytes).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        path
    }

    #[test]
    fn a_key_opens_again_from_its_file_and_from_a_record() {
        let (dir, root) = root();
        let key = create(&root, FIRST);
        let seed = key.open(&root).unwrap();
        let bytes = key.to_bytes();
        assert_eq!((bytes.len(), &bytes[..25]), (85, &b"privet log key 1\n\0\0\0\x01\0\0\0\x01"[..]));
        assert!(!bytes.windows(32).any(|window| window == seed.expose()));
        let read = LogKey::read(&write(dir.path(), &bytes)).unwrap();
        assert_eq!((read.number(), read.open(&root).unwrap().expose()), (FIRST, seed.expose()));
        let record = LogKey::from_record(FIRST, &key.to_record());
        assert_eq!(record.open(&root).unwrap().expose(), seed.expose());
        assert_ne!(create(&root, FIRST).open(&root).unwrap().expose(), seed.expose());
    }

    #[test]
    fn a_key_moved_to_another_number_generation_or_root_does_not_open() {
        let (_dir, root) = root();
        let record = create(&root, 2).to_record();
        assert!(LogKey::from_record(2, &record).open(&root).is_ok());
        for number in [1, 3] {
            let moved = LogKey::from_record(number, &record).open(&root);
            assert!(matches!(moved, Err(Error::Root(root::Error::Mismatch(_)))), "{number}");
        }
        let later = stored::LogKey { root_generation: 2, ..record.clone() };
        let missing = LogKey::from_record(2, &later).open(&root);
        assert!(matches!(missing, Err(Error::Root(root::Error::Missing(Generation(2))))));
        let (_dir, other) = self::root();
        assert!(LogKey::from_record(2, &record).open(&other).is_err());
    }

    #[test]
    fn what_is_no_log_key_is_refused() {
        let (dir, root) = root();
        let whole = create(&root, FIRST).to_bytes();
        let why = |bytes: &[u8]| LogKey::read(&write(dir.path(), bytes)).unwrap_err().to_string();
        for cut in [0, 1, 17, 24, 84] {
            assert!(why(&whole[..cut]).contains("it is no log key"), "{cut}");
        }
        assert!(why(&[&whole[..], b"\n"].concat()).contains("it is no log key"));
        assert!(why(b"privet log key 2\nlater").contains("run the version that wrote it"));
    }

    #[test]
    fn a_file_that_is_not_this_users_alone_is_refused() {
        let (dir, root) = root();
        let path = write(dir.path(), &create(&root, FIRST).to_bytes());
        for mode in [0o640, 0o604, 0o660] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            assert!(matches!(LogKey::read(&path), Err(Error::Refused { .. })), "{mode:o}");
        }
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        symlink(&path, dir.path().join("link")).unwrap();
        assert!(matches!(LogKey::read(&dir.path().join("link")), Err(Error::Refused { .. })));
        assert!(matches!(LogKey::read(&dir.path().join("none")), Err(Error::Missing { .. })));
        assert!(LogKey::read(&path).is_ok());
    }
}
