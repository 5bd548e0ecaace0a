//! The one place with gRPC codes. Each error carries an `ErrorInfo {reason, domain "privet.v1"}`, and where they apply a
//! `BadRequest` or a `RetryInfo`; never a value.

use std::{collections::HashMap, time::Duration};

use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

use super::admission::Refused;
use crate::operations::{Failure, Refusal, policies, subjects, tenants};

/// The domain of every `ErrorInfo`.
pub const DOMAIN: &str = "privet.v1";

/// The status of a request that there is no room for.
impl From<Refused> for Status {
    fn from(refused: Refused) -> Self {
        status(Code::ResourceExhausted, &refused.to_string(), details(refused.reason(), Some(refused.retry_after())))
    }
}

/// A handler panicked. What it says stays in the log of the process.
pub fn panicked() -> Status {
    status(Code::Internal, "the request failed inside the service", details("INTERNAL", None))
}

/// A message over the limit. Sending it again never helps, so not tonic's OUT_OF_RANGE.
pub fn message_too_large(bytes_max: usize) -> Status {
    let mut details = ErrorDetails::new();
    let metadata = HashMap::from([("message_bytes_max".to_owned(), bytes_max.to_string())]);
    details.set_error_info("MESSAGE_TOO_LARGE", DOMAIN, metadata);
    status(Code::InvalidArgument, &format!("a message must be at most {bytes_max} bytes"), details)
}

/// A message that did not arrive whole in time.
pub fn message_late() -> Status {
    status(Code::DeadlineExceeded, "the message took too long to arrive", details("MESSAGE_LATE", None))
}

/// The client's deadline passed.
pub fn deadline_over() -> Status {
    let text = "the deadline is over; what was begun is finished and recorded";
    status(Code::DeadlineExceeded, text, details("DEADLINE_OVER", None))
}

/// The request did not come through the server's own layers.
pub fn not_ours() -> Status {
    status(Code::Internal, "the request did not come through the server", details("INTERNAL", None))
}

/// There are as many live tails as the server keeps.
pub fn too_many_tails() -> Status {
    let details = details("TOO_MANY_TAILS", Some(Duration::from_secs(10)));
    status(Code::ResourceExhausted, "there are too many live tails on this server", details)
}

/// The status of a request that has no answer.
pub fn of(failure: Failure) -> Status {
    match failure {
        Failure::Refused(refused) => of_refusal(refused.into_parts().0),
        Failure::Aborted => status(
            Code::Aborted,
            "the policy or a key kept changing while this was decided; try again",
            details("STATE_MOVED", Some(Duration::from_millis(100))),
        ),
        Failure::Unavailable => status(
            Code::Unavailable,
            "the access log can't be written, so nothing can be answered",
            details("LOG_UNAVAILABLE", Some(Duration::from_secs(5))),
        ),
        Failure::Indexing => status(
            Code::Unavailable,
            "the log is being indexed, so that this can't be found yet; with a receipt, send index_hint",
            details("INDEXING", Some(Duration::from_secs(5))),
        ),
        Failure::Full => status(
            Code::Unavailable,
            "the server's disk is nearly full, so that this can't be recorded and is not answered; nothing was changed",
            details("DISK_FULL", Some(Duration::from_secs(60))),
        ),
        Failure::Unreadable => status(
            Code::Unavailable,
            "what is stored can't be read, so this can't be answered; the server's own log says why",
            details("STATE_UNREADABLE", Some(Duration::from_secs(5))),
        ),
        Failure::Internal => status(Code::Internal, "internal error; nothing was released", details("INTERNAL", None)),
    }
}

