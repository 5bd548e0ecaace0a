//! Root keys in files, and all that is refused.

use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

use super::*;
use crate::entropy::SystemEntropy;

fn entropy() -> Arc<dyn Entropy> {
    Arc::new(SystemEntropy::open())
}

fn why(result: Result<FileRoot, Error>) -> &'static str {
    match result {
        Err(Error::Refused { why, .. }) => why,
        other => panic!("{other:?}"),
    }
}

fn chmod(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn a_created_root_is_private_and_opens_again_with_the_same_key() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path().join("root");
    let made = FileRoot::create(&dir, entropy()).unwrap();
    assert_eq!(fs::metadata(&dir).unwrap().mode() & 0o777, 0o700);
    let meta = fs::metadata(dir.join("root-1.key")).unwrap();
    assert_eq!((meta.mode() & 0o777, meta.len()), (0o600, 32));

    let key = Key::new([3; 32]);
    let wrapped = made.wrap(Generation(1), &[ToWrap { aad: b"a", key: &key }]).unwrap();
    let opened = FileRoot::open(&dir, entropy()).unwrap();
    assert_eq!(opened.newest(), Generation(1));
    assert_eq!(opened.unwrap(Generation(1), b"a", &wrapped[0]).unwrap().expose(), key.expose());
    assert!(matches!(opened.unwrap(Generation(1), b"b", &wrapped[0]), Err(Error::Mismatch(Generation(1)))));
    assert!(matches!(opened.unwrap(Generation(2), b"a", &wrapped[0]), Err(Error::Missing(Generation(2)))));
}

#[test]
fn creating_never_overwrites_a_root() {
    let dir = tempfile::tempdir().unwrap();
    FileRoot::create(dir.path(), entropy()).unwrap();
    let before = fs::read(dir.path().join("root-1.key")).unwrap();
    assert_eq!(why(FileRoot::create(dir.path(), entropy())), "root keys are there already");
    assert_eq!(fs::read(dir.path().join("root-1.key")).unwrap(), before);
    assert!(write_new(dir.path(), &path(dir.path(), Generation(1)), &[0; 32]).is_err());
}

#[test]
fn a_file_that_others_may_touch_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    FileRoot::create(dir.path(), entropy()).unwrap();
    let file = dir.path().join("root-1.key");
    for mode in [0o640, 0o604, 0o610, 0o620, 0o602, 0o666] {
        chmod(&file, mode);
        assert!(why(FileRoot::open(dir.path(), entropy())).contains("0600"), "{mode:o}");
    }
    for mode in [0o600, 0o400] {
        chmod(&file, mode);
        assert!(FileRoot::open(dir.path(), entropy()).is_ok(), "{mode:o}");
    }
}

#[test]
fn a_directory_that_others_may_write_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    FileRoot::create(dir.path(), entropy()).unwrap();
    for mode in [0o770, 0o702, 0o777] {
        chmod(dir.path(), mode);
        assert!(why(FileRoot::open(dir.path(), entropy())).contains("0700"), "{mode:o}");
    }
}

#[test]
fn links_pipes_and_other_lengths_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    FileRoot::create(dir.path(), entropy()).unwrap();
    let first = dir.path().join("root-1.key");
    let second = dir.path().join("root-2.key");

    symlink(&first, &second).unwrap();
    assert_eq!(why(FileRoot::open(dir.path(), entropy())), "it is a symbolic link");
    fs::remove_file(&second).unwrap();

    rustix::fs::mknodat(
        rustix::fs::CWD,
        &second,
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::from_raw_mode(0o600),
        0,
    )
    .unwrap();
    assert_eq!(why(FileRoot::open(dir.path(), entropy())), "it is not a regular file");
    fs::remove_file(&second).unwrap();

    for len in [0, 31, 33] {
        fs::write(&first, vec![1; len]).unwrap();
        assert_eq!(why(FileRoot::open(dir.path(), entropy())), "it is neither 32 bytes long nor a sealed key");
    }
}

#[test]
fn an_empty_directory_and_lookalike_names_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    chmod(dir.path(), 0o700);
    assert_eq!(why(FileRoot::open(dir.path(), entropy())), "there is no root key in it");
    FileRoot::create(dir.path(), entropy()).unwrap();
    for name in ["root-0.key", "root-01.key", "root-+2.key", "root-1.key.bak", "root-x.key", "root-4294967296.key"] {
        fs::write(dir.path().join(name), [0; 32]).unwrap();
        assert!(why(FileRoot::open(dir.path(), entropy())).contains("its name"), "{name}");
        fs::remove_file(dir.path().join(name)).unwrap();
    }
    fs::write(dir.path().join("README"), "").unwrap();
    assert!(FileRoot::open(dir.path(), entropy()).is_ok());
}

