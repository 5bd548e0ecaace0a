//! Time that is stored: it does not run back when the wall clock does, nor does it leap ahead with it.

use std::{sync::atomic::Ordering, time::Duration};

use super::Log;
use crate::clock::Clock;

impl Log {
    /// The time that an entry would get now, in microseconds since 1970: it does not run back, and it does not leap ahead with the
    /// wall clock either. For what is stored and can't be taken back.
    pub fn believed_micros(&self) -> u64 {
        let last = self.shared.time_unix_micros.load(Ordering::Acquire);
        let wall = self.clock.wall_micros();
        match self.shared.synced_at_micros.load(Ordering::Acquire) {
            0 => last.max(wall),
            synced_at => {
                let elapsed = micros(self.clock.monotonic()).saturating_sub(synced_at);
                believed(last, wall, elapsed)
            }
        }
    }

    /// [`Self::believed_micros`] in whole seconds.
    pub fn believed_secs(&self) -> u64 {
        self.believed_micros() / 1_000_000
    }
}

/// The clock of whoever stores times: the log's.
impl Clock for Log {
    fn wall_micros(&self) -> u64 {
        self.believed_micros()
    }

    fn monotonic(&self) -> Duration {
        self.clock.monotonic()
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

/// How far the wall clock may run ahead of the monotonic one between two groups: a leap second, a correction, a short sleep.
const LEAP_MICROS_MAX: u64 = 3_600_000_000;
