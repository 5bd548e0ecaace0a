//! Verifies a log from its leaves, one tenant's view of it, without trust in whoever keeps it or hands it over.
//!
//! [`Verifier`] is fed the leaves in order, and the checkpoints where they stand. It recomputes the tree of RFC 6962 and holds
//! the root against every checkpoint; follows the tenant's chain of entries, numbered without a gap, each pointing to the one
//! before; watches that time does not run back, that nobody else's entry is shown, that keys change only as announced, and
//! that bodies are missing only where the log records their deletion after the least age.
//!
//! It names the first bad entry, or the narrowest range that signed checkpoints leave. After one is found it goes on to the
//! next checkpoint before it reports, to tell whether the log's own key has signed what is wrong ([`Signed`]).
//!
//! * [`finding`] – what can be found
//! * [`state`] – what is remembered between two verifications; a log that contradicts it is forked or truncated
//!
//! What it can't see: that the log's newest entries of the tenant are withheld, until a later one of the tenant is shown, which
//! names how many came before it; and another history shown to somebody else, until the two compare checkpoints.
//!
//! It is pure and its memory is bounded, whatever it is fed.

mod chain;
pub mod finding;
mod gaps;
mod look;
pub mod state;

#[cfg(test)]
pub(crate) mod sample;
#[cfg(test)]
mod tests;

use chain::{Chain, Shown};
pub use finding::{Finding, Found, Signed};
use gaps::{Gaps, Retention};
pub use state::State;

use super::{
    announcement::{Keys, Reign},
    checkpoint::Checkpoint,
    entry,
    export::{Head, Leaf, Line, claimed_size},
    merkle::{Hash, Tree},
    note::{self, VerifierKey},
};
use crate::id::Tenant;

/// What an auditor brings along.
#[derive(Clone, Debug)]
pub struct Trust {
    /// A key of the log. Its name is the log's origin.
    pub key: VerifierKey,
    /// Whose entries these have to be; none: whosever the export says.
    pub tenant: Option<Tenant>,
    /// The least age at which bodies may be deleted.
    pub retention_days: u32,
}

/// What was verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    /// The first entry that was looked at.
    pub start: u64,
    /// How many entries the log has.
    pub size: u64,
    /// The root of its tree, which the log's key has signed.
    pub root: Hash,
    /// How many of the tenant's entries were shown.
    pub shown: u64,
    /// How many of the tenant's bodies are not there any more, as the log records.
    pub deleted: u64,
    /// What to remember. None if the export begins in the middle of the log and nothing was remembered of what came before.
    pub state: Option<State>,
}

/// Verifies leaf after leaf.
///
/// INVARIANT: the leaves before `proven` are those that a trusted key has signed.
#[derive(Debug)]
pub struct Verifier {
    origin: String,
    tenant: Tenant,
    retention: Retention,
    keys: Keys,
    /// The checkpoint of the whole, and its note.
    goal: Checkpoint,
    goal_note: String,
    /// The newest note that holds.
    checkpoint: String,
    start: u64,
    tree: Tree,
    proven: u64,
    /// Whether everything before `start` was verified once.
    whole: bool,
    own: Chain,
    system: Chain,
    newest: Option<Shown>,
    gaps: Gaps,
    remembered: Option<State>,
    shown: u64,
    /// What was found and waits for the next checkpoint.
    wrong: Option<Finding>,
}

impl Verifier {
    /// Begins with an export's head, and with what an earlier verification remembered of the same log and tenant.
    ///
    /// # Errors
    /// [`Found`] in the head, or where it contradicts what is remembered.
    pub fn begin(trust: &Trust, head: &Head, remembered: Option<State>) -> Result<Self, Found> {
        let origin = trust.key.name();
        if head.origin != origin {
            return Err(at_once(Finding::Origin { expected: origin.to_owned(), found: head.origin.clone() }));
        }
        if let Some(expected) = trust.tenant.as_ref().filter(|tenant| **tenant != head.tenant) {
            let (expected, found) = (expected.to_string(), head.tenant.to_string());
            return Err(at_once(Finding::Tenant { expected, found }));
        }
        let keys = Keys::walk(origin, &trust.key, &head.key_announcements)
            .map_err(|broken| at_once(Finding::Announcement(broken)))?;
        let size = claimed_size(&head.checkpoint).unwrap_or_default();
        let goal = open(&head.checkpoint, origin, &keys)?.ok_or(at_once(Finding::UnknownKey { size }))?;
        if goal.size() != head.end {
            return Err(at_once(Finding::HeadSize { end: head.end, size: goal.size() }));
        }
        if let Some(state) = &remembered {
            check_state(state, head, &keys)?;
        }
        let verified = remembered.as_ref().map_or(0, State::size);
        let mut verifier = Self {
            origin: origin.to_owned(),
            tenant: head.tenant.clone(),
            retention: Retention { days: trust.retention_days },
            keys,
            goal,
            goal_note: head.checkpoint.clone(),
            checkpoint: String::new(),
            start: head.start,
            tree: Tree::new(),
            proven: 0,
            whole: true,
            own: Chain::new(),
            system: Chain::new(),
            newest: None,
            gaps: Gaps::default(),
            remembered,
            shown: 0,
            wrong: None,
        };
        if let Some(state) = verifier.remembered.take_if(|state| state.size() == head.start) {
            verifier.go_on(state);
        } else if head.start > 0 {
            let edge = Tree::restore(head.start, head.edge.clone());
            // What lies between the remembered tree and this one would stay in the dark.
            let edge = edge.filter(|_| verified == 0 || verified > head.start);
            verifier.tree = edge.ok_or(at_once(Finding::Disconnected { verified, start: head.start }))?;
            (verifier.whole, verifier.own, verifier.system) = (false, Chain::joined(), Chain::joined());
        }
        Ok(verifier)
    }

