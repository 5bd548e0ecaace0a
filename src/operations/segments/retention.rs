//! Which bodies are deleted, and when.
//!
//! A clock that was wrong for a while must not cost the log a year. So a segment goes only if it was due at each look through
//! a day: all looks have one cutoff, the earliest that any of them found, and the day is counted by the monotonic clock while a
//! server runs. The cutoff goes by the wall clock, which can be set right, and not by the log's time, which keeps what a wrong
//! clock once said.
//!
//! Both are noted in the archive, so that a server which is started anew each day deletes as well. No clock is believed over
//! a restart: what is noted is seconds that were counted, and a cutoff that a later look can only move back. A clock that is
//! wrong at every look of a whole day is believed: nothing here knows better.

use std::{
    sync::{Arc, PoisonError, atomic::Ordering},
    time::Duration,
};

use tokio::task::spawn_blocking;

use super::{Error, Segments, change, read_segment, segment_effect};
use crate::{
    audit::{
        Basis, Effects,
        archive::{Due, DueOf},
    },
    id::Tenant,
    operations::start,
    proto::stored::{self, Operation, Segment},
    store::{Direction, Space},
};

/// Looking for a day.
#[derive(Clone, Copy, Debug)]
pub(super) struct Watch {
    /// At each look so far this was due. Microseconds since 1970.
    cutoff: u64,
    /// For how long.
    seen: Duration,
    /// When it was looked last, by the monotonic clock.
    looked: Duration,
    /// What the archive has of it.
    noted: Option<Due>,
}

impl Segments {
    /// Decides which segments were kept for their time, and records for each, the oldest first, that its bodies are deleted.
    pub(super) async fn delete_due(&self) -> Result<(), Error> {
        let cutoff = self.cutoff();
        let due = match self.oldest_kept().await? {
            Some((_, oldest)) if cutoff.is_some_and(|cutoff| oldest.last_time_unix_micros <= cutoff) => oldest,
            Some(_) | None => return self.forget_watch().await,
        };
        let watch = self.look(due.last_time_unix_micros, cutoff.unwrap_or_default()).await?;
        if watch.seen < DUE_FOR {
            return self.note(watch).await;
        }
        while let Some((first, segment)) = self.oldest_kept().await?
            && segment.last_time_unix_micros <= watch.cutoff
        {
            self.record_deletion(first, segment).await?;
        }
        // What has become due meanwhile is looked at for a day of its own.
        self.forget_watch().await
    }

    /// Deletes the bodies of which that is recorded, until none of them is left.
    pub(super) async fn delete_left(&self) -> Result<(), Error> {
        let retained_from = self.log.history().bounds().retained_from();
        if retained_from > self.gone_before.load(Ordering::Acquire) {
            let archive = Arc::clone(&self.archive);
            spawn_blocking(move || archive.delete_entries(0..retained_from)).await??;
            self.gone_before.store(retained_from, Ordering::Release);
        }
        Ok(())
    }

    /// Before this, segments are due by now. `None`: none is.
    fn cutoff(&self) -> Option<u64> {
        let retention = u64::try_from(self.rules.retention.as_micros()).ok()?;
        self.log.wall_secs().saturating_mul(1_000_000).checked_sub(retention)
    }

    /// The oldest segment that has its bodies, with its first index.
    async fn oldest_kept(&self) -> Result<Option<(u64, Segment)>, Error> {
        let from = self.log.history().bounds().retained_from();
        let keys = from.to_be_bytes().to_vec()..vec![0xff; 9];
        let oldest = self.store.scan(Space::Segment, keys, Direction::Ascending, 1).await?;
        oldest.first().map(|(key, value)| read_segment(key, value)).transpose()
    }

    async fn record_deletion(&self, first: u64, segment: Segment) -> Result<(), Error> {
        let end = segment.end_index;
        let entry = stored::Entry {
            effect: format!("bodies of entries {first} to {end} deleted"),
            // All that is gone, since the records of earlier deletions go the same way.
            log_change: Some(change(&(0..end), segment.last_time_unix_micros)),
            ..start::entry(Operation::DeleteEntries)
        };
        let effects = Effects {
            writes: vec![segment_effect(first, &Segment { deleted: true, ..segment })],
            retained_from: Some(end),
            ..Effects::default()
        };
        start::commit(&self.log, &Tenant::system(), entry, Basis::default(), effects).await?;
        tracing::info!(first, end, "deleted the bodies of a segment");
        Ok(())
    }

    /// Goes on looking, or begins to: where there is nothing to go on from, or the oldest segment is not due by it.
    async fn look(&self, oldest: u64, cutoff: u64) -> Result<Watch, Error> {
        let now = self.log.monotonic();
        let kept = *self.watch.lock().unwrap_or_else(PoisonError::into_inner);
        let before = match kept {
            Some(watch) => Some(watch),
            None => self.noted().await?.map(|due| Watch {
                cutoff: due.cutoff_unix_micros,
                seen: Duration::from_secs(due.seen_secs),
                looked: now,
                noted: Some(due),
            }),
        };
        let watch = match before {
            Some(watch) if oldest <= watch.cutoff => Watch {
                cutoff: watch.cutoff.min(cutoff),
                seen: watch.seen.saturating_add(now.saturating_sub(watch.looked)),
                looked: now,
                noted: watch.noted,
            },
            Some(_) | None => Watch { cutoff, seen: Duration::ZERO, looked: now, noted: None },
        };
        *self.watch.lock().unwrap_or_else(PoisonError::into_inner) = Some(watch);
        Ok(watch)
    }

    async fn noted(&self) -> Result<Option<Due>, Error> {
        let archive = Arc::clone(&self.archive);
        Ok(spawn_blocking(move || archive.due(DueOf::Log)).await??)
    }

    /// Notes it in the archive, if that has something else or is far behind.
    async fn note(&self, watch: Watch) -> Result<(), Error> {
        let due = Due { cutoff_unix_micros: watch.cutoff, seen_secs: watch.seen.as_secs() };
        let is_near = |noted: Due| {
            noted.cutoff_unix_micros == due.cutoff_unix_micros
                && due.seen_secs.saturating_sub(noted.seen_secs) < NOTE_SECS
        };
        if watch.noted.is_some_and(is_near) {
            return Ok(());
        }
        let archive = Arc::clone(&self.archive);
        spawn_blocking(move || archive.note_due(DueOf::Log, Some(due))).await??;
        *self.watch.lock().unwrap_or_else(PoisonError::into_inner) = Some(Watch { noted: Some(due), ..watch });
        Ok(())
    }

    async fn forget_watch(&self) -> Result<(), Error> {
        *self.watch.lock().unwrap_or_else(PoisonError::into_inner) = None;
        let archive = Arc::clone(&self.archive);
        Ok(spawn_blocking(move || archive.note_due(DueOf::Log, None)).await??)
    }
}

/// How long a segment must have been due.
const DUE_FOR: Duration = Duration::from_secs(24 * 3_600);
/// So much of a day may be counted again after a restart.
const NOTE_SECS: u64 = 600;
