//! The files `due` and `due-subjects`: what retention has found due, of the log and of subjects, and for how long. They are a
//! memory over restarts and nothing else: where one is missing or damaged, retention begins to look anew.
//!
//! ```text
//! privet due 1
//! cutoff seen
//! the first 16 hex digits of SHA-256 over the other lines
//! ```

use super::{Archive, error::Error, marker::sum};
use crate::audit::checkpoint::parse_decimal;

/// What `cutoff` makes due was due each time somebody looked, for `seen` of running.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Due {
    /// Microseconds since 1970.
    pub cutoff_unix_micros: u64,
    /// Seconds in which a server was running.
    pub seen_secs: u64,
}

/// Of what something is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DueOf {
    /// Of the log's segments.
    Log,
    /// Of subjects.
    Subjects,
}

impl DueOf {
    fn file(self) -> &'static str {
        match self {
            Self::Log => DUE,
            Self::Subjects => DUE_SUBJECTS,
        }
    }
}

impl Archive {
    /// What was noted last.
    ///
    /// # Errors
    /// [`Error::Storage`].
    pub fn due(&self, of: DueOf) -> Result<Option<Due>, Error> {
        let bytes = self.files.read(of.file(), BYTES_MAX)?;
        Ok(bytes.and_then(|bytes| Due::parse(std::str::from_utf8(&bytes).ok()?)))
    }

    /// Notes it in the place of what was noted before, durably; `None`: nothing is due.
    ///
    /// # Errors
    /// [`Error::Storage`].
    pub fn note_due(&self, of: DueOf, due: Option<Due>) -> Result<(), Error> {
        let _alone = self.change();
        match due {
            Some(due) => self.files.replace(of.file(), due.text().as_bytes()),
            None if self.files.remove(of.file())?.is_some() => self.files.sync_root(),
            None => Ok(()),
        }
    }
}

impl Due {
    fn text(&self) -> String {
        let head = format!("{FIRST_LINE}\n{} {}\n", self.cutoff_unix_micros, self.seen_secs);
        format!("{head}{}\n", sum(&head, ""))
    }

    fn parse(text: &str) -> Option<Self> {
        let (cutoff, seen) = text.lines().nth(1)?.split_once(' ')?;
        let due = Self { cutoff_unix_micros: parse_decimal(cutoff)?, seen_secs: parse_decimal(seen)? };
        (due.text() == text).then_some(due)
    }
}

pub(super) const DUE: &str = "due";
pub(super) const DUE_SUBJECTS: &str = "due-subjects";
const FIRST_LINE: &str = "privet due 1";
const BYTES_MAX: usize = 128;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_read_back_and_no_changed_byte_of_it_is() {
        let due = Due { cutoff_unix_micros: 1_800_000_000_000_000, seen_secs: 86_399 };
        let text = due.text();
        assert_eq!(Due::parse(&text), Some(due));
        for at in 0..text.len() {
            let mut changed = text.clone().into_bytes();
            changed[at] ^= 1;
            assert_eq!(String::from_utf8(changed).ok().and_then(|text| Due::parse(&text)), None, "{at}");
            assert_eq!(text.get(..at).and_then(Due::parse), None, "cut at {at}");
        }
    }
}
