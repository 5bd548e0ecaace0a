//! AuthorizationService.

use tonic::{Request, Response, Status};

use super::{Api, convert, convert::authorization as why};
use crate::proto::v1::{self, authorization_service_server::AuthorizationService};

#[tonic::async_trait]
impl AuthorizationService for Api {
    async fn check(&self, request: Request<v1::CheckRequest>) -> Result<Response<v1::CheckResponse>, Status> {
        self.unary(request, convert::check, convert::checked).await
    }

    async fn explain(&self, request: Request<v1::ExplainRequest>) -> Result<Response<v1::ExplainResponse>, Status> {
        self.unary(request, why::explain, why::explained).await
    }

    async fn list_grants_for(
        &self,
        request: Request<v1::ListGrantsForRequest>,
    ) -> Result<Response<v1::ListGrantsForResponse>, Status> {
        self.unary(request, why::list_grants_for, why::listed_grants).await
    }

    async fn who_can(&self, request: Request<v1::WhoCanRequest>) -> Result<Response<v1::WhoCanResponse>, Status> {
        self.unary(request, why::who_can, why::who_could).await
    }
}
