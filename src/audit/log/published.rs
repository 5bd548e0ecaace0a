//! What the log has signed: the newest checkpoint at its durable end, and on demand one of a smaller size.

use std::sync::Arc;

use super::{Log, LogHead};
use crate::{
    audit::{
        certificate::Certificate,
        checkpoint::{self, Checkpoint},
        history::NoProof,
        merkle::verify,
        note::{self, SignerKey, VerifierKey},
        tiles::edge::Edge,
    },
    store,
};

/// What the log has signed: its newest checkpoint, and the right edge of the tree that it speaks of.
#[derive(Debug)]
pub struct Published {
    /// A C2SP signed note over all durable entries.
    pub checkpoint: Arc<str>,
    /// The tree over them.
    pub edge: Edge,
    /// The length of all entries that are in no sealed segment.
    pub unsealed_bytes: u64,
    /// Blocks and tiles of entries before this index are removed from the store.
    pub removed_end: u64,
}

impl Published {
    pub(super) fn new(state: &LogHead, checkpoint: &str, edge: &Edge) -> Self {
        Self {
            checkpoint: checkpoint.into(),
            edge: edge.clone(),
            unsealed_bytes: state.entry_bytes.saturating_sub(state.sealed_entry_bytes),
            removed_end: state.removed_end,
        }
    }
}

/// Signs the tree of a log.
pub(super) fn sign(origin: &str, edge: &Edge, signers: &[&SignerKey]) -> Result<String, checkpoint::Error> {
    Ok(Checkpoint::new(origin, edge.size(), edge.root())?.sign(signers)?)
}

impl Log {
    /// What the log has signed at its durable end.
    pub fn published(&self) -> Arc<Published> {
        self.shared.published.load_full()
    }

    /// The key that signs the log now.
    pub fn verifier(&self) -> VerifierKey {
        self.shared.signer.load().0.verifier().clone()
    }

    /// Signs a certificate with the newest log key.
    ///
    /// # Errors
    /// [`note::Error`] if it can't be written down: a defect.
    pub fn certify(&self, certificate: &Certificate) -> Result<String, note::Error> {
        certificate.sign(&self.shared.signer.load().0)
    }

    /// The smallest size of which [`Log::checkpoint_at`] can sign: that from which on the newest log key does.
    pub fn signs_from(&self) -> u64 {
        self.shared.signer.load().1
    }

    /// A checkpoint of the log as it was with `size` entries, which are durable: signed only if it is the beginning of what
    /// the log has signed last.
    ///
    /// # Errors
    /// [`NoProof`]; [`NoProof::OutOfRange`] also for a size that an earlier log key signed.
    pub async fn checkpoint_at(&self, size: u64) -> Result<Arc<str>, NoProof> {
        let published = self.published();
        let newest = &published.edge;
        if size == newest.size() {
            return Ok(Arc::clone(&published.checkpoint));
        }
        let signer = self.shared.signer.load_full();
        if size < signer.1 {
            return Err(NoProof::OutOfRange);
        }
        let root = self.history.root(newest, size).await?;
        let proof = self.history.consistency(newest, size, newest.size()).await?;
        let damaged = || store::Error::Damaged { what: "the log's tiles".to_owned() };
        verify::consistency(size, &root, newest.size(), &newest.root(), &proof).map_err(|_| damaged())?;
        let checkpoint = Checkpoint::new(self.origin(), size, root).map_err(|_| damaged())?;
        let note = checkpoint.sign(&[&signer.0]).map_err(|_| damaged())?;
        Ok(note.into())
    }
}
