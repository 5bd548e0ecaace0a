//! A server killed again and again under load: all that was acknowledged is there, and opens.

use std::{thread, time::Duration};

use super::{
    left::Left,
    load::{Load, Random, opening},
    site::Site,
};

const ROUNDS: u64 = 24;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_server_killed_under_load_loses_nothing_acknowledged() {
    let site = Site::new();
    let mut random = Random::new(1);
    let (mut all, mut fresh) = (Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        if round % 6 == 5 {
            // While it recovers, too.
            let child = site.spawn(&[]);
            thread::sleep(Duration::from_millis(random.below(300)));
            child.kill();
        } else {
            let node = site.boot(&[]);
            let mut clients = Vec::new();
            for _ in 0..3 {
                clients.push(node.client(&site, "tester").await);
            }
            assert_eq!(opening(&clients[0], &fresh).await, fresh.len(), "round {round}");
            all.append(&mut fresh);
            let load = Load::start(&clients, 24, round);
            let enough = random.below(150) as usize;
            while load.acknowledged_so_far() < enough {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            tokio::time::sleep(Duration::from_micros(random.below(20_000))).await;
            node.kill();
            (fresh, _) = load.end().await;
        }
        let left = Left::read(&site.store()).await.unwrap();
        assert_eq!(left.lost(&fresh).len(), 0, "round {round}: of {} acknowledged", fresh.len());
        assert_eq!(left.sealed_aliases().len(), left.subjects, "every key has its entry and every entry its key");
    }
    all.append(&mut fresh);
    assert!(all.len() > 500, "only {} were acknowledged", all.len());
    let left = Left::read(&site.store()).await.unwrap();
    assert_eq!(left.lost(&all).len(), 0, "of {} acknowledged", all.len());
    let node = site.boot(&[]);
    assert_eq!(opening(&node.client(&site, "tester").await, &all).await, all.len());
    node.kill();
}
