//! Time, as something that is handed in.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// A source of time.
pub trait Clock: Send + Sync + 'static {
    /// Microseconds since 1970 by the wall clock, which may jump both ways.
    fn wall_micros(&self) -> u64;

    /// Time since this clock was made, which never runs back.
    fn monotonic(&self) -> Duration;

    /// Whole seconds since 1970 by the wall clock.
    fn wall_secs(&self) -> u64 {
        self.wall_micros() / 1_000_000
    }
}

/// The machine's clocks.
#[derive(Debug)]
pub struct SystemClock {
    start: Instant,
}

impl SystemClock {
    /// Starts the monotonic clock at zero.
    #[expect(clippy::disallowed_methods, reason = "this is where the system's clock comes in")]
    pub fn start() -> Self {
        Self { start: Instant::now() }
    }
}

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is where the system's clock comes in")]
    fn wall_micros(&self) -> u64 {
        // A clock before 1970 is broken. A server does not start by it; one that runs goes by the log's last time.
        SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| u64::try_from(d.as_micros()).unwrap_or(0))
    }

    fn monotonic(&self) -> Duration {
        self.start.elapsed()
    }
}
