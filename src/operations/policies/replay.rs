//! The newest audited decisions, asked again: of the policy in force and of a candidate.
//!
//! Both are asked at the same moment, so that what differs is the change's doing and not the clock's. A question that was asked a
//! thousand times is asked once and counted a thousand times.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    ops::Range,
    sync::Arc,
    time::Duration,
};

use crate::{
    id::{Action, Object, Principal, Purpose, Tenant},
    operations::{Halt, Service},
    policy::{Question, Snapshot, Verdict},
    proto::stored::{self, Flip, Operation, Outcome, Simulation, TenantFlips},
    store::Direction,
};

/// Entries looked at, at most.
const ENTRIES_MAX: u64 = 100_000;
/// Time for looking at them, at most.
const READING_MAX: Duration = Duration::from_secs(2);
/// Different questions, at most: more than a deployment of thousands of services asks.
const QUESTIONS_MAX: usize = 50_000;
/// Different questions kept of one tenant's flips.
const FLIPS_MAX: usize = 200;
/// Flips kept of all tenants.
const ALL_FLIPS_MAX: usize = 2_000;

/// One question of the log.
#[derive(PartialEq, Eq, Hash)]
struct Asked {
    principal: String,
    tenant: String,
    object: String,
    action: &'static str,
    purpose: String,
}

#[derive(Default)]
struct Times {
    count: u64,
    last_micros: u64,
}

/// Asks the newest decisions of some tenants again; of all, if the deployment itself is among them, whose lines hold everywhere.
///
/// # Errors
/// [`Halt`] if the log can't be read.
pub(super) async fn replay(
    service: &Service,
    before: &Arc<Snapshot>,
    after: &Arc<Snapshot>,
    tenants: &BTreeSet<Tenant>,
) -> Result<Simulation, Halt> {
    let of_interest = |tenant: &str| tenants.contains(tenant) || tenants.contains(&Tenant::system());
    let (asked, looked, cut_short) = read(service, of_interest).await?;
    let now = service.log.now_secs();
    let (before, after) = (Arc::clone(before), Arc::clone(after));
    let judged = tokio::task::spawn_blocking(move || judge(&before, &after, asked, now)).await;
    let tenants = judged.map_err(|stopped| Halt::unreadable(&stopped))?;
    Ok(Simulation { first_index: looked.start, end_index: looked.end, tenants, cut_short })
}

/// Gathers questions, from the newest entry back.
async fn read(
    service: &Service,
    of_interest: impl Fn(&str) -> bool,
) -> Result<(HashMap<Asked, Times>, Range<u64>, bool), Halt> {
    let history = service.log.history();
    let end = service.log.read_point().0;
    let first = history.bounds().retained_from().max(end.saturating_sub(ENTRIES_MAX));
    let deadline = service.log.monotonic().saturating_add(READING_MAX);
    let mut asked: HashMap<Asked, Times> = HashMap::new();
    let mut next = end;
    while next > first {
        if service.log.monotonic() >= deadline || asked.len() >= QUESTIONS_MAX {
            return Ok((asked, next..end, true));
        }
        let run = history.entries(first..next, Direction::Descending).await;
        let run = run.map_err(|error| Halt::unreadable(&error))?;
        let Some(start) = run.first().map(|entry| entry.index) else { break };
        for stored in &run {
            let entry = stored.decode().map_err(|error| Halt::unreadable(&error))?;
            if of_interest(&entry.tenant) {
                for (question, count) in questions(&entry) {
                    let times = asked.entry(question).or_default();
                    times.count += u64::from(count);
                    times.last_micros = times.last_micros.max(entry.time_unix_micros);
                }
            }
        }
        next = start;
    }
    Ok((asked, next..end, false))
}

/// What was decided for an entry, and for how many fields.
fn questions(entry: &stored::Entry) -> Vec<(Asked, u32)> {
    // Somebody else's decision, if a check was about somebody else.
    let principal = match (entry.operation(), entry.effect.strip_prefix("about ")) {
        (Operation::Check, Some(other)) => other,
        _ => &entry.principal,
    };
    let mut questions = Vec::new();
    for target in &entry.targets {
        for action in actions(entry.operation(), target) {
            let question = Asked {
                principal: principal.to_owned(),
                tenant: entry.tenant.clone(),
                object: target.object.clone(),
                action: action.as_str(),
                purpose: entry.purpose.clone(),
            };
            questions.push((question, target.count));
        }
    }
    questions
}

/// The actions that were decided on for a target.
fn actions(operation: Operation, target: &stored::Target) -> Vec<Action> {
    match (operation, target.outcome()) {
        (Operation::Encrypt, Outcome::SealedAndIndexed) => vec![Action::Encrypt, Action::Index],
        (Operation::Encrypt, _) => vec![Action::Encrypt],
        (Operation::ComputeIndex, _) => vec![Action::Index],
        (Operation::Decrypt, Outcome::Opened) => vec![Action::Decrypt],
        (Operation::Decrypt, Outcome::Masked) => vec![Action::Mask],
        (Operation::Decrypt, _) if target.action == "best-allowed" => vec![Action::Decrypt, Action::Mask],
        _ => Action::parse(&target.action).into_iter().collect(),
    }
}

/// What flips, tenant by tenant.
fn judge(before: &Snapshot, after: &Snapshot, asked: HashMap<Asked, Times>, now: u64) -> Vec<TenantFlips> {
    let mut tenants: BTreeMap<String, TenantFlips> = BTreeMap::new();
    for (question, times) in asked {
        let Some((was, is)) = decide(before, after, &question, now) else { continue };
        let Asked { principal, tenant, object, action, purpose } = question;
        let of_tenant = tenants.entry(tenant).or_default();
        of_tenant.decisions += times.count;
        if was != is {
            of_tenant.flipped += times.count;
            of_tenant.flips.push(Flip {
                principal,
                object,
                action: action.to_owned(),
                purpose,
                allowed: is == Verdict::Allow,
                count: times.count,
                last_time_unix_micros: times.last_micros,
            });
        }
    }
    let each_max = (ALL_FLIPS_MAX / tenants.len().max(1)).min(FLIPS_MAX);
    let bounded = |(tenant, mut of_tenant): (String, TenantFlips)| {
        let TenantFlips { flips, .. } = &mut of_tenant;
        flips.sort_by(|a, b| {
            let by_name =
                |flip: &Flip| (flip.principal.clone(), flip.object.clone(), flip.action.clone(), flip.purpose.clone());
            b.count.cmp(&a.count).then_with(|| by_name(a).cmp(&by_name(b)))
        });
        let more = flips.len().saturating_sub(each_max);
        flips.truncate(each_max);
        TenantFlips { tenant, more_flips: u32::try_from(more).unwrap_or(u32::MAX), ..of_tenant }
    };
    tenants.into_iter().map(bounded).collect()
}

/// Both verdicts; `None` for what is no question of the policy's.
fn decide(before: &Snapshot, after: &Snapshot, asked: &Asked, now: u64) -> Option<(Verdict, Verdict)> {
    let principal = Principal::parse_external(&asked.principal).ok()?;
    let tenant = Tenant::parse_or_system(&asked.tenant).ok()?;
    let object = Object::parse(&asked.object).ok()?;
    let action = Action::parse(asked.action).ok()?;
    let purpose = Purpose::parse(&asked.purpose).ok()?;
    let question = Question { principal: &principal, tenant: &tenant, object: &object, action, purpose: &purpose };
    Some((before.decide(&question, now).verdict, after.decide(&question, now).verdict))
}
