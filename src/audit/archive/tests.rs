//! Archives of a small log, against the naive tree; `crash` and `damage` break them.

mod crash;
mod damage;

use std::{
    collections::BTreeMap,
    fs,
    ops::Range,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    sync::{
        LazyLock,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use proptest::prelude::*;

use super::*;
use crate::{
    audit::{
        checkpoint::Checkpoint,
        entry::leaf_hash,
        merkle::{naive::Naive, prove, verify},
        note::SignerKey,
        tiles::{edge::Edge, nodes::Nodes},
    },
    secret::Key,
};

const ORIGIN: &str = "log.example/privet";

/// A log with all its entries and tiles, as the store would have it.
struct Log {
    entries: Vec<Vec<u8>>,
    leaves: Vec<Hash>,
    naive: Mutex<Naive>,
    tiles: BTreeMap<Tile, Vec<u8>>,
    key: SignerKey,
}

impl Log {
    fn sized(size: usize) -> Self {
        let entry = |i: usize| [format!("entry {i} ").as_bytes(), &vec![i as u8; i % 5]].concat();
        let entries: Vec<_> = (0..size).map(entry).collect();
        let leaves: Vec<_> = entries.iter().map(|entry| leaf_hash(entry)).collect();
        let (mut edge, mut full) = (Edge::new(), Vec::new());
        leaves.iter().for_each(|leaf| edge.push(*leaf, &mut full));
        Self {
            entries,
            naive: Mutex::new(Naive::of(leaves.clone())),
            leaves,
            tiles: full.into_iter().map(|full| (full.tile, full.bytes)).collect(),
            key: SignerKey::new(ORIGIN, &Key::new([7; 32])).unwrap(),
        }
    }

    fn naive(&self) -> MutexGuard<'_, Naive> {
        self.naive.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note(&self, size: u64) -> String {
        Checkpoint::new(ORIGIN, size, self.naive().root(size as usize)).unwrap().sign(&[&self.key]).unwrap()
    }

    fn known(&self) -> [VerifierKey; 1] {
        [self.key.verifier().clone()]
    }

    /// Opens it for a store that is the newest.
    fn open(&self, dir: &Path, sealed_end: u64) -> Result<Archive, Error> {
        let archive = Archive::open(dir, ORIGIN, &self.known(), sealed_end)?;
        archive.finish_opening(&self.known(), true)?;
        Ok(archive)
    }

    fn seal(&self, archive: &Archive, segment: Range<u64>) -> Result<Sealed, Error> {
        let note = self.note(segment.end);
        archive.seal(segment, &mut &*self, &note, &self.known())
    }

    /// An archive of segments with these ends.
    fn archive(&self, dir: &Path, ends: &[u64]) -> Archive {
        let archive = self.open(dir, 0).unwrap();
        let mut start = 0;
        for end in ends {
            let sealed = self.seal(&archive, start..*end).unwrap();
            assert_eq!(sealed.segment, start..*end);
            start = *end;
        }
        archive
    }
}

impl Source for &Log {
    fn entries(&mut self, bundle: u64) -> Result<Vec<Vec<u8>>, SourceError> {
        let start = bundle as usize * 256;
        Ok(self.entries.get(start..start + 256).ok_or("the log is not as long")?.to_vec())
    }

    fn tile(&mut self, tile: Tile) -> Result<Option<Vec<u8>>, SourceError> {
        Ok(self.tiles.get(&tile).cloned())
    }
}

/// Up to 2,048 entries.
static SMALL: LazyLock<Log> = LazyLock::new(|| Log::sized(2_048));

struct Place(tempfile::TempDir);

impl Place {
    /// In memory if there is such a place: syncs of a disk wait for whatever else is being written to it.
    fn new() -> Self {
        let memory = Path::new("/dev/shm");
        Self(if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() }.unwrap())
    }

    fn dir(&self) -> PathBuf {
        self.0.path().join("archive")
    }
}

/// Every file below the directory and its bytes; directories end with a slash.
fn contents(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut left = vec![dir.to_owned()];
    while let Some(next) = left.pop() {
        for entry in fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            let name = path.strip_prefix(dir).unwrap().to_str().unwrap().to_owned();
            if path.is_dir() {
                found.insert(name + "/", Vec::new());
                left.push(path);
            } else {
                found.insert(name, fs::read(path).unwrap());
            }
        }
    }
    found
}

