//! `privet policy approve` and `reject`: the other person's part.

use clap::Args;

use super::{
    super::{
        answer::misfit,
        failure::{Exit, Failure},
        terminal::Terminal,
    },
    Acting,
    proposals::shown,
};
use crate::proto::v1::{ApproveProposalRequest, RejectProposalRequest};

/// Put another person's proposal in force
#[derive(Args)]
#[command(after_help = "Look at it first: privet policy proposals ID")]
pub struct Approve {
    /// The proposal
    id: u64,
    /// The document that you mean: policy_hash of `proposals ID --json`
    #[arg(long, value_name = "HASH", value_parser = hash, default_value = "", hide_default_value = true)]
    policy_hash: Hash,
    /// Why
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    reason: String,
    #[command(flatten)]
    acting: Acting,
}

/// End a proposal that nobody is to approve, or withdraw your own
#[derive(Args)]
pub struct Reject {
    /// The proposal
    id: u64,
    /// Why
    #[arg(long, value_name = "TEXT")]
    reason: String,
    #[command(flatten)]
    acting: Acting,
}

#[derive(Clone)]
struct Hash(Vec<u8>);

fn hash(text: &str) -> Result<Hash, &'static str> {
    match hex::decode(text) {
        Ok(bytes) if matches!(bytes.len(), 0 | 32) => Ok(Hash(bytes)),
        Ok(_) | Err(_) => Err("must be 64 hexadecimal digits"),
    }
}

impl Approve {
    pub(super) async fn run(self, terminal: &Terminal) -> Result<Exit, Failure> {
        let Acting { tenant, request_id, connection } = self.acting;
        let request = ApproveProposalRequest {
            tenant: tenant.to_string(),
            id: self.id,
            policy_hash: self.policy_hash.0.into(),
            reason: self.reason,
            request_id: request_id.to_string(),
        };
        let answer = connection.open().await?.policy().approve_proposal(request).await?.into_inner();
        shown(&answer.proposal.ok_or_else(misfit)?, None, terminal)
    }
}

impl Reject {
    pub(super) async fn run(self, terminal: &Terminal) -> Result<Exit, Failure> {
        let Acting { tenant, request_id, connection } = self.acting;
        let request = RejectProposalRequest {
            tenant: tenant.to_string(),
            id: self.id,
            reason: self.reason,
            request_id: request_id.to_string(),
        };
        let answer = connection.open().await?.policy().reject_proposal(request).await?.into_inner();
        shown(&answer.proposal.ok_or_else(misfit)?, None, terminal)
    }
}
