//! `privet data-key`: keys for data too big to send.

use std::{
    io::{self, IsTerminal},
    path::PathBuf,
};

use clap::{Args, Subcommand};
use serde_json::json;

use super::{
    answer::{misfit, put, put_json, receipts, tell},
    failure::{Exit, Failure},
    files,
    input::{self, Value, name},
    options::{Connection, Header},
    terminal::Terminal,
};
use crate::{
    envelope::text::{from_text, to_text},
    id::Class,
    proto::v1::{
        DataKeyToGenerate, DataKeyToUnwrap, GenerateDataKeyRequest, UnwrapDataKeyRequest,
        generated_data_key::Result as Generated, unwrapped_data_key::Result as Unwrapped,
    },
};

/// Make and unwrap keys for data too big to send
#[derive(Subcommand)]
pub enum DataKey {
    /// Make a key: 32 bytes into a file, and its wrapped form to keep beside the data
    Generate(Generate),
    /// Unwrap a key: 32 bytes out
    Unwrap(Unwrap),
}

/// What a key is for.
#[derive(Args)]
struct Belongs {
    /// Class of the data, e.g. pii/usage/activity
    #[arg(long, value_parser = Class::parse)]
    class: Class,
    /// Id of the customer, which `ps` shows
    #[arg(long, value_name = "ID", required_unless_present = "subject_file")]
    subject: Option<String>,
    /// File that holds the id of the customer
    #[arg(long, value_name = "FILE", conflicts_with = "subject")]
    subject_file: Option<PathBuf>,
    /// Bytes that the wrapped key is bound to: unwrapping needs the same
    #[arg(long, value_name = "HEX", default_value = "", hide_default_value = true)]
    context: String,
}

#[derive(Args)]
#[command(after_help = "\
Example:
  privet data-key generate --class pii/usage/activity --subject cust-1 --purpose signup --key key.bin")]
pub struct Generate {
    /// File for the key, which must not be there; whoever reads it reads the data
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
    #[command(flatten)]
    belongs: Belongs,
    #[command(flatten)]
    header: Header,
    #[command(flatten)]
    connection: Connection,
}

#[derive(Args)]
#[command(after_help = "\
Example:
  privet data-key unwrap --class pii/usage/activity --subject cust-1 --purpose signup < wrapped > key.bin")]
pub struct Unwrap {
    /// File to read instead of standard input
    #[arg(long = "in", value_name = "FILE")]
    input: Option<PathBuf>,
    #[command(flatten)]
    belongs: Belongs,
    #[command(flatten)]
    header: Header,
    #[command(flatten)]
    connection: Connection,
}

impl DataKey {
    /// Does it.
    pub async fn run(self, terminal: &Terminal) -> Result<Exit, Failure> {
        match self {
            Self::Generate(command) => command.run(terminal).await,
            Self::Unwrap(command) => command.run(terminal).await,
        }
    }
}

impl Belongs {
    fn context(&self) -> Result<bytes::Bytes, Failure> {
        let context = hex::decode(&self.context);
        context.map(Into::into).map_err(|_| Failure::usage("--context must be hexadecimal, two digits a byte"))
    }
}

impl Generate {
    async fn run(self, terminal: &Terminal) -> Result<Exit, Failure> {
        let Self { key: file, belongs, header, connection } = self;
        if file.exists() {
            return Err(Failure::usage(format!("{} is there already", file.display())));
        }
        let context = belongs.context()?;
        let request = GenerateDataKeyRequest {
            tenant: header.tenant.to_string(),
            purpose: header.purpose.to_string(),
            keys: vec![DataKeyToGenerate {
                subject: input::subject(belongs.subject, belongs.subject_file.as_deref())?.expose().to_owned(),
                class: belongs.class.to_string(),
                context,
            }],
            request_id: header.request_id.to_string(),
            reference: header.reference.to_string(),
            actor: header.actor(),
        };
        let response = connection.open().await?.encryption().generate_data_key(request).await?.into_inner();
        let key = match response.keys.into_iter().next().and_then(|key| key.result).ok_or_else(misfit)? {
            Generated::Key(key) => key,
            Generated::Error(error) => return Err(error.into()),
        };
        // The file first: a wrapped key whose key was never kept is of no use, and does no harm.
        files::write_new(&file, &key.plaintext).map_err(|error| Failure::usage(format!("{error:#}")))?;
        let wrapped = to_text(&key.wrapped);
        if terminal.json {
            put_json(&json!({
                "wrapped": wrapped,
                "key_id": hex::encode(&key.key_id),
                "key_version": key.key_version,
                "receipts": receipts(&response.receipts),
            }))?;
        } else {
            put(format!("{wrapped}\n").as_bytes())?;
            tell(&format!("key for {} in {}", belongs.class, file.display()), &response.receipts, terminal);
        }
        Ok(Exit::Ok)
    }
}

impl Unwrap {
    async fn run(self, terminal: &Terminal) -> Result<Exit, Failure> {
        let Self { input: file, belongs, header, connection } = self;
        if io::stdout().is_terminal() {
            return Err(Failure::usage("a key is not shown on a terminal: send it into a file or a pipe"));
        }
        let text = Value::read_line(file.as_deref())?;
        let wrapped =
            from_text(&text).map_err(|_| Failure::usage(format!("{} holds no pv1_… text", name(file.as_deref()))))?;
        let context = belongs.context()?;
        let request = UnwrapDataKeyRequest {
            tenant: header.tenant.to_string(),
            purpose: header.purpose.to_string(),
            keys: vec![DataKeyToUnwrap {
                subject: input::subject(belongs.subject, belongs.subject_file.as_deref())?.expose().to_owned(),
                class: belongs.class.to_string(),
                wrapped: wrapped.into(),
                context,
            }],
            request_id: header.request_id.to_string(),
            reference: header.reference.to_string(),
            actor: header.actor(),
        };
        let response = connection.open().await?.encryption().unwrap_data_key(request).await?.into_inner();
        match response.keys.into_iter().next().and_then(|key| key.result).ok_or_else(misfit)? {
            Unwrapped::Plaintext(key) => put(&key)?,
            Unwrapped::Error(error) => return Err(error.into()),
        }
        tell(&format!("unwrapped a key for {}", belongs.class), &response.receipts, terminal);
        Ok(Exit::Ok)
    }
}
