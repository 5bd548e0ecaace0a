//! PolicyService.

use tonic::{Request, Response, Status};

use super::{
    Api,
    convert::{glass, policy as convert},
};
use crate::proto::v1::{self, policy_service_server::PolicyService};

#[tonic::async_trait]
impl PolicyService for Api {
    async fn get_policy(
        &self,
        request: Request<v1::GetPolicyRequest>,
    ) -> Result<Response<v1::GetPolicyResponse>, Status> {
        self.unary(request, convert::get_policy, convert::got_policy).await
    }

    async fn list_policy_versions(
        &self,
        request: Request<v1::ListPolicyVersionsRequest>,
    ) -> Result<Response<v1::ListPolicyVersionsResponse>, Status> {
        self.unary(request, convert::list_versions, convert::listed_versions).await
    }

    async fn propose_change(
        &self,
        request: Request<v1::ProposeChangeRequest>,
    ) -> Result<Response<v1::ProposeChangeResponse>, Status> {
        self.unary(request, convert::propose_change, convert::proposed).await
    }

    async fn get_proposal(
        &self,
        request: Request<v1::GetProposalRequest>,
    ) -> Result<Response<v1::GetProposalResponse>, Status> {
        self.unary(request, convert::get_proposal, convert::got_proposal).await
    }

    async fn list_proposals(
        &self,
        request: Request<v1::ListProposalsRequest>,
    ) -> Result<Response<v1::ListProposalsResponse>, Status> {
        self.unary(request, convert::list_proposals, convert::listed_proposals).await
    }

    async fn approve_proposal(
        &self,
        request: Request<v1::ApproveProposalRequest>,
    ) -> Result<Response<v1::ApproveProposalResponse>, Status> {
        self.unary(request, convert::approve_proposal, convert::approved).await
    }

    async fn reject_proposal(
        &self,
        request: Request<v1::RejectProposalRequest>,
    ) -> Result<Response<v1::RejectProposalResponse>, Status> {
        self.unary(request, convert::reject_proposal, convert::rejected).await
    }

    async fn simulate(&self, request: Request<v1::SimulateRequest>) -> Result<Response<v1::SimulateResponse>, Status> {
        self.unary(request, convert::simulate, convert::simulated).await
    }

    async fn break_glass(
        &self,
        request: Request<v1::BreakGlassRequest>,
    ) -> Result<Response<v1::BreakGlassResponse>, Status> {
        self.unary(request, glass::break_glass, glass::broke).await
    }

    async fn end_break_glass(
        &self,
        request: Request<v1::EndBreakGlassRequest>,
    ) -> Result<Response<v1::EndBreakGlassResponse>, Status> {
        self.unary(request, glass::end, glass::ended).await
    }

    async fn review_break_glass(
        &self,
        request: Request<v1::ReviewBreakGlassRequest>,
    ) -> Result<Response<v1::ReviewBreakGlassResponse>, Status> {
        self.unary(request, glass::review, glass::reviewed).await
    }

    async fn list_break_glass(
        &self,
        request: Request<v1::ListBreakGlassRequest>,
    ) -> Result<Response<v1::ListBreakGlassResponse>, Status> {
        self.unary(request, glass::list, glass::listed).await
    }
}
