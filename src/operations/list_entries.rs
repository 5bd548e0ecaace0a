//! ListEntries: one tenant's part of the log, newest or oldest first, page by page. Reading the log is itself recorded.

use prost::Message;

use super::{
    Halt, Header, Operation, Service, Violation,
    decide::Decisions,
    describe,
    page::Cursor,
    validate::{self, Checked},
};
use crate::{
    audit::{Basis, Effects, Released, Unreleased, entry::Stored, reader, record::Targets},
    id::{Action, Class, ControlObject, Principal, Purpose, Reference, Tenant},
    identity::Caller,
    policy::Snapshot,
    proto::stored::{self, Outcome, Verdict},
    store::Direction,
};

/// Entries on a page, at most.
const PAGE_MAX: i32 = 1_000;
/// Entries on a page if the caller names no number.
const PAGE_DEFAULT: usize = 100;
/// Entries looked at for one page: a page may be shorter than asked for, but never takes long.
const LOOKED_AT_MAX: usize = 50_000;
/// Bytes of entries on one page, so that an answer fits into a message.
const PAGE_BYTES_MAX: usize = 2 << 20;

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

/// Which entries to list; `None`, 0 and empty match all.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// Who asked.
    pub principal: String,
    /// What was asked: a number of [`stored::Operation`].
    pub operation: i32,
    /// What was answered: a number of [`stored::Verdict`].
    pub verdict: i32,
    /// A class or control-plane object among the targets.
    pub class: String,
    /// The ticket or order.
    pub reference: String,
    /// From this time on, microseconds since 1970.
    pub start_micros: Option<u64>,
    /// Up to but not including this time, microseconds since 1970.
    pub end_micros: Option<u64>,
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
    header: Checked,
    page_size: usize,
    cursor: Option<Cursor>,
    direction: Direction,
    filter: Filter,
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
        let tenant = validate::tenant_or_system(&self.header.tenant, caller)?;
        let header = Checked {
            tenant,
            purpose: Purpose::operate(),
            request_id: Reference::parse(&self.header.request_id).map_err(validate::broken("request_id"))?,
            reference: Reference::empty(),
            actor: None,
        };
        let page_size = match self.page_size {
            0 => PAGE_DEFAULT,
            // AIP-158: more than a page holds is no error.
            size => {
                usize::try_from(size.min(PAGE_MAX)).map_err(|_| Violation::new("page_size", "must not be negative"))?
            }
        };
        check_filter(&self.filter)?;
        let direction =
            self.order.ok_or_else(|| Violation::new("order", "must be ORDER_NEWEST_FIRST or ORDER_OLDEST_FIRST"))?;
        let query = query(&header.tenant, &self.filter, direction, &caller.principal);
        let cursor = match self.page_token.as_str() {
            "" => None,
            token => Some(service.page_key.cursor(token, &query).ok_or_else(|| {
                Violation::new("page_token", "must be the next_page_token of the same query by the same caller")
            })?),
        };
        Ok(Asked { header, page_size, cursor, direction, filter: self.filter, query })
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
        let (entries, next) = read(service, asked, start).await?;
        let next_page_token = next.map(|next| service.page_key.token(next, &asked.query)).unwrap_or_default();

        // Record, and with it release.
        targets.add(object, Action::Read.as_str(), Outcome::Allowed, None);
        let record = describe::decided(service, Self::NAME, caller, header, &decisions, targets)?;
        let basis = Basis { policy: Some(decisions.basis()), ..Basis::default() };
        let page = Page { entries, next_page_token };
        Ok(service.log.commit(record, basis, Effects::default(), Unreleased::new(page)).await?)
    }
}

type Entries = Vec<(Stored, stored::Entry)>;

/// One page from `cursor` on, and where the next begins.
async fn read(service: &Service, asked: &Asked, mut cursor: Cursor) -> Result<(Entries, Option<Cursor>), Halt> {
    let mut found: Entries = Vec::new();
    let mut bytes = 0;
    let mut looked_at = 0;
    loop {
        let indexes = match asked.direction {
            Direction::Ascending => cursor.next..cursor.bound,
            Direction::Descending => 0..cursor.next,
        };
        if indexes.is_empty() {
            return Ok((found, None));
        }
        let mut run = reader::entries(&*service.store, indexes, asked.direction)
            .await
            .map_err(|error| Halt::unreadable(&error))?;
        if asked.direction == Direction::Descending {
            run.reverse();
        }
        for entry in run {
            let full = bytes > PAGE_BYTES_MAX.min(service.limits.message_bytes_max);
            if found.len() == asked.page_size || full || looked_at == LOOKED_AT_MAX {
                return Ok((found, Some(cursor)));
            }
            looked_at += 1;
            cursor.next = match asked.direction {
                Direction::Ascending => entry.index + 1,
                Direction::Descending => entry.index,
            };
            let fields = entry.decode().map_err(|error| Halt::unreadable(&error))?;
            match matches(&asked.header.tenant, &asked.filter, asked.direction, &fields) {
                Match::Listed => {
                    bytes += entry.bytes.len() * 3;
                    found.push((entry, fields));
                }
                Match::Not => {}
                Match::NoneFollows => return Ok((found, None)),
            }
        }
    }
}

enum Match {
    Listed,
    Not,
    /// Time does not run back in the log, so nothing further on can match.
    NoneFollows,
}

fn matches(tenant: &Tenant, filter: &Filter, direction: Direction, entry: &stored::Entry) -> Match {
    let time = entry.time_unix_micros;
    let before = filter.start_micros.is_some_and(|start| time < start);
    let after = filter.end_micros.is_some_and(|end| time >= end);
    if (before && direction == Direction::Descending) || (after && direction == Direction::Ascending) {
        return Match::NoneFollows;
    }
    let listed = !before
        && !after
        && entry.tenant == tenant.as_str()
        && (filter.principal.is_empty() || filter.principal == entry.principal)
        && (filter.operation == 0 || entry.operation == filter.operation)
        && (filter.verdict == 0 || entry.verdict == filter.verdict)
        && (filter.class.is_empty() || entry.targets.iter().any(|target| target.object == filter.class))
        && (filter.reference.is_empty() || filter.reference == entry.reference);
    if listed { Match::Listed } else { Match::Not }
}

fn check_filter(filter: &Filter) -> Result<(), Violation> {
    if !filter.principal.is_empty() {
        Principal::parse(&filter.principal).map_err(validate::broken("principal"))?;
    }
    if !filter.class.is_empty() && ControlObject::ALL.iter().all(|object| object.as_str() != filter.class) {
        Class::parse(&filter.class).map_err(validate::broken("class"))?;
    }
    Reference::parse(&filter.reference).map_err(validate::broken("reference"))?;
    stored::Operation::try_from(filter.operation)
        .map_err(|_| Violation::new("operation", "must be a known operation"))?;
    Verdict::try_from(filter.verdict).map_err(|_| Violation::new("verdict", "must be a known verdict"))?;
    if let (Some(start), Some(end)) = (filter.start_micros, filter.end_micros)
        && start >= end
    {
        return Err(Violation::new("end_time", "must be after start_time"));
    }
    Ok(())
}

/// An unambiguous encoding of a query and its caller.
fn query(tenant: &Tenant, filter: &Filter, direction: Direction, caller: &Principal) -> Vec<u8> {
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
        ..Default::default()
    }
    .encode_to_vec()
}
