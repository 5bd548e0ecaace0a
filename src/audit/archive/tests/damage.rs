//! Damaged, missing and foreign files: each a defined error that names the file, and never wrong bytes.

use super::*;

fn assert_names(error: &Error, file: &Path, of: &str) {
    assert!(error.to_string().contains(file.to_str().unwrap()), "{of}: {error}");
}

#[test]
fn every_flipped_bit_of_a_bundle_is_found_at_its_entry() {
    let place = Place::new();
    drop(SMALL.archive(&place.dir(), &[512]));
    let file = place.dir().join("tile/entries/001");
    let good = fs::read(&file).unwrap();
    let mut ends = Vec::new();
    for entry in &SMALL.entries[256..512] {
        ends.push(ends.last().unwrap_or(&0) + 2 + entry.len());
    }
    assert_eq!(*ends.last().unwrap(), good.len());
    let archive = SMALL.open(&place.dir(), 512).unwrap();
    for at in 0..good.len() {
        let mut changed = good.clone();
        changed[at] ^= 1 << (at % 8);
        fs::write(&file, changed).unwrap();
        let expected = 256 + ends.iter().filter(|end| **end <= at).count() as u64;
        let found = archive.bundle(1).unwrap_err();
        assert_eq!(found.index(), Some(expected), "{at}");
        assert_names(&found, &file, "bundle");
        let read: Vec<_> = archive.entries(250..512).collect();
        assert_eq!(read.iter().filter(|entry| entry.is_ok()).count(), 6, "whole bundles or nothing");
    }
    fs::write(&file, good).unwrap();
    assert_reads_whole(&SMALL, &archive, 0, 512);
}

#[test]
fn a_bundle_that_is_cut_or_has_more_is_found() {
    let place = Place::new();
    drop(SMALL.archive(&place.dir(), &[512]));
    let file = place.dir().join("tile/entries/001");
    let good = fs::read(&file).unwrap();
    let archive = SMALL.open(&place.dir(), 512).unwrap();
    for length in (0..good.len()).step_by(7) {
        fs::write(&file, &good[..length]).unwrap();
        assert!(matches!(archive.bundle(1), Err(Error::Entry { index: 256..512, .. })), "{length}");
    }
    for more in [&b"\0"[..], b"\0\0", b"\0\x01x", &[0; 40_000]] {
        fs::write(&file, [&good, more].concat()).unwrap();
        assert!(matches!(archive.bundle(1), Err(Error::Entry { index: 511, .. })));
    }
    // The whole of another bundle.
    fs::copy(place.dir().join("tile/entries/000"), &file).unwrap();
    assert!(matches!(archive.bundle(1), Err(Error::Entry { index: 256, .. })));
}

#[test]
fn every_flipped_bit_of_a_tile_is_found() {
    let place = Place::new();
    drop(SMALL.archive(&place.dir(), &[512]));
    let file = place.dir().join("tile/0/001");
    let good = fs::read(&file).unwrap();
    let archive = SMALL.open(&place.dir(), 512).unwrap();
    for at in 0..good.len() {
        let mut changed = good.clone();
        changed[at] ^= 1 << (at % 8);
        fs::write(&file, changed).unwrap();
        let found = archive.tile(Tile { level: 0, index: 1 }).unwrap_err();
        assert!(matches!(found, Error::Damaged { .. }), "{at}: {found}");
        assert_names(&found, &file, "tile");
        if at % 512 == 0 {
            assert!(matches!(archive.leaf_hashes(0..512), Err(Error::Damaged { .. })));
            assert!(archive.bundle(1).is_ok(), "entries are still proved by the tile above");
        }
    }
    for length in [0, 1, 31, 32, 8_160, 8_191, 8_193, 8_224] {
        let mut changed = good.clone();
        changed.resize(length, 0);
        fs::write(&file, changed).unwrap();
        assert!(matches!(archive.tile(Tile { level: 0, index: 1 }), Err(Error::Damaged { .. })), "{length}");
    }
}

#[test]
fn every_flipped_bit_at_the_top_keeps_the_archive_shut() {
    let place = Place::new();
    drop(SMALL.archive(&place.dir(), &[512]));
    drop(SMALL.open(&place.dir(), 512).unwrap());
    for (name, what) in [("tile/1/000.p/2", "tile"), ("checkpoint", "checkpoint"), ("format", "archive")] {
        let file = place.dir().join(name);
        let good = fs::read(&file).unwrap();
        for at in 0..good.len() {
            let mut changed = good.clone();
            changed[at] ^= 1 << (at % 8);
            fs::write(&file, changed).unwrap();
            let refused = SMALL.open(&place.dir(), 512).err().unwrap_or_else(|| panic!("{name} at {at}"));
            assert!(refused.to_string().contains(what), "{refused}");
            fs::write(&file, &good[..at]).unwrap();
            assert!(SMALL.open(&place.dir(), 512).is_err(), "{name} cut at {at}");
        }
        fs::write(&file, good).unwrap();
    }
    assert_reads_whole(&SMALL, &SMALL.open(&place.dir(), 512).unwrap(), 0, 512);
}

