//! `privet break-glass`: an emergency role for a few hours, and the questions afterwards.

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::{
    answer::{misfit, put, put_json, tell},
    failure::{Exit, Failure},
    options::Connection,
    table::{self, rfc3339, short_time},
    terminal::{Terminal, printable_lines},
};
use crate::{
    id::{Reference, Role, Tenant},
    operations::policies::glass::{SECS_DEFAULT, SECS_MAX},
    proto::v1::{
        BreakGlassRequest, BrokenGlass, EndBreakGlassRequest, ListBreakGlassRequest, Receipt, ReviewBreakGlassRequest,
    },
};

/// Take an emergency role for a few hours, put it back, and review it
#[derive(Subcommand)]
pub enum BreakGlass {
    /// Take an emergency role for a while: at once, on record, once a day
    Take(Take),
    /// Put it back before its time
    End(End),
    /// Say what you found of another person's
    Review(Review),
    /// List who took what, newest first
    List(List),
}

/// For whom the caller acts, and on which server.
#[derive(Args)]
struct Acting {
    /// Tenant that you act for
    #[arg(long, env = "PRIVET_TENANT", hide_env_values = true, value_parser = Tenant::parse)]
    tenant: Tenant,
    /// Your own id for this request
    #[arg(long, value_name = "ID", value_parser = Reference::parse, default_value = "", hide_default_value = true)]
    request_id: Reference,
    #[command(flatten)]
    connection: Connection,
}

#[derive(Args)]
#[command(after_help = "\
Example:
  privet break-glass take role:break-glass --for 2h --reason \"INC-42: mail relay lost its addresses\"")]
pub struct Take {
    /// An emergency role of the catalogue
    #[arg(value_parser = Role::parse)]
    role: Role,
    /// For how long: 90m, 2h; at most 4h
    #[arg(long = "for", value_name = "TIME", value_parser = seconds, default_value = "1h")]
    seconds: u32,
    /// Why: an incident's number, and what can't wait
    #[arg(long, value_name = "TEXT")]
    reason: String,
    #[command(flatten)]
    acting: Acting,
}

#[derive(Args)]
pub struct End {
    /// Which one, as `list` numbers them
    number: u64,
    #[command(flatten)]
    acting: Acting,
}

#[derive(Args)]
pub struct Review {
    /// Which one, as `list` numbers them
    number: u64,
    /// What you found
    #[arg(long, value_name = "TEXT")]
    note: String,
    #[command(flatten)]
    acting: Acting,
}

#[derive(Args)]
pub struct List {
    /// Only what waits for a review
    #[arg(long)]
    unreviewed: bool,
    #[command(flatten)]
    acting: Acting,
}

/// Reads `90m`, `2h`, `3600s`.
fn seconds(text: &str) -> Result<u32, String> {
    let rule = || format!("must be a number with s, m or h, of at most {}h, e.g. 90m", SECS_MAX / 3_600);
    let digits = text.trim_end_matches(['s', 'm', 'h']);
    let unit: u64 = match text.get(digits.len()..) {
        Some("s") => 1,
        Some("m") => 60,
        Some("h") => SECS_DEFAULT,
        Some(_) | None => return Err(rule()),
    };
    let secs = digits.parse::<u64>().ok().and_then(|count| count.checked_mul(unit));
    let secs = secs.filter(|secs| (1..=SECS_MAX).contains(secs)).ok_or_else(rule)?;
    u32::try_from(secs).map_err(|_| rule())
}

impl BreakGlass {
    /// Does it.
    pub async fn run(self, terminal: &Terminal) -> Result<Exit, Failure> {
        match self {
            Self::Take(take) => take.run(terminal).await,
            Self::End(end) => end.run(terminal).await,
            Self::Review(review) => review.run(terminal).await,
            Self::List(list) => list.run(terminal).await,
        }
    }
}

impl Take {
    async fn run(self, terminal: &Terminal) -> Result<Exit, Failure> {
        let request = BreakGlassRequest {
            tenant: self.acting.tenant.to_string(),
            role: self.role.as_str().to_owned(),
            seconds: self.seconds,
            reason: self.reason,
            request_id: self.acting.request_id.to_string(),
        };
        let answer = self.acting.connection.open().await?.policy().break_glass(request).await?.into_inner();
        shown(answer.broken, &answer.receipts, terminal)
    }
}

impl End {
    async fn run(self, terminal: &Terminal) -> Result<Exit, Failure> {
        let request = EndBreakGlassRequest {
            tenant: self.acting.tenant.to_string(),
            number: self.number,
            request_id: self.acting.request_id.to_string(),
        };
        let answer = self.acting.connection.open().await?.policy().end_break_glass(request).await?.into_inner();
        shown(answer.broken, &answer.receipts, terminal)
    }
}

impl Review {
    async fn run(self, terminal: &Terminal) -> Result<Exit, Failure> {
        let request = ReviewBreakGlassRequest {
            tenant: self.acting.tenant.to_string(),
            number: self.number,
            note: self.note,
            request_id: self.acting.request_id.to_string(),
        };
        let answer = self.acting.connection.open().await?.policy().review_break_glass(request).await?.into_inner();
        shown(answer.broken, &answer.receipts, terminal)
    }
}

