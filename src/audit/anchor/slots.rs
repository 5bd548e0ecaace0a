//! The anchor's file: two slots of 4,096 bytes, each whole or not there.
//!
//! ```text
//! "privet anchor 1\n" ‖ sequence number (8, big-endian) ‖ length (4) ‖ text ‖ SHA-256 of all that
//! ```
//!
//! The text is a signed note or, before there is one, its first line alone. Slots are written in turns: one with an odd
//! number lies second. Whatever of a write reaches the disk, the slot holds the new text, the old one, or nothing.

use ring::digest::{SHA256, digest};

/// What a slot holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Slot {
    /// Which write it was.
    pub sequence: u64,
    /// The text.
    pub text: String,
}

/// Why a file has no newest slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unreadable {
    /// Neither is whole.
    Damaged,
    /// A slot is of another version.
    Format,
}

/// The newest slot that is whole.
pub(super) fn newest(file: &[u8; FILE_BYTES]) -> Result<Slot, Unreadable> {
    let (slots, _) = file.as_chunks::<SLOT_BYTES>();
    if slots.iter().any(|slot| slot.starts_with(NAME) && !slot.starts_with(MAGIC)) {
        return Err(Unreadable::Format);
    }
    // A slot in the other's place was not written there by this program.
    let whole =
        slots.iter().zip(0..).filter_map(|(slot, place)| decode(slot).filter(|slot| slot.sequence % 2 == place));
    whole.max_by_key(|slot| slot.sequence).ok_or(Unreadable::Damaged)
}

/// A whole file with one slot.
pub(super) fn file(sequence: u64, slot: &[u8]) -> Vec<u8> {
    let mut file = vec![0; FILE_BYTES];
    let place = file.iter_mut().skip(if sequence.is_multiple_of(2) { 0 } else { SLOT_BYTES });
    place.zip(slot).for_each(|(to, from)| *to = *from);
    file
}

/// A slot; `None` if the text is longer than [`TEXT_BYTES_MAX`].
pub(super) fn encode(sequence: u64, text: &str) -> Option<Vec<u8>> {
    if text.len() > TEXT_BYTES_MAX {
        return None;
    }
    let length = u32::try_from(text.len()).ok()?;
    let mut slot = [MAGIC, &sequence.to_be_bytes(), &length.to_be_bytes(), text.as_bytes()].concat();
    let hash = digest(&SHA256, &slot);
    slot.extend_from_slice(hash.as_ref());
    Some(slot)
}

/// Where a slot lies in the file.
pub(super) fn offset(sequence: u64) -> u64 {
    sequence % 2 * SLOT_BYTES as u64
}

fn decode(slot: &[u8]) -> Option<Slot> {
    let rest = slot.strip_prefix(MAGIC)?;
    let (sequence, rest) = rest.split_first_chunk()?;
    let (length, rest) = rest.split_first_chunk()?;
    let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
    let (text, rest) = rest.split_at_checked(length)?;
    let hash = rest.first_chunk::<32>()?;
    let hashed = slot.get(..HEADER_BYTES.checked_add(length)?)?;
    if digest(&SHA256, hashed).as_ref() != hash {
        return None;
    }
    Some(Slot { sequence: u64::from_be_bytes(*sequence), text: str::from_utf8(text).ok()?.to_owned() })
}

/// The length of the file.
pub(super) const FILE_BYTES: usize = 2 * SLOT_BYTES;
/// The longest text.
pub(super) const TEXT_BYTES_MAX: usize = SLOT_BYTES - HEADER_BYTES - 32;

const SLOT_BYTES: usize = 4_096;
const NAME: &[u8] = b"privet anchor ";
const MAGIC: &[u8] = b"privet anchor 1\n";
const HEADER_BYTES: usize = 16 + 8 + 4;

#[cfg(test)]
mod tests {
    use super::*;

    fn with(sequence: u64, text: &str, file: &mut [u8; FILE_BYTES]) {
        let slot = encode(sequence, text).unwrap();
        let at = usize::try_from(offset(sequence)).unwrap();
        file[at..at + slot.len()].copy_from_slice(&slot);
    }

