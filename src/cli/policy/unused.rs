//! `privet policy unused`: the grants that nobody has needed, and the change that takes them away.

mod sorting;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

use clap::Args;
use prost_types::Timestamp;
use serde_json::{Value, json};

use super::{
    super::{
        answer::{misfit, put, put_json},
        audit::when::When,
        client::Clients,
        failure::{Exit, Failure},
        table::{self, plural, rfc3339},
        terminal::Terminal,
    },
    Acting, lines,
    proposals::shown,
    show,
    usage::Usage,
};
use crate::{
    clock::{Clock, SystemClock},
    id::{Reference, Tenant},
    proto::v1::{
        GetPolicyRequest, PolicyChange, PolicyGrant, ProposalState, ProposeChangeRequest, policy_change::Change,
    },
};
use sorting::{Kept, Sorted};

/// List allows that nobody has needed for a while, and propose to take them away
#[derive(Args)]
#[command(after_help = "\
With them go the memberships of roles that are left without a grant. Allows that an emergency role
has and those on the control plane (policy, audit, keys, subjects, tenants) are listed and stay.

A proposal takes 1,000 changes. Each further one is made on the version that the one before has put
in force; if one waits for an approval, the rest is not proposed. FILE is followed by FILE.2, ….

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
        let now = SystemClock::start().wall_micros();
        // A whole second, which is what is said.
        let since = Timestamp { nanos: 0, ..self.since.at(now) };
        if since.seconds >= When::SecsAgo(0).at(now).seconds {
            return Err(Failure::usage(format!("--since {}: must be in the past", rfc3339(&since))));
        }
        let clients = connection.open().await?;
        let request = GetPolicyRequest { tenant: tenant.to_string(), ..Default::default() };
        let read = show::all(&clients, request).await?;
        let usage = Usage::read(&clients, &tenant, &read, since, terminal).await?;
        let sorted = Sorted::of(&tenant, &read, &usage, since);
        let chunks = sorted.chunks();
        if let Some(reason) = self.propose.filter(|_| !chunks.is_empty()) {
            let proposing = Proposing { tenant, reason, request_id, base_version: read.version.version };
            proposing.all(&clients, chunks, terminal).await?;
            told(&sorted, since, &[], terminal);
            return Ok(Exit::Ok);
        }
        let files = match &self.changes {
            Some(file) => written(file, &chunks)?,
            None => Vec::new(),
        };
        if terminal.json {
            machine(&sorted).iter().try_for_each(put_json)?;
        } else {
            put(human(&sorted, since, terminal).as_bytes())?;
        }
        told(&sorted, since, &files, terminal);
        Ok(Exit::Ok)
    }
}

/// How all of it is proposed.
struct Proposing {
    tenant: Tenant,
    reason: String,
    request_id: Reference,
    base_version: u64,
}

impl Proposing {
    /// Proposes one after the other, each on the version that the one before has made; if one waits for an approval, the rest
    /// is not proposed.
    async fn all(mut self, clients: &Clients, chunks: Vec<Vec<String>>, terminal: &Terminal) -> Result<(), Failure> {
        let mut left: usize = chunks.iter().map(Vec::len).sum();
        for chunk in chunks {
            left -= chunk.len();
            let remove = |id: String| PolicyChange { change: Some(Change::Remove(id)) };
            let request = ProposeChangeRequest {
                tenant: self.tenant.to_string(),
                base_version: self.base_version,
                changes: chunk.into_iter().map(remove).collect(),
                reason: self.reason.clone(),
                request_id: self.request_id.to_string(),
            };
            let answer = clients.policy().propose_change(request).await?.into_inner();
            let proposal = answer.proposal.ok_or_else(misfit)?;
            shown(&proposal, answer.plan.as_ref(), terminal)?;
            if left == 0 {
                break;
            }
            if proposal.state() != ProposalState::Approved {
                let left = plural(left as u64, "more removal");
                let text = format!("{left} not proposed: run it again once proposal {} is in force", proposal.id);
                if terminal.json {
                    return put_json(&json!({ "stopped": text }));
                }
                return put(format!("{text}\n").as_bytes());
            }
            self.base_version = proposal.version;
        }
        Ok(())
    }
}

