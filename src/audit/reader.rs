//! Reads entries back, in bounded pages, and checks each against its leaf hash.

use std::ops::Range;

use super::{
    block::{self, unpack},
    entry::Stored,
};
use crate::store::{Direction, Error, Space, Store};

/// Blocks read at a time.
const BLOCKS: usize = 64;

/// The entries of one run of blocks that lie in `indexes`, ascending: from the start of the range on, or for
/// [`Direction::Descending`] up to its end. Empty only if the range is. May give fewer than the range holds: ask again for the
/// rest.
///
/// # Errors
/// [`Error::Damaged`] if an entry is missing, can't be read or does not match its hash.
pub async fn entries(store: &dyn Store, indexes: Range<u64>, direction: Direction) -> Result<Vec<Stored>, Error> {
    if indexes.is_empty() {
        return Ok(Vec::new());
    }
    let near = match direction {
        Direction::Ascending => indexes.start,
        Direction::Descending => indexes.end.saturating_sub(1),
    };
    run(store, indexes, direction).await.map_err(|error| match error {
        // The store knows pages and no entries.
        Error::Damaged { what } if !what.starts_with("log entr") => {
            Error::Damaged { what: format!("log entries near {near} can't be read ({what})") }
        }
        Error::Damaged { .. } | Error::Storage { .. } | Error::TooLong { .. } | Error::Refused(_) => error,
    })
}

async fn run(store: &dyn Store, indexes: Range<u64>, direction: Direction) -> Result<Vec<Stored>, Error> {
    let first = block_start(store, indexes.start).await?;
    let keys = block::keys(first..indexes.end);
    let mut values = store.scan(Space::Block, keys, direction, BLOCKS).await?;
    match direction {
        Direction::Ascending => complete_last(store, &mut values).await?,
        Direction::Descending => {
            values.reverse();
            // The first may be the rest of a long entry, whose beginning the scan's limit cut off.
            let whole = values.iter().position(|(key, _)| block::is_first_part(key)).unwrap_or(values.len());
            values.drain(..whole);
        }
    }
    let mut entries = unpack(values.iter().map(|(key, value)| (key.as_slice(), value.as_slice())))?;
    entries.retain(|entry| indexes.contains(&entry.index));
    let contiguous = entries.windows(2).all(|pair| matches!(pair, [a, b] if a.index + 1 == b.index));
    let anchored = match direction {
        Direction::Ascending => entries.first().is_some_and(|entry| entry.index == indexes.start),
        Direction::Descending => entries.last().is_some_and(|entry| entry.index + 1 == indexes.end),
    };
    if contiguous && anchored {
        Ok(entries)
    } else {
        Err(Error::Damaged { what: format!("log entries near {} are missing", indexes.start) })
    }
}

/// The first index of the block that holds entry `index`.
async fn block_start(store: &dyn Store, index: u64) -> Result<u64, Error> {
    let keys = block::key(0, 0)..block::key(index.saturating_add(1), 0);
    let last = store.scan(Space::Block, keys, Direction::Descending, 1).await?;
    last.first()
        .and_then(|(key, _)| block::first_index(key))
        .ok_or_else(|| Error::Damaged { what: format!("log entry {index} is missing") })
}

/// Adds the parts of a long entry that the scan's limit cut off.
async fn complete_last(store: &dyn Store, values: &mut Vec<(Vec<u8>, Vec<u8>)>) -> Result<(), Error> {
    let Some((last, _)) = values.last() else { return Ok(()) };
    let Some(index) = block::first_index(last) else { return Ok(()) };
    let next = [last.as_slice(), &[0]].concat();
    let rest =
        store.scan(Space::Block, next..block::key(index.saturating_add(1), 0), Direction::Ascending, BLOCKS).await?;
    values.extend(rest);
    Ok(())
}
