//! The names that metrics may carry: the API's methods, and gRPC's codes.

use std::{collections::HashMap, sync::LazyLock};

use prost::Message;
use prost_types::FileDescriptorSet;
use tonic::Code;

use crate::proto::v1::FILE_DESCRIPTOR_SET;

/// A request's path as `package.Service/Method` if the API has such a method; else `other`.
pub(in crate::server) fn label(path: &str) -> &'static str {
    METHODS.get(path).copied().unwrap_or("other")
}

/// The full names of the API's services.
pub(in crate::server) fn services() -> impl Iterator<Item = String> {
    described().into_iter().map(|(service, _)| service)
}

/// A code's name.
pub(in crate::server) fn code(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}

static METHODS: LazyLock<HashMap<String, &'static str>> = LazyLock::new(|| {
    let ours = described()
        .into_iter()
        .flat_map(|(service, methods)| methods.into_iter().map(move |method| format!("/{service}/{method}")));
    // Leaked once: the set is as large as the API.
    ours.chain(HEALTH.map(str::to_owned))
        .map(|path| {
            let label: &'static str = path.trim_start_matches('/').to_owned().leak();
            (path, label)
        })
        .collect()
});

fn described() -> Vec<(String, Vec<String>)> {
    // Written by our own build; if it can't be read, every method is `other`.
    let files = FileDescriptorSet::decode(FILE_DESCRIPTOR_SET).unwrap_or_default().file;
    let services = files.into_iter().flat_map(|file| {
        let package = file.package().to_owned();
        file.service.into_iter().map(move |service| {
            let methods = service.method.iter().map(|method| method.name().to_owned()).collect();
            (format!("{package}.{}", service.name()), methods)
        })
    });
    services.collect()
}

const HEALTH: [&str; 2] = ["/grpc.health.v1.Health/Check", "/grpc.health.v1.Health/Watch"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn methods_of_the_api_are_labels_and_nothing_else_is() {
        assert_eq!(label("/privet.v1.EncryptionService/Encrypt"), "privet.v1.EncryptionService/Encrypt");
        assert_eq!(label("/grpc.health.v1.Health/Check"), "grpc.health.v1.Health/Check");
        for path in ["/privet.v1.EncryptionService/encrypt", "/", "", "/anna@example.com", "privet.v1.X/Y"] {
            assert_eq!(label(path), "other", "{path}");
        }
        assert!(services().any(|service| service == "privet.v1.AuthorizationService"));
    }
}
