//! `privet audit list`: entries page by page, or how many of them there were an hour or a day.

use clap::Args;

use super::{
    super::{
        answer::{put, put_json},
        client::Clients,
        failure::{Exit, Failure},
        names::Names,
        options::Connection,
        table::{self, number},
        terminal::Terminal,
    },
    bars::{Histogram, Unit},
    entry,
    filter::{Filter, Span},
    pages::{PAGE_MAX, Pages, Progress},
};
use crate::{
    clock::{Clock, SystemClock},
    proto::v1::{ListEntriesRequest, Order},
};

/// List entries, newest first, or draw how many; reading is itself recorded
#[derive(Args)]
#[command(after_help = "\
Examples:
  privet audit list --since 15m --verdict deny
  privet audit list --by hour --class pii/billing/tax_id
  privet audit list --class pii/billing/tax_id --oldest-first --limit 0 --json > entries.jsonl")]
pub struct List {
    #[command(flatten)]
    filter: Filter,
    #[command(flatten)]
    span: Span,
    /// Draw a bar for each instead [default --since: 24h, 30d]
    #[arg(long, value_enum, value_name = "hour|day", hide_possible_values = true)]
    #[arg(conflicts_with_all = ["oldest_first", "limit"])]
    by: Option<Unit>,
    /// Oldest entries first
    #[arg(long)]
    oldest_first: bool,
    /// At most so many entries (0: all)
    #[arg(long, value_name = "N", default_value_t = 50)]
    limit: u64,
    /// Entries asked for at once
    #[arg(long, value_name = "N", default_value_t = 200, value_parser = clap::value_parser!(u16).range(1..=1_000))]
    page_size: u16,
    #[command(flatten)]
    connection: Connection,
}

impl List {
    pub(super) async fn run(self, terminal: &Terminal) -> Result<Exit, Failure> {
        let now_micros = SystemClock::start().wall_micros();
        let order = if self.oldest_first || self.by.is_some() { Order::OldestFirst } else { Order::NewestFirst };
        let mut request = self.filter.list(&self.span, order, now_micros)?;
        let Some(unit) = self.by else {
            let limit = if self.limit == 0 { u64::MAX } else { self.limit };
            let clients = self.connection.open().await?;
            return list(clients, request, limit, self.page_size, put, terminal).await;
        };
        let now_secs = i64::try_from(now_micros / 1_000_000).unwrap_or(i64::MAX);
        let histogram = Histogram::of(unit, &mut request, now_secs)?;
        let histogram = count(self.connection.open().await?, request, histogram, now_secs, terminal).await?;
        if terminal.json {
            histogram.machine().try_for_each(|row| put_json(&row))?;
        } else {
            put(histogram.human(table::width(), terminal.colour_stdout()).as_bytes())?;
        }
        if terminal.details() {
            eprintln!("{}", histogram.legend(terminal.colour_stderr()));
        }
        Ok(Exit::Ok)
    }
}

async fn list(
    clients: Clients,
    request: ListEntriesRequest,
    limit: u64,
    page_size: u16,
    mut show: impl FnMut(&[u8]) -> Result<(), Failure>,
    terminal: &Terminal,
) -> Result<Exit, Failure> {
    let mut pages = Pages::new(clients, request);
    let mut names = Names::default();
    let mut listed = 0_u64;
    while listed < limit {
        let size_max = u16::try_from(limit - listed).unwrap_or(u16::MAX).min(page_size);
        let Some(entries) = pages.next(size_max).await? else {
            return Ok(ended(listed, false, &names, terminal));
        };
        if terminal.json {
            entries.iter().try_for_each(|entry| show(entry::json_line(entry).as_bytes()))?;
        } else if !entries.is_empty() {
            show(entry::human(&entries, &mut names, listed == 0, terminal).as_bytes())?;
        }
        listed = listed.saturating_add(u64::try_from(entries.len()).unwrap_or(u64::MAX));
    }
    Ok(ended(listed, true, &names, terminal))
}

