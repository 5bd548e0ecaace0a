//! ListBreakGlass: how often the glass was broken in a tenant, newest first; what waits for a review.

use crate::{
    audit::{Basis, Effects, Released, Unreleased},
    id::Action,
    identity::Caller,
    operations::{
        Halt, Header, Operation, Service, Violation,
        page::{self, Cursor},
        policies::{rights::Rights, stored},
        validate::{self, Checked},
    },
    policy::Snapshot,
    proto::stored::{self as entries, BrokenGlass},
};

const PAGE_MAX: usize = 1_000;
const PAGE_DEFAULT: usize = 100;
/// Records looked at for one page.
const LOOKED_AT_MAX: usize = 10_000;
/// Records read at once.
const READ_MAX: usize = 500;

/// What is asked.
pub struct ListBreakGlass {
    /// The tenant, and the request's id.
    pub header: Header,
    /// Only what nobody has reviewed.
    pub unreviewed: bool,
    /// Records on a page; 0: 100.
    pub page_size: i32,
    /// Where to go on; empty: at the start.
    pub page_token: String,
}

/// A list that holds.
pub struct Asked {
    header: Checked,
    unreviewed: bool,
    page_size: usize,
    cursor: Option<Cursor>,
    query: Vec<u8>,
}

/// One page.
#[derive(Debug)]
pub struct Page {
    /// The records.
    pub broken: Vec<BrokenGlass>,
    /// Where to go on; empty at the end.
    pub next_page_token: String,
}

impl Operation for ListBreakGlass {
    type Asked = Asked;
    type Answer = Page;
    const NAME: entries::Operation = entries::Operation::ListBreakGlass;

    fn header(&self) -> &Header {
        &self.header
    }

    fn validate(self, service: &Service, _: &Snapshot, caller: &Caller) -> Result<Asked, Violation> {
        let header = validate::control(&self.header, caller)?;
        let page_size = page::size(self.page_size, PAGE_MAX, PAGE_DEFAULT)?;
        let query = page::query("glass", &header.tenant, &caller.principal, &[&[u8::from(self.unreviewed)]]);
        let cursor = service.page_key.given(&self.page_token, &query)?;
        Ok(Asked { header, unreviewed: self.unreviewed, page_size, cursor, query })
    }

    async fn attempt(service: &Service, caller: &Caller, asked: &Asked) -> Result<Released<Page>, Halt> {
        let Asked { header, .. } = asked;

        // Decide.
        let mut rights = Rights::now(service, caller);
        if !rights.allows(&header.tenant, Action::Read) {
            return Err(rights.denied(service, Self::NAME, header, Action::Read, header.tenant.clone()));
        }

        // Read.
        let below = asked.cursor.map_or(u64::MAX, |cursor| cursor.next);
        let (broken, next) = read(service, asked, below).await?;
        let cursor = next.map(|next| Cursor { bound: 0, next });
        let next_page_token = cursor.map(|cursor| service.page_key.token(cursor, &asked.query)).unwrap_or_default();

        // Record, and with it release.
        let effect = format!("{} of broken glass", broken.len());
        let record = rights.record(service, Self::NAME, header, Action::Read, effect)?;
        let basis = Basis { policy: Some(rights.basis()), ..Basis::default() };
        let page = Page { broken, next_page_token };
        Ok(service.log.commit(record, basis, Effects::default(), Unreleased::new(page)).await?)
    }
}

/// One page of records below a number, and where the next begins.
async fn read(service: &Service, asked: &Asked, mut below: u64) -> Result<(Vec<BrokenGlass>, Option<u64>), Halt> {
    let (mut listed, mut looked_at) = (Vec::new(), 0);
    loop {
        let found = stored::glasses(&*service.store, below, READ_MAX).await.map_err(|e| Halt::unreadable(&e))?;
        let last = found.len() < READ_MAX;
        for glass in found {
            if listed.len() == asked.page_size || looked_at == LOOKED_AT_MAX {
                return Ok((listed, Some(below)));
            }
            looked_at += 1;
            below = glass.number;
            let wanted = !asked.unreviewed || glass.reviewer.is_empty();
            if wanted && glass.tenant == asked.header.tenant.as_str() {
                listed.push(glass);
            }
        }
        if last {
            return Ok((listed, None));
        }
    }
}
