//! What a request is refused for because of its tenant, or about tenants, beside what every request is.

use crate::policy::date;

/// Why nothing was done. Holds no personal data: a hold's id is the caller's own reference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// There is such a tenant, or was.
    Exists,
    /// There is none, and never was.
    Unknown,
    /// There are as many as a deployment keeps.
    Full(usize),
    /// Its data belongs elsewhere.
    OtherRegion,
    /// It is to be destroyed.
    Ending {
        /// Not before this second since 1970.
        due: u64,
    },
    /// Its keys are gone.
    Destroyed,
    /// Nothing says why it should be.
    NoReason,
    /// Another person wants its end already.
    Wanted {
        /// Who.
        by: String,
    },
    /// Nobody wants its end.
    NotEnding,
    /// A hold on one of its customers stops it.
    Held {
        /// The hold's id.
        hold: String,
    },
    /// No listed person is behind the caller.
    NoPerson,
    /// The person who asked for it can't confirm it.
    SamePerson,
}

impl Refusal {
    /// The machine-readable reason.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Exists => "TENANT_EXISTS",
            Self::Unknown => "NO_TENANT",
            Self::Full(_) => "TOO_MANY_TENANTS",
            Self::OtherRegion => "OTHER_REGION",
            Self::Ending { .. } => "TENANT_ENDING",
            Self::Destroyed => "TENANT_DESTROYED",
            Self::NoReason => "NO_REASON",
            Self::Wanted { .. } => "DESTRUCTION_REQUESTED",
            Self::NotEnding => "NOT_ENDING",
            Self::Held { .. } => "HELD",
            Self::NoPerson => "NO_PERSON",
            Self::SamePerson => "SAME_PERSON",
        }
    }
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Exists => f.write_str("there is, or was, a tenant of this name; a name is used once"),
            Self::Unknown => f.write_str("there is no tenant of this name"),
            Self::Full(max) => write!(f, "there are {max} tenants, and no more are kept"),
            Self::OtherRegion => f.write_str("the tenant's data belongs to another region than this deployment"),
            Self::Ending { due } => {
                write!(f, "the tenant is to be destroyed, not before {}: cancel that to use it", date(*due))
            }
            Self::Destroyed => f.write_str("the tenant was destroyed, with all its keys"),
            Self::NoReason => f.write_str("reason: whoever asks first that a tenant be destroyed says why"),
            Self::Wanted { by } => write!(f, "{by} has asked for that already: leave the reason out to confirm it"),
            Self::NotEnding => f.write_str("nobody has asked that this tenant be destroyed"),
            Self::Held { hold } => write!(f, "hold {hold} on one of its customers stops it; nothing was destroyed"),
            Self::NoPerson => f.write_str("only a person that the catalogue lists can do this: it takes two of them"),
            Self::SamePerson => f.write_str("another listed person has to confirm it"),
        }
    }
}
