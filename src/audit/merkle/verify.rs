//! Checks proofs: RFC 9162 sections 2.1.3.2 and 2.1.4.2.
//!
//! Sizes, indexes and hashes may come from anyone; nothing here panics, and the work is bounded by the size's 64 bits. A proof
//! that is one hash too short or too long is refused.
//!
//! A proof says what the shape of the tree says: some neighbouring sizes give a leaf the same path. So size and root have to
//! come together, from one signed checkpoint.

use super::{EMPTY_ROOT, Hash, node_hash};

/// The proof does not show what it should.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the proof does not lead to the root")]
pub struct Invalid;

/// Checks that a leaf is at `index` in the tree of `size` with `root`.
///
/// # Errors
/// [`Invalid`].
pub fn inclusion(leaf_hash: &Hash, index: u64, size: u64, proof: &[Hash], root: &Hash) -> Result<(), Invalid> {
    if index >= size {
        return Err(Invalid);
    }
    let (mut node, mut last) = (index, size - 1);
    let mut hash = *leaf_hash;
    for sibling in proof {
        if last == 0 {
            return Err(Invalid);
        }
        if node & 1 == 1 || node == last {
            hash = node_hash(sibling, &hash);
            skip_single(&mut node, &mut last);
        } else {
            hash = node_hash(&hash, sibling);
        }
        node >>= 1;
        last >>= 1;
    }
    if last == 0 && hash == *root { Ok(()) } else { Err(Invalid) }
}

/// Checks that the tree of `first` leaves with `first_root` is the beginning of the tree of `second` leaves with
/// `second_root`. The empty tree is the beginning of every tree.
///
/// # Errors
/// [`Invalid`].
pub fn consistency(
    first: u64,
    first_root: &Hash,
    second: u64,
    second_root: &Hash,
    proof: &[Hash],
) -> Result<(), Invalid> {
    let empty_is_right = |size, root: &Hash| size != 0 || *root == EMPTY_ROOT;
    if first > second || !empty_is_right(first, first_root) || !empty_is_right(second, second_root) {
        return Err(Invalid);
    }
    if first == 0 || first == second {
        let same = first == 0 || first_root == second_root;
        return if same && proof.is_empty() { Ok(()) } else { Err(Invalid) };
    }
    // Both trees are rebuilt from the largest perfect subtree that ends where the first one does. If that is the whole first
    // tree, the proof leaves it out.
    let level = first.trailing_zeros();
    let (mut node, mut last) = ((first - 1) >> level, (second - 1) >> level);
    let (start, path) =
        if first.is_power_of_two() { (first_root, proof) } else { proof.split_first().ok_or(Invalid)? };
    let (mut first_hash, mut second_hash) = (*start, *start);
    for sibling in path {
        if last == 0 {
            return Err(Invalid);
        }
        if node & 1 == 1 || node == last {
            first_hash = node_hash(sibling, &first_hash);
            second_hash = node_hash(sibling, &second_hash);
            skip_single(&mut node, &mut last);
        } else {
            second_hash = node_hash(&second_hash, sibling);
        }
        node >>= 1;
        last >>= 1;
    }
    if last == 0 && first_hash == *first_root && second_hash == *second_root { Ok(()) } else { Err(Invalid) }
}

/// A node without a right sibling goes up unchanged until it is a right child itself.
fn skip_single(node: &mut u64, last: &mut u64) {
    if *node != 0 {
        let levels = node.trailing_zeros();
        *node >>= levels;
        *last >>= levels;
    }
}
