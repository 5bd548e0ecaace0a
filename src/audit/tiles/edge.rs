//! The partial tiles of a growing tree, held in memory: at most 255 hashes a level.
//!
//! The writer appends leaf hashes and stores the tiles that come out in the same batch as their entries. Partial tiles are not
//! stored; after a restart [`Edge::rebuild`] makes them again from the leaf hashes of the newest entries and the full tiles.
//!
//! INVARIANT: the partial tile of level L holds `size >> 8·L mod 256` hashes, and the tree is the tree over them.

use super::{Error, HEIGHT, LEVELS, TILE_BYTES_MAX, Tile, TileReader, WIDTH_MAX, hashes, partial_width};
use crate::audit::merkle::{self, Hash, Node, Tree};

/// The right edge of a tree, with its partial tiles.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Edge {
    tree: Tree,
    /// By level; the ones past the highest partial tile may be left out.
    partial: Vec<Vec<Hash>>,
}

/// A tile that is full, to be stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FullTile {
    /// Which one.
    pub tile: Tile,
    /// Its 256 hashes, one after the other.
    pub bytes: Vec<u8>,
}

impl Edge {
    /// The edge of the tree without leaves.
    pub fn new() -> Self {
        Self::default()
    }

    /// The edge of the tree of `size`, from the leaf hashes after its last full tile and the tiles themselves. It reads at
    /// most 255 tiles a level. Whether this is the tree that a checkpoint speaks of is for the caller to check, by the root.
    ///
    /// # Errors
    /// [`Error::Missing`], also if `newest` are not exactly the leaf hashes after the last full tile.
    pub fn rebuild<R: TileReader>(size: u64, newest: &[Hash], reader: &R) -> Result<Self, Error<R::Error>> {
        if size > merkle::SIZE_MAX || newest.len() != usize::from(partial_width(size, 0)) {
            return Err(Error::Missing(Tile { level: 0, index: size >> HEIGHT }));
        }
        let mut partial = vec![newest.to_vec()];
        for level in 1..LEVELS {
            let below = Self::beneath(size).filter(|tile| tile.level + 1 == level);
            partial.push(below.map(|tile| full_root(reader, tile)).collect::<Result<_, _>>()?);
        }
        let edge = partial.iter().rev().flat_map(|tile| perfect_subtrees(tile)).collect();
        let tree = Tree::restore(size, edge).ok_or(Error::Missing(Tile { level: 0, index: size >> HEIGHT }))?;
        Ok(Self { tree, partial })
    }

    /// The tiles that [`Self::rebuild`] reads for a tree of `size`.
    pub fn beneath(size: u64) -> impl Iterator<Item = Tile> {
        (1..LEVELS).flat_map(move |level| {
            // Each hash of a tile is the root of a full tile of the level below.
            let end = size >> (HEIGHT * level);
            (end - u64::from(partial_width(size, level))..end).map(move |index| Tile { level: level - 1, index })
        })
    }

    /// How many leaves the tree has.
    pub fn size(&self) -> u64 {
        self.tree.size()
    }

    /// The tree's root.
    pub fn root(&self) -> Hash {
        self.tree.root()
    }

    /// The tree's right edge.
    pub fn tree(&self) -> &Tree {
        &self.tree
    }

    /// Appends a leaf, and adds to `filled` the tiles that are full with it, the lowest first.
    pub fn push(&mut self, leaf_hash: Hash, filled: &mut Vec<FullTile>) {
        let partial = &mut self.partial;
        self.tree.push_each(leaf_hash, |node, hash| {
            if node.level.is_multiple_of(HEIGHT) {
                append(partial, node, hash, filled);
            }
        });
    }

    /// The partial tile of a level, as it is served; `None` if there is none.
    pub fn partial(&self, tile: Tile) -> Option<Vec<u8>> {
        let first = self.size().checked_shr(u32::from(HEIGHT) * (u32::from(tile.level) + 1)).unwrap_or(0);
        let hashes = self.partial.get(usize::from(tile.level))?;
        (tile.index == first && !hashes.is_empty()).then(|| hashes.concat())
    }
}

fn append(partial: &mut Vec<Vec<Hash>>, node: Node, hash: &Hash, filled: &mut Vec<FullTile>) {
    let level = node.level / HEIGHT;
    while partial.len() <= usize::from(level) {
        partial.push(Vec::new());
    }
    let Some(hashes) = partial.get_mut(usize::from(level)) else { return };
    hashes.push(*hash);
    if hashes.len() == usize::from(WIDTH_MAX) {
        filled.push(FullTile { tile: Tile { level, index: node.index >> HEIGHT }, bytes: hashes.concat() });
        hashes.clear();
    }
}

fn full_root<R: TileReader>(reader: &R, tile: Tile) -> Result<Hash, Error<R::Error>> {
    let bytes = reader.tile(tile).map_err(|error| Error::Read(tile, error))?;
    let full = bytes.as_deref().filter(|bytes| bytes.len() == TILE_BYTES_MAX).and_then(hashes);
    full.map(merkle::root).ok_or(Error::Missing(tile))
}

/// The roots of the perfect subtrees of a partial tile, the largest first.
fn perfect_subtrees(hashes: &[Hash]) -> Vec<Hash> {
    let mut tree = Tree::new();
    for hash in hashes {
        tree.push(*hash);
    }
    tree.edge().to_vec()
}
