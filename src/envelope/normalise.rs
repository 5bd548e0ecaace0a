//! One spelling for values that mean the same, so that they get the same blind index.
//!
//! A value that breaks its kind's rule is refused with the rule's name, never with the value. Normalising twice changes
//! nothing. What isn't done, as it takes knowledge that isn't here or would merge two people's values: e-mail domains are
//! not turned to or from Punycode, plus-addresses and dots stay, national phone numbers aren't completed, Unicode look-alikes
//! (NFKC) aren't folded.
//!
//! Every copy made here is wiped; two are out of reach: scratch space of the Unicode tables, and a string that std's
//! lower-casing outgrew.

use std::{fmt, net::IpAddr};

use unicode_normalization::UnicodeNormalization;
use zeroize::Zeroizing;

use crate::catalogue::Kind;

/// A value in its kind's one spelling; wiped on drop, never printed.
pub struct Normalised(Zeroizing<String>);

impl Normalised {
    /// The spelling.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Normalised {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Normalised")
    }
}

/// A value that breaks its kind's rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be {rule}")]
pub struct InvalidValue {
    /// What is asked of such a value, fit to follow "must be".
    pub rule: &'static str,
}

/// Brings a value into its kind's one spelling.
///
/// * e-mail: white space around it cut, NFC, lower case
/// * phone: E.164, without white space, dashes, dots and parentheses, `00` for `+` allowed. An extension is refused, as two
///   people behind one switchboard are not one; so is `(0…`, which stands for another number at home than abroad
/// * IP: the canonical form of `std::net` (RFC 5952); an IPv4-mapped IPv6 address is the IPv4 address
/// * tax id, payment: upper case without white space, dashes and dots (and, in a tax id, slashes)
/// * all others: NFC, lower case, runs of white space made one space, none around it
///
/// # Errors
/// [`InvalidValue`].
pub fn normalise(kind: Kind, value: &[u8]) -> Result<Normalised, InvalidValue> {
    let value = str::from_utf8(value).map_err(|_| InvalidValue { rule: UTF8 })?;
    let normalised = match kind {
        Kind::Email => email(value)?,
        Kind::Phone => phone(value).ok_or(InvalidValue { rule: PHONE })?,
        Kind::Ip => Zeroizing::new(ip(value).ok_or(InvalidValue { rule: IP })?.to_string()),
        Kind::TaxId => number(value, |c| is_separator(c) || c == '/').ok_or(InvalidValue { rule: TAX_ID })?,
        Kind::Payment => number(value, is_separator).ok_or(InvalidValue { rule: PAYMENT })?,
        Kind::Name | Kind::Address | Kind::Timezone | Kind::Usage | Kind::Geolocation | Kind::Text => words(value)?,
    };
    Ok(Normalised(normalised))
}

/// An IP address, an IPv4-mapped one as IPv4.
pub(super) fn ip(value: &str) -> Option<IpAddr> {
    value.trim().parse::<IpAddr>().ok().map(|address| address.to_canonical())
}

/// Canonically composed, in lower case. Composed once more afterwards: `J̌` has no composed form, its lower case `ǰ` has.
pub(super) fn folded(value: &str) -> Zeroizing<String> {
    if value.is_ascii() {
        return Zeroizing::new(value.to_ascii_lowercase());
    }
    let lower = Zeroizing::new(composed(value).to_lowercase());
    composed(&lower)
}

fn composed(value: &str) -> Zeroizing<String> {
    // Composing makes UTF-8 at most three times as long (UAX #15): with the room there from the start, no outgrown copy
    // is left behind.
    let mut composed = Zeroizing::new(String::with_capacity(value.len().saturating_mul(3)));
    composed.extend(value.nfc());
    composed
}

fn email(value: &str) -> Result<Zeroizing<String>, InvalidValue> {
    let folded = folded(value);
    let address = folded.trim();
    let (local, domain) = address.split_once('@').unwrap_or_default();
    let good = address.len() <= EMAIL_LEN_MAX
        && !local.is_empty()
        && domain.split('.').all(|label| !label.is_empty())
        && !domain.contains('@')
        && !address.chars().any(|c| c.is_whitespace() || c.is_control() || is_invisible(c) || QUOTING.contains(c));
    if !good {
        return Err(InvalidValue { rule: EMAIL });
    }
    let international = international(domain);
    let domain = international.as_deref().map_or(domain, String::as_str);
    // With the room there from the start, no outgrown copy is left behind.
    let mut normal = Zeroizing::new(String::with_capacity(local.len() + 1 + domain.len()));
    normal.push_str(local);
    normal.push('@');
    normal.push_str(domain);
    Ok(normal)
}

