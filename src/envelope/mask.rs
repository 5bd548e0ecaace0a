//! Masks: as much of a value as helps a person recognise it, and no more.
//!
//! INVARIANT: of a name, an e-mail's local part or a number of `len` characters at most `min(4, len / 3)` show, and what is
//! hidden is always the same three bullets, however long it was. A value that doesn't parse as its kind is hidden whole: a mask
//! never fails, and never falls back on the value.
//!
//! Characters are Unicode scalar values; a letter with its combining marks shows whole or not at all, each mark counted.
//! White space in a name, and the separators of a number, don't count.

use std::net::IpAddr;

use unicode_normalization::char::is_combining_mark;

use super::{
    country,
    normalise::{folded, ip, normalise},
    provider,
};
use crate::catalogue::Kind;

/// What stands for anything hidden.
pub const HIDDEN: &str = "•••";

/// A value's mask.
///
/// | kind | shows | e.g. |
/// |---|---|---|
/// | name | the initials of the first and the last word | `A••• K•••` |
/// | address | the country, if the last of several segments names one | `•••, Sweden` |
/// | time zone | the region | `Europe/•••` |
/// | IP | the /16 of IPv4 (also IPv4-mapped), the /32 of IPv6 | `203.0.•••` |
/// | e-mail | up to two letters, and the domain of a public provider | `an•••@gmail.com` |
/// | phone, tax id, payment | the last characters, if it has a blind index | `•••1111` |
/// | usage, geolocation, text | nothing | `•••` |
pub fn mask(kind: Kind, value: &[u8]) -> String {
    let text = str::from_utf8(value).ok().filter(|text| !text.chars().any(|c| c.is_control() && !c.is_whitespace()));
    let shown = text.and_then(|text| match kind {
        Kind::Name => name(text),
        Kind::Address => address(text),
        Kind::Timezone => timezone(text),
        Kind::Ip => ip(text).map(network),
        Kind::Email => email(text),
        Kind::Phone | Kind::TaxId | Kind::Payment => number(kind, text),
        Kind::Usage | Kind::Geolocation | Kind::Text => None,
    });
    shown.unwrap_or_else(|| HIDDEN.to_owned())
}

/// How many characters of `len` may show.
fn allowance(len: usize) -> usize {
    (len / 3).min(4)
}

fn name(value: &str) -> Option<String> {
    let mut words = value.split_whitespace();
    let allowance = allowance(value.chars().filter(|c| !c.is_whitespace()).count());
    let first = leading(words.next()?, 1, allowance)?;
    let rest = allowance.saturating_sub(first.chars().count());
    Some(match words.next_back().and_then(|last| leading(last, 1, rest)) {
        Some(last) => format!("{first}{HIDDEN} {last}{HIDDEN}"),
        None => format!("{first}{HIDDEN}"),
    })
}

fn address(value: &str) -> Option<String> {
    let value = value.trim().trim_end_matches('.');
    // A value of one segment is no address: it shows nothing, even if it reads as a country.
    let (_, last) = value.rsplit_once([',', ';', '\n', '\r', '،', '、', '，'])?;
    country::find(last.trim()).map(|country| format!("{HIDDEN}, {country}"))
}

fn timezone(value: &str) -> Option<String> {
    let (region, city) = value.trim().split_once('/')?;
    let region = REGIONS.iter().find(|known| known.eq_ignore_ascii_case(region))?;
    (!city.is_empty()).then(|| format!("{region}/{HIDDEN}"))
}

fn network(address: IpAddr) -> String {
    match address {
        IpAddr::V4(address) => {
            let [a, b, ..] = address.octets();
            format!("{a}.{b}.{HIDDEN}")
        }
        IpAddr::V6(address) => {
            let [a, b, ..] = address.segments();
            format!("{a:x}:{b:x}:{HIDDEN}")
        }
    }
}

fn email(value: &str) -> Option<String> {
    normalise(Kind::Email, value.as_bytes()).ok()?;
    let (local, domain) = value.trim().split_once('@')?;
    let local = leading(local, 2, allowance(local.chars().count())).unwrap_or_default();
    let domain = folded(domain);
    let domain = if provider::is_public(&domain) { domain.as_str() } else { HIDDEN };
    Some(format!("{local}{HIDDEN}@{domain}"))
}

fn number(kind: Kind, value: &str) -> Option<String> {
    let number = normalise(kind, value.as_bytes()).ok()?;
    let number = number.expose().trim_start_matches('+');
    let hidden = number.len().checked_sub(allowance(number.len()))?;
    number.get(hidden..).map(|shown| format!("{HIDDEN}{shown}"))
}

/// The first letters and digits of `text`, each with its combining marks: at most `clusters` of them, of at most `allowance`
/// scalar values in all. `None` if there is nothing to show.
fn leading(text: &str, clusters: usize, allowance: usize) -> Option<&str> {
    let mut shown = None;
    let mut chars = text.char_indices().peekable();
    for _ in 0..clusters {
        if chars.next_if(|(_, c)| c.is_alphanumeric() && !is_combining_mark(*c)).is_none() {
            break;
        }
        while chars.next_if(|(_, c)| is_combining_mark(*c)).is_some() {}
        let end = chars.peek().map_or(text.len(), |(index, _)| *index);
        let longer = text.get(..end)?;
        if longer.chars().count() > allowance {
            break;
        }
        shown = Some(longer);
    }
    shown
}

