//! Segments: sealed out of the store, read and proved where they lie, deleted when their time is over.

mod full_disk;
mod index;
mod older;
mod retention;

use std::{fs, path::Path, sync::Arc, time::Duration};

use privet::{
    audit::{
        Basis, Effects, Log, Record, Unreleased,
        anchor::Anchor,
        checkpoint::Checkpoint,
        log::{Ending, OpenError, Options},
        merkle::{Tree, verify},
        note::SignerKey,
    },
    entropy::SystemEntropy,
    id::Tenant,
    operations::segments::{Rules, Segments},
    proto::stored::{Entry, Operation, Segment, Target},
    secret::Key,
    store::{Direction, Space, Store, sled::SledStore},
};

use prost::Message;

use crate::support::{
    clock::TestClock,
    faulty_store::{Faults, FaultyStore},
};

const ORIGIN: &str = "test/log";
const NOW: u64 = 1_800_000_000;
const DAY: Duration = Duration::from_secs(86_400);

struct Bench {
    store: Arc<dyn Store>,
    log: Log,
    ending: Ending,
    clock: Arc<TestClock>,
    segments: Segments,
    faults: Faults,
}

async fn open(dir: &Path, clock: Arc<TestClock>) -> Bench {
    try_open(dir, clock, None).await.unwrap()
}

async fn try_open(dir: &Path, clock: Arc<TestClock>, anchor: Option<Anchor>) -> Result<Bench, OpenError> {
    let (store, faults) = FaultyStore::new(SledStore::open(&dir.join("store")).unwrap());
    let store: Arc<dyn Store> = Arc::new(store);
    let signer = Arc::new(SignerKey::new(ORIGIN, &Key::new([7; 32])).unwrap());
    let options = Options {
        origin: ORIGIN.into(),
        signer,
        log_key: 1,
        signs_from: 0,
        archive: Some(dir.join("archive")),
        anchor,
        new_anchor: false,
    };
    let (log, ending) = Log::open(store.clone(), clock.clone(), Arc::new(SystemEntropy::open()), options).await?;
    let rules = Rules { bytes_max: 200_000, age_max: 30 * DAY, retention: 400 * DAY };
    let segments = Segments::new(log.clone(), store.clone(), rules).unwrap();
    Ok(Bench { store, log, ending, clock, segments, faults })
}

impl Bench {
    async fn append(&self, count: usize) {
        let commit = |n: usize| async move {
            // Some entries take several values of the store.
            let aliases = vec![n as u8; if n.is_multiple_of(97) { 20_000 } else { 160 }];
            let target = Target { object: "pii/account/email".into(), aliases, ..Default::default() };
            let record = Record::encode(&Tenant::parse("acme").unwrap(), Entry::default(), vec![target]).unwrap();
            self.log.commit(record, Basis::default(), Effects::default(), Unreleased::new(())).await.unwrap();
        };
        futures_util::future::join_all((0..count).map(commit)).await;
    }

    async fn blocks(&self) -> Vec<u64> {
        let all = self.store.scan(Space::Block, vec![]..vec![0xff; 16], Direction::Ascending, 1 << 20).await.unwrap();
        all.iter().map(|(key, _)| u64::from_be_bytes(key[..8].try_into().unwrap())).collect()
    }

    /// Reads every leaf from `from` on in both directions and checks that they lead to the signed root.
    async fn check(&self, retained_from: u64) {
        let (history, published) = (self.log.history(), self.log.published());
        let (mut tree, mut bodies) = (Tree::new(), 0);
        while tree.size() < published.edge.size() {
            for leaf in history.leaves(tree.size()..published.edge.size()).await.unwrap() {
                assert_eq!(leaf.index, tree.size());
                assert_eq!(leaf.body.is_some(), leaf.index >= retained_from, "{}", leaf.index);
                bodies += u64::from(leaf.body.is_some());
                tree.push(leaf.hash);
            }
        }
        assert_eq!(tree.root(), published.edge.root());
        assert_eq!(bodies, published.edge.size() - retained_from);
        let mut next = published.edge.size();
        while next > retained_from {
            let run = history.entries(retained_from..next, Direction::Descending).await.unwrap();
            assert_eq!(run.last().unwrap().index + 1, next);
            next = run[0].index;
        }
        for index in (0..published.edge.size()).step_by(101) {
            let leaf = history.leaf(index).await.unwrap().unwrap();
            let size = published.edge.size();
            let proof = history.inclusion(&published.edge, index, size).await.unwrap();
            verify::inclusion(&leaf.hash, index, size, &proof, &published.edge.root()).unwrap();
        }
    }

    async fn last(&self) -> Entry {
        let end = self.log.read_point().0;
        self.log.history().entries(end - 1..end, Direction::Ascending).await.unwrap()[0].decode().unwrap()
    }

    fn close(self) -> Arc<TestClock> {
        let Self { store, log, ending, clock, segments, .. } = self;
        drop((segments, log));
        ending.join();
        drop(store);
        clock
    }

    async fn reopen(self, dir: &Path) -> Self {
        open(dir, self.close()).await
    }
}

fn bench_clock() -> Arc<TestClock> {
    Arc::new(TestClock::at(NOW))
}

