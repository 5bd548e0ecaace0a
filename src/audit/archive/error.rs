//! What can be wrong with an archive: each names the file, and what to do.

use std::{
    io,
    path::{Path, PathBuf},
};

use super::seal::SourceError;
use crate::audit::checkpoint;

/// Why the archive did not do it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The directory or the call is not as it has to be; the text says what to do.
    #[error("{0}")]
    Refused(String),
    /// The file system failed.
    #[error("the archive failed while it {doing} {}: see that its disk works, can be written and has room", file.display())]
    Storage {
        /// What the archive was doing, to follow "while it".
        doing: &'static str,
        /// To what.
        file: PathBuf,
        /// The system's own error.
        #[source]
        source: io::Error,
    },
    /// A file that must be there is not.
    #[error("{} is missing: put it back from a backup of the archive", file.display())]
    Missing {
        /// Which file.
        file: PathBuf,
    },
    /// A file does not hold what was sealed.
    #[error("{} is damaged ({what}): put it back from a backup of the archive", file.display())]
    Damaged {
        /// Which file.
        file: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// A file does not hold the entries that were sealed, and the tile over them tells which is the first.
    #[error("{} is damaged from entry {index} on: put it back from a backup of the archive", file.display())]
    Entry {
        /// Which file.
        file: PathBuf,
        /// The first entry that is not the one that was sealed.
        index: u64,
    },
    /// A checkpoint is not to be believed.
    #[error("the checkpoint of {} is not to be believed: put it back from a backup of the archive", file.display())]
    Checkpoint {
        /// Where it lies, or was to lie.
        file: PathBuf,
        /// Why not.
        #[source]
        source: checkpoint::Error,
    },
    /// What was to be sealed can't be read. Nothing was sealed.
    #[error("the segment can't be sealed, because the log did not give bundle {bundle}")]
    Source {
        /// Of which bundle the entries or a tile were asked for.
        bundle: u64,
        /// The source's own error.
        #[source]
        source: SourceError,
    },
    /// What was to be sealed is not what the log has promised. Nothing was sealed.
    #[error(
        "the segment can't be sealed, because {what}: run `privet audit verify`, and restore the store from a backup"
    )]
    Unsealable {
        /// The first entry that is known to be wrong, if one is.
        index: Option<u64>,
        /// What is wrong.
        what: String,
    },
}

impl Error {
    /// The first entry that is known to be wrong.
    pub fn index(&self) -> Option<u64> {
        match self {
            Self::Entry { index, .. } => Some(*index),
            Self::Unsealable { index, .. } => *index,
            Self::Refused(_)
            | Self::Storage { .. }
            | Self::Missing { .. }
            | Self::Damaged { .. }
            | Self::Checkpoint { .. }
            | Self::Source { .. } => None,
        }
    }
}

/// An error of the file system.
pub(super) fn storage(doing: &'static str, file: &Path) -> impl FnOnce(io::Error) -> Error {
    move |source| Error::Storage { doing, file: file.to_owned(), source }
}
