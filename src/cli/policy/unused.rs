//! `privet policy unused`: the grants that nobody has needed, and the change that takes them away.

use std::path::PathBuf;

use clap::Args;
use serde_json::{Value, json};

use super::{
    super::{
        answer::{misfit, put, put_json},
        audit::when::When,
        failure::{Exit, Failure},
        table::{self, plural, rfc3339},
        terminal::Terminal,
    },
    Acting, lines,
    proposals::shown,
    show,
    usage::{Usage, grants_at},
};
use crate::{
    clock::{Clock, SystemClock},
    proto::v1::{
        GetPolicyRequest, GrantEffect, PolicyChange, PolicyGrant, ProposeChangeRequest, policy_change::Change,
    },
};

/// List allows that nobody has needed for a while, and propose to take them away
#[derive(Args)]
#[command(after_help = "\
It takes action read on audit and on policy, and propose on policy for --propose.

Examples:
  privet policy unused --since 90d
  privet policy unused --since 90d --propose \"nobody needed them for a quarter\"
  privet policy unused --since 90d --changes unused.json    # for somebody else to propose")]
pub struct Unused {
    /// Since when: allows that are younger are left out
    #[arg(long, value_name = "TIME", default_value = "90d")]
    since: When,
    /// Propose to take them away, and why
    #[arg(long, value_name = "REASON", conflicts_with = "changes")]
    propose: Option<String>,
    /// Write the change to a file, for `policy propose --change`
    #[arg(long, value_name = "FILE")]
    changes: Option<PathBuf>,
    #[command(flatten)]
    acting: Acting,
}

impl Unused {
    pub(super) async fn run(self, terminal: &Terminal) -> Result<Exit, Failure> {
        let Acting { tenant, request_id, connection } = self.acting;
        let since = self.since.at(SystemClock::start().wall_micros());
        let clients = connection.open().await?;
        let request = GetPolicyRequest { tenant: tenant.to_string(), ..Default::default() };
        let read = show::all(&clients, request).await?;
        let old = grants_at(&clients, &tenant, since).await?;
        let usage = Usage::read(&clients, &tenant, since, terminal).await?;
        let is_unused = |grant: &PolicyGrant| {
            grant.tenant == tenant.as_str()
                && grant.effect() == GrantEffect::Allow
                && grant.not_before.is_none_or(|from| from.seconds <= since.seconds)
                && old.contains(&grant.id)
                && usage.of(&grant.id).count == 0
        };
        let unused: Vec<PolicyGrant> = read.lines.grants.into_iter().filter(is_unused).collect();
        let changes = || unused.iter().map(|grant| json!({ "remove": grant.id })).collect::<Value>();
        if let Some(file) = &self.changes {
            let text = format!("{:#}\n", changes());
            std::fs::write(file, text).map_err(|e| Failure::usage(format!("{}: {e}", file.display())))?;
        }
        if let Some(reason) = self.propose.filter(|_| !unused.is_empty()) {
            let remove = |grant: &PolicyGrant| PolicyChange { change: Some(Change::Remove(grant.id.clone())) };
            let request = ProposeChangeRequest {
                tenant: tenant.to_string(),
                base_version: read.version.version,
                changes: unused.iter().map(remove).collect(),
                reason,
                request_id: request_id.to_string(),
            };
            let answer = clients.policy().propose_change(request).await?.into_inner();
            return shown(&answer.proposal.ok_or_else(misfit)?, answer.plan.as_ref(), terminal);
        }
        if terminal.json {
            unused.iter().try_for_each(|grant| put_json(&lines::grant_json(grant)))?;
        } else {
            put(human(&unused, terminal).as_bytes())?;
        }
        if terminal.details() {
            eprintln!("{} not used since {}", plural(unused.len() as u64, "allow"), rfc3339(&since));
        }
        Ok(Exit::Ok)
    }
}

fn human(unused: &[PolicyGrant], terminal: &Terminal) -> String {
    let mut table = table::table(["WHO", "ACTION", "WHAT", "PURPOSE", "ID"], terminal);
    for grant in unused {
        table.add_row(
            [&grant.grantee, &grant.action, &grant.object, &grant.purpose, &grant.id].map(|text| table::cell(text)),
        );
    }
    table::text(&table)
}
