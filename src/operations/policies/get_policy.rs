//! GetPolicy: one version of the policy, as far as the caller may read it.

use std::{collections::BTreeSet, sync::Arc};

use super::{refusal::Refusal, rights::Rights, stored};
use crate::{
    audit::{Basis, Effects, Released, Unreleased},
    id::{Action, Principal, Role, Tenant},
    identity::Caller,
    operations::{
        Halt, Header, Operation, Service, Violation,
        page::{self, Cursor},
        validate::{self, Checked},
    },
    policy::{Grant, Grantee, Membership, Snapshot, Sources},
    proto::stored as entries,
};

/// Grants and memberships on a page, at most, and if the caller names no number.
const PAGE_MAX: usize = 1_000;

/// What is asked.
pub struct GetPolicy {
    /// The tenant, and the request's id.
    pub header: Header,
    /// Which version; 0: the one in force.
    pub version: u64,
    /// Whether the files' text is asked for instead of the lines.
    pub document: bool,
    /// Lines on a page; 0: 1,000.
    pub page_size: i32,
    /// Where to go on; empty: at the start.
    pub page_token: String,
}

/// A question that holds.
pub struct Asked {
    header: Checked,
    version: u64,
    document: bool,
    page_size: usize,
    cursor: Option<Cursor>,
    query: Vec<u8>,
}

/// What is shown of a version.
#[derive(Debug)]
pub struct Shown {
    /// What is known of it.
    pub version: Known,
    /// Grants of this page.
    pub grants: Vec<Grant>,
    /// Memberships of this page.
    pub memberships: Vec<Membership>,
    /// All of it as text.
    pub document: Option<Sources>,
    /// Where to go on; empty at the end.
    pub next_page_token: String,
    /// Lines of all pages that are not shown.
    pub hidden: usize,
    /// The emergency roles that lines of all pages name, as far as they are shown.
    pub emergency_roles: BTreeSet<Role>,
}

/// What is known of a version beside its lines.
#[derive(Debug)]
pub struct Known {
    /// As it is stored, without what the caller may not know.
    pub stored: entries::PolicyVersion,
    /// Whether it is in force.
    pub in_force: bool,
}

impl Operation for GetPolicy {
    type Asked = Asked;
    type Answer = Shown;
    const NAME: entries::Operation = entries::Operation::GetPolicy;

    fn header(&self) -> &Header {
        &self.header
    }

    fn validate(self, service: &Service, _: &Snapshot, caller: &Caller) -> Result<Asked, Violation> {
        let header = validate::control(&self.header, caller)?;
        let page_size = page::size(self.page_size, PAGE_MAX, PAGE_MAX)?;
        let parts = [&[u8::from(self.document)][..], &self.version.to_be_bytes()];
        let query = page::query("policy", &header.tenant, &caller.principal, &parts);
        let cursor = service.page_key.given(&self.page_token, &query)?;
        Ok(Asked { header, version: self.version, document: self.document, page_size, cursor, query })
    }

    async fn attempt(service: &Service, caller: &Caller, asked: &Asked) -> Result<Released<Shown>, Halt> {
        let Asked { header, .. } = asked;

        // Decide.
        let mut rights = Rights::now(service, caller);
        if !rights.allows(&header.tenant, Action::Read) {
            return Err(rights.denied(service, Self::NAME, header, Action::Read, header.tenant.clone()));
        }

        // Read. A page token holds on to the version that its first page was of.
        let version = match (asked.cursor, asked.version) {
            (Some(cursor), _) => cursor.bound,
            (None, 0) => rights.policy.version(),
            (None, version) => version,
        };
        let Some(policy) = snapshot(service, &rights.policy, version).await? else {
            return Err(rights.refused(service, Self::NAME, header, Action::Read, Refusal::NoVersion));
        };
        rights.look(policy.tenants().iter());
        let whole = policy.tenants().iter().all(|tenant| rights.sees(tenant));
        if asked.document && !whole {
            return Err(rights.denied(service, Self::NAME, header, Action::Read, Tenant::system()));
        }
        let stored = stored::versions(&*service.store, version.saturating_add(1), 1).await;
        let stored = stored.map_err(|error| Halt::unreadable(&error))?.into_iter().next().unwrap_or_default();
        let version = Known::shown(&rights, stored);
        let shown = if asked.document {
            let document = stored::document(&*service.store, policy.version()).await;
            let document = document.map_err(|error| Halt::unreadable(&error))?;
            Shown { document, ..Shown::of(version) }
        } else {
            page(service, asked, &policy, &rights, version)
        };

        // Record, and with it release.
        let effect = format!("policy version {}", policy.version());
        let record = rights.record(service, Self::NAME, header, Action::Read, effect)?;
        let basis = Basis { policy: Some(rights.basis()), ..Basis::default() };
        Ok(service.log.commit(record, basis, Effects::default(), Unreleased::new(shown)).await?)
    }
}

