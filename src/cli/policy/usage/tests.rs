//! What counts as a use, and which logs can tell.

use super::*;
use crate::{
    cli::{
        client::fake::{audit as fake, policy::Policy},
        policy::show,
    },
    proto::v1::{AuditTarget, GetPolicyRequest, PolicyVersion},
};

fn entry(operation: Operation, ids: &[&str], effect: &str, seconds: i64) -> AuditEntry {
    AuditEntry {
        grant_ids: ids.iter().map(|id| (*id).to_owned()).collect(),
        effect: effect.into(),
        time: Some(Timestamp { seconds, nanos: 0 }),
        operation: operation.into(),
        policy_version: 7,
        ..Default::default()
    }
}

fn usage(control: &[&str], data: &[&str]) -> Usage {
    Usage {
        standing: Standing::old(&[control, data].concat()),
        control: control.iter().map(|id| (*id).to_owned()).collect(),
        ..Default::default()
    }
}

#[test]
fn what_a_grant_decided_is_a_use() {
    let mut usage = usage(&[], &["a", "b"]);
    usage.add(&entry(Operation::Decrypt, &["a", "b"], "", 5));
    usage.add(&entry(Operation::Decrypt, &["a"], "", 9));
    usage.add(&entry(Operation::Decrypt, &["a"], "", 7));
    // Nobody knows what it did.
    usage.add(&AuditEntry { operation: 9_999, ..entry(Operation::Decrypt, &["b"], "", 6) });
    let of = |id| (usage.of(id).count, usage.of(id).last.map(|last| last.seconds));
    assert_eq!([of("a"), of("b")], [(3, Some(9)), (2, Some(6))]);
}

#[test]
fn what_was_only_asked_is_none_but_of_the_grant_that_let_somebody_ask() {
    for (operation, effect, asked_by_grant) in [
        (Operation::Check, "", false),
        (Operation::Explain, "", false),
        (Operation::Check, "about user:idp/q", true),
        (Operation::Explain, "about user:idp/q", true),
        (Operation::Check, "not answered about user:idp/q", false),
        (Operation::Explain, "of entry 7", true),
        (Operation::ListGrantsFor, "grants of user:idp/q", true),
        (Operation::WhoCan, "who can decrypt pii/account/email for any purpose", true),
        (Operation::Simulate, "a change of version 7: 1 differences", true),
    ] {
        let mut usage = usage(&["asks"], &["asked"]);
        usage.add(&entry(operation, &["asks", "asked"], effect, 9));
        let counts = [usage.of("asks").count, usage.of("asked").count];
        assert_eq!(counts, [u64::from(asked_by_grant), 0], "{operation:?} {effect:?}");
    }
}

#[test]
fn what_another_grant_of_the_same_id_did_is_no_use() {
    let mut usage = usage(&[], &["known"]);
    usage.add(&entry(Operation::Decrypt, &["known", "another"], "", 9));
    assert_eq!([usage.of("known").count, usage.of("another").count], [1, 0]);
}

#[test]
fn an_entry_that_is_full_of_names_may_leave_out_whatever_covers_what_it_touched() {
    let names: Vec<String> = (0..NAMED_MAX).map(|n| format!("named-{n}")).collect();
    let full = |names: &[String]| {
        let target = |object: &str| AuditTarget { object: object.into(), ..Default::default() };
        let mut usage = usage(&[], &[]);
        usage.add(&AuditEntry {
            grant_ids: names.to_vec(),
            purpose: "signup".into(),
            targets: ["pii/account/email", "pii/usage/activity"].map(target).into(),
            ..entry(Operation::Encrypt, &[], "", 9)
        });
        let grant = |object: &str, purpose: &str| PolicyGrant {
            object: object.into(),
            purpose: purpose.into(),
            ..Default::default()
        };
        [
            ("pii/account/email", "signup"),
            ("pii/account/*", "signup"),
            ("pii/*", "signup"),
            ("pii/usage/activity", "*"),
            ("pii/account/email", "invoicing"),
            ("pii/account/phone", "signup"),
            ("pii/billing/*", "signup"),
        ]
        .map(|(object, purpose)| usage.may_be_left_out(&grant(object, purpose)))
    };
    assert_eq!(full(&names), [true, true, true, true, false, false, false]);
    assert_eq!(full(&names[1..]), [false; 7], "there was room for one more");
}

#[tokio::test]
async fn a_log_that_is_not_whole_says_since_when_it_is() {
    const DELETED_BEFORE: i64 = 1_795_461_365;
    let log = |first_seq: u64| {
        let later = |n: u64| AuditEntry {
            tenant_seq: first_seq + n,
            time: Some(Timestamp { seconds: DELETED_BEFORE + n as i64, nanos: 500 }),
            ..Default::default()
        };
        fake::Log::of((0..3).map(later).collect())
    };
    let tenant = Tenant::parse("acme").unwrap();
    let at = |seconds, nanos| Timestamp { seconds, nanos };
    let (cut, whole) = (log(40).clients().await, log(0).clients().await);
    for since in [at(0, 0), at(DELETED_BEFORE, 0), at(DELETED_BEFORE, 500)] {
        let failure = whole_since(&cut, &tenant, since).await.unwrap_err();
        let text = failure.for_people(false);
        assert!(text.contains("the log of acme no longer has all entries since then"), "{text}");
        assert!(text.contains("it is whole from --since 2026-11-23T19:16:06Z on"), "{text}");
        whole_since(&whole, &tenant, since).await.unwrap();
    }
    whole_since(&cut, &tenant, at(DELETED_BEFORE, 501)).await.unwrap();
    whole_since(&cut, &tenant, at(DELETED_BEFORE + 1, 0)).await.unwrap();
    // Without an entry there is nothing to go by.
    whole_since(&fake::Log::of(Vec::new()).clients().await, &tenant, at(0, 0)).await.unwrap_err();
}

#[tokio::test]
async fn a_log_that_is_cut_while_it_is_read_is_not_believed() {
    const SINCE: i64 = 1_795_461_365;
    let entry = |n: u64| AuditEntry {
        tenant_seq: n,
        operation: Operation::Decrypt.into(),
        grant_ids: vec!["used".into()],
        policy_version: 1,
        time: Some(Timestamp { seconds: SINCE + n as i64, nanos: 0 }),
        ..Default::default()
    };
    let log = fake::Log::of((0..4).map(entry).collect());
    let version =
        PolicyVersion { version: 1, time: Some(Timestamp { seconds: SINCE - 9, nanos: 0 }), ..Default::default() };
    let grant = PolicyGrant { id: "used".into(), action: "decrypt".into(), ..Default::default() };
    let policy = Policy::of(vec![(version, vec![grant])], 0);
    let clients = policy.clients(&log).await;
    let now = show::all(&clients, GetPolicyRequest::default()).await.unwrap();
    let (tenant, since) = (Tenant::parse("acme").unwrap(), Timestamp { seconds: SINCE, nanos: 0 });
    let terminal = Terminal { json: false, quiet: true, stdout: false, stderr: false, colours: false };
    let usage = Usage::read(&clients, &tenant, &now, since, &terminal).await.unwrap();
    assert_eq!((usage.of("used").count, usage.is_old("used")), (4, true));
    log.set(fake::Tamper::CutWhenRead(2));
    let failure = Usage::read(&clients, &tenant, &now, since, &terminal).await.unwrap_err();
    assert!(failure.for_people(false).contains("--since 2026-11-23T19:16:08Z"), "{failure}");
}
