//! `policy.csv` taken apart into the lines of rules and the lines between them, and put together again.
//!
//! INVARIANT: a file that nothing was done to is put together as the same bytes.

use std::collections::{BTreeMap, HashMap};

use super::super::{
    Document,
    grant::{Grant, GrantId, Grantee, Membership},
};
use crate::id::Tenant;

/// What a rule is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Grant,
    Membership,
}

impl Kind {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Grant => "grant",
            Self::Membership => "membership",
        }
    }
}

/// Rules that are alike stand together.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Like {
    GrantTo(Grantee),
    MembershipIn(Tenant),
}

/// A rule to be written.
#[derive(Debug)]
pub(super) struct Rule {
    pub(super) id: GrantId,
    like: Like,
    /// Its two lines.
    text: String,
}

impl Rule {
    pub(super) fn of_grant(grant: Grant) -> Self {
        Self { text: grant.to_string(), like: Like::GrantTo(grant.grantee), id: grant.id }
    }

    pub(super) fn of_membership(membership: Membership) -> Self {
        Self { text: membership.to_string(), like: Like::MembershipIn(membership.tenant), id: membership.id }
    }

    pub(super) fn kind(&self) -> Kind {
        match self.like {
            Like::GrantTo(_) => Kind::Grant,
            Like::MembershipIn(_) => Kind::Membership,
        }
    }
}

/// The lines of a file, each with its end: a rule's two, or one that is none.
#[derive(Debug)]
enum Piece<'a> {
    Kept(&'a str, &'a str),
    Replaced(New),
    Removed,
}

/// Two lines, and the path of the change that wrote them.
#[derive(Debug)]
struct New {
    text: String,
    path: String,
}

#[derive(Debug)]
pub(super) struct Pieces<'a> {
    pieces: Vec<Piece<'a>>,
    /// What comes after a piece.
    added: HashMap<usize, Vec<New>>,
    by_id: HashMap<&'a GrantId, (usize, Kind)>,
    last_like: HashMap<Like, usize>,
    line_end: &'static str,
}

impl<'a> Pieces<'a> {
    pub(super) fn of(document: &'a Document) -> Self {
        let text = document.sources.policy.as_str();
        let grants = document.rules.grants.iter().map(|line| {
            let like = Like::GrantTo(line.rule.grantee.clone());
            (line.number, (&line.rule.id, like, Kind::Grant))
        });
        let memberships = document.rules.memberships.iter().map(|line| {
            let like = Like::MembershipIn(line.rule.tenant.clone());
            (line.number, (&line.rule.id, like, Kind::Membership))
        });
        let mut rules: HashMap<usize, (&GrantId, Like, Kind)> = grants.chain(memberships).collect();
        let mut pieces = Pieces {
            pieces: Vec::new(),
            added: HashMap::new(),
            by_id: HashMap::new(),
            last_like: HashMap::new(),
            line_end: if text.contains("\r\n") { "\r\n" } else { "\n" },
        };
        let mut lines = text.split_inclusive('\n').zip(1..).peekable();
        while let Some((line, number)) = lines.next() {
            // A rule stands on the line below its comment, and on no other.
            match rules.remove(&(number + 1)) {
                Some((id, like, kind)) => {
                    let at = pieces.pieces.len();
                    pieces.by_id.insert(id, (at, kind));
                    pieces.last_like.insert(like, at);
                    let rule = lines.next().map(|(rule, _)| rule).unwrap_or_default();
                    pieces.pieces.push(Piece::Kept(line, rule));
                }
                None => pieces.pieces.push(Piece::Kept(line, "")),
            }
        }
        pieces
    }

    pub(super) fn kind_of(&self, id: &GrantId) -> Option<Kind> {
        self.by_id.get(id).map(|(_, kind)| *kind)
    }

    /// Writes a rule below the last of its like, or else below all.
    pub(super) fn add(&mut self, rule: Rule, path: String) {
        let at = self.last_like.get(&rule.like).copied().unwrap_or(usize::MAX);
        self.added.entry(at).or_default().push(New { text: rule.text, path });
    }

    /// Writes a rule where the one of its id stands.
    pub(super) fn replace(&mut self, rule: Rule, path: String) {
        self.put(&rule.id, Piece::Replaced(New { text: rule.text, path }));
    }

    /// Leaves a rule out; false if there is none of this id.
    pub(super) fn remove(&mut self, id: &GrantId) -> bool {
        self.put(id, Piece::Removed)
    }

    fn put(&mut self, id: &GrantId, by: Piece<'a>) -> bool {
        let at = self.by_id.get(id).map(|(at, _)| *at);
        at.and_then(|at| self.pieces.get_mut(at)).map(|piece| *piece = by).is_some()
    }

    /// The whole file, and which change wrote which of its lines.
    pub(super) fn text(self) -> (String, BTreeMap<usize, String>) {
        let Self { pieces, mut added, line_end, .. } = self;
        let mut file = File { text: String::new(), lines: 0, line_end, written: BTreeMap::new() };
        for (at, piece) in pieces.into_iter().enumerate() {
            match piece {
                Piece::Kept(first, second) => file.keep(&[first, second]),
                Piece::Replaced(new) => file.write(new),
                Piece::Removed => {}
            }
            added.remove(&at).into_iter().flatten().for_each(|new| file.write(new));
        }
        added.remove(&usize::MAX).into_iter().flatten().for_each(|new| file.write(new));
        (file.text, file.written)
    }
}

struct File {
    text: String,
    lines: usize,
    line_end: &'static str,
    written: BTreeMap<usize, String>,
}

impl File {
    fn keep(&mut self, lines: &[&str]) {
        for line in lines.iter().filter(|line| !line.is_empty()) {
            self.end_line();
            self.text.push_str(line);
            self.lines += 1;
        }
    }

    fn write(&mut self, new: New) {
        for line in new.text.lines() {
            self.end_line();
            self.text.push_str(line);
            self.text.push_str(self.line_end);
            self.lines += 1;
            self.written.insert(self.lines, new.path.clone());
        }
    }

    /// Ends the last line, where the file that was read left that out.
    fn end_line(&mut self) {
        if !self.text.is_empty() && !self.text.ends_with('\n') {
            self.text.push_str(self.line_end);
        }
    }
}
