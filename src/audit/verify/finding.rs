//! What a verification can find, in words for whoever has to act on it.

use std::ops::Range;

use super::super::{
    announcement::Broken,
    checkpoint,
    export::read::{BadLine, Place},
};

/// Something that an intact log of an honest keeper never shows.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Finding {
    /// A line of the file is wrong in itself.
    #[error(transparent)]
    Line(BadLine),
    /// The export is of another log than the key's.
    #[error("this is of the log {found:?}, and the verifier key is of {expected:?}")]
    Origin {
        /// The key's name.
        expected: String,
        /// What the export says.
        found: String,
    },
    /// The export is another tenant's.
    #[error("this shows the entries of tenant {found}, not of {expected}")]
    Tenant {
        /// Whose was asked for.
        expected: String,
        /// What the export says.
        found: String,
    },
    /// Nothing connects the export with the beginning of the log or with what was verified before.
    #[error("the export begins with entry {start}, and only what comes before entry {verified} is known")]
    Disconnected {
        /// How many entries were verified before; 0: none.
        verified: u64,
        /// Where the export begins.
        start: u64,
    },
    /// What was remembered can't be used.
    #[error("what was remembered of this log is damaged: {what}")]
    Remembered {
        /// Which part.
        what: &'static str,
    },
    /// The newest checkpoint is older than one that was verified before.
    #[error(
        "the log has {size} entries here and had {verified} when it was verified before: entries were removed, or this is an older copy"
    )]
    Truncated {
        /// How many entries there are.
        size: u64,
        /// How many were verified before.
        verified: u64,
    },
    /// What is here and what was verified before are not the same log.
    #[error("{}: not what was verified before: the log was forked, or this was changed", Entries(range))]
    Forked {
        /// The narrowest range that holds the first different entry.
        range: Range<u64>,
    },
    /// The keys are not those that were accepted before.
    #[error(
        "from {from} entries on, the log's key is another than the one accepted before, or its announcement is gone"
    )]
    KeysChanged {
        /// The size where the reigns differ.
        from: u64,
    },
    /// A key announcement.
    #[error(transparent)]
    Announcement(Broken),
    /// The head's checkpoint is of another size than the export.
    #[error("the export ends at {end} and its checkpoint is of {size} entries")]
    HeadSize {
        /// Where the export ends.
        end: u64,
        /// The checkpoint's size.
        size: u64,
    },
    /// A checkpoint is no checkpoint of this log.
    #[error("the checkpoint of {size} entries is not to be believed: {error}")]
    Checkpoint {
        /// The size it claims; 0 if it claims none.
        size: u64,
        /// Why.
        error: checkpoint::Error,
    },
    /// A checkpoint is signed by no key that follows from the trusted one.
    #[error("the checkpoint of {size} entries is signed by no key that the verifier key vouches for")]
    UnknownKey {
        /// Its size.
        size: u64,
    },
    /// A checkpoint is signed by a key of the log that was not in force.
    #[error("the checkpoint of {size} entries is signed by a key of the log that was not in force then")]
    KeyOutOfReign {
        /// Its size.
        size: u64,
    },
    /// A checkpoint stands after more or fewer entries than it speaks of.
    #[error(
        "a checkpoint of {size} entries stands after {at}: it was moved, or entries were removed or inserted since entry {proven}"
    )]
    CheckpointMisplaced {
        /// Its size.
        size: u64,
        /// How many entries stand before it.
        at: u64,
        /// How many of these are proven by the checkpoint before.
        proven: u64,
    },
    /// The signed root is another one.
    #[error("{}: not what the log signed: altered, removed, inserted or moved", Entries(range))]
    Contradiction {
        /// From the last checkpoint that holds to the first that does not.
        range: Range<u64>,
    },
    /// The indexes do not follow one another.
    #[error("entry {expected} should come here, and entry {found} does: entries were removed, inserted or moved")]
    Order {
        /// The next index.
        expected: u64,
        /// The one that came.
        found: u64,
    },
    /// Fewer entries than the head says.
    #[error("the export ends before entry {next}; it should go on to {end}")]
    CutShort {
        /// The first one missing.
        next: u64,
        /// Where it should end.
        end: u64,
    },
    /// More entries than the head says.
    #[error("entry {end} is past the end that the signed checkpoint sets")]
    PastEnd {
        /// Where it should end.
        end: u64,
    },
    /// The bytes are no entry.
    #[error("entry {index} can't be read as an entry of the log")]
    Unreadable {
        /// Which one.
        index: u64,
    },
    /// An entry that this tenant may not see is shown whole.
    #[error("entry {index} is another tenant's, and is shown whole")]
    Foreign {
        /// Which one.
        index: u64,
    },
    /// Time runs back.
    #[error("entry {index} is older than entry {after}: one of the two was altered, or time ran back")]
    TimeRunsBack {
        /// The entry.
        index: u64,
        /// The one shown before it.
        after: u64,
    },
    /// A tenant's numbers run back or repeat.
    #[error(
        "entry {index} is number {seq} of its tenant, and number {expected} is due: entries were repeated, removed or moved"
    )]
    Sequence {
        /// The entry.
        index: u64,
        /// Its number.
        seq: u64,
        /// The number due.
        expected: u64,
    },
    /// The link to the tenant's entry before leads elsewhere.
    #[error(
        "{}: the last does not point to where the tenant's entry before it stands: removed, inserted or moved",
        Entries(range)
    )]
    Link {
        /// From the last entry that is surely in its place to this one.
        range: Range<u64>,
    },
    /// Entries of the tenant are not shown and no recorded retention explains it.
    #[error("{}: {missing} of the tenant's own are not shown, and no recorded deletion covers them", Entries(range))]
    Missing {
        /// Where they are; the last of the range is one of them.
        range: Range<u64>,
        /// How many.
        missing: u64,
    },
    /// The log deleted entries before their time.
    #[error(
        "{}: entry {by} records that they were deleted, before the {days} days that entries are to be kept",
        Entries(range)
    )]
    DeletedTooYoung {
        /// Where the tenant's deleted entries are.
        range: Range<u64>,
        /// The entry that records the deletion.
        by: u64,
        /// The least age.
        days: u32,
    },
    /// The log says of deleted entries that they were older than they can have been.
    #[error("entry {by} says that what it deleted was older than entry {witness}, which is among it")]
    DeletionMisdated {
        /// The entry that records the deletion.
        by: u64,
        /// An entry of the deleted range that is younger than the newest is said to be.
        witness: u64,
    },
    /// An entry about the log itself says what can't be.
    #[error("entry {index}, about the log itself, does not hold together")]
    LogChange {
        /// Which one.
        index: u64,
    },
    /// The log's key changes and nobody announced it.
    #[error("entry {index} hands the log to another key, and no announcement that both keys signed says the same")]
    Unannounced {
        /// The entry.
        index: u64,
    },
    /// A key was announced and the log does not record it.
    #[error("a log key was announced for entry {index}, and that entry does not record it")]
    Unrecorded {
        /// The entry.
        index: u64,
    },
    /// More tenants' entries are missing than can be kept track of.
    #[error("{}: own entries of the tenant are not shown, one gap too many to wait for an explanation", Entries(range))]
    TooManyGaps {
        /// Where they are.
        range: Range<u64>,
    },
}

