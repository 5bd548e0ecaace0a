//! Shards: the few lines of a policy that can matter to one (tenant, action, purpose, category). Casbin reads every line it
//! holds, so a shard is what makes a decision cost microseconds. A class is asked about by itself: casbin gets those lines of
//! its category's shard whose pattern covers it. An object of the control plane is a category of its own.
//!
//! INVARIANT: a shard holds every line that can match a question that falls into it: lines for one tenant and for all,
//! of one purpose and of all, of one class, of a category and of all. A property test holds it against one enforcer over
//! the whole policy. When anything in the shard begins or ends, matched or not, every answer from it ends as well.
//!
//! Casbin decides. Which grants and roles led there is found by matching the shard's lines once more, typed; if the two ever
//! disagree, the answer is unclear.

use std::{
    collections::{HashMap, HashSet},
    ops::Range,
    sync::{Arc, Mutex, PoisonError},
};

use super::{
    Decision, Question, Verdict,
    csv::Rules,
    enforcer::{Enforcer, Roles, Unclear},
    grant::{Effect, Grant, Grantee, Membership, Tenants},
    roles::RoleGraph,
};
use crate::id::{Action, Object, Purpose, Role, Tenant};

/// How many lines are kept ready in shards at once, where a shard itself counts as [`SHARD_LINES`]; shards beyond are built
/// again when they are asked for. A line takes about half a KiB.
const LINES_MAX: u64 = 400_000;
/// What a shard takes beside its lines, in lines.
const SHARD_LINES: usize = 40;
/// How many grants, and how many roles, a decision names.
pub const NAMED_MAX: usize = 8;

/// All shards of a policy, built when they are first asked for.
pub(super) struct Shards {
    lines: HashMap<(Tenants, Action), Vec<Arc<Grant>>>,
    graphs: HashMap<Tenant, RoleGraph>,
    holding: HashMap<Tenant, Holding>,
    /// Tenants that any line names; all others are alike, and share the shards of lines for all tenants.
    tenants: HashSet<Tenant>,
    ready: moka::sync::Cache<Key, Arc<Shard>>,
}

#[derive(Clone, PartialEq, Eq, Hash)]
struct Key {
    tenant: Option<Tenant>,
    action: Action,
    purpose: Purpose,
    object: Object,
}

impl Shards {
    pub(super) fn new(rules: &Rules) -> Self {
        let mut lines: HashMap<(Tenants, Action), Vec<Arc<Grant>>> = HashMap::new();
        let mut tenants = HashSet::new();
        for grant in rules.grants.iter().map(|line| &line.rule) {
            lines.entry((grant.tenants.clone(), grant.action)).or_default().push(Arc::clone(grant));
            match &grant.tenants {
                Tenants::One(tenant) => _ = tenants.insert(tenant.clone()),
                Tenants::All => {}
            }
        }
        let graphs = RoleGraph::by_tenant(rules.memberships.iter().map(|line| &line.rule));
        let holding = graphs.iter().map(|(tenant, graph)| (tenant.clone(), Holding::of(graph.memberships()))).collect();
        tenants.extend(graphs.keys().cloned());
        let ready =
            moka::sync::Cache::builder().max_capacity(LINES_MAX).weigher(|_, shard: &Arc<Shard>| shard.weight());
        Self { lines, graphs, holding, tenants, ready: ready.build() }
    }

    /// Who has which role in a tenant; `None` if nobody has any.
    pub(super) fn graph(&self, tenant: &Tenant) -> Option<&RoleGraph> {
        self.graphs.get(tenant)
    }

    /// Decides, and says for which seconds around `now` the decision stands.
    ///
    /// # Errors
    /// [`Unclear`] if casbin gave no answer, or not the one its lines give.
    pub(super) fn decide(&self, question: &Question<'_>, now: u64) -> Result<(Decision, Range<u64>), Unclear> {
        let key = Key {
            tenant: self.tenants.get(question.tenant).cloned(),
            action: question.action,
            purpose: question.purpose.clone(),
            object: question.object.clone(),
        };
        let shard = match self.ready.get(&key) {
            Some(shard) => shard,
            None => self.ready.get_with_by_ref(&key, || Arc::new(self.build(&key))),
        };
        let graph = self.graphs.get(question.tenant);
        let allowed = shard.asks(question, now, || self.roles_at(question.tenant, now))?;
        let roles = graph.map(|graph| graph.roles_at(question.principal, now)).unwrap_or_default();
        shard.explain(question, now, &roles, allowed)
    }

    /// Everybody's roles in a tenant, for casbin.
    fn roles_at(&self, tenant: &Tenant, now: u64) -> Roles {
        match (self.holding.get(tenant), self.graphs.get(tenant)) {
            (Some(holding), Some(graph)) => holding.roles(graph, now),
            _ => Roles::new(std::iter::empty()),
        }
    }

