//! Tests of the anchor on one machine; torn slots are tested beside their format, failing disks and other processes in
//! `tests/it/anchor.rs`.

use std::{
    fs,
    os::unix::fs::{PermissionsExt, symlink},
};

use tempfile::TempDir;

use super::*;
use crate::{
    audit::{
        checkpoint::Checkpoint,
        merkle::{EMPTY_ROOT, Hash},
    },
    config::Config,
};

const ORIGIN: &str = "privet.acme.example/log";

struct Place(TempDir);

impl Place {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn dir(&self) -> PathBuf {
        self.0.path().join("anchor")
    }

    fn create(&self) -> Anchor {
        Anchor::create(&self.dir(), ORIGIN).unwrap()
    }

    fn open(&self) -> Result<Anchor, Error> {
        Anchor::open(&self.dir(), ORIGIN)
    }

    fn why(&self) -> String {
        self.open().unwrap_err().to_string()
    }

    fn chmod(&self, name: &str, mode: u32) {
        fs::set_permissions(self.dir().join(name), fs::Permissions::from_mode(mode)).unwrap();
    }
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

fn note(size: u64) -> String {
    format!("{ORIGIN}\n{size}\nroot\n\n— {ORIGIN} signature\n")
}

#[test]
fn a_new_anchor_is_empty_and_its_owners_alone() {
    let place = Place::new();
    assert_eq!(place.create().newest(), None);
    assert_eq!(place.open().unwrap().newest(), None);
    assert_eq!(mode(&place.dir()), 0o700);
    assert_eq!(mode(&place.dir().join("anchor")), 0o600);
    assert_eq!(mode(&place.dir().join("lock")), 0o600);
    assert_eq!(fs::read_dir(place.dir()).unwrap().count(), 2);
}

#[test]
fn it_keeps_the_newest_checkpoint_and_no_other() {
    let place = Place::new();
    let mut anchor = place.create();
    anchor.advance(None, &note(1)).unwrap();
    for size in 2..=9 {
        anchor.advance(Some(&note(size - 1)), &note(size)).unwrap();
        assert_eq!(anchor.newest(), Some(note(size).as_str()));
    }
    drop(anchor);
    assert_eq!(place.open().unwrap().newest(), Some(note(9).as_str()));
    assert_eq!(fs::metadata(place.dir().join("anchor")).unwrap().len(), 8_192);
}

#[test]
fn a_checkpoint_that_is_not_the_newest_any_more_is_replaced_by_nobody() {
    let place = Place::new();
    let mut anchor = place.create();
    anchor.advance(None, &note(1)).unwrap();
    for wrong in [None, Some(note(2))] {
        assert!(matches!(anchor.advance(wrong.as_deref(), &note(3)), Err(Error::Moved { .. })));
    }
    assert_eq!(anchor.newest(), Some(note(1).as_str()));
    anchor.advance(Some(&note(1)), &note(2)).unwrap();
}

#[test]
fn an_advance_behind_its_back_is_noticed_and_left_as_it_is() {
    let place = Place::new();
    let mut anchor = place.create();
    anchor.advance(None, &note(1)).unwrap();
    let file = OpenOptions::new().write(true).open(place.dir().join("anchor")).unwrap();
    let others = slots::encode(3, &note(7)).unwrap();
    file.write_all_at(&others, slots::offset(3)).unwrap();
    assert!(matches!(anchor.advance(Some(&note(1)), &note(2)), Err(Error::Moved { .. })));
    assert_eq!(Anchor::peek(&place.dir(), ORIGIN).unwrap(), Some(note(7)));
}

#[test]
fn a_note_of_another_log_or_too_long_or_none_at_all_is_not_written() {
    let place = Place::new();
    let mut anchor = place.create();
    let others = note(1).replace(ORIGIN, "privet.acme.example/log2");
    for unfit in [others, format!("{ORIGIN}\n"), String::new(), format!("{ORIGIN}\n{}", "x".repeat(NOTE_BYTES_MAX))] {
        assert!(matches!(anchor.advance(None, &unfit), Err(Error::Refused { .. })), "{unfit}");
    }
    anchor.advance(None, &note(1)).unwrap();
}

#[test]
fn an_anchor_of_another_log_is_refused_by_name_even_an_empty_one() {
    let place = Place::new();
    let mut anchor = place.create();
    for _ in 0..2 {
        let why = Anchor::peek(&place.dir(), "other.example/log").unwrap_err().to_string();
        assert!(why.contains(&format!("it is of the log {ORIGIN}")), "{why}");
        // One name begins with the other.
        assert!(Anchor::peek(&place.dir(), "privet.acme.example/lo").is_err());
        let _once = anchor.advance(None, &note(1));
    }
}

#[test]
fn a_second_holder_is_refused_and_looking_needs_no_lock() {
    let place = Place::new();
    let mut first = place.create();
    assert!(place.why().contains("in use by another process"));
    assert_eq!(Anchor::peek(&place.dir(), ORIGIN).unwrap(), None);
    first.advance(None, &note(1)).unwrap();
    assert_eq!(Anchor::peek(&place.dir(), ORIGIN).unwrap(), Some(note(1)));
    drop(first);
    place.open().unwrap();
}

#[test]
fn where_there_is_none_it_says_so_and_makes_nothing() {
    let place = Place::new();
    assert!(matches!(place.open(), Err(Error::Absent { .. })));
    assert!(!place.dir().exists());
    fs::create_dir(place.dir()).unwrap();
    assert!(matches!(place.open(), Err(Error::Absent { .. })));
    assert!(matches!(Anchor::peek(&place.dir(), ORIGIN), Err(Error::Absent { .. })));
    assert_eq!(fs::read_dir(place.dir()).unwrap().count(), 0);
    assert!(place.why().contains("--new-anchor"));
}

#[test]
fn a_new_anchor_takes_nobodys_place_and_makes_one_directory_only() {
    let place = Place::new();
    place.create().advance(None, &note(1)).unwrap();
    let again = Anchor::create(&place.dir(), ORIGIN).unwrap_err().to_string();
    assert!(again.contains("there is an anchor already"), "{again}");
    assert_eq!(place.open().unwrap().newest(), Some(note(1).as_str()));
    // As where the device is not mounted.
    let unmounted = Anchor::create(&place.0.path().join("no/such"), ORIGIN).unwrap_err().to_string();
    assert!(unmounted.contains("mount its device"), "{unmounted}");
}

#[test]
fn a_creation_cut_short_starts_over() {
    let place = Place::new();
    fs::create_dir(place.dir()).unwrap();
    fs::write(place.dir().join("anchor.creating"), "privet anchor 1").unwrap();
    assert!(matches!(place.open(), Err(Error::Absent { .. })));
    assert_eq!(place.create().newest(), None);
    assert!(!place.dir().join("anchor.creating").exists());
}

#[test]
fn what_others_may_touch_is_refused() {
    let place = Place::new();
    drop(place.create());
    for open in [0o640, 0o604, 0o602, 0o666] {
        place.chmod("anchor", open);
        assert!(place.why().contains("chmod it to 0600"), "{open:o}");
    }
    place.chmod("anchor", 0o600);
    for open in [0o720, 0o702, 0o777] {
        place.chmod("", open);
        assert!(place.why().contains("chmod it to 0700"), "{open:o}");
        assert!(Anchor::create(&place.dir(), ORIGIN).is_err());
    }
    place.chmod("", 0o700);
    place.open().unwrap();
    fs::rename(place.dir().join("anchor"), place.0.path().join("elsewhere")).unwrap();
    symlink(place.0.path().join("elsewhere"), place.dir().join("anchor")).unwrap();
    assert!(place.why().contains("symbolic link"));
    fs::remove_file(place.dir().join("anchor")).unwrap();
    fs::create_dir(place.dir().join("anchor")).unwrap();
    assert!(place.open().is_err());
}

#[test]
fn what_is_short_overwritten_or_of_another_version_is_refused() {
    let place = Place::new();
    place.create().advance(None, &note(1)).unwrap();
    let file = place.dir().join("anchor");
    let whole = fs::read(&file).unwrap();
    for damaged in [&[][..], &whole[..8_191], &[0; 8_192]] {
        fs::write(&file, damaged).unwrap();
        assert!(matches!(place.open(), Err(Error::Damaged { .. })), "{} bytes", damaged.len());
        assert!(matches!(Anchor::peek(&place.dir(), ORIGIN), Err(Error::Damaged { .. })));
    }
    let mut later = whole.clone();
    later[14] = b'2';
    fs::write(&file, later).unwrap();
    assert!(place.why().contains("run the version that wrote it"), "{}", place.why());
    fs::write(&file, &whole).unwrap();
    place.open().unwrap();
}

#[test]
fn damage_under_an_open_anchor_stops_it_for_good() {
    let place = Place::new();
    let mut anchor = place.create();
    let file = place.dir().join("anchor");
    let whole = fs::read(&file).unwrap();
    OpenOptions::new().write(true).open(&file).unwrap().write_all_at(&[0; 8_192], 0).unwrap();
    assert!(matches!(anchor.advance(None, &note(1)), Err(Error::Damaged { .. })));
    OpenOptions::new().write(true).open(&file).unwrap().write_all_at(&whole, 0).unwrap();
    assert!(matches!(anchor.advance(None, &note(1)), Err(Error::Failed { .. })));
    assert_eq!(fs::read(&file).unwrap(), whole);
}

fn stands(anchor: Option<(u64, Hash)>, entries: u64, store_root: Hash) -> Result<(), Mismatch> {
    let anchor = anchor.map(|(size, root)| Checkpoint::new(ORIGIN, size, root).unwrap());
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(check(anchor.as_ref(), entries, async |size| {
        assert_eq!(Some(size), anchor.as_ref().map(Checkpoint::size), "asked for another size");
        assert!(size <= entries, "asked for more than there is");
        Ok(store_root)
    }))
}

#[test]
fn a_store_stands_if_it_is_the_anchors_or_that_one_grown() {
    let (root, other) = ([1; 32], [2; 32]);
    assert_eq!(stands(None, 0, EMPTY_ROOT), Ok(()));
    assert_eq!(stands(None, 1, root), Err(Mismatch::Missing { store: 1 }));
    assert_eq!(stands(Some((0, EMPTY_ROOT)), 0, EMPTY_ROOT), Ok(()));
    for entries in [7, 8, u64::MAX] {
        assert_eq!(stands(Some((7, root)), entries, root), Ok(()));
        assert_eq!(stands(Some((7, root)), entries, other), Err(Mismatch::Inconsistent { size: 7 }));
    }
    for entries in [0, 6] {
        assert_eq!(stands(Some((7, root)), entries, root), Err(Mismatch::Older { anchor: 7, store: entries }));
    }
}

#[test]
fn a_store_that_does_not_stand_is_told_what_to_do() {
    let older = Mismatch::Older { anchor: 7, store: 6 }.to_string();
    assert!(older.contains("has 6 entries and the anchor has seen 7; put back the newest store"), "{older}");
    let inconsistent = Mismatch::Inconsistent { size: 7 }.to_string();
    assert!(inconsistent.contains("put back the store that belongs to the anchor"), "{inconsistent}");
    let stranger = Mismatch::Stranger { anchor: 7 }.to_string();
    assert!(stranger.contains("put back those that belong together"), "{stranger}");
    let missing = Mismatch::Missing { store: 6 }.to_string();
    assert!(missing.contains("start once with --new-anchor, which is recorded"), "{missing}");
}

/// A configuration with these lines after `[log]`'s origin, below a directory with a `data` in it.
fn placed_with(first: &str, lines: &str) -> Result<Option<PathBuf>, String> {
    let scratch = tempfile::tempdir().unwrap();
    fs::create_dir(scratch.path().join("data")).unwrap();
    let text = format!(
        r#"
{first}
[tls]
cert = "server.pem"
key = "server.key"
[[tls.client_ca]]
file = "ca.pem"
trust_domains = ["acme.example"]
[[trust_domain]]
name = "acme.example"
tenants = ["acme"]
[[tenant]]
id = "acme"
[store]
dir = "data"
[root]
kind = "file"
dir = "root"
[policy]
dir = "policies"
[log]
origin = "{ORIGIN}"
{lines}
"#
    );
    let config = Config::parse(&text, &scratch.path().join("privet.toml")).unwrap();
    let relative = |dir: &Path| dir.strip_prefix(scratch.path()).unwrap_or(dir).to_owned();
    placed(&config).map(|dir| dir.map(relative)).map_err(|error| error.to_string())
}

#[test]
fn a_missing_anchor_needs_its_danger_key_outside_dev() {
    let refused = placed_with("", "").unwrap_err();
    assert!(refused.contains("`danger_no_anchor = true`") && refused.contains("older copy"), "{refused}");
    assert!(placed_with("", "danger_anchor_on_same_device = true").is_err());
    assert_eq!(placed_with("", "danger_no_anchor = true"), Ok(None));
    assert_eq!(placed_with("dev = true", ""), Ok(None));
}

#[test]
fn an_anchor_on_the_stores_device_needs_its_danger_key_outside_dev() {
    let near = "[log.anchor]\ndir = \"anchor\"";
    let refused = placed_with("", near).unwrap_err();
    assert!(
        refused.contains("`danger_anchor_on_same_device = true`") && refused.contains("puts back both"),
        "{refused}"
    );
    let there = Ok(Some(PathBuf::from("anchor")));
    assert_eq!(placed_with("", &format!("danger_anchor_on_same_device = true\n{near}")), there);
    assert_eq!(placed_with("dev = true", near), there);
    // /proc is nobody's disk.
    assert_eq!(placed_with("", "[log.anchor]\ndir = \"/proc/anchor\""), Ok(Some(PathBuf::from("/proc/anchor"))));
    let unknown = placed_with("", "[log.anchor]\ndir = \"no/such/anchor\"").unwrap_err();
    assert!(unknown.contains("can't be told"), "{unknown}");
}

#[test]
fn devices_are_told_apart_by_what_is_there_or_will_be() {
    let scratch = tempfile::tempdir().unwrap();
    let here = scratch.path();
    assert!(same_device(here, &here.join("later")).unwrap());
    assert!(!same_device(here, Path::new("/proc")).unwrap());
    assert!(!same_device(&here.join("later"), Path::new("/proc/later")).unwrap());
    assert!(same_device(here, &here.join("no/such")).is_err());
    assert!(same_device(Path::new("later"), Path::new(".")).unwrap());
}
