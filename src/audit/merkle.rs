//! The Merkle tree over the log's entries: RFC 6962 section 2.1 with SHA-256.
//!
//! [`Tree`] is the right edge of an append-only tree: the roots of its perfect subtrees, one for each one bit of its size. That
//! is all it takes to append and to know the root. Every perfect subtree is a [`Node`]; once its last leaf is there its hash
//! never changes again, which is why nodes can be stored, cached and shared by trees of every later size.
//!
//! * [`prove`] – makes inclusion and consistency proofs from stored nodes
//! * [`verify`] – checks such proofs; exact about lengths, and no proof makes it panic
//!
//! INVARIANT: the edge has exactly as many hashes as the size has one bits, the largest subtree first.

pub mod prove;
pub mod verify;

#[cfg(test)]
pub(super) mod naive;
#[cfg(test)]
mod tests;

use ring::digest::{Context, SHA256};

/// A SHA-256 hash of a leaf or of an inner node.
pub type Hash = [u8; HASH_BYTES];

/// The length of a hash.
pub const HASH_BYTES: usize = 32;

/// The most leaves a tree can have: what clients that count in signed 64-bit integers can still read.
pub const SIZE_MAX: u64 = i64::MAX as u64;

/// The root of the tree without leaves: SHA-256 of nothing.
pub const EMPTY_ROOT: Hash = [
    0xe3, 0xb0, 0xc4, 0x42, 0x98, 0xfc, 0x1c, 0x14, 0x9a, 0xfb, 0xf4, 0xc8, 0x99, 0x6f, 0xb9, 0x24, 0x27, 0xae, 0x41,
    0xe4, 0x64, 0x9b, 0x93, 0x4c, 0xa4, 0x95, 0x99, 0x1b, 0x78, 0x52, 0xb8, 0x55,
];

/// The hash of an inner node: SHA-256(0x01 ‖ left ‖ right).
pub fn node_hash(left: &Hash, right: &Hash) -> Hash {
    let mut context = Context::new(&SHA256);
    context.update(&[1]);
    context.update(left);
    context.update(right);
    let mut hash = [0; HASH_BYTES];
    hash.copy_from_slice(context.finish().as_ref());
    hash
}

/// The root of the tree with these leaf hashes (or of the subtree with these nodes in one level).
pub fn root(hashes: &[Hash]) -> Hash {
    let mut tree = Tree::new();
    for hash in hashes {
        tree.push(*hash);
    }
    tree.root()
}

/// A perfect subtree: the leaves `index << level` to `(index + 1) << level`, the last one excluded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Node {
    /// Its height; 0 is a leaf.
    pub level: u8,
    /// Its place among the nodes of its level.
    pub index: u64,
}

/// The right edge of an append-only tree.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tree {
    size: u64,
    edge: Vec<Hash>,
}

impl Tree {
    /// The tree without leaves.
    pub fn new() -> Self {
        Self::default()
    }

    /// A tree as [`size`](Self::size) and [`edge`](Self::edge) gave it. `None` if no tree can have them. That they belong to
    /// the log is for the caller to check, by the root.
    pub fn restore(size: u64, edge: Vec<Hash>) -> Option<Self> {
        (size <= SIZE_MAX && edge.len() == size.count_ones() as usize).then_some(Self { size, edge })
    }

    /// How many leaves it has.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The roots of its perfect subtrees, the largest first.
    pub fn edge(&self) -> &[Hash] {
        &self.edge
    }

    /// The root.
    pub fn root(&self) -> Hash {
        let mut subtrees = self.edge.iter().rev();
        let Some(last) = subtrees.next() else { return EMPTY_ROOT };
        subtrees.fold(*last, |right, left| node_hash(left, &right))
    }

    /// Appends a leaf.
    pub fn push(&mut self, leaf_hash: Hash) {
        self.push_each(leaf_hash, |_, _| ());
    }

    /// Appends a leaf and shows each node that is complete with it, from the leaf upwards.
    pub fn push_each(&mut self, leaf_hash: Hash, mut complete: impl FnMut(Node, &Hash)) {
        let mut node = Node { level: 0, index: self.size };
        let mut hash = leaf_hash;
        complete(node, &hash);
        while node.index & 1 == 1
            && let Some(left) = self.edge.pop()
        {
            hash = node_hash(&left, &hash);
            node = Node { level: node.level + 1, index: node.index >> 1 };
            complete(node, &hash);
        }
        self.edge.push(hash);
        // A tree starts at no more than SIZE_MAX and nobody appends 2^63 leaves to it.
        self.size += 1;
    }
}
