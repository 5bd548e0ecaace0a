//! Tables for people, and the small texts in them.

use comfy_table::{Attribute, Cell, Color, ContentArrangement, Table, presets};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use super::terminal::{Terminal, printable};

/// An empty table under these headings, for standard output.
pub fn table<const N: usize>(headings: [&str; N], terminal: &Terminal) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Dynamic).set_width(width());
    if terminal.colour_stdout() {
        table.enforce_styling()
    } else {
        table.force_no_tty()
    };
    table.set_header(headings.map(|heading| Cell::new(heading).add_attribute(Attribute::Bold)));
    for (at, column) in table.column_iter_mut().enumerate() {
        column.set_padding((0, if at + 1 < N { 2 } else { 0 }));
    }
    table
}

/// How many columns standard output has: the terminal's within reason, and 100 without one.
pub fn width() -> u16 {
    Table::new().width().filter(|width| *width > 0).unwrap_or(WIDTH).clamp(WIDTH_MIN, WIDTH_MAX)
}

/// A cell of text from elsewhere.
pub fn cell(text: &str) -> Cell {
    Cell::new(printable(text))
}

/// A cell for what is well, or not.
pub fn verdict(text: &str, good: bool) -> Cell {
    Cell::new(text).fg(if good { Color::Green } else { Color::Red })
}

/// The table as text, without blanks at the ends of lines.
pub fn text(table: &Table) -> String {
    let mut text = table.trim_fmt();
    text.push('\n');
    text
}

/// A number with its thousands set apart: `1,234,567`.
pub fn number(n: u64) -> String {
    let digits = n.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `1 row`, `2 rows`.
pub fn plural(n: u64, one: &str) -> String {
    format!("{} {one}{}", number(n), if n == 1 { "" } else { "s" })
}

/// A time in UTC by RFC 3339; empty if there is none such.
pub fn rfc3339(time: &prost_types::Timestamp) -> String {
    utc(time).and_then(|time| time.format(&Rfc3339).ok()).unwrap_or_default()
}

/// A time of this year or so, in UTC: `11-23 19:16:05`.
pub fn short_time(time: &prost_types::Timestamp) -> String {
    utc(time)
        .map(|t| {
            let month = u8::from(t.month());
            format!("{month:02}-{:02} {:02}:{:02}:{:02}", t.day(), t.hour(), t.minute(), t.second())
        })
        .unwrap_or_default()
}

/// A time in UTC, if there is such a one.
pub fn utc(time: &prost_types::Timestamp) -> Option<OffsetDateTime> {
    let nanos = i128::from(time.seconds) * 1_000_000_000 + i128::from(time.nanos);
    OffsetDateTime::from_unix_timestamp_nanos(nanos).ok()
}

const WIDTH: u16 = 100;
const WIDTH_MIN: u16 = 60;
const WIDTH_MAX: u16 = 160;

#[cfg(test)]
mod tests {
    use prost_types::Timestamp;

    use super::*;

    const PLAIN: Terminal = Terminal { json: false, quiet: false, stdout: false, stderr: false, colours: false };

    #[test]
    fn a_table_is_plain_without_a_terminal_and_coloured_on_one() {
        let fill = |terminal| {
            let mut table = table(["OBJECT", "VERDICT"], &terminal);
            table.add_row([cell("pii/account/email"), verdict("deny", false)]);
            text(&table)
        };
        assert_eq!(fill(PLAIN), "OBJECT             VERDICT\npii/account/email  deny\n");
        assert!(fill(Terminal { stdout: true, colours: true, ..PLAIN }).contains("\x1b["));
        assert!(!fill(Terminal { stdout: true, colours: false, ..PLAIN }).contains('\x1b'));
    }

    #[test]
    fn a_cell_can_not_drive_the_terminal() {
        assert_eq!(cell("a\x1b[1mb\n").content(), "a\\u{1b}[1mb\\u{a}");
    }

    #[test]
    fn numbers_are_set_in_threes() {
        for (n, text) in [(0, "0"), (999, "999"), (1_000, "1,000"), (25_913, "25,913"), (1_234_567, "1,234,567")] {
            assert_eq!(number(n), text);
        }
        assert_eq!([plural(1, "row"), plural(0, "row"), plural(1_000, "row")], ["1 row", "0 rows", "1,000 rows"]);
    }

    #[test]
    fn times_are_utc_and_a_time_out_of_range_is_blank() {
        let time = Timestamp { seconds: 1_795_461_365, nanos: 123_456_000 };
        assert_eq!(rfc3339(&time), "2026-11-23T19:16:05.123456Z");
        assert_eq!(short_time(&time), "11-23 19:16:05");
        for seconds in [i64::MAX, i64::MIN] {
            assert_eq!(rfc3339(&Timestamp { seconds, nanos: 0 }), "");
        }
    }
}
