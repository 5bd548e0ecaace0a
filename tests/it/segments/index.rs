//! The index of a log whose sealed entries are damaged: derived, so it neither stops a start nor is believed on its own word.

use privet::{
    audit::index::{Index, Indexed},
    operations::indexing,
};

use super::*;

/// Makes a run of the first 256 entries. What they are found by does not matter, so there is much of it: that is what makes a
/// run.
async fn index_sealed(bench: &Bench, dir: &Path, altered: u8) {
    let index = Index::open(dir, ORIGIN, 0..bench.log.read_point().0).unwrap();
    let alias = |at: u64, n: u64| [at.to_be_bytes(), n.to_be_bytes()].concat();
    for leaf in (0..257).map(|at| bench.log.history().leaf(at)) {
        let mut leaf = leaf.await.unwrap().unwrap();
        leaf.hash[0] ^= altered;
        let aliases = (0..3_100).flat_map(|n| alias(leaf.index, n)).collect();
        let entry = Entry { targets: vec![Target { aliases, ..Default::default() }], ..Default::default() };
        index.add(&[Indexed::new(leaf.index, leaf.hash, &entry)]).unwrap();
    }
    assert_eq!(index.ends().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn damage_of_a_sealed_entry_keeps_no_index_from_being_opened() {
    let dir = tempfile::tempdir().unwrap();
    let bench = open(dir.path(), bench_clock()).await;
    bench.append(600).await;
    let run = dir.path().join("index");
    index_sealed(&bench, &run, 0).await;
    bench.segments.seal(512).await.unwrap();
    bench.segments.tend().await.unwrap();
    let last = indexing::open(&run, &bench.log).await.unwrap().ends()[0].0;
    let bundle = dir.path().join(format!("archive/tile/entries/{:03}", last / 256));
    fs::write(&bundle, b"damaged").unwrap();
    // The archive remembers what it read last.
    let bench = bench.reopen(dir.path()).await;
    assert!(bench.log.history().leaf(last).await.is_err());
    let index = indexing::open(&run, &bench.log).await.unwrap();
    assert_eq!(index.watermark(), last + 1, "the tile says what it needs");
    drop(index);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_index_of_another_past_is_forgotten() {
    let dir = tempfile::tempdir().unwrap();
    let bench = open(dir.path(), bench_clock()).await;
    bench.append(600).await;
    let run = dir.path().join("index");
    index_sealed(&bench, &run, 1).await;
    let index = indexing::open(&run, &bench.log).await.unwrap();
    assert_eq!((index.watermark(), index.ends().len()), (0, 0));
}
