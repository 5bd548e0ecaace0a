//! Sealing: from the log's bytes to files that are durable, checked, and under the checkpoint.
//!
//! 1. `sealing` says what is about to be written, and how to go back.
//! 2. Bundles and tiles are written, one bundle in memory at a time, and synced every few MiB, so that the log's own syncs,
//!    which wait for all that is dirty on some file systems, never wait long.
//! 3. All of it is read back and checked as every reader does it, up to the checkpoint's root.
//! 4. `checkpoint` is replaced.
//! 5. The caller commits in its store that the segment is sealed, and then [`Archive::settle`] removes `sealing`. After a crash
//!    in between, [`Archive::finish_opening`] does, or removes the segment.
//!
//! Whatever fails on the way, the segment's files are removed again at once (they may be why the disk is full), or if that
//! fails too, by the next one who comes by.

use std::{collections::BTreeSet, ops::Range, sync::Arc};

use super::{
    Archive, CHECKPOINT,
    error::Error,
    files::Files,
    full,
    marker::Marker,
    top::{Top, open_checkpoint, partial_tiles},
};
use crate::audit::{
    checkpoint::Checkpoint,
    entry::leaf_hash,
    merkle::{HASH_BYTES, Hash},
    note::VerifierKey,
    tiles::{
        self, Tile, TileReader, WIDTH_MAX, bundle,
        edge::{Edge, FullTile},
        filled, path,
    },
};

/// Where the bytes of a segment come from. Each bundle is asked for once, in ascending order, and then the tiles that are full
/// with it.
pub trait Source {
    /// The stored bytes of the 256 entries from `256 * bundle` on.
    ///
    /// # Errors
    /// They can't be had, or the seal is to be given up.
    fn entries(&mut self, bundle: u64) -> Result<Vec<Vec<u8>>, SourceError>;

    /// The 256 hashes of a full tile, as the log keeps them.
    ///
    /// # Errors
    /// It can't be had, or the seal is to be given up.
    fn tile(&mut self, tile: Tile) -> Result<Option<Vec<u8>>, SourceError>;
}

/// Why a source gave nothing.
pub type SourceError = Box<dyn std::error::Error + Send + Sync>;

/// A segment that is sealed, with all that it needs durable.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub struct Sealed {
    /// Its entries.
    pub segment: Range<u64>,
    /// The length of its entry bundles, which is what [`Archive::delete_entries`] frees.
    pub bundle_bytes: u64,
    /// The length of the tiles that came with it.
    pub tile_bytes: u64,
}

impl Archive {
    /// Seals the segment, which begins where the archive ends, under the checkpoint of exactly its end. When this returns,
    /// everything is durable; the caller then commits the new end to its store. A segment that was sealed and not committed
    /// is sealed anew. Blocks for as long as it takes to write the segment and to read it again.
    ///
    /// # Errors
    /// [`Error`], and then the archive is what it was before; [`Error::Unsealable`] if the segment is not what the checkpoint
    /// and the log's tiles say.
    pub fn seal(
        &self,
        segment: Range<u64>,
        source: &mut dyn Source,
        note: &str,
        known: &[VerifierKey],
    ) -> Result<Sealed, Error> {
        let _alone = self.change();
        let checkpoint = open_checkpoint(&self.files, note, &self.origin, known)?;
        refuse_uneven(&segment)?;
        if checkpoint.size() != segment.end {
            return Err(Error::Refused(format!(
                "the segment ends at {} and the checkpoint is of {}: seal it under its own",
                segment.end,
                checkpoint.size()
            )));
        }
        self.clear_the_way(segment.start, known)?;
        let before = self.top.load_full();
        if before.size() != segment.start {
            return Err(Error::Refused(format!(
                "the segment starts at {} and the archive ends at {}: seal what comes next",
                segment.start,
                before.size()
            )));
        }
        let marker = Marker { segment, note_before: before.note().to_owned() };
        let sealed = marker.write(&self.files).and_then(|()| {
            let sealed = self.write_segment(&marker.segment, source, &checkpoint)?;
            let top = Top::read(&self.files, &checkpoint, note.to_owned())?;
            self.check_segment(&top, &marker.segment)?;
            self.files.replace(CHECKPOINT, note.as_bytes())?;
            self.top.store(Arc::new(top));
            Ok(sealed)
        });
        if sealed.is_err() {
            // If this fails as well, the marker is still there.
            let _or_later = undo(&self.files, &marker, &self.origin, known);
            self.forget_what_was_read();
        }
        sealed
    }

    /// Sees to what the last seal left, now that it shows whether its segment was taken.
    fn clear_the_way(&self, start: u64, known: &[VerifierKey]) -> Result<(), Error> {
        let Some(marker) = Marker::read(&self.files)? else { return Ok(()) };
        if marker.segment.end == start {
            return settle(&self.files, &marker);
        }
        if marker.segment.start == start {
            undo(&self.files, &marker, &self.origin, known)?;
            self.top.store(Arc::new(Top::load(&self.files, &self.origin, known)?));
            self.forget_what_was_read();
        }
        Ok(())
    }

