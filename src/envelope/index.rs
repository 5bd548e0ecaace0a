//! Blind indexes: equal values of a class get equal bytes, from which nobody without the key learns the value.
//!
//! Whoever may compute them can try a dictionary, so they need their own grant and budget; both are the caller's.

use std::fmt;

use ring::hmac;

use super::{
    derive::{expand, extract},
    normalise::Normalised,
};
use crate::{id::Class, secret::Key};

/// The length of a blind index.
pub const INDEX_LEN: usize = 17;

/// The index key of one class of one tenant. ring prepares it and does not wipe it on drop.
pub struct IndexKey(hmac::Key);

impl IndexKey {
    /// Derives it from the tenant's index key, by HKDF-SHA256 with an empty salt and info `"privet/v1/index/" ‖ class`.
    pub fn derive(tenant_index_key: &Key, class: &Class) -> Self {
        let key = expand::<32>(&extract(tenant_index_key), &[b"privet/v1/index/", class.as_str().as_bytes()]);
        Self(hmac::Key::new(hmac::HMAC_SHA256, key.as_slice()))
    }
}

impl fmt::Debug for IndexKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("IndexKey")
    }
}

/// `0x01 ‖ HMAC-SHA256(key, normalised value)[..16]`.
pub fn blind_index(key: &IndexKey, value: &Normalised) -> [u8; INDEX_LEN] {
    let tag = hmac::sign(&key.0, value.expose().as_bytes());
    let mut index = [VERSION; INDEX_LEN];
    index.iter_mut().skip(1).zip(tag.as_ref()).for_each(|(to, from)| *to = *from);
    index
}

const VERSION: u8 = 1;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{catalogue::Kind, envelope::normalise};

    fn index(key: u8, class: &str, value: &str) -> [u8; INDEX_LEN] {
        let key = IndexKey::derive(&Key::new([key; 32]), &Class::parse(class).unwrap());
        blind_index(&key, &normalise(Kind::Email, value.as_bytes()).unwrap())
    }

    /// Computed by another implementation (Python's `hmac` and `hashlib`), from the description above alone.
    #[test]
    fn index_v1_is_pinned() {
        let key: [u8; 32] = std::array::from_fn(|i| 32 + i as u8);
        let key = IndexKey::derive(&Key::new(key), &Class::parse("pii/account/email").unwrap());
        let value = normalise(Kind::Email, b" Anna.Karlsson@GMAIL.com\n").unwrap();
        assert_eq!(hex::encode(blind_index(&key, &value)), "01c704259d25b54160fe8102766aa12f07");
    }

    #[test]
    fn one_value_has_one_index_per_key_and_class() {
        let anna = index(1, "pii/account/email", "anna@x.example");
        assert_eq!(anna, index(1, "pii/account/email", " ANNA@x.example "));
        for other in [
            index(2, "pii/account/email", "anna@x.example"),
            index(1, "pii/account/email2", "anna@x.example"),
            index(1, "pii/account/email", "anne@x.example"),
        ] {
            assert_ne!(anna[1..], other[1..]);
        }
    }

    #[test]
    fn an_index_key_prints_only_its_type() {
        let key = IndexKey::derive(&Key::new([1; 32]), &Class::parse("pii/account/email").unwrap());
        assert_eq!(format!("{key:?}"), "IndexKey");
    }
}
