//! A list of entries, page by page, and how far it is.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::super::{answer::misfit, client::Clients, failure::Failure, table::number, terminal::Terminal};
use crate::proto::v1::{AuditEntry, ListEntriesRequest};

/// The most entries that a page is asked for.
pub(super) const PAGE_MAX: u16 = 1_000;

/// What is left of a list.
pub(super) struct Pages {
    clients: Clients,
    request: ListEntriesRequest,
    ended: bool,
}

impl Pages {
    /// A list from its beginning.
    pub(super) fn new(clients: Clients, request: ListEntriesRequest) -> Self {
        Self { clients, request, ended: false }
    }

    /// The next page of at most `size_max` entries, which may have none; `None` after the last.
    ///
    /// # Errors
    /// [`Failure`] if the server has no answer, or gives one that would never end.
    pub(super) async fn next(&mut self, size_max: u16) -> Result<Option<Vec<AuditEntry>>, Failure> {
        if self.ended {
            return Ok(None);
        }
        self.request.page_size = size_max.into();
        let page = self.clients.audit().list_entries(self.request.clone()).await?.into_inner();
        if page.entries.len() > usize::from(size_max) {
            return Err(misfit());
        }
        self.ended = page.next_page_token.is_empty();
        if !self.ended && page.next_page_token == self.request.page_token {
            return Err(misfit());
        }
        self.request.page_token = page.next_page_token;
        Ok(Some(page.entries))
    }
}

/// How far a list is that runs from old to new, on standard error; shown only where somebody watches.
pub(super) struct Progress {
    bar: ProgressBar,
    first_secs: Option<i64>,
    end_secs: i64,
    listed: u64,
}

impl Progress {
    /// Of a list that ends at `end_secs` since 1970 and begins at `first_secs`, or with its first entry.
    pub(super) fn new(first_secs: Option<i64>, end_secs: i64, terminal: &Terminal) -> Self {
        let target = if terminal.details() { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        let bar = ProgressBar::with_draw_target(None, target);
        if let Ok(style) = ProgressStyle::with_template("{bar:40} {percent:>3}%  {msg}  {elapsed}, {eta} to go") {
            bar.set_style(style.progress_chars("█▉▊▋▌▍▎▏ "));
        }
        Self { bar, first_secs, end_secs, listed: 0 }
    }

    /// Counts a page.
    pub(super) fn page(&mut self, entries: &[AuditEntry]) {
        self.listed = self.listed.saturating_add(u64::try_from(entries.len()).unwrap_or(u64::MAX));
        let secs = |entry: &AuditEntry| entry.time.as_ref().map(|time| time.seconds);
        let first = self.first_secs.or_else(|| entries.first().and_then(secs));
        self.first_secs = first;
        if let (Some(first), Some(last)) = (first, entries.last().and_then(secs)) {
            let past = |secs: i64| u64::try_from(secs.saturating_sub(first)).unwrap_or(0);
            self.bar.set_length(past(self.end_secs.max(last)).max(1));
            self.bar.set_position(past(last));
        }
        self.bar.set_message(format!("{} entries", number(self.listed)));
    }

    /// How many entries there were so far.
    pub(super) fn listed(&self) -> u64 {
        self.listed
    }

    /// Takes the bar away.
    pub(super) fn finish(&self) {
        self.bar.finish_and_clear();
    }
}
