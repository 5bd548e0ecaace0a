//! A machine that loses its power: `powercut.c` says what that is here.

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
    /// With an empty disk.
    pub fn new() -> Self {
        let machine = Self(tempfile::tempdir().unwrap());
        fs::create_dir(machine.real()).unwrap();
        fs::create_dir(machine.shadow()).unwrap();
        machine
    }

    /// What programs see.
    pub fn real(&self) -> PathBuf {
        self.0.path().join("real")
    }

    /// What would survive.
    pub fn shadow(&self) -> PathBuf {
        self.0.path().join("shadow")
    }

    /// Runs the ignored test `child` (its whole path) on the machine.
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

/// Hears acknowledgements, ascending numbers, until there are `enough` of them, cuts, and gives the newest.
pub fn acknowledged(child: Child, enough: u64) -> u64 {
    let mut newest = 0;
    for _ in 0..enough {
        newest = child.next_said().unwrap().parse().unwrap();
    }
    child.kill().iter().map(|said| said.parse().unwrap()).max().unwrap_or(newest)
}
