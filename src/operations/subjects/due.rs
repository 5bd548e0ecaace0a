//! CountDue: how much of a tenant's data is due to be erased by a time. Nobody is named: no id is stored.

use std::collections::BTreeMap;

use super::{header, page};
use crate::{
    audit::Released,
    catalogue::Catalogue,
    id::{Action, Category},
    identity::Caller,
    keyring::{Tag, View},
    operations::{
        Halt, Header, Operation, Service, Violation,
        attempt::Attempt,
        page::{Cursor, query},
        validate::Checked,
    },
    policy::{Snapshot, date},
    proto::stored,
};

/// What is asked.
pub struct CountDue {
    /// The tenant, and the request's id.
    pub header: Header,
    /// Due by this second since 1970; `None` if it is none.
    pub before_unix_secs: Option<u64>,
    /// Where to go on counting; empty: at the start.
    pub page_token: String,
}

/// A request that holds.
pub struct Asked {
    header: Checked,
    before: u64,
    cursor: Option<Cursor>,
    query: Vec<u8>,
}

/// What is due in one category.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    /// Subjects of which all of it is.
    pub closed: u64,
    /// Key versions that are.
    pub versions: u64,
    /// Subjects that are due and held.
    pub held: u64,
    /// When the first falls due, since 1970.
    pub earliest: u64,
}

/// One page.
#[derive(Debug, Default)]
pub struct Page {
    /// By category.
    pub counts: BTreeMap<Category, Count>,
    /// Subjects that were looked at.
    pub subjects: usize,
    /// Where to go on; empty at the end.
    pub next_page_token: String,
}

/// Something of a subject's that is due.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Due {
    pub(super) category: Category,
    /// Since when.
    pub(super) since: u64,
    /// All of the category, or as many versions of its key.
    pub(super) versions: Option<u64>,
}

/// What of a subject is due by `cutoff`, since 1970. What the catalogue does not know is kept.
pub(super) fn due(view: &View<'_>, catalogue: &Catalogue, cutoff: u64) -> Vec<Due> {
    let mut found = Vec::new();
    for (category, versions) in view.categories() {
        let Some(retention) = catalogue.retention(category.as_str()) else { continue };
        let closed = view.closed_unix_secs().and_then(|closed| retention.due_after_closure(closed));
        let ages = versions.iter().filter_map(|(_, created, _)| retention.due_after_seal(*created));
        let (mut count, mut first) = (0, u64::MAX);
        for since in ages.filter(|since| *since <= cutoff) {
            (count, first) = (count + 1, first.min(since));
        }
        if let Some(since) = closed.filter(|since| *since <= cutoff) {
            found.push(Due { category: category.clone(), since, versions: None });
        } else if count > 0 {
            found.push(Due { category: category.clone(), since: first, versions: Some(count) });
        }
    }
    found
}

impl Operation for CountDue {
    type Asked = Asked;
    type Answer = Page;
    const NAME: stored::Operation = stored::Operation::CountDue;

    fn header(&self) -> &Header {
        &self.header
    }

    fn validate(self, service: &Service, _: &Snapshot, caller: &Caller) -> Result<Asked, Violation> {
        let header = header(&self.header, caller)?;
        let before = self
            .before_unix_secs
            .ok_or_else(|| Violation::new("before", "must be a time of a whole second after 1970"))?;
        let query = query("due", &header.tenant, &caller.principal, &[&before.to_be_bytes()]);
        let cursor = service.page_key.given(&self.page_token, &query)?;
        Ok(Asked { header, before, cursor, query })
    }

    async fn attempt(service: &Service, caller: &Caller, asked: &Asked) -> Result<Released<Page>, Halt> {
        let Asked { header, before, .. } = asked;
        let attempt = Attempt::decide(service, caller, header, Self::NAME, Action::Read)?;
        let from = asked.cursor.map(|cursor| Tag::of_bytes(cursor.key()));
        let keys = service.keys_of(&header.tenant, service.log.read_point()).await?;
        let read = page::Page::read(service, &keys, from, page::COUNTED).await?;
        let mut page = Page { subjects: read.count, ..Page::default() };
        let policy = service.policy.load_full();
        for view in read.views() {
            for due in due(&view, policy.catalogue(), *before) {
                let count = page.counts.entry(due.category).or_insert(Count { earliest: u64::MAX, ..Count::default() });
                count.earliest = count.earliest.min(due.since);
                match due.versions {
                    _ if !view.holds().is_empty() => count.held += 1,
                    Some(versions) => count.versions += versions,
                    None => count.closed += 1,
                }
            }
        }
        let cursor = read.next.map(|next| Cursor::at_key(*next.as_bytes()));
        page.next_page_token = cursor.map(|cursor| service.page_key.token(cursor, &asked.query)).unwrap_or_default();
        let effect = format!("due by {}: {} subjects looked at", date(*before), page.subjects);
        let record = attempt.record(attempt.all(), effect)?;
        // Counts stand on nothing: what is due comes and goes meanwhile.
        attempt.answer(record, page).await
    }
}
