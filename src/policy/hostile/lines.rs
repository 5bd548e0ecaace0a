//! Lines that are malformed, each taken by itself.

use super::*;

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
fn an_oversized_policy_and_one_of_too_many_lines_or_rules_are_refused() {
    let long = "#\n".repeat(300_001);
    assert_eq!(problems(&sources(&long)), ["policies/policy.csv: has more than 300000 lines"]);
    build(&long[2..]);
    let many: String =
        (0..=100_000).map(|n| format!("#: id=x{n} reason=\"r\"\ng, user:idp/{n}, role:signup, acme\n")).collect();
    let found = problems(&sources(&[GOOD, &many].concat()));
    assert_eq!(found, ["policies/policy.csv: has more than 100000 rules"]);
    let wide = " ".repeat(POLICY_BYTES_MAX + 1);
    assert_eq!(problems(&sources(&wide)), [format!("policies/policy.csv: is longer than {POLICY_BYTES_MAX} bytes")]);
}
