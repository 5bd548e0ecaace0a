//! The cache, the shards and casbin itself, each held against the others and against an evaluator that shares no code with
//! them, over random policies, questions and times that run both ways.

use proptest::{
    collection::vec,
    prelude::*,
    sample::{Index, select},
    test_runner::{Config, TestRunner},
};

use super::{enforcer::Enforcer, *};

const CATALOGUE: &str = include_str!("../../policies/catalogue.toml");
const MODEL: &str = include_str!("../../policies/model.conf");

const PRINCIPALS: [&str; 4] = ["spiffe://a/p", "spiffe://a/q", "user:idp/r", "spiffe://a/stranger"];
const ROLES: [&str; 4] = ["role:signup", "role:billing", "role:support", "role:auditor"];
const TENANTS: [&str; 4] = ["acme", "bolt", "unnamed", "_system"];
const OBJECTS: [&str; 5] = ["pii/account/email", "pii/account/name", "pii/billing/payment", "audit", "pii/other/x"];
const ACTIONS: [&str; 4] = ["encrypt", "decrypt", "read", "export"];
const PURPOSES: [&str; 4] = ["signup", "invoicing", "operate", "unheard-of"];

/// One random rule, as fields; most combinations are sound, and the lint throws the others out.
#[derive(Clone, Debug)]
struct P {
    fields: [&'static str; 6],
    nbf: u64,
    exp: u64,
}

#[derive(Clone, Debug)]
struct G {
    fields: [&'static str; 3],
    exp: u64,
}

fn p() -> impl Strategy<Value = P> {
    let who = select([&PRINCIPALS[..3], &ROLES[..]].concat());
    let what = prop_oneof![
        3 => (select(vec!["pii/account/email", "pii/account/*", "pii/*", "pii/billing/*"]), select(vec!["encrypt", "decrypt"])),
        1 => (Just("audit"), select(vec!["read", "export"])),
    ];
    let tenant = select(vec!["acme", "acme", "bolt", "*", "_system"]);
    let times = (select(vec![0, 0, 5, 12]), select(vec![0, 0, 15, 25]));
    (who, tenant, what, select(vec!["signup", "signup", "invoicing", "*"]), prop::bool::weighted(0.8), times).prop_map(
        |(who, tenant, (what, action), purpose, allow, (nbf, exp))| {
            let purpose = if what == "audit" && purpose != "*" { "operate" } else { purpose };
            let effect = if allow && purpose != "*" { "allow" } else { "deny" };
            let tenant = if what != "audit" && tenant == "_system" { "acme" } else { tenant };
            P { fields: [who, tenant, what, action, purpose, effect], nbf, exp }
        },
    )
}

fn g() -> impl Strategy<Value = G> {
    let member = select([&PRINCIPALS[..3], &PRINCIPALS[..3], &ROLES[..]].concat());
    (member, select(ROLES.to_vec()), select(vec!["acme", "acme", "bolt", "_system"]), select(vec![0, 0, 8, 20, 25]))
        .prop_map(|(member, role, tenant, exp)| G { fields: [member, role, tenant], exp })
}

fn csv(grants: &[P], memberships: &[G]) -> String {
    let mut text = String::new();
    let dated = |key: &str, secs: u64| {
        if secs == 0 { String::new() } else { format!(" {key}={}", grant::date(secs)) }
    };
    for (at, P { fields: [who, tenant, what, action, purpose, effect], nbf, exp }) in grants.iter().enumerate() {
        let owner = if *tenant == "*" { " owner=_system" } else { "" };
        let dates = [dated("not_before", *nbf), dated("expires", *exp)].concat();
        text += &format!("#: id=p{at}{owner}{dates} reason=\"r\"\n");
        text += &format!("p, {who}, {tenant}, {what}, {action}, {purpose}, {nbf}, {exp}, {effect}\n");
    }
    for (at, G { fields, exp }) in memberships.iter().enumerate() {
        text += &format!("#: id=g{at}{} reason=\"r\"\ng, {}\n", dated("expires", *exp), fields.join(", "));
    }
    text
}

/// Builds what the lint leaves of random rules: those on lines it refuses are dropped until it refuses none.
fn build(mut grants: Vec<P>, mut memberships: Vec<G>) -> (Snapshot, Vec<P>, Vec<G>) {
    loop {
        let policy = csv(&grants, &memberships);
        let sources = Sources { model: MODEL.into(), policy, catalogue: CATALOGUE.into(), assertions: String::new() };
        match Snapshot::build(1, &sources) {
            Ok(snapshot) => return (snapshot, grants, memberships),
            Err(problems) => {
                let rule = (problems[0].line.unwrap() - 1) / 2;
                if rule < grants.len() {
                    grants.remove(rule);
                } else {
                    memberships.remove(rule - grants.len());
                }
            }
        }
    }
}

/// Random texts, most of them replaced by what some grant names: a question that is random in all parts is hardly ever allowed.
fn question(grants: &[P], indexes: &[Index; 5], near: &Index, random: usize) -> [&'static str; 5] {
    let pools = [&PRINCIPALS[..], &TENANTS[..], &OBJECTS[..], &ACTIONS[..], &PURPOSES[..]];
    let mut texts = std::array::from_fn(|at| *indexes[at].get(pools[at]));
    if !grants.is_empty() {
        let P { fields, .. } = near.get(grants);
        for at in (0..5).filter(|at| *at != random) {
            let fits = pools[at].iter().filter(|text| match fields[at] {
                "*" => true,
                pattern if pattern.ends_with("/*") => text.starts_with(&pattern[..pattern.len() - 1]),
                exact => exact == **text || (at == 0 && exact.starts_with("role:")),
            });
            let fits: Vec<&&str> = fits.collect();
            if !fits.is_empty() {
                texts[at] = **indexes[at].get(&fits);
            }
        }
    }
    texts
}

/// The meaning of the rules, said as plainly as possible: by text alone.
fn plainly(grants: &[P], memberships: &[G], [who, tenant, what, action, purpose]: [&str; 5], now: u64) -> bool {
    if ["unheard-of"].contains(&purpose) || what == "pii/other/x" || (what.starts_with("pii/") && tenant == "_system") {
        return false;
    }
    let mut names = vec![who];
    for _ in 0..memberships.len() {
        for G { fields: [member, role, domain], exp } in memberships {
            if *domain == tenant && names.contains(member) && (*exp == 0 || now < *exp) {
                names.push(role);
            }
        }
    }
    let matching = |wanted: &str| {
        grants.iter().any(|P { fields: [sub, dom, obj, act, pur, eft], nbf, exp }| {
            *eft == wanted
                && names.contains(sub)
                && (*dom == tenant || *dom == "*")
                && (*obj == what || obj.ends_with("/*") && what.starts_with(&obj[..obj.len() - 1]))
                && *act == action
                && (*pur == purpose || *pur == "*")
                && *nbf <= now
                && (*exp == 0 || now < *exp)
        })
    };
    matching("allow") && !matching("deny")
}

#[test]
fn cached_equals_uncached_equals_one_whole_enforcer_equals_the_plain_meaning() {
    let policy = (vec(p(), 0..14), vec(g(), 0..7));
    let asked = vec((any::<[Index; 5]>(), any::<Index>(), 0_usize..8, vec(0_u64..30, 5)), 40);
    let (mut decisions, mut allows) = (0_u32, 0_u32);
    let mut runner = TestRunner::new(Config { failure_persistence: None, cases: 120, ..Config::default() });
    let counts = std::cell::RefCell::new((&mut decisions, &mut allows));
    runner
        .run(&(policy, asked), |((grants, memberships), asked)| {
            let (snapshot, grants, memberships) = build(grants, memberships);
            for (indexes, near, kept, times) in asked {
                let texts = question(&grants, &indexes, &near, kept);
                let principal = Principal::parse(texts[0]).unwrap();
                let tenant = Tenant::parse_or_system(texts[1]).unwrap();
                let object = Object::parse(texts[2]).unwrap();
                let purpose = Purpose::parse(texts[4]).unwrap();
                let action = Action::parse(texts[3]).unwrap();
                let question =
                    Question { principal: &principal, tenant: &tenant, object: &object, action, purpose: &purpose };
                for now in times {
                    let meant = plainly(&grants, &memberships, texts, now);
                    let first = snapshot.decide(&question, now);
                    let again = snapshot.decide(&question, now);
                    prop_assert_eq!(first.verdict == Verdict::Allow, meant, "{:?} at {}", texts, now);
                    prop_assert_eq!(&first, &again);
                    if snapshot.knows(&question) {
                        let (uncached, holds) = snapshot.shards.decide(&question, now).unwrap();
                        prop_assert_eq!(&first, &uncached);
                        prop_assert!(holds.contains(&now));
                        for other in holds.start..holds.end.min(40) {
                            prop_assert_eq!(plainly(&grants, &memberships, texts, other), meant, "within {:?}", holds);
                        }
                        let lasting = snapshot.memberships().filter(|membership| membership.holds_at(now));
                        let whole = Enforcer::build(snapshot.grants(), lasting).unwrap();
                        prop_assert_eq!(whole.allows(&question, now), Ok(meant));
                    }
                    let mut counts = counts.borrow_mut();
                    *counts.0 += 1;
                    *counts.1 += u32::from(meant);
                }
            }
            Ok(())
        })
        .unwrap();
    // Both answers are common enough for the comparison to mean something.
    assert!(decisions >= 20_000, "{decisions}");
    assert!(allows > decisions / 25, "{allows} of {decisions}");
}

proptest! {
    #![proptest_config(Config { failure_persistence: None, cases: 64, ..Config::default() })]

    #[test]
    fn the_csv_of_typed_rules_reads_back_as_the_same_rules(grants in vec(p(), 0..10), memberships in vec(g(), 0..6)) {
        let (rules, problems) = super::csv::parse(&csv(&grants, &memberships));
        prop_assert!(problems.is_empty() || grants.iter().any(|p| p.exp != 0 && p.exp <= p.nbf), "{problems:?}");
        let mut text = String::new();
        rules.grants.iter().for_each(|line| text += &line.rule.to_string());
        rules.memberships.iter().for_each(|line| text += &line.rule.to_string());
        let (again, problems) = super::csv::parse(&text);
        prop_assert!(problems.is_empty());
        let plain = |rules: &super::csv::Rules| {
            let grants: Vec<Grant> = rules.grants.iter().map(|line| (*line.rule).clone()).collect();
            let memberships: Vec<Membership> = rules.memberships.iter().map(|line| (*line.rule).clone()).collect();
            (grants, memberships)
        };
        prop_assert_eq!(plain(&again), plain(&rules));
    }

    #[test]
    fn no_text_makes_the_readers_panic(text in "[pg#:, =\"\\n*/a-z0-9\u{202e}\u{0}-]{0,400}") {
        _ = super::csv::parse(&text);
        _ = Catalogue::parse("c", &text);
        _ = enforcer::check_model(&text);
        let sources = Sources { model: MODEL.into(), policy: String::new(), catalogue: CATALOGUE.into(), assertions: text };
        _ = Snapshot::build(1, &sources);
    }
}
