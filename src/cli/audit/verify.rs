//! `privet audit verify`: proves a log to somebody who trusts nobody, from a file or from the server.
//!
//! Offline it needs an exported file and a verifier key that came another way, and nothing else: no server, no configuration.
//! What was verified is remembered, so that the next verification finds a log that was forked or cut since.

use std::path::PathBuf;

use clap::Args;

use super::super::{
    failure::{Exit, Failure},
    input::is_stdin,
    options::Connection,
    terminal::Terminal,
    verifier::KnownKeys,
};
use crate::{
    audit::{
        note::VerifierKey,
        verify::{Finding, Found, Trust, Verified},
    },
    id::Tenant,
};

mod memory;
mod offline;
mod online;
mod report;

pub(super) use report::bar_of_entries;

#[cfg(test)]
mod tests;

use memory::Memory;

/// Verify that nothing in the log was altered, removed, moved or withheld
#[derive(Args)]
// A file needs no connection, and so nobody to connect as.
#[command(mut_arg("identity", |identity| identity.required(false)))]
#[command(after_help = "\
Exit code 0: verified, 1: something was found, 2: asked wrongly, 3: unavailable

Examples:
  privet audit verify acme.privet --verifier-key @privet.vkeys
  privet audit verify --tenant acme --verifier-key @privet.vkeys --identity auditor")]
pub struct Verify {
    /// Exported file (-: standard input); without one the server is asked for what is new
    file: Option<PathBuf>,
    /// Log's key or @FILE (its first counts), not from the log's own server
    #[arg(long, value_name = "VKEY")]
    verifier_key: KnownKeys,
    /// Whose view [default: the file's]
    #[arg(long, env = "PRIVET_TENANT", hide_env_values = true, value_parser = Tenant::parse_or_system)]
    tenant: Option<Tenant>,
    /// Where to remember it [default: ~/.local/state/privet]
    #[arg(long, value_name = "DIR")]
    state: Option<PathBuf>,
    /// Begin anew, whatever was remembered
    #[arg(long)]
    fresh: bool,
    /// Least age of entries that may be deleted
    #[arg(long, value_name = "N", default_value_t = 400)]
    retention_days: u32,
    #[command(flatten)]
    connection: Option<Connection>,
}

/// What a verification goes by.
struct Ask {
    trust: Trust,
    /// The directory of what is remembered.
    dir: PathBuf,
    fresh: bool,
    /// After so many leaves progress is remembered.
    save_every: u64,
}

/// What came of a verification.
struct Outcome {
    /// The log, by the key's name.
    origin: String,
    tenant: Tenant,
    /// How many entries were verified before.
    remembered: u64,
    result: Result<Verified, Found>,
    /// The line that was read last, of a file.
    line: Option<u64>,
    /// Where it is remembered, if it is.
    saved: Option<PathBuf>,
}

impl Verify {
    /// Does it.
    pub(super) async fn run(self, terminal: &Terminal) -> Result<Exit, Failure> {
        let (file, connection) = (self.file.clone(), self.connection);
        let trust =
            Trust { key: verifier_key(&self.verifier_key)?, tenant: self.tenant, retention_days: self.retention_days };
        let dir = self.state.map_or_else(memory::default_dir, Ok)?;
        let ask = Ask { trust, dir, fresh: self.fresh, save_every: SAVE_EVERY };
        let outcome = match file {
            Some(file) => {
                let (ask, terminal) = (ask, *terminal);
                let work = move || offline::run(Some(&*file).filter(|file| !is_stdin(Some(file))), &ask, &terminal);
                tokio::task::spawn_blocking(work).await.map_err(|_| stopped())??
            }
            None => {
                let connection = connection.ok_or_else(nothing_to_verify)?;
                online::run(&connection.open().await?, &ask, terminal).await?
            }
        };
        report::tell(&outcome, terminal)
    }
}

impl Ask {
    /// What is remembered of a tenant's view of the log.
    fn memory(&self, tenant: &Tenant) -> Memory {
        Memory::of(&self.dir, self.trust.key.name(), tenant)
    }
}

/// The key that vouches for the others.
fn verifier_key(keys: &KnownKeys) -> Result<VerifierKey, Failure> {
    keys.oldest_of_one_log().cloned().map_err(|error| Failure::usage(format!("--verifier-key: {error}")))
}

/// What has to be set right before anything can be said about the log.
fn misasked(finding: &Finding) -> Option<Failure> {
    let hint = if let Finding::Disconnected { verified, .. } = finding {
        match verified {
            0 => "export from entry 0, or give the --state that knows what comes before",
            _ => "export from entry 0, or from where the last verification ended",
        }
    } else if let Finding::Remembered { .. } = finding {
        memory::DAMAGED_HINT
    } else {
        return None;
    };
    Some(Failure::usage(finding.to_string()).reason(finding.name()).hint(hint))
}

fn nothing_to_verify() -> Failure {
    Failure::usage("there is neither a file to verify nor an --identity to ask the server as")
}

fn stopped() -> Failure {
    Failure::unavailable("a part of this program stopped; nothing was verified")
}

/// Some seconds of work.
const SAVE_EVERY: u64 = 1 << 18;
