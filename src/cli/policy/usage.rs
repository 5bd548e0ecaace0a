//! How much each grant was used, by what the log says.
//!
//! A use is an entry that a grant decided: what an allow let through, and what a deny stopped. Questions to the policy about
//! itself are none, whoever they are about: they use nothing but the grant on the control plane that let somebody ask.
//!
//! INVARIANT: whoever is told that a grant was not used since a moment is told it by a log that is whole since then.

use std::collections::{HashMap, HashSet};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use prost_types::Timestamp;

use super::{
    super::{answer::misfit, client::Clients, failure::Failure, table::rfc3339, terminal::Terminal},
    show::Read,
    standing::Standing,
};
use crate::{
    id::{Action, Tenant},
    operations::NAMED_MAX,
    proto::v1::{AuditEntry, ListEntriesRequest, Operation, Order, PolicyGrant},
};

/// How often a grant decided, and when for the last time.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(in crate::cli) struct Use {
    pub(in crate::cli) count: u64,
    pub(in crate::cli) last: Option<Timestamp>,
}

/// Uses of the grants of one version of the policy.
#[derive(Debug, Default)]
pub(in crate::cli) struct Usage {
    uses: HashMap<String, Use>,
    standing: Standing,
    /// Grants on the control plane.
    control: HashSet<String>,
    /// Purposes and objects of entries that more grants may have decided than they name.
    crowded: HashSet<(String, String)>,
}

impl Usage {
    /// Reads a tenant's log from `since` on for the grants that were read.
    ///
    /// # Errors
    /// [`Failure`] if the log is not whole since then, or the server has no answer, or one that would never end.
    pub(in crate::cli) async fn read(
        clients: &Clients,
        tenant: &Tenant,
        now: &Read,
        since: Timestamp,
        terminal: &Terminal,
    ) -> Result<Self, Failure> {
        whole_since(clients, tenant, since).await?;
        let control = now.lines.grants.iter().filter(|grant| is_control(grant)).map(|grant| grant.id.clone()).collect();
        let standing = Standing::read(clients, tenant, now, since).await?;
        let mut usage = Self { standing, control, ..Self::default() };
        let hidden = !terminal.details();
        let bar = ProgressBar::with_draw_target(
            None,
            if hidden { ProgressDrawTarget::hidden() } else { ProgressDrawTarget::stderr() },
        );
        bar.set_style(
            ProgressStyle::with_template("{human_pos} entries read").unwrap_or_else(|_| ProgressStyle::default_bar()),
        );
        let mut request = oldest_first(tenant, PAGE);
        request.start_time = Some(since);
        loop {
            let page = clients.audit().list_entries(request.clone()).await?.into_inner();
            bar.inc(page.entries.len() as u64);
            page.entries.iter().for_each(|entry| usage.add(entry));
            if page.next_page_token.is_empty() {
                break;
            }
            if page.next_page_token == request.page_token {
                return Err(misfit());
            }
            request.page_token = page.next_page_token;
        }
        bar.finish_and_clear();
        // Retention may have deleted meanwhile what was not read yet.
        whole_since(clients, tenant, since).await?;
        Ok(usage)
    }

    /// Of grants that all are old, and used by nothing yet.
    #[cfg(test)]
    pub(super) fn old(ids: &[&str]) -> Self {
        Self { standing: Standing::old(ids), ..Self::default() }
    }

    pub(super) fn add(&mut self, entry: &AuditEntry) {
        let asks = asks(entry);
        for id in &entry.grant_ids {
            let counts = match asks {
                Asks::Nothing => true,
                Asks::AboutItself => false,
                Asks::ByGrant => self.control.contains(id),
            };
            if !counts || !self.standing.covers(id, entry.policy_version) {
                continue;
            }
            let of_grant = self.uses.entry(id.clone()).or_default();
            of_grant.count += 1;
            let is_later = |last: &Timestamp| {
                entry.time.is_some_and(|time| (time.seconds, time.nanos) > (last.seconds, last.nanos))
            };
            if of_grant.last.as_ref().is_none_or(is_later) {
                of_grant.last = entry.time;
            }
        }
        if asks == Asks::Nothing && entry.grant_ids.len() >= NAMED_MAX {
            let objects = entry.targets.iter().map(|target| (entry.purpose.clone(), target.object.clone()));
            self.crowded.extend(objects);
        }
    }

    /// How a grant was used.
    pub(in crate::cli) fn of(&self, id: &str) -> Use {
        self.uses.get(id).copied().unwrap_or_default()
    }

    /// Whether a grant says what it says since before the time that was read.
    pub(super) fn is_old(&self, id: &str) -> bool {
        self.standing.is_old(id)
    }

