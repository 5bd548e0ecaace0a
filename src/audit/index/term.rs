//! What entries are found by. A term stands for one value of one kind, of one tenant.
//!
//! ```text
//! term  first 8 bytes of SHA-256(kind (1) ‖ length of the tenant (1) ‖ tenant ‖ value), big-endian
//! ```
//!
//! Two values may share a term, so what is found by terms is a candidate and has to be checked against the entry.

use ring::digest::{Context, SHA256};

use crate::{
    audit::record::ALIAS_BYTES,
    id::Tenant,
    proto::stored::{self, Verdict},
};

/// The hash that stands for a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Term(pub(super) u64);

/// What the value of a term is. The discriminant is part of the stored format.
#[derive(Clone, Copy)]
#[repr(u8)]
enum Kind {
    Tenant = 1,
    Subject = 2,
    Principal = 3,
    Operation = 4,
    Class = 5,
    Verdict = 6,
    Reference = 7,
    LeafHash = 8,
}

impl Term {
    fn new(kind: Kind, tenant: &str, value: &[u8]) -> Self {
        let mut context = Context::new(&SHA256);
        // A tenant's name is at most 63 bytes long.
        context.update(&[kind as u8, tenant.len() as u8]);
        context.update(tenant.as_bytes());
        context.update(value);
        let digest = context.finish();
        Self(digest.as_ref().first_chunk().map_or(0, |bytes| u64::from_be_bytes(*bytes)))
    }

    fn leaf_hash(leaf_hash: &[u8; 32]) -> Self {
        Self::new(Kind::LeafHash, "", leaf_hash)
    }
}

/// One entry, as the index takes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Indexed {
    /// Its place in the log.
    pub index: u64,
    /// Microseconds since 1970; never less than the entry before.
    pub time_unix_micros: u64,
    /// RFC 6962's, of its stored bytes.
    pub leaf_hash: [u8; 32],
    /// Ascending, each once.
    pub(super) terms: Vec<Term>,
}

impl Indexed {
    /// What the entry at `index` can be found by.
    pub fn new(index: u64, leaf_hash: [u8; 32], entry: &stored::Entry) -> Self {
        let term = |kind, value: &[u8]| Term::new(kind, &entry.tenant, value);
        let mut terms = vec![
            Term::leaf_hash(&leaf_hash),
            term(Kind::Tenant, &[]),
            term(Kind::Principal, entry.principal.as_bytes()),
            term(Kind::Operation, &entry.operation.to_be_bytes()),
            term(Kind::Verdict, &entry.verdict.to_be_bytes()),
        ];
        if !entry.reference.is_empty() {
            terms.push(term(Kind::Reference, entry.reference.as_bytes()));
        }
        for target in &entry.targets {
            terms.push(term(Kind::Class, target.object.as_bytes()));
            terms.extend(target.aliases.as_chunks::<ALIAS_BYTES>().0.iter().map(|alias| term(Kind::Subject, alias)));
        }
        terms.sort_unstable();
        terms.dedup();
        Self { index, time_unix_micros: entry.time_unix_micros, leaf_hash, terms }
    }
}

/// What to find: one tenant's entries that have all of the named values. Without any, all of the tenant's.
#[derive(Clone, Debug)]
pub struct Query {
    tenant: Tenant,
    terms: Vec<Term>,
}

impl Query {
    /// All entries of a tenant.
    pub fn new(tenant: &Tenant) -> Self {
        Self { tenant: tenant.clone(), terms: Vec::new() }
    }

    /// Only those that touched the data of the subject with this alias.
    #[must_use]
    pub fn subject(self, alias: &[u8; ALIAS_BYTES]) -> Self {
        self.with(Kind::Subject, alias)
    }

    /// Only those that this principal asked for.
    #[must_use]
    pub fn principal(self, principal: &str) -> Self {
        self.with(Kind::Principal, principal.as_bytes())
    }

    /// Only those of this operation.
    #[must_use]
    pub fn operation(self, operation: stored::Operation) -> Self {
        self.with(Kind::Operation, &i32::from(operation).to_be_bytes())
    }

