//! Page tokens: opaque to the caller, bound to its query and to itself.
//!
//! ```text
//! token = base64url( version (1) ‖ bound (8) ‖ next (8) ‖ HMAC-SHA256(page key, version ‖ bound ‖ next ‖ query)[..16] )
//! ```
//!
//! A token of another query, another caller or another run of the server is refused.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use ring::hmac;
use subtle::ConstantTimeEq;

use super::Violation;
use crate::{
    entropy::{Entropy, Unavailable},
    id::{Principal, Tenant},
};

const VERSION: u8 = 1;
const MAC_BYTES: usize = 16;

/// The MAC key of one run's page tokens.
#[derive(Debug)]
pub struct PageKey(hmac::Key);

/// Where a listing goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Cursor {
    /// The end of the log when the listing began: later entries are not part of it.
    pub(super) bound: u64,
    /// The next index to look at (ascending), or the one after it (descending).
    pub(super) next: u64,
}

impl Cursor {
    /// Of a list in the order of 16-byte keys, which has no end of its own: the key to go on with.
    pub(super) fn at_key(key: [u8; 16]) -> Self {
        let [high, low] =
            [0, 8].map(|from| key.iter().skip(from).take(8).fold(0_u64, |half, byte| half << 8 | u64::from(*byte)));
        Self { bound: high, next: low }
    }

    /// The key to go on with.
    pub(super) fn key(self) -> [u8; 16] {
        (u128::from(self.bound) << 64 | u128::from(self.next)).to_be_bytes()
    }
}

impl PageKey {
    /// Draws a key.
    ///
    /// # Errors
    /// [`Unavailable`] if there is no randomness.
    pub fn random(entropy: &dyn Entropy) -> Result<Self, Unavailable> {
        let key = crate::secret::Key::random(entropy)?;
        Ok(Self(hmac::Key::new(hmac::HMAC_SHA256, key.expose())))
    }

    /// Where a request goes on.
    ///
    /// # Errors
    /// [`Violation`] for a token of another query, caller or run.
    pub(super) fn given(&self, token: &str, query: &[u8]) -> Result<Option<Cursor>, Violation> {
        let rule = "must be the next_page_token of the same query by the same caller";
        match token {
            "" => Ok(None),
            token => self.cursor(token, query).map(Some).ok_or_else(|| Violation::new("page_token", rule)),
        }
    }

    pub(super) fn token(&self, cursor: Cursor, query: &[u8]) -> String {
        let body = body(cursor);
        let mac = self.mac(&body, query);
        URL_SAFE_NO_PAD.encode([body.as_slice(), mac.as_ref().get(..MAC_BYTES).unwrap_or_default()].concat())
    }

    pub(super) fn cursor(&self, token: &str, query: &[u8]) -> Option<Cursor> {
        let bytes = URL_SAFE_NO_PAD.decode(token).ok()?;
        let (body, mac) = bytes.split_first_chunk::<17>()?;
        let expected = self.mac(body, query);
        if !bool::from(expected.as_ref().get(..MAC_BYTES)?.ct_eq(mac)) {
            return None;
        }
        let (bound, next) = body.get(1..)?.split_first_chunk::<8>()?;
        Some(Cursor { bound: u64::from_be_bytes(*bound), next: u64::from_be_bytes(next.try_into().ok()?) })
    }

    fn mac(&self, body: &[u8], query: &[u8]) -> hmac::Tag {
        let mut context = hmac::Context::with_key(&self.0);
        context.update(body);
        context.update(query);
        context.sign()
    }
}

/// How many a page has; more than `max` is no error (AIP-158), and 0 asks for `default`.
///
/// # Errors
/// [`Violation`] for less than none.
pub(super) fn size(asked: i32, max: usize, default: usize) -> Result<usize, Violation> {
    match usize::try_from(asked) {
        Ok(0) => Ok(default),
        Ok(size) => Ok(size.min(max)),
        Err(_) => Err(Violation::new("page_size", "must not be negative")),
    }
}

/// An unambiguous encoding of what a list is of, for whom and for which caller.
pub(super) fn query(list: &str, tenant: &Tenant, caller: &Principal, parts: &[&[u8]]) -> Vec<u8> {
    let names = [list.as_bytes(), tenant.as_str().as_bytes(), caller.as_str().as_bytes()];
    let mut query = Vec::new();
    for part in names.iter().chain(parts) {
        query.extend_from_slice(&(part.len() as u64).to_be_bytes());
        query.extend_from_slice(part);
    }
    query
}

fn body(cursor: Cursor) -> [u8; 17] {
    let mut body = [VERSION; 17];
    let (_, numbers) = body.split_at_mut(1);
    let (bound, next) = numbers.split_at_mut(8);
    bound.copy_from_slice(&cursor.bound.to_be_bytes());
    next.copy_from_slice(&cursor.next.to_be_bytes());
    body
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entropy::SystemEntropy;

    #[test]
    fn a_key_goes_through_a_cursor_and_back() {
        for key in [[0; 16], [0xff; 16], std::array::from_fn(|at| u8::try_from(at).unwrap())] {
            assert_eq!(Cursor::at_key(key).key(), key);
        }
    }

    #[test]
    fn a_token_leads_back_for_its_own_query_only() {
        let key = PageKey::random(&SystemEntropy::open()).unwrap();
        let cursor = Cursor { bound: 9_000, next: 17 };
        let token = key.token(cursor, b"acme/alice");
        assert_eq!(key.cursor(&token, b"acme/alice"), Some(cursor));
        assert_eq!(key.cursor(&token, b"acme/bob"), None);
        assert_eq!(PageKey::random(&SystemEntropy::open()).unwrap().cursor(&token, b"acme/alice"), None);
        for at in 0..token.len() {
            let mut changed = token.clone().into_bytes();
            changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
            assert_eq!(key.cursor(std::str::from_utf8(&changed).unwrap(), b"acme/alice"), None, "character {at}");
        }
        assert_eq!(key.cursor("", b""), None);
    }
}
