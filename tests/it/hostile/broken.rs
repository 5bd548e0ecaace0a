//! A deployment that was damaged, mixed up or put back in part while its server was down: the next start is refused with what
//! to do, or serves as if nothing were – and nothing false is ever read.

use std::{
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
    sync::OnceLock,
    thread,
    time::{Duration, Instant},
};

use privet::{
    audit::anchor::Anchor,
    cli::serve::{self, Machine, Options, Running},
    config::Config,
    operations::start::Changed,
    server::{Ended, tls::DevCertificates},
};
use tempfile::TempDir;

use super::{
    load::EMAIL,
    site::{DAYS_AHEAD, Site},
};
use crate::support::{
    deployment::{Client, Setup, connect, encrypt, to_encrypt},
    files::copy_directory,
    pki::Ca,
};

/// A deployment at rest whose log has a sealed segment and some entries behind it. `early` is its store from before.
struct Rest {
    dir: PathBuf,
    _holds: TempDir,
    ca: Ca,
}

/// Made once; tests work on copies.
fn rest() -> &'static Rest {
    static REST: OnceLock<Rest> = OnceLock::new();
    REST.get_or_init(|| {
        let made = thread::spawn(|| tokio::runtime::Runtime::new().unwrap().block_on(make()));
        made.join().unwrap()
    })
}

async fn make() -> Rest {
    let Site { dir, ca } = Site::with(Setup { config: "segment_age_max_days = 1".into(), ..Setup::default() });
    let site = Site { dir, ca };
    site.boot(&[]).stop();
    copy_directory(&site.store(), &site.dir.path().join("early"));
    let node = site.boot(&[]);
    let client = node.client(&site, "tester").await;
    let seals = (0..280).map(|n| seal(&client, n));
    futures_util::future::join_all(seals).await;
    node.stop();
    let node = site.boot(&[(DAYS_AHEAD, OsStr::new("2"))]);
    let (checkpoint, start) = (site.store().join("archive/checkpoint"), Instant::now());
    while !checkpoint.exists() {
        assert!(start.elapsed() < Duration::from_secs(20), "nothing is sealed");
        thread::sleep(Duration::from_millis(5));
    }
    let client = node.client(&site, "tester").await;
    futures_util::future::join_all((280..300).map(|n| seal(&client, n))).await;
    node.stop();
    Rest { dir: site.dir.path().to_owned(), _holds: site.dir, ca: site.ca }
}

async fn seal(client: &Client, n: usize) {
    client.seal("acme", &format!("customer {n}"), EMAIL, format!("value {n}").as_bytes(), b"").await;
}

/// A copy of it that a test may break.
struct Broken(TempDir);

impl Broken {
    fn copy() -> Self {
        Self::of(&rest().dir)
    }

    fn of(dir: &Path) -> Self {
        let place = tempfile::tempdir().unwrap();
        copy_directory(dir, &place.path().join("site"));
        Self(place)
    }

    fn dir(&self) -> PathBuf {
        self.0.path().join("site")
    }

    fn at(&self, name: &str) -> PathBuf {
        self.dir().join(name)
    }

    async fn start(&self) -> Result<Running, String> {
        start(&self.dir()).await
    }

    /// Why it is not served. Asked twice: to look must not change the answer.
    async fn refusal(&self) -> String {
        let why = self.start().await.map(|_| "it is served").unwrap_err();
        assert_eq!(self.start().await.map(|_| "it is served").unwrap_err(), why);
        why
    }

    async fn client(&self, running: &Running) -> Client {
        let leaf = rest().ca.client(&["spiffe://acme.example/tester"]);
        Client { channel: connect(running.address(), rest().ca.client_config(Some(&leaf))).await.unwrap() }
    }
}

