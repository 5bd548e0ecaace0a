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
pub mod farewell;
mod key;
mod policy;
pub mod status;
mod subject;
mod tail;
mod tenant;

use std::sync::Arc;

use tonic::service::{Routes, RoutesBuilder};
use tonic_health::server::HealthReporter;

use crate::{
    operations::Service,
    proto::v1::{
        FILE_DESCRIPTOR_SET, audit_service_server::AuditServiceServer,
        authorization_service_server::AuthorizationServiceServer, encryption_service_server::EncryptionServiceServer,
        key_service_server::KeyServiceServer, policy_service_server::PolicyServiceServer,
        subject_service_server::SubjectServiceServer, tenant_service_server::TenantServiceServer,
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

    /// As routes, with requests of at most `message_bytes_max`: the services, health, and reflection if asked for. The
    /// reporter says whether they serve.
    ///
    /// # Errors
    /// Reflection that can't be built: a defect.
    pub fn routes(
        self,
        message_bytes_max: usize,
        reflection: bool,
    ) -> Result<(Routes, HealthReporter), tonic_reflection::server::Error> {
        // An answer may be longer than its request by what sealing adds, and one that was recorded must also fit.
        let answer_bytes_max = message_bytes_max.saturating_mul(2);
        let (reporter, health) = tonic_health::server::health_reporter();
        let encryption = EncryptionServiceServer::new(self.clone())
            .max_decoding_message_size(message_bytes_max)
            .max_encoding_message_size(answer_bytes_max);
        let authorization = AuthorizationServiceServer::new(self.clone())
            .max_decoding_message_size(message_bytes_max)
            .max_encoding_message_size(answer_bytes_max);
        let policy = PolicyServiceServer::new(self.clone())
            .max_decoding_message_size(message_bytes_max)
            .max_encoding_message_size(answer_bytes_max);
        let subjects = SubjectServiceServer::new(self.clone())
            .max_decoding_message_size(message_bytes_max)
            .max_encoding_message_size(answer_bytes_max);
        let keys = KeyServiceServer::new(self.clone())
            .max_decoding_message_size(message_bytes_max)
            .max_encoding_message_size(answer_bytes_max);
        let tenants = TenantServiceServer::new(self.clone())
            .max_decoding_message_size(message_bytes_max)
            .max_encoding_message_size(answer_bytes_max);
        let audit = AuditServiceServer::new(self)
            .max_decoding_message_size(message_bytes_max)
            .max_encoding_message_size(answer_bytes_max);
        let mut routes = RoutesBuilder::default();
        routes
            .add_service(encryption)
            .add_service(authorization)
            .add_service(policy)
            .add_service(subjects)
            .add_service(keys)
            .add_service(tenants)
            .add_service(audit)
            .add_service(health);
        if reflection {
            let service = tonic_reflection::server::Builder::configure()
                .register_encoded_file_descriptor_set(FILE_DESCRIPTOR_SET)
                .build_v1()?;
            routes.add_service(service);
        }
        Ok((routes.routes(), reporter))
    }
}

impl std::fmt::Debug for Api {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Api")
    }
}