/// Whoever changes an entry and everything above it that lies in files still can't sign.
#[test]
fn changes_that_fit_together_are_found() {
    let size = 257 * 256;
    let log = Log::sized(size as usize);
    let mut forged = Log::sized(size as usize);
    forged.entries[700][0] ^= 1;
    let leaves = forged.entries.iter().map(|entry| leaf_hash(entry)).collect();
    forged.naive = Mutex::new(Naive::of(leaves));
    let files = static_log(&forged, size);
    // From the entry up: each forgery goes one file further.
    let way = ["tile/entries/002", "tile/0/002", "tile/1/000", "tile/2/000.p/1", "checkpoint"];
    for reach in 1..=way.len() {
        let place = Place::new();
        drop(log.archive(&place.dir(), &[size]));
        for name in &way[..reach] {
            if *name == "checkpoint" {
                let other = SignerKey::new(ORIGIN, &Key::new([8; 32])).unwrap();
                let root = forged.naive().root(size as usize);
                let note = Checkpoint::new(ORIGIN, size, root).unwrap().sign(&[&other]).unwrap();
                fs::write(place.dir().join(name), note).unwrap();
            } else {
                assert_ne!(fs::read(place.dir().join(name)).unwrap(), files[*name]);
                fs::write(place.dir().join(name), &files[*name]).unwrap();
            }
        }
        match log.open(&place.dir(), size) {
            Ok(archive) => {
                assert!(reach <= 3, "the right edge and the checkpoint are looked at first");
                let found = archive.bundle(2).unwrap_err();
                assert_names(&found, &place.dir().join(way[reach - 1]), way[reach - 1]);
                assert_eq!(found.index(), (reach == 1).then_some(700));
            }
            Err(found) => assert!(reach > 3, "{found}"),
        }
    }
}

#[test]
fn a_missing_file_is_named() {
    let place = Place::new();
    drop(SMALL.archive(&place.dir(), &[512]));
    drop(SMALL.open(&place.dir(), 512).unwrap());
    for name in ["tile/entries/001", "tile/0/001", "tile/1/000.p/2", "checkpoint"] {
        let file = place.dir().join(name);
        let archive = SMALL.open(&place.dir(), 512).unwrap();
        let good = fs::read(&file).unwrap();
        fs::remove_file(&file).unwrap();
        let found = archive.check(&SMALL.known(), 0).unwrap_err();
        match name {
            "tile/entries/001" => assert_names(&archive.bundle(1).unwrap_err(), &file, name),
            "tile/0/001" => assert_names(&archive.leaf_hashes(300..301).unwrap_err(), &file, name),
            _ => assert!(SMALL.open(&place.dir(), 512).is_err()),
        }
        assert_names(&found, &file, name);
        // A directory in its place.
        fs::create_dir(&file).unwrap();
        match name {
            "tile/entries/001" => assert_names(&archive.bundle(1).unwrap_err(), &file, name),
            "tile/0/001" => assert_names(&archive.leaf_hashes(300..301).unwrap_err(), &file, name),
            _ => assert_names(&SMALL.open(&place.dir(), 512).err().unwrap(), &file, name),
        }
        fs::remove_dir(&file).unwrap();
        fs::write(&file, good).unwrap();
    }
    SMALL.open(&place.dir(), 512).unwrap().check(&SMALL.known(), 0).unwrap();
}

#[test]
fn directories_that_are_no_archive_of_this_log_are_refused() {
    let place = Place::new();
    let refused = |dir: &Path, sealed_end: u64| match SMALL.open(dir, sealed_end) {
        Err(Error::Refused(text)) => text,
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("opened"),
    };
    let dir = place.dir();
    assert!(refused(&dir, 512).contains("is gone"));
    assert!(!dir.exists(), "nothing is made in the place of what is gone");
    fs::write(&dir, "").unwrap();
    assert!(refused(&dir, 0).contains("not a directory"));
    fs::remove_file(&dir).unwrap();
    fs::create_dir(&dir).unwrap();
    fs::set_permissions(&dir, fs::Permissions::from_mode(0o750)).unwrap();
    assert!(refused(&dir, 0).contains("chmod 700"));
    fs::set_permissions(&dir, fs::Permissions::from_mode(0o700)).unwrap();
    assert!(refused(&dir, 512).contains("is gone"));
    fs::write(dir.join("letters"), "mine").unwrap();
    assert!(refused(&dir, 0).contains("letters"));
    fs::remove_file(dir.join("letters")).unwrap();

    drop(SMALL.archive(&dir, &[512]));
    assert!(refused(&dir, 256).contains("newer store"));
    assert!(refused(&dir, 768).contains("newer archive"));
    fs::write(dir.join("format"), "privet archive 2\n").unwrap();
    assert!(refused(&dir, 512).contains("another format"));
    fs::write(dir.join("format"), "privet archive 1\nother.example\n").unwrap();
    assert!(refused(&dir, 512).contains("\"other.example\""));
    fs::write(dir.join("format"), "").unwrap();
    assert!(refused(&dir, 512).contains("damaged format"));
    fs::remove_file(dir.join("format")).unwrap();
    assert!(refused(&dir, 512).contains("not an archive"));
}

