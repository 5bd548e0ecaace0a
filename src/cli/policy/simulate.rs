//! `privet policy simulate`: what a directory would come to, if it were proposed.

use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use super::{
    super::{
        answer::{misfit, put, put_json},
        client::Clients,
        failure::{Exit, Failure},
        terminal::Terminal,
    },
    Acting, directory, plan,
};
use crate::proto::v1::{PolicyChange, PolicyPlan, SimulateRequest, SimulateResponse, policy_change::Change};

/// Say what a directory's policy would change, and which decisions would flip
#[derive(Args)]
pub struct Simulate {
    /// Directory with the four files
    dir: PathBuf,
    /// Version that it was made from [default: DIR/.base-version]
    #[arg(long, value_name = "N")]
    base: Option<u64>,
    #[command(flatten)]
    acting: Acting,
}

impl Simulate {
    pub(super) async fn run(self, terminal: &Terminal) -> Result<Exit, Failure> {
        let Acting { tenant, request_id, connection } = self.acting;
        let base_version = match self.base {
            Some(base) => base,
            None => directory::base_version(&self.dir)?,
        };
        let change = PolicyChange { change: Some(Change::Document(directory::read(&self.dir)?)) };
        let request = SimulateRequest {
            tenant: tenant.to_string(),
            base_version,
            changes: vec![change],
            request_id: request_id.to_string(),
        };
        match simulated(&connection.open().await?, request, terminal).await? {
            Some(plan) if terminal.json => put_json(&json!({ "plan": plan::machine(&plan) }))?,
            Some(plan) => put(plan::human(&plan, terminal).as_bytes())?,
            None => return Ok(Exit::Refused),
        }
        Ok(Exit::Ok)
    }
}

/// What a change would come to; `None` if it has problems, which are then shown.
///
/// # Errors
/// [`Failure`] if the server has no answer.
pub(super) async fn simulated(
    clients: &Clients,
    request: SimulateRequest,
    terminal: &Terminal,
) -> Result<Option<PolicyPlan>, Failure> {
    let SimulateResponse { problems, plan, .. } = clients.policy().simulate(request).await?.into_inner();
    if problems.is_empty() {
        return plan.map(Some).ok_or_else(misfit);
    }
    if terminal.json {
        put_json(&json!({ "problems": plan::problems_json(&problems) }))?;
    } else {
        put(plan::problems(&problems).as_bytes())?;
    }
    Ok(None)
}
