//! The sealing key of a subject key version, and the id that commits to it.

use std::fmt;

use aes_gcm::{Aes256Gcm, KeyInit};

use super::derive::{expand, extract};
use crate::secret::Key;

/// The public name of a subject key version: 16 bytes derived from the key itself.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct KeyId([u8; 16]);

impl KeyId {
    /// A key id as it was stored.
    pub const fn new(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// The id's bytes.
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

/// What seals and opens the fields of one subject key version: AES-256-GCM with its key schedule prepared, wiped on drop.
pub struct SealingKey {
    id: KeyId,
    cipher: Aes256Gcm,
}

impl SealingKey {
    /// Derives id and sealing key from a subject key S, by HKDF-SHA256 with an empty salt:
    /// `id = HKDF(S, "privet/v1/key-id")[..16]`, `K = HKDF(S, "privet/v1/seal")[..32]`.
    pub fn derive(subject_key: &Key) -> Self {
        let prk = extract(subject_key);
        let id = expand::<16>(&prk, &[b"privet/v1/key-id"]);
        let key = expand::<32>(&prk, &[b"privet/v1/seal"]);
        Self { id: KeyId(*id), cipher: Aes256Gcm::new((&*key).into()) }
    }

    /// The id that this key's fields carry.
    pub fn id(&self) -> KeyId {
        self.id
    }

    pub(super) fn cipher(&self) -> &Aes256Gcm {
        &self.cipher
    }
}

impl fmt::Debug for SealingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SealingKey")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_id_follows_from_the_key_alone() {
        let id = |byte| SealingKey::derive(&Key::new([byte; 32])).id();
        assert_eq!(id(1), id(1));
        assert_ne!(id(1), id(2));
    }

    #[test]
    fn a_sealing_key_prints_only_its_type() {
        assert_eq!(format!("{:?}", SealingKey::derive(&Key::new([1; 32]))), "SealingKey");
    }

    #[test]
    fn the_prepared_cipher_is_wiped_on_drop() {
        fn wiped<T: zeroize::ZeroizeOnDrop>() {}
        wiped::<Aes256Gcm>();
    }
}
