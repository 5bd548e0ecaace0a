//! Documents that somebody got wrong, or wrote to get more than they were given: each is refused with its file, line and field,
//! and every trap known of casbin is shown to be shut.

use super::*;

const CATALOGUE_TEXT: &str = include_str!("../../policies/catalogue.toml");
const MODEL_TEXT: &str = include_str!("../../policies/model.conf");
const NOW: u64 = 1_800_000_000;

const GOOD: &str = "\
# A good policy.
#: id=clerks-decrypt reason=\"they do\"
p, role:signup, acme, pii/account/email, decrypt, signup, 0, 0, allow
#: id=anna-is-a-clerk reason=\"she is\"
g, user:idp/anna, role:signup, acme
";

fn sources(policy: &str) -> Sources {
    Sources {
        model: MODEL_TEXT.into(),
        policy: policy.into(),
        catalogue: CATALOGUE_TEXT.into(),
        assertions: String::new(),
    }
}

fn build(policy: &str) -> Snapshot {
    Snapshot::build(1, &sources(policy)).unwrap_or_else(|problems| panic!("{problems:#?}"))
}

fn problems(sources: &Sources) -> Vec<String> {
    let problems = Snapshot::build(1, sources).expect_err("refused");
    problems.iter().map(ToString::to_string).collect()
}

/// The good policy with one text replaced gives exactly one problem, which starts like this.
#[track_caller]
fn refused(text: &str, by: &str, expected: &str) {
    assert!(GOOD.contains(text), "{text}");
    let found = problems(&sources(&GOOD.replacen(text, by, 1)));
    assert_eq!(found.len(), 1, "{found:#?}");
    assert!(found[0].starts_with(expected), "{found:#?}");
    assert!(!found[0].contains("anna"), "a principal is never shown: {found:?}");
}

/// Rules after the good ones give exactly these problems.
#[track_caller]
fn added(rules: &str, expected: &[&str]) {
    let found = problems(&sources(&format!("{GOOD}{rules}")));
    assert_eq!(found.len(), expected.len(), "{found:#?}");
    for (found, expected) in found.iter().zip(expected) {
        assert!(found.starts_with(expected), "{found}\n{expected}");
    }
}

fn asked_as(
    snapshot: &Snapshot,
    who: &str,
    tenant: &str,
    object: &str,
    action: Action,
    purpose: &str,
    now: u64,
) -> Decision {
    let (principal, tenant) = (Principal::parse(who).unwrap(), Tenant::parse_or_system(tenant).unwrap());
    let (object, purpose) = (Object::parse(object).unwrap(), Purpose::parse(purpose).unwrap());
    snapshot
        .decide(&Question { principal: &principal, tenant: &tenant, object: &object, action, purpose: &purpose }, now)
}

/// Whether `who` may decrypt e-mail addresses for sign-up in acme.
fn may(snapshot: &Snapshot, who: &str) -> bool {
    may_at(snapshot, who, NOW)
}

fn may_at(snapshot: &Snapshot, who: &str, now: u64) -> bool {
    asked_as(snapshot, who, "acme", "pii/account/email", Action::Decrypt, "signup", now).verdict == Verdict::Allow
}

#[test]
fn the_good_policy_is_good() {
    let snapshot = build(GOOD);
    let decision = asked_as(&snapshot, "user:idp/anna", "acme", "pii/account/email", Action::Decrypt, "signup", NOW);
    assert_eq!(decision.verdict, Verdict::Allow);
    assert_eq!(decision.grant_ids.iter().map(GrantId::as_str).collect::<Vec<_>>(), ["clerks-decrypt"]);
    assert_eq!(decision.roles.iter().map(Role::as_str).collect::<Vec<_>>(), ["role:signup"]);
    assert_eq!(decision.valid_until, None);
    assert!(!may(&snapshot, "user:idp/berta"));
}

