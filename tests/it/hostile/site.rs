//! A server in a process of its own, which can be killed or run under a shim.

use std::{
    env,
    ffi::OsStr,
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use privet::{entropy::SystemEntropy, keyring::root::FileRoot, server::Ended};
use tempfile::TempDir;
use tokio::{runtime::Runtime, time::timeout};

use crate::support::{
    child::{Child, say},
    deployment::{Client, Setup, connect, run, write_files},
    pki::{Ca, Leaf},
};

/// Everything that a server needs, in a directory; the server comes and goes.
pub struct Site {
    pub dir: TempDir,
    pub ca: Ca,
}

impl Site {
    pub fn new() -> Self {
        Self::with(Setup::default())
    }

    pub fn with(setup: Setup) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let ca = Ca::new("test CA");
        write_files(dir.path(), &ca, &setup);
        FileRoot::create(&dir.path().join("root"), Arc::new(SystemEntropy::open())).unwrap();
        Self { dir, ca }
    }

    /// Where the store lies unless it was moved.
    pub fn store(&self) -> PathBuf {
        self.dir.path().join("store")
    }

    /// Makes the next server use a store that lies elsewhere.
    pub fn move_store(&self, store: &Path) {
        let path = self.dir.path().join("privet.toml");
        let text = fs::read_to_string(&path).unwrap();
        let (before, rest) = text.split_once("[store]\ndir = \"").unwrap();
        let (_, after) = rest.split_once('"').unwrap();
        fs::write(&path, format!("{before}[store]\ndir = \"{}\"{after}", store.display())).unwrap();
    }

    /// Starts a server that may be killed before it serves.
    pub fn spawn(&self, environment: &[(&str, &OsStr)]) -> Child {
        let site = (SITE, self.dir.path().as_os_str());
        Child::start(CHILD, environment.iter().copied().chain([site]))
    }

    /// Starts a server and waits until it serves.
    pub fn boot(&self, environment: &[(&str, &OsStr)]) -> Node {
        Node::serving(self.spawn(environment))
    }
}

/// A server that serves.
pub struct Node {
    child: Child,
    address: SocketAddr,
}

impl Node {
    pub fn serving(child: Child) -> Self {
        let said = child.next_said().expect("the server starts");
        let address = said.strip_prefix("serving ").unwrap().parse().unwrap();
        Self { child, address }
    }

    /// A client with the SPIFFE id `spiffe://acme.example/<name>`, on a connection of its own.
    pub async fn client(&self, site: &Site, name: &str) -> Client {
        self.client_with(site, &site.ca.client(&[&format!("spiffe://acme.example/{name}")])).await
    }

    /// A client with a certificate of the test's choice.
    pub async fn client_with(&self, site: &Site, leaf: &Leaf) -> Client {
        Client { channel: connect(self.address, site.ca.client_config(Some(leaf))).await.unwrap() }
    }

    pub fn kill(self) {
        self.child.kill();
    }

    /// Waits until the server ends by itself.
    pub fn ended(self, within: Duration) -> Ended {
        let (status, said) = self.child.wait(within);
        assert!(status.success(), "{status}");
        match said.as_slice() {
            [one] if one == "ended Fault" => Ended::Fault,
            [one] if one == "ended Shutdown" => Ended::Shutdown,
            other => panic!("the child said {other:?}"),
        }
    }
}

#[test]
#[ignore = "the child of other tests"]
fn child_serves_until_it_is_killed() {
    let Some(dir) = env::var_os(SITE) else { return };
    Runtime::new().unwrap().block_on(async {
        let (running, address) = run(Path::new(&dir)).await;
        say(&format!("serving {address}"));
        // A child whose parent is gone must not stay for ever.
        let ended = timeout(Duration::from_secs(180), running.wait()).await.expect("the parent ends this").unwrap();
        say(&format!("ended {ended:?}"));
    });
}

const CHILD: &str = "hostile::site::child_serves_until_it_is_killed";
const SITE: &str = "PRIVET_TEST_SITE";
