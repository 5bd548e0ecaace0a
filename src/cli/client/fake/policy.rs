//! A policy in memory: its versions, and proposals that take effect at once until they no longer do.

use std::sync::{Arc, Mutex};

use tonic::{Request, Response, Status};

use super::{super::Clients, audit::Log, over};
use crate::proto::v1::{
    self, GetPolicyResponse, PolicyGrant, PolicyVersion, Proposal, ProposalState, ProposeChangeRequest,
    audit_service_server::AuditServiceServer,
    policy_change::Change,
    policy_service_server::{PolicyService, PolicyServiceServer},
};

/// The policy.
#[derive(Clone)]
pub(in crate::cli) struct Policy(Arc<State>);

struct State {
    versions: Vec<(PolicyVersion, Vec<PolicyGrant>)>,
    /// Proposals that take effect at once; further ones wait.
    narrow: usize,
    proposed: Mutex<Vec<ProposeChangeRequest>>,
    read: Mutex<Vec<u64>>,
}

impl Policy {
    /// A policy of these versions, the oldest first.
    pub(in crate::cli) fn of(versions: Vec<(PolicyVersion, Vec<PolicyGrant>)>, narrow: usize) -> Self {
        Self(Arc::new(State { versions, narrow, proposed: Mutex::default(), read: Mutex::default() }))
    }

    /// Clients over a new connection, of it and of a log.
    pub(in crate::cli) async fn clients(&self, log: &Log) -> Clients {
        let router = tonic::transport::Server::builder()
            .add_service(AuditServiceServer::new(log.clone()))
            .add_service(PolicyServiceServer::new(self.clone()));
        over(router).await
    }

    /// What was proposed: the version that each was made from, and the ids that it removes.
    pub(in crate::cli) fn proposed(&self) -> Vec<(u64, Vec<String>)> {
        let id = |change: &v1::PolicyChange| match &change.change {
            Some(Change::Remove(id)) => id.clone(),
            other => panic!("{other:?}"),
        };
        let proposed = self.0.proposed.lock().unwrap();
        proposed.iter().map(|request| (request.base_version, request.changes.iter().map(id).collect())).collect()
    }

    /// Which versions were read, in this order.
    pub(in crate::cli) fn read(&self) -> Vec<u64> {
        self.0.read.lock().unwrap().clone()
    }
}

macro_rules! absent {
    ($($call:ident: $request:ident -> $response:ident),* $(,)?) => {
        #[tonic::async_trait]
        impl PolicyService for Policy {
            async fn get_policy(
                &self,
                request: Request<v1::GetPolicyRequest>,
            ) -> Result<Response<GetPolicyResponse>, Status> {
                get_policy(&self.0, request.into_inner()).map(Response::new)
            }

            async fn list_policy_versions(
                &self,
                _: Request<v1::ListPolicyVersionsRequest>,
            ) -> Result<Response<v1::ListPolicyVersionsResponse>, Status> {
                let versions = self.0.versions.iter().rev().map(|(version, _)| version.clone()).collect();
                Ok(Response::new(v1::ListPolicyVersionsResponse { versions, ..Default::default() }))
            }

            async fn propose_change(
                &self,
                request: Request<ProposeChangeRequest>,
            ) -> Result<Response<v1::ProposeChangeResponse>, Status> {
                Ok(Response::new(propose(&self.0, request.into_inner())))
            }

            $(async fn $call(&self, _: Request<v1::$request>) -> Result<Response<v1::$response>, Status> {
                Err(Status::unimplemented("not here"))
            })*
        }
    };
}

absent! {
    get_proposal: GetProposalRequest -> GetProposalResponse,
    list_proposals: ListProposalsRequest -> ListProposalsResponse,
    approve_proposal: ApproveProposalRequest -> ApproveProposalResponse,
    reject_proposal: RejectProposalRequest -> RejectProposalResponse,
    simulate: SimulateRequest -> SimulateResponse,
    break_glass: BreakGlassRequest -> BreakGlassResponse,
    end_break_glass: EndBreakGlassRequest -> EndBreakGlassResponse,
    review_break_glass: ReviewBreakGlassRequest -> ReviewBreakGlassResponse,
    list_break_glass: ListBreakGlassRequest -> ListBreakGlassResponse,
}

fn get_policy(state: &State, request: v1::GetPolicyRequest) -> Result<GetPolicyResponse, Status> {
    let newest = state.versions.last().map(|(version, _)| version.version).unwrap();
    let wanted = if request.version == 0 { newest } else { request.version };
    state.read.lock().unwrap().push(wanted);
    let found = state.versions.iter().find(|(version, _)| version.version == wanted);
    let (version, grants) = found.ok_or_else(|| Status::not_found("no such version"))?.clone();
    Ok(GetPolicyResponse { version: Some(version), grants, ..Default::default() })
}

fn propose(state: &State, request: ProposeChangeRequest) -> v1::ProposeChangeResponse {
    let mut proposed = state.proposed.lock().unwrap();
    let narrows = proposed.len() < state.narrow;
    let proposal = Proposal {
        id: proposed.len() as u64 + 1,
        base_version: request.base_version,
        state: if narrows { ProposalState::Approved } else { ProposalState::Open }.into(),
        // Somebody else's came between.
        version: if narrows { request.base_version + 10 } else { 0 },
        ..Default::default()
    };
    proposed.push(request);
    v1::ProposeChangeResponse { proposal: Some(proposal), ..Default::default() }
}
