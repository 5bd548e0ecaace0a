//! `privet keys`: versions of subject keys, counted, made anew and ended.

use std::collections::BTreeMap;

use clap::{Args, Subcommand};
use serde_json::json;

use super::{
    answer::{misfit, put, put_json, receipts, tell},
    failure::{Exit, Failure},
    input::Whom,
    options::Acting,
    table::{self, number, rfc3339},
    terminal::Terminal,
};
use crate::{
    id::Category,
    proto::v1::{GetKeyStatusRequest, RetireKeyVersionsRequest, RotateSubjectKeysRequest},
};

/// Count versions of keys, make new ones, and end old ones
#[derive(Subcommand)]
pub enum Keys {
    /// Count keys by version and age, of a customer or of the whole tenant
    Status(Status),
    /// Make new versions: of a customer's keys now, or of all the tenant's, each at its next seal
    Rotate(Rotate),
    /// Destroy old versions of a customer's key, once everything under them is rewrapped
    Retire(Retire),
}

#[derive(Args)]
#[command(after_help = "Without a customer: the whole tenant's.")]
pub struct Status {
    #[command(flatten)]
    whom: Whom,
    #[command(flatten)]
    acting: Acting,
}

#[derive(Args)]
pub struct Rotate {
    #[command(flatten)]
    whom: Whom,
    /// Only this category; may be given again [default: all]
    #[arg(long = "category", value_name = "NAME", value_parser = Category::parse, conflicts_with = "all")]
    categories: Vec<Category>,
    /// All of the tenant's keys
    #[arg(
        long,
        conflicts_with_all = ["subject", "subject_file"],
        required_unless_present_any = ["subject", "subject_file"]
    )]
    all: bool,
    #[command(flatten)]
    acting: Acting,
}

#[derive(Args)]
pub struct Retire {
    #[command(flatten)]
    whom: Whom,
    /// Category
    #[arg(long, value_name = "NAME", value_parser = Category::parse)]
    category: Category,
    /// This version and all before it
    #[arg(long, value_name = "N")]
    up_to_version: u32,
    /// Confirm: all under these versions is rewrapped; what is not is lost
    #[arg(long, required = true)]
    rewrapped: bool,
    #[command(flatten)]
    acting: Acting,
}

impl Keys {
    /// Does it.
    pub async fn run(self, terminal: &Terminal) -> Result<Exit, Failure> {
        match self {
            Self::Status(command) => command.run(terminal).await,
            Self::Rotate(command) => command.run(terminal).await,
            Self::Retire(command) => command.run(terminal).await,
        }
    }
}

impl Status {
    async fn run(self, terminal: &Terminal) -> Result<Exit, Failure> {
        let Acting { tenant, request_id, connection, .. } = self.acting;
        let mut request = GetKeyStatusRequest {
            tenant: tenant.to_string(),
            subject: self.whom.id_if_given()?.map_or(String::new(), |whom| whom.expose().to_owned()),
            request_id: request_id.to_string(),
            ..Default::default()
        };
        let clients = connection.open().await?;
        let (mut counts, mut subjects) = (BTreeMap::<_, u64>::new(), 0_u64);
        let last = loop {
            let page = clients.keys().get_key_status(request.clone()).await?.into_inner();
            for one in &page.counts {
                let key = (one.category.clone(), one.version, one.newest, one.days);
                *counts.entry(key).or_default() += one.count;
            }
            subjects += u64::from(page.subjects);
            if page.next_page_token.is_empty() {
                break page;
            }
            if page.next_page_token == request.page_token {
                return Err(misfit());
            }
            request.page_token = page.next_page_token;
        };
        let rotated = last.rotate_time.as_ref().map(rfc3339);
        if !request.subject.is_empty() {
            return of_one(&last, rotated, terminal);
        }
        if terminal.json {
            let counts = counts.iter().map(|((category, version, newest, days), count)| {
                json!({ "category": category, "version": version, "newest": newest, "days": days, "count": count })
            });
            let counts: Vec<_> = counts.collect();
            put_json(&json!({ "subjects": subjects, "counts": counts, "rotate_time": rotated }))?;
            return Ok(Exit::Ok);
        }
        let mut rows = table::table(["CATEGORY", "VERSION", "SEALS", "DAYS OLD", "KEYS"], terminal);
        for ((category, version, newest, days), count) in &counts {
            let seals = if *newest { "yes" } else { "no" };
            let days = format!("{days}+");
            rows.add_row([category, &version.to_string(), seals, &days, &number(*count)].map(table::cell));
        }
        let rotated = rotated.map_or(String::new(), |time| format!("; made until {time}, they seal no more"));
        put(format!("{}{} subjects{rotated}\n", table::text(&rows), number(subjects)).as_bytes())?;
        Ok(Exit::Ok)
    }
}