/// One page of the lines that the caller may see.
fn page(service: &Service, asked: &Asked, policy: &Snapshot, rights: &Rights<'_>, version: Known) -> Shown {
    enum Line<'p> {
        Grant(&'p Grant),
        Membership(&'p Membership),
    }
    let grants = policy.grants().map(|grant| (rights.sees_grant(grant), Line::Grant(grant)));
    let memberships = policy.memberships().map(|member| (rights.sees_membership(member), Line::Membership(member)));
    let start = asked.cursor.map_or(0, |cursor| cursor.next);
    let mut shown = Shown::of(version);
    for ((seen, line), at) in grants.chain(memberships).zip(0_u64..) {
        if !seen {
            shown.hidden += 1;
            continue;
        }
        let named: [Option<&Role>; 2] = match &line {
            Line::Grant(grant) => [role_of(&grant.grantee), None],
            Line::Membership(membership) => [role_of(&membership.member), Some(&membership.role)],
        };
        let emergency = |role: &&Role| policy.catalogue().role(role.as_str()).is_some_and(|spec| spec.emergency);
        shown.emergency_roles.extend(named.into_iter().flatten().filter(emergency).cloned());
        if at >= start && shown.next_page_token.is_empty() {
            if shown.grants.len() + shown.memberships.len() == asked.page_size {
                let cursor = Cursor { bound: policy.version(), next: at };
                shown.next_page_token = service.page_key.token(cursor, &asked.query);
                continue;
            }
            match line {
                Line::Grant(grant) => shown.grants.push(grant.clone()),
                Line::Membership(membership) => shown.memberships.push(membership.clone()),
            }
        }
    }
    shown
}

fn role_of(grantee: &Grantee) -> Option<&Role> {
    match grantee {
        Grantee::Role(role) => Some(role),
        Grantee::Principal(_) => None,
    }
}

impl Shown {
    fn of(version: Known) -> Self {
        Self {
            version,
            grants: Vec::new(),
            memberships: Vec::new(),
            document: None,
            next_page_token: String::new(),
            hidden: 0,
            emergency_roles: BTreeSet::new(),
        }
    }
}

impl Known {
    /// What the caller may know of a version. Whose change it was and why is told where it touched a tenant that the caller
    /// may read; what a start put in force was nobody's.
    pub(super) fn shown(rights: &Rights<'_>, stored: entries::PolicyVersion) -> Self {
        let in_force = stored.version == rights.policy.version();
        let of_start = stored.proposer == Principal::system("start").as_str();
        if of_start || rights.sees_any(&stored.tenants) {
            return Self { stored, in_force };
        }
        let entries::PolicyVersion { version, policy_hash, time_unix_micros, .. } = stored;
        let stored = entries::PolicyVersion { version, policy_hash, time_unix_micros, ..Default::default() };
        Self { stored, in_force }
    }
}

/// A version ready to be looked at: the one in force, or built anew from what is stored. `None` if there is none such yet.
///
/// # Errors
/// [`Halt`] if it can't be read.
pub(super) async fn snapshot(
    service: &Service,
    in_force: &Arc<Snapshot>,
    version: u64,
) -> Result<Option<Arc<Snapshot>>, Halt> {
    if version == in_force.version() {
        return Ok(Some(Arc::clone(in_force)));
    }
    if version > in_force.version() {
        return Ok(None);
    }
    service.past.version(&*service.store, version).await
}
