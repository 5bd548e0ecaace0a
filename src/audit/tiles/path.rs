//! Names of tiles and entry bundles: `tile/<L>/<N>[.p/<W>]` and `tile/entries/<N>[.p/<W>]`.
//!
//! Each resource has exactly one name, and only that one is parsed: an index in groups of three digits, all but the last group
//! behind an `x`, no group too many, and a width only on what is partial.

use std::{fmt, str::FromStr};

use super::{Tile, WIDTH_MAX};

/// A static file of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Path {
    content: Content,
    width: u16,
}

/// What a static file holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Content {
    /// Hashes.
    Tile(Tile),
    /// The entries under the tile of level 0 with this index.
    Entries(u64),
}

/// No name of a tile or an entry bundle.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not the path of a tile or of an entry bundle")]
pub struct NotAPath;

impl Path {
    /// The file with this many hashes or entries. `None` if there is no such file: width 0 or more than 256, or a level past
    /// 63.
    pub fn new(content: Content, width: u16) -> Option<Self> {
        let level_fits = match content {
            Content::Tile(tile) => tile.level <= LEVEL_MAX,
            Content::Entries(_) => true,
        };
        (level_fits && (1..=WIDTH_MAX).contains(&width)).then_some(Self { content, width })
    }

    /// What it holds.
    pub fn content(self) -> Content {
        self.content
    }

    /// How many hashes or entries it holds: 256 when it is full.
    pub fn width(self) -> u16 {
        self.width
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let index = match self.content {
            Content::Tile(tile) => {
                write!(f, "tile/{}/", tile.level)?;
                tile.index
            }
            Content::Entries(index) => {
                f.write_str("tile/entries/")?;
                index
            }
        };
        // Seven groups of three digits hold any u64.
        for group in (1..7).rev() {
            let above = index / 1_000u64.pow(group);
            if above > 0 {
                write!(f, "x{:03}/", above % 1_000)?;
            }
        }
        write!(f, "{:03}", index % 1_000)?;
        if self.width < WIDTH_MAX { write!(f, ".p/{}", self.width) } else { Ok(()) }
    }
}

impl FromStr for Path {
    type Err = NotAPath;

    fn from_str(text: &str) -> Result<Self, NotAPath> {
        let path = read(text).ok_or(NotAPath)?;
        // What was read may have other spellings; only its own name is its name.
        if path.to_string() == text { Ok(path) } else { Err(NotAPath) }
    }
}

fn read(text: &str) -> Option<Path> {
    if text.len() > PATH_BYTES_MAX {
        return None;
    }
    let (level, rest) = text.strip_prefix("tile/")?.split_once('/')?;
    let (groups, width) = match rest.split_once(".p/") {
        Some((groups, width)) => (groups, width.parse().ok()?),
        None => (rest, WIDTH_MAX),
    };
    let mut index: u64 = 0;
    for group in groups.split('/') {
        let group: u64 = group.strip_prefix('x').unwrap_or(group).parse().ok()?;
        index = index.checked_mul(1_000)?.checked_add(group)?;
    }
    let content = match level {
        "entries" => Content::Entries(index),
        level => Content::Tile(Tile { level: level.parse().ok()?, index }),
    };
    Path::new(content, width)
}

const LEVEL_MAX: u8 = 63;

/// Longer than any name: the longest is `tile/entries/x018/x446/x744/x073/x709/x551/615.p/255`.
const PATH_BYTES_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn tile(level: u8, index: u64) -> Content {
        Content::Tile(Tile { level, index })
    }

    #[test]
    fn paths_are_the_specifications() {
        for (content, width, path) in [
            (tile(0, 0), 256, "tile/0/000"),
            (tile(4, 1_234_067), 1, "tile/4/x001/x234/067.p/1"),
            (tile(4, 1_234_067), 256, "tile/4/x001/x234/067"),
            (tile(63, 999), 255, "tile/63/999.p/255"),
            (tile(1, 1_000), 256, "tile/1/x001/000"),
            (tile(1, 1_000_000), 256, "tile/1/x001/x000/000"),
            (Content::Entries(273), 112, "tile/entries/273.p/112"),
            (Content::Entries(u64::MAX), 255, "tile/entries/x018/x446/x744/x073/x709/x551/615.p/255"),
        ] {
            assert_eq!(Path::new(content, width).unwrap().to_string(), path);
            let parsed: Path = path.parse().unwrap();
            assert_eq!((parsed.content(), parsed.width()), (content, width));
        }
    }

    #[test]
    fn other_spellings_of_a_path_are_refused() {
        for path in [
            "",
            "tile",
            "tile/0",
            "tile/0/",
            "tile/0/0",
            "tile/0/00",
            "tile/0/0000",
            "tile/0/x000",
            "tile/0/x000/001",
            "tile/0/001/002",
            "tile/0/x001/x002",
            "tile/0/xx001/002",
            "tile/0/x001/002/",
            "tile/0/x001//002",
            "tile/0/+01",
            "tile/0/-01",
            "tile/0/ 01",
            "tile/0/１23",
            "tile/00/001",
            "tile/01/001",
            "tile/+1/001",
            "tile/64/001",
            "tile/256/001",
            "tile//001",
            "tile/data/001",
            "tile/8/0/001",
            "tile/entries/",
            "/tile/0/001",
            "tile/0/001.p",
            "tile/0/001.p/",
            "tile/0/001.p/0",
            "tile/0/001.p/01",
            "tile/0/001.p/+1",
            "tile/0/001.p/256",
            "tile/0/001.p/65537",
            "tile/0/001.p/1/",
            "tile/0/001.p/1.p/1",
            "tile/0/../001",
            "tile/entries/x018/x446/x744/x073/x709/x551/616",
            "tile/entries/x001/x018/x446/x744/x073/x709/x551/615",
        ] {
            assert_eq!(path.parse::<Path>(), Err(NotAPath), "{path}");
        }
    }

    #[test]
    fn there_are_no_empty_or_overfull_files() {
        assert_eq!(Path::new(tile(0, 0), 0), None);
        assert_eq!(Path::new(tile(0, 0), 257), None);
        assert_eq!(Path::new(tile(64, 0), 1), None);
    }

    proptest! {
        #[test]
        fn every_path_is_read_back(index in any::<u64>(), level in proptest::option::of(0u8..64), width in 1u16..=256) {
            let content = level.map_or(Content::Entries(index), |level| tile(level, index));
            let path = Path::new(content, width).unwrap();
            prop_assert_eq!(path.to_string().parse(), Ok(path));
        }

        #[test]
        fn whatever_is_read_is_the_name_of_what_was_read(text in "tile/(entries|[0-9]{1,2})/(x[0-9]{3}/){0,2}[0-9]{3}(\\.p/[0-9]{1,3})?") {
            if let Ok(path) = text.parse::<Path>() {
                prop_assert_eq!(path.to_string(), text);
            }
        }
    }
}
