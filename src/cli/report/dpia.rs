//! `privet report dpia`: what an assessment of the risk to people begins with. Which data there is, why it may be touched, who
//! reaches it in full or in part, how long it is kept, and what was done with it lately: all of it read from the server, none of
//! it from a form.

use std::collections::{BTreeMap, BTreeSet};

use clap::Args;
use serde_json::{Value, json};

use crate::{
    catalogue::{Catalogue, Retention, RetentionStart},
    cli::{
        answer::{misfit, put, put_json},
        client::Clients,
        failure::{Exit, Failure},
        options::Connection,
        policy::usage::whole_since,
        table::{number, rfc3339},
        terminal::{Terminal, printable_lines},
    },
    clock::{Clock, SystemClock},
    id::{Role, Tenant},
    policy::CATALOGUE,
    proto::v1::{
        AuditEntry, GetPolicyRequest, Grantee, ListEntriesRequest, Order, Outcome, ReachingGrant, Verdict,
        WhoCanRequest,
    },
};

/// So many classes in full are worth a look.
const MANY_CLASSES: usize = 3;

/// Report which data is held, why, who reaches it, for how long, and what was done with it
#[derive(Args)]
#[command(after_help = "\
It writes Markdown, and takes action check and read on policy and read on audit, also of _system.

Examples:
  privet report dpia > dpia.md
  privet report dpia --days 365 --json > dpia.json")]
pub struct Dpia {
    /// Of which tenant
    #[arg(long, env = "PRIVET_TENANT", hide_env_values = true, value_parser = Tenant::parse)]
    tenant: Tenant,
    /// Count uses of so many days
    #[arg(long, value_name = "N", default_value_t = 90, value_parser = clap::value_parser!(u16).range(1..=3_650))]
    days: u16,
    #[command(flatten)]
    connection: Connection,
}

/// What the report says.
struct Assessment {
    tenant: Tenant,
    version: u64,
    hash: String,
    since: String,
    catalogue: Catalogue,
    /// In the order of the catalogue.
    fields: Vec<Field>,
}

/// One class.
#[derive(Default)]
struct Field {
    class: String,
    about: String,
    retention: String,
    /// By role, or by principal where a grant names one: for which purposes.
    plaintext: BTreeMap<String, BTreeSet<String>>,
    masked: BTreeMap<String, BTreeSet<String>>,
    /// Values, and when for the last time.
    read: (u64, Option<String>),
    seen: (u64, Option<String>),
}

impl Dpia {
    pub(super) async fn run(self, terminal: &Terminal) -> Result<Exit, Failure> {
        let now = SystemClock::start().wall_micros() / 1_000_000;
        let from = now.saturating_sub(u64::from(self.days) * 86_400);
        let since = prost_types::Timestamp { seconds: i64::try_from(from).unwrap_or(i64::MAX), nanos: 0 };
        let clients = self.connection.open().await?;
        // What retention has deleted can't be counted: `never` would be untrue.
        whole_since(&clients, &self.tenant, since).await?;
        let request = GetPolicyRequest { tenant: Tenant::system().to_string(), document: true, ..Default::default() };
        let policy = clients.policy().get_policy(request).await?.into_inner();
        let version = policy.version.ok_or_else(misfit)?;
        let text = policy.document.ok_or_else(misfit)?.catalogue;
        let catalogue = Catalogue::parse(CATALOGUE, &text).map_err(|_| misfit())?;
        let mut fields = Vec::new();
        for class in catalogue.classes() {
            fields.push(Field {
                class: class.class.as_str().to_owned(),
                about: class.about.clone(),
                retention: kept(class.retention),
                plaintext: reaching(&clients, &self.tenant, class.class.as_str(), "decrypt").await?,
                masked: reaching(&clients, &self.tenant, class.class.as_str(), "mask").await?,
                ..Field::default()
            });
        }
        count_uses(&clients, &self.tenant, since, &mut fields).await?;
        let assessment = Assessment {
            tenant: self.tenant,
            version: version.version,
            hash: hex::encode(&version.policy_hash),
            since: rfc3339(&since),
            catalogue,
            fields,
        };
        if terminal.json {
            put_json(&assessment.machine())?;
        } else {
            put(printable_lines(&assessment.markdown()).as_bytes())?;
        }
        Ok(Exit::Ok)
    }
}

fn kept(retention: Retention) -> String {
    let from = match retention.from {
        RetentionStart::Closure => "after closure",
        RetentionStart::Seal => "after it was recorded",
    };
    format!("{} days {from}", number(retention.days.into()))
}

