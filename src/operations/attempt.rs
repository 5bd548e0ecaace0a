//! One attempt at something about a tenant's subjects or their keys, or about tenants: the caller may do it, the subjects are
//! read anew, in turn with whoever else writes them, and what changes is committed with its record.

use std::sync::Arc;

use super::{
    Halt, Service,
    decide::Decisions,
    describe,
    refusal::{Denied, Refusing},
    subjects::refusal::Refusal,
    tenants,
    turns::Turn,
    validate::Checked,
};
use crate::{
    audit::{Basis, Effects, Record, Released, Unreleased, record::Targets},
    id::{Action, ControlObject, Principal, Subject, Tenant},
    identity::Caller,
    keyring::{Changes, Subjects, TenantKeys},
    proto::stored::{Operation, Outcome},
    store::Effect,
};

/// One attempt: who asks, for what, and what decided it.
pub(super) struct Attempt<'a> {
    service: &'a Service,
    caller: &'a Caller,
    header: &'a Checked,
    operation: Operation,
    object: ControlObject,
    action: Action,
    decisions: Decisions<'a>,
    /// What the record says it was about, if nothing comes of it.
    about: String,
}

impl<'a> Attempt<'a> {
    /// Decides whether the caller may do this to the tenant's subjects.
    pub(super) fn decide(
        service: &'a Service,
        caller: &'a Caller,
        header: &'a Checked,
        operation: Operation,
        action: Action,
    ) -> Result<Self, Halt> {
        Self::decide_on(service, caller, header, operation, (ControlObject::Subjects, action))
    }

    /// Decides whether the caller may do this to the tenant's subjects, or to their keys.
    pub(super) fn decide_on(
        service: &'a Service,
        caller: &'a Caller,
        header: &'a Checked,
        operation: Operation,
        on: (ControlObject, Action),
    ) -> Result<Self, Halt> {
        Self::decide_about(service, caller, header, operation, (on, String::new()))
    }

    /// The same; `about` is what the record of a denial or a refusal says.
    pub(super) fn decide_about(
        service: &'a Service,
        caller: &'a Caller,
        header: &'a Checked,
        operation: Operation,
        ((object, action), about): ((ControlObject, Action), String),
    ) -> Result<Self, Halt> {
        let (policy, now) = (service.policy.load_full(), service.log.now_secs());
        let mut decisions = Decisions::new(policy, &caller.principal, &header.tenant, &header.purpose, now);
        if !decisions.allows_control(object, action) {
            let mut targets = Targets::default();
            targets.add(object.as_str(), action.as_str(), Outcome::Denied, None);
            let record = describe::reading(service, operation, caller, header, &decisions, (targets, about))?;
            return Err(Halt::Denied(Denied { tenant: header.tenant.clone(), record }));
        }
        Ok(Self { service, caller, header, operation, object, action, decisions, about })
    }

    /// Reads subjects, each named once, while nobody else writes them.
    pub(super) async fn read(&self, named: &[Subject]) -> Result<(Arc<TenantKeys>, Subjects, Turn<'a>), Halt> {
        let service = self.service;
        let keys = service.keys_of(&self.header.tenant, service.log.read_point()).await?;
        let tags: Vec<_> = named.iter().map(|subject| keys.tag(subject)).collect();
        let turn = service.turns.take(&Subjects::slots(&keys, &tags)).await;
        let at = service.log.read_point();
        let read = service.keyring.subjects(&*service.store, &keys, tags, at).await;
        Ok((keys, read.map_err(|error| Halt::unreadable(&error))?, turn))
    }

    /// What the record says of one subject.
    pub(super) fn one(&self, subjects: &Subjects) -> Targets {
        let mut targets = Targets::default();
        let alias = subjects.view(0).map(|view| *view.alias().as_bytes());
        targets.add(self.object.as_str(), self.action.as_str(), Outcome::Allowed, alias);
        targets
    }

    /// What the record says of all subjects of a tenant.
    pub(super) fn all(&self) -> Targets {
        let mut targets = Targets::default();
        targets.add(self.object.as_str(), self.action.as_str(), Outcome::Allowed, None);
        targets
    }

    /// The tenant.
    pub(super) fn tenant(&self) -> &Tenant {
        &self.header.tenant
    }

