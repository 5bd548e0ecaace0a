//! What principals are called where people read: short, and no two the same.

use std::collections::BTreeMap;

use super::terminal::printable;

/// Short names for principals: the last part of a SPIFFE id, unless that stands for another principal already.
#[derive(Default)]
pub struct Names(BTreeMap<String, String>);

impl Names {
    /// What a principal is called.
    pub fn short<'a>(&mut self, principal: &'a str) -> &'a str {
        if principal.is_empty() {
            return "–";
        }
        match principal.strip_prefix("spiffe://").and_then(|id| id.rsplit('/').next()) {
            Some(last) if self.0.entry(last.to_owned()).or_insert_with(|| principal.to_owned()) == principal => last,
            _ => principal,
        }
    }

    /// Says on standard error whom the short names stand for.
    pub fn tell(&self) {
        for (short, principal) in self.shortened() {
            eprintln!("{} = {}", printable(short), printable(principal));
        }
    }

    /// Each short name with the principal that it stands for.
    pub fn shortened(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(short, principal)| (short.as_str(), principal.as_str()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_principals_never_share_a_name() {
        let mut names = Names::default();
        assert_eq!(names.short("spiffe://acme.example/svc/billing"), "billing");
        assert_eq!(names.short("spiffe://evil.example/svc/billing"), "spiffe://evil.example/svc/billing");
        assert_eq!(names.short("spiffe://acme.example/svc/billing"), "billing");
        assert_eq!([names.short("user:okta/x"), names.short("")], ["user:okta/x", "–"]);
        assert_eq!(names.shortened().collect::<Vec<_>>(), [("billing", "spiffe://acme.example/svc/billing")]);
    }
}
