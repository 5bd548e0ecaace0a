//! What the log has recorded: its entries, read back in bounded runs, and proofs about them.
//!
//! Nothing read here is believed as it is. An entry is checked against its leaf hash, and what a proof is made of against the
//! root of the checkpoint that it leads to.

use std::{
    collections::HashMap,
    convert::Infallible,
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use super::{
    archive::{self, Archive},
    entry::Stored,
    merkle::{Hash, prove, verify},
    reader,
    tiles::{self, Tile, TileReader, WIDTH_MAX, edge::Edge, nodes::Nodes, stored},
};
use crate::store::{Direction, Error, Space, Store};

/// Reads the log. Cheap to clone.
#[derive(Clone)]
pub struct History {
    store: Arc<dyn Store>,
    archive: Option<Arc<Archive>>,
    bounds: Arc<Bounds>,
}

/// Where the log's parts meet. Both only grow; the log's writer moves them.
#[derive(Debug, Default)]
pub struct Bounds {
    sealed_end: AtomicU64,
    retained_from: AtomicU64,
}

impl Bounds {
    /// Entries before this index lie in sealed segments.
    pub fn sealed_end(&self) -> u64 {
        self.sealed_end.load(Ordering::Acquire)
    }

    /// The bodies of entries before this index were deleted.
    pub fn retained_from(&self) -> u64 {
        self.retained_from.load(Ordering::Acquire)
    }

    pub(super) fn move_to(&self, sealed_end: u64, retained_from: u64) {
        self.sealed_end.store(sealed_end, Ordering::Release);
        self.retained_from.store(retained_from, Ordering::Release);
    }
}

/// A leaf of the tree: an entry, or what is left of one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leaf {
    /// Its place in the log.
    pub index: u64,
    /// Its leaf hash.
    pub hash: Hash,
    /// The entry's stored bytes, which hash to it; `None` where they were deleted, or are not shown.
    pub body: Option<Vec<u8>>,
}

impl From<Stored> for Leaf {
    fn from(Stored { index, bytes, leaf_hash }: Stored) -> Self {
        Self { index, hash: leaf_hash, body: Some(bytes) }
    }
}

/// Why there is no proof.
#[derive(Debug, thiserror::Error)]
pub enum NoProof {
    /// The tree is too small for it.
    #[error("the tree is too small for this proof")]
    OutOfRange,
    /// The log can't be read, or does not lead to its own checkpoint.
    #[error(transparent)]
    Store(#[from] Error),
}

impl History {
    /// The history that lies in `store`, and before `sealed_end` in `archive`.
    pub fn new(store: Arc<dyn Store>, archive: Option<Arc<Archive>>, sealed_end: u64, retained_from: u64) -> Self {
        let bounds = Bounds { sealed_end: sealed_end.into(), retained_from: retained_from.into() };
        Self { store, archive, bounds: Arc::new(bounds) }
    }

    /// Where sealed segments lie, if the log seals any.
    pub fn archive(&self) -> Option<&Arc<Archive>> {
        self.archive.as_ref()
    }

    /// What is sealed and what is deleted.
    pub fn bounds(&self) -> &Arc<Bounds> {
        &self.bounds
    }

    /// The entries of one run that lie in `indexes`, ascending: from the start of the range on, or for
    /// [`Direction::Descending`] up to its end. Empty only if the range is. May give fewer than the range holds.
    ///
    /// # Errors
    /// [`Error::Damaged`] if an entry is missing, also by retention, or does not match its hash.
    pub async fn entries(&self, indexes: Range<u64>, direction: Direction) -> Result<Vec<Stored>, Error> {
        loop {
            let sealed_end = self.bounds.sealed_end();
            let at = match direction {
                Direction::Ascending => indexes.start,
                Direction::Descending => indexes.end.saturating_sub(1),
            };
            if at < sealed_end {
                return self.sealed_entries(indexes.start..indexes.end.min(sealed_end), direction).await;
            }
            let unsealed = indexes.start.max(sealed_end)..indexes.end;
            match reader::entries(&*self.store, unsealed, direction).await {
                // Sealed and removed while it was read.
                Err(Error::Damaged { .. }) if self.bounds.sealed_end() > sealed_end => {}
                read => return read,
            }
        }
    }

