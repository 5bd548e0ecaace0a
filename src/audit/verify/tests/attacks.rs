//! Attackers who hold an honest export and no key: they change what they like, and make the sums fit.

use super::*;
use crate::{
    audit::{
        entry,
        export::read::{self, Reader},
        note,
    },
    id::Tenant,
};

fn honest() -> (Log, Export) {
    let log = Log::grown(11, 900);
    let export = log.export("acme", 0);
    assert!(export.verify().is_ok());
    (log, export)
}

/// An index that is shown and one that is not, around 500, away from checkpoints.
fn middle(log: &Log, export: &Export) -> (u64, u64) {
    let fit = |index: &&u64| {
        **index > 500 && !log.checkpoints.contains_key(*index) && !log.checkpoints.contains_key(&(**index + 1))
    };
    (*export.shown().iter().find(fit).unwrap(), *export.hidden().iter().find(fit).unwrap())
}

#[test]
fn an_entry_that_was_altered_is_found_between_two_checkpoints() {
    let (log, mut export) = honest();
    let (shown, _) = middle(&log, &export);
    export.alter(shown, |entry| entry.principal = "spiffe://acme/other".into());
    let range = between_checkpoints(&log, shown);
    assert!(range.end - range.start < 400);
    assert_eq!(found(export.verify(), Signed::No), Finding::Contradiction { range });
}

#[test]
fn a_leaf_hash_that_was_altered_is_found_between_two_checkpoints() {
    let (log, mut export) = honest();
    let (_, hidden) = middle(&log, &export);
    *export.leaf(hidden) = Leaf::Hash([7; 32]);
    let range = between_checkpoints(&log, hidden);
    assert_eq!(found(export.verify(), Signed::No), Finding::Contradiction { range });
    // Without checkpoints on the way the whole log is the narrowest range.
    assert_eq!(found(export.without_checkpoints().verify(), Signed::No), Finding::Contradiction { range: 0..900 });
}

#[test]
fn an_entry_that_was_removed_is_missed_at_its_index() {
    let (log, mut export) = honest();
    let (shown, hidden) = middle(&log, &export);
    for index in [shown, hidden] {
        let mut export = export.clone();
        export.lines.remove(export.position(index));
        let order = Finding::Order { expected: index, found: index + 1 };
        assert_eq!(found(export.verify(), Signed::Unknown), order);
    }
    // The attacker numbers the rest again: the next own entry does not point to the one before it.
    export.lines.remove(export.position(hidden));
    export.renumber();
    for export in [export.clone(), export.without_checkpoints()] {
        let finding = found(export.verify(), Signed::Unknown);
        let range = finding.range();
        assert!(matches!(finding, Finding::Link { .. } | Finding::CheckpointMisplaced { .. }), "{finding}");
        assert!(range.contains(&hidden) && range.end - range.start < 400, "{range:?}");
    }
}

#[test]
fn entries_that_were_swapped_are_found() {
    let (log, mut export) = honest();
    let (shown, hidden) = middle(&log, &export);
    let (one, other) = (export.position(shown), export.position(hidden));
    export.lines.swap(one, other);
    let first = shown.min(hidden);
    assert_eq!(found(export.verify(), Signed::Unknown), Finding::Order { expected: first, found: shown.max(hidden) });
    // Numbered again, the entry that moved points wrongly, or comes in the wrong place.
    export.renumber();
    let finding = found(export.verify(), Signed::No);
    let range = finding.range();
    assert!(range.start <= shown.max(hidden) && range.end > first, "{finding}");
}

#[test]
fn two_own_entries_that_were_swapped_are_found_at_the_first() {
    let (log, mut export) = honest();
    let (first, _) = middle(&log, &export);
    let second = *export.shown().iter().find(|index| **index > first).unwrap();
    let (one, other) = (export.leaf(first).clone(), export.leaf(second).clone());
    *export.leaf(first) = other;
    *export.leaf(second) = one;
    let finding = found(export.verify(), Signed::No);
    assert!(finding.range().contains(&first) && finding.range().end <= second + 1, "{finding}");
}

#[test]
fn two_others_entries_that_were_swapped_are_found_between_two_checkpoints() {
    let (log, mut export) = honest();
    let (_, first) = middle(&log, &export);
    let range = between_checkpoints(&log, first);
    let second = *export.hidden().iter().find(|index| **index > first).unwrap();
    assert!(range.contains(&second));
    let (one, other) = (export.leaf(first).clone(), export.leaf(second).clone());
    *export.leaf(first) = other;
    *export.leaf(second) = one;
    assert_eq!(found(export.verify(), Signed::No), Finding::Contradiction { range });
}

