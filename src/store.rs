//! The Store port: the one place where state becomes durable.
//!
//! A store holds small values under [`Slot`]s. It is written by exactly one caller, the log's writer, through
//! [`Store::commit`]: a batch of log blocks and the effects they explain, against the [`Head`] that the batch was built on.
//! Nobody else writes, so nothing can change outside the log.
//!
//! What a backend owes:
//!
//! * **Atomic**: after a crash at any point, all of a batch is there or none of it.
//! * **Durable**: when `commit` answers [`Commit::Committed`], the batch survives a power cut.
//! * **Ordered**: a batch is there only if every batch before it is.
//! * **Fenced**: a batch against a head that is no longer the newest changes nothing and answers [`Commit::Moved`].
//! * **Read-committed**: a read sees whole batches. It may see one that is not yet acknowledged, which is why every answer
//!   is checked against its [`ReadPoint`] before it is released.
//! * **Bounded**: a slot's key is at most [`KEY_BYTES_MAX`], a value at most [`VALUE_BYTES_MAX`]; more is an error that
//!   changes nothing.
//! * **Forewarned**: [`Store::room`] says that room is scarce before a commit fails for want of it, and what is kept in reserve
//!   lets the batches that must go through do so.
//!
//! A store sees ciphertext, wrapped keys and log entries only. Deleting a value does not erase it from the disk: only the
//! destruction of keys erases.

pub mod sled;

use std::{fmt, future::Future, ops::Range, pin::Pin};

/// The longest key of a slot, in bytes.
pub const KEY_BYTES_MAX: usize = 128;

/// The longest value, in bytes.
pub const VALUE_BYTES_MAX: usize = 8_000;

/// The longest [`Head::state`], in bytes.
pub const HEAD_STATE_BYTES_MAX: usize = 1_024;

/// Which kind of value a slot holds. The discriminant is part of the stored format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Space {
    /// Blocks of log entries, by first index and part.
    Block = 1,
    /// Each tenant's place in the log.
    TenantHead = 2,
    /// Policy documents, by version and chunk.
    Policy = 3,
    /// Tenants' own keys.
    Tenant = 4,
    /// Bucket keys, by tenant and bucket.
    Bucket = 5,
    /// Subject records, by tenant and tag.
    Subject = 6,
    /// Full tiles of the log's tree, each in two halves: by level, index and half.
    Tile = 7,
    /// The keys that sign the log, by number.
    LogKey = 8,
    /// Checkpoints that are kept, by size.
    Checkpoint = 9,
    /// Sealed segments, by first index.
    Segment = 10,
    /// Policy proposals, their bodies, and what is known of policy versions.
    Proposal = 11,
    /// Certificates of erasures, by tenant and id.
    Erasure = 12,
}

impl Space {
    /// Every space.
    pub const ALL: [Self; 12] = [
        Self::Block,
        Self::TenantHead,
        Self::Policy,
        Self::Tenant,
        Self::Bucket,
        Self::Subject,
        Self::Tile,
        Self::LogKey,
        Self::Checkpoint,
        Self::Segment,
        Self::Proposal,
        Self::Erasure,
    ];
}

/// Where a value lies. Slots of one space are ordered by their key bytes.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Slot {
    /// What kind of value it is.
    pub space: Space,
    /// Its key within the space, at most [`KEY_BYTES_MAX`] bytes; never a subject id.
    pub key: Vec<u8>,
}

impl Slot {
    /// A slot of `space` whose key is the parts one after the other.
    pub fn new(space: Space, parts: &[&[u8]]) -> Self {
        Self { space, key: parts.concat() }
    }
}

impl fmt::Debug for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.space)
    }
}

/// One write of a batch.
#[derive(Clone, PartialEq, Eq)]
pub struct Effect {
    /// Where.
    pub slot: Slot,
    /// What; `None` removes.
    pub value: Option<Vec<u8>>,
}

impl fmt::Debug for Effect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {:?}", if self.value.is_some() { "put" } else { "remove" }, self.slot)
    }
}

/// How many entries were durable before a read began. What was read then is still true for a commit if nothing it rests on
/// was written by an entry with this index or a later one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ReadPoint(pub u64);

/// The slots that an answer rests on, each with the point it was read at.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rests {
    /// Read and relied on: the answer is stale once something was *removed* from one of them.
    pub relied: Vec<(Slot, ReadPoint)>,
    /// Read and about to be rewritten: the answer is stale once *anything* was written there.
    pub rewritten: Vec<(Slot, ReadPoint)>,
}

impl Rests {
    /// All of it.
    pub fn iter(&self) -> impl Iterator<Item = &(Slot, ReadPoint)> {
        self.relied.iter().chain(&self.rewritten)
    }
}

