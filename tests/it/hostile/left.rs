//! What a server left on the disk, read without one.

use std::{collections::BTreeSet, path::Path, sync::Arc};

use privet::{
    entropy::SystemEntropy,
    keyring::root::FileRoot,
    operations::log_key,
    proto::stored::{Entry, Operation},
    store::{Direction, Space, Store, sled::SledStore},
};

use super::{
    load::Acknowledged,
    whole::{Error, Identity, Whole},
};
use crate::support::files::copy_directory;

/// A log and how many subjects have keys.
pub struct Left {
    pub whole: Whole,
    pub subjects: usize,
}

impl Left {
    /// Reads copies of the store and of the anchor of a deployment, as whoever looks must not change what the next server
    /// finds. Checks the log from its first entry to its last: see [`Whole`].
    pub async fn read(deployment: &Path, store: &Path) -> Result<Self, Error> {
        let dir = tempfile::tempdir().unwrap();
        let (copy, anchor) = (dir.path().join("store"), dir.path().join("anchor"));
        copy_directory(store, &copy);
        if deployment.join("anchor").exists() {
            copy_directory(&deployment.join("anchor"), &anchor);
        }
        let store: Arc<dyn Store> = Arc::new(SledStore::open(&copy)?);
        let root = FileRoot::open(&deployment.join("root"), Arc::new(SystemEntropy::open()))?;
        let origin = "test.example/log".to_owned();
        let key = log_key::newest(&*store, &root, &origin, &deployment.join("log-key")).await?;
        let whole = Whole::open(store.clone(), &copy, &anchor, Identity { origin, signer: key.signer }).await?;
        let subjects =
            store.scan(Space::Subject, vec![]..vec![0xff; 128], Direction::Ascending, usize::MAX).await?.len();
        Ok(Self { whole, subjects })
    }

    pub fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.whole.entries.values()
    }

    /// Which of these the log does not hold as their receipts say.
    pub fn lost<'a>(&self, acknowledged: &'a [Acknowledged]) -> Vec<&'a Acknowledged> {
        let holds = |one: &&Acknowledged| {
            self.whole.keeps(&one.receipt)
                && self.whole.entries.get(&one.receipt.entry_index).is_some_and(|entry| {
                    entry.operation() == Operation::Encrypt
                        && entry.tenant == one.tenant
                        && entry.targets.iter().any(|target| target.object == one.class)
                })
        };
        acknowledged.iter().filter(|one| !holds(one)).collect()
    }

    /// The names of all subjects that something was sealed for.
    pub fn sealed_aliases(&self) -> BTreeSet<[u8; 16]> {
        let sealing = self.entries().filter(|entry| entry.operation() == Operation::Encrypt);
        let aliases = sealing.flat_map(|entry| &entry.targets).flat_map(|target| target.aliases.as_chunks::<16>().0);
        aliases.copied().collect()
    }
}
