//! What several test modules share. Nothing of this is in the shipped binary.

#![allow(dead_code, reason = "not every test binary uses everything here")]

pub mod child;
pub mod clock;
pub mod deployment;
pub mod faulty_store;
pub mod files;
pub mod machine;
pub mod memory_store;
pub mod pki;
pub mod shim;
