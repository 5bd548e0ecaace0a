//! How entries lie in the store: several short ones to a block, a long one cut over several values.
//!
//! ```text
//! key    index of the first entry (8, big-endian) ‖ part (2, big-endian)
//! block  0x01 ‖ [ leaf hash (32) ‖ length (4, big-endian) ‖ bytes ]…        part 0
//! long   0x02 ‖   leaf hash (32) ‖ length (4, big-endian) ‖ first bytes     part 0
//!        0x03 ‖   the next bytes                                            part 1, 2, …
//! ```
//!
//! Nothing here trusts what it reads: a length that does not fit, an unknown first byte or a hash that differs is an error.

use std::ops::Range;

use super::entry::{self, Stored};
use crate::store::{Effect, Error, Slot, Space, VALUE_BYTES_MAX};

const BLOCK: u8 = 1;
const LONG: u8 = 2;
const CONTINUED: u8 = 3;
const FRAME: usize = 32 + 4;

/// The key of an entry's block, or of one part of a long entry.
pub fn key(index: u64, part: u16) -> Vec<u8> {
    [index.to_be_bytes().as_slice(), &part.to_be_bytes()].concat()
}

/// The keys that blocks of the entries in `indexes` can have, if one starts there.
pub fn keys(indexes: Range<u64>) -> Range<Vec<u8>> {
    key(indexes.start, 0)..key(indexes.end, 0)
}

/// The index of the first entry under a block's key.
pub fn first_index(key: &[u8]) -> Option<u64> {
    key.first_chunk::<8>().map(|bytes| u64::from_be_bytes(*bytes))
}

/// Whether a block's key is that of a whole block, or of the beginning of a long entry.
pub fn is_first_part(key: &[u8]) -> bool {
    key.get(8..) == Some(&[0, 0])
}

/// Packs entries into blocks, in order.
#[derive(Debug, Default)]
pub struct Packer {
    effects: Vec<Effect>,
    first: u64,
    open: Vec<u8>,
}

impl Packer {
    /// Adds the next entry, at most [`entry::BYTES_MAX`] long.
    pub fn push(&mut self, index: u64, leaf_hash: &[u8; 32], bytes: &[u8]) {
        if !self.open.is_empty() && self.open.len() + FRAME + bytes.len() > VALUE_BYTES_MAX - KEY {
            self.close();
        }
        let long = 1 + FRAME + bytes.len() > VALUE_BYTES_MAX - KEY;
        if self.open.is_empty() {
            self.first = index;
            self.open.push(if long { LONG } else { BLOCK });
        }
        self.open.extend_from_slice(leaf_hash);
        // An entry is at most 60,000 bytes long, so its length fits.
        self.open.extend_from_slice(&(bytes.len() as u32).to_be_bytes());
        if !long {
            self.open.extend_from_slice(bytes);
            return;
        }
        let (head, mut rest) = bytes.split_at_checked(VALUE_BYTES_MAX - KEY - 1 - FRAME).unwrap_or((bytes, &[]));
        self.open.extend_from_slice(head);
        self.close();
        let mut part = 0;
        while !rest.is_empty() {
            let (chunk, after) = rest.split_at_checked(VALUE_BYTES_MAX - KEY - 1).unwrap_or((rest, &[]));
            part += 1;
            self.put(key(index, part), [&[CONTINUED], chunk].concat());
            rest = after;
        }
    }

    /// The blocks, as effects.
    pub fn finish(mut self) -> Vec<Effect> {
        self.close();
        self.effects
    }

    fn close(&mut self) {
        if !self.open.is_empty() {
            let value = std::mem::take(&mut self.open);
            self.put(key(self.first, 0), value);
        }
    }

    fn put(&mut self, key: Vec<u8>, value: Vec<u8>) {
        self.effects.push(Effect { slot: Slot { space: Space::Block, key }, value: Some(value) });
    }
}

const KEY: usize = 10;

/// Reads values in ascending order of their keys back into entries, and checks each hash. A last entry that goes on in values
/// that were not given is left out.
///
/// # Errors
/// [`Error::Damaged`] where the values can't be what [`Packer`] made.
pub fn unpack<'a>(values: impl IntoIterator<Item = (&'a [u8], &'a [u8])>) -> Result<Vec<Stored>, Error> {
    let mut entries = Vec::new();
    let mut long: Option<Long> = None;
    for (key, value) in values {
        let (Some(index), Some(part)) = (first_index(key), key.get(8..)) else { return Err(damaged("a block's key")) };
        let (Some(kind), Some(body)) = (value.first(), value.get(1..)) else { return Err(damaged("an empty block")) };
        match (*kind, &mut long) {
            (BLOCK, None) if part == [0, 0] => unpack_block(index, body, &mut entries)?,
            (LONG, None) if part == [0, 0] => {
                let (leaf_hash, length, bytes) = frame(body)?;
                long = Some(Long { index, leaf_hash, length, bytes: bytes.to_vec(), part: 0 });
            }
            (CONTINUED, Some(open)) if index == open.index && part == (open.part + 1).to_be_bytes() => {
                open.part += 1;
                open.bytes.extend_from_slice(body);
            }
            (BLOCK | LONG | CONTINUED, _) => return Err(damaged("blocks out of order")),
            (_, _) => return Err(damaged("a block of an unknown format")),
        }
        if let Some(done) = long.take_if(|open| open.bytes.len() >= open.length) {
            entries.push(checked(done.index, done.leaf_hash, done.bytes, done.length)?);
        }
    }
    Ok(entries)
}

