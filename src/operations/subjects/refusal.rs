//! What a request about subjects is refused for, beside what every request is.

use crate::{id::Category, proto::stored::Outcome};

/// Why nothing was changed, or shown. Holds no personal data: a hold's id is the caller's own reference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Nothing is stored for the subject, in the categories that were named.
    Unknown,
    /// A hold stops it.
    Held {
        /// The hold's id.
        hold: String,
    },
    /// There is no such hold on the subject.
    NoHold,
    /// The subject's record has no room for another hold.
    NoRoom,
    /// There is no room for another version of this category's key.
    NoVersionLeft {
        /// The category.
        category: Category,
    },
    /// The newest version is never destroyed.
    NewestVersion,
    /// There is no such erasure in this tenant.
    NoErasure,
    /// All certificates of what was to be erased don't fit an answer.
    AnswerTooLong,
    /// The caller's budget of different customers is spent.
    OverBudget {
        /// Which.
        over: &'static str,
    },
}

impl Refusal {
    /// The machine-readable reason.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Unknown => "UNKNOWN_SUBJECT",
            Self::Held { .. } => "HELD",
            Self::NoHold => "NO_HOLD",
            Self::NoRoom => "TOO_MANY_HOLDS",
            Self::NoVersionLeft { .. } => "TOO_MANY_KEY_VERSIONS",
            Self::NewestVersion => "NEWEST_KEY_VERSION",
            Self::NoErasure => "NO_ERASURE",
            Self::AnswerTooLong => "ANSWER_TOO_LONG",
            Self::OverBudget { .. } => "OVER_BUDGET",
        }
    }

    pub(in crate::operations) fn outcome(&self) -> Outcome {
        match self {
            Self::Unknown => Outcome::UnknownSubject,
            Self::Held { .. } => Outcome::Held,
            Self::OverBudget { .. } => Outcome::OverBudget,
            Self::AnswerTooLong
            | Self::NoHold
            | Self::NoRoom
            | Self::NoVersionLeft { .. }
            | Self::NewestVersion
            | Self::NoErasure => Outcome::Allowed,
        }
    }
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unknown => f.write_str("nothing is stored for this subject in these categories"),
            Self::Held { hold } => write!(f, "hold {hold} stops it; nothing was destroyed"),
            Self::NoHold => f.write_str("there is no such hold on this subject"),
            Self::NoRoom => f.write_str("there is no room for another hold on this subject; release one"),
            Self::NoVersionLeft { category } => {
                write!(f, "there is no room for another version of the key of {category}: retire old ones first")
            }
            Self::NewestVersion => f.write_str("up_to_version: the newest version stays; rotate first, or erase"),
            Self::AnswerTooLong => {
                f.write_str("subjects: their certificates don't fit an answer, nothing was erased; name fewer at once")
            }
            Self::OverBudget { over } => f.write_str(over),
            Self::NoErasure => f.write_str("there was no such erasure in this tenant"),
        }
    }
}
