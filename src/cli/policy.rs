//! `privet policy`: who may do what, looked at and changed together with another person.
//!
//! What takes a directory runs without a server, so that a policy kept in git can be checked before anybody proposes it; only
//! `apply` proposes it.

use clap::{Args, Subcommand};

use super::{
    failure::{Exit, Failure},
    options::Connection,
    terminal::Terminal,
};
use crate::id::{Reference, Tenant};

mod apply;
mod changes;
mod compare;
mod decide;
mod diff;
mod directory;
#[cfg(test)]
mod golden;
mod grants_for;
mod history;
pub(super) mod lines;
mod lint;
mod plan;
pub(super) mod problems;
mod proposals;
mod propose;
mod recover;
pub(super) mod show;
mod simulate;
mod standing;
mod test;
mod unused;
pub(super) mod usage;
mod who_can;

/// Read the policy, and change it together with another person
#[derive(Subcommand)]
pub enum Policy {
    Show(show::Show),
    History(history::History),
    Compare(compare::Compare),
    Simulate(simulate::Simulate),
    Propose(propose::Propose),
    Apply(apply::Apply),
    Proposals(proposals::Proposals),
    Approve(decide::Approve),
    Reject(decide::Reject),
    Rollback(propose::Rollback),
    Recover(recover::Recover),
    Unused(unused::Unused),
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
            Self::Show(show) => show.run(terminal).await,
            Self::History(history) => history.run(terminal).await,
            Self::Compare(compare) => compare.run(terminal).await,
            Self::Simulate(simulate) => simulate.run(terminal).await,
            Self::Propose(propose) => propose.run(terminal).await,
            Self::Apply(apply) => apply.run(terminal).await,
            Self::Proposals(proposals) => proposals.run(terminal).await,
            Self::Approve(approve) => approve.run(terminal).await,
            Self::Reject(reject) => reject.run(terminal).await,
            Self::Rollback(rollback) => rollback.run(terminal).await,
            Self::Recover(recover) => recover.run(terminal).await,
            Self::Unused(unused) => unused.run(terminal).await,
            Self::WhoCan(who_can) => who_can.run(terminal).await,
            Self::GrantsFor(grants_for) => grants_for.run(terminal).await,
            Self::Lint(lint) => lint.run(terminal),
            Self::Test(test) => test.run(terminal),
            Self::Diff(diff) => diff.run(terminal),
        }
    }
}

/// For whom the caller acts, and on which server.
#[derive(Args)]
struct Acting {
    /// Tenant that you act for; _system for what spans all
    #[arg(long, env = "PRIVET_TENANT", hide_env_values = true, value_parser = Tenant::parse_or_system)]
    tenant: Tenant,
    /// Your own id for this request
    #[arg(long, value_name = "ID", value_parser = Reference::parse, default_value = "", hide_default_value = true)]
    request_id: Reference,
    #[command(flatten)]
    connection: Connection,
}