struct Long {
    index: u64,
    leaf_hash: [u8; 32],
    length: usize,
    bytes: Vec<u8>,
    part: u16,
}

fn unpack_block(first: u64, mut body: &[u8], entries: &mut Vec<Stored>) -> Result<(), Error> {
    let mut index = first;
    while !body.is_empty() {
        let (leaf_hash, length, rest) = frame(body)?;
        let (bytes, after) = rest.split_at_checked(length).ok_or_else(|| damaged("a block cut short"))?;
        entries.push(checked(index, leaf_hash, bytes.to_vec(), length)?);
        body = after;
        index += 1;
    }
    Ok(())
}

fn frame(body: &[u8]) -> Result<([u8; 32], usize, &[u8]), Error> {
    let (leaf_hash, rest) = body.split_first_chunk::<32>().ok_or_else(|| damaged("a block cut short"))?;
    let (length, bytes) = rest.split_first_chunk::<4>().ok_or_else(|| damaged("a block cut short"))?;
    let length = u32::from_be_bytes(*length) as usize;
    if length > entry::BYTES_MAX { Err(damaged("an entry too long")) } else { Ok((*leaf_hash, length, bytes)) }
}

fn checked(index: u64, leaf_hash: [u8; 32], bytes: Vec<u8>, length: usize) -> Result<Stored, Error> {
    if bytes.len() != length || entry::leaf_hash(&bytes) != leaf_hash {
        return Err(Error::Damaged { what: format!("log entry {index} does not match its hash") });
    }
    Ok(Stored { index, bytes, leaf_hash })
}

fn damaged(what: &str) -> Error {
    Error::Damaged { what: format!("the log has {what}") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn pack(first: u64, entries: &[Vec<u8>]) -> Vec<(Vec<u8>, Vec<u8>)> {
        let mut packer = Packer::default();
        for (i, bytes) in entries.iter().enumerate() {
            packer.push(first + i as u64, &entry::leaf_hash(bytes), bytes);
        }
        packer.finish().into_iter().map(|effect| (effect.slot.key, effect.value.unwrap())).collect()
    }

    fn unpacked(values: &[(Vec<u8>, Vec<u8>)]) -> Result<Vec<Stored>, Error> {
        unpack(values.iter().map(|(key, value)| (key.as_slice(), value.as_slice())))
    }

    proptest! {
        #[test]
        fn entries_of_any_length_come_back_in_order(
            sizes in proptest::collection::vec(prop_oneof![0usize..600, 7_900usize..8_100, 0..=entry::BYTES_MAX], 1..40),
            first in 0u64..1 << 60,
        ) {
            let entries: Vec<Vec<u8>> = sizes.iter().enumerate().map(|(i, n)| vec![i as u8; *n]).collect();
            let values = pack(first, &entries);
            prop_assert!(values.iter().all(|(key, value)| key.len() + value.len() <= VALUE_BYTES_MAX));
            prop_assert!(values.is_sorted_by(|a, b| a.0 < b.0));
            let back = unpacked(&values).unwrap();
            prop_assert_eq!(back.len(), entries.len());
            for (i, stored) in back.iter().enumerate() {
                prop_assert_eq!(stored.index, first + i as u64);
                prop_assert_eq!(&stored.bytes, &entries[i]);
            }
        }
    }

    #[test]
    fn any_changed_byte_is_noticed() {
        let values = pack(5, &[b"first entry".to_vec(), b"second entry".to_vec()]);
        for at in 0..values[0].1.len() {
            let mut changed = values.clone();
            changed[0].1[at] ^= 1;
            assert!(unpacked(&changed).is_err(), "byte {at}");
        }
    }

    #[test]
    fn a_missing_part_of_a_long_entry_is_noticed() {
        let values = pack(5, &[vec![1; 20_000], vec![2; 10]]);
        assert_eq!(values.len(), 4);
        for gone in 0..3 {
            let mut cut = values.clone();
            cut.remove(gone);
            assert!(unpacked(&cut).is_err(), "part {gone}");
        }
    }
}
