//! `privet policy history`: which versions there were, and whose they are.

use clap::Args;
use serde_json::{Value, json};

use super::{
    super::{
        answer::{misfit, put, put_json},
        failure::{Exit, Failure},
        table::{self, rfc3339, short_time},
        terminal::Terminal,
    },
    Acting,
};
use crate::proto::v1::{ListPolicyVersionsRequest, PolicyVersion};

/// List the policy's versions, newest first
#[derive(Args)]
pub struct History {
    /// At most so many versions (0: all)
    #[arg(long, value_name = "N", default_value_t = 50)]
    limit: usize,
    #[command(flatten)]
    acting: Acting,
}

impl History {
    pub(super) async fn run(self, terminal: &Terminal) -> Result<Exit, Failure> {
        let Acting { tenant, request_id, connection } = self.acting;
        let limit = if self.limit == 0 { usize::MAX } else { self.limit };
        let mut request = ListPolicyVersionsRequest {
            tenant: tenant.to_string(),
            page_size: i32::try_from(limit).unwrap_or(i32::MAX),
            request_id: request_id.to_string(),
            ..Default::default()
        };
        let clients = connection.open().await?;
        let mut versions: Vec<PolicyVersion> = Vec::new();
        while versions.len() < limit {
            let page = clients.policy().list_policy_versions(request.clone()).await?.into_inner();
            versions.extend(page.versions);
            if page.next_page_token.is_empty() {
                break;
            }
            if page.next_page_token == request.page_token {
                return Err(misfit());
            }
            request.page_token = page.next_page_token;
        }
        versions.truncate(limit);
        if terminal.json {
            versions.iter().try_for_each(|version| put_json(&version_json(version)))?;
        } else {
            put(human(&versions, terminal).as_bytes())?;
        }
        Ok(Exit::Ok)
    }
}

fn human(versions: &[PolicyVersion], terminal: &Terminal) -> String {
    let mut table = table::table(["VERSION", "TIME", "BY", "APPROVED BY", "PROPOSAL", "WHY"], terminal);
    let or_dash = |text: &str| table::cell(if text.is_empty() { "–" } else { text });
    for version in versions {
        let mark = if version.in_force { "*" } else { "" };
        let proposal = if version.proposal == 0 { String::new() } else { version.proposal.to_string() };
        table.add_row([
            table::cell(&format!("{}{mark}", version.version)),
            table::cell(&version.time.as_ref().map(short_time).unwrap_or_default()),
            or_dash(&version.proposer),
            or_dash(&version.approver),
            or_dash(&proposal),
            or_dash(&version.reason),
        ]);
    }
    table::text(&table)
}

/// A version for machines.
pub(super) fn version_json(version: &PolicyVersion) -> Value {
    json!({
        "version": version.version,
        "policy_hash": hex::encode(&version.policy_hash),
        "time": version.time.as_ref().map(rfc3339),
        "proposer": version.proposer,
        "approver": version.approver,
        "reason": version.reason,
        "proposal": version.proposal,
        "in_force": version.in_force,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_in_force_is_marked_and_a_line_has_at_most_100_columns() {
        let plain = Terminal { json: false, quiet: false, stdout: false, stderr: false, colours: false };
        let version = |version, in_force| PolicyVersion {
            version,
            in_force,
            time: Some(prost_types::Timestamp { seconds: 1_795_461_365, nanos: 0 }),
            proposer: "spiffe://acme.example/policy-admin".into(),
            approver: "spiffe://acme.example/policy-approver".into(),
            reason: "support answers tickets about invoices, too, since the billing desk was closed".into(),
            proposal: version,
            ..Default::default()
        };
        let text = human(&[version(2, true), version(1, false)], &plain);
        assert!(text.lines().all(|line| line.chars().count() <= 100), "{text}");
        assert!(text.lines().nth(1).unwrap().starts_with("2*"), "{text}");
        assert!(!text.contains("1*"), "{text}");
    }
}