    fn build(&self, key: &Key) -> Shard {
        let own = key.tenant.clone().map(Tenants::One);
        let of_category: Vec<&Arc<Grant>> = [Some(Tenants::All), own]
            .into_iter()
            .flatten()
            .filter_map(|tenants| self.lines.get(&(tenants, key.action)))
            .flatten()
            .filter(|grant| grant.purposes.include(&key.purpose) && touches_category(grant, &key.object))
            .collect();
        let covering: Vec<Arc<Grant>> =
            of_category.iter().copied().filter(|grant| grant.pattern.matches(&key.object)).cloned().collect();
        let ends = |grants: &mut dyn Iterator<Item = &Arc<Grant>>| self.membership_ends(key.tenant.as_ref(), grants);
        let membership_ends = ends(&mut covering.iter());
        let of_grants = of_category.iter().flat_map(|grant| grant.window.boundaries());
        let boundaries = sorted(of_grants.chain(ends(&mut of_category.iter().copied())));
        Shard { grants: covering, boundaries, membership_ends, enforcer: Mutex::new(None) }
    }

    /// When memberships end through which anybody comes to one of these grants; sorted.
    fn membership_ends(&self, tenant: Option<&Tenant>, grants: &mut dyn Iterator<Item = &Arc<Grant>>) -> Vec<u64> {
        let holding = tenant.and_then(|tenant| self.holding.get(tenant));
        let graph = tenant.and_then(|tenant| self.graphs.get(tenant));
        match (holding, graph) {
            (Some(holding), Some(graph)) if !holding.ends.is_empty() => {
                let memberships = graph.leading_to(grants.map(|grant| &grant.grantee));
                sorted(memberships.iter().filter_map(|membership| membership.expires))
            }
            _ => Vec::new(),
        }
    }
}

/// Whether a grant can match anything of an object's category.
fn touches_category(grant: &Grant, object: &Object) -> bool {
    match object {
        Object::Class(class) => grant.pattern.touches_category(class.category_str()),
        Object::Control(_) => grant.pattern.matches(object),
    }
}

/// Who has which role in a tenant, in the stretch of time that was asked for last.
struct Holding {
    /// When any membership ends; sorted. Between two of them the same memberships hold.
    ends: Vec<u64>,
    /// By how many memberships' ends had passed.
    kept: Mutex<Option<(usize, Roles)>>,
}

impl Holding {
    fn of(memberships: &[Arc<Membership>]) -> Self {
        Self { ends: sorted(memberships.iter().filter_map(|membership| membership.expires)), kept: Mutex::new(None) }
    }

    fn roles(&self, graph: &RoleGraph, now: u64) -> Roles {
        let stretch = self.ends.partition_point(|end| *end <= now);
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((of, roles)) = &*kept
            && *of == stretch
        {
            return roles.clone();
        }
        let holding = graph.memberships().iter().filter(|membership| membership.holds_at(now));
        let roles = Roles::new(holding.map(Arc::as_ref));
        *kept = Some((stretch, roles.clone()));
        roles
    }
}

/// What is asked about one object, out of its category's shard.
struct Shard {
    /// The shard's lines that cover the object.
    grants: Vec<Arc<Grant>>,
    /// When any line of the shard begins or ends, and when any membership ends that leads to one; sorted.
    boundaries: Vec<u64>,
    /// When any membership ends that leads to a line that covers the object; sorted. Between two of them these memberships all
    /// hold or don't, so one enforcer serves.
    membership_ends: Vec<u64>,
    /// The enforcer of the stretch that was asked for last, by how many memberships' ends had passed.
    enforcer: Mutex<Option<(usize, Arc<Enforcer>)>>,
}

impl Shard {
    /// What it takes, in lines.
    fn weight(&self) -> u32 {
        let enforcer = if self.grants.is_empty() { 1 } else { SHARD_LINES };
        u32::try_from(enforcer.saturating_add(self.grants.len())).unwrap_or(u32::MAX)
    }

    /// Whether casbin allows it.
    fn asks(&self, question: &Question<'_>, now: u64, roles: impl FnOnce() -> Roles) -> Result<bool, Unclear> {
        // Most shards of most policies have no line: they need no casbin to say no.
        if self.grants.is_empty() { Ok(false) } else { self.enforcer(now, roles)?.allows(question, now) }
    }

    /// Says by which lines casbin decided, and for how long.
    fn explain(
        &self,
        question: &Question<'_>,
        now: u64,
        roles: &HashSet<Role>,
        allowed: bool,
    ) -> Result<(Decision, Range<u64>), Unclear> {
        let matched = |effect| move |grant: &&Arc<Grant>| grant.effect == effect;
        let lines: Vec<&Arc<Grant>> = self.grants.iter().filter(|grant| matches(grant, question, roles, now)).collect();
        let denied = lines.iter().copied().any(|grant| grant.effect == Effect::Deny);
        let effect = if denied { Effect::Deny } else { Effect::Allow };
        let deciding: Vec<&Arc<Grant>> = lines.into_iter().filter(matched(effect)).collect();
        let verdict = if denied || deciding.is_empty() { Verdict::Deny } else { Verdict::Allow };
        if allowed != (verdict == Verdict::Allow) {
            return Err(Unclear::Failed);
        }
        let holds = self.stretch(now);
        let decision = Decision {
            verdict,
            grant_ids: deciding.iter().take(NAMED_MAX).map(|grant| grant.id.clone()).collect(),
            roles: named_roles(&deciding),
            valid_until: (holds.end < u64::MAX).then_some(holds.end),
        };
        Ok((decision, holds))
    }

