//! The gRPC face of the service.

pub mod admission;
