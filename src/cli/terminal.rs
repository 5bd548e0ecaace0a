//! What may be written to a terminal, and how.
//!
//! Text that came from elsewhere never reaches a terminal with its control characters in force: an opened value could
//! otherwise rewrite the screen, or the title bar, of the person reading it.

use std::{
    borrow::Cow,
    env,
    io::{self, IsTerminal},
};

/// Where a command writes, and in what style.
#[derive(Clone, Copy, Debug)]
pub struct Terminal {
    /// Machines read this: JSON, no tables.
    pub json: bool,
    /// Only results; no details, notes or progress.
    pub quiet: bool,
    /// Standard output is a terminal.
    pub stdout: bool,
    /// Standard error is a terminal.
    pub stderr: bool,
    /// Colours are welcome (<https://no-color.org>).
    pub colours: bool,
}

impl Terminal {
    /// Looks at the process's own streams and at `NO_COLOR`.
    pub fn of_process(json: bool, quiet: bool) -> Self {
        let colours = env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
            && env::var_os("TERM").is_none_or(|term| term != "dumb");
        Self { json, quiet, stdout: io::stdout().is_terminal(), stderr: io::stderr().is_terminal(), colours }
    }

    /// Whether standard output takes colours.
    pub fn colour_stdout(&self) -> bool {
        self.colours && self.stdout && !self.json
    }

    /// Whether standard error takes colours.
    pub fn colour_stderr(&self) -> bool {
        self.colours && self.stderr
    }

    /// Whether somebody reads the details that accompany a result.
    pub fn details(&self) -> bool {
        self.stderr && !self.quiet && !self.json
    }
}

/// `text` with each control character, and each that changes the direction of text, spelled out.
pub fn printable(text: &str) -> Cow<'_, str> {
    if !text.contains(unprintable) {
        return Cow::Borrowed(text);
    }
    let spelled = text.chars().fold(String::with_capacity(text.len()), |mut spelled, c| {
        if unprintable(c) {
            spelled.extend(c.escape_unicode())
        } else {
            spelled.push(c)
        }
        spelled
    });
    Cow::Owned(spelled)
}

/// As [`printable`], but line breaks and tabs stay.
pub fn printable_lines(text: &str) -> String {
    text.split_inclusive(['\n', '\t'])
        .flat_map(|piece| match piece.char_indices().next_back() {
            Some((at, end @ ('\n' | '\t'))) => {
                let body = piece.get(..at).unwrap_or_default();
                [printable(body), Cow::Borrowed(if end == '\n' { "\n" } else { "\t" })]
            }
            _ => [printable(piece), Cow::Borrowed("")],
        })
        .collect()
}

/// JSON whose strings hold none of those characters as they are; it says the same.
pub fn printable_json(json: &serde_json::Value) -> String {
    let text = json.to_string();
    if !text.contains(unprintable) {
        return text;
    }
    let mut units = [0; 2];
    text.chars().fold(String::with_capacity(text.len()), |mut spelled, c| {
        if unprintable(c) {
            c.encode_utf16(&mut units).iter().for_each(|unit| spelled.push_str(&format!("\\u{unit:04x}")));
        } else {
            spelled.push(c);
        }
        spelled
    })
}

/// Control characters, and those that reorder what surrounds them (CVE-2021-42574).
fn unprintable(c: char) -> bool {
    c.is_control() || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{2028}' | '\u{2029}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_are_spelled_out_and_all_else_stays() {
        for same in ["", "Zoë Ødegård", "श्रीकृष्णन", "משה"] {
            assert!(matches!(printable(same), Cow::Borrowed(text) if text == same), "{same}");
        }
        assert_eq!(printable("a\x1b[2Jb\r\n\u{9b}c\u{202e}d"), "a\\u{1b}[2Jb\\u{d}\\u{a}\\u{9b}c\\u{202e}d");
    }

    #[test]
    fn json_says_the_same_with_nothing_in_force() {
        let json = serde_json::json!({"a\u{9b}": ["\u{202e}x\x1b\n", "Zoë"], "b": "\u{7f}\u{2028}"});
        let text = printable_json(&json);
        assert!(!text.contains(unprintable) && text.contains("Zoë"), "{text}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&text).unwrap(), json);
    }

    #[test]
    fn lines_stay_lines_and_nothing_else_gets_through() {
        assert_eq!(printable_lines("a\tb\n\nc\x07"), "a\tb\n\nc\\u{7}");
        assert_eq!(printable_lines("\n"), "\n");
        assert_eq!(printable_lines(""), "");
        assert_eq!(printable_lines("x\r\ny"), "x\\u{d}\ny");
    }
}
