//! DestroyTenant: one listed person asks, another confirms. From then on nothing is sealed or opened; whoever misses that notices
//! while it can still be taken back.

use super::{About, about, life, refusal::Refusal};
use crate::{
    audit::Released,
    id::{Action, ControlObject, Principal},
    identity::Caller,
    keyring::{Life, Standing},
    operations::{
        Halt, Header, Operation, Service, Violation, attempt::Attempt, policies::said::Said, subjects::page::Page,
    },
    policy::{REASON_BYTES_MAX, Snapshot, date, says_why},
    proto::stored::{self, TenantDestruction},
};

/// How long a wish waits for another person, in seconds.
pub const WANTED_SECS_MAX: u64 = 7 * 86_400;

/// What is asked.
pub struct DestroyTenant {
    /// `_system`, and the request's id.
    pub header: Header,
    /// The tenant.
    pub tenant: String,
    /// Its name once more.
    pub confirmation: String,
    /// Why; of a confirmation, empty.
    pub reason: String,
}

/// A request that holds.
pub struct Asked {
    about: About,
    reason: String,
}

impl Operation for DestroyTenant {
    type Asked = Asked;
    type Answer = Life;
    const NAME: stored::Operation = stored::Operation::DestroyTenant;

    fn header(&self) -> &Header {
        &self.header
    }

    fn validate(self, _: &Service, _: &Snapshot, caller: &Caller) -> Result<Asked, Violation> {
        let about = about(&self.header, &self.tenant, caller)?;
        if self.confirmation != self.tenant {
            return Err(Violation::new("confirmation", "must be the tenant's name once more"));
        }
        if !self.reason.is_empty() && !says_why(&self.reason) {
            let rule = format!("must be one line of 1 to {REASON_BYTES_MAX} bytes that says why");
            return Err(Violation::new("reason", rule));
        }
        Ok(Asked { about, reason: self.reason })
    }

    async fn attempt(service: &Service, caller: &Caller, asked: &Asked) -> Result<Released<Life>, Halt> {
        let Asked { about, reason } = asked;
        let on = (ControlObject::Tenants, Action::Destroy);
        let said = format!("tenant {}", about.tenant);
        let attempt = Attempt::decide_about(service, caller, &about.header, Self::NAME, (on, said))?;
        let at = service.log.read_point();
        let before = life(service, &attempt, &about.tenant).await?;
        let person = attempt.person();
        if person.is_empty() {
            return Err(attempt.refuse_tenant(Refusal::NoPerson));
        }
        let (tenant, now) = (&about.tenant, service.log.believed_secs());
        // A wish ends with its week, and with the right to have it.
        let wanted = before.destruction().filter(|wanted| {
            now <= wanted.requested_unix_secs.saturating_add(WANTED_SECS_MAX)
                && Principal::parse(&wanted.requested_by).is_ok_and(|requester| attempt.is_allowed(&requester))
        });
        let (destruction, effect) = match (before.standing(), wanted) {
            (Standing::Destroyed, _) => return Err(attempt.refuse_tenant(Refusal::Destroyed)),
            (Standing::Ending(due), _) => {
                let effect = format!("tenant {tenant} is to be destroyed already, not before {}", date(due));
                return attempt.answer(attempt.record(attempt.all(), effect)?, before).await;
            }
            (Standing::Wanted, Some(wanted)) if is_same(&attempt, wanted, &person) => {
                return Err(attempt.refuse_tenant(Refusal::SamePerson));
            }
            // Who gives a reason means to ask for it, and not to confirm what somebody else has asked for.
            (Standing::Wanted, Some(wanted)) if !reason.is_empty() => {
                return Err(attempt.refuse_tenant(Refusal::Wanted { by: wanted.requested_by.clone() }));
            }
            (Standing::Wanted, Some(wanted)) => {
                if let Some(hold) = hold(service, &before).await? {
                    return Err(attempt.refuse_tenant(Refusal::Held { hold }));
                }
                let due = now.saturating_add(service.tenant_wait.as_secs());
                let confirmed = TenantDestruction {
                    confirmed_by: caller.principal.as_str().to_owned(),
                    confirmed_unix_secs: now,
                    due_unix_secs: due,
                    ..wanted.clone()
                };
                let by = &wanted.requested_by;
                let effect =
                    format!("tenant {tenant}: destruction, requested by {by}, confirmed; not before {}", date(due));
                (confirmed, effect)
            }
            (Standing::Active | Standing::Wanted, _) => {
                if reason.is_empty() {
                    return Err(attempt.refuse_tenant(Refusal::NoReason));
                }
                let said = Said::new(&*service.entropy, reason).map_err(|error| Halt::unreadable(&error))?;
                let requested = TenantDestruction {
                    requested_by: caller.principal.as_str().to_owned(),
                    requester: person,
                    requested_unix_secs: now,
                    reason: reason.clone(),
                    reason_salt: said.salt,
                    ..Default::default()
                };
                (requested, format!("tenant {tenant}: destruction requested; reason {}", said.hash))
            }
        };
        let (after, changes) = before.with(Some(destruction), at);
        let record = attempt.record(attempt.all(), effect)?;
        attempt.commit_changes(record, changes, Vec::new(), after).await
    }
}

/// Whether the person who confirms is the one who has asked, under whatever name.
fn is_same(attempt: &Attempt<'_>, wanted: &TenantDestruction, person: &str) -> bool {
    // Who is no principal any more can't be told apart from anybody.
    let by = Principal::parse(&wanted.requested_by);
    wanted.requester == person || by.map_or(true, |by| attempt.is_caller(&by) || attempt.person_of(&by) == person)
}

/// A hold on any of a tenant's customers.
pub(super) async fn hold(service: &Service, life: &Life) -> Result<Option<String>, Halt> {
    const READ: usize = 1_000;
    let keys = service.keys_of(life.tenant(), service.log.read_point()).await?;
    let mut from = None;
    loop {
        let page = Page::read(service, &keys, from, READ).await?;
        if let Some(hold) = page.views().find_map(|view| view.holds().first().map(|hold| hold.id.clone())) {
            return Ok(Some(hold));
        }
        from = page.next;
        if from.is_none() {
            return Ok(None);
        }
    }
}