/// What the specification has a log of this size serve, written down from the naive tree.
fn static_log(log: &Log, size: u64) -> BTreeMap<String, Vec<u8>> {
    let (mut files, naive) = (BTreeMap::new(), log.naive());
    for level in 0..8 {
        let hashes = size >> (8 * level);
        for index in 0..hashes.div_ceil(256) {
            let width = (hashes - index * 256).min(256);
            let bytes: Vec<u8> = (index * 256..index * 256 + width)
                .flat_map(|n| {
                    let node = merkle_node(8 * level as u8, n);
                    prove::HashReader::hash(&mut &*naive, node).unwrap()
                })
                .collect();
            let suffix = if width < 256 { format!(".p/{width}") } else { String::new() };
            files.insert(format!("tile/{level}/{}{suffix}", number(index)), bytes);
        }
    }
    for index in 0..size / 256 {
        let entries = &log.entries[index as usize * 256..][..256];
        let bytes = entries.iter().flat_map(|entry| [&(entry.len() as u16).to_be_bytes(), entry.as_slice()].concat());
        files.insert(format!("tile/entries/{}", number(index)), bytes.collect());
    }
    drop(naive);
    files.insert("checkpoint".into(), log.note(size).into_bytes());
    files
}

fn merkle_node(level: u8, index: u64) -> crate::audit::merkle::Node {
    crate::audit::merkle::Node { level, index }
}

fn number(index: u64) -> String {
    match index {
        0..1_000 => format!("{index:03}"),
        _ => format!("x{:03}/{:03}", index / 1_000, index % 1_000),
    }
}

/// The archive's own files, and partial tiles of smaller trees.
fn without_extras(
    mut found: BTreeMap<String, Vec<u8>>,
    expected: &BTreeMap<String, Vec<u8>>,
) -> BTreeMap<String, Vec<u8>> {
    found.retain(|name, _| !name.ends_with('/') && name != "format" && name != "sealing");
    found.retain(|name, _| expected.contains_key(name) || !name.contains(".p/"));
    found
}

fn assert_reads_whole(log: &Log, archive: &Archive, start: u64, size: u64) {
    let entries: Vec<Stored> = archive.entries(start..size).collect::<Result<_, _>>().unwrap();
    assert_eq!(entries.len() as u64, size - start);
    for (entry, index) in entries.iter().zip(start..) {
        assert_eq!((entry.index, &entry.bytes), (index, &log.entries[index as usize]));
        assert_eq!(entry.leaf_hash, log.leaves[index as usize]);
    }
    assert_eq!(archive.leaf_hashes(0..size).unwrap(), log.leaves[..size as usize]);
}

#[test]
fn an_archive_is_the_static_log_of_its_size() {
    let place = Place::new();
    let archive = SMALL.archive(&place.dir(), &[]);
    assert_eq!((archive.sealed_end(), archive.checkpoint()), (0, None));
    let mut start = 0;
    for end in [256, 768, 1_024, 2_048] {
        let sealed = SMALL.seal(&archive, start..end).unwrap();
        let expected = static_log(&SMALL, end);
        let found = contents(&place.dir());
        assert_eq!(without_extras(found.clone(), &expected), expected, "{end}");
        assert_eq!((archive.sealed_end(), archive.checkpoint()), (end, Some(SMALL.note(end))));
        assert_reads_whole(&SMALL, &archive, 0, end);
        let lengths = |kept: &dyn Fn(&str) -> bool| -> u64 {
            found.iter().filter(|(name, _)| kept(name)).map(|(_, bytes)| bytes.len() as u64).sum()
        };
        assert_eq!(archive.bytes().unwrap(), lengths(&|_| true));
        if start == 0 {
            assert_eq!(sealed.bundle_bytes, lengths(&|name| name.starts_with("tile/entries/")));
            assert_eq!(sealed.bundle_bytes + sealed.tile_bytes, lengths(&|name| name.starts_with("tile/")));
        }
        archive.check(&SMALL.known(), 0).unwrap();
        start = end;
    }
}

