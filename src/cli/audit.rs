//! `privet audit`: reads the access log, and proves it.

use clap::Subcommand;

use super::{
    failure::{Exit, Failure},
    terminal::Terminal,
};

mod bars;
mod cef;
mod checkpoint;
mod entry;
mod export;
mod filter;
mod host;
mod leaves;
mod list;
mod ocsf;
mod pages;
mod prove;
mod tail;
mod verify;
pub(super) mod when;

#[cfg(test)]
mod golden;

/// Read the access log, and prove it
#[derive(Subcommand)]
pub enum Audit {
    List(list::List),
    Tail(tail::Tail),
    Export(export::Export),
    Checkpoint(checkpoint::Checkpoint),
    Prove(prove::Prove),
    Verify(verify::Verify),
    Reindex(host::Reindex),
    RotateKey(host::RotateKey),
}

impl Audit {
    /// Does it.
    pub async fn run(self, terminal: &Terminal) -> Result<Exit, Failure> {
        match self {
            Self::List(list) => list.run(terminal).await,
            Self::Tail(tail) => tail.run(terminal).await,
            Self::Export(export) => export.run(terminal).await,
            Self::Checkpoint(checkpoint) => checkpoint.run(terminal).await,
            Self::Prove(prove) => prove.run(terminal).await,
            Self::Verify(verify) => verify.run(terminal).await,
            Self::Reindex(reindex) => reindex.run(terminal).await,
            Self::RotateKey(rotate) => rotate.run(terminal).await,
        }
    }
}
