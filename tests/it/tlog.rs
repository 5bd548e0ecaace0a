//! Any standard tool can check our log: tiles, checkpoints and proofs against the crates tlog_tiles and signed_note, which share
//! no code with ours.

use std::{cell::RefCell, collections::HashMap, convert::Infallible};

use privet::{
    audit::{
        checkpoint::Checkpoint,
        entry::leaf_hash,
        merkle::{Hash, prove, verify},
        note::{self, SignerKey, VerifierKey},
        tiles::{Tile, TileReader, edge::Edge, filled, nodes::Nodes, partial_width, path},
    },
    secret::Key,
};
use signed_note::{Note, StandardSigner, StandardVerifier, VerifierList};
use tlog_tiles::{
    tile,
    tlog::{self, HashReader as _},
};

const ORIGIN: &str = "log.example/privet";
/// Past one tile of level 1.
const SIZE: u64 = 66_000;

/// Our log: the leaf hashes, the full tiles, and the partial ones.
struct Ours {
    leaves: Vec<Hash>,
    full: HashMap<Tile, Vec<u8>>,
    edge: Edge,
}

impl Ours {
    fn of(size: u64) -> Self {
        let leaves: Vec<Hash> = (0..size).map(|i| leaf_hash(&i.to_be_bytes())).collect();
        let (mut edge, mut tiles) = (Edge::new(), Vec::new());
        leaves.iter().for_each(|leaf| edge.push(*leaf, &mut tiles));
        Self { leaves, full: tiles.into_iter().map(|full| (full.tile, full.bytes)).collect(), edge }
    }

    fn inclusion(&self, index: u64, size: u64) -> Vec<Hash> {
        prove::inclusion(&mut Nodes::new(self), index, size).unwrap()
    }

    fn consistency(&self, first: u64, second: u64) -> Vec<Hash> {
        prove::consistency(&mut Nodes::new(self), first, second).unwrap()
    }

    fn root(&self, size: u64) -> Hash {
        prove::root(&mut Nodes::new(self), size).unwrap()
    }
}

impl TileReader for &Ours {
    type Error = Infallible;

    fn tile(&self, tile: Tile) -> Result<Option<Vec<u8>>, Infallible> {
        Ok(self.full.get(&tile).cloned().or_else(|| self.edge.partial(tile)))
    }
}

/// Gives the other implementation our tiles, as files by their path.
struct Served<'a>(&'a Ours);

impl tile::TileReader for Served<'_> {
    fn height(&self) -> u8 {
        8
    }

    fn read_tiles(&self, tiles: &[tile::Tile]) -> Result<Vec<Vec<u8>>, tlog::Error> {
        let read = tiles.iter().map(|theirs| {
            // Theirs writes the height into the path, the way of the Go checksum database.
            let path: path::Path = theirs.path().replacen("tile/8/", "tile/", 1).parse().unwrap();
            let path::Content::Tile(tile) = path.content() else { panic!("not a tile of hashes") };
            let mut bytes = self.0.tile(tile).unwrap().unwrap();
            bytes.truncate(usize::from(path.width()) * 32);
            bytes
        });
        Ok(read.collect())
    }

    fn save_tiles(&self, _: &[tile::Tile], _: &[Vec<u8>]) {}
}

/// Their own tree over the same leaves: every hash of it, in their numbering.
#[derive(Default)]
struct Theirs(RefCell<Vec<tlog::Hash>>);

impl tlog::HashReader for Theirs {
    fn read_hashes(&self, indexes: &[u64]) -> Result<Vec<tlog::Hash>, tlog::Error> {
        Ok(indexes.iter().map(|index| self.0.borrow()[*index as usize]).collect())
    }
}

impl Theirs {
    fn of(leaves: &[Hash]) -> Self {
        let theirs = Self::default();
        for (n, leaf) in leaves.iter().enumerate() {
            let hashes = tlog::stored_hashes_for_record_hash(n as u64, tlog::Hash(*leaf), &theirs).unwrap();
            theirs.0.borrow_mut().extend(hashes);
        }
        theirs
    }
}

fn theirs(hashes: &[Hash]) -> Vec<tlog::Hash> {
    hashes.iter().copied().map(tlog::Hash).collect()
}

fn bytes(hashes: Vec<tlog::Hash>) -> Vec<Hash> {
    hashes.into_iter().map(|hash| hash.0).collect()
}

