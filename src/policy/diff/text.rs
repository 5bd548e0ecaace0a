//! A diff for people.

use std::fmt;

use super::{
    super::grant::{Grant, Membership},
    Changed, Diff, Differences, FileChange, end,
};
use crate::policy::grant::date;

impl fmt::Display for Diff {
    /// One line a rule, `+` for new, `-` for gone and `~` for changed; then each file with its lines. Nothing for no difference.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        rules(f, "grants", &self.grants, |grant| grant.id.as_str(), grant)?;
        rules(f, "memberships", &self.memberships, |membership| membership.id.as_str(), membership)?;
        self.files.iter().try_for_each(|change| file(f, change))
    }
}

fn rules<T>(
    f: &mut fmt::Formatter<'_>,
    heading: &str,
    differences: &Differences<T>,
    id: fn(&T) -> &str,
    what: fn(&T) -> String,
) -> fmt::Result {
    if differences.is_empty() {
        return Ok(());
    }
    writeln!(f, "{heading}")?;
    for rule in &differences.removed {
        writeln!(f, "  - {}: {}", id(rule), what(rule))?;
    }
    for rule in &differences.added {
        writeln!(f, "  + {}: {}", id(rule), what(rule))?;
    }
    for Changed { after, fields, .. } in &differences.changed {
        let fields: Vec<String> =
            fields.iter().map(|change| format!("{} {} → {}", change.field, change.before, change.after)).collect();
        writeln!(f, "  ~ {}: {}", id(after), fields.join("; "))?;
    }
    Ok(())
}

fn file(f: &mut fmt::Formatter<'_>, change: &FileChange) -> fmt::Result {
    let FileChange { file, added, removed, lines } = change;
    writeln!(f, "{file}: {added} lines added, {removed} removed")?;
    for line in lines {
        writeln!(f, "  {line}")?;
    }
    match added + removed - lines.len() {
        0 => Ok(()),
        more => writeln!(f, "  and {more} more"),
    }
}

fn grant(grant: &Grant) -> String {
    let (effect, action, purpose) = (grant.effect.as_str(), grant.action, grant.purposes.as_str());
    let (grantee, pattern, tenant) = (grant.grantee.as_str(), &grant.pattern, grant.tenants.as_str());
    let from = Some(grant.window.not_before).filter(|secs| *secs > 0);
    let from = from.map(|secs| format!(", from {}", date(secs))).unwrap_or_default();
    let until = until(grant.window.expires);
    format!("{effect} {grantee} to {action} {pattern} for {purpose} in {tenant}{from}{until} – {}", grant.reason)
}

fn membership(membership: &Membership) -> String {
    let (member, role, tenant) = (membership.member.as_str(), &membership.role, &membership.tenant);
    format!("{member} has {role} in {tenant}{} – {}", until(membership.expires), membership.reason)
}

fn until(expires: Option<u64>) -> String {
    expires.map(|_| format!(", until {}", end(expires))).unwrap_or_default()
}