/// Who is allowed something of a class, by the role that leads there.
async fn reaching(
    clients: &Clients,
    tenant: &Tenant,
    class: &str,
    action: &str,
) -> Result<BTreeMap<String, BTreeSet<String>>, Failure> {
    let mut request = WhoCanRequest {
        tenant: tenant.to_string(),
        object: class.to_owned(),
        action: action.to_owned(),
        page_size: 1_000,
        ..Default::default()
    };
    let mut found: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    loop {
        let page = clients.authorization().who_can(request.clone()).await?.into_inner();
        page.grantees.iter().for_each(|grantee| add(&mut found, grantee));
        if page.next_page_token.is_empty() {
            return Ok(found);
        }
        if page.next_page_token == request.page_token {
            return Err(misfit());
        }
        request.page_token = page.next_page_token;
    }
}

fn add(found: &mut BTreeMap<String, BTreeSet<String>>, grantee: &Grantee) {
    if grantee.verdict() != Verdict::Allow {
        return;
    }
    let through =
        |line: &ReachingGrant| line.grant.as_ref().map(|grant| (grant.grantee.clone(), grant.purpose.clone()));
    for (who, purpose) in grantee.allows.iter().filter_map(through) {
        found.entry(who).or_default().insert(purpose);
    }
}

/// Counts what was opened and masked since a moment, class by class.
async fn count_uses(
    clients: &Clients,
    tenant: &Tenant,
    since: prost_types::Timestamp,
    fields: &mut [Field],
) -> Result<(), Failure> {
    let mut request = ListEntriesRequest {
        tenant: tenant.to_string(),
        page_size: 1_000,
        start_time: Some(since),
        order: Order::OldestFirst.into(),
        ..Default::default()
    };
    loop {
        let page = clients.audit().list_entries(request.clone()).await?.into_inner();
        page.entries.iter().for_each(|entry| count(fields, entry));
        if page.next_page_token.is_empty() {
            return Ok(());
        }
        if page.next_page_token == request.page_token {
            return Err(misfit());
        }
        request.page_token = page.next_page_token;
    }
}

fn count(fields: &mut [Field], entry: &AuditEntry) {
    for target in &entry.targets {
        let Some(field) = fields.iter_mut().find(|field| field.class == target.object) else { continue };
        let of = if target.outcome() == Outcome::Opened {
            &mut field.read
        } else if target.outcome() == Outcome::Masked {
            &mut field.seen
        } else {
            continue;
        };
        *of = (of.0 + u64::from(target.count), entry.time.as_ref().map(rfc3339));
    }
}

impl Assessment {
    fn markdown(&self) -> String {
        let Self { tenant, version, hash, since, catalogue, fields } = self;
        let mut text = format!(
            "# Data protection impact assessment: {tenant}\n\n\
             By policy version {version} (`{hash}`); uses since {since}.\n\n\
             ## Data\n\n\
             | class | what it is | kept | in full to | in part to | read | seen in part |\n\
             |---|---|---|---|---|---:|---:|\n"
        );
        for field in fields {
            let Field { class, about, retention, plaintext, masked, read, seen } = field;
            let (plaintext, masked) = (said(plaintext), said(masked));
            let uses = |(count, last): &(u64, Option<String>)| match last.as_deref().and_then(|last| last.get(..10)) {
                Some(day) => format!("{}, last {day}", number(*count)),
                None => "never".to_owned(),
            };
            let (about, read, seen) = (cell(about), uses(read), uses(seen));
            text.push_str(&format!(
                "| `{class}` | {about} | {retention} | {plaintext} | {masked} | {read} | {seen} |\n"
            ));
        }
        text.push_str("\n## Purposes\n\n");
        for purpose in catalogue.purposes() {
            text.push_str(&format!("* **{}**: {}\n", purpose.purpose.as_str(), purpose.about));
        }
        text.push_str("\n## Worth a look\n\n");
        let remarks = self.remarks();
        if remarks.is_empty() {
            text.push_str("Nothing stands out.\n");
        }
        remarks.iter().for_each(|remark| text.push_str(&format!("* {remark}\n")));
        text
    }

