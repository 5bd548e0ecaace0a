//! `privet decrypt` and `privet mask`: open one field, or columns of a CSV file.

use clap::{Args, ValueEnum};
use serde_json::json;

use super::{
    answer::{misfit, plaintext, put_json, put_value, receipts, tell},
    bulk::{self, Work},
    failure::{Exit, Failure},
    fields::{Fields, One, Plan},
    input::{Value, name},
    options::{Connection, Header},
    receipts::VerifyReceipt,
    terminal::Terminal,
};
use crate::{
    envelope::text::from_text,
    proto::v1::{self, DecryptRequest, FieldToDecrypt, decrypted_field::Result as Opened},
};

/// Open one field, or columns of a CSV file
#[derive(Args)]
#[command(after_help = "\
The pv1_… text comes from standard input or --in FILE; the value goes out, byte for byte:
  privet decrypt --class pii/account/email --subject cust-1 --purpose invoicing < sealed.txt
  privet decrypt --csv in.csv --subject id --map email=pii/account/email --out out.csv --purpose invoicing
A cell that can't be opened is left empty and reported, and the exit code is 1.")]
pub struct Decrypt {
    /// Form of the values
    #[arg(long, value_enum, default_value_t = Form::Plaintext, hide_default_value = true, help_heading = "Field")]
    form: Form,
    #[command(flatten)]
    fields: Fields,
    #[command(flatten)]
    header: Header,
    #[command(flatten)]
    verify: VerifyReceipt,
    #[command(flatten)]
    connection: Connection,
}

/// Show one field, or columns of a CSV file, in part only
#[derive(Args)]
pub struct Mask {
    #[command(flatten)]
    fields: Fields,
    #[command(flatten)]
    header: Header,
    #[command(flatten)]
    verify: VerifyReceipt,
    #[command(flatten)]
    connection: Connection,
}

/// How an opened field is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Form {
    /// In full
    Plaintext,
    /// In part
    Masked,
    /// In full if that is allowed, else in part
    Best,
}

impl From<Form> for v1::Form {
    fn from(form: Form) -> Self {
        match form {
            Form::Plaintext => Self::Plaintext,
            Form::Masked => Self::Masked,
            Form::Best => Self::BestAllowed,
        }
    }
}

impl Decrypt {
    /// Does it.
    pub async fn run(self, terminal: &Terminal) -> Result<Exit, Failure> {
        let Self { connection, header, verify, fields, form } = self;
        match fields.plan()? {
            Plan::One(one) => open(connection, header, &verify, one, form, terminal).await,
            Plan::Many(job) => {
                verify.refuse_bulk()?;
                bulk::run(connection, header, Work::Open(form.into()), job, terminal).await
            }
        }
    }
}

impl Mask {
    /// Does it.
    pub async fn run(self, terminal: &Terminal) -> Result<Exit, Failure> {
        let Self { connection, header, verify, fields } = self;
        Decrypt { connection, header, verify, fields, form: Form::Masked }.run(terminal).await
    }
}

async fn open(
    connection: Connection,
    header: Header,
    verify: &VerifyReceipt,
    one: One,
    form: Form,
    terminal: &Terminal,
) -> Result<Exit, Failure> {
    let text = Value::read_line(one.input.as_deref())?;
    let ciphertext =
        from_text(&text).map_err(|_| Failure::usage(format!("{} holds no pv1_… text", name(one.input.as_deref()))))?;
    let request = DecryptRequest {
        tenant: header.tenant.to_string(),
        purpose: header.purpose.to_string(),
        fields: vec![FieldToDecrypt {
            subject: one.subject.expose().to_owned(),
            class: one.class.to_string(),
            ciphertext: ciphertext.into(),
            context: one.context,
            form: v1::Form::from(form).into(),
        }],
        request_id: header.request_id.to_string(),
        reference: header.reference.to_string(),
        actor: header.actor(),
    };
    let clients = connection.open().await?;
    let response = clients.encryption().decrypt(request).await?.into_inner();
    let held = verify.hold(&clients, &header.tenant, &response.receipts).await?;
    let field = response.fields.into_iter().next().and_then(|field| field.result).ok_or_else(misfit)?;
    let (what, key, json, shown) = match &field {
        Opened::Plaintext(value) => {
            let (key, json) = plaintext(value);
            ("opened", key, json, &value[..])
        }
        Opened::Masked(masked) => ("masked", "masked", masked.as_str().into(), masked.as_bytes()),
        Opened::Error(error) => return Err(error.clone().into()),
    };
    if terminal.json {
        put_json(&json!({ key: json, "receipts": receipts(&response.receipts) }))?;
    } else {
        put_value(shown, terminal)?;
        tell(&held.with(format!("{what} {}", one.class)), &response.receipts, terminal);
    }
    Ok(Exit::Ok)
}