impl Finding {
    /// The first bad index, or the narrowest range that holds it; empty if it is not about entries.
    pub fn range(&self) -> Range<u64> {
        let one = |index: u64| index..index.saturating_add(1);
        match self {
            Self::Line(bad) => match bad.place {
                Place::Entry(index) => one(index),
                Place::Head | Place::Checkpoint(_) => 0..0,
            },
            Self::Origin { .. }
            | Self::Tenant { .. }
            | Self::Remembered { .. }
            | Self::KeysChanged { .. }
            | Self::Announcement(_)
            | Self::HeadSize { .. }
            | Self::Checkpoint { .. }
            | Self::UnknownKey { .. }
            | Self::KeyOutOfReign { .. } => 0..0,
            Self::CheckpointMisplaced { size, at, proven } => *proven..(*size).max(*at),
            Self::Disconnected { verified, start } => *verified..*start,
            Self::Truncated { size, verified } => *size..*verified,
            Self::CutShort { next, end } => *next..*end,
            Self::Forked { range }
            | Self::Contradiction { range }
            | Self::Link { range }
            | Self::Missing { range, .. }
            | Self::DeletedTooYoung { range, .. }
            | Self::TooManyGaps { range } => range.clone(),
            Self::Order { expected: index, .. }
            | Self::PastEnd { end: index }
            | Self::Unreadable { index }
            | Self::Foreign { index }
            | Self::TimeRunsBack { index, .. }
            | Self::Sequence { index, .. }
            | Self::DeletionMisdated { by: index, .. }
            | Self::LogChange { index }
            | Self::Unannounced { index }
            | Self::Unrecorded { index } => one(*index),
        }
    }

