//! A crash at every step of every change: what is opened afterwards is the archive before or the one after, to the byte.

use super::*;

/// The archive after `ends`, settled, and its files.
fn settled(place: &Place, ends: &[u64]) -> BTreeMap<String, Vec<u8>> {
    drop(SMALL.archive(&place.dir(), ends));
    drop(SMALL.open(&place.dir(), ends.last().copied().unwrap_or(0)).unwrap());
    contents(&place.dir())
}

fn open_with_fuse(place: &Place, sealed_end: u64, steps: u64) -> Result<Archive, Error> {
    let files = Files::new(place.dir());
    files.fuse.set(steps);
    let archive = Archive::open_in(files, ORIGIN, &SMALL.known(), sealed_end)?;
    archive.finish_opening(&SMALL.known(), true)?;
    Ok(archive)
}

/// Does something with 0, 1, 2, … steps until it succeeds; gives how often it did not.
fn at_every_step(mut attempt: impl FnMut(u64) -> bool) -> u64 {
    (0..).find(|steps| attempt(*steps)).unwrap()
}

/// The process dies while it seals, and the next one redoes it.
#[test]
fn a_crash_while_sealing_is_as_if_it_had_not_begun() {
    for ends in [&[512, 1_280][..], &[512]] {
        let (start, end) = (if ends.len() > 1 { 512 } else { 0 }, *ends.last().unwrap());
        let reference = Place::new();
        let after = settled(&reference, ends);
        let crashes = at_every_step(|steps| {
            let place = Place::new();
            let before = settled(&place, &ends[..ends.len() - 1]);
            let archive = SMALL.open(&place.dir(), start).unwrap();
            archive.files.fuse.set(steps);
            let sealed = SMALL.seal(&archive, start..end).is_ok();
            assert_eq!(archive.sealed_end(), if sealed { end } else { start });
            drop(archive);

            // What readers go by is whole, before anybody repairs anything.
            if let Some(note) = contents(&place.dir()).get("checkpoint") {
                let size = if *note == SMALL.note(end).into_bytes() { end } else { start };
                let expected = static_log(&SMALL, size);
                let mut found = contents(&place.dir());
                found.retain(|name, _| expected.contains_key(name));
                assert_eq!(found, expected, "{steps}");
            }
            let archive = SMALL.open(&place.dir(), start).unwrap();
            assert_eq!(contents(&place.dir()), before, "{steps}");
            let _sealed = SMALL.seal(&archive, start..end).unwrap();
            drop(archive);
            drop(SMALL.open(&place.dir(), end).unwrap());
            assert_eq!(contents(&place.dir()), after, "{steps}");
            sealed
        });
        assert!(crashes > 15, "{crashes}");
    }
}

/// The disk fails at one step and works again: the same process tries again.
#[test]
fn a_seal_that_failed_is_tried_again() {
    let reference = Place::new();
    let after = settled(&reference, &[512, 1_280]);
    at_every_step(|steps| {
        let place = Place::new();
        drop(settled(&place, &[512]));
        let archive = SMALL.open(&place.dir(), 512).unwrap();
        archive.files.fuse.set(steps);
        let sealed = SMALL.seal(&archive, 512..1_280).is_ok();
        archive.files.fuse.set(u64::MAX);
        assert_reads_whole(&SMALL, &archive, 0, 512);
        // Also if it had succeeded and the caller does not know.
        let _sealed = SMALL.seal(&archive, 512..1_280).unwrap();
        assert_reads_whole(&SMALL, &archive, 0, 1_280);
        drop(archive);
        drop(SMALL.open(&place.dir(), 1_280).unwrap());
        assert_eq!(contents(&place.dir()), after, "{steps}");
        sealed
    });
}

