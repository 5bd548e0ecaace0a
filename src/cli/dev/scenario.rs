//! The main job on real input, over real mTLS: seal, open, mask, be refused, read the log, prove it. Each step holds or it doesn't.

use std::{collections::HashMap, ops::Range, path::Path, time::Duration};

use anyhow::{Context, Result, bail, ensure};
use ring::digest::{SHA256, digest};
use serde::Serialize;

use super::{
    bulk::{self, Served, TENANT},
    customers::{self, Field},
    entry::Entry,
    proof,
};
use crate::{
    audit::note::VerifierKey,
    cli::{
        client::{Clients, PERMISSION_DENIED, Target, connect},
        table::number,
    },
    clock::{Clock, SystemClock},
    proto::v1::{self, AuditEntry, Form, Reason, Receipt, Verdict},
};

/// What became of the scenario.
#[derive(Debug, Serialize)]
pub(super) struct Outcome {
    pub(super) customers: usize,
    /// Values that the customers have.
    pub(super) values: usize,
    pub(super) steps: Vec<Step>,
    pub(super) masks: Vec<Masked>,
    /// The newest entries of the log.
    pub(super) log: Vec<Entry>,
}

/// One step.
#[derive(Debug, Serialize)]
pub(super) struct Step {
    pub(super) done: Done,
    pub(super) held: bool,
    /// What was seen, or what went wrong.
    pub(super) what: String,
    pub(super) millis: u64,
}

/// What a step does, as one says it afterwards.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Done {
    Sealed,
    Opened,
    Masked,
    Guarded,
    Denied,
    Refused,
    Recorded,
    Proved,
}

/// A value in clear and as a mask. The value is invented.
#[derive(Debug, Serialize)]
pub(super) struct Masked {
    pub(super) class: &'static str,
    pub(super) value: String,
    pub(super) mask: String,
}

impl Done {
    /// Its name.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Sealed => "sealed",
            Self::Opened => "opened",
            Self::Masked => "masked",
            Self::Guarded => "guarded",
            Self::Denied => "denied",
            Self::Refused => "refused",
            Self::Recorded => "recorded",
            Self::Proved => "proved",
        }
    }
}

impl Outcome {
    /// Whether every step held.
    pub(super) fn held(&self) -> bool {
        self.steps.iter().all(|step| step.held)
    }
}