#[test]
fn each_field_of_a_grant_is_refused_by_its_name() {
    let line = "policies/policy.csv:3: ";
    refused("p, role:signup", "p, *", &format!("{line}field sub: must be a role"));
    refused("p, role:signup", "p, system:purge", &format!("{line}field sub: must be a role"));
    refused("p, role:signup", "p, ", &format!("{line}field sub: must be a role"));
    refused(
        "p, role:signup",
        "p, role:sign-up",
        &format!("{line}field sub: role:sign-up is not a role of the catalogue"),
    );
    refused("acme, pii", "Acme, pii", &format!("{line}field dom: must be a tenant"));
    refused("acme, pii", ", pii", &format!("{line}field dom: must be a tenant"));
    refused("acme, pii", "_system, pii", &format!("{line}field dom: the tenant _system owns no data"));
    refused("pii/account/email", "*", &format!("{line}field obj: must be a class"));
    refused("pii/account/email", "pii/account*", &format!("{line}field obj: must be a class"));
    refused("pii/account/email", "pii/é/*", &format!("{line}field obj: must be a class"));
    refused(
        "pii/account/email",
        "pii/account/fax",
        &format!("{line}field obj: pii/account/fax is not in the catalogue"),
    );
    refused("pii/account/email", "pii/acount/*", &format!("{line}field obj: pii/acount/* matches no class"));
    refused("decrypt,", "Decrypt,", &format!("{line}field act: must be an action"));
    refused("decrypt,", "*,", &format!("{line}field act: must be an action"));
    refused("decrypt,", "read,", &format!("{line}field act: read is not an action on classes"));
    refused("signup, 0", "*, 0", &format!("{line}field pur: an allow names its purpose"));
    refused("signup, 0", "sign-up, 0", &format!("{line}field pur: sign-up is not a purpose of the catalogue"));
    refused("signup, 0", "operate, 0", &format!("{line}field pur: operate is the purpose of the control plane"));
    for bad in ["-1", "+1", "01", "1e9", "", "never", "253402300800", "99999999999999999999"] {
        refused("0, 0,", &format!("{bad}, 0,"), &format!("{line}field nbf: must be seconds since 1970"));
        refused("0, 0,", &format!("0, {bad},"), &format!("{line}field exp: must be seconds since 1970"));
    }
}

#[test]
fn a_mistyped_effect_is_refused_and_never_an_allow() {
    for bad in ["Deny", "DENY", "denied", "Allow", "", "allow allow"] {
        refused("0, allow", &format!("0, {bad}"), "policies/policy.csv:3: field eft: must be allow or deny");
    }
}

#[test]
fn a_short_or_long_line_is_refused_before_casbin_can_fail_on_it() {
    refused(", allow", "", "policies/policy.csv:3: a p rule has 8 fields after the p, this has 7");
    refused(", allow", ", allow, x", "policies/policy.csv:3: a p rule has 8 fields after the p, this has 9");
    refused("signup, 0", "sign,up, 0", "policies/policy.csv:3: a p rule has 8 fields after the p, this has 9");
    refused("\np, role", "\nP, role", "policies/policy.csv:3: a rule begins with p or g");
    refused("\np, role", "\np2, role", "policies/policy.csv:3: a rule begins with p or g");
}

#[test]
fn a_membership_is_refused_by_its_fields() {
    let line = "policies/policy.csv:5: ";
    refused(
        ", role:signup, acme\n",
        ", role:signup\n",
        &format!("{line}a g rule has 3 fields after the g, this has 2"),
    );
    refused("user:idp/anna", "*", &format!("{line}field member: must be a role"));
    refused(", role:signup, acme\n", ", signup, acme\n", &format!("{line}field role: must be a role"));
    refused(", role:signup, acme\n", ", role:clerk, acme\n", &format!("{line}field role: role:clerk is not a role"));
    refused(
        ", role:signup, acme\n",
        ", role:billing, acme\n",
        &format!("{line}field role: no line gives role:billing anything"),
    );
    refused("\ng, user", "\ng2, user", &format!("{line}a rule begins with p or g"));
}

#[test]
fn a_role_membership_in_all_tenants_is_refused_because_casbin_would_ignore_it() {
    refused(", role:signup, acme\n", ", role:signup, *\n", "policies/policy.csv:5: field tenant: must be a tenant");
}

#[test]
fn a_deny_for_everybody_is_refused_because_casbin_would_ignore_it() {
    added(
        "#: id=nobody reason=\"r\"\np, *, acme, pii/account/email, decrypt, *, 0, 0, deny\n",
        &["policies/policy.csv:7: field sub: must be a role"],
    );
}

