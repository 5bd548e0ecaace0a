//! BreakGlass: a principal that may takes an emergency role for a while.

use std::sync::Arc;

use super::{AGAIN_SECS, SECS_DEFAULT, SECS_MAX, SECS_MIN, is_of, version};
use crate::{
    audit::{Basis, Effects, Released, Unreleased},
    id::{Action, Role},
    identity::Caller,
    operations::{
        Halt, Header, Operation, Service, Violation, apart,
        policies::{asked, refusal::Refusal, rights::Rights, said::Said, stored},
        validate::{self, Checked},
    },
    policy::{Snapshot, glass::Taking},
    proto::stored::{self as entries, BrokenGlass},
    store::Rests,
};

/// Records looked at for one of the last day, at once.
const READ_MAX: usize = 100;

/// What is asked.
pub struct BreakGlass {
    /// The tenant, and the request's id.
    pub header: Header,
    /// The role to be taken.
    pub role: String,
    /// For how many seconds; 0: an hour.
    pub seconds: u32,
    /// Why.
    pub reason: String,
}

/// A request that holds.
pub struct Asked {
    header: Checked,
    role: Role,
    seconds: u64,
    reason: String,
}

impl Operation for BreakGlass {
    type Asked = Asked;
    type Answer = BrokenGlass;
    const NAME: entries::Operation = entries::Operation::BreakGlass;

    fn header(&self) -> &Header {
        &self.header
    }

    fn validate(self, _: &Service, policy: &Snapshot, caller: &Caller) -> Result<Asked, Violation> {
        let header = validate::control(&self.header, caller)?;
        if header.tenant.is_system() {
            return Err(Violation::new("tenant", "must not be _system: no emergency role holds there"));
        }
        let role = Role::parse(&self.role).map_err(validate::broken("role"))?;
        if !policy.catalogue().role(role.as_str()).is_some_and(|spec| spec.emergency) {
            return Err(Violation::new("role", "must be an emergency role of the catalogue"));
        }
        let seconds = if self.seconds == 0 { SECS_DEFAULT } else { self.seconds.into() };
        if !(SECS_MIN..=SECS_MAX).contains(&seconds) {
            return Err(Violation::new("seconds", format!("must be {SECS_MIN} to {SECS_MAX}")));
        }
        Ok(Asked { header, role, seconds, reason: asked::reason(self.reason, true)? })
    }

    async fn attempt(service: &Service, caller: &Caller, asked: &Asked) -> Result<Released<BrokenGlass>, Halt> {
        let Asked { header, role, seconds, reason } = asked;
        let at = service.log.read_point();

        // Decide.
        let mut rights = Rights::now(service, caller);
        let action = Action::Breakglass;
        if !rights.allows(&header.tenant, action) {
            return Err(rights.denied(service, Self::NAME, header, action, header.tenant.clone()));
        }
        let refused = |rights: &Rights<'_>, refusal| rights.refused(service, Self::NAME, header, action, refusal);
        let person = rights.policy.person_of(&caller.principal).stored_id();
        if person.is_empty() {
            return Err(refused(&rights, Refusal::NoPerson));
        }
        let now = service.log.now_secs();
        let newest = stored::glasses(&*service.store, u64::MAX, 1).await.map_err(|error| Halt::unreadable(&error))?;
        let number = newest.first().map_or(1, |newest| newest.number.saturating_add(1));
        if let Some(until) = broken_until(service, &rights, caller, now).await? {
            return Err(refused(&rights, Refusal::BrokenLately { until }));
        }
        let taking = Taking {
            number,
            principal: caller.principal.clone(),
            role: role.clone(),
            tenant: header.tenant.clone(),
            expires: now.saturating_add(*seconds),
        };
        let (before, expires) = (Arc::clone(&rights.policy), taking.expires);
        let built = apart::work(move |_| taking.take(&before, now)).await;
        let snapshot = match built? {
            Ok(snapshot) => Arc::new(snapshot),
            Err(problems) => return Err(refused(&rights, Refusal::bad_policy(problems))),
        };

        // Record, and with it put in force and release.
        let said = Said::new(&*service.entropy, reason).map_err(|error| Halt::unreadable(&error))?;
        let time = service.log.now_micros();
        let glass = BrokenGlass {
            number,
            principal: caller.principal.as_str().to_owned(),
            person,
            role: role.as_str().to_owned(),
            tenant: header.tenant.as_str().to_owned(),
            reason: reason.clone(),
            reason_salt: said.salt,
            time_unix_micros: time,
            expires_unix_secs: expires,
            version: snapshot.version(),
            ..Default::default()
        };
        let effect = format!(
            "glass broken, {number}: {role} taken for {seconds} s; policy version {} in force, {}; reason {}",
            snapshot.version(),
            hex::encode(snapshot.hash()),
            said.hash,
        );
        let record = rights.record(service, Self::NAME, header, action, effect)?;
        let mut writes = version(&rights, &snapshot, &glass, &caller.principal, time);
        writes.push(stored::glass_effect(&glass));
        // An emergency may be a full disk.
        let policy = Some((snapshot.version(), *snapshot.hash()));
        let effects = Effects { writes, policy, from_reserve: true, ..Effects::default() };
        let rests = Rests { rewritten: vec![(stored::glass_slot(number), at)], ..Rests::default() };
        let basis = Basis { policy: Some(rights.basis()), rests: Arc::new(rests) };
        let released = service.log.commit(record, basis, effects, Unreleased::new(glass)).await?;
        service.put_in_force(snapshot);
        Ok(released)
    }
}

/// Until when this person has to wait, if it broke the glass within the last day.
async fn broken_until(service: &Service, rights: &Rights<'_>, caller: &Caller, now: u64) -> Result<Option<u64>, Halt> {
    let mut below = u64::MAX;
    loop {
        let page = stored::glasses(&*service.store, below, READ_MAX).await.map_err(|error| Halt::unreadable(&error))?;
        for glass in &page {
            let again = (glass.time_unix_micros / 1_000_000).saturating_add(AGAIN_SECS);
            // They are in the order of their times: the log's do not run back.
            if again <= now {
                return Ok(None);
            }
            if is_of(glass, &rights.policy, &caller.principal) {
                return Ok(Some(again));
            }
        }
        match page.last() {
            Some(last) if page.len() == READ_MAX => below = last.number,
            Some(_) | None => return Ok(None),
        }
    }
}
