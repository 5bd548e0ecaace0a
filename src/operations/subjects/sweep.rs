//! The sweeper: erases what was kept for its time, and what is held it leaves. Tenants whose waiting period is over end here too.
//!
//! Nothing that was wrong for a while must cost anybody's data: neither a clock, nor a retention, a closure or a release that is
//! put right within the day. So a look only sets a cutoff; it is swept by that cutoff once a day of the monotonic clock has passed
//! and every look of that day allowed it, and only what was due by the catalogue of then as well, of who was as free to be erased
//! then. Cutoff and time are noted beside the log's segments, so that a server which is started anew each day sweeps as well. When
//! the wall clock steps by more than a minute against the monotonic one, nothing is swept any more, also after a restart, until
//! somebody says that the clock is right. A day's sweep ends at [`SWEPT_MAX`] subjects, and begins with another tenant each day.
//!
//! Each batch is one commit: the erasures, their certificates, and the entry that says so. What can't be read stops the sweep of
//! its own tenant only.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::task::spawn_blocking;

use super::{
    due::{Due as DueOne, due},
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
    catalogue::Catalogue,
    id::{Action, ControlObject, Principal, Tenant},
    keyring::{Changes, ErasureId, View},
    operations::{Failure, Halt, Service, policies, start},
    policy::{Snapshot, date},
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
/// What is noted of a clock that has stepped.
const STOPPED: archive::Due = archive::Due { cutoff_unix_micros: 0, seen_secs: 0 };
/// That this is noted.
const STOP_NOTED: u64 = u64::MAX;
/// Tries at one batch.
const TRIES: usize = 3;
const DAY_SECS: u64 = 86_400;
/// So much of a day may be counted again after a restart.
const NOTE_SECS: u64 = 600;

/// Sweeps one service's subjects.
pub struct Sweeper {
    service: Arc<Service>,
    /// Somebody has said that the clock is right, before this start.
    confirmed: AtomicBool,
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
    /// The clock has stepped: nothing is swept until somebody says that it is right.
    Stopped,
    /// So many subjects had something swept.
    Subjects(usize),
}

impl Sweeper {
    /// A sweeper that begins to look. `confirmed`: the clock is right, if it was seen to step before.
    pub fn new(service: Arc<Service>, confirmed: bool) -> Self {
        Self { service, confirmed: AtomicBool::new(confirmed), watch: Mutex::default() }
    }

    /// Looks, and sweeps if it is time. Call it often: a step of the clock between two looks is seen by the second.
    ///
    /// # Errors
    /// [`Halt`] if something can't be read or recorded; what was swept stands, and the rest is tried at the next look.
    pub async fn look(&self) -> Result<Swept, Halt> {
        if self.watch().is_none() {
            let noted = self.noted(|archive| archive.due(DueOf::Subjects)).await?.flatten();
            let noted = match noted {
                Some(STOPPED) if self.confirmed.load(Ordering::Acquire) => {
                    start::clock_confirmed(&self.service).await?;
                    self.noted(|archive| archive.note_due(DueOf::Subjects, None)).await?;
                    self.confirmed.store(false, Ordering::Release);
                    None
                }
                noted => noted,
            };
            self.begin(noted);
        }
        let Some(cutoff) = self.cutoff() else {
            self.note().await?;
            return Ok(if self.watch().is_some_and(|watch| watch.stopped) { Swept::Stopped } else { Swept::NotYet });
        };
        let mut swept = 0;
        match self.policy_of(cutoff).await {
            Ok(then) => self.sweep_all(then.as_deref(), cutoff, &mut swept).await?,
            // By the catalogue of today alone nothing goes. A new cutoff is under a newer policy.
            Err(halt) => tracing::error!(?halt, "the policy of a day ago can't be read: nothing is swept for a day"),
        }
        // A step while it was swept stops the next day's.
        self.cutoff();
        if self.watch().is_some_and(|watch| watch.stopped) {
            self.note().await?;
            return Ok(Swept::Stopped);
        }
        // What has become due meanwhile is looked at for a day of its own.
        self.begin(None);
        if let Err(halt) = self.noted(|archive| archive.note_due(DueOf::Subjects, None)).await {
            tracing::error!(?halt, "what was swept can't be noted: a restart sweeps once more");
        }
        Ok(Swept::Subjects(swept))
    }

    async fn sweep_all(&self, then: Option<&Snapshot>, cutoff: u64, swept: &mut usize) -> Result<(), Halt> {
        let lives = self.service.keyring.lives(&*self.service.store, None, usize::MAX).await;
        let mut lives = lives.map_err(|error| Halt::unreadable(&error))?;
        let first = usize::try_from(cutoff / DAY_SECS).unwrap_or_default().checked_rem(lives.len());
        lives.rotate_left(first.unwrap_or_default());
        for life in lives {
            match self.tenant(life.tenant(), then, cutoff, swept).await {
                Ok(()) => {}
                Err(Halt::Failed(failure)) if self.service.log.has_failed() => return Err(Halt::Failed(failure)),
                Err(halt) => {
                    tracing::error!(tenant = life.tenant().as_str(), ?halt, "a tenant can't be swept; tomorrow again");
                }
            }
        }
        Ok(())
    }

    /// Ends a tenant that is due to, or sweeps its subjects.
    async fn tenant(
        &self,
        tenant: &Tenant,
        then: Option<&Snapshot>,
        cutoff: u64,
        swept: &mut usize,
    ) -> Result<(), Halt> {
        let at = self.service.log.read_point();
        let life = self.service.keyring.life(&*self.service.store, tenant).await;
        let Some(life) = life.map_err(|error| Halt::unreadable(&error))? else { return Ok(()) };
        if life.region() != self.service.region() {
            tracing::error!(tenant = tenant.as_str(), "a tenant of another region is not swept here");
            return Ok(());
        }
        self.service.end_tenant(life, at, cutoff).await?;
        match self.sweep(tenant, then, cutoff, swept).await {
            // It was destroyed.
            Err(Halt::Tenant(_)) => Ok(()),
            done => done,
        }
    }

    /// The policy that was in force at a moment; `None`: there was none yet.
    async fn policy_of(&self, unix_secs: u64) -> Result<Option<Arc<Snapshot>>, Halt> {
        const PAGE: usize = 64;
        let (service, mut below) = (&*self.service, u64::MAX);
        loop {
            let page = policies::stored::versions(&*service.store, below, PAGE).await;
            let page = page.map_err(|error| Halt::unreadable(&error))?;
            if let Some(found) = page.iter().find(|version| version.time_unix_micros / 1_000_000 <= unix_secs) {
                let known = service.past.version(&*service.store, found.version).await?;
                // One that is listed and not stored is damage, and no reason to go by today's alone.
                return known.map(Some).ok_or(Halt::Failed(Failure::Unreadable));
            }
            match page.last() {
                Some(last) if page.len() == PAGE => below = last.version,
                Some(_) | None => return Ok(None),
            }
        }
    }

    fn watch(&self) -> Option<Watch> {
        *self.watch.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins to look, or goes on from what was noted.
    fn begin(&self, noted: Option<Due>) {
        let log = &self.service.log;
        let (wall_secs, monotonic) = (log.wall_secs(), log.monotonic());
        let stopped = noted == Some(STOPPED);
        if stopped {
            tracing::error!("the clock had stepped: nothing is swept until `privet serve --clock-is-right`");
        }
        let noted = noted.filter(|_| !stopped).unwrap_or(Due { cutoff_unix_micros: u64::MAX, seen_secs: 0 });
        *self.watch.lock().unwrap_or_else(PoisonError::into_inner) = Some(Watch {
            cutoff: wall_secs.min(log.believed_secs()).min(noted.cutoff_unix_micros / 1_000_000),
            began: monotonic,
            before: Duration::from_secs(noted.seen_secs),
            noted_secs: noted.seen_secs,
            wall_secs,
            monotonic,
            stopped,
        });
    }

    /// Notes how long it was looked, each ten minutes; of a clock that has stepped, that it has.
    async fn note(&self) -> Result<(), Halt> {
        let Some(watch) = self.watch() else { return Ok(()) };
        let seen_secs = watch.before.saturating_add(watch.monotonic.saturating_sub(watch.began)).as_secs();
        let due = match watch.stopped {
            true if watch.noted_secs != STOP_NOTED => Some(STOPPED),
            false if seen_secs.saturating_sub(watch.noted_secs) >= NOTE_SECS => {
                Some(Due { cutoff_unix_micros: watch.cutoff.saturating_mul(1_000_000), seen_secs })
            }
            true | false => return Ok(()),
        };
        self.noted(move |archive| archive.note_due(DueOf::Subjects, due)).await?;
        if let Some(kept) = &mut *self.watch.lock().unwrap_or_else(PoisonError::into_inner) {
            kept.noted_secs = match due {
                Some(STOPPED) => STOP_NOTED,
                due => due.map_or(0, |due| due.seen_secs),
            };
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
                "the clock has stepped: nothing is swept until it is right and `privet serve --clock-is-right` says so"
            );
        }
        watch.cutoff = watch.cutoff.min(wall_secs);
        (watch.wall_secs, watch.monotonic) = (wall_secs, monotonic);
        let seen = watch.before.saturating_add(monotonic.saturating_sub(watch.began));
        let is_time = seen >= DUE_FOR && !watch.stopped;
        is_time.then_some(watch.cutoff)
    }

    /// Sweeps a tenant by a cutoff; `swept` counts on, up to the day's bound.
    async fn sweep(
        &self,
        tenant: &Tenant,
        then: Option<&Snapshot>,
        cutoff: u64,
        swept: &mut usize,
    ) -> Result<(), Halt> {
        if *swept >= SWEPT_MAX {
            return Ok(());
        }
        let mut from = None;
        let keys = self.service.keys_of(tenant, self.service.log.read_point()).await?;
        while *swept < SWEPT_MAX {
            let mut tries = 0;
            from = loop {
                let page = Page::read(&self.service, &keys, from, BATCH).await?;
                let next = page.next;
                match self.batch(tenant, page, (then, cutoff), SWEPT_MAX - *swept).await {
                    Ok(some) => {
                        *swept += some;
                        break next;
                    }
                    // Somebody writes the same subjects; what goes on is due tomorrow, too.
                    Err(Halt::Stale) if tries < TRIES => tries += 1,
                    Err(Halt::Stale) => break next,
                    Err(halt) => return Err(halt),
                }
            };
            if from.is_none() {
                return Ok(());
            }
        }
        tracing::warn!(tenant = tenant.as_str(), "as much was swept as is swept a day: what is left follows tomorrow");
        Ok(())
    }

    /// Erases what is due of a page, and at most so many subjects, in one commit; gives how many.
    async fn batch(
        &self,
        tenant: &Tenant,
        page: Page,
        (then, cutoff): (Option<&Snapshot>, u64),
        max: usize,
    ) -> Result<usize, Halt> {
        let service = &*self.service;
        let Page { mut subjects, count, .. } = page;
        let policy = service.policy.load_full();
        let catalogue = policy.catalogue();
        let before = then.map_or(catalogue, Snapshot::catalogue);
        let now = service.log.believed_secs();
        let (mut swept, mut versions) = (0, 0);
        let (mut targets, mut more) = (Targets::default(), Vec::new());
        for at in 0..count {
            let is_free = |view: &View<'_>| view.holds().is_empty() && view.loosened_unix_secs() <= cutoff;
            let Some(view) = subjects.view(at).filter(is_free) else { continue };
            let alias = *view.alias().as_bytes();
            let due = due_by_both(&view, catalogue, before, cutoff);
            if due.is_empty() || swept == max {
                continue;
            }
            swept += 1;
            for one in due.iter().filter(|one| one.versions.is_some()) {
                let is_due_by = |catalogue: &Catalogue, created| {
                    let retention = catalogue.retention(one.category.as_str());
                    let since = retention.and_then(|retention| retention.due_after_seal(created));
                    since.is_some_and(|since| since <= cutoff)
                };
                let is_due = |created| is_due_by(catalogue, created) && is_due_by(before, created);
                let expired = subjects.expire(at, &one.category, is_due);
                versions += expired;
                // Never beside an erasure of the same subject: together they would lead from one to the other.
                if expired > 0 && due.iter().all(|one| one.versions.is_some()) {
                    targets.add(ControlObject::Keys.as_str(), Action::Retire.as_str(), Outcome::Allowed, Some(alias));
                }
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
            principal: Principal::system("retention").as_str().to_owned(),
            effect: format!("kept until {}: {erased} subjects erased, {versions} key versions destroyed", date(cutoff)),
            policy_version: policy.version(),
            policy_hash: policy.hash().to_vec(),
            region: service.region().to_owned(),
            ..start::entry(Operation::Sweep)
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

/// What is due by two catalogues.
fn due_by_both(view: &View<'_>, now: &Catalogue, before: &Catalogue, cutoff: u64) -> Vec<DueOne> {
    let then = due(view, before, cutoff);
    let was = |one: &DueOne| {
        then.iter().any(|was| was.category == one.category && was.versions.is_some() == one.versions.is_some())
    };
    due(view, now, cutoff).into_iter().filter(was).collect()
}
