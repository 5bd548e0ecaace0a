//! How two policy documents differ: rule by rule and field by field where the text is rules, line by line elsewhere.
//!
//! INVARIANT: a diff is empty only for the same text. What no rule and no other file shows (comments, order, spacing) is a
//! change of `policy.csv` itself: reviewers read that, too.

mod lines;
mod text;

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use super::{
    Document,
    change::{Change, GrantDraft, MembershipDraft},
    csv::Line,
    grant::{Grant, GrantId, Membership, date},
    sources::{ASSERTIONS, CATALOGUE, MODEL, POLICY},
};
use lines::{Edit, edits};

/// The most lines of a file that a diff shows.
pub const LINES_SHOWN_MAX: usize = 1_000;

/// What one document has and the other hasn't.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diff {
    /// Of `policy.csv`'s `p` lines.
    pub grants: Differences<Grant>,
    /// Of its `g` lines.
    pub memberships: Differences<Membership>,
    /// The files that differ otherwise: the model, the catalogue, the assertions, and what is no rule in `policy.csv`.
    pub files: Vec<FileChange>,
}

/// Rules that differ, by id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Differences<T> {
    /// Ids that are new, in the order of the file.
    pub added: Vec<Arc<T>>,
    /// Ids that are gone, in the order of the file.
    pub removed: Vec<Arc<T>>,
    /// Ids that stayed, of rules that did not; in the order of the file.
    pub changed: Vec<Changed<T>>,
}

/// A rule that is not what it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Changed<T> {
    /// What it was.
    pub before: Arc<T>,
    /// What it is.
    pub after: Arc<T>,
    /// The fields that differ; at least one.
    pub fields: Vec<FieldChange>,
}

/// A field of a rule that is not what it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldChange {
    /// Its name, as requests have it.
    pub field: &'static str,
    /// What it was, for people; moments are dates, or `always` and `never`.
    pub before: String,
    /// What it is.
    pub after: String,
}

/// A file that is not what it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileChange {
    /// How problems name it.
    pub file: &'static str,
    /// How many lines are new.
    pub added: usize,
    /// How many lines are gone.
    pub removed: usize,
    /// The first [`LINES_SHOWN_MAX`] of them, each behind a `+` or a `-`.
    pub lines: Vec<String>,
}

impl Diff {
    /// The difference of two documents.
    pub fn between(before: &Document, after: &Document) -> Self {
        let grants =
            Differences::between(&before.rules.grants, &after.rules.grants, |grant| &grant.id, fields_of_grant);
        let (old, new) = (&before.rules.memberships, &after.rules.memberships);
        let memberships = Differences::between(old, new, |membership| &membership.id, fields_of_membership);
        let files = [
            FileChange::between(MODEL, &all(&before.sources.model), &all(&after.sources.model)),
            FileChange::between(
                POLICY,
                &other_lines(before, &grants, &memberships, Side::Before),
                &other_lines(after, &grants, &memberships, Side::After),
            ),
            FileChange::between(CATALOGUE, &all(&before.sources.catalogue), &all(&after.sources.catalogue)),
            FileChange::between(ASSERTIONS, &all(&before.sources.assertions), &all(&after.sources.assertions)),
        ];
        Self { grants, memberships, files: files.into_iter().flatten().collect() }
    }

    /// Whether both are the same text.
    pub fn is_empty(&self) -> bool {
        self.grants.is_empty() && self.memberships.is_empty() && self.files.is_empty()
    }

    /// The changes that make this difference again, on a document where all that it touches is as it was before. `None` for one
    /// that no changes make: of the model, or of what is no rule in `policy.csv`.
    pub fn changes(&self, after: &Document) -> Option<Vec<Change>> {
        let Self { grants, memberships, files } = self;
        let added = grants.added.iter().map(|grant| Change::AddGrant(GrantDraft::of(grant)));
        let changed = grants.changed.iter().map(|changed| Change::ReplaceGrant(GrantDraft::of(&changed.after)));
        let joined = memberships.added.iter().map(|member| Change::AddMembership(MembershipDraft::of(member)));
        let other = memberships.changed.iter();
        let other = other.map(|changed| Change::ReplaceMembership(MembershipDraft::of(&changed.after)));
        let gone = grants.removed.iter().map(|grant| &grant.id);
        let gone = gone.chain(memberships.removed.iter().map(|membership| &membership.id));
        let gone = gone.map(|id| Change::Remove(id.to_string()));
        let mut changes: Vec<Change> = gone.chain(added).chain(changed).chain(joined).chain(other).collect();
        for file in files {
            changes.push(match file.file {
                CATALOGUE => Change::Catalogue(after.sources.catalogue.clone()),
                ASSERTIONS => Change::Assertions(after.sources.assertions.clone()),
                _ => return None,
            });
        }
        Some(changes)
    }

    /// The ids of rules that are new or not what they were.
    pub(super) fn written(&self) -> HashSet<&GrantId> {
        let Self { grants, memberships, .. } = self;
        let of_grants = grants.added.iter().chain(grants.changed.iter().map(|changed| &changed.after));
        let of_memberships = memberships.added.iter().chain(memberships.changed.iter().map(|changed| &changed.after));
        of_grants.map(|grant| &grant.id).chain(of_memberships.map(|membership| &membership.id)).collect()
    }
}

