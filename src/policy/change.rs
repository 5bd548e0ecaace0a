//! Changes to a policy document: what somebody asks for, and the document that it gives.
//!
//! A change is applied to the text. Lines that it does not name stay byte for byte: comments, order, spacing, line ends. New
//! rules are written as the typed rule displays, beside their like: a grant below the last of the same grantee, a membership
//! below the last of its tenant. Either all changes apply or none does; each id is changed once, so their order is no matter.
//!
//! What comes out is text. Whether it is a sound policy is for [`Document`] to say; [`Candidate::blame`] turns what that finds
//! on a new line back into the change that wrote it.

mod draft;
mod pieces;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap};

pub use draft::{GrantDraft, MembershipDraft};

use super::{
    Document,
    grant::GrantId,
    sources::{POLICY, Sources},
};
use crate::catalogue::Problem;
use pieces::{Pieces, Rule};

/// The most changes at once.
pub const CHANGES_MAX: usize = 1_000;

/// One change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// A grant of a new id.
    AddGrant(GrantDraft),
    /// All of the grant of this id.
    ReplaceGrant(GrantDraft),
    /// A membership of a new id.
    AddMembership(MembershipDraft),
    /// All of the membership of this id.
    ReplaceMembership(MembershipDraft),
    /// The grant or the membership of this id goes.
    Remove(String),
    /// The whole text of `catalogue.toml`.
    Catalogue(String),
    /// The whole text of `assertions.toml`.
    Assertions(String),
    /// All four files. Then it is the only change.
    Document(Sources),
}

impl Change {
    /// What requests call it.
    fn name(&self) -> &'static str {
        match self {
            Self::AddGrant(_) => "add_grant",
            Self::ReplaceGrant(_) => "replace_grant",
            Self::AddMembership(_) => "add_membership",
            Self::ReplaceMembership(_) => "replace_membership",
            Self::Remove(_) => "remove",
            Self::Catalogue(_) => "catalogue",
            Self::Assertions(_) => "assertions",
            Self::Document(_) => "document",
        }
    }
}

/// The text that changes lead to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    sources: Sources,
    /// Lines of `policy.csv` that changes wrote, and the path of the change, e.g. `changes[0].add_grant`.
    written: BTreeMap<usize, String>,
}

impl Candidate {
    /// The four files' text.
    pub fn sources(&self) -> &Sources {
        &self.sources
    }

    /// The problems, with those on lines that a change wrote put to its fields: `changes[0].add_grant.action: …`.
    pub fn blame(&self, problems: Vec<Problem>) -> Vec<Problem> {
        let blamed = problems.into_iter().map(|problem| {
            let path = problem.line.filter(|_| problem.file == POLICY).and_then(|line| self.written.get(&line));
            match (path, problem.field) {
                (Some(path), Some(field)) => Problem::of_file(&format!("{path}.{}", asked_as(field)), problem.message),
                (Some(path), None) => Problem::of_file(path, problem.message),
                (None, _) => problem,
            }
        });
        blamed.collect()
    }
}

/// The field of a draft that becomes this field of a line.
fn asked_as(field: &str) -> &str {
    match field {
        "sub" => "grantee",
        "dom" => "tenant",
        "obj" => "object",
        "act" => "action",
        "pur" => "purpose",
        "nbf" => "not_before",
        "exp" => "expires",
        "eft" => "effect",
        same => same,
    }
}

/// Applies all of `changes` to a document.
///
/// # Errors
/// A [`Problem`] for each thing wrong with each change, named `changes[i].…`; nothing is applied then.
pub fn apply(base: &Document, changes: &[Change]) -> Result<Candidate, Vec<Problem>> {
    let of_changes = |message: String| Err(vec![Problem::of_file("changes", message)]);
    if !(1..=CHANGES_MAX).contains(&changes.len()) {
        return of_changes(format!("must be 1 to {CHANGES_MAX}"));
    }
    let candidate = match changes {
        [Change::Document(sources)] => Candidate { sources: sources.clone(), written: BTreeMap::new() },
        changes => Apply::new(base).all(changes)?,
    };
    if candidate.sources == base.sources {
        return of_changes("change nothing: the policy says all of it already".into());
    }
    Ok(candidate)
}

