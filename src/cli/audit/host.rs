//! Commands on the log's own host: they take the store, so no server may be using it.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::Result;
use clap::Args;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::super::{
    answer::{put, put_json},
    failure::{Exit, Failure},
    serve::{
        Machine,
        log::{self, Opened},
    },
    table::number,
    terminal::Terminal,
};
use crate::{
    config::Config,
    operations::{indexing, log_key},
};

/// Hand the log over to a new key, on record; the server must be stopped
#[derive(Args)]
pub struct RotateKey {
    #[command(flatten)]
    host: Host,
}

/// Build the log's index anew; the server must be stopped
#[derive(Args)]
pub struct Reindex {
    #[command(flatten)]
    host: Host,
}

#[derive(Args)]
struct Host {
    /// The server's configuration file
    #[arg(long, value_name = "FILE", default_value = "privet.toml")]
    config: PathBuf,
}

impl RotateKey {
    pub(super) async fn run(self, terminal: &Terminal) -> Result<Exit, Failure> {
        let old_and_new = rotate(&self.host.config).await.map_err(Failure::on_host)?;
        let [old, new] = &old_and_new;
        if terminal.json {
            put_json(&serde_json::json!({ "old_verifier_key": old, "verifier_key": new }))?;
        } else {
            put(format!("{new}\n").as_bytes())?;
        }
        if terminal.details() {
            eprintln!("The log is signed with this key from now on. Who verifies it needs no more than the old one:");
            eprintln!("{old}");
        }
        Ok(Exit::Ok)
    }
}

async fn rotate(config: &Path) -> Result<[String; 2]> {
    let machine = Machine::this();
    let Opened { root, log, ending, key, .. } = log::open(&machine, &Config::load(config)?, false).await?;
    let new = log_key::rotate(&log, &*root, &*machine.entropy, &key).await?;
    let keys = [key.signer.verifier().to_string(), new.signer.verifier().to_string()];
    drop(log);
    tokio::task::spawn_blocking(move || ending.join()).await?;
    Ok(keys)
}

impl Reindex {
    pub(super) async fn run(self, terminal: &Terminal) -> Result<Exit, Failure> {
        let entries = reindex(&self.host.config, terminal).await.map_err(Failure::on_host)?;
        if terminal.json {
            put_json(&serde_json::json!({ "entries": entries }))?;
        } else if terminal.details() {
            eprintln!("{} entries indexed", number(entries));
        }
        Ok(Exit::Ok)
    }
}

async fn reindex(config: &Path, terminal: &Terminal) -> Result<u64> {
    let Opened { log, ending, index, .. } = log::open(&Machine::this(), &Config::load(config)?, false).await?;
    index.clear()?;
    let (from, end) = (index.watermark(), log.read_point().0);
    let target = if terminal.details() { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
    let bar = ProgressBar::with_draw_target(Some(end.saturating_sub(from)), target);
    bar.set_style(ProgressStyle::with_template(BAR)?.progress_chars("█▉▊▋▌▍▎▏ "));
    let index = Arc::new(index);
    while index.watermark() < end {
        let advanced = indexing::advance(&log, &index, index.watermark(), end).await;
        advanced.map_err(|error| anyhow::anyhow!(error))?;
        bar.set_position(index.watermark().saturating_sub(from));
    }
    bar.finish_and_clear();
    drop((log, index));
    tokio::task::spawn_blocking(move || ending.join()).await?;
    Ok(end.saturating_sub(from))
}

const BAR: &str = "indexing  {bar:30} {human_pos} of {human_len} entries  {elapsed}, {eta} to go";
