//! Tiles of growing trees: what fills, what is rebuilt, and that proofs read from tiles are the naive tree's.

use std::{cell::Cell, collections::HashMap, convert::Infallible};

use super::{
    edge::{Edge, FullTile},
    nodes::Nodes,
    *,
};
use crate::audit::merkle::{naive::Naive, prove, verify};

/// Full tiles as a store keeps them, and the partial ones of an edge.
#[derive(Default)]
struct Kept {
    full: HashMap<Tile, Vec<u8>>,
    edge: Edge,
    reads: Cell<usize>,
}

impl Kept {
    fn push(&mut self, leaf: Hash) -> Vec<Tile> {
        let mut filled = Vec::new();
        self.edge.push(leaf, &mut filled);
        let tiles = filled.iter().map(|full| full.tile).collect();
        for FullTile { tile, bytes } in filled {
            assert_eq!(bytes.len(), TILE_BYTES_MAX);
            assert!(self.full.insert(tile, bytes).is_none(), "a full tile never changes");
        }
        tiles
    }
}

impl TileReader for &Kept {
    type Error = Infallible;

    fn tile(&self, tile: Tile) -> Result<Option<Vec<u8>>, Infallible> {
        self.reads.set(self.reads.get() + 1);
        Ok(self.full.get(&tile).cloned().or_else(|| self.edge.partial(tile)))
    }
}

fn grown(leaves: &[Hash]) -> Kept {
    let mut kept = Kept::default();
    leaves.iter().for_each(|leaf| drop(kept.push(*leaf)));
    kept
}

/// Past two tiles of level 1.
const LARGE: usize = 2 * 65_536 + 3 * 256 + 5;

#[test]
fn the_example_of_the_specification() {
    let size = 70_000;
    assert_eq!(filled(0, size).filter(|tile| tile.level == 0).count(), 273);
    assert_eq!(filled(0, size).filter(|tile| tile.level == 1).count(), 1);
    assert_eq!(filled(0, size).filter(|tile| tile.level > 1).count(), 0);
    assert_eq!([0, 1, 2, 3].map(|level| partial_width(size, level)), [112, 17, 1, 0]);
    assert_eq!([0, 1, 2].map(|level| partial_width(256, level)), [0, 1, 0]);
}

#[test]
fn sizes_at_the_end_of_the_range_have_tiles() {
    assert_eq!(partial_width(u64::MAX, 7), 255);
    assert_eq!(partial_width(u64::MAX, 8), 0);
    assert_eq!(partial_width(u64::MAX, 255), 0);
    assert_eq!(filled(u64::MAX - 1, u64::MAX).count(), 0);
    assert_eq!(filled(0, 0).count(), 0);
    assert_eq!(filled(512, 256).count(), 0);
}

#[test]
fn a_growing_tree_gives_out_exactly_the_tiles_that_fill() {
    let naive = Naive::sized(LARGE);
    let mut kept = Kept::default();
    for (size, leaf) in naive.leaves.iter().enumerate() {
        let tiles = kept.push(*leaf);
        assert_eq!(tiles, filled(size as u64, size as u64 + 1).collect::<Vec<_>>());
    }
    let mut all: Vec<Tile> = kept.full.keys().copied().collect();
    all.sort();
    assert_eq!(all, filled(0, LARGE as u64).collect::<Vec<_>>());
    assert_eq!(kept.edge.root(), naive.root(LARGE));
    for level in 0..4 {
        let tile = Tile { level, index: LARGE as u64 >> (8 * (level + 1)) };
        let width = kept.edge.partial(tile).map_or(0, |bytes| bytes.len() / HASH_BYTES);
        assert_eq!(width, usize::from(partial_width(LARGE as u64, level)));
        assert_eq!(kept.edge.partial(Tile { level, index: tile.index + 1 }), None);
    }
    // Level 0 holds leaves, level 1 the roots of full tiles.
    assert_eq!(kept.full[&Tile { level: 0, index: 3 }], naive.leaves[768..1024].concat());
    let level_1 = &kept.full[&Tile { level: 1, index: 1 }];
    assert_eq!(level_1[..HASH_BYTES], merkle_root(&naive.leaves[65_536..65_792]));
}

fn merkle_root(leaves: &[Hash]) -> Hash {
    Naive::of(leaves.to_vec()).root(leaves.len())
}

