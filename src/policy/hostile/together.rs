//! Lines and files that are sound one by one and not together, and models that are not ours.

use super::*;

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
fn of_many_lines_that_say_as_much_the_closest_is_named_each_time() {
    let twice = "#: id=w reason=\"r\"\np, role:signup, acme, pii/*, decrypt, *, 0, 0, deny\n\
                 #: id=x owner=_system reason=\"r\"\np, role:signup, *, pii/account/email, decrypt, *, 0, 0, deny\n\
                 #: id=y owner=_system reason=\"r\"\np, role:signup, *, pii/account/email, decrypt, signup, 0, 0, allow\n\
                 #: id=z owner=_system reason=\"r\"\np, role:signup, *, pii/account/email, decrypt, signup, 0, 0, deny\n";
    for _ in 0..10 {
        added(
            twice,
            &[
                "policies/policy.csv:3: does nothing: line 11 (y) says as much or more",
                "policies/policy.csv:11: never allows anything: line 13 (z) denies all of it",
                "policies/policy.csv:13: does nothing: line 9 (x) says as much or more",
            ],
        );
    }
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
        &["policies/policy.csv:7: field role: makes a role, through others, its own member"],
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
