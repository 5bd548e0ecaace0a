//! Privet stands between a company's services and its customers' personal data. Over gRPC it seals and opens PII fields
//! under keys that belong to one customer each, asks a casbin policy whether this caller may do this to that field for this
//! purpose, and writes the answer to an append-only log before it gives it.
//!
//! # The way of a request
//!
//! ```text
//! connection → principal → validate → decide (policy) → guard → keys → crypto → commit (record) → release → response
//! ```
//!
//! # Reading order
//!
//! Begin with [`operations`]: [`operations::run`] is the way above, and each file beside it is one operation from top to
//! bottom. Then what it stands on:
//!
//! | module | what it is |
//! |---|---|
//! | [`id`], [`secret`], [`clock`], [`entropy`] | names that have passed their rules; secrets as types; time and randomness, handed in |
//! | [`private`] | files that are this user's alone |
//! | [`catalogue`], [`policy`] | which data there is, and who may do what to it: casbin in immutable snapshots |
//! | [`envelope`] | the field format: bytes and keys in, bytes out |
//! | [`keyring`] | root → bucket → subject keys, found, made and cached |
//! | [`audit`] | the log: the only writer, and the only way out ([`audit::Unreleased`]) |
//! | [`store`] | the port to durable state, and sled behind it |
//! | [`identity`] | whose a connection is |
//! | [`api`], [`server`] | gRPC on our own TLS 1.3 accept loop, bounded everywhere |
//! | [`config`], [`cli`] | `privet.toml` and the command |
//!
//! Imports point down only, in the order `id … → catalogue → envelope, identity → policy, keyring, audit → store backends →
//! operations → api → server → cli`; a test checks it. What is deliberately absent: a switch that turns security off, a way to
//! write the store beside the log, and a cache that answers without its ground being checked again.

pub mod api;
pub mod audit;
pub mod catalogue;
pub mod cli;
pub mod clock;
pub mod config;
pub mod entropy;
pub mod envelope;
pub mod id;
pub mod identity;
pub mod keyring;
pub mod operations;
pub mod policy;
pub mod private;
pub mod proto;
pub mod secret;
pub mod server;
pub mod store;
