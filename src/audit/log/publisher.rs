//! What happens to a group once it is durable: the anchor is advanced to its checkpoint, then readers see it and its answers go.
//!
//! An anchor lies on another device, and advancing it takes a sync of its own. So it has a thread of its own: while it
//! advances for one group, the writer makes the next one durable, and groups that queue up meanwhile are anchored together.
//!
//! INVARIANT: no answer goes, and no checkpoint is shown, before the anchor has it. After an anchor that failed nothing is
//! published any more.

use std::{
    sync::{Arc, atomic::Ordering, mpsc},
    thread::{Builder, JoinHandle},
    time::Duration,
};

use tokio::sync::oneshot;

use super::{Appended, Leaf, Published, Refused, Shared, micros};
use crate::{
    audit::{anchor::Anchor, note::SignerKey},
    store,
};

/// Groups that may be durable and not yet anchored.
const AHEAD_MAX: usize = 8;

/// A group that is durable.
pub(super) struct Publication {
    pub(super) published: Published,
    pub(super) time_unix_micros: u64,
    /// When the newest group was written, by the monotonic clock; `None`: before this start.
    pub(super) synced_at: Option<Duration>,
    pub(super) policy_version: u64,
    pub(super) sealed_end: u64,
    pub(super) retained_from: u64,
    /// What signs from the next group on, if that is new, and the smallest size of a checkpoint that it signs.
    pub(super) signer: Option<(Arc<SignerKey>, u64)>,
    pub(super) answers: Answers,
}

/// What waits for a group, and what it will be told.
pub(super) type Answers = Vec<(oneshot::Sender<Result<Appended, Refused>>, Result<Vec<Leaf>, Refused>)>;

/// Publishes groups, in order.
pub(super) enum Publisher {
    /// At once: there is no anchor.
    Direct(Arc<Shared>),
    /// After the anchor.
    Anchored {
        /// `None` only while it is dropped.
        groups: Option<mpsc::SyncSender<Publication>>,
        /// `None` only while it is dropped.
        thread: Option<JoinHandle<()>>,
    },
}

impl Publisher {
    /// With an anchor whose newest checkpoint is the log's, or that has none yet.
    ///
    /// # Errors
    /// There is no thread to be had.
    pub(super) fn start(anchor: Option<Anchor>, shared: Arc<Shared>) -> std::io::Result<Self> {
        let Some(mut anchor) = anchor else { return Ok(Self::Direct(shared)) };
        let (groups, durable) = mpsc::sync_channel(AHEAD_MAX);
        let anchoring = move || {
            let mut guard = super::writer::FailUnlessDone(Arc::clone(&shared), false);
            while let Ok(first) = durable.recv() {
                let groups: Vec<Publication> = std::iter::once(first).chain(durable.try_iter()).collect();
                let Some(last) = groups.last() else { continue };
                let from = anchor.newest().map(str::to_owned);
                if from.as_deref() != Some(&*last.published.checkpoint)
                    && let Err(error) = anchor.advance(from.as_deref(), &last.published.checkpoint)
                {
                    let error = &error as &dyn std::error::Error;
                    tracing::error!(error, "the anchor can't be advanced; nothing more is answered");
                    return;
                }
                groups.into_iter().for_each(|group| group.publish(&shared));
            }
            guard.1 = true;
        };
        let thread = Builder::new().name("privet-anchor".into()).spawn(anchoring)?;
        Ok(Self::Anchored { groups: Some(groups), thread: Some(thread) })
    }

    /// Publishes a group, now or after the anchor has it.
    ///
    /// # Errors
    /// The anchor has failed.
    pub(super) fn publish(&self, group: Publication) -> Result<(), store::Error> {
        match self {
            Self::Direct(shared) => group.publish(shared),
            Self::Anchored { groups, .. } => {
                if groups.as_ref().is_none_or(|groups| groups.send(group).is_err()) {
                    return Err(store::Error::Refused("the anchor has failed".into()));
                }
            }
        }
        Ok(())
    }
}

impl Drop for Publisher {
    fn drop(&mut self) {
        if let Self::Anchored { groups, thread } = self {
            drop(groups.take());
            // One that panicked has marked the log as failed already.
            let _ = thread.take().map(JoinHandle::join);
        }
    }
}

impl Publication {
    fn publish(self, shared: &Shared) {
        let entries = self.published.edge.size();
        shared.time_unix_micros.store(self.time_unix_micros, Ordering::Release);
        if let Some(synced_at) = self.synced_at {
            // Behind the time, and 0 says that there was none.
            shared.synced_at_micros.store(micros(synced_at).max(1), Ordering::Release);
        }
        shared.policy_version.store(self.policy_version, Ordering::Release);
        if let Some(signer) = self.signer {
            shared.signer.store(Arc::new(signer));
        }
        // Before the blocks of what is sealed are removed by a later group.
        shared.bounds.move_to(self.sealed_end, self.retained_from);
        let checkpoint = Arc::clone(&self.published.checkpoint);
        shared.published.store(Arc::new(self.published));
        // Last: who sees these entries as durable must see all that they changed.
        shared.entries.store(entries, Ordering::Release);
        shared.grown.send_replace(entries);
        for (answer, outcome) in self.answers {
            // Nobody waits any more: the record stands all the same.
            let _ = answer.send(outcome.map(|leaves| Appended { leaves, checkpoint: Arc::clone(&checkpoint) }));
        }
    }
}
