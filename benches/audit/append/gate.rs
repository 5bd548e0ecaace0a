//! A store that tells when a batch comes, and lets the writer go on only when the next group is queued.

use std::{
    ops::Range,
    path::Path,
    sync::{Mutex, mpsc},
    time::{Duration, Instant},
};

use privet::store::{Batch, Commit, Direction, Error, Head, Reading, Room, Slot, Space, Store, sled::SledStore};

/// A sled store behind gates.
pub struct Gated {
    store: SledStore,
    began: mpsc::Sender<Began>,
    queued: Mutex<mpsc::Receiver<()>>,
    /// How long the store took for the newest batch.
    took: Mutex<Duration>,
}

/// A batch goes to the store.
pub struct Began {
    pub at: Instant,
    /// How long the store took for the one before.
    pub before_took: Duration,
}

/// What the one who queues holds.
pub struct Gates {
    /// A batch goes to the store: all that was queued is in it.
    pub began: mpsc::Receiver<Began>,
    /// To be sent once for each batch, when the next group is queued.
    pub queued: mpsc::Sender<()>,
}

impl Gated {
    pub fn open(path: &Path) -> (Self, Gates) {
        let (began, begins) = mpsc::channel();
        let (queue, queued) = mpsc::channel();
        let store = SledStore::open(path).unwrap();
        (
            Self { store, began, queued: Mutex::new(queued), took: Mutex::default() },
            Gates { began: begins, queued: queue },
        )
    }
}

impl Store for Gated {
    fn head(&self) -> Result<Head, Error> {
        self.store.head()
    }

    fn read<'a>(&'a self, slots: &'a [Slot]) -> Reading<'a, Vec<Option<Vec<u8>>>> {
        self.store.read(slots)
    }

    fn scan<'a>(
        &'a self,
        space: Space,
        keys: Range<Vec<u8>>,
        direction: Direction,
        limit: usize,
    ) -> Reading<'a, Vec<(Vec<u8>, Vec<u8>)>> {
        self.store.scan(space, keys, direction, limit)
    }

    fn commit(&self, base: &Head, batch: &Batch) -> Result<Commit, Error> {
        let mut took = self.took.lock().unwrap();
        let at = Instant::now();
        // Nobody queues any more when the receiver is gone.
        let _ = self.began.send(Began { at, before_took: *took });
        let committed = self.store.commit(base, batch)?;
        *took = at.elapsed();
        drop(took);
        let _ = self.queued.lock().unwrap().recv();
        Ok(committed)
    }

    fn room(&self) -> Result<Room, Error> {
        self.store.room()
    }

    fn release_reserve(&self) -> Result<(), Error> {
        self.store.release_reserve()
    }
}
