//! Entries in the Open Cybersecurity Schema Framework (<https://schema.ocsf.io>), one event a line.
//!
//! | entry | class |
//! |---|---|
//! | data, checks, and reading the log | API Activity, 6003 |
//! | what changes the deployment: tenants, policy, subjects and their keys, start, log key, segments | Entity Management, 3004 |
//!
//! What the schema has no attribute for is in `unmapped`. What the log does not know is not made up: it holds no addresses,
//! so the source of a call, which 6003 requires, is named by the identity that its certificate proved (`svc_name`) and has no
//! `ip`. The product has no version: an entry does not say which one wrote it. No profile is applied.

mod class;

use serde_json::{Map, Value, json};

use class::{Class, Kind, class};

use super::{
    super::{table::rfc3339, terminal::printable_json},
    entry::{log_change, operation, outcome, verdict, what},
};
use crate::proto::v1::{AuditEntry, AuditTarget, Operation, Outcome, Verdict};

/// The version of the schema that events keep to.
pub(super) const VERSION: &str = "1.6.0";

/// An entry as a line.
pub(super) fn line(entry: &AuditEntry) -> String {
    format!("{}\n", printable_json(&event(entry)))
}

/// An entry as an event.
pub(super) fn event(entry: &AuditEntry) -> Value {
    let class = class(entry.operation());
    let (status_id, status) = status(entry);
    let (severity_id, severity) = severity(entry);
    let mut event = json!({
        "activity_id": class.activity().0,
        "activity_name": class.activity().1,
        "category_uid": class.category().0,
        "category_name": class.category().1,
        "class_uid": class.uid(),
        "class_name": class.name(),
        "type_uid": class.uid() * 100 + class.activity().0,
        "type_name": format!("{}: {}", class.name(), class.activity().1),
        "severity_id": severity_id,
        "severity": severity,
        "status_id": status_id,
        "status": status,
        "time": entry.time.as_ref().map_or(0, millis),
        "message": format!("{} {}: {}", operation(entry.operation()), verdict(entry.verdict()), what(entry)),
        "metadata": metadata(entry),
        "actor": actor(entry),
        "src_endpoint": source(entry),
        "unmapped": unmapped(entry),
    });
    let more = match class {
        Class::Api(_) => [Some(("api", api(entry))), Some(("resources", resources(entry)))],
        Class::Entity(_, kind) => [Some(("entity", entity(entry, kind))), None],
    };
    if let Some(event) = event.as_object_mut() {
        let counted = (entry.count > 0).then(|| ("count", json!(i32::try_from(entry.count).unwrap_or(i32::MAX))));
        let detail = (!entry.refusal.is_empty()).then(|| ("status_detail", json!(entry.refusal)));
        event.extend(more.into_iter().chain([counted, detail]).flatten().map(|(key, value)| (key.to_owned(), value)));
    }
    event
}

/// Success is an allowed request of which something came out.
fn status(entry: &AuditEntry) -> (i64, &'static str) {
    let nothing = !entry.targets.is_empty() && entry.targets.iter().all(|target| !good(target.outcome()));
    match entry.verdict() {
        Verdict::Allow if nothing || !entry.refusal.is_empty() => (2, "Failure"),
        Verdict::Allow => (1, "Success"),
        Verdict::Deny => (2, "Failure"),
        Verdict::Partial => (99, "Partial"),
        Verdict::Unspecified if !entry.refusal.is_empty() => (2, "Failure"),
        Verdict::Unspecified => (0, "Unknown"),
    }
}

fn good(outcome: Outcome) -> bool {
    match outcome {
        Outcome::Sealed
        | Outcome::Opened
        | Outcome::Masked
        | Outcome::Indexed
        | Outcome::Allowed
        | Outcome::SealedAndIndexed
        | Outcome::Rewrapped => true,
        Outcome::Unspecified
        | Outcome::Denied
        | Outcome::InvalidCiphertext
        | Outcome::SubjectErased
        | Outcome::SubjectClosed
        | Outcome::UnknownSubject
        | Outcome::InvalidValue
        | Outcome::OverBudget
        | Outcome::Held => false,
    }
}

/// Whether somebody has gone around the approval of another person.
pub(super) fn is_emergency(entry: &AuditEntry) -> bool {
    let is_one = matches!(entry.operation(), Operation::BreakGlass | Operation::RecoverPolicy);
    is_one && entry.verdict() == Verdict::Allow
}

fn severity(entry: &AuditEntry) -> (i64, &'static str) {
    match (entry.verdict(), entry.count) {
        _ if is_emergency(entry) => (4, "High"),
        (_, 2..) => (3, "Medium"),
        (Verdict::Deny | Verdict::Partial, _) => (2, "Low"),
        (Verdict::Allow | Verdict::Unspecified, _) => (1, "Informational"),
    }
}

fn metadata(entry: &AuditEntry) -> Value {
    let mut metadata = json!({
        "version": VERSION,
        "product": { "name": "Privet", "vendor_name": "Privet", "feature": { "name": "access log" } },
        // Salted, so no two entries have the same.
        "uid": hex::encode(&entry.leaf_hash),
        "event_code": operation(entry.operation()),
        "log_name": entry.tenant,
        "sequence": i32::try_from(entry.tenant_seq).ok(),
        "original_time": entry.time.as_ref().map(rfc3339),
        "correlation_uid": entry.request_id,
    });
    without_nothing(&mut metadata);
    metadata
}

