//! What the log has recorded: its entries, read back in bounded runs, and proofs about them.
//!
//! Nothing read here is believed as it is. An entry is checked against its leaf hash, and what a proof is made of against the
//! root of the checkpoint that it leads to.

use std::{collections::HashMap, convert::Infallible, ops::Range, sync::Arc};

use super::{
    entry::Stored,
    merkle::{Hash, prove},
    reader,
    tiles::{self, Tile, TileReader, edge::Edge, nodes::Nodes, stored},
};
use crate::store::{Direction, Error, Space, Store};

/// Reads the log. Cheap to clone.
#[derive(Clone)]
pub struct History {
    store: Arc<dyn Store>,
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
    /// The history that lies in `store`.
    pub fn new(store: Arc<dyn Store>) -> Self {
        Self { store }
    }

    /// The entries of one run that lie in `indexes`, ascending: from the start of the range on, or for
    /// [`Direction::Descending`] up to its end. Empty only if the range is. May give fewer than the range holds.
    ///
    /// # Errors
    /// [`Error::Damaged`] if an entry is missing or does not match its hash.
    pub async fn entries(&self, indexes: Range<u64>, direction: Direction) -> Result<Vec<Stored>, Error> {
        reader::entries(&*self.store, indexes, direction).await
    }

    /// The leaves of one run that lie in `indexes`, from the start of the range on. Empty only if the range is. May give fewer
    /// than the range holds.
    ///
    /// # Errors
    /// [`Error::Damaged`] if a leaf is missing or an entry does not match its hash.
    pub async fn leaves(&self, indexes: Range<u64>) -> Result<Vec<Leaf>, Error> {
        let run = self.entries(indexes, Direction::Ascending).await?;
        Ok(run.into_iter().map(Leaf::from).collect())
    }

    /// The leaf at `index`, if the log has it.
    ///
    /// # Errors
    /// As [`Self::leaves`].
    pub async fn leaf(&self, index: u64) -> Result<Option<Leaf>, Error> {
        Ok(self.leaves(index..index.saturating_add(1)).await?.pop())
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
        let pairs = wanted.iter().zip(halves.chunks(2));
        pairs
            .map(|(tile, halves)| match halves {
                [first, second] => stored::join(first.as_deref(), second.as_deref()).ok_or_else(|| missing(*tile)),
                _ => Err(missing(*tile)),
            })
            .collect()
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

fn missing(tile: Tile) -> Error {
    Error::Damaged { what: format!("tile {} of level {} of the log is missing or cut short", tile.index, tile.level) }
}