#[test]
fn roots_and_proofs_of_every_small_tree_are_the_same() {
    const SIZES: u64 = 130;
    let ours = Ours::of(SIZES);
    let their_tree = Theirs::of(&ours.leaves);
    for size in 1..=SIZES {
        let root = ours.root(size);
        assert_eq!(root, tlog::tree_hash(size, &their_tree).unwrap().0);
        for index in 0..size {
            let proof = ours.inclusion(index, size);
            assert_eq!(proof, bytes(tlog::prove_record(size, index, &their_tree).unwrap()));
            let leaf = tlog::Hash(ours.leaves[index as usize]);
            tlog::check_record(&theirs(&proof), size, tlog::Hash(root), index, leaf).unwrap();
        }
        for first in 1..=size {
            let proof = ours.consistency(first, size);
            assert_eq!(proof, bytes(tlog::prove_tree(size, first, &their_tree).unwrap()));
            let first_root = tlog::Hash(ours.root(first));
            tlog::check_tree(&theirs(&proof), size, tlog::Hash(root), first, first_root).unwrap();
        }
    }
}

#[test]
fn both_refuse_the_same_changed_proofs() {
    let ours = Ours::of(40);
    let (mut accepted, mut refused) = (0, 0);
    let mut agree = |ours: bool, theirs: bool, what: &str| {
        assert_eq!(ours, theirs, "{what}");
        *(if ours { &mut accepted } else { &mut refused }) += 1;
    };
    for size in 1..=40u64 {
        let root = ours.root(size);
        for at in 0..size {
            let (inclusion, consistency) = (ours.inclusion(at, size), ours.consistency(at + 1, size));
            let (leaf, first_root) = (ours.leaves[at as usize], ours.root(at + 1));
            // Other sizes and indexes, and each proof cut, doubled and turned around.
            for change in 0..5 {
                let changed = |proof: &[Hash]| match change {
                    0 => proof.to_vec(),
                    1 => proof.iter().skip(1).copied().collect(),
                    2 => proof[..proof.len().saturating_sub(1)].to_vec(),
                    3 => [proof, proof].concat(),
                    _ => proof.iter().rev().copied().collect(),
                };
                let (inclusion, consistency) = (changed(&inclusion), changed(&consistency));
                for other_size in 1..=41 {
                    for other in at.saturating_sub(2)..(at + 3).min(other_size) {
                        agree(
                            verify::inclusion(&leaf, other, other_size, &inclusion, &root).is_ok(),
                            tlog::check_record(
                                &theirs(&inclusion),
                                other_size,
                                tlog::Hash(root),
                                other,
                                tlog::Hash(leaf),
                            )
                            .is_ok(),
                            &format!("leaf {at} of {size} as {other} of {other_size}, change {change}"),
                        );
                        let first = other + 1;
                        agree(
                            verify::consistency(first, &first_root, other_size, &root, &consistency).is_ok(),
                            tlog::check_tree(
                                &theirs(&consistency),
                                other_size,
                                tlog::Hash(root),
                                first,
                                tlog::Hash(first_root),
                            )
                            .is_ok(),
                            &format!("{} of {size} as {first} of {other_size}, change {change}", at + 1),
                        );
                    }
                }
            }
        }
    }
    assert!(accepted > 1_000 && refused > 100_000, "{accepted} accepted, {refused} refused");
}

#[test]
fn our_tiles_are_theirs() {
    let ours = Ours::of(SIZE);
    let their_tree = Theirs::of(&ours.leaves);
    for tile in tile::Tile::new_tiles(8, 0, SIZE) {
        let own = Tile { level: tile.level(), index: tile.level_index() };
        assert_eq!((&ours).tile(own).unwrap().unwrap(), tile.read_data(&their_tree).unwrap(), "{}", tile.path());
        let width = if tile.width() == 256 { 256 } else { partial_width(SIZE, own.level) };
        assert_eq!(u32::from(width), tile.width());
        let path = path::Path::new(path::Content::Tile(own), width).unwrap().to_string();
        assert_eq!(path.replacen("tile/", "tile/8/", 1), tile.path());
    }
    for (old, new) in [(0, SIZE), (255, 256), (256, 511), (1_000, 70_000), (65_535, 65_536)] {
        let full = tile::Tile::new_tiles(8, old, new).into_iter().filter(|tile| tile.width() == 256);
        let full: Vec<Tile> = full.map(|tile| Tile { level: tile.level(), index: tile.level_index() }).collect();
        assert_eq!(filled(old, new).collect::<Vec<_>>(), full);
    }
}

