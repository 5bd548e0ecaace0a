//! Why a question is answered as it is.
//!
//! The answer itself is [`Snapshot::decide`]'s, and casbin's behind it. What is said here is found beside it, by matching the
//! lines once more; where the two do not agree, nothing is explained away: the cause is [`Cause::Unclear`].

use std::{
    collections::{BinaryHeap, HashMap},
    sync::Arc,
};

use super::{
    Decision, Question, Snapshot, Verdict,
    grant::{Effect, Grant, Membership, Tenants},
    reach::{Reach, Reaching},
    shards::NAMED_MAX,
};
use crate::id::Tenant;

/// The most grants of one kind that an explanation names.
pub const REACHING_MAX: usize = 16;
/// The most near grants in an explanation.
pub const NEAR_MAX: usize = 16;
/// A grant that differs in more than this many parts is not near.
const MISMATCHES_MAX: u32 = 3;

/// Why a question got its answer.
#[derive(Clone, Debug)]
pub struct Explanation {
    /// The answer.
    pub decision: Decision,
    /// What it comes from.
    pub cause: Cause,
    /// The grants that decided, those that the decision names first: at most [`REACHING_MAX`].
    pub deciding: Vec<Reaching>,
    /// Allows that matched, and that a deny overrules: at most [`REACHING_MAX`].
    pub overruled: Vec<Reaching>,
    /// Grants that matched and are left out.
    pub more_matched: usize,
    /// Allows that nearly matched if it is denied, denies if it is allowed; the nearest first, at most [`NEAR_MAX`].
    pub near: Vec<Near>,
}

/// What an answer comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Cause {
    /// An allow matched, and no deny.
    Allowed,
    /// A deny matched.
    Denied,
    /// No grant matched.
    NoGrant,
    /// The question names something that the policy does not have, or that does not fit together.
    Unknown,
    /// Casbin gave no answer that can be trusted, which denies.
    Unclear,
}

/// A grant that did not match.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Near {
    /// The grant.
    pub grant: Arc<Grant>,
    /// What of it differs from the question, in the order of [`Mismatch`]; never empty.
    pub mismatches: Vec<Mismatch>,
    /// How it reaches the principal or, if a membership is missing, once did.
    pub chain: Vec<Arc<Membership>>,
}

/// A part in which a grant and a question differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Mismatch {
    /// It holds in another tenant.
    Tenant,
    /// It is for another action.
    Action,
    /// It is for another purpose.
    Purpose,
    /// It is about something else.
    Object,
    /// It does not hold yet, or no longer.
    Window,
    /// It is given to somebody else.
    Membership,
}

/// Which near grants may be shown. Grants that match are about the principal alone, and always are.
#[derive(Clone, Copy)]
pub struct Sight<'a> {
    /// Every line of the question's tenant and those for all tenants; else only what is or was given to the principal.
    pub whole_tenant: bool,
    /// The other tenants of which to show what is or was given to the principal.
    pub elsewhere: &'a dyn Fn(&Tenant) -> bool,
}

impl Snapshot {
    /// Explains what [`Self::decide`] answers. Takes time in proportion to the policy.
    pub fn explain(&self, question: &Question<'_>, now_secs: u64, sight: Sight<'_>) -> Explanation {
        let decision = self.decide(question, now_secs);
        if !self.knows(question) {
            return Explanation {
                decision,
                cause: Cause::Unknown,
                deciding: Vec::new(),
                overruled: Vec::new(),
                more_matched: 0,
                near: Vec::new(),
            };
        }
        let mut lines = Lines { snapshot: self, question, now: now_secs, sight, reaches: HashMap::new() };
        let wanted = match decision.verdict {
            Verdict::Allow => Effect::Deny,
            Verdict::Deny => Effect::Allow,
        };
        let (mut allows, mut denies, mut near) = (Vec::new(), Vec::new(), BinaryHeap::new());
        for (at, line) in self.document.rules.grants.iter().enumerate() {
            let grant = &line.rule;
            let Some(mismatches) = lines.mismatches(grant) else { continue };
            if mismatches.is_empty() {
                match grant.effect {
                    Effect::Allow => allows.push(lines.matched(grant)),
                    Effect::Deny => denies.push(lines.matched(grant)),
                }
            } else if grant.effect == wanted && mismatches.0.count_ones() <= MISMATCHES_MAX {
                near.push((mismatches.0.count_ones(), mismatches.has(Mismatch::Membership), at));
                if near.len() > NEAR_MAX {
                    near.pop();
                }
            }
        }
        let (mut deciding, mut overruled) = if denies.is_empty() { (allows, Vec::new()) } else { (denies, allows) };
        let mut cause = match (decision.verdict, deciding.first().map(|line| line.grant.effect)) {
            (Verdict::Allow, Some(Effect::Allow)) => Cause::Allowed,
            (Verdict::Deny, Some(Effect::Deny)) => Cause::Denied,
            (Verdict::Deny, None) => Cause::NoGrant,
            (Verdict::Allow, _) | (Verdict::Deny, Some(Effect::Allow)) => Cause::Unclear,
        };
        if !in_order_of(&decision, &mut deciding) {
            cause = Cause::Unclear;
        }
        if cause == Cause::Unclear {
            (deciding, overruled) = (Vec::new(), Vec::new());
        }
        let more_matched = cut(&mut deciding) + cut(&mut overruled);
        let nearest = near.into_sorted_vec();
        let nearest = nearest.into_iter().filter_map(|(.., at)| lines.near(&self.document.rules.grants.get(at)?.rule));
        let near = nearest.collect();
        Explanation { decision, cause, deciding, overruled, more_matched, near }
    }
}

