//! Explanations held against the decisions that they explain and against a plain reading of the lines, over random policies;
//! and the shapes of explanation that people will meet.

use proptest::{
    collection::vec,
    prelude::*,
    sample::select,
    test_runner::{Config, TestRunner},
};

use super::{
    super::{CHAIN_MAX, Pattern, Sources},
    *,
};
use crate::id::{Action, Object, Principal, Purpose};

const CATALOGUE: &str = include_str!("../../../policies/catalogue.toml");
const MODEL: &str = include_str!("../../../policies/model.conf");

const EMAIL: &str = "pii/account/email";

fn try_build(policy: String) -> Result<Snapshot, Vec<crate::catalogue::Problem>> {
    let sources = Sources { model: MODEL.into(), policy, catalogue: CATALOGUE.into(), assertions: String::new() };
    Snapshot::build(1, &sources)
}

fn build(policy: &str) -> Snapshot {
    try_build(policy.into()).unwrap_or_else(|problems| panic!("{problems:#?}"))
}

/// One rule a line, as in the file but for ids, dates and reasons; ids are p0, p1, … in order.
fn csv(rules: &[String]) -> String {
    let mut text = String::new();
    for (at, rule) in rules.iter().enumerate() {
        let fields: Vec<&str> = rule.split(' ').collect();
        let date = |key: &str, secs: &str| match secs.parse::<u64>() {
            Ok(0) | Err(_) => String::new(),
            Ok(secs) => format!(" {key}={}", super::super::grant::date(secs)),
        };
        let (dates, fields) = match fields.as_slice() {
            [.., nbf, exp, _] if fields[0] == "p" => ([date("not_before", nbf), date("expires", exp)].concat(), fields),
            [g, member, role, tenant, exp] => (date("expires", exp), vec![*g, *member, *role, *tenant]),
            _ => (String::new(), fields),
        };
        let owner = if fields[0] == "p" && fields[2] == "*" { " owner=_system" } else { "" };
        text += &format!("#: id={}{at}{owner}{dates} reason=\"r\"\n{}\n", fields[0], fields.join(", "));
    }
    text
}

struct Asked {
    principal: Principal,
    tenant: Tenant,
    object: Object,
    action: Action,
    purpose: Purpose,
}

impl Asked {
    fn new(text: &str) -> Self {
        let parts: Vec<&str> = text.split(' ').collect();
        let [who, tenant, object, action, purpose] = parts.as_slice() else { panic!("{text}") };
        Self {
            principal: Principal::parse(who).unwrap(),
            tenant: Tenant::parse_or_system(tenant).unwrap(),
            object: Object::parse(object).unwrap(),
            action: Action::parse(action).unwrap(),
            purpose: Purpose::parse(purpose).unwrap(),
        }
    }

    fn question(&self) -> Question<'_> {
        let Self { principal, tenant, object, action, purpose } = self;
        Question { principal, tenant, object, action: *action, purpose }
    }
}

fn explain(snapshot: &Snapshot, text: &str, now: u64) -> Explanation {
    seen(snapshot, text, now, Sight { whole_tenant: true, elsewhere: &|_| false })
}

fn seen(snapshot: &Snapshot, text: &str, now: u64, sight: Sight<'_>) -> Explanation {
    snapshot.explain(&Asked::new(text).question(), now, sight)
}

fn ids(lines: &[Reaching]) -> Vec<&str> {
    lines.iter().map(|line| line.grant.id.as_str()).collect()
}

/// `p3 window,membership` for each near grant.
fn near(explanation: &Explanation) -> Vec<String> {
    let line = |near: &Near| {
        let mismatches: Vec<String> =
            near.mismatches.iter().map(|mismatch| format!("{mismatch:?}").to_lowercase()).collect();
        format!("{} {}", near.grant.id, mismatches.join(","))
    };
    explanation.near.iter().map(line).collect()
}

fn chain(chain: &[Arc<Membership>]) -> Vec<&str> {
    chain.iter().map(|membership| membership.role.as_str()).collect()
}

fn rules(texts: &[&str]) -> String {
    csv(&texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>())
}

