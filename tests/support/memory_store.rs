//! A [`Store`] in memory, for tests that are not about disks. It passes the conformance suite; clones share one state, so a
//! clone stands for "opened again".

use std::{
    collections::BTreeMap,
    future::ready,
    ops::Range,
    sync::{Arc, Mutex, PoisonError},
};

use privet::store::{Batch, Commit, Direction, Error, Head, Reading, Room, Slot, Space, Store};

/// See the module's text.
#[derive(Clone, Default)]
pub struct MemoryStore(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    head: Head,
    values: BTreeMap<(Space, Vec<u8>), Vec<u8>>,
}

impl MemoryStore {
    fn with<T>(&self, job: impl FnOnce(&mut State) -> T) -> T {
        job(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Store for MemoryStore {
    fn head(&self) -> Result<Head, Error> {
        Ok(self.with(|state| state.head.clone()))
    }

    fn read<'a>(&'a self, slots: &'a [Slot]) -> Reading<'a, Vec<Option<Vec<u8>>>> {
        let found = self.with(|state| {
            slots.iter().map(|slot| state.values.get(&(slot.space, slot.key.clone())).cloned()).collect()
        });
        Box::pin(ready(Ok(found)))
    }

    fn scan<'a>(
        &'a self,
        space: Space,
        keys: Range<Vec<u8>>,
        direction: Direction,
        limit: usize,
    ) -> Reading<'a, Vec<(Vec<u8>, Vec<u8>)>> {
        if keys.start >= keys.end {
            return Box::pin(ready(Ok(Vec::new())));
        }
        let found = self.with(|state| {
            let range = state.values.range((space, keys.start)..(space, keys.end));
            let row = |((_, key), value): (&(Space, Vec<u8>), &Vec<u8>)| (key.clone(), value.clone());
            match direction {
                Direction::Ascending => range.take(limit).map(row).collect(),
                Direction::Descending => range.rev().take(limit).map(row).collect(),
            }
        });
        Box::pin(ready(Ok(found)))
    }

    fn commit(&self, base: &Head, batch: &Batch) -> Result<Commit, Error> {
        batch.check_bounds()?;
        self.with(|state| {
            if state.head != *base {
                let there = state.head == batch.head;
                return Ok(if there { Commit::Committed } else { Commit::Moved(state.head.clone()) });
            }
            for effect in &batch.effects {
                let key = (effect.slot.space, effect.slot.key.clone());
                match &effect.value {
                    Some(value) => state.values.insert(key, value.clone()),
                    None => state.values.remove(&key),
                };
            }
            state.head = batch.head.clone();
            Ok(Commit::Committed)
        })
    }

    fn room(&self) -> Result<Room, Error> {
        Ok(Room::Ample)
    }

    fn release_reserve(&self) -> Result<(), Error> {
        Ok(())
    }
}