#[test]
fn files_are_the_owners_alone() {
    let place = Place::new();
    SMALL.archive(&place.dir(), &[512]);
    for name in contents(&place.dir()).keys().map(String::as_str).chain([""]) {
        let mode = fs::metadata(place.dir().join(name)).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, if name.is_empty() || name.ends_with('/') { 0o700 } else { 0o600 }, "{name}");
    }
}

/// Across the first full tile of level 1, and with names of two groups.
#[test]
fn tiles_above_the_leaves_fill_and_their_partial_ones_go() {
    let size = 1_003 * 256;
    let (log, place) = (Log::sized(size as usize), Place::new());
    let archive = log.archive(&place.dir(), &[255 * 256, 257 * 256]);
    let found = contents(&place.dir());
    assert_eq!(found["tile/1/000.p/255"].len(), 255 * 32, "kept until the segment is known to be taken");
    assert_eq!(
        (found["tile/1/000"].len(), found["tile/1/001.p/1"].len(), found["tile/2/000.p/1"].len()),
        (8_192, 32, 32)
    );
    drop(archive);

    let archive = log.open(&place.dir(), 257 * 256).unwrap();
    let found = contents(&place.dir());
    assert!(!found.contains_key("tile/1/000.p/255") && !found.contains_key("sealing"));
    let _sealed = log.seal(&archive, 257 * 256..size).unwrap();
    let expected = static_log(&log, size);
    assert_eq!(without_extras(contents(&place.dir()), &expected), expected);
    assert_reads_whole(&log, &archive, 0, size);
    archive.check(&log.known(), 0).unwrap();
    for path in expected.keys().filter_map(|name| name.parse::<path::Path>().ok()) {
        assert_eq!(fs::read(Archive::path(&place.dir(), path)).unwrap(), expected[&path.to_string()]);
    }

    // Full tiles are given, partial ones are not: the log's own are longer.
    for tile in log.tiles.keys() {
        assert_eq!(archive.tile(*tile).unwrap().as_ref(), Some(&log.tiles[tile]));
    }
    for (level, index) in [(0, 1_003), (1, 3), (2, 0), (8, 0), (64, 0), (255, u64::MAX), (0, u64::MAX)] {
        assert_eq!(archive.tile(Tile { level, index }).unwrap(), None);
    }
    // Proofs of trees of full tiles can be read from it.
    let (leaf, root) = (log.leaves[60_000], log.naive().root(65_536));
    let proof = prove::inclusion(&mut Nodes::new(&archive), 60_000, 65_536).unwrap();
    verify::inclusion(&leaf, 60_000, 65_536, &proof, &root).unwrap();
}

