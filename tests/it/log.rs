//! The log's contract: no answer without a record, nothing released on stale ground, nothing after a fault.

use std::{sync::Arc, time::Duration};

use privet::{
    audit::{
        Basis, Effects, Log, Record, Refused, Released, Unreleased,
        log::{Ending, Options},
        note::SignerKey,
        reader,
        tally::{Kind, Tally},
    },
    entropy::SystemEntropy,
    id::{Principal, Tenant},
    proto::stored::{Entry, Operation, Target},
    secret::Key,
    store::{Direction, Effect, Head, ReadPoint, Rests, Slot, Space, Store},
};

use crate::support::{
    clock::TestClock,
    faulty_store::{CommitFault, Faults, FaultyStore},
    memory_store::MemoryStore,
};

const NOW: u64 = 1_800_000_000;

struct Bench {
    store: Arc<dyn Store>,
    faults: Faults,
    clock: Arc<TestClock>,
    log: Log,
    ending: Ending,
}

async fn open() -> Bench {
    let (store, faults) = FaultyStore::new(MemoryStore::default());
    reopen(Arc::new(store), faults, Arc::new(TestClock::at(NOW))).await
}

async fn reopen(store: Arc<dyn Store>, faults: Faults, clock: Arc<TestClock>) -> Bench {
    let options = options("test/log");
    let entropy = Arc::new(SystemEntropy::open());
    let (log, ending) = Log::open(store.clone(), clock.clone(), entropy, options).await.unwrap();
    Bench { store, faults, clock, log, ending }
}

fn options(origin: &str) -> Options {
    let signer = SignerKey::new(origin, &Key::new([7; 32])).unwrap();
    Options {
        origin: origin.into(),
        signer: Arc::new(signer),
        log_key: 1,
        signs_from: 0,
        archive: None,
        anchor: None,
        new_anchor: false,
    }
}

fn acme() -> Tenant {
    Tenant::parse("acme").unwrap()
}

fn record(tenant: &Tenant, reference: &str) -> Record {
    Record::encode(tenant, Entry { reference: reference.into(), ..Default::default() }, vec![]).unwrap()
}

fn slot(n: u8) -> Slot {
    Slot::new(Space::Subject, &[&[n]])
}

fn put(n: u8) -> Effects {
    Effects { writes: vec![Effect { slot: slot(n), value: Some(vec![n]) }], ..Default::default() }
}

fn rewrites(n: u8, at: ReadPoint) -> Basis {
    Basis { rests: Arc::new(Rests { rewritten: vec![(slot(n), at)], relied: vec![] }), ..Default::default() }
}

fn relies(n: u8, at: ReadPoint) -> Basis {
    Basis { rests: Arc::new(Rests { relied: vec![(slot(n), at)], rewritten: vec![] }), ..Default::default() }
}

impl Bench {
    async fn commit(&self, basis: Basis, effects: Effects) -> Result<Released<&'static str>, Refused> {
        self.log.commit(record(&acme(), ""), basis, effects, Unreleased::new("result")).await
    }

    async fn all(&self) -> Vec<Entry> {
        let mut entries = Vec::new();
        let end = self.log.read_point().0;
        while (entries.len() as u64) < end {
            let run = reader::entries(&*self.store, entries.len() as u64..end, Direction::Ascending).await.unwrap();
            entries.extend(run.iter().map(|entry| entry.decode().unwrap()));
        }
        entries
    }
}

#[derive(Debug)]
struct No;
impl privet::audit::Refusal for No {}

#[tokio::test]
async fn a_released_result_is_in_the_store_with_its_receipt() {
    let bench = open().await;
    let (result, receipts) = bench.commit(Basis::default(), put(1)).await.unwrap().into_parts();
    assert_eq!(result, "result");
    assert_eq!((receipts[0].entry_index, &*receipts[0].origin), (0, "test/log"));
    let stored = reader::entries(&*bench.store, 0..1, Direction::Ascending).await.unwrap();
    assert_eq!(stored[0].leaf_hash, receipts[0].leaf_hash);
    assert_eq!(bench.store.read(&[slot(1)]).await.unwrap(), [Some(vec![1])]);
    assert_eq!(stored[0].decode().unwrap().salt.len(), 16);
}

