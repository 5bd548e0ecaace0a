//! How many entries there were in each hour or day, and how they ended: rows for machines, bars for people.

use clap::ValueEnum;
use prost_types::Timestamp;
use serde_json::{Value, json};

use super::super::{
    answer::misfit,
    failure::Failure,
    table::{number, rfc3339, utc},
};
use crate::proto::v1::{AuditEntry, ListEntriesRequest, Verdict};

/// What a row stands for, in UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Unit {
    /// An hour
    Hour,
    /// A day
    Day,
}

impl Unit {
    fn secs(self) -> i64 {
        match self {
            Self::Hour => 3_600,
            Self::Day => 86_400,
        }
    }

    /// How far back to look if nobody says.
    fn span_secs(self) -> i64 {
        match self {
            Self::Hour => 24 * 3_600,
            Self::Day => 30 * 86_400,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Hour => "hour",
            Self::Day => "day",
        }
    }
}

/// Counts in rows without a gap.
pub(super) struct Histogram {
    unit: Unit,
    /// The beginning of the first row, in seconds since 1970.
    first_secs: i64,
    rows: Vec<Counts>,
}

/// How the entries of a row ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Counts {
    allow: u64,
    partial: u64,
    deny: u64,
    /// Without a verdict.
    other: u64,
}

impl Histogram {
    /// The rows that a list needs, all empty, if it is `now_secs`. A list without a beginning is given one.
    ///
    /// # Errors
    /// [`Failure`] (usage) if there are no rows, or more than 10,000.
    pub(super) fn of(unit: Unit, request: &mut ListEntriesRequest, now_secs: i64) -> Result<Self, Failure> {
        let floor = |secs: i64| secs.div_euclid(unit.secs()).saturating_mul(unit.secs());
        let end = request.end_time.map(|time| time.seconds.saturating_add(i64::from(time.nanos > 0)));
        let end = end.unwrap_or(now_secs.saturating_add(1));
        let first = match request.start_time {
            Some(start) => floor(start.seconds),
            None => floor(end.saturating_sub(1).saturating_sub(unit.span_secs())).max(0),
        };
        request.start_time.get_or_insert(Timestamp { seconds: first, nanos: 0 });
        let secs = u64::try_from(end.saturating_sub(first)).unwrap_or(0);
        let rows = secs.div_ceil(unit.secs().unsigned_abs());
        match usize::try_from(rows) {
            Ok(0) => Err(Failure::usage("there is no time between --since and --until")),
            Ok(rows) if rows <= ROWS_MAX => Ok(Self { unit, first_secs: first, rows: vec![Counts::default(); rows] }),
            _ => Err(Failure::usage(format!("that would be {} rows, one for each {}", number(rows), unit.name()))
                .hint("shorten the time with --since and --until, or take --by day")),
        }
    }

    /// Counts an entry; a record of many refusals counts as so many.
    ///
    /// # Errors
    /// [`Failure`] if the entry is not one of those asked for.
    pub(super) fn add(&mut self, entry: &AuditEntry) -> Result<(), Failure> {
        let secs = entry.time.as_ref().map(|time| time.seconds).ok_or_else(misfit)?;
        let row = secs.checked_sub(self.first_secs).map(|past| past.div_euclid(self.unit.secs()));
        let row = row.and_then(|row| usize::try_from(row).ok()).filter(|row| *row < ROWS_MAX).ok_or_else(misfit)?;
        if row >= self.rows.len() {
            // The server's clock may be ahead of this one.
            self.rows.resize(row + 1, Counts::default());
        }
        let Some(counts) = self.rows.get_mut(row) else { return Err(misfit()) };
        let count = match entry.verdict() {
            Verdict::Allow => &mut counts.allow,
            Verdict::Partial => &mut counts.partial,
            Verdict::Deny => &mut counts.deny,
            Verdict::Unspecified => &mut counts.other,
        };
        *count = count.saturating_add(entry.count.max(1));
        Ok(())
    }