/// An international domain as the name servers know it, however it is written (UTS #46, non-transitional): `bücher.example` and
/// `xn--bcher-kva.example` are one. `None` for any other, and for what is no domain.
fn international(domain: &str) -> Option<Zeroizing<String>> {
    let is_encoded = |label: &str| label.starts_with("xn--");
    if domain.is_ascii() && !domain.split('.').any(is_encoded) {
        return None;
    }
    let ascii = idna::domain_to_ascii_cow(domain.as_bytes(), idna::AsciiDenyList::URL).ok()?;
    let ascii = Zeroizing::new(ascii.into_owned());
    // Signs that stand for an @ or a dot, or for nothing, make no other domain of it.
    (!ascii.contains('@') && ascii.split('.').all(|label| !label.is_empty())).then_some(ascii)
}

fn phone(value: &str) -> Option<Zeroizing<String>> {
    let value = value.trim();
    if value.contains("(0") || value.chars().any(char::is_control) {
        return None;
    }
    let compact = without(value, |c| is_separator(c) || c == '(' || c == ')');
    let digits = compact.strip_prefix('+').or_else(|| compact.strip_prefix("00"))?;
    let good = (7..=15).contains(&digits.len())
        && digits.bytes().all(|byte| byte.is_ascii_digit())
        && !digits.starts_with('0');
    if !good {
        return None;
    }
    let mut number = Zeroizing::new(String::with_capacity(1 + digits.len()));
    number.push('+');
    number.push_str(digits);
    Some(number)
}

fn number(value: &str, separator: impl Fn(char) -> bool) -> Option<Zeroizing<String>> {
    let value = value.trim();
    if value.chars().any(char::is_control) {
        return None;
    }
    let mut number = without(value, separator);
    number.make_ascii_uppercase();
    let good = (4..=34).contains(&number.len())
        && number.bytes().all(|byte| byte.is_ascii_alphanumeric())
        && number.bytes().any(|byte| byte.is_ascii_digit());
    good.then_some(number)
}

fn words(value: &str) -> Result<Zeroizing<String>, InvalidValue> {
    let folded = folded(value);
    let mut words = Zeroizing::new(String::with_capacity(folded.len()));
    for word in folded.split_whitespace() {
        if !words.is_empty() {
            words.push(' ');
        }
        words.push_str(word);
    }
    if words.is_empty() {
        Err(InvalidValue { rule: NOT_EMPTY })
    } else if words.chars().any(char::is_control) {
        Err(InvalidValue { rule: NO_CONTROL })
    } else {
        Ok(words)
    }
}

fn without(value: &str, separator: impl Fn(char) -> bool) -> Zeroizing<String> {
    let mut kept = Zeroizing::new(String::with_capacity(value.len()));
    kept.extend(value.chars().filter(|c| !separator(*c)));
    kept
}

/// What people put between digits: white space, full stops, and ASCII and Unicode dashes.
fn is_separator(c: char) -> bool {
    c.is_whitespace() || matches!(c, '.' | '-' | '\u{2010}'..='\u{2015}' | '\u{2212}')
}

/// Zero-width and direction marks: two addresses that look the same must not differ by one.
fn is_invisible(c: char) -> bool {
    matches!(c, '\u{ad}' | '\u{61c}' | '\u{feff}')
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}')
}

/// RFC 5321: a path is at most 256 bytes, with its angle brackets.
const EMAIL_LEN_MAX: usize = 254;
/// What RFC 5322 allows in an address only inside quotes: such addresses have several spellings.
const QUOTING: &str = "()<>[],;:\\\"";

