//! The tree that the log signs: the same as a naive one over what is stored, after any restart, and never another.

use std::sync::Arc;

use privet::{
    audit::{
        Basis, Effects, Log, Record, Refused, Unreleased,
        checkpoint::Checkpoint,
        log::{Ending, Options},
        merkle::{Hash, verify},
        note::{SignerKey, VerifierKey},
    },
    entropy::SystemEntropy,
    id::Tenant,
    proto::stored::Entry,
    secret::Key,
    store::{Batch, Direction, Effect, Slot, Space, Store},
};
use ring::digest::{SHA256, digest};

use crate::support::{clock::TestClock, memory_store::MemoryStore};

const ORIGIN: &str = "test/log";

struct Bench {
    store: Arc<dyn Store>,
    log: Log,
    ending: Ending,
}

fn signer(seed: u8) -> Arc<SignerKey> {
    Arc::new(SignerKey::new(ORIGIN, &Key::new([seed; 32])).unwrap())
}

async fn open(store: Arc<dyn Store>) -> Result<Bench, privet::audit::log::OpenError> {
    open_with(store, 7, 1).await
}

async fn open_with(store: Arc<dyn Store>, seed: u8, log_key: u32) -> Result<Bench, privet::audit::log::OpenError> {
    let options = Options {
        origin: ORIGIN.into(),
        signer: signer(seed),
        log_key,
        signs_from: 0,
        archive: None,
        anchor: None,
        new_anchor: false,
    };
    let clock = Arc::new(TestClock::at(1_800_000_000));
    let (log, ending) = Log::open(store.clone(), clock, Arc::new(SystemEntropy::open()), options).await?;
    Ok(Bench { store, log, ending })
}

impl Bench {
    /// Appends entries in one record, hence in one group, and gives the checkpoint that covers them.
    async fn append(&self, count: usize) -> Checkpoint {
        let mut receipts = Vec::new();
        let appends = (0..count).map(|_| self.commit(Effects::default()));
        for done in futures_util::future::join_all(appends).await {
            receipts.extend(done.unwrap());
        }
        let newest = receipts.iter().max_by_key(|receipt| receipt.entry_index).unwrap();
        self.opened(&newest.checkpoint)
    }

    async fn commit(&self, effects: Effects) -> Result<Vec<privet::audit::Receipt>, Refused> {
        let record = Record::encode(&Tenant::parse("acme").unwrap(), Entry::default(), vec![]).unwrap();
        self.log.commit(record, Basis::default(), effects, Unreleased::new(())).await.map(|done| done.into_parts().1)
    }

    fn opened(&self, note: &str) -> Checkpoint {
        Checkpoint::open(note, ORIGIN, &[signer(7).verifier().clone()]).unwrap()
    }

    async fn leaves(&self) -> Vec<Hash> {
        let (mut leaves, end) = (Vec::new(), self.log.read_point().0);
        while (leaves.len() as u64) < end {
            let from = leaves.len() as u64;
            let run = self.log.history().entries(from..end, Direction::Ascending).await.unwrap();
            leaves.extend(run.iter().map(|entry| sha256(&[&[0], &entry.bytes])));
        }
        leaves
    }

    async fn reopen(self) -> Self {
        let store = self.close();
        open(store).await.unwrap()
    }

    fn close(self) -> Arc<dyn Store> {
        let Self { store, log, ending } = self;
        drop(log);
        ending.join();
        store
    }
}

/// RFC 6962 section 2.1, as it is written there.
fn naive_root(leaves: &[Hash]) -> Hash {
    match leaves {
        [] => sha256(&[]),
        [leaf] => *leaf,
        _ => {
            let split = leaves.len().next_power_of_two() / 2;
            let (left, right) = leaves.split_at(split);
            sha256(&[&[1], &naive_root(left), &naive_root(right)])
        }
    }
}

fn sha256(parts: &[&[u8]]) -> Hash {
    digest(&SHA256, &parts.concat()).as_ref().try_into().unwrap()
}

#[tokio::test]
async fn each_receipt_carries_a_signed_checkpoint_over_its_entry() {
    let bench = open(Arc::new(MemoryStore::default())).await.unwrap();
    for round in 0..20 {
        for receipt in bench.commit(Effects::default()).await.unwrap() {
            let checkpoint = bench.opened(&receipt.checkpoint);
            assert!(checkpoint.size() > receipt.entry_index, "round {round}");
            let leaves = bench.leaves().await;
            assert_eq!(*checkpoint.root(), naive_root(&leaves[..checkpoint.size() as usize]));
            let edge = &bench.log.published().edge;
            let proof = bench.log.history().inclusion(edge, receipt.entry_index, checkpoint.size()).await.unwrap();
            let (index, size) = (receipt.entry_index, checkpoint.size());
            verify::inclusion(&receipt.leaf_hash, index, size, &proof, checkpoint.root()).unwrap();
        }
    }
}

#[tokio::test]
async fn the_tree_goes_on_after_a_restart_at_any_size() {
    let mut bench = open(Arc::new(MemoryStore::default())).await.unwrap();
    for grow in [1, 1, 253, 1, 1, 100, 156, 3, 1_000, 4_000] {
        let checkpoint = bench.append(grow).await;
        let leaves = bench.leaves().await;
        assert_eq!(checkpoint.size(), leaves.len() as u64);
        assert_eq!(*checkpoint.root(), naive_root(&leaves), "{} leaves", leaves.len());
        bench = bench.reopen().await;
        let published = bench.log.published();
        assert_eq!(bench.opened(&published.checkpoint), checkpoint);
        assert_eq!(published.edge.root(), *checkpoint.root());
    }
}

