//! AuditService.

use tonic::{Request, Response, Status};

use super::{Api, call::Answers, convert::audit as convert};
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
        request: Request<v1::TailEntriesRequest>,
    ) -> Result<Response<Self::TailEntriesStream>, Status> {
        self.tail(request)
    }

    async fn export_entries(
        &self,
        request: Request<v1::ExportEntriesRequest>,
    ) -> Result<Response<Self::ExportEntriesStream>, Status> {
        self.sequence(request, convert::export_entries, convert::exported_entries)
    }

    async fn get_checkpoint(
        &self,
        request: Request<v1::GetCheckpointRequest>,
    ) -> Result<Response<v1::GetCheckpointResponse>, Status> {
        self.unary(request, convert::get_checkpoint, convert::checkpoint).await
    }

    async fn get_inclusion_proof(
        &self,
        request: Request<v1::GetInclusionProofRequest>,
    ) -> Result<Response<v1::GetInclusionProofResponse>, Status> {
        self.unary(request, convert::get_inclusion_proof, convert::inclusion_proof).await
    }

    async fn get_consistency_proof(
        &self,
        request: Request<v1::GetConsistencyProofRequest>,
    ) -> Result<Response<v1::GetConsistencyProofResponse>, Status> {
        self.unary(request, convert::get_consistency_proof, convert::consistency_proof).await
    }
}