/// Runs the scenario against the server of a development directory, whose log has this first key.
pub(super) async fn run(dir: &Path, key: &VerifierKey) -> Result<Outcome> {
    let (fields, customers) = customers::read()?;
    let values = fields.len();
    let mut story = Story {
        fields,
        sealed: Vec::new(),
        receipts: Vec::new(),
        refusals: HashMap::new(),
        people: People::connect(dir).await?,
        key: key.clone(),
        outcome: Outcome { customers, values, steps: Vec::new(), masks: Vec::new(), log: Vec::new() },
    };
    let clock = SystemClock::start();
    let steps: [(Done, Act); 8] = [
        (Done::Sealed, |story| Box::pin(story.seal())),
        (Done::Opened, |story| Box::pin(story.open())),
        (Done::Masked, |story| Box::pin(story.mask())),
        (Done::Guarded, |story| Box::pin(story.guard())),
        (Done::Denied, |story| Box::pin(story.deny())),
        (Done::Refused, |story| Box::pin(story.swap())),
        (Done::Recorded, |story| Box::pin(story.log())),
        (Done::Proved, |story| Box::pin(story.prove())),
    ];
    for (done, act) in steps {
        let began = clock.monotonic();
        let result = act(&mut story).await;
        let millis = clock.monotonic().saturating_sub(began).max(Duration::from_millis(1)).as_millis().try_into()?;
        let held = result.is_ok();
        let what = result.unwrap_or_else(|error| format!("{error:#}"));
        story.outcome.steps.push(Step { done, held, what, millis });
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
    /// Requests that were denied as a whole, by their ids, and who made them. A refusal carries no receipt.
    refusals: HashMap<&'static str, &'static str>,
    people: People,
    key: VerifierKey,
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
        Ok(format!("{} values by signup-service, {} by billing-service", count(signup.len()), count(billing.len())))
    }

    /// Billing opens what invoices need; the privacy officer opens everything of a few. Every value is what was sealed.
    async fn open(&mut self) -> Result<String> {
        let all: Vec<_> = self.fields.iter().zip(&self.sealed).collect();
        let invoice: Vec<_> =
            all.iter().filter(|(field, _)| is_billing(field) || field.class == "pii/account/email").copied().collect();
        let few = of_customers(&self.fields, &self.sealed, 0..FEW);
        let (mut of_billing, mut of_privacy) = (Vec::new(), Vec::new());
        let (billed, everything) = tokio::try_join!(
            bulk::open(&self.people.billing, "invoicing", Form::Plaintext, &invoice, &mut of_billing),
            bulk::open(&self.people.privacy, "subject-request", Form::Plaintext, &few, &mut of_privacy),
        )?;
        self.receipts.extend(of_billing.into_iter().chain(of_privacy));
        for ((field, _), served) in invoice.iter().zip(&billed).chain(few.iter().zip(&everything)) {
            ensure!(
                *served == Served::Plaintext(field.value.clone().into()),
                "a {} came back as another value",
                field.class
            );
        }
        Ok(format!(
            "{} by billing-service, {} of {FEW} customers by privacy-officer: as sealed",
            count(billed.len()),
            count(everything.len())
        ))
    }

    /// Support sees masks of account data, and nothing more of it.
    async fn mask(&mut self) -> Result<String> {
        let mut account = of_customers(&self.fields, &self.sealed, 0..FEW);
        account.retain(|(field, _)| field.class.starts_with("pii/account/"));
        let served =
            bulk::open(&self.people.support, "support-ticket", Form::Masked, &account, &mut self.receipts).await?;
        let mut shown = HashMap::new();
        for ((field, _), served) in account.iter().zip(&served) {
            let Served::Masked(mask) = served else { bail!("a {} was not masked", field.class) };
            ensure!(mask.contains('•') && *mask != field.value, "the mask of a {} hides nothing", field.class);
            let (value, mask) = (field.value.clone(), mask.clone());
            shown.entry(field.class).or_insert(Masked { class: field.class, value, mask });
        }
        for class in ["pii/account/name", "pii/account/email", "pii/account/phone", "pii/account/ip_address"] {
            self.outcome.masks.extend(shown.remove(class));
        }
        Ok(format!("{} values of account data, as support-desk recognises a customer", count(served.len())))
    }

    /// The privacy officer may open any customer, and can't carry off all of them.
    async fn guard(&mut self) -> Result<String> {
        let mut more = of_customers(&self.fields, &self.sealed, FEW..FEW + MANY);
        more.dedup_by_key(|(field, _)| &field.subject);
        let served =
            bulk::open(&self.people.privacy, "subject-request", Form::Plaintext, &more, &mut self.receipts).await?;
        let refused = served.iter().filter(|served| **served == Served::Failed(Reason::OverBudget)).count();
        // Those of one minute; when it turns meanwhile, of two.
        ensure!(
            served.len() - refused <= 2 * A_MINUTE,
            "privacy-officer opened {} at once",
            count(served.len() - refused)
        );
        Ok(format!("{} of {MANY} more from privacy-officer: at most {A_MINUTE} customers a minute", count(refused)))
    }

    /// The wrong role and the wrong purpose get nothing.
    async fn deny(&mut self) -> Result<String> {
        let tax_id = self.first("pii/billing/tax_id")?;
        let attempts = [
            ("privet-dev-wrong-role", &self.people.support, "support-desk", "support-ticket"),
            ("privet-dev-wrong-purpose", &self.people.billing, "billing-service", "signup"),
        ];
        let mut refusals = HashMap::new();
        for (id, clients, who, purpose) in attempts {
            let mut request = bulk::request(purpose, Form::Plaintext, &[tax_id]);
            request.request_id = id.to_owned();
            match clients.encryption().decrypt(request).await {
                Err(status) if status.code() == PERMISSION_DENIED => refusals.insert(id, who),
                Err(status) => bail!("a tax id was kept from {who}, but not denied: {}", status.message()),
                Ok(_) => bail!("a tax id was not denied to {who} for {purpose}"),
            };
        }
        self.refusals = refusals;
        Ok("a tax id to support-desk (wrong role), to billing for signup (wrong purpose)".to_owned())
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
        Ok("one customer's e-mail address presented as another's: INVALID_CIPHERTEXT".to_owned())
    }

    /// Every answer above is in the log, as its receipt says, and so is every refusal.
    async fn log(&mut self) -> Result<String> {
        let mut receipts: HashMap<u64, &[u8]> =
            self.receipts.iter().map(|receipt| (receipt.entry_index, &*receipt.leaf_hash)).collect();
        let first = receipts.keys().min().copied().context("there are no receipts")?;
        let entries = self.entries_since(first).await?;
        let mut refusals = self.refusals.clone();
        let (mut allowed, mut denied) = (0, 0);
        for entry in &entries {
            ensure!(leaf_hash(&entry.raw) == *entry.leaf_hash, "entry {} has another hash", entry.index);
            if let Some(leaf) = receipts.remove(&entry.index) {
                ensure!(leaf == &*entry.leaf_hash, "entry {} is not what its receipt says", entry.index);
            }
            match entry.verdict() {
                Verdict::Allow | Verdict::Partial => allowed += 1,
                Verdict::Deny => {
                    denied += 1;
                    if refusals.get(&*entry.request_id).is_some_and(|who| entry.principal.ends_with(who)) {
                        refusals.remove(&*entry.request_id);
                    }
                }
                Verdict::Unspecified => bail!("entry {} has no verdict", entry.index),
            }
        }
        ensure!(receipts.is_empty(), "{} receipts are not in the log", receipts.len());
        ensure!(refusals.is_empty(), "{} refusals are not in the log", refusals.len());
        self.outcome.log = entries.iter().take(ENTRIES_SHOWN).map(Entry::from).collect();
        Ok(format!(
            "{} entries: {allowed} allowed, {denied} denied; all {} receipts found in the log",
            count(entries.len()),
            count(self.receipts.len())
        ))
    }

    /// The log's key has signed the tree of all its entries, and every receipt is of this tree.
    async fn prove(&mut self) -> Result<String> {
        let entries = proof::prove(&self.people.auditor, &self.key, &self.receipts).await?;
        let (entries, receipts) = (number(entries), count(self.receipts.len()));
        Ok(format!("the signed root recomputed from all {entries} entries; all {receipts} receipts lead to it"))
    }

    /// The entries from `first` on, newest first, as the auditor reads them.
    async fn entries_since(&self, first: u64) -> Result<Vec<AuditEntry>> {
        let mut entries = Vec::new();
        let mut page_token = String::new();
        loop {
            let request =
                v1::ListEntriesRequest { tenant: TENANT.into(), page_size: 1_000, page_token, ..Default::default() };
            let page = self.people.auditor.audit().list_entries(request).await?.into_inner();
            let older = page.entries.iter().any(|entry| entry.index < first);
            entries.extend(page.entries.into_iter().filter(|entry| entry.index >= first));
            page_token = page.next_page_token;
            if older || page_token.is_empty() {
                return Ok(entries);
            }
        }
    }

    fn first(&self, class: &str) -> Result<(&Field, &Vec<u8>)> {
        self.fields.iter().zip(&self.sealed).find(|(field, _)| field.class == class).context("no field of this class")
    }
}

