//! A server in memory for tests of what is built on [`super::Clients`]. Its ciphertexts are the subject and the value, each
//! byte flipped.
//!
//! Classes: `pii/denied/…` is denied. Values: more than 100 bytes break a rule; `busy` is unavailable, once; `lost` always is.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
};

use futures_util::{Stream, StreamExt};
use tokio::io::DuplexStream;
use tonic::{
    Code, Request, Response, Status, Streaming,
    transport::{Server, server::Router},
};
use tonic_types::{ErrorDetails, StatusExt};

use super::*;

pub(in super::super) mod audit;
pub(in super::super) mod export;
pub(in super::super) mod policy;

use crate::proto::v1::{
    self, FieldError, Reason, Receipt, decrypt_stream_response, decrypted_field, encrypt_stream_response,
    encrypted_field,
    encryption_service_server::{EncryptionService, EncryptionServiceServer},
    rewrap_stream_response, rewrapped_field,
};

/// What the server saw.
#[derive(Default)]
pub(in super::super) struct Seen {
    /// Messages of streams.
    pub(in super::super) messages: AtomicUsize,
    /// Calls with one message.
    pub(in super::super) unary: AtomicUsize,
    /// Fields of the biggest message.
    pub(in super::super) fields_max: AtomicUsize,
    busy: AtomicUsize,
    entries: AtomicU64,
}

/// Clients of a new server.
pub(in super::super) async fn clients() -> (Clients, Arc<Seen>) {
    let seen = Arc::new(Seen::default());
    let service = EncryptionServiceServer::new(Fake(Arc::clone(&seen)));
    (over(Server::builder().add_service(service)).await, seen)
}

/// Clients over a connection in memory.
async fn over(server: Router) -> Clients {
    let (near, far) = tokio::io::duplex(1 << 16);
    let incoming = futures_util::stream::iter([Ok::<_, io::Error>(far)]).chain(futures_util::stream::pending());
    tokio::spawn(server.serve_with_incoming(incoming));
    let channel = Endpoint::from_static("http://fake").connect_with_connector(Near(Some(near))).await.unwrap();
    Clients::over(channel)
}

struct Near(Option<DuplexStream>);

impl tower::Service<Uri> for Near {
    type Response = TokioIo<DuplexStream>;
    type Error = io::Error;
    type Future = std::future::Ready<io::Result<Self::Response>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        std::future::ready(self.0.take().map(TokioIo::new).ok_or(io::ErrorKind::ConnectionRefused.into()))
    }
}

struct Fake(Arc<Seen>);

type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

impl Seen {
    fn receipts(&self) -> Vec<Receipt> {
        vec![Receipt { entry_index: self.entries.fetch_add(1, Relaxed), ..Default::default() }]
    }

    fn admit<'a>(&self, values: impl ExactSizeIterator<Item = (&'a str, &'a [u8])>) -> Result<(), Status> {
        self.fields_max.fetch_max(values.len(), Relaxed);
        let mut denied = values.len();
        for (i, (class, value)) in values.enumerate() {
            denied -= usize::from(class.starts_with("pii/denied/"));
            if value.len() > 100 {
                let (field, rule) = (format!("fields[{i}].plaintext"), "must be at most 100 bytes");
                let message = format!("{field}: {rule}");
                let details = ErrorDetails::with_bad_request_violation(field, rule);
                return Err(Status::with_error_details(Code::InvalidArgument, message, details));
            }
            if class == "pii/unknown/x" {
                let details = ErrorDetails::with_bad_request_violation(format!("fields[{i}].class"), "must be known");
                return Err(Status::with_error_details(Code::InvalidArgument, "bad", details));
            }
            if value == b"lost" || value == b"busy" && self.busy.fetch_add(1, Relaxed) == 0 {
                return Err(Status::unavailable("try again"));
            }
        }
        if denied == 0 { Err(Status::permission_denied("no grant")) } else { Ok(()) }
    }

    fn encrypt(&self, request: v1::EncryptRequest) -> Result<v1::EncryptResponse, Status> {
        self.admit(request.fields.iter().map(|field| (field.class.as_str(), &field.plaintext[..])))?;
        let field = |field: v1::FieldToEncrypt| v1::EncryptedField {
            result: Some(if field.class.starts_with("pii/denied/") {
                encrypted_field::Result::Error(denied())
            } else {
                encrypted_field::Result::Ciphertext(seal(&field.subject, &field.plaintext).into())
            }),
            ..Default::default()
        };
        Ok(v1::EncryptResponse { fields: request.fields.into_iter().map(field).collect(), receipts: self.receipts() })
    }

    fn decrypt(&self, request: v1::DecryptRequest) -> Result<v1::DecryptResponse, Status> {
        self.admit(request.fields.iter().map(|field| (field.class.as_str(), &b""[..])))?;
        let field = |field: v1::FieldToDecrypt| {
            let open: Vec<u8> = field.ciphertext.iter().map(|b| !b).collect();
            let result = match open.strip_prefix(format!("{}/", field.subject).as_bytes()) {
                Some(value) if field.form == i32::from(v1::Form::Masked) => {
                    decrypted_field::Result::Masked(format!("***{}", value.len()))
                }
                Some(value) => decrypted_field::Result::Plaintext(value.to_vec().into()),
                None => decrypted_field::Result::Error(FieldError {
                    reason: Reason::InvalidCiphertext.into(),
                    message: "not a ciphertext of this subject".into(),
                }),
            };
            v1::DecryptedField { result: Some(result) }
        };
        Ok(v1::DecryptResponse { fields: request.fields.into_iter().map(field).collect(), receipts: self.receipts() })
    }

    /// A new ciphertext is of the same value with a prime behind it.
    fn rewrap(&self, request: v1::RewrapRequest) -> Result<v1::RewrapResponse, Status> {
        self.admit(request.fields.iter().map(|field| (field.class.as_str(), &b""[..])))?;
        let field = |field: v1::FieldToRewrap| {
            let open: Vec<u8> = field.ciphertext.iter().map(|b| !b).collect();
            let result = match open.strip_prefix(format!("{}/", field.subject).as_bytes()) {
                Some(value) => {
                    rewrapped_field::Result::Ciphertext(seal(&field.subject, &[value, b"'"].concat()).into())
                }
                None => rewrapped_field::Result::Error(denied()),
            };
            v1::RewrappedField { result: Some(result), changed: true, ..Default::default() }
        };
        Ok(v1::RewrapResponse { fields: request.fields.into_iter().map(field).collect(), receipts: self.receipts() })
    }
}

