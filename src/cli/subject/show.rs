//! `privet subject show`, `close` and `reinstate`.

use clap::Args;
use prost_types::Timestamp;
use serde_json::{Value, json};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use super::{
    super::{
        answer::misfit,
        failure::{Exit, Failure},
        table::{plural, rfc3339},
        terminal::Terminal,
    },
    Acting, Whom, say,
};
use crate::proto::v1::{self, CloseSubjectRequest, GetSubjectRequest, ReinstateSubjectRequest};

#[derive(Args)]
pub struct Show {
    #[command(flatten)]
    whom: Whom,
    #[command(flatten)]
    acting: Acting,
}

#[derive(Args)]
pub struct Close {
    #[command(flatten)]
    whom: Whom,
    /// When it ended: 2027-01-31T00:00:00Z [default: now]
    #[arg(long, value_name = "TIME", value_parser = moment)]
    at: Option<Timestamp>,
    #[command(flatten)]
    acting: Acting,
}

#[derive(Args)]
pub struct Reinstate {
    #[command(flatten)]
    whom: Whom,
    #[command(flatten)]
    acting: Acting,
}

fn moment(text: &str) -> Result<Timestamp, String> {
    let time = OffsetDateTime::parse(text, &Rfc3339).ok().filter(|time| time.nanosecond() == 0);
    let time = time.ok_or_else(|| "must be a whole second like 2027-01-31T00:00:00Z".to_owned())?;
    Ok(Timestamp { seconds: time.unix_timestamp(), nanos: 0 })
}

impl Show {
    pub(super) async fn run(self, terminal: &Terminal) -> Result<Exit, Failure> {
        let Acting { tenant, reference, request_id, connection } = self.acting;
        let request = GetSubjectRequest {
            tenant: tenant.to_string(),
            subject: self.whom.id()?.expose().to_owned(),
            request_id: request_id.to_string(),
            reference: reference.to_string(),
        };
        let answer = connection.open().await?.subjects().get_subject(request).await?.into_inner();
        let subject = answer.subject.ok_or_else(misfit)?;
        say(&human(&subject), machine(&subject), &answer.receipts, terminal)
    }
}

impl Close {
    pub(super) async fn run(self, terminal: &Terminal) -> Result<Exit, Failure> {
        let Acting { tenant, reference, request_id, connection } = self.acting;
        let request = CloseSubjectRequest {
            tenant: tenant.to_string(),
            subject: self.whom.id()?.expose().to_owned(),
            close_time: self.at,
            request_id: request_id.to_string(),
            reference: reference.to_string(),
        };
        let answer = connection.open().await?.subjects().close_subject(request).await?.into_inner();
        let closed = answer.close_time.as_ref().map(rfc3339).ok_or_else(misfit)?;
        say(&format!("closed since {closed}\n"), json!({ "close_time": closed }), &answer.receipts, terminal)
    }
}

impl Reinstate {
    pub(super) async fn run(self, terminal: &Terminal) -> Result<Exit, Failure> {
        let Acting { tenant, reference, request_id, connection } = self.acting;
        let request = ReinstateSubjectRequest {
            tenant: tenant.to_string(),
            subject: self.whom.id()?.expose().to_owned(),
            request_id: request_id.to_string(),
            reference: reference.to_string(),
        };
        let answer = connection.open().await?.subjects().reinstate_subject(request).await?.into_inner();
        let text = "can be sealed for again; what was erased stays so\n";
        say(text, json!({ "reinstated": true }), &answer.receipts, terminal)
    }
}

pub(super) fn human(subject: &v1::Subject) -> String {
    let mut text = String::new();
    for one in &subject.categories {
        let newest = one.versions.last();
        let since = one.versions.first().and_then(|version| version.create_time.as_ref()).map(rfc3339);
        let seals: u64 = one.versions.iter().map(|version| version.seals).sum();
        text.push_str(&format!(
            "{}: sealed {} since {}; {}, the newest {}\n",
            one.category,
            plural(seals, "time"),
            since.unwrap_or_default(),
            plural(one.versions.len() as u64, "key version"),
            newest.map_or(0, |version| version.version),
        ));
    }
    for hold in &subject.holds {
        let since = hold.place_time.as_ref().map(rfc3339).unwrap_or_default();
        text.push_str(&format!("held by {} since {since}, by {}: {}\n", hold.id, hold.placed_by, hold.reason));
    }
    if let Some(closed) = &subject.close_time {
        text.push_str(&format!("closed since {}\n", rfc3339(closed)));
    }
    for erased in &subject.erased {
        let what = if erased.category.is_empty() { "everything" } else { &erased.category };
        text.push_str(&format!("erased: {what}, by erasure {}\n", hex::encode(&erased.erasure_id)));
    }
    if text.is_empty() {
        text.push_str("nothing is sealed\n");
    }
    text
}

pub(super) fn machine(subject: &v1::Subject) -> Value {
    let version = |version: &v1::SubjectKeyVersion| {
        json!({
            "version": version.version,
            "create_time": version.create_time.as_ref().map(rfc3339),
            "seals": version.seals,
        })
    };
    json!({
        "categories": subject.categories.iter().map(|one| json!({
            "category": one.category,
            "versions": one.versions.iter().map(version).collect::<Vec<_>>(),
        })).collect::<Vec<_>>(),
        "holds": subject.holds.iter().map(super::holds::machine).collect::<Vec<_>>(),
        "close_time": subject.close_time.as_ref().map(rfc3339),
        "erased": subject.erased.iter().map(|one| json!({
            "category": (!one.category.is_empty()).then_some(&one.category),
            "erasure_id": hex::encode(&one.erasure_id),
        })).collect::<Vec<_>>(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subject_is_told_in_lines_that_a_person_reads() {
        let time = |seconds| Some(Timestamp { seconds, nanos: 0 });
        assert_eq!(human(&v1::Subject::default()), "nothing is sealed\n");
        let versions = vec![
            v1::SubjectKeyVersion { version: 1, create_time: time(1_795_461_365), seals: 3 },
            v1::SubjectKeyVersion { version: 2, create_time: time(1_795_461_366), seals: 1_200 },
        ];
        let subject = v1::Subject {
            categories: vec![v1::SubjectCategory { category: "account".into(), versions }],
            holds: vec![v1::Hold {
                id: "CASE-7".into(),
                reason: "a court asked".into(),
                place_time: time(1_795_461_400),
                placed_by: "spiffe://acme.example/privacy-officer".into(),
            }],
            close_time: time(1_795_461_500),
            erased: vec![v1::ErasedCategory { category: "usage".into(), erasure_id: vec![0xab; 16].into() }],
        };
        assert_eq!(
            human(&subject),
            "account: sealed 1,203 times since 2026-11-23T19:16:05Z; 2 key versions, the newest 2\n\
             held by CASE-7 since 2026-11-23T19:16:40Z, by spiffe://acme.example/privacy-officer: a court asked\n\
             closed since 2026-11-23T19:18:20Z\n\
             erased: usage, by erasure abababababababababababababababab\n"
        );
        assert!(moment("2027-01-31").is_err() && moment("2027-01-31T00:00:00.5Z").is_err());
    }
}
