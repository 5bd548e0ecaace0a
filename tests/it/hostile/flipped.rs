//! Bits that flip in the middle of the store's file, and bytes that are altered under the database's own checksums: the start
//! or the reading says which entry it is, and never gives other bytes than those that were written.

use std::{
    collections::{BTreeMap, HashMap},
    fs,
    path::Path,
    sync::Arc,
};

use privet::{
    audit::{
        Basis, Effects, Log, Record, Unreleased,
        anchor::Anchor,
        history::NoProof,
        keys,
        log::{Ending, OpenError, Options},
        note::SignerKey,
    },
    entropy::SystemEntropy,
    id::Tenant,
    operations::segments::{Rules, Segments},
    proto::stored::{Entry, LogKey},
    secret::Key,
    server::Ended,
    store::{Batch, Commit, Direction, Effect, Head, Slot, Space, Store, sled::SledStore},
};

use super::load::{EMAIL, Random};
use crate::support::{clock::TestClock, deployment::Deployment, files::copy_directory};

const ORIGIN: &str = "test.example/flipped";
const ENTRIES: u64 = 1_500;
const FLIPS: usize = 24;

struct Bench {
    store: Arc<dyn Store>,
    log: Log,
    ending: Ending,
}

impl Bench {
    async fn open(dir: &Path) -> Result<Self, OpenError> {
        let store: Arc<dyn Store> = Arc::new(SledStore::open(&dir.join("store"))?);
        let signer = Arc::new(SignerKey::new(ORIGIN, &Key::new([7; 32])).unwrap());
        let anchor = dir.join("anchor");
        let anchor = if anchor.exists() { Anchor::open(&anchor, ORIGIN)? } else { Anchor::create(&anchor, ORIGIN)? };
        let key = LogKey { verifier_key: signer.verifier().to_string(), ..Default::default() };
        let options = Options {
            origin: ORIGIN.into(),
            signer,
            log_key: 1,
            signs_from: 0,
            archive: Some(dir.join("store/archive")),
            anchor: Some(anchor),
            new_anchor: false,
        };
        let clock = Arc::new(TestClock::at(1_800_000_000));
        let (log, ending) = Log::open(store.clone(), clock, Arc::new(SystemEntropy::open()), options).await?;
        let bench = Self { store, log, ending };
        if bench.log.read_point().0 == 0 {
            bench.append(0, Effects { writes: vec![keys::effect(1, &key)], ..Default::default() }).await;
        }
        Ok(bench)
    }

    async fn append(&self, n: u64, effects: Effects) {
        let entry = Entry { reference: format!("ticket number {n:06}"), ..Default::default() };
        let record = Record::encode(&Tenant::parse("acme").unwrap(), entry, vec![]).unwrap();
        self.log.commit(record, Basis::default(), effects, Unreleased::new(())).await.unwrap();
    }

    /// Reads entry after entry: what each gives.
    async fn read(&self) -> BTreeMap<u64, Result<Vec<u8>, String>> {
        let mut read = BTreeMap::new();
        for index in 0..ENTRIES {
            let run = self.log.history().entries(index..index + 1, Direction::Ascending).await;
            read.insert(index, run.map(|mut run| run.remove(0).bytes).map_err(|error| error.to_string()));
        }
        read
    }

    async fn rows(&self, space: Space) -> Vec<(Vec<u8>, Vec<u8>)> {
        self.store.scan(space, vec![]..vec![0xff; 16], Direction::Ascending, usize::MAX).await.unwrap()
    }

    fn close(self) {
        let Self { store, log, ending } = self;
        drop(log);
        ending.join();
        drop(store);
    }
}

/// Puts other bytes into a slot, as whoever can write to the database does: its checksums fit.
fn alter(store: &dyn Store, slot: Slot, value: Vec<u8>) {
    let head = store.head().unwrap();
    // A smaller number than what was durable would be noticed by itself.
    let other = Head { state: b"altering".to_vec(), ..head.clone() };
    let effects = vec![Effect { slot, value: Some(value) }];
    assert_eq!(store.commit(&head, &Batch { head: other.clone(), effects }).unwrap(), Commit::Committed);
    assert_eq!(store.commit(&other, &Batch { head, effects: Vec::new() }).unwrap(), Commit::Committed);
}

