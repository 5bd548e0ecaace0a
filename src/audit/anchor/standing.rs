//! Whether a store is the one that its anchor last saw, or that one grown. Pure: the anchor's checkpoint, the store's size, and
//! the store's own root at the anchor's size.
//!
//! A store that is ahead is in order: a crash can come between a commit and its anchor's advance. One that is behind has lost
//! entries that somebody was told of.

use crate::audit::{checkpoint::Checkpoint, merkle::Hash};

/// Why a store is not served under its anchor. The text says what to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Mismatch {
    /// The anchor has seen entries that the store does not have.
    #[error(
        "the store is older than its anchor: it has {store} entries and the anchor has seen {anchor}; put back the newest store; if it is lost, restore the newest backup, move the anchor away, and start once with --new-anchor, which is recorded"
    )]
    Older {
        /// How many entries the anchor has seen.
        anchor: u64,
        /// How many the store has.
        store: u64,
    },
    /// The entries that the anchor has seen are not the store's.
    #[error(
        "the store's first {size} entries are not those that its anchor has seen: they were altered, or this is another log's store; put back the store that belongs to the anchor; if it is lost, restore the newest backup, move the anchor away, and start once with --new-anchor, which is recorded"
    )]
    Inconsistent {
        /// How many entries the anchor has seen.
        size: u64,
    },
    /// The anchor's checkpoint is of no more entries than the store has, and no key that the store knows has signed it.
    #[error(
        "the anchor has seen {anchor} entries of a log with this name that was signed with a key that the store does not know: store and anchor are of two logs; put back those that belong together"
    )]
    Stranger {
        /// How many entries the anchor has seen.
        anchor: u64,
    },
    /// The store has entries and the anchor has seen none.
    #[error(
        "the store has {store} entries and its anchor has seen none: put the store's own anchor back; if there never was one, start once with --new-anchor, which is recorded"
    )]
    Missing {
        /// How many entries the store has.
        store: u64,
    },
}

/// Checks a store of so many entries against its anchor's newest checkpoint. `root_at` gives the root of the store's tree when
/// it had as many entries as it is asked for, never more than it has; it is asked at most once.
///
/// # Errors
/// [`Mismatch`], or whatever `root_at` fails with.
pub async fn check<E: From<Mismatch>>(
    anchor: Option<&Checkpoint>,
    entries: u64,
    root_at: impl AsyncFnOnce(u64) -> Result<Hash, E>,
) -> Result<(), E> {
    let Some(anchor) = anchor else {
        return if entries == 0 { Ok(()) } else { Err(Mismatch::Missing { store: entries }.into()) };
    };
    if entries < anchor.size() {
        return Err(Mismatch::Older { anchor: anchor.size(), store: entries }.into());
    }
    if root_at(anchor.size()).await? != *anchor.root() {
        return Err(Mismatch::Inconsistent { size: anchor.size() }.into());
    }
    Ok(())
}
