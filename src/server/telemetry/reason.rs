//! Why handshakes fail, as a closed set of reasons for metrics and log lines.

use std::io;

use rustls::{CertificateError, Error};

/// The reason of a failed TLS handshake.
pub(in crate::server) fn handshake_failure(error: &io::Error) -> &'static str {
    match error.get_ref().and_then(|inner| inner.downcast_ref::<Error>()) {
        Some(error) => of_tls(error),
        None => "io",
    }
}

#[expect(clippy::wildcard_enum_match_arm, reason = "rustls's errors are an open set; a reason is a label, no decision")]
fn of_tls(error: &Error) -> &'static str {
    match error {
        Error::NoCertificatesPresented => "no_certificate",
        Error::InvalidCertificate(error) => of_certificate(error),
        Error::PeerIncompatible(_) => "protocol_version",
        Error::NoApplicationProtocol => "alpn",
        Error::AlertReceived(_) => "refused_by_client",
        Error::InvalidMessage(_) | Error::InappropriateMessage { .. } | Error::InappropriateHandshakeMessage { .. } => {
            "not_tls"
        }
        _ => "tls",
    }
}

#[expect(clippy::wildcard_enum_match_arm, reason = "rustls's errors are an open set; a reason is a label, no decision")]
fn of_certificate(error: &CertificateError) -> &'static str {
    match error {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => "expired",
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => "not_yet_valid",
        CertificateError::UnknownIssuer | CertificateError::BadSignature => "unknown_ca",
        CertificateError::ApplicationVerificationFailure => "trust_domain",
        _ => "certificate",
    }
}
