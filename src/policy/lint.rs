//! What each line must keep to beyond its own format: names that exist, actions that apply, no `*` where casbin would take
//! it for something else or ignore it, and no line that does nothing or does too much together with another.
//!
//! Every check guards against a rule that looks as if it did something and doesn't, or does more than it looks like.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use super::{
    csv::{Line, Rules},
    glass,
    grant::{Effect, Grant, GrantId, Grantee, Membership, Pattern, Purposes, Tenants},
    roles::{CHAIN_MAX, Flaw, RoleGraph},
    sources::POLICY,
};
use crate::{
    catalogue::{Catalogue, OPERATE, Problem},
    id::{Action, ControlObject, Object, Role, Tenant},
};

/// Problems of lines taken one by one, in their order.
pub(super) fn each(rules: &Rules, catalogue: &Catalogue) -> Vec<Problem> {
    let mut lint = Lint { catalogue, problems: Vec::new() };
    lint.ids(rules);
    for line in &rules.grants {
        lint.grant(line);
    }
    for line in &rules.memberships {
        lint.membership(line);
    }
    lint.problems.sort();
    lint.problems
}

/// Problems of lines taken together, in their order. A line that is missing because it did not parse would give false ones.
pub(super) fn together(rules: &Rules, catalogue: &Catalogue) -> Vec<Problem> {
    let mut lint = Lint { catalogue, problems: Vec::new() };
    lint.memberships(rules);
    lint.shadows(&rules.grants);
    lint.graphs(rules);
    lint.problems.sort();
    lint.problems
}

/// A problem for each line that will never hold again. It does no harm, so it is refused in a change and not at a start.
/// `counts` says of which rules.
pub(super) fn expired(rules: &Rules, now: u64, counts: impl Fn(&GrantId) -> bool) -> Vec<Problem> {
    let grants = rules.grants.iter().map(|line| (line.number, &line.rule.id, line.rule.window.expires));
    let memberships = rules.memberships.iter().map(|line| (line.number, &line.rule.id, line.rule.expires));
    let mut problems: Vec<Problem> = grants
        .chain(memberships)
        .filter(|(_, id, expires)| expires.is_some_and(|end| end <= now) && counts(id))
        .map(|(number, ..)| Problem::of_field(POLICY, number, "expires", "is in the past: the line does nothing"))
        .collect();
    problems.sort();
    problems
}

struct Lint<'a> {
    catalogue: &'a Catalogue,
    problems: Vec<Problem>,
}

