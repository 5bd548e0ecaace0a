//! Machines whose power can be cut: see `powercut.c`.

use std::{
    ffi::{OsStr, OsString},
    fs,
    path::PathBuf,
    thread,
    time::Duration,
};

use super::{child::Child, files::copy_directory, shim};

/// A machine with one disk: what programs see of it, and what would survive.
pub struct Machine(tempfile::TempDir);

impl Machine {
    /// One whose disk is empty.
    pub fn new() -> Self {
        let machine = Self(tempfile::tempdir().unwrap());
        fs::create_dir(machine.real()).unwrap();
        fs::create_dir(machine.shadow()).unwrap();
        machine
    }

    /// The disk as programs see it.
    pub fn real(&self) -> PathBuf {
        self.0.path().join("real")
    }

    /// What would survive a power cut at this moment.
    pub fn shadow(&self) -> PathBuf {
        self.0.path().join("shadow")
    }

    /// Starts the ignored test `child` on it, with `PRIVET_POWERCUT_DIR` naming the disk.
    pub fn boot(&self, child: &str, more: &[(&str, OsString)]) -> Child {
        let (shim, real, shadow) = (shim::compile("powercut"), self.real(), self.shadow());
        let mut environment: Vec<(&str, &OsStr)> = vec![
            ("LD_PRELOAD", shim.as_os_str()),
            ("PRIVET_POWERCUT_DIR", real.as_os_str()),
            ("PRIVET_POWERCUT_SHADOW", shadow.as_os_str()),
        ];
        environment.extend(more.iter().map(|(name, value)| (*name, value.as_os_str())));
        let child = Child::start(child, environment);
        while !self.shadow().with_extension("ready").exists() {
            thread::sleep(Duration::from_millis(1));
        }
        child
    }

    /// A machine that starts with what survived on this one.
    pub fn after_the_cut(self) -> Self {
        let next = Self::new();
        fs::remove_dir(next.real()).unwrap();
        copy_directory(&self.shadow(), &next.real());
        next
    }
}
