//! `privet policy grants-for`: lists what a principal has been granted.

use clap::Args;
use serde_json::json;

use super::{
    super::{
        answer::{misfit, put, put_json},
        failure::{Exit, Failure},
        options::Connection,
        table::{self, plural, rfc3339},
        terminal::Terminal,
    },
    lines,
};
use crate::{
    id::{Principal, Reference, Tenant},
    proto::v1::{GrantEffect, ListGrantsForRequest, ReachingGrant},
};

/// List what you, or somebody else, has been granted and denied, now or later
#[derive(Args)]
pub struct GrantsFor {
    /// Whose grants [default: your own]
    #[arg(value_parser = Principal::parse_external)]
    principal: Option<Principal>,
    /// In which tenant
    #[arg(long, env = "PRIVET_TENANT", hide_env_values = true, value_parser = Tenant::parse_or_system)]
    tenant: Tenant,
    /// Your own id for this request
    #[arg(long, value_name = "ID", value_parser = Reference::parse, default_value = "", hide_default_value = true)]
    request_id: Reference,
    #[command(flatten)]
    connection: Connection,
}

impl GrantsFor {
    pub(super) async fn run(self, terminal: &Terminal) -> Result<Exit, Failure> {
        let mut request = ListGrantsForRequest {
            tenant: self.tenant.to_string(),
            principal: self.principal.map(|principal| principal.to_string()).unwrap_or_default(),
            page_size: PAGE,
            request_id: self.request_id.to_string(),
            ..Default::default()
        };
        let clients = self.connection.open().await?;
        let mut grants = Vec::new();
        let version = loop {
            let page = clients.authorization().list_grants_for(request.clone()).await?.into_inner();
            grants.extend(page.grants);
            if page.next_page_token.is_empty() {
                break page.policy_version;
            }
            if page.next_page_token == request.page_token {
                return Err(misfit());
            }
            request.page_token = page.next_page_token;
        };
        if terminal.json {
            put_json(&json!({
                "grants": grants.iter().map(lines::reaching_json).collect::<Vec<_>>(),
                "policy_version": version,
            }))?;
        } else {
            put(human(&grants, terminal).as_bytes())?;
            if terminal.details() {
                eprintln!("{}, by policy version {version}", plural(grants.len() as u64, "grant"));
            }
        }
        Ok(Exit::Ok)
    }
}

fn human(grants: &[ReachingGrant], terminal: &Terminal) -> String {
    let mut table = table::table(["ACTION", "WHAT", "PURPOSE", "", "THROUGH", "FROM", "UNTIL", "ID"], terminal);
    for line in grants {
        let Some(grant) = &line.grant else { continue };
        let allows = grant.effect() == GrantEffect::Allow;
        let ends = line.memberships.iter().filter_map(|membership| membership.expires.as_ref());
        let end = ends.chain(&grant.expires).min_by_key(|time| time.seconds);
        let or_dash =
            |time: Option<&prost_types::Timestamp>| table::cell(&time.map_or_else(|| "–".to_owned(), rfc3339));
        table.add_row([
            table::cell(&grant.action),
            table::cell(&grant.object),
            table::cell(&grant.purpose),
            table::verdict(if allows { "allow" } else { "deny" }, allows),
            table::cell(line.memberships.first().map_or("–", |membership| &membership.role)),
            or_dash(grant.not_before.as_ref()),
            or_dash(end),
            table::cell(&grant.id),
        ]);
    }
    table::text(&table)
}

/// Grants on a page.
const PAGE: i32 = 1_000;

#[cfg(test)]
mod tests {
    use prost_types::Timestamp;

    use super::*;
    use crate::{
        cli::golden,
        proto::v1::{PolicyGrant, PolicyMembership},
    };

    #[test]
    fn grants_read_as_they_did_and_end_with_the_first_link_that_ends() {
        let at = |seconds| Some(Timestamp { seconds, nanos: 0 });
        let grant = |id: &str, effect: GrantEffect, expires| PolicyGrant {
            id: id.into(),
            action: "decrypt".into(),
            object: "pii/account/*".into(),
            purpose: if effect == GrantEffect::Deny { "*".into() } else { "support-ticket".into() },
            effect: effect.into(),
            expires,
            ..Default::default()
        };
        let membership = |expires| PolicyMembership { role: "role:support".into(), expires, ..Default::default() };
        let line = |grant, memberships| ReachingGrant { grant: Some(grant), memberships };
        let grants = [
            line(grant("for-ever", GrantEffect::Allow, None), vec![membership(None)]),
            line(grant("ends", GrantEffect::Allow, at(1_795_461_365)), vec![membership(at(1_795_461_300))]),
            line(grant("never", GrantEffect::Deny, None), Vec::new()),
        ];
        let terminal = Terminal { json: false, quiet: false, stdout: false, stderr: false, colours: false };
        golden::check("policy/grants-for.txt", &human(&grants, &terminal));
    }
}
