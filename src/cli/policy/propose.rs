//! `privet policy propose` and `rollback`: a change for another person to approve.

use std::path::PathBuf;

use clap::Args;

use super::{
    super::{
        answer::misfit,
        failure::{Exit, Failure},
        terminal::Terminal,
    },
    Acting, changes, directory,
    proposals::shown,
};
use crate::proto::v1::{GetPolicyRequest, PolicyChange, ProposeChangeRequest, policy_change::Change};

/// Propose a change; one that only narrows what is allowed takes effect at once
#[derive(Args)]
#[command(after_help = "\
A file of changes is a JSON array; each element is one of
  {\"add_grant\": {…}}  {\"replace_grant\": {…}}  {\"add_membership\": {…}}  {\"replace_membership\": {…}}
  {\"add_deny\": {…}}  {\"remove\": \"ID\"}  {\"catalogue\": \"TEXT\"}  {\"assertions\": \"TEXT\"}
with grants and memberships as `privet policy show --json` gives them.

Examples:
  privet policy propose --change more-support.json --reason \"support answers invoices\"
  privet policy propose --dir policies --reason \"a new billing role\"")]
pub struct Propose {
    /// Directory with the four files
    #[arg(long, value_name = "DIR", required_unless_present = "change", conflicts_with = "change")]
    dir: Option<PathBuf>,
    /// File of changes, or - for standard input
    #[arg(long, value_name = "FILE")]
    change: Option<PathBuf>,
    /// Made from this version [default: that of DIR, or with --change in force]
    #[arg(long, value_name = "N")]
    base: Option<u64>,
    /// Why
    #[arg(long, value_name = "TEXT")]
    reason: String,
    #[command(flatten)]
    acting: Acting,
}

/// Propose to go back to an earlier version
#[derive(Args)]
pub struct Rollback {
    /// The version to go back to
    version: u64,
    /// Why
    #[arg(long, value_name = "TEXT")]
    reason: String,
    #[command(flatten)]
    acting: Acting,
}

impl Propose {
    pub(super) async fn run(self, terminal: &Terminal) -> Result<Exit, Failure> {
        let (base, changes) = match (&self.dir, &self.change) {
            (Some(dir), _) => {
                let base = match self.base {
                    Some(base) => base,
                    None => directory::base_version(dir)?,
                };
                (base, vec![PolicyChange { change: Some(Change::Document(directory::read(dir)?)) }])
            }
            (None, Some(file)) => (self.base.unwrap_or_default(), changes::read(file)?),
            (None, None) => return Err(Failure::usage("--dir or --change is needed")),
        };
        propose(base, changes, self.reason, self.acting, terminal).await
    }
}

impl Rollback {
    pub(super) async fn run(self, terminal: &Terminal) -> Result<Exit, Failure> {
        let change = PolicyChange { change: Some(Change::Version(self.version)) };
        propose(0, vec![change], self.reason, self.acting, terminal).await
    }
}

/// Proposes, on the version in force if `base` is 0.
async fn propose(
    base: u64,
    changes: Vec<PolicyChange>,
    reason: String,
    acting: Acting,
    terminal: &Terminal,
) -> Result<Exit, Failure> {
    let (tenant, request_id) = (acting.tenant.to_string(), acting.request_id.to_string());
    let clients = acting.connection.open().await?;
    let base_version = match base {
        0 => {
            let request = GetPolicyRequest { tenant: tenant.clone(), page_size: 1, ..Default::default() };
            let answer = clients.policy().get_policy(request).await?.into_inner();
            answer.version.ok_or_else(misfit)?.version
        }
        base => base,
    };
    let request = ProposeChangeRequest { tenant, base_version, changes, reason, request_id };
    let answer = clients.policy().propose_change(request).await?.into_inner();
    shown(&answer.proposal.ok_or_else(misfit)?, answer.plan.as_ref(), terminal)
}
