//! Keepers of logs who hold the key and sign what should not be: their own signature is held against them.

use super::*;
use crate::{
    audit::announcement::{Announcement, Error},
    proto::stored::{Entry, LogChange, Operation},
};

/// A log whose keeper puts one entry in it that he made up, after 100 honest ones, and then goes on.
fn with(entry: impl FnOnce(&Log) -> Entry) -> Export {
    let mut log = Log::grown(24, 99);
    log.append("globex", Entry::default());
    let made_up = entry(&log);
    log.put_entry(&made_up);
    log.now += STEP_MICROS;
    log.sign();
    log.export("acme", 0)
}

/// The tenant's newest entry and its index.
fn newest(log: &Log) -> (u64, &Entry) {
    let at = log.entries.iter().rposition(|entry| entry.tenant == "acme").unwrap();
    (at as u64, &log.entries[at])
}

/// The entry that would come next.
fn next(log: &Log) -> Entry {
    let (index, newest) = newest(log);
    let (tenant_seq, tenant_previous_plus_one) = (newest.tenant_seq + 1, index + 1);
    Entry {
        tenant: "acme".into(),
        tenant_seq,
        tenant_previous_plus_one,
        time_unix_micros: log.now,
        ..Default::default()
    }
}

#[test]
fn the_next_entry_as_it_should_be_is_no_finding() {
    assert!(with(next).verify().is_ok());
}

#[test]
fn a_number_that_is_left_out_is_found() {
    let export = with(|log| Entry { tenant_seq: next(log).tenant_seq + 1, ..next(log) });
    let finding = found(export.verify(), Signed::Yes);
    assert!(matches!(finding, Finding::Link { .. }) && finding.range().contains(&100), "{finding}");
    // And so it is if he pretends that the one left out is one of the others'.
    let export = with(|log| Entry { tenant_seq: next(log).tenant_seq + 1, tenant_previous_plus_one: 100, ..next(log) });
    let finding = found(export.verify(), Signed::Yes);
    assert!(matches!(finding, Finding::Missing { missing: 1, .. }) && finding.range().contains(&99), "{finding}");
}

#[test]
fn a_number_that_is_used_twice_is_found() {
    let export = with(|log| newest(log).1.clone());
    // Neither the repeated one nor what the log begins with.
    let expected = export.shown().len() as u64 - 2;
    let finding = found(export.verify(), Signed::Yes);
    assert!(matches!(finding, Finding::TimeRunsBack { .. } | Finding::Sequence { .. }), "{finding}");
    let export = with(|log| Entry { time_unix_micros: log.now, ..newest(log).1.clone() });
    let repeated = Finding::Sequence { index: 100, seq: expected - 1, expected };
    assert_eq!(found(export.verify(), Signed::Yes), repeated);
}

#[test]
fn a_link_to_another_entry_is_found() {
    for off in [1, 2, 50] {
        let export = with(|log| {
            let tenant_previous_plus_one = next(log).tenant_previous_plus_one.saturating_sub(off).max(1);
            Entry { tenant_previous_plus_one, ..next(log) }
        });
        let finding = found(export.verify(), Signed::Yes);
        assert!(matches!(&finding, Finding::Link { range } if range.end == 101), "{finding}");
    }
}

#[test]
fn time_that_runs_back_is_found() {
    let export = with(|log| Entry { time_unix_micros: newest(log).1.time_unix_micros - 1, ..next(log) });
    let after = *export.shown().iter().rfind(|index| **index < 100).unwrap();
    assert_eq!(found(export.verify(), Signed::Yes), Finding::TimeRunsBack { index: 100, after });
    // Entries of one group have one time.
    assert!(with(|log| Entry { time_unix_micros: newest(log).1.time_unix_micros, ..next(log) }).verify().is_ok());
}

#[test]
fn a_tenants_entry_about_the_log_is_found() {
    let change = LogChange { end_index: 1, ..Default::default() };
    let export =
        with(|log| Entry { log_change: Some(change.clone()), operation: Operation::DeleteEntries.into(), ..next(log) });
    assert_eq!(found(export.verify(), Signed::Yes), Finding::LogChange { index: 100 });
}

