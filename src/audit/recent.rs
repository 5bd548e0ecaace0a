//! Which slots changed lately, so that the writer can check what an answer rests on without reading the store.

use std::{
    collections::{HashMap, VecDeque},
    hash::{BuildHasher, RandomState},
};

use crate::store::{ReadPoint, Slot};

/// A bounded memory of changes. What it has forgotten counts as changed: the operation is then merely decided again. So does
/// a slot that shares its hash with a changed one, which lets a change cost 32 bytes however long its key is.
pub(super) struct Recent {
    hasher: RandomState,
    changed: HashMap<u64, u64>,
    order: VecDeque<(u64, u64)>,
    /// Changes with a smaller index may be forgotten.
    floor: u64,
    newest_plus_one: u64,
    slots_max: usize,
}

impl Recent {
    /// Nothing is known about entries before `entries`.
    pub(super) fn new(entries: u64, slots_max: usize) -> Self {
        Self {
            hasher: RandomState::new(),
            changed: HashMap::new(),
            order: VecDeque::new(),
            floor: entries,
            newest_plus_one: 0,
            slots_max,
        }
    }

    /// Entry `index` changed `slot`. Indexes never fall.
    pub(super) fn note(&mut self, slot: &Slot, index: u64) {
        self.newest_plus_one = self.newest_plus_one.max(index + 1);
        let slot = self.hasher.hash_one(slot);
        self.changed.insert(slot, index);
        self.order.push_back((index, slot));
        while self.order.len() > self.slots_max {
            let Some((old, slot)) = self.order.pop_front() else { return };
            self.floor = self.floor.max(old + 1);
            if self.changed.get(&slot) == Some(&old) {
                self.changed.remove(&slot);
            }
        }
    }

    /// Whether `slot` may have changed since it was read at `point`.
    pub(super) fn may_have_changed(&self, slot: &Slot, point: ReadPoint) -> bool {
        if self.newest_plus_one <= point.0 && self.floor <= point.0 {
            return false;
        }
        point.0 < self.floor || self.changed.get(&self.hasher.hash_one(slot)).is_some_and(|index| *index >= point.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Space;

    fn slot(n: u8) -> Slot {
        Slot::new(Space::Subject, &[&[n]])
    }

    #[test]
    fn a_change_counts_for_reads_before_it_and_not_for_reads_after() {
        let mut recent = Recent::new(0, 10);
        recent.note(&slot(1), 7);
        assert!(recent.may_have_changed(&slot(1), ReadPoint(7)));
        assert!(!recent.may_have_changed(&slot(1), ReadPoint(8)));
        assert!(!recent.may_have_changed(&slot(2), ReadPoint(0)));
    }

    #[test]
    fn what_was_forgotten_counts_as_changed() {
        let mut recent = Recent::new(0, 2);
        for n in 0..5 {
            recent.note(&slot(n), u64::from(n));
        }
        assert!(recent.may_have_changed(&slot(9), ReadPoint(2)), "entry 2 is forgotten, it may have touched any slot");
        assert!(!recent.may_have_changed(&slot(9), ReadPoint(3)));
        assert!(recent.may_have_changed(&slot(4), ReadPoint(3)));
    }

    #[test]
    fn a_slot_changed_twice_stays_known_when_its_first_change_is_forgotten() {
        let mut recent = Recent::new(0, 2);
        recent.note(&slot(1), 0);
        recent.note(&slot(1), 1);
        recent.note(&slot(2), 2);
        assert!(recent.may_have_changed(&slot(1), ReadPoint(1)));
    }

    #[test]
    fn nothing_is_known_about_the_time_before_the_start() {
        let recent = Recent::new(100, 10);
        assert!(recent.may_have_changed(&slot(1), ReadPoint(99)));
        assert!(!recent.may_have_changed(&slot(1), ReadPoint(100)));
    }
}