#[tokio::test]
async fn tenants_are_numbered_without_a_gap_and_linked_backwards() {
    let bench = open().await;
    let tenants = [acme(), Tenant::parse("other").unwrap(), acme(), acme(), Tenant::system()];
    for tenant in &tenants {
        bench.log.commit(record(tenant, ""), Basis::default(), Effects::default(), Unreleased::new(())).await.unwrap();
    }
    let places: Vec<_> =
        bench.all().await.iter().map(|entry| (entry.tenant_seq, entry.tenant_previous_plus_one)).collect();
    assert_eq!(places, [(0, 0), (0, 0), (1, 1), (2, 3), (0, 0)]);
}

#[tokio::test]
async fn a_reopened_log_goes_on_where_it_ended() {
    let bench = open().await;
    bench.commit(Basis::default(), Effects { policy: Some((7, [7; 32])), ..put(1) }).await.unwrap();
    let Bench { store, faults, clock, log, ending } = bench;
    drop(log);
    ending.join();
    clock.set_wall_secs(NOW - 500);
    let bench = reopen(store.clone(), faults, clock).await;
    assert_eq!((bench.log.read_point(), bench.log.policy_version()), (ReadPoint(1), 7));
    assert_eq!(bench.log.now_secs(), NOW, "time does not run back over a restart");
    bench.commit(Basis::default(), Effects::default()).await.unwrap();
    let entries = bench.all().await;
    assert_eq!((entries[1].tenant_seq, entries[1].tenant_previous_plus_one), (1, 1));
    assert!(entries[1].time_unix_micros >= entries[0].time_unix_micros);

    let refused = Log::open(store, bench.clock.clone(), Arc::new(SystemEntropy::open()), options("other/log")).await;
    assert!(refused.unwrap_err().to_string().contains("log.origin"));
}

#[tokio::test]
async fn of_two_that_rewrite_one_slot_the_second_is_stale_and_changes_nothing() {
    let bench = open().await;
    let at = bench.log.read_point();
    bench.commit(rewrites(1, at), put(1)).await.unwrap();
    assert_eq!(bench.commit(rewrites(1, at), put(1)).await.unwrap_err(), Refused::Stale);
    assert_eq!(bench.log.read_point(), ReadPoint(1), "a stale record is not written");
    bench.commit(rewrites(1, bench.log.read_point()), put(1)).await.unwrap();
}

#[tokio::test]
async fn of_many_racing_to_create_one_slot_exactly_one_wins() {
    let bench = open().await;
    bench.faults.delay_commits(Duration::from_millis(20));
    let at = bench.log.read_point();
    let all = (0..200).map(|_| bench.commit(rewrites(1, at), put(1)));
    let outcomes = futures_util::future::join_all(all).await;
    assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 1);
    assert!(outcomes.iter().all(|outcome| matches!(outcome, Ok(_) | Err(Refused::Stale))));
}

#[tokio::test]
async fn nothing_is_released_after_what_it_relied_on_was_disrupted() {
    let bench = open().await;
    let before = bench.log.read_point();
    bench.commit(Basis::default(), Effects { disrupts: vec![slot(1)], ..Default::default() }).await.unwrap();
    assert_eq!(bench.commit(relies(1, before), Effects::default()).await.unwrap_err(), Refused::Stale);
    bench.commit(relies(2, before), Effects::default()).await.unwrap();
    bench.commit(relies(1, ReadPoint(1)), Effects::default()).await.unwrap();
    // A plain rewrite removes nothing that an opener relies on.
    bench.commit(Basis::default(), put(3)).await.unwrap();
    bench.commit(relies(3, before), Effects::default()).await.unwrap();
}

#[tokio::test]
async fn a_disruption_counts_for_answers_of_the_same_group() {
    let bench = open().await;
    bench.faults.delay_commits(Duration::from_millis(50));
    // The first keeps the writer busy, so that the other two are committed together.
    let first = bench.commit(Basis::default(), Effects::default());
    let both = async {
        tokio::time::sleep(Duration::from_millis(20)).await;
        let erase = bench.commit(Basis::default(), Effects { disrupts: vec![slot(1)], ..Default::default() });
        let open = bench.commit(relies(1, ReadPoint(0)), Effects::default());
        tokio::join!(biased; erase, open)
    };
    let (first, (erase, open)) = tokio::join!(first, both);
    assert!(first.is_ok() && erase.is_ok());
    assert_eq!(open.unwrap_err(), Refused::Stale);
    assert_eq!(bench.faults.commits(), 2);
}

