//! The command line.

pub mod check_config;
pub mod client;
pub mod dev;
pub mod failure;
pub mod init;
pub mod serve;
pub mod terminal;
