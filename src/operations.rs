//! What Privet does, one file an operation, each readable from top to bottom.
//!
//! Every operation takes the same way, and [`run`] is that way:
//!
//! 1. who asks? An unidentified caller is refused.
//! 2. is it a request? A malformed one is refused, with the field and the rule.
//! 3. **attempt**: decide by the policy, ask the guard, find the keys, do the work, commit the record – and with it release the answer.
//! 4. did the policy or a key move before the record committed? Then nothing was released: attempt again.
//!
//! The order is fixed: a denial never depends on whether a subject exists. An operation runs in a task of its own that holds
//! its admission permit, so a client that hangs up can neither leave an effect without its record nor escape the limits.

use std::{sync::Arc, time::Duration};

use arc_swap::ArcSwap;

use crate::{
    audit::{Log, Refused, Released, index::Index, tally},
    entropy::Entropy,
    id::{Region, Tenant},
    identity::{Caller, Connection, Tenants, Unidentified},
    keyring::{self, Keyring, Standing, TenantKeys},
    policy::Snapshot,
    proto::stored,
    store::{ReadPoint, Store},
};

mod apart;
mod attempt;
pub mod check;
pub mod checkpoint;
pub mod compute_index;
pub mod consistency_proof;
pub mod data_keys;
mod decide;
pub mod decrypt;
mod describe;
pub mod encrypt;
pub mod explain;
pub mod export_entries;
mod filter;
mod guard;
pub mod inclusion_proof;
pub mod indexing;
pub mod keys;
pub mod list_entries;
pub mod list_grants;
pub mod log_key;
mod page;
mod past;
pub mod policies;
pub mod refusal;
pub mod rewrap;
mod search;
pub mod segments;
mod settle;
pub mod start;
pub mod subjects;
mod tags;
pub mod tail_entries;
pub mod tenants;
mod turns;
mod validate;
pub mod who_can;

pub use decide::NAMED_MAX;
pub use refusal::{Failure, FieldError, Halt, Reason, Refusal};
pub use validate::{Header, Limits, Violation};

/// How often an operation is decided again when what it rests on has moved.
const RERUNS_MAX: usize = 3;

/// How long a request waits for a policy version that is in force to be put where it is asked.
const CATCH_UP_MILLIS_MAX: u32 = 2_000;

/// All that operations work with.
pub struct Service {
    /// The only way to change anything and to answer anything.
    pub log: Log,
    /// For reading; writes go through the log.
    pub store: Arc<dyn Store>,
    /// Finds entries of the log.
    pub index: Arc<Index>,
    /// Finds and makes keys.
    pub keyring: Keyring,
    /// The policy in force.
    pub policy: ArcSwap<Snapshot>,
    /// Policies that were in force, and work on whole policies.
    pub past: Past,
    /// Nonces.
    pub entropy: Arc<dyn Entropy>,
    /// How many customers each principal has reached.
    pub guard: Guard,
    /// Who is making keys for whom.
    pub turns: Turns,
    /// Counts refusals that come in floods.
    pub tally: tally::Tally,
    /// Bounds on requests.
    pub limits: Limits,
    /// The deployment's region label, if it has one.
    pub region: Option<Region>,
    /// The tenants that there ever were.
    pub tenants: Arc<Tenants>,
    /// How long a tenant that is to be destroyed can still be kept.
    pub tenant_wait: Duration,
    /// Room for live tails.
    pub tails: Arc<tail_entries::Tails>,
    /// Keys the MACs of page tokens.
    pub page_key: page::PageKey,
}

pub use filter::Filter;
pub use guard::Guard;
pub use page::PageKey;
pub use past::Past;
pub use turns::Turns;

/// One kind of request.
pub trait Operation: Send + Sized + 'static {
    /// The request once it is known to be one.
    type Asked: Send + Sync;
    /// What it is answered with.
    type Answer: Send + 'static;
    /// Its name in the log.
    const NAME: stored::Operation;

    /// The header of the request: for whom and why.
    fn header(&self) -> &Header;

    /// Checks the whole request against the limits, the id rules and the catalogue.
    ///
    /// # Errors
    /// The first [`Violation`], naming field and rule.
    fn validate(self, service: &Service, policy: &Snapshot, caller: &Caller) -> Result<Self::Asked, Violation>;

    /// How much longer than its request an answer may be, in bytes: room is taken for it before anything is done.
    fn answer_bytes_max(_: &Service) -> usize {
        0
    }

    /// Decides, works, records and releases: once.
    ///
    /// # Errors
    /// [`Halt::Stale`] asks for another attempt; nothing was released.
    fn attempt(
        service: &Service,
        caller: &Caller,
        asked: &Self::Asked,
    ) -> impl Future<Output = Result<Released<Self::Answer>, Halt>> + Send;
}

