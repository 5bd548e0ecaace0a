//! Announcements of keys: who has to sign them, and what is found when somebody did not.

use super::*;
use crate::secret::Key;

const ORIGIN: &str = "log.example/privet";

fn key(seed: u8) -> SignerKey {
    SignerKey::new(ORIGIN, &Key::new([seed; 32])).unwrap()
}

fn announced(index: u64, old: u8, new: u8) -> String {
    Announcement::sign(ORIGIN, index, &key(old), &key(new)).unwrap()
}

fn walk(trusted: u8, announcements: &[String]) -> Result<Vec<(u64, VerifierKey)>, Broken> {
    let keys = Keys::walk(ORIGIN, key(trusted).verifier(), announcements)?;
    Ok(keys.all().map(|reign| (reign.from, reign.key.clone())).collect())
}

fn reigns<const N: usize>(reigns: [(u64, u8); N]) -> Result<Vec<(u64, VerifierKey)>, Broken> {
    Ok(reigns.map(|(from, seed)| (from, key(seed).verifier().clone())).to_vec())
}

fn unsigned(number: usize) -> Result<Vec<(u64, VerifierKey)>, Broken> {
    Err(Broken { number, error: note::Error::Unsigned.into() })
}

#[test]
fn an_announcement_is_four_lines_and_two_signatures() {
    let note = announced(41, 1, 2);
    let text = format!("privet log key\n{ORIGIN}\n41\n{}\n\n— {ORIGIN} ", key(2).verifier());
    assert!(note.starts_with(&text), "{note}");
    assert_eq!(note.lines().count(), 7);
    let opened = Announcement::open(&note, ORIGIN, key(1).verifier()).unwrap();
    assert_eq!((opened.index(), opened.key()), (41, key(2).verifier()));
}

#[test]
fn both_keys_have_to_sign() {
    let note = announced(41, 1, 2);
    let lines: Vec<&str> = note.split_inclusive('\n').collect();
    let without = |line: usize| [&lines[..line], &lines[line + 1..]].concat().concat();
    let open = |note: &str| Announcement::open(note, ORIGIN, key(1).verifier());
    assert_eq!(open(&without(5)), Err(note::Error::Unsigned.into()));
    assert_eq!(open(&without(6)), Err(note::Error::Unsigned.into()));
    for changed in [note.replace("\n41\n", "\n42\n"), note.replace("\n41\n", "\n041\n")] {
        assert_eq!(open(&changed), Err(note::Error::Forged.into()));
    }
    assert_eq!(Announcement::open(&note, ORIGIN, key(3).verifier()), Err(note::Error::Unsigned.into()));
    assert_eq!(Announcement::open(&note, "other.example", key(1).verifier()), Err(Error::Origin));
}

#[test]
fn what_is_no_announcement_is_refused_even_if_both_signed_it() {
    let new = key(2).verifier().to_string();
    for text in [
        format!("privet log key\n{ORIGIN}\n"),
        format!("privet log keys\n{ORIGIN}\n1\n{new}\n"),
        format!("privet log key\n{ORIGIN}\n01\n{new}\n"),
        format!("privet log key\n{ORIGIN}\n-1\n{new}\n"),
        format!("privet log key\n{ORIGIN}\n18446744073709551615\n{new}\n"),
        format!("privet log key\n{ORIGIN}\n18446744073709551616\n{new}\n"),
        format!("privet log key\n{ORIGIN}\n1\n{new}x\n"),
        format!("privet log key\n{ORIGIN}\n1\n{new}\nmore\n"),
        format!("privet log key\n{ORIGIN}\n1\n{new}\n\n"),
        format!("privet log key\n{ORIGIN}\n1\n{}\n", key(1).verifier()),
        format!("{ORIGIN}\n1\nAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=\n"),
    ] {
        let note = note::sign(&text, &[&key(1), &key(2)]).unwrap();
        assert_eq!(Announcement::open(&note, ORIGIN, key(1).verifier()), Err(Error::Malformed), "{text}");
    }
    let named = SignerKey::new("other.example", &Key::new([2; 32])).unwrap();
    assert_eq!(Announcement::sign(ORIGIN, 1, &key(1), &named), Err(Error::Malformed));
    assert_eq!(Announcement::sign(ORIGIN, 1, &key(1), &key(1)), Err(Error::Malformed));
}

#[test]
fn later_keys_follow_from_any_that_is_trusted() {
    let all = [announced(10, 1, 2), announced(20, 2, 3), announced(30, 3, 4)];
    assert_eq!(walk(1, &[]), reigns([(0, 1)]));
    assert_eq!(walk(1, &all), reigns([(0, 1), (11, 2), (21, 3), (31, 4)]));
    assert_eq!(walk(2, &all), reigns([(11, 2), (21, 3), (31, 4)]));
    assert_eq!(walk(4, &all), reigns([(31, 4)]));
    let keys = Keys::walk(ORIGIN, key(2).verifier(), &all).unwrap();
    assert_eq!(keys.at(10), None);
    assert_eq!([11, 20, 21, 30, 31, u64::MAX].map(|size| keys.at(size).unwrap().clone()), {
        [2, 2, 3, 3, 4, 4].map(|seed| key(seed).verifier().clone())
    });
    assert_eq!(keys.begun_at(20).map(|reign| &reign.key), Some(key(3).verifier()));
    assert_eq!((keys.begun_at(21), keys.newest()), (None, key(4).verifier()));
}

#[test]
fn a_walk_breaks_where_an_announcement_is_missing_forged_or_out_of_order() {
    let [first, second, third] = [announced(10, 1, 2), announced(20, 2, 3), announced(30, 3, 4)];
    assert_eq!(walk(1, &[first.clone(), third.clone()]), unsigned(2));
    assert_eq!(walk(1, &[second.clone(), third.clone()]), unsigned(1));
    // The third key has announced its successor, but nothing says how it came to be the log's.
    assert_eq!(walk(3, &[first.clone(), third.clone()]), unsigned(1));
    assert_eq!(walk(9, &[first.clone(), second.clone()]), unsigned(1));
    assert_eq!(walk(1, &[first.clone(), announced(20, 9, 3)]), unsigned(2));
    let forged = second.replace("\n20\n", "\n21\n");
    assert_eq!(walk(1, &[first.clone(), forged]), Err(Broken { number: 2, error: note::Error::Forged.into() }));
    for index in [9, 10] {
        let early = announced(index, 2, 3);
        assert_eq!(walk(1, &[first.clone(), early]), Err(Broken { number: 2, error: Error::Order }));
    }
    assert_eq!(walk(1, &["rubbish".into()]), Err(Broken { number: 1, error: note::Error::Malformed.into() }));
}
