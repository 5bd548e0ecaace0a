//! `privet policy recover`: on the log's own host, for when nobody is left who could approve a change.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use clap::Args;
use serde_json::json;

use super::super::{
    answer::{put, put_json},
    failure::{Exit, Failure},
    serve::{
        Machine,
        log::{self, Opened},
    },
    terminal::Terminal,
};
use crate::{
    config::Config,
    operations::{policies::recover::recover, start},
    policy::{REASON_BYTES_MAX, Sources, says_why},
};

/// Put a policy in force that nobody approved, on record; the server must be stopped
#[derive(Args)]
#[command(after_help = "\
For when nobody is left who could propose and approve. The log says that it was done.
  privet policy recover policies --config /etc/privet/privet.toml --reason \"both admins have left\"")]
pub struct Recover {
    /// Directory with model.conf, policy.csv, catalogue.toml and assertions.toml
    #[arg(value_name = "DIR")]
    dir: PathBuf,
    /// Why there is no other way
    #[arg(long, value_name = "TEXT")]
    reason: String,
    /// The server's configuration file
    #[arg(long, value_name = "FILE", default_value = "privet.toml")]
    config: PathBuf,
}

impl Recover {
    pub(super) async fn run(self, terminal: &Terminal) -> Result<Exit, Failure> {
        let version = put_in_force(&self.dir, &self.reason, &self.config).await.map_err(Failure::on_host)?;
        if terminal.json {
            put_json(&json!({ "version": version }))?;
        } else {
            put(format!("policy version {version} in force\n").as_bytes())?;
        }
        if terminal.details() {
            eprintln!("It is on record as recover-policy: nobody has approved it.");
        }
        Ok(Exit::Ok)
    }
}

async fn put_in_force(dir: &Path, reason: &str, config: &Path) -> Result<u64> {
    if !says_why(reason) {
        bail!("--reason: must be one line of 1 to {REASON_BYTES_MAX} bytes that says why");
    }
    let sources = Sources::read(dir).map_err(start::Error::Policy)?;
    let machine = Machine::this();
    let Opened { store, log, ending, .. } = log::open(&machine, &Config::load(config)?, false).await?;
    let recovered = recover(&log, &store, &*machine.entropy, &sources, reason).await;
    drop(log);
    tokio::task::spawn_blocking(move || ending.join()).await?;
    Ok(recovered?)
}