#[test]
fn an_entry_that_was_inserted_is_found() {
    let (log, export) = honest();
    let (shown, hidden) = middle(&log, &export);
    let export = export.without_checkpoints();
    for line in [Line::Leaf(hidden, Leaf::Hash([7; 32])), export.lines[export.position(shown)].clone()] {
        let mut inserted = export.clone();
        inserted.lines.insert(export.position(hidden), line);
        let finding = found(inserted.verify(), Signed::Unknown);
        assert!(matches!(finding, Finding::Order { .. }), "{finding}");
        inserted.renumber();
        let finding = found(inserted.verify(), Signed::Unknown);
        let old = matches!(finding, Finding::Sequence { .. } | Finding::TimeRunsBack { .. });
        assert!(old || matches!(finding, Finding::Link { .. } | Finding::Unreadable { .. }), "{finding}");
        // One more than the head says, too.
        inserted.head.end += 1;
        assert_eq!(found(inserted.verify(), Signed::Unknown), Finding::HeadSize { end: 901, size: 900 });
    }
}

#[test]
fn an_export_that_ends_early_is_found_where_it_ends() {
    let (log, mut export) = honest();
    let (shown, _) = middle(&log, &export);
    export.lines.truncate(export.position(shown));
    assert_eq!(found(export.verify(), Signed::Unknown), Finding::CutShort { next: shown, end: 900 });
    // The head says it ends there, and its checkpoint does not.
    export.head.end = shown;
    assert_eq!(found(export.verify(), Signed::Unknown), Finding::HeadSize { end: shown, size: 900 });
    // Not even the newest lines can be cut off; nor the last line break.
    let file = log.export("acme", 0).file();
    let cut = verify(&file[..file.len() - 1], &trust(), None).unwrap_err();
    assert!(matches!(cut.finding, Finding::Line(read::BadLine { problem: read::Problem::CutOff, .. })));
}

#[test]
fn entries_past_the_signed_end_are_found() {
    let (_, mut export) = honest();
    export.lines.push(Line::Leaf(900, Leaf::Hash([7; 32])));
    assert_eq!(found(export.verify(), Signed::Unknown), Finding::PastEnd { end: 900 });
}

#[test]
fn an_own_entry_that_is_hidden_is_missed_at_its_index() {
    let (log, mut export) = honest();
    let (shown, _) = middle(&log, &export);
    let before = *export.shown().iter().rfind(|index| **index < shown).unwrap();
    export.hide(shown);
    // The root is right: it is the server that does not show it.
    assert_eq!(found(export.verify(), Signed::Yes), Finding::Missing { range: before + 1..shown + 1, missing: 1 });
}

#[test]
fn a_run_of_own_entries_that_is_hidden_is_missed_as_a_range() {
    let (_, mut export) = honest();
    let shown = export.shown();
    shown[100..110].iter().for_each(|index| export.hide(*index));
    let range = shown[99] + 1..shown[109] + 1;
    assert_eq!(found(export.verify(), Signed::Yes), Finding::Missing { range, missing: 10 });
    // The first ones too. What the log begins with is everybody's.
    let mut export = honest().1;
    shown[1..4].iter().for_each(|index| export.hide(*index));
    assert_eq!(found(export.verify(), Signed::Yes), Finding::Missing { range: 0..shown[3] + 1, missing: 3 });
}

#[test]
fn a_foreign_entry_that_is_shown_is_found() {
    let (log, mut export) = honest();
    let (_, hidden) = middle(&log, &export);
    *export.leaf(hidden) = log.export(&log.entries[hidden as usize].tenant, 0).leaf(hidden).clone();
    assert_eq!(found(export.verify(), Signed::Yes), Finding::Foreign { index: hidden });
}

#[test]
fn bytes_that_are_no_entry_are_found() {
    let (log, mut export) = honest();
    let (shown, _) = middle(&log, &export);
    *export.leaf(shown) = Leaf::Raw(vec![0xff; 20]);
    assert_eq!(found(export.verify(), Signed::No), Finding::Unreadable { index: shown });
    *export.leaf(shown) = Leaf::Raw(Vec::new());
    assert_eq!(found(export.verify(), Signed::No), Finding::Foreign { index: shown });
}