/// Runs an operation to its recorded end, in a task of its own that holds `permit` until then.
///
/// # Errors
/// [`Failure`]; a refusal in it is recorded like an answer.
pub async fn run<O: Operation, P: Send + 'static>(
    service: Arc<Service>,
    connection: Arc<Connection>,
    request: O,
    permit: P,
) -> Result<Released<O::Answer>, Failure> {
    let task = tokio::spawn(async move {
        let _held_to_the_end = permit;
        story(&service, &connection, request).await
    });
    task.await.map_err(|_| Failure::Internal)?
}

async fn story<O: Operation>(
    service: &Service,
    connection: &Connection,
    request: O,
) -> Result<Released<O::Answer>, Failure> {
    let caller = match &connection.caller {
        // By the wall clock, as the handshake was: the log's time may be ahead of it.
        Ok(caller) if caller.has_ended(service.log.wall_secs()) => {
            return Err(service.refuse_unidentified(O::NAME, connection, Unidentified::Expired).await);
        }
        Ok(caller) => caller,
        Err(unidentified) => return Err(service.refuse_unidentified(O::NAME, connection, *unidentified).await),
    };
    let tenant = validate::tenant_for_log(caller, request.header());
    if service.tenants.is_elsewhere(&tenant, service.region()) {
        let refusal = tenants::refusal::Refusal::OtherRegion;
        return Err(service.refuse_tenant(O::NAME, caller, tenant, refusal).await);
    }
    let asked = match request.validate(service, &service.policy.load_full(), caller) {
        Ok(asked) => asked,
        Err(violation) => return Err(service.refuse_invalid(O::NAME, caller, tenant, violation).await),
    };
    for _ in 0..=RERUNS_MAX {
        match O::attempt(service, caller, &asked).await {
            Ok(released) => return Ok(released),
            Err(Halt::Stale) => service.catch_up().await,
            // A disk that fails the log fails readers too, in any order: the log is what matters then.
            Err(Halt::Failed(Failure::Unreadable)) if service.log.has_failed() => return Err(Failure::Unavailable),
            Err(Halt::Failed(failure)) => return Err(failure),
            Err(Halt::Denied(denied)) => return Err(service.refuse_denied(O::NAME, caller, denied).await),
            Err(Halt::Refused(refusing)) => match service.refuse_answer(*refusing).await {
                Some(failure) => return Err(failure),
                None => service.catch_up().await,
            },
            Err(Halt::Tenant(refusal)) => return Err(service.refuse_tenant(O::NAME, caller, tenant, refusal).await),
        }
    }
    Err(Failure::Aborted)
}

impl Service {
    /// Records what [`tally::Tally`] has counted; to be called each second and before the end.
    ///
    /// # Errors
    /// The log can't be written.
    pub async fn flush_tally(&self) -> Result<(), Refused> {
        self.tally.flush(&self.log).await
    }

    /// Waits until decisions are made under the version that the log has in force: between the commit of a version and its
    /// being put here, whatever is decided is stale.
    async fn catch_up(&self) {
        for _ in 0..CATCH_UP_MILLIS_MAX {
            if self.policy.load().version() >= self.log.policy_version() || self.log.has_failed() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    /// The region label that entries carry.
    fn region(&self) -> &str {
        self.region.as_ref().map_or("", Region::as_str)
    }

    /// The tenant's keys, to seal or to open with: it is not ending.
    async fn tenant_keys(&self, tenant: &Tenant, at: ReadPoint) -> Result<Arc<TenantKeys>, Halt> {
        let keys = self.keys_of(tenant, at).await?;
        match keys.standing() {
            Standing::Active | Standing::Wanted => return Ok(keys),
            Standing::Destroyed => return Err(Halt::Tenant(tenants::refusal::Refusal::Destroyed)),
            Standing::Ending(_) => {}
        }
        // A refusal stands on nothing: it is made sure that this has not been cancelled since the keys were read.
        let life = self.keyring.life(&*self.store, tenant).await.map_err(|error| Halt::unreadable(&error))?;
        match life.map(|life| life.standing()) {
            Some(Standing::Ending(due)) => Err(Halt::Tenant(tenants::refusal::Refusal::Ending { due })),
            Some(Standing::Destroyed) => Err(Halt::Tenant(tenants::refusal::Refusal::Destroyed)),
            Some(Standing::Active | Standing::Wanted) | None => {
                self.keyring.forget(keys.rests().relied.iter());
                Err(Halt::Stale)
            }
        }
    }

    /// The tenant's keys, to look at what there is, or to erase.
    async fn keys_of(&self, tenant: &Tenant, at: ReadPoint) -> Result<Arc<TenantKeys>, Halt> {
        match self.keyring.tenant(&*self.store, tenant, at).await {
            Ok(Some(keys)) => Ok(keys),
            // The request named a tenant that there is: nobody may name any other.
            Ok(None) => Err(Halt::Failed(Failure::Internal)),
            Err(keyring::Error::Destroyed) => Err(Halt::Tenant(tenants::refusal::Refusal::Destroyed)),
            Err(error) => Err(Halt::unreadable(&error)),
        }
    }
}

impl std::fmt::Debug for Service {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Service").field("log", &self.log).finish_non_exhaustive()
    }
}
