//! What `privet dev` says: a screenful that someone who has never seen it understands.

use std::{
    borrow::Cow,
    env,
    fmt::Write as _,
    io::{self, Write as _},
    net::SocketAddr,
    path::Path,
};

use super::{
    bulk::TENANT,
    entry::Entry,
    scenario::{Masked, Outcome, Step},
};
use crate::cli::{
    table::number,
    terminal::{Terminal, printable},
};

/// All that there is to say.
pub(super) struct Report<'a> {
    pub(super) dir: &'a Path,
    pub(super) address: SocketAddr,
    pub(super) resumed: bool,
    /// The policy files that are not as shipped.
    pub(super) edited: &'a [&'static str],
    /// Whether the server goes on.
    pub(super) stays: bool,
    pub(super) outcome: &'a Outcome,
}

impl Report<'_> {
    /// Says it on standard output. That nobody reads it is no reason to stop serving.
    pub(super) fn print(&self, terminal: &Terminal) {
        let paint = Paint { colours: terminal.colour_stdout() };
        let text = match (terminal.json, terminal.quiet) {
            (true, _) => format!("{}\n", self.json()),
            (false, true) => self.steps(paint),
            (false, false) => self.text(paint, &program()),
        };
        let mut out = io::stdout().lock();
        let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    }

    fn json(&self) -> serde_json::Value {
        serde_json::json!({
            "dir": self.dir,
            "address": self.address,
            "resumed": self.resumed,
            "held": self.outcome.held(),
            "edited_policies": self.edited,
            "customers": self.outcome.customers,
            "values": self.outcome.values,
            "steps": self.outcome.steps,
            "masks": self.outcome.masks,
            "log": self.outcome.log,
        })
    }

    fn text(&self, paint: Paint, program: &str) -> String {
        let outcome = self.outcome;
        let mut lines = Lines::default();
        let began = if self.resumed { "resumed" } else { "made" };
        let what = format!("{began}; tenant {TENANT} on {}, mutual TLS 1.3", self.address);
        let dir = self.dir.display().to_string();
        let dir = cut(&dir, COLUMNS.saturating_sub("privet dev:  ".len() + what.len()));
        lines.add(format_args!("{} {dir} {what}", paint.text("1", "privet dev:")));
        lines.add("");
        let (customers, values) = (number(outcome.customers as u64), number(outcome.values as u64));
        lines.add(format_args!(
            "{customers} invented customers with {values} values of 11 classes, over real connections:"
        ));
        lines.0.push_str(&self.steps(paint));
        if !outcome.masks.is_empty() {
            lines.add("\nWhat support-desk sees of the first customer, masked:");
        }
        for Masked { class, value, mask } in &outcome.masks {
            let class = class.rsplit('/').next().unwrap_or_default();
            let (mask, value) = (printable(mask), format!("for {}", printable(value)));
            let mask = cut(&mask, MASK);
            let value = paint.text("2", &cut(&value, COLUMNS - 17 - mask.chars().count()));
            lines.add(format_args!("   {class:<11}{mask}   {value}"));
        }
        if !outcome.log.is_empty() {
            lines.add("\nThe access log, newest first, as the auditor reads it:");
            lines.add(paint.text("2", &row(["entry", "who", "did", "purpose", "verdict", "what"])));
        }
        for Entry { index, who, did, purpose, verdict, what } in &outcome.log {
            let code = if verdict == "deny" { "31" } else { "0" };
            lines.add(paint.text(code, &row([&index.to_string(), who, did, purpose, verdict, what])));
        }
        if !outcome.held() {
            lines.add("");
            self.blame().lines().for_each(|line| lines.add(paint.text("31", line)));
        } else if self.stays {
            lines.add("");
            self.next(&mut lines, program);
        }
        if self.stays {
            lines.add("\nServing until Ctrl-C.");
        }
        lines.0
    }

    /// A line for each step. What went wrong is never cut: it goes on below.
    fn steps(&self, paint: Paint) -> String {
        let mut lines = Lines::default();
        for Step { done, held, what, millis } in &self.outcome.steps {
            let mark = if *held { paint.text("32", "✓") } else { paint.text("31", "✗") };
            let (done, millis) = (done.as_str(), format!("{millis:>5} ms"));
            let room = COLUMNS - 13 - millis.len();
            let what = printable(what);
            let (what, mut rest) = if *held {
                (cut(&what, room), "")
            } else {
                let (first, rest) = split(&what, room);
                (first.into(), rest)
            };
            lines.add(format_args!(" {mark} {done:<9}{what:<room$} {}", paint.text("2", &millis)));
            while !rest.is_empty() {
                let (line, after) = split(rest, COLUMNS - 12);
                lines.add(format_args!("{:12}{line}", ""));
                rest = after;
            }
        }
        lines.0
    }

    /// What to type next, whole, so that it can be pasted.
    fn next(&self, lines: &mut Lines, program: &str) {
        let program = shell_word(program);
        let identity = |name: &str| shell_word(&self.dir.join("identities").join(name).display().to_string());
        lines.add("Next, in another terminal:");
        let email = "--class pii/account/email";
        lines.add(format_args!("   export PRIVET_TENANT={TENANT}"));
        lines.add(format_args!("   printf %s anna@example.com | {program} encrypt {email} \\"));
        let who = identity("signup-service");
        lines.add(format_args!("       --subject cust-42 --purpose signup --identity {who} > sealed"));
        lines.add(format_args!("   {program} decrypt {email} < sealed \\"));
        let who = identity("support-desk");
        lines.add(format_args!("       --subject cust-42 --purpose support-ticket --identity {who}"));
        lines.add(format_args!("   {program} audit list --identity {} --limit 5", identity("auditor")));
        let key = shell_word(&format!("@{}", self.dir.join("log.vkey").display()));
        lines.add(format_args!("   {program} audit verify --verifier-key {key} \\"));
        lines.add(format_args!("       --identity {}", identity("auditor")));
        if Path::new(PYTHON_CLIENT).exists() {
            let dir = shell_word(&self.dir.display().to_string());
            lines.add(format_args!("   python3 {PYTHON_CLIENT} {dir}   # the same from Python; needs grpcio-tools"));
        }
    }

    fn blame(&self) -> String {
        let dir = self.dir.display();
        if self.edited.is_empty() {
            return format!(
                "A step did not hold. Unless you edited {dir}/privet.toml or {dir}/policies,\n\
                 that is a defect: please report it with the lines above."
            );
        }
        format!(
            "A step did not hold, and of {dir}/policies these are not as shipped:\n{}.\n\
             Remove them to have them back as shipped.",
            self.edited.join(", ")
        )
    }
}

