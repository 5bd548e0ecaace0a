//! `privet policy`: reads the policy, and changes it together with another person.

use clap::{Args, Subcommand};

use super::{
    failure::{Exit, Failure},
    options::Connection,
    terminal::Terminal,
};
use crate::id::{Reference, Tenant};

mod apply;
mod changes;
mod decide;
mod diff;
mod directory;
mod history;
mod lines;
mod plan;
mod proposals;
mod propose;
mod show;
mod simulate;

/// Read the policy, and change it together with another person
#[derive(Subcommand)]
pub enum Policy {
    Show(show::Show),
    History(history::History),
    Diff(diff::Diff),
    Simulate(simulate::Simulate),
    Propose(propose::Propose),
    Apply(apply::Apply),
    Proposals(proposals::Proposals),
    Approve(decide::Approve),
    Reject(decide::Reject),
    Rollback(propose::Rollback),
}

impl Policy {
    /// Does it.
    pub async fn run(self, terminal: &Terminal) -> Result<Exit, Failure> {
        match self {
            Self::Show(show) => show.run(terminal).await,
            Self::History(history) => history.run(terminal).await,
            Self::Diff(diff) => diff.run(terminal).await,
            Self::Simulate(simulate) => simulate.run(terminal).await,
            Self::Propose(propose) => propose.run(terminal).await,
            Self::Apply(apply) => apply.run(terminal).await,
            Self::Proposals(proposals) => proposals.run(terminal).await,
            Self::Approve(approve) => approve.run(terminal).await,
            Self::Reject(reject) => reject.run(terminal).await,
            Self::Rollback(rollback) => rollback.run(terminal).await,
        }
    }
}

/// For whom the caller acts, and on which server.
#[derive(Args)]
struct Acting {
    /// Tenant that you act for; _system for what spans tenants
    #[arg(long, env = "PRIVET_TENANT", hide_env_values = true, value_parser = Tenant::parse_or_system)]
    tenant: Tenant,
    /// Your own id for this request
    #[arg(long, value_name = "ID", value_parser = Reference::parse, default_value = "", hide_default_value = true)]
    request_id: Reference,
    #[command(flatten)]
    connection: Connection,
}
