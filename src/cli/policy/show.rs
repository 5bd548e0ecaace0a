//! `privet policy show`: one version, on the terminal or as files.

use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use super::{
    super::{
        answer::{misfit, put, put_json},
        client::Clients,
        failure::{Exit, Failure},
        table::{self, plural, rfc3339},
        terminal::Terminal,
    },
    Acting, directory,
    lines::{self, Lines},
};
use crate::proto::v1::{GetPolicyRequest, GetPolicyResponse, GrantEffect, PolicyVersion};

/// Show a version of the policy, as far as you may read it
#[derive(Args)]
#[command(after_help = "\
Examples:
  privet policy show
  privet policy show --out policies     # its files, to change and give to `policy apply`")]
pub struct Show {
    /// Which version [default: the one in force]
    #[arg(long, value_name = "N", default_value_t = 0, hide_default_value = true)]
    version: u64,
    /// Write the four files and the version number there, over what is there
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    #[command(flatten)]
    acting: Acting,
}

impl Show {
    pub(super) async fn run(self, terminal: &Terminal) -> Result<Exit, Failure> {
        let Acting { tenant, request_id, connection } = self.acting;
        let request = GetPolicyRequest {
            tenant: tenant.to_string(),
            version: self.version,
            document: self.out.is_some(),
            request_id: request_id.to_string(),
            ..Default::default()
        };
        let clients = connection.open().await?;
        let Some(dir) = self.out else {
            let read = all(&clients, request).await?;
            if terminal.json {
                put_json(&machine(&read))?;
            } else {
                put(human(&read, terminal).as_bytes())?;
                told(&read, terminal);
            }
            return Ok(Exit::Ok);
        };
        let GetPolicyResponse { version, document, .. } = clients.policy().get_policy(request).await?.into_inner();
        let (Some(version), Some(document)) = (version, document) else { return Err(misfit()) };
        directory::write(&dir, &version, &document)?;
        if terminal.json {
            put_json(&json!({ "version": version.version, "dir": dir }))?;
        } else if terminal.details() {
            eprintln!("policy version {} written to {}", version.version, dir.display());
        }
        Ok(Exit::Ok)
    }
}

/// A version as it was read.
pub(in crate::cli) struct Read {
    pub(in crate::cli) version: PolicyVersion,
    pub(in crate::cli) lines: Lines,
    pub(in crate::cli) hidden: u32,
    /// Of the roles that its lines name, those that are taken by breaking the glass.
    pub(in crate::cli) emergency_roles: Vec<String>,
}

/// All pages of a version.
///
/// # Errors
/// [`Failure`] if the server has no answer, or one that would never end.
pub(in crate::cli) async fn all(clients: &Clients, mut request: GetPolicyRequest) -> Result<Read, Failure> {
    let mut lines = Lines::default();
    loop {
        let page = clients.policy().get_policy(request.clone()).await?.into_inner();
        lines.grants.extend(page.grants);
        lines.memberships.extend(page.memberships);
        if page.next_page_token.is_empty() {
            let version = page.version.ok_or_else(misfit)?;
            return Ok(Read { version, lines, hidden: page.hidden, emergency_roles: page.emergency_roles });
        }
        if page.next_page_token == request.page_token {
            return Err(misfit());
        }
        request.page_token = page.next_page_token;
    }
}

fn human(read: &Read, terminal: &Terminal) -> String {
    let headings = ["WHO", "TENANT", "WHAT", "ACTION", "PURPOSE", "", "UNTIL", "ID"];
    let mut grants = table::table(headings, terminal);
    for grant in &read.lines.grants {
        let allows = grant.effect() == GrantEffect::Allow;
        grants.add_row([
            table::cell(&grant.grantee),
            table::cell(&grant.tenant),
            table::cell(&grant.object),
            table::cell(&grant.action),
            table::cell(&grant.purpose),
            table::verdict(if allows { "allow" } else { "deny" }, allows),
            table::cell(&grant.expires.as_ref().map(rfc3339).unwrap_or_else(|| "–".into())),
            table::cell(&grant.id),
        ]);
    }
    let mut memberships = table::table(["WHO", "ROLE", "TENANT", "UNTIL", "ID"], terminal);
    for membership in &read.lines.memberships {
        memberships.add_row([
            table::cell(&membership.member),
            table::cell(&membership.role),
            table::cell(&membership.tenant),
            table::cell(&membership.expires.as_ref().map(rfc3339).unwrap_or_else(|| "–".into())),
            table::cell(&membership.id),
        ]);
    }
    format!("{}\n{}", table::text(&grants), table::text(&memberships))
}

fn told(read: &Read, terminal: &Terminal) {
    if terminal.details() {
        let now = if read.version.in_force { ", in force" } else { "" };
        let hidden = match read.hidden {
            0 => String::new(),
            hidden => format!("; {} of tenants that you may not read", plural(hidden.into(), "line")),
        };
        eprintln!("policy version {}{now}{hidden}", read.version.version);
    }
}

fn machine(read: &Read) -> serde_json::Value {
    json!({
        "version": super::history::version_json(&read.version),
        "grants": read.lines.grants.iter().map(lines::grant_json).collect::<Vec<_>>(),
        "memberships": read.lines.memberships.iter().map(lines::membership_json).collect::<Vec<_>>(),
        "hidden": read.hidden,
    })
}
