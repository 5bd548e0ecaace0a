//! Lists of who can and of what somebody can, held against asking about everybody and everything.

use super::*;
use crate::policy::Sources;

const CATALOGUE: &str = include_str!("../../../policies/catalogue.toml");
const MODEL: &str = include_str!("../../../policies/model.conf");

const POLICY: &str = "\
#: id=clerks reason=\"r\"
p, role:support, acme, pii/account/*, decrypt, signup, 0, 0, allow
#: id=anna-herself expires=1970-01-01T00:00:20Z reason=\"r\"
p, user:idp/anna, acme, pii/account/email, decrypt, signup, 0, 20, allow
#: id=not-ben reason=\"r\"
p, user:idp/ben, acme, pii/*, decrypt, *, 0, 0, deny
#: id=later not_before=1970-01-01T00:00:30Z reason=\"r\"
p, user:idp/carl, acme, pii/account/email, decrypt, signup, 30, 0, allow
#: id=everywhere owner=_system reason=\"r\"
p, user:idp/dora, *, pii/account/email, decrypt, signup, 0, 0, allow
#: id=not-eve reason=\"r\"
p, user:idp/eve, acme, pii/*, decrypt, *, 0, 0, deny
#: id=in-bolt reason=\"r\"
p, role:support, bolt, pii/account/*, decrypt, signup, 0, 0, allow
#: id=anna-signs-up reason=\"r\"
g, user:idp/anna, role:signup, acme
#: id=ben-signs-up reason=\"r\"
g, user:idp/ben, role:signup, acme
#: id=signup-supports expires=1970-01-01T00:00:40Z reason=\"r\"
g, role:signup, role:support, acme
#: id=fay-in-bolt reason=\"r\"
g, user:idp/fay, role:support, bolt
";

fn build(policy: &str) -> Snapshot {
    let sources =
        Sources { model: MODEL.into(), policy: policy.into(), catalogue: CATALOGUE.into(), assertions: String::new() };
    Snapshot::build(1, &sources).unwrap_or_else(|problems| panic!("{problems:#?}"))
}

fn privilege(tenant: &str) -> Privilege {
    Privilege {
        tenant: Tenant::parse(tenant).unwrap(),
        object: Object::parse("pii/account/email").unwrap(),
        action: Action::Decrypt,
        purpose: Some(Purpose::parse("signup").unwrap()),
    }
}

fn who_can(snapshot: &Snapshot, privilege: &Privilege, now: u64) -> Vec<Granted> {
    let holders = snapshot.holders(privilege, now);
    let all: Vec<Granted> = (0..holders.count()).map(|at| snapshot.granted(&holders, at).unwrap()).collect();
    assert_eq!(snapshot.granted(&holders, holders.count()), None);
    all
}

/// `ben deny: clerks via role:signup role:support, not not-ben`.
fn told(granted: &Granted) -> String {
    let line = |line: &Reaching| {
        let roles: Vec<&str> = line.chain.iter().map(|membership| membership.role.as_str()).collect();
        [&[line.grant.id.as_str()], roles.as_slice()].concat().join(" ")
    };
    let list = |lines: &[Reaching]| lines.iter().map(line).collect::<Vec<_>>().join(", ");
    let name = granted.principal.as_str().rsplit('/').next().unwrap();
    format!("{name} {:?}: {} / {}", granted.verdict, list(&granted.allows), list(&granted.denies))
}

#[test]
fn everybody_whom_an_allow_reaches_is_listed_with_the_way_and_with_what_stops_it() {
    let snapshot = build(POLICY);
    let at = |tenant, now| who_can(&snapshot, &privilege(tenant), now).iter().map(told).collect::<Vec<_>>();
    assert_eq!(
        at("acme", 10),
        [
            "anna Allow: clerks role:signup role:support, anna-herself / ",
            "ben Deny: clerks role:signup role:support / not-ben",
            "dora Allow: everywhere / ",
        ]
    );
    assert_eq!(at("acme", 40), ["carl Allow: later / ", "dora Allow: everywhere / "], "windows are half-open");
    assert_eq!(at("bolt", 10), ["dora Allow: everywhere / ", "fay Allow: in-bolt role:support / "]);
    assert_eq!(at("nobodys", 10), ["dora Allow: everywhere / "]);
}

#[test]
fn the_list_is_everybody_for_whom_a_decision_allows() {
    let shipped = Sources::read(&std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("policies")).unwrap();
    let snapshot = Snapshot::build(1, &shipped).unwrap();
    let everybody: BTreeSet<Principal> = snapshot
        .memberships()
        .map(|membership| &membership.member)
        .chain(snapshot.grants().map(|grant| &grant.grantee))
        .filter_map(|grantee| match grantee {
            Grantee::Principal(principal) => Some(principal.clone()),
            Grantee::Role(_) => None,
        })
        .collect();
    let mut allowed = 0;
    for tenant in [Tenant::parse("acme").unwrap(), Tenant::system()] {
        let classes = snapshot.catalogue().classes().map(|spec| Object::Class(spec.class.clone()));
        let objects: Vec<Object> = classes.chain(crate::id::ControlObject::ALL.map(Object::Control)).collect();
        let mut questions = Vec::new();
        for object in &objects {
            for spec in snapshot.catalogue().purposes() {
                questions.extend(Action::ALL.map(|(action, _)| (object, action, spec)));
            }
        }
        for (object, action, spec) in questions {
            let purpose = spec.purpose.clone();
            let privilege =
                Privilege { tenant: tenant.clone(), object: object.clone(), action, purpose: Some(purpose.clone()) };
            let listed: BTreeSet<Principal> = who_can(&snapshot, &privilege, 1_800_000_000)
                .into_iter()
                .filter(|granted| granted.verdict == Verdict::Allow)
                .map(|granted| granted.principal)
                .collect();
            let asked = everybody.iter().filter(|principal| {
                let question = Question { principal, tenant: &tenant, object, action, purpose: &purpose };
                snapshot.decide(&question, 1_800_000_000).verdict == Verdict::Allow
            });
            assert_eq!(listed, asked.cloned().collect(), "{privilege:?}");
            allowed += listed.len();
        }
    }
    assert!(allowed > 60, "{allowed}");
}

#[test]
fn of_any_purpose_everybody_is_listed_who_has_one() {
    let more = "\
#: id=tickets reason=\"r\"
p, user:idp/gwen, acme, pii/account/email, decrypt, support-ticket, 0, 0, allow
#: id=no-billing reason=\"r\"
p, role:billing, acme, pii/account/email, decrypt, *, 0, 0, deny
#: id=gwen-bills reason=\"r\"
g, user:idp/gwen, role:billing, acme
#: id=anna-too reason=\"r\"
p, user:idp/anna, acme, pii/account/email, decrypt, support-ticket, 0, 0, allow
#: id=no-auditor reason=\"r\"
p, role:auditor, acme, pii/account/email, decrypt, signup, 0, 0, deny
#: id=anna-audits reason=\"r\"
g, user:idp/anna, role:auditor, acme
";
    let policy = [POLICY, more].concat();
    let snapshot = build(&policy);
    let any = Privilege { purpose: None, ..privilege("acme") };
    let listed = who_can(&snapshot, &any, 10);
    let verdicts: Vec<_> = listed.iter().map(|one| (one.principal.as_str(), one.verdict)).collect();
    assert!(verdicts.contains(&("user:idp/gwen", Verdict::Deny)), "a deny of all purposes stops it: {verdicts:?}");
    assert!(verdicts.contains(&("user:idp/anna", Verdict::Allow)), "one purpose is left: {verdicts:?}");
    let signup = who_can(&snapshot, &privilege("acme"), 10);
    assert!(signup.iter().any(|one| one.principal.as_str() == "user:idp/anna" && one.verdict == Verdict::Deny));
    assert!(signup.iter().all(|one| one.principal.as_str() != "user:idp/gwen"));
}

#[test]
fn a_principals_grants_are_those_that_hold_now_or_later_from_any_line_on() {
    let snapshot = build(POLICY);
    let acme = Tenant::parse("acme").unwrap();
    let of = |name: &str, now, from| {
        let principal = Principal::parse(&format!("user:idp/{name}")).unwrap();
        let grants = snapshot.grants_for(&principal, &acme, now, from);
        grants.map(|(at, line)| format!("{at} {} {}", line.grant.id, line.chain.len())).collect::<Vec<_>>()
    };
    assert_eq!(of("anna", 19, 0), ["0 clerks 2", "1 anna-herself 0"]);
    assert_eq!(of("anna", 20, 0), ["0 clerks 2"], "past");
    assert_eq!(of("anna", 40, 0), [""; 0], "nor through a membership that has ended");
    assert_eq!(of("anna", 10, 1), ["1 anna-herself 0"]);
    assert_eq!(of("carl", 10, 0), ["3 later 0"], "not yet");
    assert_eq!(of("ben", 10, 0), ["0 clerks 2", "2 not-ben 0"], "denies as well");
    assert_eq!(of("dora", 10, 0), ["4 everywhere 0"]);
    assert_eq!((of("nobody", 10, 0), of("anna", 10, 99)), (vec![], vec![]));
}
