//! ListProposals: the proposals that touch what the caller may read, newest first.

use super::{get_proposal::shown, rights::Rights, since::Since, stored};
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
    proto::stored::{self as entries, Proposal, ProposalState},
};

const PAGE_MAX: usize = 1_000;
const PAGE_DEFAULT: usize = 100;
/// Proposals looked at for one page: a page may be shorter than asked for, but never takes long.
const LOOKED_AT_MAX: usize = 10_000;
/// Proposals read at once.
const READ_MAX: usize = 500;

/// What is asked.
pub struct ListProposals {
    /// The tenant, and the request's id.
    pub header: Header,
    /// Proposals on a page; 0: 100.
    pub page_size: i32,
    /// Where to go on; empty: at the start.
    pub page_token: String,
    /// In which state: a number of [`ProposalState`]; unspecified: any.
    pub state: i32,
}

/// A list that holds.
pub struct Asked {
    header: Checked,
    page_size: usize,
    cursor: Option<Cursor>,
    state: Option<ProposalState>,
    query: Vec<u8>,
}

/// One page.
#[derive(Debug)]
pub struct Page {
    /// The proposals.
    pub proposals: Vec<Proposal>,
    /// Where to go on; empty at the end.
    pub next_page_token: String,
}

impl Operation for ListProposals {
    type Asked = Asked;
    type Answer = Page;
    const NAME: entries::Operation = entries::Operation::ListProposals;

    fn header(&self) -> &Header {
        &self.header
    }

    fn validate(self, service: &Service, _: &Snapshot, caller: &Caller) -> Result<Asked, Violation> {
        let header = validate::control(&self.header, caller)?;
        let page_size = page::size(self.page_size, PAGE_MAX, PAGE_DEFAULT)?;
        let state = match ProposalState::try_from(self.state) {
            Ok(ProposalState::Unspecified) => None,
            Ok(state) => Some(state),
            Err(_) => return Err(Violation::new("state", "must be a known state")),
        };
        let query = page::query("proposals", &header.tenant, &caller.principal, &[&self.state.to_be_bytes()]);
        let cursor = service.page_key.given(&self.page_token, &query)?;
        Ok(Asked { header, page_size, cursor, state, query })
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
        let (proposals, next) = read(service, &mut rights, asked, below).await?;
        let cursor = next.map(|next| Cursor { bound: 0, next });
        let next_page_token = cursor.map(|cursor| service.page_key.token(cursor, &asked.query)).unwrap_or_default();

        // Record, and with it release.
        let effect = format!("{} proposals", proposals.len());
        let record = rights.record(service, Self::NAME, header, Action::Read, effect)?;
        let basis = Basis { policy: Some(rights.basis()), ..Basis::default() };
        let page = Page { proposals, next_page_token };
        Ok(service.log.commit(record, basis, Effects::default(), Unreleased::new(page)).await?)
    }
}

/// One page of proposals below an id, and where the next begins.
async fn read(
    service: &Service,
    rights: &mut Rights<'_>,
    asked: &Asked,
    mut below: u64,
) -> Result<(Vec<Proposal>, Option<u64>), Halt> {
    let (mut listed, mut looked_at) = (Vec::new(), 0);
    let since = Since::read(service, 0, rights.policy.version()).await?;
    loop {
        let found = stored::proposals(&*service.store, below, READ_MAX).await;
        let found = found.map_err(|error| Halt::unreadable(&error))?;
        let last = found.len() < READ_MAX;
        rights.look_by_name(found.iter().flat_map(|proposal| &proposal.tenants));
        for proposal in found {
            if listed.len() == asked.page_size || looked_at == LOOKED_AT_MAX {
                return Ok((listed, Some(below)));
            }
            looked_at += 1;
            below = proposal.id;
            let seen = rights.sees_any(&proposal.tenants);
            let proposal = shown(rights, &since, proposal);
            if seen && asked.state.is_none_or(|state| state == proposal.state()) {
                listed.push(proposal);
            }
        }
        if last {
            return Ok((listed, None));
        }
    }
}
