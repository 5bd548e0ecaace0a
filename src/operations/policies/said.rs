//! What a person says – why, or what was found – is kept beside the log, which has its hash: the log stays as it is for as long
//! as it is kept, and a person's words may have to go.

use ring::digest::{Context, SHA256};

use crate::entropy::{Entropy, Unavailable};

/// The random bytes that keep a hash from confirming a guess at the text.
const SALT_BYTES: usize = 16;

/// How the log names a text.
pub(in crate::operations) struct Said {
    /// Kept with the text.
    pub(in crate::operations) salt: Vec<u8>,
    /// SHA-256 of the salt and the text, in hexadecimal.
    pub(in crate::operations) hash: String,
}

impl Said {
    /// Draws a salt for one text: with another's, equal texts would show.
    ///
    /// # Errors
    /// No randomness.
    pub(in crate::operations) fn new(entropy: &dyn Entropy, text: &str) -> Result<Self, Unavailable> {
        let mut salt = [0; SALT_BYTES];
        entropy.fill(&mut salt)?;
        let mut context = Context::new(&SHA256);
        context.update(&salt);
        context.update(text.as_bytes());
        Ok(Self { salt: salt.to_vec(), hash: hex::encode(context.finish()) })
    }
}
