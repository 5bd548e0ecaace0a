//! Authorization: may this caller do this to that, for this purpose?
//!
//! A policy document (four files, see [`Sources`]) becomes a [`Snapshot`], which never changes; a new document is a new
//! snapshot. A snapshot exists only if every line of its files is sound and every assertion holds. It answers each
//! [`Question`] with a [`Decision`], and only a clear yes is [`Verdict::Allow`]: what casbin errs on, what is unknown, and
//! what does not fit together is denied.
//!
//! A policy is changed by asking for [`Change`]s: a [`Plan`] is the next snapshot, how it differs, and whether somebody else
//! must approve it.
//!
//! What is deliberately absent: a way to change a snapshot, a default that allows, and a switch that turns decisions off.
//!
//! Reading order: `sources` (text) → `csv`, `grant` (typed lines) → `roles`, `lint` (what they mean together) → `shards`,
//! `enforcer` (casbin) → `cache` → `assertions`; beside them `reach` → `explain`, `who_can` (why, and who else); then `change`
//! → `diff` → `narrowing`, `person` → `plan`; and `glass`, the change that asks nobody.

mod assertions;
mod cache;
mod change;
mod csv;
mod diff;
mod document;
mod enforcer;
mod explain;
pub mod glass;
mod grant;
#[cfg(test)]
mod hostile;
mod lint;
#[cfg(test)]
mod matrix;
mod narrowing;
mod person;
mod plan;
#[cfg(test)]
mod property;
mod reach;
mod roles;
mod shards;
mod sources;
mod who_can;

use std::{collections::BTreeSet, fmt, sync::Arc};

pub use assertions::{Asserted, Assertions};
pub use cache::DECISIONS_MAX;
pub use change::{CHANGES_MAX, Candidate, Change, GrantDraft, MembershipDraft, apply};
pub use csv::{REASON_BYTES_MAX, says_why};
pub use diff::{Changed, Diff, Differences, FieldChange, FileChange, LINES_SHOWN_MAX};
pub use document::Document;
pub use explain::{Cause, Explanation, Mismatch, NEAR_MAX, Near, REACHING_MAX, Sight};
pub use grant::{Effect, Grant, GrantId, Grantee, Membership, Pattern, Purposes, Tenants, Window, date};
pub use narrowing::{Direction, Impact, Widening};
pub use person::{FourEyes, Person, four_eyes, keeps_control};
pub use plan::Plan;
pub use reach::Reaching;
pub use roles::CHAIN_MAX;
pub use shards::NAMED_MAX as ROLES_MAX;
pub use sources::{ASSERTIONS, CATALOGUE, MODEL, POLICY, POLICY_BYTES_MAX, Sources, Unreadable};
pub use who_can::{Granted, Holders, Privilege};

use crate::{
    catalogue::{Catalogue, Problem},
    id::{Action, Object, Principal, Purpose, Role, Tenant},
};

/// What is asked.
#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
    /// Who asks.
    pub principal: &'a Principal,
    /// In whose domain.
    pub tenant: &'a Tenant,
    /// About what.
    pub object: &'a Object,
    /// To do what.
    pub action: Action,
    /// Why.
    pub purpose: &'a Purpose,
}

/// Yes or no.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// A grant allows it and none denies it.
    Allow,
    /// Anything else.
    Deny,
}

/// What is answered. Cloning allocates nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// Yes or no.
    pub verdict: Verdict,
    /// The grants that decided: allows if allowed, denies if denied, none if nothing matched. The first 8.
    pub grant_ids: Arc<[GrantId]>,
    /// The roles those grants were given to. The first 8.
    pub roles: Arc<[Role]>,
    /// The first second, since 1970, at which the answer may be another; `None` for never under this policy version.
    pub valid_until: Option<u64>,
}

/// One version of the policy, ready to answer; never changed.
pub struct Snapshot {
    version: u64,
    hash: [u8; 32],
    document: Document,
    tenants: BTreeSet<Tenant>,
    shards: shards::Shards,
    cache: cache::Cache,
    denied: Decision,
}

impl Snapshot {
    /// Builds a snapshot, or refuses the document.
    ///
    /// # Errors
    /// Every [`Problem`] found. What a problem makes meaningless is not looked at: lines together only once each parses, and
    /// assertions only once the lines are sound.
    pub fn build(version: u64, sources: &Sources) -> Result<Self, Vec<Problem>> {
        Self::of(version, Document::read(sources.clone())?)
    }