fn of_refusal(refusal: Refusal) -> Status {
    match refusal {
        Refusal::Unidentified(why) => status(Code::Unauthenticated, &why.to_string(), details("UNIDENTIFIED", None)),
        Refusal::Invalid(violation) => {
            let message = format!("{}: {}", violation.field, violation.rule);
            let mut details = details("INVALID_ARGUMENT", None);
            details.add_bad_request_violation(violation.field, violation.rule);
            status(Code::InvalidArgument, &message, details)
        }
        Refusal::Denied { tenant } => {
            let message = format!("no grant of tenant {tenant} allows any of this to this caller for this purpose");
            let metadata = HashMap::from([("tenant".to_owned(), tenant.to_string())]);
            let mut details = ErrorDetails::new();
            details.set_error_info("DENIED", DOMAIN, metadata);
            status(Code::PermissionDenied, &message, details)
        }
        Refusal::NoEntry => {
            status(Code::NotFound, "the log has no such entry, or it is another tenant's", details("NO_ENTRY", None))
        }
        Refusal::Policy(refusal) => of_policy(&refusal),
        Refusal::Subject(refusal) => of_subject(&refusal),
        Refusal::Tenant(refusal) => of_tenant(&refusal),
    }
}

fn of_policy(refusal: &policies::refusal::Refusal) -> Status {
    use policies::refusal::Refusal;
    let mut details = details(refusal.reason(), None);
    let code = match refusal {
        Refusal::StaleBase { in_force } => {
            let metadata = HashMap::from([("version_in_force".to_owned(), in_force.to_string())]);
            details.set_error_info(refusal.reason(), DOMAIN, metadata);
            Code::Aborted
        }
        Refusal::BadPolicy { problems, .. } => {
            for problem in problems {
                details.add_bad_request_violation(problem.place(), problem.message.clone());
            }
            Code::InvalidArgument
        }
        Refusal::NoVersion | Refusal::NoProposal | Refusal::NoGlass => Code::NotFound,
        Refusal::NotTouched | Refusal::TooManyTenants(_) => Code::InvalidArgument,
        Refusal::NotOpen
        | Refusal::OtherDocument
        | Refusal::ControlLost(_)
        | Refusal::TooManyOpen(_)
        | Refusal::BrokenLately { .. }
        | Refusal::GlassEnded
        | Refusal::GlassBroken
        | Refusal::GlassReviewed => Code::FailedPrecondition,
        Refusal::SelfApproval | Refusal::Beneficiary | Refusal::NoPerson | Refusal::OwnGlass => Code::PermissionDenied,
    };
    status(code, &refusal.to_string(), details)
}

fn of_tenant(refusal: &tenants::refusal::Refusal) -> Status {
    use tenants::refusal::Refusal;
    let mut details = details(refusal.reason(), None);
    let code = match refusal {
        Refusal::Exists => Code::AlreadyExists,
        Refusal::Unknown => Code::NotFound,
        Refusal::NoPerson | Refusal::SamePerson => Code::PermissionDenied,
        Refusal::NoReason => {
            details.add_bad_request_violation("reason", "must say why");
            Code::InvalidArgument
        }
        Refusal::Full(_)
        | Refusal::OtherRegion
        | Refusal::Ending { .. }
        | Refusal::Destroyed
        | Refusal::Wanted { .. }
        | Refusal::NotEnding
        | Refusal::Held { .. } => Code::FailedPrecondition,
    };
    status(code, &refusal.to_string(), details)
}

fn of_subject(refusal: &subjects::refusal::Refusal) -> Status {
    use subjects::refusal::Refusal;
    let code = match refusal {
        Refusal::OverBudget { .. } => Code::ResourceExhausted,
        Refusal::AnswerTooLong => Code::InvalidArgument,
        Refusal::Unknown | Refusal::NoHold | Refusal::NoErasure => Code::NotFound,
        Refusal::Held { .. } | Refusal::NoRoom | Refusal::NoVersionLeft { .. } | Refusal::NewestVersion => {
            Code::FailedPrecondition
        }
    };
    status(code, &refusal.to_string(), details(refusal.reason(), None))
}

fn details(reason: &str, retry_after: Option<Duration>) -> ErrorDetails {
    let mut details = ErrorDetails::new();
    details.set_error_info(reason, DOMAIN, HashMap::new());
    if let Some(delay) = retry_after {
        details.set_retry_info(Some(delay));
    }
    details
}

fn status(code: Code, message: &str, details: ErrorDetails) -> Status {
    Status::with_error_details(code, message, details)
}
