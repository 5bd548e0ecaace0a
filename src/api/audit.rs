//! AuditService.

use tonic::{Request, Response, Status};

use super::{Api, convert};
use crate::proto::v1::{self, audit_service_server::AuditService};

#[tonic::async_trait]
impl AuditService for Api {
    async fn list_entries(
        &self,
        request: Request<v1::ListEntriesRequest>,
    ) -> Result<Response<v1::ListEntriesResponse>, Status> {
        self.unary(request, convert::list_entries, convert::listed_entries).await
    }
}
