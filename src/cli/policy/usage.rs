//! How much each grant was used, by what the log says.
//!
//! A use is an entry that a grant decided: what an allow let through, and what a deny stopped. Questions to the policy about
//! itself (check, explain) use nothing but the grant that let somebody ask about another.

use std::collections::{BTreeSet, HashMap};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use prost_types::Timestamp;

use super::super::{answer::misfit, client::Clients, failure::Failure, terminal::Terminal};
use crate::{
    id::Tenant,
    proto::v1::{
        AuditEntry, GetPolicyRequest, ListEntriesRequest, ListPolicyVersionsRequest, Operation, Order, PolicyVersion,
    },
};

/// How often a grant decided, and when for the last time.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(in crate::cli) struct Use {
    pub(in crate::cli) count: u64,
    pub(in crate::cli) last: Option<Timestamp>,
}

/// Uses by the ids of grants.
#[derive(Debug, Default)]
pub(in crate::cli) struct Usage(HashMap<String, Use>);

impl Usage {
    /// Reads a tenant's log from `since` on.
    ///
    /// # Errors
    /// [`Failure`] if the server has no answer, or one that would never end.
    pub(in crate::cli) async fn read(
        clients: &Clients,
        tenant: &Tenant,
        since: Timestamp,
        terminal: &Terminal,
    ) -> Result<Self, Failure> {
        let mut request = ListEntriesRequest {
            tenant: tenant.to_string(),
            page_size: PAGE,
            order: Order::OldestFirst.into(),
            start_time: Some(since),
            ..Default::default()
        };
        let hidden = !terminal.details();
        let bar = ProgressBar::with_draw_target(
            None,
            if hidden { ProgressDrawTarget::hidden() } else { ProgressDrawTarget::stderr() },
        );
        bar.set_style(
            ProgressStyle::with_template("{human_pos} entries read").unwrap_or_else(|_| ProgressStyle::default_bar()),
        );
        let mut usage = Self::default();
        loop {
            let page = clients.audit().list_entries(request.clone()).await?.into_inner();
            bar.inc(page.entries.len() as u64);
            page.entries.iter().for_each(|entry| usage.add(entry));
            if page.next_page_token.is_empty() {
                bar.finish_and_clear();
                return Ok(usage);
            }
            if page.next_page_token == request.page_token {
                return Err(misfit());
            }
            request.page_token = page.next_page_token;
        }
    }

    fn add(&mut self, entry: &AuditEntry) {
        let asks = matches!(entry.operation(), Operation::Check | Operation::Explain);
        if asks && !entry.effect.starts_with("about ") {
            return;
        }
        for id in &entry.grant_ids {
            let of_grant = self.0.entry(id.clone()).or_default();
            of_grant.count += 1;
            let is_later = |last: &Timestamp| {
                entry.time.is_some_and(|time| (time.seconds, time.nanos) > (last.seconds, last.nanos))
            };
            if of_grant.last.as_ref().is_none_or(is_later) {
                of_grant.last = entry.time;
            }
        }
    }

    /// How a grant was used.
    pub(in crate::cli) fn of(&self, id: &str) -> Use {
        self.0.get(id).copied().unwrap_or_default()
    }
}

/// The ids of the grants that there were at a moment already, as far as the caller may read them; none if there was no policy.
///
/// # Errors
/// As [`Usage::read`].
pub(super) async fn grants_at(
    clients: &Clients,
    tenant: &Tenant,
    moment: Timestamp,
) -> Result<BTreeSet<String>, Failure> {
    let mut request = ListPolicyVersionsRequest { tenant: tenant.to_string(), page_size: PAGE, ..Default::default() };
    let before = |version: &PolicyVersion| version.time.is_some_and(|time| time.seconds <= moment.seconds);
    loop {
        let page = clients.policy().list_policy_versions(request.clone()).await?.into_inner();
        // The newest comes first.
        if let Some(then) = page.versions.iter().find(|version| before(version)) {
            let request = GetPolicyRequest { tenant: tenant.to_string(), version: then.version, ..Default::default() };
            let read = super::show::all(clients, request).await?;
            return Ok(read.lines.grants.into_iter().map(|grant| grant.id).collect());
        }
        if page.next_page_token.is_empty() {
            return Ok(BTreeSet::new());
        }
        if page.next_page_token == request.page_token {
            return Err(misfit());
        }
        request.page_token = page.next_page_token;
    }
}

/// Entries and versions on a page.
const PAGE: i32 = 1_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_grant_decided_is_a_use_and_what_was_only_asked_is_none() {
        let entry = |operation: Operation, ids: &[&str], effect: &str, seconds| AuditEntry {
            grant_ids: ids.iter().map(|id| (*id).to_owned()).collect(),
            effect: effect.into(),
            time: Some(Timestamp { seconds, nanos: 0 }),
            operation: operation.into(),
            ..Default::default()
        };
        let mut usage = Usage::default();
        usage.add(&entry(Operation::Decrypt, &["a", "b"], "", 5));
        usage.add(&entry(Operation::Decrypt, &["a"], "", 9));
        usage.add(&entry(Operation::Decrypt, &["a"], "", 7));
        usage.add(&entry(Operation::Check, &["c"], "", 9));
        usage.add(&entry(Operation::Explain, &["checks"], "about user:idp/q", 9));
        let of = |id| (usage.of(id).count, usage.of(id).last.map(|last| last.seconds));
        assert_eq!([of("a"), of("b"), of("c"), of("checks")], [(3, Some(9)), (1, Some(5)), (0, None), (1, Some(9))]);
    }
}
