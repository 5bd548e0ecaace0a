//! `privet policy compare`: how two versions of the server differ.

use clap::Args;
use serde_json::json;

use super::{
    super::{
        answer::{put, put_json},
        client::{Clients, PERMISSION_DENIED},
        failure::{Exit, Failure},
        terminal::Terminal,
    },
    Acting,
    lines::differences,
    plan,
    show::{Read, all},
};
use crate::proto::v1::{GetPolicyRequest, PolicyDifference, PolicyDocument};

/// Show how two versions of the policy differ; exits 1 if they do
#[derive(Args)]
#[command(after_help = "\
Examples:
  privet policy compare 3 4
  privet policy compare 4        # from version 4 to the one in force")]
pub struct Compare {
    /// The older version
    from: u64,
    /// The newer version [default: the one in force]
    #[arg(default_value_t = 0, hide_default_value = true)]
    to: u64,
    #[command(flatten)]
    acting: Acting,
}

impl Compare {
    pub(super) async fn run(self, terminal: &Terminal) -> Result<Exit, Failure> {
        let Acting { tenant, request_id, connection } = self.acting;
        let request =
            GetPolicyRequest { tenant: tenant.to_string(), request_id: request_id.to_string(), ..Default::default() };
        let clients = connection.open().await?;
        let Between { from, to, differences } = between(&clients, request, self.from, self.to).await?;
        if terminal.json {
            let differences: Vec<_> = differences.iter().map(plan::difference_json).collect();
            put_json(&json!({ "from": from, "to": to, "differences": differences }))?;
        } else {
            put(plan::differences(&differences, terminal).as_bytes())?;
        }
        Ok(if differences.is_empty() { Exit::Ok } else { Exit::Refused })
    }
}

/// How two versions differ.
pub(super) struct Between {
    pub(super) from: u64,
    pub(super) to: u64,
    pub(super) differences: Vec<PolicyDifference>,
}

/// How two versions differ, as far as the caller may read them; 0 is the one in force.
///
/// # Errors
/// [`Failure`] if the server has no answer.
pub(super) async fn between(
    clients: &Clients,
    request: GetPolicyRequest,
    from: u64,
    to: u64,
) -> Result<Between, Failure> {
    let of = |version| GetPolicyRequest { version, ..request.clone() };
    let before = all(clients, of(from)).await?;
    let after = all(clients, of(to)).await?;
    let (from, to) = (before.version.version, after.version.version);
    let old = document(clients, of(from)).await?;
    let new = if old.is_some() { document(clients, of(to)).await? } else { None };
    let (Read { lines: before, .. }, Read { lines: after, .. }) = (before, after);
    Ok(Between { from, to, differences: differences((before, old.as_ref()), (after, new.as_ref())) })
}

/// A version's files, for those who may read all of it.
async fn document(clients: &Clients, request: GetPolicyRequest) -> Result<Option<PolicyDocument>, Failure> {
    match clients.policy().get_policy(GetPolicyRequest { document: true, ..request }).await {
        Ok(answer) => Ok(answer.into_inner().document),
        Err(status) if status.code() == PERMISSION_DENIED => Ok(None),
        Err(status) => Err(status.into()),
    }
}
