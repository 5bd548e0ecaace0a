//! The hash of any node of the tree, read from tiles.
//!
//! A proof climbs from leaf to root and wants up to eight nodes of each tile on its way, so the tile read last of each level
//! is kept: a proof reads about two tiles a level.

use super::{Error, HEIGHT, LEVELS, Tile, TileReader, WIDTH_MAX, hashes};
use crate::audit::merkle::{self, Hash, Node, prove::HashReader};

/// Nodes read from tiles. One for each proof: it does not see tiles grow.
#[derive(Debug)]
pub struct Nodes<R> {
    reader: R,
    kept: [Option<(u64, Vec<u8>)>; LEVELS as usize],
}

impl<R: TileReader> Nodes<R> {
    /// Reads through `reader`.
    pub fn new(reader: R) -> Self {
        Self { reader, kept: Default::default() }
    }
}

impl<R: TileReader> HashReader for Nodes<R> {
    type Error = Error<R::Error>;

    fn hash(&mut self, node: Node) -> Result<Hash, Self::Error> {
        // The node is the root of 1, 2, 4, … or 128 hashes of its tile.
        let width = 1u64 << (node.level % HEIGHT);
        let per_tile = u64::from(WIDTH_MAX) / width;
        let tile = Tile { level: node.level / HEIGHT, index: node.index / per_tile };
        let start = (node.index % per_tile * width) as usize;
        let kept = self.kept.get_mut(usize::from(tile.level)).ok_or(Error::Missing(tile))?;
        let bytes = match kept.take() {
            Some((index, bytes)) if index == tile.index => bytes,
            _ => {
                let read = self.reader.tile(tile).map_err(|error| Error::Read(tile, error))?;
                read.ok_or(Error::Missing(tile))?
            }
        };
        let (_, bytes) = kept.insert((tile.index, bytes));
        let below = hashes(bytes).and_then(|hashes| hashes.get(start..start + width as usize));
        below.map(merkle::root).ok_or(Error::Missing(tile))
    }
}
