//! The end of a run's file: what it is, and how long its parts are.
//!
//! ```text
//! footer  "privetix" ‖ format (4) ‖ level (4) ‖ SHA-256 of the log's origin (32) ‖ first index (8) ‖ end index (8)
//!         ‖ blocks (8) ‖ terms (8) ‖ words of the filter (8) ‖ probes of the filter (4) ‖ samples (8)
//!         ‖ leaf hash of the last entry (32) ‖ crc32 of directory, filter and samples (4) ‖ crc32 of the footer so far (4)
//! ```

use std::ops::Range;

/// What a run's file says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Footer {
    /// How often its postings were merged.
    pub(super) level: u32,
    /// Its entries; at least one.
    pub(super) indexes: Range<u64>,
    /// How many blocks of postings.
    pub(super) blocks: u64,
    /// How many different terms at most.
    pub(super) terms: u64,
    pub(super) bloom_words: u64,
    pub(super) bloom_probes: u32,
    pub(super) samples: u64,
    pub(super) last_leaf_hash: [u8; 32],
    pub(super) tail_crc: u32,
}

/// The length of a footer.
pub(super) const FOOTER_BYTES: usize = 140;

impl Footer {
    /// The bytes at the end of the file, for the log whose origin has this hash.
    pub(super) fn encode(&self, origin: &[u8; 32]) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        bytes.extend_from_slice(&FORMAT.to_be_bytes());
        bytes.extend_from_slice(&self.level.to_be_bytes());
        bytes.extend_from_slice(origin);
        for number in [self.indexes.start, self.indexes.end, self.blocks, self.terms, self.bloom_words] {
            bytes.extend_from_slice(&number.to_be_bytes());
        }
        bytes.extend_from_slice(&self.bloom_probes.to_be_bytes());
        bytes.extend_from_slice(&self.samples.to_be_bytes());
        bytes.extend_from_slice(&self.last_leaf_hash);
        bytes.extend_from_slice(&self.tail_crc.to_be_bytes());
        bytes.extend_from_slice(&crc32fast::hash(&bytes).to_be_bytes());
        bytes
    }

    /// The footer in these bytes, if it is whole, of this format and of this log.
    pub(super) fn decode(bytes: &[u8; FOOTER_BYTES], origin: &[u8; 32]) -> Option<Self> {
        let (body, crc) = bytes.split_last_chunk()?;
        if u32::from_be_bytes(*crc) != crc32fast::hash(body) {
            return None;
        }
        let mut rest = body.strip_prefix(MAGIC)?;
        if number4(&mut rest)? != FORMAT {
            return None;
        }
        let level = number4(&mut rest)?;
        rest = rest.strip_prefix(origin)?;
        let indexes = number8(&mut rest)?..number8(&mut rest)?;
        let (blocks, terms, bloom_words) = (number8(&mut rest)?, number8(&mut rest)?, number8(&mut rest)?);
        let (bloom_probes, samples) = (number4(&mut rest)?, number8(&mut rest)?);
        let (last_leaf_hash, mut rest) = rest.split_first_chunk()?;
        let tail_crc = number4(&mut rest)?;
        let last_leaf_hash = *last_leaf_hash;
        let footer =
            Self { level, indexes, blocks, terms, bloom_words, bloom_probes, samples, last_leaf_hash, tail_crc };
        (rest.is_empty() && !footer.indexes.is_empty()).then_some(footer)
    }

    /// The length of directory, filter and samples; `None` if there can be no such file.
    pub(super) fn tail_bytes(&self) -> Option<u64> {
        let numbers = self.blocks.checked_mul(2)?.checked_add(self.bloom_words)?;
        numbers.checked_add(self.samples.checked_mul(2)?)?.checked_mul(8)
    }
}

const MAGIC: &[u8; 8] = b"privetix";
const FORMAT: u32 = 1;

fn number4(rest: &mut &[u8]) -> Option<u32> {
    rest.split_off(..4)?.first_chunk().map(|bytes| u32::from_be_bytes(*bytes))
}

fn number8(rest: &mut &[u8]) -> Option<u64> {
    rest.split_off(..8)?.first_chunk().map(|bytes| u64::from_be_bytes(*bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn footer() -> Footer {
        Footer {
            level: 1,
            indexes: 5..9,
            blocks: 2,
            terms: 3,
            bloom_words: 4,
            bloom_probes: 7,
            samples: 1,
            last_leaf_hash: [6; 32],
            tail_crc: 8,
        }
    }

    fn encoded(footer: &Footer) -> [u8; FOOTER_BYTES] {
        footer.encode(&[1; 32]).try_into().unwrap()
    }

    #[test]
    fn it_comes_back_for_its_own_log_only() {
        let bytes = encoded(&footer());
        assert_eq!(Footer::decode(&bytes, &[1; 32]), Some(footer()));
        assert_eq!(Footer::decode(&bytes, &[2; 32]), None);
    }

    #[test]
    fn any_changed_bit_is_noticed() {
        for bit in 0..FOOTER_BYTES * 8 {
            let mut bytes = encoded(&footer());
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Footer::decode(&bytes, &[1; 32]), None, "bit {bit}");
        }
    }

    #[test]
    fn another_format_is_no_footer_even_with_a_right_checksum() {
        let mut bytes = encoded(&footer());
        bytes[11] += 1;
        let crc = crc32fast::hash(&bytes[..FOOTER_BYTES - 4]);
        bytes[FOOTER_BYTES - 4..].copy_from_slice(&crc.to_be_bytes());
        assert_eq!(Footer::decode(&bytes, &[1; 32]), None);
    }

    #[test]
    fn lengths_that_no_file_can_have_are_none() {
        for (blocks, bloom_words, samples) in [(u64::MAX, 0, 0), (0, u64::MAX, 1), (0, 0, u64::MAX)] {
            assert_eq!(Footer { blocks, bloom_words, samples, ..footer() }.tail_bytes(), None);
        }
    }

    #[test]
    fn a_run_without_entries_is_none() {
        assert_eq!(Footer::decode(&encoded(&Footer { indexes: 5..5, ..footer() }), &[1; 32]), None);
    }
}
