//! The tree as C2SP tlog-tiles stores and serves it: <https://c2sp.org/tlog-tiles>.
//!
//! A tile holds up to 256 hashes of one level of the tree, every eighth level starting with the leaves; the levels between are
//! hashed again when they are needed. A tile that is full never changes. The others, at most one a level, are the right edge
//! of the tree.
//!
//! * [`path`] – names of tiles and entry bundles
//! * [`edge`] – the partial tiles of a growing tree, and the tiles it fills
//! * [`nodes`] – the hash of any node, read from tiles
//! * [`bundle`] – the entries themselves, 256 at a time
//! * [`stored`] – how full tiles lie in the store

pub mod bundle;
pub mod edge;
pub mod nodes;
pub mod path;
pub mod stored;

#[cfg(test)]
mod tests;

use super::merkle::{HASH_BYTES, Hash};

/// How many levels of the tree a tile spans.
pub const HEIGHT: u8 = 8;

/// How many hashes a full tile holds, and entries a full bundle.
pub const WIDTH_MAX: u16 = 1 << HEIGHT;

/// The length of a full tile.
pub const TILE_BYTES_MAX: usize = WIDTH_MAX as usize * HASH_BYTES;

/// Which tile.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Tile {
    /// The height of its hashes in the tree, in [`HEIGHT`]s.
    pub level: u8,
    /// Its place among the tiles of its level.
    pub index: u64,
}

/// Reads what tiles hold.
pub trait TileReader {
    /// What can go wrong.
    type Error;

    /// The hashes of a tile, one after the other: all of a full tile, as many as there are of a partial one. `None` if there
    /// is no such tile.
    ///
    /// # Errors
    /// The tile can't be read.
    fn tile(&self, tile: Tile) -> Result<Option<Vec<u8>>, Self::Error>;
}

/// A tile can't be used.
#[derive(Debug, thiserror::Error)]
pub enum Error<E> {
    /// It is not there, or does not hold the hashes it has to.
    #[error("tile {index} of level {level} is missing or too short", index = .0.index, level = .0.level)]
    Missing(Tile),
    /// It can't be read.
    #[error("tile {index} of level {level} can't be read", index = .0.index, level = .0.level)]
    Read(Tile, #[source] E),
}

/// The tiles that become full when a tree grows, level by level.
pub fn filled(old_size: u64, new_size: u64) -> impl Iterator<Item = Tile> {
    (0..LEVELS).flat_map(move |level| {
        (full_count(old_size, level)..full_count(new_size, level)).map(move |index| Tile { level, index })
    })
}

/// How many full tiles of a level a tree has.
pub fn full_count(size: u64, level: u8) -> u64 {
    size.checked_shr(u32::from(HEIGHT) * (u32::from(level) + 1)).unwrap_or(0)
}

/// How many hashes the partial tile of a level has; 0 if there is none.
pub fn partial_width(size: u64, level: u8) -> u16 {
    let hashes = size.checked_shr(u32::from(HEIGHT) * u32::from(level)).unwrap_or(0);
    (hashes % u64::from(WIDTH_MAX)) as u16
}

/// As many levels of tiles as a tree with 2^64 leaves needs.
pub const LEVELS: u8 = 8;

/// The hashes a tile holds, if it holds whole ones and not too many.
fn hashes(tile: &[u8]) -> Option<&[Hash]> {
    let (hashes, rest) = tile.as_chunks::<HASH_BYTES>();
    (rest.is_empty() && tile.len() <= TILE_BYTES_MAX).then_some(hashes)
}