    /// A line a row: when, how many, and a bar; the longest one ends at `width` columns.
    pub(super) fn human(&self, width: u16, colour: bool) -> String {
        let longest = self.rows.iter().map(Counts::drawn).max().unwrap_or(0);
        let mut columns = vec![
            Column::of("ALLOW", self.rows.iter().map(|row| row.allow)),
            Column::of("PARTIAL", self.rows.iter().map(|row| row.partial)),
            // Denials stand out.
            Column {
                style: if colour { DENY } else { "" },
                ..Column::of("DENY", self.rows.iter().map(|row| row.deny))
            },
        ];
        if self.rows.iter().any(|row| row.other > 0) {
            columns.push(Column::of("OTHER", self.rows.iter().map(|row| row.other)));
        }
        let taken = columns.iter().fold(WHEN_WIDTH + 2, |taken, column| taken + column.width);
        let room = usize::from(width).saturating_sub(taken).max(BAR_MIN);
        let when = match self.unit {
            Unit::Hour => "HOUR (UTC)",
            Unit::Day => "DAY (UTC)",
        };
        let headings = columns.iter().map(|column| format!("{:>1$}", column.heading, column.width));
        let mut text = format!("{when:<WHEN_WIDTH$}{}\n", headings.collect::<String>());
        for (row, (counts, start)) in self.starts().enumerate() {
            let cells = columns.iter().map(|column| column.cell(row)).collect::<String>();
            let line = format!("{:<WHEN_WIDTH$}{cells}  {}", self.when(start), counts.bar(longest, room, colour));
            text.push_str(line.trim_end());
            text.push('\n');
        }
        text
    }

    /// An object a row.
    pub(super) fn machine(&self) -> impl Iterator<Item = Value> {
        self.starts().map(|(counts, start)| {
            json!({
                "start": rfc3339(&start),
                "unit": self.unit.name(),
                "allow": counts.allow,
                "partial": counts.partial,
                "deny": counts.deny,
                "other": counts.other,
            })
        })
    }

    /// What the bars are made of.
    pub(super) fn legend(&self, colour: bool) -> String {
        let [allow, partial, deny] =
            BLOCKS.map(|(block, style)| if colour { format!("{style}█{PLAIN}") } else { block.to_string() });
        format!("{allow} allow  {partial} partial  {deny} deny")
    }

    fn starts(&self) -> impl Iterator<Item = (&Counts, Timestamp)> {
        let secs = (0..).map(|row: i64| self.first_secs.saturating_add(row.saturating_mul(self.unit.secs())));
        self.rows.iter().zip(secs).map(|(counts, seconds)| (counts, Timestamp { seconds, nanos: 0 }))
    }

    fn when(&self, start: Timestamp) -> String {
        let Some(time) = utc(&start) else { return String::new() };
        let (year, month, day) = (time.year(), u8::from(time.month()), time.day());
        match self.unit {
            Unit::Hour => format!("{month:02}-{day:02} {:02}:00", time.hour()),
            Unit::Day => format!("{year:04}-{month:02}-{day:02}"),
        }
    }
}

/// A column of numbers, as wide as it needs.
struct Column {
    heading: &'static str,
    cells: Vec<String>,
    width: usize,
    style: &'static str,
}

impl Column {
    fn of(heading: &'static str, counts: impl Iterator<Item = u64>) -> Self {
        let cells: Vec<_> = counts.map(|count| if count == 0 { "–".to_owned() } else { number(count) }).collect();
        let widest = cells.iter().map(|cell| cell.chars().count()).max().unwrap_or(0);
        Self { heading, cells, width: widest.max(heading.len()) + 2, style: "" }
    }

    fn cell(&self, row: usize) -> String {
        let cell = self.cells.get(row).map_or("", String::as_str);
        let cell_padded = format!("{cell:>0$}", self.width);
        if self.style.is_empty() || cell == "–" { cell_padded } else { format!("{}{cell_padded}{PLAIN}", self.style) }
    }
}