/// The tz database's areas that hold more than a place or two.
const REGIONS: [&str; 9] =
    ["Africa", "America", "Antarctica", "Asia", "Atlantic", "Australia", "Europe", "Indian", "Pacific"];

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::envelope::golden::KINDS;

    fn masked(kind: Kind, value: &str) -> String {
        mask(kind, value.as_bytes())
    }

    /// The part of a mask that was taken from the value's own characters.
    fn shown(kind: Kind, mask: &str) -> usize {
        let own = match kind {
            Kind::Email => mask.split_once('@').map_or(mask, |(local, _)| local),
            Kind::Name | Kind::Phone | Kind::TaxId | Kind::Payment => mask,
            // One of a closed set, or a network: see the tests by example.
            Kind::Address | Kind::Timezone | Kind::Ip => "",
            Kind::Usage | Kind::Geolocation | Kind::Text => mask,
        };
        own.chars().filter(|c| !matches!(c, '•' | ' ')).count()
    }

    #[test]
    fn at_most_a_third_and_never_more_than_four_show() {
        for (len, expected) in [(0, 0), (2, 0), (3, 1), (5, 1), (6, 2), (11, 3), (12, 4), (13, 4), (99, 4)] {
            assert_eq!(allowance(len), expected, "{len}");
        }
        for len in 7..=15 {
            assert_eq!(shown(Kind::Phone, &masked(Kind::Phone, &format!("+{}", "7".repeat(len)))), (len / 3).min(4));
        }
    }

    #[test]
    fn how_long_the_hidden_part_is_does_not_show() {
        for len in [12, 13, 40, 200] {
            let x = "x".repeat(len);
            assert_eq!(masked(Kind::Name, &format!("An{x} M. K{x}")), "A••• K•••");
            assert_eq!(masked(Kind::Name, &format!("An{x} {x} {x} K{x}")), "A••• K•••");
            assert_eq!(masked(Kind::Email, &format!("an{x}@gmail.com")), "an•••@gmail.com");
            assert_eq!(masked(Kind::Email, &format!("an{x}@{}.example", &x[..12])), "an•••@•••");
            assert_eq!(masked(Kind::Address, &format!("{x}, {x}, Sweden")), "•••, Sweden");
            assert_eq!(masked(Kind::Timezone, &format!("Europe/{x}")), "Europe/•••");
            assert_eq!(masked(Kind::TaxId, &format!("{}1234", "9".repeat(len.min(30)))), "•••1234");
            for kind in [Kind::Usage, Kind::Geolocation, Kind::Text] {
                assert_eq!(masked(kind, &x), HIDDEN);
            }
        }
    }

    #[test]
    fn bytes_that_are_no_text_are_hidden_whole() {
        for kind in KINDS {
            for value in [b"\xff".as_slice(), b"anna\xff@gmail.com", b"\xed\xa0\x80", b""] {
                assert_eq!(mask(kind, value), HIDDEN, "{kind:?}");
            }
        }
    }

    #[test]
    fn a_letter_shows_with_its_marks_or_not_at_all() {
        assert_eq!(masked(Kind::Name, "E\u{301}lodie Dubois"), "E\u{301}••• D•••");
        // Two scalar values where one may show.
        assert_eq!(masked(Kind::Name, "E\u{301}lo"), HIDDEN);
        assert_eq!(masked(Kind::Name, &format!("E{}", "\u{301}".repeat(30))), HIDDEN);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(512))]

        #[test]
        fn no_value_shows_more_than_its_kind_may(value in valuelike()) {
            for kind in KINDS {
                let mask = masked(kind, &value);
                let len = match kind {
                    Kind::Email => value.trim().split('@').next().unwrap_or_default().chars().count(),
                    Kind::Name | Kind::Address | Kind::Timezone | Kind::Ip | Kind::Phone | Kind::TaxId | Kind::Payment
                    | Kind::Usage | Kind::Geolocation | Kind::Text => value.chars().count(),
                };
                prop_assert!(mask.contains(HIDDEN), "{:?} {:?}", kind, mask);
                prop_assert!(shown(kind, &mask) <= (len / 3).min(4), "{:?} {:?}", kind, mask);
                prop_assert!(!mask.chars().any(|c| c.is_control()), "{:?}", kind);
                prop_assert!(mask.chars().count() <= 64, "{:?} {:?}", kind, mask);
            }
        }

        #[test]
        fn no_bytes_make_it_panic(value in prop::collection::vec(any::<u8>(), 0..300)) {
            for kind in KINDS {
                prop_assert!(mask(kind, &value).contains(HIDDEN));
            }
        }
    }

    fn valuelike() -> impl Strategy<Value = String> {
        prop_oneof![
            any::<String>(),
            "\\PC{0,12}( \\PC{0,12}){0,3}",
            "\\PC{0,20}@(gmail\\.com|\\PC{1,20})",
            "[+0-9(). -]{0,40}",
            "[A-Za-z0-9 .-]{0,40}",
            "\\PC{0,20}, (Sweden|USA|CA|\\PC{0,10})",
        ]
    }
}
