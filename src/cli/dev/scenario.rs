//! The main job on real input, over real mTLS: seal, open, mask, be refused, read the log. Each step holds or it doesn't.

use std::{collections::HashMap, path::Path, time::Duration};

use anyhow::{Context, Result, ensure};
use serde::Serialize;

use super::{
    bulk::{self, Served, TENANT},
    customers::{self, Field},
};
use crate::{
    cli::client::{Clients, Target, connect},
    clock::{Clock, SystemClock},
    proto::v1::{self, Form, Reason, Receipt, Verdict},
};

/// What became of the scenario.
#[derive(Debug, Serialize)]
pub(super) struct Outcome {
    pub(super) customers: usize,
    pub(super) steps: Vec<Step>,
    /// A value in clear and masked, one a kind of value.
    pub(super) masks: Vec<(String, String)>,
    /// The newest entries of the log, as short lines.
    pub(super) log: Vec<String>,
}

/// One step.
#[derive(Debug, Serialize)]
pub(super) struct Step {
    pub(super) name: &'static str,
    pub(super) held: bool,
    /// What was seen, or what went wrong.
    pub(super) what: String,
    pub(super) millis: u128,
}

impl Outcome {
    /// Whether every step held.
    pub(super) fn held(&self) -> bool {
        self.steps.iter().all(|step| step.held)
    }
}

/// Runs the scenario against the server of a development directory.
pub(super) async fn run(dir: &Path) -> Result<Outcome> {
    let (fields, customers) = customers::read()?;
    let mut story = Story {
        fields,
        sealed: Vec::new(),
        receipts: Vec::new(),
        people: People::connect(dir).await?,
        outcome: Outcome { customers, steps: Vec::new(), masks: Vec::new(), log: Vec::new() },
    };
    let clock = SystemClock::start();
    let steps: [(&'static str, Act); 6] = [
        ("seal", |story| Box::pin(story.seal())),
        ("open", |story| Box::pin(story.open())),
        ("mask", |story| Box::pin(story.mask())),
        ("deny", |story| Box::pin(story.deny())),
        ("swap", |story| Box::pin(story.swap())),
        ("log", |story| Box::pin(story.log())),
    ];
    for (name, act) in steps {
        let began = clock.monotonic();
        let result = act(&mut story).await;
        let millis = clock.monotonic().saturating_sub(began).max(Duration::from_millis(1)).as_millis();
        let held = result.is_ok();
        let what = result.unwrap_or_else(|error| format!("{error:#}"));
        story.outcome.steps.push(Step { name, held, what, millis });
        if !held {
            break;
        }
    }
    Ok(story.outcome)
}

type Act = for<'a> fn(&'a mut Story) -> futures_util::future::BoxFuture<'a, Result<String>>;

/// One connection each.
struct People {
    signup: Clients,
    billing: Clients,
    support: Clients,
    privacy: Clients,
    auditor: Clients,
}

impl People {
    async fn connect(dir: &Path) -> Result<Self> {
        let as_one = async |name| connect(&Target::from_dev_dir(dir, name)?).await;
        Ok(Self {
            signup: as_one("signup-service").await?,
            billing: as_one("billing-service").await?,
            support: as_one("support-desk").await?,
            privacy: as_one("privacy-officer").await?,
            auditor: as_one("auditor").await?,
        })
    }
}

struct Story {
    fields: Vec<Field>,
    /// In the order of `fields`.
    sealed: Vec<Vec<u8>>,
    receipts: Vec<Receipt>,
    people: People,
    outcome: Outcome,
}

impl Story {
    /// Sign-up seals account and usage data, billing its own.
    async fn seal(&mut self) -> Result<String> {
        let (billing, signup): (Vec<_>, Vec<_>) = self.fields.iter().cloned().partition(is_billing);
        let (mut of_billing, mut of_signup) = (Vec::new(), Vec::new());
        let (billed, signed) = tokio::try_join!(
            bulk::seal(&self.people.billing, "invoicing", &billing, &mut of_billing),
            bulk::seal(&self.people.signup, "signup", &signup, &mut of_signup),
        )?;
        self.receipts.extend(of_billing.into_iter().chain(of_signup));
        let (mut billed, mut signed) = (billed.into_iter(), signed.into_iter());
        let one = |field: &Field| if is_billing(field) { billed.next() } else { signed.next() };
        self.sealed = self.fields.iter().map(one).collect::<Option<_>>().context("a ciphertext is missing")?;
        Ok(format!(
            "{} fields of {} customers, by signup-service and billing-service",
            number(self.fields.len()),
            number(self.outcome.customers)
        ))
    }

    /// Billing opens what invoices need; the privacy officer opens everything. Every value is what was sealed.
    async fn open(&mut self) -> Result<String> {
        let all: Vec<_> = self.fields.iter().zip(&self.sealed).collect();
        let invoice: Vec<_> =
            all.iter().filter(|(field, _)| is_billing(field) || field.class == "pii/account/email").copied().collect();
        let (mut of_billing, mut of_privacy) = (Vec::new(), Vec::new());
        let (billed, everything) = tokio::try_join!(
            bulk::open(&self.people.billing, "invoicing", Form::Plaintext, &invoice, &mut of_billing),
            bulk::open(&self.people.privacy, "subject-request", Form::Plaintext, &all, &mut of_privacy),
        )?;
        self.receipts.extend(of_billing.into_iter().chain(of_privacy));
        for ((field, _), served) in invoice.iter().zip(&billed).chain(all.iter().zip(&everything)) {
            ensure!(
                *served == Served::Plaintext(field.value.clone().into()),
                "a {} came back as another value",
                field.class
            );
        }
        Ok(format!(
            "{} by billing-service, all {} by privacy-officer; every value is what was sealed",
            number(billed.len()),
            number(everything.len())
        ))
    }

