//! The key that signs the log: the one in the store, or for a log that is yet to begin the one that `privet init` made.

use std::{path::Path, sync::Arc};

use super::start::{self, Error};
use crate::{
    audit::{Effects, Log, announcement::Announcement, keys, note::SignerKey},
    entropy::Entropy,
    id::Tenant,
    keyring::{
        log_key::{FIRST, LogKey},
        root::RootProvider,
    },
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
    /// The smallest size of a checkpoint that it signs.
    pub signs_from: u64,
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
    let signs_from = if number == FIRST { 0 } else { record.announced_at + 1 };
    Ok(Signing {
        signs_from,
        number,
        signer: Arc::new(signer),
        record: stored::LogKey { verifier_key: verifier, ..record },
    })
}

/// Hands the log over to a new key, on record: the entry names the new key, and the note that announces it is signed by both.
/// No checkpoint of the old key alone covers the entry.
///
/// # Errors
/// [`Error::Log`] if the log moved meanwhile or can't be written; a root that can't wrap the key, or no randomness for it.
pub async fn rotate(
    log: &Log,
    root: &dyn RootProvider,
    entropy: &dyn Entropy,
    old: &Signing,
) -> Result<Signing, Error> {
    let number = old.number.checked_add(1).ok_or(Error::LogKey)?;
    let index = log.read_point().0;
    let fresh = LogKey::create(root, entropy, number)?.to_record();
    let new = open(root, log.origin(), number, stored::LogKey { announced_at: index, ..fresh })?;
    let announcement = Announcement::sign(log.origin(), index, &old.signer, &new.signer);
    let announcement = announcement.map_err(|_| Error::LogKey)?;
    let record = stored::LogKey { announcement, ..new.record };
    let verifier_key = record.verifier_key.clone();
    let entry = stored::Entry {
        effect: format!("log key {number} signs from here on"),
        log_change: Some(LogChange { verifier_key, ..Default::default() }),
        ..start::entry(Operation::RotateLogKey)
    };
    let effects = Effects {
        writes: vec![keys::effect(number, &record)],
        log_key: Some((index, Arc::clone(&new.signer))),
        ..Effects::default()
    };
    start::commit(log, &Tenant::system(), entry, Default::default(), effects).await?;
    Ok(Signing { record, ..new })
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
    start::commit(log, &Tenant::system(), entry, Default::default(), effects).await?;
    Ok(())
}
