//! The auditor's proof: the log's tree, computed anew from every leaf, is the one that the log has signed and each receipt
//! promised. Nothing of it is taken from the server but leaves and signatures.

use std::collections::HashMap;

use anyhow::{Context, Result, bail, ensure};

use super::bulk::TENANT;
use crate::{
    audit::{
        checkpoint::Checkpoint,
        entry,
        merkle::{Hash, Tree},
        note::VerifierKey,
    },
    cli::{client::Clients, verifier::KnownKeys},
    proto::v1::{ExportEntriesRequest, Receipt, exported_leaf::Leaf},
};

/// Proves the log of now and these receipts to whoever was given the log's first key. Returns the number of its entries.
pub(super) async fn prove(auditor: &Clients, key: &VerifierKey, receipts: &[Receipt]) -> Result<u64> {
    let request = ExportEntriesRequest { tenant: TENANT.into(), ..Default::default() };
    let mut messages = auditor.audit().export_entries(request).await?.into_inner();
    let first = messages.message().await?.context("an export without a checkpoint")?;
    let keys = KnownKeys::from(key.clone()).with_announced(&first.key_announcements).of(key.name());
    let signed = Checkpoint::open(&first.checkpoint, key.name(), &keys).context("the log's checkpoint")?;
    let mut promises = promises(receipts, key.name(), &keys)?;

    let mut tree = Tree::new();
    let mut message = Some(first);
    while let Some(part) = message {
        for leaf in part.leaves {
            ensure!(leaf.index == tree.size(), "entry {} comes where {} should", leaf.index, tree.size());
            let hash: Hash = match leaf.leaf {
                Some(Leaf::Raw(bytes)) => entry::leaf_hash(&bytes),
                Some(Leaf::LeafHash(hash)) => hash.as_ref().try_into()?,
                None => bail!("entry {} is withheld", leaf.index),
            };
            tree.push(hash);
            for promise in promises.leaves.remove(&leaf.index).unwrap_or_default() {
                ensure!(promise == hash, "entry {} is not what its receipt says", leaf.index);
            }
            for promise in promises.roots.remove(&tree.size()).unwrap_or_default() {
                ensure!(promise == tree.root(), "the first {} entries are not what a receipt says", tree.size());
            }
        }
        message = messages.message().await?;
    }
    ensure!((tree.size(), tree.root()) == (signed.size(), *signed.root()), "the log has signed another tree");
    ensure!(promises.leaves.is_empty() && promises.roots.is_empty(), "the log is shorter than a receipt says");
    Ok(tree.size())
}

/// What receipts say: which leaf an entry has, and which root so many entries have.
struct Promises {
    leaves: HashMap<u64, Vec<Hash>>,
    roots: HashMap<u64, Vec<Hash>>,
}

fn promises(receipts: &[Receipt], origin: &str, keys: &[VerifierKey]) -> Result<Promises> {
    let mut promises = Promises { leaves: HashMap::new(), roots: HashMap::new() };
    for receipt in receipts {
        let about = || format!("the receipt for entry {}", receipt.entry_index);
        let checkpoint = Checkpoint::open(&receipt.checkpoint, origin, keys).with_context(about)?;
        ensure!(receipt.entry_index < checkpoint.size(), "{} is older than the entry", about());
        let leaf = receipt.leaf_hash.as_ref().try_into().with_context(about)?;
        promises.leaves.entry(receipt.entry_index).or_default().push(leaf);
        promises.roots.entry(checkpoint.size()).or_default().push(*checkpoint.root());
    }
    Ok(promises)
}
