//! Finds entries in the log.

use super::{Halt, Service};
use crate::{audit::merkle::Hash, store::Direction};

/// The index of the entry with this leaf hash, looking back from the newest.
pub(super) async fn leaf(service: &Service, leaf_hash: &Hash) -> Result<Option<u64>, Halt> {
    let mut end = service.log.read_point().0;
    while end > 0 {
        let run = service.log.history().entries(0..end, Direction::Descending).await;
        let run = run.map_err(|error| Halt::unreadable(&error))?;
        if let Some(found) = run.iter().find(|entry| entry.leaf_hash == *leaf_hash) {
            return Ok(Some(found.index));
        }
        end = run.first().map_or(0, |entry| entry.index);
    }
    Ok(None)
}