/// All that was sealed of some customers, by their numbers.
fn of_customers<'a>(
    fields: &'a [Field],
    sealed: &'a [Vec<u8>],
    numbers: Range<usize>,
) -> Vec<(&'a Field, &'a Vec<u8>)> {
    let mut all = fields.iter().zip(sealed);
    let customers = fields.chunk_by(|one, next| one.subject == next.subject).map(<[Field]>::len).enumerate();
    let of_all = customers.flat_map(|(number, fields)| {
        let fields: Vec<_> = all.by_ref().take(fields).collect();
        if numbers.contains(&number) { fields } else { Vec::new() }
    });
    of_all.collect()
}

fn is_billing(field: &Field) -> bool {
    field.class.starts_with("pii/billing/")
}

/// SHA-256 of 0x00 and the entry's bytes (RFC 6962 section 2.1): computed here, not taken from the server.
fn leaf_hash(entry: &[u8]) -> [u8; 32] {
    let mut hash = [0; 32];
    let computed = digest(&SHA256, &[&[0], entry].concat());
    hash.iter_mut().zip(computed.as_ref()).for_each(|(to, from)| *to = *from);
    hash
}

fn count(n: usize) -> String {
    number(n as u64)
}

/// Customers that people look at: fewer than their budgets let them.
const FEW: usize = 25;
/// Customers that the privacy officer goes on to.
const MANY: usize = 100;
/// How many the shipped policy lets it open in a minute.
const A_MINUTE: usize = 30;
/// Entries of the log in the report.
const ENTRIES_SHOWN: usize = 5;
