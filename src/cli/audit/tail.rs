//! `privet audit tail`: entries as they are recorded, until Ctrl-C.
//!
//! A connection that breaks is made again, with pauses that grow, and the tail goes on behind the last entry that was shown:
//! none is missed and none comes twice. That a server ends a tail in good order, as it does with every old connection, is not
//! worth a word. It gives up when ten attempts in a row came to nothing. What the server refuses is
//! not asked again, nor is a server that never answered.

use std::time::Duration;

use clap::Args;
use tokio::time::{sleep, timeout};

use super::{
    super::{
        answer::{misfit, put},
        client::Clients,
        failure::{Exit, Failure},
        names::Names,
        options::Connection,
        table::number,
        terminal::{Terminal, printable},
    },
    entry,
    filter::Filter,
};
use crate::proto::v1::{AuditEntry, TailEntriesRequest, TailEntriesResponse};

/// Show entries as they are recorded, until Ctrl-C
#[derive(Args)]
#[command(after_help = "\
Examples:
  privet audit tail --verdict deny
  privet audit tail --json --from 0 | your-collector")]
pub struct Tail {
    #[command(flatten)]
    filter: Filter,
    /// Begin at this entry, instead of with what is recorded from now on
    #[arg(long, value_name = "INDEX")]
    from: Option<u64>,
    #[command(flatten)]
    connection: Connection,
}

impl Tail {
    pub(super) async fn run(self, terminal: &Terminal) -> Result<Exit, Failure> {
        let request = self.filter.tail(self.from)?;
        let mut names = Names::default();
        let show = |entries: &[AuditEntry], first: bool| {
            if terminal.json {
                return entries.iter().try_for_each(|entry| put(entry::json_line(entry).as_bytes()));
            }
            put(entry::live(entries, &mut names, first, terminal).as_bytes())
        };
        let connect = async || self.connection.clone().open().await;
        // A note is for people and for logs alike: a tail that fell silent without one could not be told from a quiet log.
        let note = |text: &str| eprintln!("{}", printable(text));
        let ended = tokio::select! {
            ended = follow(request, connect, show, note, &PAUSES) => ended,
            interrupted = tokio::signal::ctrl_c() => interrupted.map_err(Failure::output),
        };
        if terminal.details() {
            names.tell();
        }
        ended.map(|()| Exit::Ok)
    }
}

/// Follows the log, and returns only with a failure.
async fn follow(
    mut request: TailEntriesRequest,
    connect: impl AsyncFn() -> Result<Clients, Failure>,
    mut show: impl FnMut(&[AuditEntry], bool) -> Result<(), Failure>,
    note: impl Fn(&str),
    pauses: &[Duration],
) -> Result<(), Failure> {
    let (mut first, mut failed, mut heard) = (true, 0, false);
    // Whoever asks wrongly, or whose server is not there, is told at once.
    let mut clients = Some(connect().await?);
    loop {
        let mut progress = Reached { request: &mut request, first: &mut first, failed: &mut failed, heard: &mut heard };
        let broken = match attempt(clients.take(), &connect, &mut show, &mut progress).await {
            Broken::Now(failure) if heard => failure,
            Broken::Now(failure) | Broken::For(failure) => return Err(failure),
            Broken::Ended if failed == 0 => {
                failed = 1;
                sleep(*pauses.first().unwrap_or(&Duration::ZERO)).await;
                continue;
            }
            Broken::Ended => Failure::unavailable("the server ended the tail"),
        };
        let Some(pause) = pauses.get(failed) else { return Err(broken) };
        failed += 1;
        let from = match request.start_index {
            Some(index) => format!("entry {}", number(index)),
            None => "what is recorded then; what is recorded meanwhile is not shown".to_owned(),
        };
        note(&format!("{broken}; trying again in {} s, from {from}", pause.as_secs_f32()));
        sleep(*pause).await;
    }
}

/// How a tail broke off.
enum Broken {
    /// Another attempt may do better.
    Now(Failure),
    /// Not worth another attempt.
    For(Failure),
    /// By the server, in good order.
    Ended,
}

