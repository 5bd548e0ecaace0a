//! The keys that have signed the log, as the store keeps them: the first one, and each later one with its announcement.

use prost::Message;

use crate::{
    proto::stored,
    store::{Direction, Effect, Error, Slot, Space, Store},
};

/// More keys than a log ever has: one a day for eleven years.
const KEYS_MAX: usize = 4_096;

/// The write that stores log key `number`.
pub fn effect(number: u32, record: &stored::LogKey) -> Effect {
    Effect { slot: Slot::new(Space::LogKey, &[&number.to_be_bytes()]), value: Some(record.encode_to_vec()) }
}

/// Every log key, the first one first: its place in the list plus one is its number.
///
/// # Errors
/// [`Error::Damaged`] if one is missing or is none.
pub async fn all(store: &dyn Store) -> Result<Vec<stored::LogKey>, Error> {
    let rows = store.scan(Space::LogKey, Vec::new()..vec![0xff; 5], Direction::Ascending, KEYS_MAX).await?;
    let rows = rows.into_iter().zip(1_u32..);
    rows.map(|((key, value), number)| {
        let record = stored::LogKey::decode(value.as_slice()).ok().filter(|_| key == number.to_be_bytes());
        record.ok_or_else(|| Error::Damaged { what: format!("log key {number}") })
    })
    .collect()
}