    /// Takes a line of an export.
    ///
    /// # Errors
    /// As for [`leaf`](Self::leaf) and [`checkpoint`](Self::checkpoint).
    pub fn line(&mut self, line: &Line) -> Result<(), Found> {
        match line {
            Line::Leaf(index, leaf) => self.leaf(*index, leaf),
            Line::Checkpoint(note) => self.checkpoint(note),
        }
    }

    /// Takes the leaf at `index`.
    ///
    /// # Errors
    /// [`Found`]: there is no going on. What is wrong within an entry is told at the next checkpoint.
    pub fn leaf(&mut self, index: u64, leaf: &Leaf) -> Result<(), Found> {
        let (expected, end) = (self.tree.size(), self.goal.size());
        if expected == end {
            return Err(self.stop(Finding::PastEnd { end }));
        }
        if index != expected {
            return Err(self.stop(Finding::Order { expected, found: index }));
        }
        if self.wrong.is_none() {
            self.wrong = self.look(index, leaf).err();
        }
        self.tree.push(match leaf {
            Leaf::Raw(bytes) => entry::leaf_hash(bytes),
            Leaf::Hash(hash) => *hash,
        });
        if let Some(state) = self.remembered.take_if(|state| state.size() == self.tree.size()) {
            self.meet(state);
        }
        Ok(())
    }

    /// Takes a checkpoint of the log of all leaves so far.
    ///
    /// # Errors
    /// [`Found`].
    pub fn checkpoint(&mut self, note: &str) -> Result<(), Found> {
        let (size, at) = (claimed_size(note).unwrap_or_default(), self.tree.size());
        let checkpoint = open(note, &self.origin, &self.keys).map_err(|found| self.stop(found.finding))?;
        if size != at {
            return Err(self.stop(Finding::CheckpointMisplaced { size, at, proven: self.proven }));
        }
        // Before the trusted key's reign a checkpoint proves nothing to this auditor.
        checkpoint.map_or(Ok(()), |checkpoint| self.prove(checkpoint.root(), note))
    }

    /// Ends: everything has to be there, and explained.
    ///
    /// # Errors
    /// [`Found`].
    pub fn finish(mut self) -> Result<Verified, Found> {
        let (next, end) = (self.tree.size(), self.goal.size());
        if next < end {
            return Err(self.stop(Finding::CutShort { next, end }));
        }
        let root = *self.goal.root();
        let note = std::mem::take(&mut self.goal_note);
        self.prove(&root, &note)?;
        let deleted = self.gaps.explain(self.retention).map_err(|finding| Found { finding, signed: Signed::Yes })?;
        let state = self.state();
        Ok(Verified { start: self.start, size: end, root, shown: self.shown, deleted, state })
    }

    /// What to remember, right after a checkpoint was taken that holds.
    pub fn state(&self) -> Option<State> {
        let size = self.tree.size();
        // A state behind the one remembered would be a step back.
        let proven = self.proven == size && size > 0 && self.wrong.is_none() && self.remembered.is_none();
        (proven && self.whole).then(|| State {
            origin: self.origin.clone(),
            tenant: self.tenant.clone(),
            tree: self.tree.clone(),
            checkpoint: self.checkpoint.clone(),
            own: self.own,
            system: self.system,
            newest: self.newest,
            gaps: self.gaps.clone(),
            reigns: self.keys.all().filter(|reign| reign.from <= size).cloned().collect(),
        })
    }

    /// How many leaves there are so far.
    pub fn size(&self) -> u64 {
        self.tree.size()
    }

