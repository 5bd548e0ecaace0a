//! Shards: the few lines of a policy that can matter to one (tenant, action, purpose, category), with a casbin enforcer over
//! just those. Casbin reads every line it holds, so a shard is what makes a decision cost microseconds.
//!
//! INVARIANT: a shard holds every line that can match a question that falls into it: lines for one tenant and for all,
//! of one purpose and of all, of one class, of a category and of all. A property test holds it against one enforcer over
//! the whole policy.
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
    enforcer::{Enforcer, Unclear},
    grant::{Effect, Grant, Grantee, Membership, Tenants},
    roles::RoleGraph,
};
use crate::id::{Action, Category, ControlObject, Object, Purpose, Role, Tenant};

/// How many shards are kept ready at once; more are built again when they are asked for.
const SHARDS_MAX: u64 = 2_048;
/// How many grants, and how many roles, a decision names.
pub(super) const NAMED_MAX: usize = 8;

/// All shards of a policy, built when they are first asked for.
pub(super) struct Shards {
    lines: HashMap<(Tenants, Action), Vec<Arc<Grant>>>,
    graphs: HashMap<Tenant, RoleGraph>,
    /// Tenants that any line names; all others are alike, and share the shards of lines for all tenants.
    tenants: HashSet<Tenant>,
    ready: moka::sync::Cache<Key, Arc<Shard>>,
}

#[derive(Clone, PartialEq, Eq, Hash)]
struct Key {
    tenant: Option<Tenant>,
    action: Action,
    purpose: Purpose,
    group: Group,
}

#[derive(Clone, PartialEq, Eq, Hash)]
enum Group {
    Category(Category),
    Control(ControlObject),
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
        tenants.extend(graphs.keys().cloned());
        Self { lines, graphs, tenants, ready: moka::sync::Cache::new(SHARDS_MAX) }
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
            group: match question.object {
                Object::Class(class) => Group::Category(class.category()),
                Object::Control(object) => Group::Control(*object),
            },
        };
        let shard = match self.ready.get(&key) {
            Some(shard) => shard,
            None => self.ready.get_with_by_ref(&key, || Arc::new(self.build(&key))),
        };
        shard.decide(question, now)
    }

    fn build(&self, key: &Key) -> Shard {
        let own = key.tenant.clone().map(Tenants::One);
        let grants: Vec<Arc<Grant>> = [Some(Tenants::All), own]
            .into_iter()
            .flatten()
            .filter_map(|tenants| self.lines.get(&(tenants, key.action)))
            .flatten()
            .filter(|grant| grant.purposes.include(&key.purpose) && key.group.is_touched_by(grant))
            .cloned()
            .collect();
        let graph = key.tenant.as_ref().and_then(|tenant| self.graphs.get(tenant));
        let memberships =
            graph.map(|graph| graph.leading_to(grants.iter().map(|grant| &grant.grantee))).unwrap_or_default();
        Shard::new(grants, memberships)
    }
}

impl Group {
    fn is_touched_by(&self, grant: &Grant) -> bool {
        match self {
            Self::Category(category) => grant.pattern.touches_category(category.as_str()),
            Self::Control(object) => grant.pattern.matches(&Object::Control(*object)),
        }
    }
}

struct Shard {
    grants: Vec<Arc<Grant>>,
    graph: RoleGraph,
    /// When any line begins or ends, matched or not; sorted.
    boundaries: Vec<u64>,
    /// When any membership ends; sorted. Between two of them the same memberships hold, so one enforcer serves.
    membership_ends: Vec<u64>,
    /// The enforcer of the stretch that was asked for last, by how many memberships' ends had passed.
    enforcer: Mutex<Option<(usize, Arc<Enforcer>)>>,
}

impl Shard {
    fn new(grants: Vec<Arc<Grant>>, memberships: Vec<Arc<Membership>>) -> Self {
        let membership_ends: Vec<u64> = sorted(memberships.iter().filter_map(|membership| membership.expires));
        let of_grants = grants.iter().flat_map(|grant| grant.window.boundaries());
        let boundaries = sorted(of_grants.chain(membership_ends.iter().copied()));
        let enforcer = Mutex::new(None);
        Self { grants, graph: RoleGraph::new(memberships), boundaries, membership_ends, enforcer }
    }

    fn decide(&self, question: &Question<'_>, now: u64) -> Result<(Decision, Range<u64>), Unclear> {
        let allowed = self.enforcer(now)?.allows(question, now)?;
        let roles = self.graph.roles_at(question.principal, now);
        let matched = |effect| move |grant: &&Arc<Grant>| grant.effect == effect;
        let lines: Vec<&Arc<Grant>> =
            self.grants.iter().filter(|grant| matches(grant, question, &roles, now)).collect();
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
    fn enforcer(&self, now: u64) -> Result<Arc<Enforcer>, Unclear> {
        let stretch = self.membership_ends.partition_point(|end| *end <= now);
        let mut kept = self.enforcer.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((of, enforcer)) = &*kept
            && *of == stretch
        {
            return Ok(Arc::clone(enforcer));
        }
        let memberships = self.graph.memberships().iter().filter(|membership| membership.holds_at(now));
        let enforcer = Arc::new(Enforcer::build(self.grants.iter().map(Arc::as_ref), memberships.map(Arc::as_ref))?);
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
        shard.decide(&question, 5).map(|(decision, _)| decision.verdict)
    }

    #[test]
    fn an_answer_that_casbin_and_the_lines_do_not_share_is_unclear() {
        let with_casbin_over = |lines: &[Arc<Grant>], casbins: &[Arc<Grant>]| {
            let shard = Shard::new(lines.to_vec(), Vec::new());
            let enforcer = Enforcer::build(casbins.iter().map(Arc::as_ref), std::iter::empty()).unwrap();
            *shard.enforcer.lock().unwrap() = Some((0, Arc::new(enforcer)));
            decide(&shard)
        };
        let (acme, bolt) = ([grant("acme")], [grant("bolt")]);
        assert_eq!(with_casbin_over(&acme, &acme), Ok(Verdict::Allow));
        assert_eq!(with_casbin_over(&bolt, &bolt), Ok(Verdict::Deny));
        assert_eq!(with_casbin_over(&bolt, &acme), Err(Unclear::Failed));
        assert_eq!(with_casbin_over(&acme, &bolt), Err(Unclear::Failed));
    }
}
