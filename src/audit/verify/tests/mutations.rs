//! A thousand single bytes of a long export changed, one at a time.

use super::*;
use crate::audit::export::read::{BadLine, Place, Problem};

#[test]
fn each_of_a_thousand_changed_bytes_is_found_at_its_own_line() {
    let export = Log::long().export("acme", 0);
    let file = export.file();
    assert!(verify(&file, &trust(), None).is_ok());
    let starts: Vec<usize> = std::iter::once(0)
        .chain(file.iter().enumerate().filter(|(_, byte)| **byte == b'\n').map(|(at, _)| at + 1))
        .collect();
    let mut numbers = Numbers(2026);
    let mut seen = [0; 3];
    for round in 0..1_000 {
        let at = match round {
            // The head and the checkpoints are a small part of the file, so chance alone would leave them out.
            0..25 => numbers.below(starts[1] as u64) as usize,
            25..100 => {
                let checkpoints = export.lines.iter().enumerate().filter(|(_, l)| matches!(l, Line::Checkpoint(_)));
                let lines: Vec<usize> = checkpoints.map(|(line, _)| line + 1).collect();
                let line = lines[numbers.below(lines.len() as u64) as usize];
                starts[line] + numbers.below((starts[line + 1] - starts[line]) as u64) as usize
            }
            _ => numbers.below(file.len() as u64) as usize,
        };
        let mut changed = file.clone();
        changed[at] ^= 1 + numbers.below(255) as u8;
        let line = starts.partition_point(|start| *start <= at);
        let finding = verify(&changed, &trust(), None).unwrap_err().finding;
        let Finding::Line(BadLine { line: found, place, problem }) = finding else { panic!("byte {at}: {finding}") };
        assert_eq!(found, line as u64, "byte {at}: {problem}");
        // A line that was cut in two within its first bytes tells nothing of itself.
        let cut = changed[at] == b'\n' && at - starts[line - 1] < 3;
        match line.checked_sub(2).map(|line| &export.lines[line]) {
            None => assert_eq!(place, Place::Head),
            Some(Line::Leaf(index, _)) => assert_eq!(place, Place::Entry(*index)),
            Some(Line::Checkpoint(_)) => assert!(cut || matches!(place, Place::Checkpoint(_)), "byte {at}: {place}"),
        }
        seen[match place {
            Place::Head => 0,
            Place::Entry(_) => 1,
            Place::Checkpoint(_) => 2,
        }] += 1;
        assert!(matches!(problem, Problem::Sum | Problem::Format | Problem::CutOff), "byte {at}: {problem}");
    }
    assert!(seen.iter().all(|count| *count >= 25), "{seen:?}");
}
