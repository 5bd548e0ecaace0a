//! Turns: requests that are about to write the same records go one after the other.
//!
//! Nothing rests on this. The log refuses whoever built on a record that moved, turns or no turns; but requests that bring
//! the same new customers at once would make each other stale again and again. A turn covers all of a request's records or
//! none, so nobody holds one while waiting for another, and nobody waits for ever.

use std::{
    collections::HashSet,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::{sync::Notify, time::timeout};

use crate::store::{ReadPoint, Slot};

/// Whoever waited this long goes on without a turn.
const WAIT_MAX: Duration = Duration::from_secs(2);

/// Who is writing what now.
#[derive(Debug, Default)]
pub struct Turns {
    taken: Mutex<HashSet<Slot>>,
    given_back: Notify,
}

/// A turn to write some records; given back when dropped.
#[must_use = "dropping it gives the turn back"]
pub(super) struct Turn<'a> {
    turns: &'a Turns,
    slots: Vec<Slot>,
}

impl Turns {
    /// Waits until nobody else writes any of these records. Read them after, not before.
    pub(super) async fn take(&self, rewritten: &[(Slot, ReadPoint)]) -> Turn<'_> {
        let mut slots: Vec<Slot> = rewritten.iter().map(|(slot, _)| slot.clone()).collect();
        slots.sort_unstable();
        slots.dedup();
        let taken = timeout(WAIT_MAX, async {
            loop {
                let given_back = self.given_back.notified();
                if self.try_take(&slots) {
                    return;
                }
                given_back.await;
            }
        });
        match taken.await {
            Ok(()) => Turn { turns: self, slots },
            Err(_) => Turn { turns: self, slots: Vec::new() },
        }
    }

    fn try_take(&self, slots: &[Slot]) -> bool {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let free = slots.iter().all(|slot| !taken.contains(slot));
        if free {
            taken.extend(slots.iter().cloned());
        }
        free
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let mut taken = self.turns.taken.lock().unwrap_or_else(PoisonError::into_inner);
        for slot in &self.slots {
            taken.remove(slot);
        }
        drop(taken);
        self.turns.given_back.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    };

    use super::*;
    use crate::store::Space;

    fn slots(numbers: impl IntoIterator<Item = u8>) -> Vec<(Slot, ReadPoint)> {
        numbers.into_iter().map(|n| (Slot::new(Space::Subject, &[&[n]]), ReadPoint(0))).collect()
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn those_who_share_a_record_go_one_after_the_other_and_all_of_them_do() {
        let turns = Arc::new(Turns::default());
        let inside: Arc<[AtomicUsize; 16]> = Arc::default();
        let all = (0..200_u8).map(|n| {
            let (turns, inside) = (turns.clone(), inside.clone());
            tokio::spawn(async move {
                // Twice the same slot is one slot; neighbours overlap.
                let mine: Vec<usize> = (0..3).map(|i| (n as usize + i) % 16).collect();
                let turn = turns.take(&slots(mine.iter().chain(&mine).map(|slot| *slot as u8))).await;
                for slot in &mine {
                    assert_eq!(inside[*slot].fetch_add(1, Ordering::SeqCst), 0, "somebody else is in slot {slot}");
                }
                tokio::task::yield_now().await;
                for slot in &mine {
                    inside[*slot].fetch_sub(1, Ordering::SeqCst);
                }
                drop(turn);
            })
        });
        for done in futures_util::future::join_all(all).await {
            done.unwrap();
        }
        assert!(turns.taken.lock().unwrap().is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_waits_for_ever() {
        let turns = Turns::default();
        let held = turns.take(&slots([1])).await;
        let late = turns.take(&slots([1, 2])).await;
        assert!(late.slots.is_empty());
        drop(late);
        assert!(!turns.try_take(&[held.slots[0].clone()]), "the holder keeps its turn");
    }
}