#[test]
fn a_comment_is_refused_by_what_is_wrong_with_it() {
    refused("#: id=clerks-decrypt ", "#: ", "policies/policy.csv:2: field id: is missing");
    refused("id=clerks-decrypt", "id=Clerks", "policies/policy.csv:2: field id: must be an id");
    refused(" reason=\"they do\"", "", "policies/policy.csv:2: field reason: is missing");
    refused("\"they do\"", "\" \"", "policies/policy.csv:2: field reason: must be 1 to 300 bytes");
    refused("\"they do\"", &format!("\"{}\"", "x".repeat(301)), "policies/policy.csv:2: field reason: must be 1 to");
    refused("id=clerks-decrypt", "id=a id=b", "policies/policy.csv:2: field id: is given twice");
    refused("reason=\"they do\"", "reason=\"they do\" colour=red", "policies/policy.csv:2: unknown key");
    refused("reason=\"they do\"", "reason=\"they do\" expires", "policies/policy.csv:2: a #: comment is key=value");
    refused(
        "reason=\"she is\"",
        "reason=\"she is\" owner=_system",
        "policies/policy.csv:4: field owner: a membership has",
    );
    refused(
        "reason=\"she is\"",
        "reason=\"she is\" expires=2027-01-01",
        "policies/policy.csv:4: field expires: must be a date",
    );
    refused("#: id=clerks-decrypt reason=\"they do\"\n", "", "policies/policy.csv:2: has no #: comment");
    let found = problems(&sources(&GOOD.replace("they do\"\n", "they do\"\n\n")));
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(
        found[0].starts_with("policies/policy.csv:2: no rule follows")
            && found[1].starts_with("policies/policy.csv:4: has no")
    );
}

#[test]
fn a_date_and_a_number_that_differ_are_refused_with_the_right_date() {
    let dated = "reason=\"they do\" expires=2027-01-01T00:00:00Z";
    refused(
        "reason=\"they do\"",
        dated,
        "policies/policy.csv:3: field exp: is 0, but the comment's expires is 1798761600",
    );
    refused(
        "0, 0, allow",
        "0, 1798761600, allow",
        "policies/policy.csv:3: field exp: is 1798761600, but the comment's expires is 0; for 1798761600 it says \
         expires=2027-01-01T00:00:00Z",
    );
    build(&GOOD.replace("reason=\"they do\"", dated).replace("0, 0, allow", "0, 1798761600, allow"));
}

#[test]
fn a_window_that_never_opens_is_refused() {
    let dated = "not_before=2027-01-01T00:00:00Z expires=2027-01-01T00:00:00Z reason=\"they do\"";
    let policy = GOOD.replace("reason=\"they do\"", dated).replace("0, 0, allow", "1798761600, 1798761600, allow");
    assert_eq!(
        problems(&sources(&policy)),
        ["policies/policy.csv:3: field exp: is not after nbf: the line never holds"]
    );
}

#[test]
fn quotes_controls_and_text_that_turns_around_are_refused() {
    refused("role:signup, acme, pii", "\"role:signup\", acme, pii", "policies/policy.csv:3: a rule holds no quote");
    refused("allow\n", "allow # all\n", "policies/policy.csv:3: a rule holds no quote, backslash or #");
    for bad in ["\u{0}", "\t", "\u{202e}", "\u{2066}", "\u{85}"] {
        let found = problems(&sources(&GOOD.replacen("# A good", &format!("# A {bad}good"), 1)));
        assert_eq!(found, ["policies/policy.csv:1: holds a control character or one that turns the direction of text"]);
    }
    let found = problems(&sources(&format!("\u{feff}{GOOD}")));
    assert_eq!(found, ["policies/policy.csv:1: starts with a byte order mark: save the file as plain UTF-8"]);
    build(&GOOD.replace('\n', "\r\n"));
}

#[test]
fn a_line_for_all_tenants_belongs_to_the_system_and_says_so() {
    refused(
        "acme, pii",
        "*, pii",
        "policies/policy.csv:2: field owner: a rule for all tenants (*) must say owner=_system",
    );
    refused("id=clerks", "owner=_system id=clerks", "policies/policy.csv:2: field owner: only a rule for all tenants");
    let snapshot = build(&GOOD.replace("acme, pii", "*, pii").replace("id=clerks", "owner=_system id=clerks"));
    assert!(may(&snapshot, "user:idp/anna"), "in the tenant where she has the role");
    let elsewhere = asked_as(&snapshot, "user:idp/anna", "bolt", "pii/account/email", Action::Decrypt, "signup", NOW);
    assert_eq!(elsewhere.verdict, Verdict::Deny, "and in no other");
}

