//! `privet policy diff`: how the policies of two directories differ, and whether the second needs an approval.

use std::path::PathBuf;

use clap::Args;
use serde_json::{Value, json};

use super::problems::{read, show};
use crate::{
    cli::{
        answer::{put, put_json},
        failure::{Exit, Failure},
        terminal::{Terminal, printable_lines},
    },
    id::Principal,
    policy::{Changed, Differences, Direction, Document, FieldChange, FileChange, Grant, Impact, Membership},
};

/// Show how two policies differ, whether that narrows or widens, and why
#[derive(Args, Debug)]
pub struct Diff {
    /// Directory of the policy as it is
    #[arg(value_name = "DIR_A")]
    before: PathBuf,
    /// Directory of the policy as it would be
    #[arg(value_name = "DIR_B")]
    after: PathBuf,
}

impl Diff {
    /// Refused if one of the two is not sound.
    pub(super) fn run(&self, terminal: &Terminal) -> Result<Exit, Failure> {
        let (before, after) = match (read(&self.before), read(&self.after)) {
            (Ok(before), Ok(after)) => (before, after),
            (before, after) => {
                let problems: Vec<_> = [before.err(), after.err()].into_iter().flatten().flatten().collect();
                return show(&problems, terminal);
            }
        };
        let (diff, impact) = compare(&before, &after);
        if terminal.json {
            put_json(&value(&diff, &impact))?;
        } else {
            put(text(&diff, &impact).as_bytes())?;
        }
        Ok(Exit::Ok)
    }
}

pub(super) fn compare(before: &Document, after: &Document) -> (crate::policy::Diff, Impact) {
    let diff = crate::policy::Diff::between(before, after);
    let impact = Impact::of(before, after, &diff);
    (diff, impact)
}

pub(super) fn text(diff: &crate::policy::Diff, impact: &Impact) -> String {
    if diff.is_empty() {
        return "no difference\n".to_owned();
    }
    let mut text = format!("{diff}\n");
    match &impact.direction {
        Direction::Narrows => text.push_str("narrows: takes effect when it is proposed\n"),
        Direction::Widens { why } => {
            text.push_str("widens: another person must approve it\n");
            why.iter().for_each(|widening| text.push_str(&format!("  {}\n", widening.because)));
            if !impact.beneficiaries.is_empty() {
                text.push_str("can do more, so can't approve it\n");
                impact.beneficiaries.iter().for_each(|principal| text.push_str(&format!("  {principal}\n")));
            }
        }
    }
    let tenants: Vec<&str> = impact.tenants.iter().map(|tenant| tenant.as_str()).collect();
    text.push_str(&format!("touches {}\n", tenants.join(", ")));
    printable_lines(&text)
}

pub(super) fn value(diff: &crate::policy::Diff, impact: &Impact) -> Value {
    let why = match &impact.direction {
        Direction::Narrows => Vec::new(),
        Direction::Widens { why } => why
            .iter()
            .map(|widening| json!({ "because": widening.because, "tenants": names(widening.tenants.iter()) }))
            .collect(),
    };
    json!({
        "grants": differences(&diff.grants, grant),
        "memberships": differences(&diff.memberships, membership),
        "files": diff.files.iter().map(file).collect::<Vec<_>>(),
        "widens": impact.widens(),
        "why": why,
        "beneficiaries": impact.beneficiaries.iter().map(Principal::as_str).collect::<Vec<_>>(),
        "tenants": names(impact.tenants.iter()),
    })
}

fn names<'a>(tenants: impl Iterator<Item = &'a crate::id::Tenant>) -> Vec<&'a str> {
    tenants.map(|tenant| tenant.as_str()).collect()
}

fn differences<T>(differences: &Differences<T>, rule: fn(&T) -> Value) -> Value {
    let all = |rules: &[std::sync::Arc<T>]| rules.iter().map(|it| rule(it)).collect::<Vec<_>>();
    let changed = |changed: &Changed<T>| {
        let field = |FieldChange { field, .. }: &FieldChange| *field;
        json!({
            "before": rule(&changed.before),
            "after": rule(&changed.after),
            "fields": changed.fields.iter().map(field).collect::<Vec<_>>(),
        })
    };
    json!({
        "added": all(&differences.added),
        "removed": all(&differences.removed),
        "changed": differences.changed.iter().map(changed).collect::<Vec<_>>(),
    })
}

fn grant(grant: &Grant) -> Value {
    json!({
        "id": grant.id.as_str(),
        "grantee": grant.grantee.as_str(),
        "tenant": grant.tenants.as_str(),
        "object": grant.pattern.to_string(),
        "action": grant.action.as_str(),
        "purpose": grant.purposes.as_str(),
        "not_before": Some(grant.window.not_before).filter(|secs| *secs > 0),
        "expires": grant.window.expires,
        "effect": grant.effect.as_str(),
        "reason": grant.reason,
    })
}

fn membership(membership: &Membership) -> Value {
    json!({
        "id": membership.id.as_str(),
        "member": membership.member.as_str(),
        "role": membership.role.as_str(),
        "tenant": membership.tenant.as_str(),
        "expires": membership.expires,
        "reason": membership.reason,
    })
}

fn file(change: &FileChange) -> Value {
    json!({ "file": change.file, "added": change.added, "removed": change.removed, "lines": change.lines })
}