impl Lint<'_> {
    fn ids(&mut self, rules: &Rules) {
        let grants = rules.grants.iter().map(|line| (line.number, &line.rule.id));
        let memberships = rules.memberships.iter().map(|line| (line.number, &line.rule.id));
        let mut all: Vec<(usize, &GrantId)> = grants.chain(memberships).collect();
        all.sort();
        let mut first: HashMap<&GrantId, usize> = HashMap::new();
        for (number, id) in all {
            let at = *first.entry(id).or_insert(number);
            if at != number {
                self.refuse(number, "id", format!("{id} is already the id of line {at}"));
            }
        }
    }

    fn grant(&mut self, line: &Line<Grant>) {
        let (number, grant) = (line.number, &*line.rule);
        if glass::is_given(&grant.id) {
            self.refuse(number, "id", format!("{} is an id that only breaking the glass gives", grant.id));
        }
        if let Grantee::Role(role) = &grant.grantee {
            self.role(number, "sub", role);
        }
        match &grant.pattern {
            Pattern::Exact(Object::Control(object)) => self.control_grant(number, grant, *object),
            Pattern::Exact(Object::Class(class)) if self.catalogue.class(class.as_str()).is_none() => {
                self.refuse(number, "obj", format!("{class} is not in the catalogue"));
            }
            Pattern::Exact(Object::Class(_)) => self.data_grant(number, grant),
            Pattern::Below(_) if !self.classes_match(&grant.pattern) => {
                self.refuse(number, "obj", format!("{} matches no class of the catalogue", grant.pattern));
            }
            Pattern::Below(_) => self.data_grant(number, grant),
        }
        match &grant.purposes {
            Purposes::All if grant.effect == Effect::Allow => {
                self.refuse(number, "pur", "an allow names its purpose; * is for denies".into());
            }
            Purposes::One(purpose) if self.catalogue.purpose(purpose.as_str()).is_none() => {
                self.refuse(number, "pur", format!("{purpose} is not a purpose of the catalogue"));
            }
            Purposes::All | Purposes::One(_) => {}
        }
        if grant.window.expires.is_some_and(|end| end <= grant.window.not_before) {
            self.refuse(number, "exp", "is not after nbf: the line never holds".into());
        }
    }

    fn data_grant(&mut self, number: usize, grant: &Grant) {
        if !grant.action.is_on_data() {
            self.refuse(number, "act", format!("{} is not an action on classes", grant.action));
        }
        if grant.purposes.as_str() == OPERATE {
            self.refuse(number, "pur", format!("{OPERATE} is the purpose of the control plane, not of data"));
        }
        if matches!(&grant.tenants, Tenants::One(tenant) if tenant.is_system()) {
            self.refuse(number, "dom", "the tenant _system owns no data".into());
        }
    }

    fn control_grant(&mut self, number: usize, grant: &Grant, object: ControlObject) {
        if !grant.action.control_objects().contains(&object) {
            self.refuse(number, "act", format!("{} is not an action on {}", grant.action, object.as_str()));
        }
        if matches!(&grant.purposes, Purposes::One(purpose) if purpose.as_str() != OPERATE) {
            self.refuse(number, "pur", format!("the purpose on {} is {OPERATE}", object.as_str()));
        }
        let spans_tenants = object == ControlObject::Tenants || matches!(grant.action, Action::Purge | Action::Backup);
        if spans_tenants && !matches!(&grant.tenants, Tenants::One(tenant) if tenant.is_system()) {
            let message = format!("{} on {} is the deployment's: its tenant is _system", grant.action, object.as_str());
            self.refuse(number, "dom", message);
        }
    }

    fn membership(&mut self, line: &Line<Membership>) {
        if let Grantee::Role(role) = &line.rule.member {
            self.role(line.number, "member", role);
        }
        self.role(line.number, "role", &line.rule.role);
        if glass::is_taken(&line.rule) {
            let emergency = self.catalogue.role(line.rule.role.as_str()).is_some_and(|spec| spec.emergency);
            if !emergency || line.rule.expires.is_none() || matches!(line.rule.member, Grantee::Role(_)) {
                let message =
                    "is given by breaking the glass: to a principal, of an emergency role, for a while".into();
                self.refuse(line.number, "id", message);
            }
        }
    }

    fn memberships(&mut self, rules: &Rules) {
        let granted = rules.grants.iter().map(|line| line.rule.grantee.as_str());
        let members = rules.memberships.iter().map(|line| line.rule.member.as_str());
        let used: HashSet<&str> = granted.chain(members).collect();
        let mut first: HashMap<(&Grantee, &Role, &Tenant), usize> = HashMap::new();
        for line in &rules.memberships {
            let (number, membership) = (line.number, &*line.rule);
            if !used.contains(membership.role.as_str()) {
                self.refuse(number, "role", format!("no line gives {} anything", membership.role));
            }
            let same = (&membership.member, &membership.role, &membership.tenant);
            let at = *first.entry(same).or_insert(number);
            if at != number {
                self.refuse(
                    number,
                    "member",
                    format!("line {at} already makes this member one of {}", membership.role),
                );
            }
        }
    }

    /// Refuses a grant that another one makes pointless: the same or more is allowed, or all of it is denied.
    fn shadows(&mut self, grants: &[Line<Grant>]) {
        let mut stacks: HashMap<Scope<'_>, Stack<'_>> = HashMap::new();
        for line in grants {
            stacks.entry(Scope::of(&line.rule)).or_default().lines.push(line);
        }
        stacks.values_mut().for_each(Stack::sort);
        for line in grants {
            let own = Scope::of(&line.rule);
            let wider = own.wider();
            let found = wider.iter().find_map(|scope| {
                let by = stacks.get(scope)?.covering(line, *scope == own)?;
                Some((by, scope.effect))
            });
            if let Some((by, effect)) = found {
                let message = if effect == own.effect {
                    format!("does nothing: line {} ({}) says as much or more", by.number, by.rule.id)
                } else {
                    format!("never allows anything: line {} ({}) denies all of it", by.number, by.rule.id)
                };
                self.problems.push(Problem::of_line(POLICY, line.number, message));
            }
        }
    }

    fn graphs(&mut self, rules: &Rules) {
        let number_of: HashMap<*const Membership, usize> =
            rules.memberships.iter().map(|line| (Arc::as_ptr(&line.rule), line.number)).collect();
        let number =
            |membership: &Arc<Membership>| number_of.get(&Arc::as_ptr(membership)).copied().unwrap_or_default();
        let mut graphs = RoleGraph::by_tenant(rules.memberships.iter().map(|line| &line.rule));
        for line in &rules.grants {
            match &line.rule.tenants {
                Tenants::One(tenant) => _ = graphs.entry(tenant.clone()).or_default(),
                Tenants::All => {}
            }
        }
        // Lines for all tenants hold in _system too, so they are looked at even if nothing else names a tenant.
        graphs.entry(Tenant::system()).or_default();
        for graph in graphs.values() {
            for flaw in graph.flaws() {
                let (membership, message) = match flaw {
                    Flaw::Cycle(membership) => (membership, "makes a role, through others, its own member".to_owned()),
                    Flaw::TooLong(membership) => {
                        (membership, format!("makes a chain of more than {CHAIN_MAX} memberships"))
                    }
                };
                self.refuse(number(&membership), "role", message);
            }
        }
        let mut critical: HashMap<&Role, Vec<&Line<Grant>>> = HashMap::new();
        for line in rules.grants.iter().filter(|line| is_critical(&line.rule)) {
            match &line.rule.grantee {
                Grantee::Role(role) => critical.entry(role).or_default().push(line),
                Grantee::Principal(_) => {}
            }
        }
        for (tenant, graph) in &graphs {
            let members = graph.memberships().iter().filter_map(|membership| match &membership.member {
                Grantee::Role(role) => Some(role),
                Grantee::Principal(_) => None,
            });
            for role in critical.keys().copied().chain(members).collect::<HashSet<_>>() {
                let reached = graph.roles_ever(role);
                let lines = std::iter::once(role).chain(&reached).filter_map(|role| critical.get(role)).flatten();
                let held = lines.copied().filter(|line| line.rule.tenants.include(tenant)).collect();
                self.held_together(role, tenant, held);
            }
        }
    }

    /// Refuses a role that gathers in one tenant what must stay apart.
    fn held_together(&mut self, role: &Role, tenant: &Tenant, mut held: Vec<&Line<Grant>>) {
        held.sort_by_key(|line| line.number);
        let with = |action| held.iter().find(|line| line.rule.action == action);
        if let (Some(proposes), Some(approves)) = (with(Action::Propose), with(Action::Approve)) {
            let (first, last) = (proposes.number.min(approves.number), proposes.number.max(approves.number));
            self.refuse(last, "act", format!("with line {first}, {role} can both propose and approve in {tenant}"));
        }
        let emergency = self.catalogue.role(role.as_str()).is_some_and(|spec| spec.emergency);
        if let Some(line) = held.first().filter(|_| emergency) {
            let what = if is_critical_action(line.rule.action) { line.rule.action.as_str() } else { "_system" };
            self.refuse(
                line.number,
                "act",
                format!("an emergency role never carries {what}, and {role} does in {tenant}"),
            );
        }
    }

    fn role(&mut self, number: usize, field: &'static str, role: &Role) {
        if self.catalogue.role(role.as_str()).is_none() {
            self.refuse(number, field, format!("{role} is not a role of the catalogue"));
        }
    }

    fn classes_match(&self, pattern: &Pattern) -> bool {
        self.catalogue.classes().any(|spec| pattern.matches(&Object::Class(spec.class.clone())))
    }

    fn refuse(&mut self, number: usize, field: &'static str, message: String) {
        self.problems.push(Problem::of_field(POLICY, number, field, message));
    }
}

