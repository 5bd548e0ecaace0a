//! Proofs as files: the form, and that a proof with anything changed proves nothing.

use proptest::prelude::*;

use super::*;
use crate::{
    audit::{
        checkpoint,
        merkle::{naive::Naive, prove},
        note::{self, SignerKey},
    },
    secret::Key,
};

const ORIGIN: &str = "log.example/privet";

fn key() -> SignerKey {
    SignerKey::new(ORIGIN, &Key::new([7; 32])).unwrap()
}

fn known() -> [VerifierKey; 1] {
    [key().verifier().clone()]
}

fn entries(count: usize) -> Vec<Vec<u8>> {
    (0..count).map(|i| format!("entry {i}").into_bytes()).collect()
}

fn prove(index: usize, size: usize) -> Proof {
    let tree = Naive::of(entries(size).iter().map(|bytes| entry::leaf_hash(bytes)).collect());
    let hashes = prove::inclusion(&mut &tree, index as u64, size as u64).unwrap();
    let checkpoint = Checkpoint::new(ORIGIN, size as u64, tree.root(size)).unwrap().sign(&[&key()]).unwrap();
    Proof::new(index as u64, hashes, checkpoint).unwrap()
}

#[test]
fn a_proof_is_written_as_the_specification_shows() {
    let hashes = vec![[1; 32], [2; 32]];
    let proof = Proof::new(5, hashes, "a checkpoint\n".into()).unwrap();
    let expected = "c2sp.org/tlog-proof@v1\nindex 5\nAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=\n\
        AgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgI=\n\na checkpoint\n";
    assert_eq!(proof.to_string(), expected);
    let proof = Proof::new(0, vec![], "a checkpoint\n".into()).unwrap().with_extra(b"extra data".to_vec()).unwrap();
    assert_eq!(proof.to_string(), "c2sp.org/tlog-proof@v1\nextra ZXh0cmEgZGF0YQ==\nindex 0\n\na checkpoint\n");
}

#[test]
fn every_entry_is_proved_offline() {
    for size in [1, 2, 3, 7, 8, 9, 33] {
        for (index, bytes) in entries(size).iter().enumerate() {
            let proof: Proof = prove(index, size).to_string().parse().unwrap();
            assert_eq!(proof.index(), index as u64);
            assert_eq!(proof.verify_entry(bytes, ORIGIN, &known()).unwrap().size(), size as u64);
            assert_eq!(proof.verify_entry(b"another", ORIGIN, &known()), Err(Error::Entry(Invalid)));
        }
    }
}

#[test]
fn a_proof_with_any_bit_changed_is_refused() {
    let (entry, text) = (&entries(9)[4], prove(4, 9).to_string());
    let believed =
        |text: &str| text.parse::<Proof>().is_ok_and(|proof| proof.verify_entry(entry, ORIGIN, &known()).is_ok());
    assert!(believed(&text));
    for at in 0..text.len() {
        for bit in 0..8 {
            let mut changed = text.clone().into_bytes();
            changed[at] ^= 1 << bit;
            assert!(!std::str::from_utf8(&changed).is_ok_and(believed), "byte {at} bit {bit}");
        }
        assert!(!text.get(..at).is_some_and(believed), "cut at {at}");
    }
    let lines: Vec<&str> = text.split_inclusive('\n').collect();
    for at in 0..lines.len() {
        let without = [&lines[..at], &lines[at + 1..]].concat().concat();
        assert!(!believed(&without), "without line {at}");
        let twice = [&lines[..=at], &lines[at..]].concat().concat();
        // A signature may be there twice.
        assert_eq!(believed(&twice), at == lines.len() - 1, "line {at} twice");
    }
    for at in 1..lines.len() {
        let mut swapped = lines.clone();
        swapped.swap(at - 1, at);
        assert!(!believed(&swapped.concat()), "lines {} and {at} exchanged", at - 1);
    }
}

#[test]
fn the_size_is_the_signed_one() {
    // Entry 0 has a path of the same shape in the trees of 5 to 8 entries; another checkpoint does not fit it.
    let tree = |size| prove(0, size);
    for other in [6, 7, 8] {
        let mixed = Proof::new(0, tree(5).hashes, tree(other).checkpoint).unwrap();
        assert_eq!(mixed.verify_entry(b"entry 0", ORIGIN, &known()), Err(Error::Entry(Invalid)));
    }
}

#[test]
fn another_logs_proof_is_refused() {
    let proof = prove(0, 3);
    let origin = Error::Checkpoint(checkpoint::Error::Origin);
    assert_eq!(proof.verify_entry(b"entry 0", "other.example", &known()), Err(origin));
    let unsigned = Error::Checkpoint(checkpoint::Error::Note(note::Error::Unsigned));
    let stranger = SignerKey::new(ORIGIN, &Key::new([8; 32])).unwrap();
    assert_eq!(proof.verify_entry(b"entry 0", ORIGIN, &[stranger.verifier().clone()]), Err(unsigned));
    assert_eq!(proof.verify_entry(b"entry 0", ORIGIN, &[]), Err(unsigned));
}