#[test]
fn another_logs_checkpoint_is_not_taken() {
    let (log, export) = honest();
    let signed = |origin: &str, size, root| Checkpoint::new(origin, size, root).unwrap().sign(&[&signer(1)]).unwrap();
    let mut head = export.clone();
    head.head.checkpoint = signed("other.example", 900, log.tree.root());
    let other = Finding::Checkpoint { size: 900, error: checkpoint::Error::Origin };
    assert_eq!(found(head.verify(), Signed::Unknown), other);
    let mut named = export.clone();
    named.head.origin = "other.example".into();
    let other = Finding::Origin { expected: ORIGIN.into(), found: "other.example".into() };
    assert_eq!(found(named.verify(), Signed::Unknown), other);
    let mut line = export;
    line.lines.insert(line.position(100), Line::Checkpoint(signed("other.example", 100, [7; 32])));
    let other = Finding::Checkpoint { size: 100, error: checkpoint::Error::Origin };
    assert_eq!(found(line.verify(), Signed::Unknown), other);
}

#[test]
fn checkpoints_of_the_log_count_only_in_their_place() {
    let (log, export) = honest();
    let sizes: Vec<u64> = log.checkpoints.keys().copied().collect();
    let note = |at: usize| log.checkpoints[&sizes[at]].clone();
    // An older one in the head.
    let mut older = export.clone();
    older.head.checkpoint = note(2);
    assert_eq!(found(older.verify(), Signed::Unknown), Finding::HeadSize { end: 900, size: sizes[2] });
    // An older, and a newer one, in another's place.
    for (other, size) in [(1, sizes[1]), (3, sizes[3])] {
        let mut swapped = export.clone();
        let at = swapped.position(sizes[2] - 1) + 1;
        swapped.lines[at] = Line::Checkpoint(note(other));
        assert_eq!(
            found(swapped.verify(), Signed::Unknown),
            Finding::CheckpointMisplaced { size, at: sizes[2], proven: sizes[1] }
        );
    }
}

#[test]
fn checkpoints_that_no_trusted_key_signed_are_not_taken() {
    let (log, export) = honest();
    let wrong_key = Trust { key: verifier_key(9), ..trust() };
    assert_eq!(found(export.verify_with(&wrong_key, None), Signed::Unknown), Finding::UnknownKey { size: 900 });
    // The attacker alters, and signs again.
    let (shown, _) = middle(&log, &export);
    let mut signed = export.clone().without_checkpoints();
    signed.alter(shown, |entry| entry.purpose = "signup".into());
    let mut tree = Tree::new();
    for line in &signed.lines {
        let Line::Leaf(_, leaf) = line else { continue };
        tree.push(match leaf {
            Leaf::Raw(bytes) => entry::leaf_hash(bytes),
            Leaf::Hash(hash) => *hash,
        });
    }
    let note = Checkpoint::new(ORIGIN, 900, tree.root()).unwrap().sign(&[&signer(9)]).unwrap();
    signed.head.checkpoint = note.clone();
    assert_eq!(found(signed.verify(), Signed::Unknown), Finding::UnknownKey { size: 900 });
    // With a key of his own announced by himself.
    signed.head.key_announcements =
        vec![crate::audit::announcement::Announcement::sign(ORIGIN, 0, &signer(8), &signer(9)).unwrap()];
    let finding = found(signed.verify(), Signed::Unknown);
    assert!(matches!(finding, Finding::Announcement(broken) if broken.number == 1), "{finding}");
    // With the true key's name over his signature.
    signed.head.key_announcements.clear();
    let mut forged = note.replace(&hex_id(9), &hex_id(1));
    forged = relabel(&forged, 1);
    signed.head.checkpoint = forged;
    let forged = Finding::Checkpoint { size: 900, error: note::Error::Forged.into() };
    assert_eq!(found(signed.verify(), Signed::Unknown), forged);
}

fn hex_id(seed: u8) -> String {
    hex::encode(verifier_key(seed).id())
}

/// The note's one signature under the id of another key.
fn relabel(note: &str, seed: u8) -> String {
    use base64::{Engine, prelude::BASE64_STANDARD};
    let (text, encoded) = note.trim_end().rsplit_once(' ').unwrap();
    let mut named = BASE64_STANDARD.decode(encoded).unwrap();
    named[..4].copy_from_slice(&verifier_key(seed).id());
    format!("{text} {}\n", BASE64_STANDARD.encode(named))
}

