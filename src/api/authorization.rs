//! AuthorizationService.

use tonic::{Request, Response, Status};

use super::{Api, convert};
use crate::proto::v1::{self, authorization_service_server::AuthorizationService};

#[tonic::async_trait]
impl AuthorizationService for Api {
    async fn check(&self, request: Request<v1::CheckRequest>) -> Result<Response<v1::CheckResponse>, Status> {
        self.unary(request, convert::check, convert::checked).await
    }
}
