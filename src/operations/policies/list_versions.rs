//! ListPolicyVersions: which versions there were, newest first.

use super::{get_policy::Known, rights::Rights, stored};
use crate::{
    audit::{Basis, Effects, Released, Unreleased},
    id::Action,
    identity::Caller,
    operations::{
        Halt, Header, Operation, Service, Violation,
        page::{self, Cursor},
        validate::{self, Checked},
    },
    policy::Snapshot,
    proto::stored as entries,
};

const PAGE_MAX: usize = 1_000;
const PAGE_DEFAULT: usize = 100;

/// What is asked.
pub struct ListVersions {
    /// The tenant, and the request's id.
    pub header: Header,
    /// Versions on a page; 0: 100.
    pub page_size: i32,
    /// Where to go on; empty: at the start.
    pub page_token: String,
}

/// A list that holds.
pub struct Asked {
    header: Checked,
    page_size: usize,
    cursor: Option<Cursor>,
    query: Vec<u8>,
}

/// One page.
#[derive(Debug)]
pub struct Page {
    /// The versions.
    pub versions: Vec<Known>,
    /// Where to go on; empty at the end.
    pub next_page_token: String,
}

impl Operation for ListVersions {
    type Asked = Asked;
    type Answer = Page;
    const NAME: entries::Operation = entries::Operation::ListPolicyVersions;

    fn header(&self) -> &Header {
        &self.header
    }

    fn validate(self, service: &Service, _: &Snapshot, caller: &Caller) -> Result<Asked, Violation> {
        let header = validate::control(&self.header, caller)?;
        let page_size = page::size(self.page_size, PAGE_MAX, PAGE_DEFAULT)?;
        let query = page::query("policy-versions", &header.tenant, &caller.principal, &[]);
        let cursor = service.page_key.given(&self.page_token, &query)?;
        Ok(Asked { header, page_size, cursor, query })
    }

    async fn attempt(service: &Service, caller: &Caller, asked: &Asked) -> Result<Released<Page>, Halt> {
        let Asked { header, .. } = asked;

        // Decide.
        let mut rights = Rights::now(service, caller);
        if !rights.allows(&header.tenant, Action::Read) {
            return Err(rights.denied(service, Self::NAME, header, Action::Read, header.tenant.clone()));
        }

        // Read. What came into force after the first page is not of this list.
        let bound = rights.policy.version();
        let below = asked.cursor.map_or(bound.saturating_add(1), |cursor| cursor.next);
        let found = stored::versions(&*service.store, below, asked.page_size + 1).await;
        let mut found = found.map_err(|error| Halt::unreadable(&error))?;
        let more = found.len() > asked.page_size;
        found.truncate(asked.page_size);
        let next = found.last().filter(|_| more).map(|last| Cursor { bound, next: last.version });
        rights.look_by_name(found.iter().flat_map(|known| &known.tenants));
        let page = Page {
            versions: found.into_iter().map(|known| Known::shown(&rights, known)).collect(),
            next_page_token: next.map(|next| service.page_key.token(next, &asked.query)).unwrap_or_default(),
        };

        // Record, and with it release.
        let effect = format!("policy versions below {below}");
        let record = rights.record(service, Self::NAME, header, Action::Read, effect)?;
        let basis = Basis { policy: Some(rights.basis()), ..Basis::default() };
        Ok(service.log.commit(record, basis, Effects::default(), Unreleased::new(page)).await?)
    }
}
