//! What the caller may do to the policy, tenant by tenant.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use super::refusal::Refusal;
use crate::{
    audit::{Record, record::Targets},
    id::{Action, ControlObject, Object, Purpose, Tenant},
    identity::Caller,
    operations::{
        Halt, Service,
        decide::{add_distinct, is_allow},
        describe,
        refusal::{Denied, Refusing},
        validate::Checked,
    },
    policy::{Decision, Grant, Membership, Question, Snapshot, Tenants},
    proto::stored::{self, Operation, Outcome, Verdict},
};

/// The decisions of one attempt about the policy itself, all under one version and one reading of the clock.
pub(super) struct Rights<'a> {
    pub(super) policy: Arc<Snapshot>,
    caller: &'a Caller,
    now_secs: u64,
    made: HashMap<(Tenant, Action), Decision>,
    /// Where the caller may read, as far as that was asked.
    seen: BTreeSet<Tenant>,
}

impl<'a> Rights<'a> {
    pub(super) fn new(policy: Arc<Snapshot>, caller: &'a Caller, now_secs: u64) -> Self {
        Self { policy, caller, now_secs, made: HashMap::new(), seen: BTreeSet::new() }
    }

    /// Under the policy in force now.
    pub(super) fn now(service: &Service, caller: &'a Caller) -> Self {
        Self::new(service.policy.load_full(), caller, service.log.now_secs())
    }

    /// Whether the caller may name the tenant and do this to its policy. That of a tenant which no rule names yet, or any more,
    /// is the deployment's matter: nobody could begin it otherwise.
    pub(super) fn allows(&mut self, tenant: &Tenant, action: Action) -> bool {
        if !self.caller.may_name(tenant) {
            return false;
        }
        let key = (tenant.clone(), action);
        if let Some(made) = self.made.get(&key) {
            return is_allow(made);
        }
        let object = Object::Control(ControlObject::Policy);
        let purpose = Purpose::operate();
        let principal = &self.caller.principal;
        let system = Tenant::system();
        let named = self.policy.tenants().contains(tenant);
        if !named && !self.caller.may_name(&system) {
            return false;
        }
        let tenant = if named { tenant } else { &system };
        let question = Question { principal, tenant, object: &object, action, purpose: &purpose };
        let decision = self.policy.decide(&question, self.now_secs);
        let allowed = is_allow(&decision);
        self.made.insert(key, decision);
        allowed
    }

    /// Asks where the caller may read, of these tenants.
    pub(super) fn look<'t>(&mut self, tenants: impl Iterator<Item = &'t Tenant>) {
        for tenant in tenants {
            if !self.seen.contains(tenant) && self.allows(tenant, Action::Read) {
                self.seen.insert(tenant.clone());
            }
        }
    }

    /// The same, of tenants by name.
    pub(super) fn look_by_name<'t>(&mut self, names: impl Iterator<Item = &'t String>) {
        let tenants: BTreeSet<Tenant> = names.filter_map(|name| Tenant::parse_or_system(name).ok()).collect();
        self.look(tenants.iter());
    }

    /// Whether the caller may read the tenant's policy; `false` for a tenant that was not asked for.
    pub(super) fn sees(&self, tenant: &Tenant) -> bool {
        self.seen.contains(tenant)
    }

    /// Whether the caller may read something of what touches these.
    pub(super) fn sees_any(&self, tenants: &[String]) -> bool {
        tenants.iter().any(|tenant| self.seen.contains(tenant.as_str()))
    }

    /// Whether the caller may see a grant: one of a tenant it may read, or one for all tenants.
    pub(super) fn sees_grant(&self, grant: &Grant) -> bool {
        match &grant.tenants {
            // It holds in the caller's own tenant too.
            Tenants::All => true,
            Tenants::One(tenant) => self.sees(tenant),
        }
    }

    /// Whether the caller may see a membership.
    pub(super) fn sees_membership(&self, membership: &Membership) -> bool {
        self.sees(&membership.tenant)
    }

    /// What the writer has to find unchanged.
    pub(super) fn basis(&self) -> (u64, Option<u64>) {
        (self.policy.version(), self.made.values().filter_map(|decision| decision.valid_until).min())
    }

    /// Writes the grants that let the caller do `action` into a record.
    fn describe(&self, action: Action, entry: &mut stored::Entry) {
        let mut made: Vec<_> = self.made.iter().filter(|((_, made), _)| *made == action).collect();
        made.sort_by(|((a, _), _), ((b, _), _)| a.cmp(b));
        for (_, decision) in made {
            add_distinct(&mut entry.grant_ids, decision.grant_ids.iter().map(|id| id.as_str()));
            add_distinct(&mut entry.roles, decision.roles.iter().map(|role| role.as_str()));
        }
    }

    /// The record of an answer to a request that `action` allowed.
    pub(super) fn record(
        &self,
        service: &Service,
        operation: Operation,
        asked: &Checked,
        action: Action,
        effect: String,
    ) -> Result<Record, Halt> {
        let entry = stored::Entry { effect, ..Default::default() };
        self.encode(service, operation, asked, (action, Outcome::Allowed), entry)
    }

    /// A request that was allowed and yet can't be answered with what it asks for.
    pub(super) fn refused(
        &self,
        service: &Service,
        operation: Operation,
        asked: &Checked,
        action: Action,
        refusal: Refusal,
    ) -> Halt {
        match self.refusal(service, operation, asked, (action, refusal.reason()), String::new()) {
            Ok(record) => {
                Halt::Refused(Box::new(Refusing { record, policy: Some(self.basis()), refusal: refusal.into() }))
            }
            Err(halt) => halt,
        }
    }

    /// The record of such a request.
    pub(super) fn refusal(
        &self,
        service: &Service,
        operation: Operation,
        asked: &Checked,
        (action, reason): (Action, &str),
        effect: String,
    ) -> Result<Record, Halt> {
        let entry = stored::Entry { refusal: reason.to_owned(), effect, ..Default::default() };
        self.encode(service, operation, asked, (action, Outcome::Allowed), entry)
    }

    /// A request that is denied; `tenant` is whose admins could allow it.
    pub(super) fn denied(
        &self,
        service: &Service,
        operation: Operation,
        asked: &Checked,
        action: Action,
        tenant: Tenant,
    ) -> Halt {
        match self.encode(service, operation, asked, (action, Outcome::Denied), stored::Entry::default()) {
            Ok(record) => Halt::Denied(Denied { tenant, record }),
            Err(halt) => halt,
        }
    }

    fn encode(
        &self,
        service: &Service,
        operation: Operation,
        asked: &Checked,
        (action, outcome): (Action, Outcome),
        entry: stored::Entry,
    ) -> Result<Record, Halt> {
        let stored::Entry { effect, refusal, .. } = entry;
        let common = describe::common(service, operation, self.caller, asked);
        let mut targets = Targets::default();
        targets.add(ControlObject::Policy.as_str(), action.as_str(), outcome, None);
        let verdict = if refusal.is_empty() { targets.verdict() } else { Verdict::Deny };
        let mut entry = stored::Entry { effect, refusal, verdict: verdict.into(), ..common };
        entry.policy_version = self.policy.version();
        entry.policy_hash = self.policy.hash().to_vec();
        if outcome == Outcome::Allowed {
            self.describe(action, &mut entry);
        }
        Ok(Record::encode(&asked.tenant, entry, targets.finish())?)
    }
}
