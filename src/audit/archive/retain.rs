//! Retention, and what is there: deletes old entry bundles; looks for files that must not be missing.

use std::{
    collections::{BTreeSet, HashSet},
    ffi::OsString,
    fs, io,
    ops::Range,
    path::Path,
};

use super::{
    Archive, CHECKPOINT,
    error::{Error, storage},
    full,
    seal::{bundles, refuse_uneven, remove_empty},
    top::Top,
};
use crate::audit::{
    note::VerifierKey,
    tiles::{LEVELS, Tile, WIDTH_MAX, full_count, path},
};

impl Archive {
    /// Deletes the entry bundles of whole segments, durably, and says how many bytes they had. Tiles and checkpoint stay, so
    /// that everything can still be proved. What is deleted already is passed over: after a crash midway, call it again. Lists
    /// the directories of all bundles, however few there are to delete.
    ///
    /// # Errors
    /// [`Error`]; some of the bundles may be deleted then.
    pub fn delete_entries(&self, range: Range<u64>) -> Result<u64, Error> {
        refuse_uneven(&range)?;
        let _alone = self.change();
        let end = self.sealed_end();
        if range.end > end {
            return Err(Error::Refused(format!(
                "the entries up to {} can't be deleted, because only those up to {end} are sealed: name fewer",
                range.end
            )));
        }
        let sync = self.files.sync_point()?;
        let (mut bytes, mut emptied) = (0, BTreeSet::new());
        let (numbers, mut left) = (bundles(&range), vec![ENTRIES.to_owned()]);
        while let Some(directory) = left.pop() {
            let mut is_empty = true;
            for name in self.files.list(&directory)? {
                let name = format!("{directory}/{}", name.display());
                match name.parse::<path::Path>().map(|path| (path.content(), path.width())) {
                    Ok((path::Content::Entries(number), WIDTH_MAX)) if numbers.contains(&number) => {
                        bytes += self.files.remove(&name)?.unwrap_or(0);
                    }
                    Ok(_) => is_empty = false,
                    // No bundle: a directory of them.
                    Err(path::NotAPath) => {
                        is_empty = false;
                        left.extend(
                            name.rsplit_once("/x").is_some_and(|(above, _)| above == directory).then_some(name),
                        );
                    }
                }
            }
            emptied.extend(is_empty.then_some(directory));
        }
        remove_empty(&self.files, emptied)?;
        sync.sync()?;
        self.forget_what_was_read();
        Ok(bytes)
    }

    /// Looks whether everything is there: checkpoint, partial tiles, all full tiles, and the bundles from entry
    /// `retained_from` on. Reads the names in about one directory for every 1,000 files, not the files: whether they hold what
    /// they should shows when they are read.
    ///
    /// # Errors
    /// The first [`Error`] that was found.
    pub fn check(&self, known: &[VerifierKey], retained_from: u64) -> Result<(), Error> {
        let top = self.top.load();
        if Top::load(&self.files, &self.origin, known)? != **top {
            let what = "it is not the one that was sealed last".to_owned();
            return Err(Error::Damaged { file: self.files.at(CHECKPOINT), what });
        }
        for level in 0..LEVELS {
            let tiles = 0..full_count(top.size(), level);
            self.find(tiles.map(|index| path::Content::Tile(Tile { level, index })))?;
        }
        let retained = retained_from / u64::from(WIDTH_MAX)..top.size() / u64::from(WIDTH_MAX);
        self.find(retained.map(path::Content::Entries))
    }

    /// How many bytes its files have. Looks at every one of them: for reports, not for every request.
    ///
    /// # Errors
    /// [`Error::Storage`].
    pub fn bytes(&self) -> Result<u64, Error> {
        bytes_below(self.files.root()).map_err(storage("measured", self.files.root()))
    }

    /// Finds each of these full files, which come in the order of their names, by listing each directory once.
    fn find(&self, contents: impl Iterator<Item = path::Content>) -> Result<(), Error> {
        let mut listed: (String, HashSet<OsString>) = Default::default();
        for path in contents.filter_map(full) {
            let name = path.to_string();
            let (directory, file) = name.rsplit_once('/').unwrap_or_default();
            if listed.0 != directory {
                listed = (directory.to_owned(), self.files.list(directory)?.into_iter().collect());
            }
            if !listed.1.contains(Path::new(file).as_os_str()) {
                return Err(Error::Missing { file: self.files.at(&name) });
            }
        }
        Ok(())
    }
}

fn bytes_below(directory: &Path) -> io::Result<u64> {
    let mut bytes = 0;
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        bytes += match entry.metadata() {
            Ok(metadata) if metadata.is_dir() => bytes_below(&entry.path())?,
            Ok(metadata) => metadata.len(),
            // Removed by a seal or a deletion just now.
            Err(gone) if gone.kind() == io::ErrorKind::NotFound => 0,
            Err(e) => return Err(e),
        };
    }
    Ok(bytes)
}

/// Where the entry bundles lie.
const ENTRIES: &str = "tile/entries";
