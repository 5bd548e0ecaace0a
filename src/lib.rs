//! Privet stands between a company's services and its customers' personal data. Over gRPC it seals and opens PII fields
//! under keys that belong to one customer each, asks a casbin policy whether this caller may do this to that field for this
//! purpose, and writes the answer to an append-only log before it gives it.
//!
//! # Reading order
//!
//! A request travels one way:
//!
//! ```text
//! connection → principal → validate → decide (policy) → guard → keys → crypto → commit(record) → release → response
//! ```

pub mod audit;
pub mod catalogue;
pub mod cli;
pub mod clock;
pub mod config;
pub mod entropy;
pub mod envelope;
pub mod id;
pub mod identity;
pub mod proto;
pub mod secret;
pub mod store;
