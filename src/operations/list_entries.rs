//! ListEntries: one tenant's part of the log, newest or oldest first, page by page. Reading the log is itself recorded.

use prost::Message;

use super::{
    Filter, Halt, Header, Operation, Service, Violation,
    decide::Decisions,
    describe,
    filter::{Checked, Whose},
    page::Cursor,
    search::Search,
    validate,
};
use crate::{
    audit::{Released, entry::Stored, record::Targets},
    id::{Action, ControlObject, Principal, Tenant},
    identity::Caller,
    policy::Snapshot,
    proto::stored::{self, Outcome},
    store::Direction,
};

/// Entries on a page, at most.
const PAGE_MAX: i32 = 1_000;
/// Entries on a page if the caller names no number.
const PAGE_DEFAULT: usize = 100;
/// Entries looked at for one page: a page may be shorter than asked for, but never takes long.
const LOOKED_AT_MAX: usize = 50_000;
/// Bytes of entries on one page, so that an answer fits into a message.
pub(super) const PAGE_BYTES_MAX: usize = 2 << 20;

/// What is asked.
pub struct ListEntries {
    /// The tenant, and the request's id. The purpose is always `operate`.
    pub header: Header,
    /// Entries on a page; 0: 100.
    pub page_size: i32,
    /// Where to go on; empty: at the start.
    pub page_token: String,
    /// Newest or oldest first; `None`: no known order.
    pub order: Option<Direction>,
    /// Which entries.
    pub filter: Filter,
}

/// One page.
#[derive(Debug)]
pub struct Page {
    /// The entries, each with what it says.
    pub entries: Vec<(Stored, stored::Entry)>,
    /// Where to go on; empty at the end.
    pub next_page_token: String,
}

/// A listing that holds.
pub struct Asked {
    header: validate::Checked,
    page_size: usize,
    cursor: Option<Cursor>,
    direction: Direction,
    filter: Checked,
    /// What the page token is bound to.
    query: Vec<u8>,
}

impl Operation for ListEntries {
    type Asked = Asked;
    type Answer = Page;
    const NAME: stored::Operation = stored::Operation::ListEntries;

    fn header(&self) -> &Header {
        &self.header
    }

    fn validate(self, service: &Service, _: &Snapshot, caller: &Caller) -> Result<Asked, Violation> {
        let header = validate::control(&self.header, caller)?;
        let page_size = match self.page_size {
            0 => PAGE_DEFAULT,
            // AIP-158: more than a page holds is no error.
            size => {
                usize::try_from(size.min(PAGE_MAX)).map_err(|_| Violation::new("page_size", "must not be negative"))?
            }
        };
        let filter = self.filter.check()?;
        let direction =
            self.order.ok_or_else(|| Violation::new("order", "must be ORDER_NEWEST_FIRST or ORDER_OLDEST_FIRST"))?;
        let query = query(&header.tenant, &filter, direction, &caller.principal);
        let cursor = match self.page_token.as_str() {
            "" => None,
            token => Some(service.page_key.cursor(token, &query).ok_or_else(|| {
                Violation::new("page_token", "must be the next_page_token of the same query by the same caller")
            })?),
        };
        Ok(Asked { header, page_size, cursor, direction, filter, query })
    }

    fn answer_bytes_max(service: &Service) -> usize {
        PAGE_BYTES_MAX.min(service.limits.message_bytes_max)
    }

