//! The archive from outside: what any web server would serve from its directory, and what is left when power or disk fail.

mod faults;
mod power_cut;
mod served;

use std::{collections::HashMap, ops::Range, path::Path};

use privet::{
    audit::{
        archive::{Archive, Error, Sealed, Source, SourceError},
        checkpoint::Checkpoint,
        entry::leaf_hash,
        merkle::Hash,
        note::{SignerKey, VerifierKey},
        tiles::{Tile, edge::Edge},
    },
    secret::Key,
};

const ORIGIN: &str = "log.example/privet";

/// A log whose entries follow from their indexes.
struct Log {
    edge: Edge,
    tiles: HashMap<Tile, Vec<u8>>,
    /// By size, for each multiple of 256.
    roots: HashMap<u64, Hash>,
    key: SignerKey,
}

impl Log {
    fn sized(size: u64) -> Self {
        let key = SignerKey::new(ORIGIN, &Key::new([7; 32])).unwrap();
        let mut log = Self { edge: Edge::new(), tiles: HashMap::new(), roots: HashMap::new(), key };
        log.grow(size);
        log
    }

    fn grow(&mut self, size: u64) {
        let mut filled = Vec::new();
        for index in self.edge.size()..size {
            self.edge.push(leaf_hash(&entry(index)), &mut filled);
            if self.edge.size().is_multiple_of(256) {
                self.roots.insert(self.edge.size(), self.edge.root());
            }
        }
        self.tiles.extend(filled.into_iter().map(|full| (full.tile, full.bytes)));
    }

    fn known(&self) -> [VerifierKey; 1] {
        [self.key.verifier().clone()]
    }

    fn open(&self, dir: &Path, sealed_end: u64) -> Result<Archive, Error> {
        let archive = Archive::open(dir, ORIGIN, &self.known(), sealed_end)?;
        archive.finish_opening(&self.known(), true)?;
        Ok(archive)
    }

    fn seal(&self, archive: &Archive, segment: Range<u64>) -> Result<Sealed, Error> {
        let checkpoint = Checkpoint::new(ORIGIN, segment.end, self.roots[&segment.end]).unwrap();
        archive.seal(segment, &mut &*self, &checkpoint.sign(&[&self.key]).unwrap(), &self.known())
    }
}

impl Source for &Log {
    fn entries(&mut self, bundle: u64) -> Result<Vec<Vec<u8>>, SourceError> {
        Ok((bundle * 256..(bundle + 1) * 256).map(entry).collect())
    }

    fn tile(&mut self, tile: Tile) -> Result<Option<Vec<u8>>, SourceError> {
        Ok(self.tiles.get(&tile).cloned())
    }
}

fn entry(index: u64) -> Vec<u8> {
    [format!("entry {index} ").as_bytes(), &vec![index as u8; 20 + index as usize * 7 % 80]].concat()
}

/// All entries up to `size`, and all that they are proved by.
fn assert_whole(log: &Log, archive: &Archive, size: u64) {
    archive.check(&log.known(), 0).unwrap();
    let entries = archive.entries(0..size).map(Result::unwrap);
    assert_eq!(
        entries.zip(0..).filter(|(found, index)| found.index == *index && found.bytes == entry(*index)).count(),
        size as usize
    );
    for (tile, bytes) in log.tiles.iter().filter(|(tile, _)| tile.index < size >> (8 * (tile.level + 1))) {
        assert_eq!(archive.tile(*tile).unwrap().as_ref(), Some(bytes));
    }
}
