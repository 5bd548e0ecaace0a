//! `privet subject due`.

use std::collections::BTreeMap;

use clap::Args;
use prost_types::Timestamp;
use serde_json::json;
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use super::{
    super::{
        answer::{misfit, put, put_json},
        failure::{Exit, Failure},
        table::{self, number, rfc3339},
        terminal::Terminal,
    },
    Acting,
};
use crate::proto::v1::{CountDueRequest, DueCount};

#[derive(Args)]
#[command(after_help = "\
Example:
  privet subject due --before 2027-02-01")]
pub struct Due {
    /// Day, e.g. 2027-02-01: what is due by its beginning (UTC)
    #[arg(long, value_name = "DATE", value_parser = day)]
    before: Timestamp,
    #[command(flatten)]
    acting: Acting,
}

fn day(text: &str) -> Result<Timestamp, String> {
    let midnight = OffsetDateTime::parse(&format!("{text}T00:00:00Z"), &Rfc3339);
    let midnight = midnight.map_err(|_| "must be a day like 2027-02-01".to_owned())?;
    Ok(Timestamp { seconds: midnight.unix_timestamp(), nanos: 0 })
}

impl Due {
    pub(super) async fn run(self, terminal: &Terminal) -> Result<Exit, Failure> {
        let Acting { tenant, request_id, connection, .. } = self.acting;
        let mut request = CountDueRequest {
            tenant: tenant.to_string(),
            before: Some(self.before),
            request_id: request_id.to_string(),
            ..Default::default()
        };
        let clients = connection.open().await?;
        let (mut counts, mut subjects) = (BTreeMap::<String, DueCount>::new(), 0_u64);
        loop {
            let page = clients.subjects().count_due(request.clone()).await?.into_inner();
            subjects += u64::from(page.subjects);
            page.counts.into_iter().for_each(|one| add(&mut counts, one));
            if page.next_page_token.is_empty() {
                break;
            }
            if page.next_page_token == request.page_token {
                return Err(misfit());
            }
            request.page_token = page.next_page_token;
        }
        let earliest = |one: &DueCount| one.earliest.as_ref().map(rfc3339).unwrap_or_default();
        if terminal.json {
            let counts = counts.values().map(|one| {
                json!({
                    "category": one.category, "closed": one.closed, "versions": one.versions, "held": one.held,
                    "earliest": earliest(one),
                })
            });
            put_json(&json!({ "subjects": subjects, "due": counts.collect::<Vec<_>>() }))?;
            return Ok(Exit::Ok);
        }
        let mut rows =
            table::table(["CATEGORY", "CLOSED CUSTOMERS", "MONTHLY KEYS", "HELD", "EARLIEST (UTC)"], terminal);
        for one in counts.values() {
            let cells =
                [one.category.clone(), number(one.closed), number(one.versions), number(one.held), earliest(one)];
            rows.add_row(cells.map(|cell| table::cell(&cell)));
        }
        let table = if counts.is_empty() { String::new() } else { table::text(&rows) };
        put(format!("{table}due by {}, of {} customers\n", rfc3339(&self.before), number(subjects)).as_bytes())?;
        Ok(Exit::Ok)
    }
}

fn add(counts: &mut BTreeMap<String, DueCount>, one: DueCount) {
    let sum =
        counts.entry(one.category.clone()).or_insert_with(|| DueCount { category: one.category, ..Default::default() });
    sum.closed += one.closed;
    sum.versions += one.versions;
    sum.held += one.held;
    let earlier = |time: &Timestamp| sum.earliest.as_ref().is_none_or(|before| time.seconds < before.seconds);
    if one.earliest.as_ref().is_some_and(earlier) {
        sum.earliest = one.earliest;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_add_up_and_days_are_days() {
        let count = |closed, seconds| DueCount {
            category: "account".into(),
            closed,
            earliest: Some(Timestamp { seconds, nanos: 0 }),
            ..Default::default()
        };
        let mut counts = BTreeMap::new();
        [count(2, 90), count(3, 60), count(1, 70)].into_iter().for_each(|one| add(&mut counts, one));
        assert_eq!(counts["account"], count(6, 60));
        assert_eq!(day("2027-02-01").unwrap().seconds, 1_801_440_000);
        assert!(day("2027-02-30").is_err() && day("tomorrow").is_err() && day("2027-02-01T00:00:00Z").is_err());
    }
}
