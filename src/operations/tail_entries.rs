//! TailEntries: a tenant's entries as they are recorded.
//!
//! A tail is decided and recorded when it begins and again each minute, which opens a [`Window`]; what is sent within it needs
//! no record of its own. A policy that moved closes the window at once. The end of a tail is recorded too. Records of the
//! caller's own tails are not sent: they would make each other.

use std::{sync::Arc, time::Duration};

use super::{
    Filter, Halt, Header, Operation, Service, Violation,
    decide::Decisions,
    describe,
    filter::{Checked, Whose},
    validate,
};
use crate::{
    audit::{Basis, Effects, Lease, Refused, Released, Unreleased, entry::Stored, record::Targets},
    id::{Action, ControlObject, Tenant},
    identity::Caller,
    policy::Snapshot,
    proto::stored::{self, Outcome},
    store::Direction,
};

/// How long what was recorded covers what is sent.
const WINDOW: Duration = Duration::from_secs(60);
/// Bytes of entries in one message, at most (a message holds at least one run of entries).
const BYTES_MAX: usize = 1 << 20;

/// What is asked: a tail, or how it goes on.
#[derive(Clone)]
pub struct TailEntries {
    /// The tenant, and the request's id.
    pub header: Header,
    /// Which entries; without a time.
    pub filter: Filter,
    /// From this index on; `None`: what is recorded from now on.
    pub start_index: Option<u64>,
}

/// A tail that holds.
pub struct Asked {
    header: validate::Checked,
    filter: Arc<Checked>,
    start: Option<u64>,
}

/// A minute of a tail.
pub struct Window {
    lease: Lease,
    tenant: Tenant,
    caller: String,
    filter: Arc<Checked>,
    whose: Whose,
    next: u64,
}

/// Entries of a tail.
#[derive(Debug)]
pub struct Batch {
    /// Oldest first, each with what it says.
    pub entries: Vec<(Stored, stored::Entry)>,
    /// Where to go on.
    pub next_index: u64,
}

/// Why a window gives no more.
#[derive(Debug)]
pub enum Over {
    /// Its time is over, or the policy moved: decide again.
    Again,
    /// No further attempt helps.
    Failed(super::Failure),
}

impl Operation for TailEntries {
    type Asked = Asked;
    type Answer = Window;
    const NAME: stored::Operation = stored::Operation::TailEntries;

    fn header(&self) -> &Header {
        &self.header
    }

    fn validate(self, service: &Service, _: &Snapshot, caller: &Caller) -> Result<Asked, Violation> {
        let header = validate::control(&self.header, caller)?;
        let filter = self.filter.check()?;
        if self.start_index.is_some_and(|start| start > service.log.read_point().0) {
            return Err(Violation::new("start_index", "must not be more than the log has entries"));
        }
        Ok(Asked { header, filter: Arc::new(filter), start: self.start_index })
    }

    async fn attempt(service: &Service, caller: &Caller, asked: &Asked) -> Result<Released<Window>, Halt> {
        let Asked { header, filter, .. } = asked;
        let at = service.log.read_point();

        // Decide.
        let policy = service.policy.load_full();
        let now = service.log.now_secs();
        let mut decisions = Decisions::new(policy, &caller.principal, &header.tenant, &header.purpose, now);
        let mut targets = Targets::default();
        let object = ControlObject::Audit.as_str();
        if !decisions.allows_control(ControlObject::Audit, Action::Read) {
            targets.add(object, Action::Read.as_str(), Outcome::Denied, None);
            return Err(describe::denied(service, Self::NAME, caller, header, &decisions, targets));
        }

        // Record, and with it open the window.
        let (whose, rests) = filter.whose(service, &header.tenant, at).await?;
        let next = asked.start.unwrap_or(at.0);
        targets.add(object, Action::Read.as_str(), Outcome::Allowed, None);
        let said = (targets, format!("tail from entry {next} on"));
        let record = describe::reading(service, Self::NAME, caller, header, &decisions, said)?;
        let policy = decisions.basis();
        let window = Window {
            lease: service.log.lease(Some(policy), WINDOW),
            tenant: header.tenant.clone(),
            caller: caller.principal.as_str().to_owned(),
            filter: Arc::clone(filter),
            whose,
            next,
        };
        let basis = Basis { policy: Some(policy), rests: Arc::new(rests) };
        Ok(service.log.commit(record, basis, Effects::default(), Unreleased::new(window)).await?)
    }
}

