//! Entries for tests, and what the commands make of them in `tests/golden/audit`: whoever changes an output sees it there.

use prost_types::Timestamp;

use crate::{
    cli::golden,
    proto::v1::{AuditEntry, AuditTarget, LogChange, Operation, Outcome, Verdict},
};

/// Just after the last of the [`entries`] and of the [`day`].
pub(super) const NOW_SECS: i64 = 1_795_461_400;

/// Holds a text against its golden file.
#[track_caller]
pub(super) fn check(file: &str, text: &str) {
    golden::check(&format!("audit/{file}"), text);
}

/// A deployment's first minutes: one entry of each kind.
pub(super) fn entries() -> Vec<AuditEntry> {
    let system = |operation: Operation, effect: &str| AuditEntry {
        principal: "system:start".into(),
        authentication: "host".into(),
        tenant: "_system".into(),
        operation: operation.into(),
        verdict: Verdict::Allow.into(),
        effect: effect.into(),
        policy_version: 1,
        policy_hash: vec![0xaa; 32].into(),
        ..Default::default()
    };
    let caller = |name: &str, operation: Operation, purpose: &str, verdict: Verdict| AuditEntry {
        principal: format!("spiffe://acme.example/{name}"),
        authentication: "mtls".into(),
        roles: vec![format!("role:{name}")],
        tenant: "acme".into(),
        operation: operation.into(),
        purpose: purpose.into(),
        policy_version: 1,
        policy_hash: vec![0xaa; 32].into(),
        verdict: verdict.into(),
        grant_ids: vec![format!("{name}-{}", if verdict == Verdict::Deny { "never" } else { "may" })],
        region: "us".into(),
        ..Default::default()
    };
    let target = |object: &str, outcome: Outcome, count: u32, aliases: usize| AuditTarget {
        object: object.into(),
        outcome: outcome.into(),
        count,
        aliases: (0..aliases).map(|n| vec![u8::try_from(n).unwrap(); 16].into()).collect(),
        action: String::new(),
    };
    let asked = |object: &str, action: &str, outcome: Outcome| AuditTarget {
        action: action.into(),
        ..target(object, outcome, 1, 0)
    };
    let mut entries = vec![
        system(Operation::AdoptPolicy, "policy version 1 in force"),
        AuditEntry {
            tenant: "acme".into(),
            ..system(Operation::CreateTenant, "tenant created with its lookup, index and bucket keys")
        },
        system(Operation::Start, "privet 0.1.0 started"),
        AuditEntry {
            targets: vec![
                target("pii/account/email", Outcome::Sealed, 2, 2),
                target("pii/account/name", Outcome::Sealed, 2, 2),
            ],
            request_id: "req-1".into(),
            ..caller("signup-service", Operation::Encrypt, "signup", Verdict::Allow)
        },
        AuditEntry {
            targets: vec![target("pii/account/email", Outcome::Opened, 1, 1)],
            reference: "TICKET-7".into(),
            actor: "user:okta/00u1".into(),
            ..caller("support-desk", Operation::Decrypt, "support-ticket", Verdict::Allow)
        },
        AuditEntry {
            targets: vec![asked("pii/billing/tax_id", "decrypt", Outcome::Denied)],
            ..caller("support-desk", Operation::Decrypt, "support-ticket", Verdict::Deny)
        },
        AuditEntry {
            targets: vec![
                target("pii/account/email", Outcome::Masked, 1, 1),
                asked("pii/billing/tax_id", "decrypt", Outcome::Denied),
            ],
            ..caller("support-desk", Operation::Decrypt, "support-ticket", Verdict::Partial)
        },
        AuditEntry {
            targets: vec![asked("pii/account/email", "decrypt", Outcome::InvalidCiphertext)],
            ..caller("privacy-officer", Operation::Decrypt, "subject-request", Verdict::Allow)
        },
        AuditEntry {
            principal: String::new(),
            authentication: "mtls".into(),
            tenant: "_system".into(),
            operation: Operation::Decrypt.into(),
            verdict: Verdict::Deny.into(),
            refusal: "UNIDENTIFIED".into(),
            count: 1_204,
            ..Default::default()
        },
        AuditEntry {
            targets: vec![asked("audit", "read", Outcome::Allowed)],
            ..caller("auditor", Operation::ListEntries, "operate", Verdict::Allow)
        },
        AuditEntry {
            log_change: Some(LogChange { first_index: 0, end_index: 256, ..Default::default() }),
            principal: "system:log".into(),
            ..system(Operation::SealSegment, "entries 0 to 255 sealed")
        },
        AuditEntry {
            log_change: Some(LogChange { end_index: 256, ..Default::default() }),
            principal: "system:log".into(),
            ..system(Operation::DeleteEntries, "bodies of entries 0 to 255 deleted after 400 days")
        },
        AuditEntry {
            log_change: Some(LogChange {
                verifier_key: "log.example/privet+0123abcd+AQ==".into(),
                ..Default::default()
            }),
            principal: "system:log".into(),
            ..system(Operation::RotateLogKey, "log key 2 signs from here on")
        },
    ];
    for (entry, n) in entries.iter_mut().zip(0_i32..) {
        entry.time = Some(Timestamp { seconds: 1_795_461_365 + i64::from(n), nanos: n * 1_000_000 });
        entry.tenant_seq = u64::try_from(n / 2).unwrap();
    }
    entries
}

/// A day and a half with a quiet night and a bad hour.
pub(super) fn day() -> Vec<AuditEntry> {
    let mut entries = Vec::new();
    for hour in 0..36_i64 {
        let seconds = NOW_SECS - (35 - hour) * 3_600;
        let calls = if (15..22).contains(&hour) { 0 } else { 40 + (hour * 7) % 30 };
        let bad = hour == 24;
        for n in 0..calls {
            let verdict = match n {
                _ if bad && n % 3 == 0 => Verdict::Deny,
                0 if hour % 4 == 0 => Verdict::Deny,
                1 if hour % 5 == 0 => Verdict::Partial,
                _ => Verdict::Allow,
            };
            let time = Some(Timestamp { seconds, nanos: 0 });
            entries.push(AuditEntry { time, verdict: verdict.into(), ..Default::default() });
        }
    }
    entries
}

/// An entry that means harm to whoever shows it.
pub(super) fn hostile() -> AuditEntry {
    let text = "\x1b]0;owned\x07\r\n\u{9b}2J\u{202e}\u{2028}|a=b\\\u{7f}";
    AuditEntry {
        time: Some(Timestamp { seconds: i64::MAX, nanos: -1 }),
        principal: format!("spiffe://{text}"),
        authentication: text.into(),
        roles: vec![text.into()],
        tenant: text.into(),
        operation: 9_999,
        purpose: text.into(),
        verdict: 9_999,
        grant_ids: vec![text.into()],
        targets: vec![AuditTarget {
            object: text.into(),
            action: text.into(),
            outcome: 9_999,
            count: u32::MAX,
            ..Default::default()
        }],
        reference: text.into(),
        request_id: text.into(),
        actor: text.into(),
        region: text.into(),
        effect: text.into(),
        refusal: text.into(),
        log_change: Some(LogChange { verifier_key: text.into(), ..Default::default() }),
        ..Default::default()
    }
}
