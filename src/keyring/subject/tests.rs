//! Erasure, holds and closure on a store in memory.

use super::*;
use crate::keyring::{
    NoKey, WantOpen, WantSeal,
    testing::{World, category, subject},
};

const FIRST: ErasureId = ErasureId([1; 16]);
const SECOND: ErasureId = ErasureId([2; 16]);

async fn read(world: &World, id: &str) -> Subjects {
    let tenant = world.tenant("acme").await;
    let tag = tenant.tag(&subject(id));
    world.keyring.subjects(&world.store, &tenant, [tag], world.at()).await.unwrap()
}

fn commit(world: &World, subjects: Subjects) -> Changes {
    let mut changes = world.keyring.changes(subjects).unwrap();
    let committed = world.commit(&changes.rests, &changes.effects).unwrap();
    let pending =
        Pending { records: std::mem::take(&mut changes.pending.records), ..Pending::none(&changes.pending.tenant) };
    world.keyring.settle(pending, committed);
    changes
}

async fn erase(
    world: &World,
    id: &str,
    categories: Option<&[Category]>,
    erasure: ErasureId,
) -> Result<Vec<ErasureId>, Unerased> {
    let mut subjects = read(world, id).await;
    let erased = subjects.erase(0, categories, erasure)?;
    commit(world, subjects);
    Ok(erased)
}

async fn open(world: &World, id: &str, category: &Category, key: crate::envelope::KeyId) -> Result<(), NoKey> {
    let tenant = world.tenant("acme").await;
    let want = WantOpen { tag: tenant.tag(&subject(id)), category, key_id: key };
    let opening = world.keyring.for_opening(&world.store, &tenant, &[want], world.at()).await.unwrap();
    opening.keys.into_iter().next().unwrap().map(|_| ())
}

async fn try_seal(world: &World, id: &str, category: &Category) -> Result<(), NoKey> {
    let tenant = world.tenant("acme").await;
    let want =
        WantSeal { tag: tenant.tag(&subject(id)), category, seals: 1, age_max_secs: None, outlives_closure: false };
    let sealing = world.keyring.for_sealing(&world.store, &tenant, &[want], world.at()).await.unwrap();
    sealing.keys.into_iter().next().unwrap().map(|_| ())
}

fn hold(id: &str) -> stored::Hold {
    stored::Hold {
        id: id.into(),
        reason: "r".repeat(200),
        placed_unix_secs: 7,
        placed_by: "spiffe://a/jo".into(),
        reason_salt: vec![5; 16],
    }
}

#[tokio::test]
async fn an_erased_category_opens_and_seals_no_more_and_others_do() {
    let mut world = World::new();
    let (account, billing) = (category("account"), category("billing"));
    let gone = world.seal("acme", "anna", &account, 1).await.sealing().id();
    let kept = world.seal("acme", "anna", &billing, 1).await.sealing().id();
    let some = [account.clone()];
    assert_eq!(erase(&world, "anna", Some(&some), FIRST).await, Ok(vec![FIRST]));
    for _ in 0..2 {
        assert_eq!(open(&world, "anna", &account, gone).await, Err(NoKey::Erased));
        assert_eq!(try_seal(&world, "anna", &account).await, Err(NoKey::Erased));
        assert_eq!(open(&world, "anna", &billing, kept).await, Ok(()));
        assert_eq!(try_seal(&world, "anna", &billing).await, Ok(()));
        world.restart();
    }
    assert_eq!(erase(&world, "anna", Some(&some), SECOND).await, Ok(vec![FIRST]), "erased once");
    // The whole of it: what was erased before, and what is erased now.
    assert_eq!(erase(&world, "anna", None, SECOND).await, Ok(vec![FIRST, SECOND]));
    assert_eq!(open(&world, "anna", &billing, kept).await, Err(NoKey::Erased));
    for categories in [None, Some(some.as_slice())] {
        assert_eq!(erase(&world, "anna", categories, ErasureId([3; 16])).await, Ok(vec![SECOND]));
    }
    assert_eq!(try_seal(&world, "anna", &category("usage")).await, Err(NoKey::Erased), "what never was, too");
}

#[tokio::test]
async fn nothing_leads_to_the_old_alias_once_the_last_key_is_gone() {
    let world = World::new();
    let (account, billing) = (category("account"), category("billing"));
    let alias = world.seal("acme", "anna", &account, 1).await.alias();
    world.seal("acme", "anna", &billing, 1).await;
    erase(&world, "anna", Some(&[account]), FIRST).await.unwrap();
    assert_eq!(read(&world, "anna").await.view(0).unwrap().alias(), alias, "billing lives on");
    erase(&world, "anna", Some(&[billing]), SECOND).await.unwrap();
    let subjects = read(&world, "anna").await;
    let view = subjects.view(0).unwrap();
    assert!(view.alias() != alias && view.categories().count() == 0 && view.erased().len() == 2);
}

