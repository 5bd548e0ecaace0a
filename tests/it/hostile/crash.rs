//! A server killed again and again under load: all that was acknowledged is there, and opens. Each start is two days later, so
//! it seals what the one before has written.

use std::{collections::BTreeSet, ffi::OsStr, thread, time::Duration};

use privet::proto::v1;

use super::{
    left::Left,
    load::{Acknowledged, Load, Random, opening},
    site::{DAYS_AHEAD, Site},
};
use crate::support::deployment::{Client, Setup};

const ROUNDS: u64 = 24;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_server_killed_under_load_loses_nothing_acknowledged() {
    let site = Site::with(Setup { config: "segment_age_max_days = 1".into(), ..Setup::default() });
    let mut random = Random::new(1);
    let (mut all, mut fresh, mut seals) = (Vec::new(), Vec::new(), BTreeSet::new());
    for round in 0..ROUNDS {
        let days = (round * 2).to_string();
        let later = [(DAYS_AHEAD, OsStr::new(&days))];
        if round % 6 == 5 {
            // While it recovers, too.
            let child = site.spawn(&later);
            thread::sleep(Duration::from_millis(random.below(300)));
            child.kill();
        } else {
            let node = site.boot(&later);
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
        let left = Left::read(site.dir.path(), &site.store()).await.unwrap();
        assert_eq!(left.lost(&fresh).len(), 0, "round {round}: of {} acknowledged", fresh.len());
        assert_eq!(left.sealed_aliases().len(), left.subjects, "every key has its entry and every entry its key");
        seals.insert(left.whole.sealed_end);
    }
    all.append(&mut fresh);
    assert!(all.len() > 500, "only {} were acknowledged", all.len());
    let left = Left::read(site.dir.path(), &site.store()).await.unwrap();
    assert_eq!(left.lost(&all).len(), 0, "of {} acknowledged", all.len());
    assert!(seals.len() > 3, "sealed up to {seals:?}");
    let days = (ROUNDS * 2).to_string();
    let node = site.boot(&[(DAYS_AHEAD, OsStr::new(&days))]);
    let client = node.client(&site, "tester").await;
    assert_eq!(opening(&client, &all).await, all.len());
    assert_lists_what_is_there(&client, &left, &all).await;
    node.kill();
}

/// What the server finds, with its index and behind it, is what a look at every entry finds.
async fn assert_lists_what_is_there(client: &Client, left: &Left, all: &[Acknowledged]) {
    for tenant in ["acme", "other"] {
        let mut there: Vec<u64> = client.log(tenant).await.iter().map(|entry| entry.index).collect();
        there.retain(|index| *index < left.whole.leaves.len() as u64);
        let meant = left.whole.entries.iter().filter(|(_, entry)| entry.tenant == tenant).map(|(index, _)| index);
        assert!(meant.eq(&there), "{tenant}");
    }
    for one in all.iter().step_by(all.len() / 20) {
        let request = v1::ListEntriesRequest {
            tenant: one.tenant.into(),
            subject: one.subject.clone(),
            class: one.class.into(),
            operation: v1::Operation::Encrypt.into(),
            page_size: 1_000,
            order: v1::Order::NewestFirst.into(),
            ..Default::default()
        };
        let page = client.audit().list_entries(request).await.unwrap().into_inner();
        let mut found: BTreeSet<u64> = page.entries.iter().map(|entry| entry.index).collect();
        let same = |other: &&Acknowledged| {
            (other.tenant, other.class, &other.subject) == (one.tenant, one.class, &one.subject)
        };
        assert!(all.iter().filter(same).all(|other| found.contains(&other.receipt.entry_index)), "{}", one.subject);
        // What was recorded and never answered is found as well.
        found.retain(|index| !left.whole.entries[index].targets.iter().any(|target| target.object == one.class));
        assert!(found.is_empty());
    }
}