impl Window {
    /// Where to go on.
    pub fn next_index(&self) -> u64 {
        self.next
    }

    /// Waits for entries that the tail shows.
    ///
    /// # Errors
    /// [`Over`].
    pub async fn more(&mut self, service: &Service) -> Result<Released<Batch>, Over> {
        loop {
            let left = service.log.left(&self.lease).ok_or(Over::Again)?;
            let grown = tokio::time::timeout(left, service.log.grown(self.next)).await;
            let end = grown.map_err(|_| Over::Again)?;
            let from = self.next;
            let entries = self.read(service, end).await?;
            if entries.is_empty() {
                continue;
            }
            let batch = Batch { entries, next_index: self.next };
            return match service.log.release_within(&self.lease, Unreleased::new(batch)) {
                Ok(released) => Ok(released),
                Err(Refused::Stale | Refused::TooLong) => {
                    // Not sent: to be read again once it is decided again.
                    self.next = from;
                    Err(Over::Again)
                }
                Err(Refused::Full | Refused::Unavailable) => Err(Over::Failed(super::Failure::Unavailable)),
            };
        }
    }

    async fn read(&mut self, service: &Service, end: u64) -> Result<Vec<(Stored, stored::Entry)>, Over> {
        let unreadable = |error: &(dyn std::error::Error + 'static)| {
            tracing::error!(error, "the log can't be read");
            Over::Failed(super::Failure::Unreadable)
        };
        let (mut found, mut bytes) = (Vec::new(), 0);
        while self.next < end && bytes < BYTES_MAX {
            let run = service.log.history().entries(self.next..end, Direction::Ascending).await;
            for stored in run.map_err(|error| unreadable(&error))? {
                self.next = stored.index + 1;
                let entry = stored.decode().map_err(|error| unreadable(&error))?;
                let of_tails = entry.operation() == stored::Operation::TailEntries && entry.principal == self.caller;
                if !of_tails && self.filter.matches(&self.tenant, &self.whose, &entry) {
                    bytes += stored.bytes.len() * 3;
                    found.push((stored, entry));
                }
            }
        }
        Ok(found)
    }
}

/// Records the end of a tail when it is dropped, however it ended.
pub struct Closing {
    service: Arc<Service>,
    caller: Caller,
    tenant: Tenant,
    next: u64,
}

impl Closing {
    /// To be held as long as the tail of `window` lasts.
    pub fn of(service: Arc<Service>, caller: Caller, window: &Window) -> Self {
        let next = window.next;
        Self { service, caller, tenant: window.tenant.clone(), next }
    }

    /// Where the tail stands.
    pub fn note(&mut self, next_index: u64) {
        self.next = next_index;
    }
}

impl Drop for Closing {
    fn drop(&mut self) {
        let entry = describe::tail_ended(&self.service, &self.caller, &self.tenant, self.next);
        let (Ok(record), Ok(runtime)) = (entry, tokio::runtime::Handle::try_current()) else { return };
        let service = Arc::clone(&self.service);
        runtime.spawn(async move {
            let ended: Result<Released<()>, Refused> =
                service.log.commit(record, Basis::default(), Effects::default(), Unreleased::new(())).await;
            if ended.is_err() {
                tracing::warn!("the end of a tail is not recorded: the log can't be written");
            }
        });
    }
}
