//! What a server does beside answering: records counts, wipes keys, indexes the log, seals and deletes its old entries, and
//! erases what was kept for its time.

use std::{panic::AssertUnwindSafe, sync::Arc, time::Duration};

use futures_util::FutureExt;
use tokio::{
    sync::watch,
    task::JoinHandle,
    time::{MissedTickBehavior, interval, timeout},
};

use super::WRITER_END_MAX;
use crate::{
    audit::Refused,
    operations::{
        Service, indexing,
        segments::{Rules, Segments},
        subjects::sweep::{Sweeper, Swept},
    },
};

/// The tasks of a server.
#[derive(Debug)]
pub(super) struct Upkeep {
    tallying: JoinHandle<()>,
    others: Vec<JoinHandle<()>>,
    rest: watch::Sender<bool>,
}

impl Upkeep {
    /// Starts them.
    pub(super) fn start(service: &Arc<Service>, rules: Rules, clock_is_right: bool) -> Self {
        let (rest, resting) = watch::channel(false);
        let segments = Segments::new(service.log.clone(), service.store.clone(), rules).map(Arc::new);
        let held = service.clone();
        let sweeping = kept_up("wiping of keys", move || sweep_each_half_minute(held.clone()));
        let held = service.clone();
        let indexing = kept_up("indexing", move || {
            indexing::follow(held.log.clone(), held.store.clone(), Arc::clone(&held.index))
        });
        let mut others = vec![tokio::spawn(sweeping), tokio::spawn(indexing)];
        others.extend(segments.map(|segments| {
            let held = service.clone();
            tokio::spawn(kept_up("sealing and deletion", move || {
                tend_each_ten_seconds(Arc::clone(&segments), held.clone())
            }))
        }));
        let held = service.clone();
        let sweeper = Arc::new(Sweeper::new(service.clone(), clock_is_right));
        others.push(tokio::spawn(kept_up("retention", move || sweep_each_second(Arc::clone(&sweeper), held.clone()))));
        let held = service.clone();
        let tallying = kept_up("recording of counts", move || flush_each_second(held.clone(), resting.clone()));
        Self { tallying: tokio::spawn(tallying), others, rest }
    }

    /// Ends them. What was counted is recorded first.
    pub(super) async fn end(self) {
        self.others.iter().for_each(JoinHandle::abort);
        // Not aborted: it may hold counts that are on their way to the log. It flushes once more before it ends.
        let _ = self.rest.send(true);
        let _ = timeout(WRITER_END_MAX, self.tallying).await;
        // An aborted task holds the log until it has ended.
        let _ = timeout(WRITER_END_MAX, futures_util::future::join_all(self.others)).await;
    }
}

/// Runs a task, and begins it again whenever it panics: what a server does beside answering must not end without a word.
async fn kept_up<F: Future<Output = ()>>(what: &'static str, task: impl Fn() -> F) {
    while AssertUnwindSafe(task()).catch_unwind().await.is_err() {
        tracing::error!("the {what} has panicked; it begins again");
        tokio::time::sleep(RETRY_PAUSE).await;
    }
}

/// Each second, and once more at the end, records the refusals that were only counted.
async fn flush_each_second(service: Arc<Service>, mut resting: watch::Receiver<bool>) {
    let mut seconds = interval(Duration::from_secs(1));
    seconds.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut last = false;
    // A log that failed takes no more. One without room may have some again.
    while matches!(service.flush_tally().await, Ok(()) | Err(Refused::Full)) && !last {
        tokio::select! {
            _ = seconds.tick() => {}
            _ = resting.wait_for(|resting| *resting) => last = true,
        }
    }
}

/// Wipes keys that were in memory for their time.
async fn sweep_each_half_minute(service: Arc<Service>) {
    let mut half_minutes = interval(Duration::from_secs(30));
    loop {
        half_minutes.tick().await;
        service.keyring.sweep();
    }
}

/// Looks each second, so that no step of the clock goes unseen; sweeps once a day.
async fn sweep_each_second(sweeper: Arc<Sweeper>, service: Arc<Service>) {
    let mut ticks = interval(Duration::from_secs(1));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while !service.log.has_failed() {
        ticks.tick().await;
        match sweeper.look().await {
            Ok(Swept::Subjects(subjects)) => tracing::info!(subjects, "swept what was kept for its time"),
            Ok(Swept::NotYet | Swept::Stopped) => {}
            Err(halt) => {
                tracing::error!(?halt, "what was kept for its time can't be erased; it is tried again");
                tokio::time::sleep(RETRY_PAUSE).await;
            }
        }
    }
}

/// Seals and deletes what is due.
async fn tend_each_ten_seconds(segments: Arc<Segments>, service: Arc<Service>) {
    let mut ticks = interval(Duration::from_secs(10));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while !service.log.has_failed() {
        ticks.tick().await;
        let steps = ["sealed", "removed from the store", "found due for deletion", "deleted"];
        let mut failed = false;
        for (step, tended) in steps.into_iter().zip(segments.tend_each().await) {
            if let Err(error) = tended {
                failed = true;
                let error = &error as &dyn std::error::Error;
                tracing::error!(error, "old entries can't be {step}; it is tried again");
            }
        }
        if failed {
            tokio::time::sleep(RETRY_PAUSE).await;
        }
        let from = service.log.history().bounds().retained_from();
        if let Err(error) = service.index.forget_before(from) {
            tracing::warn!(error = &error as &dyn std::error::Error, "the index keeps what is deleted");
        }
    }
}

const RETRY_PAUSE: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_task_that_panics_begins_again_after_a_pause_until_it_ends() {
        let (begun, start) = (Arc::new(AtomicU32::new(0)), tokio::time::Instant::now());
        let counted = Arc::clone(&begun);
        let task = tokio::spawn(kept_up("test", move || {
            let nth = counted.fetch_add(1, Ordering::SeqCst);
            async move {
                tokio::task::yield_now().await;
                assert!(nth == 2, "as ordered");
            }
        }));
        task.await.unwrap();
        assert_eq!(begun.load(Ordering::SeqCst), 3);
        assert_eq!(start.elapsed().as_secs(), 2 * RETRY_PAUSE.as_secs());
    }
}