    /// Ends early for a reason from outside, unless there is an earlier one.
    pub fn stop(&mut self, finding: Finding) -> Found {
        at_once(self.wrong.take().unwrap_or(finding))
    }

    /// Holds the tree against a signed root.
    fn prove(&mut self, root: &Hash, note: &str) -> Result<(), Found> {
        let holds = *root == self.tree.root();
        let signed = if holds { Signed::Yes } else { Signed::No };
        let contradiction = (!holds).then(|| Finding::Contradiction { range: self.proven..self.tree.size() });
        if let Some(finding) = self.wrong.take().or(contradiction) {
            return Err(Found { finding, signed });
        }
        self.proven = self.tree.size();
        self.own.settle(self.proven);
        self.system.settle(self.proven);
        self.checkpoint.clear();
        self.checkpoint.push_str(note);
        Ok(())
    }

    /// Begins where the remembered verification ended.
    fn go_on(&mut self, state: State) {
        self.proven = state.size();
        let State { origin: _, tenant: _, tree, checkpoint, own, system, newest, gaps, reigns: _ } = state;
        (self.tree, self.checkpoint) = (tree, checkpoint);
        (self.own, self.system, self.newest, self.gaps) = (own, system, newest, gaps);
    }

    /// Comes, on the way from an earlier beginning, to where the remembered verification ended.
    fn meet(&mut self, state: State) {
        if let Some(range) = first_difference(&self.tree, &state.tree) {
            self.wrong.get_or_insert(Finding::Forked { range });
            return;
        }
        self.whole = true;
        if !self.own.is_known() {
            self.own = state.own;
        }
        if !self.system.is_known() {
            self.system = state.system;
        }
    }
}

/// Opens a checkpoint with the key that reigned when it was signed. `None` if that was before the trusted key's reign.
fn open(note: &str, origin: &str, keys: &Keys) -> Result<Option<Checkpoint>, Found> {
    let size = claimed_size(note).unwrap_or_default();
    let Some(key) = keys.at(size) else { return Ok(None) };
    let with = |key| Checkpoint::open(note, origin, std::slice::from_ref(key));
    with(key).map(Some).map_err(|error| {
        if error != note::Error::Unsigned.into() {
            return at_once(Finding::Checkpoint { size, error });
        }
        let signed = keys.all().any(|reign| with(&reign.key).is_ok());
        at_once(if signed { Finding::KeyOutOfReign { size } } else { Finding::UnknownKey { size } })
    })
}

/// Whether a state can be gone on from: it holds together, and the log goes at least as far and has the same keys.
fn check_state(state: &State, head: &Head, keys: &Keys) -> Result<(), Found> {
    let damaged = |what| at_once(Finding::Remembered { what });
    if state.origin != head.origin || state.tenant != head.tenant {
        return Err(damaged("it is of another log or tenant"));
    }
    if let Some(from) = keys_differ(keys, &state.reigns, state.size()) {
        return Err(at_once(Finding::KeysChanged { from }));
    }
    let checkpoint = open(&state.checkpoint, &state.origin, keys).map_err(|_| damaged("its checkpoint"))?;
    if checkpoint.is_some_and(|checkpoint| checkpoint.size() != state.size() || *checkpoint.root() != state.root()) {
        return Err(damaged("its tree"));
    }
    if head.end < state.size() {
        return Err(at_once(Finding::Truncated { size: head.end, verified: state.size() }));
    }
    Ok(())
}

/// The first size up to `size` from which another key reigns than the one accepted. What only one of the two knows, because
/// its trusted key is a later one, is no difference.
fn keys_differ(keys: &Keys, accepted: &[Reign], size: u64) -> Option<u64> {
    let accepted_at = |size| accepted.iter().rev().find(|reign| reign.from <= size).map(|reign| &reign.key);
    let changes = keys.all().chain(accepted).map(|reign| reign.from).filter(|from| *from <= size);
    let differs = |from: &u64| match (keys.at(*from), accepted_at(*from)) {
        (Some(now), Some(then)) => now != then,
        (None, _) | (_, None) => false,
    };
    changes.filter(differs).min()
}

/// The first perfect subtree in which two trees of the same size differ.
fn first_difference(one: &Tree, other: &Tree) -> Option<std::ops::Range<u64>> {
    let mut start = 0;
    for (left, right) in one.edge().iter().zip(other.edge()) {
        let end = start + (1_u64 << (one.size() - start).ilog2());
        if left != right {
            return Some(start..end);
        }
        start = end;
    }
    None
}

/// A finding that no checkpoint is waited for.
fn at_once(finding: Finding) -> Found {
    Found { finding, signed: Signed::Unknown }
}