    /// Builds a snapshot of a document that has been read, or refuses it.
    ///
    /// # Errors
    /// A [`Problem`] for each assertion that can't be read or does not hold.
    pub fn of(version: u64, document: Document) -> Result<Self, Vec<Problem>> {
        let shards = shards::Shards::new(&document.rules);
        refuse_if_any(assertions::run(&document, &shards)?.problems())?;
        Ok(Self::with(version, document, shards))
    }

    /// Builds a snapshot of a document that was in force before. Its assertions held when it took effect, and are not run.
    ///
    /// # Errors
    /// Every [`Problem`] found.
    pub fn build_past(version: u64, sources: &Sources) -> Result<Self, Vec<Problem>> {
        let document = Document::read(sources.clone())?;
        let shards = shards::Shards::new(&document.rules);
        Ok(Self::with(version, document, shards))
    }

    fn with(version: u64, document: Document, shards: shards::Shards) -> Self {
        let denied = Decision { verdict: Verdict::Deny, grant_ids: [].into(), roles: [].into(), valid_until: None };
        let cache = cache::Cache::new();
        let (hash, tenants) = (document.sources.hash(), document.rules.tenants());
        Self { version, hash, document, tenants, shards, cache, denied }
    }

    /// Decides `question` at `now_secs` (since 1970). Never fails: what is unclear is denied, and not remembered.
    pub fn decide(&self, question: &Question<'_>, now_secs: u64) -> Decision {
        if let Some(decision) = self.cache.find(question, now_secs) {
            return decision;
        }
        if !self.knows(question) {
            return self.denied.clone();
        }
        match self.shards.decide(question, now_secs) {
            Ok((decision, holds)) => {
                self.cache.remember(question, holds, decision.clone());
                decision
            }
            Err(unclear) => {
                tracing::error!(%unclear, action = %question.action, "denied without a clear answer");
                self.denied.clone()
            }
        }
    }

    /// As [`Self::decide`], for questions that nobody will soon ask again: nothing is remembered.
    fn decide_once(&self, question: &Question<'_>, now_secs: u64) -> Decision {
        let known = self.knows(question).then(|| self.shards.decide(question, now_secs));
        match known {
            Some(Ok((decision, _))) => decision,
            Some(Err(_)) | None => self.denied.clone(),
        }
    }

    /// The policy version.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// The hash of the document this was built from.
    pub fn hash(&self) -> &[u8; 32] {
        &self.hash
    }

    /// The document this was built from.
    pub fn document(&self) -> &Document {
        &self.document
    }

    /// The document's classes, purposes, roles and persons.
    pub fn catalogue(&self) -> &Catalogue {
        &self.document.catalogue
    }

    /// Every tenant that a rule names, and `_system`.
    pub fn tenants(&self) -> &BTreeSet<Tenant> {
        &self.tenants
    }

    /// The person behind a principal.
    pub fn person_of(&self, principal: &Principal) -> Person {
        match self.document.catalogue.person_of(principal) {
            Some(spec) => Person::Listed(spec.id.clone()),
            None => Person::Unlisted(principal.clone()),
        }
    }

    /// Every grant, in the order of the file.
    pub fn grants(&self) -> impl Iterator<Item = &Grant> {
        self.document.rules.grants.iter().map(|line| &*line.rule)
    }

    /// Every membership, in the order of the file.
    pub fn memberships(&self) -> impl Iterator<Item = &Membership> {
        self.document.rules.memberships.iter().map(|line| &*line.rule)
    }

    /// A problem for each line that has expired by `now_secs`: harmless at a start, refused in a change.
    pub fn expired(&self, now_secs: u64) -> Vec<Problem> {
        lint::expired(&self.document.rules, now_secs, |_| true)
    }

    /// Whether everything a question names exists and fits together. No line could answer one that doesn't.
    fn knows(&self, question: &Question<'_>) -> bool {
        let object_is_known = match question.object {
            Object::Class(class) => {
                self.document.catalogue.class(class.as_str()).is_some() && !question.tenant.is_system()
            }
            Object::Control(_) => true,
        };
        object_is_known
            && applies(question.action, question.object)
            && self.document.catalogue.purpose(question.purpose.as_str()).is_some()
            && !question.principal.is_system()
    }
}

impl fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Snapshot(version {})", self.version)
    }
}

/// Whether an action exists on an object.
pub fn applies(action: Action, object: &Object) -> bool {
    match object {
        Object::Class(_) => action.is_on_data(),
        Object::Control(object) => action.control_objects().contains(object),
    }
}

fn refuse_if_any(problems: Vec<Problem>) -> Result<(), Vec<Problem>> {
    if problems.is_empty() { Ok(()) } else { Err(problems) }
}