    /// The enforcer for the memberships that hold at `now`.
    fn enforcer(&self, now: u64, roles: impl FnOnce() -> Roles) -> Result<Arc<Enforcer>, Unclear> {
        let stretch = self.membership_ends.partition_point(|end| *end <= now);
        let mut kept = self.enforcer.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((of, enforcer)) = &*kept
            && *of == stretch
        {
            return Ok(Arc::clone(enforcer));
        }
        let enforcer = Arc::new(Enforcer::build(self.grants.iter().map(Arc::as_ref), &roles())?);
        *kept = Some((stretch, Arc::clone(&enforcer)));
        Ok(enforcer)
    }

    /// The seconds around `now` between which nothing begins or ends.
    fn stretch(&self, now: u64) -> Range<u64> {
        let passed = self.boundaries.partition_point(|boundary| *boundary <= now);
        let start = passed.checked_sub(1).and_then(|last| self.boundaries.get(last));
        start.copied().unwrap_or(0)..self.boundaries.get(passed).copied().unwrap_or(u64::MAX)
    }
}

fn matches(grant: &Grant, question: &Question<'_>, roles: &HashSet<Role>, now: u64) -> bool {
    let concerns = match &grant.grantee {
        Grantee::Principal(principal) => principal == question.principal,
        Grantee::Role(role) => roles.contains(role),
    };
    concerns
        && grant.window.holds_at(now)
        && grant.action == question.action
        && grant.tenants.include(question.tenant)
        && grant.purposes.include(question.purpose)
        && grant.pattern.matches(question.object)
}

fn named_roles(grants: &[&Arc<Grant>]) -> Arc<[Role]> {
    let mut roles: Vec<Role> = Vec::new();
    for grant in grants {
        match &grant.grantee {
            Grantee::Role(role) if roles.len() < NAMED_MAX && !roles.contains(role) => roles.push(role.clone()),
            Grantee::Role(_) | Grantee::Principal(_) => {}
        }
    }
    roles.into()
}

fn sorted(moments: impl Iterator<Item = u64>) -> Vec<u64> {
    let mut moments: Vec<u64> = moments.collect();
    moments.sort_unstable();
    moments.dedup();
    moments
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        id::Principal,
        policy::grant::{GrantId, Pattern, Purposes, Window},
    };

    fn grant(tenant: &str) -> Arc<Grant> {
        Arc::new(Grant {
            id: GrantId::parse("x").unwrap(),
            grantee: Grantee::parse("spiffe://a/p").unwrap(),
            tenants: Tenants::One(Tenant::parse(tenant).unwrap()),
            pattern: Pattern::parse("pii/*").unwrap(),
            action: Action::Decrypt,
            purposes: Purposes::One(Purpose::parse("signup").unwrap()),
            window: Window::default(),
            effect: Effect::Allow,
            reason: "r".into(),
        })
    }

    fn decide(shard: &Shard) -> Result<Verdict, Unclear> {
        let (principal, tenant) = (Principal::parse("spiffe://a/p").unwrap(), Tenant::parse("acme").unwrap());
        let (object, purpose) = (Object::parse("pii/account/email").unwrap(), Purpose::parse("signup").unwrap());
        let action = Action::Decrypt;
        let question = Question { principal: &principal, tenant: &tenant, object: &object, action, purpose: &purpose };
        let allowed = shard.asks(&question, 5, || Roles::new(std::iter::empty()))?;
        shard.explain(&question, 5, &HashSet::new(), allowed).map(|(decision, _)| decision.verdict)
    }

    #[test]
    fn an_answer_that_casbin_and_the_lines_do_not_share_is_unclear() {
        let with_casbin_over = |lines: &[Arc<Grant>], casbins: &[Arc<Grant>]| {
            let nobody = Roles::new(std::iter::empty());
            let enforcer = Enforcer::build(casbins.iter().map(Arc::as_ref), &nobody).unwrap();
            decide(&Shard {
                grants: lines.to_vec(),
                boundaries: Vec::new(),
                membership_ends: Vec::new(),
                enforcer: Mutex::new(Some((0, Arc::new(enforcer)))),
            })
        };
        let (acme, bolt) = ([grant("acme")], [grant("bolt")]);
        assert_eq!(with_casbin_over(&acme, &acme), Ok(Verdict::Allow));
        assert_eq!(with_casbin_over(&bolt, &bolt), Ok(Verdict::Deny));
        assert_eq!(with_casbin_over(&bolt, &acme), Err(Unclear::Failed));
        assert_eq!(with_casbin_over(&acme, &bolt), Err(Unclear::Failed));
    }
}