    fn write_segment(
        &self,
        segment: &Range<u64>,
        source: &mut dyn Source,
        checkpoint: &Checkpoint,
    ) -> Result<Sealed, Error> {
        let files = &self.files;
        let mut sealed = Sealed { segment: segment.clone(), bundle_bytes: 0, tile_bytes: 0 };
        let mut edge = Edge::rebuild(segment.start, &[], &self).map_err(|error| self.not_rebuilt(error))?;
        let sync = files.sync_point()?;
        let mut synced = 0;
        for number in bundles(segment) {
            let (bundle, filled) = next_bundle(number, source, &mut edge)?;
            if let Some(path) = full(path::Content::Entries(number)) {
                files.write(&path.to_string(), &bundle)?;
                sealed.bundle_bytes += bundle.len() as u64;
            }
            for FullTile { tile, bytes } in filled {
                let Some(path) = full(path::Content::Tile(tile)) else { continue };
                files.write(&path.to_string(), &bytes)?;
                sealed.tile_bytes += bytes.len() as u64;
            }
            if sealed.bundle_bytes - synced >= SYNC_BYTES {
                sync.sync()?;
                synced = sealed.bundle_bytes;
            }
        }
        if edge.root() != *checkpoint.root() {
            let what = "its entries do not have the checkpoint's root".to_owned();
            return Err(Error::Unsealable { index: None, what });
        }
        for (tile, path) in new_partial_tiles(segment) {
            let bytes = edge.partial(tile).unwrap_or_default();
            files.write(&path.to_string(), &bytes)?;
            sealed.tile_bytes += bytes.len() as u64;
        }
        sync.sync()?;
        Ok(sealed)
    }

    /// Reads all that was written as readers do, each tile and bundle against the one above it.
    fn check_segment(&self, top: &Top, segment: &Range<u64>) -> Result<(), Error> {
        for number in bundles(segment) {
            self.full_tile(top, Tile { level: 0, index: number })?;
            self.checked_bundle(top, number)?;
        }
        Ok(())
    }

    fn not_rebuilt(&self, error: tiles::Error<Error>) -> Error {
        match error {
            tiles::Error::Read(_, error) => error,
            tiles::Error::Missing(tile) => self.missing_tile(tile),
        }
    }
}

impl TileReader for &Archive {
    type Error = Error;

    /// Full tiles only: a partial one of today's log is longer than the archive's.
    fn tile(&self, tile: Tile) -> Result<Option<Vec<u8>>, Error> {
        Archive::tile(self, tile)
    }
}

/// The next bundle, and the tiles that are full with it, as the log has them too.
fn next_bundle(number: u64, source: &mut dyn Source, edge: &mut Edge) -> Result<(Vec<u8>, Vec<FullTile>), Error> {
    let given = |source| Error::Source { bundle: number, source };
    let entries = source.entries(number).map_err(given)?;
    let start = number * u64::from(WIDTH_MAX);
    let unsealable = |index: Option<u64>, what: String| Error::Unsealable { index, what };
    if entries.len() != usize::from(WIDTH_MAX) {
        let index = Some(start + entries.len().min(usize::from(WIDTH_MAX)) as u64);
        return Err(unsealable(index, format!("the log gave {} entries from {start} on", entries.len())));
    }
    let bytes = bundle::write(&entries).map_err(|error| unsealable(None, error.to_string()))?;
    let mut filled = Vec::new();
    for entry in &entries {
        edge.push(leaf_hash(entry), &mut filled);
    }
    for FullTile { tile, bytes } in &filled {
        let kept = source.tile(*tile).map_err(given)?;
        if kept.as_ref() == Some(bytes) {
            continue;
        }
        let index = kept.filter(|_| tile.level == 0).map(|kept| start + first_difference(&kept, bytes));
        let what = match index {
            Some(index) => format!("entry {index} is not the one that its leaf hash is of"),
            None => format!("the log's tile {} of level {} is missing or another", tile.index, tile.level),
        };
        return Err(unsealable(index, what));
    }
    Ok((bytes, filled))
}

/// The first hash that two tiles do not share.
fn first_difference(a: &[u8], b: &[u8]) -> u64 {
    let (a, b): (&[Hash], &[Hash]) = (a.as_chunks::<HASH_BYTES>().0, b.as_chunks::<HASH_BYTES>().0);
    a.iter().zip(b).take_while(|(a, b)| a == b).count() as u64
}