#[tokio::test]
async fn who_comes_back_has_new_keys_and_a_new_alias() {
    let world = World::new();
    let account = category("account");
    let first = world.seal("acme", "anna", &account, 1).await;
    erase(&world, "anna", None, FIRST).await.unwrap();
    let mut subjects = read(&world, "anna").await;
    subjects.close(0, 9, 9);
    assert_eq!(subjects.reinstate(0), Some(true));
    commit(&world, subjects);
    assert_eq!(read(&world, "anna").await.reinstate(0), Some(false));
    assert_eq!(read(&world, "nobody").await.reinstate(0), None);
    let again = world.seal("acme", "anna", &account, 1).await;
    assert!(again.alias() != first.alias() && again.sealing().id() != first.sealing().id());
    let old = open(&world, "anna", &account, first.sealing().id()).await;
    assert_eq!(old, Err(NoKey::NoSuchKey { alias: again.alias() }), "what was erased stays so");
    assert_eq!(read(&world, "anna").await.view(0).unwrap().closed_unix_secs(), None);
}

#[tokio::test]
async fn a_hold_stops_what_erases_and_nothing_that_erased_already() {
    let world = World::new();
    let (account, billing) = (category("account"), category("billing"));
    world.seal("acme", "anna", &account, 1).await;
    world.seal("acme", "anna", &billing, 1).await;
    erase(&world, "anna", Some(std::slice::from_ref(&account)), FIRST).await.unwrap();
    let mut subjects = read(&world, "anna").await;
    assert_eq!(subjects.place_hold(0, hold("CASE-1")), Holding::Placed(hold("CASE-1")));
    let later = stored::Hold { placed_unix_secs: 8, ..hold("CASE-1") };
    assert_eq!(subjects.place_hold(0, later), Holding::Placed(hold("CASE-1")), "as it was placed first");
    assert_eq!(subjects.place_hold(0, hold("CASE-2")), Holding::Placed(hold("CASE-2")));
    commit(&world, subjects);
    assert_eq!(erase(&world, "anna", None, SECOND).await, Err(Unerased::Held("CASE-1".into())));
    assert_eq!(erase(&world, "anna", Some(&[billing]), SECOND).await, Err(Unerased::Held("CASE-1".into())));
    assert_eq!(erase(&world, "anna", Some(&[account]), SECOND).await, Ok(vec![FIRST]));
    for id in ["CASE-1", "CASE-2"] {
        assert!(erase(&world, "anna", None, SECOND).await.is_err());
        let mut subjects = read(&world, "anna").await;
        assert_eq!(subjects.release_hold(0, "CASE-3", 9), None);
        assert_eq!(subjects.release_hold(0, id, 9), Some(hold(id)));
        commit(&world, subjects);
    }
    assert_eq!(erase(&world, "anna", None, SECOND).await, Ok(vec![FIRST, SECOND]));
}

#[tokio::test]
async fn what_is_unknown_is_neither_erased_nor_held_nor_closed() {
    let world = World::new();
    world.seal("acme", "anna", &category("account"), 1).await;
    let mut subjects = read(&world, "nobody").await;
    assert!(subjects.view(0).is_none());
    assert_eq!(subjects.erase(0, None, FIRST), Err(Unerased::Unknown));
    assert_eq!(subjects.place_hold(0, hold("CASE-1")), Holding::Unknown);
    assert_eq!((subjects.release_hold(0, "CASE-1", 9), subjects.close(0, 9, 9)), (None, None));
    assert!(world.keyring.changes(subjects).unwrap().effects.is_empty());
    assert_eq!(erase(&world, "anna", Some(&[category("billing")]), FIRST).await, Err(Unerased::Unknown));
}

#[tokio::test]
async fn an_erasure_disrupts_and_everything_goes_stale_that_read_before_it() {
    let world = World::new();
    let account = category("account");
    world.seal("acme", "anna", &account, 1).await;
    let (mut one, mut other) = (read(&world, "anna").await, read(&world, "anna").await);
    one.erase(0, None, FIRST).unwrap();
    other.place_hold(0, hold("CASE-1"));
    let held = world.keyring.changes(other).unwrap();
    let changes = commit(&world, one);
    let tenant = world.tenant("acme").await;
    assert_eq!(changes.disrupts, [slots::subject(tenant.tenant(), tenant.tag(&subject("anna")))]);
    assert!(held.disrupts.is_empty() && world.commit(&held.rests, &held.effects).is_err());
    assert!(read(&world, "anna").await.view(0).unwrap().holds().is_empty());
}

#[tokio::test]
async fn a_full_record_takes_the_longest_hold_and_the_first_closure_counts() {
    let world = World::new();
    let mut n = 0;
    loop {
        let category = category(&format!("c{n}"));
        if try_seal(&world, "anna", &category).await.is_err() {
            break;
        }
        world.seal("acme", "anna", &category, 1).await;
        n += 1;
    }
    assert!(n > 20, "{n}");
    let mut subjects = read(&world, "anna").await;
    let longest = |id: &str| stored::Hold { id: id.repeat(64), placed_by: "p".repeat(258), ..hold("") };
    assert!(matches!(subjects.place_hold(0, longest("a")), Holding::Placed(_)));
    assert_eq!(subjects.place_hold(0, longest("b")), Holding::Full);
    assert_eq!((subjects.close(0, 9, 9), subjects.close(0, 10, 10)), (Some(9), Some(9)));
    let changes = commit(&world, subjects);
    assert!(changes.effects[0].value.as_ref().unwrap().len() <= VALUE_BYTES_MAX);
    assert_eq!(read(&world, "anna").await.view(0).unwrap().holds().len(), 1);
}