#[test]
fn they_prove_from_our_tiles_under_our_root() {
    let ours = Ours::of(SIZE);
    let root = tlog::Hash(ours.edge.root());
    let served = Served(&ours);
    // Their reader checks each tile against the root before it uses it.
    let reader = tile::TileHashReader::new(SIZE, root, &served);
    assert!(reader.read_hashes(&[0]).is_ok());
    for index in [0, 255, 256, 65_535, 65_536, SIZE - 1] {
        assert_eq!(bytes(tlog::prove_record(SIZE, index, &reader).unwrap()), ours.inclusion(index, SIZE));
    }
    for first in [1, 256, 257, 65_536, 65_999] {
        assert_eq!(bytes(tlog::prove_tree(SIZE, first, &reader).unwrap()), ours.consistency(first, SIZE));
    }
}

#[test]
fn they_open_our_checkpoint() {
    let key = SignerKey::new(ORIGIN, &Key::new([7; 32])).unwrap();
    let ours = Checkpoint::new(ORIGIN, 42, [9; 32]).unwrap();
    let note = Note::from_bytes(ours.sign(&[&key]).unwrap().as_bytes()).unwrap();
    let verifier = StandardVerifier::new(&key.verifier().to_string()).unwrap();
    let (verified, unknown) = note.verify(&VerifierList::new(vec![Box::new(verifier)])).unwrap();
    assert_eq!((verified.len(), unknown.len()), (1, 0));
    let theirs = tlog_tiles::checkpoint::Checkpoint::from_bytes(note.text()).unwrap();
    assert_eq!((theirs.origin(), theirs.size(), theirs.hash().0), (ORIGIN, 42, [9; 32]));
}

#[test]
fn we_open_their_checkpoint() {
    let key = SignerKey::new(ORIGIN, &Key::new([7; 32])).unwrap();
    let signer = StandardSigner::new(&their_key(key.verifier(), [7; 32])).unwrap();
    let text = tlog_tiles::checkpoint::Checkpoint::new(ORIGIN, 42, tlog::Hash([9; 32]), "").unwrap().to_bytes();
    let mut signed = Note::new(&text, &[]).unwrap();
    signed.add_sigs(&[&signer]).unwrap();
    let signed = String::from_utf8(signed.to_bytes()).unwrap();
    let known = [key.verifier().clone()];
    assert_eq!(Checkpoint::open(&signed, ORIGIN, &known), Checkpoint::new(ORIGIN, 42, [9; 32]));
    // Ed25519 has one signature: the notes are the same bytes.
    assert_eq!(Checkpoint::new(ORIGIN, 42, [9; 32]).unwrap().sign(&[&key]).unwrap(), signed);
}

/// A private key in their text form.
fn their_key(verifier: &VerifierKey, seed: [u8; 32]) -> String {
    use base64::{Engine, prelude::BASE64_STANDARD};
    let typed = [[1].as_slice(), &seed].concat();
    format!("PRIVATE+KEY+{}+{}+{}", verifier.name(), hex::encode(verifier.id()), BASE64_STANDARD.encode(typed))
}

#[test]
fn both_open_and_refuse_the_same_notes() {
    let (key, other) =
        (SignerKey::new("log", &Key::new([1; 32])).unwrap(), SignerKey::new("other", &Key::new([2; 32])));
    let note = note::sign("text\n", &[&key, &other.unwrap()]).unwrap();
    let known = [key.verifier().clone()];
    let mut opened = 0;
    for at in 0..note.len() {
        for byte in [0, b'\n', b' ', b'+', b'=', b'A', note.as_bytes()[at]] {
            let mut changed = note.clone().into_bytes();
            changed[at] = byte;
            let Ok(changed) = String::from_utf8(changed) else { continue };
            let verifier = StandardVerifier::new(&known[0].to_string()).unwrap();
            let theirs = Note::from_bytes(changed.as_bytes())
                .is_ok_and(|note| note.verify(&VerifierList::new(vec![Box::new(verifier)])).is_ok());
            assert_eq!(note::open(&changed, &known).is_ok(), theirs, "{changed:?}");
            opened += u32::from(theirs);
        }
    }
    assert!(opened > 100);
}
