//! Notes and keys against the vectors of Go's sumdb, the public Go checksum database, and forgers.

use proptest::prelude::*;

use super::{
    key::{Error as KeyError, NAME_BYTES_MAX},
    *,
};
use crate::secret::Key;

/// From the documentation of golang.org/x/mod/sumdb/note.
const PETER: &str = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
const PETER_SEED: &str = "AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz";
const PETER_TEXT: &str =
    "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n";
const PETER_LINE: &str =
    "— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n";

fn peter() -> VerifierKey {
    PETER.parse().unwrap()
}

fn peter_signs() -> SignerKey {
    let typed = BASE64_STANDARD.decode(PETER_SEED).unwrap();
    SignerKey::new("PeterNeumann", &Key::new(typed[1..].try_into().unwrap())).unwrap()
}

fn signer(name: &str, seed: u8) -> SignerKey {
    SignerKey::new(name, &Key::new([seed; 32])).unwrap()
}

#[test]
fn gos_key_signs_gos_note_byte_for_byte() {
    assert_eq!(peter_signs().verifier(), &peter());
    assert_eq!(peter().to_string(), PETER);
    let note = format!("{PETER_TEXT}\n{PETER_LINE}");
    assert_eq!(sign(PETER_TEXT, &[&peter_signs()]).unwrap(), note);
    let known = [peter()];
    let opened = open(&note, &known).unwrap();
    assert_eq!((opened.text, opened.signed_by), (PETER_TEXT, vec![&known[0]]));
}

#[test]
fn a_note_of_the_public_go_checksum_database_opens() {
    let key: VerifierKey = "sum.golang.org+033de0ae+Ac4zctda0e5eza+HJyk9SxEdh+s3Ux18htTTAD8OuAn8".parse().unwrap();
    let note = "go.sum database tree\n63096908\n8lHrQPRYe4KT4WQ9/Qk8/taKnD6IRHbFgfN7vQE2Y54=\n\n\
        — sum.golang.org Az3gri/oVBN1jAhNZ/iS+W31psFAWRT20/GyrhpU6taFwulQGetBkH5S7wpGXdS935jiIGiUUAXBVHzT/P6fYhqAmAk=\n";
    assert!(open(note, std::slice::from_ref(&key)).is_ok());
    assert_eq!(open(&note.replace("63096908", "63096909"), &[key]), Err(Error::Forged));
}

#[test]
fn a_verifier_key_with_anything_changed_is_refused() {
    for start in 0..=PETER.len() {
        for end in start..=PETER.len() {
            if (start, end) != (0, PETER.len()) {
                assert!(PETER[start..end].parse::<VerifierKey>().is_err(), "{}", &PETER[start..end]);
            }
        }
    }
    for at in 0..PETER.len() {
        for byte in 0..128 {
            let mut changed = PETER.as_bytes().to_vec();
            if changed[at] != byte {
                changed[at] = byte;
                assert!(std::str::from_utf8(&changed).unwrap().parse::<VerifierKey>().is_err(), "{changed:?}");
            }
        }
    }
    for (key, error) in [
        (format!("{PETER} "), KeyError::Malformed),
        (format!("{PETER}\n"), KeyError::Malformed),
        (format!("{PETER}=="), KeyError::Malformed),
        (PETER.replace("c74f20a3", "C74F20A3"), KeyError::Id),
        (PETER.replace("c74f20a3", "+74f20a3"), KeyError::Malformed),
        // A key too long and a key of an unknown algorithm, with ids that match: from Go's tests.
        ("PeterNeumann+cc469956+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TWBADKEY==".into(), KeyError::Malformed),
        ("PeterNeumann+173116ae+ZRpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW".into(), KeyError::Algorithm),
    ] {
        assert_eq!(key.parse::<VerifierKey>(), Err(error), "{key}");
    }
}

#[test]
fn names_that_would_break_a_line_are_no_key_names() {
    let key = Key::new([1; 32]);
    for name in ["", "a b", "a+b", "a\nb", "a\tb", "a\u{a0}b", "a\u{2003}b", "a\0", &"a".repeat(NAME_BYTES_MAX + 1)] {
        assert_eq!(SignerKey::new(name, &key).unwrap_err(), KeyError::Name, "{name:?}");
    }
    for name in ["a", "log.example/privet", "—", "日本", &"a".repeat(NAME_BYTES_MAX)] {
        let verifier = SignerKey::new(name, &key).unwrap().verifier().clone();
        assert_eq!(verifier.to_string().parse(), Ok(verifier));
    }
}

#[test]
fn no_debug_output_has_the_seed() {
    assert_eq!(format!("{:?}", peter_signs()), "SignerKey");
    assert_eq!(format!("{:?}", peter()), format!("VerifierKey({PETER})"));
}

#[test]
fn a_note_with_any_bit_changed_is_refused() {
    let known = [peter()];
    let note = format!("{PETER_TEXT}\n{PETER_LINE}");
    for at in 0..note.len() {
        for bit in 0..8 {
            let mut changed = note.clone().into_bytes();
            changed[at] ^= 1 << bit;
            // What is not UTF-8 never gets here.
            if let Ok(changed) = std::str::from_utf8(&changed) {
                assert!(open(changed, &known).is_err(), "byte {at} bit {bit}");
            }
        }
    }
    for at in 0..note.len() {
        let (Some(before), Some(after)) = (note.get(..at), note.get(at..)) else { continue };
        assert!(open(before, &known).is_err(), "cut at {at}");
        for added in ["\n", "\0", "a", "="] {
            assert!(open(&format!("{before}{added}{after}"), &known).is_err(), "{added:?} at {at}");
        }
    }
    assert_eq!(open(&format!("{note}\n"), &known), Err(Error::Malformed));
    assert_eq!(open(&format!("{note}garbage"), &known), Err(Error::Malformed));
    // The last empty line parts text and signatures, so this is another text.
    assert_eq!(open(&format!("{note}\n{PETER_LINE}"), &known), Err(Error::Forged));
}

