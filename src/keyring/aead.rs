//! How keys and records are sealed in the store: AES-256-GCM (NIST SP 800-38D) under random 96-bit nonces.
//!
//! What is sealed is bound to its place by its AAD, so nothing can be moved in the store: [`place`] prefixes each part with
//! its length, and two different lists of parts never give the same bytes.
//!
//! Nonces are drawn by the caller, many in one call. A wrapping key here seals far fewer than 2^32 times in its life.

use aes_gcm::{
    Aes256Gcm, KeyInit,
    aead::{Aead, AeadInOut, Payload},
};
use zeroize::Zeroizing;

use crate::secret::Key;

/// The length of a nonce.
pub(super) const NONCE_BYTES: usize = 12;

/// How much longer a sealed value is than what it holds: nonce and tag.
pub(super) const OVERHEAD_BYTES: usize = NONCE_BYTES + 16;

/// The length of a wrapped key.
pub(super) const WRAPPED_KEY_BYTES: usize = 32 + OVERHEAD_BYTES;

/// The AAD that binds a value to its place.
pub(super) fn place(parts: &[&[u8]]) -> Vec<u8> {
    let mut aad = Vec::with_capacity(parts.iter().map(|part| part.len() + 4).sum());
    for part in parts {
        // No part comes near 4 GiB: each is an id of bounded length.
        aad.extend_from_slice(&u32::try_from(part.len()).unwrap_or(u32::MAX).to_be_bytes());
        aad.extend_from_slice(part);
    }
    aad
}

/// `nonce ‖ ciphertext ‖ tag`.
#[expect(clippy::expect_used, reason = "AES-GCM refuses only messages past 2^36 bytes; keys and records are bounded")]
pub(super) fn seal(key: &Key, nonce: &[u8; NONCE_BYTES], aad: &[u8], message: &[u8]) -> Vec<u8> {
    let sealed = cipher(key).encrypt(&(*nonce).into(), Payload { msg: message, aad }).expect("a bounded message");
    let mut out = Vec::with_capacity(NONCE_BYTES + sealed.len());
    out.extend_from_slice(nonce);
    out.extend_from_slice(&sealed);
    out
}

/// What [`seal`] sealed under the same key and AAD; `None` for anything else.
pub(super) fn open(key: &Key, aad: &[u8], sealed: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let (nonce, message) = sealed.split_first_chunk::<NONCE_BYTES>()?;
    let mut opened = Zeroizing::new(message.to_vec());
    cipher(key).decrypt_in_place(&(*nonce).into(), aad, &mut *opened).ok()?;
    Some(opened)
}

/// The key that [`seal`] sealed; `None` for anything else.
pub(super) fn open_key(key: &Key, aad: &[u8], sealed: &[u8]) -> Option<Key> {
    let opened = open(key, aad, sealed)?;
    let bytes: Zeroizing<[u8; 32]> = Zeroizing::new(opened.as_slice().try_into().ok()?);
    Some(Key::new(*bytes))
}

fn cipher(key: &Key) -> Aes256Gcm {
    Aes256Gcm::new(key.expose().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_of_other_parts_is_another_place() {
        assert_ne!(place(&[b"ab", b"c"]), place(&[b"a", b"bc"]));
        assert_ne!(place(&[b"ab"]), place(&[b"ab", b""]));
        assert_eq!(place(&[b"a"]), [0, 0, 0, 1, b'a']);
    }

    #[test]
    fn every_flipped_bit_and_every_cut_is_refused() {
        let key = Key::new([7; 32]);
        let sealed = seal(&key, &[1; NONCE_BYTES], b"here", &[9; 32]);
        assert_eq!(sealed.len(), WRAPPED_KEY_BYTES);
        assert_eq!(open_key(&key, b"here", &sealed).unwrap().expose(), &[9; 32]);
        for bit in 0..sealed.len() * 8 {
            let mut flipped = sealed.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(open(&key, b"here", &flipped).is_none(), "bit {bit}");
        }
        for len in 0..sealed.len() {
            assert!(open(&key, b"here", &sealed[..len]).is_none(), "cut to {len}");
        }
        assert!(open(&key, b"there", &sealed).is_none());
        assert!(open(&Key::new([8; 32]), b"here", &sealed).is_none());
    }

    #[test]
    fn a_key_of_another_length_is_no_key() {
        let key = Key::new([7; 32]);
        for len in [0, 31, 33] {
            assert!(open_key(&key, b"", &seal(&key, &[1; NONCE_BYTES], b"", &vec![9; len])).is_none());
        }
    }
}