    /// The entries of one bundle.
    async fn sealed_entries(&self, indexes: Range<u64>, direction: Direction) -> Result<Vec<Stored>, Error> {
        let width = u64::from(WIDTH_MAX);
        let bundle = match direction {
            Direction::Ascending => indexes.start / width,
            Direction::Descending => indexes.end.saturating_sub(1) / width,
        };
        let entries = self.in_archive(move |archive| archive.bundle(bundle)).await?;
        Ok(entries.iter().filter(|entry| indexes.contains(&entry.index)).cloned().collect())
    }

    /// Reads the archive, off the runtime's threads.
    async fn in_archive<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Archive) -> Result<T, archive::Error> + Send + 'static,
    ) -> Result<T, Error> {
        let archive = self.archive.clone().ok_or_else(|| Error::Damaged { what: "the archive".to_owned() })?;
        match tokio::task::spawn_blocking(move || read(&archive)).await {
            Ok(read) => read.map_err(from_archive),
            Err(stopped) => Err(Error::Storage { doing: "waited for a read", source: stopped.into() }),
        }
    }

    /// The leaves of one run that lie in `indexes`, from the start of the range on. Empty only if the range is. May give fewer
    /// than the range holds.
    ///
    /// # Errors
    /// [`Error::Damaged`] if a leaf is missing or an entry does not match its hash.
    pub async fn leaves(&self, indexes: Range<u64>) -> Result<Vec<Leaf>, Error> {
        let retained_from = self.bounds.retained_from();
        if indexes.start >= retained_from {
            let run = self.entries(indexes, Direction::Ascending).await?;
            return Ok(run.into_iter().map(Leaf::from).collect());
        }
        let indexes = indexes.start..indexes.end.min(retained_from).min(indexes.start.saturating_add(LEAVES_MAX));
        let hashes = self.in_archive({
            let indexes = indexes.clone();
            move |archive| archive.leaf_hashes(indexes)
        });
        let leaf = |(index, hash)| Leaf { index, hash, body: None };
        Ok(indexes.clone().zip(hashes.await?).map(leaf).collect())
    }

    /// The leaf at `index`, if the log has it.
    ///
    /// # Errors
    /// As [`Self::leaves`].
    pub async fn leaf(&self, index: u64) -> Result<Option<Leaf>, Error> {
        Ok(self.leaves(index..index.saturating_add(1)).await?.pop())
    }

    /// The leaf hash at `index`, if the tree of `edge` has it, from the tile that holds it: the entry itself is not read, and may
    /// be gone or damaged.
    ///
    /// # Errors
    /// [`Error::Damaged`] if the tile is missing.
    pub async fn leaf_hash(&self, edge: &Edge, index: u64) -> Result<Option<Hash>, Error> {
        if index >= edge.size() {
            return Ok(None);
        }
        let tile = Tile { level: 0, index: index / u64::from(WIDTH_MAX) };
        let hashes = match edge.partial(tile) {
            Some(hashes) => hashes,
            None => self.tiles(&[tile]).await?.pop().unwrap_or_default(),
        };
        let at = (index % u64::from(WIDTH_MAX)) as usize;
        Ok(hashes.as_chunks().0.get(at).copied())
    }

    /// The last checkpoint that was kept of a log of more than `after` entries and at most `upto`, with its size.
    ///
    /// # Errors
    /// [`Error::Damaged`] if it is none.
    pub async fn kept_checkpoint(&self, after: u64, upto: u64) -> Result<Option<(u64, Arc<str>)>, Error> {
        let keys = after.saturating_add(1).to_be_bytes().to_vec()..upto.saturating_add(1).to_be_bytes().to_vec();
        let kept = self.store.scan(Space::Checkpoint, keys, Direction::Descending, 1).await?;
        let Some((key, note)) = kept.into_iter().next() else { return Ok(None) };
        let damaged = || Error::Damaged { what: "a checkpoint of the log".to_owned() };
        let size = key.as_slice().try_into().map(u64::from_be_bytes).map_err(|_| damaged())?;
        Ok(Some((size, String::from_utf8(note).map_err(|_| damaged())?.into())))
    }

    /// The proof that the leaf at `index` is in the tree of `size`, which is not larger than the tree of `edge`.
    ///
    /// # Errors
    /// [`NoProof`].
    pub async fn inclusion(&self, edge: &Edge, index: u64, size: u64) -> Result<Vec<Hash>, NoProof> {
        self.prove(edge, size, |nodes| prove::inclusion(nodes, index, size)).await
    }

    /// The proof that the tree of `first` leaves is the beginning of the tree of `second`, which is not larger than the tree
    /// of `edge`.
    ///
    /// # Errors
    /// [`NoProof`].
    pub async fn consistency(&self, edge: &Edge, first: u64, second: u64) -> Result<Vec<Hash>, NoProof> {
        self.prove(edge, second, |nodes| prove::consistency(nodes, first, second)).await
    }

    /// The proof that the leaf at `index` is in the tree of `edge`, checked.
    ///
    /// # Errors
    /// [`NoProof`]; [`Error::Damaged`] if what is read does not lead from this leaf to the root of `edge`.
    pub async fn prove_leaf(&self, edge: &Edge, index: u64, leaf_hash: &Hash) -> Result<Vec<Hash>, NoProof> {
        let proof = self.inclusion(edge, index, edge.size()).await?;
        let what = || format!("log entry {index}, or a tile over it, is not what was signed");
        let checked = verify::inclusion(leaf_hash, index, edge.size(), &proof, &edge.root());
        checked.map_err(|_| Error::Damaged { what: what() })?;
        Ok(proof)
    }

    /// The proof that the tree of `first` leaves is the beginning of the tree of `second`, checked: as is the one that the
    /// latter is the beginning of the tree of `edge`.
    ///
    /// # Errors
    /// [`NoProof`]; [`Error::Damaged`] if what is read does not lead to the root of `edge`.
    pub async fn prove_beginning(&self, edge: &Edge, first: u64, second: u64) -> Result<Vec<Hash>, NoProof> {
        let proof = self.consistency(edge, first, second).await?;
        let rest = self.consistency(edge, second, edge.size()).await?;
        let (before, after) = (self.root(edge, first).await?, self.root(edge, second).await?);
        let checked = verify::consistency(first, &before, second, &after, &proof)
            .and_then(|()| verify::consistency(second, &after, edge.size(), &edge.root(), &rest));
        let what = || format!("a tile of the log's first {second} entries is not what was signed");
        checked.map_err(|_| Error::Damaged { what: what() })?;
        Ok(proof)
    }

    /// The root of the tree of `size`, which is not larger than the tree of `edge`.
    ///
    /// # Errors
    /// [`NoProof`].
    pub async fn root(&self, edge: &Edge, size: u64) -> Result<Hash, NoProof> {
        self.prove(edge, size, |nodes| prove::root(nodes, size).map_err(prove::Error::Read)).await
    }

    /// Tiles that are full, in the order asked for.
    ///
    /// # Errors
    /// [`Error::Damaged`] if one is missing.
    pub async fn tiles(&self, wanted: &[Tile]) -> Result<Vec<Vec<u8>>, Error> {
        let slots: Vec<_> = wanted.iter().flat_map(|tile| stored::slots(*tile)).collect();
        let halves = self.store.read(&slots).await?;
        let mut tiles = Vec::with_capacity(wanted.len());
        for (tile, halves) in wanted.iter().zip(halves.chunks(2)) {
            let joined = match halves {
                [first, second] => stored::join(first.as_deref(), second.as_deref()),
                _ => None,
            };
            tiles.push(match joined {
                Some(bytes) => bytes,
                None => self.sealed_tile(*tile).await?,
            });
        }
        Ok(tiles)
    }

    async fn sealed_tile(&self, tile: Tile) -> Result<Vec<u8>, Error> {
        if self.archive.is_none() {
            return Err(missing(tile));
        }
        self.in_archive(move |archive| archive.tile(tile)).await?.ok_or_else(|| missing(tile))
    }

    /// The right edge of the tree of `size`. Whether it is the tree that a checkpoint speaks of is for the caller to check.
    ///
    /// # Errors
    /// [`Error::Damaged`] if an entry or a tile is missing.
    pub async fn edge(&self, size: u64) -> Result<Edge, Error> {
        let mut newest = Vec::new();
        let mut from = size - u64::from(tiles::partial_width(size, 0));
        while from < size {
            let run = self.entries(from..size, Direction::Ascending).await?;
            newest.extend(run.iter().map(|entry| entry.leaf_hash));
            from = run.last().map_or(size, |entry| entry.index + 1);
        }
        let wanted: Vec<Tile> = Edge::beneath(size).collect();
        let full = wanted.iter().copied().zip(self.tiles(&wanted).await?).collect();
        let reader = Fetched { edge: None, full };
        Edge::rebuild(size, &newest, &&reader).map_err(|error| match error {
            tiles::Error::Missing(tile) | tiles::Error::Read(tile, _) => missing(tile),
        })
    }

    /// Proves with what is at hand, and fetches a tile whenever one is wanting: a proof touches few.
    async fn prove<T>(
        &self,
        edge: &Edge,
        size: u64,
        prove: impl Fn(&mut Nodes<&Fetched<'_>>) -> Result<T, prove::Error<tiles::Error<Infallible>>>,
    ) -> Result<T, NoProof> {
        if size > edge.size() {
            return Err(NoProof::OutOfRange);
        }
        let mut fetched = Fetched { edge: Some(edge), full: HashMap::new() };
        loop {
            let tile = match prove(&mut Nodes::new(&fetched)) {
                Ok(proof) => return Ok(proof),
                Err(prove::Error::OutOfRange) => return Err(NoProof::OutOfRange),
                Err(prove::Error::Read(tiles::Error::Missing(tile) | tiles::Error::Read(tile, _))) => tile,
            };
            if fetched.full.contains_key(&tile) {
                return Err(missing(tile).into());
            }
            let bytes = self.tiles(&[tile]).await?.pop().ok_or_else(|| missing(tile))?;
            fetched.full.insert(tile, bytes);
        }
    }
}