/// Whether a grant allows what no emergency role may carry, or what is split between two persons.
fn is_critical(grant: &Grant) -> bool {
    grant.effect == Effect::Allow
        && (is_critical_action(grant.action) || matches!(&grant.tenants, Tenants::One(tenant) if tenant.is_system()))
}

fn is_critical_action(action: Action) -> bool {
    matches!(action, Action::Propose | Action::Approve | Action::Breakglass | Action::Purge)
}

/// What a grant is about, apart from when.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Scope<'a> {
    grantee: &'a Grantee,
    action: Action,
    tenants: &'a str,
    pattern: String,
    purposes: &'a str,
    effect: Effect,
}

impl<'a> Scope<'a> {
    fn of(grant: &'a Grant) -> Self {
        Self {
            grantee: &grant.grantee,
            action: grant.action,
            tenants: grant.tenants.as_str(),
            pattern: grant.pattern.to_string(),
            purposes: grant.purposes.as_str(),
            effect: grant.effect,
        }
    }

    /// Every scope that holds all of this one, itself first. An allow can be made pointless by a deny, not a deny by an allow.
    fn wider(&self) -> Vec<Self> {
        let mut patterns = vec![self.pattern.clone()];
        let mut rest = self.pattern.strip_suffix("/*").unwrap_or(&self.pattern);
        while let Some((prefix, _)) = rest.rsplit_once('/') {
            patterns.push(format!("{prefix}/*"));
            rest = prefix;
        }
        let effects: &[Effect] = match self.effect {
            Effect::Allow => &[Effect::Allow, Effect::Deny],
            Effect::Deny => &[Effect::Deny],
        };
        let mut scopes = Vec::new();
        for effect in effects {
            for tenants in or_all(self.tenants) {
                for purposes in or_all(self.purposes) {
                    for pattern in &patterns {
                        scopes.push(Self {
                            tenants,
                            purposes,
                            pattern: pattern.clone(),
                            effect: *effect,
                            ..self.clone()
                        });
                    }
                }
            }
        }
        scopes
    }
}