#[test]
fn a_match_comes_with_the_shortest_chain_of_memberships() {
    let snapshot = build(&rules(&[
        "p role:support acme pii/account/* decrypt signup 0 0 allow",
        "p spiffe://a/p acme pii/account/email decrypt signup 0 20 deny",
        "g spiffe://a/p role:signup acme",
        "g role:signup role:billing acme",
        "g role:billing role:support acme",
        "g spiffe://a/p role:billing acme 30",
    ]));
    let asked = format!("spiffe://a/p acme {EMAIL} decrypt signup");
    // Before 20, a deny given to the principal itself overrules.
    let explanation = explain(&snapshot, &asked, 10);
    assert_eq!((explanation.decision.verdict, explanation.cause), (Verdict::Deny, Cause::Denied));
    assert_eq!((ids(&explanation.deciding), ids(&explanation.overruled)), (vec!["p1"], vec!["p0"]));
    assert!(explanation.deciding[0].chain.is_empty());
    assert_eq!(chain(&explanation.overruled[0].chain), ["role:billing", "role:support"]);
    // Its window is half-open, and from 30 on only the longer way is left.
    let at_the_end = explain(&snapshot, &asked, 20);
    assert_eq!((at_the_end.cause, ids(&at_the_end.deciding)), (Cause::Allowed, vec!["p0"]));
    assert_eq!(near(&at_the_end), ["p1 window"]);
    let longer = explain(&snapshot, &asked, 30);
    assert_eq!(chain(&longer.deciding[0].chain), ["role:signup", "role:billing", "role:support"]);
    assert_eq!(longer.deciding[0].chain[0].member.as_str(), "spiffe://a/p");
}

#[test]
fn a_chain_of_eight_roles_is_explained_whole() {
    let roles =
        ["signup", "billing", "support", "privacy-officer", "policy-admin", "auditor", "operator", "break-glass"];
    assert_eq!(roles.len(), CHAIN_MAX);
    let mut lines = vec![
        format!("p role:{} acme {EMAIL} decrypt signup 0 0 allow", roles[7]),
        format!("g spiffe://a/p role:{} acme", roles[0]),
    ];
    lines.extend(roles.windows(2).map(|pair| format!("g role:{} role:{} acme", pair[0], pair[1])));
    let snapshot = build(&csv(&lines));
    let explanation = explain(&snapshot, &format!("spiffe://a/p acme {EMAIL} decrypt signup"), 1);
    assert_eq!(explanation.cause, Cause::Allowed);
    assert_eq!(chain(&explanation.deciding[0].chain), roles.map(|role| format!("role:{role}")));
}

#[test]
fn near_grants_name_every_part_that_differs_the_nearest_first() {
    let snapshot = build(&rules(&[
        "p spiffe://a/p acme pii/billing/payment decrypt invoicing 0 0 allow",
        "p role:billing acme pii/account/email decrypt signup 0 0 allow",
        "p spiffe://a/p acme pii/account/* mask signup 0 0 allow",
        "p spiffe://a/p acme pii/account/* decrypt signup 0 10 allow",
        "p spiffe://a/p acme pii/account/email decrypt signup 40 50 allow",
        "p spiffe://a/p acme pii/account/* rewrap subject-request 0 10 allow",
        "p role:support acme pii/billing/* mask invoicing 0 10 allow",
        "p spiffe://a/p acme pii/account/* decrypt * 50 0 deny",
        "g spiffe://a/p role:billing acme 5",
    ]));
    let explanation = explain(&snapshot, &format!("spiffe://a/p acme {EMAIL} decrypt signup"), 30);
    assert_eq!((explanation.decision.verdict, explanation.cause), (Verdict::Deny, Cause::NoGrant));
    assert_eq!(
        near(&explanation),
        ["p2 action", "p3 window", "p4 window", "p1 membership", "p0 purpose,object", "p5 action,purpose,window",],
        "p6 differs in more than half of all, and p7 would not allow"
    );
    // The membership that has ended is shown where it led.
    assert_eq!(chain(&explanation.near[3].chain), ["role:billing"]);
    assert_eq!(explanation.near[3].chain[0].expires, Some(5));
}

