//! Countries by name and ISO 3166-1 code, for the one part of an address that its mask shows.
//!
//! Never finer than a country: what is also the name or code of a state or province is not recognised.

use std::{collections::HashMap, sync::LazyLock};

use super::normalise::folded;

/// The English name of the country that `text` names, by an English or local name or by code, in any case.
pub(super) fn find(text: &str) -> Option<&'static str> {
    if text.len() > NAME_LEN_MAX {
        return None;
    }
    BY_NAME.get(folded(text).as_str()).copied()
}

static BY_NAME: LazyLock<HashMap<String, &'static str>> = LazyLock::new(|| {
    let mut by_name = HashMap::new();
    for (code2, code3, names) in rows() {
        let Some(english) = names.split('|').next() else { continue };
        let code2 = Some(code2).filter(|code| !STATES.split(' ').any(|state| state == *code));
        for name in names.split('|').chain([code3]).chain(code2).filter(|name| *name != GEORGIA) {
            by_name.insert(folded(name).to_string(), english);
        }
    }
    by_name
});

fn rows() -> impl Iterator<Item = (&'static str, &'static str, &'static str)> {
    COUNTRIES.lines().filter_map(|line| {
        let (code2, rest) = line.split_once('\t')?;
        let (code3, names) = rest.split_once('\t')?;
        Some((code2, code3, names))
    })
}

/// Two-letter code, three-letter code, names: the first is the one shown.
const COUNTRIES: &str = include_str!("countries.tsv");
/// Two-letter country codes that end an address as a state's or province's in the United States, Canada, Australia or Brazil.
const STATES: &str = "AL AM AR AS AZ BA CA CO DE ES GA GU ID IL IN KY LA MA MD ME MG MN MO MP MS MT NC NE NL NU PA PE PR RO RS \
    SA SC SD SE SK TN TO UM VA VI YT";
/// A state as well as a country.
const GEORGIA: &str = "Georgia";
/// Well past the longest name.
const NAME_LEN_MAX: usize = 128;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_of_iso_3166_1_is_there_once() {
        let mut codes: Vec<_> = rows().flat_map(|(code2, code3, _)| [code2, code3]).collect();
        assert_eq!((COUNTRIES.lines().count(), codes.len()), (249, 2 * 249));
        codes.sort_unstable();
        codes.dedup();
        assert_eq!(codes.len(), 2 * 249);
        let names: Vec<_> =
            rows().flat_map(|(.., names)| names.split('|')).map(|name| folded(name).to_string()).collect();
        assert!(rows().all(|(code2, code3, _)| code2.len() == 2 && code3.len() == 3));
        assert!(names.iter().all(|name| name.trim() == name && !name.is_empty() && name.len() <= NAME_LEN_MAX));
        assert_eq!(
            names.iter().collect::<std::collections::HashSet<_>>().len(),
            names.len(),
            "one name, two countries"
        );
    }

    #[test]
    fn a_country_is_found_by_name_and_code_in_any_case() {
        for text in ["United States", "united states of america", "USA", "us", "U.S.", "Estados Unidos"] {
            assert_eq!(find(text), Some("United States"), "{text}");
        }
        assert_eq!(find("SVERIGE"), Some("Sweden"));
        assert_eq!(find("O\u{308}sterreich"), Some("Austria"));
        assert_eq!(find("מדינה"), None);
    }

    #[test]
    fn what_may_be_a_state_is_no_country() {
        for text in ["Georgia", "CA", "ca", "IL", "DE", "SA", "SE", "California"] {
            assert_eq!(find(text), None, "{text}");
        }
        for (code, name) in [("GEO", "Georgia"), ("CAN", "Canada"), ("DEU", "Germany"), ("SWE", "Sweden")] {
            assert_eq!(find(code), Some(name));
        }
    }
}
