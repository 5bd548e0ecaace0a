//! ListTenants: who there is and was, by name.

use ring::digest::{SHA256, digest};

use super::header;
use crate::{
    audit::Released,
    id::{Action, ControlObject, Tenant},
    identity::Caller,
    keyring::Life,
    operations::{
        Halt, Header, Operation, Service, Violation,
        attempt::Attempt,
        page::{self, Cursor},
        validate::Checked,
    },
    policy::Snapshot,
    proto::stored,
};

const PAGE_MAX: usize = 1_000;
const PAGE_DEFAULT: usize = 100;

/// What is asked.
pub struct ListTenants {
    /// `_system`, and the request's id.
    pub header: Header,
    /// Tenants on a page; 0: 100.
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
    /// The tenants.
    pub tenants: Vec<Life>,
    /// Where to go on; empty at the end.
    pub next_page_token: String,
}

impl Operation for ListTenants {
    type Asked = Asked;
    type Answer = Page;
    const NAME: stored::Operation = stored::Operation::ListTenants;

    fn header(&self) -> &Header {
        &self.header
    }

    fn validate(self, service: &Service, _: &Snapshot, caller: &Caller) -> Result<Asked, Violation> {
        let header = header(&self.header, caller)?;
        let page_size = page::size(self.page_size, PAGE_MAX, PAGE_DEFAULT)?;
        let query = page::query("tenants", &header.tenant, &caller.principal, &[]);
        let cursor = service.page_key.given(&self.page_token, &query)?;
        Ok(Asked { header, page_size, cursor, query })
    }

    async fn attempt(service: &Service, caller: &Caller, asked: &Asked) -> Result<Released<Page>, Halt> {
        let on = (ControlObject::Tenants, Action::Read);
        let attempt = Attempt::decide_on(service, caller, &asked.header, Self::NAME, on)?;

        // Read one more than is shown: it says where the next page begins.
        let there = service.tenants.all();
        let from = asked.cursor.and_then(|cursor| there.keys().find(|tenant| short(tenant) == cursor.key()));
        let lives = service.keyring.lives(&*service.store, from, asked.page_size + 1).await;
        let mut tenants = lives.map_err(|error| Halt::unreadable(&error))?;
        let next = (tenants.len() > asked.page_size).then(|| tenants.pop()).flatten();
        let token = |next: Life| service.page_key.token(Cursor::at_key(short(next.tenant())), &asked.query);
        let page = Page { tenants, next_page_token: next.map(token).unwrap_or_default() };

        // Record, and with it release.
        let record = attempt.record(attempt.all(), format!("{} tenants", page.tenants.len()))?;
        attempt.answer(record, page).await
    }
}

/// A tenant's name as a page token has room for it. None leaves, so it is found again.
fn short(tenant: &Tenant) -> [u8; 16] {
    let mut short = [0; 16];
    let hash = digest(&SHA256, tenant.as_str().as_bytes());
    short.iter_mut().zip(hash.as_ref()).for_each(|(to, from)| *to = *from);
    short
}