impl Counts {
    fn drawn(&self) -> u128 {
        [self.allow, self.partial, self.deny].into_iter().map(u128::from).sum()
    }

    /// A bar in proportion to the longest, in which whatever is there is seen: one denial among a million has its block.
    fn bar(&self, longest: u128, room: usize, colour: bool) -> String {
        let parts = [self.allow, self.partial, self.deny];
        let share = |of: u128, all: u128, room: usize| {
            let blocks = of.saturating_mul(u128::try_from(room).unwrap_or(0)) / all.max(1);
            let blocks = usize::try_from(blocks).unwrap_or(usize::MAX);
            if of > 0 { blocks.max(1) } else { 0 }
        };
        let kinds = parts.iter().filter(|count| **count > 0).count();
        let length = share(self.drawn(), longest, room).clamp(kinds, room.max(kinds));
        // The largest takes what the others leave: no less than a block, as it is a third of all at least.
        let mut blocks = parts.map(|count| share(count.into(), self.drawn(), length));
        let largest = (0..parts.len()).max_by_key(|at| parts.get(*at)).unwrap_or(0);
        let others: usize = blocks.iter().zip(0..).filter(|(_, at)| *at != largest).map(|(blocks, _)| blocks).sum();
        if let Some(blocks) = blocks.get_mut(largest) {
            *blocks = length.saturating_sub(others);
        }
        let mut bar = String::new();
        for ((block, style), count) in BLOCKS.into_iter().zip(blocks).filter(|(_, count)| *count > 0) {
            if colour {
                bar.push_str(&format!("{style}{}{PLAIN}", "█".repeat(count)));
            } else {
                bar.extend(std::iter::repeat_n(block, count));
            }
        }
        bar
    }
}

