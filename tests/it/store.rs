//! The contract of the `Store` port, and what each backend adds to it.

mod conformance;
mod faults;
mod faulty;
mod full_disk;
mod memory;
mod power_cut;
mod recovering;
mod shorthand;
mod sled;
