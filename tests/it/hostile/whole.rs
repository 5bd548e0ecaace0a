//! A log held against all that it has promised, by other means than its own: the tree is hashed again from the leaves as RFC
//! 6962 writes it, and the index compared with a look at every entry.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    sync::Arc,
    time::Duration,
};

use privet::{
    audit::{
        Log,
        anchor::{self, Anchor},
        archive::Archive,
        checkpoint::Checkpoint,
        entry,
        history::Leaf,
        index::{Index, Query},
        log::Options,
        merkle::Hash,
        note::{SignerKey, VerifierKey},
        tiles::Tile,
    },
    entropy::SystemEntropy,
    id::Tenant,
    operations::{
        indexing,
        segments::{Rules, Segments},
    },
    proto::stored::{Entry, Operation},
    store::{Direction, Space, Store},
};
use prost::Message;
use ring::digest::{SHA256, digest};

use crate::support::clock::TestClock;

pub type Error = Box<dyn std::error::Error + Send + Sync>;

/// Who signs a log, and how it is called.
pub struct Identity {
    pub origin: String,
    pub signer: Arc<SignerKey>,
}

/// What a client was given for an entry.
#[derive(Clone, Debug)]
pub struct Receipt {
    pub entry_index: u64,
    pub leaf_hash: Vec<u8>,
    pub checkpoint: String,
}

/// A log that was opened as a server opens it, and found to be whole.
pub struct Whole {
    pub leaves: Vec<Leaf>,
    /// What is left of the entries, by index.
    pub entries: BTreeMap<u64, Entry>,
    pub sealed_end: u64,
    /// How many entries the anchor had seen before this was opened.
    pub anchored: u64,
    tree: NaiveTree,
    identity: Identity,
}

impl Whole {
    /// Opens the log in `dir` under `anchor`, finishes what was cut off, and checks everything. Works on what it is given: give
    /// it copies.
    ///
    /// # Errors
    /// A server would not start.
    pub async fn open(store: Arc<dyn Store>, dir: &Path, anchor_dir: &Path, identity: Identity) -> Result<Self, Error> {
        let origin = identity.origin.as_str();
        let begun = store.head()?.entries > 0;
        let anchor = match Anchor::open(anchor_dir, origin) {
            Err(anchor::Error::Absent { .. }) if !begun => Anchor::create(anchor_dir, origin)?,
            opened => opened?,
        };
        let anchored = anchor.newest().map(str::to_owned);
        let options = Options {
            origin: origin.to_owned(),
            signer: identity.signer.clone(),
            log_key: 1,
            signs_from: 0,
            archive: Some(dir.join("archive")),
            anchor: Some(anchor),
            new_anchor: false,
        };
        let clock = Arc::new(TestClock::at(1_800_000_000));
        let (log, ending) = Log::open(store.clone(), clock, Arc::new(SystemEntropy::open()), options).await?;
        let rules = Rules { bytes_max: u64::MAX, age_max: Duration::MAX, retention: Duration::MAX };
        let segments = Segments::new(log.clone(), store.clone(), rules).unwrap();
        segments.tend().await?;

        let leaves = leaves(&log).await;
        let tree = NaiveTree::new(leaves.iter().map(|leaf| leaf.hash).collect());
        let body = |leaf: &Leaf| Some((leaf.index, Entry::decode(leaf.body.as_deref()?).unwrap()));
        let mut whole = Self {
            entries: leaves.iter().filter_map(body).collect(),
            leaves,
            sealed_end: log.history().bounds().sealed_end(),
            anchored: 0,
            tree,
            identity,
        };
        whole.anchored = anchored.map_or(0, |note| whole.size_of(&note));
        assert_eq!(whole.size_of(&log.published().checkpoint), whole.leaves.len() as u64);
        whole.assert_tenants_are_gapless();
        whole.assert_tiles(&log).await;
        whole.assert_checkpoints(&*store).await;
        whole.assert_archive(&log, &dir.join("archive"));
        whole.assert_store_is_emptied(&*store).await;
        whole.assert_border(&log).await;
        whole.assert_index(&log, &dir.join("index")).await;
        drop((segments, log));
        ending.join();
        Ok(whole)
    }

    /// Whether the log still is what a receipt says: the entry at its place, under a checkpoint of the log's beginning that the
    /// anchor knew of.
    pub fn keeps(&self, receipt: &Receipt) -> bool {
        let leaf = usize::try_from(receipt.entry_index).ok().and_then(|index| self.leaves.get(index));
        leaf.is_some_and(|leaf| leaf.hash[..] == receipt.leaf_hash[..])
            && self
                .is_beginning(&receipt.checkpoint)
                .is_some_and(|size| receipt.entry_index < size && size <= self.anchored)
    }

