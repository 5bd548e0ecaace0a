//! The typed lines of a policy: grants (casbin's `p`) and memberships (casbin's `g`).
//!
//! Every part has passed its rule before a line exists, so nothing that casbin would misread reaches it: no comma, quote or
//! newline, no effect but allow and deny, no principal that looks like a role, no bare `*` where casbin would ignore it.
//! A line displays as the two lines of the file that it was read from.

mod scope;

use std::fmt;

use time::{OffsetDateTime, format_description::well_known::Rfc3339};

pub(super) use scope::is_below;
pub use scope::{Effect, Grantee, Pattern, Purposes, Tenants, Window};

use crate::id::{Action, Invalid, Role, Tenant};

/// The name of a grant or of a membership, unique in the policy: `[a-z0-9-]{1,64}`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct GrantId(std::sync::Arc<str>);

impl GrantId {
    /// Checks an id.
    ///
    /// # Errors
    /// [`Invalid`] with the rule.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        let fits = (1..=64).contains(&text.len());
        if fits && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-') {
            Ok(Self(text.into()))
        } else {
            Err(Invalid { rule: "an id: [a-z0-9-]{1,64}" })
        }
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for GrantId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for GrantId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One `p` line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// Its name, as the log and `explain` give it.
    pub id: GrantId,
    /// Who.
    pub grantee: Grantee,
    /// Where.
    pub tenants: Tenants,
    /// What.
    pub pattern: Pattern,
    /// Doing what.
    pub action: Action,
    /// Why.
    pub purposes: Purposes,
    /// When.
    pub window: Window,
    /// May or may not.
    pub effect: Effect,
    /// Why this grant exists.
    pub reason: String,
}

impl Grant {
    /// The eight fields of casbin's line, without the leading `p`.
    pub(super) fn casbin_fields(&self) -> [String; 8] {
        [
            self.grantee.as_str().into(),
            self.tenants.as_str().into(),
            self.pattern.to_string(),
            self.action.as_str().into(),
            self.purposes.as_str().into(),
            self.window.not_before.to_string(),
            self.window.expires.unwrap_or(0).to_string(),
            self.effect.as_str().into(),
        ]
    }
}

impl fmt::Display for Grant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#: id={}", self.id)?;
        if self.tenants == Tenants::All {
            f.write_str(" owner=_system")?;
        }
        if self.window.not_before > 0 {
            write!(f, " not_before={}", date(self.window.not_before))?;
        }
        if let Some(end) = self.window.expires {
            write!(f, " expires={}", date(end))?;
        }
        writeln!(f, " reason=\"{}\"", self.reason)?;
        writeln!(f, "p, {}", self.casbin_fields().join(", "))
    }
}

/// One `g` line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Membership {
    /// Its name.
    pub id: GrantId,
    /// Who is given the role.
    pub member: Grantee,
    /// The role.
    pub role: Role,
    /// In which tenant.
    pub tenant: Tenant,
    /// The first second it no longer holds; `None` for never.
    pub expires: Option<u64>,
    /// Why this membership exists.
    pub reason: String,
}

impl Membership {
    /// Whether it holds at `now`.
    pub fn holds_at(&self, now: u64) -> bool {
        self.expires.is_none_or(|end| now < end)
    }

    /// The three fields of casbin's line, without the leading `g`.
    pub(super) fn casbin_fields(&self) -> [String; 3] {
        [self.member.as_str().into(), self.role.as_str().into(), self.tenant.as_str().into()]
    }
}

impl fmt::Display for Membership {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#: id={}", self.id)?;
        if let Some(end) = self.expires {
            write!(f, " expires={}", date(end))?;
        }
        writeln!(f, " reason=\"{}\"", self.reason)?;
        writeln!(f, "g, {}", self.casbin_fields().join(", "))
    }
}

/// Seconds since 1970 as an RFC 3339 date in UTC; the number itself past the year 9999.
pub fn date(secs: u64) -> String {
    i64::try_from(secs)
        .ok()
        .and_then(|secs| OffsetDateTime::from_unix_timestamp(secs).ok())
        .and_then(|moment| moment.format(&Rfc3339).ok())
        .unwrap_or_else(|| secs.to_string())
}

/// An RFC 3339 date in UTC on a whole second, after 1970, as seconds since 1970.
pub(super) fn secs(date: &str) -> Result<u64, Invalid> {
    let rule = "a date in UTC on a whole second, e.g. 2027-01-31T00:00:00Z";
    let moment = OffsetDateTime::parse(date, &Rfc3339).map_err(|_| Invalid { rule })?;
    match u64::try_from(moment.unix_timestamp()) {
        Ok(secs) if secs > 0 && self::date(secs) == date => Ok(secs),
        Ok(_) | Err(_) => Err(Invalid { rule }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_utc_whole_seconds_and_round_trip() {
        assert_eq!(secs("2027-01-01T00:00:00Z").unwrap(), 1_798_761_600);
        assert_eq!(date(1_798_761_600), "2027-01-01T00:00:00Z");
        for bad in [
            "2027-01-01",
            "2027-01-01T00:00:00+01:00",
            "2027-01-01T00:00:00.5Z",
            "1970-01-01T00:00:00Z",
            "1969-01-01T00:00:00Z",
        ] {
            assert!(secs(bad).is_err(), "{bad}");
        }
    }
}