#[test]
fn what_is_no_note_is_refused() {
    let known = [peter()];
    for note in [
        "".to_owned(),
        "\n".to_owned(),
        "\n\n".to_owned(),
        PETER_TEXT.to_owned(),
        format!("{PETER_TEXT}\n"),
        PETER_LINE.to_owned(),
        format!("{PETER_TEXT}{PETER_LINE}"),
        format!("{PETER_TEXT}\n{}", PETER_LINE.trim_end()),
        format!("{PETER_TEXT}\n{}", PETER_LINE.replace('\n', "\r\n")),
        format!("{PETER_TEXT}\n{}", PETER_LINE.replace('—', "-")),
        format!("{PETER_TEXT}\n{}", PETER_LINE.replace("=\n", "\n")),
        format!("{PETER_TEXT}\n{}", PETER_LINE.replace("— P", "—  P")),
        format!("{PETER_TEXT}\n{PETER_LINE}— a+b AAAAAAA=\n"),
        format!("{PETER_TEXT}\n{PETER_LINE}— short AAAAAA==\n"),
        format!("{PETER_TEXT}\n{PETER_LINE}— none \n"),
        format!("{PETER_TEXT}\n{PETER_LINE}— loose AAAAAAF=\n"),
        format!("{PETER_TEXT}\t\n\n{PETER_LINE}"),
    ] {
        assert_eq!(open(&note, &known), Err(Error::Malformed), "{note:?}");
    }
}

#[test]
fn signatures_of_unknown_keys_are_ignored_and_one_known_is_needed() {
    let known = [peter()];
    // The same name with another id, another name with the same id, and another key altogether.
    let others = "— PeterNeumann AAAAAAA=\n— Peter x08gowE=\n— other BBBBBBB=\n";
    let others = others.replace("BBBBBBB=", "AAECAwQ=");
    assert_eq!(open(&format!("{PETER_TEXT}\n{others}"), &known), Err(Error::Unsigned));
    assert_eq!(open(&format!("{PETER_TEXT}\n{others}{PETER_LINE}"), &known).unwrap().text, PETER_TEXT);
    assert_eq!(open(&format!("{PETER_TEXT}\n{PETER_LINE}{others}"), &known).unwrap().signed_by.len(), 1);
    assert_eq!(open(&format!("{PETER_TEXT}\n{PETER_LINE}"), &[]), Err(Error::Unsigned));
    // A line that claims the known key and does not verify spoils the note, wherever it stands.
    for wrong in ["— PeterNeumann x08gowE=\n".to_owned(), PETER_LINE.replace("/ZJk", "/ZJl")] {
        assert_eq!(open(&format!("{PETER_TEXT}\n{wrong}{PETER_LINE}"), &known), Err(Error::Forged));
        assert_eq!(open(&format!("{PETER_TEXT}\n{PETER_LINE}{wrong}"), &known), Err(Error::Forged));
    }
}

#[test]
fn a_note_says_which_keys_signed_it() {
    let (old, new, other) = (signer("log", 1), signer("log", 2), signer("log", 3));
    let note = sign("rotated\n", &[&old, &new]).unwrap();
    let known = [new.verifier().clone(), other.verifier().clone(), old.verifier().clone()];
    assert_eq!(open(&note, &known).unwrap().signed_by, [old.verifier(), new.verifier()]);
    // The same line twice is one signature.
    let line = note.lines().last().unwrap();
    assert_eq!(open(&format!("{note}{line}\n"), &known).unwrap().signed_by.len(), 2);
    assert_eq!(open(&note, &known[1..2]), Err(Error::Unsigned));
}

#[test]
fn bounds_are_exact() {
    let key = signer("log", 1);
    let known = [key.verifier().clone()];
    let note = sign("text\n", &[&key]).unwrap();
    let full = format!("{note}{}", "— other AAAAAAA=\n".repeat(SIGNATURES_MAX - 1));
    assert!(open(&full, &known).is_ok());
    assert_eq!(open(&format!("{full}— other AAAAAAA=\n"), &known), Err(Error::Malformed));

    let overhead = note.len() - "text\n".len();
    let longest = format!("{}\n", "x".repeat(NOTE_BYTES_MAX - overhead - 1));
    assert!(open(&sign(&longest, &[&key]).unwrap(), &known).is_ok());
    assert_eq!(sign(&format!("x{longest}"), &[&key]), Err(Error::Malformed));
    for text in ["", "no newline", "a\tb\n", "a\r\n"] {
        assert_eq!(sign(text, &[&key]), Err(Error::Malformed), "{text:?}");
    }
    assert_eq!(sign("text\n", &[]), Err(Error::Unsigned));
}

proptest! {
    #[test]
    fn what_is_signed_opens(text in "([^\\x00-\\x1f]{0,20}\n){1,5}", name in "[^\\s+\\x00-\\x1f]{1,20}", seed in any::<[u8; 32]>()) {
        let key = SignerKey::new(&name, &Key::new(seed)).unwrap();
        let note = sign(&text, &[&key]).unwrap();
        prop_assert_eq!(open(&note, &[key.verifier().clone()]).unwrap().text, text);
    }

    #[test]
    fn nothing_read_makes_it_panic(text in "(— [a+ ]{0,3}|[A=/+]{1,9}|\n|\\PC|log|PeterNeumann x08go){0,40}") {
        let _ = open(&text, &[peter()]);
        let _ = text.parse::<VerifierKey>();
    }
}
