//! Blocks of postings: which entries have which terms, 4,096 bytes at a time, each checked and readable by itself.
//!
//! ```text
//! block     crc32 (4) of the block's number (8) and the rest ‖ length of the postings (2) ‖ postings ‖ zeros
//! posting   0x00 ‖ varint of the term less the term before, of the first one the term ‖ varint of the entry's offset
//!           varint, not 0, of the entry's offset less the one before: of the same term
//! ```
//!
//! Numbers are big-endian; an offset is an entry's index less the run's first.

use std::io;

use prost::encoding::{decode_varint, encode_varint};

use super::term::Term;

/// The length of a block.
pub(super) const BLOCK_BYTES: usize = 4_096;

/// One entry of one term: ordered by term, then by the entry's offset in its run.
pub(super) type Posting = (Term, u64);

/// Packs ascending postings into blocks.
#[derive(Default)]
pub(super) struct Packer {
    postings: Vec<u8>,
    last: Option<Posting>,
}

impl Packer {
    /// Adds a posting, greater than the one before. `false`: the block is full and the posting is for the next one.
    pub(super) fn push(&mut self, posting: Posting) -> bool {
        let before = self.postings.len();
        let (Term(term), offset) = posting;
        match self.last {
            Some((Term(same), previous)) if same == term => encode_varint(offset - previous, &mut self.postings),
            last => {
                self.postings.push(NEW_TERM);
                encode_varint(term - last.map_or(0, |(Term(last), _)| last), &mut self.postings);
                encode_varint(offset, &mut self.postings);
            }
        }
        let fits = self.postings.len() <= BLOCK_BYTES - HEADER_BYTES;
        if fits {
            self.last = Some(posting);
        } else {
            self.postings.truncate(before);
        }
        fits
    }

    /// Whether there is nothing in the block.
    pub(super) fn is_empty(&self) -> bool {
        self.last.is_none()
    }

    /// The block with this number; the next one is empty.
    pub(super) fn take(&mut self, number: u64) -> Vec<u8> {
        let postings = std::mem::take(self).postings;
        let mut block = vec![0; CRC_BYTES];
        // It fits into the block.
        block.extend_from_slice(&(postings.len() as u16).to_be_bytes());
        block.extend_from_slice(&postings);
        block.resize(BLOCK_BYTES, 0);
        let crc = crc(number, &block);
        block.splice(..CRC_BYTES, crc.to_be_bytes());
        block
    }
}

/// The postings of the block with this number.
///
/// # Errors
/// The block is not the one that was written.
pub(super) fn postings(number: u64, block: &[u8]) -> io::Result<Postings<'_>> {
    let (stored, rest) = block.split_first_chunk().ok_or_else(damaged)?;
    if u32::from_be_bytes(*stored) != crc(number, block) {
        return Err(damaged());
    }
    let (length, rest) = rest.split_first_chunk().ok_or_else(damaged)?;
    let rest = rest.get(..usize::from(u16::from_be_bytes(*length))).ok_or_else(damaged)?;
    Ok(Postings { rest, last: None })
}

/// The postings of a block, ascending.
pub(super) struct Postings<'a> {
    rest: &'a [u8],
    last: Option<Posting>,
}

impl Postings<'_> {
    fn posting(&mut self) -> Option<Posting> {
        let first = decode_varint(&mut self.rest).ok()?;
        let posting = match (first, self.last) {
            (0, last) => {
                let more = decode_varint(&mut self.rest).ok()?;
                let term = last.map_or(0, |(Term(last), _)| last).checked_add(more)?;
                (Term(term), decode_varint(&mut self.rest).ok()?)
            }
            (more, Some((term, offset))) => (term, offset.checked_add(more)?),
            (_, None) => return None,
        };
        let ascends = self.last.is_none_or(|last| last < posting);
        self.last = Some(posting);
        ascends.then_some(posting)
    }
}

impl Iterator for Postings<'_> {
    type Item = io::Result<Posting>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let posting = self.posting().ok_or_else(damaged);
        if posting.is_err() {
            self.rest = &[];
        }
        Some(posting)
    }
}

const NEW_TERM: u8 = 0;
const CRC_BYTES: usize = 4;
const HEADER_BYTES: usize = CRC_BYTES + 2;

fn crc(number: u64, block: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&number.to_be_bytes());
    hasher.update(block.get(CRC_BYTES..).unwrap_or_default());
    hasher.finalize()
}

fn damaged() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "a block does not match its checksum")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn pack(all: &[Posting]) -> Vec<Vec<u8>> {
        let (mut packer, mut blocks) = (Packer::default(), Vec::new());
        for posting in all {
            if !packer.push(*posting) {
                blocks.push(packer.take(blocks.len() as u64));
                assert!(packer.push(*posting));
            }
        }
        if !packer.is_empty() {
            blocks.push(packer.take(blocks.len() as u64));
        }
        blocks
    }

    fn unpack(blocks: &[Vec<u8>]) -> io::Result<Vec<Posting>> {
        let each =
            blocks.iter().zip(0..).map(|(block, number)| postings(number, block)?.collect::<io::Result<Vec<_>>>());
        Ok(each.collect::<io::Result<Vec<_>>>()?.concat())
    }

    proptest! {
        #[test]
        fn ascending_postings_come_back(
            all in proptest::collection::btree_set(
                (prop_oneof![0u64..4, any::<u64>()], prop_oneof![0u64..5_000, any::<u64>()]), 0..3_000)
        ) {
            let all: Vec<Posting> = all.into_iter().map(|(term, offset)| (Term(term), offset)).collect();
            let blocks = pack(&all);
            prop_assert!(blocks.iter().all(|block| block.len() == BLOCK_BYTES));
            prop_assert_eq!(unpack(&blocks).unwrap(), all);
        }
    }

    #[test]
    fn any_changed_bit_is_noticed_and_so_is_a_block_in_anothers_place() {
        let all: Vec<Posting> = (0..5_000).map(|n| (Term(n / 100), n)).collect();
        let blocks = pack(&all);
        assert!(blocks.len() > 1);
        for bit in 0..BLOCK_BYTES * 8 {
            let mut block = blocks[0].clone();
            block[bit / 8] ^= 1 << (bit % 8);
            assert!(postings(0, &block).is_err(), "bit {bit}");
        }
        assert!(postings(0, &blocks[1]).is_err() && postings(1, &blocks[0]).is_err());
        assert!(postings(0, &[]).is_err() && postings(0, &blocks[0][..BLOCK_BYTES - 1]).is_err());
    }

    #[test]
    fn postings_that_were_never_packed_are_an_error_and_no_panic() {
        let huge = [0u8, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1];
        for bytes in [&[5][..], &[0], &[0, 1], &[0xff; 12], &[huge.as_slice(), &[1], &huge, &[1]].concat()] {
            let mut packer = Packer { postings: bytes.to_vec(), last: None };
            let block = packer.take(0);
            assert!(postings(0, &block).unwrap().any(|posting| posting.is_err()), "{bytes:?}");
        }
    }

    #[test]
    fn a_dense_term_takes_a_byte_a_posting() {
        let all: Vec<Posting> = (0..40_000).map(|n| (Term(u64::MAX), n)).collect();
        assert_eq!(pack(&all).len(), 10);
    }
}