#[tokio::test]
async fn every_size_that_the_log_had_is_proved_to_be_the_beginning_of_the_newest() {
    let bench = open(Arc::new(MemoryStore::default())).await.unwrap();
    bench.append(1_100).await;
    let leaves = bench.leaves().await;
    let edge = &bench.log.published().edge;
    for first in [0, 1, 2, 255, 256, 257, 511, 512, 700, 1_024, 1_099, 1_100] {
        for second in [1, 256, 300, 1_023, 1_024, 1_100].into_iter().filter(|second| *second >= first) {
            let root = |size: u64| naive_root(&leaves[..size as usize]);
            assert_eq!(bench.log.history().root(edge, second).await.unwrap(), root(second));
            let proof = bench.log.history().consistency(edge, first, second).await.unwrap();
            verify::consistency(first, &root(first), second, &root(second), &proof).unwrap();
        }
        let index = first.min(1_099);
        let proof = bench.log.history().inclusion(edge, index, 1_100).await.unwrap();
        verify::inclusion(&leaves[index as usize], index, 1_100, &proof, &naive_root(&leaves)).unwrap();
    }
    assert!(bench.log.history().inclusion(edge, 1_100, 1_100).await.is_err());
    assert!(bench.log.history().consistency(edge, 1, 1_101).await.is_err());
}

#[tokio::test]
async fn a_checkpoint_is_kept_near_every_full_tile() {
    let bench = open(Arc::new(MemoryStore::default())).await.unwrap();
    for _ in 0..60 {
        bench.append(20).await;
    }
    let leaves = bench.leaves().await;
    let kept = bench.store.scan(Space::Checkpoint, vec![]..vec![0xff; 9], Direction::Ascending, 100).await.unwrap();
    assert_eq!(kept.len(), 1_200 / 256);
    for (key, note) in kept {
        let checkpoint = bench.opened(std::str::from_utf8(&note).unwrap());
        assert_eq!(key, checkpoint.size().to_be_bytes());
        assert_eq!(*checkpoint.root(), naive_root(&leaves[..checkpoint.size() as usize]));
    }
}

#[tokio::test]
async fn a_log_whose_newest_entries_or_tiles_are_not_what_it_signed_does_not_open() {
    let bench = open(Arc::new(MemoryStore::default())).await.unwrap();
    bench.append(300).await;
    let store = bench.close();
    drop(open(store.clone()).await.unwrap().close());
    let head = store.head().unwrap();
    let mut changed = 0;
    for space in [Space::Block, Space::Tile] {
        let rows = store.scan(space, vec![]..vec![0xff; 16], Direction::Descending, 2).await.unwrap();
        for (key, value) in rows {
            let broken = [&value[..value.len() - 1], &[value[value.len() - 1] ^ 1]].concat();
            for forged in [Some(broken), None] {
                let put = |value| Effect { slot: Slot { space, key: key.clone() }, value };
                let write = |value| {
                    let current = store.head().unwrap();
                    let other = privet::store::Head { entries: current.entries + 1, ..current.clone() };
                    let batch = Batch { head: other.clone(), effects: vec![put(value)] };
                    let _ = store.commit(&current, &batch).unwrap();
                    let _ = store.commit(&other, &Batch { head: head.clone(), effects: vec![] }).unwrap();
                };
                write(forged);
                let opened = open(store.clone()).await;
                // Entries before the last full tile are covered by the tiles, and read on demand.
                let newest = space == Space::Tile || u64::from_be_bytes(key[..8].try_into().unwrap()) >= 256;
                assert!(opened.is_err() || !newest, "{space:?}");
                changed += usize::from(opened.is_err());
                write(Some(value.clone()));
            }
        }
    }
    assert!(changed >= 3, "{changed}");
    open(store).await.unwrap();
}

#[tokio::test]
async fn a_log_of_another_key_does_not_open() {
    let bench = open(Arc::new(MemoryStore::default())).await.unwrap();
    bench.append(3).await;
    let store = bench.close();
    let refused = |error: privet::audit::log::OpenError| error.to_string();
    assert!(refused(open_with(store.clone(), 8, 1).await.map(drop).unwrap_err()).contains("checkpoint"));
    assert!(refused(open_with(store.clone(), 7, 2).await.map(drop).unwrap_err()).contains("key"));
    open(store).await.unwrap();
}

#[tokio::test]
async fn a_new_key_is_announced_under_both_and_signs_from_then_on() {
    let bench = open(Arc::new(MemoryStore::default())).await.unwrap();
    bench.append(5).await;
    let new = |at| Effects { log_key: Some((at, signer(8))), ..Default::default() };
    assert_eq!(bench.commit(new(4)).await.unwrap_err(), Refused::Stale, "announced at another index");
    let receipt = bench.commit(new(5)).await.unwrap().remove(0);
    let keys: Vec<VerifierKey> = [7, 8].map(|seed| signer(seed).verifier().clone()).to_vec();
    for key in &keys {
        Checkpoint::open(&receipt.checkpoint, ORIGIN, std::slice::from_ref(key)).unwrap();
    }
    let receipt = bench.commit(Effects::default()).await.unwrap().remove(0);
    assert!(Checkpoint::open(&receipt.checkpoint, ORIGIN, &keys[..1]).is_err());
    Checkpoint::open(&receipt.checkpoint, ORIGIN, &keys[1..]).unwrap();
    let store = bench.close();
    assert!(open(store.clone()).await.is_err());
    open_with(store, 8, 2).await.unwrap();
}
