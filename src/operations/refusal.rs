//! How requests and fields fail.

use super::{Service, Violation, describe, policies, subjects, tenants};
use crate::{
    audit::{self, Record, Refused, Released, tally},
    id::Tenant,
    identity::{Caller, Connection, Unidentified},
    proto::stored::{Operation, Outcome},
};

/// Refusals of callers nobody knows, recorded one by one each second; more are counted.
const UNIDENTIFIED_EACH_MAX: u32 = 10;
/// Malformed requests of one principal, likewise.
const INVALID_EACH_MAX: u32 = 10;
/// Denials of one principal, likewise.
const DENIED_EACH_MAX: u32 = 100;

/// Why a request was refused as a whole. Holds no personal data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The caller's certificate names no principal.
    Unidentified(Unidentified),
    /// It is no request.
    Invalid(Violation),
    /// Nothing of it is allowed.
    Denied {
        /// The tenant whose admins can grant it.
        tenant: Tenant,
    },
    /// The log has no such entry.
    NoEntry,
    /// The policy is not changed like that, or has no such part.
    Policy(policies::refusal::Refusal),
    /// Nothing like that is done to the subject.
    Subject(subjects::refusal::Refusal),
    /// Nothing like that is done in, or to, the tenant.
    Tenant(tenants::refusal::Refusal),
}

impl audit::Refusal for Refusal {}

impl From<policies::refusal::Refusal> for Refusal {
    fn from(refusal: policies::refusal::Refusal) -> Self {
        Self::Policy(refusal)
    }
}

impl From<subjects::refusal::Refusal> for Refusal {
    fn from(refusal: subjects::refusal::Refusal) -> Self {
        Self::Subject(refusal)
    }
}

impl From<tenants::refusal::Refusal> for Refusal {
    fn from(refusal: tenants::refusal::Refusal) -> Self {
        Self::Tenant(refusal)
    }
}

impl Refusal {
    /// The machine-readable reason.
    pub(super) fn reason(&self) -> &'static str {
        match self {
            Self::Unidentified(_) => "UNIDENTIFIED",
            Self::Invalid(_) => "INVALID_ARGUMENT",
            Self::Denied { .. } => "DENIED",
            Self::NoEntry => "NO_ENTRY",
            Self::Policy(refusal) => refusal.reason(),
            Self::Subject(refusal) => refusal.reason(),
            Self::Tenant(refusal) => refusal.reason(),
        }
    }
}

/// Why a request has no answer.
#[derive(Debug)]
pub enum Failure {
    /// It was refused, and the refusal is recorded.
    Refused(Released<Refusal>),
    /// What it rests on moved each time it was decided.
    Aborted,
    /// The log or the store can't be used.
    Unavailable,
    /// The disk is nearly full.
    Full,
    /// The log is not indexed far enough to search it.
    Indexing,
    /// Keys or entries in the store can't be read.
    Unreadable,
    /// A defect; nothing was released.
    Internal,
}

/// Why an attempt ended without an answer.
#[derive(Debug)]
pub enum Halt {
    /// Something moved: decide again.
    Stale,
    /// Nothing of it is allowed: to be recorded and refused.
    Denied(Denied),
    /// It is allowed and can't be had: to be recorded and refused.
    Refused(Box<Refusing>),
    /// It is allowed, and nothing is done in the tenant: to be recorded and refused.
    Tenant(tenants::refusal::Refusal),
    /// No further attempt helps.
    Failed(Failure),
}

/// A request that is refused, with its record.
#[derive(Debug)]
pub struct Denied {
    pub(super) tenant: Tenant,
    pub(super) record: Record,
}

/// A request that is allowed and can't be had, with its record.
#[derive(Debug)]
pub struct Refusing {
    pub(super) record: Record,
    /// The policy by which it is allowed: what it is refused for is told to nobody else. `None` where anybody may ask.
    pub(super) policy: Option<(u64, Option<u64>)>,
    pub(super) refusal: Refusal,
}

/// Why one field has no result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FieldError {
    /// The cause.
    pub reason: Reason,
    /// Names the rule; never a value.
    pub message: &'static str,
}

/// The causes a field can fail for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// No grant allows it.
    Denied,
    /// Not a ciphertext of this tenant, subject, class and context.
    InvalidCiphertext,
    /// The subject's key for this category was destroyed.
    Erased,
    /// The subject was closed.
    Closed,
    /// Nothing was ever sealed for this subject and category.
    UnknownSubject,
    /// The value is not one of its class.
    InvalidValue,
    /// A key's budget of seals, or the caller's of different customers, is spent.
    OverBudget,
}

impl FieldError {
    pub(super) const DENIED: Self =
        Self { reason: Reason::Denied, message: "no grant allows this to this caller for this purpose" };
    pub(super) const INVALID_CIPHERTEXT: Self = Self {
        reason: Reason::InvalidCiphertext,
        message: "not a ciphertext of this tenant, subject, class and context",
    };
    pub(super) const ERASED: Self =
        Self { reason: Reason::Erased, message: "this subject's key for this category was destroyed" };
    pub(super) const CLOSED: Self =
        Self { reason: Reason::Closed, message: "this subject is closed: reinstate it to seal for it again" };
    pub(super) const UNKNOWN_SUBJECT: Self =
        Self { reason: Reason::UnknownSubject, message: "nothing was ever sealed for this subject and category" };
    pub(super) const OVER_BUDGET: Self =
        Self { reason: Reason::OverBudget, message: "this subject and category has 64 live key versions: retire some" };

