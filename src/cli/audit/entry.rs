//! One entry of the access log, for people and for machines.

use std::collections::{BTreeMap, BTreeSet};

use comfy_table::ColumnConstraint::{self, Absolute, LowerBoundary};
use comfy_table::Width::Fixed;
use comfy_table::{Attribute, Color};
use serde_json::{Value, json};

use super::super::{
    names::Names,
    table::{self, cell, number, rfc3339, short_time},
    terminal::{Terminal, printable_json},
};
use crate::proto::v1::{AuditEntry, AuditTarget, LogChange, Operation, Outcome, Verdict};

/// Entries as a table. Columns are as wide on every page, so that only the first needs headings. Where no terminal has an end
/// of the line, an entry is a line.
pub(super) fn human(entries: &[AuditEntry], names: &mut Names, first: bool, terminal: &Terminal) -> String {
    tabled(entries, names, first, false, terminal)
}

/// As [`human`], for reading along: a denial stands out with its whole line.
pub(super) fn live(entries: &[AuditEntry], names: &mut Names, first: bool, terminal: &Terminal) -> String {
    tabled(entries, names, first, true, terminal)
}

fn tabled(entries: &[AuditEntry], names: &mut Names, first: bool, live: bool, terminal: &Terminal) -> String {
    let headings = ["ENTRY", "TIME (UTC)", "WHO", "OPERATION", "PURPOSE", "VERDICT", "WHAT"];
    let mut table = table::table(headings, terminal);
    table.set_constraints(CONSTRAINTS);
    if !terminal.stdout {
        table.set_width(u16::MAX);
    }
    for entry in entries {
        let verdict = entry.verdict();
        let stands_out = live && verdict == Verdict::Deny;
        let row = [
            cell(&entry.index.to_string()),
            cell(&entry.time.as_ref().map(short_time).unwrap_or_default()),
            cell(names.short(&entry.principal)),
            cell(short_operation(entry.operation()).unwrap_or(&operation(entry.operation()))),
            cell(if entry.purpose.is_empty() { "–" } else { &entry.purpose }),
            match verdict {
                Verdict::Allow => table::verdict("allow", true),
                Verdict::Deny => table::verdict("deny", false),
                Verdict::Partial if live => cell("partial").fg(Color::Yellow),
                Verdict::Partial => table::verdict("partial", false),
                Verdict::Unspecified => cell("–"),
            },
            cell(&what(entry)),
        ];
        table.add_row(row.map(
            |cell| {
                if stands_out { cell.fg(Color::Red).add_attribute(Attribute::Bold) } else { cell }
            },
        ));
    }
    let text = table::text(&table);
    if first { text } else { text.split_once('\n').map(|(_, rows)| rows.to_owned()).unwrap_or_default() }
}

/// An entry with all that it holds, on a line of its own.
pub(super) fn json_line(entry: &AuditEntry) -> String {
    format!("{}\n", printable_json(&machine(entry)))
}

/// An entry with all that it holds; bytes in hexadecimal.
pub(super) fn machine(entry: &AuditEntry) -> Value {
    let target = |target: &AuditTarget| {
        json!({
            "object": target.object,
            "action": target.action,
            "outcome": outcome(target.outcome()),
            "count": target.count,
            "aliases": target.aliases.iter().map(hex::encode).collect::<Vec<_>>(),
        })
    };
    json!({
        "index": entry.index,
        "raw": hex::encode(&entry.raw),
        "leaf_hash": hex::encode(&entry.leaf_hash),
        "time": entry.time.as_ref().map(rfc3339),
        "principal": entry.principal,
        "authentication": entry.authentication,
        "roles": entry.roles,
        "tenant": entry.tenant,
        "tenant_seq": entry.tenant_seq,
        "operation": operation(entry.operation()),
        "purpose": entry.purpose,
        "policy_version": entry.policy_version,
        "policy_hash": hex::encode(&entry.policy_hash),
        "verdict": verdict(entry.verdict()),
        "grant_ids": entry.grant_ids,
        "targets": entry.targets.iter().map(target).collect::<Vec<_>>(),
        "reference": entry.reference,
        "request_id": entry.request_id,
        "actor": entry.actor,
        "region": entry.region,
        "part": entry.part,
        "parts": entry.parts,
        "count": entry.count,
        "effect": entry.effect,
        "refusal": entry.refusal,
        "log_change": entry.log_change.as_ref().map(log_change),
    })
}

