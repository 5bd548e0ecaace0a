//! `privet policy proposals`: what waits for an approval, and what one of them comes to.

use clap::{Args, ValueEnum};
use serde_json::{Value, json};

use super::{
    super::{
        answer::{misfit, put, put_json},
        failure::{Exit, Failure},
        table::{self, rfc3339, short_time},
        terminal::{Terminal, printable},
    },
    Acting, plan,
};
use crate::proto::v1::{GetProposalRequest, ListProposalsRequest, PolicyPlan, Proposal, ProposalState};

/// List proposals, newest first, or show one of them
#[derive(Args)]
#[command(after_help = "\
Examples:
  privet policy proposals            # what waits for an approval
  privet policy proposals 7")]
pub struct Proposals {
    /// One of them
    #[arg(value_name = "ID")]
    id: Option<u64>,
    /// In which state: any, open, approved, rejected, superseded
    #[arg(long, value_enum, default_value_t = State::Open, conflicts_with = "id", hide_possible_values = true)]
    state: State,
    /// At most so many proposals (0: all)
    #[arg(long, value_name = "N", default_value_t = 50, conflicts_with = "id")]
    limit: usize,
    #[command(flatten)]
    acting: Acting,
}

#[derive(Clone, Copy, ValueEnum)]
enum State {
    Any,
    Open,
    Approved,
    Rejected,
    Superseded,
}

impl Proposals {
    pub(super) async fn run(self, terminal: &Terminal) -> Result<Exit, Failure> {
        let Acting { tenant, request_id, connection } = self.acting;
        let (tenant, request_id) = (tenant.to_string(), request_id.to_string());
        let clients = connection.open().await?;
        if let Some(id) = self.id {
            let request = GetProposalRequest { tenant, id, request_id };
            let answer = clients.policy().get_proposal(request).await?.into_inner();
            let (Some(proposal), Some(plan)) = (answer.proposal, answer.plan) else { return Err(misfit()) };
            return shown(&proposal, Some(&plan), terminal);
        }
        let limit = if self.limit == 0 { usize::MAX } else { self.limit };
        let mut request = ListProposalsRequest {
            tenant,
            request_id,
            page_size: i32::try_from(limit).unwrap_or(i32::MAX),
            state: match self.state {
                State::Any => ProposalState::Unspecified,
                State::Open => ProposalState::Open,
                State::Approved => ProposalState::Approved,
                State::Rejected => ProposalState::Rejected,
                State::Superseded => ProposalState::Superseded,
            }
            .into(),
            ..Default::default()
        };
        let mut proposals: Vec<Proposal> = Vec::new();
        while proposals.len() < limit {
            let page = clients.policy().list_proposals(request.clone()).await?.into_inner();
            proposals.extend(page.proposals);
            if page.next_page_token.is_empty() {
                break;
            }
            if page.next_page_token == request.page_token {
                return Err(misfit());
            }
            request.page_token = page.next_page_token;
        }
        proposals.truncate(limit);
        if terminal.json {
            proposals.iter().try_for_each(|proposal| put_json(&proposal_json(proposal)))?;
        } else {
            put(human(&proposals, terminal).as_bytes())?;
        }
        Ok(Exit::Ok)
    }
}

/// Shows a proposal, with what it comes to.
///
/// # Errors
/// [`Failure`] if standard output can't be written.
pub(super) fn shown(proposal: &Proposal, plan: Option<&PolicyPlan>, terminal: &Terminal) -> Result<Exit, Failure> {
    if terminal.json {
        put_json(&json!({ "proposal": proposal_json(proposal), "plan": plan.map(plan::machine) }))?;
        return Ok(Exit::Ok);
    }
    let mut text = String::new();
    if let Some(plan) = plan {
        text.push_str(&plan::human(plan, terminal));
        text.push('\n');
    }
    text.push_str(&summary(proposal));
    put(text.as_bytes())?;
    Ok(Exit::Ok)
}

/// A proposal in a few lines.
fn summary(proposal: &Proposal) -> String {
    let mut text = format!(
        "Proposal {} of {}, on version {}: {}\n",
        proposal.id,
        printable(&proposal.proposer),
        proposal.base_version,
        match proposal.state() {
            ProposalState::Open => "waits for approval".to_owned(),
            ProposalState::Approved => format!("policy version {} in force", proposal.version),
            ProposalState::Rejected => "rejected".to_owned(),
            ProposalState::Superseded => "superseded: the policy has moved on, propose it anew".to_owned(),
            ProposalState::Unspecified => "in no known state".to_owned(),
        }
    );
    text.push_str(&format!("  because {}\n", printable(&proposal.reason)));
    if !proposal.decider.is_empty() {
        let why = if proposal.decide_reason.is_empty() { "" } else { " because " };
        let (decider, reason) = (printable(&proposal.decider), printable(&proposal.decide_reason));
        text.push_str(&format!("  decided by {decider}{why}{reason}\n"));
    }
    text
}

fn human(proposals: &[Proposal], terminal: &Terminal) -> String {
    let mut table = table::table(["ID", "STATE", "BASE", "TIME", "BY", "TENANTS", "WHY"], terminal);
    for proposal in proposals {
        table.add_row([
            table::cell(&proposal.id.to_string()),
            table::cell(&state(proposal)),
            table::cell(&proposal.base_version.to_string()),
            table::cell(&proposal.propose_time.as_ref().map(short_time).unwrap_or_default()),
            table::cell(&proposal.proposer),
            table::cell(&proposal.tenants.join(" ")),
            table::cell(&proposal.reason),
        ]);
    }
    table::text(&table)
}

fn state(proposal: &Proposal) -> String {
    proposal.state().as_str_name().trim_start_matches("PROPOSAL_STATE_").to_ascii_lowercase()
}

/// A proposal for machines.
pub(super) fn proposal_json(proposal: &Proposal) -> Value {
    json!({
        "id": proposal.id,
        "state": state(proposal),
        "base_version": proposal.base_version,
        "proposer": proposal.proposer,
        "propose_time": proposal.propose_time.as_ref().map(rfc3339),
        "reason": proposal.reason,
        "policy_hash": hex::encode(&proposal.policy_hash),
        "widens": proposal.widens,
        "tenants": proposal.tenants,
        "decider": proposal.decider,
        "decide_time": proposal.decide_time.as_ref().map(rfc3339),
        "decide_reason": proposal.decide_reason,
        "version": proposal.version,
    })
}
