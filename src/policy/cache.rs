//! Decisions that were already made, under the policy version that owns this cache: a new version starts with an empty one,
//! so nothing ever has to be invalidated.
//!
//! INVARIANT: what is found is what would be decided. The whole question is compared, not its hash; a decision is given only
//! within the stretch of time it was made for, whichever way the clock went; and what was unclear is never stored.
//!
//! Bounded: a question's hash picks one small set of slots, in which a new decision takes the oldest's place. So a caller
//! who asks many different questions costs the others a casbin evaluation, and never memory.

use std::{
    hash::{BuildHasher, Hash, Hasher, RandomState},
    ops::Range,
    sync::{PoisonError, RwLock},
};

use super::{Decision, Question};
use crate::id::{Action, Object, Principal, Purpose, Tenant};

const SETS: usize = 8_192;
const WAYS: usize = 8;

/// The most decisions that one policy version remembers.
pub const DECISIONS_MAX: usize = SETS * WAYS;

pub(super) struct Cache {
    // Keyed at random: nobody can choose questions that fall into one set.
    hasher: RandomState,
    sets: Box<[RwLock<Set>]>,
}

#[derive(Default)]
struct Set {
    slots: [Option<Box<Slot>>; WAYS],
    oldest: usize,
}

struct Slot {
    hash: u64,
    principal: Principal,
    tenant: Tenant,
    object: Object,
    action: Action,
    purpose: Purpose,
    holds: Range<u64>,
    decision: Decision,
}

impl Cache {
    pub(super) fn new() -> Self {
        Self { hasher: RandomState::new(), sets: (0..SETS).map(|_| RwLock::default()).collect() }
    }

    /// The decision on `question` at `now`, if it is remembered.
    pub(super) fn find(&self, question: &Question<'_>, now: u64) -> Option<Decision> {
        let hash = self.hash(question);
        let set = self.set(hash)?.read().unwrap_or_else(PoisonError::into_inner);
        let slot = set.slots.iter().flatten().find(|slot| slot.answers(hash, question))?;
        slot.holds.contains(&now).then(|| slot.decision.clone())
    }

    /// Remembers a decision that stands for every second of `holds`.
    pub(super) fn remember(&self, question: &Question<'_>, holds: Range<u64>, decision: Decision) {
        let hash = self.hash(question);
        let Some(set) = self.set(hash) else { return };
        let slot = Box::new(Slot {
            hash,
            principal: question.principal.clone(),
            tenant: question.tenant.clone(),
            object: question.object.clone(),
            action: question.action,
            purpose: question.purpose.clone(),
            holds,
            decision,
        });
        let mut set = set.write().unwrap_or_else(PoisonError::into_inner);
        let same = set.slots.iter().position(|old| old.as_ref().is_some_and(|old| old.answers(hash, question)));
        let at = same.unwrap_or(set.oldest);
        if same.is_none() {
            set.oldest = (set.oldest + 1) % WAYS;
        }
        if let Some(place) = set.slots.get_mut(at) {
            *place = Some(slot);
        }
    }

    fn hash(&self, question: &Question<'_>) -> u64 {
        let mut hasher = self.hasher.build_hasher();
        question.principal.hash(&mut hasher);
        question.tenant.hash(&mut hasher);
        question.object.hash(&mut hasher);
        question.action.hash(&mut hasher);
        question.purpose.hash(&mut hasher);
        hasher.finish()
    }

    fn set(&self, hash: u64) -> Option<&RwLock<Set>> {
        self.sets.get(usize::try_from(hash % SETS as u64).ok()?)
    }
}

impl Slot {
    fn answers(&self, hash: u64, question: &Question<'_>) -> bool {
        self.hash == hash
            && self.action == question.action
            && self.object == *question.object
            && self.purpose == *question.purpose
            && self.principal == *question.principal
            && self.tenant == *question.tenant
    }
}
