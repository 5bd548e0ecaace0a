//! What a policy request is refused for, beside what every request is.

use crate::catalogue::Problem;

/// Problems named in one refusal, at most: an error of gRPC travels in headers, which are short. Simulate names all.
const PROBLEMS_MAX: usize = 20;
/// Bytes of problems in one refusal, likewise.
const PROBLEM_BYTES_MAX: usize = 4_000;

/// Why nothing was changed, or shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The change was made from a version that is not in force.
    StaleBase {
        /// The version that is.
        in_force: u64,
    },
    /// The candidate breaks rules of the policy's files.
    BadPolicy {
        /// The first of them.
        problems: Vec<Problem>,
        /// How many there are in all.
        count: usize,
    },
    /// There is no such version, or the caller may not know of it.
    NoVersion,
    /// There is no such proposal, or the caller may not know of it.
    NoProposal,
    /// The proposal has ended.
    NotOpen,
    /// Who proposed it can't approve it, under whatever name.
    SelfApproval,
    /// Who gains by it can't approve it.
    Beneficiary,
    /// Nobody knows which person the principal is.
    NoPerson,
    /// So many proposals of the person wait already.
    TooManyOpen(usize),
    /// The request names a tenant that the change does not touch.
    NotTouched,
    /// The change touches more tenants than this.
    TooManyTenants(usize),
    /// The proposal is of another document than the one that is meant.
    OtherDocument,
    /// There was no such breaking of the glass in this tenant.
    NoGlass,
    /// The person broke the glass within the last day.
    BrokenLately {
        /// When it may again, since 1970.
        until: u64,
    },
    /// What was taken is held no more.
    GlassEnded,
    /// What was taken is held still: there is nothing to review yet.
    GlassBroken,
    /// Who broke the glass does not review it, under whatever name.
    OwnGlass,
    /// It has been reviewed.
    GlassReviewed,
    /// Fewer than two persons would be left who can propose and approve.
    ControlLost(String),
}

impl Refusal {
    /// Refuses a candidate with these problems.
    pub(super) fn bad_policy(mut problems: Vec<Problem>) -> Self {
        let count = problems.len();
        let mut bytes = 0;
        let fits = |problem: &&Problem| {
            bytes += problem.place().len() + problem.message.len();
            bytes <= PROBLEM_BYTES_MAX
        };
        // At least the first: it is no longer than a line's message.
        let kept = problems.iter().take(PROBLEMS_MAX).take_while(fits).count().max(1);
        problems.truncate(kept);
        Self::BadPolicy { problems, count }
    }

    /// The machine-readable reason.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::StaleBase { .. } => "STALE_BASE",
            Self::BadPolicy { .. } => "INVALID_POLICY",
            Self::NoVersion => "NO_POLICY_VERSION",
            Self::NoProposal => "NO_PROPOSAL",
            Self::NotOpen => "PROPOSAL_NOT_OPEN",
            Self::SelfApproval => "SELF_APPROVAL",
            Self::Beneficiary => "BENEFICIARY",
            Self::NoPerson => "NO_PERSON",
            Self::TooManyOpen(_) => "TOO_MANY_OPEN_PROPOSALS",
            Self::NotTouched => "TENANT_NOT_TOUCHED",
            Self::TooManyTenants(_) => "TOO_MANY_TENANTS",
            Self::OtherDocument => "OTHER_DOCUMENT",
            Self::NoGlass => "NO_BREAK_GLASS",
            Self::BrokenLately { .. } => "BREAK_GLASS_ONCE_A_DAY",
            Self::GlassEnded => "BREAK_GLASS_ENDED",
            Self::GlassBroken => "BREAK_GLASS_NOT_ENDED",
            Self::OwnGlass => "SELF_REVIEW",
            Self::GlassReviewed => "BREAK_GLASS_REVIEWED",
            Self::ControlLost(_) => "CONTROL_LOST",
        }
    }
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::StaleBase { in_force } => {
                write!(
                    f,
                    "policy version {in_force} is in force, not the one this change was made from; nothing was changed"
                )
            }
            Self::BadPolicy { count: 1, .. } => f.write_str("the policy would have a problem; nothing was changed"),
            Self::BadPolicy { count, .. } => write!(f, "the policy would have {count} problems; nothing was changed"),
            Self::NoVersion => f.write_str("there is no such policy version"),
            Self::NoProposal => f.write_str("there is no such proposal"),
            Self::NotOpen => f.write_str("the proposal is not open any more"),
            Self::SelfApproval => f.write_str("a proposal is approved by another person than the one who proposed it"),
            Self::Beneficiary => f.write_str("a proposal is not approved by a person who gains by it"),
            Self::NoPerson => f.write_str(
                "no [[person]] of the catalogue has this principal, so it can't be told apart from other persons",
            ),
            Self::TooManyOpen(max) => {
                write!(f, "{max} proposals of this person wait for an approval: withdraw some with reject")
            }
            Self::NotTouched => {
                f.write_str("tenant: must be one that the change touches; _system for what spans tenants")
            }
            Self::TooManyTenants(max) => write!(f, "a change touches at most {max} tenants; nothing was changed"),
            Self::OtherDocument => f.write_str("the proposal is of another document than the one that was named"),
            Self::NoGlass => f.write_str("the glass was never broken under this number in this tenant"),
            Self::BrokenLately { until } => {
                let until = crate::policy::date(*until);
                write!(f, "a person breaks the glass once in 24 hours: not before {until}")
            }
            Self::GlassEnded => f.write_str("what was taken is held no more"),
            Self::GlassBroken => f.write_str("what was taken is still held: end it first, or wait until it ends"),
            Self::OwnGlass => f.write_str("who broke the glass does not review it"),
            Self::GlassReviewed => f.write_str("somebody has reviewed it already"),
            Self::ControlLost(why) => write!(f, "{why}; nothing was changed"),
        }
    }
}
