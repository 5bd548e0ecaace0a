//! A batch's randomness, drawn in one call and handed out piece by piece.

use zeroize::{Zeroize, Zeroizing};

use crate::{
    entropy::{Entropy, Unavailable},
    secret::Key,
};

/// Random bytes, each handed out once, wiped on drop.
pub(super) struct Drawn {
    bytes: Zeroizing<Vec<u8>>,
}

impl Drawn {
    /// Draws `len` bytes; draws nothing if that is none.
    pub(super) fn draw(entropy: &dyn Entropy, len: usize) -> Result<Self, Unavailable> {
        let mut bytes = Zeroizing::new(vec![0; len]);
        if len > 0 {
            entropy.fill(&mut bytes)?;
        }
        Ok(Self { bytes })
    }

    /// The next `N` bytes. Asking for more than was drawn is refused: bytes are never reused or made up.
    pub(super) fn take<const N: usize>(&mut self) -> Result<[u8; N], Unavailable> {
        let rest = self.bytes.len().checked_sub(N).ok_or(Unavailable)?;
        let piece = self.bytes.get(rest..).and_then(|piece| piece.first_chunk::<N>()).copied().ok_or(Unavailable)?;
        // Vec::truncate wipes nothing; the zeroizing drop does wipe the whole capacity.
        self.bytes.truncate(rest);
        Ok(piece)
    }

    /// The next 32 bytes, as a key.
    pub(super) fn take_key(&mut self) -> Result<Key, Unavailable> {
        let mut bytes = self.take::<32>()?;
        let key = Key::new(bytes);
        bytes.zeroize();
        Ok(key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entropy::SystemEntropy;

    #[test]
    fn bytes_are_handed_out_once_and_never_made_up() {
        let mut drawn = Drawn::draw(&SystemEntropy::open(), 48).unwrap();
        let first = drawn.take::<16>().unwrap();
        let second = drawn.take::<16>().unwrap();
        assert_ne!(first, second);
        assert_eq!(drawn.take::<32>(), Err(Unavailable));
        assert!(drawn.take::<16>().is_ok());
        assert_eq!(drawn.take::<1>(), Err(Unavailable));
    }

    struct Broken;
    impl Entropy for Broken {
        fn fill(&self, _: &mut [u8]) -> Result<(), Unavailable> {
            Err(Unavailable)
        }
    }

    #[test]
    fn nothing_is_drawn_where_nothing_is_needed() {
        assert!(Drawn::draw(&Broken, 0).is_ok());
        assert!(Drawn::draw(&Broken, 1).is_err());
    }
}
