//! `privet rewrap`: seal a field anew under the newest version of its key, or columns of a CSV file.

use clap::Args;
use serde_json::json;

use super::{
    answer::{misfit, put, put_json, receipts, tell},
    bulk::{self, Work},
    failure::{Exit, Failure},
    fields::{Fields, One, Plan},
    input::{Value, name},
    options::{Connection, Header},
    receipts::VerifyReceipt,
    terminal::Terminal,
};
use crate::{
    envelope::text::{from_text, to_text},
    proto::v1::{FieldToRewrap, RewrapRequest, rewrapped_field::Result as Sealed},
};

/// Seal one field, or columns of a CSV file, anew under the newest key
#[derive(Args)]
#[command(after_help = "\
The pv1_… text comes from standard input or --in FILE, and goes out under the newest version of its key:
  privet rewrap --class pii/account/email --subject cust-1 --purpose signup < old.txt > new.txt
  privet rewrap --csv in.csv --subject id --map email=pii/account/email --out out.csv --purpose signup")]
pub struct Rewrap {
    /// It is a wrapped data key
    #[arg(long, conflicts_with = "csv", help_heading = "Field")]
    data_key: bool,
    #[command(flatten)]
    fields: Fields,
    #[command(flatten)]
    header: Header,
    #[command(flatten)]
    verify: VerifyReceipt,
    #[command(flatten)]
    connection: Connection,
}

impl Rewrap {
    /// Does it.
    pub async fn run(self, terminal: &Terminal) -> Result<Exit, Failure> {
        let Self { connection, header, verify, fields, data_key } = self;
        match fields.plan()? {
            Plan::One(one) => single(connection, header, &verify, (one, data_key), terminal).await,
            Plan::Many(job) => {
                verify.refuse_bulk()?;
                bulk::run(connection, header, Work::Rewrap, job, terminal).await
            }
        }
    }
}

async fn single(
    connection: Connection,
    header: Header,
    verify: &VerifyReceipt,
    (one, data_key): (One, bool),
    terminal: &Terminal,
) -> Result<Exit, Failure> {
    let text = Value::read_line(one.input.as_deref())?;
    let ciphertext =
        from_text(&text).map_err(|_| Failure::usage(format!("{} holds no pv1_… text", name(one.input.as_deref()))))?;
    let request = RewrapRequest {
        tenant: header.tenant.to_string(),
        purpose: header.purpose.to_string(),
        fields: vec![FieldToRewrap {
            subject: one.subject.expose().to_owned(),
            class: one.class.to_string(),
            ciphertext: ciphertext.into(),
            context: one.context,
            data_key,
        }],
        request_id: header.request_id.to_string(),
        reference: header.reference.to_string(),
        actor: header.actor(),
    };
    let clients = connection.open().await?;
    let response = clients.encryption().rewrap(request).await?.into_inner();
    let held = verify.hold(&clients, &header.tenant, &response.receipts).await?;
    let field = response.fields.into_iter().next().ok_or_else(misfit)?;
    let ciphertext = match field.result.ok_or_else(misfit)? {
        Sealed::Ciphertext(ciphertext) => to_text(&ciphertext),
        Sealed::Error(error) => return Err(error.into()),
    };
    if terminal.json {
        put_json(&json!({
            "ciphertext": ciphertext,
            "changed": field.changed,
            "key_id": hex::encode(&field.key_id),
            "key_version": field.key_version,
            "receipts": receipts(&response.receipts),
        }))?;
    } else {
        put(format!("{ciphertext}\n").as_bytes())?;
        let version = field.key_version;
        let what = if field.changed { "rewrapped" } else { "unchanged:" };
        tell(&held.with(format!("{what} {} under key version {version}", one.class)), &response.receipts, terminal);
    }
    Ok(Exit::Ok)
}