    /// Refuses what the caller may ask and can't have, on record.
    pub(super) fn refuse(&self, refusal: Refusal) -> Halt {
        self.refuse_as(refusal.outcome(), refusal.into(), None)
    }

    /// The same, of what is stored for a subject: the record says of which.
    pub(super) fn refuse_of(&self, subjects: &Subjects, refusal: Refusal) -> Halt {
        let alias = subjects.view(0).map(|view| *view.alias().as_bytes());
        self.refuse_as(refusal.outcome(), refusal.into(), alias)
    }

    /// The same, of what is refused about tenants.
    pub(super) fn refuse_tenant(&self, refusal: tenants::refusal::Refusal) -> Halt {
        self.refuse_as(Outcome::Allowed, refusal.into(), None)
    }

    fn refuse_as(&self, outcome: Outcome, refusal: super::Refusal, alias: Option<[u8; 16]>) -> Halt {
        let mut targets = Targets::default();
        targets.add(self.object.as_str(), self.action.as_str(), outcome, alias);
        let Self { service, caller, header, decisions, .. } = self;
        match describe::refused(
            service,
            self.operation,
            (caller, header),
            decisions,
            (targets, refusal.reason(), &self.about),
        ) {
            Ok(record) => Halt::Refused(Box::new(Refusing { record, policy: Some(decisions.basis()), refusal })),
            Err(halt) => halt,
        }
    }

    /// The person behind the caller; empty if nobody knows who.
    pub(super) fn person(&self) -> String {
        self.person_of(&self.caller.principal)
    }

    /// The person behind a principal, likewise.
    pub(super) fn person_of(&self, principal: &Principal) -> String {
        self.decisions.person_of(principal).stored_id()
    }

    /// Whether it is the caller.
    pub(super) fn is_caller(&self, principal: &Principal) -> bool {
        *principal == self.caller.principal
    }

    /// Whether another may do the same.
    pub(super) fn is_allowed(&self, principal: &Principal) -> bool {
        self.decisions.would_allow(principal, self.object, self.action)
    }

    /// Reaches a subject of whom something is told.
    pub(super) fn reach(&self, keys: &TenantKeys, subject: &Subject) -> Result<(), Halt> {
        let spending = self.service.guard.account(
            &self.caller.principal,
            self.decisions.budget(),
            self.service.log.monotonic().as_secs(),
        );
        let spent = spending.spend(*keys.tag(subject).as_bytes());
        spent.map_err(|over| self.refuse(Refusal::OverBudget { over: over.message }))
    }

    pub(super) fn record(&self, targets: Targets, effect: String) -> Result<Record, Halt> {
        let Self { service, caller, header, decisions, .. } = self;
        describe::reading(service, self.operation, caller, header, decisions, (targets, effect))
    }

    /// Commits a record that changes nothing, and with it releases the answer.
    pub(super) async fn answer<T>(&self, record: Record, answer: T) -> Result<Released<T>, Halt> {
        let basis = Basis { policy: Some(self.decisions.basis()), ..Basis::default() };
        Ok(self.service.log.commit(record, basis, Effects::default(), Unreleased::new(answer)).await?)
    }

    /// Commits what changes with its record, and with it releases the answer.
    pub(super) async fn commit<T>(
        &self,
        record: Record,
        subjects: Subjects,
        more: Vec<Effect>,
        answer: T,
    ) -> Result<Released<T>, Halt> {
        let changes = self.service.keyring.changes(subjects).map_err(|error| Halt::unreadable(&error))?;
        self.commit_changes(record, changes, more, answer).await
    }

    /// The same, of changes that are known.
    pub(super) async fn commit_changes<T>(
        &self,
        record: Record,
        changes: Changes,
        more: Vec<Effect>,
        answer: T,
    ) -> Result<Released<T>, Halt> {
        let Self { service, decisions, .. } = self;
        let Changes { mut effects, rests, disrupts, pending } = changes;
        effects.extend(more);
        // What destroys keys goes through on a full disk, and so does what stops that. A rotation makes keys: it waits for room.
        let from_reserve =
            matches!(self.action, Action::Erase | Action::Retire | Action::Hold | Action::Close | Action::Destroy);
        let effects = Effects { writes: effects, disrupts, from_reserve, ..Effects::default() };
        service.settle(record, (decisions.basis(), rests), (effects, pending), answer).await
    }
}
