//! ExportEntries: every leaf of the log in order, enough to recompute what the log has signed. The tenant's own entries and
//! those about the log itself come whole, of all others the hash.
//!
//! One message is one run of this operation, decided and recorded by itself, so that a revocation ends an export midway.

use std::sync::Arc;

use prost::Message;

use super::{
    Halt, Header, Operation, Service, Violation,
    checkpoint::signing_keys,
    consistency_proof::unproved,
    decide::Decisions,
    describe,
    validate::{self, Checked},
};
use crate::{
    audit::{Basis, Effects, Released, Unreleased, history::Leaf, record::Targets},
    id::{Action, ControlObject, Tenant},
    identity::Caller,
    policy::Snapshot,
    proto::stored::{self, Outcome},
};

/// Leaves in one message, at most.
const LEAVES_MAX: u64 = 4_096;
/// Bytes of entries in one message, at most (one entry may exceed it).
const BYTES_MAX: usize = 1 << 20;

/// What is asked: the whole export, or how it goes on.
pub struct ExportEntries {
    /// The tenant, and the request's id.
    pub header: Header,
    /// From this leaf on.
    pub start_index: u64,
    /// Up to but not including this one; 0: all that the newest checkpoint covers.
    pub end_index: u64,
    /// Whether messages have been sent already.
    pub begun: bool,
}

/// A part of an export that holds.
pub struct Asked {
    header: Checked,
    /// As it was sent, for the next part.
    sent: Header,
    start: u64,
    end: u64,
    begun: bool,
}

/// One message.
pub struct Exported {
    /// First message: of the log as far as it is exported. Later: signed when the log ended with these leaves, if one was kept.
    pub checkpoint: Option<Arc<str>>,
    /// First message: the announcements of each later log key.
    pub announcements: Vec<String>,
    /// In order; what the tenant may not read is without its body.
    pub leaves: Vec<Leaf>,
    /// The rest.
    pub next: Option<ExportEntries>,
}

impl Operation for ExportEntries {
    type Asked = Asked;
    type Answer = Exported;
    const NAME: stored::Operation = stored::Operation::ExportEntries;

    fn header(&self) -> &Header {
        &self.header
    }

    fn validate(self, service: &Service, _: &Snapshot, caller: &Caller) -> Result<Asked, Violation> {
        let header = validate::control(&self.header, caller)?;
        let size = service.log.read_point().0;
        if self.end_index > size {
            return Err(Violation::new("end_index", "must not be more than the log has entries"));
        }
        if self.end_index != 0 && self.end_index < service.log.signs_from() {
            let rule = format!("must be at least {}, from where on the newest log key signs", service.log.signs_from());
            return Err(Violation::new("end_index", rule));
        }
        let end = if self.end_index == 0 { size } else { self.end_index };
        if self.start_index > end {
            return Err(Violation::new("start_index", "must not be more than end_index, nor than the log has entries"));
        }
        Ok(Asked { header, sent: self.header, start: self.start_index, end, begun: self.begun })
    }

    fn answer_bytes_max(service: &Service) -> usize {
        BYTES_MAX.min(service.limits.message_bytes_max)
    }

    async fn attempt(service: &Service, caller: &Caller, asked: &Asked) -> Result<Released<Exported>, Halt> {
        let Asked { header, start, end, .. } = asked;

        // Decide.
        let policy = service.policy.load_full();
        let now = service.log.now_secs();
        let mut decisions = Decisions::new(policy, &caller.principal, &header.tenant, &header.purpose, now);
        let mut targets = Targets::default();
        let object = ControlObject::Audit.as_str();
        if !decisions.allows_control(ControlObject::Audit, Action::Export) {
            targets.add(object, Action::Export.as_str(), Outcome::Denied, None);
            return Err(describe::denied(service, Self::NAME, caller, header, &decisions, targets));
        }

        // Read.
        let exported = if asked.begun { part(service, asked).await? } else { first(service, asked).await? };

        // Record, and with it release.
        targets.add(object, Action::Export.as_str(), Outcome::Allowed, None);
        let until = exported.leaves.last().map_or(*start, |leaf| leaf.index + 1);
        let effect = match asked.begun {
            false => format!("from entry {start} to {end}"),
            true => format!("entries {start} to {until} of {end}"),
        };
        let record = describe::reading(service, Self::NAME, caller, header, &decisions, (targets, effect))?;
        let basis = Basis { policy: Some(decisions.basis()), ..Basis::default() };
        Ok(service.log.commit(record, basis, Effects::default(), Unreleased::new(exported)).await?)
    }
}

/// What comes before the leaves.
async fn first(service: &Service, asked: &Asked) -> Result<Exported, Halt> {
    let checkpoint = service.log.checkpoint_at(asked.end).await.map_err(unproved)?;
    let announcements = signing_keys(service).await?.announcements;
    let next = Some(rest(asked, asked.start));
    Ok(Exported { checkpoint: Some(checkpoint), announcements, leaves: Vec::new(), next })
}

/// Leaves, up to a checkpoint that was kept if there is one near.
async fn part(service: &Service, asked: &Asked) -> Result<Exported, Halt> {
    let unreadable = |error: crate::store::Error| Halt::unreadable(&error);
    let history = service.log.history();
    let end = asked.end.min(asked.start.saturating_add(LEAVES_MAX));
    let (mut leaves, mut bytes, mut next) = (Vec::new(), 0, asked.start);
    let bytes_max = BYTES_MAX.min(service.limits.message_bytes_max / 2);
    while next < end && bytes < bytes_max {
        for leaf in history.leaves(next..end).await.map_err(unreadable)? {
            if bytes >= bytes_max {
                break;
            }
            next = leaf.index + 1;
            let leaf = shown(leaf, &asked.header.tenant)?;
            bytes += leaf.body.as_ref().map_or(0, Vec::len) + 48;
            leaves.push(leaf);
        }
    }
    let mut checkpoint = None;
    if let Some((size, kept)) = history.kept_checkpoint(asked.start, next).await.map_err(unreadable)? {
        // What follows it comes with the next message.
        leaves.retain(|leaf| leaf.index < size);
        next = size;
        checkpoint = Some(kept);
    }
    let next = (next < asked.end).then(|| rest(asked, next));
    Ok(Exported { checkpoint, announcements: Vec::new(), leaves, next })
}

fn rest(asked: &Asked, start_index: u64) -> ExportEntries {
    ExportEntries { header: asked.sent.clone(), start_index, end_index: asked.end, begun: true }
}

/// A leaf as the tenant may see it.
fn shown(leaf: Leaf, tenant: &Tenant) -> Result<Leaf, Halt> {
    let Some(body) = &leaf.body else { return Ok(leaf) };
    let entry = stored::Entry::decode(body.as_slice()).map_err(|error| Halt::unreadable(&error))?;
    let whole = entry.tenant == tenant.as_str() || entry.log_change.is_some();
    Ok(if whole { leaf } else { Leaf { body: None, ..leaf } })
}

impl std::fmt::Debug for Exported {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Exported").field("leaves", &self.leaves.len()).finish_non_exhaustive()
    }
}