/// The archive's tree without the segment, whatever there is of it: its partial tiles stay until the segment is settled.
pub(super) fn before(files: &Files, marker: &Marker, origin: &str, known: &[VerifierKey]) -> Result<Top, Error> {
    if marker.note_before.is_empty() {
        return Ok(Top::default());
    }
    let checkpoint = open_checkpoint_before(files, marker, origin, known)?;
    Top::read(files, &checkpoint, marker.note_before.clone())
}

/// Whether the segment is sealed, so that somebody may have taken it: its checkpoint is in force.
pub(super) fn is_whole(files: &Files, marker: &Marker, origin: &str, known: &[VerifierKey]) -> Result<bool, Error> {
    let before = marker.segment.start;
    Ok(Top::load_checkpoint(files, origin, known)?.is_some_and(|(checkpoint, _)| checkpoint.size() > before))
}

fn open_checkpoint_before(
    files: &Files,
    marker: &Marker,
    origin: &str,
    known: &[VerifierKey],
) -> Result<Checkpoint, Error> {
    let before = open_checkpoint(files, &marker.note_before, origin, known)?;
    if before.size() == marker.segment.start {
        return Ok(before);
    }
    let what = "its checkpoint is of another archive".to_owned();
    Err(Error::Damaged { file: files.at(super::marker::MARKER), what })
}

/// The caller has taken the segment: what was only kept to go back is removed.
pub(super) fn settle(files: &Files, marker: &Marker) -> Result<(), Error> {
    for tile in filled(marker.segment.start, marker.segment.end).filter(|tile| tile.level > 0) {
        if let Some(path) = full(path::Content::Tile(tile)) {
            // Clients that ask for the partial tile fall back to the full one, as the specification has it.
            files.remove_tree(&format!("{path}{PARTIAL_SUFFIX}"))?;
        }
    }
    Marker::remove(files)
}

/// Goes back to the archive before the segment. Ends the same however often it is begun.
pub(super) fn undo(files: &Files, marker: &Marker, origin: &str, known: &[VerifierKey]) -> Result<(), Error> {
    // First of all readers must not go by the new checkpoint any more.
    if marker.note_before.is_empty() {
        files.remove(CHECKPOINT)?;
        files.sync_root()?;
    } else {
        open_checkpoint_before(files, marker, origin, known)?;
        let there = files.read(CHECKPOINT, marker.note_before.len())?;
        if there.as_deref() != Some(marker.note_before.as_bytes()) {
            files.replace(CHECKPOINT, marker.note_before.as_bytes())?;
        }
    }
    let sync = files.sync_point()?;
    let mut directories = BTreeSet::new();
    for path in names(&marker.segment) {
        let name = path.to_string();
        files.remove(&name)?;
        directories.extend(name.rsplit_once('/').map(|(above, _)| above.to_owned()));
    }
    remove_empty(files, directories)?;
    sync.sync()?;
    Marker::remove(files)
}

/// Removes directories that are empty now, and those above them.
pub(super) fn remove_empty(files: &Files, mut directories: BTreeSet<String>) -> Result<(), Error> {
    // A directory sorts before all that lies in it.
    while let Some(name) = directories.pop_last() {
        files.remove_if_empty(&name)?;
        directories.extend(name.rsplit_once('/').map(|(above, _)| above.to_owned()));
    }
    Ok(())
}

/// Every file that comes with a segment.
fn names(segment: &Range<u64>) -> impl Iterator<Item = path::Path> {
    let entries = bundles(segment).map(path::Content::Entries).filter_map(full);
    let tiles = filled(segment.start, segment.end).map(path::Content::Tile).filter_map(full);
    let partial = new_partial_tiles(segment).map(|(_, path)| path);
    entries.chain(tiles).chain(partial)
}

/// The partial tiles that the archive did not have before the segment.
fn new_partial_tiles(segment: &Range<u64>) -> impl Iterator<Item = (Tile, path::Path)> {
    let before: Vec<path::Path> = partial_tiles(segment.start).map(|(_, path)| path).collect();
    partial_tiles(segment.end).filter(move |(_, path)| !before.contains(path))
}

/// The numbers of a segment's bundles.
pub(super) fn bundles(segment: &Range<u64>) -> Range<u64> {
    segment.start / u64::from(WIDTH_MAX)..segment.end / u64::from(WIDTH_MAX)
}

/// A segment starts and ends with full bundles, and has some.
pub(super) fn refuse_uneven(segment: &Range<u64>) -> Result<(), Error> {
    let even = |index: u64| index.is_multiple_of(u64::from(WIDTH_MAX));
    if segment.start < segment.end && even(segment.start) && even(segment.end) {
        return Ok(());
    }
    Err(Error::Refused(format!(
        "{}..{} is not a segment: it must start and end at multiples of {WIDTH_MAX}",
        segment.start, segment.end
    )))
}

/// Between syncs at most this much is dirty, and one bundle.
const SYNC_BYTES: u64 = 8 << 20;
const PARTIAL_SUFFIX: &str = ".p";
