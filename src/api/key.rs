//! KeyService.

use tonic::{Request, Response, Status};

use super::{Api, convert::keys as convert};
use crate::proto::v1::{self, key_service_server::KeyService};

#[tonic::async_trait]
impl KeyService for Api {
    async fn get_key_status(
        &self,
        request: Request<v1::GetKeyStatusRequest>,
    ) -> Result<Response<v1::GetKeyStatusResponse>, Status> {
        self.unary(request, convert::status, convert::told).await
    }

    async fn rotate_subject_keys(
        &self,
        request: Request<v1::RotateSubjectKeysRequest>,
    ) -> Result<Response<v1::RotateSubjectKeysResponse>, Status> {
        self.unary(request, convert::rotate, convert::rotated).await
    }

    async fn retire_key_versions(
        &self,
        request: Request<v1::RetireKeyVersionsRequest>,
    ) -> Result<Response<v1::RetireKeyVersionsResponse>, Status> {
        self.unary(request, convert::retire, convert::retired).await
    }
}
