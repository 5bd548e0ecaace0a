//! The golden table of masks and normal forms, `tests/golden/masks.tsv`, held against the code.

use super::{mask, normalise};
use crate::catalogue::Kind;

/// Every kind.
pub(super) const KINDS: [Kind; 11] = [
    Kind::Name,
    Kind::Address,
    Kind::Timezone,
    Kind::Ip,
    Kind::Email,
    Kind::Phone,
    Kind::TaxId,
    Kind::Payment,
    Kind::Usage,
    Kind::Geolocation,
    Kind::Text,
];

const TABLE: &str = include_str!("../../tests/golden/masks.tsv");

#[test]
fn values_are_masked_and_normalised_as_the_golden_table_says() {
    let mut wrong = Vec::new();
    let mut rows = 0;
    for line in TABLE.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let [kind, value, shown, normal]: [&str; 4] = line.split('\t').collect::<Vec<_>>().try_into().expect(line);
        let kind = KINDS.into_iter().find(|known| format!("{known:?}") == kind).expect(line);
        let value = unescaped(value);
        let masked = mask(kind, &value);
        if masked.as_bytes() != unescaped(shown) {
            wrong.push(format!("{line}\n    masked: {masked}"));
        }
        let normalised =
            normalise(kind, &value).map_or_else(|error| format!("! {}", error.rule), |value| value.expose().to_owned());
        if normalised.as_bytes() != unescaped(normal) {
            wrong.push(format!("{line}\n    normalised: {normalised}"));
        }
        rows += 1;
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(rows >= 60, "{rows} rows");
}

#[test]
fn the_golden_table_has_every_kind() {
    for kind in KINDS {
        assert!(TABLE.lines().any(|line| line.starts_with(&format!("{kind:?}\t"))), "{kind:?}");
    }
}

/// `\n`, `\t`, `\xHH` and `\u{…}` as the bytes they stand for.
fn unescaped(text: &str) -> Vec<u8> {
    let mut parts = text.split('\\');
    let mut bytes = parts.next().unwrap_or_default().as_bytes().to_vec();
    for part in parts {
        let (byte, rest) = if let Some(rest) = part.strip_prefix('n') {
            (vec![b'\n'], rest)
        } else if let Some(rest) = part.strip_prefix('t') {
            (vec![b'\t'], rest)
        } else if let Some((code, rest)) = part.strip_prefix("u{").and_then(|part| part.split_once('}')) {
            let c = char::from_u32(u32::from_str_radix(code, 16).expect(text)).expect(text);
            (c.to_string().into_bytes(), rest)
        } else {
            let (code, rest) = part.strip_prefix('x').expect(text).split_at(2);
            (hex::decode(code).expect(text), rest)
        };
        bytes.extend(byte);
        bytes.extend(rest.as_bytes());
    }
    bytes
}
