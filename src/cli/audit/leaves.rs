//! The leaves of an export as they come, over as many connections as it takes: a server ends each after some minutes.

use super::super::{
    answer::misfit,
    client::{Clients, Messages},
    failure::Failure,
};
use crate::{
    audit::export::claimed_size,
    proto::v1::{ExportEntriesRequest, ExportEntriesResponse},
};

/// An export under way.
pub(super) struct Leaves {
    clients: Clients,
    request: ExportEntriesRequest,
    messages: Messages<ExportEntriesResponse>,
    /// Leaves that came with a first message.
    pending: Option<ExportEntriesResponse>,
    /// The index of the next leaf.
    next: u64,
    /// Where this connection's share of the export began.
    since: u64,
}

impl Leaves {
    /// Begins an export; gives also the first message, which has the checkpoint; its leaves are the first to come.
    pub(super) async fn open(
        clients: &Clients,
        mut request: ExportEntriesRequest,
    ) -> Result<(Self, ExportEntriesResponse), Failure> {
        let mut messages = clients.audit().export_entries(request.clone()).await?.into_inner();
        let mut first = messages.message().await?.ok_or_else(misfit)?;
        // The log grows meanwhile; what is exported does not.
        request.end_index = claimed_size(&first.checkpoint).ok_or_else(misfit)?;
        let (next, pending) = (request.start_index, only_leaves(&mut first));
        Ok((Self { clients: clients.clone(), request, messages, pending, next, since: next }, first))
    }

    /// The next message with leaves; `None` when the server says that there are no more.
    pub(super) async fn next(&mut self) -> Result<Option<ExportEntriesResponse>, Failure> {
        loop {
            let message = match self.pending.take() {
                Some(pending) => Ok(Some(pending)),
                None => self.messages.message().await,
            };
            let message = match message {
                Ok(message) => message,
                // A connection that brought something may end; the next goes on from there.
                Err(_) if self.next > self.since => {
                    self.reopen().await?;
                    continue;
                }
                Err(status) => return Err(status.into()),
            };
            // Whether it is the end is for the caller to know.
            if let Some(leaf) = message.as_ref().and_then(|message| message.leaves.last()) {
                self.next = leaf.index.saturating_add(1);
            }
            return Ok(message);
        }
    }

    async fn reopen(&mut self) -> Result<(), Failure> {
        self.request.start_index = self.next;
        self.since = self.next;
        self.messages = self.clients.audit().export_entries(self.request.clone()).await?.into_inner();
        // The checkpoint again, of the same log.
        let mut first = self.messages.message().await?.ok_or_else(misfit)?;
        self.pending = only_leaves(&mut first);
        Ok(())
    }
}

/// Takes the leaves out of a first message, whose checkpoint is the export's own.
fn only_leaves(first: &mut ExportEntriesResponse) -> Option<ExportEntriesResponse> {
    let leaves = std::mem::take(&mut first.leaves);
    (!leaves.is_empty()).then(|| ExportEntriesResponse { leaves, ..Default::default() })
}
