//! Entry bundles: up to 256 entries, each behind its length in 16 bits, big-endian.

use super::WIDTH_MAX;

/// No entry bundle, or entries that none can hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// There are none, or more than 256.
    #[error("a bundle holds 1 to 256 entries")]
    Count,
    /// An entry is longer than 16 bits can say.
    #[error("an entry is too long for a bundle")]
    Long,
    /// The bundle ends within an entry.
    #[error("the bundle is cut short")]
    Cut,
}

/// A bundle of entries.
///
/// # Errors
/// [`Error::Count`], [`Error::Long`].
pub fn write<T: AsRef<[u8]>>(entries: &[T]) -> Result<Vec<u8>, Error> {
    check_count(entries.len())?;
    let mut bundle = Vec::with_capacity(entries.iter().map(|entry| 2 + entry.as_ref().len()).sum());
    for entry in entries.iter().map(AsRef::as_ref) {
        let length = u16::try_from(entry.len()).map_err(|_| Error::Long)?;
        bundle.extend_from_slice(&length.to_be_bytes());
        bundle.extend_from_slice(entry);
    }
    Ok(bundle)
}

/// The entries of a bundle.
///
/// # Errors
/// [`Error::Count`], [`Error::Cut`].
pub fn read(bundle: &[u8]) -> Result<Vec<&[u8]>, Error> {
    let mut entries = Vec::new();
    for entry in each(bundle) {
        entries.push(entry?);
        check_count(entries.len())?;
    }
    check_count(entries.len())?;
    Ok(entries)
}

/// The entries of a bundle one by one, however many there are: for whoever wants to know which one is wrong. [`Error::Cut`] is
/// the last that comes.
pub fn each(mut bundle: &[u8]) -> impl Iterator<Item = Result<&[u8], Error>> {
    std::iter::from_fn(move || {
        if bundle.is_empty() {
            return None;
        }
        let Some((entry, rest)) = split_first(bundle) else {
            bundle = &[];
            return Some(Err(Error::Cut));
        };
        bundle = rest;
        Some(Ok(entry))
    })
}

fn split_first(bundle: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bundle.split_first_chunk::<2>()?;
    rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))
}

fn check_count(entries: usize) -> Result<(), Error> {
    if (1..=usize::from(WIDTH_MAX)).contains(&entries) { Ok(()) } else { Err(Error::Count) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn each_entry_stands_behind_its_length() {
        assert_eq!(write(&[b"ab".as_slice(), b"", b"c"]).unwrap(), b"\x00\x02ab\x00\x00\x00\x01c");
    }

    #[test]
    fn bounds_are_exact() {
        let longest = vec![7; 65_535];
        assert_eq!(read(&write(&[&longest]).unwrap()).unwrap(), [&longest]);
        assert_eq!(write(&[vec![7; 65_536]]), Err(Error::Long));
        assert_eq!(write::<&[u8]>(&[]), Err(Error::Count));
        assert_eq!(read(&[]), Err(Error::Count));
        let full = write(&[b"x"; 256]).unwrap();
        assert_eq!(read(&full).unwrap().len(), 256);
        assert_eq!(write(&[b"x"; 257]), Err(Error::Count));
        assert_eq!(read(&[full.as_slice(), b"\x00\x01x"].concat()), Err(Error::Count));
    }

    #[test]
    fn a_bundle_cut_within_an_entry_is_refused() {
        let bundle = write(&[b"first", b"other"]).unwrap();
        for end in (1..bundle.len()).filter(|end| *end != 7) {
            assert_eq!(read(&bundle[..end]), Err(Error::Cut), "{end}");
        }
        let found: Vec<_> = each(&bundle[..9]).collect();
        assert_eq!(found, [Ok(b"first".as_slice()), Err(Error::Cut)], "what comes before is still given");
    }

    proptest! {
        #[test]
        fn entries_come_back(entries in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..40), 1..=256)) {
            let bundle = write(&entries).unwrap();
            prop_assert_eq!(read(&bundle).unwrap(), entries);
        }

        #[test]
        fn whatever_is_read_is_what_would_be_written(bytes in proptest::collection::vec(0u8..4, 0..300)) {
            if let Ok(entries) = read(&bytes) {
                prop_assert_eq!(write(&entries).unwrap(), bytes);
            }
        }
    }
}