impl<T: PartialEq> Differences<T> {
    fn between(
        before: &[Line<T>],
        after: &[Line<T>],
        id: fn(&T) -> &GrantId,
        fields: fn(&T) -> Vec<(&'static str, String)>,
    ) -> Self {
        let old: HashMap<&GrantId, &Arc<T>> = before.iter().map(|line| (id(&line.rule), &line.rule)).collect();
        let new: HashSet<&GrantId> = after.iter().map(|line| id(&line.rule)).collect();
        let gone = before.iter().filter(|line| !new.contains(id(&line.rule)));
        let mut differences =
            Self { added: Vec::new(), removed: gone.map(|line| Arc::clone(&line.rule)).collect(), changed: Vec::new() };
        for rule in after.iter().map(|line| &line.rule) {
            match old.get(id(rule)) {
                None => differences.added.push(Arc::clone(rule)),
                Some(was) if *was != rule => {
                    let pairs = fields(was).into_iter().zip(fields(rule));
                    let differ = pairs.filter(|((_, before), (_, after))| before != after);
                    let fields =
                        differ.map(|((field, before), (_, after))| FieldChange { field, before, after }).collect();
                    let (before, after) = (Arc::clone(was), Arc::clone(rule));
                    differences.changed.push(Changed { before, after, fields });
                }
                Some(_) => {}
            }
        }
        differences
    }
}

impl<T> Differences<T> {
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.added.is_empty() && self.removed.is_empty() && self.changed.is_empty()
    }

    /// Every rule that is there in one document and not in the other: what was, and what is.
    pub fn rules(&self) -> impl Iterator<Item = &Arc<T>> {
        let changed = self.changed.iter().flat_map(|changed| [&changed.before, &changed.after]);
        self.added.iter().chain(&self.removed).chain(changed)
    }
}

impl FileChange {
    fn between(file: &'static str, before: &[&str], after: &[&str]) -> Option<Self> {
        let edits = edits(before, after);
        let count = |of: fn(&Edit<'_>) -> bool| edits.iter().filter(|edit| of(edit)).count();
        let shown = |mark: char, line: &str| format!("{mark}{}", line.trim_end_matches(['\n', '\r']));
        let lines = edits.iter().take(LINES_SHOWN_MAX).map(|edit| match edit {
            Edit::Removed(line) => shown('-', line),
            Edit::Added(line) => shown('+', line),
        });
        (!edits.is_empty()).then(|| Self {
            file,
            added: count(|edit| matches!(edit, Edit::Added(_))),
            removed: count(|edit| matches!(edit, Edit::Removed(_))),
            lines: lines.collect(),
        })
    }
}

#[derive(Clone, Copy)]
enum Side {
    Before,
    After,
}

/// The lines of `policy.csv` apart from those of rules that differ.
fn other_lines<'a>(
    document: &'a Document,
    grants: &Differences<Grant>,
    memberships: &Differences<Membership>,
    side: Side,
) -> Vec<&'a str> {
    let mut differ: HashSet<&GrantId> = HashSet::new();
    match side {
        Side::Before => {
            differ.extend(grants.removed.iter().map(|grant| &grant.id));
            differ.extend(memberships.removed.iter().map(|membership| &membership.id));
        }
        Side::After => {
            differ.extend(grants.added.iter().map(|grant| &grant.id));
            differ.extend(memberships.added.iter().map(|membership| &membership.id));
        }
    }
    differ.extend(grants.changed.iter().map(|changed| &changed.after.id));
    differ.extend(memberships.changed.iter().map(|changed| &changed.after.id));
    let of_grants = document.rules.grants.iter().map(|line| (line.number, &line.rule.id));
    let of_memberships = document.rules.memberships.iter().map(|line| (line.number, &line.rule.id));
    // A rule stands on the line below its comment, and on no other.
    let skipped: HashSet<usize> = of_grants
        .chain(of_memberships)
        .filter(|(_, id)| differ.contains(id))
        .flat_map(|(number, _)| [number - 1, number])
        .collect();
    let lines = all(&document.sources.policy).into_iter().zip(1..);
    lines.filter(|(_, number)| !skipped.contains(number)).map(|(line, _)| line).collect()
}

fn all(text: &str) -> Vec<&str> {
    text.split_inclusive('\n').collect()
}

fn fields_of_grant(grant: &Grant) -> Vec<(&'static str, String)> {
    let not_before = grant.window.not_before;
    vec![
        ("grantee", grant.grantee.as_str().into()),
        ("tenant", grant.tenants.as_str().into()),
        ("object", grant.pattern.to_string()),
        ("action", grant.action.as_str().into()),
        ("purpose", grant.purposes.as_str().into()),
        ("not_before", if not_before == 0 { "always".into() } else { date(not_before) }),
        ("expires", end(grant.window.expires)),
        ("effect", grant.effect.as_str().into()),
        ("reason", grant.reason.clone()),
    ]
}

fn fields_of_membership(membership: &Membership) -> Vec<(&'static str, String)> {
    vec![
        ("member", membership.member.as_str().into()),
        ("role", membership.role.as_str().into()),
        ("tenant", membership.tenant.as_str().into()),
        ("expires", end(membership.expires)),
        ("reason", membership.reason.clone()),
    ]
}

fn end(expires: Option<u64>) -> String {
    expires.map_or_else(|| "never".into(), date)
}

#[cfg(test)]
mod tests;
