//! `privet policy apply`: makes the server's policy what a directory says, for those who keep policies under version control.
//!
//! The directory says which version it was made from. If another is in force, the server has what the directory does not know
//! of: it is listed, and nothing is proposed.

use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use super::{
    super::{
        answer::{misfit, put, put_json},
        client::Clients,
        failure::{Exit, Failure},
        table::plural,
        terminal::Terminal,
    },
    Acting,
    compare::between,
    directory, plan,
    proposals::shown,
    simulate::simulated,
};
use crate::proto::v1::{
    GetPolicyRequest, PolicyChange, ProposalState, ProposeChangeRequest, SimulateRequest, policy_change::Change,
};

/// Propose what a directory says, after showing what that changes
#[derive(Args)]
#[command(after_help = "\
The directory must say which version it was made from: `privet policy show --out DIR` notes it in
DIR/.base-version. If another version is in force, what it has and DIR does not know is listed, and
nothing is proposed.")]
pub struct Apply {
    /// Directory with the four files
    dir: PathBuf,
    /// Version that it was made from [default: DIR/.base-version]
    #[arg(long, value_name = "N")]
    base: Option<u64>,
    /// Only show what would change
    #[arg(long)]
    dry_run: bool,
    /// Why; needed unless --dry-run
    #[arg(long, value_name = "TEXT", required_unless_present = "dry_run")]
    reason: Option<String>,
    #[command(flatten)]
    acting: Acting,
}

impl Apply {
    pub(super) async fn run(self, terminal: &Terminal) -> Result<Exit, Failure> {
        let base_version = match self.base {
            Some(base) => base,
            None => directory::base_version(&self.dir)?,
        };
        let changes = vec![PolicyChange { change: Some(Change::Document(directory::read(&self.dir)?)) }];
        let Acting { tenant, request_id, connection } = self.acting;
        let (tenant, request_id) = (tenant.to_string(), request_id.to_string());
        let clients = connection.open().await?;
        if let Some(exit) = moved_on(&clients, &tenant, base_version, terminal).await? {
            return Ok(exit);
        }

        // Shown before anything is proposed, and once more as it was proposed.
        let request = SimulateRequest {
            tenant: tenant.clone(),
            base_version,
            changes: changes.clone(),
            request_id: request_id.clone(),
        };
        let Some(plan) = simulated(&clients, request, terminal).await? else { return Ok(Exit::Refused) };
        let Some(reason) = self.reason.filter(|_| !self.dry_run) else {
            if terminal.json {
                put_json(&json!({ "plan": plan::machine(&plan) }))?;
            } else {
                put(plan::human(&plan, terminal).as_bytes())?;
            }
            return Ok(Exit::Ok);
        };
        let request = ProposeChangeRequest { tenant, base_version, changes, reason, request_id };
        let answer = clients.policy().propose_change(request).await?.into_inner();
        let proposal = answer.proposal.ok_or_else(misfit)?;
        shown(&proposal, answer.plan.as_ref(), terminal)?;
        if proposal.state() == ProposalState::Approved {
            directory::note_base(&self.dir, proposal.version, &proposal.policy_hash).map_err(Failure::on_host)?;
        } else if terminal.details() {
            let dir = self.dir.display();
            eprintln!("once it is approved: privet policy show --out {dir}");
        }
        Ok(Exit::Ok)
    }
}

/// Lists what the server has and the directory does not know of, if another version is in force.
async fn moved_on(
    clients: &Clients,
    tenant: &str,
    base_version: u64,
    terminal: &Terminal,
) -> Result<Option<Exit>, Failure> {
    let request = GetPolicyRequest { tenant: tenant.to_owned(), page_size: 1, ..Default::default() };
    let answer = clients.policy().get_policy(request).await?.into_inner();
    let in_force = answer.version.ok_or_else(misfit)?.version;
    if in_force == base_version {
        return Ok(None);
    }
    let request = GetPolicyRequest { tenant: tenant.to_owned(), ..Default::default() };
    let changed = between(clients, request, base_version, in_force).await?.differences;
    if terminal.json {
        let differences: Vec<_> = changed.iter().map(plan::difference_json).collect();
        put_json(&json!({ "base_version": base_version, "in_force": in_force, "unknown_to_dir": differences }))?;
    } else {
        put(plan::differences(&changed, terminal).as_bytes())?;
    }
    let changes = plural(u64::try_from(changed.len()).unwrap_or(u64::MAX), "change");
    let message = format!(
        "policy version {in_force} is in force, and the directory was made from version {base_version}: it does not know of {changes} above"
    );
    let hint = "take them over with `privet policy show --out` into another directory, and apply that";
    Err(Failure::refused(message).reason("STALE_BASE").hint(hint))
}
