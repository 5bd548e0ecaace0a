//! Reading: nothing is given out before it was checked against what lies above it, up to the checkpoint.

use std::{
    ops::Range,
    sync::{Arc, Mutex, PoisonError},
};

use super::{
    Archive,
    error::Error,
    full,
    kept::{Kept, Since},
    top::Top,
};
use crate::audit::{
    entry::{Stored, leaf_hash},
    merkle::{self, HASH_BYTES, Hash},
    tiles::{HEIGHT, TILE_BYTES_MAX, Tile, WIDTH_MAX, bundle, path},
};

impl Archive {
    /// The 256 entries from `256 * number` on.
    ///
    /// # Errors
    /// [`Error::Missing`] also for entries that retention has deleted and those past the archive's end; [`Error::Entry`] with
    /// the first entry that is not the one that was sealed; [`Error`].
    pub fn bundle(&self, number: u64) -> Result<Arc<[Stored]>, Error> {
        self.checked_bundle(&self.top.load(), number)
    }

    /// The entries of a range in ascending order, read a bundle at a time. An error ends them.
    pub fn entries(&self, range: Range<u64>) -> impl Iterator<Item = Result<Stored, Error>> {
        let numbers = if range.is_empty() { 0..0 } else { over(&range) };
        numbers
            .scan(false, |ended, number| {
                let bundle = (!*ended).then(|| self.bundle(number))?;
                *ended = bundle.is_err();
                Some(bundle)
            })
            .flat_map(move |bundle| {
                let (entries, error) = match bundle {
                    Ok(entries) => (entries, None),
                    Err(error) => (Arc::from([]), Some(Err(error))),
                };
                let wanted: Vec<_> = entries.iter().filter(|entry| range.contains(&entry.index)).cloned().collect();
                wanted.into_iter().map(Ok).chain(error)
            })
    }

    /// The 256 hashes of a full tile, one after the other; `None` if the archive's tree has no such full tile. Partial tiles
    /// are not given: those of the whole log are longer.
    ///
    /// # Errors
    /// [`Error`].
    pub fn tile(&self, tile: Tile) -> Result<Option<Vec<u8>>, Error> {
        let top = self.top.load();
        if !top.has_full(tile) {
            return Ok(None);
        }
        self.full_tile(&top, tile).map(|hashes| Some(hashes.concat()))
    }

    /// The leaf hashes of a range: 32 bytes for each, all at once. They outlive the entries.
    ///
    /// # Errors
    /// [`Error::Missing`] also for those past the archive's end; [`Error`].
    pub fn leaf_hashes(&self, range: Range<u64>) -> Result<Vec<Hash>, Error> {
        let mut hashes = Vec::new();
        if range.is_empty() {
            return Ok(hashes);
        }
        let top = self.top.load();
        for index in over(&range) {
            let start = index * u64::from(WIDTH_MAX);
            let tile = self.full_tile(&top, Tile { level: 0, index })?;
            let wanted = tile.iter().zip(start..).filter(|(_, leaf)| range.contains(leaf));
            hashes.extend(wanted.map(|(hash, _)| *hash));
        }
        Ok(hashes)
    }

    /// A full tile, its hash checked against the tile above.
    pub(super) fn full_tile(&self, top: &Top, tile: Tile) -> Result<Arc<[Hash]>, Error> {
        let since = match look_up(&self.tiles, &tile) {
            Ok(kept) => return Ok(kept),
            Err(since) => since,
        };
        let path = full(path::Content::Tile(tile)).filter(|_| top.has_full(tile));
        let name = path.ok_or_else(|| self.missing_tile(tile))?.to_string();
        let bytes = self.files.read(&name, TILE_BYTES_MAX)?.ok_or_else(|| self.missing_tile(tile))?;
        let damaged = |what: String| Error::Damaged { file: self.files.at(&name), what };
        let (hashes, rest) = bytes.as_chunks::<HASH_BYTES>();
        if !rest.is_empty() || hashes.len() != usize::from(WIDTH_MAX) {
            return Err(damaged(format!("it has {} bytes", bytes.len())));
        }
        if merkle::root(hashes) != self.hash_above(top, tile)? {
            return Err(damaged("the tile above it has another hash".to_owned()));
        }
        let hashes: Arc<[Hash]> = hashes.into();
        self.tiles.lock().unwrap_or_else(PoisonError::into_inner).put(since, tile, Arc::clone(&hashes));
        Ok(hashes)
    }

