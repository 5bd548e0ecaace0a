//! A root key in a file under a passphrase.
//!
//! ```text
//! "privet-root/v1\n" ‖ memory KiB (4) ‖ passes (4) ‖ lanes (4) ‖ salt (16) ‖ nonce (12) ‖ AES-256-GCM(root key) (32) ‖ tag (16)
//! ```
//!
//! The key that seals is Argon2id (RFC 9106) of the passphrase; all before the nonce, and the generation, is authenticated.
//! Numbers are big-endian. Costs are bounded both ways before anything is computed: a file that somebody has written can neither
//! take the memory nor make guessing cheap.

use argon2::{Algorithm, Argon2, Params, Version};
use zeroize::Zeroizing;

use super::Generation;
use crate::{
    keyring::aead::{self, NONCE_BYTES, WRAPPED_KEY_BYTES},
    secret::{Key, Passphrase},
};

const MAGIC: &[u8; 15] = b"privet-root/v1\n";
const SALT_BYTES: usize = 16;
const HEADER_BYTES: usize = MAGIC.len() + 12 + SALT_BYTES;

/// How long a sealed file is, in bytes.
pub(super) const SEALED_BYTES: usize = HEADER_BYTES + WRAPPED_KEY_BYTES;
/// The random bytes that sealing takes: salt and nonce.
pub(super) const DRAWN_BYTES: usize = SALT_BYTES + NONCE_BYTES;

/// What RFC 9106 section 4 recommends where memory is scarce: 64 MiB, 3 passes, 4 lanes.
const COST: Cost = Cost { memory_kib: 65_536, passes: 3, lanes: 4 };
const MEMORY_KIB_MAX: u32 = 1 << 20;
const PASSES_MAX: u32 = 16;
const LANES_MAX: u32 = 16;

/// Why a sealed file gives no key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NoKey {
    /// It is no sealed file.
    Malformed,
    /// Its costs are less or more than this program takes.
    Cost,
    /// The passphrase is wrong, or the file is not what was written.
    Passphrase,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Cost {
    memory_kib: u32,
    passes: u32,
    lanes: u32,
}

/// Whether a file is one, by its length and its beginning.
pub(super) fn is_sealed(bytes: &[u8]) -> bool {
    bytes.len() == SEALED_BYTES && bytes.starts_with(MAGIC)
}

/// Seals a root key.
pub(super) fn seal(
    generation: Generation,
    key: &Key,
    passphrase: &Passphrase,
    drawn: &[u8; DRAWN_BYTES],
) -> Option<Vec<u8>> {
    let (salt, nonce) = drawn.split_first_chunk::<SALT_BYTES>()?;
    let mut file = MAGIC.to_vec();
    for number in [COST.memory_kib, COST.passes, COST.lanes] {
        file.extend_from_slice(&number.to_be_bytes());
    }
    file.extend_from_slice(salt);
    let sealing = derive(passphrase, salt, COST)?;
    file.extend_from_slice(&aead::seal(&sealing, nonce.try_into().ok()?, &aad(generation, &file), key.expose()));
    Some(file)
}

/// Opens a sealed root key.
///
/// # Errors
/// [`NoKey`]; the costs are looked at first.
pub(super) fn open(generation: Generation, file: &[u8], passphrase: &Passphrase) -> Result<Key, NoKey> {
    if !is_sealed(file) {
        return Err(NoKey::Malformed);
    }
    let (header, sealed) = file.split_at_checked(HEADER_BYTES).ok_or(NoKey::Malformed)?;
    let (numbers, salt) =
        header.get(MAGIC.len()..).and_then(|rest| rest.split_first_chunk::<12>()).ok_or(NoKey::Malformed)?;
    let [memory_kib, passes, lanes] = *numbers.as_chunks::<4>().0 else { return Err(NoKey::Malformed) };
    let [memory_kib, passes, lanes] = [memory_kib, passes, lanes].map(u32::from_be_bytes);
    let cost = Cost { memory_kib, passes, lanes };
    let fits = (COST.memory_kib..=MEMORY_KIB_MAX).contains(&memory_kib)
        && (COST.passes..=PASSES_MAX).contains(&passes)
        && (1..=LANES_MAX).contains(&lanes);
    if !fits {
        return Err(NoKey::Cost);
    }
    let sealing = derive(passphrase, salt, cost).ok_or(NoKey::Cost)?;
    aead::open_key(&sealing, &aad(generation, header), sealed).ok_or(NoKey::Passphrase)
}

fn derive(passphrase: &Passphrase, salt: &[u8], cost: Cost) -> Option<Key> {
    let params = Params::new(cost.memory_kib, cost.passes, cost.lanes, Some(32)).ok()?;
    let mut key = Zeroizing::new([0; 32]);
    let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
    argon2.hash_password_into(passphrase.expose(), salt, &mut *key).ok()?;
    Some(Key::new(*key))
}

fn aad(generation: Generation, header: &[u8]) -> Vec<u8> {
    aead::place(&[b"privet/root-file/v1", header, &generation.0.to_be_bytes()])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passphrase(text: &str) -> Passphrase {
        Passphrase::new(text.as_bytes().to_vec()).unwrap()
    }

    fn file() -> Vec<u8> {
        seal(Generation(1), &Key::new([7; 32]), &passphrase("correct horse"), &[3; DRAWN_BYTES]).unwrap()
    }

    #[test]
    fn a_key_opens_with_its_passphrase_in_its_generation_only() {
        let file = file();
        assert_eq!(file.len(), SEALED_BYTES);
        assert_eq!(open(Generation(1), &file, &passphrase("correct horse")).unwrap().expose(), &[7; 32]);
        assert_eq!(open(Generation(1), &file, &passphrase("correct horsf")).err(), Some(NoKey::Passphrase));
        assert_eq!(open(Generation(2), &file, &passphrase("correct horse")).err(), Some(NoKey::Passphrase));
        assert!(!file.windows(8).any(|window| window == [7; 8]));
    }

    #[test]
    fn costs_out_of_bounds_are_refused_before_anything_is_computed() {
        let at = MAGIC.len();
        for (offset, number) in [
            (0, 65_535),
            (0, (1 << 20) + 1),
            (0, u32::MAX),
            (0, 8),
            (4, 2),
            (4, 17),
            (4, u32::MAX),
            (8, 0),
            (8, 17),
            (8, u32::MAX),
        ] {
            let mut file = file();
            file[at + offset..at + offset + 4].copy_from_slice(&u32::to_be_bytes(number));
            assert_eq!(open(Generation(1), &file, &passphrase("correct horse")).err(), Some(NoKey::Cost), "{number}");
        }
    }

    #[test]
    fn no_byte_of_a_file_can_be_changed_and_none_can_be_missing() {
        let file = file();
        // Each byte that does not cost another derivation, and some that do.
        for at in (0..MAGIC.len()).chain([HEADER_BYTES - 1, HEADER_BYTES, SEALED_BYTES - 17, SEALED_BYTES - 1]) {
            let mut flipped = file.clone();
            flipped[at] ^= 1;
            assert!(open(Generation(1), &flipped, &passphrase("correct horse")).is_err(), "{at}");
        }
        for len in [0, 1, 32, SEALED_BYTES - 1] {
            assert_eq!(open(Generation(1), &file[..len], &passphrase("correct horse")).err(), Some(NoKey::Malformed));
        }
        let longer = [&file[..], b"x"].concat();
        assert_eq!(open(Generation(1), &longer, &passphrase("correct horse")).err(), Some(NoKey::Malformed));
    }
}