/// Starts a server, or says why it does not start.
pub async fn start(dir: &Path) -> Result<Running, String> {
    let config = Config::load(&dir.join("privet.toml")).unwrap();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let options = Options {
        listener,
        policy_changed: Changed::Refuse,
        new_anchor: false,
        clock_is_right: false,
        dev: DevCertificates::Refused,
    };
    serve::start_on(Machine::this(), config, options).await.map_err(|error| format!("{error:#}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_file_is_named_with_what_to_do() {
    let archive = |name: &str| format!("store/archive/{name}");
    let backup = "put it back from a backup";
    for (name, says) in [
        ("store/db".to_owned(), ["the database file is missing", "restore the data directory from a backup"]),
        ("store/format".to_owned(), ["not a privet store", "put back its file format"]),
        (archive("tile/entries/000"), ["archive/tile/entries/000 is missing", backup]),
        (archive("tile/0/000"), ["archive/tile/0/000 is missing", backup]),
        (archive("tile/1/000.p/1"), ["archive/tile/1/000.p/1 is missing", backup]),
        (archive("checkpoint"), ["archive/checkpoint is missing", backup]),
        (archive("format"), ["not an archive of privet's", "put back the archive's file format"]),
        (archive(""), ["is gone", backup]),
        ("anchor/anchor".to_owned(), ["there is no anchor in", "put it back"]),
        ("anchor".to_owned(), ["there is no anchor in", "--new-anchor"]),
    ] {
        let broken = Broken::copy();
        let path = broken.at(&name);
        if path.is_dir() {
            fs::remove_dir_all(path).unwrap()
        } else {
            fs::remove_file(path).unwrap()
        }
        let why = broken.refusal().await;
        assert!(says.iter().all(|part| why.contains(part)), "{name}: {why}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_derived_or_not_needed_any_more_is_not_missed() {
    let broken = Broken::copy();
    fs::remove_dir_all(broken.at("store/index")).unwrap();
    fs::create_dir(broken.at("store/index")).unwrap();
    // The name of a run, and none.
    fs::write(broken.at("store/index/0000000000000000-0000000000000100.run"), "damaged").unwrap();
    // The log keeps its key itself once it has begun.
    for name in ["log-key", "store/tip", "store/conf"] {
        fs::remove_file(broken.at(name)).unwrap();
    }
    let running = broken.start().await.unwrap();
    let client = broken.client(&running).await;
    let sealed = client.log("acme").await.into_iter().filter(|entry| entry.effect.is_empty());
    assert!(sealed.count() >= 300, "all are found");
    drop(client);
    assert_eq!(running.shutdown().await.unwrap(), Ended::Shutdown);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_never_began_misses_its_key() {
    let site = Site::new();
    fs::remove_file(site.dir.path().join("log-key")).unwrap();
    let why = start(site.dir.path()).await.map(|_| "it is served").unwrap_err();
    assert!(why.contains("no log key at") && why.contains("put back the one that `privet init` made"), "{why}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_anchor_checkpoint_or_tile_is_named_with_what_to_do() {
    for (name, at, says) in [
        ("anchor/anchor", None, ["the anchor in", "is damaged"]),
        ("store/archive/checkpoint", Some(20), ["archive/checkpoint", "put it back from a backup"]),
        ("store/archive/tile/1/000.p/1", Some(3), ["archive", "put it back from a backup"]),
        ("store/archive/format", Some(3), ["has a damaged format", "put that file back"]),
    ] {
        let broken = Broken::copy();
        let mut bytes = fs::read(broken.at(name)).unwrap();
        match at {
            Some(at) => flip(&mut bytes[at]),
            // Both of its slots.
            None => [100, 4_196].into_iter().for_each(|at| flip(&mut bytes[at])),
        }
        fs::write(broken.at(name), bytes).unwrap();
        let why = broken.refusal().await;
        assert!(says.iter().all(|part| why.contains(part)), "{name}: {why}");
    }
}

fn flip(byte: &mut u8) {
    *byte ^= 4;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_server_is_refused_the_store_and_the_anchor_of_the_first() {
    let first = Broken::copy();
    let running = first.start().await.unwrap();
    let why = first.refusal().await;
    assert!(why.contains("is in use by another process") && why.contains("stop that process"), "{why}");
    // One of the two alone.
    for (name, says) in [("store", "store is in use by another process"), ("anchor", "is in use by another process")] {
        let second = Broken::copy();
        fs::remove_dir_all(second.at(name)).unwrap();
        std::os::unix::fs::symlink(first.at(name), second.at(name)).unwrap();
        let why = second.refusal().await;
        assert!(why.contains(says) && why.contains("stop that process"), "{name}: {why}");
    }
    assert_eq!(running.shutdown().await.unwrap(), Ended::Shutdown);
}

/// Serves for a few entries more.
async fn go_on(broken: &Broken, entries: usize) {
    let running = broken.start().await.unwrap();
    let client = broken.client(&running).await;
    for n in 0..entries {
        client.encryption().encrypt(encrypt("acme", vec![to_encrypt(&n.to_string(), EMAIL, "a")])).await.unwrap();
    }
    drop(client);
    assert_eq!(running.shutdown().await.unwrap(), Ended::Shutdown);
}

/// A log that has begun, and nothing more.
async fn begin(site: &Site) {
    assert_eq!(start(site.dir.path()).await.unwrap().shutdown().await.unwrap(), Ended::Shutdown);
}

/// Puts a copy of a directory in the place of another.
fn put_back(from: &Path, to: &Path) {
    fs::remove_dir_all(to).unwrap();
    copy_directory(from, to);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_older_store_under_a_newer_anchor_is_refused() {
    let broken = Broken::copy();
    go_on(&broken, 3).await;
    put_back(&rest().dir.join("store"), &broken.at("store"));
    let why = broken.refusal().await;
    assert!(why.contains("the store is older than its anchor") && why.contains("put back the newest store"), "{why}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_went_another_way_than_its_anchor_is_refused() {
    let (one, other) = (Broken::copy(), Broken::copy());
    go_on(&one, 3).await;
    go_on(&other, 8).await;
    put_back(&one.at("anchor"), &other.at("anchor"));
    let why = other.refusal().await;
    assert!(why.contains("are not those that its anchor has seen") && why.contains("put back the store"), "{why}");
    // The anchor of another deployment that calls its log the same.
    let site = Site::new();
    begin(&site).await;
    put_back(&site.dir.path().join("anchor"), &other.at("anchor"));
    let why = other.refusal().await;
    assert!(why.contains("store and anchor are of two logs") && why.contains("put back those that belong"), "{why}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_and_an_archive_of_different_times_are_refused() {
    // Of another log, before anything was sealed.
    let site = Site::new();
    begin(&site).await;
    let (empty, broken) = (site.store().join("archive"), Broken::copy());
    put_back(&empty, &broken.at("store/archive"));
    let why = broken.refusal().await;
    assert!(why.contains("archive/checkpoint is missing") && why.contains("from a backup"), "{why}");
    let broken = Broken::of(site.dir.path());
    put_back(&rest().dir.join("store/archive"), &broken.at("store/archive"));
    let why = broken.refusal().await;
    assert!(why.contains("archive/checkpoint is not to be believed") && why.contains("from a backup"), "{why}");
}

/// The archive may hold the only copy of what an older store lacks: it is left as it is.
#[tokio::test(flavor = "multi_thread")]
async fn an_older_store_under_a_newer_archive_is_refused_and_costs_nothing() {
    let broken = Broken::copy();
    let archive = broken.at("store/archive");
    assert!(!archive.join("sealing").exists(), "a seal that the log has taken is never undone");
    put_back(&rest().dir.join("early"), &broken.at("store"));
    fs::remove_dir_all(&archive).unwrap();
    copy_directory(&rest().dir.join("store/archive"), &archive);
    let why = broken.refusal().await;
    assert!(why.contains("the store is older than its archive: put back the newer store"), "{why}");
    let saved = broken.at("saved");
    fs::rename(&archive, &saved).unwrap();
    put_back(&rest().dir.join("store"), &broken.at("store"));
    put_back(&saved, &archive);
    go_on(&broken, 1).await;
    assert!(archive.join("tile/entries/000").exists());
}

/// The batch that was written last, cut off in its midst as a torn write leaves it: zeros from there on.
#[tokio::test(flavor = "multi_thread")]
async fn a_torn_last_block_is_refused_because_more_was_acknowledged() {
    let bytes = fs::read(rest().dir.join("store/db")).unwrap();
    // The head with its checkpoint is a part of each batch.
    let anchored = Anchor::peek(&rest().dir.join("anchor"), "test.example/log").unwrap().unwrap();
    let newest = anchored.lines().take(3).collect::<Vec<_>>().join("\n");
    // sled may write a page again, elsewhere: no copy of it is left whole.
    let last = bytes.windows(newest.len()).position(|window| window == newest.as_bytes()).unwrap();
    for (torn, tip) in [(last, true), (last + newest.len() + 60, true), (last, false), (last + 1, false)] {
        let broken = Broken::copy();
        let mut bytes = bytes.clone();
        bytes[torn..].fill(0);
        fs::write(broken.at("store/db"), &bytes).unwrap();
        if !tip {
            // That file is not synced, and may be older too.
            fs::remove_file(broken.at("store/tip")).unwrap();
        }
        let why = broken.refusal().await;
        let says = if tip {
            ["entries were durable and", "restore the data directory from a backup"]
        } else {
            ["the store is older than its anchor", "put back the newest store"]
        };
        assert!(says.iter().all(|part| why.contains(part)), "{why}");
    }
}
