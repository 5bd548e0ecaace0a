//! Checkpoints: the form, its limits, and that nothing but the asked-for log's own words are believed.

use proptest::prelude::*;

use super::*;
use crate::secret::Key;

const ORIGIN: &str = "log.example/privet";

fn key() -> SignerKey {
    SignerKey::new(ORIGIN, &Key::new([7; 32])).unwrap()
}

fn opened(text: &str) -> Result<Checkpoint, Error> {
    let note = note::sign(text, &[&key()]).map_err(Error::Note)?;
    Checkpoint::open(&note, ORIGIN, &[key().verifier().clone()])
}

#[test]
fn a_checkpoint_is_three_lines_and_a_signature() {
    let note = Checkpoint::new(ORIGIN, 42, [1; 32]).unwrap().sign(&[&key()]).unwrap();
    let text = "log.example/privet\n42\nAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=\n\n— log.example/privet ";
    assert!(note.starts_with(text), "{note}");
    assert_eq!(note.lines().count(), 5);
}

#[test]
fn a_checkpoint_of_the_public_go_checksum_database_opens() {
    let keys = ["sum.golang.org+033de0ae+Ac4zctda0e5eza+HJyk9SxEdh+s3Ux18htTTAD8OuAn8".parse().unwrap()];
    let note = "go.sum database tree\n63096908\n8lHrQPRYe4KT4WQ9/Qk8/taKnD6IRHbFgfN7vQE2Y54=\n\n\
        — sum.golang.org Az3gri/oVBN1jAhNZ/iS+W31psFAWRT20/GyrhpU6taFwulQGetBkH5S7wpGXdS935jiIGiUUAXBVHzT/P6fYhqAmAk=\n";
    let checkpoint = Checkpoint::open(note, "go.sum database tree", &keys).unwrap();
    assert_eq!(checkpoint.size(), 63_096_908);
    assert_eq!(Checkpoint::open(note, "sum.golang.org", &keys), Err(Error::Origin));
}

#[test]
fn extension_lines_are_accepted_and_not_kept() {
    let text = Checkpoint::new(ORIGIN, 42, [1; 32]).unwrap().text();
    assert_eq!(opened(&format!("{text}more\nand more\n")), Checkpoint::new(ORIGIN, 42, [1; 32]));
}

#[test]
fn what_is_no_checkpoint_is_refused_even_if_signed() {
    let root = "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=";
    assert!(opened(&format!("{ORIGIN}\n1\n{root}\n")).is_ok());
    for text in [
        "\n".to_owned(),
        format!("{ORIGIN}\n"),
        format!("{ORIGIN}\n1\n"),
        format!("\n1\n{root}\n"),
        format!("\n{ORIGIN}\n1\n{root}\n"),
        format!("{ORIGIN}\n\n{root}\n"),
        format!("{ORIGIN}\n01\n{root}\n"),
        format!("{ORIGIN}\n+1\n{root}\n"),
        format!("{ORIGIN}\n-1\n{root}\n"),
        format!("{ORIGIN}\n 1\n{root}\n"),
        format!("{ORIGIN}\n1 \n{root}\n"),
        format!("{ORIGIN}\n0x1\n{root}\n"),
        format!("{ORIGIN}\n00\n{root}\n"),
        format!("{ORIGIN}\n１\n{root}\n"),
        format!("{ORIGIN}\n18446744073709551616\n{root}\n"),
        format!("{ORIGIN}\n1\n{root} \n"),
        format!("{ORIGIN}\n1\n{}\n", root.trim_end_matches('=')),
        format!("{ORIGIN}\n1\n{}\n", root.replace("E=", "F=")),
        format!("{ORIGIN}\n1\nAQEB\n"),
        format!("{ORIGIN}\n1\n{root}{root}\n"),
        format!("{ORIGIN}\n1\n{root}\n\n"),
        format!("{ORIGIN}\n1\n{root}\n\nmore\n"),
        format!("{ORIGIN}\n1\n{root}\nmore\n\nmore\n"),
        // An empty log with a root.
        format!("{ORIGIN}\n0\n{root}\n"),
    ] {
        assert_eq!(opened(&text), Err(Error::Malformed), "{text:?}");
    }
}

#[test]
fn origins_are_bounded() {
    for origin in ["", "a\nb", "a\tb", &"a".repeat(ORIGIN_BYTES_MAX + 1)] {
        assert_eq!(Checkpoint::new(origin, 1, [1; 32]), Err(Error::Malformed), "{origin:?}");
    }
    assert!(Checkpoint::new(&"a".repeat(ORIGIN_BYTES_MAX), 1, [1; 32]).is_ok());
    assert!(Checkpoint::new(ORIGIN, 0, EMPTY_ROOT).is_ok());
}

#[test]
fn another_logs_checkpoint_under_the_same_key_is_refused() {
    let note = Checkpoint::new("other.example", 1, [1; 32]).unwrap().sign(&[&key()]).unwrap();
    assert_eq!(Checkpoint::open(&note, ORIGIN, &[key().verifier().clone()]), Err(Error::Origin));
    let stranger = SignerKey::new(ORIGIN, &Key::new([8; 32])).unwrap();
    let note = Checkpoint::new(ORIGIN, 1, [1; 32]).unwrap().sign(&[&stranger]).unwrap();
    assert_eq!(Checkpoint::open(&note, ORIGIN, &[key().verifier().clone()]), Err(Error::Note(note::Error::Unsigned)));
}

proptest! {
    #[test]
    fn what_is_signed_opens(origin in "[^\\x00-\\x1f]{1,30}", size in 1u64.., root in any::<Hash>()) {
        let checkpoint = Checkpoint::new(&origin, size, root).unwrap();
        let note = checkpoint.sign(&[&key()]).unwrap();
        prop_assert_eq!(Checkpoint::open(&note, &origin, &[key().verifier().clone()]), Ok(checkpoint));
    }

    #[test]
    fn what_is_read_is_what_would_be_written(text in "(log|[0-9+]{1,3}|AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=|\n){0,8}") {
        if let Ok(checkpoint) = Checkpoint::parse(&text) {
            prop_assert!(text.starts_with(&checkpoint.text()));
        }
    }
}