fn actor(entry: &AuditEntry) -> Value {
    let (type_id, kind) = match entry.principal.split_once(':') {
        Some(("spiffe", _)) => (4, "Service"),
        Some(("user", _)) => (1, "User"),
        Some(("system", _)) => (3, "System"),
        Some(_) | None => (0, "Unknown"),
    };
    let mut user = json!({
        "uid": entry.principal,
        "name": if entry.principal.is_empty() { UNIDENTIFIED } else { &entry.principal },
        "type_id": type_id,
        "type": kind,
        "groups": entry.roles.iter().map(|role| json!({ "name": role })).collect::<Vec<_>>(),
    });
    without_nothing(&mut user);
    let mut policy = json!({
        "name": "access policy",
        "uid": hex::encode(&entry.policy_hash),
        "version": if entry.policy_version > 0 { entry.policy_version.to_string() } else { String::new() },
    });
    without_nothing(&mut policy);
    let decided = json!([{ "decision": verdict(entry.verdict()), "policy": policy }]);
    json!({ "user": user, "authorizations": decided })
}

fn source(entry: &AuditEntry) -> Value {
    if entry.principal.is_empty() { json!({ "name": UNIDENTIFIED }) } else { json!({ "svc_name": entry.principal }) }
}

fn api(entry: &AuditEntry) -> Value {
    let mut api = json!({
        "operation": operation(entry.operation()),
        "service": { "name": class::service(entry.operation()) },
        "version": "v1",
    });
    if let Some(api) = api.as_object_mut() {
        if !entry.request_id.is_empty() {
            api.insert("request".to_owned(), json!({ "uid": entry.request_id }));
        }
        if !entry.refusal.is_empty() {
            api.insert("response".to_owned(), json!({ "error": entry.refusal }));
        }
    }
    api
}

fn resources(entry: &AuditEntry) -> Value {
    let resource = |target: &AuditTarget| {
        json!({
            "name": target.object,
            "type": if target.object.starts_with("pii/") { "data class" } else { "control-plane object" },
            "data": {
                "tenant": entry.tenant,
                "action": target.action,
                "outcome": outcome(target.outcome()),
                "count": target.count,
                "aliases": target.aliases.iter().map(hex::encode).collect::<Vec<_>>(),
            },
        })
    };
    entry.targets.iter().map(resource).collect()
}

fn entity(entry: &AuditEntry, kind: Kind) -> Value {
    let change = entry.log_change.clone().unwrap_or_default();
    let other =
        |kind: &str, name: String, uid: String| json!({ "type_id": 99, "type": kind, "name": name, "uid": uid });
    let mut entity = match kind {
        Kind::Tenant => json!({ "type_id": 4, "type": "Organization", "name": entry.tenant, "uid": entry.tenant }),
        Kind::Policy => json!({
            "type_id": 5,
            "type": "Policy",
            "name": "access policy",
            "uid": hex::encode(&entry.policy_hash),
            "version": entry.policy_version.to_string(),
        }),
        Kind::Service => other("Service", "privet".to_owned(), String::new()),
        Kind::LogKey => other("Log signing key", "log key".to_owned(), change.verifier_key),
        Kind::SubjectKey => other("Encryption key", "subject keys".to_owned(), String::new()),
        Kind::Subject => other("Data subject", "data subjects".to_owned(), String::new()),
        Kind::Segment => {
            let range = format!("entries from {} to before {}", change.first_index, change.end_index);
            other("Log segment", range, change.first_index.to_string())
        }
    };
    without_nothing(&mut entity);
    if let Some(entity) = entity.as_object_mut().filter(|entity| !entity.contains_key("name")) {
        entity.insert("name".to_owned(), json!("unknown"));
    }
    entity
}

/// What an event has no other place for.
fn unmapped(entry: &AuditEntry) -> Value {
    let mut unmapped = json!({
        "index": entry.index,
        "leaf_hash": hex::encode(&entry.leaf_hash),
        "tenant": entry.tenant,
        "tenant_seq": entry.tenant_seq,
        "operation": operation(entry.operation()),
        "purpose": entry.purpose,
        "verdict": verdict(entry.verdict()),
        "policy_version": entry.policy_version,
        "policy_hash": hex::encode(&entry.policy_hash),
        "grant_ids": entry.grant_ids,
        "authentication": entry.authentication,
        "reference": entry.reference,
        "asserted_actor": entry.actor,
        "region": entry.region,
        "part": (entry.parts > 1).then_some(entry.part),
        "parts": (entry.parts > 1).then_some(entry.parts),
        "effect": entry.effect,
        "log_change": entry.log_change.as_ref().map(log_change),
    });
    without_nothing(&mut unmapped);
    unmapped
}

/// Takes out what is empty: an attribute that is there says something.
fn without_nothing(object: &mut Value) {
    let nothing = |value: &Value| match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(values) => values.is_empty(),
        Value::Object(values) => values.is_empty(),
        Value::Bool(_) | Value::Number(_) => false,
    };
    if let Some(members) = object.as_object_mut() {
        *members = std::mem::take(members).into_iter().filter(|(_, value)| !nothing(value)).collect::<Map<_, _>>();
    }
}

fn millis(time: &prost_types::Timestamp) -> i64 {
    time.seconds.saturating_mul(1_000).saturating_add(i64::from(time.nanos) / 1_000_000)
}

/// Who could not be told.
const UNIDENTIFIED: &str = "unidentified";

#[cfg(test)]
mod tests;
