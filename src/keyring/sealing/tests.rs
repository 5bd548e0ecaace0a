//! Which key seals, when a new one is made, and what that writes.

use std::{collections::HashSet, sync::atomic::Ordering};

use super::*;
use crate::{
    keyring::{
        BUCKETS, Limits, SEALS_UNSAVED_MAX, VERSIONS_MAX,
        testing::{Stale, World, category, subject},
    },
    store::VALUE_BYTES_MAX,
};

async fn prepare(world: &World, wanted: &[(&str, &Category, u32)]) -> Sealing {
    let tenant = world.tenant("acme").await;
    let want = |(id, category, seals): &(&str, _, _)| (tenant.tag(&subject(id)), *category, *seals);
    let wanted: Vec<_> = wanted.iter().map(want).collect();
    let wanted: Vec<_> = wanted
        .iter()
        .map(|(tag, category, seals)| WantSeal {
            tag: *tag,
            category,
            seals: *seals,
            age_max_secs: None,
            outlives_closure: false,
        })
        .collect();
    world.keyring.for_sealing(&world.store, &tenant, &wanted, world.at()).await.unwrap()
}

fn versions(sealing: &Sealing) -> Vec<Result<u32, NoKey>> {
    sealing.keys.iter().map(|key| key.as_ref().map(|key| key.version()).map_err(|why| *why)).collect()
}

#[tokio::test]
async fn the_first_seal_makes_a_key_and_the_next_reads_nothing_and_writes_nothing() {
    let world = World::new();
    let account = category("account");
    let first = world.seal("acme", "anna", &account, 1).await;
    let (reads, draws) = (world.reads(), world.entropy.calls.load(Ordering::Relaxed));

    let again = prepare(&world, &[("anna", &account, 1)]).await;
    assert!(Arc::ptr_eq(again.keys[0].as_ref().unwrap(), &first));
    assert!(again.effects.is_empty() && again.rests.rewritten.is_empty());
    assert_eq!(again.rests.relied.len(), 2, "the tenant and the subject");
    assert_eq!((world.reads(), world.entropy.calls.load(Ordering::Relaxed)), (reads, draws));
}

#[tokio::test]
async fn a_restart_finds_the_same_key() {
    let mut world = World::new();
    let account = category("account");
    let first = world.seal("acme", "anna", &account, 1).await;
    world.restart();
    let again = world.seal("acme", "anna", &account, 1).await;
    assert!(!Arc::ptr_eq(&first, &again));
    assert_eq!((again.sealing().id(), again.version(), again.alias()), (first.sealing().id(), 1, first.alias()));
}

#[tokio::test]
async fn wants_of_one_subject_and_category_share_a_key_wherever_they_stand() {
    let world = World::new();
    let (account, billing) = (category("account"), category("billing"));
    world.tenant("acme").await;
    let draws = world.entropy.calls.load(Ordering::Relaxed);
    let wanted = [
        ("anna", &account, 1),
        ("ben", &account, 1),
        ("anna", &billing, 1),
        ("anna", &account, 2),
        ("ben", &account, 1),
    ];
    let sealing = prepare(&world, &wanted).await;

    let ids: Vec<_> = sealing.keys.iter().map(|key| key.as_ref().unwrap().sealing().id()).collect();
    assert!(ids[0] == ids[3] && ids[1] == ids[4]);
    assert_eq!(ids.iter().collect::<HashSet<_>>().len(), 3);
    let alias = |at: usize| sealing.keys[at].as_ref().unwrap().alias();
    assert!(alias(0) == alias(2) && alias(0) != alias(1));
    assert_eq!((sealing.effects.len(), sealing.rests.rewritten.len()), (2, 2), "one record a subject");
    assert_eq!(world.entropy.calls.load(Ordering::Relaxed), draws + 1, "one draw for all");
}

#[tokio::test]
async fn all_that_is_not_in_memory_comes_in_one_read() {
    let mut world = World::new();
    let account = category("account");
    let ids: Vec<String> = (0..50).map(|n| format!("subject {n}")).collect();
    let wanted: Vec<_> = ids.iter().map(|id| (id.as_str(), &account, 1)).collect();
    let sealing = prepare(&world, &wanted).await;
    world.commit(&sealing.rests, &sealing.effects).unwrap();
    world.restart();
    world.tenant("acme").await;

    let reads = world.reads();
    let again = prepare(&world, &wanted).await;
    assert_eq!(world.reads(), reads + 1);
    assert!(again.effects.is_empty());
}