    /// A bundle, its entries checked against the tree.
    pub(super) fn checked_bundle(&self, top: &Top, number: u64) -> Result<Arc<[Stored]>, Error> {
        let since = match look_up(&self.bundles, &number) {
            Ok(kept) => return Ok(kept),
            Err(since) => since,
        };
        let over = Tile { level: 0, index: number };
        let path = full(path::Content::Entries(number)).filter(|_| top.has_full(over));
        let name = path.ok_or_else(|| self.missing_tile(over))?.to_string();
        let file = || self.files.at(&name);
        let bytes = self.files.read(&name, BUNDLE_BYTES_MAX)?.ok_or_else(|| Error::Missing { file: file() })?;
        let entries = split(number, &bytes);
        let hashes: Vec<Hash> = entries.iter().map(|entry| entry.leaf_hash).collect();
        let whole = entries.iter().map(|entry| 2 + entry.bytes.len()).sum::<usize>() == bytes.len();
        // The hash above suffices; the tile of leaves is only needed to tell which entry is wrong.
        if !whole || hashes.len() != usize::from(WIDTH_MAX) || merkle::root(&hashes) != self.hash_above(top, over)? {
            let leaves = self.full_tile(top, over)?;
            let good = hashes.iter().zip(leaves.iter()).take_while(|(a, b)| a == b).count() as u64;
            let index = number * u64::from(WIDTH_MAX) + good.min(u64::from(WIDTH_MAX) - 1);
            return Err(Error::Entry { file: file(), index });
        }
        let entries: Arc<[Stored]> = entries.into();
        if bytes.len() <= KEPT_BUNDLE_BYTES_MAX {
            self.bundles.lock().unwrap_or_else(PoisonError::into_inner).put(since, number, Arc::clone(&entries));
        }
        Ok(entries)
    }

    /// A file of the archive that should be there and is not.
    pub(super) fn missing_tile(&self, tile: Tile) -> Error {
        let name = full(path::Content::Tile(tile)).map(|path| path.to_string()).unwrap_or_default();
        Error::Missing { file: self.files.at(&name) }
    }

    /// The hash of all of a full tile, as the tile above it has it.
    fn hash_above(&self, top: &Top, tile: Tile) -> Result<Hash, Error> {
        let above = Tile { level: tile.level.saturating_add(1), index: tile.index >> HEIGHT };
        let slot = (tile.index % u64::from(WIDTH_MAX)) as usize;
        let hash = match top.partial(above) {
            Some(hashes) => hashes.get(slot).copied(),
            None => self.full_tile(top, above)?.get(slot).copied(),
        };
        hash.ok_or_else(|| self.missing_tile(above))
    }
}

/// What is kept, or since when it has to be read.
fn look_up<K: PartialEq, V: Clone>(kept: &Mutex<Kept<K, V>>, key: &K) -> Result<V, Since> {
    let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
    kept.get(key).ok_or_else(|| kept.since())
}

/// The numbers of the bundles that entries of a range lie in.
fn over(range: &Range<u64>) -> Range<u64> {
    range.start / u64::from(WIDTH_MAX)..range.end.div_ceil(u64::from(WIDTH_MAX))
}

/// The entries of a bundle as far as they can be read.
fn split(number: u64, bytes: &[u8]) -> Vec<Stored> {
    let entries = bundle::each(bytes).map_while(Result::ok).take(usize::from(WIDTH_MAX) + 1);
    let indexed = (number * u64::from(WIDTH_MAX)..).zip(entries);
    indexed.map(|(index, bytes)| Stored { index, bytes: bytes.to_vec(), leaf_hash: leaf_hash(bytes) }).collect()
}

const BUNDLE_BYTES_MAX: usize = WIDTH_MAX as usize * (2 + u16::MAX as usize);
/// Larger bundles are read again each time.
const KEPT_BUNDLE_BYTES_MAX: usize = 1 << 20;