#[test]
fn the_grants_of_others_and_of_other_tenants_are_shown_only_in_sight() {
    let snapshot = build(&rules(&[
        "p spiffe://a/q acme pii/account/email decrypt signup 0 0 allow",
        "p role:billing acme pii/account/email decrypt signup 0 0 allow",
        "p spiffe://a/p bolt pii/account/email decrypt signup 0 0 allow",
        "p role:support bolt pii/account/email decrypt signup 0 0 allow",
        "p spiffe://a/q bolt pii/account/email decrypt signup 0 0 allow",
        "p spiffe://a/q * pii/account/email mask signup 0 0 allow",
        "g spiffe://a/p role:support bolt",
        "g spiffe://a/p role:billing acme 5",
    ]));
    let asked = format!("spiffe://a/p acme {EMAIL} decrypt signup");
    let with = |whole_tenant, elsewhere: &dyn Fn(&Tenant) -> bool| {
        let explanation = seen(&snapshot, &asked, 9, Sight { whole_tenant, elsewhere });
        assert_eq!(explanation.cause, Cause::NoGrant);
        near(&explanation)
    };
    assert_eq!(with(true, &|_| false), ["p0 membership", "p1 membership", "p5 action,membership"]);
    assert_eq!(with(false, &|_| false), ["p1 membership"], "what it had itself");
    assert_eq!(with(false, &|tenant| tenant.as_str() == "bolt"), ["p2 tenant", "p3 tenant", "p1 membership"]);
    assert_eq!(
        with(true, &|tenant| tenant.as_str() == "bolt"),
        ["p2 tenant", "p3 tenant", "p0 membership", "p1 membership", "p5 action,membership"],
        "of another tenant, never what is another's"
    );
}

#[test]
fn lists_are_bounded_and_say_what_they_leave_out() {
    let mut lines: Vec<String> = ["name", "address", "timezone", "ip_address", "phone"]
        .iter()
        .flat_map(|class| {
            ["encrypt", "decrypt", "mask", "rewrap", "index"]
                .map(|action| format!("p spiffe://a/q acme pii/account/{class} {action} signup 0 0 allow"))
        })
        .collect();
    // One window each, so that none says as much as another.
    lines.extend((0..30).map(|at| format!("p spiffe://a/p acme {EMAIL} decrypt signup {} {} allow", at + 1, at + 60)));
    let snapshot = build(&csv(&lines));
    let allowed = explain(&snapshot, &format!("spiffe://a/p acme {EMAIL} decrypt signup"), 40);
    assert_eq!((allowed.deciding.len(), allowed.more_matched), (REACHING_MAX, 14));
    assert_eq!(allowed.cause, Cause::Allowed);
    let named: Vec<&str> = allowed.decision.grant_ids.iter().map(|id| id.as_str()).collect();
    assert_eq!(&ids(&allowed.deciding)[..named.len()], named);
    let denied = explain(&snapshot, &format!("spiffe://a/r acme {EMAIL} decrypt signup"), 40);
    assert_eq!((denied.cause, denied.near.len()), (Cause::NoGrant, NEAR_MAX));
    assert!(denied.near.iter().all(|near| near.mismatches == [Mismatch::Membership]), "{:?}", near(&denied));
}

#[test]
fn what_the_policy_does_not_know_is_said_and_nothing_else() {
    let snapshot = build(&rules(&["p spiffe://a/p acme pii/account/* decrypt signup 0 0 allow"]));
    for unknown in [
        "spiffe://a/p acme pii/account/shoe_size decrypt signup",
        "spiffe://a/p acme pii/account/email decrypt curiosity",
        "spiffe://a/p acme pii/account/email erase signup",
        "spiffe://a/p _system pii/account/email decrypt signup",
        "system:start acme pii/account/email decrypt signup",
    ] {
        let explanation = explain(&snapshot, unknown, 1);
        assert_eq!((explanation.cause, explanation.decision.verdict), (Cause::Unknown, Verdict::Deny), "{unknown}");
        assert!(explanation.near.is_empty() && explanation.deciding.is_empty(), "{unknown}");
    }
    let stranger = explain(&snapshot, "user:idp/nobody acme pii/account/email decrypt signup", 1);
    assert_eq!((stranger.cause, near(&stranger)), (Cause::NoGrant, vec!["p0 membership".to_owned()]));
}

#[test]
fn a_decision_that_names_other_grants_than_match_is_unclear() {
    let snapshot = build(&rules(&[
        "p spiffe://a/p acme pii/account/email decrypt signup 0 0 allow",
        "p spiffe://a/p acme pii/account/* decrypt signup 5 0 allow",
    ]));
    let line = |at: usize| Reaching { grant: Arc::clone(&snapshot.document.rules.grants[at].rule), chain: Vec::new() };
    let named = |ids: &[usize]| Decision {
        verdict: Verdict::Allow,
        grant_ids: ids.iter().map(|at| line(*at).grant.id.clone()).collect(),
        roles: [].into(),
        valid_until: None,
    };
    for (ids, matched, agree) in [
        (&[0, 1][..], &[1, 0][..], true),
        (&[0], &[0], true),
        (&[], &[], true),
        (&[0], &[0, 1], false),
        (&[0, 1], &[0], false),
        (&[0], &[1], false),
        (&[], &[0], false),
    ] {
        let mut deciding: Vec<Reaching> = matched.iter().map(|at| line(*at)).collect();
        assert_eq!(in_order_of(&named(ids), &mut deciding), agree, "{ids:?} {matched:?}");
    }
}

