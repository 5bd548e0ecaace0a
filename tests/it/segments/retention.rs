//! Retention: what goes, when, and what a wrong clock can't make go.

use privet::clock::Clock;

use super::*;

impl Bench {
    fn retained_from(&self) -> u64 {
        self.log.history().bounds().retained_from()
    }

    /// With a segment of each 256 of these entries, all of one age.
    async fn seal_all(&self, count: u64) {
        self.append(count as usize).await;
        for end in (256..=count).step_by(256) {
            self.segments.seal(end).await.unwrap();
        }
    }

    /// Looks each hour, for so many.
    async fn look_for(&self, hours: u32) {
        for _ in 0..hours {
            self.clock.advance(DAY / 24);
            self.segments.tend().await.unwrap();
        }
    }

    async fn deletions(&self) -> Vec<u64> {
        let (mut found, mut next, end) = (Vec::new(), self.retained_from(), self.log.read_point().0);
        while next < end {
            for entry in self.log.history().entries(next..end, Direction::Ascending).await.unwrap() {
                next = entry.index + 1;
                let entry = entry.decode().unwrap();
                if entry.operation() == Operation::DeleteEntries {
                    found.push(entry.log_change.unwrap().end_index);
                }
            }
        }
        found
    }
}

fn bundle(dir: &Path, number: u64) -> std::path::PathBuf {
    dir.join(format!("archive/tile/entries/{number:03}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn all_that_was_due_for_a_day_goes_the_oldest_first_with_a_record_each() {
    let dir = tempfile::tempdir().unwrap();
    let bench = open(dir.path(), bench_clock()).await;
    bench.seal_all(768).await;
    bench.clock.advance(10 * DAY);
    bench.append(512).await;
    bench.segments.seal(1_024).await.unwrap();
    bench.clock.advance(389 * DAY);
    bench.segments.tend().await.unwrap();
    assert_eq!(bench.retained_from(), 0, "not due yet");
    bench.clock.advance(DAY);
    bench.segments.tend().await.unwrap();
    bench.look_for(23).await;
    assert_eq!(bench.retained_from(), 0, "due since less than a day");
    bench.look_for(1).await;
    assert_eq!(bench.retained_from(), 768, "the last one is younger");
    assert_eq!(bench.deletions().await, [256, 512, 768]);
    assert!(bench.log.history().entries(767..768, Direction::Ascending).await.is_err());
    assert!((0..3).all(|number| !bundle(dir.path(), number).exists()) && bundle(dir.path(), 3).exists());
    assert!(dir.path().join("archive/tile/0/000").exists(), "the tree stays");
    bench.check(768).await;
    bench.look_for(30 * 24).await;
    assert_eq!(bench.deletions().await[..4], [256, 512, 768, 1_024]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_day_is_counted_over_restarts_and_only_while_a_server_runs() {
    let dir = tempfile::tempdir().unwrap();
    let mut bench = open(dir.path(), bench_clock()).await;
    bench.seal_all(512).await;
    bench.clock.advance(400 * DAY);
    for day in 0..4 {
        bench.segments.tend().await.unwrap();
        bench.look_for(7).await;
        assert_eq!(bench.retained_from(), if day == 3 { 512 } else { 0 }, "{day}");
        let clock = bench.close();
        // While none runs, as far as it knows.
        clock.advance(DAY * 2 / 3);
        bench = open(dir.path(), clock).await;
    }
    assert!(!dir.path().join("archive/due").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_is_ahead_for_a_while_deletes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let mut bench = open(dir.path(), bench_clock()).await;
    bench.seal_all(256).await;
    // Not within a run: the log's own time stays ahead for good.
    for _ in 0..3 {
        let clock = bench.close();
        let right = clock.wall_secs();
        clock.set_wall_secs(right + 500 * 86_400);
        bench = open(dir.path(), clock).await;
        bench.append(1).await;
        bench.segments.tend().await.unwrap();
        bench.clock.set_wall_secs(right);
        bench.look_for(25).await;
        assert_eq!(bench.retained_from(), 0);
    }
    // A little ahead, when something is due anyway: the earliest that was seen counts.
    bench.append(256).await;
    bench.segments.seal(512).await.unwrap();
    bench.clock.advance(399 * DAY);
    let right = bench.clock.wall_secs();
    bench.clock.set_wall_secs(right + 900 * 86_400);
    bench.segments.tend().await.unwrap();
    bench.clock.set_wall_secs(right);
    bench.look_for(24).await;
    assert_eq!(bench.retained_from(), 256, "the second is not due, whatever was seen once");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_note_of_what_is_due_that_is_damaged_costs_a_day() {
    let dir = tempfile::tempdir().unwrap();
    let bench = open(dir.path(), bench_clock()).await;
    bench.seal_all(256).await;
    bench.clock.advance(400 * DAY);
    bench.segments.tend().await.unwrap();
    bench.look_for(23).await;
    fs::write(dir.path().join("archive/due"), "privet due 1\n9000000000000000 86400\n0\n").unwrap();
    let bench = bench.reopen(dir.path()).await;
    bench.segments.tend().await.unwrap();
    bench.look_for(23).await;
    assert_eq!(bench.retained_from(), 0);
    bench.look_for(1).await;
    assert_eq!(bench.retained_from(), 256);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deletion_that_fails_is_tried_until_nothing_is_left() {
    let dir = tempfile::tempdir().unwrap();
    let bench = open(dir.path(), bench_clock()).await;
    bench.seal_all(512).await;
    bench.clock.advance(400 * DAY);
    bench.segments.tend().await.unwrap();
    let stuck = bundle(dir.path(), 0);
    let bytes = fs::read(&stuck).unwrap();
    fs::remove_file(&stuck).unwrap();
    fs::create_dir(&stuck).unwrap();
    bench.clock.advance(DAY);
    bench.segments.tend().await.unwrap_err();
    assert_eq!(bench.retained_from(), 512, "both are recorded");
    fs::remove_dir(&stuck).unwrap();
    fs::write(&stuck, &bytes).unwrap();
    bench.segments.tend().await.unwrap();
    assert!(!stuck.exists() && !bundle(dir.path(), 1).exists(), "in the same run");

    // Cut off between the record and the deletion: the next start finishes whatever there is.
    fs::create_dir_all(stuck.parent().unwrap()).unwrap();
    fs::write(&stuck, &bytes).unwrap();
    let bench = bench.reopen(dir.path()).await;
    bench.segments.tend().await.unwrap();
    assert!(!stuck.exists());
    bench.check(512).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_can_not_be_sealed_keeps_nothing_from_being_removed_and_deleted() {
    let dir = tempfile::tempdir().unwrap();
    let bench = open(dir.path(), bench_clock()).await;
    bench.seal_all(256).await;
    bench.append(900).await;
    bench.clock.advance(400 * DAY);
    let stray = bundle(dir.path(), 1);
    fs::create_dir(&stray).unwrap();
    let each = bench.segments.tend_each().await;
    assert!(each[0].is_err() && each[1..].iter().all(Result::is_ok), "{each:?}");
    bench.clock.advance(DAY);
    bench.segments.tend().await.unwrap_err();
    assert_eq!(bench.retained_from(), 256);
    assert!(!bundle(dir.path(), 0).exists());
    fs::remove_dir(&stray).unwrap();
    bench.segments.tend().await.unwrap();
    bench.check(256).await;
}
