//! Asks the policy, once per distinct (object, action) of a request, and keeps what the record needs to know of the answers.

use std::sync::Arc;

use crate::{
    catalogue::{Budget, least},
    id::{Action, Class, ControlObject, Object, Principal, Purpose, Tenant},
    policy::{Decision, Person, Question, ROLES_MAX, Snapshot, Verdict},
    proto::stored,
};

/// The decisions of one attempt, all under one policy version and one reading of the clock.
pub(super) struct Decisions<'a> {
    policy: Arc<Snapshot>,
    principal: &'a Principal,
    tenant: &'a Tenant,
    purpose: &'a Purpose,
    now_secs: u64,
    made: Vec<(Object, Action, Decision)>,
}

impl<'a> Decisions<'a> {
    pub(super) fn new(
        policy: Arc<Snapshot>,
        principal: &'a Principal,
        tenant: &'a Tenant,
        purpose: &'a Purpose,
        now_secs: u64,
    ) -> Self {
        Self { policy, principal, tenant, purpose, now_secs, made: Vec::new() }
    }

    /// Whether this may be done to fields of a class.
    pub(super) fn allows(&mut self, class: &Class, action: Action) -> bool {
        // Fields come in runs of few classes: a scan beats hashing.
        let made = self
            .made
            .iter()
            .find(|(object, made, _)| *made == action && matches!(object, Object::Class(decided) if decided == class));
        match made {
            Some((_, _, decision)) => is_allow(decision),
            None => is_allow(self.ask(Object::Class(class.clone()), action)),
        }
    }

    /// Whether this may be done to a control-plane object.
    pub(super) fn allows_control(&mut self, object: ControlObject, action: Action) -> bool {
        is_allow(self.ask(Object::Control(object), action))
    }

    /// The whole decision.
    pub(super) fn ask(&mut self, object: Object, action: Action) -> &Decision {
        let question =
            Question { principal: self.principal, tenant: self.tenant, object: &object, action, purpose: self.purpose };
        let decision = self.policy.decide(&question, self.now_secs);
        &self.made.push_mut((object, action, decision)).2
    }

    /// The person behind a principal.
    pub(super) fn person_of(&self, principal: &Principal) -> Person {
        self.policy.person_of(principal)
    }

    /// Whether another principal may do this to a control-plane object.
    pub(super) fn would_allow(&self, principal: &Principal, object: ControlObject, action: Action) -> bool {
        let object = Object::Control(object);
        let question = Question { principal, tenant: self.tenant, object: &object, action, purpose: self.purpose };
        is_allow(&self.policy.decide(&question, self.now_secs))
    }

    /// What the writer has to find unchanged.
    pub(super) fn basis(&self) -> (u64, Option<u64>) {
        (self.policy.version(), self.made.iter().filter_map(|(_, _, decision)| decision.valid_until).min())
    }

    /// How many customers the caller may reach by what was allowed: the least of everybody's budget, its own, and those of
    /// the roles it acts by.
    pub(super) fn budget(&self) -> Option<Budget> {
        let budgets = self.policy.catalogue().budgets();
        let allowed = self.made.iter().map(|(_, _, decision)| decision).filter(|decision| is_allow(decision));
        allowed.fold(budgets.of(self.principal), |budget, decision| {
            let named = decision.roles.iter().filter_map(|role| budgets.of_role(role)).reduce(Budget::and);
            // As many roles as a decision names may be not all that it has.
            let unnamed = (decision.roles.len() >= ROLES_MAX).then(|| budgets.of_any_role()).flatten();
            least(budget, least(named, unnamed))
        })
    }

    /// Writes what decided into a record.
    pub(super) fn describe(&self, entry: &mut stored::Entry) {
        entry.policy_version = self.policy.version();
        entry.policy_hash = self.policy.hash().to_vec();
        for (_, _, decision) in &self.made {
            add_distinct(&mut entry.grant_ids, decision.grant_ids.iter().map(|id| id.as_str()));
            add_distinct(&mut entry.roles, decision.roles.iter().map(|role| role.as_str()));
        }
    }
}

/// Grants and roles named in one entry, at most. One that names as many may have been decided by more.
pub const NAMED_MAX: usize = 64;

pub(super) fn add_distinct<'a>(names: &mut Vec<String>, more: impl Iterator<Item = &'a str>) {
    for name in more {
        if names.len() < NAMED_MAX && !names.iter().any(|known| known == name) {
            names.push(name.to_owned());
        }
    }
}

/// INVARIANT: only a clear allow allows.
pub(super) fn is_allow(decision: &Decision) -> bool {
    match decision.verdict {
        Verdict::Allow => true,
        Verdict::Deny => false,
    }
}