    /// The size of a checkpoint, if the log has signed it and begins with it.
    fn is_beginning(&self, note: &str) -> Option<u64> {
        let known: [VerifierKey; 1] = [self.identity.signer.verifier().clone()];
        let checkpoint = Checkpoint::open(note, &self.identity.origin, &known).unwrap();
        let is =
            checkpoint.size() <= self.leaves.len() as u64 && self.tree.root(checkpoint.size()) == *checkpoint.root();
        is.then_some(checkpoint.size())
    }

    fn size_of(&self, note: &str) -> u64 {
        self.is_beginning(note).unwrap_or_else(|| panic!("not a beginning of {} entries: {note}", self.leaves.len()))
    }

    fn retained_from(&self) -> u64 {
        self.leaves.iter().take_while(|leaf| leaf.body.is_none()).count() as u64
    }

    fn assert_tenants_are_gapless(&self) {
        let mut tenants: BTreeMap<&str, (u64, u64)> = BTreeMap::new();
        for (index, entry) in &self.entries {
            let found = (entry.tenant_seq, entry.tenant_previous_plus_one);
            // What came before the first one that is kept can't be seen.
            let before = if self.retained_from() == 0 { (0, 0) } else { found };
            let next = tenants.entry(&entry.tenant).or_insert(before);
            assert_eq!(found, *next, "{} at {index}", entry.tenant);
            *next = (entry.tenant_seq + 1, index + 1);
        }
    }

    async fn assert_tiles(&self, log: &Log) {
        for level in 0..3_u8 {
            let hashes = self.tree.level(usize::from(level) * 8);
            let wanted: Vec<Tile> = (0..hashes.len() as u64 / 256).map(|index| Tile { level, index }).collect();
            let tiles = log.history().tiles(&wanted).await.unwrap();
            assert!(tiles.iter().eq(hashes.chunks_exact(256).map(<[Hash]>::concat).collect::<Vec<_>>().iter()));
        }
    }

    /// Those that are kept, one of them of what is sealed.
    async fn assert_checkpoints(&self, store: &dyn Store) {
        let kept =
            store.scan(Space::Checkpoint, vec![]..vec![0xff; 9], Direction::Ascending, usize::MAX).await.unwrap();
        let mut sizes = BTreeSet::from([0]);
        for (key, note) in kept {
            let size = self.size_of(std::str::from_utf8(&note).unwrap());
            assert_eq!(key, size.to_be_bytes());
            sizes.insert(size);
        }
        assert!(sizes.contains(&self.sealed_end));
    }

    /// It holds what is sealed: nothing less, and of the entries nothing more.
    fn assert_archive(&self, log: &Log, dir: &Path) {
        let archive: &Archive = log.history().archive().unwrap();
        let bounds = log.history().bounds();
        assert_eq!(bounds.retained_from(), self.retained_from());
        assert_eq!(archive.sealed_end(), self.sealed_end);
        archive.check(&[self.identity.signer.verifier().clone()], self.retained_from()).unwrap();
        assert_eq!(archive.checkpoint().map_or(0, |note| self.size_of(&note)), self.sealed_end);
        let sealed = archive.entries(self.retained_from()..self.sealed_end).map(Result::unwrap);
        assert_eq!(
            sealed.filter(|found| self.leaves[found.index as usize].body.as_ref() == Some(&found.bytes)).count() as u64,
            self.sealed_end - self.retained_from()
        );
        assert!(bundles(dir).into_iter().eq(self.retained_from() / 256..self.sealed_end / 256));
    }

    /// Of sealed entries at most those that share a block with the first unsealed one.
    async fn assert_store_is_emptied(&self, store: &dyn Store) {
        let sealed = vec![]..self.sealed_end.to_be_bytes().to_vec();
        let blocks = store.scan(Space::Block, sealed, Direction::Ascending, usize::MAX).await.unwrap();
        let firsts: BTreeSet<&[u8]> = blocks.iter().map(|(key, _)| &key[..8]).collect();
        assert!(firsts.len() <= 1, "{} blocks of sealed entries are still in the store", firsts.len());
    }

    /// Read over the end of what is sealed, in both directions.
    async fn assert_border(&self, log: &Log) {
        let (start, end) = (self.sealed_end.saturating_sub(300).max(self.retained_from()), self.leaves.len() as u64);
        let mut next = end.min(self.sealed_end + 300);
        while next > start {
            let run = log.history().entries(start..next, Direction::Descending).await.unwrap();
            assert_eq!(run.last().unwrap().index + 1, next);
            assert!(run.iter().all(|entry| self.leaves[entry.index as usize].body.as_ref() == Some(&entry.bytes)));
            next = run[0].index;
        }
    }

