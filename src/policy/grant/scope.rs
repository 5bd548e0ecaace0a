//! What a line speaks of: who, where, what, why and when.

use std::fmt;

use crate::id::{Class, Invalid, Object, Principal, Purpose, Role, Tenant};

/// Who a line is about.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Grantee {
    /// One principal.
    Principal(Principal),
    /// Whoever has this role in the tenant.
    Role(Role),
}

impl Grantee {
    /// Reads a principal that can authenticate, or a role.
    ///
    /// # Errors
    /// [`Invalid`] for anything else, `*` above all.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        if text.starts_with("role:") {
            return Role::parse(text).map(Self::Role);
        }
        let rule = "a role (role:[a-z0-9-]{1,64}) or a principal (spiffe://… or user:…), never *";
        Principal::parse_external(text).map(Self::Principal).map_err(|_| Invalid { rule })
    }

    /// The grantee as casbin sees it.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Principal(principal) => principal.as_str(),
            Self::Role(role) => role.as_str(),
        }
    }
}

/// Where a grant holds.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Tenants {
    /// In every tenant, `*`. Such a line is owned by the tenant `_system`.
    All,
    /// In one tenant.
    One(Tenant),
}

impl Tenants {
    /// The tenants as casbin sees them.
    pub fn as_str(&self) -> &str {
        match self {
            Self::All => "*",
            Self::One(tenant) => tenant.as_str(),
        }
    }

    /// Whether `tenant` is among them.
    pub fn include(&self, tenant: &Tenant) -> bool {
        match self {
            Self::All => true,
            Self::One(one) => one == tenant,
        }
    }
}

/// What a grant is about.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Pattern {
    /// One class or one control-plane object.
    Exact(Object),
    /// Every class below this prefix, written `<prefix>/*`: `pii`, or `pii/` and up to three segments.
    Below(String),
}

impl Pattern {
    /// Reads an object's name, or a prefix under `pii` and `/*`.
    ///
    /// # Errors
    /// [`Invalid`] for anything else, a bare `*` and a `*` inside above all.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        let rule = "a class (pii/<category>/<name>), a pattern (pii/* or pii/<category>/*), or one of policy, audit, keys, \
                    subjects, tenants";
        let Some(prefix) = text.strip_suffix("/*") else {
            return Object::parse(text).map(Self::Exact).map_err(|_| Invalid { rule });
        };
        // A prefix is fit if the shortest class below it is a class; `pii` alone lacks a category as well.
        let below = if prefix == "pii" { "pii/x/x".into() } else { format!("{prefix}/x") };
        match Class::parse(&below) {
            Ok(_) => Ok(Self::Below(prefix.into())),
            Err(_) => Err(Invalid { rule }),
        }
    }

    /// Whether `object` is meant.
    pub fn matches(&self, object: &Object) -> bool {
        match (self, object) {
            (Self::Exact(one), object) => one == object,
            (Self::Below(prefix), Object::Class(class)) => is_below(class.as_str(), prefix),
            (Self::Below(_), Object::Control(_)) => false,
        }
    }

    /// Whether this can match any class of `category`.
    pub fn touches_category(&self, category: &str) -> bool {
        match self {
            Self::Exact(Object::Class(class)) => class.category_str() == category,
            Self::Exact(Object::Control(_)) => false,
            Self::Below(prefix) => prefix == "pii" || prefix.split('/').nth(1) == Some(category),
        }
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(object) => f.write_str(object.as_str()),
            Self::Below(prefix) => write!(f, "{prefix}/*"),
        }
    }
}

/// Whether `name` is `prefix`, a slash and at least one more byte.
pub(in crate::policy) fn is_below(name: &str, prefix: &str) -> bool {
    name.strip_prefix(prefix).and_then(|rest| rest.strip_prefix('/')).is_some_and(|rest| !rest.is_empty())
}

/// Which purposes a grant is for.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Purposes {
    /// Every purpose, `*`: denies only.
    All,
    /// One purpose.
    One(Purpose),
}

impl Purposes {
    /// The purposes as casbin sees them.
    pub fn as_str(&self) -> &str {
        match self {
            Self::All => "*",
            Self::One(purpose) => purpose.as_str(),
        }
    }

    /// Whether `purpose` is among them.
    pub fn include(&self, purpose: &Purpose) -> bool {
        match self {
            Self::All => true,
            Self::One(one) => one == purpose,
        }
    }
}

/// What a grant does when it matches. A deny wins over every allow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Effect {
    /// It allows.
    Allow,
    /// It denies.
    Deny,
}

impl Effect {
    /// The effect as casbin sees it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Deny => "deny",
        }
    }
}

/// When a line holds: from `not_before` on, and before `expires`, in whole seconds since 1970.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Window {
    /// The first second it holds; 0 for always.
    pub not_before: u64,
    /// The first second it no longer holds; `None` for never.
    pub expires: Option<u64>,
}

impl Window {
    /// Whether it holds at `now`.
    pub fn holds_at(self, now: u64) -> bool {
        self.not_before <= now && self.expires.is_none_or(|end| now < end)
    }

    /// The seconds at which it begins and ends, where it does.
    pub fn boundaries(self) -> impl Iterator<Item = u64> {
        (self.not_before > 0).then_some(self.not_before).into_iter().chain(self.expires)
    }

    /// Whether it holds whenever `other` does.
    pub fn covers(self, other: Self) -> bool {
        self.not_before <= other.not_before && self.end() >= other.end()
    }

    /// The end, where no end is later than every end.
    pub(in crate::policy) fn end(self) -> u64 {
        self.expires.unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_holds_its_first_second_and_not_its_last() {
        let window = Window { not_before: 10, expires: Some(20) };
        assert_eq!([9, 10, 19, 20].map(|now| window.holds_at(now)), [false, true, true, false]);
        assert!(Window::default().holds_at(0) && Window::default().holds_at(u64::MAX));
        assert!(window.covers(Window { not_before: 11, expires: Some(20) }));
        assert!(!window.covers(Window { not_before: 11, expires: None }) && Window::default().covers(window));
    }

    #[test]
    fn a_pattern_ends_in_a_star_under_pii_and_nowhere_else() {
        for good in ["pii/*", "pii/account/*", "pii/a/b/c/*", "pii/account/email", "audit"] {
            assert_eq!(Pattern::parse(good).unwrap().to_string(), good);
        }
        for bad in
            ["*", "*/*", "pii*", "pii/", "pii//*", "pii/a*/*", "pii/*/email", "pii/a/b/c/d/*", "audit/*", "Pii/*"]
        {
            assert!(Pattern::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_pattern_matches_one_or_more_further_segments() {
        let class = |name: &str| Object::parse(name).unwrap();
        let account = Pattern::parse("pii/account/*").unwrap();
        assert!(account.matches(&class("pii/account/email")) && account.matches(&class("pii/account/email/old")));
        assert!(!account.matches(&class("pii/accounts/email")) && !account.matches(&class("pii/acc/email")));
        assert!(!account.matches(&class("audit")) && Pattern::parse("pii/*").unwrap().matches(&class("pii/x/y")));
        assert!(!is_below("pii/account", "pii/account") && !is_below("pii/account/", "pii/account"));
    }

    #[test]
    fn a_grantee_is_never_a_star_nor_an_internal_actor() {
        for bad in ["*", "", "role:", "role:*", "system:purge", "role:A"] {
            assert!(Grantee::parse(bad).is_err(), "{bad}");
        }
        assert_eq!(Grantee::parse("role:a"), Ok(Grantee::Role(Role::parse("role:a").unwrap())));
    }
}
