//! Every kind of change and its border: what looks like less and is more, and what looks like nothing and is not.

use proptest::{collection::vec, prelude::*, sample::select, test_runner::Config};

use super::*;
use crate::{
    id::{Action, ControlObject, Purpose},
    policy::{Question, Snapshot, Sources, Verdict, grant},
};

const CATALOGUE_TEXT: &str = include_str!("../../../policies/catalogue.toml");
const MODEL_TEXT: &str = include_str!("../../../policies/model.conf");

/// 2027-01-01 and 2028-01-01.
const YEAR: u64 = 1_798_761_600;
const NEXT: u64 = 1_830_297_600;

const BASE: &str = "\
# Rules.
#: id=clerks-decrypt reason=\"r\"
p, role:signup, acme, pii/account/*, decrypt, signup, 0, 0, allow
#: id=clerks-audit reason=\"r\"
p, role:auditor, acme, audit, read, operate, 0, 0, allow
#: id=clerks-export reason=\"r\"
p, role:auditor, acme, audit, export, operate, 0, 0, allow
#: id=bills reason=\"r\"
p, role:billing, acme, pii/billing/tax_id, index, invoicing, 0, 0, allow
#: id=brief not_before=2027-01-01T00:00:00Z expires=2028-01-01T00:00:00Z reason=\"r\"
p, role:signup, acme, pii/account/*, index, signup, 1798761600, 1830297600, allow
#: id=everywhere owner=_system reason=\"r\"
p, role:signup, *, pii/usage/activity, decrypt, signup, 0, 0, allow
#: id=support-masks reason=\"r\"
p, role:support, acme, pii/*, mask, support-ticket, 0, 0, allow
#: id=support-never reason=\"r\"
p, role:support, acme, pii/billing/*, mask, support-ticket, 0, 0, deny
#: id=operators-break-glass reason=\"r\"
p, role:operator, acme, policy, breakglass, operate, 0, 0, allow
#: id=glass reason=\"r\"
p, role:break-glass, acme, pii/account/email, decrypt, emergency, 0, 0, allow
#: id=anna reason=\"r\"
g, user:idp/anna, role:signup, acme
#: id=ada reason=\"r\"
g, user:idp/ada, role:auditor, acme
#: id=sam reason=\"r\"
g, user:idp/sam, role:support, acme
#: id=billing-supports reason=\"r\"
g, role:billing, role:support, acme
#: id=bo expires=2028-01-01T00:00:00Z reason=\"r\"
g, user:idp/bo, role:billing, acme
#: id=olga reason=\"r\"
g, user:idp/olga, role:operator, acme
";

fn sources(policy: &str) -> Sources {
    Sources {
        model: MODEL_TEXT.into(),
        policy: policy.into(),
        catalogue: CATALOGUE_TEXT.into(),
        assertions: String::new(),
    }
}

fn read(sources: Sources) -> Document {
    Document::read(sources).unwrap_or_else(|problems| panic!("{problems:#?}"))
}

fn impact(before: Sources, after: Sources) -> Impact {
    let (before, after) = (read(before), read(after));
    Impact::of(&before, &after, &Diff::between(&before, &after))
}

/// What it comes to that some texts of the base are replaced.
fn replaced(edits: &[(&str, &str)]) -> Impact {
    let after = edits.iter().fold(BASE.to_owned(), |policy, (from, to)| {
        assert!(policy.contains(from), "{from}");
        policy.replacen(from, to, 1)
    });
    impact(sources(BASE), sources(&after))
}

/// What it comes to that the rule of an id is gone.
fn without(id: &str) -> Impact {
    let start = BASE.find(&format!("#: id={id} ")).unwrap();
    let end = start + BASE[start..].match_indices('\n').nth(1).unwrap().0 + 1;
    replaced(&[(&BASE[start..end], "")])
}

/// What it comes to that rules are added.
fn with(rules: &str) -> Impact {
    impact(sources(BASE), sources(&[BASE, rules].concat()))
}

fn names(principals: &BTreeSet<Principal>) -> Vec<&str> {
    principals.iter().map(|principal| principal.as_str().rsplit('/').next().unwrap()).collect()
}

fn tenants(impact: &Impact) -> Vec<&str> {
    impact.tenants.iter().map(Tenant::as_str).collect()
}

#[track_caller]
fn narrows(impact: &Impact, touched: &[&str]) {
    assert_eq!(impact.direction, Direction::Narrows);
    assert!(impact.beneficiaries.is_empty());
    assert_eq!(tenants(impact), touched);
}

/// It widens for exactly one reason, and these gain.
#[track_caller]
fn widens(impact: &Impact, because: &str, gaining: &[&str], touched: &[&str]) {
    let Direction::Widens { why } = &impact.direction else { panic!("it narrows") };
    assert!(why.len() == 1 && why[0].because.starts_with(because), "{why:#?}");
    assert!(!why[0].because.contains("idp"), "no principal is named");
    assert_eq!(names(&impact.beneficiaries), gaining);
    assert_eq!(tenants(impact), touched);
    assert_eq!(why[0].tenants, impact.tenants);
}

#[test]
fn nothing_is_nothing() {
    narrows(&impact(sources(BASE), sources(BASE)), &[]);
}

#[test]
fn to_drop_an_allow_on_data_narrows_and_on_the_control_plane_widens() {
    narrows(&without("clerks-decrypt"), &["acme"]);
    narrows(&without("everywhere"), &["_system"]);
    widens(&without("clerks-audit"), "grant clerks-audit was on audit: the control plane", &[], &["acme"]);
}

#[test]
fn to_shorten_an_allow_narrows_from_either_end() {
    let dates = "not_before=2027-01-01T00:00:00Z expires=2028-01-01T00:00:00Z";
    let line = "1798761600, 1830297600, allow";
    let window = |from: u64, to: u64| {
        let moment =
            |key: &str, secs: u64| if secs == 0 { String::new() } else { format!("{key}={} ", grant::date(secs)) };
        let comment = [moment("not_before", from), moment("expires", to)].concat();
        replaced(&[(&format!("{dates} "), &comment), (line, &format!("{from}, {to}, allow"))])
    };
    narrows(&window(YEAR + 1, NEXT), &["acme"]);
    narrows(&window(YEAR, NEXT - 1), &["acme"]);
    narrows(&window(NEXT - 1, NEXT), &["acme"]);
    for (from, to) in [(YEAR - 1, NEXT), (YEAR, NEXT + 1), (0, NEXT), (YEAR, 0), (YEAR + 1, NEXT + 1), (NEXT, NEXT + 9)]
    {
        widens(&window(from, to), "grant brief holds at moments at which it did not", &["anna"], &["acme"]);
    }
    // What was without end can be given one.
    let ended = [
        ("id=clerks-decrypt ", "id=clerks-decrypt expires=2027-01-01T00:00:00Z "),
        ("decrypt, signup, 0, 0, allow", "decrypt, signup, 0, 1798761600, allow"),
    ];
    narrows(&replaced(&ended), &["acme"]);
}

#[test]
fn to_shorten_what_is_no_allow_on_data_widens() {
    let dated = |id: &str, line: &str| {
        let (comment, rule) = (format!("id={id} "), format!("{line}, 0, 0,"));
        replaced(&[
            (&comment, &format!("{comment}expires=2027-01-01T00:00:00Z ")),
            (&rule, &rule.replace(" 0, 0,", " 0, 1798761600,")),
        ])
    };
    let audit = dated("clerks-audit", "audit, read, operate");
    widens(&audit, "grant clerks-audit changes its expires on audit: the control plane", &[], &["acme"]);
    let deny = dated("support-never", "pii/billing/*, mask, support-ticket");
    widens(&deny, "grant support-never changes its expires of a deny", &["bo", "sam"], &["acme"]);
    let membership = replaced(&[("id=sam ", "id=sam expires=2027-01-01T00:00:00Z ")]);
    widens(&membership, "membership sam changes its expires", &["sam"], &["acme"]);
    let member = replaced(&[("id=anna ", "id=anna expires=2027-01-01T00:00:00Z ")]);
    widens(&member, "membership anna changes its expires", &[], &["acme"]);
}

#[test]
fn an_allow_that_becomes_another_widens_even_if_it_is_narrower() {
    let change = |from: &str, to: &str| replaced(&[(from, to)]);
    let pattern = change("pii/account/*, decrypt", "pii/account/email, decrypt");
    widens(&pattern, "grant clerks-decrypt changes its object", &[], &["acme"]);
    let wider = change("pii/account/*, decrypt", "pii/*, decrypt");
    widens(&wider, "grant clerks-decrypt changes its object", &["anna"], &["acme"]);
    let reason = change("id=clerks-decrypt reason=\"r\"", "id=clerks-decrypt reason=\"s\"");
    widens(&reason, "grant clerks-decrypt changes its reason", &[], &["acme"]);
    let purpose = change("decrypt, signup, 0, 0, allow", "decrypt, invoicing, 0, 0, allow");
    widens(&purpose, "grant clerks-decrypt changes its purpose", &["anna"], &["acme"]);
    let grantee = change("role:signup, acme, pii/account/*, decrypt", "role:billing, acme, pii/account/*, decrypt");
    widens(&grantee, "grant clerks-decrypt changes its grantee", &["bo"], &["acme"]);
    let tenant = change("role:signup, acme, pii/account/*, decrypt", "role:signup, bolt, pii/account/*, decrypt");
    widens(&tenant, "grant clerks-decrypt changes its tenant", &[], &["acme", "bolt"]);
    let shorter_with_a_reason = replaced(&[
        ("id=clerks-decrypt reason=\"r\"", "id=clerks-decrypt expires=2027-01-01T00:00:00Z reason=\"s\""),
        ("decrypt, signup, 0, 0, allow", "decrypt, signup, 0, 1798761600, allow"),
    ]);
    widens(&shorter_with_a_reason, "grant clerks-decrypt changes its expires, reason", &[], &["acme"]);
    let all = replaced(&[
        ("id=support-masks reason", "id=support-masks owner=_system reason"),
        ("role:support, acme, pii/*", "role:support, *, pii/*"),
    ]);
    widens(&all, "grant support-masks changes its tenant", &[], &["_system", "acme"]);
}

#[test]
fn an_allow_that_becomes_a_deny_widens_by_name_and_a_deny_that_becomes_an_allow_in_deed() {
    let allow = replaced(&[("decrypt, signup, 0, 0, allow", "decrypt, signup, 0, 0, deny")]);
    widens(&allow, "grant clerks-decrypt changes its effect of a deny", &[], &["acme"]);
    // Alone with its purpose, so that the line does something.
    let deny = replaced(&[(
        "pii/billing/*, mask, support-ticket, 0, 0, deny",
        "pii/billing/*, index, invoicing, 0, 0, allow",
    )]);
    widens(&deny, "grant support-never changes its action, purpose, effect of a deny", &["bo", "sam"], &["acme"]);
}

#[test]
fn another_id_for_the_same_rule_is_a_rule_that_goes_and_one_that_comes() {
    let allow = replaced(&[("id=clerks-decrypt", "id=clerks-open")]);
    widens(&allow, "grant clerks-open is a new allow", &[], &["acme"]);
    let deny = replaced(&[("id=support-never", "id=support-never-ever")]);
    widens(&deny, "grant support-never was a deny", &[], &["acme"]);
    let membership = replaced(&[("id=anna ", "id=anna-again ")]);
    widens(&membership, "membership anna-again is new", &[], &["acme"]);
}

#[test]
fn a_new_deny_narrows_on_data_and_widens_on_the_control_plane() {
    let deny = |fields: &str| format!("#: id=new reason=\"r\"\np, {fields}, 0, 0, deny\n");
    narrows(&with(&deny("role:signup, acme, pii/account/email, decrypt, *")), &["acme"]);
    narrows(&with(&deny("user:idp/anna, acme, pii/*, decrypt, *")), &["acme"]);
    let all = deny("role:signup, *, pii/*, rewrap, *").replace("id=new", "id=new owner=_system");
    narrows(&with(&all), &["_system"]);
    let audit = with(&deny("user:idp/ada, acme, audit, read, *"));
    widens(&audit, "grant new denies on audit: the control plane", &[], &["acme"]);
}

#[test]
fn to_drop_a_deny_widens_for_those_it_kept_from_something() {
    widens(&without("support-never"), "grant support-never was a deny", &["bo", "sam"], &["acme"]);
    // A deny that stood in nobody's way helps nobody when it goes, and still waits for approval.
    let idle = "#: id=idle reason=\"r\"\np, role:support, acme, pii/billing/*, decrypt, *, 0, 0, deny\n";
    let found = impact(sources(&[BASE, idle].concat()), sources(BASE));
    widens(&found, "grant idle was a deny", &[], &["acme"]);
}

#[test]
fn to_drop_a_membership_narrows_only_if_its_role_carries_no_deny_and_no_control_however_far() {
    narrows(&without("anna"), &["acme"]);
    widens(&without("sam"), "membership sam carried a deny (support-never)", &[], &["acme"]);
    let chained = "membership bo carried a deny (support-never)";
    widens(&without("bo"), chained, &[], &["acme"]);
    let between = "membership billing-supports carried a deny (support-never)";
    widens(&without("billing-supports"), between, &[], &["acme"]);
    let control = "membership ada led to audit: the control plane (clerks-audit)";
    widens(&without("ada"), control, &[], &["acme"]);
    // A deny for all tenants is carried in each; one of another tenant is not.
    let deny = |tenant: &str, owner: &str| {
        let rules =
            format!("#: id=d{owner} reason=\"r\"\np, role:signup, {tenant}, pii/billing/*, decrypt, *, 0, 0, deny\n");
        let policy = [BASE, &rules].concat();
        let anna = "#: id=anna reason=\"r\"\ng, user:idp/anna, role:signup, acme\n";
        impact(sources(&policy), sources(&policy.replacen(anna, "", 1)))
    };
    widens(&deny("*", " owner=_system"), "membership anna carried a deny (d)", &[], &["acme"]);
    narrows(&deny("bolt", ""), &["acme"]);
}

#[test]
fn a_way_out_of_a_deny_helps_whoever_has_the_allow_another_way() {
    let own = "#: id=own reason=\"r\"\np, user:idp/sam, acme, pii/billing/payment, mask, support-ticket, 0, 0, allow\n";
    let policy = [BASE, own].concat();
    let sam = "#: id=sam reason=\"r\"\ng, user:idp/sam, role:support, acme\n";
    let found = impact(sources(&policy), sources(&policy.replacen(sam, "", 1)));
    widens(&found, "membership sam carried a deny (support-never)", &["sam"], &["acme"]);
}

#[test]
fn a_new_or_other_membership_widens_in_each_tenant_it_is_about() {
    let new = with("#: id=new reason=\"r\"\ng, user:idp/kim, role:signup, acme\n");
    widens(&new, "membership new is new", &["kim"], &["acme"]);
    let moved = replaced(&[("user:idp/anna, role:signup, acme", "user:idp/anna, role:signup, bolt")]);
    widens(&moved, "membership anna changes its tenant", &["anna"], &["acme", "bolt"]);
    let system = replaced(&[("user:idp/ada, role:auditor, acme", "user:idp/ada, role:auditor, _system")]);
    widens(&system, "membership ada changes its tenant", &[], &["_system", "acme"]);
    let role = replaced(&[("user:idp/bo, role:billing", "user:idp/bo, role:signup")]);
    widens(&role, "membership bo changes its role", &["bo"], &["acme"]);
    let longer = replaced(&[("id=bo expires=2028-01-01T00:00:00Z ", "id=bo ")]);
    widens(&longer, "membership bo changes its expires", &["bo"], &["acme"]);
    let through = with("#: id=new reason=\"r\"\ng, role:auditor, role:signup, acme\n");
    widens(&through, "membership new is new", &["ada"], &["acme"]);
}

#[test]
fn what_an_emergency_role_gains_is_gained_by_whoever_may_break_the_glass() {
    let more =
        with("#: id=new reason=\"r\"\np, role:break-glass, acme, pii/billing/*, decrypt, emergency, 0, 0, allow\n");
    widens(&more, "grant new is a new allow", &["olga"], &["acme"]);
    let other = with("#: id=new reason=\"r\"\np, user:idp/kim, acme, policy, breakglass, operate, 0, 0, allow\n");
    widens(&other, "grant new is a new allow", &["kim"], &["acme"]);
}

#[test]
fn a_new_allow_that_gives_nothing_new_is_approved_all_the_same() {
    let same =
        with("#: id=new reason=\"r\"\np, user:idp/anna, acme, pii/account/email, decrypt, signup, 0, 0, allow\n");
    widens(&same, "grant new is a new allow", &[], &["acme"]);
    let denied =
        with("#: id=new reason=\"r\"\np, user:idp/sam, acme, pii/billing/payment, mask, support-ticket, 0, 0, allow\n");
    widens(&denied, "grant new is a new allow", &[], &["acme"]);
    let everywhere = with(
        "#: id=new owner=_system reason=\"r\"\np, user:idp/kim, *, pii/account/email, decrypt, signup, 0, 0, allow\n",
    );
    widens(&everywhere, "grant new is a new allow", &["kim"], &["_system"]);
}

#[test]
fn comments_order_and_spacing_are_the_deployments_and_widen() {
    let policy = "policies/policy.csv: 1 lines added, 1 removed";
    widens(&replaced(&[("# Rules.", "# Laws.")]), policy, &[], &["_system"]);
    widens(&replaced(&[("p, role:signup, acme", "p,role:signup, acme")]), policy, &[], &["_system"]);
    let ada = "#: id=ada reason=\"r\"\ng, user:idp/ada, role:auditor, acme\n";
    let moved = replaced(&[(ada, ""), ("#: id=olga", &format!("{ada}#: id=olga"))]);
    widens(&moved, "policies/policy.csv: 2 lines added, 2 removed", &[], &["_system"]);
}

#[test]
fn catalogue_assertions_and_model_widen_for_whom_they_bring_something() {
    let catalogue = |from: &str, to: &str| {
        assert!(CATALOGUE_TEXT.contains(from), "{from}");
        let after = Sources { catalogue: CATALOGUE_TEXT.replacen(from, to, 1), ..sources(BASE) };
        impact(sources(BASE), after)
    };
    let class = "\n[[class]]\nname = \"pii/account/nickname\"\nabout = \"n\"\nkind = \"name\"\nmax_bytes = 9\n\
                 retention = { from = \"closure\", days = 30 }\n\n[[class]]\nname = \"pii/account/phone\"";
    let new = catalogue("\n[[class]]\nname = \"pii/account/phone\"", class);
    widens(&new, "policies/catalogue.toml: 7 lines added, 0 removed", &["anna", "bo", "sam"], &["_system"]);
    let kind = catalogue("kind = \"email\"", "kind = \"text\"");
    widens(&kind, "policies/catalogue.toml: 1 lines added, 1 removed", &["anna", "bo", "olga", "sam"], &["_system"]);
    let about = catalogue("about = \"Tax ID.\"", "about = \"Tax number.\"");
    widens(&about, "policies/catalogue.toml: 1 lines added, 1 removed", &[], &["_system"]);
    let person = catalogue("principals = [\"spiffe://acme.example/policy-admin\"]", "principals = [\"spiffe://a/x\"]");
    widens(&person, "policies/catalogue.toml: 1 lines added, 1 removed", &["x", "policy-admin"], &["_system"]);
    let emergency = catalogue("about = \"Writes and sends invoices.\"", "about = \"b\"\nemergency = true");
    widens(&emergency, "policies/catalogue.toml: 2 lines added, 1 removed", &["olga"], &["_system"]);
    let assertions = Sources { assertions: "# none\n".into(), ..sources(BASE) };
    let found = impact(sources(BASE), assertions);
    widens(&found, "policies/assertions.toml: 1 lines added, 0 removed", &[], &["_system"]);
    let model = Sources { model: format!("{MODEL_TEXT}# the end\n"), ..sources(BASE) };
    widens(&impact(sources(BASE), model), "policies/model.conf: 1 lines added, 0 removed", &[], &["_system"]);
}

#[test]
fn every_reason_is_given_and_one_is_enough() {
    let found = replaced(&[
        (
            "id=clerks-decrypt reason=\"r\"\np, role:signup, acme, pii/account/*, decrypt, signup, 0, 0, allow\n",
            "id=n reason=\"r\"\np, role:signup, acme, pii/*, rewrap, *, 0, 0, deny\n",
        ),
        ("g, user:idp/olga, role:operator, acme", "g, user:idp/olga, role:auditor, acme"),
        ("# Rules.", "# Laws."),
    ]);
    let Direction::Widens { why } = &found.direction else { panic!("it narrows") };
    let because: Vec<&str> = why.iter().map(|widening| widening.because.as_str()).collect();
    assert_eq!(because, ["membership olga changes its role", "policies/policy.csv: 1 lines added, 1 removed"]);
    assert_eq!((names(&found.beneficiaries), tenants(&found)), (vec!["olga"], vec!["_system", "acme"]));
}

const PRINCIPALS: [&str; 3] = ["user:idp/a", "user:idp/b", "user:idp/c"];
const ROLES: [&str; 4] = ["role:signup", "role:billing", "role:support", "role:break-glass"];

/// When a grant holds; 0 for no bound.
fn window() -> impl Strategy<Value = (u64, u64)> {
    select(vec![(0, 0), (0, 0), (5, 0), (0, 15), (5, 15), (10, 20)])
}

/// What the comment of a grant says after its id.
fn comment(tenant: &str, nbf: u64, exp: u64) -> String {
    let dated = |key: &str, secs: u64| if secs == 0 { String::new() } else { format!(" {key}={}", grant::date(secs)) };
    let owner = if tenant == "*" { " owner=_system" } else { "" };
    [owner, &dated("not_before", nbf), &dated("expires", exp), " reason=\"r\""].concat()
}

/// What is done to a rule.
#[derive(Clone, Debug)]
enum Edit {
    Drop,
    Put(String),
    /// A grant holds at another time; memberships stay.
    Move(u64, u64),
}

/// A rule's two lines with another window.
fn moved(rule: &str, (nbf, exp): (u64, u64)) -> String {
    let mut fields: Vec<&str> = rule.split_once('\n').unwrap().1.trim_end().split(", ").collect();
    if fields[0] != "p" {
        return rule.to_owned();
    }
    let (from, to) = (nbf.to_string(), exp.to_string());
    (fields[6], fields[7]) = (&from, &to);
    format!("{}\n{}\n", comment(fields[2], nbf, exp), fields.join(", "))
}

/// A random sound rule, as its two lines after its id.
fn rule() -> impl Strategy<Value = String> {
    let who = select([&PRINCIPALS[..], &ROLES[..]].concat());
    let tenant = select(vec!["acme", "acme", "acme", "bolt", "*"]);
    let what = select(vec![
        "pii/account/email, decrypt, signup",
        "pii/account/*, decrypt, signup",
        "pii/*, decrypt, signup",
        "pii/*, mask, invoicing",
        "pii/billing/*, mask, invoicing",
        "audit, read, operate",
        "policy, breakglass, operate",
    ]);
    let grant = (who.clone(), tenant, what, window(), prop::bool::weighted(0.7)).prop_map(
        |(who, tenant, what, (nbf, exp), allow)| {
            let what = if allow { what.to_owned() } else { format!("{}, *", what.rsplit_once(", ").unwrap().0) };
            let effect = if allow { "allow" } else { "deny" };
            format!("{}\np, {who}, {tenant}, {what}, {nbf}, {exp}, {effect}\n", comment(tenant, nbf, exp))
        },
    );
    let membership = (who, select(ROLES.to_vec()), select(vec!["acme", "acme", "bolt"]), select(vec![0, 0, 8, 18]))
        .prop_map(|(member, role, tenant, exp)| {
            let expires = if exp == 0 { String::new() } else { format!(" expires={}", grant::date(exp)) };
            format!("{expires} reason=\"r\"\ng, {member}, {role}, {tenant}\n")
        });
    prop_oneof![3 => grant, 2 => membership]
}

/// What the lint leaves of rules.
fn sound(mut rules: Vec<(usize, String)>) -> Snapshot {
    loop {
        let text: String = rules.iter().map(|(id, rule)| format!("#: id=r{id}{rule}")).collect();
        match Snapshot::build(1, &sources(&text)) {
            Ok(snapshot) => return snapshot,
            Err(problems) => _ = rules.remove((problems[0].line.unwrap() - 1) / 2),
        }
    }
}

/// Every question that tells the rules apart.
fn questions(snapshot: &Snapshot) -> Vec<(Principal, Tenant, Object, Action, Purpose)> {
    let objects = ["pii/account/email", "pii/account/name", "pii/billing/payment", "pii/usage/activity"];
    let mut asked = Vec::new();
    for principal in PRINCIPALS.map(|name| Principal::parse(name).unwrap()) {
        for tenant in ["acme", "bolt", "other", "_system"].map(|name| Tenant::parse_or_system(name).unwrap()) {
            for object in objects.map(|name| Object::parse(name).unwrap()) {
                for (action, purpose) in [(Action::Decrypt, "signup"), (Action::Mask, "invoicing")] {
                    asked.push((
                        principal.clone(),
                        tenant.clone(),
                        object.clone(),
                        action,
                        Purpose::parse(purpose).unwrap(),
                    ));
                }
            }
            for (object, action) in [(ControlObject::Audit, Action::Read), (ControlObject::Policy, Action::Breakglass)]
            {
                asked.push((principal.clone(), tenant.clone(), Object::Control(object), action, Purpose::operate()));
            }
        }
    }
    assert!(snapshot.catalogue().purpose("signup").is_some());
    asked
}

#[test]
fn whoever_is_told_yes_where_it_was_no_is_a_beneficiary_and_nobody_is_if_it_narrows() {
    let (mut widened, mut narrowed, mut shortened, mut flipped) = (0_u32, 0_u32, 0_u32, 0_u32);
    let counts = std::cell::RefCell::new((&mut widened, &mut narrowed, &mut shortened, &mut flipped));
    let edit = prop_oneof![
        3 => Just(Edit::Drop),
        3 => rule().prop_map(Edit::Put),
        4 => window().prop_map(|(nbf, exp)| Edit::Move(nbf, exp)),
    ];
    let edits = vec((0_usize..12, edit), 1..3);
    let mut runner =
        proptest::test_runner::TestRunner::new(Config { failure_persistence: None, cases: 1_000, ..Config::default() });
    runner
        .run(&(vec(rule(), 4..12), edits), |(rules, edits)| {
            let base: Vec<(usize, String)> = rules.into_iter().enumerate().collect();
            let mut edited: BTreeSet<usize> = BTreeSet::new();
            let before = sound(base);
            // What is left after the lint is edited: rules go, come, or are put in the place of another.
            let mut kept: Vec<(usize, String)> = before
                .document
                .sources
                .policy
                .split("#: id=r")
                .skip(1)
                .map(|rule| {
                    let (id, rest) = rule.split_at(rule.find(' ').unwrap());
                    (id.parse().unwrap(), rest.to_owned())
                })
                .collect();
            for (id, edit) in edits {
                if edited.insert(id) {
                    let at = kept.iter().position(|(kept, _)| *kept == id);
                    match (at, edit) {
                        (Some(at), Edit::Put(rule)) => kept[at].1 = rule,
                        (Some(at), Edit::Drop) => _ = kept.remove(at),
                        (Some(at), Edit::Move(nbf, exp)) => kept[at].1 = moved(&kept[at].1, (nbf, exp)),
                        (None, Edit::Put(rule)) => kept.push((id, rule)),
                        (None, Edit::Drop | Edit::Move(..)) => {}
                    }
                }
            }
            let after = sound(kept);
            let diff = Diff::between(&before.document, &after.document);
            let impact = Impact::of(&before.document, &after.document, &diff);
            let mut counts = counts.borrow_mut();
            *counts.0 += u32::from(impact.widens());
            *counts.1 += u32::from(!impact.widens() && !diff.is_empty());
            *counts.2 += u32::from(!impact.widens() && !diff.grants.changed.is_empty());
            for (principal, tenant, object, action, purpose) in questions(&before) {
                let question =
                    Question { principal: &principal, tenant: &tenant, object: &object, action, purpose: &purpose };
                for now in [0, 5, 8, 10, 15, 18, 20] {
                    let allows = |snapshot: &Snapshot| snapshot.decide(&question, now).verdict == Verdict::Allow;
                    if allows(&after) && !allows(&before) {
                        *counts.3 += 1;
                        prop_assert!(
                            impact.beneficiaries.contains(&principal),
                            "{question:?} at {now}\n{}\n{}\n{impact:?}",
                            before.document.sources.policy,
                            after.document.sources.policy
                        );
                    }
                }
            }
            Ok(())
        })
        .unwrap();
    assert!(
        widened > 50 && narrowed > 50 && shortened > 3 && flipped > 500,
        "{widened} {narrowed} {shortened} {flipped}"
    );
}
