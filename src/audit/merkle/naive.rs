//! The definitions of RFC 6962 section 2.1 as they are written there: recursive, from the root down, over all leaves. It
//! shares no code with what it is held against but SHA-256.

use std::{cell::RefCell, collections::HashMap, convert::Infallible};

use ring::digest::{SHA256, digest};

use super::{Hash, Node, prove::HashReader};

/// A tree over given leaf hashes. Remembers hashes of ranges, so that exhaustive tests end.
pub struct Naive {
    pub leaves: Vec<Hash>,
    known: RefCell<HashMap<(usize, usize), Hash>>,
}

impl Naive {
    pub fn of(leaves: Vec<Hash>) -> Self {
        Self { leaves, known: RefCell::default() }
    }

    /// A tree over `size` entries, all different.
    pub fn sized(size: usize) -> Self {
        Self::of((0..size).map(|i| sha256(&[&[0], format!("entry {i}").as_bytes()])).collect())
    }

    /// MTH(D[size])
    pub fn root(&self, size: usize) -> Hash {
        self.mth(0, size)
    }

    /// PATH(m, D[n])
    pub fn path(&self, m: usize, n: usize) -> Vec<Hash> {
        self.path_in(m, 0, n)
    }

    /// PROOF(m, D[n]); not defined for m = 0 in the RFC.
    pub fn proof(&self, m: usize, n: usize) -> Vec<Hash> {
        self.subproof(m, 0, n, true)
    }

    fn mth(&self, start: usize, end: usize) -> Hash {
        if let Some(hash) = self.known.borrow().get(&(start, end)) {
            return *hash;
        }
        let hash = match end - start {
            0 => sha256(&[]),
            1 => self.leaves[start],
            n => {
                let k = split(n);
                sha256(&[&[1], &self.mth(start, start + k), &self.mth(start + k, end)])
            }
        };
        self.known.borrow_mut().insert((start, end), hash);
        hash
    }

    fn path_in(&self, m: usize, start: usize, end: usize) -> Vec<Hash> {
        if end - start == 1 {
            return Vec::new();
        }
        let k = split(end - start);
        let (mut path, sibling) = if m < k {
            (self.path_in(m, start, start + k), self.mth(start + k, end))
        } else {
            (self.path_in(m - k, start + k, end), self.mth(start, start + k))
        };
        path.push(sibling);
        path
    }

    fn subproof(&self, m: usize, start: usize, end: usize, whole: bool) -> Vec<Hash> {
        let n = end - start;
        if m == n {
            return if whole { Vec::new() } else { vec![self.mth(start, end)] };
        }
        let k = split(n);
        let (mut proof, sibling) = if m <= k {
            (self.subproof(m, start, start + k, whole), self.mth(start + k, end))
        } else {
            (self.subproof(m - k, start + k, end, false), self.mth(start, start + k))
        };
        proof.push(sibling);
        proof
    }
}

/// Reads no node whose last leaf is not there.
impl HashReader for &Naive {
    type Error = Infallible;

    fn hash(&mut self, node: Node) -> Result<Hash, Infallible> {
        let (start, end) = ((node.index << node.level) as usize, ((node.index + 1) << node.level) as usize);
        assert!(end <= self.leaves.len(), "{node:?} is not complete");
        Ok(self.mth(start, end))
    }
}

/// The largest power of two smaller than n.
fn split(n: usize) -> usize {
    let mut k = 1;
    while k * 2 < n {
        k *= 2;
    }
    k
}

fn sha256(parts: &[&[u8]]) -> Hash {
    digest(&SHA256, &parts.concat()).as_ref().try_into().unwrap()
}
