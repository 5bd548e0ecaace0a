//! Short words for what tests of a store say often.

use std::ops::Range;

use privet::store::{Batch, Commit, Direction, Effect, Head, KEY_BYTES_MAX, Slot, Space, Store};

/// A batch whose head counts `entries` and has a state of its own.
pub fn batch(entries: u64, effects: Vec<Effect>) -> Batch {
    Batch { head: Head { entries, state: format!("state of {entries}").into_bytes() }, effects }
}

/// Commits on the newest head and gives the new one.
pub fn committed(store: &impl Store, batch: Batch) -> Head {
    assert_eq!(store.commit(&store.head().unwrap(), &batch).unwrap(), Commit::Committed);
    batch.head
}

/// Writes a text.
pub fn put(space: Space, key: &str, value: &str) -> Effect {
    Effect { slot: slot(space, key), value: Some(value.as_bytes().to_vec()) }
}

/// Removes.
pub fn remove(space: Space, key: &str) -> Effect {
    Effect { slot: slot(space, key), value: None }
}

/// A slot with a text for a key.
pub fn slot(space: Space, key: &str) -> Slot {
    Slot::new(space, &[key.as_bytes()])
}

/// Reads in a runtime of its own.
pub fn read(store: &impl Store, slots: &[Slot]) -> Vec<Option<Vec<u8>>> {
    runtime().block_on(store.read(slots)).unwrap()
}

/// Reads one text.
pub fn text(store: &impl Store, space: Space, key: &str) -> Option<String> {
    let value = read(store, &[slot(space, key)]).remove(0)?;
    Some(String::from_utf8(value).unwrap())
}

/// Scans in a runtime of its own.
pub fn scan(
    store: &impl Store,
    space: Space,
    keys: &Range<Vec<u8>>,
    direction: Direction,
    limit: usize,
) -> Vec<(Vec<u8>, Vec<u8>)> {
    runtime().block_on(store.scan(space, keys.clone(), direction, limit)).unwrap()
}

/// Every key there can be.
pub fn everything() -> Range<Vec<u8>> {
    Vec::new()..vec![0xff; KEY_BYTES_MAX + 1]
}

/// A runtime for one thread.
pub fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().build().unwrap()
}