    /// Brings the index up to the log and compares it with a look at every entry.
    async fn assert_index(&self, log: &Log, dir: &Path) {
        let end = self.leaves.len() as u64;
        let index = Arc::new(Index::open(dir, &self.identity.origin, self.retained_from()..end).unwrap());
        for (last, leaf_hash) in index.ends() {
            assert_eq!(self.leaves[last as usize].hash, leaf_hash, "the index is not ahead of the log");
        }
        while index.watermark() < end {
            indexing::advance(log, &index, index.watermark(), end).await.unwrap();
        }
        let acme = Query::new(&Tenant::parse("acme").unwrap());
        let of_acme = |entry: &Entry| entry.tenant == "acme";
        self.assert_found(&index, &acme, of_acme);
        self.assert_found(&index, &acme.clone().operation(Operation::Encrypt), |entry| {
            of_acme(entry) && entry.operation() == Operation::Encrypt
        });
        let some = self.entries.values().filter(|entry| of_acme(entry)).step_by(self.entries.len() / 8 + 1);
        for target in some.filter_map(|entry| entry.targets.first()) {
            let class = |entry: &Entry| entry.targets.iter().any(|one| one.object == target.object);
            self.assert_found(&index, &acme.clone().class(&target.object), |entry| of_acme(entry) && class(entry));
            let Some(alias) = target.aliases.as_chunks::<16>().0.first() else { continue };
            let subject = |entry: &Entry| entry.targets.iter().any(|one| one.aliases.as_chunks().0.contains(alias));
            self.assert_found(&index, &acme.clone().subject(alias), |entry| of_acme(entry) && subject(entry));
        }
        for leaf in self.leaves.iter().rev().step_by(self.leaves.len() / 8 + 1).filter(|leaf| leaf.body.is_some()) {
            assert!(index.leaf(&leaf.hash).unwrap().candidates.contains(&leaf.index));
        }
    }

    fn assert_found(&self, index: &Index, query: &Query, is_meant: impl Fn(&Entry) -> bool) {
        let (mut next, mut found) = (self.retained_from(), BTreeSet::new());
        while next < self.leaves.len() as u64 {
            let part = index.find(query, next..self.leaves.len() as u64, Direction::Ascending, 1_000).unwrap();
            assert!(part.looked.start == next && part.looked.end > next);
            found.extend(part.candidates);
            next = part.looked.end;
        }
        let meant = self.entries.iter().filter(|(_, entry)| is_meant(entry)).map(|(index, _)| *index);
        found.retain(|index| is_meant(&self.entries[index]));
        assert!(meant.eq(found), "{query:?}");
    }
}

/// The numbers of the entry bundles that are there.
pub fn bundles(archive: &Path) -> BTreeSet<u64> {
    let names = std::fs::read_dir(archive.join("tile/entries")).into_iter().flatten();
    names.map(|name| name.unwrap().file_name().to_str().unwrap().parse().unwrap()).collect()
}

/// Each leaf, where its body is kept with the hash of that.
async fn leaves(log: &Log) -> Vec<Leaf> {
    let (mut leaves, end) = (Vec::new(), log.published().edge.size());
    while (leaves.len() as u64) < end {
        for leaf in log.history().leaves(leaves.len() as u64..end).await.unwrap() {
            assert_eq!(leaf.index, leaves.len() as u64, "leaves follow each other");
            assert!(leaf.body.as_ref().is_none_or(|body| entry::leaf_hash(body) == leaf.hash));
            assert_eq!(leaf.body.is_some(), leaf.index >= log.history().bounds().retained_from());
            leaves.push(leaf);
        }
    }
    leaves
}

/// The nodes of a tree, level by level, as far as they are full.
struct NaiveTree(Vec<Vec<Hash>>);

impl NaiveTree {
    fn new(leaves: Vec<Hash>) -> Self {
        let mut levels = vec![leaves];
        while let Some(below) = levels.last().filter(|below| below.len() > 1) {
            levels.push(below.as_chunks::<2>().0.iter().map(|[left, right]| node(left, right)).collect());
        }
        Self(levels)
    }

    fn level(&self, level: usize) -> &[Hash] {
        self.0.get(level).map_or(&[], Vec::as_slice)
    }

    /// RFC 6962 section 2.1: the largest full trees, joined from the right.
    fn root(&self, size: u64) -> Hash {
        let full = (0..64).filter(|level| size >> level & 1 == 1).map(|level| {
            let last = (size >> level) - 1;
            self.0[level][last as usize]
        });
        full.reduce(|right, left| node(&left, &right)).unwrap_or_else(|| sha256(&[]))
    }
}

fn node(left: &Hash, right: &Hash) -> Hash {
    sha256(&[&[1], &left[..], &right[..]].concat())
}

fn sha256(bytes: &[u8]) -> Hash {
    digest(&SHA256, bytes).as_ref().try_into().unwrap()
}
