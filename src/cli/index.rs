//! `privet index`: computes a value's blind index, by which it can be looked up without being stored.

use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use super::{
    answer::{misfit, put, put_json, receipts, tell},
    failure::{Exit, Failure},
    input::Value,
    options::{Connection, Header},
    receipts::VerifyReceipt,
    terminal::Terminal,
};
use crate::{
    id::Class,
    proto::v1::{ComputeIndexRequest, ValueToIndex, indexed_value::Result as Indexed},
};

/// Compute the blind index of a value, for looking it up
#[derive(Args, Debug)]
#[command(after_help = "\
The value comes from standard input or --in FILE; the index goes out in hexadecimal:
  printf %s anna@example.com | privet index --class pii/account/email --purpose support-ticket")]
pub struct Index {
    /// Class of the value, e.g. pii/account/email
    #[arg(long, value_parser = Class::parse)]
    class: Class,
    /// File to read instead of standard input
    #[arg(long = "in", value_name = "FILE")]
    input: Option<PathBuf>,
    #[command(flatten)]
    header: Header,
    #[command(flatten)]
    verify: VerifyReceipt,
    #[command(flatten)]
    connection: Connection,
}

impl Index {
    /// Does it.
    pub async fn run(self, terminal: &Terminal) -> Result<Exit, Failure> {
        let Self { connection, header, verify, class, input } = self;
        let value = Value::read(input.as_deref(), terminal)?.into_bytes();
        let request = ComputeIndexRequest {
            tenant: header.tenant.to_string(),
            purpose: header.purpose.to_string(),
            values: vec![ValueToIndex { class: class.to_string(), value }],
            request_id: header.request_id.to_string(),
            reference: header.reference.to_string(),
            actor: header.actor(),
        };
        let clients = connection.open().await?;
        let response = clients.encryption().compute_index(request).await?.into_inner();
        let held = verify.hold(&clients, &header.tenant, &response.receipts).await?;
        let index = match response.values.into_iter().next().and_then(|value| value.result).ok_or_else(misfit)? {
            Indexed::Index(index) => hex::encode(index),
            Indexed::Error(error) => return Err(error.into()),
        };
        if terminal.json {
            put_json(&json!({ "index": index, "receipts": receipts(&response.receipts) }))?;
        } else {
            put(format!("{index}\n").as_bytes())?;
            tell(&held.with(format!("indexed a value of {class}")), &response.receipts, terminal);
        }
        Ok(Exit::Ok)
    }
}
