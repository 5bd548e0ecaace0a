//! Checks what a receipt promises: that the log has the entry, and keeps it.
//!
//! A receipt is believed if all of this holds, and an answer is shown only then:
//!
//! 1. its checkpoint is signed by a key that the caller knows, is of that key's log, and covers the entry;
//! 2. a checkpoint of now, signed alike, has the receipt's leaf at the receipt's index (inclusion);
//! 3. of the two checkpoints the smaller is the beginning of the larger (consistency).
//!
//! That is what the log has, not what the entry says: the leaf is a salted hash, and only those who may read the entry can
//! hold the one against the other. Nor does it show that everybody else is shown the same log; for that, checkpoints are
//! compared.

use clap::Args;

use super::{client::Clients, failure::Failure, table::number, verifier::KnownKeys};
use crate::{
    audit::{
        checkpoint::{self, Checkpoint},
        merkle::{Hash, verify},
        note::{self, VerifierKey},
        proof::{self, Proof},
    },
    id::Tenant,
    proto::v1::{
        GetCheckpointRequest, GetConsistencyProofRequest, GetConsistencyProofResponse, GetInclusionProofRequest,
        GetInclusionProofResponse, Receipt, get_inclusion_proof_request::Entry,
    },
};

/// Whether to check receipts, and with which keys.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Request")]
pub struct VerifyReceipt {
    /// Log's key or @FILE: show the answer only if its receipt is proved
    #[arg(long, value_name = "VKEY")]
    verify_receipt: Option<KnownKeys>,
}

/// Why a receipt is not believed.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unproved {
    /// The answer had none.
    #[error("the answer came without a receipt")]
    Missing,
    /// There is no key of its log.
    #[error("signature: no key of the log {0:?} was given")]
    Origin(String),
    /// Its checkpoint, or the one of now, is not to be believed.
    #[error("signature: {0}: {1}")]
    Checkpoint(&'static str, checkpoint::Error),
    /// Its checkpoint is older than its entry.
    #[error("inclusion: the receipt's checkpoint does not cover the entry")]
    Uncovered,
    /// A leaf hash that is none.
    #[error("inclusion: the receipt's leaf hash is none")]
    LeafHash,
    /// The proof is about another entry.
    #[error("inclusion: the log has this leaf as entry {0}")]
    Elsewhere(u64),
    /// The proof does not show that the log has the entry.
    #[error("inclusion: the log does not have this entry there")]
    NotIncluded,
    /// The receipt's checkpoint and the one of now are not of one log.
    #[error(
        "consistency: the log of the receipt, of {0} entries, is no part of the log of now, of {1}: one was changed"
    )]
    Inconsistent(u64, u64),
    /// A proof was not given.
    #[error("{0}: no proof was given: {1}")]
    NoProof(&'static str, String),
}

impl VerifyReceipt {
    /// Proves every receipt of an answer, if that was asked for. Says what to tell of it.
    ///
    /// # Errors
    /// [`Failure`] (refused) that says which check failed.
    pub async fn hold(&self, clients: &Clients, tenant: &Tenant, receipts: &[Receipt]) -> Result<Held, Failure> {
        let Some(keys) = &self.verify_receipt else { return Ok(Held(None)) };
        if receipts.is_empty() {
            return Err(refused("this answer", &Unproved::Missing));
        }
        let mut size = 0;
        for receipt in receipts {
            let proved = prove(clients, tenant, keys, receipt).await;
            let about = || format!("the receipt for entry {}", number(receipt.entry_index));
            size = size.max(proved.map_err(|unproved| refused(&about(), &unproved))?);
        }
        Ok(Held(Some(size)))
    }

    /// Refuses to go with a file of many: each of its messages would need two proofs of its own.
    ///
    /// # Errors
    /// [`Failure`] (usage).
    pub fn refuse_bulk(&self) -> Result<(), Failure> {
        match self.verify_receipt {
            None => Ok(()),
            Some(_) => Err(Failure::usage("--verify-receipt is for one field, and does not go with --csv")
                .hint("an auditor proves all of the log at once: privet audit verify")),
        }
    }
}

/// What became of the receipts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Held(Option<u64>);

impl Held {
    /// What was done, and that it is proved, if it is.
    pub fn with(self, what: String) -> String {
        match self.0 {
            Some(size) => format!("{what}; receipt proved against a log of {} entries", number(size)),
            None => what,
        }
    }
}

/// Gets the proofs for a receipt and checks them; if the log has changed its key since the caller was given one, with the keys
/// that this one vouches for. Returns the size of the log that it was proved against.
async fn prove(clients: &Clients, tenant: &Tenant, keys: &KnownKeys, receipt: &Receipt) -> Result<u64, Unproved> {
    let proved = prove_with(clients, tenant, keys, receipt).await;
    let Err(Unproved::Checkpoint(_, checkpoint::Error::Note(note::Error::Unsigned))) = proved else { return proved };
    let request = GetCheckpointRequest { tenant: tenant.to_string(), ..Default::default() };
    let Ok(answer) = clients.audit().get_checkpoint(request).await else { return proved };
    let announced = keys.with_announced(&answer.into_inner().key_announcements);
    if announced == *keys { proved } else { prove_with(clients, tenant, &announced, receipt).await }
}

