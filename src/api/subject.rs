//! SubjectService.

use tonic::{Request, Response, Status};

use super::{Api, convert::subject as convert};
use crate::proto::v1::{self, subject_service_server::SubjectService};

#[tonic::async_trait]
impl SubjectService for Api {
    async fn get_subject(
        &self,
        request: Request<v1::GetSubjectRequest>,
    ) -> Result<Response<v1::GetSubjectResponse>, Status> {
        self.unary(request, convert::get, convert::got).await
    }

    async fn erase_subjects(
        &self,
        request: Request<v1::EraseSubjectsRequest>,
    ) -> Result<Response<v1::EraseSubjectsResponse>, Status> {
        self.unary(request, convert::erase, convert::erased).await
    }

    async fn reinstate_subject(
        &self,
        request: Request<v1::ReinstateSubjectRequest>,
    ) -> Result<Response<v1::ReinstateSubjectResponse>, Status> {
        self.unary(request, convert::reinstate, convert::reinstated).await
    }

    async fn place_hold(
        &self,
        request: Request<v1::PlaceHoldRequest>,
    ) -> Result<Response<v1::PlaceHoldResponse>, Status> {
        self.unary(request, convert::place, convert::placed).await
    }

    async fn release_hold(
        &self,
        request: Request<v1::ReleaseHoldRequest>,
    ) -> Result<Response<v1::ReleaseHoldResponse>, Status> {
        self.unary(request, convert::release, convert::released).await
    }

    async fn close_subject(
        &self,
        request: Request<v1::CloseSubjectRequest>,
    ) -> Result<Response<v1::CloseSubjectResponse>, Status> {
        self.unary(request, convert::close, convert::closed).await
    }

    async fn report_access(
        &self,
        request: Request<v1::ReportAccessRequest>,
    ) -> Result<Response<v1::ReportAccessResponse>, Status> {
        self.unary(request, convert::report, convert::reported).await
    }

    async fn count_due(&self, request: Request<v1::CountDueRequest>) -> Result<Response<v1::CountDueResponse>, Status> {
        self.unary(request, convert::count_due, convert::counted_due).await
    }

    async fn list_erasures(
        &self,
        request: Request<v1::ListErasuresRequest>,
    ) -> Result<Response<v1::ListErasuresResponse>, Status> {
        self.unary(request, convert::list, convert::listed).await
    }

    async fn get_erasure_certificate(
        &self,
        request: Request<v1::GetErasureCertificateRequest>,
    ) -> Result<Response<v1::GetErasureCertificateResponse>, Status> {
        self.unary(request, convert::certificate, convert::certified).await
    }
}
