//! ListGrantsFor: what has a principal been granted in a tenant? For the caller itself, or with action `check` on `policy` for
//! another principal.

use super::{
    Failure, Halt, Header, Operation, Service, Violation, apart,
    decide::Decisions,
    describe,
    page::{self, Cursor},
    validate::{self, Checked},
};
use crate::{
    audit::{Basis, Effects, Released, Unreleased, record::Targets},
    id::{Action, ControlObject, Principal},
    identity::Caller,
    policy::{Reaching, Snapshot},
    proto::stored::{self, Outcome},
};

/// Grants on a page, at most.
pub(super) const PAGE_MAX: usize = 1_000;
/// Grants on a page if the caller names no number.
pub(super) const PAGE_DEFAULT: usize = 100;
/// Bytes of grants on one page, so that an answer fits into a message.
pub(super) const PAGE_BYTES_MAX: usize = 2 << 20;

/// What is asked.
pub struct ListGrantsFor {
    /// The tenant, and the request's id. The purpose is always `operate`.
    pub header: Header,
    /// Whose grants; empty: the caller's.
    pub principal: String,
    /// Grants on a page; 0: 100.
    pub page_size: i32,
    /// Where to go on; empty: at the start.
    pub page_token: String,
}

/// One page.
#[derive(Debug)]
pub struct Page {
    /// In the order of the policy.
    pub grants: Vec<Reaching>,
    /// Where to go on; empty at the end.
    pub next_page_token: String,
    /// The policy version.
    pub policy_version: u64,
    /// The moment that the list is of, since 1970.
    pub time_secs: u64,
}

/// A listing that holds.
pub struct Asked {
    header: Checked,
    other: Option<Principal>,
    page_size: usize,
    cursor: Option<Cursor>,
    /// The policy version that the cursor is of.
    version: u64,
    query: Vec<u8>,
}

impl Operation for ListGrantsFor {
    type Asked = Asked;
    type Answer = Page;
    const NAME: stored::Operation = stored::Operation::ListGrantsFor;

    fn header(&self) -> &Header {
        &self.header
    }

    fn validate(self, service: &Service, policy: &Snapshot, caller: &Caller) -> Result<Asked, Violation> {
        let header = validate::control(&self.header, caller)?;
        let other = validate::other(&self.principal, caller)?;
        let page_size = page::size(self.page_size, PAGE_MAX, PAGE_DEFAULT)?;
        let version = policy.version();
        let whose = other.as_ref().unwrap_or(&caller.principal).as_str().as_bytes();
        let query = page::query("grants", &header.tenant, &caller.principal, &[&version.to_be_bytes(), whose]);
        let cursor = service.page_key.given(&self.page_token, &query).map_err(or_version)?;
        Ok(Asked { header, other, page_size, cursor, version, query })
    }

    async fn attempt(service: &Service, caller: &Caller, asked: &Asked) -> Result<Released<Page>, Halt> {
        let Asked { header, other, .. } = asked;
        let policy = service.policy.load_full();
        let now = service.log.now_secs();

        // May the caller ask?
        let mut permission = Decisions::new(policy.clone(), &caller.principal, &header.tenant, &header.purpose, now);
        let mut targets = Targets::default();
        if other.is_some() {
            if !permission.allows_control(ControlObject::Policy, Action::Check) {
                targets.add(ControlObject::Policy.as_str(), Action::Check.as_str(), Outcome::Denied, None);
                return Err(describe::denied(service, Self::NAME, caller, header, &permission, targets));
            }
            targets.add(ControlObject::Policy.as_str(), Action::Check.as_str(), Outcome::Allowed, None);
        }
        let start = start(asked.cursor, asked.version, &policy, now)?;

        // List.
        let (principal, tenant) = (other.as_ref().unwrap_or(&caller.principal).clone(), header.tenant.clone());
        let bytes_max = PAGE_BYTES_MAX.min(service.limits.message_bytes_max);
        let (page_size, version) = (asked.page_size, policy.version());
        let (grants, next) = apart::work(move |_| {
            let (mut grants, mut bytes) = (Vec::new(), 0);
            let from = usize::try_from(start.next).unwrap_or(usize::MAX);
            for (at, reaching) in policy.grants_for(&principal, &tenant, start.bound, from) {
                if grants.len() == page_size || bytes > bytes_max {
                    return (grants, Some(Cursor { next: at as u64, ..start }));
                }
                bytes += reaching.bytes();
                grants.push(reaching);
            }
            (grants, None)
        })
        .await?;
        let next_page_token = next.map(|next| service.page_key.token(next, &asked.query)).unwrap_or_default();

        // Record, and with it release.
        let whose = match other {
            Some(other) => format!("grants of {other}"),
            None => "grants of its own".to_owned(),
        };
        let record = describe::checked(service, Self::NAME, (caller, header), &[&permission], (targets, whose))?;
        let basis = Basis { policy: Some(permission.basis()), ..Basis::default() };
        let page = Page { grants, next_page_token, policy_version: version, time_secs: start.bound };
        Ok(service.log.commit(record, basis, Effects::default(), Unreleased::new(page)).await?)
    }
}

/// Where a list of the policy goes on, and the moment that it is of: the same on all its pages.
///
/// # Errors
/// [`Failure::Aborted`] if the policy has moved since the token was looked at, so that places in it mean something else.
pub(super) fn start(cursor: Option<Cursor>, of_version: u64, policy: &Snapshot, now: u64) -> Result<Cursor, Halt> {
    match cursor {
        None => Ok(Cursor { bound: now, next: 0 }),
        Some(cursor) if policy.version() == of_version => Ok(cursor),
        Some(_) => Err(Halt::Failed(Failure::Aborted)),
    }
}

/// A token may also be of a policy that is no longer in force.
pub(super) fn or_version(violation: Violation) -> Violation {
    Violation { rule: format!("{}, under the policy version in force", violation.rule), ..violation }
}
