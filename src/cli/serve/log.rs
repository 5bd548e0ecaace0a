//! Opens what a deployment keeps: root, store and log, with the log's key, anchor, archive and index – and only if they fit
//! together.

use std::{path::Path, sync::Arc};

use anyhow::{Context, Result, bail};

use super::Machine;
use crate::{
    audit::{
        anchor::{self, Anchor},
        index::Index,
        log::{self, Ending, Log},
    },
    config::Config,
    keyring::root::RootProvider,
    operations::{self, log_key::Signing},
    store::{Store, sled::SledStore},
};

/// A log that is open, with what it stands on and what is beside it.
pub(in crate::cli) struct Opened {
    pub(in crate::cli) root: Arc<dyn RootProvider>,
    pub(in crate::cli) store: Arc<dyn Store>,
    pub(in crate::cli) log: Log,
    pub(in crate::cli) ending: Ending,
    pub(in crate::cli) index: Index,
    /// What signs the log.
    pub(in crate::cli) key: Signing,
}

/// Opens the store of a deployment and its log, and begins it if it has not begun. `new_anchor` takes an anchor that has seen nothing for
/// a log that there was before, on record.
pub(in crate::cli) async fn open(machine: &Machine, config: &Config, new_anchor: bool) -> Result<Opened> {
    if machine.clock.wall_secs() < CLOCK_SECS_MIN {
        bail!("the machine's clock is years behind: set it right, since what expires goes by it");
    }
    let root = crate::cli::root::open(config, machine)?;
    let store_dir = config.store.dir.clone();
    let origin = config.log.origin.clone();
    // An empty store may be a wiped one. Only what this start makes is known to have had no anchor; so the anchor is made first.
    let is_first = !SledStore::is_there(&store_dir)?;
    let anchor = match anchor::placed(config)? {
        Some(dir) => Some(open_anchor(dir, &origin, is_first || new_anchor)?),
        None => None,
    };
    let taken_new = new_anchor && !is_first && anchor.as_ref().is_some_and(|anchor| anchor.newest().is_none());
    let store = tokio::task::spawn_blocking(move || SledStore::open(&store_dir)).await??;
    let store: Arc<dyn Store> = Arc::new(store);
    let key = operations::log_key::newest(&*store, &*root, &origin, &config.log.key).await?;
    let options = log::Options {
        origin: origin.clone(),
        signer: key.signer.clone(),
        log_key: key.number,
        signs_from: key.signs_from,
        archive: Some(config.store.dir.join(ARCHIVE)),
        anchor,
        new_anchor,
    };
    let (log, ending) = Log::open(store.clone(), machine.clock.clone(), machine.entropy.clone(), options).await?;
    operations::log_key::begin(&log, &key).await?;
    // Before anything else: with this record the anchor begins.
    if taken_new {
        operations::start::new_anchor(&log).await?;
    }
    let index = operations::indexing::open(&config.store.dir.join(INDEX), &log).await.context("the log's index")?;
    Ok(Opened { root, store, log, ending, index, key })
}

fn open_anchor(dir: &Path, origin: &str, may_make: bool) -> Result<Anchor, anchor::Error> {
    match Anchor::open(dir, origin) {
        Err(anchor::Error::Absent { .. }) if may_make => Anchor::create(dir, origin),
        opened => opened,
    }
}

/// Where sealed segments lie, in the store's directory.
const ARCHIVE: &str = "archive";
/// Where the index lies, in the store's directory.
const INDEX: &str = "index";
/// 2026-01-01: no right clock shows less.
const CLOCK_SECS_MIN: u64 = 1_767_225_600;
