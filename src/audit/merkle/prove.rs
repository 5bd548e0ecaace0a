//! Makes proofs from stored nodes: RFC 6962 sections 2.1.1 and 2.1.2, from the leaf upwards.
//!
//! A proof for any size the log ever had is made from the nodes of today, as perfect subtrees never change. At most one step
//! of a proof is a subtree that is not perfect, the right edge of the tree of that size: it is put together from its nodes.

use super::{EMPTY_ROOT, Hash, Node, node_hash};

/// Reads the hashes of nodes that are complete. `&mut` lets a reader keep what it read last.
pub trait HashReader {
    /// What can go wrong.
    type Error;

    /// The hash of a node.
    ///
    /// # Errors
    /// The node is not there or can't be read.
    fn hash(&mut self, node: Node) -> Result<Hash, Self::Error>;
}

/// Why there is no proof.
#[derive(Debug, thiserror::Error)]
pub enum Error<E> {
    /// The index is past the tree, or the first tree is larger than the second.
    #[error("the tree is too small for this proof")]
    OutOfRange,
    /// A node can't be read.
    #[error("a hash of the tree can't be read")]
    Read(#[source] E),
}

/// The proof that the leaf at `index` is in the tree of `size`: from its sibling up to the root's child.
///
/// # Errors
/// [`Error`].
pub fn inclusion<R: HashReader>(reader: &mut R, index: u64, size: u64) -> Result<Vec<Hash>, Error<R::Error>> {
    if index >= size {
        return Err(Error::OutOfRange);
    }
    let mut proof = Vec::new();
    climb(reader, Node { level: 0, index }, size, &mut proof)?;
    Ok(proof)
}

/// The proof that the tree of size `first` is the beginning of the tree of size `second`. It is empty when `first` is 0 or
/// both are one.
///
/// # Errors
/// [`Error`].
pub fn consistency<R: HashReader>(reader: &mut R, first: u64, second: u64) -> Result<Vec<Hash>, Error<R::Error>> {
    if first > second {
        return Err(Error::OutOfRange);
    }
    if first == 0 || first == second {
        return Ok(Vec::new());
    }
    // The largest perfect subtree that ends where the first tree does. If it is the whole first tree, its hash is the first
    // root, which the verifier has.
    let level = first.trailing_zeros() as u8;
    let last = Node { level, index: (first - 1) >> level };
    let mut proof = Vec::new();
    if last.index > 0 {
        proof.push(reader.hash(last).map_err(Error::Read)?);
    }
    climb(reader, last, second, &mut proof)?;
    Ok(proof)
}

/// The root of the tree of `size`.
///
/// # Errors
/// A node is not there or can't be read.
pub fn root<R: HashReader>(reader: &mut R, size: u64) -> Result<Hash, R::Error> {
    if size == 0 { Ok(EMPTY_ROOT) } else { range(reader, 0, size) }
}

/// The siblings on the way from a node, which is not past the last leaf, to the root.
fn climb<R: HashReader>(reader: &mut R, from: Node, size: u64, proof: &mut Vec<Hash>) -> Result<(), Error<R::Error>> {
    let Node { mut level, mut index } = from;
    // The last node of the level: every one before it is perfect.
    let mut last = (size - 1) >> level;
    while last > 0 {
        let sibling = index ^ 1;
        if sibling < last {
            proof.push(reader.hash(Node { level, index: sibling }).map_err(Error::Read)?);
        } else if sibling == last {
            proof.push(range(reader, sibling << level, size).map_err(Error::Read)?);
        }
        level += 1;
        index >>= 1;
        last >>= 1;
    }
    Ok(())
}

/// The root of the leaves `start..end`, where `start` is a multiple of a power of two not less than their number, which is
/// not 0.
fn range<R: HashReader>(reader: &mut R, start: u64, end: u64) -> Result<Hash, R::Error> {
    let mut end = end;
    let mut right = None;
    while end > start {
        let level = (end - start).trailing_zeros() as u8;
        end -= 1 << level;
        let left = reader.hash(Node { level, index: end >> level })?;
        right = Some(right.map_or(left, |right| node_hash(&left, &right)));
    }
    Ok(right.unwrap_or(EMPTY_ROOT))
}
