//! The sweeper: erases what was kept for its time, and what is held it leaves. Tenants whose waiting period is over end here too.
//!
//! A clock that was wrong for a while must not cost anybody's data. So a look only sets a cutoff; it is swept by that cutoff once
//! a day of the monotonic clock has passed and every look of that day allowed it. Cutoff and time are noted beside the log's
//! segments, so that a server which is started anew each day sweeps as well. When the wall clock steps by more than a minute
//! against the monotonic one, nothing is swept any more until the server is started anew: whoever does that has looked at the
//! clock. A day's sweep ends at [`SWEPT_MAX`] subjects.
//!
//! Each batch is one commit: the erasures, their certificates, and the entry that says so. What moved meanwhile is left for the
//! next day.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::task::spawn_blocking;

use super::{
    due::due,
    erase::{certificate, ids},
    page::Page,
    stored as certificates,
};
use crate::{
    audit::{
        Effects, Record, Released,
        archive::{self, Archive, Due, DueOf},
        record::Targets,
    },
    id::{Action, ControlObject, Principal, Tenant},
    keyring::{Changes, ErasureId},
    operations::{Failure, Halt, Service},
    policy::date,
    proto::stored::{self, Operation, Outcome},
};

/// Subjects that are swept a day, at most.
pub const SWEPT_MAX: usize = 100_000;
/// Subjects that are looked at at once.
const BATCH: usize = 500;
/// How long each look must have found it due.
const DUE_FOR: Duration = Duration::from_secs(86_400);
/// How far the clocks may part between two looks.
const STEP_SECS_MAX: u64 = 60;
/// So much of a day may be counted again after a restart.
const NOTE_SECS: u64 = 600;

/// Sweeps one service's subjects.
pub struct Sweeper {
    service: Arc<Service>,
    /// Never held while waiting.
    watch: Mutex<Option<Watch>>,
}

/// Looking for a day.
#[derive(Clone, Copy, Debug)]
struct Watch {
    /// Due at each look so far, since 1970.
    cutoff: u64,
    /// When the first look of this run was, by the monotonic clock.
    began: Duration,
    /// How long it was looked before this run.
    before: Duration,
    /// What was noted of it, in seconds.
    noted_secs: u64,
    /// What both clocks read at the last look.
    wall_secs: u64,
    monotonic: Duration,
    /// The clock has stepped.
    stopped: bool,
}

/// What a look came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Swept {
    /// A day has not passed yet.
    NotYet,
    /// The clock has stepped: nothing is swept until the server is started anew.
    Stopped,
    /// So many subjects had something swept.
    Subjects(usize),
}

impl Sweeper {
    /// A sweeper that begins to look.
    pub fn new(service: Arc<Service>) -> Self {
        Self { service, watch: Mutex::default() }
    }

    /// Looks, and sweeps if it is time. Call it often: a step of the clock between two looks is seen by the second.
    ///
    /// # Errors
    /// [`Halt`] if something can't be read or recorded; what was swept stands, and the rest is tried at the next look.
    pub async fn look(&self) -> Result<Swept, Halt> {
        if self.watch().is_none() {
            let noted = self.noted(|archive| archive.due(DueOf::Subjects)).await?.flatten();
            self.begin(noted);
        }
        let Some(cutoff) = self.cutoff() else {
            self.note().await?;
            return Ok(if self.watch().is_some_and(|watch| watch.stopped) { Swept::Stopped } else { Swept::NotYet });
        };
        let mut swept = 0;
        let at = self.service.log.read_point();
        let lives = self.service.keyring.lives(&*self.service.store, None, usize::MAX).await;
        for life in lives.map_err(|error| Halt::unreadable(&error))? {
            let tenant = life.tenant().clone();
            match self.service.end_tenant(life, at, cutoff).await {
                // Cancelled just now, or of another region: it is looked at again tomorrow.
                Err(Halt::Stale | Halt::Tenant(_)) => continue,
                ended => ended?,
            }
            swept += match self.sweep(&tenant, cutoff, SWEPT_MAX.saturating_sub(swept)).await {
                Err(Halt::Tenant(_)) => 0,
                swept => swept?,
            };
        }
        // What has become due meanwhile is looked at for a day of its own.
        self.noted(|archive| archive.note_due(DueOf::Subjects, None)).await?;
        *self.watch.lock().unwrap_or_else(PoisonError::into_inner) = None;
        Ok(Swept::Subjects(swept))
    }

