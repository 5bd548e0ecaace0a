//! Policy versions and proposals as they lie in the store.
//!
//! ```text
//! Space::Policy     version (8) ‖ chunk (2)        a version's document
//! Space::Proposal   1 ‖ id (8)                     a proposal
//!                   2 ‖ id (8) ‖ chunk (2)         its body: the candidate and the simulation
//!                   3 ‖ version (8)                what is known of a version
//!                   4 ‖ number (8)                 how the glass was broken
//! ```
//!
//! A document and a body are never changed once they are written.

use prost::Message;

use crate::{
    policy::Sources,
    proto::stored::{BrokenGlass, PolicyVersion, Proposal, ProposalBody},
    store::{self, Direction, Effect, Slot, Space, Store, VALUE_BYTES_MAX},
};

const PROPOSAL: u8 = 1;
const BODY: u8 = 2;
const VERSION: u8 = 3;
const GLASS: u8 = 4;

/// What a new version writes.
pub(in crate::operations) fn version(known: &PolicyVersion, document: &Sources) -> Vec<Effect> {
    let mut effects = chunks(Space::Policy, &known.version.to_be_bytes(), &document.to_bytes());
    let slot = Slot::new(Space::Proposal, &[&[VERSION], &known.version.to_be_bytes()]);
    effects.push(Effect { slot, value: Some(known.encode_to_vec()) });
    effects
}

/// A version's document; `None` if there is no such version.
///
/// # Errors
/// A store that can't be read, or is damaged.
pub(in crate::operations) async fn document(store: &dyn Store, version: u64) -> Result<Option<Sources>, store::Error> {
    let bytes = joined(store, Space::Policy, &version.to_be_bytes()).await?;
    let damaged = |_| store::Error::Damaged { what: format!("policy version {version} is no policy document") };
    bytes.map(|bytes| Sources::from_bytes(&bytes).map_err(damaged)).transpose()
}

/// What is known of versions below `below`, the newest first.
///
/// # Errors
/// As [`document`].
pub(in crate::operations) async fn versions(
    store: &dyn Store,
    below: u64,
    limit: usize,
) -> Result<Vec<PolicyVersion>, store::Error> {
    newest(store, VERSION, below, limit).await
}

/// Where a proposal lies.
pub(super) fn proposal_slot(id: u64) -> Slot {
    Slot::new(Space::Proposal, &[&[PROPOSAL], &id.to_be_bytes()])
}

/// What a proposal, or its end, writes.
pub(super) fn proposal_effect(proposal: &Proposal) -> Effect {
    Effect { slot: proposal_slot(proposal.id), value: Some(proposal.encode_to_vec()) }
}

/// What a new proposal writes beside that.
pub(super) fn body_effects(id: u64, body: &ProposalBody) -> Vec<Effect> {
    chunks(Space::Proposal, &body_key(id), &body.encode_to_vec())
}

/// A proposal by its number.
///
/// # Errors
/// As [`document`].
pub(super) async fn proposal(store: &dyn Store, id: u64) -> Result<Option<Proposal>, store::Error> {
    let read = store.read(&[proposal_slot(id)]).await?;
    read.into_iter().flatten().next().map(|bytes| decode(&bytes)).transpose()
}

/// Proposals below `below`, the newest first.
///
/// # Errors
/// As [`document`].
pub(super) async fn proposals(store: &dyn Store, below: u64, limit: usize) -> Result<Vec<Proposal>, store::Error> {
    newest(store, PROPOSAL, below, limit).await
}

/// Where a breaking of the glass lies.
pub(super) fn glass_slot(number: u64) -> Slot {
    Slot::new(Space::Proposal, &[&[GLASS], &number.to_be_bytes()])
}

/// What a breaking of the glass, its end or its review writes.
pub(super) fn glass_effect(glass: &BrokenGlass) -> Effect {
    Effect { slot: glass_slot(glass.number), value: Some(glass.encode_to_vec()) }
}

/// A breaking of the glass by its number.
///
/// # Errors
/// As [`document`].
pub(super) async fn glass(store: &dyn Store, number: u64) -> Result<Option<BrokenGlass>, store::Error> {
    let read = store.read(&[glass_slot(number)]).await?;
    read.into_iter().flatten().next().map(|bytes| decode(&bytes)).transpose()
}

/// Breakings of the glass below `below`, the newest first.
///
/// # Errors
/// As [`document`].
pub(super) async fn glasses(store: &dyn Store, below: u64, limit: usize) -> Result<Vec<BrokenGlass>, store::Error> {
    newest(store, GLASS, below, limit).await
}

/// A proposal's body.
///
/// # Errors
/// As [`document`], also if there is none.
pub(super) async fn body(store: &dyn Store, id: u64) -> Result<ProposalBody, store::Error> {
    match joined(store, Space::Proposal, &body_key(id)).await? {
        Some(bytes) => decode(&bytes),
        None => Err(store::Error::Damaged { what: format!("proposal {id} has no body") }),
    }
}

fn body_key(id: u64) -> Vec<u8> {
    [&[BODY][..], &id.to_be_bytes()].concat()
}

fn chunks(space: Space, key: &[u8], bytes: &[u8]) -> Vec<Effect> {
    let numbered = bytes.chunks(VALUE_BYTES_MAX).zip(0_u16..);
    let effect = |(chunk, n): (&[u8], u16)| Effect {
        slot: Slot::new(space, &[key, &n.to_be_bytes()]),
        value: Some(chunk.to_vec()),
    };
    numbered.map(effect).collect()
}

/// The chunks of one key, one after the other.
async fn joined(store: &dyn Store, space: Space, key: &[u8]) -> Result<Option<Vec<u8>>, store::Error> {
    const PAGE: usize = 256;
    let end = [key, &[0xff; 3]].concat();
    let mut from = [key, &[0, 0]].concat();
    let mut bytes = Vec::new();
    let mut found = false;
    loop {
        let page = store.scan(space, from..end.clone(), Direction::Ascending, PAGE).await?;
        from = page.last().map(|(key, _)| [key.as_slice(), &[0]].concat()).unwrap_or_default();
        let full = page.len() == PAGE;
        found |= !page.is_empty();
        bytes.extend(page.into_iter().flat_map(|(_, chunk)| chunk));
        if !full {
            return Ok(found.then_some(bytes));
        }
    }
}

async fn newest<M: Message + Default>(
    store: &dyn Store,
    kind: u8,
    below: u64,
    limit: usize,
) -> Result<Vec<M>, store::Error> {
    let (start, end) = (vec![kind], [&[kind][..], &below.to_be_bytes()].concat());
    let found = store.scan(Space::Proposal, start..end, Direction::Descending, limit).await?;
    found.iter().map(|(_, bytes)| decode(bytes)).collect()
}

fn decode<M: Message + Default>(bytes: &[u8]) -> Result<M, store::Error> {
    M::decode(bytes).map_err(|_| store::Error::Damaged { what: "a policy proposal or version can't be decoded".into() })
}
