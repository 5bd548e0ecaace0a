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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::Verdict;

    struct Owned {
        principal: Principal,
        tenant: Tenant,
        object: Object,
        action: Action,
        purpose: Purpose,
    }

    impl Owned {
        fn new([principal, tenant, object, action, purpose]: [&str; 5]) -> Self {
            Self {
                principal: Principal::parse(principal).unwrap(),
                tenant: Tenant::parse(tenant).unwrap(),
                object: Object::parse(object).unwrap(),
                action: Action::parse(action).unwrap(),
                purpose: Purpose::parse(purpose).unwrap(),
            }
        }

        fn question(&self) -> Question<'_> {
            let Self { principal, tenant, object, action, purpose } = self;
            Question { principal, tenant, object, action: *action, purpose }
        }
    }

    const ASKED: [&str; 5] = ["spiffe://a/p", "acme", "pii/a/b", "decrypt", "signup"];
    /// Another text for each part.
    const OTHERS: [&str; 5] = ["spiffe://a/q", "bolt", "pii/a/c", "mask", "invoicing"];

    fn allow() -> Decision {
        Decision { verdict: Verdict::Allow, grant_ids: [].into(), roles: [].into(), valid_until: None }
    }

    #[test]
    fn only_the_same_question_in_every_part_is_found() {
        let cache = Cache::new();
        cache.remember(&Owned::new(ASKED).question(), 0..100, allow());
        assert_eq!(cache.find(&Owned::new(ASKED).question(), 50), Some(allow()));
        for (at, other) in OTHERS.into_iter().enumerate() {
            let mut asked = ASKED;
            asked[at] = other;
            assert_eq!(cache.find(&Owned::new(asked).question(), 50), None, "{other}");
        }
    }

    #[test]
    fn questions_that_fall_together_by_hash_are_still_told_apart() {
        let first = Owned::new(ASKED);
        let slot = Slot {
            hash: 7,
            principal: first.principal.clone(),
            tenant: first.tenant.clone(),
            object: first.object.clone(),
            action: first.action,
            purpose: first.purpose.clone(),
            holds: 0..1,
            decision: allow(),
        };
        assert!(slot.answers(7, &first.question()));
        for (at, other) in OTHERS.into_iter().enumerate() {
            let mut asked = ASKED;
            asked[at] = other;
            assert!(!slot.answers(7, &Owned::new(asked).question()), "{other}");
        }
    }

    #[test]
    fn a_decision_is_found_only_within_its_time_whichever_way_the_clock_went() {
        let cache = Cache::new();
        let asked = Owned::new(ASKED);
        cache.remember(&asked.question(), 10..20, allow());
        let found = [9, 10, 19, 20, 10].map(|now| cache.find(&asked.question(), now).is_some());
        assert_eq!(found, [false, true, true, false, true]);
    }

    #[test]
    fn a_new_decision_takes_the_place_of_the_old_one_on_the_same_question() {
        let cache = Cache::new();
        let asked = Owned::new(ASKED);
        cache.remember(&asked.question(), 0..10, allow());
        cache.remember(&asked.question(), 10..20, Decision { verdict: Verdict::Deny, ..allow() });
        assert_eq!(cache.find(&asked.question(), 5), None);
        assert_eq!(cache.find(&asked.question(), 15).unwrap().verdict, Verdict::Deny);
    }

    #[test]
    fn it_never_holds_more_than_its_bound() {
        let cache = Cache::new();
        for at in 0..DECISIONS_MAX + 10_000 {
            let asked = Owned::new([&format!("spiffe://a/{at}"), "acme", "pii/a/b", "decrypt", "signup"]);
            cache.remember(&asked.question(), 0..10, allow());
        }
        let held = cache.sets.iter().map(|set| set.read().unwrap().slots.iter().flatten().count()).sum::<usize>();
        assert!(held <= DECISIONS_MAX && held > DECISIONS_MAX / 2, "{held}");
    }
}
