//! Damage of any file, anywhere: noticed, dropped, and never a shorter answer.

use std::fs;

use super::{
    model::{Asked, Log, SMALL, directions, list},
    *,
};

const END: u64 = 410;

/// A directory with runs of several levels over the first entries of a log.
fn built(log: &Log, dir: &Path) -> Vec<(PathBuf, u64)> {
    let index = Index::open_sized(dir, "log", 0..END, SMALL).unwrap();
    index.add(&log.indexed(0..END)).unwrap();
    let levels: Vec<u32> = index.state().runs.iter().map(|run| run.footer().level).collect();
    assert!(levels.contains(&2) && levels.contains(&1) && levels.contains(&0), "{levels:?}");
    list(dir)
}

fn copy(from: &Path) -> tempfile::TempDir {
    let to = tempfile::tempdir().unwrap();
    for (path, _) in list(from) {
        fs::copy(&path, to.path().join(path.file_name().unwrap())).unwrap();
    }
    to
}

fn reopened(dir: &Path) -> Index {
    Index::open_sized(dir, "log", 0..END, SMALL).unwrap()
}

/// Opens a damaged directory, shows that the damage is noticed by the time all is read, and that every answer is complete:
/// at once, after the drop, and after indexing again.
fn survives(log: &Log, dir: &Path, whole: u64, what: &str) {
    let index = reopened(dir);
    let at_open = index.watermark() < whole;
    log.check(&index, 0..END);
    let runs = index.state().runs.clone();
    assert!(
        runs.iter().all(|run| run.path() == files::run_path(dir, &run.indexes())),
        "each under its own name: {what}"
    );
    let read = runs.iter().map(|run| {
        let mut scan = run.scan();
        while scan.posting()?.is_some() {}
        Ok(())
    });
    let by_reading = read.collect::<io::Result<()>>().is_err();
    assert!(at_open || by_reading || index.watermark() < whole, "not noticed: {what}");
    log.catch_up(&index, END);
    log.check(&index, 0..END);
    drop(index);
    log.check(&reopened(dir), 0..END);
}

#[test]
fn a_changed_byte_anywhere_is_noticed_and_no_answer_is_shorter() {
    let (log, built_dir) = (Log(3), tempfile::tempdir().unwrap());
    let files = built(&log, built_dir.path());
    let whole = reopened(built_dir.path()).watermark();
    for (path, length) in files {
        let tail = 4_096 * ((length - footer::FOOTER_BYTES as u64) / 4_096);
        // Some bytes of blocks, more of what is held in memory.
        let offsets = (0..tail).step_by(211).chain((tail..length).step_by(23)).chain([length - 1]);
        for offset in offsets {
            let dir = copy(built_dir.path());
            let damaged = dir.path().join(path.file_name().unwrap());
            let mut bytes = fs::read(&damaged).unwrap();
            bytes[offset as usize] ^= 1 << (offset % 8);
            fs::write(&damaged, bytes).unwrap();
            survives(&log, dir.path(), whole, &format!("byte {offset} of {}", path.display()));
        }
    }
}

#[test]
fn a_file_cut_short_lengthened_emptied_exchanged_or_gone_is_noticed() {
    let (log, built_dir) = (Log(3), tempfile::tempdir().unwrap());
    let files = built(&log, built_dir.path());
    let whole = reopened(built_dir.path()).watermark();
    for (path, length) in &files {
        let name = path.file_name().unwrap();
        for cut in [0, 1, 139, 140, 4_095, 4_096, length / 2, length - 1] {
            let dir = copy(built_dir.path());
            fs::File::options().write(true).open(dir.path().join(name)).unwrap().set_len(cut).unwrap();
            survives(&log, dir.path(), whole, &format!("{path:?} cut to {cut}"));
        }
        let dir = copy(built_dir.path());
        let longer = [fs::read(path).unwrap(), vec![0]].concat();
        fs::write(dir.path().join(name), longer).unwrap();
        survives(&log, dir.path(), whole, &format!("{path:?} lengthened"));
        let dir = copy(built_dir.path());
        fs::remove_file(dir.path().join(name)).unwrap();
        survives(&log, dir.path(), whole, &format!("{path:?} gone"));
        for (other, _) in files.iter().filter(|(other, _)| other != path) {
            let dir = copy(built_dir.path());
            fs::copy(other, dir.path().join(name)).unwrap();
            survives(&log, dir.path(), whole, &format!("{other:?} in the place of {path:?}"));
        }
    }
}

#[test]
fn runs_of_another_log_and_past_the_end_are_dropped() {
    let (log, dir) = (Log(3), tempfile::tempdir().unwrap());
    built(&log, dir.path());
    let whole = reopened(dir.path()).watermark();
    let shorter = copy(dir.path());
    let index = Index::open_sized(shorter.path(), "log", 0..whole - 1, SMALL).unwrap();
    assert!(index.watermark() < whole && index.watermark() > 0);
    let other = Index::open_sized(dir.path(), "another log", 0..END, SMALL).unwrap();
    assert_eq!((other.watermark(), list(dir.path()).len()), (0, 0));
}

#[test]
fn a_run_damaged_while_it_is_open_is_dropped_by_the_search_that_meets_it() {
    let (log, dir) = (Log(3), tempfile::tempdir().unwrap());
    let files = built(&log, dir.path());
    let index = reopened(dir.path());
    let (path, _) = &files[0];
    let mut bytes = fs::read(path).unwrap();
    // All its blocks, so that the first one read is among them.
    bytes[..4_096].fill(0xff);
    fs::write(path, bytes).unwrap();
    let asked = Asked::all(0..END);
    let damaged = directions().map(|direction| index.find(&asked.query(), 0..index.watermark(), direction, 1_000));
    let Err(Error::Damaged { run, .. }) = &damaged[0] else { panic!("{damaged:?}") };
    assert_eq!(run.as_str(), path.file_name().unwrap());
    assert_eq!((index.watermark(), list(dir.path()).len()), (0, 0), "dropped, with what follows it");
    log.catch_up(&index, END);
    assert_eq!(log.check(&index, 0..END), 0, "nothing is left to scan");
}

#[test]
fn a_merge_that_meets_damage_drops_the_run_and_goes_on() {
    let (log, dir) = (Log(3), tempfile::tempdir().unwrap());
    let sizes = Sizes { postings: 1 << 20, ..SMALL };
    let index = Index::open_sized(dir.path(), "log", 0..END, sizes).unwrap();
    index.add(&log.indexed(0..90)).unwrap();
    let path = files::run_path(dir.path(), &(30..60));
    let mut bytes = fs::read(&path).unwrap();
    bytes[2_000] ^= 1;
    fs::write(&path, bytes).unwrap();
    let met = index.add(&log.indexed(90..91));
    assert!(matches!(met, Err(Error::Damaged { .. })), "{met:?}");
    assert_eq!(index.watermark(), 30);
    log.catch_up(&index, END);
    assert_eq!(log.check(&index, 0..END), 0);
}
