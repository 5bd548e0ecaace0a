//! Explain: why does the policy answer as it does? For the caller itself, with action `check` on `policy` for another principal,
//! and with `read` on `audit` for what an entry of the log has decided, under the policy of its time.
//!
//! Grants that match a principal are its own affair. Grants that nearly do are somebody else's, so a caller who may not ask
//! about others is shown only those among them that it has or had itself.

mod entry;

use std::sync::Arc;

pub use super::check::Item;
use super::{
    Halt, Header, Operation, Service, Violation, apart, check,
    decide::{Decisions, is_allow},
    describe,
    refusal::{Refusal, Refusing},
    validate::{self, Checked},
};
use crate::{
    audit::{Basis, Effects, Released, Unreleased, record::Targets},
    id::{Action, ControlObject, Object, Principal, Purpose, Reference, Tenant},
    identity::Caller,
    policy::{Explanation, Question, Reaching, Sight, Snapshot},
    proto::stored::{self, Outcome},
};

/// Questions that one request explains, at most.
pub const QUESTIONS_MAX: usize = 16;

/// What is asked.
pub struct Explain {
    /// For whom and why; of an entry, the purpose is `operate` and none is named.
    pub header: Header,
    /// Whom the questions are about; empty: the caller.
    pub principal: String,
    /// The questions.
    pub items: Vec<Item>,
    /// The entry whose questions they are, in place of principal, purpose and items.
    pub entry_index: Option<u64>,
}

/// Why.
#[derive(Debug)]
pub struct Answer {
    /// One a question.
    pub explained: Vec<Explained>,
    /// Questions of the entry that are left out.
    pub more_questions: usize,
    /// Whom the questions are about; of an entry without an identified caller, nobody.
    pub principal: String,
    /// What for.
    pub purpose: String,
    /// The policy that answers.
    pub policy_version: u64,
    /// Its hash.
    pub policy_hash: Vec<u8>,
    /// The moment that it answers for, in microseconds since 1970.
    pub time_micros: u64,
    /// The entry that is explained.
    pub entry: Option<stored::Entry>,
    /// Its place in the log.
    pub entry_index: u64,
    /// Whether near grants are only those that the caller has or had itself.
    pub own_grants_only: bool,
}

/// One question and why it has its answer.
#[derive(Debug)]
pub struct Explained {
    /// About what.
    pub object: Object,
    /// To do what.
    pub action: Action,
    /// Why.
    pub explanation: Explanation,
}

/// A request that holds.
pub struct Asked {
    header: Checked,
    about: About,
}

enum About {
    /// What would be decided now, for another than the caller if there is one.
    Now { other: Option<Principal>, items: Vec<(Object, Action)> },
    /// What was decided.
    Entry(u64),
}

impl Operation for Explain {
    type Asked = Asked;
    type Answer = Answer;
    const NAME: stored::Operation = stored::Operation::Explain;

    fn header(&self) -> &Header {
        &self.header
    }

    fn validate(self, _: &Service, policy: &Snapshot, caller: &Caller) -> Result<Asked, Violation> {
        if let Some(index) = self.entry_index {
            let given = [
                ("principal", self.principal.is_empty()),
                ("purpose", self.header.purpose.is_empty()),
                ("items", self.items.is_empty()),
            ];
            if let Some((field, _)) = given.into_iter().find(|(_, empty)| !empty) {
                return Err(Violation::new(field, "must be empty with an entry_index: they are the entry's"));
            }
            let reference = Reference::parse(&self.header.reference).map_err(validate::broken("reference"))?;
            let header = Checked { reference, ..validate::control(&self.header, caller)? };
            return Ok(Asked { header, about: About::Entry(index) });
        }
        let header = validate::header_or_system(&self.header, policy, caller)?;
        validate::count("items", self.items.len(), QUESTIONS_MAX)?;
        let other = validate::other(&self.principal, caller)?;
        let items = check::items(policy, &self.items)?;
        Ok(Asked { header, about: About::Now { other, items } })
    }

    async fn attempt(service: &Service, caller: &Caller, asked: &Asked) -> Result<Released<Answer>, Halt> {
        match &asked.about {
            About::Now { other, items } => now(service, caller, &asked.header, other.as_ref(), items).await,
            About::Entry(index) => entry::explain(service, caller, &asked.header, *index).await,
        }
    }
}