/// Counts all entries that match into their rows.
async fn count(
    clients: Clients,
    request: ListEntriesRequest,
    mut histogram: Histogram,
    now_secs: i64,
    terminal: &Terminal,
) -> Result<Histogram, Failure> {
    let start = request.start_time.map(|time| time.seconds);
    let end = request.end_time.map_or(now_secs, |time| time.seconds.min(now_secs));
    let mut progress = Progress::new(start, end, terminal);
    let mut pages = Pages::new(clients, request);
    let counted = loop {
        match pages.next(PAGE_MAX).await {
            Ok(Some(entries)) => {
                progress.page(&entries);
                if let Err(failure) = entries.iter().try_for_each(|entry| histogram.add(entry)) {
                    break Err(failure);
                }
            }
            Ok(None) => break Ok(histogram),
            Err(failure) => break Err(failure),
        }
    };
    progress.finish();
    counted
}

fn ended(listed: u64, more: bool, names: &Names, terminal: &Terminal) -> Exit {
    if terminal.details() {
        names.tell();
        let plural = if listed == 1 { "y" } else { "ies" };
        let more = if more { "; there may be more (--limit)" } else { "" };
        eprintln!("{} entr{plural}{more}", number(listed));
    }
    Exit::Ok
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::{audit::golden, client::fake::audit as fake};

    const PLAIN: Terminal = Terminal { json: false, quiet: true, stdout: false, stderr: false, colours: false };

    fn request(order: Order) -> ListEntriesRequest {
        ListEntriesRequest { tenant: "acme".into(), order: order.into(), ..Default::default() }
    }

    async fn listed(log: &fake::Log, limit: u64, page_size: u16, terminal: &Terminal) -> String {
        let mut shown = Vec::new();
        let show = |bytes: &[u8]| {
            shown.extend_from_slice(bytes);
            Ok(())
        };
        list(log.clients().await, request(Order::NewestFirst), limit, page_size, show, terminal).await.unwrap();
        String::from_utf8(shown).unwrap()
    }

    #[tokio::test]
    async fn a_list_is_the_golden_one_on_pages_of_any_size() {
        let log = fake::Log::of(golden::entries());
        let whole = listed(&log, u64::MAX, 1_000, &PLAIN).await;
        golden::check("list.txt", &whole);
        for page_size in [1, 2, 3, 7] {
            assert_eq!(listed(&log, u64::MAX, page_size, &PLAIN).await, whole, "pages of {page_size}");
        }
        let three = listed(&log, 3, 2, &PLAIN).await;
        assert!(whole.starts_with(&three), "{three}");
        assert_eq!(three.lines().filter(|line| line.starts_with(|c: char| c.is_ascii_digit())).count(), 3);
        let json = listed(&log, 4, 3, &Terminal { json: true, ..PLAIN }).await;
        assert_eq!(json.lines().count(), 4);
        assert!(json.lines().all(|line| serde_json::from_str::<serde_json::Value>(line).is_ok()));
    }

    #[tokio::test]
    async fn hostile_text_in_an_entry_drives_no_terminal() {
        let log = fake::Log::of(vec![golden::hostile()]);
        for terminal in [PLAIN, Terminal { json: true, ..PLAIN }] {
            let text = listed(&log, 10, 10, &terminal).await;
            assert!(!text.contains(|c: char| c != '\n' && c.is_control() || c == '\u{202e}'), "{text:?}");
        }
    }

    #[tokio::test]
    async fn a_server_that_turns_the_same_page_for_ever_is_left() {
        let log = fake::Log::of(golden::entries());
        log.set(fake::Tamper::SamePage);
        let mut pages = Pages::new(log.clients().await, request(Order::NewestFirst));
        assert!(pages.next(2).await.is_ok());
        assert!(pages.next(2).await.is_err());
        log.set(fake::Tamper::LongPage);
        assert!(Pages::new(log.clients().await, request(Order::NewestFirst)).next(2).await.is_err());
    }

    #[tokio::test]
    async fn bars_are_the_golden_ones() {
        let log = fake::Log::of(golden::day());
        for (unit, file) in [(Unit::Hour, "by-hour.txt"), (Unit::Day, "by-day.txt")] {
            let mut request = request(Order::OldestFirst);
            let histogram = Histogram::of(unit, &mut request, golden::NOW_SECS).unwrap();
            let histogram = count(log.clients().await, request, histogram, golden::NOW_SECS, &PLAIN).await.unwrap();
            golden::check(file, &histogram.human(80, false));
        }
    }
}
