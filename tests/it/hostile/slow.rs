//! A server on a disk that takes half a second to sync: each answer waits for its record, and all answers wait together.

use std::{
    ffi::OsStr,
    time::{Duration, Instant},
};

use tokio::task::JoinSet;

use super::{load::EMAIL, site::Site};
use crate::support::{deployment::Client, shim};

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_answer_waits_for_its_record_and_256_answers_wait_together() {
    let site = Site::new();
    // A first start writes a whole tenant's keys; that is not what is measured.
    site.boot(&[]).kill();
    let shim = shim::compile("slowsync");
    let node = site.boot(&[("LD_PRELOAD", shim.as_os_str()), ("PRIVET_SLOWSYNC_MS", OsStr::new("500"))]);
    let client = node.client(&site, "tester").await;

    let start = Instant::now();
    seal(client.clone(), 0).await;
    let one = start.elapsed();
    assert!(one >= Duration::from_millis(500), "an answer came after {one:?}, before its record was synced");

    let start = Instant::now();
    let mut calls = JoinSet::new();
    for n in 1..=256 {
        calls.spawn(seal(client.clone(), n));
    }
    calls.join_all().await;
    let all = start.elapsed();
    // A group for the first of them and one for the others, each synced by the store and then by the anchor.
    assert!(all >= Duration::from_millis(500) && all < Duration::from_millis(3_000), "256 answers took {all:?}");
    node.kill();
}

async fn seal(client: Client, n: usize) {
    client.seal("acme", &format!("customer {n}"), EMAIL, b"anna@mail.example", b"").await;
}
