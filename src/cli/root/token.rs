//! Root keys in a token, where this program was built with them.

use std::sync::Arc;

use crate::{
    cli::serve::Machine,
    config::Root,
    keyring::root::{Error, RootProvider},
    secret::Passphrase,
};

/// Finds the root keys of a token.
///
/// # Errors
/// [`Error`].
#[cfg(feature = "pkcs11")]
pub(in crate::cli) fn open(root: &Root, pin: &Passphrase, machine: &Machine) -> Result<Arc<dyn RootProvider>, Error> {
    let Machine { clock, entropy } = machine;
    Ok(Arc::new(TokenRoot::open(place(root)?, pin, entropy.clone(), clock.clone())?))
}

/// Makes the first one.
///
/// # Errors
/// [`Error`].
#[cfg(feature = "pkcs11")]
pub(in crate::cli) fn create(root: &Root, pin: &Passphrase, machine: &Machine) -> Result<Arc<dyn RootProvider>, Error> {
    let Machine { clock, entropy } = machine;
    Ok(Arc::new(TokenRoot::create(place(root)?, pin, entropy.clone(), clock.clone())?))
}

#[cfg(feature = "pkcs11")]
use crate::{
    config::Keeper,
    keyring::root::{Place, TokenRoot},
};

#[cfg(feature = "pkcs11")]
fn place(root: &Root) -> Result<Place, Error> {
    match root.keeper() {
        Keeper::Token { module, token, key, .. } => {
            Ok(Place { module: module.into(), token: token.to_owned(), name: key.to_owned() })
        }
        Keeper::Files { .. } => Err(Error::NoTokens),
    }
}

/// Finds none.
///
/// # Errors
/// [`Error::NoTokens`].
#[cfg(not(feature = "pkcs11"))]
pub(in crate::cli) fn open(_: &Root, _: &Passphrase, _: &Machine) -> Result<Arc<dyn RootProvider>, Error> {
    Err(Error::NoTokens)
}

/// Makes none.
///
/// # Errors
/// [`Error::NoTokens`].
#[cfg(not(feature = "pkcs11"))]
pub(in crate::cli) fn create(_: &Root, _: &Passphrase, _: &Machine) -> Result<Arc<dyn RootProvider>, Error> {
    Err(Error::NoTokens)
}
