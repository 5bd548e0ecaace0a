//! The gRPC services: proto → domain, one call into [`operations`](crate::operations), domain → proto. No logic.
//!
//! A handler can't answer with anything that was not recorded: [`convert`] takes [`Released`](crate::audit::Released) values
//! only. Error codes are in [`status`] and nowhere else.

pub mod admission;
mod audit;
mod authorization;
mod call;
pub mod convert;
mod encryption;
pub mod status;

use std::sync::Arc;

use crate::{
    operations::Service,
    proto::v1::{
        audit_service_server::AuditServiceServer, authorization_service_server::AuthorizationServiceServer,
        encryption_service_server::EncryptionServiceServer,
    },
};

/// All services of the public API, on one [`Service`].
#[derive(Clone)]
pub struct Api {
    service: Arc<Service>,
}

impl Api {
    /// The public API of a service.
    pub fn new(service: Arc<Service>) -> Self {
        Self { service }
    }

    /// As routes, with messages of at most `message_bytes_max` in both directions.
    pub fn routes(self, message_bytes_max: usize) -> tonic::service::Routes {
        let mut routes = tonic::service::RoutesBuilder::default();
        routes
            .add_service(
                EncryptionServiceServer::new(self.clone())
                    .max_decoding_message_size(message_bytes_max)
                    .max_encoding_message_size(answer_bytes_max(message_bytes_max)),
            )
            .add_service(
                AuthorizationServiceServer::new(self.clone())
                    .max_decoding_message_size(message_bytes_max)
                    .max_encoding_message_size(answer_bytes_max(message_bytes_max)),
            )
            .add_service(
                AuditServiceServer::new(self)
                    .max_decoding_message_size(message_bytes_max)
                    .max_encoding_message_size(answer_bytes_max(message_bytes_max)),
            );
        routes.routes()
    }
}

/// An answer may be longer than its request by what sealing adds: an answer that was recorded must also fit.
fn answer_bytes_max(message_bytes_max: usize) -> usize {
    message_bytes_max.saturating_mul(2)
}

impl std::fmt::Debug for Api {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Api")
    }
}
