//! `privet report access-review`: who can do what to which class, through which role, and when that was last needed.

use std::collections::BTreeMap;

use clap::Args;
use prost_types::Timestamp;
use serde_json::json;

use crate::{
    cli::{
        answer::{put, put_json},
        audit::when::When,
        failure::{Exit, Failure},
        options::Connection,
        policy::{show, usage::Usage},
        table::{self, number, plural, rfc3339},
        terminal::Terminal,
    },
    clock::{Clock, SystemClock},
    id::Tenant,
    proto::v1::{GetPolicyRequest, GrantEffect, PolicyGrant, PolicyMembership},
};

/// List role by role which classes its members reach, and when they last did
#[derive(Args)]
#[command(after_help = "\
It takes action read on audit and on policy.

Examples:
  privet report access-review
  privet report access-review --since 365d --csv > access-review.csv")]
pub struct AccessReview {
    /// In which tenant
    #[arg(long, env = "PRIVET_TENANT", hide_env_values = true, value_parser = Tenant::parse)]
    tenant: Tenant,
    /// Uses since when
    #[arg(long, value_name = "TIME", default_value = "90d")]
    since: When,
    /// Write CSV
    #[arg(long)]
    csv: bool,
    #[command(flatten)]
    connection: Connection,
}

/// One role, or principal, and one class or pattern.
#[derive(Debug, Default, PartialEq)]
struct Row {
    grantee: String,
    object: String,
    actions: Vec<String>,
    purposes: Vec<String>,
    members: Vec<String>,
    uses: u64,
    last: Option<Timestamp>,
}

impl AccessReview {
    pub(super) async fn run(self, terminal: &Terminal) -> Result<Exit, Failure> {
        let since = self.since.at(SystemClock::start().wall_micros());
        let clients = self.connection.open().await?;
        let request = GetPolicyRequest { tenant: self.tenant.to_string(), ..Default::default() };
        let read = show::all(&clients, request).await?;
        let usage = Usage::read(&clients, &self.tenant, &read, since, terminal).await?;
        let rows = rows(&self.tenant, &read.lines.grants, &read.lines.memberships, &usage);
        if terminal.json {
            rows.iter().try_for_each(|row| put_json(&machine(row)))?;
        } else if self.csv {
            put(&csv(&rows)?)?;
        } else {
            put(human(&rows, terminal).as_bytes())?;
        }
        if terminal.details() {
            let version = read.version.version;
            eprintln!(
                "{} of policy version {version}; uses since {}",
                plural(rows.len() as u64, "row"),
                rfc3339(&since)
            );
        }
        Ok(Exit::Ok)
    }
}

fn rows(tenant: &Tenant, grants: &[PolicyGrant], memberships: &[PolicyMembership], usage: &Usage) -> Vec<Row> {
    let mut rows: BTreeMap<(String, String), Row> = BTreeMap::new();
    let here = |line: &str| line == tenant.as_str() || line == "*";
    let allows = grants.iter().filter(|grant| grant.effect() == GrantEffect::Allow && here(&grant.tenant));
    for grant in allows {
        let row = rows.entry((grant.grantee.clone(), grant.object.clone())).or_insert_with(|| Row {
            grantee: grant.grantee.clone(),
            object: grant.object.clone(),
            members: members(tenant, &grant.grantee, memberships),
            ..Default::default()
        });
        for (list, text) in [(&mut row.actions, &grant.action), (&mut row.purposes, &grant.purpose)] {
            if !list.contains(text) {
                list.push(text.clone());
            }
        }
        let used = usage.of(&grant.id);
        row.uses += used.count;
        if used.last.is_some_and(|last| row.last.is_none_or(|known| known.seconds < last.seconds)) {
            row.last = used.last;
        }
    }
    rows.into_values().collect()
}

/// The principals that have a role, through others too; a principal is its own.
fn members(tenant: &Tenant, grantee: &str, memberships: &[PolicyMembership]) -> Vec<String> {
    let mut found = Vec::new();
    let (mut next, mut seen) = (vec![grantee.to_owned()], vec![grantee.to_owned()]);
    while let Some(name) = next.pop() {
        if !name.starts_with("role:") {
            found.push(name);
            continue;
        }
        for line in memberships.iter().filter(|line| line.role == name && line.tenant == tenant.as_str()) {
            if !seen.contains(&line.member) {
                seen.push(line.member.clone());
                next.push(line.member.clone());
            }
        }
    }
    found.sort();
    found
}

