//! The file `sealing`: which segment may be there in part, and how to go back to the archive before it.
//!
//! ```text
//! privet seal 1
//! start end
//! the first 16 hex digits of SHA-256 over the other lines
//! the signed note of the archive before; nothing if it was empty
//! ```
//!
//! It is durable before the first file of the segment is written, and stays until the caller has taken the segment: it says so,
//! asks for what comes after, or opens the archive with its end. So a crash between the seal and the caller's own commit can be
//! undone as well.

use std::ops::Range;

use ring::digest::{SHA256, digest};

use super::{error::Error, files::Files};
use crate::audit::{checkpoint::parse_decimal, note::NOTE_BYTES_MAX};

/// What the file says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Marker {
    /// The entries of the segment.
    pub(super) segment: Range<u64>,
    /// The checkpoint before, empty if there was none.
    pub(super) note_before: String,
}

impl Marker {
    pub(super) fn read(files: &Files) -> Result<Option<Self>, Error> {
        let Some(bytes) = files.read(MARKER, MARKER_BYTES_MAX)? else { return Ok(None) };
        let marker = String::from_utf8(bytes).ok().and_then(|text| Self::parse(&text));
        // It was renamed into place after its bytes were durable: no crash leaves half of it.
        let damaged = || Error::Damaged { file: files.at(MARKER), what: "it does not match its sum".to_owned() };
        marker.map(Some).ok_or_else(damaged)
    }

    /// Durable when it returns.
    pub(super) fn write(&self, files: &Files) -> Result<(), Error> {
        files.replace(MARKER, self.text().as_bytes())
    }

    /// Durable when it returns.
    pub(super) fn remove(files: &Files) -> Result<(), Error> {
        files.remove(MARKER)?;
        files.sync_root()
    }

    fn text(&self) -> String {
        let head = format!("{FIRST_LINE}\n{} {}\n", self.segment.start, self.segment.end);
        format!("{head}{}\n{}", sum(&head, &self.note_before), self.note_before)
    }

    fn parse(text: &str) -> Option<Self> {
        let mut lines = text.splitn(4, '\n');
        let (first, range, _sum, note) = (lines.next()?, lines.next()?, lines.next()?, lines.next()?);
        let (start, end) = range.split_once(' ')?;
        let segment = parse_decimal(start)?..parse_decimal(end)?;
        let marker = Self { segment, note_before: note.to_owned() };
        (first == FIRST_LINE && marker.text() == text).then_some(marker)
    }
}

/// The first 16 hex digits of SHA-256 over both.
pub(super) fn sum(head: &str, note: &str) -> String {
    let hash = digest(&SHA256, [head, note].concat().as_bytes());
    hex::encode(hash.as_ref().first_chunk::<8>().unwrap_or(&[0; 8]))
}

pub(super) const MARKER: &str = "sealing";
const FIRST_LINE: &str = "privet seal 1";
const MARKER_BYTES_MAX: usize = 128 + NOTE_BYTES_MAX;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_marker_is_read_back_and_no_changed_byte_of_it_is() {
        for note_before in ["", "text\n\n\u{2014} key c2ln\n"] {
            let marker = Marker { segment: 512..1_024, note_before: note_before.to_owned() };
            let text = marker.text();
            assert_eq!(Marker::parse(&text), Some(marker));
            for at in 0..text.len() {
                let mut changed = text.clone().into_bytes();
                changed[at] ^= 1;
                assert_eq!(String::from_utf8(changed).ok().and_then(|text| Marker::parse(&text)), None, "{at}");
                assert_eq!(text.get(..at).and_then(Marker::parse), None, "cut at {at}");
            }
        }
    }
}