/// The partial tile of level 2 is the same before and after: it is the old archive's and must not be touched.
#[test]
fn a_crash_harms_no_partial_tile_that_stays() {
    let (start, end) = (257 * 256, 259 * 256);
    let (log, place) = (Log::sized(end as usize), Place::new());
    drop(log.archive(&place.dir(), &[start]));
    drop(log.open(&place.dir(), start).unwrap());
    let before = contents(&place.dir());
    assert!(before.contains_key("tile/2/000.p/1") && before.contains_key("tile/1/001.p/1"));
    let crashes = at_every_step(|steps| {
        let archive = log.open(&place.dir(), start).unwrap();
        assert!(contents(&place.dir()) == before, "{steps}");
        archive.files.fuse.set(steps);
        log.seal(&archive, start..end).is_ok()
    });
    assert!(crashes > 15, "{crashes}");
    log.open(&place.dir(), end).unwrap().check(&log.known(), 0).unwrap();
    assert!(contents(&place.dir())["tile/2/000.p/1"] == before["tile/2/000.p/1"]);
}

/// A seal that fails gives its room back at once.
#[test]
fn a_seal_that_fails_leaves_nothing() {
    let place = Place::new();
    let before = settled(&place, &[512]);
    let archive = SMALL.open(&place.dir(), 512).unwrap();
    struct Gone;
    impl Source for Gone {
        fn entries(&mut self, bundle: u64) -> Result<Vec<Vec<u8>>, SourceError> {
            if bundle < 4 { (&*SMALL).entries(bundle) } else { Err("asked to stop".into()) }
        }

        fn tile(&mut self, tile: Tile) -> Result<Option<Vec<u8>>, SourceError> {
            (&*SMALL).tile(tile)
        }
    }
    let failed = archive.seal(512..1_280, &mut Gone, &SMALL.note(1_280), &SMALL.known());
    assert!(matches!(failed, Err(Error::Source { bundle: 4, .. })), "{failed:?}");
    assert_eq!(contents(&place.dir()), before);
}

/// The segment was sealed; whether the caller has committed it is known only when it opens the archive again. Each opening may
/// crash as well.
#[test]
fn a_crash_while_opening_is_as_if_it_had_not_begun() {
    let (before_place, after_place) = (Place::new(), Place::new());
    let states = [(512, settled(&before_place, &[512])), (1_280, settled(&after_place, &[512, 1_280]))];
    for (sealed_end, expected) in states {
        let crashes = at_every_step(|steps| {
            let place = Place::new();
            drop(SMALL.archive(&place.dir(), &[512, 1_280]));
            let opened = open_with_fuse(&place, sealed_end, steps).is_ok();
            drop(SMALL.open(&place.dir(), sealed_end).unwrap());
            assert_eq!(contents(&place.dir()), expected, "{sealed_end} {steps}");
            opened
        });
        assert!(crashes > 1, "{crashes}");
    }
}

/// A segment that a newer store may have taken stays, whoever else opens the archive; half a segment nobody can have taken.
#[test]
fn an_older_store_removes_no_whole_segment_unless_it_is_the_newest() {
    let place = Place::new();
    drop(SMALL.archive(&place.dir(), &[512, 1_280]));
    let whole = contents(&place.dir());
    assert!(whole.contains_key("sealing"));
    let open = || Archive::open(&place.dir(), ORIGIN, &SMALL.known(), 512).unwrap();
    let older = open();
    assert_reads_whole(&SMALL, &older, 0, 512);
    let refused = older.finish_opening(&SMALL.known(), false).unwrap_err().to_string();
    assert!(refused.contains("holds 1280 entries") && refused.contains("put that back"), "{refused}");
    drop(older);
    assert_eq!(contents(&place.dir()), whole, "nothing was touched");
    assert_reads_whole(&SMALL, &SMALL.open(&place.dir(), 1_280).unwrap(), 0, 1_280);

    // As the message says: somebody decides that there is no newer store.
    let place = Place::new();
    drop(SMALL.archive(&place.dir(), &[512, 1_280]));
    fs::remove_file(place.dir().join("checkpoint")).unwrap();
    let archive = Archive::open(&place.dir(), ORIGIN, &SMALL.known(), 512).unwrap();
    archive.finish_opening(&SMALL.known(), false).unwrap();
    assert_eq!(contents(&place.dir()), settled(&Place::new(), &[512]));
}

