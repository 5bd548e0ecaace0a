//! GetInclusionProof: that the log has an entry. Whoever holds a leaf hash may ask; who asks by index has to be one who may
//! read the tenant's entries, and gets the leaf hash with it.

use std::sync::Arc;

use super::{
    Halt, Header, Operation, Service, Violation,
    consistency_proof::unproved,
    decide::Decisions,
    describe,
    refusal::{Refusal, Refusing},
    search,
    validate::{self, Checked},
};
use crate::{
    audit::{Basis, Effects, Record, Released, Unreleased, merkle::Hash, record::Targets},
    id::{Action, ControlObject},
    identity::Caller,
    policy::Snapshot,
    proto::stored::{self, Outcome},
};

/// What is asked.
pub struct GetInclusionProof {
    /// The tenant whose entry it is, or in whose log the call is recorded.
    pub header: Header,
    /// Which entry.
    pub entry: Option<Named>,
}

/// How an entry is named.
pub enum Named {
    /// By its place in the log.
    Index(u64),
    /// By its leaf hash, as it was sent, and perhaps where it may be.
    LeafHash(Vec<u8>, Option<u64>),
}

/// A question that holds.
pub struct Asked {
    header: Checked,
    entry: Entry,
}

enum Entry {
    Index(u64),
    LeafHash(Hash, Option<u64>),
}

/// The proof.
#[derive(Debug)]
pub struct Proof {
    /// The entry's place.
    pub index: u64,
    /// Its leaf hash.
    pub leaf_hash: Hash,
    /// RFC 6962 section 2.1.1.
    pub hashes: Vec<Hash>,
    /// The checkpoint that it leads to.
    pub checkpoint: Arc<str>,
}

impl Operation for GetInclusionProof {
    type Asked = Asked;
    type Answer = Proof;
    const NAME: stored::Operation = stored::Operation::GetInclusionProof;

    fn header(&self) -> &Header {
        &self.header
    }

    fn validate(self, _: &Service, _: &Snapshot, caller: &Caller) -> Result<Asked, Violation> {
        let header = validate::control(&self.header, caller)?;
        let entry = match self.entry {
            Some(Named::Index(index)) => Entry::Index(index),
            Some(Named::LeafHash(hash, hint)) => {
                let hash = hash.try_into().map_err(|_| Violation::new("leaf_hash", "must be 32 bytes"))?;
                Entry::LeafHash(hash, hint)
            }
            None => return Err(Violation::new("entry", "must be an index or a leaf_hash")),
        };
        Ok(Asked { header, entry })
    }

    async fn attempt(service: &Service, caller: &Caller, asked: &Asked) -> Result<Released<Proof>, Halt> {
        let header = &asked.header;
        let (leaf, record, basis) = match &asked.entry {
            Entry::LeafHash(hash, hint) => {
                let found = search::leaf(service, hash, *hint).await?.map(|index| (index, *hash));
                let effect = if found.is_some() {
                    String::new()
                } else {
                    "of a leaf hash that the log does not have".to_owned()
                };
                let record = describe::open(service, Self::NAME, caller, header, effect)?;
                (found, record, Basis::default())
            }
            Entry::Index(index) => by_index(service, caller, header, *index).await?,
        };
        let Some((index, leaf_hash)) = leaf else {
            return Err(Halt::Refused(Box::new(Refusing { record, policy: basis.policy, refusal: Refusal::NoEntry })));
        };
        let published = service.log.published();
        let hashes = service.log.history().prove_leaf(&published.edge, index, &leaf_hash).await.map_err(unproved)?;
        let proof = Proof { index, leaf_hash, hashes, checkpoint: Arc::clone(&published.checkpoint) };
        Ok(service.log.commit(record, basis, Effects::default(), Unreleased::new(proof)).await?)
    }
}

/// The leaf at an index, if it is one of the tenant's.
async fn by_index(
    service: &Service,
    caller: &Caller,
    header: &Checked,
    index: u64,
) -> Result<(Option<(u64, Hash)>, Record, Basis), Halt> {
    let at = service.log.read_point();
    let policy = service.policy.load_full();
    let now = service.log.now_secs();
    let mut decisions = Decisions::new(policy, &caller.principal, &header.tenant, &header.purpose, now);
    let mut targets = Targets::default();
    let object = ControlObject::Audit.as_str();
    if !decisions.allows_control(ControlObject::Audit, Action::Read) {
        targets.add(object, Action::Read.as_str(), Outcome::Denied, None);
        return Err(describe::denied(service, GetInclusionProof::NAME, caller, header, &decisions, targets));
    }
    let leaf = if index < at.0 { service.log.history().leaf(index).await } else { Ok(None) };
    let leaf = leaf.map_err(|error| Halt::unreadable(&error))?;
    // The body of an old entry may be gone, and with it whose it was.
    let own = match leaf.as_ref().and_then(|leaf| leaf.body.as_ref()) {
        Some(body) => shown_to(&header.tenant, body)?,
        None => false,
    };
    let leaf = leaf.filter(|_| own).map(|leaf| (leaf.index, leaf.hash));

    targets.add(object, Action::Read.as_str(), Outcome::Allowed, None);
    let effect = format!("of entry {index}{}", if leaf.is_some() { "" } else { ", which the tenant does not have" });
    let said = (targets, effect);
    let record = describe::reading(service, GetInclusionProof::NAME, caller, header, &decisions, said)?;
    let basis = Basis { policy: Some(decisions.basis()), ..Basis::default() };
    Ok((leaf, record, basis))
}

fn shown_to(tenant: &crate::id::Tenant, body: &[u8]) -> Result<bool, Halt> {
    let entry: stored::Entry = prost::Message::decode(body).map_err(|error| Halt::unreadable(&error))?;
    Ok(entry.tenant == tenant.as_str() || entry.log_change.is_some())
}
