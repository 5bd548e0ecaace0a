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
    config::{Config, RootKind},
    keyring::root::{FileRoot, RootProvider},
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

/// Opens the store of a deployment and its log, and begins it if it has not begun. `new_anchor` takes an anchor that has seen nothing for a
/// log that has entries, on record.
pub(in crate::cli) async fn open(machine: &Machine, config: &Config, new_anchor: bool) -> Result<Opened> {
    if machine.clock.wall_secs() < CLOCK_SECS_MIN {
        bail!("the machine's clock is years behind: set it right, since what expires goes by it");
    }
    let root: Arc<dyn RootProvider> = match config.root.kind {
        RootKind::File => Arc::new(FileRoot::open(&config.root.dir, machine.entropy.clone())?),
    };
    let store_dir = config.store.dir.clone();
    let store = tokio::task::spawn_blocking(move || SledStore::open(&store_dir)).await??;
    let store: Arc<dyn Store> = Arc::new(store);
    let origin = config.log.origin.clone();
    let begun = store.head()?.entries > 0;
    let anchor = match anchor::placed(config)? {
        Some(dir) => Some(open_anchor(dir, &origin, !begun || new_anchor)?),
        None => None,
    };
    let taken_new = new_anchor && begun && anchor.as_ref().is_some_and(|anchor| anchor.newest().is_none());
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
    if taken_new {
        operations::start::new_anchor(&log).await?;
    }
    let index = open_index(&config.store.dir.join(INDEX), &origin, &log).await?;
    Ok(Opened { root, store, log, ending, index, key })
}

fn open_anchor(dir: &Path, origin: &str, may_make: bool) -> Result<Anchor, anchor::Error> {
    match Anchor::open(dir, origin) {
        Err(anchor::Error::Absent { .. }) if may_make => Anchor::create(dir, origin),
        opened => opened,
    }
}

/// The index, without what it has of another past of the log.
async fn open_index(dir: &Path, origin: &str, log: &Log) -> Result<Index> {
    let indexes = log.history().bounds().retained_from()..log.read_point().0;
    let index = Index::open(dir, origin, indexes.clone()).context("the log's index")?;
    for (last, leaf_hash) in index.ends() {
        let leaf = if indexes.contains(&last) { log.history().leaf(last).await? } else { None };
        if leaf.is_none_or(|leaf| leaf.hash != leaf_hash) {
            index.forget_from(last).context("the log's index")?;
            break;
        }
    }
    Ok(index)
}

/// Where sealed segments lie, in the store's directory.
const ARCHIVE: &str = "archive";
/// Where the index lies, in the store's directory.
const INDEX: &str = "index";
/// 2026-01-01: no right clock shows less.
const CLOCK_SECS_MIN: u64 = 1_767_225_600;