async fn now(
    service: &Service,
    caller: &Caller,
    header: &Checked,
    other: Option<&Principal>,
    items: &[(Object, Action)],
) -> Result<Released<Answer>, Halt> {
    let policy = service.policy.load_full();
    let now = service.log.now_secs();

    // May the caller ask?
    let operate = Purpose::operate();
    let mut permission = Decisions::new(policy.clone(), &caller.principal, &header.tenant, &operate, now);
    let may_ask_about_others = permission.allows_control(ControlObject::Policy, Action::Check);
    if let Some(other) = other.filter(|_| !may_ask_about_others) {
        return Err(describe::denied_about(service, Explain::NAME, (caller, header), &permission, other));
    }

    // Ask.
    let principal = other.unwrap_or(&caller.principal);
    let mut questions = Decisions::new(policy.clone(), principal, &header.tenant, &header.purpose, now);
    let mut targets = Targets::default();
    for (object, action) in items {
        let allowed = is_allow(questions.ask(object.clone(), *action));
        let outcome = if allowed { Outcome::Allowed } else { Outcome::Denied };
        targets.add(object.as_str(), action.as_str(), outcome, None);
    }

    // Explain.
    let explained = Matter {
        policy: policy.clone(),
        principal: principal.clone(),
        tenant: header.tenant.clone(),
        purpose: header.purpose.clone(),
        questions: items.iter().map(|(object, action)| (object.clone(), *action, Then::Nothing)).collect(),
        now_secs: now,
        whole_tenant: may_ask_about_others,
        caller: other.is_none().then(|| caller.clone()),
        bytes_max: service.limits.message_bytes_max,
    }
    .explain()
    .await?;

    // Record, and with it release. The grants named are those that reached the caller.
    let about = other.map(describe::about).unwrap_or_default();
    let decisions: &[&Decisions<'_>] = match (other, may_ask_about_others) {
        (Some(_), _) => &[&permission],
        (None, true) => &[&questions, &permission],
        (None, false) => &[&questions],
    };
    let record = describe::checked(service, Explain::NAME, (caller, header), decisions, (targets, about))?;
    let (version, until) = questions.basis();
    let until = [until, permission.basis().1].into_iter().flatten().min();
    let basis = Basis { policy: Some((version, until)), ..Basis::default() };
    let answer = Answer {
        explained,
        more_questions: 0,
        principal: principal.as_str().to_owned(),
        purpose: header.purpose.as_str().to_owned(),
        policy_version: version,
        policy_hash: policy.hash().to_vec(),
        time_micros: now.saturating_mul(1_000_000),
        entry: None,
        entry_index: 0,
        own_grants_only: !may_ask_about_others,
    };
    Ok(service.log.commit(record, basis, Effects::default(), Unreleased::new(answer)).await?)
}

/// What is to be explained, under which policy, at which moment, and how much of it may be shown.
struct Matter {
    policy: Arc<Snapshot>,
    principal: Principal,
    tenant: Tenant,
    purpose: Purpose,
    questions: Vec<(Object, Action, Then)>,
    now_secs: u64,
    whole_tenant: bool,
    /// The caller, if it is the one that the questions are about.
    caller: Option<Caller>,
    /// About how long the answer may get.
    bytes_max: usize,
}

/// What was asked next about the same object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Then {
    Nothing,
    IfAllowed(Action),
    IfDenied(Action),
}

impl Matter {
    async fn explain(self) -> Result<Vec<Explained>, Halt> {
        apart::work(move |_| {
            let mut explained = Vec::with_capacity(self.questions.len());
            for (object, action, then) in &self.questions {
                let first = self.question(object, *action);
                let allowed = is_allow(&first.explanation.decision);
                explained.push(first);
                match then {
                    Then::IfAllowed(next) if allowed => explained.push(self.question(object, *next)),
                    Then::IfDenied(next) if !allowed => explained.push(self.question(object, *next)),
                    Then::Nothing | Then::IfAllowed(_) | Then::IfDenied(_) => {}
                }
            }
            fit(&mut explained, self.bytes_max);
            explained
        })
        .await
    }

    fn question(&self, object: &Object, action: Action) -> Explained {
        let Self { principal, tenant, purpose, .. } = self;
        let question = Question { principal, tenant, object, action, purpose };
        let elsewhere = |tenant: &Tenant| self.caller.as_ref().is_some_and(|caller| caller.may_name(tenant));
        let sight = Sight { whole_tenant: self.whole_tenant, elsewhere: &elsewhere };
        let explanation = self.policy.explain(&question, self.now_secs, sight);
        Explained { object: object.clone(), action, explanation }
    }
}

/// Leaves out what would make the answer longer than a message may be: of near grants the furthest, and then of the others.
fn fit(explained: &mut [Explained], bytes_max: usize) {
    let mut left = bytes_max;
    let mut fits = |bytes: usize| {
        left = left.saturating_sub(bytes);
        left > 0
    };
    for Explained { explanation, .. } in explained.iter_mut() {
        let Explanation { deciding, overruled, more_matched, .. } = explanation;
        for lines in [deciding, overruled] {
            let all = lines.len();
            lines.retain(|line| fits(line.bytes()));
            *more_matched += all - lines.len();
        }
    }
    for Explained { explanation, .. } in explained {
        explanation.near.retain(|near| fits(Reaching::bytes_of(&near.grant, &near.chain)));
    }
}

/// An entry that is not there, or not this tenant's.
fn no_entry(record: crate::audit::Record) -> Halt {
    Halt::Refused(Box::new(Refusing { record, policy: None, refusal: Refusal::NoEntry }))
}