#[tokio::test]
async fn nothing_is_released_under_a_policy_that_moved_or_past_its_time() {
    let bench = open().await;
    let under = |version, until| Basis { policy: Some((version, until)), ..Default::default() };
    assert_eq!(bench.commit(under(1, None), Effects::default()).await.unwrap_err(), Refused::Stale);
    let adopt = Effects { policy: Some((1, [0; 32])), ..Default::default() };
    bench.commit(Basis::default(), adopt).await.unwrap();
    bench.commit(under(1, None), Effects::default()).await.unwrap();
    bench.commit(under(1, Some(NOW + 1)), Effects::default()).await.unwrap();
    assert_eq!(bench.commit(under(1, Some(NOW)), Effects::default()).await.unwrap_err(), Refused::Stale);
    bench.clock.advance(Duration::from_secs(1));
    assert_eq!(bench.commit(under(1, Some(NOW + 1)), Effects::default()).await.unwrap_err(), Refused::Stale);
    assert_eq!(bench.commit(under(2, None), Effects::default()).await.unwrap_err(), Refused::Stale);
}

#[tokio::test]
async fn time_does_not_run_back_in_the_log() {
    let bench = open().await;
    bench.commit(Basis::default(), Effects::default()).await.unwrap();
    bench.clock.set_wall_secs(NOW - 10_000);
    bench.commit(Basis::default(), Effects::default()).await.unwrap();
    assert_eq!(bench.log.now_secs(), NOW);
    // While the wall clock is behind, what is stored goes by the monotonic one and does not stand still.
    bench.clock.advance(Duration::from_secs(500));
    bench.commit(Basis::default(), Effects::default()).await.unwrap();
    assert_eq!((bench.log.now_secs(), bench.log.believed_secs()), (NOW, NOW + 500));
    let times: Vec<_> = bench.all().await.iter().map(|entry| entry.time_unix_micros).collect();
    assert_eq!(times, [NOW * 1_000_000; 3]);
}

#[tokio::test]
async fn a_clock_that_leaps_ahead_is_not_believed_before_the_next_start() {
    let bench = open().await;
    bench.commit(Basis::default(), Effects::default()).await.unwrap();
    // A correction of some minutes is one; ten years are not.
    bench.clock.set_wall_secs(NOW + 600);
    bench.commit(Basis::default(), Effects::default()).await.unwrap();
    bench.clock.set_wall_secs(NOW + 315_360_000);
    bench.commit(Basis::default(), Effects::default()).await.unwrap();
    let secs: Vec<_> = bench.all().await.iter().map(|entry| entry.time_unix_micros / 1_000_000).collect();
    assert_eq!(secs, [NOW, NOW + 600, NOW + 600]);
    // Nor by whoever stores times without an entry of its own.
    assert_eq!((bench.log.believed_secs(), bench.log.now_secs()), (NOW + 600, NOW + 315_360_000));
    // Repaired, nothing of it is left; after a start, the clock is taken at its word.
    bench.clock.set_wall_secs(NOW + 700);
    bench.commit(Basis::default(), Effects::default()).await.unwrap();
    assert_eq!(bench.log.now_secs(), NOW + 700);
    let Bench { store, faults, clock, log, ending } = bench;
    drop(log);
    ending.join();
    clock.set_wall_secs(NOW + 864_000);
    let bench = reopen(store, faults, clock).await;
    bench.commit(Basis::default(), Effects::default()).await.unwrap();
    assert_eq!(bench.all().await.last().unwrap().time_unix_micros / 1_000_000, NOW + 864_000);
}

#[tokio::test]
async fn a_fault_releases_nothing_then_or_later() {
    for fault in [CommitFault::FailBefore, CommitFault::FailAfter, CommitFault::Panic] {
        let bench = open().await;
        bench.commit(Basis::default(), Effects::default()).await.unwrap();
        bench.faults.on_commit(0, fault);
        assert_eq!(bench.commit(Basis::default(), put(1)).await.unwrap_err(), Refused::Unavailable, "{fault:?}");
        tokio::time::timeout(Duration::from_secs(5), bench.log.failure()).await.expect("the fault is told");
        assert!(bench.log.has_failed());
        let commits = bench.faults.commits();
        assert_eq!(bench.commit(Basis::default(), put(1)).await.unwrap_err(), Refused::Unavailable);
        assert_eq!(bench.faults.commits(), commits, "the store is not written again");
        assert_eq!(bench.log.read_point(), ReadPoint(1));
    }
}