    fn text(file: &[u8; FILE_BYTES]) -> Result<String, Unreadable> {
        newest(file).map(|slot| slot.text)
    }

    #[test]
    fn slots_lie_where_the_format_says() {
        let slot = encode(0x0102, "log\n").unwrap();
        assert_eq!(&slot[..32], b"privet anchor 1\n\0\0\0\0\0\0\x01\x02\0\0\0\x04log\n");
        assert_eq!(&slot[32..], digest(&SHA256, &slot[..32]).as_ref());
        assert_eq!((offset(6), offset(7)), (0, 4_096));
        for sequence in [1, 2] {
            let file = file(sequence, &encode(sequence, "log\n").unwrap()).try_into().unwrap();
            assert_eq!(newest(&file).unwrap(), Slot { sequence, text: "log\n".into() });
        }
    }

    #[test]
    fn a_write_torn_at_any_byte_leaves_the_old_text_or_the_new_one() {
        // Shorter, longer, and as long as what lay in the slot before.
        for (before, after) in [("log\n1\n", "log\n22\n"), ("log\n1000\n", "log\n2\n"), ("log\n1\n", "log\n3\n")] {
            let mut file = [0; FILE_BYTES];
            with(5, before, &mut file);
            with(6, "log\nnewest\n", &mut file);
            let mut new = file;
            with(7, after, &mut new);
            let length = encode(7, after).unwrap().len();
            for cut in 0..=length {
                // From the front, and from the back: what a disk writes first is its own business.
                for kept in [0..cut, cut..length] {
                    let mut torn = file;
                    let kept = kept.start + 4_096..kept.end + 4_096;
                    torn[kept.clone()].copy_from_slice(&new[kept.clone()]);
                    let expected = if torn == new { after } else { "log\nnewest\n" };
                    assert_eq!(text(&torn).unwrap(), expected, "{kept:?}");
                }
            }
        }
    }

    #[test]
    fn every_flipped_bit_of_the_newest_slot_leaves_the_one_before() {
        let mut file = [0; FILE_BYTES];
        with(1, "log\n1\n", &mut file);
        with(2, "log\n2\n", &mut file);
        for bit in 0..encode(2, "log\n2\n").unwrap().len() * 8 {
            let mut flipped = file;
            flipped[bit / 8] ^= 1 << (bit % 8);
            match text(&flipped) {
                Ok(text) => assert_eq!(text, "log\n1\n", "bit {bit}"),
                // The version's own digit.
                Err(error) => {
                    assert_eq!((error, bit / 8 >= NAME.len() && bit / 8 < MAGIC.len()), (Unreadable::Format, true))
                }
            }
        }
    }

    #[test]
    fn what_this_program_did_not_write_is_no_slot() {
        assert_eq!(text(&[0; FILE_BYTES]), Err(Unreadable::Damaged));
        assert_eq!(text(&[0xff; FILE_BYTES]), Err(Unreadable::Damaged));
        let mut swapped = [0; FILE_BYTES];
        let slot = encode(2, "log\n2\n").unwrap();
        swapped[SLOT_BYTES..SLOT_BYTES + slot.len()].copy_from_slice(&slot);
        assert_eq!(text(&swapped), Err(Unreadable::Damaged));
        let mut later = [0; FILE_BYTES];
        with(2, "log\n2\n", &mut later);
        later[SLOT_BYTES..SLOT_BYTES + 16].copy_from_slice(b"privet anchor 2\n");
        assert_eq!(text(&later), Err(Unreadable::Format));
        let mut endless = [0; FILE_BYTES];
        endless[..16].copy_from_slice(MAGIC);
        endless[24..28].copy_from_slice(&u32::MAX.to_be_bytes());
        assert_eq!(text(&endless), Err(Unreadable::Damaged));
    }

    #[test]
    fn the_longest_text_fits_and_one_byte_more_does_not() {
        let longest = "x".repeat(TEXT_BYTES_MAX);
        assert_eq!(encode(1, &longest).unwrap().len(), SLOT_BYTES);
        assert_eq!(text(&file(1, &encode(1, &longest).unwrap()).try_into().unwrap()).unwrap(), longest);
        assert!(encode(1, &(longest + "x")).is_none());
    }
}