    /// The finding's name for machines.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Line(_) => "LINE",
            Self::Origin { .. } => "OTHER_LOG",
            Self::Tenant { .. } => "OTHER_TENANT",
            Self::Disconnected { .. } => "DISCONNECTED",
            Self::Remembered { .. } => "REMEMBERED_STATE_DAMAGED",
            Self::Truncated { .. } => "TRUNCATED",
            Self::Forked { .. } => "FORKED",
            Self::KeysChanged { .. } => "KEYS_CHANGED",
            Self::Announcement(_) => "KEY_ANNOUNCEMENT",
            Self::HeadSize { .. } => "CHECKPOINT_SIZE",
            Self::Checkpoint { .. } => "CHECKPOINT",
            Self::UnknownKey { .. } => "UNKNOWN_KEY",
            Self::KeyOutOfReign { .. } => "KEY_OUT_OF_REIGN",
            Self::CheckpointMisplaced { .. } => "CHECKPOINT_MISPLACED",
            Self::Contradiction { .. } => "CONTRADICTION",
            Self::Order { .. } => "ORDER",
            Self::CutShort { .. } => "CUT_SHORT",
            Self::PastEnd { .. } => "PAST_END",
            Self::Unreadable { .. } => "UNREADABLE",
            Self::Foreign { .. } => "FOREIGN_ENTRY",
            Self::TimeRunsBack { .. } => "TIME_RUNS_BACK",
            Self::Sequence { .. } => "SEQUENCE",
            Self::Link { .. } => "LINK",
            Self::Missing { .. } => "MISSING",
            Self::DeletedTooYoung { .. } => "DELETED_TOO_YOUNG",
            Self::DeletionMisdated { .. } => "DELETION_MISDATED",
            Self::LogChange { .. } => "LOG_CHANGE",
            Self::Unannounced { .. } => "KEY_NOT_ANNOUNCED",
            Self::Unrecorded { .. } => "KEY_NOT_RECORDED",
            Self::TooManyGaps { .. } => "TOO_MANY_GAPS",
        }
    }
}

/// A finding, and whose it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// What was found.
    pub finding: Finding,
    /// What the log's signature says to it.
    pub signed: Signed,
}

/// Whether the log's key has signed what is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signed {
    /// It has: whoever keeps the log has written it so.
    Yes,
    /// It has signed something else: what is here was changed after it was signed.
    No,
    /// That can't be told.
    Unknown,
}

/// A range as people say it.
struct Entries<'a>(&'a Range<u64>);

impl std::fmt::Display for Entries<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Range { start, end } = self.0;
        match end.saturating_sub(1) {
            last if last <= *start => write!(f, "entry {start}"),
            last => write!(f, "entries {start} to {last}"),
        }
    }
}
