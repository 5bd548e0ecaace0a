//! `assertions.toml`: what must be allowed and what must be denied, in words that people agreed on.
//!
//! Each assertion is run against the document before it takes effect, and one that fails refuses it. An assertion without
//! `at` must hold at every moment, past and to come: it is asked once for each stretch between two moments at which a line
//! begins or ends. So a document never stops being valid merely because time went by.

use serde::Deserialize;
use toml::{Spanned, value::Datetime};

use super::{
    Document, Question, Verdict, applies,
    csv::Rules,
    glass,
    grant::{Grantee, Pattern, date, secs},
    shards::Shards,
    sources::ASSERTIONS,
};
use crate::{
    catalogue::{Catalogue, Problem, line_at, toml_problem},
    id::{Action, Invalid, Object, Principal, Purpose, Tenant},
};

/// Every principal that a line names, and one that none does.
const ANYONE: &str = "anyone";
/// Every purpose, or every action that applies.
const ANY: &str = "any";
/// Nobody's principal: `.invalid` is never registered (RFC 2606).
const STRANGER: &str = "spiffe://stranger.invalid/nobody";
/// The most decisions that all assertions may take.
const QUESTIONS_MAX: usize = 250_000;

/// What asking every assertion of a document came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Assertions {
    /// Each assertion, in the order of the file.
    pub asserted: Vec<Asserted>,
    /// How many decisions that took.
    pub decisions: usize,
}

/// One assertion, and whether it holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asserted {
    /// The line that says why, from 1.
    pub line: usize,
    /// What it protects, in the words of the file.
    pub why: String,
    /// The verdict that its questions must get.
    pub expected: Verdict,
    /// How many questions it asks.
    pub questions: usize,
    /// How many of them fail.
    pub failed: usize,
    /// How the first of those fails; no name of a `user:` principal is in it.
    pub first_failure: Option<String>,
}

impl Assertions {
    /// Asks every assertion of `document`.
    ///
    /// # Errors
    /// A [`Problem`] for each assertion that can't be read, and if they take more decisions than they may.
    pub fn run(document: &Document) -> Result<Self, Vec<Problem>> {
        run(document, &Shards::new(&document.rules))
    }

    /// A problem for each assertion that does not hold.
    pub fn problems(&self) -> Vec<Problem> {
        let failed = self.asserted.iter().filter_map(|asserted| {
            let first = asserted.first_failure.as_ref()?;
            let message = format!("{} of {} questions fail; the first: {first}", asserted.failed, asserted.questions);
            Some(Problem::of_line(ASSERTIONS, asserted.line, message))
        });
        failed.collect()
    }
}

/// Asks the assertions, of what the policy says while no glass is broken.
///
/// # Errors
/// As for [`Assertions::run`].
pub(super) fn run(document: &Document, shards: &Shards) -> Result<Assertions, Vec<Problem>> {
    let Document { sources, catalogue, rules } = document;
    let unbroken = glass::unbroken(rules).map(|rules| (Shards::new(&rules), rules));
    let (shards, rules) = unbroken.as_ref().map_or((shards, rules), |(shards, rules)| (shards, rules));
    let text = &sources.assertions;
    let file: File = match toml::from_str(text) {
        Ok(file) => file,
        Err(error) => return Err(vec![toml_problem(ASSERTIONS, text, &error)]),
    };
    let mut run = Run { text, catalogue, rules, shards, asked: 0, asserted: Vec::new(), problems: Vec::new() };
    for (verdict, entries) in [(Verdict::Allow, &file.allow), (Verdict::Deny, &file.deny)] {
        for entry in entries {
            run.assertion(verdict, entry);
        }
    }
    run.asserted.sort_by_key(|asserted| asserted.line);
    let assertions = Assertions { asserted: run.asserted, decisions: run.asked };
    if run.problems.is_empty() {
        return Ok(assertions);
    }
    run.problems.extend(assertions.problems());
    run.problems.sort();
    Err(run.problems)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    allow: Vec<Entry>,
    #[serde(default)]
    deny: Vec<Entry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    why: Spanned<String>,
    who: Vec<Spanned<String>>,
    #[serde(default)]
    except: Vec<Spanned<String>>,
    tenant: Spanned<String>,
    purpose: Vec<Spanned<String>>,
    action: Vec<Spanned<String>>,
    object: Vec<Spanned<String>>,
    at: Option<Spanned<Datetime>>,
}