#[test]
fn control_plane_grants_fit_their_object_purpose_and_tenant() {
    let grant = |fields: &str| format!("#: id=x reason=\"r\"\np, role:operator, {fields}, 0, 0, allow\n");
    added(
        &grant("acme, audit, rotate, operate"),
        &["policies/policy.csv:7: field act: rotate is not an action on audit"],
    );
    added(
        &grant("acme, keys, decrypt, operate"),
        &["policies/policy.csv:7: field act: decrypt is not an action on keys"],
    );
    added(&grant("acme, keys, rotate, signup"), &["policies/policy.csv:7: field pur: the purpose on keys is operate"]);
    added(
        &grant("acme, tenants, create, operate"),
        &["policies/policy.csv:7: field dom: create on tenants is the deployment's"],
    );
    added(
        &grant("acme, keys, purge, operate"),
        &["policies/policy.csv:7: field dom: purge on keys is the deployment's"],
    );
    build(&format!("{GOOD}{}", grant("_system, keys, purge, operate")));
}

#[test]
fn ids_are_unique_among_grants_and_memberships() {
    refused(
        "id=anna-is-a-clerk",
        "id=clerks-decrypt",
        "policies/policy.csv:5: field id: clerks-decrypt is already the id of line 3",
    );
}

#[test]
fn duplicate_and_shadowed_lines_are_refused() {
    let grant = |fields: &str| format!("#: id=x reason=\"r\"\np, role:signup, {fields}\n");
    let same = "policies/policy.csv:7: does nothing: line 3 (clerks-decrypt) says as much or more";
    added(&grant("acme, pii/account/email, decrypt, signup, 0, 0, allow"), &[same]);
    let wider = "policies/policy.csv:3: does nothing: line 7 (x) says as much or more";
    added(&grant("acme, pii/account/*, decrypt, signup, 0, 0, allow"), &[wider]);
    added(&grant("acme, pii/*, decrypt, signup, 0, 0, allow"), &[wider]);
    added(
        &grant("*, pii/*, decrypt, signup, 0, 0, allow").replace("id=x", "id=x owner=_system"),
        &["policies/policy.csv:3: does nothing: line 7 (x)"],
    );
    let dated = "#: id=x expires=2027-01-01T00:00:00Z reason=\"r\"\n\
                 p, role:signup, acme, pii/account/email, decrypt, signup, 0, 1798761600, allow\n";
    added(dated, &[same]);
    added(
        &grant("acme, pii/account/*, decrypt, *, 0, 0, deny"),
        &["policies/policy.csv:3: never allows anything: line 7 (x) denies all of it"],
    );
    added(
        "#: id=again reason=\"r\"\ng, user:idp/anna, role:signup, acme\n",
        &["policies/policy.csv:7: field member: line 5 already makes this member one of role:signup"],
    );
    // What only overlaps is no duplicate.
    build(&format!("{GOOD}{}", grant("acme, pii/account/name, decrypt, signup, 0, 0, allow")));
    build(&format!("{GOOD}{}", grant("acme, pii/account/email, decrypt, invoicing, 0, 0, allow")));
    build(&format!("{GOOD}{}", grant("bolt, pii/account/*, decrypt, *, 0, 0, deny")));
    build(&format!("{GOOD}{}", dated.replace("0, 1798761600, allow", "0, 1798761600, deny")));
}

#[test]
fn windows_of_one_scope_are_shadowed_only_when_covered() {
    let at = |id: &str, from: u64, to: u64| {
        let dates = format!("not_before={} expires={}", grant::date(from), grant::date(to));
        format!(
            "#: id={id} {dates} reason=\"r\"\np, role:signup, acme, pii/account/name, decrypt, signup, {from}, {to}, allow\n"
        )
    };
    build(&[GOOD, &at("a", 10, 20), &at("b", 20, 30), &at("c", 15, 25)].concat());
    added(&[at("a", 10, 40), at("b", 20, 30)].concat(), &["policies/policy.csv:9: does nothing: line 7 (a)"]);
    added(&[at("b", 20, 30), at("a", 10, 30)].concat(), &["policies/policy.csv:7: does nothing: line 9 (a)"]);
    added(&[at("a", 10, 30), at("b", 10, 30)].concat(), &["policies/policy.csv:9: does nothing: line 7 (a)"]);
}

#[test]
fn role_cycles_and_chains_past_eight_are_refused() {
    added(
        "#: id=x reason=\"r\"\ng, role:signup, role:billing, acme\n#: id=y reason=\"r\"\ng, role:billing, role:signup, acme\n",
        &["policies/policy.csv:"],
    );
    let found = problems(&sources(&format!("{GOOD}#: id=x reason=\"r\"\ng, role:signup, role:signup, acme\n")));
    assert_eq!(found, ["policies/policy.csv:7: field role: makes a role, through others, its own member"]);
}