/// What an entry says of the log itself.
pub(super) fn log_change(change: &LogChange) -> Value {
    json!({
        "first_index": change.first_index,
        "end_index": change.end_index,
        "newest_time": change.newest_time.as_ref().map(rfc3339),
        "verifier_key": change.verifier_key,
    })
}

/// Finds an operation by its name in lower case, with dashes, or as the table shortens it.
pub(super) fn operation_named(name: &str) -> Result<Operation, String> {
    if let Some((operation, _)) = SHORT.into_iter().find(|(_, short)| *short == name) {
        return Ok(operation);
    }
    let found = named(name, "OPERATION_", Operation::from_str_name).filter(|o| *o != Operation::Unspecified);
    found.ok_or_else(|| "must be an operation, e.g. encrypt, decrypt, index, check, list".to_owned())
}

/// Finds a verdict by its name in lower case.
pub(super) fn verdict_named(name: &str) -> Result<Verdict, String> {
    let found = named(name, "VERDICT_", Verdict::from_str_name).filter(|v| *v != Verdict::Unspecified);
    found.ok_or_else(|| "must be allow, deny or partial".to_owned())
}

fn named<T>(name: &str, prefix: &str, find: fn(&str) -> Option<T>) -> Option<T> {
    let known = name.bytes().all(|b| b.is_ascii_lowercase() || b == b'-');
    known.then(|| find(&format!("{prefix}{}", name.to_ascii_uppercase().replace('-', "_")))).flatten()
}

fn short_operation(operation: Operation) -> Option<&'static str> {
    SHORT.into_iter().find_map(|(long, short)| (long == operation).then_some(short))
}

/// An operation's name in lower case, with dashes.
pub(super) fn operation(operation: Operation) -> String {
    plain(operation.as_str_name(), "OPERATION_")
}

/// An outcome's name in lower case, with dashes.
pub(super) fn outcome(outcome: Outcome) -> String {
    plain(outcome.as_str_name(), "OUTCOME_")
}

/// A verdict's name in lower case.
pub(super) fn verdict(verdict: Verdict) -> String {
    plain(verdict.as_str_name(), "VERDICT_")
}

fn plain(name: &str, prefix: &str) -> String {
    name.trim_start_matches(prefix).to_ascii_lowercase().replace('_', "-")
}

/// What an entry is about, in a few words.
pub(super) fn what(entry: &AuditEntry) -> String {
    let mut parts = targets(&entry.targets, &operation(entry.operation()));
    parts.extend([&entry.effect, &entry.refusal].into_iter().filter(|text| !text.is_empty()).cloned());
    if entry.parts > 1 {
        parts.push(format!("part {}/{}", entry.part, entry.parts));
    }
    if entry.count > 1 {
        parts.push(format!("{} times", number(entry.count)));
    }
    if parts.is_empty() { "–".to_owned() } else { parts.join(", ") }
}

/// Each target, or with many of them how many fields ended how.
fn targets(targets: &[AuditTarget], operation: &str) -> Vec<String> {
    if targets.len() <= TARGETS_MAX {
        return targets.iter().map(|one| target(one, operation)).collect();
    }
    let mut ends: BTreeMap<i32, u64> = BTreeMap::new();
    for target in targets {
        let fields = ends.entry(target.outcome).or_default();
        *fields = fields.saturating_add(target.count.into());
    }
    let end = |(end, fields): (i32, u64)| {
        format!("{} {}", number(fields), outcome(Outcome::try_from(end).unwrap_or_default()))
    };
    let ends: Vec<_> = ends.into_iter().map(end).collect();
    let objects: BTreeSet<_> = targets.iter().map(|target| &target.object).collect();
    vec![format!("{} ({} classes)", ends.join(", "), objects.len())]
}

fn target(target: &AuditTarget, operation: &str) -> String {
    let object = target.object.strip_prefix("pii/").unwrap_or(&target.object);
    let times = if target.count > 1 { format!("×{} ", number(target.count.into())) } else { String::new() };
    // Where something was done, that says which action it took.
    let action = match target.outcome() {
        Outcome::Sealed
        | Outcome::Opened
        | Outcome::Masked
        | Outcome::Indexed
        | Outcome::SealedAndIndexed
        | Outcome::Rewrapped => "",
        Outcome::Unspecified
        | Outcome::Allowed
        | Outcome::Denied
        | Outcome::InvalidCiphertext
        | Outcome::SubjectErased
        | Outcome::SubjectClosed
        | Outcome::UnknownSubject
        | Outcome::InvalidValue
        | Outcome::OverBudget
        | Outcome::Held => target.action.as_str(),
    };
    // So does the operation, if it is called the same.
    let action = if action == operation { "" } else { action };
    let space = if action.is_empty() { "" } else { " " };
    format!("{object} {times}{action}{space}{}", outcome(target.outcome()))
}

