//! TailEntries: a tenant's entries as they are recorded.
//!
//! A tail is decided and recorded when it begins and again each minute, which opens a [`Window`]; what is sent within it needs
//! no record of its own. A policy that moved closes the window at once. The end of a tail is recorded too. Records of the
//! caller's own tails are not sent: they would make each other.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::sync::{Semaphore, SemaphorePermit};

use super::{
    Failure, Filter, Halt, Header, Operation, Service, Violation, decide::Decisions, describe, filter::Checked,
    validate,
};
use crate::{
    audit::{Basis, Effects, Lease, Refused, Released, Unreleased, entry::Stored, record::Targets},
    id::{Action, ControlObject, Principal, Tenant},
    identity::Caller,
    policy::Snapshot,
    proto::stored::{self, Outcome},
    store::Direction,
};

/// How long what was recorded covers what is sent.
const WINDOW: Duration = Duration::from_secs(60);
/// Bytes of entries in one message, at most (one entry may exceed it).
const BYTES_MAX: usize = 1 << 20;
/// Entries looked at for one message.
const LOOKED_AT_MAX: u64 = 4_096;
/// Live tails at once, at most.
const TAILS_MAX: usize = 256;
/// Live tails of one principal at once, at most.
const TAILS_EACH_MAX: usize = 16;
/// Tails that read at once, at most.
const READING_MAX: usize = 4;

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
    Failed(Failure),
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
        let next = asked.start.unwrap_or(at.0).max(service.log.history().bounds().retained_from());
        targets.add(object, Action::Read.as_str(), Outcome::Allowed, None);
        let said = (targets, format!("tail from entry {next} on"));
        let record = describe::reading(service, Self::NAME, caller, header, &decisions, said)?;
        let policy = decisions.basis();
        let window = Window {
            lease: service.log.lease(Some(policy), WINDOW),
            tenant: header.tenant.clone(),
            caller: caller.principal.as_str().to_owned(),
            filter: Arc::clone(filter),
            next,
        };
        let basis = Basis { policy: Some(policy), ..Basis::default() };
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
            let end = tokio::select! {
                end = service.log.grown(self.next) => end,
                () = tokio::time::sleep(left) => return Err(Over::Again),
                () = service.log.failure() => return Err(Over::Failed(Failure::Unavailable)),
            };
            let from = self.next;
            let entries = self.read(service, end).await?;
            if entries.is_empty() {
                // Nothing of it is shown, and it need not be looked at again.
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
                Err(Refused::Full | Refused::Unavailable) => Err(Over::Failed(Failure::Unavailable)),
            };
        }
    }

    /// Looks at the next entries, not too many at once.
    async fn read(&mut self, service: &Service, end: u64) -> Result<Vec<(Stored, stored::Entry)>, Over> {
        let unreadable = |error: &(dyn std::error::Error + 'static)| {
            tracing::error!(error, "the log can't be read");
            Over::Failed(Failure::Unreadable)
        };
        let _turn = service.tails.turn().await;
        let history = service.log.history();
        self.next = self.next.max(history.bounds().retained_from());
        // Anew each time: the subject may have been erased since, or have come to be.
        let whose =
            self.filter.whose(service, &self.tenant, service.log.read_point()).await.map_err(|halt| match halt {
                Halt::Failed(failure) => Over::Failed(failure),
                Halt::Tenant(_) => Over::Failed(Failure::Unreadable),
                Halt::Stale | Halt::Denied(_) | Halt::Refused(..) => Over::Again,
            })?;
        let bytes_max = BYTES_MAX.min(service.limits.message_bytes_max / 2);
        let stop = end.min(self.next.saturating_add(LOOKED_AT_MAX));
        let (mut found, mut bytes) = (Vec::new(), 0);
        while self.next < stop && bytes < bytes_max {
            let run = history.entries(self.next..stop, Direction::Ascending).await;
            for stored in run.map_err(|error| unreadable(&error))? {
                if bytes >= bytes_max {
                    break;
                }
                self.next = stored.index + 1;
                let entry = stored.decode().map_err(|error| unreadable(&error))?;
                let of_tails = entry.operation() == stored::Operation::TailEntries && entry.principal == self.caller;
                if !of_tails && self.filter.matches(&self.tenant, &whose.0, &entry) {
                    bytes += stored.bytes.len() * 3;
                    found.push((stored, entry));
                }
            }
        }
        Ok(found)
    }
}

/// Room for live tails.
#[derive(Debug)]
pub struct Tails {
    held: Mutex<HashMap<Principal, usize>>,
    turns: Semaphore,
}

impl Default for Tails {
    fn default() -> Self {
        Self { held: Mutex::default(), turns: Semaphore::new(READING_MAX) }
    }
}

impl Tails {
    /// A place for a tail of this principal; `None` if it has as many as it may, or there is no room for more.
    pub fn place(self: &Arc<Self>, principal: &Principal) -> Option<TailPlace> {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let own = held.get(principal).copied().unwrap_or_default();
        if own >= TAILS_EACH_MAX || held.values().sum::<usize>() >= TAILS_MAX {
            return None;
        }
        held.insert(principal.clone(), own + 1);
        Some(TailPlace { tails: Arc::clone(self), principal: principal.clone() })
    }

    /// Tails that read at once are few: those far behind read much.
    async fn turn(&self) -> Option<SemaphorePermit<'_>> {
        self.turns.acquire().await.ok()
    }
}

/// A place for a tail, given back when dropped.
#[derive(Debug)]
pub struct TailPlace {
    tails: Arc<Tails>,
    principal: Principal,
}

impl Drop for TailPlace {
    fn drop(&mut self) {
        let mut held = self.tails.held.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(own) = held.get_mut(&self.principal) {
            *own = own.saturating_sub(1);
            if *own == 0 {
                held.remove(&self.principal);
            }
        }
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
