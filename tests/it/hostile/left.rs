//! What a server left on the disk, read without one.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    sync::Arc,
};

use privet::{
    audit::{
        entry::{self, Stored},
        reader,
    },
    proto::stored::{Entry, Operation},
    store::{self, Direction, Space, Store, sled::SledStore},
};

use super::load::Acknowledged;
use crate::support::files::copy_directory;

/// A log and how many subjects have keys.
pub struct Left {
    entries: Vec<(Stored, Entry)>,
    pub subjects: usize,
}

impl Left {
    /// Reads a copy of the store, as whoever looks must not change what the next server finds. Checks the log from its first
    /// entry to its last: no gap, every leaf hash right, every tenant's numbers and links right.
    pub async fn read(store: &Path) -> Result<Self, store::Error> {
        let dir = tempfile::tempdir().unwrap();
        let copy = dir.path().join("store");
        copy_directory(store, &copy);
        let store: Arc<dyn Store> = Arc::new(SledStore::open(&copy)?);
        let end = store.head()?.entries;
        let mut entries = Vec::new();
        while (entries.len() as u64) < end {
            let from = entries.len() as u64;
            for stored in reader::entries(&*store, from..end, Direction::Ascending).await? {
                assert_eq!(stored.index, entries.len() as u64, "entries follow each other");
                assert_eq!(entry::leaf_hash(&stored.bytes), stored.leaf_hash);
                let decoded = stored.decode().unwrap();
                entries.push((stored, decoded));
            }
        }
        let subjects =
            store.scan(Space::Subject, vec![]..vec![0xff; 128], Direction::Ascending, usize::MAX).await?.len();
        let left = Self { entries, subjects };
        left.assert_tenants_are_gapless();
        Ok(left)
    }

    pub fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.entries.iter().map(|(_, entry)| entry)
    }

    /// Which of these the log does not hold where their receipts say.
    pub fn lost<'a>(&self, acknowledged: &'a [Acknowledged]) -> Vec<&'a Acknowledged> {
        let holds = |one: &&Acknowledged| {
            let entry = usize::try_from(one.entry_index).ok().and_then(|index| self.entries.get(index));
            entry.is_some_and(|(stored, entry)| {
                stored.leaf_hash[..] == one.leaf_hash[..]
                    && entry.operation() == Operation::Encrypt
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

    fn assert_tenants_are_gapless(&self) {
        let mut tenants: BTreeMap<&str, (u64, u64)> = BTreeMap::new();
        for (stored, entry) in &self.entries {
            let (next_seq, previous_plus_one) = tenants.entry(&entry.tenant).or_default();
            assert_eq!((entry.tenant_seq, entry.tenant_previous_plus_one), (*next_seq, *previous_plus_one));
            (*next_seq, *previous_plus_one) = (entry.tenant_seq + 1, stored.index + 1);
        }
    }
}
