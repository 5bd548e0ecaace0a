//! The names of things, each checked once where it enters and trusted from there on.
//!
//! Every type here holds a value that has passed its rule; there is no way to make one that hasn't. A refused value never
//! shows in the error: only the rule does.

mod object;

use std::{borrow::Borrow, fmt, sync::Arc};

use zeroize::Zeroizing;

pub use object::{Action, ControlObject, Object};

/// A value that breaks its rule. The message names the rule, never the value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be {rule}")]
pub struct Invalid {
    /// What is asked of such a value, fit to follow "must be".
    pub rule: &'static str,
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $rule:literal, $accepts:expr) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(Arc<str>);

        impl $name {
            /// What is asked of such a name.
            pub const RULE: &str = $rule;

            /// Checks a name.
            ///
            /// # Errors
            /// [`Invalid`] with [`Self::RULE`].
            pub fn parse(text: &str) -> Result<Self, Invalid> {
                let accepts: fn(&str) -> bool = $accepts;
                if accepts(text) { Ok(Self(text.into())) } else { Err(Invalid { rule: $rule }) }
            }

            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }
    };
}

name!(
    /// A controller of personal data: the casbin domain, the owner of records and keys. See [`Tenant::system`].
    Tenant,
    "a tenant: [a-z0-9][a-z0-9-]{0,62}",
    |text| {
        bytes(text, 1, 63, |b| lower(b) || b == b'-') && !text.starts_with('-')
    }
);

name!(
    /// Who acts: `spiffe://<trust domain>/<path>`, `user:<issuer alias>/<percent-encoded sub>`, or the internal
    /// `system:<name>`, which nobody can authenticate as.
    Principal,
    "a principal: spiffe://<trust domain>/<path> or user:<issuer>/<sub>, at most 256 bytes",
    |text| text.len() <= 256 && (spiffe(text) || user(text) || internal(text))
);

name!(
    /// What a principal may be given: `role:[a-z0-9-]{1,64}`.
    Role,
    "a role: role:[a-z0-9-]{1,64}",
    |text| text.strip_prefix("role:").is_some_and(|name| bytes(name, 1, 64, |b| lower(b) || b == b'-'))
);

name!(
    /// A human being, whatever principals it acts as: `[a-z0-9-]{1,64}`, one of the catalogue's.
    PersonId,
    "a person: [a-z0-9-]{1,64}",
    |text| bytes(text, 1, 64, |b| lower(b) || b == b'-')
);

name!(
    /// Why something is done: `[a-z0-9-]{1,64}`, one of the catalogue's.
    Purpose,
    "a purpose: [a-z0-9-]{1,64}",
    |text| bytes(text, 1, 64, |b| lower(b) || b == b'-')
);

name!(
    /// A kind of personal data: `pii/<category>/<name>`, 3 to 5 segments of `[a-z0-9_]{1,32}`.
    Class,
    "a class: pii/<category>/<name>, 3 to 5 segments of [a-z0-9_]{1,32}",
    |text| {
        let segments = text.split('/').count();
        (3..=5).contains(&segments)
            && text.starts_with("pii/")
            && text.split('/').all(|segment| bytes(segment, 1, 32, |b| lower(b) || b == b'_'))
    }
);

name!(
    /// The unit of key, retention and erasure: a class's second segment.
    Category,
    "a category: [a-z0-9_]{1,32}",
    |text| bytes(text, 1, 32, |b| lower(b) || b == b'_')
);

name!(
    /// A ticket, an order, a request id: what data requests carry instead of free text. May be empty.
    Reference,
    "a reference: [A-Za-z0-9._:/#-]{0,64}",
    |text| bytes(text, 0, 64, |b| b.is_ascii_alphanumeric() || b"._:/#-".contains(&b))
);

name!(
    /// Where data may lie: `[a-z0-9-]{1,32}`, e.g. `us-east`.
    Region,
    "a region: [a-z0-9-]{1,32}",
    |text| bytes(text, 1, 32, |b| lower(b) || b == b'-')
);

impl Tenant {
    /// The deployment itself, `_system`: no request can name it as the owner of data.
    pub fn system() -> Self {
        Self("_system".into())
    }

    /// A tenant of the log and of the policy: [`Tenant::parse`], or `_system`.
    ///
    /// # Errors
    /// [`Invalid`] as for [`Tenant::parse`].
    pub fn parse_or_system(text: &str) -> Result<Self, Invalid> {
        if text == "_system" { Ok(Self::system()) } else { Self::parse(text) }
    }

    /// Whether this is the deployment itself.
    pub fn is_system(&self) -> bool {
        &*self.0 == "_system"
    }
}

impl Reference {
    /// No reference.
    pub fn empty() -> Self {
        Self("".into())
    }
}

impl Purpose {
    /// The purpose of the control plane.
    pub fn operate() -> Self {
        Self("operate".into())
    }
}

impl Principal {
    /// An internal actor. No credential leads here: `identity` never calls it.
    pub fn system(name: &'static str) -> Self {
        Self(format!("system:{name}").into())
    }

    /// Whether this is an internal actor.
    pub fn is_system(&self) -> bool {
        self.0.starts_with("system:")
    }

