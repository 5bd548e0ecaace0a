//! Messages to and from the server, alike for sealing and for opening.

use std::pin::Pin;

use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use tokio::sync::mpsc::Receiver;
use tokio_stream::wrappers::ReceiverStream;

use super::{
    super::{answer::misfit, client::Clients, failure::Failure, options::Header},
    Work,
    batch::{Fault, Field, Message},
};
use crate::{
    envelope::text::to_text,
    proto::v1::{
        self, Receipt, decrypt_stream_response, decrypted_field, encrypt_stream_response, encrypted_field,
        rewrap_stream_response, rewrapped_field,
    },
};

/// A server, and what every message to it says.
pub(super) struct Wire {
    clients: Clients,
    header: Header,
    work: Work,
}

/// The answers of a stream, in the order of its messages.
pub(super) type Answers = Pin<Box<dyn Stream<Item = Result<Answer, Failure>> + Send>>;

/// The answer to one message.
pub(super) struct Answer {
    pub(super) sequence: u64,
    pub(super) outcome: Result<Outcome, Failure>,
}

/// The results of a message's fields, in their order.
pub(super) struct Outcome {
    pub(super) results: Vec<Result<Bytes, Fault>>,
    pub(super) receipts: Vec<Receipt>,
}

impl Wire {
    pub(super) fn new(clients: Clients, header: Header, work: Work) -> Self {
        Self { clients, header, work }
    }

    /// Opens a stream for `messages`; it ends when they do.
    pub(super) async fn stream(&self, messages: Receiver<Message>) -> Result<Answers, Failure> {
        let messages = ReceiverStream::new(messages);
        let header = self.header.clone();
        let mut client = self.clients.encryption();
        match self.work {
            Work::Seal => {
                let requests = messages.map(move |message| v1::EncryptStreamRequest {
                    sequence: message.sequence,
                    request: Some(encrypt(&header, message.fields)),
                });
                let answers = client.encrypt_stream(requests).await?.into_inner();
                Ok(Box::pin(answers.map(|answer| {
                    let v1::EncryptStreamResponse { sequence, result } = answer?;
                    let outcome = match result.ok_or_else(misfit)? {
                        encrypt_stream_response::Result::Response(response) => encrypted(response),
                        encrypt_stream_response::Result::Error(status) => Err(status.into()),
                    };
                    Ok(Answer { sequence, outcome })
                })))
            }
            Work::Open(form) => {
                let requests = messages.map(move |message| v1::DecryptStreamRequest {
                    sequence: message.sequence,
                    request: Some(decrypt(&header, form, message.fields)),
                });
                let answers = client.decrypt_stream(requests).await?.into_inner();
                Ok(Box::pin(answers.map(|answer| {
                    let v1::DecryptStreamResponse { sequence, result } = answer?;
                    let outcome = match result.ok_or_else(misfit)? {
                        decrypt_stream_response::Result::Response(response) => decrypted(response),
                        decrypt_stream_response::Result::Error(status) => Err(status.into()),
                    };
                    Ok(Answer { sequence, outcome })
                })))
            }
            Work::Rewrap => {
                let requests = messages.map(move |message| v1::RewrapStreamRequest {
                    sequence: message.sequence,
                    request: Some(rewrap(&header, message.fields)),
                });
                let answers = client.rewrap_stream(requests).await?.into_inner();
                Ok(Box::pin(answers.map(|answer| {
                    let v1::RewrapStreamResponse { sequence, result } = answer?;
                    let outcome = match result.ok_or_else(misfit)? {
                        rewrap_stream_response::Result::Response(response) => rewrapped(response),
                        rewrap_stream_response::Result::Error(status) => Err(status.into()),
                    };
                    Ok(Answer { sequence, outcome })
                })))
            }
        }
    }

