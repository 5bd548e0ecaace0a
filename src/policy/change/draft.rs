//! Rules as somebody asked for them, before any part has passed its rule.
//!
//! INVARIANT: a rule that comes out of here displays as two lines that read back as that same rule. So what is written into
//! the file is what was asked for, and no reason, however it is worded, becomes a line of its own.

use std::sync::Arc;

use crate::{
    catalogue::Problem,
    id::{Action, Invalid, Role, Tenant},
    policy::{
        csv,
        grant::{Effect, Grant, GrantId, Grantee, Membership, Pattern, Window},
    },
};

/// A grant as it is asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GrantDraft {
    /// Its name, unique in the policy: `[a-z0-9-]{1,64}`.
    pub id: String,
    /// A role or a principal.
    pub grantee: String,
    /// A tenant, `_system`, or `*`.
    pub tenant: String,
    /// A class, a pattern or a control-plane object.
    pub object: String,
    /// Doing what.
    pub action: String,
    /// Why; `*` in a deny only.
    pub purpose: String,
    /// The first second it holds, since 1970; `None` for always.
    pub not_before: Option<u64>,
    /// The first second it no longer holds, since 1970; `None` for never.
    pub expires: Option<u64>,
    /// May or may not; there is none that goes without saying.
    pub effect: Option<Effect>,
    /// Why it exists: one line of 1 to 300 bytes without a double quote.
    pub reason: String,
}

/// A membership as it is asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MembershipDraft {
    /// Its name, unique in the policy: `[a-z0-9-]{1,64}`.
    pub id: String,
    /// A principal or a role.
    pub member: String,
    /// What it is given.
    pub role: String,
    /// In which tenant; never `*`.
    pub tenant: String,
    /// The first second it no longer holds, since 1970; `None` for never.
    pub expires: Option<u64>,
    /// Why it exists: one line of 1 to 300 bytes without a double quote.
    pub reason: String,
}

impl GrantDraft {
    /// What asks for this grant.
    pub fn of(grant: &Grant) -> Self {
        Self {
            id: grant.id.to_string(),
            grantee: grant.grantee.as_str().to_owned(),
            tenant: grant.tenants.as_str().to_owned(),
            object: grant.pattern.to_string(),
            action: grant.action.to_string(),
            purpose: grant.purposes.as_str().to_owned(),
            not_before: (grant.window.not_before > 0).then_some(grant.window.not_before),
            expires: grant.window.expires,
            effect: Some(grant.effect),
            reason: grant.reason.clone(),
        }
    }

    /// The grant, or a problem for each field of `path` that breaks its rule.
    pub(super) fn read(&self, path: &str) -> Result<Grant, Vec<Problem>> {
        let mut reader = Reader { path, problems: Vec::new() };
        let id = reader.field("id", GrantId::parse(&self.id));
        let grantee = reader.field("grantee", Grantee::parse(&self.grantee));
        let tenants = reader.field("tenant", csv::tenants(&self.tenant));
        let pattern = reader.field("object", Pattern::parse(&self.object));
        let action = reader.field("action", Action::parse(&self.action));
        let purposes = reader.field("purpose", csv::purposes(&self.purpose));
        let not_before = reader.moment("not_before", self.not_before);
        let expires = reader.moment("expires", self.expires);
        let effect = reader.field("effect", self.effect.ok_or(Invalid { rule: "allow or deny" }));
        let reason = reader.reason(&self.reason);
        let grant = (|| {
            let window = Window { not_before: not_before?.unwrap_or(0), expires: expires? };
            let (id, grantee, tenants, pattern) = (id?, grantee?, tenants?, pattern?);
            Some(Grant {
                id,
                grantee,
                tenants,
                pattern,
                action: action?,
                purposes: purposes?,
                window,
                effect: effect?,
                reason: reason?,
            })
        })();
        reader.same_as_read(grant, |rules| rules.grants.pop().map(|line| line.rule))
    }
}

impl MembershipDraft {
    /// What asks for this membership.
    pub fn of(membership: &Membership) -> Self {
        Self {
            id: membership.id.to_string(),
            member: membership.member.as_str().to_owned(),
            role: membership.role.to_string(),
            tenant: membership.tenant.to_string(),
            expires: membership.expires,
            reason: membership.reason.clone(),
        }
    }

    /// The membership, or a problem for each field of `path` that breaks its rule.
    pub(super) fn read(&self, path: &str) -> Result<Membership, Vec<Problem>> {
        let mut reader = Reader { path, problems: Vec::new() };
        let id = reader.field("id", GrantId::parse(&self.id));
        let member = reader.field("member", Grantee::parse(&self.member));
        let role = reader.field("role", Role::parse(&self.role));
        let tenant = reader.field("tenant", Tenant::parse_or_system(&self.tenant));
        let expires = reader.moment("expires", self.expires);
        let reason = reader.reason(&self.reason);
        let membership = (|| {
            let (id, member, role, tenant) = (id?, member?, role?, tenant?);
            Some(Membership { id, member, role, tenant, expires: expires?, reason: reason? })
        })();
        reader.same_as_read(membership, |rules| rules.memberships.pop().map(|line| line.rule))
    }
}

struct Reader<'a> {
    path: &'a str,
    problems: Vec<Problem>,
}

impl Reader<'_> {
    fn field<T>(&mut self, name: &str, parsed: Result<T, Invalid>) -> Option<T> {
        parsed.map_err(|invalid| self.refuse(name, invalid.to_string())).ok()
    }

    fn moment(&mut self, name: &str, secs: Option<u64>) -> Option<Option<u64>> {
        match secs {
            Some(secs) if !(1..=csv::SECS_MAX).contains(&secs) => {
                self.refuse(name, "must be a second after 1970, up to the year 9999".into());
                None
            }
            Some(_) | None => Some(secs),
        }
    }

    fn reason(&mut self, text: &str) -> Option<String> {
        if !csv::says_why(text) || text.contains('"') {
            let max = csv::REASON_BYTES_MAX;
            self.refuse(
                "reason",
                format!("must be one line of 1 to {max} bytes that says why, without a double quote"),
            );
            return None;
        }
        Some(text.to_owned())
    }

    /// The rule, if its lines read back as that rule and nothing else.
    fn same_as_read<T: PartialEq + std::fmt::Display>(
        mut self,
        rule: Option<T>,
        only: impl FnOnce(&mut csv::Rules) -> Option<Arc<T>>,
    ) -> Result<T, Vec<Problem>> {
        let Some(rule) = rule.filter(|_| self.problems.is_empty()) else { return Err(self.problems) };
        let (mut rules, found) = csv::parse(&rule.to_string());
        let same = only(&mut rules).is_some_and(|read| *read == rule);
        if !same || !found.is_empty() || !rules.grants.is_empty() || !rules.memberships.is_empty() {
            self.problems.push(Problem::of_file(self.path, "can't be written as a line of policy.csv"));
            return Err(self.problems);
        }
        Ok(rule)
    }

    fn refuse(&mut self, name: &str, message: String) {
        self.problems.push(Problem::of_file(&format!("{}.{name}", self.path), message));
    }
}
