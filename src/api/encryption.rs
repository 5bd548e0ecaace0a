//! EncryptionService.

use tonic::{Request, Response, Status, Streaming};

use super::{
    Api,
    call::{Answers, message_error},
    convert,
};
use crate::proto::v1::{
    self, decrypt_stream_response, encrypt_stream_response, encryption_service_server::EncryptionService,
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
