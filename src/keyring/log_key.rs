//! The seeds of the keys that sign the log: random, wrapped by a root generation, and bound to their number. They wrap nothing.

use super::{
    Error, aead,
    root::{Generation, RootProvider, ToWrap},
};
use crate::{entropy::Entropy, proto::stored, secret::Key};

/// Draws the seed of log key `number`, wrapped by the newest root generation. The record names no verifier key yet: that has
/// the log's origin in it.
///
/// # Errors
/// [`Error::Entropy`], [`Error::Root`].
pub fn create(root: &dyn RootProvider, entropy: &dyn Entropy, number: u32) -> Result<stored::LogKey, Error> {
    let generation = root.newest();
    let seed = Key::random(entropy)?;
    let aad = place(number, generation);
    let wrapped = root.wrap(generation, &[ToWrap { aad: &aad, key: &seed }])?;
    Ok(stored::LogKey {
        root_generation: generation.0,
        wrapped_seed: wrapped.into_iter().next().unwrap_or_default(),
        ..Default::default()
    })
}

/// The seed of log key `number`.
///
/// # Errors
/// [`Error::Root`]: the root's generation is missing, or did not wrap this as that key.
pub fn open(root: &dyn RootProvider, number: u32, record: &stored::LogKey) -> Result<Key, Error> {
    let generation = Generation(record.root_generation);
    Ok(root.unwrap(generation, &place(number, generation), &record.wrapped_seed)?)
}

fn place(number: u32, parent: Generation) -> Vec<u8> {
    aead::place(&[b"privet/wrap/v1", b"log-key", &number.to_be_bytes(), &parent.0.to_be_bytes()])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keyring::testing::World;

    #[test]
    fn a_seed_is_its_own_numbers_only() {
        let world = World::new();
        let record = create(&*world.root, &crate::entropy::SystemEntropy::open(), 1).unwrap();
        assert_eq!(record.wrapped_seed.len(), aead::WRAPPED_KEY_BYTES);
        assert_eq!(open(&*world.root, 1, &record).unwrap().expose(), open(&*world.root, 1, &record).unwrap().expose());
        assert!(open(&*world.root, 2, &record).is_err());
        for at in 0..record.wrapped_seed.len() {
            let mut changed = record.clone();
            changed.wrapped_seed[at] ^= 1;
            assert!(open(&*world.root, 1, &changed).is_err(), "byte {at}");
        }
    }

    #[test]
    fn two_seeds_are_never_the_same() {
        let world = World::new();
        let draw = || {
            let record = create(&*world.root, &crate::entropy::SystemEntropy::open(), 1).unwrap();
            *open(&*world.root, 1, &record).unwrap().expose()
        };
        assert_ne!(draw(), draw());
    }
}