#[test]
fn casbin_follows_a_chain_of_eight_and_the_ninth_is_refused() {
    let chain = |length: usize| {
        let mut catalogue = CATALOGUE_TEXT.to_owned();
        let mut policy = String::new();
        for at in 1..=length {
            catalogue += &format!("[[role]]\nname = \"role:r{at}\"\nabout = \"r\"\n");
            let member = if at == 1 { "user:idp/anna".into() } else { format!("role:r{}", at - 1) };
            policy += &format!("#: id=m{at} reason=\"r\"\ng, {member}, role:r{at}, acme\n");
        }
        policy += "#: id=top reason=\"r\"\n";
        policy += &format!("p, role:r{length}, acme, pii/account/email, decrypt, signup, 0, 0, allow\n");
        Sources { catalogue, ..sources(&policy) }
    };
    let snapshot = Snapshot::build(1, &chain(CHAIN_MAX)).unwrap();
    assert!(may(&snapshot, "user:idp/anna"));
    let found = problems(&chain(CHAIN_MAX + 1));
    assert_eq!(found, ["policies/policy.csv:18: field role: makes a chain of more than 8 memberships"]);
}

#[test]
fn a_role_that_can_both_propose_and_approve_is_refused_also_through_another() {
    let grant = |id: &str, role: &str, tenant: &str, action: &str| {
        format!("#: id={id} reason=\"r\"\np, role:{role}, {tenant}, policy, {action}, operate, 0, 0, allow\n")
    };
    let together = [grant("a", "operator", "acme", "propose"), grant("b", "operator", "acme", "approve")].concat();
    added(
        &together,
        &["policies/policy.csv:9: field act: with line 7, role:operator can both propose and approve in acme"],
    );
    let through = [
        grant("a", "policy-admin", "acme", "propose"),
        grant("b", "policy-approver", "acme", "approve"),
        "#: id=c reason=\"r\"\ng, role:policy-admin, role:policy-approver, acme\n".into(),
    ];
    added(
        &through.concat(),
        &["policies/policy.csv:9: field act: with line 7, role:policy-admin can both propose and approve in acme"],
    );
    build(&[GOOD, &grant("a", "operator", "acme", "propose"), &grant("b", "operator", "bolt", "approve")].concat());
    build(&[GOOD, &through[0], &through[1]].concat());
}

#[test]
fn an_emergency_role_never_carries_what_would_outlast_the_emergency() {
    for (tenant, object, action) in [
        ("acme", "policy", "propose"),
        ("acme", "policy", "approve"),
        ("acme", "policy", "breakglass"),
        ("_system", "keys", "purge"),
    ] {
        let rule =
            format!("#: id=x reason=\"r\"\np, role:break-glass, {tenant}, {object}, {action}, operate, 0, 0, allow\n");
        let expected = format!("policies/policy.csv:7: field act: an emergency role never carries {action}");
        added(&rule, &[&expected]);
    }
    added(
        "#: id=x reason=\"r\"\np, role:break-glass, _system, audit, read, operate, 0, 0, allow\n",
        &["policies/policy.csv:7: field act: an emergency role never carries _system"],
    );
}

#[test]
fn all_problems_of_all_files_are_reported_at_once() {
    let policy = GOOD.replace("decrypt,", "peek,").replace("idp/anna", "idp/").replace("clerks-decrypt", "C");
    let broken = Sources {
        model: MODEL_TEXT.replace("!some", "some"),
        catalogue: CATALOGUE_TEXT.replacen("kind = \"email\"", "kind = \"mail\"", 1),
        ..sources(&policy)
    };
    let found = problems(&broken);
    for expected in [
        "model.conf:",
        "catalogue.toml:",
        "policy.csv:2: field id",
        "policy.csv:3: field act",
        "policy.csv:5: field member",
    ] {
        assert!(
            found.iter().any(|problem| problem.starts_with(&format!("policies/{expected}"))),
            "{expected} in {found:#?}"
        );
    }
}