#[test]
fn a_destroyed_generation_opens_nothing_and_the_newest_stays() {
    let dir = tempfile::tempdir().unwrap();
    FileRoot::create(dir.path(), entropy()).unwrap();
    write_new(dir.path(), &path(dir.path(), Generation(10)), &[5; 32]).unwrap();
    let root = FileRoot::open(dir.path(), entropy()).unwrap();
    assert_eq!(root.newest(), Generation(10));
    let wrapped = root.wrap(Generation(1), &[ToWrap { aad: b"", key: &Key::new([3; 32]) }]).unwrap();

    assert!(matches!(root.destroy(Generation(10)), Err(Error::Newest(_))));
    assert!(matches!(root.destroy(Generation(2)), Err(Error::Missing(_))));
    assert_eq!(root.destroy(Generation(1)).unwrap(), Destruction::BestEffort);
    assert!(!dir.path().join("root-1.key").exists());
    assert!(matches!(root.unwrap(Generation(1), b"", &wrapped[0]), Err(Error::Missing(_))));
    assert!(FileRoot::open(dir.path(), entropy()).is_ok());
}

#[test]
fn a_root_prints_nothing_of_itself() {
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(format!("{:?}", FileRoot::create(dir.path(), entropy()).unwrap()), "FileRoot");
}

fn secret(text: &str) -> Passphrase {
    Passphrase::new(text.as_bytes().to_vec()).unwrap()
}

#[test]
fn a_sealed_root_opens_with_its_passphrase_and_says_why_not_otherwise() {
    let dir = tempfile::tempdir().unwrap();
    let made = FileRoot::create_with(dir.path(), entropy(), Some(&secret("first"))).unwrap();
    let aad = b"place";
    let wrapped = made.wrap(Generation(1), &[ToWrap { aad, key: &Key::new([5; 32]) }]).unwrap().remove(0);
    assert!(matches!(FileRoot::open(dir.path(), entropy()), Err(Error::Sealed { .. })));
    let with = |text: &'static str| FileRoot::open_with(dir.path(), entropy(), &mut |_| Ok(secret(text)));
    assert!(matches!(with("second"), Err(Error::Passphrase { .. })));
    assert_eq!(with("first").unwrap().unwrap(Generation(1), aad, &wrapped).unwrap().expose(), &[5; 32]);

    let change = |from: &'static str, to: Option<&str>| {
        FileRoot::seal_with(dir.path(), &*entropy(), &mut |_| Ok(secret(from)), to.map(secret))
    };
    assert!(matches!(change("second", Some("third")), Err(Error::Passphrase { .. })));
    assert!(with("first").is_ok(), "nothing was changed");
    change("first", Some("second")).unwrap();
    assert!(with("first").is_err());
    assert_eq!(with("second").unwrap().unwrap(Generation(1), aad, &wrapped).unwrap().expose(), &[5; 32]);
    // What a run left that was cut off is no key, and in nobody's way.
    fs::write(dir.path().join("new-1.key"), "torn").unwrap();
    change("second", None).unwrap();
    let plain = FileRoot::open(dir.path(), entropy()).unwrap();
    assert_eq!(plain.unwrap(Generation(1), aad, &wrapped).unwrap().expose(), &[5; 32]);
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    assert_eq!(fs::metadata(path(dir.path(), Generation(1))).unwrap().mode() & 0o777, 0o600);
}

#[test]
fn a_change_that_was_cut_off_between_two_keys_goes_on_with_either_passphrase() {
    let dir = tempfile::tempdir().unwrap();
    FileRoot::create_with(dir.path(), entropy(), Some(&secret("new"))).unwrap();
    let other = tempfile::tempdir().unwrap();
    FileRoot::create_with(other.path(), entropy(), Some(&secret("old"))).unwrap();
    let second = written(dir.path(), Generation(2), &Key::new([9; 32]), Some(&secret("old")), &*entropy()).unwrap();
    write_new(dir.path(), &path(dir.path(), Generation(2)), &second).unwrap();
    FileRoot::seal_with(dir.path(), &*entropy(), &mut |_| Ok(secret("old")), Some(secret("new"))).unwrap();
    let asked = std::cell::Cell::new(0);
    let opened = FileRoot::open_with(dir.path(), entropy(), &mut |_| {
        asked.set(asked.get() + 1);
        Ok(secret("new"))
    });
    assert_eq!((opened.unwrap().newest(), asked.get()), (Generation(2), 1), "asked once");
}
