//! What a sound document answers where casbin, time or a name could have been turned to yield more.

use super::*;

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

#[test]
fn nobody_is_named_like_a_role_and_so_has_it() {
    for name in ["role:signup", "ROLE:signup", "role:signup/x", " role:signup", "role%3Asignup"] {
        assert!(Principal::parse(name).is_err() && Principal::parse_external(name).is_err(), "{name}");
    }
    // Nor is a role that is hidden in a principal's name one.
    let snapshot = build(GOOD);
    for name in ["user:idp/role%3Asignup", "user:role/signup", "spiffe://role/signup", "spiffe://a/role:signup"] {
        if Principal::parse(name).is_ok() {
            assert!(!may(&snapshot, name), "{name}");
        }
    }
    assert!(Principal::parse("user:idp/role%3Asignup").is_ok() && Principal::parse("spiffe://role/signup").is_ok());
}
