//! Keeps the index up with the log. It is behind by moments; what it does not have yet, a search looks through by itself.

use std::{path::Path, sync::Arc, time::Duration};

use tokio::task::spawn_blocking;

use crate::{
    audit::{
        Log,
        index::{self, Index, Indexed},
    },
    proto::stored,
    store::{self, Direction, Room, Store},
};

/// Opens the index in a directory, without what it has of another past of the log, or of a part that can't be read: no damage
/// of the log keeps its index from being opened.
///
/// # Errors
/// The index's own.
pub async fn open(dir: &Path, log: &Log) -> Result<Index, index::Error> {
    let published = log.published();
    let indexes = log.history().bounds().retained_from()..published.edge.size();
    let index = Index::open(dir, log.origin(), indexes)?;
    for (last, leaf_hash) in index.ends() {
        let found = log.history().leaf_hash(&published.edge, last).await;
        if !matches!(found, Ok(Some(hash)) if hash == leaf_hash) {
            index.forget_from(last)?;
            break;
        }
    }
    Ok(index)
}

/// Indexes what is recorded, until it is dropped. Errors are told, and tried again: the index is derived, so nothing is lost.
/// While room on the disk is scarce it waits, so that the log has what is left.
pub async fn follow(log: Log, store: Arc<dyn Store>, index: Arc<Index>) {
    loop {
        let from = index.watermark();
        let end = log.grown(from).await;
        // A store that can't tell is about to fail by itself.
        if matches!(store.room(), Ok(Room::Scarce)) {
            tokio::time::sleep(RETRY_PAUSE).await;
        } else if let Err(error) = advance(&log, &index, from, end).await {
            tracing::warn!(error = &*error, "the log can't be indexed; it is tried again");
            tokio::time::sleep(RETRY_PAUSE).await;
        }
    }
}

/// Indexes one run of entries.
///
/// # Errors
/// The log can't be read, or the index not written.
pub async fn advance(
    log: &Log,
    index: &Arc<Index>,
    from: u64,
    end: u64,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let run = log.history().entries(from..end, Direction::Ascending).await?;
    let mut indexed = Vec::with_capacity(run.len());
    for entry in &run {
        let fields: stored::Entry =
            entry.decode().map_err(|_| store::Error::Damaged { what: format!("log entry {}", entry.index) })?;
        indexed.push(Indexed::new(entry.index, entry.leaf_hash, &fields));
    }
    let index = Arc::clone(index);
    spawn_blocking(move || index.add(&indexed)).await??;
    Ok(())
}

const RETRY_PAUSE: Duration = Duration::from_secs(10);
