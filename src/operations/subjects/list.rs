//! ListErasures and GetErasureCertificate: what was erased in a tenant, by day, and the proof of it.

use super::{header, refusal::Refusal, stored as certificates};
use crate::{
    audit::{Released, certificate::Certificate},
    id::Action,
    identity::Caller,
    keyring::ErasureId,
    operations::{
        Halt, Header, Operation, Service, Violation,
        attempt::Attempt,
        page::{self, Cursor},
        validate::Checked,
    },
    policy::Snapshot,
    proto::stored,
    store::{Direction, Slot, Space},
};

const PAGE_MAX: usize = 1_000;
const PAGE_DEFAULT: usize = 100;

/// What is asked: the erasures.
pub struct ListErasures {
    /// The tenant, and the request's id.
    pub header: Header,
    /// Erasures on a page; 0: 100.
    pub page_size: i32,
    /// Where to go on; empty: at the start.
    pub page_token: String,
}

/// What is asked: one certificate.
pub struct GetErasureCertificate {
    /// The tenant, and the request's id.
    pub header: Header,
    /// The erasure.
    pub id: Vec<u8>,
}

/// A list that holds.
pub struct Listing {
    header: Checked,
    page_size: usize,
    cursor: Option<Cursor>,
    query: Vec<u8>,
}

/// A request for a certificate that holds.
pub struct Asked {
    header: Checked,
    erasure: ErasureId,
}

/// One page.
#[derive(Debug)]
pub struct Page {
    /// The erasures.
    pub erasures: Vec<Certificate>,
    /// Where to go on; empty at the end.
    pub next_page_token: String,
}

impl Operation for ListErasures {
    type Asked = Listing;
    type Answer = Page;
    const NAME: stored::Operation = stored::Operation::ListErasures;

    fn header(&self) -> &Header {
        &self.header
    }

    fn validate(self, service: &Service, _: &Snapshot, caller: &Caller) -> Result<Listing, Violation> {
        let header = header(&self.header, caller)?;
        let page_size = page::size(self.page_size, PAGE_MAX, PAGE_DEFAULT)?;
        let query = page::query("erasures", &header.tenant, &caller.principal, &[]);
        let cursor = service.page_key.given(&self.page_token, &query)?;
        Ok(Listing { header, page_size, cursor, query })
    }

    async fn attempt(service: &Service, caller: &Caller, asked: &Listing) -> Result<Released<Page>, Halt> {
        let Listing { header, .. } = asked;
        let attempt = Attempt::decide(service, caller, header, Self::NAME, Action::Read)?;

        // Read one more than is shown: it says where the next page begins.
        let from = ErasureId(asked.cursor.map_or([0; 16], Cursor::key));
        let first = certificates::slot(&header.tenant, from).key;
        // Ids of a tenant lie between its name with a 0 byte behind it and its name with a 1.
        let end = Slot::new(Space::Erasure, &[header.tenant.as_str().as_bytes(), &[1]]).key;
        let scan = service.store.scan(Space::Erasure, first..end, Direction::Ascending, asked.page_size + 1);
        let mut found = scan.await.map_err(|error| Halt::unreadable(&error))?;
        let next = (found.len() > asked.page_size).then(|| found.pop()).flatten();
        let next =
            next.and_then(|(key, _)| certificates::erasure(&header.tenant, &Slot { space: Space::Erasure, key }));
        let next_page_token =
            next.map(|next| service.page_key.token(Cursor::at_key(next.0), &asked.query)).unwrap_or_default();
        let read = |(_, note): (Vec<u8>, Vec<u8>)| {
            let note = String::from_utf8(note).ok();
            note.and_then(|note| Certificate::stored(&note)).ok_or_else(|| Halt::unreadable(&certificates::Lost))
        };
        let page = Page { erasures: found.into_iter().map(read).collect::<Result<_, _>>()?, next_page_token };

        // Record, and with it release.
        let record = attempt.record(attempt.all(), format!("{} erasures", page.erasures.len()))?;
        attempt.answer(record, page).await
    }
}

impl Operation for GetErasureCertificate {
    type Asked = Asked;
    /// The signed note.
    type Answer = String;
    const NAME: stored::Operation = stored::Operation::GetErasureCertificate;

    fn header(&self) -> &Header {
        &self.header
    }

    fn validate(self, _: &Service, _: &Snapshot, caller: &Caller) -> Result<Asked, Violation> {
        let rule = |_| Violation::new("erasure_id", format!("must have {} bytes", certificates::ID_BYTES));
        Ok(Asked { header: header(&self.header, caller)?, erasure: ErasureId(self.id.try_into().map_err(rule)?) })
    }

    async fn attempt(service: &Service, caller: &Caller, asked: &Asked) -> Result<Released<String>, Halt> {
        let Asked { header, erasure } = asked;
        let attempt = Attempt::decide(service, caller, header, Self::NAME, Action::Read)?;
        let slots = [certificates::slot(&header.tenant, *erasure)];
        let values = service.store.read(&slots).await.map_err(|error| Halt::unreadable(&error))?;
        let Some(note) = values.into_iter().next().flatten() else { return Err(attempt.refuse(Refusal::NoErasure)) };
        let note = String::from_utf8(note).map_err(|error| Halt::unreadable(&error))?;
        let record = attempt.record(attempt.all(), format!("erasure {}", hex::encode(erasure.0)))?;
        attempt.answer(record, note).await
    }
}
