//! What an operation says of itself, cut into entries that fit.

use prost::Message;

use super::entry;
use crate::{
    id::Tenant,
    proto::stored::{self, Outcome, Verdict},
};

/// The bytes of a subject's alias.
pub const ALIAS_BYTES: usize = 16;

/// One or more encoded entries about one request, all of one tenant.
#[derive(Debug)]
pub struct Record {
    pub(super) tenant: Tenant,
    pub(super) entries: Vec<Vec<u8>>,
}

/// A request that can't be recorded: its fixed part alone is longer than an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the record is too long for an entry")]
pub struct TooLong;

impl Record {
    /// Encodes a record: `common` with `targets` spread over as many entries as they need. What the writer assigns (salt,
    /// time, place) must be empty in `common`, and so must its targets, part and parts.
    ///
    /// # Errors
    /// [`TooLong`] if `common` and one target exceed [`entry::BYTES_MAX`].
    pub fn encode(tenant: &Tenant, mut common: stored::Entry, targets: Vec<stored::Target>) -> Result<Self, TooLong> {
        common.tenant = tenant.as_str().to_owned();
        // Part numbers take at most 2 × (2 + 5) bytes.
        let room = entry::BYTES_MAX.checked_sub(common.encoded_len() + entry::WRITER_BYTES_MAX + 14).ok_or(TooLong)?;
        let mut parts: Vec<Vec<stored::Target>> = vec![Vec::new()];
        let mut used = 0;
        for target in targets {
            let bytes = target.encoded_len();
            // A tag of one byte, a length of at most three.
            let bytes = bytes + 4;
            if bytes > room {
                return Err(TooLong);
            }
            if used + bytes > room {
                parts.push(Vec::new());
                used = 0;
            }
            used += bytes;
            if let Some(part) = parts.last_mut() {
                part.push(target);
            }
        }
        let count = u32::try_from(parts.len()).map_err(|_| TooLong)?;
        let entries = parts
            .into_iter()
            .zip(1..)
            .map(|(targets, part)| {
                common.targets = targets;
                if count > 1 {
                    common.part = part;
                    common.parts = count;
                }
                common.encode_to_vec()
            })
            .collect();
        Ok(Self { tenant: tenant.clone(), entries })
    }

    /// How many entries the record takes.
    pub fn parts(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn bytes(&self) -> usize {
        self.entries.iter().map(Vec::len).sum()
    }
}

/// Groups fields that ended alike.
#[derive(Debug, Default)]
pub struct Targets {
    groups: Vec<Group>,
}

#[derive(Debug)]
struct Group {
    object: String,
    action: &'static str,
    outcome: Outcome,
    count: u32,
    aliases: Vec<[u8; ALIAS_BYTES]>,
}

impl Targets {
    /// Counts one field of `object`. `action` is empty where the operation says it already; `alias` is absent where no
    /// record of the subject was read.
    pub fn add(&mut self, object: &str, action: &'static str, outcome: Outcome, alias: Option<[u8; ALIAS_BYTES]>) {
        // A request has few groups, and its fields come in runs: look at the newest first.
        let found = self
            .groups
            .iter_mut()
            .rev()
            .find(|group| group.outcome == outcome && group.action == action && group.object == object);
        let group = match found {
            Some(group) => group,
            None => {
                let group = Group { object: object.to_owned(), action, outcome, count: 0, aliases: Vec::new() };
                self.groups.push_mut(group)
            }
        };
        group.count = group.count.saturating_add(1);
        if let Some(alias) = alias
            && group.aliases.last() != Some(&alias)
        {
            group.aliases.push(alias);
        }
    }

    /// What all of it together came to: a refusal of each field, of some, or of none. That a value was bad is no refusal.
    pub fn verdict(&self) -> Verdict {
        let denied = self.groups.iter().filter(|group| group.outcome == Outcome::Denied).count();
        match denied {
            0 => Verdict::Allow,
            all if all == self.groups.len() => Verdict::Deny,
            _ => Verdict::Partial,
        }
    }