#[test]
fn ranges_may_start_and_end_anywhere() {
    let place = Place::new();
    let archive = SMALL.archive(&place.dir(), &[1_024]);
    for range in
        [0..1, 255..256, 255..257, 256..512, 100..1_024, 1_023..1_024, 5..5, 1_024..1_024, Range { start: 9, end: 3 }]
    {
        let entries: Vec<_> = archive.entries(range.clone()).map(|entry| entry.unwrap().index).collect();
        assert_eq!(entries, range.clone().collect::<Vec<_>>());
        let leaves = SMALL.leaves.get(range.start as usize..range.end as usize).unwrap_or_default();
        assert_eq!(archive.leaf_hashes(range).unwrap(), leaves);
    }
    // Past the end there is an error, once, after everything before it.
    let given: Vec<_> = archive.entries(1_000..2_000).collect();
    assert_eq!((given.len(), given.iter().filter(|entry| entry.is_ok()).count()), (25, 24));
    assert!(matches!(given.last(), Some(Err(Error::Missing { .. }))));
    assert!(matches!(archive.leaf_hashes(1_000..2_000), Err(Error::Missing { .. })));
    for number in [4, u64::MAX >> 8, u64::MAX] {
        assert!(matches!(archive.bundle(number), Err(Error::Missing { .. })), "{number}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn any_segments_give_the_static_log(widths in proptest::collection::vec(1u64..4, 1..4)) {
        let place = Place::new();
        let ends: Vec<u64> = widths.iter().scan(0, |end, width| { *end += width * 256; Some(*end) })
            .take_while(|end| *end <= 2_048).collect();
        let archive = SMALL.archive(&place.dir(), &ends);
        let size = *ends.last().unwrap();
        let expected = static_log(&SMALL, size);
        prop_assert_eq!(without_extras(contents(&place.dir()), &expected), expected);
        assert_reads_whole(&SMALL, &archive, 0, size);
        drop(archive);
        assert_reads_whole(&SMALL, &SMALL.open(&place.dir(), size).unwrap(), 0, size);
    }
}

#[test]
fn what_is_no_next_segment_is_refused_and_changes_nothing() {
    let place = Place::new();
    let archive = SMALL.archive(&place.dir(), &[512]);
    let before = contents(&place.dir());
    for segment in [512..512, 512..700, 600..1_024, Range { start: 1_024, end: 512 }, 768..1_024, 256..768] {
        let refused = archive.seal(segment.clone(), &mut &*SMALL, &SMALL.note(segment.end), &SMALL.known());
        assert!(matches!(refused, Err(Error::Refused(_))), "{segment:?}: {refused:?}");
    }
    let other_size = archive.seal(512..768, &mut &*SMALL, &SMALL.note(1_024), &SMALL.known());
    assert!(matches!(other_size, Err(Error::Refused(_))));
    let unknown = archive.seal(512..768, &mut &*SMALL, &SMALL.note(768), &[]);
    assert!(matches!(unknown, Err(Error::Checkpoint { .. })));
    assert_eq!(contents(&place.dir()), before);
}

#[test]
fn a_segment_that_is_not_what_was_promised_is_not_sealed() {
    let place = Place::new();
    let archive = SMALL.archive(&place.dir(), &[512]);
    let reopened = || drop(SMALL.open(&place.dir(), 512).unwrap());
    reopened();
    let before = contents(&place.dir());
    let attempt = |change: &dyn Fn(&mut Log)| {
        let mut log = Log::sized(1_024);
        change(&mut log);
        let refused = archive.seal(512..1_024, &mut &log, &SMALL.note(1_024), &SMALL.known()).unwrap_err();
        assert_eq!(contents(&place.dir()), before, "{refused}");
        refused
    };
    let changed = attempt(&|log| log.entries[700][0] ^= 1);
    assert_eq!(changed.index(), Some(700));
    let too_long = attempt(&|log| log.entries[700] = vec![0; 65_536]);
    assert!(matches!(too_long, Error::Unsealable { .. }));
    let too_few = attempt(&|log| log.entries.truncate(900));
    assert!(matches!(too_few, Error::Source { bundle: 3, .. }));
    let no_tile = attempt(&|log| drop(log.tiles.remove(&Tile { level: 0, index: 3 })));
    assert!(matches!(no_tile, Error::Unsealable { index: None, .. }), "{no_tile}");
    // Changed entries with tiles to match: only the checkpoint knows.
    let forged = attempt(&|log| {
        log.entries[700][0] ^= 1;
        let start = log.entries.iter().map(|entry| leaf_hash(entry)).collect::<Vec<_>>()[512..768].concat();
        log.tiles.insert(Tile { level: 0, index: 2 }, start);
    });
    assert!(matches!(forged, Error::Unsealable { index: None, .. }), "{forged}");
    // And the archive goes on.
    let _sealed = SMALL.seal(&archive, 512..1_024).unwrap();
    assert_reads_whole(&SMALL, &archive, 0, 1_024);
}

#[test]
fn the_longest_entries_are_sealed() {
    let mut log = Log::sized(0);
    log.entries = (0..256).map(|i| vec![i as u8; 65_535]).collect();
    log.leaves = log.entries.iter().map(|entry| leaf_hash(entry)).collect();
    log.naive = Mutex::new(Naive::of(log.leaves.clone()));
    log.tiles.insert(Tile { level: 0, index: 0 }, log.leaves.concat());
    let place = Place::new();
    let archive = log.archive(&place.dir(), &[256]);
    assert_reads_whole(&log, &archive, 0, 256);
}

#[test]
fn retention_deletes_entries_and_keeps_all_else() {
    let size = 1_002 * 256;
    let (log, place) = (Log::sized(size as usize), Place::new());
    let archive = log.archive(&place.dir(), &[512, size]);
    let before = contents(&place.dir());
    let bytes = |from: u64, to: u64| -> u64 {
        (from..to).map(|index| before[&format!("tile/entries/{}", number(index))].len() as u64).sum()
    };
    assert_eq!(archive.bundle(0).unwrap().len(), 256);
    assert_eq!(archive.delete_entries(0..512).unwrap(), bytes(0, 2));
    assert_eq!(archive.delete_entries(0..512).unwrap(), 0, "what is gone is gone");
    assert!(matches!(archive.bundle(0), Err(Error::Missing { .. })), "not even from memory");
    archive.check(&log.known(), 512).unwrap();
    assert!(matches!(archive.check(&log.known(), 0), Err(Error::Missing { .. })));
    assert_reads_whole(&log, &archive, 512, size);
    // A part again with the rest, as after a crash.
    assert_eq!(archive.delete_entries(0..size).unwrap(), bytes(2, 1_002));
    archive.check(&log.known(), size).unwrap();
    let mut expected = before;
    expected.retain(|name, _| !name.starts_with("tile/entries"));
    assert_eq!(contents(&place.dir()), expected);
    assert_eq!(archive.leaf_hashes(0..size).unwrap(), log.leaves);
    // It can be opened so, and goes on.
    drop(archive);
    log.open(&place.dir(), size).unwrap().check(&log.known(), size).unwrap();
}

#[test]
fn only_whole_sealed_segments_can_be_deleted() {
    let place = Place::new();
    let archive = SMALL.archive(&place.dir(), &[512]);
    let before = contents(&place.dir());
    for range in [0..100, 1..256, 0..0, 0..768, 512..768, Range { start: 256, end: 0 }] {
        assert!(matches!(archive.delete_entries(range.clone()), Err(Error::Refused(_))), "{range:?}");
    }
    assert_eq!(contents(&place.dir()), before);
}

/// Whoever reads a bundle while it is deleted may still give it out, and must not keep it.
#[test]
fn a_reader_that_races_a_deletion_brings_nothing_back() {
    let log = Log::sized(16 * 256);
    for round in 0..20 {
        let place = Place::new();
        let archive = log.archive(&place.dir(), &[16 * 256]);
        // More than are kept, so that each is read again and again.
        let (bundles, stop) = (0..16, AtomicBool::new(false));
        thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    while !stop.load(Ordering::Relaxed) {
                        bundles.clone().for_each(|number| drop(archive.bundle(number)));
                    }
                });
            }
            thread::sleep(Duration::from_millis(3));
            archive.delete_entries(0..16 * 256).unwrap();
            stop.store(true, Ordering::Relaxed);
        });
        for number in bundles {
            assert!(matches!(archive.bundle(number), Err(Error::Missing { .. })), "bundle {number} in round {round}");
        }
    }
}
