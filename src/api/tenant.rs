//! TenantService.

use tonic::{Request, Response, Status};

use super::{Api, convert::tenants as convert};
use crate::proto::v1::{self, tenant_service_server::TenantService};

#[tonic::async_trait]
impl TenantService for Api {
    async fn create_tenant(
        &self,
        request: Request<v1::CreateTenantRequest>,
    ) -> Result<Response<v1::CreateTenantResponse>, Status> {
        self.unary(request, convert::create, convert::created).await
    }

    async fn list_tenants(
        &self,
        request: Request<v1::ListTenantsRequest>,
    ) -> Result<Response<v1::ListTenantsResponse>, Status> {
        self.unary(request, convert::list, convert::listed).await
    }

    async fn destroy_tenant(
        &self,
        request: Request<v1::DestroyTenantRequest>,
    ) -> Result<Response<v1::DestroyTenantResponse>, Status> {
        self.unary(request, convert::destroy, convert::destroyed).await
    }

    async fn cancel_destroy_tenant(
        &self,
        request: Request<v1::CancelDestroyTenantRequest>,
    ) -> Result<Response<v1::CancelDestroyTenantResponse>, Status> {
        self.unary(request, convert::cancel, convert::cancelled).await
    }
}
