//! A crash or a failing disk at every step of writing and merging.

use std::{cell::RefCell, fs, rc::Rc};

use super::{
    model::{Log, SMALL, list},
    *,
};

const END: u64 = 330;

/// What a crash leaves: the directory as it stands, once with the newest name and once without it, since a name is durable
/// only when its directory was synced.
#[derive(Default)]
struct Crashes {
    left: Vec<(String, tempfile::TempDir)>,
    synced: Option<PathBuf>,
    /// Where a file was renamed to and its directory not synced since.
    renamed: Option<PathBuf>,
}

impl Crashes {
    /// Before each step: checks its order and keeps what a crash here would leave.
    fn see(&mut self, dir: &Path, step: &'static str, path: &Path) {
        match step {
            "rename" => assert_eq!(self.synced.as_deref(), Some(path), "synced before it gets its name"),
            "remove" if path.extension().is_some_and(|extension| extension == "run") => {
                assert_eq!(self.renamed, None, "nothing is removed before what replaces it is durable");
            }
            _ => {}
        }
        self.keep(dir, step, None);
        if let Some(renamed) = &self.renamed.clone() {
            self.keep(dir, step, Some(renamed));
        }
        match step {
            "write" | "create" => self.synced = None,
            "sync" => self.synced = Some(path.to_owned()),
            "rename" => self.renamed = Some(path.with_extension("")),
            "sync directory" => self.renamed = None,
            _ => {}
        }
    }

    fn keep(&mut self, dir: &Path, step: &str, without: Option<&Path>) {
        let copy = tempfile::tempdir().unwrap();
        for (path, _) in list(dir).into_iter().filter(|(path, _)| Some(path.as_path()) != without) {
            fs::copy(&path, copy.path().join(path.file_name().unwrap())).unwrap();
        }
        self.left.push((format!("{step} {}, without {without:?}", self.left.len()), copy));
    }
}

fn add(index: &Index, log: &Log, end: u64) -> Result<(), Error> {
    // By turns few and many, so that runs begin and end within a call and between two.
    for count in [7, 40].into_iter().cycle() {
        let from = index.watermark();
        if from == end {
            return Ok(());
        }
        index.add(&log.indexed(from..end.min(from + count)))?;
    }
    Ok(())
}

#[test]
fn a_crash_at_any_step_loses_nothing_that_the_next_open_takes_for_there() {
    let (log, dir) = (Log(4), tempfile::tempdir().unwrap());
    let index = Index::open_sized(dir.path(), "log", 0..END, SMALL).unwrap();
    let crashes = Rc::new(RefCell::new(Crashes::default()));
    let (seen, root) = (Rc::clone(&crashes), dir.path().to_owned());
    files::watch(Some(Box::new(move |step, path| {
        seen.borrow_mut().see(&root, step, path);
        Ok(())
    })));
    add(&index, &log, END).unwrap();
    index.forget_before(100).unwrap();
    files::watch(None);
    let left = std::mem::take(&mut crashes.borrow_mut().left);
    for step in ["create", "write", "sync", "rename", "sync directory", "remove"] {
        assert!(left.iter().filter(|(name, _)| name.starts_with(&format!("{step} "))).count() > 10, "{step}");
    }
    let mut before = 0;
    for (step, dir) in left {
        let index = Index::open_sized(dir.path(), "log", 0..END, SMALL).unwrap();
        assert!(list(dir.path()).iter().all(|(path, _)| path.extension().unwrap() == "run"), "{step}");
        if !step.contains("Some") && !step.starts_with("remove") {
            assert!(index.watermark() >= before, "{step}: what was covered stays covered");
            before = index.watermark();
        }
        log.check(&index, 0..END);
        log.catch_up(&index, END);
        assert_eq!(log.check(&index, 0..END), 0, "{step}");
    }
}

#[test]
fn a_step_that_fails_is_reported_and_indexing_goes_on_after_it() {
    let (log, mut reported) = (Log(5), 0);
    for failing in 0.. {
        let dir = tempfile::tempdir().unwrap();
        let index = Index::open_sized(dir.path(), "log", 0..END, SMALL).unwrap();
        let steps = Rc::new(RefCell::new(0));
        let counted = Rc::clone(&steps);
        files::watch(Some(Box::new(move |_, _| {
            *counted.borrow_mut() += 1;
            if *counted.borrow() == failing + 1 { Err(io::Error::from_raw_os_error(5)) } else { Ok(()) }
        })));
        let outcome = add(&index, &log, END);
        files::watch(None);
        if let Err(error) = &outcome {
            assert!(matches!(error, Error::Io { .. }), "{error:?}");
            reported += 1;
        }
        log.check(&index, 0..END);
        add(&index, &log, END).unwrap();
        assert_eq!(log.check(&index, 0..END), 0, "step {failing}");
        drop(index);
        log.check(&Index::open_sized(dir.path(), "log", 0..END, SMALL).unwrap(), 0..END);
        if failing > *steps.borrow() {
            break;
        }
    }
    assert!(reported > 50, "{reported}");
}

#[test]
fn while_nothing_can_be_written_the_table_does_not_grow_and_answers_stay_complete() {
    let (log, dir) = (Log(6), tempfile::tempdir().unwrap());
    let index = Index::open_sized(dir.path(), "log", 0..END, SMALL).unwrap();
    files::watch(Some(Box::new(
        |step, _| {
            if step == "write" { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
        },
    )));
    for _ in 0..10 {
        let full = index.add(&log.indexed(index.watermark()..END));
        assert!(matches!(full, Err(Error::Io { .. })), "{full:?}");
        assert!(index.watermark() <= SMALL.entries);
        assert!(list(dir.path()).is_empty(), "what was begun is removed");
    }
    log.check(&index, 0..END);
    files::watch(None);
    add(&index, &log, END).unwrap();
    assert_eq!(log.check(&index, 0..END), 0);
}

#[test]
fn a_run_written_from_what_was_dropped_meanwhile_is_not_put_in_its_place() {
    let log = Log(9);
    for (dropping, from) in (0..200).step_by(3).flat_map(|step| [(step, 0), (step, 100)]) {
        let dir = tempfile::tempdir().unwrap();
        let index = Arc::new(Index::open_sized(dir.path(), "log", 0..END, SMALL).unwrap());
        let (dropper, mut steps) = (Arc::clone(&index), 0);
        files::watch(Some(Box::new(move |_, _| {
            steps += 1;
            if steps == dropping + 1 {
                dropper.forget_from(from).unwrap();
            }
            Ok(())
        })));
        let outcome = add(&index, &log, END);
        files::watch(None);
        assert!(matches!(outcome, Ok(()) | Err(Error::Gap { .. })), "{outcome:?}");
        log.catch_up(&index, END);
        assert_eq!(log.check(&index, 0..END), 0, "dropped from {from} at step {dropping}");
        drop(index);
        log.check(&Index::open_sized(dir.path(), "log", 0..END, SMALL).unwrap(), 0..END);
    }
}