/// Allowed, in part, denied: as blocks of their own without colours, and in theirs with.
const BLOCKS: [(char, &str); 3] = [('█', "\x1b[32m"), ('▒', "\x1b[33m"), ('×', DENY)];
const DENY: &str = "\x1b[1;31m";
const PLAIN: &str = "\x1b[0m";
const ROWS_MAX: usize = 10_000;
const WHEN_WIDTH: usize = 11;
const BAR_MIN: usize = 10;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::failure::Exit;

    const NOW: i64 = 1_795_461_365;

    fn request(start: Option<i64>, end: Option<i64>) -> ListEntriesRequest {
        let at = |seconds| Timestamp { seconds, nanos: 0 };
        ListEntriesRequest { start_time: start.map(at), end_time: end.map(at), ..Default::default() }
    }

    fn entry(seconds: i64, verdict: Verdict, count: u64) -> AuditEntry {
        AuditEntry { time: Some(Timestamp { seconds, nanos: 1 }), verdict: verdict.into(), count, ..Default::default() }
    }

    #[test]
    fn rows_are_whole_hours_or_days_without_a_gap() {
        let mut open = request(None, None);
        let hours = Histogram::of(Unit::Hour, &mut open, NOW).unwrap();
        assert_eq!((hours.rows.len(), hours.first_secs % 3_600), (25, 0));
        assert_eq!(open.start_time.unwrap().seconds, hours.first_secs, "the first row is whole");
        assert_eq!(Histogram::of(Unit::Day, &mut request(None, None), NOW).unwrap().rows.len(), 31);
        let rows =
            |start, end| Histogram::of(Unit::Hour, &mut request(Some(start), Some(end)), NOW).map(|h| h.rows.len());
        for (start, end, count) in [(0, 1, 1), (0, 3_600, 1), (0, 3_601, 2), (3_599, 3_600, 1), (3_599, 7_201, 3)] {
            assert_eq!(rows(start, end).unwrap(), count, "{start} to {end}");
        }
        for (start, end) in
            [(7_200, 7_200), (7_200, 0), (0, 3_600 * 10_001), (i64::MIN, i64::MAX), (i64::MAX, i64::MIN)]
        {
            assert_eq!(rows(start, end).unwrap_err().exit(), Exit::Usage, "{start} to {end}");
        }
    }

    #[test]
    fn each_entry_is_in_its_row_and_a_count_counts() {
        let mut rows = Histogram::of(Unit::Hour, &mut request(Some(3_600), Some(3 * 3_600)), NOW).unwrap();
        for (secs, verdict, count) in [
            (3_600, Verdict::Allow, 0),
            (7_199, Verdict::Deny, 500),
            (7_200, Verdict::Partial, 1),
            (7_200, Verdict::Unspecified, 0),
            (3 * 3_600, Verdict::Allow, 0),
        ] {
            rows.add(&entry(secs, verdict, count)).unwrap();
        }
        let counted: Vec<_> = rows.machine().collect();
        assert_eq!(counted.len(), 3, "a row more, for a clock that is ahead");
        assert_eq!(
            counted[0],
            json!({"start": "1970-01-01T01:00:00Z", "unit": "hour", "allow": 1, "partial": 0, "deny": 500, "other": 0})
        );
        assert_eq!([&counted[1]["partial"], &counted[1]["other"], &counted[2]["allow"]], [1, 1, 1]);
        for stray in [3_599, i64::MIN, i64::MAX, 3_600 * 20_000] {
            assert!(rows.add(&entry(stray, Verdict::Allow, 0)).is_err(), "{stray}");
        }
        assert!(rows.add(&AuditEntry::default()).is_err(), "an entry without a time");
    }

    #[test]
    fn a_bar_shows_all_that_is_there_and_keeps_to_its_room() {
        let bar = |allow, partial, deny, longest| Counts { allow, partial, deny, other: 0 }.bar(longest, 10, false);
        assert_eq!(bar(10, 0, 0, 10), "██████████");
        assert_eq!(bar(1_000_000, 0, 1, 1_000_001), "█████████×");
        assert_eq!(bar(1, 1, 1, 1_000_000), "█▒×");
        assert_eq!(bar(0, 0, 5, 10), "×××××");
        assert_eq!(bar(0, 0, 0, 10), "");
        assert_eq!(bar(0, 0, 0, 0), "");
        let all = 3 * u128::from(u64::MAX);
        assert_eq!(bar(u64::MAX, u64::MAX, u64::MAX, all).chars().count(), 10);
        for allow in [0, 1, 5, 40] {
            for (partial, deny) in [(0, 1), (1, 1), (5, 1), (39, 1), (40, 40)] {
                let (drawn, bar) = (allow + partial + deny, bar(allow, partial, deny, 200));
                let seen = ['█', '▒', '×'].map(|block| bar.contains(block));
                assert_eq!(seen, [allow > 0, partial > 0, deny > 0], "{drawn} as {bar}");
                assert!(bar.chars().count() <= 10, "{bar}");
            }
        }
        let counts = Counts { allow: 1, partial: 0, deny: 1, other: 0 };
        assert_eq!(counts.bar(2, 10, true), format!("\x1b[32m█████{PLAIN}{DENY}█████{PLAIN}"));
    }

    #[test]
    fn lines_keep_to_the_width_and_colour_only_where_it_is_asked_for() {
        let mut rows = Histogram::of(Unit::Day, &mut request(Some(0), Some(3 * 86_400)), NOW).unwrap();
        rows.add(&entry(0, Verdict::Deny, 1_234_567)).unwrap();
        rows.add(&entry(86_400, Verdict::Unspecified, 1)).unwrap();
        for width in [60, 100, 160] {
            let text = rows.human(width, false);
            assert_eq!(text.lines().map(|line| line.chars().count()).max(), Some(width.into()), "{text}");
            assert!(!text.contains('\x1b'));
        }
        assert!(rows.human(80, true).contains(&format!("{DENY}  1,234,567{PLAIN}")));
        assert!(rows.legend(true).contains('\x1b') && !rows.legend(false).contains('\x1b'));
    }
}