    /// A principal as a request or a policy may name it: not an internal one.
    ///
    /// # Errors
    /// [`Invalid`] as for [`Principal::parse`], and for `system:` names.
    pub fn parse_external(text: &str) -> Result<Self, Invalid> {
        let principal = Self::parse(text)?;
        if principal.is_system() { Err(Invalid { rule: Self::RULE }) } else { Ok(principal) }
    }

    /// The SPIFFE trust domain, if this is a SPIFFE id.
    pub fn trust_domain(&self) -> Option<&str> {
        self.0.strip_prefix("spiffe://")?.split('/').next()
    }
}

impl Class {
    /// The category, as text: the class's second segment.
    pub fn category_str(&self) -> &str {
        self.0.split('/').nth(1).unwrap_or_default()
    }

    /// The category: the class's second segment.
    pub fn category(&self) -> Category {
        Category(self.category_str().into())
    }
}

/// A customer's id: 1 to 256 bytes of UTF-8, opaque. Personal data itself, so it is wiped on drop and never printed.
pub struct Subject(Zeroizing<String>);

impl Subject {
    /// What is asked of a subject id.
    pub const RULE: &str = "a subject id: 1 to 256 bytes of UTF-8";

    /// Checks a subject id, taking it over.
    ///
    /// # Errors
    /// [`Invalid`] with [`Self::RULE`].
    pub fn parse(text: String) -> Result<Self, Invalid> {
        let text = Zeroizing::new(text);
        if (1..=256).contains(&text.len()) { Ok(Self(text)) } else { Err(Invalid { rule: Self::RULE }) }
    }

    /// The id itself, for key derivation and AAD only.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Subject")
    }
}

fn lower(b: u8) -> bool {
    b.is_ascii_lowercase() || b.is_ascii_digit()
}

fn bytes(text: &str, min: usize, max: usize, accepts: impl Fn(u8) -> bool) -> bool {
    (min..=max).contains(&text.len()) && text.bytes().all(accepts)
}

/// SPIFFE-ID section 2: a lower-case trust domain and a path without empty or dot segments. Stricter here: the path is not
/// empty, and a character that casbin's line format gives a meaning is refused by the same closed set.
fn spiffe(text: &str) -> bool {
    let Some((domain, path)) = text.strip_prefix("spiffe://").and_then(|rest| rest.split_once('/')) else {
        return false;
    };
    bytes(domain, 1, 128, |b| lower(b) || b"._-".contains(&b))
        && path.split('/').all(|segment| {
            bytes(segment, 1, 256, |b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
                && segment != "."
                && segment != ".."
        })
}

fn user(text: &str) -> bool {
    let Some((issuer, sub)) = text.strip_prefix("user:").and_then(|rest| rest.split_once('/')) else {
        return false;
    };
    bytes(issuer, 1, 32, |b| lower(b) || b == b'-')
        && bytes(sub, 1, 200, |b| b.is_ascii_alphanumeric() || b"._~-%@".contains(&b))
}

fn internal(text: &str) -> bool {
    text.strip_prefix("system:").is_some_and(|name| bytes(name, 1, 64, |b| lower(b) || b == b'-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tenants_end_at_63_bytes_and_never_start_with_a_dash() {
        assert!(Tenant::parse("a").is_ok() && Tenant::parse(&"a".repeat(63)).is_ok());
        for bad in ["", "-a", "_system", "A", "a_b", "a b", "é", &"a".repeat(64)] {
            assert!(Tenant::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_principal_is_never_a_role_and_only_code_makes_a_system_one() {
        for good in ["spiffe://acme.example/svc/signup", "user:okta/00u1%40x", "spiffe://a/b"] {
            assert!(Principal::parse_external(good).is_ok(), "{good}");
        }
        for bad in [
            "role:admin",
            "",
            "spiffe://",
            "spiffe://acme",
            "spiffe://acme/",
            "spiffe://acme/a//b",
            "spiffe://acme/../b",
            "spiffe://ACME/b",
            "spiffe://acme/a,b",
            "spiffe://acme/a\nb",
            "spiffe://acme:80/b",
            "spiffe://acme/b?x",
            "user:okta",
            "*",
            "system:purge",
        ] {
            assert!(Principal::parse_external(bad).is_err(), "{bad}");
        }
        assert!(Principal::parse(&format!("spiffe://a/{}", "b".repeat(256))).is_err());
    }

    #[test]
    fn classes_have_three_to_five_segments_under_pii() {
        for good in ["pii/account/email", "pii/a/b/c/d"] {
            assert!(Class::parse(good).is_ok(), "{good}");
        }
        for bad in ["pii/account", "pii/a/b/c/d/e", "pii//b", "PII/a/b", "data/a/b", "pii/a/b*", "pii/a/é", "pii/a/b/"]
        {
            assert!(Class::parse(bad).is_err(), "{bad}");
        }
        assert_eq!(Class::parse("pii/account/email").unwrap().category().as_str(), "account");
    }

    #[test]
    fn subjects_end_at_256_bytes_and_are_never_printed() {
        assert!(Subject::parse("é".repeat(128)).is_ok());
        assert!(Subject::parse("é".repeat(129)).is_err() && Subject::parse(String::new()).is_err());
        assert_eq!(format!("{:?}", Subject::parse("anna".into()).unwrap()), "Subject");
    }
}
