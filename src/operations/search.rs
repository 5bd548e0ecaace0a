//! Finds entries in the log: through the index as far as it goes, and by looking at each entry behind it.
//!
//! The index only names candidates. Each is read, checked against its leaf hash and against the filter, so that what the index
//! says too much costs a read and nothing else; what it does not have yet is never missing from an answer.

use std::{ops::Range, sync::Arc};

use tokio::task::spawn_blocking;

use super::{
    Failure, Halt, Service,
    filter::{Checked, Whose},
};
use crate::{
    audit::{
        entry::Stored,
        index::{self, Found, Query},
        merkle::Hash,
    },
    id::Tenant,
    store::Direction,
};

/// What a search is for.
pub(super) struct Search<'a> {
    pub(super) tenant: &'a Tenant,
    pub(super) filter: &'a Checked,
    pub(super) whose: &'a Whose,
    pub(super) direction: Direction,
}

/// A step of a search.
pub(super) struct Step {
    /// Entries to be checked against the filter, in the order of the search.
    pub(super) entries: Vec<Stored>,
    /// What is left to look through.
    pub(super) rest: Range<u64>,
}

impl Search<'_> {
    /// Narrows a range to the filter's time and to what is kept, as far as the index knows it.
    pub(super) fn narrow(&self, service: &Service, indexes: Range<u64>) -> Range<u64> {
        let time = &self.filter.filter;
        let kept = service.log.history().bounds().retained_from();
        let start = time.start_micros.map_or(0, |start| service.index.time_floor(start));
        let end = time.end_micros.and_then(|end| service.index.time_ceiling(end)).unwrap_or(u64::MAX);
        indexes.start.max(kept).max(start)..indexes.end.min(end)
    }

    /// Looks on in `indexes`, which are not empty, for at most about `wanted` entries.
    pub(super) async fn step(&self, service: &Service, indexes: Range<u64>, wanted: usize) -> Result<Step, Halt> {
        let watermark = service.index.watermark();
        let indexed = match self.direction {
            Direction::Ascending => indexes.start < watermark,
            Direction::Descending => indexes.end <= watermark,
        };
        if !indexed {
            return self.scan(service, indexes, watermark).await;
        }
        let upto = indexes.end.min(watermark);
        let found = match self.candidates(service, indexes.start..upto, wanted).await? {
            Some(found) if !found.looked.is_empty() => found,
            // The index has lost a part of itself: what it lacks now is looked through.
            Some(_) | None => return self.scan(service, indexes, service.index.watermark()).await,
        };
        let (entries, unread) = read(service, &found.candidates, self.direction).await?;
        let rest = match (self.direction, unread) {
            (Direction::Ascending, None) => found.looked.end..indexes.end,
            (Direction::Ascending, Some(next)) => next..indexes.end,
            (Direction::Descending, None) => indexes.start..found.looked.start,
            (Direction::Descending, Some(next)) => indexes.start..next.saturating_add(1),
        };
        Ok(Step { entries, rest })
    }

    /// One run of entries that are not indexed.
    async fn scan(&self, service: &Service, indexes: Range<u64>, watermark: u64) -> Result<Step, Halt> {
        let unindexed = match self.direction {
            Direction::Ascending => indexes.clone(),
            Direction::Descending => indexes.start.max(watermark.min(indexes.end.saturating_sub(1)))..indexes.end,
        };
        let run = service.log.history().entries(unindexed, self.direction).await;
        let mut entries = run.map_err(|error| Halt::unreadable(&error))?;
        let (first, last) = match (entries.first(), entries.last()) {
            (Some(first), Some(last)) => (first.index, last.index),
            _ => return Ok(Step { entries, rest: 0..0 }),
        };
        let rest = match self.direction {
            Direction::Ascending => last + 1..indexes.end,
            Direction::Descending => {
                entries.reverse();
                indexes.start..first
            }
        };
        Ok(Step { entries, rest })
    }

    /// `None` if a part of the index was damaged, and is dropped.
    async fn candidates(&self, service: &Service, indexes: Range<u64>, wanted: usize) -> Result<Option<Found>, Halt> {
        let (index, query, direction) = (Arc::clone(&service.index), self.query(), self.direction);
        let found = spawn_blocking(move || index.find(&query, indexes, direction, wanted)).await;
        match found {
            Ok(Ok(found)) => Ok(Some(found)),
            Ok(Err(
                error @ (index::Error::Damaged { .. }
                | index::Error::Gap { .. }
                | index::Error::Io { .. }
                | index::Error::NoRoom),
            )) => {
                tracing::warn!(error = &error as &dyn std::error::Error, "the index can't be used as it is");
                Ok(None)
            }
            Err(stopped) => Err(Halt::unreadable(&stopped)),
        }
    }

    fn query(&self) -> Query {
        let filter = &self.filter.filter;
        let mut query = Query::new(self.tenant);
        if let Whose::Alias(alias) = self.whose {
            query = query.subject(alias.as_bytes());
        }
        if !filter.principal.is_empty() {
            query = query.principal(&filter.principal);
        }
        if !filter.class.is_empty() {
            query = query.class(&filter.class);
        }
        if !filter.reference.is_empty() {
            query = query.reference(&filter.reference);
        }
        if let Some(operation) = filter.operation() {
            query = query.operation(operation);
        }
        if let Some(verdict) = filter.verdict() {
            query = query.verdict(verdict);
        }
        query
    }
}

