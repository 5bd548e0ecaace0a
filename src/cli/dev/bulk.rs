//! Many fields over one stream: cut into messages, answered in order, put together again.

use anyhow::{Context, Result, bail};
use tokio_stream::iter;

use super::customers::Field;
use crate::{
    cli::client::Clients,
    proto::v1::{
        self, DecryptStreamRequest, EncryptStreamRequest, Form, Receipt, decrypt_stream_response, decrypted_field,
        encrypt_stream_response, encrypted_field,
    },
};

/// Fields in one message.
const FIELDS: usize = 250;
/// The tenant of the scenario.
pub(super) const TENANT: &str = "acme";

/// What a field came back as.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Served {
    Plaintext(Vec<u8>),
    Masked(String),
    Failed(v1::Reason),
}

/// Seals fields; gives their ciphertexts in order.
pub(super) async fn seal(
    clients: &Clients,
    purpose: &'static str,
    fields: &[Field],
    receipts: &mut Vec<Receipt>,
) -> Result<Vec<Vec<u8>>> {
    let messages: Vec<EncryptStreamRequest> = fields
        .chunks(FIELDS)
        .zip(0..)
        .map(|(chunk, sequence)| {
            let fields = chunk.iter().map(|field| v1::FieldToEncrypt {
                subject: field.subject.clone(),
                class: field.class.to_owned(),
                plaintext: field.value.clone().into(),
                ..Default::default()
            });
            let request = v1::EncryptRequest {
                tenant: TENANT.into(),
                purpose: purpose.into(),
                fields: fields.collect(),
                ..Default::default()
            };
            EncryptStreamRequest { sequence, request: Some(request) }
        })
        .collect();
    let mut answers = clients.encryption().encrypt_stream(iter(messages)).await?.into_inner();
    let mut sealed = Vec::with_capacity(fields.len());
    while let Some(answer) = answers.message().await? {
        let response = match answer.result.context("an empty answer")? {
            encrypt_stream_response::Result::Response(response) => response,
            encrypt_stream_response::Result::Error(error) => bail!("{}", error.message),
        };
        receipts.extend(response.receipts);
        for field in response.fields {
            match field.result.context("an empty field")? {
                encrypted_field::Result::Ciphertext(ciphertext) => sealed.push(ciphertext.into()),
                encrypted_field::Result::Error(error) => bail!("a field was not sealed: {}", error.message),
            }
        }
    }
    if sealed.len() != fields.len() {
        bail!("{} of {} fields came back", sealed.len(), fields.len());
    }
    Ok(sealed)
}

/// Opens fields in one form; gives what became of each, in order.
pub(super) async fn open(
    clients: &Clients,
    purpose: &'static str,
    form: Form,
    fields: &[(&Field, &Vec<u8>)],
    receipts: &mut Vec<Receipt>,
) -> Result<Vec<Served>> {
    let messages: Vec<DecryptStreamRequest> = fields
        .chunks(FIELDS)
        .zip(0..)
        .map(|(chunk, sequence)| DecryptStreamRequest { sequence, request: Some(request(purpose, form, chunk)) })
        .collect();
    let mut answers = clients.encryption().decrypt_stream(iter(messages)).await?.into_inner();
    let mut opened = Vec::with_capacity(fields.len());
    while let Some(answer) = answers.message().await? {
        let response = match answer.result.context("an empty answer")? {
            decrypt_stream_response::Result::Response(response) => response,
            decrypt_stream_response::Result::Error(error) => bail!("{}", error.message),
        };
        receipts.extend(response.receipts);
        for field in response.fields {
            opened.push(match field.result.context("an empty field")? {
                decrypted_field::Result::Plaintext(value) => Served::Plaintext(value.into()),
                decrypted_field::Result::Masked(value) => Served::Masked(value),
                decrypted_field::Result::Error(error) => Served::Failed(error.reason()),
            });
        }
    }
    if opened.len() != fields.len() {
        bail!("{} of {} fields came back", opened.len(), fields.len());
    }
    Ok(opened)
}

/// One request to open fields.
pub(super) fn request(purpose: &str, form: Form, fields: &[(&Field, &Vec<u8>)]) -> v1::DecryptRequest {
    let fields = fields.iter().map(|(field, ciphertext)| v1::FieldToDecrypt {
        subject: field.subject.clone(),
        class: field.class.to_owned(),
        ciphertext: (*ciphertext).clone().into(),
        form: form.into(),
        ..Default::default()
    });
    v1::DecryptRequest {
        tenant: TENANT.into(),
        purpose: purpose.into(),
        fields: fields.collect(),
        ..Default::default()
    }
}
