//! What a server does beside answering: records counts, wipes keys, indexes the log, seals and deletes its old entries.

use std::{sync::Arc, time::Duration};

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
        segments::{self, Rules, Segments},
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
    pub(super) fn start(service: &Arc<Service>, rules: Rules) -> Self {
        let (rest, resting) = watch::channel(false);
        let segments = Segments::new(service.log.clone(), service.store.clone(), rules);
        let mut others = vec![
            tokio::spawn(sweep_each_half_minute(service.clone())),
            tokio::spawn(indexing::follow(service.log.clone(), service.store.clone(), Arc::clone(&service.index))),
        ];
        others.extend(segments.map(|segments| tokio::spawn(tend_each_ten_seconds(segments, Arc::clone(service)))));
        Self { tallying: tokio::spawn(flush_each_second(service.clone(), resting)), others, rest }
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

/// Seals and deletes what is due.
async fn tend_each_ten_seconds(segments: Segments, service: Arc<Service>) {
    let mut ticks = interval(Duration::from_secs(10));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut resumed = false;
    while !service.log.has_failed() {
        ticks.tick().await;
        if let Err(error) = tend(&segments, &mut resumed).await {
            tracing::error!(
                error = &error as &dyn std::error::Error,
                "old entries can't be sealed or deleted; it is tried again"
            );
            tokio::time::sleep(RETRY_PAUSE).await;
        }
        let from = service.log.history().bounds().retained_from();
        if let Err(error) = service.index.forget_before(from) {
            tracing::warn!(error = &error as &dyn std::error::Error, "the index keeps what is deleted");
        }
    }
}

/// The first time it finishes what was cut off; what is due at a start is seen to at once.
async fn tend(segments: &Segments, resumed: &mut bool) -> Result<(), segments::Error> {
    if !*resumed {
        segments.resume().await?;
        *resumed = true;
    }
    segments.tend().await
}

const RETRY_PAUSE: Duration = Duration::from_secs(60);
