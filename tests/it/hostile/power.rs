//! A server whose machine loses power under load: all that was acknowledged is there after the next boot, and opens. Each boot
//! is two days later, so it seals what the one before has written. The anchor lies on a disk that loses nothing.
//! `tests/support/powercut.c` says what a power cut is here.

use std::{
    collections::BTreeSet,
    ffi::OsStr,
    fs,
    path::PathBuf,
    thread,
    time::{Duration, Instant},
};

use tempfile::TempDir;

use super::{
    left::Left,
    load::{Acknowledged, Load, Random, opening},
    site::{DAYS_AHEAD, Node, Site},
};
use crate::support::{deployment::Setup, files::copy_directory, shim};

const ROUNDS: u64 = 7;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_power_cut_under_load_loses_nothing_acknowledged() {
    let site = Site::with(Setup { config: "segment_age_max_days = 1".into(), ..Setup::default() });
    let mut disk = Disk::new();
    let mut random = Random::new(2);
    let mut all: Vec<Acknowledged> = Vec::new();
    let mut seals = BTreeSet::new();
    for round in 0..ROUNDS {
        let torn = random.below(1 << 30).to_string();
        let days = (round * 2).to_string();
        let more = [(DAYS_AHEAD, OsStr::new(&days)), ("PRIVET_POWERCUT_TORN", OsStr::new(&torn))];
        let more = if round % 2 == 0 { &more[..1] } else { &more };
        let fresh = seal_until_the_cut(&site, &disk, more, &all, 200 + random.below(300) as usize).await;
        all.extend(fresh);
        disk = disk.after_the_cut();
        let left = Left::read(site.dir.path(), &disk.store()).await.unwrap();
        assert_eq!(left.lost(&all).len(), 0, "round {round}: of {} acknowledged", all.len());
        assert_eq!(left.sealed_aliases().len(), left.subjects);
        seals.insert(left.whole.sealed_end);
    }
    assert!(all.len() > 200, "only {} were acknowledged", all.len());
    assert!(seals.len() > 1, "sealed up to {seals:?}");
    let node = disk.boot(&site, &[(DAYS_AHEAD, OsStr::new("100"))]);
    assert_eq!(opening(&node.client(&site, "tester").await, &all).await, all.len());
    node.kill();
}

/// The positive control: what the test above finds must not be there for another reason than the sync.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn without_the_sync_a_power_cut_loses_what_was_acknowledged() {
    for skip in ["fdatasync", "1"] {
        let site = Site::new();
        let disk = Disk::new();
        let skip = [("PRIVET_POWERCUT_SKIP", OsStr::new(skip))];
        let acknowledged = seal_until_the_cut(&site, &disk, &skip, &[], 50).await;
        assert!(acknowledged.len() >= 50);
        let left = disk.shadow().join("data");
        let lost = if left.exists() {
            // A store that lost its end opens; one that lost its middle may not.
            Left::read(site.dir.path(), &left).await.map_or(acknowledged.len(), |left| left.lost(&acknowledged).len())
        } else {
            acknowledged.len()
        };
        assert!(lost > 0, "{skip:?}: nothing of {} acknowledged was lost", acknowledged.len());
    }
}

/// Serves from the disk until `enough` was acknowledged, then cuts; first opens what was sealed before earlier cuts.
async fn seal_until_the_cut(
    site: &Site,
    disk: &Disk,
    environment: &[(&str, &OsStr)],
    earlier: &[Acknowledged],
    enough: usize,
) -> Vec<Acknowledged> {
    let node = disk.boot(site, environment);
    let mut clients = Vec::new();
    for _ in 0..2 {
        clients.push(node.client(site, "tester").await);
    }
    assert_eq!(opening(&clients[0], earlier).await, earlier.len());
    let load = Load::start(&clients, 16, enough as u64);
    let start = Instant::now();
    while load.acknowledged_so_far() < enough {
        assert!(start.elapsed() < Duration::from_secs(60), "{} acknowledged", load.acknowledged_so_far());
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    node.kill();
    load.end().await.0
}

/// A disk: what programs see of it, and what would survive.
struct Disk(TempDir);

impl Disk {
    fn new() -> Self {
        let disk = Self(tempfile::tempdir().unwrap());
        fs::create_dir(disk.real()).unwrap();
        fs::create_dir(disk.shadow()).unwrap();
        disk
    }

    fn real(&self) -> PathBuf {
        self.0.path().join("real")
    }

    fn shadow(&self) -> PathBuf {
        self.0.path().join("shadow")
    }

    fn store(&self) -> PathBuf {
        self.real().join("data")
    }

    /// Serves the site with its store on this disk.
    fn boot(&self, site: &Site, more: &[(&str, &OsStr)]) -> Node {
        site.move_store(&self.store());
        let (shim, real, shadow) = (shim::compile("powercut"), self.real(), self.shadow());
        let mut environment = vec![
            ("LD_PRELOAD", shim.as_os_str()),
            ("PRIVET_POWERCUT_DIR", real.as_os_str()),
            ("PRIVET_POWERCUT_SHADOW", shadow.as_os_str()),
        ];
        environment.extend(more);
        let node = site.boot(&environment);
        while !self.shadow().with_extension("ready").exists() {
            thread::sleep(Duration::from_millis(1));
        }
        node
    }

    /// The disk of a machine that starts with what survived on this one.
    fn after_the_cut(self) -> Self {
        let next = Self::new();
        fs::remove_dir(next.real()).unwrap();
        copy_directory(&self.shadow(), &next.real());
        next
    }
}
