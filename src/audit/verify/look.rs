//! What the verifier looks for within a leaf.

use prost::Message;

use super::{
    Leaf, Verifier,
    chain::Shown,
    finding::Finding,
    gaps::{Deletion, Gap},
};
use crate::proto::stored::{Entry, LogChange, Operation};

impl Verifier {
    /// Looks at a leaf that is next in order.
    pub(super) fn look(&mut self, index: u64, leaf: &Leaf) -> Result<(), Finding> {
        match leaf {
            Leaf::Raw(bytes) => {
                let entry = Entry::decode(bytes.as_slice()).map_err(|_| Finding::Unreadable { index })?;
                self.entry(index, &entry)
            }
            // The entry that announces a key is shown to everybody, unless its body was deleted.
            Leaf::Hash(_) if self.keys.begun_at(index).is_some() => {
                self.gaps.add(Gap { first: index, end: index + 1, missing: 0, witness: None })
            }
            Leaf::Hash(_) => Ok(()),
        }
    }

    fn entry(&mut self, index: u64, entry: &Entry) -> Result<(), Finding> {
        let own = entry.tenant == self.tenant.as_str();
        let of_system = entry.tenant == SYSTEM;
        let about_the_log = of_system && entry.log_change.is_some();
        if !own && !about_the_log {
            return Err(Finding::Foreign { index });
        }
        if let Some(newest) = self.newest.filter(|newest| newest.time_unix_micros > entry.time_unix_micros) {
            return Err(Finding::TimeRunsBack { index, after: newest.index });
        }
        self.newest = Some(Shown { index, time_unix_micros: entry.time_unix_micros });
        if own {
            self.shown = self.shown.saturating_add(1);
            if let Some(gap) = self.own.follow(index, entry)? {
                self.gaps.add(gap)?;
            }
        } else {
            // Of the system's entries a tenant is shown a few.
            self.system.follow(index, entry)?;
        }
        match &entry.log_change {
            Some(change) if of_system => self.log_change(index, entry, change),
            Some(_) => Err(Finding::LogChange { index }),
            None if self.keys.begun_at(index).is_some() => Err(Finding::Unrecorded { index }),
            None => Ok(()),
        }
    }

    fn log_change(&mut self, index: u64, entry: &Entry, change: &LogChange) -> Result<(), Finding> {
        let operation = entry.operation();
        if operation == Operation::RotateLogKey {
            return self.key_change(index, change);
        }
        if self.keys.begun_at(index).is_some() {
            return Err(Finding::Unrecorded { index });
        }
        let deletes = operation == Operation::DeleteEntries;
        let LogChange { first_index, end_index, newest_time_unix_micros, .. } = *change;
        // Only what was there before can have been sealed or deleted.
        let holds = first_index < end_index
            && end_index <= index
            && newest_time_unix_micros <= entry.time_unix_micros
            && (deletes || operation == Operation::SealSegment);
        if !holds {
            return Err(Finding::LogChange { index });
        }
        if deletes {
            self.gaps.deleted(Deletion {
                by: index,
                first: first_index,
                end: end_index,
                newest_time_unix_micros,
                time_unix_micros: entry.time_unix_micros,
            });
        }
        Ok(())
    }

    /// A new key is the announced one, and the key that the log begins with is its first. What came before the trusted key is
    /// nothing that this auditor can check.
    fn key_change(&self, index: u64, change: &LogChange) -> Result<(), Finding> {
        let before = self.keys.all().next().is_some_and(|first| index.saturating_add(1) < first.from);
        let begins = (index == 0).then(|| self.keys.at(0)).flatten();
        match self.keys.begun_at(index).map(|reign| &reign.key).or(begins) {
            Some(key) if key.to_string() == change.verifier_key => Ok(()),
            None if before => Ok(()),
            Some(_) | None => Err(Finding::Unannounced { index }),
        }
    }
}

const SYSTEM: &str = "_system";