    /// Support sees masks of account data, and nothing more of it.
    async fn mask(&mut self) -> Result<String> {
        let account: Vec<_> =
            self.fields.iter().zip(&self.sealed).filter(|(field, _)| field.class.starts_with("pii/account/")).collect();
        let served =
            bulk::open(&self.people.support, "support-ticket", Form::Masked, &account, &mut self.receipts).await?;
        let mut shown = HashMap::new();
        for ((field, _), served) in account.iter().zip(&served) {
            let Served::Masked(mask) = served else { anyhow::bail!("a {} was not masked", field.class) };
            ensure!(mask.contains('•') && *mask != field.value, "the mask of a {} hides nothing", field.class);
            shown.entry(field.class).or_insert_with(|| (field.value.clone(), mask.clone()));
        }
        for class in ["pii/account/name", "pii/account/email", "pii/account/phone", "pii/account/ip_address"] {
            self.outcome.masks.extend(shown.remove(class));
        }
        Ok(format!("{} fields of account data, by support-desk", number(served.len())))
    }

    /// The wrong role and the wrong purpose get nothing.
    async fn deny(&mut self) -> Result<String> {
        let tax_id = self.first("pii/billing/tax_id")?;
        let attempts =
            [(&self.people.support, "support-ticket", "wrong role"), (&self.people.billing, "signup", "wrong purpose")];
        for (clients, purpose, why) in attempts {
            let request = bulk::request(purpose, Form::Plaintext, &[tax_id]);
            let answer = clients.encryption().decrypt(request).await;
            let denied = answer.as_ref().is_err_and(|status| status.code() == crate::cli::client::PERMISSION_DENIED);
            ensure!(denied, "a tax id was not denied for the {why}");
        }
        Ok("a tax id to support-desk (wrong role), and to billing-service for signup (wrong purpose)".to_owned())
    }

    /// A ciphertext moved to another customer does not open.
    async fn swap(&mut self) -> Result<String> {
        let (mine, ciphertext) = self.first("pii/account/email")?;
        let other = self.fields.iter().find(|field| field.class == mine.class && field.subject != mine.subject);
        let other = other.context("there is one customer only")?;
        let moved = [(other, ciphertext)];
        let mut receipts = Vec::new();
        let served =
            bulk::open(&self.people.privacy, "subject-request", Form::Plaintext, &moved, &mut receipts).await?;
        self.receipts.extend(receipts);
        ensure!(served == [Served::Failed(Reason::InvalidCiphertext)], "a moved ciphertext was opened");
        Ok("one customer's e-mail address, presented as another's: INVALID_CIPHERTEXT".to_owned())
    }

    /// Every answer above is in the log, as its receipt says.
    async fn log(&mut self) -> Result<String> {
        let mut missing: HashMap<u64, &[u8]> =
            self.receipts.iter().map(|receipt| (receipt.entry_index, &*receipt.leaf_hash)).collect();
        let first = missing.keys().min().copied().unwrap_or_default();
        let (mut allowed, mut denied) = (0, 0);
        let mut page_token = String::new();
        let mut newest = Vec::new();
        loop {
            let request =
                v1::ListEntriesRequest { tenant: TENANT.into(), page_size: 1_000, page_token, ..Default::default() };
            let page = self.people.auditor.audit().list_entries(request).await?.into_inner();
            for entry in page.entries.iter().filter(|entry| entry.index >= first) {
                let receipt = missing.remove(&entry.index);
                ensure!(
                    receipt.is_none_or(|leaf| leaf == &*entry.leaf_hash),
                    "entry {} is not what its receipt says",
                    entry.index
                );
                match entry.verdict() {
                    Verdict::Deny => denied += 1,
                    Verdict::Allow | Verdict::Partial | Verdict::Unspecified => allowed += 1,
                }
                newest.push(entry.clone());
            }
            page_token = page.next_page_token;
            let past = page.entries.last().is_none_or(|entry| entry.index <= first);
            if past || page_token.is_empty() {
                break;
            }
        }
        ensure!(missing.is_empty(), "{} receipts are not in the log", missing.len());
        self.outcome.log = newest.iter().take(6).map(line).collect();
        Ok(format!(
            "{} entries of this run, {allowed} allowed and {denied} denied; all {} receipts found in it",
            number(newest.len()),
            number(self.receipts.len())
        ))
    }

    fn first(&self, class: &str) -> Result<(&Field, &Vec<u8>)> {
        self.fields.iter().zip(&self.sealed).find(|(field, _)| field.class == class).context("no field of this class")
    }
}

fn is_billing(field: &Field) -> bool {
    field.class.starts_with("pii/billing/")
}

/// An entry in one line: index, who, what, why, outcome.
fn line(entry: &v1::AuditEntry) -> String {
    let who = entry.principal.rsplit('/').next().unwrap_or_default();
    let what = entry.operation().as_str_name().trim_start_matches("OPERATION_").to_lowercase();
    let verdict = entry.verdict().as_str_name().trim_start_matches("VERDICT_").to_lowercase();
    let target = entry.targets.first().map(|target| {
        let outcome = target.outcome().as_str_name().trim_start_matches("OUTCOME_").to_lowercase();
        format!("{} × {} {}", target.count, target.object, outcome.replace('_', " "))
    });
    let more = entry.targets.len().saturating_sub(1);
    let more = if more > 0 { format!(", +{more}") } else { String::new() };
    let (index, target) = (entry.index, target.unwrap_or_default());
    format!("{index:>6}  {who:<16} {what:<12} {:<15} {verdict:<6} {target}{more}", entry.purpose)
}

/// A number with its thousands apart.
pub(super) fn number(n: usize) -> String {
    let digits = n.to_string();
    let mut out = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}
