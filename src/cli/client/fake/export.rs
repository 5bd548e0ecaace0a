//! A log's server in memory that exports what it was told to.

use std::sync::Mutex;

use tonic::{Request, Response, Status, transport::Server};

use super::*;
use crate::proto::v1::audit_service_server::{AuditService, AuditServiceServer};

/// What the server answers.
#[derive(Clone, Default)]
pub(in super::super::super) struct Script {
    /// Its newest checkpoint.
    pub(in super::super::super) newest: v1::GetCheckpointResponse,
    /// Its export.
    pub(in super::super::super) messages: Vec<v1::ExportEntriesResponse>,
    /// Whether the export breaks off after these.
    pub(in super::super::super) breaks: bool,
}

/// What it was asked: tenant and first index of each export.
pub(in super::super::super) type Asked = Arc<Mutex<Vec<(String, u64)>>>;

/// Clients of a new server.
pub(in super::super::super) async fn exporting(script: Script) -> (Clients, Asked) {
    let asked = Asked::default();
    let service = AuditServiceServer::new(Fake { script, asked: Arc::clone(&asked) });
    (over(Server::builder().add_service(service)).await, asked)
}

struct Fake {
    script: Script,
    asked: Asked,
}

fn not_here<T>() -> Result<Response<T>, Status> {
    Err(Status::unimplemented("not here"))
}

#[tonic::async_trait]
impl AuditService for Fake {
    type TailEntriesStream = Answers<v1::TailEntriesResponse>;
    type ExportEntriesStream = Answers<v1::ExportEntriesResponse>;

    async fn export_entries(
        &self,
        request: Request<v1::ExportEntriesRequest>,
    ) -> Result<Response<Self::ExportEntriesStream>, Status> {
        let v1::ExportEntriesRequest { tenant, start_index, .. } = request.into_inner();
        let mut asked = self.asked.lock().unwrap();
        asked.push((tenant, start_index));
        if self.script.breaks && asked.len() > 1 {
            return Err(Status::unavailable("gone for good"));
        }
        let end = self.script.breaks.then(|| Err(Status::unavailable("gone")));
        let answers = self.script.messages.clone().into_iter().map(Ok).chain(end);
        Ok(Response::new(Box::pin(futures_util::stream::iter(answers))))
    }

    async fn get_checkpoint(
        &self,
        _: Request<v1::GetCheckpointRequest>,
    ) -> Result<Response<v1::GetCheckpointResponse>, Status> {
        Ok(Response::new(self.script.newest.clone()))
    }

    async fn list_entries(
        &self,
        _: Request<v1::ListEntriesRequest>,
    ) -> Result<Response<v1::ListEntriesResponse>, Status> {
        not_here()
    }

    async fn tail_entries(
        &self,
        _: Request<v1::TailEntriesRequest>,
    ) -> Result<Response<Self::TailEntriesStream>, Status> {
        not_here()
    }

    async fn get_inclusion_proof(
        &self,
        _: Request<v1::GetInclusionProofRequest>,
    ) -> Result<Response<v1::GetInclusionProofResponse>, Status> {
        not_here()
    }

    async fn get_consistency_proof(
        &self,
        _: Request<v1::GetConsistencyProofRequest>,
    ) -> Result<Response<v1::GetConsistencyProofResponse>, Status> {
        not_here()
    }
}
