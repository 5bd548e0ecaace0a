//! What is remembered, and the logs that contradict it.

use super::*;

/// A log, and what an auditor remembers of its first `size` entries.
fn remembered(seed: u64, size: u64) -> (Log, State) {
    let log = Log::grown(seed, size);
    let state = log.export("acme", 0).verify().unwrap().state.unwrap();
    (log, state)
}

#[test]
fn a_verification_goes_on_from_where_the_last_one_ended() {
    let (mut log, mut state) = remembered(31, 100);
    for size in [101, 256, 257, 600] {
        log.grow_to(size);
        let verified = log.export("acme", state.size()).verify_after(&state).unwrap();
        assert_eq!((verified.start, verified.size, verified.root), (state.size(), size, log.tree.root()));
        let next = verified.state.unwrap();
        // It knows no less than one that read everything.
        assert_eq!(next, log.export("acme", 0).verify().unwrap().state.unwrap());
        assert_eq!(log.export("acme", 0).verify_after(&state).unwrap().state.unwrap(), next);
        state = next;
    }
    // With nothing new there is nothing to do.
    assert_eq!(log.export("acme", 600).verify_after(&state).unwrap().state.unwrap(), state);
}

#[test]
fn what_is_remembered_survives_being_written_down() {
    let state = Log::long().export("acme", 0).verify().unwrap().state.unwrap();
    let text = serde_json::to_string(&state).unwrap();
    assert_eq!(serde_json::from_str::<State>(&text).unwrap(), state);
    for broken in [
        text.replace("privet-verified-v1", "privet-verified-v2"),
        text.replace("\"size\":10000", "\"size\":9999"),
        text.replace("\"size\":10000", "\"size\":-1"),
        text.replace("\"tenant\":\"acme\"", "\"tenant\":\"ACME\""),
        text.replace("\"own\":", "\"more\":1,\"own\":"),
        text[..text.len() - 1].to_owned(),
    ] {
        assert!(serde_json::from_str::<State>(&broken).is_err(), "{broken}");
    }
}

#[test]
fn progress_on_the_way_is_proven_and_can_be_gone_on_from() {
    let log = Log::long();
    let export = log.export("acme", 0);
    let mut verifier = Verifier::begin(&trust(), &export.head, None).unwrap();
    let mut states = Vec::new();
    for line in &export.lines {
        verifier.line(line).unwrap();
        match line {
            Line::Checkpoint(_) => states.push(verifier.state().unwrap()),
            Line::Leaf(..) => assert_eq!(verifier.state(), None),
        }
    }
    let whole = verifier.finish().unwrap();
    assert!(states.len() > 30);
    for state in states {
        let state: State = serde_json::from_str(&serde_json::to_string(&state).unwrap()).unwrap();
        let rest = log.export("acme", state.size()).verify_after(&state).unwrap();
        assert_eq!((rest.state, rest.deleted), (whole.state.clone(), whole.deleted));
    }
}

#[test]
fn a_log_with_fewer_entries_is_truncated() {
    let (log, _) = remembered(32, 500);
    let (_, state) = remembered(32, 600);
    let truncated = Finding::Truncated { size: 500, verified: 600 };
    assert_eq!(found(log.export("acme", 0).verify_after(&state), Signed::Unknown), truncated);
}

#[test]
fn a_log_with_another_past_is_forked_in_the_narrowest_range() {
    let (_, state) = remembered(33, 700);
    let mut fork = Log::grown(33, 600);
    fork.append("globex", Default::default());
    fork.now -= 1;
    fork.grow_to(900);
    // 700 = 512 + 128 + 32 + …: the second perfect subtree holds the first difference.
    let finding = found(fork.export("acme", 0).verify_after(&state), Signed::Yes);
    assert_eq!(finding, Finding::Forked { range: 512..640 });
    assert!(fork.export("acme", 0).verify().is_ok(), "by itself it is a perfect log");
    // One that is shown only from there on does not lead to the signed root.
    let range = 700..*fork.checkpoints.range(701..).next().unwrap().0;
    let finding = found(fork.export("acme", 700).verify_after(&state), Signed::No);
    assert!(finding == Finding::Contradiction { range: range.clone() } || finding.range().start >= 600, "{finding}");
}

