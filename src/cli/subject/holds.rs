//! `privet subject hold` and `release`.

use std::path::PathBuf;

use clap::Args;
use serde_json::{Value, json};

use super::{
    super::{
        answer::misfit,
        failure::{Exit, Failure},
        input,
        table::rfc3339,
        terminal::Terminal,
    },
    Acting, Whom, say,
};
use crate::{
    id::Reference,
    proto::v1::{self, PlaceHoldRequest, ReleaseHoldRequest},
};

#[derive(Args)]
pub struct Hold {
    /// Hold's id, e.g. a case's number
    #[arg(value_parser = Reference::parse)]
    id: Reference,
    /// Why; other users of this machine can see it
    #[arg(long, value_name = "TEXT", required_unless_present = "reason_file")]
    reason: Option<String>,
    /// File with why, or - for standard input
    #[arg(long, value_name = "FILE", conflicts_with = "reason")]
    reason_file: Option<PathBuf>,
    #[command(flatten)]
    whom: Whom,
    #[command(flatten)]
    acting: Acting,
}

#[derive(Args)]
pub struct Release {
    /// Hold's id
    #[arg(value_parser = Reference::parse)]
    id: Reference,
    #[command(flatten)]
    whom: Whom,
    #[command(flatten)]
    acting: Acting,
}

impl Hold {
    pub(super) async fn run(self, terminal: &Terminal) -> Result<Exit, Failure> {
        let Acting { tenant, reference, request_id, connection } = self.acting;
        let of_stdin = self.reason_file.as_deref().is_some_and(|file| input::is_stdin(Some(file)));
        if of_stdin && self.whom.takes_stdin() {
            return Err(Failure::usage("only one of --subject-file and --reason-file can be standard input"));
        }
        let reason = match self.reason {
            Some(reason) => reason,
            None => input::Value::read_line(self.reason_file.as_deref())?.to_string(),
        };
        let request = PlaceHoldRequest {
            tenant: tenant.to_string(),
            subject: self.whom.id()?.expose().to_owned(),
            hold_id: self.id.to_string(),
            reason,
            request_id: request_id.to_string(),
            reference: reference.to_string(),
        };
        let answer = connection.open().await?.subjects().place_hold(request).await?.into_inner();
        let hold = answer.hold.ok_or_else(misfit)?;
        let since = hold.place_time.as_ref().map(rfc3339).unwrap_or_default();
        let text = format!("held by {} since {since}: neither erased nor swept until it is released\n", hold.id);
        say(&text, machine(&hold), &answer.receipts, terminal)
    }
}

impl Release {
    pub(super) async fn run(self, terminal: &Terminal) -> Result<Exit, Failure> {
        let Acting { tenant, reference, request_id, connection } = self.acting;
        let request = ReleaseHoldRequest {
            tenant: tenant.to_string(),
            subject: self.whom.id()?.expose().to_owned(),
            hold_id: self.id.to_string(),
            request_id: request_id.to_string(),
            reference: reference.to_string(),
        };
        let answer = connection.open().await?.subjects().release_hold(request).await?.into_inner();
        let hold = answer.hold.ok_or_else(misfit)?;
        say(&format!("hold {} released\n", hold.id), machine(&hold), &answer.receipts, terminal)
    }
}

pub(super) fn machine(hold: &v1::Hold) -> Value {
    json!({
        "id": hold.id,
        "reason": hold.reason,
        "place_time": hold.place_time.as_ref().map(rfc3339),
        "placed_by": hold.placed_by,
    })
}