/// A log at rest, and what its entries are.
async fn written(dir: &Path) -> Vec<Vec<u8>> {
    let bench = Bench::open(dir).await.unwrap();
    // Groups of a few entries, and each a block.
    for n in (1..ENTRIES).step_by(10) {
        let group = (n..ENTRIES.min(n + 10)).map(|n| bench.append(n, Effects::default()));
        futures_util::future::join_all(group).await;
    }
    let entries = bench.read().await.into_values().map(Result::unwrap).collect();
    bench.close();
    // From its second start on the database does not read all of itself again.
    Bench::open(dir).await.unwrap().close();
    entries
}

/// Where entries lie in the file, each perhaps several times: pages are rewritten.
fn places(entries: &[Vec<u8>], file: &[u8]) -> BTreeMap<u64, Vec<usize>> {
    // They begin with their salt.
    let begins = |bytes: &[u8]| u64::from_be_bytes(bytes[2..10].try_into().unwrap());
    let salts: HashMap<u64, u64> = (0..).zip(entries).map(|(index, entry)| (begins(entry), index)).collect();
    let mut places: BTreeMap<u64, Vec<usize>> = BTreeMap::new();
    for at in 0..file.len() - 10 {
        let Some(index) = salts.get(&begins(&file[at..at + 10])) else { continue };
        if file[at..].starts_with(&entries[*index as usize]) {
            places.entry(*index).or_default().push(at);
        }
    }
    places
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flipped_bit_in_the_database_is_found_and_named_and_never_read() {
    let dir = tempfile::tempdir().unwrap();
    let entries = written(dir.path()).await;
    let database = fs::read(dir.path().join("store/db")).unwrap();
    let places = places(&entries, &database);
    let mut random = Random::new(4);
    let (mut refused, mut named) = (0, 0);
    for _ in 0..FLIPS {
        let copy = tempfile::tempdir().unwrap();
        for name in ["store", "anchor"] {
            copy_directory(&dir.path().join(name), &copy.path().join(name));
        }
        let index = random.below(ENTRIES);
        let entry = &entries[index as usize];
        let mut flipped = database.clone();
        let bit = random.below(entry.len() as u64 * 8) as usize;
        places[&index].iter().for_each(|at| flipped[at + bit / 8] ^= 1 << (bit % 8));
        fs::write(copy.path().join("store/db"), flipped).unwrap();
        match Bench::open(copy.path()).await {
            Err(error) => {
                let error = error.to_string();
                assert!(error.contains("from a backup") || error.contains("put back the newest store"), "{error}");
                refused += 1;
            }
            Ok(bench) => {
                let read = bench.read().await;
                for (index, read) in &read {
                    assert!(read.as_ref().is_err() || read.as_ref() == Ok(&entries[*index as usize]), "{index}");
                }
                let error = read[&index].as_ref().unwrap_err();
                assert!(error.contains(&format!("log entries near {index} can't be read")), "{error}");
                assert!(error.contains("restore the data directory from a backup"), "{error}");
                named += 1;
                bench.close();
            }
        }
    }
    assert!(refused + named == FLIPS && named > 0, "{refused} were refused at the start and {named} named");
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_altered_under_the_databases_checksums_are_found_by_their_hash_and_named() {
    let dir = tempfile::tempdir().unwrap();
    let entries = written(dir.path()).await;
    let bench = Bench::open(dir.path()).await.unwrap();
    let blocks = bench.rows(Space::Block).await;
    let (key, value) = &blocks[blocks.len() / 2];
    let first = u64::from_be_bytes(key[..8].try_into().unwrap());
    let mut altered = value.clone();
    // Of its first entry.
    altered[1 + 32 + 4 + 30] ^= 1;
    alter(&*bench.store, Slot { space: Space::Block, key: key.clone() }, altered);
    bench.close();

    let bench = Bench::open(dir.path()).await.unwrap();
    let read = bench.read().await;
    let error = read[&first].as_ref().unwrap_err();
    assert!(error.contains(&format!("log entry {first} does not match its hash")), "{error}");
    let wrong = read.iter().filter(|(index, read)| read.as_ref() != Ok(&entries[**index as usize]));
    assert!(wrong.clone().all(|(_, read)| read.is_err()) && wrong.count() <= 10, "only its block");
    // Nor is it sealed for good.
    let rules = Rules { bytes_max: 1, age_max: Default::default(), retention: std::time::Duration::MAX };
    let segments = Segments::new(bench.log.clone(), bench.store.clone(), rules).unwrap();
    let error = segments.tend().await.unwrap_err();
    let causes = std::iter::successors(Some(&error as &dyn std::error::Error), |error| error.source());
    assert!(causes.map(ToString::to_string).any(|cause| cause.contains(&format!("log entry {first}"))), "{error}");
    assert!(bench.log.history().bounds().sealed_end() <= first, "what comes before may be");
    drop(segments);
    bench.close();
}

/// An entry and its leaf hash that fit together are not those of the tree.
#[tokio::test(flavor = "multi_thread")]
async fn an_entry_forged_with_its_hash_or_a_forged_tile_does_not_lead_to_what_was_signed() {
    let dir = tempfile::tempdir().unwrap();
    written(dir.path()).await;
    let bench = Bench::open(dir.path()).await.unwrap();
    let blocks = bench.rows(Space::Block).await;
    let (key, value) = blocks.iter().find(|(_, value)| value[0] == 1).unwrap();
    let length = u32::from_be_bytes(value[33..37].try_into().unwrap()) as usize;
    let mut forged = value.clone();
    forged[37 + 30] ^= 1;
    let hash = privet::audit::entry::leaf_hash(&forged[37..37 + length]);
    forged[1..33].copy_from_slice(&hash);
    alter(&*bench.store, Slot { space: Space::Block, key: key.clone() }, forged);
    let rules = Rules { bytes_max: 1, age_max: Default::default(), retention: std::time::Duration::MAX };
    let segments = Segments::new(bench.log.clone(), bench.store.clone(), rules).unwrap();
    let error = segments.tend().await.unwrap_err().to_string();
    let first = u64::from_be_bytes(key[..8].try_into().unwrap());
    assert!(
        error.contains(&format!("entry {first} is not the one")) && error.contains("privet audit verify"),
        "{error}"
    );
    alter(&*bench.store, Slot { space: Space::Block, key: key.clone() }, value.clone());

    let tiles = bench.rows(Space::Tile).await;
    let (key, tile) = &tiles[0];
    let mut forged = tile.clone();
    forged[5] ^= 1;
    alter(&*bench.store, Slot { space: Space::Tile, key: key.clone() }, forged);
    assert!(bench.log.checkpoint_at(100).await.is_err());
    // A proof that does not hold is not given out, and one that needs nothing of the tile is.
    let (history, published) = (bench.log.history(), bench.log.published());
    let edge = &published.edge;
    for (index, holds) in [(1, false), (300, true)] {
        let leaf = history.leaf(index).await.unwrap().unwrap().hash;
        let damaged = |error: NoProof| error.to_string().contains(&format!("log entry {index}, or a tile over it"));
        let proof = history.prove_leaf(edge, index, &leaf).await;
        assert!(if holds { proof.is_ok() } else { proof.is_err_and(damaged) }, "{index}");
    }
    let damaged = |error: NoProof| error.to_string().contains("is not what was signed");
    assert!(history.prove_beginning(edge, 100, 200).await.is_err_and(damaged));
    assert!(history.prove_beginning(edge, 512, 600).await.is_ok());
    assert!(segments.tend().await.is_err());
    assert_eq!(bench.log.history().bounds().sealed_end(), 0);
    drop(segments);
    bench.close();
}

/// The tiles of the newest 65,536 entries are read at each start.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_whose_tiles_were_forged_does_not_start() {
    let mut server = Deployment::start().await;
    let client = server.client("tester").await;
    let seals = (0..300).map(|n| {
        let client = client.clone();
        async move { client.seal("acme", &n.to_string(), EMAIL, b"anna@mail.example", b"").await }
    });
    futures_util::future::join_all(seals).await;
    drop(client);
    assert_eq!(server.stop().await, Ended::Shutdown);
    let store = SledStore::open(&server.dir.path().join("store")).unwrap();
    let tiles = store.scan(Space::Tile, vec![]..vec![0xff; 16], Direction::Ascending, 1).await.unwrap();
    let (key, mut tile) = tiles[0].clone();
    tile[70] ^= 1;
    alter(&store, Slot { space: Space::Tile, key }, tile);
    drop(store);
    let why = super::broken::start(server.dir.path()).await.map(|_| "it is served").unwrap_err();
    assert!(why.contains("not those it has signed") && why.contains("from a backup"), "{why}");
}
