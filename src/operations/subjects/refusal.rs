//! What a request about subjects is refused for, beside what every request is.

use crate::proto::stored::Outcome;

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
    /// There is no such erasure in this tenant.
    NoErasure,
}

impl Refusal {
    /// The machine-readable reason.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Unknown => "UNKNOWN_SUBJECT",
            Self::Held { .. } => "HELD",
            Self::NoHold => "NO_HOLD",
            Self::NoRoom => "TOO_MANY_HOLDS",
            Self::NoErasure => "NO_ERASURE",
        }
    }

    pub(super) fn outcome(&self) -> Outcome {
        match self {
            Self::Unknown => Outcome::UnknownSubject,
            Self::Held { .. } => Outcome::Held,
            Self::NoHold | Self::NoRoom | Self::NoErasure => Outcome::Allowed,
        }
    }
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unknown => f.write_str("nothing is stored for this subject in these categories"),
            Self::Held { hold } => write!(f, "hold {hold} stops it; nothing was erased"),
            Self::NoHold => f.write_str("there is no such hold on this subject"),
            Self::NoRoom => f.write_str("there is no room for another hold on this subject; release one"),
            Self::NoErasure => f.write_str("there was no such erasure in this tenant"),
        }
    }
}
