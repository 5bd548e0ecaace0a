//! `privet policy who-can`: lists whom the policy lets do something.

use clap::Args;
use serde_json::json;

use super::{
    super::{
        answer::{misfit, put, put_json},
        failure::{Exit, Failure},
        options::Connection,
        table::{self, plural},
        terminal::Terminal,
    },
    lines,
};
use crate::{
    id::{Action, Object, Purpose, Reference, Tenant},
    proto::v1::{Grantee, ReachingGrant, Verdict, WhoCanRequest},
};

/// List everybody who is granted something, by which grants, and whom a deny stops
#[derive(Args)]
#[command(after_help = "\
Examples:
  privet policy who-can decrypt pii/billing/tax_id
  privet policy who-can decrypt pii/billing/tax_id --purpose invoicing
  privet policy who-can approve policy")]
pub struct WhoCan {
    /// To do what
    #[arg(value_parser = Action::parse)]
    action: Action,
    /// A class, or policy, audit, keys, subjects, tenants
    #[arg(value_parser = Object::parse)]
    object: Object,
    /// What for [default: whichever]
    #[arg(long, value_parser = Purpose::parse)]
    purpose: Option<Purpose>,
    /// In which tenant
    #[arg(long, env = "PRIVET_TENANT", hide_env_values = true, value_parser = Tenant::parse_or_system)]
    tenant: Tenant,
    /// Your own id for this request
    #[arg(long, value_name = "ID", value_parser = Reference::parse, default_value = "", hide_default_value = true)]
    request_id: Reference,
    #[command(flatten)]
    connection: Connection,
}

impl WhoCan {
    pub(super) async fn run(self, terminal: &Terminal) -> Result<Exit, Failure> {
        let mut request = WhoCanRequest {
            tenant: self.tenant.to_string(),
            object: self.object.as_str().to_owned(),
            action: self.action.to_string(),
            purpose: self.purpose.map(|purpose| purpose.to_string()).unwrap_or_default(),
            page_size: PAGE,
            request_id: self.request_id.to_string(),
            ..Default::default()
        };
        let clients = self.connection.open().await?;
        let mut grantees = Vec::new();
        let version = loop {
            let page = clients.authorization().who_can(request.clone()).await?.into_inner();
            grantees.extend(page.grantees);
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
                "grantees": grantees.iter().map(machine).collect::<Vec<_>>(),
                "policy_version": version,
            }))?;
        } else {
            put(human(&grantees, terminal).as_bytes())?;
            if terminal.details() {
                let can = grantees.iter().filter(|one| can(one)).count();
                eprintln!("{} can, by policy version {version}", plural(can as u64, "principal"));
            }
        }
        Ok(Exit::Ok)
    }
}

fn can(grantee: &Grantee) -> bool {
    grantee.verdict() == Verdict::Allow
}

fn human(grantees: &[Grantee], terminal: &Terminal) -> String {
    let mut table = table::table(["WHO", "", "PURPOSES", "THROUGH", "GRANTS"], terminal);
    for grantee in grantees {
        let of = |lines: &[ReachingGrant], part: fn(&ReachingGrant) -> String| {
            let mut parts: Vec<String> = lines.iter().map(part).filter(|part| !part.is_empty()).collect();
            parts.sort();
            parts.dedup();
            table::cell(&if parts.is_empty() { "–".to_owned() } else { parts.join(" ") })
        };
        let lines = if can(grantee) { &grantee.allows } else { &grantee.denies };
        table.add_row([
            table::cell(&grantee.principal),
            table::verdict(if can(grantee) { "can" } else { "stopped" }, can(grantee)),
            of(&grantee.allows, |line| line.grant.as_ref().map(|grant| grant.purpose.clone()).unwrap_or_default()),
            of(lines, |line| line.memberships.first().map(|first| first.role.clone()).unwrap_or_default()),
            of(lines, |line| line.grant.as_ref().map(|grant| grant.id.clone()).unwrap_or_default()),
        ]);
    }
    table::text(&table)
}

fn machine(grantee: &Grantee) -> serde_json::Value {
    json!({
        "principal": grantee.principal,
        "verdict": if can(grantee) { "allow" } else { "deny" },
        "allows": grantee.allows.iter().map(lines::reaching_json).collect::<Vec<_>>(),
        "denies": grantee.denies.iter().map(lines::reaching_json).collect::<Vec<_>>(),
        "more_grants": grantee.more_grants,
    })
}

/// Principals on a page.
const PAGE: i32 = 1_000;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        cli::golden,
        proto::v1::{PolicyGrant, PolicyMembership},
    };

    #[test]
    fn who_can_and_who_is_stopped_reads_as_it_did() {
        let line = |id: &str, purpose: &str, role: &str| ReachingGrant {
            grant: Some(PolicyGrant { id: id.into(), purpose: purpose.into(), ..Default::default() }),
            memberships: vec![PolicyMembership { role: role.into(), ..Default::default() }],
        };
        let grantees = [
            Grantee {
                principal: "spiffe://acme.example/billing".into(),
                verdict: Verdict::Allow.into(),
                allows: vec![line("billing-decrypts", "invoicing", "role:billing")],
                ..Default::default()
            },
            Grantee {
                principal: "user:idp/anna".into(),
                verdict: Verdict::Deny.into(),
                allows: vec![ReachingGrant { memberships: Vec::new(), ..line("anna-once", "support-ticket", "") }],
                denies: vec![line("support-never", "*", "role:support")],
                ..Default::default()
            },
        ];
        let terminal = Terminal { json: false, quiet: false, stdout: false, stderr: false, colours: false };
        golden::check("policy/who-can.txt", &human(&grantees, &terminal));
        assert_eq!(machine(&grantees[1])["verdict"], "deny");
        let unclear = Grantee { verdict: Verdict::Partial.into(), ..Default::default() };
        assert!(!can(&unclear) && !can(&Grantee::default()));
    }
}