/// How far a tail has come.
struct Reached<'t> {
    /// From where to go on.
    request: &'t mut TailEntriesRequest,
    /// Nothing was shown yet.
    first: &'t mut bool,
    /// Attempts in a row that came to nothing.
    failed: &'t mut usize,
    /// The server has taken the question once.
    heard: &'t mut bool,
}

/// Follows the log over one connection until that breaks.
async fn attempt(
    clients: Option<Clients>,
    connect: &impl AsyncFn() -> Result<Clients, Failure>,
    show: &mut impl FnMut(&[AuditEntry], bool) -> Result<(), Failure>,
    reached: &mut Reached<'_>,
) -> Broken {
    let clients = match clients {
        Some(clients) => clients,
        None => match connect().await {
            Ok(clients) => clients,
            Err(failure) => return worth(failure),
        },
    };
    let mut messages = match clients.audit().tail_entries(reached.request.clone()).await {
        Ok(answer) => answer.into_inner(),
        Err(status) => return worth(status.into()),
    };
    *reached.heard = true;
    loop {
        let TailEntriesResponse { entries, next_index, .. } = match timeout(SILENCE_MAX, messages.message()).await {
            Ok(Ok(Some(message))) => message,
            Ok(Ok(None)) => return Broken::Ended,
            Ok(Err(status)) => return worth(status.into()),
            Err(_) => return Broken::Now(Failure::unavailable("the server has said nothing for 3 minutes")),
        };
        if !in_order(reached.request.start_index, &entries, next_index) {
            return Broken::For(misfit());
        }
        if !entries.is_empty() {
            if let Err(failure) = show(&entries, *reached.first) {
                return Broken::For(failure);
            }
            *reached.first = false;
        }
        reached.request.start_index = Some(next_index);
        *reached.failed = 0;
    }
}

/// Whether these entries go on where the last ones ended, and end where the next ones begin.
fn in_order(start: Option<u64>, entries: &[AuditEntry], next: u64) -> bool {
    let indexes = || entries.iter().map(|entry| entry.index);
    let rising = indexes().zip(indexes().skip(1)).all(|(one, other)| one < other);
    let begins = indexes().next().is_none_or(|index| start.is_none_or(|start| index >= start));
    let ends = indexes().next_back().is_none_or(|index| index < next);
    rising && begins && ends && start.is_none_or(|start| next >= start)
}

fn worth(failure: Failure) -> Broken {
    match failure.exit() {
        Exit::Unavailable => Broken::Now(failure),
        Exit::Ok | Exit::Refused | Exit::Usage => Broken::For(failure),
    }
}