/// Puts the grants that a decision names first. False if it names another number of them than there are, or others.
fn in_order_of(decision: &Decision, deciding: &mut [Reaching]) -> bool {
    let named: HashMap<_, _> = decision.grant_ids.iter().zip(0_usize..).collect();
    deciding.sort_by_key(|line| named.get(&line.grant.id).copied().unwrap_or(usize::MAX));
    deciding.iter().map(|line| &line.grant.id).take(NAMED_MAX).eq(decision.grant_ids.iter())
}

fn cut(lines: &mut Vec<Reaching>) -> usize {
    let more = lines.len().saturating_sub(REACHING_MAX);
    lines.truncate(REACHING_MAX);
    more
}

/// A set of [`Mismatch`]es.
#[derive(Clone, Copy, Default)]
struct Mismatches(u8);

impl Mismatches {
    const ALL: [Mismatch; 6] = [
        Mismatch::Tenant,
        Mismatch::Action,
        Mismatch::Purpose,
        Mismatch::Object,
        Mismatch::Window,
        Mismatch::Membership,
    ];

    fn add_if(&mut self, differs: bool, mismatch: Mismatch) {
        self.0 |= u8::from(differs) << mismatch as u8;
    }

    fn has(self, mismatch: Mismatch) -> bool {
        self.0 & 1 << mismatch as u8 != 0
    }

    fn is_empty(self) -> bool {
        self.0 == 0
    }

    fn list(self) -> Vec<Mismatch> {
        Self::ALL.into_iter().filter(|mismatch| self.has(*mismatch)).collect()
    }
}

/// Lines held against one question.
struct Lines<'a> {
    snapshot: &'a Snapshot,
    question: &'a Question<'a>,
    now: u64,
    sight: Sight<'a>,
    /// What the principal reaches in each tenant that was looked at; `None` for one that may not be.
    reaches: HashMap<&'a Tenant, Option<Reaches<'a>>>,
}

/// What a principal reaches now, and at any time.
struct Reaches<'a> {
    now: Reach<'a>,
    ever: Reach<'a>,
}

impl<'a> Lines<'a> {
    /// In what a line differs from the question; `None` if it is not to be shown.
    fn mismatches(&mut self, grant: &'a Grant) -> Option<Mismatches> {
        let (question, now) = (self.question, self.now);
        let here = grant.tenants.include(question.tenant);
        let whole_tenant = here && self.sight.whole_tenant;
        let reaches = self.reaches(grant)?;
        let reached = reaches.now.reaches(&grant.grantee);
        if !reached && !whole_tenant && !reaches.ever.reaches(&grant.grantee) {
            return None;
        }
        let mut mismatches = Mismatches::default();
        mismatches.add_if(!here, Mismatch::Tenant);
        mismatches.add_if(grant.action != question.action, Mismatch::Action);
        mismatches.add_if(!grant.purposes.include(question.purpose), Mismatch::Purpose);
        mismatches.add_if(!grant.pattern.matches(question.object), Mismatch::Object);
        mismatches.add_if(!grant.window.holds_at(now), Mismatch::Window);
        mismatches.add_if(!reached, Mismatch::Membership);
        Some(mismatches)
    }

    fn matched(&mut self, grant: &'a Arc<Grant>) -> Reaching {
        let chain = self.reaches(grant).map(|reaches| reaches.now.chain(&grant.grantee)).unwrap_or_default();
        Reaching { grant: Arc::clone(grant), chain }
    }

    fn near(&mut self, grant: &'a Arc<Grant>) -> Option<Near> {
        let mismatches = self.mismatches(grant)?;
        let reaches = self.reaches(grant)?;
        let reach = if mismatches.has(Mismatch::Membership) { &reaches.ever } else { &reaches.now };
        let chain = reach.chain(&grant.grantee);
        Some(Near { grant: Arc::clone(grant), mismatches: mismatches.list(), chain })
    }

    /// What the principal reaches in the tenant of a line.
    fn reaches(&mut self, grant: &'a Grant) -> Option<&Reaches<'a>> {
        let Self { snapshot, question, now, sight, reaches } = self;
        let (snapshot, question, now): (&'a Snapshot, &'a Question<'a>, u64) = (snapshot, question, *now);
        let tenant = match &grant.tenants {
            Tenants::All => question.tenant,
            Tenants::One(tenant) => tenant,
        };
        let reaches = reaches.entry(tenant).or_insert_with(|| {
            let graph = snapshot.shards.graph(tenant);
            (tenant == question.tenant || (sight.elsewhere)(tenant)).then(|| Reaches {
                now: Reach::new(question.principal, graph, |membership| membership.holds_at(now)),
                ever: Reach::new(question.principal, graph, |_| true),
            })
        });
        reaches.as_ref()
    }
}

#[cfg(test)]
mod tests;