/// An assertion whose every name is known.
struct Assertion {
    principals: Vec<Principal>,
    tenant: Tenant,
    purposes: Vec<Purpose>,
    actions: Vec<Action>,
    objects: Vec<Object>,
    at: Option<u64>,
}

struct Run<'a> {
    text: &'a str,
    catalogue: &'a Catalogue,
    rules: &'a Rules,
    shards: &'a Shards,
    asked: usize,
    asserted: Vec<Asserted>,
    problems: Vec<Problem>,
}

impl Run<'_> {
    fn assertion(&mut self, verdict: Verdict, entry: &Entry) {
        let line = line_at(self.text, entry.why.span().start);
        if entry.why.get_ref().trim().is_empty() {
            self.refuse(&entry.why, "why", "must say what this protects".into());
        }
        let Some(assertion) = self.read(entry) else { return };
        let mut questions = 0_usize;
        let (mut failed, mut first_failure) = (0_usize, None);
        for (principal, object, action, purpose) in assertion.questions() {
            let question = Question { principal, tenant: &assertion.tenant, object, action, purpose };
            questions += 1;
            if let Some(failure) = self.fails(verdict, &question, assertion.at) {
                failed += 1;
                first_failure.get_or_insert(failure);
            }
            if self.asked > QUESTIONS_MAX {
                let message = format!("the assertions up to here take more than {QUESTIONS_MAX} decisions");
                return self.problems.push(Problem::of_line(ASSERTIONS, line, message));
            }
        }
        if questions == 0 {
            self.problems.push(Problem::of_line(ASSERTIONS, line, "asks nothing: no action applies to any object"));
        }
        let why = entry.why.get_ref().trim().to_owned();
        self.asserted.push(Asserted { line, why, expected: verdict, questions, failed, first_failure });
    }

    /// Says how `question` fails to get `verdict`, if it does: at one moment, or at any.
    fn fails(&mut self, verdict: Verdict, question: &Question<'_>, at: Option<u64>) -> Option<String> {
        let mut now = at.unwrap_or(0);
        loop {
            self.asked += 1;
            let Ok((decision, holds)) = self.shards.decide(question, now) else {
                return Some(format!("{} gets no clear answer", shown(question)));
            };
            if decision.verdict != verdict {
                let found = match decision.verdict {
                    Verdict::Allow => "is allowed",
                    Verdict::Deny => "is denied",
                };
                let when = if now == 0 { String::new() } else { format!(" from {} on", date(now)) };
                return Some(format!("{} {found}{when}", shown(question)));
            }
            if at.is_some() || holds.end == u64::MAX || self.asked > QUESTIONS_MAX {
                return None;
            }
            now = holds.end;
        }
    }

    fn read(&mut self, entry: &Entry) -> Option<Assertion> {
        let before = self.problems.len();
        let principals = self.principals(entry);
        let tenant = self.one(&entry.tenant, "tenant", Tenant::parse_or_system);
        let purposes = self.purposes(entry);
        let actions = self.actions(entry);
        let objects = self.objects(entry);
        let at = entry.at.as_ref().and_then(|at| self.moment(at));
        let complete = self.problems.len() == before;
        complete.then_some(Assertion { principals, tenant: tenant?, purposes, actions, objects, at })
    }

    fn principals(&mut self, entry: &Entry) -> Vec<Principal> {
        let except: Vec<Principal> =
            entry.except.iter().filter_map(|text| self.one(text, "except", Principal::parse_external)).collect();
        self.some(&entry.who, entry, "who");
        let mut principals = Vec::new();
        for text in &entry.who {
            if text.get_ref() == ANYONE {
                principals.extend(self.everyone());
            } else {
                principals.extend(self.one(text, "who", Principal::parse_external));
            }
        }
        principals.sort();
        principals.dedup();
        principals.retain(|principal| !except.contains(principal));
        principals
    }

    fn everyone(&self) -> Vec<Principal> {
        let granted = self.rules.grants.iter().map(|line| &line.rule.grantee);
        let members = self.rules.memberships.iter().map(|line| &line.rule.member);
        let named = granted.chain(members).filter_map(|grantee| match grantee {
            Grantee::Principal(principal) => Some(principal.clone()),
            Grantee::Role(_) => None,
        });
        named.chain(Principal::parse(STRANGER)).collect()
    }

    fn purposes(&mut self, entry: &Entry) -> Vec<Purpose> {
        self.some(&entry.purpose, entry, "purpose");
        let mut purposes = Vec::new();
        for text in &entry.purpose {
            match self.catalogue.purpose(text.get_ref()) {
                Some(purpose) => purposes.push(purpose.clone()),
                None if text.get_ref() == ANY => {
                    purposes.extend(self.catalogue.purposes().map(|spec| spec.purpose.clone()));
                }
                None => self.refuse(text, "purpose", "must be purposes of the catalogue, or any".into()),
            }
        }
        purposes
    }

    fn actions(&mut self, entry: &Entry) -> Vec<Action> {
        self.some(&entry.action, entry, "action");
        let mut actions = Vec::new();
        for text in &entry.action {
            if text.get_ref() == ANY {
                actions.extend(Action::ALL.map(|(action, _)| action));
            } else {
                actions.extend(self.one(text, "action", Action::parse));
            }
        }
        actions
    }

    fn objects(&mut self, entry: &Entry) -> Vec<Object> {
        self.some(&entry.object, entry, "object");
        let mut objects = Vec::new();
        for text in &entry.object {
            match self.one(text, "object", Pattern::parse) {
                Some(Pattern::Exact(Object::Control(object))) => objects.push(Object::Control(object)),
                Some(pattern) => {
                    let classes = self.catalogue.classes().map(|spec| Object::Class(spec.class.clone()));
                    let found: Vec<Object> = classes.filter(|class| pattern.matches(class)).collect();
                    if found.is_empty() {
                        self.refuse(text, "object", format!("{pattern} matches no class of the catalogue"));
                    }
                    objects.extend(found);
                }
                None => {}
            }
        }
        objects
    }

    fn moment(&mut self, at: &Spanned<Datetime>) -> Option<u64> {
        match secs(&at.get_ref().to_string()) {
            Ok(secs) => Some(secs),
            Err(invalid) => {
                self.problem(at.span().start, "at", invalid.to_string());
                None
            }
        }
    }

    fn one<T>(
        &mut self,
        text: &Spanned<String>,
        field: &'static str,
        parse: fn(&str) -> Result<T, Invalid>,
    ) -> Option<T> {
        parse(text.get_ref()).map_err(|invalid| self.refuse(text, field, invalid.to_string())).ok()
    }

    fn some(&mut self, list: &[Spanned<String>], entry: &Entry, field: &'static str) {
        if list.is_empty() {
            self.refuse(&entry.why, field, "must not be empty".into());
        }
    }

    fn refuse(&mut self, text: &Spanned<String>, field: &'static str, message: String) {
        self.problem(text.span().start, field, message);
    }

    fn problem(&mut self, offset: usize, field: &'static str, message: String) {
        self.problems.push(Problem::of_field(ASSERTIONS, line_at(self.text, offset), field, message));
    }
}

impl Assertion {
    /// Every question whose action applies to its object and whose purpose is of that plane.
    fn questions(&self) -> impl Iterator<Item = (&Principal, &Object, Action, &Purpose)> {
        self.principals.iter().flat_map(move |principal| {
            self.objects.iter().flat_map(move |object| {
                let fitting = self.actions.iter().copied().filter(|action| applies(*action, object));
                fitting.flat_map(move |action| {
                    self.purposes.iter().map(move |purpose| (principal, object, action, purpose))
                })
            })
        })
    }
}

/// A question for people; a `user:` principal may be a person's name and is not shown.
fn shown(question: &Question<'_>) -> String {
    let Question { principal, tenant, object, action, purpose } = question;
    let who = if principal.trust_domain().is_some() { principal.as_str() } else { "a user" };
    format!("{who}: {action} {} for {purpose} in {tenant}", object.as_str())
}
