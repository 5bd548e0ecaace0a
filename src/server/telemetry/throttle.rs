//! Log lines that a client can cause, at a bounded rate: what is left out is counted in the metrics all the same.

use std::sync::Mutex;

use tokio::time::{Duration, Instant};

/// Lets at most [`LINES_MAX`] lines a second pass.
#[derive(Default)]
pub(in crate::server) struct Throttle(Mutex<Window>);

#[derive(Default)]
struct Window {
    began: Option<Instant>,
    lines: u64,
}

impl Throttle {
    /// Writes the line, unless this second has had its lines.
    pub(in crate::server) fn run(&self, line: impl FnOnce()) {
        if self.passes() {
            line();
        }
    }

    fn passes(&self) -> bool {
        let Ok(mut window) = self.0.lock() else { return false };
        let now = Instant::now();
        if window.began.is_none_or(|began| now.duration_since(began) >= WINDOW) {
            *window = Window { began: Some(now), lines: 0 };
        }
        window.lines += 1;
        window.lines <= LINES_MAX
    }
}

const LINES_MAX: u64 = 10;
const WINDOW: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn ten_lines_a_second_pass() {
        let throttle = Throttle::default();
        let passed = || (0..1_000).filter(|_| throttle.passes()).count();
        assert_eq!(passed(), 10);
        tokio::time::sleep(WINDOW - Duration::from_millis(1)).await;
        assert_eq!(passed(), 0);
        tokio::time::sleep(Duration::from_millis(1)).await;
        assert_eq!(passed(), 10);
    }
}
