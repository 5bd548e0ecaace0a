//! Persons, and policies that would leave nobody to change them.

use super::*;
use crate::policy::Sources;

const NOW: u64 = 1_800_000_000;

fn shipped() -> Sources {
    Sources {
        model: include_str!("../../../policies/model.conf").into(),
        policy: include_str!("../../../policies/policy.csv").into(),
        catalogue: include_str!("../../../policies/catalogue.toml").into(),
        assertions: String::new(),
    }
}

fn build(sources: &Sources) -> Snapshot {
    Snapshot::build(1, sources).unwrap_or_else(|problems| panic!("{problems:#?}"))
}

/// The shipped policy with some texts of one file replaced.
fn with_policy(replaced: &[(&str, &str)]) -> Snapshot {
    let mut sources = shipped();
    for (from, to) in replaced {
        assert!(sources.policy.contains(from), "{from}");
        sources.policy = sources.policy.replacen(from, to, 1);
    }
    build(&sources)
}

fn with_catalogue(from: &str, to: &str) -> Snapshot {
    let sources = shipped();
    assert!(sources.catalogue.contains(from), "{from}");
    build(&Sources { catalogue: sources.catalogue.replacen(from, to, 1), ..sources })
}

#[track_caller]
fn refused(before: Option<&Snapshot>, candidate: &Snapshot, expected: &str) {
    let problem = keeps_control(before, candidate, NOW).expect_err("refused").to_string();
    assert!(problem.starts_with(&format!("policies/policy.csv: leaves tenant {expected}")), "{problem}");
    assert!(!problem.contains("spiffe:"), "{problem}");
}

const APPROVER_IN_ACME: &str = "#: id=policy-approver-in-acme reason=\"the policy approver\"\n\
                                g, spiffe://acme.example/policy-approver, role:policy-approver, acme\n";

#[test]
fn the_shipped_policy_can_be_changed_by_two_persons_in_acme_and_in_the_deployment() {
    let snapshot = build(&shipped());
    assert_eq!(keeps_control(None, &snapshot, NOW), Ok(()));
    let person = |name: &str| BTreeSet::from([Person::Listed(PersonId::parse(name).unwrap())]);
    let both = FourEyes { propose: person("policy-admin"), approve: person("policy-approver") };
    let tenants = [Tenant::parse("acme").unwrap(), Tenant::system()];
    assert_eq!(four_eyes(&snapshot, NOW), tenants.map(|tenant| (tenant, both.clone())).into());
    assert!(both.holds());
}

#[test]
fn a_policy_without_an_approver_or_without_a_proposer_is_refused() {
    refused(None, &with_policy(&[(APPROVER_IN_ACME, "")]), "acme without a person");
    let admin = "g, spiffe://acme.example/policy-admin, role:policy-admin, _system";
    let other = "g, spiffe://acme.example/policy-admin, role:auditor, _system";
    refused(None, &with_policy(&[(admin, other)]), "_system without a person");
    refused(None, &build(&Sources { policy: String::new(), ..shipped() }), "_system without a person");
}

#[test]
fn a_deny_ends_control_as_well_as_a_missing_allow() {
    let deny = "#: id=none reason=\"r\"\n\
                p, spiffe://acme.example/policy-approver, acme, policy, approve, *, 0, 0, deny\n# ── Who is who in acme";
    refused(None, &with_policy(&[("# ── Who is who in acme", deny)]), "acme without a person");
}

#[test]
fn two_principals_of_one_person_are_one_person() {
    let one = "[\"spiffe://acme.example/policy-admin\", \"spiffe://acme.example/policy-approver\"]";
    let two = "[\"spiffe://acme.example/policy-admin\"]\n\n[[person]]\nid = \"policy-approver\"\n\
               principals = [\"spiffe://acme.example/policy-approver\"]";
    let snapshot = with_catalogue(two, one);
    refused(None, &snapshot, "_system without a person");
    let eyes = four_eyes(&snapshot, NOW);
    assert!(eyes.values().all(|eyes| eyes.propose == eyes.approve && !eyes.holds()));
}