    fn watch(&self) -> Option<Watch> {
        *self.watch.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins to look, or goes on from what was noted.
    fn begin(&self, noted: Option<Due>) {
        let (wall_secs, monotonic) = (self.service.log.wall_secs(), self.service.log.monotonic());
        let noted = noted.unwrap_or(Due { cutoff_unix_micros: u64::MAX, seen_secs: 0 });
        *self.watch.lock().unwrap_or_else(PoisonError::into_inner) = Some(Watch {
            cutoff: wall_secs.min(noted.cutoff_unix_micros / 1_000_000),
            began: monotonic,
            before: Duration::from_secs(noted.seen_secs),
            noted_secs: noted.seen_secs,
            wall_secs,
            monotonic,
            stopped: false,
        });
    }

    /// Notes how long it was looked, each ten minutes; of a clock that has stepped, nothing.
    async fn note(&self) -> Result<(), Halt> {
        let Some(watch) = self.watch() else { return Ok(()) };
        let seen_secs = watch.before.saturating_add(watch.monotonic.saturating_sub(watch.began)).as_secs();
        let due = match watch.stopped {
            true if watch.noted_secs > 0 => None,
            false if seen_secs.saturating_sub(watch.noted_secs) >= NOTE_SECS => {
                Some(Due { cutoff_unix_micros: watch.cutoff.saturating_mul(1_000_000), seen_secs })
            }
            true | false => return Ok(()),
        };
        self.noted(move |archive| archive.note_due(DueOf::Subjects, due)).await?;
        if let Some(kept) = &mut *self.watch.lock().unwrap_or_else(PoisonError::into_inner) {
            kept.noted_secs = due.map_or(0, |due| due.seen_secs);
        }
        Ok(())
    }

    /// Does something with what is noted; `None` where there is no archive to note it in.
    async fn noted<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Archive) -> Result<T, archive::Error> + Send + 'static,
    ) -> Result<Option<T>, Halt> {
        let Some(archive) = self.service.log.history().archive().cloned() else { return Ok(None) };
        let done = spawn_blocking(move || work(&archive)).await;
        let done = done.map_err(|_| Halt::Failed(Failure::Unavailable))?;
        done.map(Some).map_err(|error| Halt::unreadable(&error))
    }

    /// Notes a look; what to sweep by, if a day of looks allows it.
    fn cutoff(&self) -> Option<u64> {
        let (wall_secs, monotonic) = (self.service.log.wall_secs(), self.service.log.monotonic());
        let mut kept = self.watch.lock().unwrap_or_else(PoisonError::into_inner);
        let watch = kept.as_mut()?;
        let expected = watch.wall_secs.saturating_add(monotonic.saturating_sub(watch.monotonic).as_secs());
        if expected.abs_diff(wall_secs) > STEP_SECS_MAX && !watch.stopped {
            watch.stopped = true;
            tracing::error!(
                by_secs = expected.abs_diff(wall_secs),
                "the clock has stepped: nothing is swept until it is right and the server is started anew"
            );
        }
        watch.cutoff = watch.cutoff.min(wall_secs);
        (watch.wall_secs, watch.monotonic) = (wall_secs, monotonic);
        let seen = watch.before.saturating_add(monotonic.saturating_sub(watch.began));
        let is_time = seen >= DUE_FOR && !watch.stopped;
        is_time.then_some(watch.cutoff)
    }

    /// Sweeps a tenant by a cutoff, and at most so many of its subjects.
    async fn sweep(&self, tenant: &Tenant, cutoff: u64, max: usize) -> Result<usize, Halt> {
        let (mut swept, mut from) = (0, None);
        let keys = self.service.keys_of(tenant, self.service.log.read_point()).await?;
        while swept < max {
            let page = Page::read(&self.service, &keys, from, BATCH).await?;
            let next = page.next;
            swept += match self.batch(tenant, page, cutoff, max - swept).await {
                // Somebody writes the same subjects: they are due tomorrow, too.
                Err(Halt::Stale) => 0,
                done => done?,
            };
            from = next;
            if from.is_none() {
                return Ok(swept);
            }
        }
        tracing::warn!(tenant = tenant.as_str(), swept, "more is due than is swept a day: the rest follows tomorrow");
        Ok(swept)
    }

    async fn batch(&self, tenant: &Tenant, page: Page, cutoff: u64, max: usize) -> Result<usize, Halt> {
        let service = &*self.service;
        let Page { mut subjects, count, .. } = page;
        let policy = service.policy.load_full();
        let catalogue = policy.catalogue();
        let now = service.log.now_secs();
        let (mut swept, mut versions) = (0, 0);
        let (mut targets, mut more) = (Targets::default(), Vec::new());
        for at in 0..count {
            let Some(view) = subjects.view(at).filter(|view| view.holds().is_empty()) else { continue };
            let due = due(&view, catalogue, cutoff);
            if due.is_empty() || swept == max {
                continue;
            }
            swept += 1;
            for one in due.iter().filter(|one| one.versions.is_some()) {
                let retention = catalogue.retention(one.category.as_str());
                let is_due = |created| {
                    let since = retention.and_then(|retention| retention.due_after_seal(created));
                    since.is_some_and(|since| since <= cutoff)
                };
                versions += subjects.expire(at, &one.category, is_due);
            }
            let whole: Vec<_> =
                due.iter().filter(|one| one.versions.is_none()).map(|one| one.category.clone()).collect();
            let id = ids(service, 1, now)?.into_iter().next().unwrap_or(ErasureId([0; 16]));
            if !whole.is_empty() && subjects.erase(at, Some(&whole), id).is_ok_and(|erased| erased.contains(&id)) {
                let note = certificate(service, tenant, &subjects, (at, id), now)?;
                more.push(certificates::effect(tenant, id, &note));
                targets.add(ControlObject::Subjects.as_str(), Action::Erase.as_str(), Outcome::Allowed, Some(id.0));
            }
        }
        if swept == 0 {
            return Ok(0);
        }
        let erased = more.len();
        let entry = stored::Entry {
            operation: Operation::Sweep.into(),
            principal: Principal::system("retention").as_str().to_owned(),
            authentication: "host".to_owned(),
            verdict: stored::Verdict::Allow.into(),
            effect: format!("kept until {}: {erased} subjects erased, {versions} key versions destroyed", date(cutoff)),
            policy_version: policy.version(),
            policy_hash: policy.hash().to_vec(),
            region: service.region().to_owned(),
            ..Default::default()
        };
        let record = Record::encode(tenant, entry, targets.finish())?;
        let Changes { mut effects, rests, disrupts, pending } =
            service.keyring.changes(subjects).map_err(|error| Halt::unreadable(&error))?;
        effects.extend(more);
        // Retention that was changed meanwhile may not want it any more.
        let grounds = ((policy.version(), None), rests);
        let effects = Effects { writes: effects, disrupts, from_reserve: true, ..Effects::default() };
        let _: Released<()> = service.settle(record, grounds, (effects, pending), ()).await?;
        Ok(swept)
    }
}
