//! What a server's refusal, or its silence, means for the one who typed the command.

use std::{error::Error, io};

use tonic::{Code, Status};
use tonic_types::StatusExt;

use super::{
    super::failure::{Exit, Failure, Violation},
    Address,
};
use crate::proto::v1::Reason;

/// A call that failed as a whole.
impl From<Status> for Failure {
    fn from(status: Status) -> Self {
        if let Some(refused) = certificate_refused(&status) {
            return refused;
        }
        let details = status.get_error_details();
        let info = details.error_info();
        let is_stale = info.is_some_and(|info| info.reason == STALE_BASE);
        // What came into force meanwhile is to be looked at first: trying again is no help.
        let exit = if is_stale { Exit::Refused } else { exit(status.code()) };
        let failure = match exit {
            Exit::Usage => Self::usage(message(&status)),
            Exit::Unavailable => Self::unavailable(message(&status)),
            Exit::Refused | Exit::Ok => Self::refused(message(&status)),
        };
        let violations = details.bad_request().map(|bad| {
            let violation =
                |v: &tonic_types::FieldViolation| Violation { field: v.field.clone(), rule: v.description.clone() };
            bad.field_violations.iter().map(violation).collect()
        });
        let tenant = info.and_then(|info| info.metadata.get("tenant")).map(String::as_str);
        let failure = failure.violations(violations.unwrap_or_default());
        let failure = match info {
            Some(info) => failure.reason(info.reason.clone()),
            None => failure,
        };
        let hint = if is_stale { Some(STALE_HINT.to_owned()) } else { hint(status.code(), tenant) };
        match hint {
            Some(hint) => failure.hint(hint),
            None => failure,
        }
    }
}

/// A message of a stream that failed while the stream goes on.
impl From<tonic_types::pb::Status> for Failure {
    fn from(status: tonic_types::pb::Status) -> Self {
        let details = prost::Message::encode_to_vec(&status);
        Status::with_details(Code::from_i32(status.code), status.message, details.into()).into()
    }
}

/// A single field that has no result.
impl From<crate::proto::v1::FieldError> for Failure {
    fn from(error: crate::proto::v1::FieldError) -> Self {
        let reason = error.reason();
        let message = if error.message.is_empty() { "the field has no result".to_owned() } else { error.message };
        let failure = match reason {
            Reason::InvalidValue => Self::usage(message),
            Reason::Unspecified
            | Reason::Denied
            | Reason::InvalidCiphertext
            | Reason::SubjectErased
            | Reason::SubjectClosed
            | Reason::UnknownSubject
            | Reason::OverBudget => Self::refused(message),
        };
        failure.reason(reason.as_str_name().trim_start_matches("REASON_"))
    }
}

/// No connection.
pub(super) fn not_connected(address: &Address, error: &tonic::transport::Error) -> Failure {
    if let Some(refused) = certificate_refused(error) {
        return refused;
    }
    let hint = format!("is the server running at {address}? (--server HOST:PORT)");
    for cause in causes(error) {
        if let Some(tls) = cause.downcast_ref::<rustls::Error>() {
            return Failure::unavailable(format!("{address} can't be trusted: {tls}"))
                .hint("its certificate must be for this host and come from the CA of --ca");
        }
        if let Some(io) = cause.downcast_ref::<io::Error>().filter(|io| io.get_ref().is_none()) {
            let why = if io.kind() == io::ErrorKind::UnexpectedEof {
                "the connection was closed during the TLS handshake".to_owned()
            } else {
                io.to_string()
            };
            return Failure::unavailable(format!("no connection to {address}: {why}")).hint(hint);
        }
    }
    Failure::unavailable(format!("no connection to {address}")).hint(hint)
}

fn exit(code: Code) -> Exit {
    match code {
        Code::Ok => Exit::Ok,
        Code::InvalidArgument | Code::OutOfRange => Exit::Usage,
        Code::PermissionDenied
        | Code::Unauthenticated
        | Code::NotFound
        | Code::AlreadyExists
        | Code::FailedPrecondition
        | Code::Cancelled
        | Code::DataLoss => Exit::Refused,
        Code::Unavailable
        | Code::DeadlineExceeded
        | Code::ResourceExhausted
        | Code::Aborted
        | Code::Internal
        | Code::Unknown
        | Code::Unimplemented => Exit::Unavailable,
    }
}

fn message(status: &Status) -> String {
    match (status.code(), status.message(), status.source()) {
        // Made on this side: the cause says more than "transport error".
        (Code::Unavailable | Code::Unknown | Code::Internal, _, Some(_)) => {
            let cause = causes(status).last().map(ToString::to_string).unwrap_or_default();
            format!("the connection failed: {cause}")
        }
        (_, "", _) => status.code().description().to_owned(),
        (_, message, _) => message.to_owned(),
    }
}