#[test]
fn an_altered_export_of_an_honest_log_is_no_fork_by_the_keeper() {
    let (mut log, state) = remembered(34, 300);
    log.grow_to(600);
    let mut export = log.export("acme", 0).without_checkpoints();
    let hidden = export.hidden()[10];
    *export.leaf(hidden) = Leaf::Hash([7; 32]);
    let finding = found(export.verify_after(&state), Signed::No);
    assert!(matches!(finding, Finding::Forked { .. }) && finding.range().contains(&hidden), "{finding}");
}

#[test]
fn an_export_that_does_not_reach_back_connects_with_nothing() {
    let (mut log, state) = remembered(35, 300);
    log.grow_to(600);
    let later = Finding::Disconnected { verified: 300, start: 301 };
    assert_eq!(found(log.export("acme", 301).verify_after(&state), Signed::Unknown), later);
    let earlier = Finding::Disconnected { verified: 300, start: 200 };
    assert_eq!(found(log.export("acme", 200).verify_after(&state), Signed::Unknown), earlier);
    // An earlier one with its edge is proven by what is remembered, and then known from the beginning.
    let mut export = log.export("acme", 200);
    export.head.edge = Log::grown(35, 200).tree.edge().to_vec();
    assert_eq!(Log::grown(35, 200).export("acme", 0).verify().unwrap().size, 200);
    let verified = export.verify_after(&state).unwrap();
    assert_eq!(verified.state, log.export("acme", 0).verify().unwrap().state);
}

#[test]
fn own_entries_hidden_at_the_end_are_missed_once_a_later_one_is_shown() {
    let log = Log::grown(36, 300);
    let mut export = log.export("acme", 0);
    let shown = export.shown();
    let (hidden, before) = (shown[shown.len() - 2], shown[shown.len() - 3]);
    shown[shown.len() - 2..].iter().for_each(|index| export.hide(*index));
    let state = export.verify().unwrap().state.unwrap();
    let mut log = log;
    log.grow_to(400);
    let range = before + 1..*shown.last().unwrap() + 1;
    let finding = found(log.export("acme", 300).verify_after(&state), Signed::Yes);
    assert_eq!(finding, Finding::Missing { range, missing: 2 });
    assert!(finding.range().contains(&hidden));
}

#[test]
fn keys_that_are_not_those_accepted_before_are_found() {
    let mut log = Log::grown(37, 300);
    log.rotate();
    log.grow_to(600);
    let state = log.export("acme", 0).verify().unwrap().state.unwrap();
    let mut silent = log.export("acme", 600);
    silent.head.key_announcements.clear();
    silent.head.checkpoint =
        checkpoint::Checkpoint::new(ORIGIN, 600, log.tree.root()).unwrap().sign(&[&signer(1), &signer(2)]).unwrap();
    assert_eq!(found(silent.verify_after(&state), Signed::Unknown), Finding::KeysChanged { from: 301 });
    // A later key of the same log, and one that is announced after what is remembered, are none.
    let later = Trust { key: verifier_key(2), ..trust() };
    assert!(log.export("acme", 600).verify_with(&later, Some(state.clone())).is_ok());
    log.rotate();
    log.grow_to(700);
    assert!(log.export("acme", 600).verify_after(&state).is_ok());
}

#[test]
fn a_damaged_memory_is_not_gone_on_from() {
    let (log, state) = remembered(38, 300);
    let damaged = |change: &dyn Fn(&mut State)| {
        let mut damaged = state.clone();
        change(&mut damaged);
        let finding = log.export("acme", 0).verify_after(&damaged).unwrap_err().finding;
        let Finding::Remembered { what } = finding else { panic!("{finding}") };
        what
    };
    assert_eq!(damaged(&|state| state.origin = "other.example".into()), "it is of another log or tenant");
    assert_eq!(damaged(&|state| state.tenant = Tenant::system()), "it is of another log or tenant");
    assert_eq!(damaged(&|state| state.checkpoint.push('x')), "its checkpoint");
    assert_eq!(damaged(&|state| state.tree.push([7; 32])), "its tree");
}