#[test]
fn half_a_segment_is_removed_for_whichever_store() {
    let place = Place::new();
    let before = settled(&place, &[512]);
    at_every_step(|steps| {
        let archive = SMALL.open(&place.dir(), 512).unwrap();
        archive.files.fuse.set(steps);
        let sealed = SMALL.seal(&archive, 512..1_280);
        drop(archive);
        if sealed.is_err() && contents(&place.dir()).get("checkpoint") == before.get("checkpoint") {
            let archive = Archive::open(&place.dir(), ORIGIN, &SMALL.known(), 512).unwrap();
            archive.finish_opening(&SMALL.known(), false).unwrap();
            assert_eq!(contents(&place.dir()), before, "{steps}");
        }
        drop(SMALL.open(&place.dir(), 512));
        sealed.is_ok()
    });
}

#[test]
fn a_segment_that_was_taken_is_settled_at_once() {
    let place = Place::new();
    let archive = SMALL.archive(&place.dir(), &[512, 1_280]);
    archive.settle().unwrap();
    archive.settle().unwrap();
    let files = contents(&place.dir());
    assert!(!files.contains_key("sealing"));
    assert_eq!(files, settled(&Place::new(), &[512, 1_280]));
    assert!(matches!(Archive::open(&place.dir(), ORIGIN, &SMALL.known(), 512), Err(Error::Refused(_))));
    assert_eq!(contents(&place.dir()), files);
}

/// A crash while what a crash left is removed.
#[test]
fn a_crash_while_undoing_half_a_segment_is_undone_too() {
    let place = Place::new();
    let before = settled(&place, &[512]);
    let crashes = at_every_step(|steps| {
        let archive = SMALL.open(&place.dir(), 512).unwrap();
        archive.files.fuse.set(8);
        SMALL.seal(&archive, 512..1_280).unwrap_err();
        drop(archive);
        assert!(contents(&place.dir()).contains_key("sealing"));
        let opened = open_with_fuse(&place, 512, steps).is_ok();
        drop(SMALL.open(&place.dir(), 512).unwrap());
        assert_eq!(contents(&place.dir()), before, "{steps}");
        opened
    });
    assert!(crashes > 5, "{crashes}");
}

#[test]
fn a_crash_while_the_archive_is_made_leaves_one_that_can_be_made() {
    let crashes = at_every_step(|steps| {
        let place = Place::new();
        let made = open_with_fuse(&place, 0, steps).is_ok();
        drop(SMALL.open(&place.dir(), 0).unwrap());
        assert_eq!(contents(&place.dir()).into_keys().collect::<Vec<_>>(), ["format"], "{steps}");
        made
    });
    assert!(crashes > 3, "{crashes}");
}

#[test]
fn a_deletion_that_was_cut_short_is_finished_by_the_next() {
    let reference = Place::new();
    let mut expected = settled(&reference, &[1_024, 2_048]);
    expected.retain(|name, _| !["000", "001", "002", "003"].iter().any(|n| *name == format!("tile/entries/{n}")));
    let crashes = at_every_step(|steps| {
        let place = Place::new();
        let total: usize = settled(&place, &[1_024, 2_048])
            .iter()
            .filter(|(name, _)| name.starts_with("tile/entries/") && !expected.contains_key(*name))
            .map(|(_, bytes)| bytes.len())
            .sum();
        let archive = SMALL.open(&place.dir(), 2_048).unwrap();
        archive.files.fuse.set(steps);
        let deleted = archive.delete_entries(0..1_024);
        drop(archive);
        let archive = SMALL.open(&place.dir(), 2_048).unwrap();
        let rest = archive.delete_entries(0..1_024).unwrap();
        assert_eq!(contents(&place.dir()), expected, "{steps}");
        archive.check(&SMALL.known(), 1_024).unwrap();
        assert_reads_whole(&SMALL, &archive, 1_024, 2_048);
        assert!(deleted.is_err() || (deleted.as_ref().unwrap() + rest) as usize == total);
        deleted.is_ok()
    });
    assert!(crashes > 4, "{crashes}");
}