#[test]
fn another_tenants_export_is_not_taken_for_ones_own() {
    let (log, mut export) = honest();
    let mine = Trust { tenant: Some(Tenant::parse("acme").unwrap()), ..trust() };
    assert!(export.verify_with(&mine, None).is_ok());
    let other = Finding::Tenant { expected: "acme".into(), found: "globex".into() };
    assert_eq!(found(log.export("globex", 0).verify_with(&mine, None), Signed::Unknown), other);
    // Relabelled, its first entry that is shown gives it away, other than what the log begins with.
    export = log.export("globex", 0);
    export.head.tenant = Tenant::parse("acme").unwrap();
    let index = export.shown()[1];
    assert_eq!(found(export.verify_with(&mine, None), Signed::Yes), Finding::Foreign { index });
}

#[test]
fn a_start_that_lies_connects_with_nothing() {
    let (log, export) = honest();
    let mut lies = export.clone();
    lies.head.start = 5;
    assert_eq!(found(lies.verify(), Signed::Unknown), Finding::Disconnected { verified: 0, start: 5 });
    lies.head.edge = vec![[7; 32]; 2];
    assert_eq!(found(lies.verify(), Signed::Unknown), Finding::Order { expected: 5, found: 0 });
    // An edge of a tree that never was is believed as far as the first checkpoint.
    let mut edge = log.export("acme", 5).without_checkpoints();
    edge.head.edge = vec![[7; 32]; 2];
    assert_eq!(found(edge.verify(), Signed::No), Finding::Contradiction { range: 0..900 });
    edge.head.edge = vec![[7; 32]; 3];
    assert_eq!(found(edge.verify(), Signed::Unknown), Finding::Disconnected { verified: 0, start: 5 });
    // The true edge is proven by the checkpoint; nothing is remembered of a log whose beginning nobody saw.
    let mut tree = Tree::new();
    log.export("_system", 0)
        .lines
        .iter()
        .filter_map(|line| match line {
            Line::Leaf(index, Leaf::Raw(bytes)) if *index < 5 => Some(entry::leaf_hash(bytes)),
            Line::Leaf(index, Leaf::Hash(hash)) if *index < 5 => Some(*hash),
            Line::Leaf(..) | Line::Checkpoint(_) => None,
        })
        .for_each(|hash| tree.push(hash));
    edge.head.edge = tree.edge().to_vec();
    let verified = edge.verify().unwrap();
    assert_eq!((verified.start, verified.size, verified.state), (5, 900, None));
}

#[test]
fn numbers_out_of_range_in_the_head_are_no_export() {
    let (_, export) = honest();
    for (start, end) in [(0, 1 << 63), (0, u64::MAX), (1 << 63, 1 << 63), (901, 900)] {
        let mut lies = export.clone();
        (lies.head.start, lies.head.end) = (start, end);
        let finding = found(lies.verify(), Signed::Unknown);
        let form = |finding: &Finding| matches!(finding, Finding::Line(bad) if bad.problem == read::Problem::Form && bad.place == read::Place::Head);
        assert!(form(&finding), "{finding}");
    }
    let mut far = export.clone();
    far.head.start = (1 << 63) - 1;
    far.head.end = (1 << 63) - 1;
    far.head.checkpoint = Checkpoint::new(ORIGIN, (1 << 63) - 1, [7; 32]).unwrap().sign(&[&signer(1)]).unwrap();
    far.head.edge = vec![[7; 32]; 63];
    far.lines.clear();
    assert_eq!(found(far.verify(), Signed::No), Finding::Contradiction { range: 0..(1 << 63) - 1 });
    let mut index = export;
    index.lines[1] = Line::Leaf(1 << 63, Leaf::Hash([7; 32]));
    assert_eq!(found(index.verify(), Signed::Unknown), Finding::Order { expected: 1, found: 1 << 63 });
}

#[test]
fn a_line_of_ten_megabytes_takes_no_memory_and_is_named() {
    let (_, export) = honest();
    let file = export.file();
    let second = file.iter().position(|byte| *byte == b'\n').unwrap() + 1;
    let long = [&file[..second], "a".repeat(10 << 20).as_bytes(), &file[second..]].concat();
    let (_, mut reader) = Reader::open(long.as_slice()).unwrap();
    let Err(read::Error::Line(bad)) = reader.next_line() else { panic!("taken") };
    assert_eq!((bad.line, bad.problem), (2, read::Problem::TooLong));
    assert_eq!(reader.offset(), (second + crate::audit::export::LINE_BYTES_MAX) as u64);
    let head = verify(&"{".repeat(10 << 20).into_bytes(), &trust(), None).unwrap_err().finding;
    assert!(matches!(
        head,
        Finding::Line(read::BadLine { line: 1, place: read::Place::Head, problem: read::Problem::TooLong })
    ));
}
