//! The tree and its proofs against the naive tree, the reference trees of Certificate Transparency, and forgers.

use proptest::prelude::*;

use super::{naive::Naive, verify::Invalid, *};
use crate::audit::entry::leaf_hash;

const SIZES: usize = 300;

/// The eight leaves that Certificate Transparency implementations test with, and the roots of the trees over the first 0 to 8.
const REFERENCE_LEAVES: [&str; 8] =
    ["", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"];
const REFERENCE_ROOTS: [&str; 9] = [
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
];

fn unhex(text: &str) -> Hash {
    hex::decode(text).unwrap().try_into().unwrap()
}

fn inclusion(tree: &Naive, index: usize, size: usize) -> Vec<Hash> {
    prove::inclusion(&mut &*tree, index as u64, size as u64).unwrap()
}

fn consistency(tree: &Naive, first: usize, second: usize) -> Vec<Hash> {
    prove::consistency(&mut &*tree, first as u64, second as u64).unwrap()
}

#[test]
fn the_reference_trees_have_the_reference_roots() {
    let mut tree = Tree::new();
    assert_eq!(tree.root(), unhex(REFERENCE_ROOTS[0]));
    for (leaf, expected) in REFERENCE_LEAVES.iter().zip(&REFERENCE_ROOTS[1..]) {
        tree.push(leaf_hash(&hex::decode(leaf).unwrap()));
        assert_eq!(tree.root(), unhex(expected), "{} leaves", tree.size());
    }
}

#[test]
fn the_reference_proofs_are_made_and_verify() {
    let tree = Naive::of(REFERENCE_LEAVES.iter().map(|leaf| leaf_hash(&hex::decode(leaf).unwrap())).collect());
    // Index, size, path: from the tests of Certificate Transparency's C++ implementation.
    let paths: [(usize, usize, &[&str]); 3] = [
        (0, 1, &[]),
        (
            0,
            8,
            &[
                "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
                "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
                "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
            ],
        ),
        (2, 3, &["fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125"]),
    ];
    for (index, size, path) in paths {
        let path: Vec<Hash> = path.iter().map(|hash| unhex(hash)).collect();
        assert_eq!(inclusion(&tree, index, size), path);
        let root = unhex(REFERENCE_ROOTS[size]);
        verify::inclusion(&tree.leaves[index], index as u64, size as u64, &path, &root).unwrap();
    }
    let proofs: [(usize, usize, &[&str]); 2] = [
        (
            6,
            8,
            &[
                "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
                "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
                "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
            ],
        ),
        (
            2,
            5,
            &[
                "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
                "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
            ],
        ),
    ];
    for (first, second, proof) in proofs {
        let proof: Vec<Hash> = proof.iter().map(|hash| unhex(hash)).collect();
        assert_eq!(consistency(&tree, first, second), proof);
        let (first_root, second_root) = (unhex(REFERENCE_ROOTS[first]), unhex(REFERENCE_ROOTS[second]));
        verify::consistency(first as u64, &first_root, second as u64, &second_root, &proof).unwrap();
    }
}

#[test]
fn the_root_is_the_naive_root_at_every_size() {
    let naive = Naive::sized(SIZES);
    let mut tree = Tree::new();
    for size in 0..=SIZES {
        assert_eq!(tree.root(), naive.root(size));
        assert_eq!(prove::root(&mut &naive, size as u64).unwrap(), naive.root(size));
        assert_eq!(tree.size(), size as u64);
        assert_eq!(Tree::restore(tree.size(), tree.edge().to_vec()).as_ref(), Some(&tree));
        if size < SIZES {
            let mut completed = 0;
            tree.push_each(naive.leaves[size], |node, hash| {
                assert_eq!(prove::HashReader::hash(&mut &naive, node).unwrap(), *hash);
                completed += 1;
            });
            assert_eq!(completed, 1 + (size + 1).trailing_zeros());
        }
    }
}

#[test]
fn an_edge_that_no_tree_has_is_not_restored() {
    assert!(Tree::restore(0, vec![]).is_some());
    assert!(Tree::restore(0, vec![[0; 32]]).is_none());
    assert!(Tree::restore(3, vec![[0; 32]]).is_none());
    assert!(Tree::restore(3, vec![[0; 32]; 3]).is_none());
    assert!(Tree::restore(SIZE_MAX, vec![[0; 32]; 63]).is_some());
    assert!(Tree::restore(SIZE_MAX + 1, vec![[0; 32]]).is_none());
}

#[test]
fn every_leaf_of_every_tree_is_proved_as_the_rfc_says() {
    let tree = Naive::sized(SIZES);
    for size in 1..=SIZES {
        let root = tree.root(size);
        for index in 0..size {
            let proof = inclusion(&tree, index, size);
            assert_eq!(proof, tree.path(index, size), "leaf {index} of {size}");
            verify::inclusion(&tree.leaves[index], index as u64, size as u64, &proof, &root).unwrap();
        }
    }
}

#[test]
fn every_tree_is_proved_to_begin_every_later_one_as_the_rfc_says() {
    let tree = Naive::sized(SIZES);
    for second in 0..=SIZES {
        for first in 0..=second {
            let proof = consistency(&tree, first, second);
            let expected = if first == 0 { Vec::new() } else { tree.proof(first, second) };
            assert_eq!(proof, expected, "{first} of {second}");
            let (first_root, second_root) = (tree.root(first), tree.root(second));
            verify::consistency(first as u64, &first_root, second as u64, &second_root, &proof).unwrap();
        }
    }
}

#[test]
fn there_is_no_proof_past_the_tree() {
    let tree = Naive::sized(8);
    for (index, size) in [(0, 0), (8, 8), (9, 8), (u64::MAX, 8), (u64::MAX, u64::MAX)] {
        assert!(matches!(prove::inclusion(&mut &tree, index, size), Err(prove::Error::OutOfRange)));
        assert_eq!(verify::inclusion(&[0; 32], index, size, &[], &EMPTY_ROOT), Err(Invalid));
    }
    assert!(matches!(prove::consistency(&mut &tree, 8, 7), Err(prove::Error::OutOfRange)));
    assert_eq!(verify::consistency(8, &tree.root(8), 7, &tree.root(7), &tree.proof(7, 8)), Err(Invalid));
}

/// Every proof one step away from this one: a bit changed, a hash gone, one too many, two exchanged.
fn mutations(proof: &[Hash]) -> Vec<Vec<Hash>> {
    let mut mutations = Vec::new();
    for at in 0..=proof.len() {
        let copies = proof.get(at).into_iter().chain(proof.get(at.wrapping_sub(1)));
        for added in copies.chain([&[0; 32], &EMPTY_ROOT]) {
            let mut longer = proof.to_vec();
            longer.insert(at, *added);
            mutations.push(longer);
        }
        if at < proof.len() {
            let mut flipped = proof.to_vec();
            flipped[at][at % 32] ^= 1 << (at % 8);
            mutations.push(flipped);
            let mut shorter = proof.to_vec();
            shorter.remove(at);
            mutations.push(shorter);
        }
        for other in at + 1..proof.len() {
            let mut swapped = proof.to_vec();
            swapped.swap(at, other);
            mutations.push(swapped);
        }
    }
    mutations
}

#[test]
fn no_changed_inclusion_proof_is_accepted() {
    let tree = Naive::sized(SIZES);
    for size in (1..=70).chain([127, 128, 129, 255, 256, 257, SIZES]) {
        let root = tree.root(size);
        for index in 0..size {
            let (leaf, proof) = (tree.leaves[index], tree.path(index, size));
            let verify = |leaf, index: usize, proof: &[Hash], root| {
                verify::inclusion(leaf, index as u64, size as u64, proof, root)
            };
            assert_eq!(verify(&leaf, index, &proof, &root), Ok(()));
            for mutation in mutations(&proof) {
                assert_eq!(verify(&leaf, index, &mutation, &root), Err(Invalid), "leaf {index} of {size}");
            }
            for other in (0..size + 2).filter(|other| *other != index) {
                assert_eq!(verify(&leaf, other, &proof, &root), Err(Invalid), "{index} as {other} of {size}");
            }
            let (mut other_leaf, mut other_root) = (leaf, root);
            other_leaf[31] ^= 1;
            other_root[0] ^= 0x80;
            assert_eq!(verify(&other_leaf, index, &proof, &root), Err(Invalid));
            assert_eq!(verify(&leaf, index, &proof, &other_root), Err(Invalid));
        }
    }
}

#[test]
fn no_changed_consistency_proof_is_accepted() {
    let tree = Naive::sized(SIZES);
    for second in (0..=70).chain([127, 128, 129, 255, 256, 257, SIZES]) {
        for first in 0..=second {
            let (first_root, second_root) = (tree.root(first), tree.root(second));
            let proof = consistency(&tree, first, second);
            let verify = |first_root: &Hash, second_root: &Hash, proof: &[Hash]| {
                verify::consistency(first as u64, first_root, second as u64, second_root, proof)
            };
            assert_eq!(verify(&first_root, &second_root, &proof), Ok(()));
            for mutation in mutations(&proof) {
                assert_eq!(verify(&first_root, &second_root, &mutation), Err(Invalid), "{first} of {second}");
            }
            for other in 0..=second {
                if other != first {
                    assert_eq!(verify(&tree.root(other), &second_root, &proof), Err(Invalid));
                }
                // The empty tree begins any tree, so there the second root can't be told from another.
                if other != second && first != 0 {
                    assert_eq!(verify(&first_root, &tree.root(other), &proof), Err(Invalid));
                }
            }
        }
    }
}

#[test]
fn a_proof_for_another_size_is_accepted_only_where_the_path_has_the_same_shape() {
    /// Whether each hash of the path stands left, from the root down: what alone decides how a proof is hashed.
    fn shape(index: usize, size: usize) -> Vec<bool> {
        if size == 1 {
            return Vec::new();
        }
        let k = size.next_power_of_two() / 2;
        let (left, rest) = if index < k { (false, shape(index, k)) } else { (true, shape(index - k, size - k)) };
        [vec![left], rest].concat()
    }
    let tree = Naive::sized(70);
    let mut refused = 0;
    for size in 1..=70 {
        for index in 0..size {
            let proof = tree.path(index, size);
            for other in 0..=80 {
                let verified =
                    verify::inclusion(&tree.leaves[index], index as u64, other as u64, &proof, &tree.root(size))
                        .is_ok();
                assert_eq!(verified, index < other && shape(index, size) == shape(index, other));
                refused += usize::from(!verified);
            }
        }
    }
    assert!(refused > 150_000);
}

#[test]
fn the_largest_trees_can_be_verified() {
    // All siblings alike: the root is known without the tree.
    let (leaf, size) = ([7; 32], u64::MAX);
    let all_left = (0..63).fold(leaf, |hash, _| node_hash(&hash, &[9; 32]));
    let root = node_hash(&all_left, &[9; 32]);
    assert_eq!(verify::inclusion(&leaf, 0, size, &[[9; 32]; 64], &root), Ok(()));
    assert_eq!(verify::inclusion(&leaf, 0, size, &[[9; 32]; 63], &root), Err(Invalid));
    assert_eq!(verify::inclusion(&leaf, 0, size, &[[9; 32]; 65], &root), Err(Invalid));
    assert_eq!(verify::consistency(1, &leaf, size, &root, &[[9; 32]; 64]), Ok(()));
    assert_eq!(verify::consistency(1, &leaf, size, &root, &[[9; 32]; 65]), Err(Invalid));
}

proptest! {
    #[test]
    fn invented_proofs_are_refused(
        index in any::<u64>(), first in any::<u64>(), second in any::<u64>(),
        proof in proptest::collection::vec(any::<Hash>(), 0..70),
    ) {
        prop_assert!(verify::inclusion(&[1; 32], index, second, &proof, &[2; 32]).is_err());
        prop_assert!(verify::consistency(first, &[1; 32], second, &[2; 32], &proof).is_err());
    }
}