#[test]
fn who_is_not_listed_counts_neither_to_propose_nor_to_approve() {
    let unlisted = |id: &str| format!("id = \"{id}\"\nprincipals = [\"spiffe://acme.example/{id}\"]");
    let nobody = |id: &str| format!("id = \"{id}\"\nprincipals = [\"spiffe://acme.example/other\"]");
    refused(None, &with_catalogue(&unlisted("policy-approver"), &nobody("policy-approver")), "_system without");
    let snapshot = with_catalogue(&unlisted("policy-admin"), &nobody("policy-admin"));
    refused(None, &snapshot, "_system without");
    let admin = Principal::parse("spiffe://acme.example/policy-admin").unwrap();
    assert_eq!(snapshot.person_of(&admin), Person::Unlisted(admin.clone()));
    assert!(!snapshot.person_of(&admin).is_listed());
}

#[test]
fn control_that_ends_by_itself_is_refused_with_its_moment() {
    let end = NOW + 3_600;
    let expiring = APPROVER_IN_ACME.replace(" reason", &format!(" expires={} reason", date(end)));
    let candidate = with_policy(&[(APPROVER_IN_ACME, &expiring)]);
    let from = format!(
        "acme without a person who can propose a change and another who can approve it, both listed as a [[person]], \
         from {} on",
        date(end)
    );
    refused(None, &candidate, &from);
    assert!(four_eyes(&candidate, NOW).values().all(FourEyes::holds), "it has not ended yet");
    assert!(!four_eyes(&candidate, end).values().all(FourEyes::holds));
    // Another who takes over before the first one ends keeps it.
    let heir = "#: id=heir reason=\"r\"\ng, spiffe://acme.example/auditor, role:policy-approver, acme\n";
    let sources = shipped();
    let policy = sources.policy.replacen(APPROVER_IN_ACME, &[&expiring, heir].concat(), 1);
    let catalogue =
        sources.catalogue + "\n[[person]]\nid = \"heir\"\nprincipals = [\"spiffe://acme.example/auditor\"]\n";
    assert_eq!(keeps_control(None, &build(&Sources { policy, catalogue, ..shipped() }), NOW), Ok(()));
}

#[test]
fn a_grant_that_begins_later_is_no_control_until_then() {
    let grant = "p, role:policy-approver, acme, policy, approve, operate, 0, 0, allow";
    let later = grant.replace("0, 0,", &format!("{}, 0,", NOW + 1));
    let comment = "#: id=policy-approver-approves reason";
    let dated = comment.replace(" reason", &format!(" not_before={} reason", date(NOW + 1)));
    let candidate = with_policy(&[(grant, &later), (comment, &dated)]);
    refused(None, &candidate, "acme without");
    assert_eq!(keeps_control(None, &candidate, NOW + 1), Ok(()));
}

#[test]
fn only_a_change_that_ends_control_is_refused() {
    let (without, with) = (with_policy(&[(APPROVER_IN_ACME, "")]), build(&shipped()));
    assert_eq!(keeps_control(Some(&without), &without, NOW), Ok(()), "it had none before");
    assert_eq!(keeps_control(Some(&without), &with, NOW), Ok(()));
    refused(Some(&with), &without, "acme without");
    // A tenant that is new must have them from the start; one that no rule names any more is the deployment's.
    let bolt = "#: id=bolt reason=\"r\"\ng, spiffe://acme.example/auditor, role:auditor, bolt\n# ── Who is who in acme";
    let new = with_policy(&[("# ── Who is who in acme", bolt)]);
    refused(Some(&with), &new, "bolt without");
    assert_eq!(keeps_control(Some(&new), &with, NOW), Ok(()));
    // Sooner is worse, later is better.
    let until = |end: u64| {
        let expiring = APPROVER_IN_ACME.replace(" reason", &format!(" expires={} reason", date(end)));
        with_policy(&[(APPROVER_IN_ACME, &expiring)])
    };
    refused(Some(&until(NOW + 20)), &until(NOW + 10), "acme without");
    assert_eq!(keeps_control(Some(&until(NOW + 10)), &until(NOW + 20), NOW), Ok(()));
}