/// Writes the changes to the file, and what is more than one proposal takes to others beside it; gives their names.
fn written(file: &Path, chunks: &[Vec<String>]) -> Result<Vec<PathBuf>, Failure> {
    let files = (1..=chunks.len().max(1)).map(|nth| numbered(file, nth)).collect::<Vec<_>>();
    // None at all is an empty list: what an earlier run wrote must not stay.
    let contents = chunks.iter().map(Vec::as_slice).chain([&[][..]]);
    for (file, ids) in files.iter().zip(contents) {
        let changes: Value = ids.iter().map(|id| json!({ "remove": id })).collect();
        let failed = |e: std::io::Error| Failure::usage(format!("{}: {e}", file.display()));
        std::fs::write(file, format!("{changes:#}\n")).map_err(failed)?;
    }
    Ok(files)
}

/// `unused.json`, `unused.json.2`, …
fn numbered(file: &Path, nth: usize) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    if nth > 1 {
        name.push(format!(".{nth}"));
    }
    name.into()
}

fn human(sorted: &Sorted, since: Timestamp, terminal: &Terminal) -> String {
    let since = rfc3339(&since);
    let mut text = if sorted.grants.is_empty() {
        format!("nothing to remove: what is older than {since} was used since, or is kept\n")
    } else {
        format!("unused since {since}:\n{}", grants(sorted.grants.iter(), terminal))
    };
    if !sorted.memberships.is_empty() {
        let mut table = table::table(["WHO", "ROLE", "ID"], terminal);
        for line in &sorted.memberships {
            table.add_row([&line.member, &line.role, &line.id].map(|text| table::cell(text)));
        }
        text.push_str(&format!("\nleft without a grant, so their memberships go too:\n{}", table::text(&table)));
    }
    for kind in Kept::ALL {
        let mut of_kind = sorted.kept.iter().filter(|(kept, _)| *kept == kind).map(|(_, grant)| grant).peekable();
        if of_kind.peek().is_some() {
            text.push_str(&format!("\nkept: {} – {}\n{}", kind.name(), kind.why(), grants(of_kind, terminal)));
        }
    }
    text
}

fn grants<'g>(grants: impl Iterator<Item = &'g PolicyGrant>, terminal: &Terminal) -> String {
    let mut table = table::table(["WHO", "ACTION", "WHAT", "PURPOSE", "ID"], terminal);
    for PolicyGrant { grantee, action, object, purpose, id, .. } in grants {
        table.add_row([grantee, action, object, purpose, id].map(|text| table::cell(text)));
    }
    table::text(&table)
}

/// One object a line: what goes, and what is kept and why.
fn machine(sorted: &Sorted) -> Vec<Value> {
    let grants = sorted.grants.iter().map(|grant| json!({ "remove": { "grant": lines::grant_json(grant) } }));
    let memberships = sorted
        .memberships
        .iter()
        .map(|membership| json!({ "remove": { "membership": lines::membership_json(membership) } }));
    let kept = sorted
        .kept
        .iter()
        .map(|(kept, grant)| json!({ "keep": { "grant": lines::grant_json(grant), "because": kept.name() } }));
    grants.chain(memberships).chain(kept).collect()
}

fn told(sorted: &Sorted, since: Timestamp, files: &[PathBuf], terminal: &Terminal) {
    if !terminal.details() {
        return;
    }
    let count = |n: usize, one: &str| plural(n as u64, one);
    let goes = [count(sorted.grants.len(), "allow"), count(sorted.memberships.len(), "membership")].join(" and ");
    let rest = format!("{} kept, {} younger", sorted.kept.len(), sorted.younger);
    eprintln!("{goes} to remove, not used since {}; {rest}", rfc3339(&since));
    match files {
        [] => {}
        [file] => eprintln!("written to {}", file.display()),
        [first, ..] => eprintln!(
            "written to {} and {} beside it: propose them in order, each once the one before is in force",
            first.display(),
            count(files.len() - 1, "file")
        ),
    }
}