fn seal(subject: &str, value: &[u8]) -> Vec<u8> {
    subject.bytes().chain([b'/']).chain(value.iter().copied()).map(|b| !b).collect()
}

fn denied() -> FieldError {
    FieldError { reason: Reason::Denied.into(), message: "no grant".into() }
}

fn error(status: &Status) -> tonic_types::pb::Status {
    tonic_types::pb::Status {
        code: status.code().into(),
        message: status.message().into(),
        details: <tonic_types::pb::Status as prost::Message>::decode(status.details()).unwrap_or_default().details,
    }
}

#[tonic::async_trait]
impl EncryptionService for Fake {
    async fn encrypt(&self, request: Request<v1::EncryptRequest>) -> Result<Response<v1::EncryptResponse>, Status> {
        self.0.unary.fetch_add(1, Relaxed);
        self.0.encrypt(request.into_inner()).map(Response::new)
    }

    async fn decrypt(&self, request: Request<v1::DecryptRequest>) -> Result<Response<v1::DecryptResponse>, Status> {
        self.0.unary.fetch_add(1, Relaxed);
        self.0.decrypt(request.into_inner()).map(Response::new)
    }

    async fn compute_index(
        &self,
        _: Request<v1::ComputeIndexRequest>,
    ) -> Result<Response<v1::ComputeIndexResponse>, Status> {
        Err(Status::unimplemented("no index here"))
    }

    async fn rewrap(&self, request: Request<v1::RewrapRequest>) -> Result<Response<v1::RewrapResponse>, Status> {
        self.0.unary.fetch_add(1, Relaxed);
        self.0.rewrap(request.into_inner()).map(Response::new)
    }

    async fn generate_data_key(
        &self,
        _: Request<v1::GenerateDataKeyRequest>,
    ) -> Result<Response<v1::GenerateDataKeyResponse>, Status> {
        Err(Status::unimplemented("no data keys here"))
    }

    async fn unwrap_data_key(
        &self,
        _: Request<v1::UnwrapDataKeyRequest>,
    ) -> Result<Response<v1::UnwrapDataKeyResponse>, Status> {
        Err(Status::unimplemented("no data keys here"))
    }

    type RewrapStreamStream = Answers<v1::RewrapStreamResponse>;

    async fn rewrap_stream(
        &self,
        request: Request<Streaming<v1::RewrapStreamRequest>>,
    ) -> Result<Response<Self::RewrapStreamStream>, Status> {
        let seen = Arc::clone(&self.0);
        Ok(Response::new(Box::pin(request.into_inner().map(move |message| {
            let v1::RewrapStreamRequest { sequence, request } = message?;
            seen.messages.fetch_add(1, Relaxed);
            let result = match seen.rewrap(request.unwrap_or_default()) {
                Ok(response) => rewrap_stream_response::Result::Response(response),
                Err(status) => rewrap_stream_response::Result::Error(error(&status)),
            };
            Ok(v1::RewrapStreamResponse { sequence, result: Some(result) })
        }))))
    }

    type EncryptStreamStream = Answers<v1::EncryptStreamResponse>;

    async fn encrypt_stream(
        &self,
        request: Request<Streaming<v1::EncryptStreamRequest>>,
    ) -> Result<Response<Self::EncryptStreamStream>, Status> {
        let seen = Arc::clone(&self.0);
        Ok(Response::new(Box::pin(request.into_inner().map(move |message| {
            let v1::EncryptStreamRequest { sequence, request } = message?;
            seen.messages.fetch_add(1, Relaxed);
            let result = match seen.encrypt(request.unwrap_or_default()) {
                Ok(response) => encrypt_stream_response::Result::Response(response),
                Err(status) => encrypt_stream_response::Result::Error(error(&status)),
            };
            Ok(v1::EncryptStreamResponse { sequence, result: Some(result) })
        }))))
    }

    type DecryptStreamStream = Answers<v1::DecryptStreamResponse>;

    async fn decrypt_stream(
        &self,
        request: Request<Streaming<v1::DecryptStreamRequest>>,
    ) -> Result<Response<Self::DecryptStreamStream>, Status> {
        let seen = Arc::clone(&self.0);
        Ok(Response::new(Box::pin(request.into_inner().map(move |message| {
            let v1::DecryptStreamRequest { sequence, request } = message?;
            seen.messages.fetch_add(1, Relaxed);
            let result = match seen.decrypt(request.unwrap_or_default()) {
                Ok(response) => decrypt_stream_response::Result::Response(response),
                Err(status) => decrypt_stream_response::Result::Error(error(&status)),
            };
            Ok(v1::DecryptStreamResponse { sequence, result: Some(result) })
        }))))
    }
}
