//! One entry: its stored bytes and its leaf hash.
//!
//! An entry is a `privet.store.v1.Entry`. An operation encodes all of it but what only the writer knows; the writer puts the
//! salt before and time and place behind, in field order, so the stored bytes are also the message's canonical encoding.

use prost::{
    Message,
    encoding::{WireType, encode_key, encode_varint},
};
use ring::digest::{Context, SHA256};

use crate::proto::stored;

/// The longest entry, in bytes: C2SP tlog-tiles holds an entry's length in 16 bits.
pub const BYTES_MAX: usize = 60_000;

/// At most this many bytes are added by the writer.
pub const WRITER_BYTES_MAX: usize = 2 + SALT_BYTES + 3 * (2 + 10);

/// Random bytes that keep a leaf hash from confirming a guess at its entry.
pub const SALT_BYTES: usize = 16;

/// What the writer knows about an entry.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    /// Random.
    pub salt: [u8; SALT_BYTES],
    /// Microseconds since 1970.
    pub time_unix_micros: u64,
    /// The entry's number among its tenant's.
    pub tenant_seq: u64,
    /// The index of the tenant's entry before, plus one; 0: none.
    pub tenant_previous_plus_one: u64,
}

/// The stored bytes of an entry: what the operation encoded, with the writer's fields around it.
pub fn complete(encoded: &[u8], place: &Place) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(encoded.len() + WRITER_BYTES_MAX);
    encode_key(1, WireType::LengthDelimited, &mut bytes);
    encode_varint(SALT_BYTES as u64, &mut bytes);
    bytes.extend_from_slice(&place.salt);
    bytes.extend_from_slice(encoded);
    for (tag, value) in
        [(1001, place.time_unix_micros), (1002, place.tenant_seq), (1003, place.tenant_previous_plus_one)]
    {
        // proto3 leaves zeros out.
        if value != 0 {
            encode_key(tag, WireType::Varint, &mut bytes);
            encode_varint(value, &mut bytes);
        }
    }
    bytes
}

/// RFC 6962 section 2.1: SHA-256(0x00 ‖ entry).
pub fn leaf_hash(bytes: &[u8]) -> [u8; 32] {
    let mut context = Context::new(&SHA256);
    context.update(&[0]);
    context.update(bytes);
    let mut hash = [0; 32];
    hash.copy_from_slice(context.finish().as_ref());
    hash
}

/// An entry as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// Its place in the log.
    pub index: u64,
    /// What [`complete`] made.
    pub bytes: Vec<u8>,
    /// [`leaf_hash`] of the bytes.
    pub leaf_hash: [u8; 32],
}

impl Stored {
    /// The entry's fields.
    ///
    /// # Errors
    /// The bytes are no entry: the store is damaged.
    pub fn decode(&self) -> Result<stored::Entry, prost::DecodeError> {
        stored::Entry::decode(self.bytes.as_slice())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn completed_bytes_are_the_canonical_encoding_of_the_whole_entry() {
        let draft = stored::Entry {
            principal: "spiffe://acme.example/signup".into(),
            tenant: "acme".into(),
            refusal: "DENIED".into(),
            ..Default::default()
        };
        let place =
            Place { salt: [7; 16], time_unix_micros: u64::MAX, tenant_seq: 0, tenant_previous_plus_one: u64::MAX };
        let bytes = complete(&draft.encode_to_vec(), &place);
        let whole = stored::Entry {
            salt: vec![7; 16],
            time_unix_micros: u64::MAX,
            tenant_previous_plus_one: u64::MAX,
            ..draft.clone()
        };
        assert_eq!(bytes, whole.encode_to_vec());
        assert!(bytes.len() <= draft.encoded_len() + WRITER_BYTES_MAX);
    }

    #[test]
    fn the_leaf_hash_is_rfc_6962s() {
        // RFC 6962 section 2.1.1: the hash of an empty leaf, as its test vectors give it.
        assert_eq!(hex::encode(leaf_hash(b"")), "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d");
    }
}
