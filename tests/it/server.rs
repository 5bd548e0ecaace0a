//! The edge over real mTLS: what it lets in, what it refuses, and that everything about it ends.

mod bounds;
mod handshake;
mod harness;
mod requests;
mod shutdown;
