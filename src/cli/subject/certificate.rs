//! `privet subject erasures`, `certificate` and `verify-certificate`.

use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use super::{
    super::{
        answer::{misfit, put, put_json, tell},
        failure::{Exit, Failure},
        input,
        table::{self, rfc3339},
        terminal::{Terminal, printable_lines},
        verifier::KnownKeys,
    },
    Acting,
};
use crate::{
    audit::{certificate, note::VerifierKey},
    policy::date,
    proto::v1::{GetErasureCertificateRequest, ListErasuresRequest},
};

#[derive(Args)]
pub struct Erasures {
    #[command(flatten)]
    acting: Acting,
}

#[derive(Args)]
pub struct Certificate {
    /// Erasure's id: 32 hexadecimal digits
    #[arg(value_parser = erasure_id)]
    id: [u8; 16],
    #[command(flatten)]
    acting: Acting,
}

#[derive(Args)]
#[command(after_help = "\
A file may hold several, one behind the other, as `privet subject erase` prints them. Each is
checked and told; if one does not hold, none is told.

Example:
  privet subject verify-certificate --verifier-key @log.vkey certificate.note")]
pub struct Verify {
    /// File with one certificate or several, or - for standard input
    #[arg(default_value = "-", hide_default_value = true)]
    file: PathBuf,
    /// Log's key, or @FILE with its keys: not from the server that you check
    #[arg(long, value_name = "KEY")]
    verifier_key: KnownKeys,
}

pub(super) fn erasure_id(text: &str) -> Result<[u8; 16], String> {
    let bytes = hex::decode(text).ok().and_then(|bytes| bytes.try_into().ok());
    bytes.ok_or_else(|| "must be 32 hexadecimal digits".to_owned())
}

impl Erasures {
    pub(super) async fn run(self, terminal: &Terminal) -> Result<Exit, Failure> {
        let Acting { tenant, request_id, connection, .. } = self.acting;
        let mut request = ListErasuresRequest {
            tenant: tenant.to_string(),
            page_size: 1_000,
            request_id: request_id.to_string(),
            ..Default::default()
        };
        let clients = connection.open().await?;
        let mut rows = table::table(["ERASURE", "TIME (UTC)", "CATEGORIES"], terminal);
        loop {
            let page = clients.subjects().list_erasures(request.clone()).await?.into_inner();
            for one in page.erasures {
                let time = one.time.as_ref().map(rfc3339).unwrap_or_default();
                let id = hex::encode(&one.id);
                if terminal.json {
                    let categories = (!one.categories.is_empty()).then_some(&one.categories);
                    put_json(&json!({ "id": id, "time": time, "categories": categories }))?;
                } else {
                    let all = if one.categories.is_empty() { "all".to_owned() } else { one.categories.join(", ") };
                    rows.add_row([table::cell(&id), table::cell(&time), table::cell(&all)]);
                }
            }
            if page.next_page_token.is_empty() {
                break;
            }
            if page.next_page_token == request.page_token {
                return Err(misfit());
            }
            request.page_token = page.next_page_token;
        }
        if !terminal.json {
            put(table::text(&rows).as_bytes())?;
        }
        Ok(Exit::Ok)
    }
}

impl Certificate {
    pub(super) async fn run(self, terminal: &Terminal) -> Result<Exit, Failure> {
        let Acting { tenant, request_id, connection, .. } = self.acting;
        let request = GetErasureCertificateRequest {
            tenant: tenant.to_string(),
            erasure_id: self.id.to_vec().into(),
            request_id: request_id.to_string(),
        };
        let answer = connection.open().await?.subjects().get_erasure_certificate(request).await?.into_inner();
        if terminal.json {
            put_json(&json!({ "certificate": answer.certificate }))?;
        } else {
            // Byte for byte: it is signed.
            put(answer.certificate.as_bytes())?;
            tell("fetched", &answer.receipts, terminal);
        }
        Ok(Exit::Ok)
    }
}

impl Verify {
    pub(super) fn run(self, terminal: &Terminal) -> Result<Exit, Failure> {
        let text = input::text(&self.file)?;
        let known: Vec<VerifierKey> =
            self.verifier_key.origins().flat_map(|origin| self.verifier_key.of(origin)).collect();
        for certificate in open(&text, &known)? {
            tell_one(&certificate, terminal)?;
        }
        Ok(Exit::Ok)
    }
}

/// Opens all certificates of a text, or none.
fn open(text: &str, known: &[VerifierKey]) -> Result<Vec<certificate::Certificate>, Failure> {
    let notes = certificate::several(text);
    let open = |(note, number): (&String, usize)| {
        certificate::Certificate::open(note, known).map_err(|error| {
            let which =
                if notes.len() > 1 { format!("certificate {number} of {}: ", notes.len()) } else { String::new() };
            Failure::refused(format!("{which}{error}")).reason("CERTIFICATE_NOT_PROVED")
        })
    };
    notes.iter().zip(1..).map(open).collect()
}

fn tell_one(certificate: &certificate::Certificate, terminal: &Terminal) -> Result<(), Failure> {
    let certificate::Certificate { origin, tenant, erasure, categories, unix_secs } = certificate;
    let categories: Vec<&str> = categories.iter().map(crate::id::Category::as_str).collect();
    let (id, time) = (hex::encode(erasure), date(*unix_secs));
    if terminal.json {
        let categories = (!categories.is_empty()).then_some(categories);
        let tenant = tenant.as_str();
        return put_json(&json!({
            "verified": true, "origin": origin, "tenant": tenant, "erasure_id": id, "categories": categories, "time": time,
        }));
    }
    let what = if categories.is_empty() { "all categories".to_owned() } else { categories.join(", ") };
    let text = format!("verified: {origin} says that {what} of one subject of {tenant} were erased at {time}\n");
    put(printable_lines(&text).as_bytes())
}
