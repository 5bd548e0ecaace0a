//! The key that signs the log: the one in the store, or for a log that is yet to begin the one that `privet init` made.

use std::{path::Path, sync::Arc};

use super::start::{self, Error};
use crate::{
    audit::{Effects, Log, keys, note::SignerKey},
    id::Tenant,
    keyring::{log_key::LogKey, root::RootProvider},
    proto::stored::{self, LogChange, Operation},
    store::Store,
};

/// A log's newest key, opened.
#[derive(Debug)]
pub struct Signing {
    /// Its number, from 1.
    pub number: u32,
    /// What signs with it.
    pub signer: Arc<SignerKey>,
    record: stored::LogKey,
}

/// The newest key of the log in `store`. A log that has not begun takes the first one from its `file`.
///
/// # Errors
/// [`Error::WrappedLogKey`] if it can't be read or opened, [`Error::LogKey`] if it is not the key that its record names, or a
/// store that can't be read.
pub async fn newest(store: &dyn Store, root: &dyn RootProvider, origin: &str, file: &Path) -> Result<Signing, Error> {
    let stored = keys::all(store).await?;
    let number = u32::try_from(stored.len()).unwrap_or(u32::MAX).max(1);
    let record = match stored.into_iter().next_back() {
        Some(record) => record,
        None => LogKey::read(file)?.to_record(),
    };
    open(root, origin, number, record)
}

fn open(root: &dyn RootProvider, origin: &str, number: u32, record: stored::LogKey) -> Result<Signing, Error> {
    let seed = LogKey::from_record(number, &record).open(root)?;
    let signer = SignerKey::new(origin, &seed).map_err(|_| Error::LogKey)?;
    let verifier = signer.verifier().to_string();
    if !record.verifier_key.is_empty() && record.verifier_key != verifier {
        return Err(Error::LogKey);
    }
    Ok(Signing { number, signer: Arc::new(signer), record: stored::LogKey { verifier_key: verifier, ..record } })
}

/// Begins the log, if it has not begun: its first entry names its first key.
///
/// # Errors
/// The log can't be written.
pub async fn begin(log: &Log, key: &Signing) -> Result<(), Error> {
    if log.read_point().0 > 0 {
        return Ok(());
    }
    let verifier_key = key.record.verifier_key.clone();
    let entry = stored::Entry {
        effect: "log begun".to_owned(),
        log_change: Some(LogChange { verifier_key, ..Default::default() }),
        ..start::entry(Operation::RotateLogKey)
    };
    let effects = Effects { writes: vec![keys::effect(key.number, &key.record)], ..Effects::default() };
    start::commit(log, &Tenant::system(), entry, Default::default(), effects).await
}