    async fn attempt(service: &Service, caller: &Caller, asked: &Asked) -> Result<Released<Page>, Halt> {
        let Asked { header, .. } = asked;
        let at = service.log.read_point();

        // Decide.
        let policy = service.policy.load_full();
        let now = service.log.now_secs();
        let mut decisions = Decisions::new(policy, &caller.principal, &header.tenant, &header.purpose, now);
        let mut targets = Targets::default();
        let object = ControlObject::Audit.as_str();
        if !decisions.allows_control(ControlObject::Audit, Action::Read) {
            targets.add(object, Action::Read.as_str(), Outcome::Denied, None);
            return Err(describe::denied(service, Self::NAME, caller, header, &decisions, targets));
        }

        // Read.
        let start = asked.cursor.unwrap_or(match asked.direction {
            Direction::Ascending => Cursor { bound: at.0, next: 0 },
            Direction::Descending => Cursor { bound: at.0, next: at.0 },
        });
        // What is not durable is not listed.
        let start = Cursor { bound: start.bound.min(at.0), next: start.next.min(at.0) };
        let (whose, rests) = asked.filter.whose(service, &header.tenant, at).await?;
        let (tenant, filter, direction) = (&header.tenant, &asked.filter, asked.direction);
        let search = Search { tenant, filter, whose: &whose, direction };
        let (entries, next) = read(service, &search, asked.page_size, start).await?;
        let next_page_token = next.map(|next| service.page_key.token(next, &asked.query)).unwrap_or_default();

        // Record, and with it release.
        targets.add(object, Action::Read.as_str(), Outcome::Allowed, None);
        let effect = format!("{} entries{}", entries.len(), asked.filter.describe(&whose));
        let record = describe::reading(service, Self::NAME, caller, header, &decisions, (targets, effect))?;
        service.release(record, (decisions.basis(), rests), Page { entries, next_page_token }).await
    }
}

pub(super) type Entries = Vec<(Stored, stored::Entry)>;

/// One page from `cursor` on, and where the next begins.
pub(super) async fn read(
    service: &Service,
    search: &Search<'_>,
    page_size: usize,
    mut cursor: Cursor,
) -> Result<(Entries, Option<Cursor>), Halt> {
    let Search { tenant, filter, whose, direction } = *search;
    if matches!(whose, Whose::Nobody) {
        return Ok((Vec::new(), None));
    }
    let mut left = search.narrow(
        service,
        match direction {
            Direction::Ascending => cursor.next..cursor.bound,
            Direction::Descending => 0..cursor.next,
        },
    );
    let (mut found, mut bytes, mut looked_at): (Entries, usize, usize) = (Vec::new(), 0, 0);
    while !left.is_empty() {
        let step = search.step(service, left, page_size - found.len() + 1).await?;
        for entry in step.entries {
            let full = bytes > PAGE_BYTES_MAX.min(service.limits.message_bytes_max);
            if found.len() == page_size || full || looked_at == LOOKED_AT_MAX {
                return Ok((found, Some(cursor)));
            }
            looked_at += 1;
            cursor.next = match direction {
                Direction::Ascending => entry.index + 1,
                Direction::Descending => entry.index,
            };
            let fields = entry.decode().map_err(|error| Halt::unreadable(&error))?;
            let Some(in_time) = in_time(&filter.filter, direction, fields.time_unix_micros) else {
                return Ok((found, None));
            };
            if in_time && filter.matches(tenant, whose, &fields) {
                bytes += entry.bytes.len() * 3;
                found.push((entry, fields));
            }
        }
        left = step.rest;
        // Looked through, whether or not anything was there.
        cursor.next = match direction {
            Direction::Ascending => left.start.min(cursor.bound),
            Direction::Descending => left.end,
        };
    }
    Ok((found, None))
}

/// Whether an entry lies in the listing's time; `None` if no later one of the listing does.
fn in_time(filter: &Filter, direction: Direction, time: u64) -> Option<bool> {
    let before = filter.start_micros.is_some_and(|start| time < start);
    let after = filter.end_micros.is_some_and(|end| time >= end);
    // Time does not run back in the log.
    let none_follows = match direction {
        Direction::Descending => before,
        Direction::Ascending => after,
    };
    (!none_follows).then_some(!before && !after)
}

/// An unambiguous encoding of a query and its caller.
fn query(tenant: &Tenant, asked: &Checked, direction: Direction, caller: &Principal) -> Vec<u8> {
    let filter = &asked.filter;
    // An entry has a field for almost all of it, and its encoding is unambiguous.
    stored::Entry {
        principal: caller.as_str().to_owned(),
        actor: filter.principal.clone(),
        tenant: tenant.as_str().to_owned(),
        operation: filter.operation,
        verdict: filter.verdict,
        effect: filter.class.clone(),
        reference: filter.reference.clone(),
        part: (direction == Direction::Ascending).into(),
        time_unix_micros: filter.start_micros.map_or(0, |start| start.saturating_add(1)),
        tenant_seq: filter.end_micros.map_or(0, |end| end.saturating_add(1)),
        salt: asked.subject().map(|subject| subject.expose().as_bytes().to_vec()).unwrap_or_default(),
        ..Default::default()
    }
    .encode_to_vec()
}
