//! Subject records in memory, bounded by count and by time.
//!
//! Written here and not taken from a crate for two reasons. A value is dropped (and with it its opened keys are wiped) in the
//! very call that evicts it, and at the latest when [`Cache::sweep`] next runs after it expired; caches that evict in the
//! background keep keys for as long as nobody calls them. And time comes in from outside.
//!
//! Age counts from the moment a record was last known to be true, not from its last use. When full, the oldest record goes
//! first, unless it was used since it was last passed over.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use super::slots::Tag;
use crate::{id::Tenant, store::ReadPoint};

/// Values by tenant and tag, with the read point that each is known from.
pub(super) struct Cache<V> {
    shards: Box<[Mutex<Shard<V>>]>,
    shard_max: usize,
    ttl: Duration,
}

struct Shard<V> {
    /// Tags are MACs under a tenant's own key, so two tenants never share one; the tenant is compared nevertheless.
    held: HashMap<Tag, Held<V>>,
    /// Oldest first; a ticket that is no longer its value's is void.
    queue: VecDeque<(Tag, u64)>,
    next_ticket: u64,
}

struct Held<V> {
    tenant: Tenant,
    value: Arc<V>,
    loaded_at: ReadPoint,
    expires: Duration,
    ticket: u64,
    used: bool,
}

impl<V> Cache<V> {
    /// A cache of at most about `count` values (each of 16 parts is bounded by itself once there are 1,024 or more).
    pub(super) fn new(count: usize, ttl: Duration) -> Self {
        let shards = if count < 1024 { 1 } else { 16 };
        let shard = || Mutex::new(Shard { held: HashMap::new(), queue: VecDeque::new(), next_ticket: 0 });
        Self { shards: (0..shards).map(|_| shard()).collect(), shard_max: count.div_ceil(shards), ttl }
    }

    /// The value, unless it has expired: then it is dropped.
    pub(super) fn find(&self, tenant: &Tenant, tag: Tag, now: Duration) -> Option<(Arc<V>, ReadPoint)> {
        let mut shard = self.shard(tag)?;
        let held = shard.held.get_mut(&tag).filter(|held| held.tenant == *tenant)?;
        if held.expires <= now {
            shard.held.remove(&tag);
            return None;
        }
        held.used = true;
        Some((Arc::clone(&held.value), held.loaded_at))
    }

    /// Keeps a value, unless one known from a later read point is there.
    pub(super) fn keep(&self, tenant: &Tenant, tag: Tag, value: Arc<V>, loaded_at: ReadPoint, now: Duration) {
        let Some(mut shard) = self.shard(tag) else { return };
        let expires = now.saturating_add(self.ttl);
        if let Some(held) = shard.held.get_mut(&tag) {
            if held.tenant == *tenant && held.loaded_at > loaded_at {
                return;
            }
            let ticket = held.ticket;
            *held = Held { tenant: tenant.clone(), value, loaded_at, expires, ticket, used: held.used };
            return;
        }
        if self.shard_max == 0 {
            return;
        }
        while shard.held.len() >= self.shard_max {
            shard.evict();
        }
        let ticket = shard.ticket(tag);
        let held = Held { tenant: tenant.clone(), value, loaded_at, expires, ticket, used: false };
        shard.held.insert(tag, held);
        shard.compact(self.shard_max);
    }

    /// Drops a value known from no later than `upto`.
    pub(super) fn forget(&self, tenant: &[u8], tag: Tag, upto: ReadPoint) {
        let Some(mut shard) = self.shard(tag) else { return };
        let known = shard.held.get(&tag);
        if known.is_some_and(|held| held.tenant.as_str().as_bytes() == tenant && held.loaded_at <= upto) {
            shard.held.remove(&tag);
        }
    }

    /// Drops every value that has expired.
    pub(super) fn sweep(&self, now: Duration) {
        for shard in &self.shards {
            let mut shard = lock(shard);
            shard.held.retain(|_, held| held.expires > now);
            shard.compact(0);
        }
    }

    fn shard(&self, tag: Tag) -> Option<MutexGuard<'_, Shard<V>>> {
        let [.., last] = tag.0;
        self.shards.get(usize::from(last) % self.shards.len().max(1)).map(lock)
    }
}

impl<V> Shard<V> {
    fn ticket(&mut self, tag: Tag) -> u64 {
        let ticket = self.next_ticket;
        self.next_ticket += 1;
        self.queue.push_back((tag, ticket));
        ticket
    }

    /// Drops the oldest value that was not used since it was last passed over. Passes over at most [`PASSES_MAX`].
    fn evict(&mut self) {
        let mut passes = 0;
        while let Some((tag, ticket)) = self.queue.pop_front() {
            match self.held.get_mut(&tag) {
                Some(held) if held.ticket == ticket && held.used && passes < PASSES_MAX => {
                    held.used = false;
                    passes += 1;
                    self.queue.push_back((tag, ticket));
                }
                Some(held) if held.ticket == ticket => {
                    self.held.remove(&tag);
                    return;
                }
                Some(_) | None => {}
            }
        }
        // Every value has a ticket in the queue, so this is never reached with a value left.
        self.held.clear();
    }

