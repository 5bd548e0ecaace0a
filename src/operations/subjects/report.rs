//! ReportAccess: what is held about a person, and every access to it that the log still tells of, in terms that can be handed to
//! that person. Each access is proved to be in the log. The report is recorded, and is an access itself.

use std::sync::Arc;

use super::{
    About, about,
    get::{Summary, summary},
    refusal::Refusal,
};
use crate::{
    audit::{Released, merkle::Hash, record::ALIAS_BYTES},
    id::Action,
    identity::Caller,
    operations::{
        Filter, Halt, Header, Operation, Service, Violation,
        attempt::Attempt,
        filter::Whose,
        list_entries,
        page::{self, Cursor},
        search::Search,
    },
    policy::Snapshot,
    proto::stored::{self, Target},
    store::Direction,
};

const PAGE_MAX: usize = 200;

/// What is asked.
pub struct ReportAccess {
    /// The tenant, and the request's id.
    pub header: Header,
    /// The customer.
    pub subject: String,
    /// Accesses on a page; 0: 200.
    pub page_size: i32,
    /// Where to go on; empty: at the start.
    pub page_token: String,
}

/// A request that holds.
pub struct Asked {
    about: About,
    page_size: usize,
    cursor: Option<Cursor>,
    query: Vec<u8>,
}

/// One page of a report.
#[derive(Debug)]
pub struct Report {
    /// What is held.
    pub summary: Summary,
    /// Accesses, newest first.
    pub accesses: Vec<Access>,
    /// What the proofs lead to: a signed note.
    pub checkpoint: Arc<str>,
    /// The log tells of nothing before this moment, in microseconds since 1970; `None`: it tells of all.
    pub kept_since_micros: Option<u64>,
    /// Where to go on; empty at the end.
    pub next_page_token: String,
}

/// One entry of the log, as far as it is about this subject.
#[derive(Debug)]
pub struct Access {
    /// Its index.
    pub index: u64,
    /// Its fields; of its targets, those that are the subject's.
    pub entry: stored::Entry,
    /// Its hash (RFC 6962 section 2.1).
    pub leaf_hash: Hash,
    /// The hashes that lead from it to the checkpoint's root.
    pub proof: Vec<Hash>,
}

impl Operation for ReportAccess {
    type Asked = Asked;
    type Answer = Report;
    const NAME: stored::Operation = stored::Operation::ReportAccess;

    fn header(&self) -> &Header {
        &self.header
    }

    fn validate(self, service: &Service, _: &Snapshot, caller: &Caller) -> Result<Asked, Violation> {
        let about = about(&self.header, self.subject, caller)?;
        let page_size = page::size(self.page_size, PAGE_MAX, PAGE_MAX)?;
        let parts = [about.subject().expose().as_bytes()];
        let query = page::query("report", &about.header().tenant, &caller.principal, &parts);
        let cursor = service.page_key.given(&self.page_token, &query)?;
        Ok(Asked { about, page_size, cursor, query })
    }

    fn answer_bytes_max(service: &Service) -> usize {
        list_entries::PAGE_BYTES_MAX.min(service.limits.message_bytes_max)
    }

    async fn attempt(service: &Service, caller: &Caller, asked: &Asked) -> Result<Released<Report>, Halt> {
        let Asked { about, page_size, cursor, query } = asked;
        let attempt = Attempt::decide(service, caller, about.header(), Self::NAME, Action::Report)?;
        let (keys, subjects, _turn) = attempt.read(std::slice::from_ref(about.subject())).await?;
        attempt.reach(&keys, about.subject())?;
        let Some(view) = subjects.view(0) else { return Err(attempt.refuse(Refusal::Unknown)) };
        let alias = view.alias();

        // Read what the log tells of the subject, up to its durable end, and prove each.
        let published = service.log.published();
        let end = published.edge.size();
        let start = cursor.unwrap_or(Cursor { bound: end, next: end });
        let start = Cursor { bound: start.bound.min(end), next: start.next.min(end) };
        let filter = Filter::default().check().map_err(|_| Halt::Failed(crate::operations::Failure::Internal))?;
        let whose = Whose::Alias(alias);
        let (tenant, direction) = (attempt.tenant(), Direction::Descending);
        let search = Search { tenant, filter: &filter, whose: &whose, direction };
        let (entries, next) = list_entries::read(service, &search, *page_size, start).await?;
        let mut accesses = Vec::with_capacity(entries.len());
        for (stored, entry) in entries {
            let (index, leaf_hash) = (stored.index, stored.leaf_hash);
            let proof = service.log.history().prove_leaf(&published.edge, index, &leaf_hash).await;
            let proof = proof.map_err(|error| Halt::unreadable(&error))?;
            accesses.push(Access { index, entry: of_subject(entry, alias.as_bytes()), leaf_hash, proof });
        }
        let report = Report {
            summary: summary(&view),
            accesses,
            checkpoint: Arc::clone(&published.checkpoint),
            kept_since_micros: kept_since(service).await?,
            next_page_token: next.map(|next| service.page_key.token(next, query)).unwrap_or_default(),
        };

        // Record, and with it release.
        let record = attempt.record(attempt.one(&subjects), format!("{} accesses", report.accesses.len()))?;
        attempt.commit(record, subjects, Vec::new(), report).await
    }
}

/// An entry without what it says of others.
fn of_subject(mut entry: stored::Entry, alias: &[u8; ALIAS_BYTES]) -> stored::Entry {
    let is_own = |target: &Target| target.aliases.chunks(ALIAS_BYTES).any(|other| other == alias);
    entry.targets.retain(is_own);
    for target in &mut entry.targets {
        target.aliases = Vec::new();
        // How many fields of how many customers there were is theirs, too.
        target.count = 0;
    }
    entry
}

/// When the oldest entry was made whose body is kept; `None` if all are.
async fn kept_since(service: &Service) -> Result<Option<u64>, Halt> {
    let history = service.log.history();
    let from = history.bounds().retained_from();
    if from == 0 {
        return Ok(None);
    }
    let oldest = history.entries(from..from + 1, Direction::Ascending).await;
    let oldest = oldest.map_err(|error| Halt::unreadable(&error))?;
    let entry = oldest.first().map(|stored| stored.decode()).transpose().map_err(|error| Halt::unreadable(&error))?;
    Ok(entry.map(|entry| entry.time_unix_micros))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_access_says_nothing_of_others() {
        let target = |object: &str, aliases: &[[u8; 16]]| Target {
            object: object.into(),
            aliases: aliases.concat(),
            count: 9,
            ..Default::default()
        };
        let entry = stored::Entry {
            targets: vec![
                target("pii/account/email", &[[1; 16], [2; 16]]),
                target("pii/account/name", &[[2; 16]]),
                // Bytes of the alias that lie over the border of two others.
                target("pii/account/phone", &[[0; 16], [3; 16]]),
            ],
            ..Default::default()
        };
        let own = of_subject(entry.clone(), &[1; 16]);
        assert_eq!((own.targets.len(), own.targets[0].object.as_str()), (1, "pii/account/email"));
        assert!(own.targets[0].aliases.is_empty() && own.targets[0].count == 0);
        let mut across = [0; 16];
        across[8..].copy_from_slice(&[3; 8]);
        assert!(of_subject(entry, &across).targets.is_empty());
    }
}