    /// What follows from the data and may be too much.
    fn remarks(&self) -> Vec<String> {
        let mut classes: BTreeMap<&str, usize> = BTreeMap::new();
        self.fields.iter().flat_map(|field| field.plaintext.keys()).for_each(|who| {
            *classes.entry(who).or_default() += 1;
        });
        let mut remarks = Vec::new();
        for (who, classes) in classes {
            if classes > MANY_CLASSES {
                remarks.push(format!("`{who}` reaches {classes} of {} classes in full.", self.fields.len()));
            }
            let role = Role::parse(who).ok();
            if role.as_ref().is_some_and(|role| self.catalogue.budgets().of_role(role).is_none()) {
                remarks.push(format!("`{who}` reaches data in full without a budget of customers."));
            }
            let spec = self.catalogue.roles().find(|spec| role.as_ref() == Some(&spec.role));
            if spec.is_some_and(|spec| spec.emergency) {
                remarks.push(format!("`{who}` is held by somebody now, and is for emergencies."));
            }
        }
        for field in self.fields.iter().filter(|field| !field.plaintext.is_empty() && field.read.0 == 0) {
            remarks.push(format!("Nobody has read `{}` since {}, though some may.", field.class, self.since));
        }
        remarks
    }

    fn machine(&self) -> Value {
        let uses = |(count, last): &(u64, Option<String>)| json!({ "values": count, "last": last });
        let field = |field: &Field| {
            json!({
                "class": field.class,
                "about": field.about,
                "retention": field.retention,
                "plaintext": field.plaintext,
                "masked": field.masked,
                "read": uses(&field.read),
                "seen": uses(&field.seen),
            })
        };
        let purpose =
            |spec: &crate::catalogue::PurposeSpec| json!({ "name": spec.purpose.as_str(), "about": spec.about });
        json!({
            "tenant": self.tenant.as_str(),
            "policy_version": self.version,
            "policy_hash": self.hash,
            "since": self.since,
            "fields": self.fields.iter().map(field).collect::<Vec<_>>(),
            "purposes": self.catalogue.purposes().map(purpose).collect::<Vec<_>>(),
            "remarks": self.remarks(),
        })
    }
}

fn said(who: &BTreeMap<String, BTreeSet<String>>) -> String {
    let one = |(who, purposes): (&String, &BTreeSet<String>)| {
        let purposes: Vec<&str> = purposes.iter().map(String::as_str).collect();
        format!("{} for {}", who.trim_start_matches("role:"), purposes.join(", "))
    };
    if who.is_empty() { "nobody".to_owned() } else { who.iter().map(one).collect::<Vec<_>>().join("; ") }
}

/// Text that stays in its cell.
fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{cli::golden, proto::v1::AuditTarget};

    #[test]
    fn an_assessment_says_who_reaches_what_and_what_stands_out() {
        let catalogue = include_str!("../../../policies/catalogue.toml");
        let catalogue = Catalogue::parse(CATALOGUE, catalogue).unwrap();
        let who = |who: &[(&str, &str)]| {
            let mut found: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
            for (who, purpose) in who {
                found.entry((*who).into()).or_default().insert((*purpose).into());
            }
            found
        };
        let mut fields: Vec<Field> = catalogue
            .classes()
            .map(|class| Field {
                class: class.class.as_str().to_owned(),
                about: class.about.clone(),
                retention: kept(class.retention),
                plaintext: who(&[("role:privacy-officer", "subject-request")]),
                masked: who(&[("role:support", "support-ticket")]),
                ..Field::default()
            })
            .collect();
        fields[4].plaintext = who(&[("role:billing", "invoicing"), ("role:support", "support-ticket")]);
        fields[10].plaintext = BTreeMap::new();
        let target = |object: &str, outcome: Outcome, count| AuditTarget {
            object: object.into(),
            outcome: outcome.into(),
            count,
            ..Default::default()
        };
        let entry = AuditEntry {
            time: Some(prost_types::Timestamp { seconds: 1_795_461_365, nanos: 0 }),
            targets: vec![
                target("pii/account/email", Outcome::Opened, 1_200),
                target("pii/account/name", Outcome::Masked, 3),
                target("pii/account/phone", Outcome::Denied, 5),
                target("policy", Outcome::Opened, 5),
            ],
            ..Default::default()
        };
        count(&mut fields, &entry);
        let assessment = Assessment {
            tenant: Tenant::parse("acme").unwrap(),
            version: 7,
            hash: "ab".repeat(32),
            since: "2026-08-25T00:00:00Z".into(),
            catalogue,
            fields,
        };
        golden::check("policy/dpia.md", &assessment.markdown());
        let machine = assessment.machine();
        assert_eq!(machine["fields"][4]["read"]["values"], 1_200);
        assert_eq!(machine["fields"][0]["seen"]["values"], 3);
        assert_eq!(machine["fields"][5]["read"]["last"], Value::Null);
        assert!(machine["remarks"].as_array().unwrap().len() >= 3);
    }
}