async fn prove_with(clients: &Clients, tenant: &Tenant, keys: &KnownKeys, receipt: &Receipt) -> Result<u64, Unproved> {
    let promise = Promise::read(receipt, keys)?;
    let mut audit = clients.audit();
    let request = GetInclusionProofRequest {
        tenant: tenant.to_string(),
        entry: Some(Entry::LeafHash(promise.leaf_hash.to_vec().into())),
        index_hint: Some(promise.index),
        ..Default::default()
    };
    let answer = audit.get_inclusion_proof(request).await.map_err(|status| no_proof("inclusion", status.into()))?;
    let now = promise.included(answer.into_inner())?;
    let Some((first, second)) = promise.sizes_to_compare(&now) else {
        promise.consistent(&now, &GetConsistencyProofResponse::default())?;
        return Ok(now.size());
    };
    let request = GetConsistencyProofRequest {
        tenant: tenant.to_string(),
        first_size: first,
        second_size: second,
        ..Default::default()
    };
    let answer = audit.get_consistency_proof(request).await.map_err(|status| no_proof("consistency", status.into()))?;
    promise.consistent(&now, &answer.into_inner())?;
    Ok(now.size())
}

/// A receipt whose own checkpoint is good.
struct Promise {
    index: u64,
    leaf_hash: Hash,
    keys: Vec<VerifierKey>,
    checkpoint: Checkpoint,
}

impl Promise {
    fn read(receipt: &Receipt, keys: &KnownKeys) -> Result<Self, Unproved> {
        let keys = keys.of(&receipt.origin);
        if keys.is_empty() {
            return Err(Unproved::Origin(receipt.origin.clone()));
        }
        let leaf_hash = receipt.leaf_hash.as_ref().try_into().map_err(|_| Unproved::LeafHash)?;
        let checkpoint = Checkpoint::open(&receipt.checkpoint, &receipt.origin, &keys)
            .map_err(|error| Unproved::Checkpoint("the receipt's checkpoint", error))?;
        if checkpoint.size() <= receipt.entry_index {
            return Err(Unproved::Uncovered);
        }
        Ok(Self { index: receipt.entry_index, leaf_hash, keys, checkpoint })
    }

    /// The checkpoint of now, if its log has the leaf at the index.
    fn included(&self, answer: GetInclusionProofResponse) -> Result<Checkpoint, Unproved> {
        if answer.index != self.index {
            return Err(Unproved::Elsewhere(answer.index));
        }
        let hashes = hashes(&answer.hashes).ok_or(Unproved::NotIncluded)?;
        let proof = Proof::new(answer.index, hashes, answer.checkpoint).map_err(|_| Unproved::NotIncluded)?;
        proof.verify(&self.leaf_hash, self.checkpoint.origin(), &self.keys).map_err(|error| match error {
            proof::Error::Checkpoint(error) => Unproved::Checkpoint("the checkpoint of now", error),
            proof::Error::Entry(_) => Unproved::NotIncluded,
        })
    }

    /// Which sizes a consistency proof is needed for. None if both are the same: then it is empty.
    fn sizes_to_compare(&self, now: &Checkpoint) -> Option<(u64, u64)> {
        let (one, other) = (self.checkpoint.size(), now.size());
        (one != other).then_some((one.min(other), one.max(other)))
    }

    fn consistent(&self, now: &Checkpoint, answer: &GetConsistencyProofResponse) -> Result<(), Unproved> {
        let (first, second) =
            if self.checkpoint.size() <= now.size() { (&self.checkpoint, now) } else { (now, &self.checkpoint) };
        let proof = hashes(&answer.hashes);
        let holds = proof.is_some_and(|proof| {
            verify::consistency(first.size(), first.root(), second.size(), second.root(), &proof).is_ok()
        });
        if holds { Ok(()) } else { Err(Unproved::Inconsistent(self.checkpoint.size(), now.size())) }
    }
}

/// Hashes as answers carry them; `None` if one is none or there are too many.
pub fn hashes(hashes: &[bytes::Bytes]) -> Option<Vec<Hash>> {
    let hash = |hash: &bytes::Bytes| Hash::try_from(hash.as_ref()).ok();
    (hashes.len() <= HASHES_MAX).then(|| hashes.iter().map(hash).collect()).flatten()
}

fn no_proof(which: &'static str, failure: Failure) -> Unproved {
    Unproved::NoProof(which, failure.to_string())
}

fn refused(about: &str, unproved: &Unproved) -> Failure {
    Failure::refused(format!("{about} is not proved, so the answer is not shown: {unproved}"))
        .reason("RECEIPT_NOT_PROVED")
        .hint("the request was carried out and may be on record; keep the receipt (--json without --verify-receipt)")
}

/// More than two for each level of the largest tree.
const HASHES_MAX: usize = 128;

#[cfg(test)]
mod tests;