fn of_one(
    answer: &crate::proto::v1::GetKeyStatusResponse,
    rotated: Option<String>,
    terminal: &Terminal,
) -> Result<Exit, Failure> {
    let mut rows = table::table(["CATEGORY", "VERSION", "MADE (UTC)", "VALUES SEALED"], terminal);
    let mut machine = Vec::new();
    for one in &answer.categories {
        for version in &one.versions {
            let made = version.create_time.as_ref().map(rfc3339).unwrap_or_default();
            machine.push(json!({
                "category": one.category, "version": version.version, "create_time": made, "seals": version.seals,
            }));
            let cells = [&one.category, &version.version.to_string(), &made, &number(version.seals)];
            rows.add_row(cells.map(|cell| table::cell(cell)));
        }
    }
    if terminal.json {
        put_json(&json!({ "versions": machine, "rotate_time": rotated, "receipts": receipts(&answer.receipts) }))?;
    } else {
        put(table::text(&rows).as_bytes())?;
    }
    Ok(Exit::Ok)
}

impl Rotate {
    async fn run(self, terminal: &Terminal) -> Result<Exit, Failure> {
        let Acting { tenant, reference, request_id, connection } = self.acting;
        // No subject means all: never for want of one.
        let subject = if self.all { String::new() } else { self.whom.id()?.expose().to_owned() };
        let request = RotateSubjectKeysRequest {
            tenant: tenant.to_string(),
            subject,
            categories: self.categories.iter().map(ToString::to_string).collect(),
            request_id: request_id.to_string(),
            reference: reference.to_string(),
        };
        let answer = connection.open().await?.keys().rotate_subject_keys(request).await?.into_inner();
        let until = answer.rotate_time.as_ref().map(rfc3339);
        let versions = answer.versions.iter().map(|one| json!({ "category": one.category, "version": one.version }));
        if terminal.json {
            let versions: Vec<_> = versions.collect();
            let receipts = receipts(&answer.receipts);
            put_json(&json!({ "versions": versions, "rotate_time": until, "receipts": receipts }))?;
            return Ok(Exit::Ok);
        }
        let mut text: String =
            answer.versions.iter().map(|one| format!("{}: version {}\n", one.category, one.version)).collect();
        if let Some(until) = until {
            text.push_str(&format!("keys made until {until} seal no more; what they sealed opens as before\n"));
        }
        put(text.as_bytes())?;
        tell("rotated", &answer.receipts, terminal);
        Ok(Exit::Ok)
    }
}

impl Retire {
    async fn run(self, terminal: &Terminal) -> Result<Exit, Failure> {
        let Acting { tenant, reference, request_id, connection } = self.acting;
        let request = RetireKeyVersionsRequest {
            tenant: tenant.to_string(),
            subject: self.whom.id()?.expose().to_owned(),
            category: self.category.to_string(),
            up_to_version: self.up_to_version,
            rewrapped: self.rewrapped,
            request_id: request_id.to_string(),
            reference: reference.to_string(),
        };
        let answer = connection.open().await?.keys().retire_key_versions(request).await?.into_inner();
        if terminal.json {
            put_json(&json!({ "versions": answer.versions, "receipts": receipts(&answer.receipts) }))?;
            return Ok(Exit::Ok);
        }
        let versions: Vec<String> = answer.versions.iter().map(ToString::to_string).collect();
        let none = versions.is_empty();
        let text = if none { "none is left\n".to_owned() } else { format!("destroyed: {}\n", versions.join(", ")) };
        put(text.as_bytes())?;
        tell("retired", &answer.receipts, terminal);
        Ok(Exit::Ok)
    }
}
