//! WhoCan: who is granted something, by which grants, and whom does a deny stop? Needs action `check` on `policy`.

use super::{
    Halt, Header, Operation, Service, Violation, apart,
    check::{self, Item},
    decide::Decisions,
    describe,
    list_grants::{PAGE_BYTES_MAX, PAGE_DEFAULT, PAGE_MAX, or_version, start},
    page::{self, Cursor},
    validate::{self, Checked},
};
use crate::{
    audit::{Basis, Effects, Released, Unreleased, record::Targets},
    id::{Action, ControlObject},
    identity::Caller,
    policy::{Granted, Privilege, Snapshot},
    proto::stored::{self, Outcome},
};

/// What is asked.
pub struct WhoCan {
    /// The tenant, and the request's id. The purpose of asking is always `operate`.
    pub header: Header,
    /// To do what to what.
    pub item: Item,
    /// What for; empty: whichever.
    pub purpose: String,
    /// Principals on a page; 0: 100.
    pub page_size: i32,
    /// Where to go on; empty: at the start.
    pub page_token: String,
}

/// One page.
#[derive(Debug)]
pub struct Page {
    /// By name.
    pub granted: Vec<Granted>,
    /// Where to go on; empty at the end.
    pub next_page_token: String,
    /// The policy version.
    pub policy_version: u64,
    /// The moment that the list is of, since 1970.
    pub time_secs: u64,
}

/// A question that holds.
pub struct Asked {
    header: Checked,
    privilege: Privilege,
    page_size: usize,
    cursor: Option<Cursor>,
    /// The policy version that the cursor is of.
    version: u64,
    query: Vec<u8>,
}

impl Operation for WhoCan {
    type Asked = Asked;
    type Answer = Page;
    const NAME: stored::Operation = stored::Operation::WhoCan;

    fn header(&self) -> &Header {
        &self.header
    }

    fn validate(self, service: &Service, policy: &Snapshot, caller: &Caller) -> Result<Asked, Violation> {
        let header = validate::control(&self.header, caller)?;
        let (object, action) = check::question(policy, &self.item, &str::to_owned)?;
        let purpose = match self.purpose.as_str() {
            "" => None,
            purpose => Some(validate::purpose(purpose, policy)?),
        };
        let page_size = page::size(self.page_size, PAGE_MAX, PAGE_DEFAULT)?;
        let version = policy.version();
        let version_bytes = version.to_be_bytes();
        let parts =
            [version_bytes.as_slice(), object.as_str().as_bytes(), action.as_str().as_bytes(), self.purpose.as_bytes()];
        let query = page::query("who can", &header.tenant, &caller.principal, &parts);
        let cursor = service.page_key.given(&self.page_token, &query).map_err(or_version)?;
        let privilege = Privilege { tenant: header.tenant.clone(), object, action, purpose };
        Ok(Asked { header, privilege, page_size, cursor, version, query })
    }

    async fn attempt(service: &Service, caller: &Caller, asked: &Asked) -> Result<Released<Page>, Halt> {
        let Asked { header, privilege, .. } = asked;
        let policy = service.policy.load_full();
        let now = service.log.now_secs();

        // May the caller ask?
        let mut permission = Decisions::new(policy.clone(), &caller.principal, &header.tenant, &header.purpose, now);
        let mut targets = Targets::default();
        let allowed = permission.allows_control(ControlObject::Policy, Action::Check);
        let outcome = if allowed { Outcome::Allowed } else { Outcome::Denied };
        targets.add(ControlObject::Policy.as_str(), Action::Check.as_str(), outcome, None);
        if !allowed {
            return Err(describe::denied(service, Self::NAME, caller, header, &permission, targets));
        }
        let start = start(asked.cursor, asked.version, &policy, now)?;

        // List.
        let Privilege { object, action, purpose, .. } = privilege;
        let purpose = purpose.as_ref().map_or("any purpose", |purpose| purpose.as_str());
        let what = format!("who can {action} {} for {purpose}", object.as_str());
        let bytes_max = PAGE_BYTES_MAX.min(service.limits.message_bytes_max);
        let (page_size, version, privilege) = (asked.page_size, policy.version(), privilege.clone());
        let (granted, next) = apart::work(move |time| {
            let holders = policy.holders(&privilege, start.bound);
            let (mut page, mut bytes) = (Vec::new(), 0);
            let mut at = usize::try_from(start.next).unwrap_or(usize::MAX);
            while page.len() < page_size && bytes <= bytes_max && (page.is_empty() || !time.is_over()) {
                let Some(granted) = policy.granted(&holders, at) else { return (page, None) };
                bytes += granted.bytes();
                page.push(granted);
                at += 1;
            }
            (page, (at < holders.count()).then_some(Cursor { next: at as u64, ..start }))
        })
        .await?;
        let next_page_token = next.map(|next| service.page_key.token(next, &asked.query)).unwrap_or_default();

        // Record, and with it release.
        let record = describe::checked(service, Self::NAME, (caller, header), &[&permission], (targets, what))?;
        let basis = Basis { policy: Some(permission.basis()), ..Basis::default() };
        let page = Page { granted, next_page_token, policy_version: version, time_secs: start.bound };
        Ok(service.log.commit(record, basis, Effects::default(), Unreleased::new(page)).await?)
    }
}
