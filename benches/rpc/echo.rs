//! The base: the generated service on plain tonic and hyper, which answers with as many bytes as Privet would and does
//! nothing else. Not Privet's own edge: what that costs is part of what is measured.

use std::{convert::Infallible, net::SocketAddr, pin::Pin, sync::Arc};

use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use hyper::{server::conn::http2, service::service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo};
use privet::proto::v1::{
    self, decrypt_stream_response, decrypted_field, encrypt_stream_response, encrypted_field,
    encryption_service_server::{EncryptionService, EncryptionServiceServer},
};
use rustls::ServerConfig;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tonic::{Request, Response, Status, Streaming, body::Body, service::Routes};
use tower::ServiceExt;

/// Serves until its runtime ends.
pub async fn start(tls: Arc<ServerConfig>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let acceptor = TlsAcceptor::from(tls);
    let routes = Routes::new(EncryptionServiceServer::new(Echo)).prepare();
    tokio::spawn(async move {
        loop {
            let (tcp, _) = listener.accept().await.unwrap();
            tokio::spawn(drive(tcp, acceptor.clone(), routes.clone()));
        }
    });
    address
}

async fn drive(tcp: TcpStream, acceptor: TlsAcceptor, routes: Routes) {
    tcp.set_nodelay(true).unwrap();
    let stream = acceptor.accept(tcp).await.unwrap();
    let service = service_fn(move |request: http::Request<hyper::body::Incoming>| {
        let routes = routes.clone();
        async move { routes.oneshot(request.map(Body::new)).await as Result<_, Infallible> }
    });
    // The client leaves when it is done.
    let _gone = http2::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service).await;
}

struct Echo;

type Answers<A> = Pin<Box<dyn Stream<Item = Result<A, Status>> + Send>>;

#[tonic::async_trait]
impl EncryptionService for Echo {
    async fn encrypt(&self, request: Request<v1::EncryptRequest>) -> Result<Response<v1::EncryptResponse>, Status> {
        Ok(Response::new(encrypted(request.into_inner())))
    }

    async fn decrypt(&self, request: Request<v1::DecryptRequest>) -> Result<Response<v1::DecryptResponse>, Status> {
        Ok(Response::new(decrypted(request.into_inner())))
    }

    async fn compute_index(
        &self,
        _: Request<v1::ComputeIndexRequest>,
    ) -> Result<Response<v1::ComputeIndexResponse>, Status> {
        Err(Status::unimplemented("not measured"))
    }

    async fn rewrap(&self, _: Request<v1::RewrapRequest>) -> Result<Response<v1::RewrapResponse>, Status> {
        Err(Status::unimplemented("not measured"))
    }

    async fn generate_data_key(
        &self,
        _: Request<v1::GenerateDataKeyRequest>,
    ) -> Result<Response<v1::GenerateDataKeyResponse>, Status> {
        Err(Status::unimplemented("not measured"))
    }

    async fn unwrap_data_key(
        &self,
        _: Request<v1::UnwrapDataKeyRequest>,
    ) -> Result<Response<v1::UnwrapDataKeyResponse>, Status> {
        Err(Status::unimplemented("not measured"))
    }

    type RewrapStreamStream = Answers<v1::RewrapStreamResponse>;

    async fn rewrap_stream(
        &self,
        _: Request<Streaming<v1::RewrapStreamRequest>>,
    ) -> Result<Response<Self::RewrapStreamStream>, Status> {
        Err(Status::unimplemented("not measured"))
    }

    type EncryptStreamStream = Answers<v1::EncryptStreamResponse>;

    async fn encrypt_stream(
        &self,
        request: Request<Streaming<v1::EncryptStreamRequest>>,
    ) -> Result<Response<Self::EncryptStreamStream>, Status> {
        let answers = request.into_inner().map(|message| {
            let v1::EncryptStreamRequest { sequence, request } = message?;
            let response = encrypted(request.unwrap_or_default());
            Ok(v1::EncryptStreamResponse {
                sequence,
                result: Some(encrypt_stream_response::Result::Response(response)),
            })
        });
        Ok(Response::new(Box::pin(answers)))
    }

    type DecryptStreamStream = Answers<v1::DecryptStreamResponse>;

    async fn decrypt_stream(
        &self,
        request: Request<Streaming<v1::DecryptStreamRequest>>,
    ) -> Result<Response<Self::DecryptStreamStream>, Status> {
        let answers = request.into_inner().map(|message| {
            let v1::DecryptStreamRequest { sequence, request } = message?;
            let response = decrypted(request.unwrap_or_default());
            Ok(v1::DecryptStreamResponse {
                sequence,
                result: Some(decrypt_stream_response::Result::Response(response)),
            })
        });
        Ok(Response::new(Box::pin(answers)))
    }
}

fn encrypted(request: v1::EncryptRequest) -> v1::EncryptResponse {
    let field = |field: v1::FieldToEncrypt| {
        let mut ciphertext = Vec::with_capacity(field.plaintext.len() + OVERHEAD);
        ciphertext.extend_from_slice(&[1; OVERHEAD]);
        ciphertext.extend_from_slice(&field.plaintext);
        v1::EncryptedField {
            result: Some(encrypted_field::Result::Ciphertext(ciphertext.into())),
            key_id: Bytes::from_static(&[1; 16]),
            key_version: 1,
            ..Default::default()
        }
    };
    v1::EncryptResponse { fields: request.fields.into_iter().map(field).collect(), receipts: vec![receipt()] }
}

fn decrypted(request: v1::DecryptRequest) -> v1::DecryptResponse {
    let field = |field: v1::FieldToDecrypt| v1::DecryptedField {
        result: Some(decrypted_field::Result::Plaintext(field.ciphertext.slice(OVERHEAD..))),
    };
    v1::DecryptResponse { fields: request.fields.into_iter().map(field).collect(), receipts: vec![receipt()] }
}

/// As long as one of Privet's.
fn receipt() -> v1::Receipt {
    v1::Receipt {
        origin: "test.example/log".to_owned(),
        entry_index: 1 << 20,
        leaf_hash: Bytes::from_static(&[1; 32]),
        checkpoint: String::new(),
    }
}

/// What a sealed field is longer than its value.
const OVERHEAD: usize = privet::envelope::OVERHEAD;
