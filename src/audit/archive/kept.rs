//! What was read last: a small memory whose least recently used value goes first.
//!
//! INVARIANT: what was begun to be read before it was cleared does not come into it afterwards.

use std::collections::VecDeque;

/// At most so many values by key. Each use looks at all of them, so it is for a few hundred.
pub(super) struct Kept<K, V> {
    /// The most recently used at the end.
    values: VecDeque<(K, V)>,
    values_max: usize,
    cleared: u64,
}

/// When reading began: before or after the memory was cleared.
#[derive(Clone, Copy)]
pub(super) struct Since(u64);

impl<K: PartialEq, V: Clone> Kept<K, V> {
    pub(super) fn new(values_max: usize) -> Self {
        Self { values: VecDeque::new(), values_max, cleared: 0 }
    }

    pub(super) fn get(&mut self, key: &K) -> Option<V> {
        // What was used last is what is wanted most.
        let at = self.values.iter().rposition(|(kept, _)| kept == key)?;
        let used = self.values.remove(at)?;
        let value = used.1.clone();
        self.values.push_back(used);
        Some(value)
    }

    /// To be had before what is to be put is read.
    pub(super) fn since(&self) -> Since {
        Since(self.cleared)
    }

    pub(super) fn put(&mut self, since: Since, key: K, value: V) {
        if since.0 != self.cleared {
            return;
        }
        self.values.retain(|(kept, _)| *kept != key);
        self.values.push_back((key, value));
        while self.values.len() > self.values_max {
            self.values.pop_front();
        }
    }

    pub(super) fn clear(&mut self) {
        self.cleared += 1;
        self.values.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_recently_used_goes_first() {
        let mut kept = Kept::new(2);
        let since = kept.since();
        kept.put(since, 1, "one");
        kept.put(since, 2, "two");
        assert_eq!(kept.get(&1), Some("one"));
        kept.put(since, 3, "three");
        assert_eq!((kept.get(&1), kept.get(&2), kept.get(&3)), (Some("one"), None, Some("three")));
    }

    #[test]
    fn a_key_has_one_value_the_last() {
        let mut kept = Kept::new(2);
        let since = kept.since();
        kept.put(since, 1, "old");
        kept.put(since, 1, "new");
        kept.put(since, 2, "two");
        assert_eq!((kept.get(&1), kept.get(&2)), (Some("new"), Some("two")));
        kept.clear();
        assert_eq!(kept.get(&1), None);
        kept.put(since, 1, "read before");
        assert_eq!(kept.get(&1), None);
        kept.put(kept.since(), 1, "read after");
        assert_eq!(kept.get(&1), Some("read after"));
    }
}
