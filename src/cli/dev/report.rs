//! What `privet dev` says: a screenful that someone who has never seen it understands.

use std::{env, fmt::Write as _, net::SocketAddr, path::Path};

use super::scenario::{Outcome, number};

/// All that there is to say.
pub(super) struct Report<'a> {
    pub(super) dir: &'a Path,
    pub(super) address: SocketAddr,
    pub(super) resumed: bool,
    pub(super) outcome: &'a Outcome,
}

impl Report<'_> {
    /// For people.
    pub(super) fn print(&self, colours: bool) {
        print!("{}", self.text(colours, &program()));
    }

    /// For machines.
    pub(super) fn print_json(&self) {
        let report = serde_json::json!({
            "dir": self.dir,
            "address": self.address,
            "resumed": self.resumed,
            "held": self.outcome.held(),
            "customers": self.outcome.customers,
            "steps": self.outcome.steps,
        });
        println!("{report}");
    }

    fn text(&self, colours: bool, program: &str) -> String {
        let paint =
            |code: &str, text: &str| if colours { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() };
        let mut out = String::new();
        let began = if self.resumed { "resumed" } else { "made" };
        let _ = writeln!(
            out,
            "{}  {} {began}; serving tenant acme on {} with mutual TLS 1.3\n",
            paint("1", "privet dev"),
            self.dir.display(),
            self.address
        );
        for step in &self.outcome.steps {
            let mark = if step.held { paint("32", "✓") } else { paint("31", "✗") };
            let title = match step.name {
                "seal" => "sealed",
                "open" => "opened",
                "mask" => "masked",
                "deny" => "denied",
                "swap" => "refused",
                _ => "recorded",
            };
            let _ = writeln!(
                out,
                " {mark} {title:<9} {}  {}",
                step.what,
                paint("2", &format!("{} ms", number_u128(step.millis)))
            );
        }
        if !self.outcome.masks.is_empty() {
            let _ = writeln!(out, "\nWhat support-desk sees:");
            for (value, mask) in &self.outcome.masks {
                let _ = writeln!(out, "   {mask}   {}", paint("2", &format!("for {value}")));
            }
        }
        if !self.outcome.log.is_empty() {
            let _ = writeln!(out, "\nThe log, newest first, as the auditor reads it:");
            for line in &self.outcome.log {
                let short: String = line.chars().take(98).collect();
                let _ = writeln!(out, " {short}");
            }
        }
        if !self.outcome.held() {
            let _ = writeln!(
                out,
                "\n{}",
                paint("31", "A step did not hold. That is a defect: please report it with the lines above.")
            );
            return out;
        }
        let ids = format!("{}/identities", self.dir.display());
        let _ = writeln!(out, "\nNext, in another terminal:");
        let _ = writeln!(
            out,
            "   export PRIVET_TENANT=acme\n   printf %s anna@example.com | {program} encrypt --identity {ids}/signup-service \\\n       --purpose signup --subject cust-42 --class pii/account/email > sealed"
        );
        let _ = writeln!(
            out,
            "   {program} decrypt --identity {ids}/support-desk --purpose support-ticket \\\n       --subject cust-42 --class pii/account/email < sealed"
        );
        let _ = writeln!(out, "   {program} audit list --identity {ids}/auditor --limit 5");
        let _ = writeln!(out, "\nServing until Ctrl-C.");
        out
    }
}

/// How this program was started, as one would type it again.
fn program() -> String {
    env::args().next().unwrap_or_else(|| "privet".to_owned())
}

fn number_u128(n: u128) -> String {
    usize::try_from(n).map_or_else(|_| n.to_string(), number)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::dev::scenario::Step;

    fn outcome(held: bool) -> Outcome {
        let step = |name| Step { name, held, what: "x".repeat(70), millis: 1_234 };
        Outcome {
            customers: 2_500,
            steps: ["seal", "open", "mask", "deny", "swap", "log"].map(step).into(),
            masks: vec![("a".into(), "•••".into()); 4],
            log: vec!["y".repeat(200); 6],
        }
    }

    #[test]
    fn a_report_is_one_screenful() {
        for held in [true, false] {
            let outcome = outcome(held);
            let report = Report {
                dir: Path::new(".privet-dev"),
                address: "127.0.0.1:7443".parse().unwrap(),
                resumed: false,
                outcome: &outcome,
            };
            let text = report.text(false, "privet");
            assert!(text.lines().count() <= 40, "{text}");
            assert!(text.lines().all(|line| line.chars().count() <= 100), "{text}");
            assert_eq!(text.contains('✓'), held);
            assert_eq!(text.contains("please report"), !held);
        }
    }
}
