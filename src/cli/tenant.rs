//! `privet tenant`: the controllers of a deployment, made, listed, and ended.

use std::io::{self, BufRead, IsTerminal, Write};

use clap::{Args, Subcommand};
use serde_json::json;

use super::{
    answer::{misfit, put, put_json, receipts, tell},
    failure::{Exit, Failure},
    options::Connection,
    table::{self, rfc3339},
    terminal::{Terminal, printable},
};
use crate::{
    id::{Reference, Region, Tenant as Id},
    proto::v1::{
        self, CancelDestroyTenantRequest, CreateTenantRequest, DestroyTenantRequest, ListTenantsRequest, TenantState,
    },
};

/// Make tenants, list them, and end one with all its keys
#[derive(Subcommand)]
pub enum Tenant {
    /// Make a tenant with its keys
    Create(Create),
    /// List the tenants that there are and were
    List(List),
    /// Ask that a tenant be destroyed with all its keys, or confirm what another person has asked
    Destroy(Destroy),
    /// Take back that a tenant is to be destroyed
    Cancel(Cancel),
}

#[derive(Args)]
struct Acting {
    /// Ticket, order: [A-Za-z0-9._:/#-]{0,64}
    #[arg(long, value_parser = Reference::parse, default_value = "", hide_default_value = true)]
    reference: Reference,
    /// Your own id for this request
    #[arg(long, value_name = "ID", value_parser = Reference::parse, default_value = "", hide_default_value = true)]
    request_id: Reference,
    #[command(flatten)]
    connection: Connection,
}

/// What to make.
#[derive(Args)]
pub struct Create {
    /// Its name, for all time: [a-z0-9][a-z0-9-]{0,62}
    #[arg(value_name = "TENANT", value_parser = Id::parse)]
    tenant: Id,
    /// Where its data must lie [default: the deployment's region]
    #[arg(long, value_parser = Region::parse)]
    region: Option<Region>,
    #[command(flatten)]
    acting: Acting,
}

/// As whom.
#[derive(Args)]
pub struct List {
    /// Your own id for this request
    #[arg(long, value_name = "ID", value_parser = Reference::parse, default_value = "", hide_default_value = true)]
    request_id: Reference,
    #[command(flatten)]
    connection: Connection,
}

/// What to end.
#[derive(Args)]
#[command(after_help = "\
Two listed persons: one asks and says why, another confirms within 7 days. From then on nothing of the
tenant is sealed or opened; after the waiting period its keys are gone, and with them everything under
them. Until then `privet tenant cancel` takes it back.")]
pub struct Destroy {
    /// The tenant
    #[arg(value_name = "TENANT", value_parser = Id::parse)]
    tenant: Id,
    /// Why, one line, of whoever asks first
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    reason: String,
    /// The tenant's name once more [default: typed at the terminal]
    #[arg(long, value_name = "TENANT")]
    confirm: Option<String>,
    #[command(flatten)]
    acting: Acting,
}

/// What to keep.
#[derive(Args)]
pub struct Cancel {
    /// The tenant
    #[arg(value_name = "TENANT", value_parser = Id::parse)]
    tenant: Id,
    #[command(flatten)]
    acting: Acting,
}

impl Tenant {
    /// Does it.
    pub async fn run(self, terminal: &Terminal) -> Result<Exit, Failure> {
        match self {
            Self::Create(command) => command.run(terminal).await,
            Self::List(command) => command.run(terminal).await,
            Self::Destroy(command) => command.run(terminal).await,
            Self::Cancel(command) => command.run(terminal).await,
        }
    }
}

impl Create {
    async fn run(self, terminal: &Terminal) -> Result<Exit, Failure> {
        let Acting { reference, request_id, connection } = self.acting;
        let request = CreateTenantRequest {
            tenant: self.tenant.to_string(),
            region: self.region.map(|region| region.to_string()).unwrap_or_default(),
            request_id: request_id.to_string(),
            reference: reference.to_string(),
        };
        let answer = connection.open().await?.tenants().create_tenant(request).await?.into_inner();
        say(answer.tenant, &answer.receipts, "created", terminal)
    }
}

impl List {
    async fn run(self, terminal: &Terminal) -> Result<Exit, Failure> {
        let mut request =
            ListTenantsRequest { page_size: 1_000, request_id: self.request_id.to_string(), ..Default::default() };
        let clients = self.connection.open().await?;
        let mut tenants = Vec::new();
        loop {
            let page = clients.tenants().list_tenants(request.clone()).await?.into_inner();
            tenants.extend(page.tenants);
            if page.next_page_token.is_empty() {
                break;
            }
            if page.next_page_token == request.page_token {
                return Err(misfit());
            }
            request.page_token = page.next_page_token;
        }
        if terminal.json {
            put_json(&json!({ "tenants": tenants.iter().map(machine).collect::<Vec<_>>() }))?;
            return Ok(Exit::Ok);
        }
        let mut rows = table::table(["TENANT", "REGION", "MADE (UTC)", "STATE"], terminal);
        for tenant in &tenants {
            let made = tenant.create_time.as_ref().map(rfc3339).unwrap_or_default();
            rows.add_row([&tenant.id, &tenant.region, &made, &state(tenant)].map(|cell| table::cell(cell)));
        }
        put(table::text(&rows).as_bytes())?;
        Ok(Exit::Ok)
    }
}

