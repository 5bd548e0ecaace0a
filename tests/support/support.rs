//! What several test modules share. Nothing of this is in the shipped binary.

#![allow(dead_code, reason = "not every test binary uses everything here")]

pub mod faulty_store;
pub mod memory_store;
pub mod shim;
