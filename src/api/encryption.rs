//! EncryptionService.

use tonic::{Request, Response, Status, Streaming};

use super::{
    Api,
    call::{Answers, message_error},
    convert::{self, keys},
};
use crate::proto::v1::{
    self, decrypt_stream_response, encrypt_stream_response, encryption_service_server::EncryptionService,
    rewrap_stream_response,
};

#[tonic::async_trait]
impl EncryptionService for Api {
    async fn encrypt(&self, request: Request<v1::EncryptRequest>) -> Result<Response<v1::EncryptResponse>, Status> {
        self.unary(request, convert::encrypt, convert::encrypted).await
    }

    async fn decrypt(&self, request: Request<v1::DecryptRequest>) -> Result<Response<v1::DecryptResponse>, Status> {
        self.unary(request, convert::decrypt, convert::decrypted).await
    }

    async fn compute_index(
        &self,
        request: Request<v1::ComputeIndexRequest>,
    ) -> Result<Response<v1::ComputeIndexResponse>, Status> {
        self.unary(request, convert::compute_index, convert::computed_index).await
    }

    async fn rewrap(&self, request: Request<v1::RewrapRequest>) -> Result<Response<v1::RewrapResponse>, Status> {
        self.unary(request, keys::rewrap, keys::rewrapped).await
    }

    async fn generate_data_key(
        &self,
        request: Request<v1::GenerateDataKeyRequest>,
    ) -> Result<Response<v1::GenerateDataKeyResponse>, Status> {
        self.unary(request, keys::generate, keys::generated).await
    }

    async fn unwrap_data_key(
        &self,
        request: Request<v1::UnwrapDataKeyRequest>,
    ) -> Result<Response<v1::UnwrapDataKeyResponse>, Status> {
        self.unary(request, keys::unwrap, keys::unwrapped).await
    }

    type RewrapStreamStream = Answers<v1::RewrapStreamResponse>;

    async fn rewrap_stream(
        &self,
        request: Request<Streaming<v1::RewrapStreamRequest>>,
    ) -> Result<Response<Self::RewrapStreamStream>, Status> {
        self.stream(
            request,
            |message| (message.sequence, keys::rewrap(message.request.unwrap_or_default())),
            |sequence, outcome| {
                let result = match outcome {
                    Ok(released) => rewrap_stream_response::Result::Response(keys::rewrapped(released)),
                    Err(status) => rewrap_stream_response::Result::Error(message_error(&status)),
                };
                v1::RewrapStreamResponse { sequence, result: Some(result) }
            },
        )
    }

    type EncryptStreamStream = Answers<v1::EncryptStreamResponse>;

    async fn encrypt_stream(
        &self,
        request: Request<Streaming<v1::EncryptStreamRequest>>,
    ) -> Result<Response<Self::EncryptStreamStream>, Status> {
        self.stream(
            request,
            |message| (message.sequence, convert::encrypt(message.request.unwrap_or_default())),
            |sequence, outcome| {
                let result = match outcome {
                    Ok(released) => encrypt_stream_response::Result::Response(convert::encrypted(released)),
                    Err(status) => encrypt_stream_response::Result::Error(message_error(&status)),
                };
                v1::EncryptStreamResponse { sequence, result: Some(result) }
            },
        )
    }

    type DecryptStreamStream = Answers<v1::DecryptStreamResponse>;

    async fn decrypt_stream(
        &self,
        request: Request<Streaming<v1::DecryptStreamRequest>>,
    ) -> Result<Response<Self::DecryptStreamStream>, Status> {
        self.stream(
            request,
            |message| (message.sequence, convert::decrypt(message.request.unwrap_or_default())),
            |sequence, outcome| {
                let result = match outcome {
                    Ok(released) => decrypt_stream_response::Result::Response(convert::decrypted(released)),
                    Err(status) => decrypt_stream_response::Result::Error(message_error(&status)),
                };
                v1::DecryptStreamResponse { sequence, result: Some(result) }
            },
        )
    }
}
