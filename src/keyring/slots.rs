//! Where keys lie in the store. A tenant's id has no zero byte, so `id ‖ 0x00 ‖ rest` reads back in one way only.

use std::fmt;

use crate::{
    id::Tenant,
    store::{Slot, Space},
};

/// How a subject is found without its id: `HMAC-SHA256(tenant's lookup key, subject id)[..16]`. Nobody without that key can
/// tell whose it is. Not for the log: that names subjects by alias.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Tag(pub(super) [u8; 16]);

impl Tag {
    /// The tag's bytes.
    pub fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }

    /// The tag of these bytes.
    pub fn of_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// Which of the tenant's bucket keys its subject's keys hang from: the first 12 bits.
    pub(super) fn bucket(self) -> u16 {
        let [high, low, ..] = self.0;
        u16::from_be_bytes([high, low]) >> 4
    }
}

impl fmt::Debug for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tag")
    }
}

/// How many bucket keys a tenant has.
pub const BUCKETS: u16 = 4096;

/// What a slot of the keyring's holds.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Held<'a> {
    Tenant(&'a [u8]),
    Bucket(&'a [u8], u16),
    Subject(&'a [u8], Tag),
}

pub(super) fn tenant(tenant: &Tenant) -> Slot {
    Slot::new(Space::Tenant, &[tenant.as_str().as_bytes()])
}

pub(super) fn bucket(tenant: &Tenant, number: u16) -> Slot {
    Slot::new(Space::Bucket, &[tenant.as_str().as_bytes(), &[0], &number.to_be_bytes()])
}

pub(super) fn subject(tenant: &Tenant, tag: Tag) -> Slot {
    Slot::new(Space::Subject, &[tenant.as_str().as_bytes(), &[0], &tag.0])
}

/// Where a tenant's subjects lie, from a tag on.
pub(super) fn subjects(tenant: &Tenant, from: Tag) -> std::ops::Range<Vec<u8>> {
    let end = Slot::new(Space::Subject, &[tenant.as_str().as_bytes(), &[1]]);
    subject(tenant, from).key..end.key
}

/// What lies at `slot`; `None` if it is none of the keyring's.
pub(super) fn read(slot: &Slot) -> Option<Held<'_>> {
    let key = slot.key.as_slice();
    let (tenant, rest) = match key.iter().position(|byte| *byte == 0) {
        Some(at) => (key.get(..at)?, key.get(at + 1..)?),
        None => (key, [].as_slice()),
    };
    match slot.space {
        Space::Tenant => (tenant.len() == key.len()).then_some(Held::Tenant(tenant)),
        Space::Bucket => Some(Held::Bucket(tenant, u16::from_be_bytes(rest.try_into().ok()?))),
        Space::Subject => Some(Held::Subject(tenant, Tag(rest.try_into().ok()?))),
        Space::Block
        | Space::TenantHead
        | Space::Policy
        | Space::Tile
        | Space::LogKey
        | Space::Checkpoint
        | Space::Segment
        | Space::Proposal
        | Space::Erasure => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::KEY_BYTES_MAX;

    #[test]
    fn every_slot_reads_back_and_no_two_are_the_same() {
        for name in ["a", "acme", &"z".repeat(63)] {
            let name = Tenant::parse(name).unwrap();
            let id = name.as_str().as_bytes();
            // Zero bytes in tag and bucket must not confuse the reading.
            for tag in [Tag([0; 16]), Tag([1; 16]), Tag(*b"\x00acme\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00")] {
                assert_eq!(read(&subject(&name, tag)), Some(Held::Subject(id, tag)));
            }
            for number in [0, 1, 256, BUCKETS - 1] {
                assert_eq!(read(&bucket(&name, number)), Some(Held::Bucket(id, number)));
            }
            assert_eq!(read(&tenant(&name)), Some(Held::Tenant(id)));
            assert!(subject(&name, Tag([0; 16])).key.len() <= KEY_BYTES_MAX);
        }
    }

    #[test]
    fn slots_of_others_and_torn_ones_are_not_read() {
        for slot in [
            Slot::new(Space::Policy, &[b"acme"]),
            Slot::new(Space::Tenant, &[b"acme\x00"]),
            Slot::new(Space::Bucket, &[b"acme\x00\x01"]),
            Slot::new(Space::Subject, &[b"acme"]),
        ] {
            assert_eq!(read(&slot), None);
        }
    }

    #[test]
    fn the_first_twelve_bits_name_the_bucket() {
        let mut tag = [0xff; 16];
        assert_eq!(Tag(tag).bucket(), BUCKETS - 1);
        tag[0] = 0x12;
        tag[1] = 0x3f;
        assert_eq!(Tag(tag).bucket(), 0x123);
    }
}