#[tokio::test]
async fn of_two_that_make_the_same_key_one_goes_stale_and_then_finds_the_others() {
    let world = World::new();
    let account = category("account");
    let one = prepare(&world, &[("anna", &account, 1)]).await;
    let other = prepare(&world, &[("anna", &account, 1)]).await;
    assert_eq!(one.rests.rewritten, other.rests.rewritten);
    assert_ne!(one.keys[0].as_ref().unwrap().sealing().id(), other.keys[0].as_ref().unwrap().sealing().id());

    let committed = world.commit(&one.rests, &one.effects).unwrap();
    world.keyring.settle(one.pending, committed);
    assert!(matches!(world.commit(&other.rests, &other.effects), Err(Stale)));
    world.keyring.forget(other.rests.iter());
    let rerun = world.seal("acme", "anna", &account, 1).await;
    assert_eq!(rerun.sealing().id(), one.keys[0].as_ref().unwrap().sealing().id());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_first_seals_at_once_make_one_key() {
    let world = Arc::new(World::new());
    world.tenant("acme").await;
    let tasks: Vec<_> = (0..200)
        .map(|_| {
            let world = Arc::clone(&world);
            tokio::spawn(async move { world.seal("acme", "anna", &category("account"), 1).await.sealing().id() })
        })
        .collect();
    let mut ids = HashSet::new();
    for task in tasks {
        ids.insert(*task.await.unwrap().as_bytes());
    }
    assert_eq!(ids.len(), 1);
    assert_eq!(world.seal("acme", "anna", &category("account"), 0).await.version(), 1);
}

#[tokio::test]
async fn a_key_that_was_never_committed_is_never_seen_again() {
    let world = World::new();
    let account = category("account");
    let lost = prepare(&world, &[("anna", &account, 1)]).await;
    let next = prepare(&world, &[("anna", &account, 1)]).await;
    assert_eq!(next.effects.len(), 1, "it is made anew");
    assert_ne!(lost.keys[0].as_ref().unwrap().sealing().id(), next.keys[0].as_ref().unwrap().sealing().id());

    // The same with a record that is in memory: a new category stays out of it until it is settled.
    world.seal("acme", "anna", &account, 1).await;
    let billing = category("billing");
    for _ in 0..2 {
        let sealing = prepare(&world, &[("anna", &billing, 1)]).await;
        assert_eq!((versions(&sealing), sealing.effects.len()), (vec![Ok(1)], 1));
    }
}

#[tokio::test]
async fn an_old_key_is_followed_by_a_new_version_and_a_clock_running_back_makes_none() {
    let world = World::new();
    let account = category("account");
    world.seal("acme", "anna", &account, 1).await;
    let born = world.clock.wall_secs.load(Ordering::Relaxed);
    let year = Limits::default().subject_key_max_age.as_secs();

    for (now, version) in [(born + year - 1, 1), (0, 1), (born + year, 2), (born + year - 1, 2), (0, 2)] {
        world.clock.wall_secs.store(now, Ordering::Relaxed);
        assert_eq!(world.seal("acme", "anna", &account, 1).await.version(), version, "at {now}");
    }
}

#[tokio::test]
async fn a_count_is_written_each_4096_and_survives_a_restart() {
    let mut world = World::new();
    let account = category("account");
    world.seal("acme", "anna", &account, 1).await;
    let quiet = prepare(&world, &[("anna", &account, 4094)]).await;
    assert!(quiet.effects.is_empty());
    let saving = prepare(&world, &[("anna", &account, 1)]).await;
    assert_eq!((saving.effects.len(), saving.rests.rewritten.len()), (1, 1));
    world.commit(&saving.rests, &saving.effects).unwrap();

    world.restart();
    assert_eq!(count(&world, "anna", &account).await, SEALS_UNSAVED_MAX);
}

#[tokio::test]
async fn a_count_that_was_written_down_is_not_written_again_with_each_seal() {
    let world = World::new();
    let account = category("account");
    world.seal("acme", "anna", &account, 4_095).await;
    for (seals, writes) in [(1, 1), (1, 0), (4_000, 0), (100, 1), (1, 0)] {
        let sealing = prepare(&world, &[("anna", &account, seals)]).await;
        assert_eq!(sealing.effects.len(), writes, "{seals}");
        if writes > 0 {
            let committed = world.commit(&sealing.rests, &sealing.effects).unwrap();
            world.keyring.settle(sealing.pending, committed);
        }
    }
    // What failed to be committed is tried again.
    let failed = prepare(&world, &[("anna", &account, 4_096)]).await;
    assert_eq!(failed.effects.len(), 1);
    drop(failed);
    assert_eq!(prepare(&world, &[("anna", &account, 1)]).await.effects.len(), 1);
}

#[tokio::test]
async fn a_closed_subject_is_sealed_for_only_what_was_sealed_before() {
    let world = World::new();
    let account = category("account");
    world.seal("acme", "anna", &account, 1).await;
    let tenant = world.tenant("acme").await;
    let tag = tenant.tag(&subject("anna"));
    let sealing = prepare(&world, &[("anna", &account, 1)]).await;
    assert!(sealing.keys[0].is_ok());
    let mut subjects = world.keyring.subjects(&world.store, &tenant, [tag], world.at()).await.unwrap();
    subjects.close(0, 7, 9).unwrap();
    let changes = world.keyring.changes(subjects).unwrap();
    world.change(&changes);
    assert!(
        world.commit(&sealing.rests, &sealing.effects).is_err(),
        "sealed before the closure, and not released behind it"
    );
    for (outlives_closure, category, sealed) in [
        (false, account.clone(), Err(NoKey::Closed)),
        (false, category("billing"), Err(NoKey::Closed)),
        (true, account.clone(), Ok(())),
    ] {
        let want = WantSeal { tag, category: &category, seals: 1, age_max_secs: None, outlives_closure };
        let sealing = world.keyring.for_sealing(&world.store, &tenant, &[want], world.at()).await.unwrap();
        assert_eq!(sealing.keys[0].as_ref().map(drop).map_err(|no_key| *no_key), sealed);
    }
}

/// The count as it is stored.
async fn count(world: &World, id: &str, category: &Category) -> u64 {
    let tenant = world.tenant("acme").await;
    let tag = tenant.tag(&subject(id));
    let mut seen = world.keyring.recall(&tenant, vec![tag]);
    world.keyring.load(&world.store, &tenant, &mut seen, world.at()).await.unwrap();
    match &seen[0].found {
        Found::Record(record) => record.newest(category).unwrap().seals(),
        Found::Unread | Found::Absent(_) => panic!("no record"),
    }
}

#[tokio::test]
async fn counts_live_on_when_a_record_is_rewritten_or_read_again() {
    let world = World::new();
    let (account, billing) = (category("account"), category("billing"));
    world.seal("acme", "anna", &account, 1).await;
    world.seal("acme", "anna", &account, 100).await;
    world.seal("acme", "anna", &billing, 1).await;
    world.seal("acme", "anna", &account, 50).await;
    assert_eq!(count(&world, "anna", &account).await, 151);

    // Opening with a key that is not there reads the record again.
    let tenant = world.tenant("acme").await;
    let want = crate::keyring::WantOpen {
        tag: tenant.tag(&subject("anna")),
        category: &account,
        key_id: crate::envelope::KeyId::new([0; 16]),
    };
    world.commit(&Rests::default(), &[]).unwrap();
    let reads = world.reads();
    world.keyring.for_opening(&world.store, &tenant, &[want], world.at()).await.unwrap().keys[0].as_ref().unwrap_err();
    assert_eq!(world.reads(), reads + 1);
    assert_eq!(count(&world, "anna", &account).await, 151);
}

#[tokio::test]
async fn a_spent_budget_makes_a_new_version_and_a_want_past_any_budget_gets_no_key() {
    let world = World::new();
    let account = category("account");
    let most = u32::try_from(SEALS_MAX).unwrap();
    assert_eq!(world.seal("acme", "anna", &account, most).await.version(), 1);
    assert_eq!(world.seal("acme", "anna", &account, 1).await.version(), 2);

    let past =
        prepare(&world, &[("anna", &account, most + 1), ("ben", &account, most + 1), ("anna", &account, 1)]).await;
    assert_eq!(versions(&past), [Err(NoKey::OverBudget), Err(NoKey::OverBudget), Ok(2)]);
    assert!(past.effects.is_empty());
    assert_eq!(past.rests.relied.len(), 2, "nothing stands on a subject that is not there");

    let both = prepare(&world, &[("carl", &account, most), ("carl", &account, 1)]).await;
    assert_eq!(versions(&both), [Ok(1), Err(NoKey::OverBudget)]);
}

#[tokio::test]
async fn sixty_four_versions_are_the_most_and_the_rest_of_the_request_goes_on() {
    let mut world = World::with(Limits { subject_key_max_age: std::time::Duration::ZERO, ..Limits::default() });
    let account = category("account");
    for version in 1..=VERSIONS_MAX {
        assert_eq!(world.seal("acme", "anna", &account, 1).await.version() as usize, version);
    }
    world.restart();
    let full = prepare(&world, &[("anna", &account, 1), ("ben", &account, 1)]).await;
    assert_eq!(versions(&full), [Err(NoKey::OverBudget), Ok(1)]);
    assert_eq!(full.effects.len(), 1);
}

#[tokio::test]
async fn a_request_for_many_categories_never_makes_a_value_that_is_too_long() {
    let world = World::new();
    let categories: Vec<_> = (0..200).map(|n| category(&format!("{n:032}"))).collect();
    for _ in 0..2 {
        let wanted: Vec<_> = categories.iter().map(|category| ("anna", category, 1)).collect();
        let sealing = prepare(&world, &wanted).await;
        assert!(sealing.keys.iter().any(Result::is_ok) && sealing.keys.iter().any(Result::is_err));
        for effect in &sealing.effects {
            assert!(effect.value.as_ref().unwrap().len() <= VALUE_BYTES_MAX);
        }
        let committed = world.commit(&sealing.rests, &sealing.effects).unwrap();
        world.keyring.settle(sealing.pending, committed);
    }
}

#[tokio::test]
async fn a_rewrite_rests_on_the_bucket_key_that_it_seals_under() {
    let world = World::new();
    let account = category("account");
    let tenant = world.tenant("acme").await;
    let sealing = prepare(&world, &[("anna", &account, 1)]).await;
    let bucket = slots::bucket(tenant.tenant(), tenant.tag(&subject("anna")).bucket());
    assert!(sealing.rests.relied.iter().any(|(slot, _)| *slot == bucket));
    assert!(sealing.rests.relied.iter().any(|(slot, _)| *slot == slots::tenant(tenant.tenant())));
    let gone = Effect { slot: bucket, value: None };
    world.commit(&Rests::default(), &[gone]).unwrap();
    assert!(matches!(world.commit(&sealing.rests, &sealing.effects), Err(Stale)));
}

#[tokio::test]
async fn without_randomness_no_key_is_made_and_old_ones_seal_on() {
    let world = World::new();
    let account = category("account");
    world.seal("acme", "anna", &account, 1).await;
    world.entropy.broken.store(1, Ordering::Relaxed);
    world.seal("acme", "anna", &account, 1).await;
    let tenant = world.tenant("acme").await;
    let want = WantSeal {
        tag: tenant.tag(&subject("ben")),
        category: &account,
        seals: 1,
        age_max_secs: None,
        outlives_closure: false,
    };
    let made = world.keyring.for_sealing(&world.store, &tenant, &[want], world.at()).await;
    assert!(matches!(made, Err(Error::Entropy(_))));
}

#[tokio::test]
async fn nothing_that_is_stored_or_named_shows_the_subjects_id() {
    let world = World::new();
    let id = "anna.canary@example.org";
    world.seal("acme", id, &category("account"), 1).await;
    let values = world.store.values.lock().unwrap();
    assert_eq!(values.len(), 2 + usize::from(BUCKETS));
    for (slot, value) in values.iter() {
        for bytes in [&slot.key, value] {
            assert!(!bytes.windows(8).any(|window| id.as_bytes().windows(8).any(|part| part == window)));
        }
    }
}

#[tokio::test]
async fn asking_for_nothing_gives_nothing() {
    let world = World::new();
    let sealing = prepare(&world, &[]).await;
    assert!(sealing.keys.is_empty() && sealing.effects.is_empty());
    assert_eq!(format!("{:?}", sealing.pending), "Pending");
}
