//! Root keys: the only keys that lie outside the store, and so the only ones whose destruction reaches backups.
//!
//! A root has generations, each an independent random key. A generation wraps tenants' own keys, bucket keys and the log's
//! keys and nothing else; a provider never hands out the key itself.

mod file;
mod sealed;
#[cfg(feature = "pkcs11")]
mod token;

use std::{fmt, path::PathBuf};

pub use file::{Ask, FileRoot};
#[cfg(feature = "pkcs11")]
pub use token::{Place, TokenRoot};

use crate::{entropy, secret::Key};

/// Which of the root's independent keys, counted from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Generation(pub u32);

impl fmt::Display for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// How sure it is that a destroyed generation is gone; certificates of erasure repeat it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Destruction {
    /// The provider vouches that no copy is left, since this Unix second.
    Confirmed(u64),
    /// The provider will have destroyed it by this Unix second.
    Scheduled(u64),
    /// It was overwritten and removed; the medium may still hold a copy.
    BestEffort,
}

/// A key to be wrapped, and the AAD that binds it to its place.
pub struct ToWrap<'a> {
    /// The place.
    pub aad: &'a [u8],
    /// The key.
    pub key: &'a Key,
}

/// Why a root key can't be used. The text says what to do.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A root key's file or its directory can't be used as it is.
    #[error("the root key at {path} is refused: {why}")]
    Refused {
        /// The file or the directory.
        path: PathBuf,
        /// What is wrong with it.
        why: &'static str,
    },
    /// A root key is sealed, and nobody gives its passphrase.
    #[error(
        "the root key at {path} is sealed with a passphrase: name a file with it as root.passphrase_file, or start at a terminal"
    )]
    Sealed {
        /// The file.
        path: PathBuf,
    },
    /// A passphrase does not open a root key. A wrong one and a damaged file can't be told apart.
    #[error("the root key at {path} does not open: the passphrase is wrong, or the file is damaged")]
    Passphrase {
        /// The file.
        path: PathBuf,
    },
    /// The module of a token can't be used.
    #[error("the PKCS #11 module {path} can't be used: {why}")]
    Module {
        /// The shared library.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// A token can't be used.
    #[error("token {token:?}: {why}")]
    Token {
        /// Its label.
        token: String,
        /// What is wrong, and what to do where that is clear.
        why: String,
    },
    /// Nobody gives a token's PIN.
    #[error("token {token:?} wants its PIN: name a file with it as root.pin_file, or start at a terminal")]
    NoPin {
        /// Its label.
        token: String,
    },
    /// This program was built without tokens.
    #[error("this program was built without tokens: build it with `--features pkcs11`")]
    NoTokens,
    /// The file system failed.
    #[error("can't {doing} {path}")]
    Io {
        /// What was being done.
        doing: &'static str,
        /// To which file or directory.
        path: PathBuf,
        /// The system's own error.
        #[source]
        source: std::io::Error,
    },
    /// A generation that the store names, or that is to be destroyed, is not here.
    #[error("root generation {0} is not here: give the root keys that belong to this store")]
    Missing(Generation),
    /// A generation does not open what the store says it wrapped.
    #[error(
        "root generation {0} does not open this store's keys: give the root keys that belong to this store, or restore the store from a backup"
    )]
    Mismatch(Generation),
    /// The newest generation wraps every new key, so it can't be destroyed.
    #[error("root generation {0} is the newest and is kept")]
    Newest(Generation),
    /// No randomness.
    #[error(transparent)]
    Entropy(#[from] entropy::Unavailable),
}

/// A keeper of root keys. Calls may block for a short while, and never on the network for long: they happen when a tenant is
/// made, and once for a tenant's key or bucket key that is not in memory.
pub trait RootProvider: Send + Sync + 'static {
    /// The generation that wraps new keys.
    fn newest(&self) -> Generation;

    /// Wraps keys, each bound to its AAD, in the order given.
    ///
    /// # Errors
    /// [`Error::Missing`], [`Error::Entropy`], or the provider's own failure.
    fn wrap(&self, generation: Generation, keys: &[ToWrap<'_>]) -> Result<Vec<Vec<u8>>, Error>;

    /// Opens what [`RootProvider::wrap`] wrapped under the same generation and AAD.
    ///
    /// # Errors
    /// [`Error::Missing`], [`Error::Mismatch`], or the provider's own failure.
    fn unwrap(&self, generation: Generation, aad: &[u8], wrapped: &[u8]) -> Result<Key, Error>;

    /// Destroys a generation for good: nothing that only it wrapped can be read again, in the store or in any backup.
    ///
    /// # Errors
    /// [`Error::Newest`], [`Error::Missing`], or the provider's own failure; the generation may then still be there.
    fn destroy(&self, generation: Generation) -> Result<Destruction, Error>;
}
