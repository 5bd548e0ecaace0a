//! How a new log key is announced: by a signed note of the old key and the new one, and by an entry of the log.
//!
//! ```text
//! privet log key
//! origin
//! index of the entry that announces the key
//! the new verifier key
//!
//! — origin base64(old key id ‖ signature)
//! — origin base64(new key id ‖ signature)
//! ```
//!
//! The old key vouches for the new one; the new one shows that whoever announced it holds it. Whoever trusts one key of a log
//! walks from it to all later ones with [`Keys::walk`]. No text of an announcement can be read as a checkpoint: its second line
//! would have to be an origin and a number, and its first the same origin.
//!
//! INVARIANT: checkpoints that cover the announcing entry are signed by the new key, all smaller ones by the old.

#[cfg(test)]
mod tests;

use super::{
    checkpoint::parse_decimal,
    note::{self, SignerKey, VerifierKey},
};

/// An announcement can't be made, or is not to be believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The note.
    #[error(transparent)]
    Note(#[from] note::Error),
    /// The text is not an announcement's.
    #[error("not an announcement of a log key")]
    Malformed,
    /// The announcement is of another log.
    #[error("the announcement is of another log")]
    Origin,
    /// The announcement comes before the one that it follows.
    #[error("the announcement is out of order")]
    Order,
}

/// A new log key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Announcement {
    index: u64,
    key: VerifierKey,
}

impl Announcement {
    /// The signed note by which `old` hands the log `origin` over to `new`, from the entry `index` on.
    ///
    /// # Errors
    /// [`Error::Malformed`] if both keys are one, or the new key's name is not the origin.
    pub fn sign(origin: &str, index: u64, old: &SignerKey, new: &SignerKey) -> Result<String, Error> {
        let text = format!("{HEADER}\n{origin}\n{index}\n{}\n", new.verifier());
        let note = note::sign(&text, &[old, new])?;
        // Whatever is announced can be read.
        Self::open(&note, origin, old.verifier())?;
        Ok(note)
    }

    /// Checks that `old` and the new key itself have signed this announcement for the log `origin`.
    ///
    /// # Errors
    /// [`Error`]; [`note::Error::Unsigned`] if either has not.
    pub fn open(note: &str, origin: &str, old: &VerifierKey) -> Result<Self, Error> {
        let announced = Self::read(note, origin, old)?;
        if announced.key == *old {
            return Err(Error::Malformed);
        }
        note::open(note, std::slice::from_ref(&announced.key))?;
        Ok(announced)
    }

    /// The announcement of a key that is trusted already: where its reign begins. The key before may be unknown.
    ///
    /// # Errors
    /// [`Error`].
    pub fn of_trusted(note: &str, origin: &str, key: &VerifierKey) -> Result<Self, Error> {
        Self::read(note, origin, key)?.some_if(|announced| announced.key == *key)
    }

    /// The index of the entry that announces the key.
    pub fn index(&self) -> u64 {
        self.index
    }

    /// The new key.
    pub fn key(&self) -> &VerifierKey {
        &self.key
    }

    fn read(note: &str, origin: &str, signer: &VerifierKey) -> Result<Self, Error> {
        let opened = note::open(note, std::slice::from_ref(signer))?;
        let mut lines = opened.text.split('\n');
        let mut line = || lines.next().ok_or(Error::Malformed);
        if line()? != HEADER {
            return Err(Error::Malformed);
        }
        if line()? != origin {
            return Err(Error::Origin);
        }
        let index = parse_decimal(line()?).filter(|index| *index < u64::MAX).ok_or(Error::Malformed)?;
        let key: VerifierKey = line()?.parse().map_err(|_| Error::Malformed)?;
        let ends = line()?.is_empty() && lines.next().is_none();
        if ends && key.name() == origin { Ok(Self { index, key }) } else { Err(Error::Malformed) }
    }

    fn some_if(self, holds: impl FnOnce(&Self) -> bool) -> Result<Self, Error> {
        if holds(&self) { Ok(self) } else { Err(Error::Malformed) }
    }
}

/// A key and the sizes of the checkpoints it signs: from here until the next key's reign.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reign {
    /// The key.
    pub key: VerifierKey,
    /// The smallest size of a checkpoint that it signs: one more than the index of the announcing entry, 0 for the first key.
    pub from: u64,
}

/// The keys of a log that follow from one that is trusted, oldest first.
///
/// INVARIANT: never empty; reigns begin at growing sizes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Keys {
    first: Reign,
    later: Vec<Reign>,
}

/// The announcement that broke the walk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("key announcement {number}: {error}")]
pub struct Broken {
    /// Which one, from 1.
    pub number: usize,
    /// Why.
    pub error: Error,
}

impl Keys {
    /// Walks the announcements of the log `origin`, oldest first, from a trusted key to all later ones. What comes before the
    /// trusted key's own reign is left out: the key can't vouch for it.
    ///
    /// # Errors
    /// [`Broken`] at the first announcement that does not follow from the ones before, or if none follows from the trusted
    /// key.
    pub fn walk(origin: &str, trusted: &VerifierKey, announcements: &[impl AsRef<str>]) -> Result<Self, Broken> {
        let mut keys = Self { first: Reign { key: trusted.clone(), from: 0 }, later: Vec::new() };
        let mut anchored = false;
        for (note, number) in announcements.iter().zip(1..) {
            let broken = |error| Broken { number, error };
            let note = note.as_ref();
            match Announcement::open(note, origin, keys.newest()) {
                Ok(next) => {
                    // A key that announces its successor was the first one, or was announced itself.
                    if !anchored && number > 1 {
                        return Err(Broken { number: 1, error: note::Error::Unsigned.into() });
                    }
                    let from = next.index + 1;
                    if from <= keys.later.last().unwrap_or(&keys.first).from {
                        return Err(broken(Error::Order));
                    }
                    keys.later.push(Reign { key: next.key, from });
                    anchored = true;
                }
                Err(error) if anchored => return Err(broken(error)),
                Err(error) => match Announcement::of_trusted(note, origin, trusted) {
                    Ok(own) => {
                        keys.first.from = own.index + 1;
                        anchored = true;
                    }
                    Err(Error::Note(note::Error::Unsigned)) if error == note::Error::Unsigned.into() => {}
                    Err(_) => return Err(broken(error)),
                },
            }
        }
        if anchored || announcements.is_empty() {
            Ok(keys)
        } else {
            Err(Broken { number: 1, error: note::Error::Unsigned.into() })
        }
    }

    /// The key that signs checkpoints of this size. `None` for those before the trusted key's reign.
    pub fn at(&self, size: u64) -> Option<&VerifierKey> {
        self.all().rev().find(|reign| reign.from <= size).map(|reign| &reign.key)
    }

    /// The reign that the entry at `index` begins.
    pub fn begun_at(&self, index: u64) -> Option<&Reign> {
        self.all().find(|reign| reign.from.checked_sub(1) == Some(index))
    }

    /// Every reign, oldest first.
    pub fn all(&self) -> impl DoubleEndedIterator<Item = &Reign> {
        std::iter::once(&self.first).chain(&self.later)
    }

    /// The newest key.
    pub fn newest(&self) -> &VerifierKey {
        &self.later.last().unwrap_or(&self.first).key
    }
}

const HEADER: &str = "privet log key";