    /// The groups as they are stored: aliases sorted, so that their order tells nothing of the request's.
    pub fn finish(self) -> Vec<stored::Target> {
        self.groups.into_iter().flat_map(Group::targets).collect()
    }
}

impl Group {
    /// One target, or several where its aliases alone would fill an entry; the first carries the count that is left over.
    fn targets(mut self) -> Vec<stored::Target> {
        self.aliases.sort_unstable();
        self.aliases.dedup();
        let target = |count, aliases: &[[u8; ALIAS_BYTES]]| stored::Target {
            object: self.object.clone(),
            outcome: self.outcome.into(),
            count,
            aliases: aliases.concat(),
            action: self.action.to_owned(),
        };
        let (first, rest) = self.aliases.split_at_checked(TARGET_ALIASES_MAX).unwrap_or((&self.aliases, &[]));
        let in_rest = u32::try_from(rest.len()).unwrap_or(u32::MAX);
        let mut targets = vec![target(self.count.saturating_sub(in_rest), first)];
        targets.extend(
            rest.chunks(TARGET_ALIASES_MAX)
                .map(|aliases| target(u32::try_from(aliases.len()).unwrap_or(u32::MAX), aliases)),
        );
        targets
    }
}

/// Aliases in one target, at most: 32,000 bytes.
const TARGET_ALIASES_MAX: usize = 2_000;

#[cfg(test)]
mod tests {
    use super::*;

    fn tenant() -> Tenant {
        Tenant::parse("acme").unwrap()
    }

    #[test]
    fn a_short_record_is_one_entry_without_part_numbers() {
        let mut targets = Targets::default();
        targets.add("pii/account/email", "", Outcome::Sealed, Some([2; 16]));
        targets.add("pii/account/email", "", Outcome::Sealed, Some([1; 16]));
        targets.add("pii/account/email", "", Outcome::Denied, None);
        let record = Record::encode(&tenant(), stored::Entry::default(), targets.finish()).unwrap();
        assert_eq!(record.parts(), 1);
        let entry = stored::Entry::decode(record.entries[0].as_slice()).unwrap();
        assert_eq!((entry.part, entry.parts, entry.tenant.as_str()), (0, 0, "acme"));
        assert_eq!(entry.targets[0].aliases, [[1; 16], [2; 16]].concat());
        assert_eq!((entry.targets[0].count, entry.targets[1].count), (2, 1));
    }

    #[test]
    fn a_long_record_is_cut_into_numbered_parts_that_each_fit() {
        let mut targets = Targets::default();
        for n in 0..1_000 {
            targets.add(&format!("pii/{n:032}/{n:032}/{n:032}/{n:032}"), "decrypt", Outcome::Allowed, Some([0; 16]));
        }
        let record = Record::encode(&tenant(), stored::Entry::default(), targets.finish()).unwrap();
        assert!(record.parts() > 1);
        let mut seen = 0;
        for (n, bytes) in record.entries.iter().enumerate() {
            assert!(bytes.len() + entry::WRITER_BYTES_MAX <= entry::BYTES_MAX);
            let entry = stored::Entry::decode(bytes.as_slice()).unwrap();
            assert_eq!((entry.part as usize, entry.parts as usize), (n + 1, record.parts()));
            seen += entry.targets.len();
        }
        assert_eq!(seen, 1_000);
    }

    #[test]
    fn ten_thousand_subjects_are_recorded_whole() {
        let mut targets = Targets::default();
        for n in 0..10_000_u32 {
            let alias = [n.to_be_bytes(); 4].concat().try_into().unwrap();
            targets.add("pii/account/email", "", Outcome::Sealed, Some(alias));
            targets.add("pii/account/email", "", Outcome::Sealed, Some(alias));
        }
        let record = Record::encode(&tenant(), stored::Entry::default(), targets.finish()).unwrap();
        let entries = record.entries.iter().map(|bytes| stored::Entry::decode(bytes.as_slice()).unwrap());
        let targets: Vec<_> = entries.flat_map(|entry| entry.targets).collect();
        assert_eq!(targets.iter().map(|target| target.count).sum::<u32>(), 20_000);
        assert_eq!(targets.iter().map(|target| target.aliases.len()).sum::<usize>(), 160_000);
    }

    #[test]
    fn the_verdict_is_of_what_became_of_the_fields() {
        let verdict = |outcomes: &[Outcome]| {
            let mut targets = Targets::default();
            outcomes.iter().for_each(|outcome| targets.add("pii/account/email", "", *outcome, None));
            targets.verdict()
        };
        assert_eq!(verdict(&[Outcome::Denied, Outcome::Denied]), Verdict::Deny);
        assert_eq!(verdict(&[Outcome::Denied, Outcome::Masked]), Verdict::Partial);
        assert_eq!(verdict(&[Outcome::Masked, Outcome::InvalidCiphertext]), Verdict::Allow);
        assert_eq!(verdict(&[]), Verdict::Allow);
    }

    #[test]
    fn a_record_that_can_never_fit_is_refused() {
        let common = stored::Entry { effect: "x".repeat(entry::BYTES_MAX), ..Default::default() };
        assert_eq!(Record::encode(&tenant(), common, vec![]).unwrap_err(), TooLong);
    }
}