/// Reads candidates in the order they come, those that lie close together in one run, up to a bound of bytes; gives the first
/// that was not read.
async fn read(service: &Service, candidates: &[u64], direction: Direction) -> Result<(Vec<Stored>, Option<u64>), Halt> {
    let (mut entries, mut bytes) = (Vec::new(), 0);
    let close = |a: &u64, b: &u64| a.abs_diff(*b) <= GAP_MAX;
    for near in candidates.chunk_by(close).flat_map(|near| near.chunks(NEAR_MAX)) {
        let (Some(first), Some(last)) = (near.iter().min(), near.iter().max()) else { continue };
        if bytes >= BYTES_MAX {
            return Ok((entries, near.first().copied()));
        }
        let (mut next, end) = (*first, last.saturating_add(1));
        let from = entries.len();
        while next < end {
            let run = service.log.history().entries(next..end, Direction::Ascending).await;
            let run = run.map_err(|error| Halt::unreadable(&error))?;
            next = run.last().map_or(end, |entry| entry.index + 1);
            let wanted = run.into_iter().filter(|entry| near.contains(&entry.index));
            entries.extend(wanted.inspect(|entry| bytes += entry.bytes.len()));
        }
        if direction == Direction::Descending
            && let Some(read) = entries.get_mut(from..)
        {
            read.reverse();
        }
    }
    Ok((entries, None))
}

/// The index of the entry with this leaf hash, looking first where it may be. A search does not find entries whose bodies were
/// deleted.
pub(super) async fn leaf(service: &Service, leaf_hash: &Hash, hint: Option<u64>) -> Result<Option<u64>, Halt> {
    let unreadable = |error: crate::store::Error| Halt::unreadable(&error);
    let history = service.log.history();
    let mut end = service.log.read_point().0;
    if let Some(index) = hint.filter(|index| *index < end)
        && history.leaf(index).await.map_err(unreadable)?.is_some_and(|leaf| leaf.hash == *leaf_hash)
    {
        return Ok(Some(index));
    }
    // The newest entries, which receipts are mostly about, may not be indexed yet. Whoever asks needs no grant, so that not
    // more than those are looked through.
    loop {
        let watermark = service.index.watermark().max(history.bounds().retained_from());
        if end <= watermark {
            break;
        }
        if end - watermark > UNINDEXED_MAX {
            return Err(Halt::Failed(Failure::Indexing));
        }
        let run = history.entries(watermark..end, Direction::Descending).await.map_err(unreadable)?;
        if let Some(found) = run.iter().find(|entry| entry.leaf_hash == *leaf_hash) {
            return Ok(Some(found.index));
        }
        end = run.first().map_or(0, |entry| entry.index);
    }
    let (index, wanted) = (Arc::clone(&service.index), *leaf_hash);
    let found = spawn_blocking(move || index.leaf(&wanted)).await.map_err(|stopped| Halt::unreadable(&stopped))?;
    let found = found.map_err(|error| {
        tracing::warn!(error = &error as &dyn std::error::Error, "the index can't be used as it is");
        Halt::Failed(Failure::Indexing)
    })?;
    for candidate in found.candidates {
        let leaf = history.leaf(candidate).await.map_err(unreadable)?;
        if leaf.is_some_and(|leaf| leaf.hash == *leaf_hash) {
            return Ok(Some(candidate));
        }
    }
    Ok(None)
}

/// Candidates no further apart than this are read in one run: entries that lie in one or two blocks.
const GAP_MAX: u64 = 16;
/// Candidates read in one run, at most.
const NEAR_MAX: usize = 64;
/// Bytes of entries after which a step reads no more (one run may exceed it).
const BYTES_MAX: usize = 2 << 20;
/// Entries behind the index that are looked through for a leaf hash.
const UNINDEXED_MAX: u64 = 65_536;