#[test]
fn what_is_no_proof_is_refused() {
    const HASH: &str = "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=";
    for (head, is_proof) in [
        (format!("{HEADER}\nindex 0\n\n"), true),
        (format!("{HEADER}\nextra AA==\nindex 18446744073709551615\n{HASH}\n\n"), true),
        (String::new(), false),
        (format!("{HEADER}\n\n"), false),
        ("c2sp.org/tlog-proof@v2\nindex 0\n\n".to_owned(), false),
        (format!("{HEADER}\r\nindex 0\r\n\r\n"), false),
        (format!("\n{HEADER}\nindex 0\n\n"), false),
        (format!("{HEADER} \nindex 0\n\n"), false),
        (format!("{HEADER}\nindex\n\n"), false),
        (format!("{HEADER}\nindex \n\n"), false),
        (format!("{HEADER}\nindex 01\n\n"), false),
        (format!("{HEADER}\nindex +1\n\n"), false),
        (format!("{HEADER}\nindex 1 \n\n"), false),
        (format!("{HEADER}\nindex 18446744073709551616\n\n"), false),
        (format!("{HEADER}\nindex 0\nindex 0\n\n"), false),
        (format!("{HEADER}\nindex 0\nextra AA==\n\n"), false),
        (format!("{HEADER}\nextra\nindex 0\n\n"), false),
        (format!("{HEADER}\nextra \nindex 0\n\n"), false),
        (format!("{HEADER}\nextra AB==\nindex 0\n\n"), false),
        (format!("{HEADER}\nextra AA==\nextra AA==\nindex 0\n\n"), false),
        (format!("{HEADER}\nindex 0\n{HASH}\n"), false),
        (format!("{HEADER}\nindex 0\n {HASH}\n\n"), false),
        (format!("{HEADER}\nindex 0\nAQEB\n\n"), false),
        (format!("{HEADER}\nindex 0\n{}\n\n", HASH.replace("E=", "F=")), false),
        (format!("{HEADER}\nindex 0\n{}\n", format!("{HASH}\n").repeat(HASHES_MAX)), true),
        (format!("{HEADER}\nindex 0\n{}\n", format!("{HASH}\n").repeat(HASHES_MAX + 1)), false),
    ] {
        assert_eq!(format!("{head}a checkpoint\n").parse::<Proof>().is_ok(), is_proof, "{head:?}");
        assert!(head.parse::<Proof>().is_err(), "without checkpoint: {head:?}");
    }
}

#[test]
fn bounds_are_exact() {
    let line = |bytes: usize| format!("{}\n", "x".repeat(bytes - 1));
    let largest = Proof::new(u64::MAX, vec![[0xff; 32]; HASHES_MAX], line(NOTE_BYTES_MAX)).unwrap();
    let largest = largest.with_extra(vec![1; EXTRA_BYTES_MAX]).unwrap();
    assert!(largest.to_string().len() <= PROOF_BYTES_MAX);
    assert_eq!(largest.to_string().parse(), Ok(largest));
    assert_eq!(Proof::new(0, vec![[0; 32]; HASHES_MAX + 1], line(2)), Err(Malformed));
    assert_eq!(Proof::new(0, vec![], line(NOTE_BYTES_MAX + 1)), Err(Malformed));
    assert_eq!(Proof::new(0, vec![], String::new()), Err(Malformed));
    assert_eq!(Proof::new(0, vec![], "x".into()), Err(Malformed));
    assert_eq!(Proof::new(0, vec![], line(2)).unwrap().with_extra(vec![1; EXTRA_BYTES_MAX + 1]), Err(Malformed));
}

proptest! {
    #[test]
    fn what_is_written_is_read_back(
        index in any::<u64>(),
        extra in proptest::collection::vec(any::<u8>(), 0..100),
        hashes in proptest::collection::vec(any::<Hash>(), 0..=HASHES_MAX),
        checkpoint in "(?s).{0,200}\n",
    ) {
        let proof = Proof::new(index, hashes, checkpoint).unwrap().with_extra(extra).unwrap();
        prop_assert_eq!(proof.to_string().parse(), Ok(proof));
    }

    #[test]
    fn what_is_read_is_what_would_be_written(
        text in "(c2sp.org/tlog-proof@v1\n)?((extra |index )?[0-9A=]{0,4}\n|AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=\n|\n|\\PC){0,8}",
    ) {
        if let Ok(proof) = text.parse::<Proof>() {
            prop_assert_eq!(proof.to_string(), text);
            prop_assert!(proof.verify(&[1; 32], ORIGIN, &known()).is_err());
        }
    }
}
