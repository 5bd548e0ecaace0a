//! The one integration binary: each module tests a contract of the crate from outside.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unreachable,
    clippy::disallowed_methods,
    clippy::wildcard_enum_match_arm,
    reason = "tests fail by panicking"
)]

mod anchor;
mod archive;
mod command;
mod dev;
mod hostile;
mod log;
mod passphrase;
mod policies;
mod provable;
mod rights;
mod seeds;
mod segments;
mod server;
mod service;
mod store;
#[path = "../support/support.rs"]
mod support;
mod tenants;
mod tlog;
#[cfg(feature = "pkcs11")]
mod token;
mod tree;
