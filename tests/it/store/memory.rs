//! The store in memory passes the suite that the durable ones pass.

use super::conformance::{Backend, conformance_suite};
use crate::support::memory_store::MemoryStore;

struct Memory(MemoryStore);

impl Backend for Memory {
    type Store = MemoryStore;

    fn open(&self) -> MemoryStore {
        self.0.clone()
    }
}

conformance_suite!(Memory(MemoryStore::default()));