#[tokio::test(flavor = "multi_thread")]
async fn entries_past_the_size_are_sealed_and_leave_the_store() {
    let dir = tempfile::tempdir().unwrap();
    let mut bench = open(dir.path(), bench_clock()).await;
    bench.append(600).await;
    bench.segments.tend().await.unwrap();
    for round in 1..4 {
        let sealed = bench.log.history().bounds().sealed_end();
        assert!(sealed > 0 && sealed.is_multiple_of(256), "{sealed}");
        // One block may straddle the border.
        assert!(bench.blocks().await.iter().filter(|first| **first < sealed).count() <= 4, "round {round}");
        let tiles = bench.store.scan(Space::Tile, vec![]..vec![0xff; 16], Direction::Ascending, 100).await.unwrap();
        assert!(tiles.len() <= 4, "{} halves of sealed tiles are still there", tiles.len());
        let entry = bench.log.history().entries(sealed.max(1) - 1..sealed, Direction::Ascending).await.unwrap();
        assert_eq!(entry.len(), 1);
        bench.check(0).await;
        bench = bench.reopen(dir.path()).await;
        bench.check(0).await;
        bench.append(700).await;
        bench.segments.tend().await.unwrap();
    }
    let note = fs::read_to_string(dir.path().join("archive/checkpoint")).unwrap();
    let key = SignerKey::new(ORIGIN, &Key::new([7; 32])).unwrap();
    let checkpoint = Checkpoint::open(&note, ORIGIN, &[key.verifier().clone()]).unwrap();
    assert_eq!(checkpoint.size(), bench.log.history().bounds().sealed_end());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backlog_becomes_segments_of_the_size() {
    let dir = tempfile::tempdir().unwrap();
    let bench = open(dir.path(), bench_clock()).await;
    for _ in 0..6 {
        bench.append(600).await;
    }
    let all = bench.log.published().unsealed_bytes;
    assert!(all > 1_000_000, "{all}");
    bench.segments.tend().await.unwrap();
    let records = bench.store.scan(Space::Segment, vec![]..vec![0xff; 9], Direction::Ascending, 100).await.unwrap();
    let segments: Vec<Segment> = records.iter().map(|(_, value)| Segment::decode(value.as_slice()).unwrap()).collect();
    // Each has what makes one, and at most a bundle more; four large entries may share that, and an archive frames each entry.
    assert!(segments.len() > 3 && segments.iter().all(|one| (200_000..420_000).contains(&one.bytes)), "{segments:?}");
    let published = bench.log.published();
    assert!(published.unsealed_bytes < 200_000, "{}", published.unsealed_bytes);
    bench.check(0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_segment_does_not_end_before_what_the_newest_key_signs() {
    let dir = tempfile::tempdir().unwrap();
    let bench = open(dir.path(), bench_clock()).await;
    bench.append(1_000).await;
    let new = Arc::new(SignerKey::new(ORIGIN, &Key::new([8; 32])).unwrap());
    let effects = Effects { log_key: Some((1_000, new)), ..Default::default() };
    let record = Record::encode(&Tenant::system(), Entry::default(), vec![]).unwrap();
    bench.log.commit(record, Basis::default(), effects, Unreleased::new(())).await.unwrap();
    bench.segments.tend().await.unwrap();
    assert_eq!(bench.log.history().bounds().sealed_end(), 0, "the next end that it signs is 1,024");
    bench.append(300).await;
    bench.segments.tend().await.unwrap();
    assert_eq!(bench.log.history().bounds().sealed_end(), 1_024);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_seal_is_recorded_with_what_it_sealed() {
    let dir = tempfile::tempdir().unwrap();
    let bench = open(dir.path(), bench_clock()).await;
    bench.append(300).await;
    bench.segments.seal(256).await.unwrap();
    let entry = bench.last().await;
    assert_eq!((entry.operation(), entry.tenant.as_str()), (Operation::SealSegment, "_system"));
    let change = entry.log_change.unwrap();
    assert_eq!((change.first_index, change.end_index), (0, 256));
    assert_eq!(change.newest_time_unix_micros, NOW * 1_000_000);
}

#[tokio::test(flavor = "multi_thread")]
async fn few_entries_are_sealed_by_age() {
    let dir = tempfile::tempdir().unwrap();
    let bench = open(dir.path(), bench_clock()).await;
    bench.append(255).await;
    bench.clock.advance(30 * DAY);
    bench.segments.tend().await.unwrap();
    assert_eq!(bench.log.history().bounds().sealed_end(), 0, "not a whole bundle");
    bench.append(5).await;
    bench.clock.advance(29 * DAY);
    bench.segments.tend().await.unwrap();
    assert_eq!(bench.log.history().bounds().sealed_end(), 256, "the oldest is old enough");
    bench.append(256).await;
    bench.segments.tend().await.unwrap();
    assert_eq!(bench.log.history().bounds().sealed_end(), 256, "the oldest unsealed one is a moment old");
    bench.check(0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn readers_and_writers_go_on_while_a_segment_is_sealed_and_removed() {
    let dir = tempfile::tempdir().unwrap();
    let bench = open(dir.path(), bench_clock()).await;
    bench.append(2_000).await;
    let reads = async {
        for round in 0..60_u64 {
            let from = round * 31;
            let mut next = from;
            while next < 2_000 {
                let run = bench.log.history().entries(next..2_000, Direction::Ascending).await.unwrap();
                assert_eq!(run[0].index, next);
                next = run.last().unwrap().index + 1;
            }
        }
    };
    let writes = async {
        for _ in 0..20 {
            bench.append(20).await;
        }
    };
    let (tended, (), ()) = tokio::join!(bench.segments.tend(), reads, writes);
    tended.unwrap();
    assert!(bench.log.history().bounds().sealed_end() >= 1_280);
    bench.check(0).await;
}