impl std::fmt::Debug for History {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("History")
    }
}

/// Tiles in memory.
struct Fetched<'e> {
    edge: Option<&'e Edge>,
    full: HashMap<Tile, Vec<u8>>,
}

impl TileReader for &Fetched<'_> {
    type Error = Infallible;

    fn tile(&self, tile: Tile) -> Result<Option<Vec<u8>>, Infallible> {
        Ok(self.full.get(&tile).cloned().or_else(|| self.edge?.partial(tile)))
    }
}

fn from_archive(error: archive::Error) -> Error {
    match error {
        error @ archive::Error::Storage { .. } => {
            Error::Storage { doing: "read a sealed segment", source: error.into() }
        }
        archive::Error::Refused(_)
        | archive::Error::Missing { .. }
        | archive::Error::Damaged { .. }
        | archive::Error::Entry { .. }
        | archive::Error::Checkpoint { .. }
        | archive::Error::Source { .. }
        | archive::Error::Unsealable { .. } => Error::Damaged { what: error.to_string() },
    }
}

/// Leaf hashes without bodies in one run, at most.
const LEAVES_MAX: u64 = 4_096;

fn missing(tile: Tile) -> Error {
    Error::Damaged { what: format!("tile {} of level {} of the log is missing or cut short", tile.index, tile.level) }
}