const PRINCIPALS: [&str; 3] = ["spiffe://a/p", "spiffe://a/q", "user:idp/r"];
const ROLES: [&str; 4] = ["role:signup", "role:billing", "role:support", "role:auditor"];
const TENANTS: [&str; 2] = ["acme", "bolt"];
const PATTERNS: [&str; 4] = ["pii/account/email", "pii/account/*", "pii/*", "pii/billing/payment"];
const OBJECTS: [&str; 3] = ["pii/account/email", "pii/account/name", "pii/billing/payment"];
const ACTIONS: [&str; 2] = ["encrypt", "decrypt"];
const PURPOSES: [&str; 2] = ["signup", "invoicing"];

fn grant() -> impl Strategy<Value = String> {
    let who = select([&PRINCIPALS[..], &ROLES[..]].concat());
    let tenant = select(vec!["acme", "acme", "bolt", "*"]);
    let times = (select(vec![0, 0, 5, 12]), select(vec![0, 0, 15, 25]));
    let rest = (select(&PATTERNS[..]), select(&ACTIONS[..]), select(vec!["signup", "signup", "invoicing", "*"]));
    (who, tenant, rest, times, prop::bool::weighted(0.75)).prop_map(
        |(who, tenant, (what, action, purpose), (nbf, exp), allow)| {
            let effect = if allow && purpose != "*" { "allow" } else { "deny" };
            format!("p {who} {tenant} {what} {action} {purpose} {nbf} {exp} {effect}")
        },
    )
}

fn membership() -> impl Strategy<Value = String> {
    let member = select([&PRINCIPALS[..], &ROLES[..]].concat());
    let rest = (select(&ROLES[..]), select(&TENANTS[..]), select(vec![0, 0, 8, 20]));
    (member, rest).prop_map(|(member, (role, tenant, exp))| format!("g {member} {role} {tenant} {exp}"))
}

/// What the lint leaves of random rules.
fn sound(mut rules: Vec<String>) -> (Snapshot, Vec<String>) {
    loop {
        match try_build(csv(&rules)) {
            Ok(snapshot) => return (snapshot, rules),
            Err(problems) => _ = rules.remove((problems[0].line.unwrap() - 1) / 2),
        }
    }
}

/// Everybody that `who` is in a tenant, by text alone.
fn names<'a>(rules: &'a [String], who: &'a str, tenant: &str, now: Option<u64>) -> Vec<&'a str> {
    let mut names = vec![who];
    for _ in rules {
        for rule in rules {
            let fields: Vec<&str> = rule.split(' ').collect();
            if let ["g", member, role, domain, exp] = fields.as_slice() {
                let exp: u64 = exp.parse().unwrap();
                let holds = now.is_none_or(|now| exp == 0 || now < exp);
                if *domain == tenant && names.contains(member) && holds && !names.contains(role) {
                    names.push(role);
                }
            }
        }
    }
    names
}

/// In what a `p` rule differs from a question, by text alone.
fn differs(rules: &[String], rule: &str, asked: &[&str], now: u64) -> Vec<Mismatch> {
    let fields: Vec<&str> = rule.split(' ').collect();
    let ["p", sub, dom, obj, act, pur, nbf, exp, _] = fields.as_slice() else { panic!("{rule}") };
    let [who, tenant, what, action, purpose] = asked else { panic!("{asked:?}") };
    let (nbf, exp): (u64, u64) = (nbf.parse().unwrap(), exp.parse().unwrap());
    let domain = if *dom == "*" { tenant } else { dom };
    let pattern = Pattern::parse(obj).unwrap();
    let parts = [
        (Mismatch::Tenant, dom == tenant || *dom == "*"),
        (Mismatch::Action, act == action),
        (Mismatch::Purpose, pur == purpose || *pur == "*"),
        (Mismatch::Object, pattern.matches(&Object::parse(what).unwrap())),
        (Mismatch::Window, nbf <= now && (exp == 0 || now < exp)),
        (Mismatch::Membership, names(rules, who, domain, Some(now)).contains(sub)),
    ];
    parts.into_iter().filter(|(_, same)| !same).map(|(mismatch, _)| mismatch).collect()
}