#[test]
fn any_other_model_is_refused_by_line() {
    let model = |from: &str, to: &str| {
        assert!(MODEL_TEXT.contains(from));
        let changed = Sources { model: MODEL_TEXT.replacen(from, to, 1), ..sources(GOOD) };
        Snapshot::build(1, &changed).map(drop).map_err(|problems| problems[0].to_string())
    };
    let line = |text: &str| 1 + MODEL_TEXT.lines().position(|line| line.starts_with(text)).unwrap();
    for (from, to, at) in [
        ("!some(where (p.eft == deny))", "some(where (p.eft == deny))", "e ="),
        ("&& !some(where (p.eft == deny))", "", "e ="),
        ("g(r.sub, p.sub, r.dom)", "true", "m ="),
        ("&& g(r.sub", "|| g(r.sub", "m ="),
        ("classMatch(", "keyMatch(", "m ="),
        ("classMatch(", "regexMatch(", "m ="),
        ("inWindow(r.now, p.nbf, p.exp)", "eval(p.sub)", "m ="),
        ("g = _, _, _", "g = _, _", "g ="),
        ("g = _, _, _", "g2 = _, _, _", "g ="),
        ("act, pur, now", "act, now, pur", "r ="),
    ] {
        let found = model(from, to).unwrap_err();
        let expected = format!("policies/model.conf:{}: the model is not the one this program decides by", line(at));
        assert!(found.starts_with(&expected), "{found}");
    }
    assert!(model("g = _, _, _", "g = _, _, _\ng2 = _, _").is_err());
    assert!(model("[matchers]", "").is_err() && model("# Casbin", "; Casbin").is_err());
    let cut = Sources { model: MODEL_TEXT.split("[matchers]").next().unwrap().into(), ..sources(GOOD) };
    assert!(problems(&cut)[0].starts_with("policies/model.conf: the model is not the one"));
    // Spacing, comments and continued lines are nobody's business.
    assert_eq!(model("&& classMatch", "  && \\\n   classMatch"), Ok(()));
    assert_eq!(model("[matchers]", "# the matcher\n\n[matchers]"), Ok(()));
}

#[test]
fn an_empty_policy_denies_everything() {
    let snapshot = build("");
    assert!(!may(&snapshot, "user:idp/anna"));
    let denied = asked_as(&snapshot, "user:idp/anna", "_system", "policy", Action::Read, "operate", NOW);
    assert_eq!(denied.verdict, Verdict::Deny);
}

#[test]
fn what_the_catalogue_does_not_know_is_denied_even_under_a_pattern() {
    let snapshot = build(&GOOD.replace("pii/account/email", "pii/*"));
    let ask = |object, action, purpose, tenant| {
        asked_as(&snapshot, "user:idp/anna", tenant, object, action, purpose, NOW).verdict
    };
    assert_eq!(ask("pii/account/email", Action::Decrypt, "signup", "acme"), Verdict::Allow);
    assert_eq!(ask("pii/account/fax", Action::Decrypt, "signup", "acme"), Verdict::Deny);
    assert_eq!(ask("pii/account/email/old", Action::Decrypt, "signup", "acme"), Verdict::Deny);
    assert_eq!(ask("pii/account/email", Action::Decrypt, "sign-up", "acme"), Verdict::Deny);
    assert_eq!(ask("pii/account/email", Action::Read, "signup", "acme"), Verdict::Deny);
    assert_eq!(ask("pii/account/email", Action::Decrypt, "signup", "_system"), Verdict::Deny);
    assert_eq!(ask("policy", Action::Decrypt, "signup", "acme"), Verdict::Deny);
}

#[test]
fn an_internal_actor_has_no_access_through_the_policy() {
    let snapshot = build(GOOD);
    let question_of = |principal: &Principal| {
        let (tenant, purpose) = (Tenant::parse("acme").unwrap(), Purpose::parse("signup").unwrap());
        let object = Object::parse("pii/account/email").unwrap();
        let question =
            Question { principal, tenant: &tenant, object: &object, action: Action::Decrypt, purpose: &purpose };
        snapshot.decide(&question, NOW).verdict
    };
    assert_eq!(question_of(&Principal::system("sweeper")), Verdict::Deny);
}

#[test]
fn a_role_in_one_tenant_is_none_in_another() {
    let other = "#: id=x reason=\"r\"\np, role:signup, bolt, pii/account/email, decrypt, signup, 0, 0, allow\n";
    let snapshot = build(&[GOOD, other].concat());
    let in_bolt = asked_as(&snapshot, "user:idp/anna", "bolt", "pii/account/email", Action::Decrypt, "signup", NOW);
    assert_eq!(in_bolt.verdict, Verdict::Deny);
}

#[test]
fn a_deny_wins_over_an_allow_wherever_it_stands() {
    let deny = "#: id=not-anna reason=\"r\"\np, user:idp/anna, acme, pii/*, decrypt, *, 0, 0, deny\n";
    for policy in [[GOOD, deny].concat(), [deny, GOOD].concat()] {
        let decision =
            asked_as(&build(&policy), "user:idp/anna", "acme", "pii/account/email", Action::Decrypt, "signup", NOW);
        assert_eq!(decision.verdict, Verdict::Deny);
        assert_eq!(decision.grant_ids.iter().map(GrantId::as_str).collect::<Vec<_>>(), ["not-anna"]);
        assert!(decision.roles.is_empty());
    }
}