/// A log whose oldest entries were deleted, at `age_days`, by a record that says what `lie` makes of it.
fn deleting(age_days: u64, lie: impl FnOnce(&mut LogChange)) -> Log {
    let mut log = Log::grown(22, 600);
    log.now = log.entries[511].time_unix_micros + age_days * 86_400_000_000;
    let newest_time_unix_micros = log.entries[511].time_unix_micros;
    let mut change = LogChange { end_index: 512, newest_time_unix_micros, ..Default::default() };
    lie(&mut change);
    log.about_log(Operation::DeleteEntries, change);
    log.deleted = 512;
    log.grow_to(700);
    log
}

fn gap(log: &Log) -> std::ops::Range<u64> {
    0..log.entries[..512].iter().rposition(|entry| entry.tenant == "acme").unwrap() as u64 + 1
}

#[test]
fn bodies_deleted_and_recorded_in_time_are_no_finding() {
    let verified = deleting(400, |_| ()).export("acme", 0).verify().unwrap();
    assert!(verified.deleted > 100);
}

#[test]
fn bodies_deleted_too_young_are_found() {
    let log = deleting(399, |_| ());
    let finding = Finding::DeletedTooYoung { range: gap(&log), by: 600, days: 400 };
    assert_eq!(found(log.export("acme", 0).verify(), Signed::Yes), finding);
    let patient = Trust { retention_days: 399, ..trust() };
    assert!(log.export("acme", 0).verify_with(&patient, None).is_ok());
}

#[test]
fn bodies_deleted_outside_the_recorded_range_are_found() {
    let log = deleting(400, |change| change.end_index = 300);
    let end = gap(&log).end;
    let finding = found(log.export("acme", 0).verify(), Signed::Yes);
    assert!(matches!(&finding, Finding::Missing { range, .. } if *range == (300..end)), "{finding}");
    let log = deleting(400, |change| change.first_index = 10);
    let finding = found(log.export("acme", 0).verify(), Signed::Yes);
    assert!(matches!(&finding, Finding::Missing { range, .. } if *range == (0..end)), "{finding}");
    // One past the range is one too many.
    let mut export = deleting(400, |_| ()).export("acme", 0);
    let first = export.shown()[0];
    export.hide(first);
    let finding = found(export.verify(), Signed::Yes);
    assert!(matches!(&finding, Finding::Missing { range, .. } if *range == (512..first + 1)), "{finding}");
}

#[test]
fn bodies_deleted_without_a_record_are_found() {
    let mut log = Log::grown(22, 600);
    log.deleted = 512;
    let missing = log.entries[..512].iter().filter(|entry| entry.tenant == "acme").count() as u64;
    let finding = Finding::Missing { range: gap(&log), missing };
    assert_eq!(found(log.export("acme", 0).verify(), Signed::Yes), finding);
}

#[test]
fn a_deletion_that_lies_about_the_age_is_found_by_who_saw_the_entries() {
    let mut log = Log::grown(22, 600);
    // What the auditor saw before: half of what will be deleted.
    let state = Log::grown(22, 300).export("acme", 0).verify().unwrap().state.unwrap();
    assert_eq!(state.size(), 300);
    let witness = log.entries[..300].iter().rposition(|entry| entry.tenant == "acme").unwrap();
    let newest_time_unix_micros = log.entries[witness].time_unix_micros - 1;
    log.now = log.entries[100].time_unix_micros + 420 * 86_400_000_000;
    let change = LogChange { end_index: 512, newest_time_unix_micros, ..Default::default() };
    log.about_log(Operation::DeleteEntries, change);
    log.deleted = 512;
    log.grow_to(700);
    let by = 600;
    let prefix = log.tree.clone();
    assert_eq!(prefix.size(), 700);
    let finding = found(log.export("acme", 300).verify_after(&state), Signed::Yes);
    assert_eq!(finding, Finding::DeletionMisdated { by, witness: witness as u64 });
}

#[test]
fn a_key_change_without_announcement_is_found() {
    let mut log = Log::grown(23, 300);
    let index = log.rotate();
    log.grow_to(600);
    let mut export = log.export("acme", 0);
    assert!(export.verify().is_ok());
    export.head.key_announcements.clear();
    // The head is signed by the new key, of which nobody has told.
    assert_eq!(found(export.verify(), Signed::Unknown), Finding::UnknownKey { size: 600 });
    // Both keys sign the head: then the entry tells.
    let checkpoint = checkpoint::Checkpoint::new(ORIGIN, 600, log.tree.root()).unwrap();
    export.head.checkpoint = checkpoint.sign(&[&signer(1), &signer(2)]).unwrap();
    let export = export.without_checkpoints();
    assert_eq!(found(export.verify(), Signed::Yes), Finding::Unannounced { index });
}