/// How long to wait before each further attempt.
const PAUSES: [Duration; 10] = [
    Duration::from_millis(500),
    Duration::from_secs(1),
    Duration::from_secs(2),
    Duration::from_secs(4),
    Duration::from_secs(8),
    Duration::from_secs(16),
    Duration::from_secs(30),
    Duration::from_secs(30),
    Duration::from_secs(30),
    Duration::from_secs(30),
];
/// The server speaks once a minute at least.
const SILENCE_MAX: Duration = Duration::from_secs(180);

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;
    use crate::cli::{audit::golden, client::fake::audit as fake};

    const PLAIN: Terminal = Terminal { json: false, quiet: true, stdout: false, stderr: false, colours: false };
    const QUICK: [Duration; 3] = [Duration::from_millis(1); 3];

    struct Followed {
        text: String,
        indexes: Vec<u64>,
        notes: Vec<String>,
        failure: Failure,
    }

    async fn followed(log: &fake::Log, start_index: Option<u64>) -> Followed {
        let request = TailEntriesRequest { tenant: "acme".into(), start_index, ..Default::default() };
        let (mut text, mut indexes, notes) = (String::new(), Vec::new(), RefCell::default());
        let mut names = Names::default();
        let show = |entries: &[AuditEntry], first: bool| {
            indexes.extend(entries.iter().map(|entry| entry.index));
            text.push_str(&entry::live(entries, &mut names, first, &PLAIN));
            Ok(())
        };
        let note = |note: &str| RefCell::<Vec<String>>::borrow_mut(&notes).push(note.to_owned());
        let failure = follow(request, async || Ok(log.clients().await), show, note, &QUICK).await.unwrap_err();
        Followed { text, indexes, notes: notes.into_inner(), failure }
    }

    #[tokio::test]
    async fn a_broken_tail_goes_on_where_it_was_without_a_gap_or_a_repetition() {
        let log = fake::Log::of(golden::entries());
        let whole: Vec<u64> = (0..log.size()).collect();
        for each in 1..5 {
            log.set(fake::Tamper::BreakAfter(each));
            let tail = followed(&log, Some(0)).await;
            assert_eq!(tail.indexes, whole, "broken after each {each}");
            // At the end of the log the fake breaks off at once, until the tail gives up.
            assert_eq!(tail.failure.exit(), Exit::Unavailable);
            assert!(
                tail.notes.iter().any(|note| note.ends_with(&format!("from entry {}", whole.len()))),
                "{:?}",
                tail.notes
            );
        }
    }

    #[tokio::test]
    async fn a_tail_that_the_server_ends_in_good_order_goes_on_without_a_word() {
        let log = fake::Log::of(golden::entries());
        log.set(fake::Tamper::EndAfter(5));
        let tail = followed(&log, Some(0)).await;
        assert_eq!(tail.indexes, (0..log.size()).collect::<Vec<_>>());
        // At the end of the log the fake ends it at once, which is in no order.
        assert_eq!((tail.notes.len(), tail.failure.exit()), (QUICK.len() - 1, Exit::Unavailable), "{:?}", tail.notes);
        assert!(
            tail.notes.iter().all(|note| note.ends_with(&format!("from entry {}", log.size()))),
            "{:?}",
            tail.notes
        );
    }

    #[tokio::test]
    async fn a_tail_is_the_golden_one_however_it_comes() {
        let log = fake::Log::of(golden::entries());
        for each in [1, 3, 100] {
            log.set(fake::Tamper::BreakAfter(each));
            golden::check("tail.txt", &followed(&log, Some(0)).await.text);
        }
    }

    #[tokio::test]
    async fn attempts_in_vain_are_bounded_and_told_of() {
        let log = fake::Log::of(golden::entries());
        log.set(fake::Tamper::BreakAfter(0));
        let tail = followed(&log, None).await;
        assert_eq!((tail.notes.len(), tail.failure.exit()), (QUICK.len(), Exit::Unavailable));
        assert!(tail.notes[0].contains("trying again in 0.001 s, from what is recorded then"), "{:?}", tail.notes);
    }

    #[tokio::test]
    async fn what_is_refused_or_does_not_fit_is_not_asked_again() {
        let log = fake::Log::of(golden::entries());
        for (tamper, exit) in [
            (fake::Tamper::Denied, Exit::Refused),
            (fake::Tamper::Repeat, Exit::Unavailable),
            (fake::Tamper::Away, Exit::Unavailable),
        ] {
            log.set(tamper);
            let tail = followed(&log, Some(0)).await;
            assert_eq!((tail.notes.len(), tail.failure.exit()), (0, exit), "{tamper:?}");
        }
    }

    #[test]
    fn messages_go_on_where_the_last_one_ended() {
        let entries = |indexes: &[u64]| -> Vec<_> {
            indexes.iter().map(|index| AuditEntry { index: *index, ..Default::default() }).collect()
        };
        for (start, indexes, next, right) in [
            (None, &[][..], 0, true),
            (None, &[5], 6, true),
            (Some(5), &[5, 6, 9], 10, true),
            (Some(5), &[5], 20, true),
            (Some(5), &[], 5, true),
            (Some(5), &[], 4, false),
            (Some(5), &[4], 6, false),
            (Some(5), &[6, 6], 7, false),
            (Some(5), &[7, 6], 8, false),
            (Some(5), &[5, 6], 6, false),
        ] {
            assert_eq!(in_order(start, &entries(indexes), next), right, "{start:?} {indexes:?} {next}");
        }
    }
}
