//! `privet encrypt`: seals one field, or columns of a CSV file.

use clap::Args;
use serde_json::json;

use super::{
    answer::{misfit, put, put_json, receipts, tell},
    bulk::{self, Work},
    failure::{Exit, Failure},
    fields::{Fields, One, Plan},
    input::Value,
    options::{Connection, Header},
    receipts::VerifyReceipt,
    terminal::Terminal,
};
use crate::{
    envelope::text::to_text,
    proto::v1::{EncryptRequest, FieldToEncrypt, encrypted_field::Result as Sealed},
};

/// Seal one field, or columns of a CSV file
#[derive(Args)]
#[command(after_help = "\
The value comes from standard input or --in FILE; pv1_… text goes to standard output:
  printf %s anna@example.com | privet encrypt --class pii/account/email --subject cust-1 --purpose signup
  privet encrypt --csv in.csv --subject id --map email=pii/account/email --out out.csv --purpose signup
A cell that can't be sealed is left empty and reported, and the exit code is 1.")]
pub struct Encrypt {
    /// Print the value's blind index too, as a second line in hexadecimal
    #[arg(long, conflicts_with = "csv", help_heading = "Field")]
    index: bool,
    #[command(flatten)]
    fields: Fields,
    #[command(flatten)]
    header: Header,
    #[command(flatten)]
    verify: VerifyReceipt,
    #[command(flatten)]
    connection: Connection,
}

impl Encrypt {
    /// Does it.
    pub async fn run(self, terminal: &Terminal) -> Result<Exit, Failure> {
        let Self { connection, header, verify, fields, index } = self;
        match fields.plan()? {
            Plan::One(one) => seal(connection, header, &verify, one, index, terminal).await,
            Plan::Many(job) => {
                verify.refuse_bulk()?;
                bulk::run(connection, header, Work::Seal, job, terminal).await
            }
        }
    }
}

async fn seal(
    connection: Connection,
    header: Header,
    verify: &VerifyReceipt,
    one: One,
    index: bool,
    terminal: &Terminal,
) -> Result<Exit, Failure> {
    let plaintext = Value::read(one.input.as_deref(), terminal)?.into_bytes();
    let request = EncryptRequest {
        tenant: header.tenant.to_string(),
        purpose: header.purpose.to_string(),
        fields: vec![FieldToEncrypt {
            subject: one.subject.expose().to_owned(),
            class: one.class.to_string(),
            plaintext,
            context: one.context,
            index,
        }],
        request_id: header.request_id.to_string(),
        reference: header.reference.to_string(),
        actor: header.actor(),
    };
    let clients = connection.open().await?;
    let response = clients.encryption().encrypt(request).await?.into_inner();
    let held = verify.hold(&clients, &header.tenant, &response.receipts).await?;
    let field = response.fields.into_iter().next().ok_or_else(misfit)?;
    let ciphertext = match field.result.ok_or_else(misfit)? {
        Sealed::Ciphertext(ciphertext) => to_text(&ciphertext),
        Sealed::Error(error) => return Err(error.into()),
    };
    let (blind, key_id) = (hex::encode(&field.index), hex::encode(&field.key_id));
    if terminal.json {
        put_json(&json!({
            "ciphertext": ciphertext,
            "index": index.then_some(blind),
            "key_id": key_id,
            "key_version": field.key_version,
            "receipts": receipts(&response.receipts),
        }))?;
    } else {
        put(format!("{ciphertext}\n").as_bytes())?;
        if index {
            put(format!("{blind}\n").as_bytes())?;
        }
        let what = format!("sealed {} under key {key_id} (version {})", one.class, field.key_version);
        tell(&held.with(what), &response.receipts, terminal);
    }
    Ok(Exit::Ok)
}
