//! The module of a token's maker: loading it, finding a token, and what it means when something fails.

use std::{fs::Metadata, os::unix::fs::MetadataExt, path::Path};

use cryptoki::{
    context::{CInitializeArgs, CInitializeFlags, Pkcs11},
    error::{Error as TokenError, RvError},
    slot::Slot,
};

use super::Place;
use crate::keyring::root::Error;

/// Loads a module once a process: who may write it decides what this process does.
pub(super) fn load_module(path: &Path) -> Result<Pkcs11, Error> {
    let refused = |why: String| Error::Module { path: path.into(), why };
    // By its whole path: a bare name would be looked for in other places.
    let real = path.canonicalize().map_err(|error| refused(error.to_string()))?;
    let meta = real.metadata().map_err(|error| refused(error.to_string()))?;
    if !meta.is_file() {
        return Err(refused("it is no file".to_owned()));
    }
    let ours = |meta: &Metadata| [0, rustix::process::geteuid().as_raw()].contains(&meta.uid());
    if !ours(&meta) || meta.mode() & 0o022 != 0 {
        return Err(refused("others than root and this user may write it".to_owned()));
    }
    for dir in real.ancestors().skip(1) {
        let meta = dir.metadata().map_err(|error| refused(error.to_string()))?;
        // Where the sticky bit is set, nobody moves what is another's.
        if !ours(&meta) || meta.mode() & 0o022 != 0 && meta.mode() & 0o1000 == 0 {
            return Err(refused(format!("others than root and this user may replace what lies in {}", dir.display())));
        }
    }
    let module = Pkcs11::new(&real).map_err(|error| refused(said(&error)))?;
    match module.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK)) {
        Ok(()) | Err(TokenError::Pkcs11(RvError::CryptokiAlreadyInitialized, _)) => Ok(module),
        Err(error) => Err(refused(said(&error))),
    }
}

pub(super) fn find_token(module: &Pkcs11, place: &Place) -> Result<Slot, Error> {
    let refused = |why: String| Error::Token { token: place.token.clone(), why };
    let slots = module.get_slots_with_initialized_token().map_err(|error| refused(said(&error)))?;
    let mut labels = Vec::new();
    for slot in slots {
        let info = module.get_token_info(slot).map_err(|error| refused(said(&error)))?;
        labels.push((info.label().trim_end().to_owned(), slot));
    }
    let mut named = labels.iter().filter(|(label, _)| *label == place.token);
    match (named.next(), named.next()) {
        (Some((_, slot)), None) => Ok(*slot),
        (Some(_), Some(_)) => Err(refused("two tokens have this label".to_owned())),
        (None, _) => {
            let there: Vec<&str> = labels.iter().map(|(label, _)| label.as_str()).collect();
            Err(refused(format!("the module has no token of this label; it has: {}", there.join(", "))))
        }
    }
}

/// Whether a new session may do better.
pub(super) fn is_lost(error: &TokenError) -> bool {
    let lost = [
        RvError::SessionHandleInvalid,
        RvError::SessionClosed,
        RvError::UserNotLoggedIn,
        RvError::DeviceRemoved,
        RvError::TokenNotPresent,
        RvError::KeyHandleInvalid,
        RvError::ObjectHandleInvalid,
    ];
    matches!(error, TokenError::Pkcs11(value, _) if lost.contains(value))
}

pub(super) fn refuses_pin(error: &TokenError) -> bool {
    let refused =
        [RvError::PinIncorrect, RvError::PinInvalid, RvError::PinLenRange, RvError::PinExpired, RvError::PinLocked];
    matches!(error, TokenError::Pkcs11(value, _) if refused.contains(value))
}

/// What a failure means to an operator; else as the module says it.
pub(super) fn said(error: &TokenError) -> String {
    let known = [
        (RvError::PinIncorrect, PIN_REFUSED),
        (RvError::PinInvalid, PIN_REFUSED),
        (RvError::PinLenRange, PIN_REFUSED),
        (RvError::PinExpired, "its PIN has expired: set a new one with the token's own tool"),
        (RvError::PinLocked, PIN_LOCKED),
        (RvError::TokenNotPresent, "it is not there any more"),
        (RvError::DeviceRemoved, "it is not there any more"),
    ];
    let is = |one: RvError| matches!(error, TokenError::Pkcs11(value, _) if *value == one);
    known.iter().find(|(one, _)| is(*one)).map_or_else(|| error.to_string(), |(_, text)| (*text).to_owned())
}

pub(super) const PIN_REFUSED: &str = "the PIN is wrong; it is not given again, since a few wrong ones lock the token";
pub(super) const PIN_LOCKED: &str = "its PIN is locked: its security officer can set a new one";

#[cfg(test)]
mod tests {
    use cryptoki::context::Function;

    use super::*;

    #[test]
    fn an_operator_is_told_what_to_do_and_a_pin_that_was_refused_is_known_to_be() {
        let failed = |value| TokenError::Pkcs11(value, Function::Login);
        for value in [RvError::PinIncorrect, RvError::PinInvalid, RvError::PinLenRange] {
            assert_eq!(said(&failed(value)), PIN_REFUSED);
        }
        assert_eq!(said(&failed(RvError::PinLocked)), PIN_LOCKED);
        assert!(said(&failed(RvError::PinExpired)).contains("expired"));
        assert!(said(&failed(RvError::DeviceRemoved)).contains("not there any more"));
        for value in [RvError::PinIncorrect, RvError::PinLocked, RvError::PinExpired] {
            assert!(refuses_pin(&failed(value)) && !is_lost(&failed(value)));
        }
        for value in [RvError::SessionHandleInvalid, RvError::UserNotLoggedIn, RvError::KeyHandleInvalid] {
            assert!(is_lost(&failed(value)) && !refuses_pin(&failed(value)));
        }
        assert!(!is_lost(&failed(RvError::GeneralError)) && !refuses_pin(&TokenError::NotSupported));
    }
}