    /// Removes void tickets once they outnumber the values by more than `slack`.
    fn compact(&mut self, slack: usize) {
        if self.queue.len() > self.held.len() + slack {
            let held = &self.held;
            self.queue.retain(|(tag, ticket)| held.get(tag).is_some_and(|held| held.ticket == *ticket));
        }
    }
}

/// A panic while the lock was held can't leave a shard in a state that matters: at worst a ticket is void.
fn lock<V>(shard: &Mutex<Shard<V>>) -> MutexGuard<'_, Shard<V>> {
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}

const PASSES_MAX: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    const TTL: Duration = Duration::from_secs(300);
    const START: Duration = Duration::ZERO;
    const ALWAYS: ReadPoint = ReadPoint(u64::MAX);

    fn tag(n: u16) -> Tag {
        let mut bytes = [0; 16];
        bytes[..2].copy_from_slice(&n.to_be_bytes());
        bytes[15] = n.to_be_bytes()[1];
        Tag(bytes)
    }

    fn acme() -> Tenant {
        Tenant::parse("acme").unwrap()
    }

    fn len(cache: &Cache<u16>) -> usize {
        cache.shards.iter().map(|shard| lock(shard).held.len()).sum()
    }

    #[test]
    fn a_value_lives_until_its_time_and_is_then_dropped_at_once() {
        let cache = Cache::new(10, TTL);
        let value = Arc::new(1);
        cache.keep(&acme(), tag(1), Arc::clone(&value), ReadPoint(1), START);
        let last = TTL - Duration::from_nanos(1);
        assert!(cache.find(&acme(), tag(1), last).is_some());
        // Use does not make it live longer.
        assert!(cache.find(&acme(), tag(1), TTL).is_none());
        assert_eq!(Arc::strong_count(&value), 1);

        cache.keep(&acme(), tag(1), Arc::clone(&value), ReadPoint(1), START);
        cache.sweep(last);
        assert_eq!(Arc::strong_count(&value), 2);
        cache.sweep(TTL);
        assert_eq!(Arc::strong_count(&value), 1);
    }

    #[test]
    fn the_count_is_bounded_and_what_is_used_stays() {
        let cache = Cache::new(8, TTL);
        cache.keep(&acme(), tag(0), Arc::new(0), ReadPoint(0), START);
        for n in 1..1000 {
            assert!(cache.find(&acme(), tag(0), START).is_some(), "used before each of {n} others");
            cache.keep(&acme(), tag(n), Arc::new(n), ReadPoint(0), START);
            assert!(len(&cache) <= 8);
        }
    }

    #[test]
    fn a_large_cache_is_bounded_too() {
        let cache = Cache::new(1024, TTL);
        for n in 0..5000 {
            cache.keep(&acme(), tag(n), Arc::new(n), ReadPoint(0), START);
            cache.find(&acme(), tag(n), START);
        }
        assert_eq!(len(&cache), 1024);
    }

    #[test]
    fn a_cache_of_none_keeps_none() {
        let cache = Cache::new(0, TTL);
        cache.keep(&acme(), tag(1), Arc::new(1), ReadPoint(0), START);
        assert_eq!(len(&cache), 0);
    }

    #[test]
    fn an_earlier_reading_never_replaces_a_later_one() {
        let cache = Cache::new(10, TTL);
        cache.keep(&acme(), tag(1), Arc::new(7), ReadPoint(7), START);
        cache.keep(&acme(), tag(1), Arc::new(6), ReadPoint(6), START);
        assert_eq!(cache.find(&acme(), tag(1), START).unwrap(), (Arc::new(7), ReadPoint(7)));
        cache.keep(&acme(), tag(1), Arc::new(8), ReadPoint(8), START);
        assert_eq!(cache.find(&acme(), tag(1), START).unwrap(), (Arc::new(8), ReadPoint(8)));
    }

    #[test]
    fn forgetting_spares_what_was_read_later() {
        let cache = Cache::new(10, TTL);
        cache.keep(&acme(), tag(1), Arc::new(1), ReadPoint(5), START);
        cache.forget(b"acme", tag(1), ReadPoint(4));
        assert!(cache.find(&acme(), tag(1), START).is_some());
        cache.forget(b"other", tag(1), ALWAYS);
        assert!(cache.find(&acme(), tag(1), START).is_some());
        cache.forget(b"acme", tag(1), ReadPoint(5));
        assert!(cache.find(&acme(), tag(1), START).is_none());
    }

    #[test]
    fn another_tenants_value_is_not_found() {
        let cache = Cache::new(10, TTL);
        cache.keep(&acme(), tag(1), Arc::new(1), ReadPoint(5), START);
        assert!(cache.find(&Tenant::parse("other").unwrap(), tag(1), START).is_none());
    }

    #[test]
    fn coming_and_going_does_not_pile_up_tickets() {
        let cache = Cache::new(4, TTL);
        for _ in 0..1000 {
            cache.keep(&acme(), tag(1), Arc::new(1), ReadPoint(5), START);
            cache.forget(b"acme", tag(1), ALWAYS);
        }
        assert!(lock(&cache.shards[0]).queue.len() <= 8);
    }
}
