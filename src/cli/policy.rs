//! `privet policy`: who may do what, looked at and changed.

use clap::Subcommand;

use super::{
    failure::{Exit, Failure},
    terminal::Terminal,
};

mod grants_for;
pub(super) mod lines;
mod who_can;

/// Look at who may do what
#[derive(Subcommand)]
pub enum Policy {
    WhoCan(who_can::WhoCan),
    GrantsFor(grants_for::GrantsFor),
}

impl Policy {
    /// Does it.
    pub async fn run(self, terminal: &Terminal) -> Result<Exit, Failure> {
        match self {
            Self::WhoCan(who_can) => who_can.run(terminal).await,
            Self::GrantsFor(grants_for) => grants_for.run(terminal).await,
        }
    }
}
