//! A clock that a test moves, in both directions.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use privet::clock::Clock;

/// Wall and monotonic time, both set by hand.
#[derive(Debug)]
pub struct TestClock {
    wall_micros: AtomicU64,
    monotonic_micros: AtomicU64,
}

impl TestClock {
    /// Starts at `wall_secs` since 1970.
    pub fn at(wall_secs: u64) -> Self {
        Self { wall_micros: AtomicU64::new(wall_secs * 1_000_000), monotonic_micros: AtomicU64::new(0) }
    }

    /// Sets the wall clock; the monotonic one stays.
    pub fn set_wall_secs(&self, secs: u64) {
        self.wall_micros.store(secs * 1_000_000, Ordering::SeqCst);
    }

    /// Moves both clocks on.
    pub fn advance(&self, by: Duration) {
        let micros = by.as_micros() as u64;
        self.wall_micros.fetch_add(micros, Ordering::SeqCst);
        self.monotonic_micros.fetch_add(micros, Ordering::SeqCst);
    }
}

impl Clock for TestClock {
    fn wall_micros(&self) -> u64 {
        self.wall_micros.load(Ordering::SeqCst)
    }

    fn monotonic(&self) -> Duration {
        Duration::from_micros(self.monotonic_micros.load(Ordering::SeqCst))
    }
}
