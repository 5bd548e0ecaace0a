//! Which terms a run may have: a Bloom filter, so that a search for a rare term reads no block of a run without it.

use super::term::Term;

/// About 1 in 100 terms that were not put in is taken for one that was.
#[derive(Debug)]
pub(super) struct Bloom {
    words: Vec<u64>,
    /// Bits a term sets.
    probes: u32,
}

impl Bloom {
    /// An empty filter for up to `terms` terms, in at most `bytes_max` bytes; with less room than it needs it errs more often.
    pub(super) fn new(terms: u64, bytes_max: u64) -> Self {
        let bits = terms.saturating_mul(BITS_A_TERM).min(bytes_max.saturating_mul(8)).max(u64::from(u64::BITS));
        // The best number is bits ÷ terms × ln 2.
        let probes = (bits * 7 / 10 / terms.max(1)).clamp(1, PROBES_MAX);
        let words = usize::try_from(bits.div_ceil(u64::from(u64::BITS))).unwrap_or(1);
        Self { words: vec![0; words], probes: probes as u32 }
    }

    /// A filter as it was stored; `None` if there can't be one like it.
    pub(super) fn restore(words: Vec<u64>, probes: u32) -> Option<Self> {
        (!words.is_empty() && (1..=PROBES_MAX).contains(&u64::from(probes))).then_some(Self { words, probes })
    }

    /// Puts a term in.
    pub(super) fn insert(&mut self, term: Term) {
        for bit in self.bits(term) {
            if let Some(word) = self.words.get_mut(bit / 64) {
                *word |= 1 << (bit % 64);
            }
        }
    }

    /// `false`: the term was not put in.
    pub(super) fn may_have(&self, term: Term) -> bool {
        self.bits(term).all(|bit| self.words.get(bit / 64).is_some_and(|word| word & (1 << (bit % 64)) != 0))
    }

    pub(super) fn words(&self) -> &[u64] {
        &self.words
    }

    pub(super) fn probes(&self) -> u32 {
        self.probes
    }

    /// The bits of a term. Terms are hashes, so their halves serve as two (Kirsch and Mitzenmacher 2006).
    fn bits(&self, Term(term): Term) -> impl Iterator<Item = usize> + use<> {
        let (bits, step) = (self.words.len() as u64 * 64, term.rotate_left(32) | 1);
        (0..u64::from(self.probes)).map(move |probe| (term.wrapping_add(step.wrapping_mul(probe)) % bits) as usize)
    }
}

const BITS_A_TERM: u64 = 10;
const PROBES_MAX: u64 = 7;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::index::term::of_leaf_hash;

    fn term(n: u32) -> Term {
        let mut hash = [0; 32];
        hash[..4].copy_from_slice(&n.to_be_bytes());
        of_leaf_hash(&hash)
    }

    fn wrong(bloom: &mut Bloom, terms: u32) -> usize {
        (0..terms).for_each(|n| bloom.insert(term(n)));
        assert!((0..terms).all(|n| bloom.may_have(term(n))));
        (terms..terms + 10_000).filter(|n| bloom.may_have(term(*n))).count()
    }

    #[test]
    fn it_never_denies_a_term_it_has_and_rarely_takes_one_it_has_not() {
        assert!(wrong(&mut Bloom::new(10_000, 1 << 20), 10_000) < 200);
    }

    #[test]
    fn it_keeps_to_its_bytes_and_then_errs_more_often() {
        let mut small = Bloom::new(10_000, 5_000);
        assert_eq!(small.words.len() * 8, 5_000);
        let wrong = wrong(&mut small, 10_000);
        assert!((200..3_000).contains(&wrong), "{wrong}");
    }

    #[test]
    fn one_for_no_terms_has_none() {
        let bloom = Bloom::new(0, 0);
        assert!((0..100).all(|n| !bloom.may_have(term(n))));
        assert!(Bloom::restore(Vec::new(), 1).is_none() && Bloom::restore(vec![0], 0).is_none());
    }
}
