//! One who adds, and many who find meanwhile.

use std::{
    sync::{
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    thread,
    time::Duration,
};

use super::{
    model::{Asked, Log, SMALL, directions, list},
    *,
};

#[test]
fn searches_are_complete_while_entries_are_added_runs_merged_and_damage_is_met() {
    let (log, dir, end) = (Log(7), tempfile::tempdir().unwrap(), 2_500);
    let index = Index::open_sized(dir.path(), "log", 0..end, SMALL).unwrap();
    let done = AtomicBool::new(false);
    let (searched, finished) = (&index, &done);
    thread::scope(|scope| {
        for direction in directions() {
            scope.spawn(move || {
                let asked = Asked::all(0..end);
                let all = log.filter(&asked, Direction::Ascending);
                while !finished.load(Ordering::Relaxed) {
                    let within = 0..searched.watermark();
                    let Ok(found) = searched.find(&asked.query(), within.clone(), direction, 10_000) else { continue };
                    let looked = found.looked;
                    assert!(looked.is_empty() || looked.start == 0 || looked.end == within.end);
                    let mut expected: Vec<u64> = all.iter().copied().filter(|at| looked.contains(at)).collect();
                    if direction == Direction::Descending {
                        expected.reverse();
                    }
                    assert_eq!(found.candidates, expected);
                }
            });
        }
        let _finish = Finish(&done);
        let mut damages = 0;
        while index.watermark() < end {
            let from = index.watermark();
            if from > 500 * (damages + 1) && damages < 3 {
                damages += 1;
                let (path, length) = list(dir.path()).remove(1);
                std::fs::write(path, vec![0xff; length as usize]).unwrap();
            }
            // What is damaged is dropped, here or by a search; then it goes on from where the watermark is.
            let _ = index.add(&log.indexed(from..end.min(from + 25)));
        }
    });
    log.check(&index, 0..end);
}

/// Ends the searches, also when the test fails.
struct Finish<'a>(&'a AtomicBool);

impl Drop for Finish<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn a_search_does_not_wait_for_a_merge() {
    let (log, dir) = (Log(8), tempfile::tempdir().unwrap());
    let index = Arc::new(Index::open_sized(dir.path(), "log", 0..200, SMALL).unwrap());
    let (finder, merges) = (Arc::clone(&index), Arc::new(Mutex::new(0)));
    let counted = Arc::clone(&merges);
    // The adding thread stands still at each step until another thread has found what it asked for.
    files::watch(Some(Box::new(move |_, path| {
        let (send, receive) = mpsc::channel();
        let finder = Arc::clone(&finder);
        thread::spawn(move || {
            let indexes = 0..finder.watermark();
            let found = finder.find(&Asked::all(indexes.clone()).query(), indexes, Direction::Descending, 5);
            send.send(found.map(|found| found.candidates.len()).unwrap_or(0)).unwrap();
        });
        let found = receive.recv_timeout(Duration::from_secs(20)).expect("an answer while a file is written");
        assert_eq!(found, 5);
        if path.to_string_lossy().contains("0000000000000000-000000000000005a") {
            *counted.lock().unwrap() += 1;
        }
        Ok(())
    })));
    index.add(&log.indexed(0..200)).unwrap();
    files::watch(None);
    assert!(*merges.lock().unwrap() > 3, "a merge was among the steps");
}
