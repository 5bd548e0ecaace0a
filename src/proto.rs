//! Generated from `proto/`: the public API, and what is written to disk.

/// The public API, package `privet.v1`.
#[allow(missing_docs, clippy::all, clippy::pedantic, rustdoc::all)]
pub mod v1 {
    tonic::include_proto!("privet.v1");

    /// The descriptors of the public API, for reflection.
    pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/privet.v1.bin"));
}

/// What is written to disk, package `privet.store.v1`.
#[allow(missing_docs, clippy::all, clippy::pedantic, rustdoc::all)]
pub mod stored {
    tonic::include_proto!("privet.store.v1");
}
