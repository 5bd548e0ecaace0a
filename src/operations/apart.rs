//! Work that takes a processor for a while, apart from the threads that serve requests.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::{task::spawn_blocking, time::timeout};

use super::Halt;

/// How long one page of a list may take; then it ends where it is.
const PAGE_TIME_MAX: Duration = Duration::from_secs(1);

/// Tells work that its time is over.
#[derive(Clone, Debug, Default)]
pub(super) struct Time(Arc<AtomicBool>);

impl Time {
    pub(super) fn is_over(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// Does `work` to its end, which it comes to soon after [`PAGE_TIME_MAX`] by looking at the time that it is given.
pub(super) async fn work<T: Send + 'static>(work: impl FnOnce(&Time) -> T + Send + 'static) -> Result<T, Halt> {
    let time = Time::default();
    let mut working = spawn_blocking({
        let time = time.clone();
        move || work(&time)
    });
    let done = match timeout(PAGE_TIME_MAX, &mut working).await {
        Ok(done) => done,
        Err(_) => {
            time.0.store(true, Ordering::Relaxed);
            working.await
        }
    };
    done.map_err(|stopped| Halt::unreadable(&stopped))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn work_is_told_that_its_time_is_over_and_what_it_did_is_kept() {
        assert_eq!(work(|_| 7).await.unwrap(), 7);
        let patient = |time: &Time| {
            while !time.is_over() {
                std::thread::sleep(Duration::from_millis(5));
            }
            8
        };
        assert_eq!(work(patient).await.unwrap(), 8);
    }
}