#[test]
fn an_edge_rebuilt_from_tiles_is_the_edge() {
    let naive = Naive::sized(LARGE);
    for size in [0, 1, 2, 255, 256, 257, 511, 512, 65_535, 65_536, 65_537, 65_792, 131_072, LARGE] {
        let kept = grown(&naive.leaves[..size]);
        let newest = &naive.leaves[size / 256 * 256..size];
        let mut rebuilt = Edge::rebuild(size as u64, newest, &&kept).unwrap();
        assert_eq!(rebuilt.root(), naive.root(size), "{size}");
        assert_eq!(rebuilt.tree(), kept.edge.tree());
        // Both go on alike.
        let mut edge = kept.edge.clone();
        let (mut from_rebuilt, mut from_edge) = (Vec::new(), Vec::new());
        for leaf in &naive.leaves[..300] {
            rebuilt.push(*leaf, &mut from_rebuilt);
            edge.push(*leaf, &mut from_edge);
        }
        assert_eq!(from_rebuilt, from_edge);
        assert_eq!(rebuilt.root(), edge.root());
    }
}

#[test]
fn an_edge_is_not_rebuilt_from_too_little() {
    let naive = Naive::sized(70_000);
    let kept = grown(&naive.leaves);
    let newest = &naive.leaves[70_000 / 256 * 256..];
    assert!(Edge::rebuild(70_000, newest, &&kept).is_ok());
    assert!(matches!(Edge::rebuild(70_000, &newest[1..], &&kept), Err(Error::Missing(_))));
    assert!(matches!(Edge::rebuild(70_000, &[], &&kept), Err(Error::Missing(_))));
    assert!(matches!(Edge::rebuild(u64::MAX, &naive.leaves[..255], &&kept), Err(Error::Missing(_))));
    for tile in [Tile { level: 0, index: 272 }, Tile { level: 1, index: 0 }] {
        for damage in [None, Some(8_160), Some(8_191), Some(8_224)] {
            let mut broken = grown(&naive.leaves);
            match damage {
                None => drop(broken.full.remove(&tile)),
                Some(length) => broken.full.get_mut(&tile).unwrap().resize(length, 0),
            }
            let rebuilt = Edge::rebuild(70_000, newest, &&broken);
            assert!(matches!(rebuilt, Err(Error::Missing(missing)) if missing == tile), "{tile:?} {damage:?}");
        }
    }
    // A changed hash shows in the root.
    let mut changed = grown(&naive.leaves);
    changed.full.get_mut(&Tile { level: 0, index: 272 }).unwrap()[0] ^= 1;
    assert_ne!(Edge::rebuild(70_000, newest, &&changed).unwrap().root(), naive.root(70_000));
}

#[test]
fn proofs_read_from_tiles_are_the_naive_trees() {
    let naive = Naive::sized(LARGE);
    let kept = grown(&naive.leaves);
    let sizes = [1, 2, 255, 256, 257, 300, 65_535, 65_536, 65_537, 70_000, 131_072, 131_073, LARGE];
    for size in sizes {
        let root = naive.root(size);
        assert_eq!(prove::root(&mut Nodes::new(&kept), size as u64).unwrap(), root);
        for index in [0, 1, 254, 255, 256, 511, 65_535, 65_536, 69_999, 131_071, size - 1] {
            if index >= size {
                continue;
            }
            let proof = prove::inclusion(&mut Nodes::new(&kept), index as u64, size as u64).unwrap();
            assert_eq!(proof, naive.path(index, size), "{index} of {size}");
            verify::inclusion(&naive.leaves[index], index as u64, size as u64, &proof, &root).unwrap();
        }
        for first in sizes.into_iter().filter(|first| *first <= size) {
            let proof = prove::consistency(&mut Nodes::new(&kept), first as u64, size as u64).unwrap();
            assert_eq!(proof, naive.proof(first, size), "{first} of {size}");
        }
    }
}

#[test]
fn a_proof_reads_few_tiles() {
    let naive = Naive::sized(LARGE);
    let kept = grown(&naive.leaves);
    for index in [0, 65_535, 100_000, LARGE - 1] {
        kept.reads.set(0);
        prove::inclusion(&mut Nodes::new(&kept), index as u64, LARGE as u64).unwrap();
        assert!(kept.reads.get() <= 6, "{} reads", kept.reads.get());
    }
}

#[test]
fn a_node_past_the_tree_or_in_a_damaged_tile_is_missing() {
    let naive = Naive::sized(300);
    let mut kept = grown(&naive.leaves);
    assert!(prove::inclusion(&mut Nodes::new(&kept), 0, 300).is_ok());
    for (index, size) in [(0, 301), (299, 512), (0, 65_536), (0, u64::MAX), (u64::MAX - 1, u64::MAX)] {
        let proof = prove::inclusion(&mut Nodes::new(&kept), index, size);
        assert!(matches!(proof, Err(prove::Error::Read(Error::Missing(_)))), "{index} of {size}");
    }
    for length in [0, 31, 32, 8_191, 8_224] {
        kept.full.get_mut(&Tile { level: 0, index: 0 }).unwrap().resize(length, 0);
        let proof = prove::inclusion(&mut Nodes::new(&kept), 200, 300);
        assert!(matches!(proof, Err(prove::Error::Read(Error::Missing(_)))), "{length}");
    }
}