#[tokio::test]
async fn on_a_disk_nearly_full_only_what_may_take_from_the_reserve_goes_through() {
    let bench = open().await;
    bench.commit(Basis::default(), put(1)).await.unwrap();
    bench.faults.scarce_room(true);
    assert_eq!(bench.commit(Basis::default(), put(2)).await.unwrap_err(), Refused::Full);
    assert_eq!((bench.log.read_point(), bench.faults.releases()), (ReadPoint(1), 0), "nothing was written");
    let essential = Effects { from_reserve: true, ..put(3) };
    let (ordinary, essential) =
        tokio::join!(bench.commit(Basis::default(), put(4)), bench.commit(Basis::default(), essential));
    assert_eq!(ordinary.unwrap_err(), Refused::Full);
    essential.unwrap();
    assert!(bench.faults.releases() > 0);
    assert!(!bench.log.has_failed());
    bench.faults.scarce_room(false);
    bench.commit(Basis::default(), put(5)).await.unwrap();
    assert_eq!(bench.store.read(&[slot(2), slot(3)]).await.unwrap(), [None, Some(vec![3])]);
}

#[tokio::test]
async fn refusals_counted_while_there_was_no_room_are_recorded_later() {
    let bench = open().await;
    let tally = Tally::default();
    let kind = || Kind {
        operation: Operation::Decrypt,
        principal: Some(Principal::parse("spiffe://acme.example/x").unwrap()),
        tenant: acme(),
        reason: "DENIED",
    };
    for _ in 0..5 {
        tally.refuse(&bench.log, kind(), 0, || unreachable!(), No).await.unwrap();
    }
    bench.faults.scarce_room(true);
    assert_eq!(tally.flush(&bench.log).await.unwrap_err(), Refused::Full);
    bench.faults.scarce_room(false);
    tally.refuse(&bench.log, kind(), 0, || unreachable!(), No).await.unwrap();
    tally.flush(&bench.log).await.unwrap();
    assert_eq!(bench.all().await.iter().map(|entry| entry.count).sum::<u64>(), 6);
}

#[tokio::test]
async fn a_backend_that_can_not_tell_is_asked_again_with_the_same_batch() {
    for fault in [CommitFault::UnknownBefore, CommitFault::UnknownAfter] {
        let bench = open().await;
        bench.faults.on_commit(0, fault);
        bench.commit(Basis::default(), put(1)).await.unwrap();
        assert_eq!(bench.store.head().unwrap().entries, 1, "{fault:?}");
    }
    let bench = open().await;
    bench.faults.on_every_commit(Some(CommitFault::UnknownBefore));
    assert_eq!(bench.commit(Basis::default(), put(1)).await.unwrap_err(), Refused::Unavailable);
}

#[tokio::test]
async fn another_writer_on_the_store_is_a_fault() {
    let bench = open().await;
    let theirs = privet::store::Batch { head: Head { entries: 5, state: vec![] }, effects: vec![] };
    let _ = bench.store.commit(&Head::default(), &theirs).unwrap();
    assert_eq!(bench.commit(Basis::default(), put(1)).await.unwrap_err(), Refused::Unavailable);
}

#[tokio::test]
async fn an_effect_that_is_too_long_fails_alone() {
    let bench = open().await;
    let long = Effect { slot: slot(1), value: Some(vec![0; privet::store::VALUE_BYTES_MAX + 1]) };
    let effects = Effects { writes: vec![long], ..Default::default() };
    assert_eq!(bench.commit(Basis::default(), effects).await.unwrap_err(), Refused::TooLong);
    bench.commit(Basis::default(), put(1)).await.unwrap();
}

#[tokio::test]
async fn concurrent_records_share_a_commit() {
    let bench = open().await;
    bench.faults.delay_commits(Duration::from_millis(20));
    let all = (0..500).map(|_| bench.commit(Basis::default(), Effects::default()));
    let mut indexes: Vec<u64> = futures_util::future::join_all(all)
        .await
        .into_iter()
        .map(|outcome| outcome.unwrap().into_parts().1[0].entry_index)
        .collect();
    indexes.sort_unstable();
    assert!(indexes.into_iter().eq(0..500));
    assert!(bench.faults.commits() < 20, "{} commits", bench.faults.commits());
}