/// The policy in which the approver's approval ends and another's begins, if they do.
fn handed_over(ends: Option<u64>, begins: Option<u64>) -> Snapshot {
    let sources = shipped();
    let expiring = ends.map(|end| APPROVER_IN_ACME.replace(" reason", &format!(" expires={} reason", date(end))));
    let heir = begins.map(|from| {
        let date = date(from);
        format!(
            "#: id=heir not_before={date} reason=\"r\"\n\
             p, spiffe://acme.example/auditor, acme, policy, approve, operate, {from}, 0, allow\n"
        )
    });
    let rules = [expiring.unwrap_or(APPROVER_IN_ACME.into()), heir.unwrap_or_default()].concat();
    let policy = sources.policy.replacen(APPROVER_IN_ACME, &rules, 1);
    let catalogue =
        sources.catalogue + "\n[[person]]\nid = \"heir\"\nprincipals = [\"spiffe://acme.example/auditor\"]\n";
    build(&Sources { policy, catalogue, ..shipped() })
}

#[test]
fn a_time_without_control_excuses_no_other_time_without() {
    let when = |from: u64, to: u64| format!(", from {} to {}", date(NOW + from), date(NOW + to));
    let refused = |before: Option<&Snapshot>, candidate: &Snapshot, when: &str| {
        let problem = keeps_control(before, candidate, NOW).expect_err("refused").message;
        assert!(problem.starts_with("leaves tenant acme without") && problem.ends_with(when), "{problem}");
    };
    // A gap that closes again is one, to its second.
    let gap = handed_over(Some(NOW + 10), Some(NOW + 20));
    refused(None, &gap, &when(10, 20));
    assert_eq!(keeps_control(None, &gap, NOW + 20), Ok(()));
    assert_eq!(keeps_control(None, &handed_over(Some(NOW + 10), Some(NOW + 10)), NOW), Ok(()));
    // It was there before, but what comes after it was not.
    assert_eq!(keeps_control(Some(&gap), &gap, NOW), Ok(()));
    refused(Some(&gap), &handed_over(Some(NOW + 10), None), &format!(", from {} on", date(NOW + 20)));
    // Wider at either end, or on both sides of one that was there.
    refused(Some(&gap), &handed_over(Some(NOW + 5), Some(NOW + 20)), &when(5, 10));
    refused(Some(&gap), &handed_over(Some(NOW + 10), Some(NOW + 25)), &when(20, 25));
    refused(Some(&gap), &handed_over(Some(NOW + 5), Some(NOW + 25)), &when(5, 10));
    refused(Some(&gap), &handed_over(Some(NOW - 5), Some(NOW + 20)), &format!(", until {}", date(NOW + 10)));
    assert_eq!(keeps_control(Some(&gap), &handed_over(Some(NOW + 12), Some(NOW + 18)), NOW), Ok(()));
    assert_eq!(keeps_control(Some(&gap), &handed_over(None, None), NOW), Ok(()));
}

proptest::proptest! {
    #![proptest_config(proptest::test_runner::Config { failure_persistence: None, ..Default::default() })]

    #[test]
    fn what_is_outside_is_the_first_stretch_of_moments_in_one_and_not_the_other(a: u16, b: u16) {
        // Moments as bits.
        let times = |bits: u16| {
            let mut times: Vec<Range<u64>> = Vec::new();
            for moment in (0..16).filter(|moment| bits >> moment & 1 == 1) {
                match times.last_mut() {
                    Some(last) if last.end == moment => last.end += 1,
                    _ => times.push(moment..moment + 1),
                }
            }
            times
        };
        proptest::prop_assert_eq!(first_outside(&times(a), &times(b)), times(a & !b).first().cloned());
    }
}