fn hint(code: Code, tenant: Option<&str>) -> Option<String> {
    match code {
        // Without a tenant it is no grant that is missing.
        Code::PermissionDenied => tenant.map(|tenant| {
            format!(
                "an admin of tenant {tenant} can grant it; `privet check OBJECT ACTION --purpose P` says what is allowed"
            )
        }),
        Code::Unauthenticated => Some("the certificate of --identity must carry exactly one spiffe:// URI".to_owned()),
        Code::Unavailable | Code::DeadlineExceeded => Some("is the server running and healthy?".to_owned()),
        Code::ResourceExhausted => {
            Some("the server is at its limits: try again later, or ask for less at once".to_owned())
        }
        Code::Aborted => Some("try again".to_owned()),
        Code::Unimplemented => Some("does this server's version fit this client's?".to_owned()),
        Code::Ok
        | Code::Cancelled
        | Code::Unknown
        | Code::InvalidArgument
        | Code::NotFound
        | Code::AlreadyExists
        | Code::FailedPrecondition
        | Code::OutOfRange
        | Code::Internal
        | Code::DataLoss => None,
    }
}

/// In TLS 1.3 a server judges the client's certificate after the client is done, so its alert may meet the first call. Then
/// it has come through h2, which keeps only the text of an IO error: rustls names the alert at its end.
fn certificate_refused(error: &(dyn Error + 'static)) -> Option<Failure> {
    // The first is not looked at: a status's own text is the server's to choose.
    let alert = causes(error)
        .skip(1)
        .find_map(|cause| Some(cause.to_string().split_once("received fatal alert: ")?.1.to_owned()))?;
    let why = match alert.as_str() {
        "CertificateExpired" => "has expired",
        "CertificateRevoked" => "is revoked",
        "UnknownCA" => "comes from a CA that it does not know",
        "BadCertificate"
        | "UnsupportedCertificate"
        | "CertificateUnknown"
        | "CertificateRequired"
        | "AccessDenied"
        | "DecryptError" => "is not one that it accepts",
        _ => return None,
    };
    Some(
        Failure::refused(format!("the server refuses this certificate: it {why}"))
            .reason("CERTIFICATE_REFUSED")
            .hint("cert.pem of --identity must be current and come from a CA that the server trusts for clients"),
    )
}

/// An error and what caused it, outermost first. An `io::Error` hides what it holds from `source`, so it is unwrapped.
fn causes<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |error| {
        let error: &'a (dyn Error + 'static) = *error;
        match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
            Some(held) => Some(held),
            None => error.source(),
        }
    })
    .take(CAUSES_MAX)
}

const CAUSES_MAX: usize = 16;

/// The reason of a policy change that was made from another version than the one in force.
const STALE_BASE: &str = "STALE_BASE";
const STALE_HINT: &str =
    "`privet policy compare BASE` shows what came into force meanwhile; make the change from there";

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use tonic_types::ErrorDetails;

    use super::*;

    #[test]
    fn each_code_has_its_exit_code() {
        let exits = |codes: &[Code], exit| {
            for code in codes {
                assert_eq!(Failure::from(Status::new(*code, "m")).exit(), exit, "{code:?}");
            }
        };
        exits(&[Code::InvalidArgument, Code::OutOfRange], Exit::Usage);
        exits(
            &[Code::PermissionDenied, Code::Unauthenticated, Code::NotFound, Code::FailedPrecondition],
            Exit::Refused,
        );
        exits(&[Code::Unavailable, Code::DeadlineExceeded, Code::ResourceExhausted, Code::Aborted], Exit::Unavailable);
        exits(&[Code::Internal, Code::Unknown, Code::Unimplemented], Exit::Unavailable);
    }

    #[test]
    fn a_denial_names_the_tenant_to_ask() {
        let mut details = ErrorDetails::new();
        let metadata = HashMap::from([("tenant".to_owned(), "acme".to_owned())]);
        details.set_error_info("DENIED", "privet.v1", metadata);
        let text =
            Failure::from(Status::with_error_details(Code::PermissionDenied, "no grant", details)).for_people(false);
        assert!(text.contains("reason: DENIED") && text.contains("an admin of tenant acme"), "{text}");
    }

    #[test]
    fn a_bad_request_names_each_field_once_here_and_in_a_stream() {
        let mut details = ErrorDetails::new();
        details.add_bad_request_violation("fields[0].class", "must be known");
        let status = Status::with_error_details(Code::InvalidArgument, "fields[0].class: must be known", details);
        let pb: tonic_types::pb::Status = prost::Message::decode(status.details()).unwrap();
        for failure in [Failure::from(status), Failure::from(pb)] {
            assert_eq!(failure.exit(), Exit::Usage);
            assert_eq!(failure.broken().len(), 1);
            assert_eq!(failure.for_people(false).matches("must be known").count(), 1);
        }
    }

    #[test]
    fn a_field_without_result_is_refused_and_a_bad_value_is_bad_input() {
        for (reason, exit) in [
            (Reason::Denied, Exit::Refused),
            (Reason::InvalidCiphertext, Exit::Refused),
            (Reason::SubjectErased, Exit::Refused),
            (Reason::SubjectClosed, Exit::Refused),
            (Reason::OverBudget, Exit::Refused),
            (Reason::InvalidValue, Exit::Usage),
        ] {
            let error = crate::proto::v1::FieldError { reason: reason.into(), message: String::new() };
            let failure = Failure::from(error);
            assert_eq!(failure.exit(), exit, "{reason:?}");
            assert!(!failure.to_string().is_empty());
        }
    }
}