/// The newest state that a batch builds on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Head {
    /// How many entries the log holds: the index of the next.
    pub entries: u64,
    /// What else the writer keeps at the head, at most [`HEAD_STATE_BYTES_MAX`] bytes; opaque to the store.
    pub state: Vec<u8>,
}

/// All that one group commit changes. Later effects on a slot win over earlier ones.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    /// The head after this batch.
    pub head: Head,
    /// Blocks and effects.
    pub effects: Vec<Effect>,
}

impl Batch {
    /// Refuses a batch that holds more than a slot or the head may: every backend asks this before it changes anything. A
    /// head that is too long counts as a block.
    ///
    /// # Errors
    /// [`Error::TooLong`].
    pub fn check_bounds(&self) -> Result<(), Error> {
        for Effect { slot, value } in &self.effects {
            let value_bytes = value.as_ref().map_or(0, Vec::len);
            if slot.key.len() > KEY_BYTES_MAX || value_bytes > VALUE_BYTES_MAX {
                return Err(Error::TooLong { space: slot.space, bytes: slot.key.len() + value_bytes });
            }
        }
        if self.head.state.len() > HEAD_STATE_BYTES_MAX {
            return Err(Error::TooLong { space: Space::Block, bytes: self.head.state.len() });
        }
        Ok(())
    }
}

/// What became of a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub enum Commit {
    /// It is durable.
    Committed,
    /// Nothing changed: another writer moved the head here. Check the preconditions again and retry.
    Moved(Head),
    /// The backend can't tell (a connection lost while committing). Committing the same batch again is safe: it answers
    /// `Committed` if the batch is there.
    Unknown,
}

/// How much room is left for more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Room {
    /// Enough for any batch.
    Ample,
    /// Nearly none: only what must go through is still to be committed – what erases, revokes, deletes or recovers – and for
    /// that there is [`Store::release_reserve`].
    Scarce,
}

/// A store that failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A read or a write failed. After a failed commit its batch may or may not become durable: the process must not
    /// acknowledge anything any more.
    #[error("storage failed while it {doing}: see that the disk works, can be written and has room")]
    Storage {
        /// What the store was doing, to follow "while it".
        doing: &'static str,
        /// The backend's own error.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A key or a value is too long; nothing was changed.
    #[error("a {space:?} value of {bytes} bytes is too long")]
    TooLong {
        /// Where it was to lie.
        space: Space,
        /// How long it is, key and value together.
        bytes: usize,
    },
    /// What is stored can't be what this program wrote.
    #[error("stored data is damaged: {what}; restore the data directory from a backup")]
    Damaged {
        /// What does not fit.
        what: String,
    },
    /// The data directory can't be used as it is; the text says what to do.
    #[error("{0}")]
    Refused(String),
}

/// A read under way.
pub type Reading<'a, T> = Pin<Box<dyn Future<Output = Result<T, Error>> + Send + 'a>>;

/// The direction of a scan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From the smallest key on.
    Ascending,
    /// From the largest key back.
    Descending,
}

/// Durable state. See the module's text for what a backend owes.
pub trait Store: Send + Sync + 'static {
    /// The head of the newest batch that is there.
    ///
    /// # Errors
    /// [`Error::Storage`], [`Error::Damaged`].
    fn head(&self) -> Result<Head, Error>;

    /// Reads values, in the order of `slots`; `None` where there is none. Never blocks the runtime's threads.
    ///
    /// # Errors
    /// [`Error::Storage`], [`Error::Damaged`].
    fn read<'a>(&'a self, slots: &'a [Slot]) -> Reading<'a, Vec<Option<Vec<u8>>>>;

    /// Reads at most `limit` slots of `space` whose key lies in the half-open `keys`, in the order of `direction`.
    ///
    /// # Errors
    /// [`Error::Storage`], [`Error::Damaged`].
    fn scan<'a>(
        &'a self,
        space: Space,
        keys: Range<Vec<u8>>,
        direction: Direction,
        limit: usize,
    ) -> Reading<'a, Vec<(Vec<u8>, Vec<u8>)>>;

    /// Makes a batch durable. Blocks: only the log's writer thread calls it.
    ///
    /// # Errors
    /// [`Error::TooLong`] changes nothing. After any other error the store must not be written again.
    fn commit(&self, base: &Head, batch: &Batch) -> Result<Commit, Error>;

    /// How much room is left. Cheap, and yet one system call: ask once a group commit. With room again after it was scarce
    /// this makes the reserve anew, which may take as long as writing 64 MiB.
    ///
    /// # Errors
    /// [`Error::Storage`].
    fn room(&self) -> Result<Room, Error>;

    /// Gives what is kept in reserve to the batches that must go through. Room stays [`Room::Scarce`] until there is enough
    /// for a new reserve as well. Giving it back twice is fine.
    ///
    /// # Errors
    /// [`Error::Storage`].
    fn release_reserve(&self) -> Result<(), Error>;
}