/// After a seal that the store never took, an older store, or a newer one: only the two ends of the seal can be opened.
#[test]
fn an_unfinished_seal_of_another_place_is_not_undone() {
    let place = Place::new();
    drop(SMALL.archive(&place.dir(), &[512, 1_024]));
    let before = contents(&place.dir());
    assert!(before.contains_key("sealing"));
    for sealed_end in [0, 256, 768, 1_280] {
        assert!(matches!(SMALL.open(&place.dir(), sealed_end), Err(Error::Refused(_))), "{sealed_end}");
        assert_eq!(contents(&place.dir()), before);
    }
    // A marker that was changed is not obeyed.
    let file = place.dir().join("sealing");
    let good = fs::read(&file).unwrap();
    for at in 0..good.len() {
        let mut changed = good.clone();
        changed[at] ^= 1;
        fs::write(&file, changed).unwrap();
        let found = SMALL.open(&place.dir(), 512).err().unwrap();
        assert_names(&found, &file, "sealing");
        let mut found = contents(&place.dir());
        found.insert("sealing".into(), good.clone());
        assert_eq!(found, before);
    }
    fs::write(&file, good).unwrap();
    assert_reads_whole(&SMALL, &SMALL.open(&place.dir(), 512).unwrap(), 0, 512);
}

/// Past the archive's end nothing is anybody's: the seal that comes upon it fails without reading it, and the next has its way.
#[test]
fn a_stray_file_in_a_segments_place_is_never_taken_for_it() {
    let place = Place::new();
    drop(SMALL.archive(&place.dir(), &[512]));
    let archive = SMALL.open(&place.dir(), 512).unwrap();
    let stray = place.dir().join("tile/entries/003");
    fs::copy(place.dir().join("tile/entries/000"), &stray).unwrap();
    assert!(matches!(archive.bundle(3), Err(Error::Missing { .. })));
    let failed = SMALL.seal(&archive, 512..1_024).unwrap_err();
    assert_names(&failed, &stray, "stray");
    let _sealed = SMALL.seal(&archive, 512..1_024).unwrap();
    assert_reads_whole(&SMALL, &archive, 0, 1_024);
}

/// What a seal left is undone only where nothing is lost by it: by a store that has the entries, of this log.
#[test]
fn an_older_store_or_another_log_does_not_undo_the_last_seal() {
    let place = Place::new();
    drop(SMALL.archive(&place.dir(), &[512, 1_024]));
    let before = contents(&place.dir());
    let archive = Archive::open(&place.dir(), ORIGIN, &SMALL.known(), 512).unwrap();
    let refused = archive.finish_opening(&SMALL.known(), false).unwrap_err();
    assert!(refused.to_string().contains("if there is a newer store, put that back"), "{refused}");
    let other = SignerKey::new(ORIGIN, &Key::new([8; 32])).unwrap();
    let refused = Archive::open(&place.dir(), ORIGIN, &[other.verifier().clone()], 512).map(drop).unwrap_err();
    assert!(matches!(refused, Error::Checkpoint { .. }), "{refused}");
    assert_eq!(contents(&place.dir()), before);
    archive.finish_opening(&SMALL.known(), true).unwrap();
    assert_reads_whole(&SMALL, &archive, 0, 512);
}

#[test]
fn a_missing_checkpoint_is_named() {
    let place = Place::new();
    drop(SMALL.archive(&place.dir(), &[512]));
    drop(SMALL.open(&place.dir(), 512).unwrap());
    fs::remove_file(place.dir().join("checkpoint")).unwrap();
    let found = SMALL.open(&place.dir(), 512).map(drop).unwrap_err();
    assert!(matches!(found, Error::Missing { .. }), "{found}");
    assert_names(&found, &place.dir().join("checkpoint"), "checkpoint");
}
