//! What `privet dev` says: a screenful that someone who has never seen it understands.

use std::{
    env,
    fmt::Write as _,
    io::{self, Write as _},
    net::SocketAddr,
    path::Path,
};

use super::{
    bulk::TENANT,
    scenario::{Entry, Masked, Outcome, Step},
};
use crate::cli::{table::number, terminal::printable};

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
    pub(super) fn print(&self, json: bool, colours: bool) {
        let text = if json { format!("{}\n", self.json()) } else { self.text(colours, &program()) };
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

    fn text(&self, colours: bool, program: &str) -> String {
        let paint =
            |code: &str, text: &str| if colours { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() };
        let outcome = self.outcome;
        let mut lines = Lines::default();
        let began = if self.resumed { "resumed" } else { "made" };
        lines.add(format_args!(
            "{} {} {began}; tenant {TENANT} on {}, mutual TLS 1.3",
            paint("1", "privet dev:"),
            self.dir.display(),
            self.address
        ));
        lines.add("");
        let (customers, values) = (number(outcome.customers as u64), number(outcome.values as u64));
        lines.add(format_args!(
            "{customers} invented customers with {values} values of 11 classes, over real connections:"
        ));
        for Step { done, held, what, millis } in &outcome.steps {
            let mark = if *held { paint("32", "✓") } else { paint("31", "✗") };
            let millis = paint("2", &format!("{millis:>5} ms"));
            lines.add(format_args!(" {mark} {done:<9}{:<79} {millis}", printable(what)));
        }
        if !outcome.masks.is_empty() {
            lines.add("\nWhat support-desk sees of the first customer, masked:");
        }
        for Masked { class, value, mask } in &outcome.masks {
            let class = class.rsplit('/').next().unwrap_or_default();
            let value = paint("2", &format!("for {}", printable(value)));
            lines.add(format_args!("   {class:<11}{}   {value}", printable(mask)));
        }
        if !outcome.log.is_empty() {
            lines.add("\nThe access log, newest first, as the auditor reads it:");
            lines.add(paint("2", &row(["entry", "who", "did", "purpose", "verdict", "what"])));
        }
        for Entry { index, who, did, purpose, verdict, what } in &outcome.log {
            let code = if verdict == "deny" { "31" } else { "0" };
            lines.add(paint(code, &row([&index.to_string(), who, did, purpose, verdict, what])));
        }
        lines.add("");
        if outcome.held() {
            self.next(&mut lines, program);
        } else {
            lines.add(paint("31", &self.blame()));
        }
        if self.stays {
            lines.add("\nServing until Ctrl-C.");
        }
        lines.0
    }

    /// What to type next, as it can be pasted.
    fn next(&self, lines: &mut Lines, program: &str) {
        let program = shell_word(program);
        let identity = |name: &str| shell_word(&self.dir.join("identities").join(name).display().to_string());
        lines.add(if self.stays { "Next, in another terminal:" } else { "Next, beside a `privet dev` that stays up:" });
        let email = "--class pii/account/email";
        lines.add(format_args!("   export PRIVET_TENANT={TENANT}"));
        lines.add(format_args!("   printf %s anna@example.com | {program} encrypt {email} \\"));
        let who = identity("signup-service");
        lines.add(format_args!("       --subject cust-42 --purpose signup --identity {who} > sealed"));
        lines.add(format_args!("   {program} decrypt {email} < sealed \\"));
        let who = identity("support-desk");
        lines.add(format_args!("       --subject cust-42 --purpose support-ticket --identity {who}"));
        lines.add(format_args!("   {program} audit list --identity {} --limit 5", identity("auditor")));
        if Path::new(PYTHON_CLIENT).exists() {
            let dir = shell_word(&self.dir.display().to_string());
            lines.add(format_args!("   python3 {PYTHON_CLIENT} {dir}   # the same from Python; needs grpcio-tools"));
        }
    }

    fn blame(&self) -> String {
        if self.edited.is_empty() {
            return "A step did not hold. That is a defect: please report it with the lines above.".to_owned();
        }
        let (dir, edited) = (self.dir.join("policies"), self.edited.join(", "));
        format!(
            "A step did not hold, and in {} these are not as shipped: {edited}.\nRemove them to have them back as shipped.",
            dir.display()
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

/// A line of the log. What is too long for a line is cut.
fn row([entry, who, did, purpose, verdict, what]: [&str; 6]) -> String {
    let line = format!("{entry:>7}  {who:<15}  {did:<8}  {purpose:<15}  {verdict:<7}  {what}");
    line.trim_end().chars().take(COLUMNS).collect()
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

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(held: bool) -> Outcome {
        let step = |done| Step { done, held, what: "x".repeat(79), millis: 12_345 };
        let masked = || Masked { class: "pii/account/ip_address", value: "v".repeat(40), mask: "•••".into() };
        let entry = || Entry {
            index: 1_234_567,
            who: "privacy-officer".into(),
            did: "decrypt".into(),
            purpose: "subject-request".into(),
            verdict: "deny".into(),
            what: "y".repeat(200),
        };
        Outcome {
            customers: 2_500,
            values: 25_343,
            steps: ["sealed", "opened", "masked", "denied", "refused", "recorded"].map(step).into(),
            masks: [(); 4].map(|()| masked()).into(),
            log: [(); 5].map(|()| entry()).into(),
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
            let text = report(&outcome, ".privet-dev", &[]).text(false, "./target/release/privet");
            assert!(text.lines().count() <= 40, "{text}");
            assert!(text.lines().all(|line| line.chars().count() <= COLUMNS), "{text}");
            assert_eq!(text.contains('✓'), held);
            assert_eq!(text.contains("please report"), !held);
            assert!(text.ends_with("Ctrl-C.\n") && !text.contains('\x1b'));
        }
    }

    #[test]
    fn a_policy_that_was_edited_is_named_before_a_defect_is_suspected() {
        let outcome = outcome(false);
        let text = report(&outcome, ".privet-dev", &["policy.csv"]).text(false, "privet");
        assert!(text.contains("policy.csv") && !text.contains("please report"), "{text}");
        let held = self::outcome(true);
        assert!(!report(&held, ".privet-dev", &["policy.csv"]).text(false, "privet").contains("policy.csv"));
    }

    #[test]
    fn commands_can_be_pasted_whatever_the_directory_is_called() {
        let outcome = outcome(true);
        let text = report(&outcome, "it's mine", &[]).text(false, "/opt/my tools/privet");
        assert!(text.contains(r"--identity 'it'\''s mine/identities/support-desk'"), "{text}");
        assert_eq!(shell_word(".privet-dev"), ".privet-dev");
        assert_eq!(["", "$HOME", "a;b", "~"].map(shell_word), ["''", "'$HOME'", "'a;b'", "'~'"]);
    }

    #[test]
    fn machines_get_all_of_it() {
        let outcome = outcome(true);
        let json = report(&outcome, ".privet-dev", &[]).json();
        assert_eq!((json["held"].as_bool(), json["steps"].as_array().unwrap().len()), (Some(true), 6));
        assert_eq!(json["steps"][0]["done"], "sealed");
        assert_eq!(json["address"], "127.0.0.1:7443");
    }
}
