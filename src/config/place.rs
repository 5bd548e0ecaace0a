//! Where in the text something is said, for error messages. Works on text that may be no TOML at all.

use std::ops::Range;

/// Line and character of a byte offset, both from 1.
pub(super) fn line_and_column(text: &str, offset: usize) -> (usize, usize) {
    let before: Vec<char> = text.char_indices().take_while(|(at, _)| *at < offset).map(|(_, c)| c).collect();
    let line = before.iter().filter(|c| **c == '\n').count() + 1;
    let column = before.iter().rev().take_while(|c| **c != '\n').count() + 1;
    (line, column)
}

/// The dotted key whose line holds a byte offset; the section's name if the line has no key.
pub(super) fn key_at(text: &str, offset: usize) -> String {
    let (mut section, mut key) = ("", "");
    for line in lines(text) {
        if line.start > offset {
            break;
        }
        match line.says {
            Says::Section(name) => (section, key) = (name, ""),
            Says::Key(name) => key = name,
            Says::Nothing => {}
        }
    }
    [section, key].into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(".")
}

/// Where `key` stands in the nth section of a name; that section's line if it has no such key; the start if neither is
/// there.
pub(super) fn find_key(text: &str, section: &str, key: &str, nth: usize) -> Range<usize> {
    let mut found = 0..0;
    let mut within = section.is_empty();
    let mut seen = 0;
    for line in lines(text) {
        match line.says {
            Says::Section(name) => {
                within = name == section && seen == nth;
                seen += usize::from(name == section);
                if within {
                    found = line.start..line.start;
                }
            }
            Says::Key(name) if within && name == key => return line.start..line.start,
            Says::Key(_) | Says::Nothing => {}
        }
    }
    found
}

struct Line<'a> {
    start: usize,
    says: Says<'a>,
}

enum Says<'a> {
    Section(&'a str),
    Key(&'a str),
    Nothing,
}

fn lines(text: &str) -> impl Iterator<Item = Line<'_>> {
    text.split_inclusive('\n').scan(0, |next, line| {
        let indent = line.len() - line.trim_start().len();
        let start = *next + indent;
        *next += line.len();
        let line = line.trim();
        let says = if line.starts_with('[') {
            let name = line.trim_start_matches('[').split(']').next().unwrap_or_default();
            Says::Section(name.trim())
        } else if line.starts_with('#') {
            Says::Nothing
        } else {
            line.split_once('=').map_or(Says::Nothing, |(key, _)| Says::Key(key.trim()))
        };
        Some(Line { start, says })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "a = 1\n[[b]]\n  c = \"é\"\n# d = 4\n[[b]]\nc = [\n  2,\n]\n";

    #[test]
    fn places_are_counted_in_characters_from_one() {
        assert_eq!(line_and_column("", 0), (1, 1));
        assert_eq!(line_and_column(TEXT, 0), (1, 1));
        assert_eq!(line_and_column(TEXT, TEXT.find("[[b]]").unwrap()), (2, 1));
        let after_accent = TEXT.find('é').unwrap() + 'é'.len_utf8();
        assert_eq!(line_and_column(TEXT, after_accent), (3, 9));
        assert_eq!(line_and_column("x", 99), (1, 2));
    }

    #[test]
    fn a_key_is_named_with_its_section_even_past_its_first_line() {
        assert_eq!(key_at(TEXT, 0), "a");
        assert_eq!(key_at(TEXT, TEXT.find('é').unwrap()), "b.c");
        assert_eq!(key_at(TEXT, TEXT.find("2,").unwrap()), "b.c");
        assert_eq!(key_at("[b]\n", 0), "b");
        assert_eq!(key_at("", 0), "");
    }

    #[test]
    fn a_key_is_found_in_the_nth_section() {
        let at = |nth| line_and_column(TEXT, find_key(TEXT, "b", "c", nth).start);
        assert_eq!((at(0), at(1)), ((3, 3), (6, 1)));
        assert_eq!(find_key(TEXT, "", "a", 0), 0..0);
        assert_eq!(line_and_column(TEXT, find_key(TEXT, "b", "missing", 1).start), (5, 1));
        assert_eq!(find_key(TEXT, "missing", "c", 0), 0..0);
    }
}