#[test]
fn an_explanation_gives_the_decision_and_exactly_the_grants_that_made_it() {
    let policy = (vec(grant(), 0..14), vec(membership(), 0..7));
    let asked = vec(
        (
            select(&PRINCIPALS[..]),
            select(&TENANTS[..]),
            select(&OBJECTS[..]),
            select(&ACTIONS[..]),
            select(&PURPOSES[..]),
        ),
        30,
    );
    let mut runner = TestRunner::new(Config { failure_persistence: None, cases: 150, ..Config::default() });
    let causes = std::cell::RefCell::new(HashMap::<Cause, u32>::new());
    runner
        .run(
            &(policy, asked, vec(0_u64..30, 30), any::<bool>()),
            |((grants, memberships), asked, times, everywhere)| {
                let (snapshot, rules) = sound([grants, memberships].concat());
                for ((who, tenant, what, action, purpose), now) in asked.into_iter().zip(times) {
                    let texts = [who, tenant, what, action, purpose];
                    let asked = Asked::new(&texts.join(" "));
                    let elsewhere = |_: &Tenant| everywhere;
                    let sight = Sight { whole_tenant: true, elsewhere: &elsewhere };
                    let explanation = snapshot.explain(&asked.question(), now, sight);
                    let decision = snapshot.decide(&asked.question(), now);
                    prop_assert_eq!(&explanation.decision, &decision);
                    prop_assert_ne!(explanation.cause, Cause::Unclear);

                    // The deciding grants are the decision's, each with a chain that holds and leads from the one to the other.
                    let mut deciding = ids(&explanation.deciding);
                    deciding.sort_unstable();
                    let mut named: Vec<&str> = decision.grant_ids.iter().map(|id| id.as_str()).collect();
                    named.sort_unstable();
                    prop_assert!(deciding.len() > 8 || deciding == named, "{:?} {:?}", deciding, named);
                    for line in explanation.deciding.iter().chain(&explanation.overruled) {
                        let mut at = who;
                        for membership in &line.chain {
                            prop_assert!(membership.member.as_str() == at && membership.holds_at(now));
                            prop_assert_eq!(membership.tenant.as_str(), tenant);
                            at = membership.role.as_str();
                        }
                        prop_assert_eq!(at, line.grant.grantee.as_str());
                    }

                    // And what the plain text says: who matches, and in what the others differ.
                    let allowed = decision.verdict == Verdict::Allow;
                    let mut near_ones: Vec<(&str, Vec<Mismatch>)> = Vec::new();
                    for (rule, line) in rules.iter().filter(|rule| rule.starts_with("p ")).zip(snapshot.grants()) {
                        let mismatches = differs(&rules, rule, &texts, now);
                        let matched = ids(&explanation.deciding).contains(&line.id.as_str())
                            || ids(&explanation.overruled).contains(&line.id.as_str());
                        prop_assert_eq!(matched, mismatches.is_empty(), "{} {:?} at {}", rule, texts, now);
                        let own = line.tenants.as_str() != "*"
                            && names(&rules, who, line.tenants.as_str(), None).contains(&line.grantee.as_str());
                        let shown = !mismatches.contains(&Mismatch::Tenant) || everywhere && own;
                        let other_effect = (line.effect == Effect::Deny) == allowed;
                        if !matched && other_effect && shown && mismatches.len() <= 3 {
                            near_ones.push((line.id.as_str(), mismatches));
                        }
                    }
                    near_ones
                        .sort_by_key(|(_, mismatches)| (mismatches.len(), mismatches.contains(&Mismatch::Membership)));
                    let found: Vec<(&str, Vec<Mismatch>)> =
                        explanation.near.iter().map(|near| (near.grant.id.as_str(), near.mismatches.clone())).collect();
                    prop_assert_eq!(found, near_ones);
                    *causes.borrow_mut().entry(explanation.cause).or_default() += 1;
                }
                Ok(())
            },
        )
        .unwrap();
    let causes = causes.into_inner();
    for cause in [Cause::Allowed, Cause::Denied, Cause::NoGrant] {
        assert!(causes.get(&cause).is_some_and(|count| *count >= 100), "{causes:?}");
    }
}
