//! The verifier against honest logs, and against everyone who would like it to be content.

mod attacks;
mod keepers;
mod memory;
mod mutations;

use super::{sample::*, *};
use crate::audit::{checkpoint, export::Line};

/// A finding that the log's key has, or has not, signed.
fn found(result: Result<Verified, Found>, signed: Signed) -> Finding {
    let found = result.unwrap_err();
    assert_eq!(found.signed, signed, "{}", found.finding);
    assert!(!found.finding.to_string().is_empty());
    found.finding
}

/// The checkpoints around an index: between them signed checkpoints can't tell.
fn between_checkpoints(log: &Log, index: u64) -> std::ops::Range<u64> {
    let before = log.checkpoints.range(..=index).next_back().map_or(0, |(size, _)| *size);
    before..*log.checkpoints.range(index + 1..).next().unwrap().0
}

#[test]
fn an_honest_log_is_verified_whoever_looks() {
    let log = Log::long();
    assert!(log.checkpoints.len() > 30);
    for tenant in ["acme", "globex", "_system"] {
        let export = log.export(tenant, 0);
        let verified = export.verify().unwrap();
        assert_eq!((verified.start, verified.size, verified.root), (0, 10_000, log.tree.root()));
        let own =
            |range: std::ops::Range<usize>| log.entries[range].iter().filter(|e| e.tenant == tenant).count() as u64;
        assert_eq!((verified.deleted, verified.shown), (own(0..1_024), own(1_024..10_000)));
        assert_eq!(verified.state.unwrap().checkpoint(), log.checkpoints[&10_000]);
        assert!(export.without_checkpoints().verify().is_ok());
    }
}

#[test]
fn short_logs_and_none_at_all_are_verified() {
    for size in 0..40 {
        let mut log = Log::grown(size, size);
        log.sign();
        for tenant in ["acme", "globex", "_system", "nobody"] {
            assert_eq!(log.export(tenant, 0).verify().unwrap().root, log.tree.root(), "{size} {tenant}");
        }
    }
}

#[test]
fn an_auditor_who_has_a_later_key_verifies_all_the_same() {
    let mut log = Log::grown(3, 300);
    let first = log.rotate();
    log.grow_to(600);
    let second = log.rotate();
    log.grow_to(900);
    for (key, reigns) in [(1, 3), (2, 2), (3, 1)] {
        let trust = Trust { key: verifier_key(key), ..trust() };
        let verified = log.export("acme", 0).verify_with(&trust, None).unwrap();
        assert_eq!(verified.state.unwrap().reigns.len(), reigns);
    }
    assert_eq!(log.entries[first as usize].operation(), crate::proto::stored::Operation::RotateLogKey);
    assert!(second > first);
}

#[test]
fn a_key_change_whose_entry_was_deleted_in_time_is_no_finding() {
    let mut log = Log::grown(3, 100);
    log.rotate();
    log.grow_to(8_000);
    log.delete(0, 512);
    log.grow_to(8_010);
    assert!(log.export("acme", 0).verify().is_ok());
    // Unless nobody recorded that it was deleted.
    let mut log = Log::grown(3, 100);
    let index = log.rotate();
    log.grow_to(300);
    let mut export = log.export("acme", 0);
    export.hide(index);
    assert_eq!(found(export.verify(), Signed::Yes), Finding::Unrecorded { index });
}

#[test]
fn numbers_at_the_end_of_their_range_are_findings_and_no_panics() {
    let entry = |time, seq, previous| crate::proto::stored::Entry {
        tenant: "acme".into(),
        time_unix_micros: time,
        tenant_seq: seq,
        tenant_previous_plus_one: previous,
        ..Default::default()
    };
    for (time, seq, previous) in [
        (u64::MAX, u64::MAX, u64::MAX),
        (0, u64::MAX, 1),
        (1, 1 << 63, 1),
        (1, 1, 1 << 63),
        (1, 1, 2),
        (1, 0, 1),
        (1, 1, 0),
    ] {
        let mut log = Log::new(1);
        log.put_entry(&entry(0, 0, 0));
        log.put_entry(&entry(time, seq, previous));
        log.sign();
        let finding = found(log.export("acme", 0).verify(), Signed::Yes);
        assert!(finding.range().contains(&1), "{finding}");
    }
    for change in [
        (0, 0, 0),
        (1, 0, 0),
        (0, 2, 0),
        (0, u64::MAX, 0),
        (u64::MAX, u64::MAX, 0),
        (1 << 63, u64::MAX, u64::MAX),
        (0, 1, u64::MAX),
    ] {
        let mut log = Log::new(1);
        log.append("acme", Default::default());
        let (first_index, end_index, newest_time_unix_micros) = change;
        let change =
            crate::proto::stored::LogChange { first_index, end_index, newest_time_unix_micros, ..Default::default() };
        let index = log.about_log(crate::proto::stored::Operation::DeleteEntries, change);
        log.sign();
        assert_eq!(found(log.export("acme", 0).verify(), Signed::Yes), Finding::LogChange { index });
    }
}

#[test]
fn no_retention_is_long_enough_to_overflow() {
    let log = Log::long();
    let trust = Trust { retention_days: u32::MAX, ..trust() };
    let finding = found(log.export("acme", 0).verify_with(&trust, None), Signed::Yes);
    assert!(matches!(finding, Finding::DeletedTooYoung { by: 9_900, .. }), "{finding}");
}

#[test]
fn a_range_is_said_in_words() {
    let said = |range| Finding::Contradiction { range }.to_string();
    assert!(said(4..5).starts_with("entry 4: "));
    assert!(said(4..9).starts_with("entries 4 to 8: "));
}

/// What an attacker may send to a verifier: nothing of it makes it panic.
#[test]
fn whatever_comes_is_a_finding_or_verified() {
    let log = Log::grown(5, 60);
    let honest = log.export("acme", 0);
    let mut numbers = Numbers(99);
    for _ in 0..2_000 {
        let mut export = honest.clone();
        for _ in 0..=numbers.below(3) {
            let (at, other) = (numbers.below(60) as usize, numbers.below(60) as usize);
            match numbers.below(8) {
                0 => export.lines.swap(at, other),
                1 => drop(export.lines.remove(at)),
                2 => export.lines.insert(at, honest.lines[other].clone()),
                3 => export.lines[at] = Line::Checkpoint(honest.head.checkpoint.clone()),
                4 => export.lines[at] = Line::Leaf(numbers.next(), Leaf::Hash([7; 32])),
                5 => export.lines[at] = Line::Leaf(at as u64, Leaf::Raw(numbers.next().to_be_bytes().to_vec())),
                6 => export.renumber(),
                _ => export.head.start = numbers.below(4),
            }
        }
        // Checkpoints may be left out or repeated in their place; nothing else may be different.
        let leaves = |export: &Export| export.clone().without_checkpoints().lines;
        let same = leaves(&export) == leaves(&honest) && export.head == honest.head;
        assert!(same || export.verify().is_err());
    }
}