#[test]
fn a_grant_holds_from_its_first_second_to_before_its_last_past_2038_and_whichever_way_the_clock_runs() {
    // Past 2^31, where casbin's numbers would wrap, and past 2^32.
    for (from, to) in [(100, 200), (2_147_483_640, 2_147_483_660), (4_294_967_290, 4_294_967_300)] {
        let dates = format!("not_before={} expires={} reason=\"they do\"", grant::date(from), grant::date(to));
        let policy = GOOD.replace("reason=\"they do\"", &dates).replace("0, 0, allow", &format!("{from}, {to}, allow"));
        let snapshot = build(&policy);
        let anna = "user:idp/anna";
        for now in [from - 1, from, to - 1, to, to - 1, from - 1, from, u64::MAX, 0, to - 1] {
            assert_eq!(may_at(&snapshot, anna, now), (from..to).contains(&now), "{now}");
        }
        let until =
            |now| asked_as(&snapshot, anna, "acme", "pii/account/email", Action::Decrypt, "signup", now).valid_until;
        assert_eq!([until(0), until(from), until(to)], [Some(from), Some(to), None]);
        // The line is in the shard, so its moments bound answers that it has no part in as well.
        let stranger = asked_as(&snapshot, "user:idp/x", "acme", "pii/account/phone", Action::Decrypt, "signup", from);
        assert_eq!((stranger.verdict, stranger.valid_until), (Verdict::Deny, Some(to)));
    }
}

#[test]
fn a_membership_ends_with_its_last_second_and_is_back_when_the_clock_is() {
    let policy = GOOD.replace("reason=\"she is\"", "expires=2027-01-01T00:00:00Z reason=\"she is\"");
    let snapshot = build(&policy);
    let end = 1_798_761_600;
    for now in [0, end - 1, end, end - 1, end + 1, 5] {
        assert_eq!(may_at(&snapshot, "user:idp/anna", now), now < end, "{now}");
    }
    let before = asked_as(&snapshot, "user:idp/anna", "acme", "pii/account/email", Action::Decrypt, "signup", 5);
    assert_eq!(before.valid_until, Some(end));
}

#[test]
fn an_expired_line_is_dead_and_not_an_error_until_it_is_edited() {
    let dates = "expires=2001-09-09T01:46:40Z reason=\"they do\"";
    let snapshot = build(&GOOD.replace("reason=\"they do\"", dates).replace("0, 0, allow", "0, 1000000000, allow"));
    assert!(!may(&snapshot, "user:idp/anna"));
    assert_eq!(snapshot.expired(999_999_999), []);
    let found: Vec<String> = snapshot.expired(1_000_000_000).iter().map(ToString::to_string).collect();
    assert_eq!(found, ["policies/policy.csv:3: field expires: is in the past: the line does nothing"]);
}

#[test]
fn a_decision_names_at_most_eight_grants_and_roles() {
    let mut catalogue = CATALOGUE_TEXT.to_owned();
    let mut policy = String::new();
    for at in 0..12 {
        catalogue += &format!("[[role]]\nname = \"role:r{at}\"\nabout = \"r\"\n");
        policy += &format!("#: id=m{at} reason=\"r\"\ng, user:idp/anna, role:r{at}, acme\n");
        policy += &format!(
            "#: id=p{at} reason=\"r\"\np, role:r{at}, acme, pii/account/email, decrypt, signup, 0, 0, allow\n"
        );
    }
    let snapshot = Snapshot::build(1, &Sources { catalogue, ..sources(&policy) }).unwrap();
    let decision = asked_as(&snapshot, "user:idp/anna", "acme", "pii/account/email", Action::Decrypt, "signup", NOW);
    assert_eq!((decision.grant_ids.len(), decision.roles.len()), (8, 8));
}

#[test]
fn an_oversized_policy_and_one_of_too_many_lines_are_refused() {
    let long = "#\n".repeat(100_001);
    assert_eq!(problems(&sources(&long)), ["policies/policy.csv: has more than 100000 lines"]);
    build(&long[2..]);
    let wide = " ".repeat(POLICY_BYTES_MAX + 1);
    assert_eq!(problems(&sources(&wide)), [format!("policies/policy.csv: is longer than {POLICY_BYTES_MAX} bytes")]);
}