#[derive(Default)]
struct Lines(String);

impl Lines {
    fn add(&mut self, line: impl std::fmt::Display) {
        // Nothing fails that is written to a string.
        let _ = writeln!(self.0, "{line}");
    }
}

/// Colours, or none.
#[derive(Clone, Copy)]
struct Paint {
    colours: bool,
}

impl Paint {
    fn text(self, code: &str, text: &str) -> String {
        if self.colours { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

/// As much of a text as has room, ended by an ellipsis if that is not all.
fn cut(text: &str, room: usize) -> Cow<'_, str> {
    if text.chars().count() <= room {
        return text.into();
    }
    format!("{}…", split(text, room.saturating_sub(1)).0.trim_end()).into()
}

/// The first so many characters, and the others.
fn split(text: &str, at: usize) -> (&str, &str) {
    let at = text.char_indices().nth(at).map_or(text.len(), |(at, _)| at);
    text.split_at_checked(at).unwrap_or((text, ""))
}

/// A line of the log.
fn row([entry, who, did, purpose, verdict, what]: [&str; 6]) -> String {
    let line = format!("{entry:>7}  {who:<15}  {did:<8}  {purpose:<15}  {verdict:<7}  {what}");
    cut(&printable(line.trim_end()), COLUMNS).into_owned()
}

/// How this program was started, as one would type it again.
fn program() -> String {
    env::args().next().unwrap_or_else(|| "privet".to_owned())
}

/// One word to a shell.
fn shell_word(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "._/-+:@%".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        text.to_owned()
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}

/// Lies beside the sources.
const PYTHON_CLIENT: &str = "tests/clients/client.py";
/// As wide as a line may be.
const COLUMNS: usize = 100;
/// As wide as a mask may be.
const MASK: usize = 40;

#[cfg(test)]
mod tests {
    use super::{super::scenario::Done, *};

    const PLAIN: Paint = Paint { colours: false };

    /// What real runs say, at its longest.
    fn outcome(held: bool) -> Outcome {
        let step = |(done, what): (Done, &str)| Step { done, held, what: what.to_owned(), millis: 12_345 };
        let steps = [
            (Done::Sealed, "17,498 values by signup-service, 7,845 by billing-service"),
            (Done::Opened, "10,345 by billing-service, 250 of 25 customers by privacy-officer: as sealed"),
            (Done::Masked, "150 values of account data, as support-desk recognises a customer"),
            (Done::Guarded, "100 of 100 more from privacy-officer: at most 30 customers a minute"),
            (Done::Denied, "a tax id to support-desk (wrong role), to billing for signup (wrong purpose)"),
            (Done::Refused, "one customer's e-mail address presented as another's: INVALID_CIPHERTEXT"),
            (Done::Recorded, "1,234 entries: 1,232 allowed, 2 denied; all 1,232 receipts found in the log"),
            (Done::Proved, "the signed root recomputed from all 1,240 entries; all 1,232 receipts lead to it"),
        ];
        let masked =
            |(class, value, mask): (&'static str, &str, &str)| Masked { class, value: value.into(), mask: mask.into() };
        let masks = [
            ("pii/account/name", "Dr. Philippa-Jane Featherstonehaugh-Cholmondeley of Wherever", "D••• P•••"),
            ("pii/account/email", "philippa@mail.example", "p•••@mail.example"),
            ("pii/account/phone", "+44 20 7946 0000", "•••• 0000"),
            ("pii/account/ip_address", "2001:db8:85a3:8d3:1319:8a2e:370:7348", "2001:db8:85a3::•••"),
        ];
        let entry = |what: &str| Entry {
            index: 1_234_567,
            who: "privacy-officer".into(),
            did: "decrypt".into(),
            purpose: "subject-request".into(),
            verdict: "allow".into(),
            what: what.into(),
        };
        Outcome {
            customers: 2_500,
            values: 25_343,
            steps: steps.map(step).into(),
            masks: masks.map(masked).into(),
            log: ["250 values of 11 classes: invalid ciphertext", "", "1 audit: allowed"].map(entry).into(),
        }
    }

    fn report<'a>(outcome: &'a Outcome, dir: &'a str, edited: &'a [&'static str]) -> Report<'a> {
        let address = "127.0.0.1:7443".parse().unwrap();
        Report { dir: Path::new(dir), address, resumed: false, edited, stays: true, outcome }
    }

    #[test]
    fn a_report_is_one_screenful() {
        for held in [true, false] {
            let outcome = outcome(held);
            let text = report(&outcome, ".privet-dev", &[]).text(PLAIN, "./target/release/privet");
            assert!(text.lines().count() <= 40, "{text}");
            let wide: Vec<_> = text.lines().filter(|line| line.chars().count() > COLUMNS).collect();
            assert!(wide.is_empty(), "{wide:#?}");
            assert_eq!(text.contains('✓'), held);
            assert_eq!(text.contains("please report"), !held);
            assert!(text.ends_with("Ctrl-C.\n") && !text.contains('\x1b'));
        }
    }

    #[test]
    fn what_is_cut_ends_in_an_ellipsis_and_what_went_wrong_is_not_cut() {
        let mut outcome = outcome(true);
        let text = report(&outcome, &"d".repeat(200), &[]).text(PLAIN, "privet");
        for cut in ["d… made; tenant", "12345 ms", "allow    250 values of 11 classes: invalid cip…\n"] {
            assert!(text.contains(cut), "{cut}: {text}");
        }
        let step = outcome.steps.last_mut().unwrap();
        (step.held, step.what) = (false, format!("{} the end", "why é ".repeat(50)));
        let steps = report(&outcome, "d", &[]).steps(PLAIN);
        assert!(steps.lines().all(|line| line.chars().count() <= COLUMNS), "{steps}");
        let failed = steps.split_once('✗').unwrap().1;
        assert!(failed.trim_end().ends_with("the end") && !failed.contains('…'), "{steps}");
        assert_eq!([cut("Zoë", 3), cut("Zoë!", 3), cut("", 0)], ["Zoë", "Zo…", ""]);
    }

    #[test]
    fn a_run_that_ends_does_not_speak_of_one_that_stays() {
        let outcome = outcome(true);
        let text = Report { stays: false, ..report(&outcome, ".privet-dev", &[]) }.text(PLAIN, "privet");
        assert!(!text.contains("Next") && !text.contains("Serving") && !text.ends_with("\n\n"), "{text}");
    }

    #[test]
    fn quiet_is_a_line_for_each_step() {
        let outcome = outcome(true);
        let steps = report(&outcome, ".privet-dev", &[]).steps(PLAIN);
        assert_eq!((steps.lines().count(), steps.matches('✓').count()), (8, 8), "{steps}");
    }

    #[test]
    fn a_policy_that_was_edited_is_named_before_a_defect_is_suspected() {
        let outcome = outcome(false);
        let text = report(&outcome, ".privet-dev", &["policy.csv"]).text(PLAIN, "privet");
        assert!(text.contains("policy.csv") && !text.contains("please report"), "{text}");
        let unknown = report(&outcome, ".privet-dev", &[]).text(PLAIN, "privet");
        assert!(unknown.contains("Unless you edited") && unknown.contains(".privet-dev/policies"), "{unknown}");
        let held = self::outcome(true);
        assert!(!report(&held, ".privet-dev", &["policy.csv"]).text(PLAIN, "privet").contains("policy.csv"));
    }

    #[test]
    fn commands_can_be_pasted_whatever_the_directory_is_called() {
        let outcome = outcome(true);
        let text = report(&outcome, "it's mine", &[]).text(PLAIN, "/opt/my tools/privet");
        assert!(text.contains(r"--identity 'it'\''s mine/identities/support-desk'"), "{text}");
        assert_eq!(shell_word(".privet-dev"), ".privet-dev");
        assert_eq!(["", "$HOME", "a;b", "~"].map(shell_word), ["''", "'$HOME'", "'a;b'", "'~'"]);
    }

    #[test]
    fn machines_get_all_of_it() {
        let outcome = outcome(true);
        let json = report(&outcome, ".privet-dev", &[]).json();
        assert_eq!((json["held"].as_bool(), json["steps"].as_array().unwrap().len()), (Some(true), 8));
        assert_eq!(json["steps"][0]["done"], "sealed");
        assert_eq!(json["address"], "127.0.0.1:7443");
    }
}