impl List {
    async fn run(self, terminal: &Terminal) -> Result<Exit, Failure> {
        let mut request = ListBreakGlassRequest {
            tenant: self.acting.tenant.to_string(),
            unreviewed: self.unreviewed,
            request_id: self.acting.request_id.to_string(),
            ..Default::default()
        };
        let clients = self.acting.connection.open().await?;
        let mut broken = Vec::new();
        loop {
            let page = clients.policy().list_break_glass(request.clone()).await?.into_inner();
            broken.extend(page.broken);
            if page.next_page_token.is_empty() {
                break;
            }
            if page.next_page_token == request.page_token {
                return Err(misfit());
            }
            request.page_token = page.next_page_token;
        }
        if terminal.json {
            broken.iter().try_for_each(|broken| put_json(&machine(broken)))?;
        } else {
            put(human(&broken, terminal).as_bytes())?;
        }
        Ok(Exit::Ok)
    }
}

fn shown(broken: Option<BrokenGlass>, receipts: &[Receipt], terminal: &Terminal) -> Result<Exit, Failure> {
    let broken = broken.ok_or_else(misfit)?;
    if terminal.json {
        put_json(&machine(&broken))?;
    } else {
        put(printable_lines(&summary(&broken)).as_bytes())?;
        tell("done", receipts, terminal);
    }
    Ok(Exit::Ok)
}

/// One in a few lines.
fn summary(broken: &BrokenGlass) -> String {
    let BrokenGlass { number, principal, role, tenant, .. } = broken;
    let held = match &broken.end_time {
        Some(end) => format!("until {}, when {} put it back", rfc3339(end), broken.ended_by),
        None => format!("until {}", broken.expires.as_ref().map(rfc3339).unwrap_or_default()),
    };
    let mut text = format!("{number}: {principal} took {role} in {tenant}, {held}\n  because {}\n", broken.reason);
    if broken.reviewer.is_empty() {
        text.push_str("  waits for another person's review\n");
    } else {
        text.push_str(&format!("  reviewed by {}: {}\n", broken.reviewer, broken.review_note));
    }
    text
}

fn human(broken: &[BrokenGlass], terminal: &Terminal) -> String {
    let mut table = table::table(["NO", "TIME (UTC)", "WHO", "ROLE", "UNTIL", "WHY", "REVIEWED"], terminal);
    for one in broken {
        let time = |time: Option<&prost_types::Timestamp>| time.map(short_time).unwrap_or_default();
        table.add_row([
            table::cell(&one.number.to_string()),
            table::cell(&time(one.time.as_ref())),
            table::cell(&one.principal),
            table::cell(&one.role),
            table::cell(&time(one.end_time.as_ref().or(one.expires.as_ref()))),
            table::cell(&one.reason),
            if one.reviewer.is_empty() { table::verdict("no", false) } else { table::cell(&one.reviewer) },
        ]);
    }
    table::text(&table)
}

fn machine(broken: &BrokenGlass) -> Value {
    json!({
        "number": broken.number,
        "principal": broken.principal,
        "role": broken.role,
        "tenant": broken.tenant,
        "reason": broken.reason,
        "time": broken.time.as_ref().map(rfc3339),
        "expires": broken.expires.as_ref().map(rfc3339),
        "policy_version": broken.policy_version,
        "end_time": broken.end_time.as_ref().map(rfc3339),
        "ended_by": broken.ended_by,
        "reviewer": broken.reviewer,
        "review_time": broken.review_time.as_ref().map(rfc3339),
        "review_note": broken.review_note,
    })
}

#[cfg(test)]
mod tests {
    use prost_types::Timestamp;

    use super::*;
    use crate::cli::golden;

    #[test]
    fn times_have_a_unit_and_end_within_four_hours() {
        for (text, secs) in [("1h", 3_600), ("90m", 5_400), ("14400s", 14_400), ("4h", 14_400)] {
            assert_eq!(seconds(text), Ok(secs));
        }
        for bad in ["", "1", "h", "5h", "0m", "-1h", "1hh", "1.5h", "99999999999999999999h", "1 h", "é"] {
            assert!(seconds(bad).unwrap_err().contains("e.g. 90m"), "{bad}");
        }
    }

    #[test]
    fn broken_glass_reads_as_it_did() {
        let at = |seconds| Some(Timestamp { seconds, nanos: 0 });
        let first = BrokenGlass {
            number: 1,
            principal: "spiffe://acme.example/operator".into(),
            role: "role:break-glass".into(),
            tenant: "acme".into(),
            reason: "INC-42: mail relay lost its addresses".into(),
            time: at(1_795_461_365),
            expires: at(1_795_464_965),
            policy_version: 4,
            ..Default::default()
        };
        let reviewed = BrokenGlass {
            number: 2,
            end_time: at(1_795_461_400),
            ended_by: "spiffe://acme.example/operator".into(),
            reviewer: "spiffe://acme.example/policy-approver".into(),
            review_time: at(1_795_461_500),
            review_note: "as the incident says".into(),
            ..first.clone()
        };
        let terminal = Terminal { json: false, quiet: false, stdout: false, stderr: false, colours: false };
        let text =
            [human(&[reviewed.clone(), first.clone()], &terminal), summary(&first), summary(&reviewed)].join("\n");
        golden::check("policy/break-glass.txt", &text);
    }
}
