//! A server in a process of its own, which can be killed or run under a shim.

use std::{
    env,
    ffi::OsStr,
    fs::{self, File},
    io::Write,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use privet::{
    cli::serve::Machine,
    clock::Clock,
    entropy::{Entropy, Unavailable},
    server::{
        Ended,
        telemetry::logging::{self, Format},
    },
};
use tempfile::TempDir;
use tokio::{runtime::Runtime, time::timeout};

use crate::support::{
    child::{Child, say},
    deployment::{Client, Setup, connect, make_keys, run_on, write_files},
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
        make_keys(dir.path());
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

    /// Starts a server that logs all it can to one file, and writes each randomness that it draws to another.
    pub fn boot_watched(&self, log: &Path, draws: &Path) -> Node {
        let environment =
            [(SITE, self.dir.path().as_os_str()), (DRAWS, draws.as_os_str()), ("PRIVET_LOG", OsStr::new("trace"))];
        Node::serving(Child::start_with(CHILD, environment, File::create(log).unwrap().into()))
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

    /// Tells the server to end and waits until it has.
    pub fn stop(self) {
        self.child.terminate();
        assert_eq!(self.ended(Duration::from_secs(20)), Ended::Shutdown);
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
    if env::var_os("PRIVET_LOG").is_some() {
        logging::start(Format::Text, tracing::level_filters::LevelFilter::INFO).unwrap();
    }
    let mut machine = Machine::this();
    if let Some(days) = env::var(DAYS_AHEAD).ok().and_then(|days| days.parse().ok()) {
        machine.clock = Arc::new(Ahead { clock: machine.clock, days });
    }
    if let Some(path) = env::var_os(DRAWS) {
        machine.entropy = Arc::new(Recorded { source: machine.entropy, record: File::create(path).unwrap() });
    }
    Runtime::new().unwrap().block_on(async {
        let terminated = privet::server::shutdown::terminated().unwrap();
        let (running, address) = run_on(machine, Path::new(&dir)).await;
        say(&format!("serving {address}"));
        // A child whose parent is gone must not stay for ever.
        let ended =
            timeout(Duration::from_secs(180), running.wait(terminated)).await.expect("the parent ends this").unwrap();
        say(&format!("ended {ended:?}"));
    });
}

/// Randomness that is written down as it is drawn: the length of each draw in four bytes, big-endian, and then the draw.
struct Recorded {
    source: Arc<dyn Entropy>,
    record: File,
}

impl Entropy for Recorded {
    fn fill(&self, out: &mut [u8]) -> Result<(), Unavailable> {
        self.source.fill(out)?;
        let draw = [&(out.len() as u32).to_be_bytes(), &*out].concat();
        // One write, so that draws of two threads don't mix.
        assert_eq!((&self.record).write(&draw).unwrap(), draw.len());
        Ok(())
    }
}

/// A wall clock that shows a later day.
struct Ahead {
    clock: Arc<dyn Clock>,
    days: u64,
}

impl Clock for Ahead {
    fn wall_micros(&self) -> u64 {
        self.clock.wall_micros() + self.days * 86_400_000_000
    }

    fn monotonic(&self) -> Duration {
        self.clock.monotonic()
    }
}

/// In a server's environment: how many days from today it takes for now.
pub const DAYS_AHEAD: &str = "PRIVET_TEST_DAYS_AHEAD";
const DRAWS: &str = "PRIVET_TEST_DRAWS";
const CHILD: &str = "hostile::site::child_serves_until_it_is_killed";
const SITE: &str = "PRIVET_TEST_SITE";