#[tokio::test]
async fn a_record_is_written_though_nobody_waits_for_it_any_more() {
    let bench = open().await;
    bench.faults.delay_commits(Duration::from_millis(100));
    let abandoned = tokio::time::timeout(Duration::from_millis(20), bench.commit(Basis::default(), put(1))).await;
    assert!(abandoned.is_err());
    bench.commit(Basis::default(), Effects::default()).await.unwrap();
    assert_eq!(bench.log.read_point(), ReadPoint(2));
    assert_eq!(bench.store.read(&[slot(1)]).await.unwrap(), [Some(vec![1])]);
}

#[tokio::test]
async fn entries_of_all_lengths_are_read_back_in_both_directions() {
    let bench = open().await;
    for n in 0..300_u32 {
        let aliases = vec![n as u8; 16 * if n % 7 == 0 { 3_000 } else { n as usize % 40 }];
        let target = Target { object: "pii/account/email".into(), aliases, count: n, ..Default::default() };
        let record = Record::encode(&acme(), Entry { reference: n.to_string(), ..Default::default() }, vec![target]);
        bench.log.commit(record.unwrap(), Basis::default(), Effects::default(), Unreleased::new(())).await.unwrap();
    }
    assert!(bench.all().await.iter().zip(0..).all(|(entry, n)| entry.reference == format!("{n}")));
    for end in [1, 7, 8, 150, 300] {
        let mut next = end;
        while next > 0 {
            let run = reader::entries(&*bench.store, 0..next, Direction::Descending).await.unwrap();
            assert_eq!(run.last().unwrap().index + 1, next);
            next = run[0].index;
        }
    }
}

#[tokio::test]
async fn a_changed_or_missing_entry_is_noticed_when_it_is_read() {
    let bench = open().await;
    bench.commit(Basis::default(), Effects::default()).await.unwrap();
    bench.commit(Basis::default(), Effects::default()).await.unwrap();
    let (key, value) = {
        let all = bench.store.scan(Space::Block, vec![]..vec![0xff; 16], Direction::Ascending, 10).await.unwrap();
        assert_eq!(all.len(), 2);
        all[0].clone()
    };
    let head = bench.store.head().unwrap();
    let block = |value| Effect { slot: Slot { space: Space::Block, key: key.clone() }, value };
    let mut changed = value.clone();
    *changed.last_mut().unwrap() ^= 1;
    for tampered in [Some(changed), None, Some(vec![]), Some(vec![9; 40])] {
        let batch = privet::store::Batch { head: head.clone(), effects: vec![block(tampered)] };
        let _ = bench.store.commit(&head, &batch).unwrap();
        assert!(reader::entries(&*bench.store, 0..2, Direction::Ascending).await.is_err());
        assert!(reader::entries(&*bench.store, 0..2, Direction::Descending).await.is_err());
    }
}

#[tokio::test]
async fn a_flood_of_refusals_is_recorded_as_a_count() {
    let bench = open().await;
    let tally = Tally::default();
    let alice = Principal::parse("spiffe://acme.example/alice").unwrap();
    let kind = |principal: Option<Principal>| Kind {
        operation: Operation::Decrypt,
        principal,
        tenant: acme(),
        reason: "DENIED",
    };
    for _ in 0..1_000 {
        let refused = tally.refuse(&bench.log, kind(Some(alice.clone())), 10, || Some(record(&acme(), "")), No).await;
        refused.unwrap();
    }
    assert_eq!(bench.log.read_point(), ReadPoint(10));
    tally.flush(&bench.log).await.unwrap();
    let last = bench.all().await.pop().unwrap();
    assert_eq!((last.count, last.principal.as_str(), last.refusal.as_str()), (990, alice.as_str(), "DENIED"));
    tally.flush(&bench.log).await.unwrap();
    assert_eq!(bench.log.read_point(), ReadPoint(11), "nothing is counted twice");

    bench.faults.on_commit(0, CommitFault::FailBefore);
    let unrecorded = tally.refuse(&bench.log, kind(None), 10, || Some(record(&acme(), "")), No).await;
    assert_eq!(unrecorded.unwrap_err(), Refused::Unavailable);
    for _ in 0..20 {
        let counted = tally.refuse(&bench.log, kind(None), 10, || Some(record(&acme(), "")), No).await;
        assert_eq!(counted.unwrap_err(), Refused::Unavailable, "not even a count, once the log has failed");
    }
}