#[test]
fn a_log_begins_with_its_first_key_and_no_other() {
    let names = |seed| LogChange { verifier_key: verifier_key(seed).to_string(), ..Default::default() };
    let mut log = Log::new(24);
    log.about_log(Operation::RotateLogKey, names(2));
    log.grow_to(300);
    assert_eq!(found(log.export("acme", 0).verify(), Signed::Yes), Finding::Unannounced { index: 0 });
    // Whoever was given a later key can't tell the first from another.
    log.rotate();
    log.grow_to(400);
    let later = Trust { key: verifier_key(2), ..trust() };
    assert!(log.export("acme", 0).verify_with(&later, None).is_ok());
    // And it begins once.
    let mut log = Log::grown(24, 300);
    let index = log.about_log(Operation::RotateLogKey, names(1));
    log.grow_to(400);
    assert_eq!(found(log.export("acme", 0).verify(), Signed::Yes), Finding::Unannounced { index });
}

#[test]
fn a_forged_announcement_is_found() {
    let mut log = Log::grown(23, 300);
    let index = log.rotate();
    log.grow_to(600);
    let honest = log.export("acme", 0);
    let with = |announcement: String| {
        let mut export = honest.clone();
        export.head.key_announcements = vec![announcement];
        export.verify()
    };
    let announced = |index, old, new| Announcement::sign(ORIGIN, index, &signer(old), &signer(new)).unwrap();
    let broken = |error: Error| Finding::Announcement(super::super::super::announcement::Broken { number: 1, error });
    assert_eq!(found(with(announced(index, 8, 9)), Signed::Unknown), broken(note::Error::Unsigned.into()));
    assert_eq!(found(with(announced(index, 8, 2)), Signed::Unknown), broken(note::Error::Unsigned.into()));
    let changed = honest.head.key_announcements[0].replace("\n300\n", "\n299\n");
    assert_eq!(found(with(changed), Signed::Unknown), broken(note::Error::Forged.into()));
    // Both keys sign for another entry than the one that records it.
    let early = found(with(announced(index - 100, 1, 2)), Signed::Unknown);
    assert!(matches!(early, Finding::KeyOutOfReign { .. } | Finding::Unrecorded { .. }), "{early}");
    // The key that the entry names is another.
    let finding = found(with(announced(index, 1, 3)), Signed::Unknown);
    assert_eq!(finding, Finding::UnknownKey { size: 600 });
}

#[test]
fn a_key_that_was_announced_and_never_recorded_is_found() {
    for index in [100, 250] {
        let mut log = Log::grown(23, 300);
        let (old, new) = (signer(1), signer(2));
        log.announcements.push(Announcement::sign(ORIGIN, index, &old, &new).unwrap());
        log.key = 2;
        log.grow_to(310);
        let export = log.export("acme", 0).without_checkpoints();
        assert_eq!(found(export.verify(), Signed::Yes), Finding::Unrecorded { index });
    }
}

#[test]
fn the_old_key_signs_nothing_after_the_new_one_begins_and_the_new_one_nothing_before() {
    let mut log = Log::grown(23, 300);
    log.rotate();
    log.key = 1;
    log.grow_to(600);
    assert_eq!(found(log.export("acme", 0).verify(), Signed::Unknown), Finding::KeyOutOfReign { size: 600 });
    log.key = 2;
    log.sign();
    let finding = found(log.export("acme", 0).verify(), Signed::Unknown);
    assert!(matches!(finding, Finding::KeyOutOfReign { size } if size < 600), "{finding}");
    let mut log = Log::grown(23, 200);
    log.key = 2;
    log.grow_to(300);
    log.key = 1;
    log.rotate();
    log.grow_to(400);
    let finding = found(log.export("acme", 0).verify(), Signed::Unknown);
    assert!(matches!(finding, Finding::KeyOutOfReign { size } if size <= 300), "{finding}");
}
