//! Time that is stored: it does not run back when the wall clock does, nor does it leap ahead with it.

use std::{sync::atomic::Ordering, time::Duration};

use super::Log;
use crate::clock::Clock;

impl Log {
    /// The time, in microseconds since 1970, for what is stored and can't be taken back. It does not run back, and neither leaps
    /// ahead with the wall clock nor stands still while that is far behind: then it goes by the monotonic clock.
    pub fn believed_micros(&self) -> u64 {
        // Before the time that belongs to it: that may be newer, never older.
        let synced_at = self.shared.synced_at_micros.load(Ordering::Acquire);
        let last = self.shared.time_unix_micros.load(Ordering::Acquire);
        let (wall, monotonic) = (self.clock.wall_micros(), micros(self.clock.monotonic()));
        let (opened, opened_at) = self.shared.opened_at_micros;
        let running = opened.saturating_add(monotonic.saturating_sub(opened_at));
        if wall.saturating_add(LEAP_MICROS_MAX) < running {
            return last.max(running);
        }
        match synced_at {
            0 => last.max(wall),
            synced_at => believed(last, wall, monotonic.saturating_sub(synced_at)),
        }
    }

    /// [`Self::believed_micros`] in whole seconds.
    pub fn believed_secs(&self) -> u64 {
        self.believed_micros() / 1_000_000
    }
}

/// The clock of whoever stores times.
#[derive(Debug)]
pub struct LogClock(pub Log);

impl Clock for LogClock {
    fn wall_micros(&self) -> u64 {
        self.0.believed_micros()
    }

    fn monotonic(&self) -> Duration {
        self.0.monotonic()
    }
}

/// The time by a wall clock that may be wrong, this long after an entry of time `last`: never before that, and not ahead of the
/// monotonic clock by more than [`LEAP_MICROS_MAX`].
pub(super) fn believed(last: u64, wall: u64, elapsed: u64) -> u64 {
    let expected = last.saturating_add(elapsed);
    if wall > expected.saturating_add(LEAP_MICROS_MAX) { expected } else { last.max(wall) }
}

pub(super) fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

/// How far the wall clock may part from the monotonic one: a leap second, a correction, a short sleep.
const LEAP_MICROS_MAX: u64 = 3_600_000_000;