    /// Whether an entry that names as many grants as it can may have left out this one.
    pub(super) fn may_be_left_out(&self, grant: &PolicyGrant) -> bool {
        let covers = |object: &str| match grant.object.strip_suffix('*') {
            Some(below) => object.starts_with(below),
            None => object == grant.object,
        };
        let is_for = |purpose: &str| grant.purpose == "*" || purpose == grant.purpose;
        self.crowded.iter().any(|(purpose, object)| is_for(purpose) && covers(object))
    }
}

/// Whether a grant is on the control plane: on anything but data.
pub(super) fn is_control(grant: &PolicyGrant) -> bool {
    !Action::parse(&grant.action).is_ok_and(Action::is_on_data)
}

/// What an entry asked of the policy without doing it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asks {
    /// It did what it asked for.
    Nothing,
    /// What the caller itself may do.
    AboutItself,
    /// What a grant on the control plane let it ask.
    ByGrant,
}

fn asks(entry: &AuditEntry) -> Asks {
    match entry.operation() {
        Operation::Check | Operation::Explain => {
            let by_grant = ["about ", "of entry "].iter().any(|effect| entry.effect.starts_with(effect));
            if by_grant { Asks::ByGrant } else { Asks::AboutItself }
        }
        Operation::ListGrantsFor | Operation::WhoCan | Operation::Simulate => Asks::ByGrant,
        Operation::Encrypt
        | Operation::Decrypt
        | Operation::ComputeIndex
        | Operation::ListEntries
        | Operation::CreateTenant
        | Operation::AdoptPolicy
        | Operation::Start
        | Operation::Refuse
        | Operation::GetCheckpoint
        | Operation::GetInclusionProof
        | Operation::GetConsistencyProof
        | Operation::TailEntries
        | Operation::ExportEntries
        | Operation::RotateLogKey
        | Operation::SealSegment
        | Operation::DeleteEntries
        | Operation::GetPolicy
        | Operation::ListPolicyVersions
        | Operation::ProposeChange
        | Operation::GetProposal
        | Operation::ListProposals
        | Operation::ApproveProposal
        | Operation::RejectProposal
        | Operation::BreakGlass
        | Operation::EndBreakGlass
        | Operation::ReviewBreakGlass
        | Operation::ListBreakGlass
        | Operation::RecoverPolicy
        | Operation::EraseSubjects
        | Operation::ReinstateSubject
        | Operation::PlaceHold
        | Operation::ReleaseHold
        | Operation::CloseSubject
        | Operation::GetSubject
        | Operation::ListErasures
        | Operation::GetErasureCertificate
        | Operation::Rewrap
        | Operation::GenerateDataKey
        | Operation::UnwrapDataKey
        | Operation::RotateSubjectKeys
        | Operation::RetireKeyVersions
        | Operation::GetKeyStatus
        | Operation::CountDue
        | Operation::Sweep
        | Operation::ReportAccess
        | Operation::ListTenants
        | Operation::DestroyTenant
        | Operation::CancelDestroyTenant
        // What this program does not know may have done something.
        | Operation::Unspecified => Asks::Nothing,
    }
}

/// Makes sure that the log has all of the tenant's entries since a moment.
///
/// # Errors
/// [`Failure`] (usage) with the earliest moment of which that is so, or as [`Usage::read`].
pub(in crate::cli) async fn whole_since(clients: &Clients, tenant: &Tenant, since: Timestamp) -> Result<(), Failure> {
    let mut request = oldest_first(tenant, 1);
    let oldest = loop {
        let page = clients.audit().list_entries(request.clone()).await?.into_inner();
        if let Some(oldest) = page.entries.into_iter().next() {
            break oldest;
        }
        // There is one at least: reading the policy was recorded.
        if page.next_page_token.is_empty() || page.next_page_token == request.page_token {
            return Err(misfit());
        }
        request.page_token = page.next_page_token;
    };
    let time = oldest.time.ok_or_else(misfit)?;
    // The tenant's first entry has number 0. What was before another one may be as young as that one.
    if oldest.tenant_seq == 0 || (time.seconds, time.nanos) < (since.seconds, since.nanos) {
        return Ok(());
    }
    let earliest = rfc3339(&Timestamp { seconds: time.seconds.saturating_add(1), nanos: 0 });
    Err(Failure::usage(format!(
        "--since {}: the log of {tenant} no longer has all entries since then, so nobody can say what they used",
        rfc3339(&since)
    ))
    .hint(format!("it is whole from --since {earliest} on")))
}

fn oldest_first(tenant: &Tenant, page_size: i32) -> ListEntriesRequest {
    ListEntriesRequest { tenant: tenant.to_string(), page_size, order: Order::OldestFirst.into(), ..Default::default() }
}

/// Entries on a page.
const PAGE: i32 = 1_000;

#[cfg(test)]
mod tests;