struct Apply<'a> {
    base: &'a Document,
    pieces: Pieces<'a>,
    catalogue: Option<&'a str>,
    assertions: Option<&'a str>,
    /// Which change named an id first.
    changed: HashMap<GrantId, usize>,
    problems: Vec<Problem>,
}

impl<'a> Apply<'a> {
    fn new(base: &'a Document) -> Self {
        let (pieces, changed) = (Pieces::of(base), HashMap::new());
        Self { base, pieces, catalogue: None, assertions: None, changed, problems: Vec::new() }
    }

    fn all(mut self, changes: &'a [Change]) -> Result<Candidate, Vec<Problem>> {
        for (at, change) in changes.iter().enumerate() {
            self.one(at, change);
        }
        if !self.problems.is_empty() {
            return Err(self.problems);
        }
        let (policy, written) = self.pieces.text();
        let base = &self.base.sources;
        let sources = Sources {
            model: base.model.clone(),
            policy,
            catalogue: self.catalogue.unwrap_or(&base.catalogue).to_owned(),
            assertions: self.assertions.unwrap_or(&base.assertions).to_owned(),
        };
        Ok(Candidate { sources, written })
    }

    fn one(&mut self, at: usize, change: &'a Change) {
        let path = format!("changes[{at}].{}", change.name());
        match change {
            Change::AddGrant(draft) => self.add(at, path.clone(), draft.read(&path).map(Rule::of_grant)),
            Change::ReplaceGrant(draft) => self.replace(at, path.clone(), draft.read(&path).map(Rule::of_grant)),
            Change::AddMembership(draft) => self.add(at, path.clone(), draft.read(&path).map(Rule::of_membership)),
            Change::ReplaceMembership(draft) => {
                self.replace(at, path.clone(), draft.read(&path).map(Rule::of_membership));
            }
            Change::Remove(id) => self.remove(at, &path, id),
            Change::Catalogue(text) => {
                if self.catalogue.replace(text).is_some() {
                    self.refuse(&path, "another change replaces it already");
                }
            }
            Change::Assertions(text) => {
                if self.assertions.replace(text).is_some() {
                    self.refuse(&path, "another change replaces it already");
                }
            }
            Change::Document(_) => self.refuse(&path, "must be the only change"),
        }
    }

    fn add(&mut self, at: usize, path: String, rule: Result<Rule, Vec<Problem>>) {
        let Some(rule) = self.read(rule) else { return };
        let id_path = format!("{path}.id");
        if !self.is_first(at, &id_path, &rule.id) {
            return;
        }
        match self.pieces.kind_of(&rule.id) {
            // Of which kind it is may be another tenant's matter.
            Some(_) => self.refuse(&id_path, format!("{} is taken already", rule.id)),
            None => self.pieces.add(rule, path),
        }
    }

    fn replace(&mut self, at: usize, path: String, rule: Result<Rule, Vec<Problem>>) {
        let Some(rule) = self.read(rule) else { return };
        let (id_path, wanted) = (format!("{path}.id"), rule.kind());
        if !self.is_first(at, &id_path, &rule.id) {
            return;
        }
        match self.pieces.kind_of(&rule.id) {
            Some(kind) if kind == wanted => self.pieces.replace(rule, path),
            Some(kind) => {
                self.refuse(&id_path, format!("{} is a {}, not a {}", rule.id, kind.as_str(), wanted.as_str()));
            }
            None => self.refuse(&id_path, format!("there is no {} {}", wanted.as_str(), rule.id)),
        }
    }

    fn remove(&mut self, at: usize, path: &str, id: &str) {
        let id = match GrantId::parse(id) {
            Ok(id) => id,
            Err(invalid) => return self.refuse(path, invalid.to_string()),
        };
        if self.is_first(at, path, &id) && !self.pieces.remove(&id) {
            self.refuse(path, format!("there is no grant and no membership {id}"));
        }
    }

    fn read(&mut self, rule: Result<Rule, Vec<Problem>>) -> Option<Rule> {
        rule.map_err(|problems| self.problems.extend(problems)).ok()
    }

    fn is_first(&mut self, at: usize, path: &str, id: &GrantId) -> bool {
        let first = *self.changed.entry(id.clone()).or_insert(at);
        if first != at {
            self.refuse(path, format!("changes[{first}] is about {id} already"));
        }
        first == at
    }

    fn refuse(&mut self, path: &str, message: impl Into<String>) {
        self.problems.push(Problem::of_file(path, message));
    }
}
