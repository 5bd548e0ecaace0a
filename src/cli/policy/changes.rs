//! A file of changes: a JSON array, each element an object with one member that says what kind of change it is.

use std::{io::Read, path::Path};

use prost_types::Timestamp;
use serde::Deserialize;
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use super::super::failure::Failure;
use crate::proto::v1::{GrantEffect, PolicyChange, PolicyGrant, PolicyMembership, policy_change};

/// The longest file, in bytes: no longer message is taken.
const BYTES_MAX: u64 = 4 << 20;

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Change {
    AddGrant(Grant),
    AddDeny(Deny),
    ReplaceGrant(Grant),
    AddMembership(Membership),
    ReplaceMembership(Membership),
    Remove(String),
    Catalogue(String),
    Assertions(String),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Grant {
    id: String,
    grantee: String,
    tenant: String,
    object: String,
    action: String,
    purpose: String,
    #[serde(default)]
    not_before: Option<String>,
    #[serde(default)]
    expires: Option<String>,
    effect: Effect,
    reason: String,
}

/// Keeps data from somebody in every form: plaintext, mask, new ciphertext and index. A deny of `decrypt` alone leaves the others.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Deny {
    id: String,
    grantee: String,
    tenant: String,
    object: String,
    #[serde(default)]
    purpose: Option<String>,
    #[serde(default)]
    not_before: Option<String>,
    #[serde(default)]
    expires: Option<String>,
    reason: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Effect {
    Allow,
    Deny,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Membership {
    id: String,
    member: String,
    role: String,
    tenant: String,
    #[serde(default)]
    expires: Option<String>,
    reason: String,
}

/// Reads a file of changes, or standard input if it is `-`.
///
/// # Errors
/// [`Failure`] (usage) if it can't be read or is no such file.
pub(super) fn read(file: &Path) -> Result<Vec<PolicyChange>, Failure> {
    let shown = file.display();
    let unreadable = |error: std::io::Error| Failure::usage(format!("{shown}: can't be read: {}", error.kind()));
    let mut text = String::new();
    let bytes = if file == Path::new("-") {
        std::io::stdin().lock().take(BYTES_MAX + 1).read_to_string(&mut text)
    } else {
        std::fs::File::open(file).and_then(|file| file.take(BYTES_MAX + 1).read_to_string(&mut text))
    };
    if bytes.map_err(unreadable)? as u64 > BYTES_MAX {
        return Err(Failure::usage(format!("{shown}: is longer than {BYTES_MAX} bytes")));
    }
    parse(&text).map_err(|why| Failure::usage(format!("{shown}: {why}")))
}

fn parse(text: &str) -> Result<Vec<PolicyChange>, String> {
    let changes: Vec<Change> = serde_json::from_str(text).map_err(|error| error.to_string())?;
    let mut sent = Vec::with_capacity(changes.len());
    for change in changes {
        sent.push(match change {
            Change::AddGrant(grant) => policy_change::Change::AddGrant(grant.sent()?),
            Change::AddDeny(deny) => {
                for action in DENIED_TOGETHER {
                    sent.push(policy_change::Change::AddGrant(deny.of(action).sent()?));
                }
                continue;
            }
            Change::ReplaceGrant(grant) => policy_change::Change::ReplaceGrant(grant.sent()?),
            Change::AddMembership(membership) => policy_change::Change::AddMembership(membership.sent()?),
            Change::ReplaceMembership(membership) => policy_change::Change::ReplaceMembership(membership.sent()?),
            Change::Remove(id) => policy_change::Change::Remove(id),
            Change::Catalogue(text) => policy_change::Change::Catalogue(text),
            Change::Assertions(text) => policy_change::Change::Assertions(text),
        });
    }
    Ok(sent.into_iter().map(|change| PolicyChange { change: Some(change) }).collect())
}

/// What gives data away in one form or another.
const DENIED_TOGETHER: [&str; 4] = ["decrypt", "mask", "rewrap", "index"];

impl Deny {
    /// The deny of one of the actions: `decrypt` has the id as it is, the others end in their names.
    fn of(&self, action: &str) -> Grant {
        let id = if action == "decrypt" { self.id.clone() } else { format!("{}-{action}", self.id) };
        Grant {
            id,
            grantee: self.grantee.clone(),
            tenant: self.tenant.clone(),
            object: self.object.clone(),
            action: action.to_owned(),
            purpose: self.purpose.clone().unwrap_or_else(|| "*".to_owned()),
            not_before: self.not_before.clone(),
            expires: self.expires.clone(),
            effect: Effect::Deny,
            reason: self.reason.clone(),
        }
    }
}

impl Grant {
    fn sent(self) -> Result<PolicyGrant, String> {
        Ok(PolicyGrant {
            not_before: moment(self.not_before.as_deref(), &self.id, "not_before")?,
            expires: moment(self.expires.as_deref(), &self.id, "expires")?,
            id: self.id,
            grantee: self.grantee,
            tenant: self.tenant,
            object: self.object,
            action: self.action,
            purpose: self.purpose,
            effect: match self.effect {
                Effect::Allow => GrantEffect::Allow,
                Effect::Deny => GrantEffect::Deny,
            }
            .into(),
            reason: self.reason,
        })
    }
}

impl Membership {
    fn sent(self) -> Result<PolicyMembership, String> {
        Ok(PolicyMembership {
            expires: moment(self.expires.as_deref(), &self.id, "expires")?,
            id: self.id,
            member: self.member,
            role: self.role,
            tenant: self.tenant,
            reason: self.reason,
        })
    }
}

fn moment(text: Option<&str>, id: &str, field: &str) -> Result<Option<Timestamp>, String> {
    let Some(text) = text else { return Ok(None) };
    let moment = OffsetDateTime::parse(text, &Rfc3339).ok().filter(|moment| moment.nanosecond() == 0);
    match moment {
        Some(moment) => Ok(Some(Timestamp { seconds: moment.unix_timestamp(), nanos: 0 })),
        None => Err(format!("{id}: {field} must be a whole second like 2027-01-31T00:00:00Z")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deny_keeps_every_form_of_the_data_away() {
        let text = r#"[{"add_deny": {"id": "no-tax", "grantee": "role:support", "tenant": "acme", "object": "pii/billing/*",
            "expires": "2027-01-31T00:00:00Z", "reason": "r"}}, {"remove": "other"}]"#;
        let changes = parse(text).unwrap();
        let denies: Vec<_> = changes
            .iter()
            .filter_map(|change| match &change.change {
                Some(policy_change::Change::AddGrant(grant)) => {
                    assert!(grant.effect() == GrantEffect::Deny && grant.purpose == "*" && grant.expires.is_some());
                    Some((grant.id.as_str(), grant.action.as_str()))
                }
                _ => None,
            })
            .collect();
        let all =
            [("no-tax", "decrypt"), ("no-tax-mask", "mask"), ("no-tax-rewrap", "rewrap"), ("no-tax-index", "index")];
        assert_eq!((denies.as_slice(), changes.len()), (&all[..], 5));
        assert!(parse(&text.replace("\"reason\"", "\"action\": \"mask\", \"reason\"")).is_err());
    }

    #[test]
    fn changes_are_read_as_show_writes_lines() {
        let text = r#"[
            {"add_grant": {"id": "g", "grantee": "role:r", "tenant": "acme", "object": "pii/a/b", "action": "mask",
             "purpose": "p", "not_before": null, "expires": "2027-01-01T00:00:00Z", "effect": "deny", "reason": "r"}},
            {"replace_membership": {"id": "m", "member": "spiffe://a/b", "role": "role:r", "tenant": "acme", "reason": "r"}},
            {"remove": "x"}
        ]"#;
        let changes = parse(text).unwrap();
        let Some(policy_change::Change::AddGrant(grant)) = &changes[0].change else { panic!() };
        assert_eq!((grant.effect(), grant.expires.unwrap().seconds), (GrantEffect::Deny, 1_798_761_600));
        let written = super::super::lines::grant_json(grant);
        let again = parse(&serde_json::json!([{ "add_grant": written }]).to_string()).unwrap();
        assert_eq!(again[0], changes[0]);
        assert_eq!(changes.len(), 3);
    }

    #[test]
    fn what_is_no_change_is_refused_with_its_place() {
        for (bad, why) in [
            ("", "EOF"),
            ("{}", "sequence"),
            (r#"[{"drop": "x"}]"#, "unknown variant"),
            (r#"[{"remove": "x", "catalogue": ""}]"#, "line 1"),
            (
                r#"[{"add_membership": {"id": "m", "member": "a", "role": "b", "tenant": "c", "reason": "r", "owner": "x"}}]"#,
                "owner",
            ),
            (
                r#"[{"add_membership": {"id": "m", "member": "a", "role": "b", "tenant": "c", "reason": "r", "expires": "soon"}}]"#,
                "m: expires",
            ),
        ] {
            let error = parse(bad).unwrap_err();
            assert!(error.contains(why), "{bad}: {error}");
        }
    }
}
