//! AuditService.

use tonic::{Request, Response, Status};

use super::{Api, call::Answers, convert};
use crate::proto::v1::{self, audit_service_server::AuditService};

#[tonic::async_trait]
impl AuditService for Api {
    type TailEntriesStream = Answers<v1::TailEntriesResponse>;
    type ExportEntriesStream = Answers<v1::ExportEntriesResponse>;

    async fn list_entries(
        &self,
        request: Request<v1::ListEntriesRequest>,
    ) -> Result<Response<v1::ListEntriesResponse>, Status> {
        self.unary(request, convert::list_entries, convert::listed_entries).await
    }

    async fn tail_entries(
        &self,
        _: Request<v1::TailEntriesRequest>,
    ) -> Result<Response<Self::TailEntriesStream>, Status> {
        Err(Status::unimplemented("not built yet"))
    }

    async fn export_entries(
        &self,
        _: Request<v1::ExportEntriesRequest>,
    ) -> Result<Response<Self::ExportEntriesStream>, Status> {
        Err(Status::unimplemented("not built yet"))
    }

    async fn get_checkpoint(
        &self,
        _: Request<v1::GetCheckpointRequest>,
    ) -> Result<Response<v1::GetCheckpointResponse>, Status> {
        Err(Status::unimplemented("not built yet"))
    }

    async fn get_inclusion_proof(
        &self,
        _: Request<v1::GetInclusionProofRequest>,
    ) -> Result<Response<v1::GetInclusionProofResponse>, Status> {
        Err(Status::unimplemented("not built yet"))
    }

    async fn get_consistency_proof(
        &self,
        _: Request<v1::GetConsistencyProofRequest>,
    ) -> Result<Response<v1::GetConsistencyProofResponse>, Status> {
        Err(Status::unimplemented("not built yet"))
    }
}