const UTF8: &str = "UTF-8";
const NOT_EMPTY: &str = "text, not only white space";
const NO_CONTROL: &str = "text without control characters";
const EMAIL: &str = "one e-mail address of at most 254 bytes, with one @ and no white space or quotes";
const PHONE: &str = "a phone number: + or 00, then 7 to 15 digits, without extension or (0)";
const IP: &str = "an IPv4 or IPv6 address";
const TAX_ID: &str = "a tax id: 4 to 34 letters A-Z and digits, with at least one digit";
const PAYMENT: &str = "a card or account number: 4 to 34 letters A-Z and digits, with at least one digit";

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::envelope::golden::KINDS;

    fn spelt(kind: Kind, value: &str) -> Option<String> {
        normalise(kind, value.as_bytes()).ok().map(|value| value.expose().to_owned())
    }

    #[test]
    fn emails_end_at_254_bytes() {
        let address = |local: usize| format!("{}@x.example", "a".repeat(local));
        assert!(spelt(Kind::Email, &address(254 - 10)).is_some());
        assert!(spelt(Kind::Email, &address(255 - 10)).is_none());
    }

    #[test]
    fn phone_numbers_have_7_to_15_digits() {
        for (digits, good) in
            [("123456", false), ("1234567", true), ("123456789012345", true), ("1234567890123456", false)]
        {
            assert_eq!(spelt(Kind::Phone, &format!("+{digits}")).is_some(), good, "{digits}");
            assert_eq!(spelt(Kind::Phone, &format!("00{digits}")).is_some(), good, "{digits}");
        }
    }

    #[test]
    fn numbers_have_4_to_34_characters() {
        for (length, good) in [(3, false), (4, true), (34, true), (35, false)] {
            for kind in [Kind::TaxId, Kind::Payment] {
                assert_eq!(spelt(kind, &"7".repeat(length)).is_some(), good, "{kind:?} {length}");
            }
        }
    }

    #[test]
    fn a_refusal_names_the_rule_and_never_the_value() {
        for kind in KINDS {
            for value in [b"hunter2\0@\xff".as_slice(), b"hunter2\0@@ \x1b"] {
                let error = normalise(kind, value).unwrap_err();
                assert!(!format!("{error} {error:?}").contains("hunter"), "{kind:?}");
            }
        }
    }

    #[test]
    fn a_normalised_value_prints_only_its_type() {
        assert_eq!(format!("{:?}", normalise(Kind::Text, b"hunter2").unwrap()), "Normalised");
    }

    #[test]
    fn every_character_is_folded_in_one_step() {
        // Past this plane no character has a case or a composition.
        for c in '\0'..='\u{2ffff}' {
            for text in [format!("{c}"), format!("a{c}\u{301}\u{323}"), format!("Σ{c}")] {
                let once = folded(&text);
                assert_eq!(*folded(&once), *once, "{:?}", text.escape_unicode());
            }
        }
    }

    proptest! {
        #[test]
        fn normalising_twice_changes_nothing(value in awkward()) {
            for kind in KINDS {
                if let Ok(once) = normalise(kind, value.as_bytes()) {
                    let twice = normalise(kind, once.expose().as_bytes()).unwrap();
                    prop_assert_eq!(twice.expose(), once.expose(), "{:?}", kind);
                }
            }
        }

        #[test]
        fn no_bytes_make_it_panic(value in prop::collection::vec(any::<u8>(), 0..300)) {
            for kind in KINDS {
                let _ = normalise(kind, &value);
            }
        }

        #[test]
        fn spacing_and_case_do_not_matter(
            words in prop::collection::vec("[a-zß-öø-ÿа-я]{1,8}", 1..5),
            gap in "[ \t\n\u{a0}\u{2003}]{1,3}",
        ) {
            let spaced = format!("{gap}{}{gap}", words.join(&gap));
            prop_assert_eq!(spelt(Kind::Name, &spaced), spelt(Kind::Name, &words.join(" ")));
            let upper = words.join(" ").replace('ß', "").to_uppercase();
            prop_assert_eq!(spelt(Kind::Name, &upper), spelt(Kind::Name, &words.join(" ").replace('ß', "")));
        }
    }

    /// Strings near every rule's edge, and any others.
    fn awkward() -> impl Strategy<Value = String> {
        prop_oneof![
            any::<String>(),
            "[ +0-9().x-]{0,24}",
            "[a-zA-ZÀ-ÿΑ-ωÀ-ǿ\u{300}-\u{345} ]{0,24}",
            "[A-Zσς+.]{1,8}@[a-zİ.]{1,12}",
            "[0-9a-f:.]{2,40}",
        ]
    }
}