    pub(super) const OVER_MINUTE: Self = Self {
        reason: Reason::OverBudget,
        message: "this caller has reached as many different subjects as it may this minute",
    };
    pub(super) const OVER_HOUR: Self = Self {
        reason: Reason::OverBudget,
        message: "this caller has reached as many different subjects as it may this hour",
    };
    pub(super) const OVER_DAY: Self = Self {
        reason: Reason::OverBudget,
        message: "this caller has reached as many different subjects as it may this day",
    };

    /// A value that is not one of its class.
    pub(super) fn invalid_value(message: &'static str) -> Self {
        Self { reason: Reason::InvalidValue, message }
    }

    /// How the log names it.
    pub(super) fn outcome(self) -> Outcome {
        match self.reason {
            Reason::Denied => Outcome::Denied,
            Reason::InvalidCiphertext => Outcome::InvalidCiphertext,
            Reason::Erased => Outcome::SubjectErased,
            Reason::Closed => Outcome::SubjectClosed,
            Reason::UnknownSubject => Outcome::UnknownSubject,
            Reason::InvalidValue => Outcome::InvalidValue,
            Reason::OverBudget => Outcome::OverBudget,
        }
    }
}

impl Halt {
    /// A store or key that can't be read: logged here, since the answer says no more than that.
    pub(super) fn unreadable(error: &(dyn std::error::Error + 'static)) -> Self {
        tracing::error!(error, "state can't be read");
        Self::Failed(Failure::Unreadable)
    }
}

impl From<Refused> for Halt {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Stale => Self::Stale,
            Refused::TooLong => Self::Failed(Failure::Internal),
            Refused::Full => Self::Failed(Failure::Full),
            Refused::Unavailable => Self::Failed(Failure::Unavailable),
        }
    }
}

impl From<audit::record::TooLong> for Halt {
    fn from(_: audit::record::TooLong) -> Self {
        Self::Failed(Failure::Internal)
    }
}

impl Service {
    pub(super) async fn refuse_unidentified(
        &self,
        operation: Operation,
        connection: &Connection,
        why: Unidentified,
    ) -> Failure {
        let kind = tally::Kind { operation, principal: None, tenant: Tenant::system(), reason: "UNIDENTIFIED" };
        let record =
            || describe::refusal(self, operation, None, &connection.authentication, &Tenant::system(), "UNIDENTIFIED");
        self.refuse(kind, UNIDENTIFIED_EACH_MAX, record, Refusal::Unidentified(why)).await
    }

    pub(super) async fn refuse_invalid(
        &self,
        operation: Operation,
        caller: &Caller,
        tenant: Tenant,
        violation: Violation,
    ) -> Failure {
        let kind = tally::Kind {
            operation,
            principal: Some(caller.principal.clone()),
            tenant: tenant.clone(),
            reason: "INVALID_ARGUMENT",
        };
        let record = || {
            let Caller { principal, authentication, .. } = caller;
            describe::refusal(self, operation, Some(principal), authentication, &tenant, "INVALID_ARGUMENT")
        };
        self.refuse(kind, INVALID_EACH_MAX, record, Refusal::Invalid(violation)).await
    }

    /// Unless denials come in a flood, each record says what was asked.
    pub(super) async fn refuse_denied(&self, operation: Operation, caller: &Caller, denied: Denied) -> Failure {
        let Denied { tenant, record } = denied;
        let kind = tally::Kind {
            operation,
            principal: Some(caller.principal.clone()),
            tenant: tenant.clone(),
            reason: "DENIED",
        };
        self.refuse(kind, DENIED_EACH_MAX, || Some(record), Refusal::Denied { tenant }).await
    }

    /// What a request is refused for though the caller may ask it: recorded like an answer, and released by the policy that is in
    /// force then. `None` if that is another: decide again.
    pub(super) async fn refuse_answer(&self, refusing: Refusing) -> Option<Failure> {
        let Refusing { record, policy, refusal } = refusing;
        let basis = audit::Basis { policy, ..Default::default() };
        let refusal = audit::Unreleased::new(refusal);
        match self.log.commit(record, basis, audit::Effects::default(), refusal).await {
            Ok(released) => Some(Failure::Refused(released)),
            Err(Refused::Stale) => None,
            Err(Refused::TooLong) => Some(Failure::Internal),
            Err(Refused::Full) => Some(Failure::Full),
            Err(Refused::Unavailable) => Some(Failure::Unavailable),
        }
    }

    /// What is not done in a tenant that is elsewhere, or ending.
    pub(super) async fn refuse_tenant(
        &self,
        operation: Operation,
        caller: &Caller,
        tenant: Tenant,
        refusal: tenants::refusal::Refusal,
    ) -> Failure {
        let reason = refusal.reason();
        let principal = Some(caller.principal.clone());
        let kind = tally::Kind { operation, principal, tenant: tenant.clone(), reason };
        let record = || {
            let Caller { principal, authentication, .. } = caller;
            describe::refusal(self, operation, Some(principal), authentication, &tenant, reason)
        };
        self.refuse(kind, DENIED_EACH_MAX, record, refusal.into()).await
    }

    async fn refuse(
        &self,
        kind: tally::Kind,
        each_max: u32,
        record: impl FnOnce() -> Option<Record>,
        refusal: Refusal,
    ) -> Failure {
        match self.tally.refuse(&self.log, kind, each_max, record, refusal).await {
            Ok(released) => Failure::Refused(released),
            Err(Refused::TooLong) => Failure::Internal,
            Err(Refused::Full) => Failure::Full,
            // A refusal rests on nothing, so it can't be stale.
            Err(Refused::Stale | Refused::Unavailable) => Failure::Unavailable,
        }
    }
}
