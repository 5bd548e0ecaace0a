//! How full tiles lie in the store: each in two halves, since a whole one is longer than a value may be.
//!
//! ```text
//! key    level (1) ‖ index (8, big-endian) ‖ half (1): 0 or 1
//! value  128 hashes, one after the other
//! ```

use super::{TILE_BYTES_MAX, Tile, edge::FullTile};
use crate::store::{Effect, Slot, Space};

/// Where the halves of a tile lie.
pub fn slots(tile: Tile) -> [Slot; 2] {
    [0, 1].map(|half| Slot::new(Space::Tile, &[&[tile.level], &tile.index.to_be_bytes(), &[half]]))
}

/// The writes that store a tile.
pub fn effects(full: &FullTile) -> impl Iterator<Item = Effect> {
    let halves = full.bytes.chunks(HALF_BYTES);
    slots(full.tile).into_iter().zip(halves).map(|(slot, half)| Effect { slot, value: Some(half.to_vec()) })
}

/// The tile whose halves were read, if both are there and as long as they must be.
pub fn join(first: Option<&[u8]>, second: Option<&[u8]>) -> Option<Vec<u8>> {
    let halves = [first?, second?];
    halves.iter().all(|half| half.len() == HALF_BYTES).then(|| halves.concat())
}

const HALF_BYTES: usize = TILE_BYTES_MAX / 2;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::VALUE_BYTES_MAX;

    #[test]
    fn a_tile_comes_back_from_its_halves_only() {
        let bytes: Vec<u8> = (0..TILE_BYTES_MAX).map(|i| (i / 32) as u8).collect();
        let full = FullTile { tile: Tile { level: 1, index: 7 }, bytes: bytes.clone() };
        let stored: Vec<Effect> = effects(&full).collect();
        let halves: Vec<Vec<u8>> = stored.iter().map(|effect| effect.value.clone().unwrap()).collect();
        assert_eq!(stored.iter().map(|effect| effect.slot.clone()).collect::<Vec<_>>(), slots(full.tile));
        assert!(halves.iter().all(|half| half.len() <= VALUE_BYTES_MAX));
        assert_eq!(join(Some(&halves[0]), Some(&halves[1])), Some(bytes));
        assert_eq!(join(Some(&halves[0]), None), None);
        assert_eq!(join(Some(&halves[0]), Some(&halves[1][1..])), None);
    }
}