/// A part's own text, and the one that stands for all.
fn or_all(own: &str) -> impl Iterator<Item = &str> {
    std::iter::once(own).chain((own != "*").then_some("*"))
}

/// Grants of one scope, sorted so that whatever covers a grant comes before it.
#[derive(Default)]
struct Stack<'a> {
    lines: Vec<&'a Line<Grant>>,
    /// For each place, the line that ends last up to and with it.
    lasting: Vec<&'a Line<Grant>>,
}

impl<'a> Stack<'a> {
    fn sort(&mut self) {
        self.lines.sort_by_key(|line| Self::order(line));
        let mut longest: Option<&'a Line<Grant>> = None;
        for line in &self.lines {
            let next = longest.filter(|longest| longest.rule.window.end() >= line.rule.window.end()).unwrap_or(line);
            self.lasting.push(next);
            longest = Some(next);
        }
    }

    /// A line other than `line` that holds whenever it does; of two alike, the earlier covers the later.
    fn covering(&self, line: &Line<Grant>, is_own: bool) -> Option<&'a Line<Grant>> {
        let before = if is_own {
            self.lines.partition_point(|other| Self::order(other) < Self::order(line))
        } else {
            self.lines.partition_point(|other| other.rule.window.not_before <= line.rule.window.not_before)
        };
        let lasting = *self.lasting.get(before.checked_sub(1)?)?;
        lasting.rule.window.covers(line.rule.window).then_some(lasting)
    }

    fn order(line: &Line<Grant>) -> (u64, std::cmp::Reverse<u64>, usize) {
        (line.rule.window.not_before, std::cmp::Reverse(line.rule.window.end()), line.number)
    }
}