impl Destroy {
    async fn run(self, terminal: &Terminal) -> Result<Exit, Failure> {
        let Acting { reference, request_id, connection } = self.acting;
        let confirmation = match self.confirm {
            Some(typed) => typed,
            None => typed(&self.tenant)?,
        };
        if confirmation != self.tenant.as_str() {
            return Err(Failure::usage("this is not the tenant's name; nothing was asked"));
        }
        let request = DestroyTenantRequest {
            tenant: self.tenant.to_string(),
            confirmation,
            reason: self.reason,
            request_id: request_id.to_string(),
            reference: reference.to_string(),
        };
        let answer = connection.open().await?.tenants().destroy_tenant(request).await?.into_inner();
        say(answer.tenant, &answer.receipts, "recorded", terminal)
    }
}

impl Cancel {
    async fn run(self, terminal: &Terminal) -> Result<Exit, Failure> {
        let Acting { reference, request_id, connection } = self.acting;
        let request = CancelDestroyTenantRequest {
            tenant: self.tenant.to_string(),
            request_id: request_id.to_string(),
            reference: reference.to_string(),
        };
        let answer = connection.open().await?.tenants().cancel_destroy_tenant(request).await?.into_inner();
        say(answer.tenant, &answer.receipts, "cancelled", terminal)
    }
}

/// Asks a person to type the name: no line of a shell's history destroys a tenant.
fn typed(tenant: &Id) -> Result<String, Failure> {
    if !io::stdin().is_terminal() {
        return Err(Failure::usage("there is no terminal to type the tenant's name at: say it once more as --confirm"));
    }
    eprint!("This ends tenant {tenant}, and nothing of it can be opened again. Type its name: ");
    let _shown = io::stderr().flush();
    let mut line = String::new();
    let read = io::stdin().lock().read_line(&mut line);
    read.map_err(|error| Failure::usage(format!("the name can't be read: {error}")))?;
    Ok(line.trim_end_matches(['\n', '\r']).to_owned())
}

fn say(tenant: Option<v1::Tenant>, evidence: &[v1::Receipt], what: &str, terminal: &Terminal) -> Result<Exit, Failure> {
    let tenant = tenant.ok_or_else(misfit)?;
    if terminal.json {
        put_json(&json!({ "tenant": machine(&tenant), "receipts": receipts(evidence) }))?;
        return Ok(Exit::Ok);
    }
    put(format!("{}: {}\n", printable(&tenant.id), state(&tenant)).as_bytes())?;
    tell(what, evidence, terminal);
    Ok(Exit::Ok)
}

/// How far a tenant is, for people.
fn state(tenant: &v1::Tenant) -> String {
    let v1::TenantDestruction { requested_by, request_time, reason, confirmed_by, due_time, destroy_time, .. } =
        tenant.destruction.clone().unwrap_or_default();
    let time = |time: Option<prost_types::Timestamp>| time.as_ref().map(rfc3339).unwrap_or_default();
    let text = match tenant.state() {
        TenantState::Unspecified => "unknown".to_owned(),
        TenantState::Active => "active".to_owned(),
        TenantState::DestructionRequested => format!(
            "active; {requested_by} asks that it be destroyed ({reason}): another person has until 7 days after {} to confirm it",
            time(request_time)
        ),
        TenantState::Ending => format!(
            "ending: nothing is sealed or opened, its keys go not before {} ({requested_by}, {confirmed_by}: {reason})",
            time(due_time)
        ),
        TenantState::Destroyed => format!("destroyed {}", time(destroy_time)),
    };
    printable(&text).into_owned()
}

/// A tenant, for machines.
fn machine(tenant: &v1::Tenant) -> serde_json::Value {
    let state = tenant.state().as_str_name().trim_start_matches("TENANT_STATE_").to_lowercase();
    let time = |time: &Option<prost_types::Timestamp>| time.as_ref().map(rfc3339);
    let destruction = tenant.destruction.as_ref().map(|wanted| {
        json!({
            "requested_by": wanted.requested_by, "request_time": time(&wanted.request_time), "reason": wanted.reason,
            "confirmed_by": wanted.confirmed_by, "confirm_time": time(&wanted.confirm_time),
            "due_time": time(&wanted.due_time), "destroy_time": time(&wanted.destroy_time),
        })
    });
    json!({
        "id": tenant.id, "region": tenant.region, "state": state, "create_time": time(&tenant.create_time),
        "destruction": destruction,
    })
}