    /// Sends one message by itself.
    pub(super) async fn once(&self, message: Message) -> Result<Outcome, Failure> {
        let mut client = self.clients.encryption();
        match self.work {
            Work::Seal => encrypted(client.encrypt(encrypt(&self.header, message.fields)).await?.into_inner()),
            Work::Open(form) => {
                decrypted(client.decrypt(decrypt(&self.header, form, message.fields)).await?.into_inner())
            }
            Work::Rewrap => rewrapped(client.rewrap(rewrap(&self.header, message.fields)).await?.into_inner()),
        }
    }
}

fn encrypt(header: &Header, fields: Vec<Field>) -> v1::EncryptRequest {
    let field = |field: Field| v1::FieldToEncrypt {
        subject: field.subject,
        class: field.class.to_string(),
        plaintext: field.payload,
        context: Bytes::new(),
        index: false,
    };
    v1::EncryptRequest {
        tenant: header.tenant.to_string(),
        purpose: header.purpose.to_string(),
        fields: fields.into_iter().map(field).collect(),
        request_id: header.request_id.to_string(),
        reference: header.reference.to_string(),
        actor: header.actor(),
    }
}

fn decrypt(header: &Header, form: v1::Form, fields: Vec<Field>) -> v1::DecryptRequest {
    let field = |field: Field| v1::FieldToDecrypt {
        subject: field.subject,
        class: field.class.to_string(),
        ciphertext: field.payload,
        context: Bytes::new(),
        form: form.into(),
    };
    v1::DecryptRequest {
        tenant: header.tenant.to_string(),
        purpose: header.purpose.to_string(),
        fields: fields.into_iter().map(field).collect(),
        request_id: header.request_id.to_string(),
        reference: header.reference.to_string(),
        actor: header.actor(),
    }
}

fn rewrap(header: &Header, fields: Vec<Field>) -> v1::RewrapRequest {
    let field = |field: Field| v1::FieldToRewrap {
        subject: field.subject,
        class: field.class.to_string(),
        ciphertext: field.payload,
        context: Bytes::new(),
        data_key: false,
    };
    v1::RewrapRequest {
        tenant: header.tenant.to_string(),
        purpose: header.purpose.to_string(),
        fields: fields.into_iter().map(field).collect(),
        request_id: header.request_id.to_string(),
        reference: header.reference.to_string(),
        actor: header.actor(),
    }
}

fn rewrapped(response: v1::RewrapResponse) -> Result<Outcome, Failure> {
    let result = |field: v1::RewrappedField| match field.result.ok_or_else(misfit)? {
        rewrapped_field::Result::Ciphertext(ciphertext) => Ok(Ok(Bytes::from(to_text(&ciphertext)))),
        rewrapped_field::Result::Error(error) => Ok(Err(fault(error))),
    };
    let results = response.fields.into_iter().map(result).collect::<Result<_, Failure>>()?;
    Ok(Outcome { results, receipts: response.receipts })
}

fn encrypted(response: v1::EncryptResponse) -> Result<Outcome, Failure> {
    let result = |field: v1::EncryptedField| match field.result.ok_or_else(misfit)? {
        encrypted_field::Result::Ciphertext(ciphertext) => Ok(Ok(Bytes::from(to_text(&ciphertext)))),
        encrypted_field::Result::Error(error) => Ok(Err(fault(error))),
    };
    let results = response.fields.into_iter().map(result).collect::<Result<_, Failure>>()?;
    Ok(Outcome { results, receipts: response.receipts })
}

fn decrypted(response: v1::DecryptResponse) -> Result<Outcome, Failure> {
    let result = |field: v1::DecryptedField| match field.result.ok_or_else(misfit)? {
        decrypted_field::Result::Plaintext(plaintext) => Ok(Ok(plaintext)),
        decrypted_field::Result::Masked(masked) => Ok(Ok(Bytes::from(masked))),
        decrypted_field::Result::Error(error) => Ok(Err(fault(error))),
    };
    let results = response.fields.into_iter().map(result).collect::<Result<_, Failure>>()?;
    Ok(Outcome { results, receipts: response.receipts })
}

fn fault(error: v1::FieldError) -> Fault {
    let reason = error.reason().as_str_name().trim_start_matches("REASON_");
    Fault { reason: reason.into(), message: error.message.into() }
}
