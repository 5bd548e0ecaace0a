//! `privet audit`: reads the access log.

use clap::{Args, Subcommand};

use super::{
    answer::{put, put_json},
    failure::{Exit, Failure},
    options::Connection,
    table::number,
    terminal::Terminal,
};
use crate::{
    clock::{Clock, SystemClock},
    id::{Object, Principal, Reference, Tenant},
    proto::v1::{self, ListEntriesRequest, Order},
};

mod entry;
mod verify;
mod when;

use when::When;

/// Read the access log
#[derive(Subcommand)]
pub enum Audit {
    List(List),
    Verify(verify::Verify),
}

/// List entries, newest first; reading is itself recorded
#[derive(Args)]
#[command(after_help = "\
Examples:
  privet audit list --since 15m --verdict deny
  privet audit list --class pii/billing/tax_id --oldest-first --limit 0 --json > entries.jsonl")]
pub struct List {
    /// Whose log (_system: the deployment's own)
    #[arg(long, env = "PRIVET_TENANT", hide_env_values = true, value_parser = Tenant::parse_or_system)]
    tenant: Tenant,
    /// Only what this principal did
    #[arg(long, value_parser = Principal::parse)]
    principal: Option<Principal>,
    /// Only this operation, e.g. encrypt, decrypt, check
    #[arg(long, value_parser = entry::operation_named)]
    operation: Option<v1::Operation>,
    /// Only with this verdict: allow, deny or partial
    #[arg(long, value_parser = entry::verdict_named)]
    verdict: Option<v1::Verdict>,
    /// Only what touched this class, or object, e.g. policy or audit
    #[arg(long, value_parser = Object::parse)]
    class: Option<Object>,
    /// Only with this ticket or order
    #[arg(long, value_parser = Reference::parse)]
    reference: Option<Reference>,
    /// Only since 2026-11-23T19:00:00Z, 2026-11-23 (UTC), or 15m, 2h, 7d ago
    #[arg(long, value_name = "TIME")]
    since: Option<When>,
    /// Only before that
    #[arg(long, value_name = "TIME")]
    until: Option<When>,
    /// Oldest entries first
    #[arg(long)]
    oldest_first: bool,
    /// At most so many entries (0: all)
    #[arg(long, value_name = "N", default_value_t = 50)]
    limit: u64,
    /// Entries asked for at once
    #[arg(long, value_name = "N", default_value_t = 200, value_parser = clap::value_parser!(u16).range(1..=1_000))]
    page_size: u16,
    /// Your own id for this request
    #[arg(long, value_name = "ID", value_parser = Reference::parse, default_value = "", hide_default_value = true)]
    request_id: Reference,
    #[command(flatten)]
    connection: Connection,
}

impl Audit {
    /// Does it.
    pub async fn run(self, terminal: &Terminal) -> Result<Exit, Failure> {
        match self {
            Self::List(list) => list.run(terminal).await,
            Self::Verify(verify) => verify.run(terminal).await,
        }
    }
}

impl List {
    async fn run(self, terminal: &Terminal) -> Result<Exit, Failure> {
        let mut left = if self.limit == 0 { u64::MAX } else { self.limit };
        let mut request = self.request(SystemClock::start().wall_micros());
        let mut client = self.connection.open().await?.audit();
        let mut names = entry::Names::default();
        let mut listed = 0_u64;
        while left > 0 {
            request.page_size = i32::try_from(left.min(self.page_size.into())).unwrap_or(i32::MAX);
            let page = client.list_entries(request.clone()).await?.into_inner();
            let entries = page.entries.get(..usize::try_from(left).unwrap_or(usize::MAX)).unwrap_or(&page.entries);
            if terminal.json {
                entries.iter().try_for_each(|entry| put_json(&entry::machine(entry)))?;
            } else if !entries.is_empty() {
                put(entry::human(entries, &mut names, listed == 0, terminal).as_bytes())?;
            }
            let count = u64::try_from(entries.len()).unwrap_or(u64::MAX);
            (left, listed) = (left.saturating_sub(count), listed.saturating_add(count));
            if page.next_page_token.is_empty() {
                return Ok(ended(listed, false, &names, terminal));
            }
            if page.next_page_token == request.page_token {
                return Err(super::answer::misfit());
            }
            request.page_token = page.next_page_token;
        }
        Ok(ended(listed, true, &names, terminal))
    }

    fn request(&self, now_micros: u64) -> ListEntriesRequest {
        let text = |name: &Option<Reference>| name.as_ref().map(ToString::to_string).unwrap_or_default();
        ListEntriesRequest {
            tenant: self.tenant.to_string(),
            order: (if self.oldest_first { Order::OldestFirst } else { Order::NewestFirst }).into(),
            principal: self.principal.as_ref().map(ToString::to_string).unwrap_or_default(),
            operation: self.operation.unwrap_or_default().into(),
            verdict: self.verdict.unwrap_or_default().into(),
            class: self.class.as_ref().map(|object| object.as_str().to_owned()).unwrap_or_default(),
            reference: text(&self.reference),
            start_time: self.since.map(|when| when.at(now_micros)),
            end_time: self.until.map(|when| when.at(now_micros)),
            request_id: self.request_id.to_string(),
            ..Default::default()
        }
    }
}

fn ended(listed: u64, more: bool, names: &entry::Names, terminal: &Terminal) -> Exit {
    if terminal.details() {
        for (short, principal) in names.shortened() {
            eprintln!("{short} = {principal}");
        }
        let plural = if listed == 1 { "y" } else { "ies" };
        let more = if more { "; there may be more (--limit)" } else { "" };
        eprintln!("{} entr{plural}{more}", number(listed));
    }
    Exit::Ok
}
