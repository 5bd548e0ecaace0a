//! GetKeyStatus: which versions of keys there are, and how old: of one subject, or counted over a tenant page by page.

use std::collections::BTreeMap;

use crate::{
    audit::Released,
    id::{Action, Category, ControlObject, Subject},
    identity::Caller,
    keyring::Tag,
    operations::{
        Halt, Header, Operation, Service, Violation,
        attempt::Attempt,
        page::{self, Cursor},
        subjects::{
            get::{HeldCategory, summary},
            header,
            page::{COUNTED, Page},
            refusal::Refusal,
        },
        validate::{self, Checked},
    },
    policy::Snapshot,
    proto::stored,
};

/// Ages are told in these steps, in days.
const AGES: [u64; 5] = [365, 180, 90, 30, 0];
const DAY_SECS: u64 = 86_400;

/// What is asked.
pub struct GetKeyStatus {
    /// The tenant, and the request's id.
    pub header: Header,
    /// The customer; empty: all.
    pub subject: String,
    /// Where to go on counting; empty: at the start.
    pub page_token: String,
}

/// A request that holds.
pub struct Asked {
    header: Checked,
    subject: Option<Subject>,
    cursor: Option<Cursor>,
    query: Vec<u8>,
}

/// What there is.
#[derive(Debug, Default)]
pub struct Status {
    /// Of the subject.
    pub categories: Vec<HeldCategory>,
    /// Of the tenant's subjects on this page.
    pub counts: BTreeMap<Counted, u64>,
    /// How many subjects that are.
    pub subjects: usize,
    /// Versions of the tenant's made until this second since 1970 seal no more.
    pub rotated_unix_secs: Option<u64>,
    /// Where to go on; empty at the end.
    pub next_page_token: String,
}

/// What is counted together.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Counted {
    /// The category.
    pub category: Category,
    /// The version.
    pub version: u32,
    /// At least so many days old.
    pub days: u64,
    /// Whether it is its subject's newest.
    pub newest: bool,
}

impl Operation for GetKeyStatus {
    type Asked = Asked;
    type Answer = Status;
    const NAME: stored::Operation = stored::Operation::GetKeyStatus;

    fn header(&self) -> &Header {
        &self.header
    }

    fn validate(self, service: &Service, _: &Snapshot, caller: &Caller) -> Result<Asked, Violation> {
        let header = header(&self.header, caller)?;
        let subject = match self.subject {
            none if none.is_empty() => None,
            id => Some(Subject::parse(id).map_err(validate::broken("subject"))?),
        };
        let query = page::query("keys", &header.tenant, &caller.principal, &[]);
        let cursor = service.page_key.given(&self.page_token, &query)?;
        if subject.is_some() && cursor.is_some() {
            return Err(Violation::new("page_token", "must be none for one subject"));
        }
        Ok(Asked { header, subject, cursor, query })
    }

    async fn attempt(service: &Service, caller: &Caller, asked: &Asked) -> Result<Released<Status>, Halt> {
        let Asked { header, subject, .. } = asked;
        let attempt = Attempt::decide_on(service, caller, header, Self::NAME, (ControlObject::Keys, Action::Read))?;
        let Some(subject) = subject else { return tenant(service, &attempt, asked).await };
        let (keys, subjects, _turn) = attempt.read(std::slice::from_ref(subject)).await?;
        let Some(view) = subjects.view(0) else { return Err(attempt.refuse(Refusal::Unknown)) };
        let status = Status {
            categories: summary(&view).categories,
            rotated_unix_secs: keys.rotated_unix_secs(),
            ..Status::default()
        };
        let record = attempt.record(attempt.one(&subjects), format!("{} categories", status.categories.len()))?;
        attempt.commit(record, subjects, Vec::new(), status).await
    }
}

async fn tenant(service: &Service, attempt: &Attempt<'_>, asked: &Asked) -> Result<Released<Status>, Halt> {
    let from = asked.cursor.map(|cursor| Tag::of_bytes(cursor.key()));
    let keys = service.keys_of(attempt.tenant(), service.log.read_point()).await?;
    let page = Page::read(service, &keys, from, COUNTED).await?;
    let now = service.log.now_secs();
    let rotated_unix_secs = keys.rotated_unix_secs();
    let mut status = Status { subjects: page.count, rotated_unix_secs, ..Status::default() };
    for view in page.views() {
        for (category, versions) in view.categories() {
            let newest = versions.last().map(|(number, ..)| *number);
            for (version, created, _) in versions {
                let age = now.saturating_sub(created) / DAY_SECS;
                let days = AGES.into_iter().find(|days| *days <= age).unwrap_or_default();
                let counted = Counted { category: category.clone(), version, days, newest: newest == Some(version) };
                *status.counts.entry(counted).or_default() += 1;
            }
        }
    }
    let cursor = page.next.map(|next| Cursor::at_key(*next.as_bytes()));
    status.next_page_token = cursor.map(|cursor| service.page_key.token(cursor, &asked.query)).unwrap_or_default();
    let record = attempt.record(attempt.all(), format!("keys of {} subjects counted", page.count))?;
    // Counts stand on nothing: keys come and go meanwhile.
    attempt.answer(record, status).await
}