#[test]
fn many_threads_get_the_same_answers_as_one_inside_a_runtime_too() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(4).build().unwrap();
    let policy = GOOD.replace("reason=\"she is\"", "expires=2027-01-01T00:00:00Z reason=\"she is\"");
    let snapshot = Arc::new(build(&policy));
    let tasks: Vec<_> = (0..8_u64)
        .map(|task| {
            let snapshot = Arc::clone(&snapshot);
            runtime.spawn(async move {
                for at in 0..500 {
                    let now = 1_798_761_600 - 3 + (at * 7 + task) % 6;
                    assert_eq!(may_at(&snapshot, "user:idp/anna", now), now < 1_798_761_600);
                }
            })
        })
        .collect();
    runtime.block_on(async {
        for task in tasks {
            task.await.unwrap();
        }
    });
}

mod assertions {
    use super::*;

    const ALLOW: &str = "[[allow]]\nwhy = \"clerks work\"\nwho = [\"user:idp/anna\"]\ntenant = \"acme\"\n\
                         purpose = [\"signup\"]\naction = [\"decrypt\"]\nobject = [\"pii/account/email\"]\n";

    fn with(assertions: &str) -> Sources {
        Sources { assertions: assertions.into(), ..sources(GOOD) }
    }

    #[track_caller]
    fn refused(from: &str, to: &str, expected: &str) {
        assert!(ALLOW.contains(from));
        let found = problems(&with(&ALLOW.replacen(from, to, 1)));
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].starts_with(&format!("policies/assertions.toml:{expected}")), "{found:?}");
    }

    #[test]
    fn an_assertion_that_fails_refuses_the_document_and_says_where() {
        assert!(Snapshot::build(1, &with(ALLOW)).is_ok());
        refused(
            "pii/account/email",
            "pii/account/*",
            "2: 5 of 6 questions fail; the first: a user: decrypt pii/account/name",
        );
        refused("[[allow]]", "[[deny]]", "2: 1 of 1 questions fail; the first: a user: decrypt pii/account/email");
        refused(
            "user:idp/anna",
            "anyone",
            "2: 1 of 2 questions fail; the first: spiffe://stranger.invalid/nobody: decrypt",
        );
        refused("\"signup\"", "\"any\"", "2: 6 of 7 questions fail");
    }

    #[test]
    fn a_malformed_assertion_is_refused_by_line_and_field() {
        refused("user:idp/anna", "anna", "3: field who: must be a principal");
        refused("\"user:idp/anna\"", "", "2: field who: must not be empty");
        refused("acme", "*", "4: field tenant: must be a tenant");
        refused("signup", "sign-up", "5: field purpose: must be purposes of the catalogue");
        refused("decrypt", "peek", "6: field action: must be an action");
        refused("pii/account/email", "pii/fax/*", "7: field object: pii/fax/* matches no class");
        refused("pii/account/email", "audit", "2: asks nothing");
        refused("clerks work", " ", "2: field why: must say");
        refused("why", "wy", "2: unknown field `wy`");
        refused("[[allow]]", "[[maybe]]", "1: unknown field `maybe`");
        refused("action", "at = 2027-01-01\naction", "6: field at: must be a date in UTC");
        refused("[\"signup\"]", "\"s3cret\"", "5: invalid type: string, expected a sequence");
    }

    #[test]
    fn an_assertion_without_a_date_holds_at_every_moment_and_one_with_a_date_then() {
        let policy = GOOD.replace("reason=\"she is\"", "expires=2027-01-01T00:00:00Z reason=\"she is\"");
        let at = |date: &str| {
            let assertions = ALLOW.replace("action", &format!("{date}\naction"));
            Snapshot::build(1, &Sources { assertions, ..sources(&policy) }).map_err(|problems| problems[0].to_string())
        };
        assert!(at("at = 2026-12-31T23:59:59Z").is_ok());
        assert!(at("at = 2027-01-01T00:00:00Z").is_err());
        assert!(at("").unwrap_err().ends_with("is denied from 2027-01-01T00:00:00Z on"));
    }

    #[test]
    fn assertions_that_would_take_forever_are_refused() {
        let principals: Vec<String> = (0..3_000).map(|at| format!("\"spiffe://a/{at}\"")).collect();
        let deny = ALLOW.replace("[[allow]]", "[[deny]]").replace("\"user:idp/anna\"", &principals.join(","));
        let many = deny
            .replace("\"signup\"", "\"any\"")
            .replace("\"decrypt\"", "\"any\"")
            .replace("pii/account/email", "pii/*");
        let found = problems(&with(&many));
        assert_eq!(found.len(), 1);
        assert!(found[0].contains("take more than 250000 decisions"), "{found:?}");
    }
}