fn human(rows: &[Row], terminal: &Terminal) -> String {
    let mut table = table::table(["ROLE", "WHAT", "ACTIONS", "PURPOSES", "MEMBERS", "USES", "LAST USE"], terminal);
    for row in rows {
        let day = row.last.as_ref().map(rfc3339).and_then(|time| time.get(..10).map(str::to_owned));
        let grantee = row.grantee.strip_prefix("role:").unwrap_or(&row.grantee);
        table.add_row([
            table::cell(grantee),
            table::cell(&row.object),
            table::cell(&row.actions.join(" ")),
            table::cell(&row.purposes.join(" ")),
            table::cell(&row.members.len().to_string()),
            table::cell(&number(row.uses)),
            day.map_or_else(|| table::verdict("never", false), |day| table::cell(&day)),
        ]);
    }
    table::text(&table)
}

fn csv(rows: &[Row]) -> Result<Vec<u8>, Failure> {
    let mut writer = ::csv::Writer::from_writer(Vec::new());
    let failed = |e: ::csv::Error| Failure::output(e.into());
    writer.write_record(["role", "what", "actions", "purposes", "members", "uses", "last_use"]).map_err(failed)?;
    for row in rows {
        let last = row.last.as_ref().map(rfc3339).unwrap_or_default();
        let fields = [
            row.grantee.clone(),
            row.object.clone(),
            row.actions.join(" "),
            row.purposes.join(" "),
            row.members.join(" "),
            row.uses.to_string(),
            last,
        ];
        writer.write_record(fields.map(harmless)).map_err(failed)?;
    }
    writer.into_inner().map_err(|e| Failure::output(e.into_error()))
}

/// A field that a spreadsheet would take for a formula is made text.
fn harmless(field: String) -> String {
    if field.starts_with(['=', '+', '-', '@', '\t', '\r']) { format!("'{field}") } else { field }
}

fn machine(row: &Row) -> serde_json::Value {
    json!({
        "role": row.grantee,
        "what": row.object,
        "actions": row.actions,
        "purposes": row.purposes,
        "members": row.members,
        "uses": row.uses,
        "last_use": row.last.as_ref().map(rfc3339),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::golden;

    fn grant(id: &str, grantee: &str, action: &str, object: &str) -> PolicyGrant {
        PolicyGrant {
            id: id.into(),
            grantee: grantee.into(),
            tenant: "acme".into(),
            object: object.into(),
            action: action.into(),
            purpose: "support-ticket".into(),
            effect: GrantEffect::Allow.into(),
            ..Default::default()
        }
    }

    #[test]
    fn a_review_has_a_row_for_each_role_and_class_and_its_members_through_roles() {
        let tenant = Tenant::parse("acme").unwrap();
        let joins = |member: &str, role: &str, tenant: &str| PolicyMembership {
            member: member.into(),
            role: role.into(),
            tenant: tenant.into(),
            ..Default::default()
        };
        let grants = [
            grant("a", "role:support", "mask", "pii/account/*"),
            grant("b", "role:support", "decrypt", "pii/account/*"),
            grant("c", "user:idp/kim", "decrypt", "pii/billing/tax_id"),
            PolicyGrant { effect: GrantEffect::Deny.into(), ..grant("d", "role:support", "decrypt", "pii/billing/*") },
            PolicyGrant { tenant: "other".into(), ..grant("e", "role:support", "decrypt", "pii/usage/*") },
        ];
        let memberships = [
            joins("user:idp/lee", "role:desk", "acme"),
            joins("role:desk", "role:support", "acme"),
            joins("role:support", "role:desk", "acme"),
            joins("user:idp/ann", "role:support", "acme"),
            joins("user:idp/far", "role:support", "other"),
        ];
        let rows = rows(&tenant, &grants, &memberships, &Usage::default());
        assert_eq!(rows.len(), 2);
        assert_eq!(
            (rows[0].members.as_slice(), rows[0].actions.as_slice()),
            (
                ["user:idp/ann".to_owned(), "user:idp/lee".to_owned()].as_slice(),
                ["mask".to_owned(), "decrypt".to_owned()].as_slice()
            )
        );
        let terminal = Terminal { json: false, quiet: false, stdout: false, stderr: false, colours: false };
        let text = [human(&rows, &terminal).into_bytes(), csv(&rows).unwrap()].concat();
        golden::check("policy/access-review.txt", &String::from_utf8(text).unwrap());
        assert_eq!(harmless("=cmd()".into()), "'=cmd()");
    }
}