/// What the table calls operations whose names are too long for it.
const SHORT: [(Operation, &str); 40] = [
    (Operation::ComputeIndex, "index"),
    (Operation::ListEntries, "list"),
    (Operation::GetCheckpoint, "checkpoint"),
    (Operation::GetInclusionProof, "prove"),
    (Operation::GetConsistencyProof, "consistency"),
    (Operation::TailEntries, "tail"),
    (Operation::ExportEntries, "export"),
    (Operation::CreateTenant, "create"),
    (Operation::AdoptPolicy, "adopt"),
    (Operation::RotateLogKey, "rotate-key"),
    (Operation::SealSegment, "seal"),
    (Operation::DeleteEntries, "delete"),
    (Operation::ListGrantsFor, "grants-for"),
    (Operation::ListPolicyVersions, "versions"),
    (Operation::ProposeChange, "propose"),
    (Operation::GetProposal, "proposal"),
    (Operation::ListProposals, "proposals"),
    (Operation::ApproveProposal, "approve"),
    (Operation::RejectProposal, "reject"),
    (Operation::EndBreakGlass, "mend-glass"),
    (Operation::ReviewBreakGlass, "review"),
    (Operation::ListBreakGlass, "glass-list"),
    (Operation::RecoverPolicy, "recover"),
    (Operation::EraseSubjects, "erase"),
    (Operation::ReinstateSubject, "reinstate"),
    (Operation::PlaceHold, "hold"),
    (Operation::ReleaseHold, "release"),
    (Operation::CloseSubject, "close"),
    (Operation::ListErasures, "erasures"),
    (Operation::GetErasureCertificate, "certificate"),
    (Operation::GenerateDataKey, "data-key"),
    (Operation::UnwrapDataKey, "unwrap"),
    (Operation::RotateSubjectKeys, "rotate"),
    (Operation::RetireKeyVersions, "retire"),
    (Operation::GetKeyStatus, "key-status"),
    (Operation::CountDue, "due"),
    (Operation::ReportAccess, "report"),
    (Operation::ListTenants, "tenants"),
    (Operation::DestroyTenant, "destroy"),
    (Operation::CancelDestroyTenant, "cancel"),
];
const TARGETS_MAX: usize = 1;
/// 100 columns in all, each with two blanks behind it; the last takes what a wider terminal has to give.
const CONSTRAINTS: [ColumnConstraint; 7] = [
    Absolute(Fixed(9)),
    Absolute(Fixed(16)),
    Absolute(Fixed(17)),
    Absolute(Fixed(13)),
    Absolute(Fixed(17)),
    Absolute(Fixed(9)),
    LowerBoundary(Fixed(19)),
];

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: Terminal = Terminal { json: false, quiet: false, stdout: false, stderr: false, colours: false };

    /// The number of the last operation.
    const LAST: i32 = 53;

    #[test]
    fn every_operation_is_among_those_tested() {
        assert!(Operation::try_from(LAST).is_ok() && Operation::try_from(LAST + 1).is_err());
    }

    #[test]
    fn reading_along_a_denial_stands_out_as_a_whole_and_only_in_colour() {
        let mut denied = entry(1, "spiffe://acme.example/svc/a", Vec::new());
        denied.verdict = Verdict::Deny.into();
        let live = |colours| {
            live(&[denied.clone()], &mut Names::default(), true, &Terminal { stdout: true, colours, ..PLAIN })
        };
        let line = live(true).lines().nth(1).unwrap().to_owned();
        assert_eq!(line.matches("\x1b[1m").count(), 7, "{line:?}");
        assert!(!live(false).contains('\x1b'));
        assert_eq!(live(false), human(&[denied.clone()], &mut Names::default(), true, &PLAIN));
    }

    fn target(object: &str, outcome: Outcome, count: u32) -> AuditTarget {
        AuditTarget { object: object.into(), outcome: outcome.into(), count, ..Default::default() }
    }

    fn entry(index: u64, principal: &str, targets: Vec<AuditTarget>) -> AuditEntry {
        AuditEntry {
            index,
            time: Some(prost_types::Timestamp { seconds: 1_795_461_365, nanos: 0 }),
            principal: principal.into(),
            operation: Operation::Decrypt.into(),
            purpose: "support-ticket".into(),
            verdict: Verdict::Partial.into(),
            targets,
            ..Default::default()
        }
    }

    #[test]
    fn a_table_stays_within_100_columns_and_later_pages_have_no_headings() {
        let entries = [
            entry(
                7,
                "spiffe://acme.example/svc/support-desk",
                vec![target("pii/account/billing_address", Outcome::InvalidCiphertext, 1_000)],
            ),
            entry(
                123_456_789,
                "user:okta/00u1%40averylongnameindeed.example",
                vec![target("audit", Outcome::Allowed, 1)],
            ),
        ];
        let on_a_terminal = Terminal { stdout: true, ..PLAIN };
        let text = human(&entries, &mut Names::default(), true, &on_a_terminal);
        assert!(text.lines().all(|line| line.chars().count() <= 100), "{text}");
        assert!(text.starts_with("ENTRY    TIME (UTC)      WHO"), "{text}");
        let second = human(&entries, &mut Names::default(), false, &on_a_terminal);
        assert_eq!(text.split_once('\n').unwrap().1, second);
        assert!(
            second.starts_with("7        11-23 19:16:05  support-desk     decrypt      support-ticket   partial"),
            "{second}"
        );
        // Elsewhere it is for grep.
        let lines = human(&entries[..1], &mut Names::default(), true, &PLAIN);
        assert!(lines.ends_with("partial  account/billing_address ×1,000 invalid-ciphertext\n"), "{lines}");
    }

    #[test]
    fn no_operation_and_no_purpose_of_the_shipped_policy_is_broken_over_two_lines() {
        let entries = (1..=LAST).map(|operation| AuditEntry {
            operation,
            purpose: "subject-request".into(),
            principal: "spiffe://acme.example/privacy-officer".into(),
            verdict: Verdict::Partial.into(),
            ..Default::default()
        });
        let text = human(&entries.collect::<Vec<_>>(), &mut Names::default(), true, &PLAIN);
        assert_eq!(i32::try_from(text.lines().count()).unwrap(), LAST + 1, "{text}");
        assert!(text.contains("consistency  subject-request  partial"), "{text}");
    }

    #[test]
    fn many_targets_are_summed_up_by_outcome() {
        let mut entry = entry(1, "", vec![target("pii/account/email", Outcome::Opened, 1)]);
        entry.targets[0].action = "decrypt".into();
        assert_eq!(what(&entry), "account/email opened");
        entry.targets[0].outcome = Outcome::Denied.into();
        assert_eq!(what(&entry), "account/email denied");
        entry.targets[0].action = "mask".into();
        assert_eq!(what(&entry), "account/email mask denied");
        entry.targets = ["a", "b", "c"].map(|n| target(n, Outcome::Sealed, 500)).to_vec();
        entry.targets.push(target("d", Outcome::Denied, 2));
        entry.count = 12;
        assert_eq!(what(&entry), "1,500 sealed, 2 denied (4 classes), 12 times");
    }

    #[test]
    fn machines_get_every_field_and_no_bytes_lost() {
        let mut entry = entry(1, "p", vec![target("pii/account/email", Outcome::Opened, 1)]);
        entry.raw = vec![0, 255].into();
        entry.targets[0].aliases = vec![vec![1; 16].into()];
        let json = machine(&entry);
        assert_eq!(json["raw"], "00ff");
        assert_eq!(json["targets"][0]["aliases"][0], "01".repeat(16));
        assert_eq!(
            [&json["operation"], &json["verdict"], &json["time"]],
            ["decrypt", "partial", "2026-11-23T19:16:05Z"]
        );
    }

    #[test]
    fn filters_are_named_as_the_table_names_them() {
        for n in 1..=LAST {
            let operation_ = Operation::try_from(n).unwrap();
            assert_eq!(operation_named(&operation(operation_)), Ok(operation_));
            let shown = short_operation(operation_).map_or(operation(operation_), str::to_owned);
            assert_eq!(operation_named(&shown), Ok(operation_));
        }
        assert_eq!(verdict_named("deny"), Ok(Verdict::Deny));
        for bad in ["", "unspecified", "Decrypt", "operation-decrypt", "list_entries"] {
            assert!(operation_named(bad).is_err() && verdict_named(bad).is_err(), "{bad}");
        }
    }
}
