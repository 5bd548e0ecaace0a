//! `privet policy`: who may do what, looked at and changed.
//!
//! What takes a directory runs without a server, so that a policy kept in git can be checked before anybody proposes it.

use clap::Subcommand;

use super::{
    failure::{Exit, Failure},
    terminal::Terminal,
};

mod diff;
#[cfg(test)]
mod golden;
mod grants_for;
pub(super) mod lines;
mod lint;
pub(super) mod problems;
mod test;
mod who_can;

/// Look at who may do what
#[derive(Subcommand)]
pub enum Policy {
    WhoCan(who_can::WhoCan),
    GrantsFor(grants_for::GrantsFor),
    Lint(lint::Lint),
    Test(test::Test),
    Diff(diff::Diff),
}

impl Policy {
    /// Does it.
    pub async fn run(self, terminal: &Terminal) -> Result<Exit, Failure> {
        match self {
            Self::WhoCan(who_can) => who_can.run(terminal).await,
            Self::GrantsFor(grants_for) => grants_for.run(terminal).await,
            Self::Lint(lint) => lint.run(terminal),
            Self::Test(test) => test.run(terminal),
            Self::Diff(diff) => diff.run(terminal),
        }
    }
}
