//! What is sealed, as its checkpoint says: size, root, and the partial tiles, which are the tree's right edge.
//!
//! INVARIANT: the tree over the partial tiles has the checkpoint's root, so whatever is checked against them is checked against
//! the signature.

use std::convert::Infallible;

use super::{CHECKPOINT, error::Error, files::Files};
use crate::audit::{
    checkpoint::Checkpoint,
    merkle::{HASH_BYTES, Hash, prove},
    note::{self, NOTE_BYTES_MAX, VerifierKey},
    tiles::{LEVELS, TILE_BYTES_MAX, Tile, TileReader, WIDTH_MAX, full_count, nodes::Nodes, partial_width, path},
};

/// The archive's tree, down to its full tiles.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Top {
    size: u64,
    note: String,
    /// By level, which is never 0: the archive ends with a full tile of leaves.
    partial: Vec<(Tile, Vec<Hash>)>,
}

impl Top {
    /// Reads the checkpoint and the partial tiles of its size.
    pub(super) fn load(files: &Files, origin: &str, known: &[VerifierKey]) -> Result<Self, Error> {
        let Some((checkpoint, note)) = Self::load_checkpoint(files, origin, known)? else { return Ok(Self::default()) };
        Self::read(files, &checkpoint, note)
    }

    /// Reads the checkpoint only; `None` if there is none.
    pub(super) fn load_checkpoint(
        files: &Files,
        origin: &str,
        known: &[VerifierKey],
    ) -> Result<Option<(Checkpoint, String)>, Error> {
        let Some(note) = files.read(CHECKPOINT, NOTE_BYTES_MAX)? else { return Ok(None) };
        let file = files.at(CHECKPOINT);
        let malformed = |_| Error::Checkpoint { file: file.clone(), source: note::Error::Malformed.into() };
        let note = String::from_utf8(note).map_err(malformed)?;
        let checkpoint = open_checkpoint(files, &note, origin, known)?;
        if !checkpoint.size().is_multiple_of(u64::from(WIDTH_MAX)) {
            return Err(Error::Damaged { file, what: "it is not of the end of a segment".to_owned() });
        }
        Ok(Some((checkpoint, note)))
    }

    /// Reads the partial tiles of a checkpoint.
    pub(super) fn read(files: &Files, checkpoint: &Checkpoint, note: String) -> Result<Self, Error> {
        let mut top = Self { size: checkpoint.size(), note, partial: Vec::new() };
        for (tile, path) in partial_tiles(checkpoint.size()) {
            let name = path.to_string();
            let file = || files.at(&name);
            let bytes = files.read(&name, TILE_BYTES_MAX)?.ok_or_else(|| Error::Missing { file: file() })?;
            let (hashes, rest) = bytes.as_chunks::<HASH_BYTES>();
            if !rest.is_empty() || hashes.len() != usize::from(path.width()) {
                return Err(Error::Damaged { file: file(), what: format!("it has {} bytes", bytes.len()) });
            }
            top.partial.push((tile, hashes.to_vec()));
        }
        match prove::root(&mut Nodes::new(&top), top.size) {
            Ok(root) if root == *checkpoint.root() => Ok(top),
            Ok(_) | Err(_) => Err(top.wrong_root(files)),
        }
    }

    pub(super) fn size(&self) -> u64 {
        self.size
    }

    pub(super) fn note(&self) -> &str {
        &self.note
    }

    /// Whether this is a full tile of the tree.
    pub(super) fn has_full(&self, tile: Tile) -> bool {
        tile.index < full_count(self.size, tile.level)
    }

    /// The hashes of a partial tile.
    pub(super) fn partial(&self, tile: Tile) -> Option<&[Hash]> {
        self.partial.iter().find(|(partial, _)| *partial == tile).map(|(_, hashes)| hashes.as_slice())
    }

    fn wrong_root(&self, files: &Files) -> Error {
        let names: Vec<_> = partial_tiles(self.size).map(|(_, path)| path.to_string()).collect();
        Error::Damaged {
            file: files.root().to_owned(),
            what: format!("the checkpoint has another root than {}", names.join(" and ")),
        }
    }
}

impl TileReader for &Top {
    type Error = Infallible;

    fn tile(&self, tile: Tile) -> Result<Option<Vec<u8>>, Infallible> {
        Ok(self.partial(tile).map(<[Hash]>::concat))
    }
}

/// Opens a checkpoint that lies in the archive or is to.
pub(super) fn open_checkpoint(
    files: &Files,
    note: &str,
    origin: &str,
    known: &[VerifierKey],
) -> Result<Checkpoint, Error> {
    Checkpoint::open(note, origin, known).map_err(|source| Error::Checkpoint { file: files.at(CHECKPOINT), source })
}

/// The partial tiles of a tree, the lowest first.
pub(super) fn partial_tiles(size: u64) -> impl Iterator<Item = (Tile, path::Path)> {
    (0..LEVELS).filter_map(move |level| {
        let tile = Tile { level, index: full_count(size, level) };
        Some((tile, path::Path::new(path::Content::Tile(tile), partial_width(size, level))?))
    })
}
