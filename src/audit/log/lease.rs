//! Releasing more of what a durable record already covers: a live tail's minute.

use std::time::Duration;

use super::{Log, Refused};
use crate::audit::release::{Released, Unreleased};

/// A time in which results may be released without a record of their own, on the ground that the record for it stands on.
#[derive(Clone, Copy, Debug)]
pub struct Lease {
    policy: Option<(u64, Option<u64>)>,
    /// By the monotonic clock.
    ends: Duration,
}

impl Log {
    /// A lease from now on. It must leave the process only with a record that says what it is for: as, or in, the result of a
    /// [`Log::commit`].
    pub fn lease(&self, policy: Option<(u64, Option<u64>)>, lasts: Duration) -> Lease {
        Lease { policy, ends: self.clock.monotonic().saturating_add(lasts) }
    }

    /// How long a lease still lasts; `None` if it is over, or if the policy that it stands on moved.
    pub fn left(&self, lease: &Lease) -> Option<Duration> {
        let policy = lease.policy.is_none_or(|(version, valid_until)| {
            version == self.policy_version() && valid_until.is_none_or(|end| self.now_secs() < end)
        });
        let left = lease.ends.saturating_sub(self.clock.monotonic());
        (policy && !left.is_zero()).then_some(left)
    }

    /// Releases `result` under a lease.
    ///
    /// # Errors
    /// [`Refused::Stale`] if the lease is over or the policy moved; [`Refused::Unavailable`] if the log has failed.
    pub fn release_within<T>(&self, lease: &Lease, result: Unreleased<T>) -> Result<Released<T>, Refused> {
        if self.has_failed() {
            return Err(Refused::Unavailable);
        }
        self.left(lease).map(|_| result.release(Vec::new())).ok_or(Refused::Stale)
    }
}
