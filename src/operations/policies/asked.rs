//! Changes as they are sent. What a single one may say is the change's own matter; here is what a request of them may be.

use crate::{
    operations::{Violation, validate},
    policy::{CHANGES_MAX, Change, REASON_BYTES_MAX, says_why},
};

/// A change, as it was sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sent {
    /// One of the policy's.
    Change(Box<Change>),
    /// All of an earlier version.
    Version(u64),
    /// Nothing that is known.
    Nothing,
}

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    /// These changes.
    Changes(Vec<Change>),
    /// The document of an earlier version.
    Version(u64),
}

/// Checks the changes of a request.
///
/// # Errors
/// The first [`Violation`].
pub(super) fn wanted(sent: Vec<Sent>) -> Result<Wanted, Violation> {
    validate::count("changes", sent.len(), CHANGES_MAX)?;
    if let [Sent::Version(version)] = sent.as_slice() {
        return Ok(Wanted::Version(*version));
    }
    let change = |(at, sent): (usize, Sent)| match sent {
        Sent::Change(change) => Ok(*change),
        Sent::Version(_) => Err(Violation::new(format!("changes[{at}].version"), "must be the only change")),
        Sent::Nothing => Err(Violation::new(format!("changes[{at}]"), "must be one of the known changes")),
    };
    sent.into_iter().enumerate().map(change).collect::<Result<_, _>>().map(Wanted::Changes)
}

/// Checks why something is done.
///
/// # Errors
/// [`Violation`] for one that is too long or of several lines, and for none if there must be one.
pub(super) fn reason(text: String, required: bool) -> Result<String, Violation> {
    if says_why(&text) || text.is_empty() && !required {
        return Ok(text);
    }
    let from = u8::from(required);
    Err(Violation::new("reason", format!("must be one line of {from} to {REASON_BYTES_MAX} bytes that says why")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_earlier_version_stands_alone() {
        let remove = || Sent::Change(Box::new(Change::Remove("x".into())));
        assert_eq!(wanted(vec![remove(), Sent::Version(3)]).unwrap_err().field, "changes[1].version");
        assert_eq!(wanted(vec![Sent::Version(3), Sent::Version(3)]).unwrap_err().field, "changes[0].version");
        assert_eq!(wanted(vec![Sent::Version(3)]), Ok(Wanted::Version(3)));
        assert_eq!(wanted(Vec::new()).unwrap_err().field, "changes");
        assert_eq!(wanted(vec![remove(), Sent::Nothing]).unwrap_err().field, "changes[1]");
        assert_eq!(wanted(vec![remove(); CHANGES_MAX + 1]).unwrap_err().field, "changes");
        assert!(wanted(vec![remove(); CHANGES_MAX]).is_ok());
    }

    #[test]
    fn a_reason_is_one_line_and_there_if_it_must_be() {
        assert!(reason("r".repeat(300), true).is_ok() && reason(String::new(), false).is_ok());
        for bad in ["", "  ", &"r".repeat(301), "a\nb", "a\u{1b}[2J", "a\u{202e}b", "a\u{200b}"] {
            assert_eq!(reason(bad.to_owned(), true).unwrap_err().field, "reason", "{bad:?}");
        }
        assert!(reason("a\nb".into(), false).is_err());
    }
}
