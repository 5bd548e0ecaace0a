//! What is kept in memory, and when it is let go.

use std::sync::atomic::Ordering;

use super::*;
use crate::{
    entropy::SystemEntropy,
    keyring::testing::{World, category, subject},
    store::Effect,
};

#[tokio::test]
async fn an_unknown_tenant_has_no_keys() {
    let world = World::new();
    let nobody = Tenant::parse("nobody").unwrap();
    assert!(world.keyring.tenant(&world.store, &nobody, world.at()).await.unwrap().is_none());
}

#[tokio::test]
async fn another_root_is_refused_with_a_clear_error() {
    let world = World::new();
    world.tenant("acme").await;
    let dir = tempfile::tempdir().unwrap();
    let other = root::FileRoot::create(dir.path(), Arc::new(SystemEntropy::open())).unwrap();
    let keyring = Keyring::new(Arc::new(other), world.entropy.clone(), world.clock.clone(), Limits::default());
    let acme = Tenant::parse("acme").unwrap();
    let error = keyring.tenant(&world.store, &acme, world.at()).await.unwrap_err();
    assert!(matches!(error, Error::Root(root::Error::Mismatch(root::Generation(1)))));
    let source = std::error::Error::source(&error).unwrap().to_string();
    assert!(source.contains("give the root keys that belong to this store"), "{source}");
}

#[tokio::test]
async fn a_record_is_read_again_after_its_time() {
    let world = World::with(Limits { cache_ttl: Duration::from_secs(3600), ..Limits::default() });
    let account = category("account");
    let key = Arc::downgrade(&world.seal("acme", "anna", &account, 1).await);
    let reads = world.reads();

    world.clock.monotonic_secs.store(299, Ordering::Relaxed);
    world.seal("acme", "anna", &account, 1).await;
    assert_eq!(world.reads(), reads);
    assert!(key.upgrade().is_some());

    world.clock.monotonic_secs.store(300, Ordering::Relaxed);
    world.seal("acme", "anna", &account, 1).await;
    assert_eq!(world.reads(), reads + 1, "five minutes are the most, whatever was asked for");
    assert!(key.upgrade().is_none(), "the old one is gone from memory");
}

#[tokio::test]
async fn a_sweep_wipes_what_nobody_asks_for_again() {
    let world = World::new();
    let key = Arc::downgrade(&world.seal("acme", "anna", &category("account"), 1).await);
    world.keyring.sweep();
    assert!(key.upgrade().is_some());
    world.clock.monotonic_secs.store(300, Ordering::Relaxed);
    world.keyring.sweep();
    assert!(key.upgrade().is_none());
}

#[tokio::test]
async fn an_evicted_key_is_dropped_at_once() {
    let world = World::with(Limits { cache_subjects: 2, ..Limits::default() });
    let mut keys = Vec::new();
    for id in ["anna", "ben", "carl", "dora"] {
        keys.push(Arc::downgrade(&world.seal("acme", id, &category("account"), 1).await));
    }
    assert_eq!(keys.iter().filter(|key| key.upgrade().is_some()).count(), 2);
    // An evicted key comes back from the store.
    assert_eq!(world.seal("acme", "anna", &category("account"), 1).await.version(), 1);
}

#[tokio::test]
async fn forgetting_reaches_subjects_buckets_and_tenants_and_spares_what_is_newer() {
    let world = World::new();
    let account = category("account");
    let before = world.tenant("acme").await;
    world.seal("acme", "anna", &account, 1).await;
    let tag = before.tag(&subject("anna"));
    let slots = [
        slots::tenant(before.tenant()),
        slots::bucket(before.tenant(), tag.bucket()),
        slots::subject(before.tenant(), tag),
    ];
    let all = |upto| slots.iter().map(move |slot| (slot.clone(), ReadPoint(upto))).collect::<Vec<_>>();

    world.keyring.forget(&all(0));
    assert!(Arc::ptr_eq(&before, &world.tenant("acme").await));
    assert!(before.bucket(tag.bucket()).is_some());
    let reads = world.reads();
    world.seal("acme", "anna", &account, 1).await;
    assert_eq!(world.reads(), reads);

    world.keyring.forget(&all(u64::MAX)[1..]);
    assert!(before.bucket(tag.bucket()).is_none());
    world.seal("acme", "anna", &account, 1).await;
    assert_eq!(world.reads(), reads + 1);

    world.keyring.forget(&all(u64::MAX));
    assert!(!Arc::ptr_eq(&before, &world.tenant("acme").await));
}

#[tokio::test]
async fn a_tenant_made_twice_at_once_is_made_once() {
    let world = World::new();
    let acme = Tenant::parse("acme").unwrap();
    let one = world.keyring.create_tenant(&acme, None, world.at()).await.unwrap();
    let two = world.keyring.create_tenant(&acme, None, world.at()).await.unwrap();
    world.commit(&one.rests, &one.effects).unwrap();
    assert!(world.commit(&two.rests, &two.effects).is_err());
}

#[tokio::test]
async fn tenants_read_twice_at_once_share_their_keys() {
    let mut world = World::new();
    world.tenant("acme").await;
    world.restart();
    let reads = world.reads();
    let (one, two) = tokio::join!(world.tenant("acme"), world.tenant("acme"));
    assert_eq!(world.reads(), reads + 2);
    assert!(Arc::ptr_eq(&one, &two));
}

#[tokio::test]
async fn the_number_of_tenants_in_memory_is_bounded() {
    let world = World::with(Limits { cache_tenants: 2, ..Limits::default() });
    let first = world.tenant("a").await;
    for name in ["b", "c"] {
        world.tenant(name).await;
    }
    assert_eq!(world.keyring.tenants.read().unwrap().len(), 2);
    let again = world.tenant("a").await;
    assert!(!Arc::ptr_eq(&first, &again));
    assert_eq!(first.tag(&subject("anna")), again.tag(&subject("anna")));
}

#[tokio::test]
async fn a_tenants_end_makes_what_rests_on_it_stale() {
    let world = World::new();
    let account = category("account");
    let tenant = world.tenant("acme").await;
    world.seal("acme", "anna", &account, 1).await;
    let want = WantSeal {
        tag: tenant.tag(&subject("anna")),
        category: &account,
        seals: 1,
        age_max_secs: None,
        outlives_closure: false,
    };
    let sealing = world.keyring.for_sealing(&world.store, &tenant, &[want], world.at()).await.unwrap();
    let gone = Effect { slot: slots::tenant(tenant.tenant()), value: None };
    world.commit(&Rests::default(), &[gone]).unwrap();
    assert!(world.commit(&sealing.rests, &sealing.effects).is_err());
    world.keyring.forget(sealing.rests.iter());
    assert!(world.keyring.tenant(&world.store, tenant.tenant(), world.at()).await.unwrap().is_none());
    assert_eq!(format!("{:?}", world.keyring), "Keyring");
}