    /// Only those with this class, or control-plane object, among their targets.
    #[must_use]
    pub fn class(self, object: &str) -> Self {
        self.with(Kind::Class, object.as_bytes())
    }

    /// Only those that ended so.
    #[must_use]
    pub fn verdict(self, verdict: Verdict) -> Self {
        self.with(Kind::Verdict, &i32::from(verdict).to_be_bytes())
    }

    /// Only those with this reference.
    #[must_use]
    pub fn reference(self, reference: &str) -> Self {
        self.with(Kind::Reference, reference.as_bytes())
    }

    /// Every term is a tenant's own, so that of all its entries is needed only where there is no other.
    pub(super) fn terms(&self) -> Vec<Term> {
        match self.terms.as_slice() {
            [] => vec![Term::new(Kind::Tenant, self.tenant.as_str(), &[])],
            terms => terms.to_vec(),
        }
    }

    fn with(mut self, kind: Kind, value: &[u8]) -> Self {
        self.terms.push(Term::new(kind, self.tenant.as_str(), value));
        self
    }
}

/// The term of an entry's leaf hash.
pub(super) fn of_leaf_hash(leaf_hash: &[u8; 32]) -> Term {
    Term::leaf_hash(leaf_hash)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::stored::{Operation, Target};

    fn tenant(name: &str) -> Tenant {
        Tenant::parse(name).unwrap()
    }

    fn entry() -> stored::Entry {
        let target = |object: &str, aliases: &[u8]| stored::Target {
            object: object.into(),
            aliases: aliases.iter().flat_map(|alias| [*alias; ALIAS_BYTES]).collect(),
            ..Target::default()
        };
        stored::Entry {
            tenant: "acme".into(),
            principal: "spiffe://acme.example/signup".into(),
            operation: Operation::Decrypt.into(),
            verdict: Verdict::Deny.into(),
            reference: "T-1".into(),
            targets: vec![target("pii/account/email", &[1, 2]), target("pii/account/name", &[2, 3])],
            time_unix_micros: 5,
            ..stored::Entry::default()
        }
    }

    #[test]
    fn an_entry_has_the_terms_of_every_query_that_it_answers_and_no_others() {
        let indexed = Indexed::new(9, [7; 32], &entry());
        let acme = Query::new(&tenant("acme"));
        let answered = [
            acme.clone(),
            acme.clone().subject(&[1; 16]),
            acme.clone().subject(&[2; 16]).subject(&[3; 16]),
            acme.clone().principal("spiffe://acme.example/signup"),
            acme.clone().operation(Operation::Decrypt).verdict(Verdict::Deny),
            acme.clone().class("pii/account/email").class("pii/account/name"),
            acme.clone().reference("T-1"),
        ];
        for query in answered {
            assert!(query.terms().iter().all(|term| indexed.terms.contains(term)), "{query:?}");
        }
        let others = [
            Query::new(&tenant("acm")),
            Query::new(&tenant("acme2")).subject(&[1; 16]),
            acme.clone().subject(&[4; 16]),
            acme.clone().principal("pii/account/email"),
            acme.clone().operation(Operation::Encrypt),
            acme.clone().verdict(Verdict::Allow),
            acme.clone().class("T-1"),
            acme.reference(""),
        ];
        for query in others {
            assert!(!query.terms().iter().all(|term| indexed.terms.contains(term)), "{query:?}");
        }
        assert!(indexed.terms.contains(&of_leaf_hash(&[7; 32])) && !indexed.terms.contains(&of_leaf_hash(&[8; 32])));
        // One leaf hash, tenant, principal, operation, verdict and reference; two classes; three subjects.
        assert_eq!(indexed.terms.len(), 6 + 2 + 3);
    }

    #[test]
    fn a_term_never_changes() {
        // SHA-256 of 0x03, 0x04, "acme", "user:okta/anna": a run that is on a disk was written with these.
        assert_eq!(Term::new(Kind::Principal, "acme", b"user:okta/anna"), Term(TERM_OF_ANNA));
    }

    const TERM_OF_ANNA: u64 = 0x7ce7_7a30_5ae9_3b35;
}
