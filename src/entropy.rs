//! Randomness, as something that is handed in.

use std::fmt;

use ring::rand::{SecureRandom, SystemRandom};

/// The operating system gave no randomness.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the operating system gives no randomness")]
pub struct Unavailable;

/// A source of randomness fit for keys and nonces.
pub trait Entropy: Send + Sync + 'static {
    /// Fills `out` in one call to the source: draw all that a batch needs at once (a call costs more than a seal).
    ///
    /// # Errors
    /// [`Unavailable`]; `out` is then not to be used.
    fn fill(&self, out: &mut [u8]) -> Result<(), Unavailable>;
}

/// The operating system's generator, through ring.
pub struct SystemEntropy(SystemRandom);

impl SystemEntropy {
    /// Opens the operating system's generator.
    #[expect(clippy::disallowed_methods, reason = "this is where the system's randomness comes in")]
    pub fn open() -> Self {
        Self(SystemRandom::new())
    }
}

impl Entropy for SystemEntropy {
    fn fill(&self, out: &mut [u8]) -> Result<(), Unavailable> {
        self.0.fill(out).map_err(|_| Unavailable)
    }
}

impl fmt::Debug for SystemEntropy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SystemEntropy")
    }
}
