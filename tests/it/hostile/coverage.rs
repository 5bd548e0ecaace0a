//! Every RPC of the descriptor set is authorized and recorded: a new one fails here until it is both, and listed below.

use std::collections::BTreeSet;

use bytes::{Buf, BufMut, Bytes};
use privet::proto::v1::{self, FILE_DESCRIPTOR_SET, Operation, Outcome, Verdict};
use prost::Message;
use prost_types::FileDescriptorSet;
use tonic::{
    Code, Request, Status,
    client::Grpc,
    codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder},
};

use super::load::EMAIL;
use crate::support::deployment::{Client, Deployment, decrypt, encrypt, to_decrypt, to_encrypt};

/// Services that neither decide nor tell anything about data.
const EXEMPT_SERVICES: [&str; 2] = ["grpc.health.v1.Health", "grpc.reflection.v1.ServerReflection"];
/// Open to every authenticated caller: they prove the log and show nothing of its entries.
const EXEMPT_METHODS: [&str; 3] = ["GetCheckpoint", "GetInclusionProof", "GetConsistencyProof"];

/// A request that a caller with grants would have answered.
struct Row {
    method: &'static str,
    operation: Operation,
    request: Bytes,
    /// The code of the error that an answer carries inside, for a stream.
    error_inside: fn(&[u8]) -> Option<Code>,
}

fn rows() -> Vec<Row> {
    let to_encrypt = encrypt("acme", vec![to_encrypt("anna", EMAIL, "anna@mail.example")]);
    let to_decrypt = decrypt("acme", vec![to_decrypt("anna", EMAIL, &vec![1; 60].into())]);
    let value = v1::ValueToIndex { class: EMAIL.into(), value: b"anna@mail.example".to_vec().into() };
    let to_index = v1::ComputeIndexRequest {
        tenant: "acme".into(),
        purpose: "signup".into(),
        values: vec![value],
        ..Default::default()
    };
    let about_another = v1::CheckRequest {
        tenant: "acme".into(),
        principal: "spiffe://acme.example/tester".into(),
        purpose: "signup".into(),
        items: vec![v1::CheckItem { object: EMAIL.into(), action: "decrypt".into() }],
        ..Default::default()
    };
    let explain_another = v1::ExplainRequest {
        tenant: "acme".into(),
        principal: "spiffe://acme.example/tester".into(),
        purpose: "signup".into(),
        items: vec![v1::CheckItem { object: EMAIL.into(), action: "decrypt".into() }],
        ..Default::default()
    };
    let grants_of_another = v1::ListGrantsForRequest {
        tenant: "acme".into(),
        principal: "spiffe://acme.example/tester".into(),
        ..Default::default()
    };
    let who_can = v1::WhoCanRequest {
        tenant: "acme".into(),
        object: EMAIL.into(),
        action: "decrypt".into(),
        purpose: "signup".into(),
        ..Default::default()
    };
    let entries = v1::ListEntriesRequest { tenant: "acme".into(), ..Default::default() };
    let export = v1::ExportEntriesRequest { tenant: "acme".into(), ..Default::default() };
    let tail = v1::TailEntriesRequest { tenant: "acme".into(), ..Default::default() };
    let read = v1::GetPolicyRequest { tenant: "acme".into(), ..Default::default() };
    let versions = v1::ListPolicyVersionsRequest { tenant: "acme".into(), ..Default::default() };
    let remove = v1::PolicyChange { change: Some(v1::policy_change::Change::Remove("acme-test-encrypts".into())) };
    let propose = v1::ProposeChangeRequest {
        tenant: "acme".into(),
        base_version: 1,
        changes: vec![remove.clone()],
        reason: "r".into(),
        ..Default::default()
    };
    let simulate =
        v1::SimulateRequest { tenant: "acme".into(), base_version: 1, changes: vec![remove], ..Default::default() };
    let proposal = v1::GetProposalRequest { tenant: "acme".into(), id: 1, ..Default::default() };
    let proposals = v1::ListProposalsRequest { tenant: "acme".into(), ..Default::default() };
    let approve = v1::ApproveProposalRequest { tenant: "acme".into(), id: 1, ..Default::default() };
    let reject = v1::RejectProposalRequest { tenant: "acme".into(), id: 1, reason: "r".into(), ..Default::default() };
    let take = v1::BreakGlassRequest {
        tenant: "acme".into(),
        role: "role:break-glass".into(),
        reason: "r".into(),
        ..Default::default()
    };
    let end = v1::EndBreakGlassRequest { tenant: "acme".into(), number: 1, ..Default::default() };
    let review =
        v1::ReviewBreakGlassRequest { tenant: "acme".into(), number: 1, note: "n".into(), ..Default::default() };
    let broken = v1::ListBreakGlassRequest { tenant: "acme".into(), ..Default::default() };
    let old = |data_key| v1::FieldToRewrap {
        subject: "anna".into(),
        class: EMAIL.into(),
        ciphertext: vec![1; 60].into(),
        data_key,
        ..Default::default()
    };
    let rewrap = v1::RewrapRequest {
        tenant: "acme".into(),
        purpose: "signup".into(),
        fields: vec![old(false), old(true)],
        ..Default::default()
    };
    let generate = v1::GenerateDataKeyRequest {
        tenant: "acme".into(),
        purpose: "signup".into(),
        keys: vec![v1::DataKeyToGenerate { subject: "anna".into(), class: EMAIL.into(), ..Default::default() }],
        ..Default::default()
    };
    let wrapped = v1::DataKeyToUnwrap {
        subject: "anna".into(),
        class: EMAIL.into(),
        wrapped: vec![1; 77].into(),
        ..Default::default()
    };
    let unwrap = v1::UnwrapDataKeyRequest {
        tenant: "acme".into(),
        purpose: "signup".into(),
        keys: vec![wrapped],
        ..Default::default()
    };
    let status = v1::GetKeyStatusRequest { tenant: "acme".into(), ..Default::default() };
    let rotate = v1::RotateSubjectKeysRequest { tenant: "acme".into(), ..Default::default() };
    let retire = v1::RetireKeyVersionsRequest {
        tenant: "acme".into(),
        subject: "anna".into(),
        category: "account".into(),
        up_to_version: 1,
        rewrapped: true,
        ..Default::default()
    };
    let (tenant, subject) = ("acme".to_owned(), "anna".to_owned());
    let show = v1::GetSubjectRequest { tenant: tenant.clone(), subject: subject.clone(), ..Default::default() };
    let erase =
        v1::EraseSubjectsRequest { tenant: tenant.clone(), subjects: vec![subject.clone()], ..Default::default() };
    let reinstate =
        v1::ReinstateSubjectRequest { tenant: tenant.clone(), subject: subject.clone(), ..Default::default() };
    let hold = v1::PlaceHoldRequest {
        tenant: tenant.clone(),
        subject: subject.clone(),
        hold_id: "CASE-1".into(),
        reason: "r".into(),
        ..Default::default()
    };
    let release = v1::ReleaseHoldRequest {
        tenant: tenant.clone(),
        subject: subject.clone(),
        hold_id: "CASE-1".into(),
        ..Default::default()
    };
    let close = v1::CloseSubjectRequest { tenant: tenant.clone(), subject, ..Default::default() };
    let report = v1::ReportAccessRequest { tenant: tenant.clone(), subject: "anna".into(), ..Default::default() };
    let before = prost_types::Timestamp { seconds: 1, nanos: 0 };
    let due = v1::CountDueRequest { tenant: tenant.clone(), before: Some(before), ..Default::default() };
    let erasures = v1::ListErasuresRequest { tenant: tenant.clone(), ..Default::default() };
    let certificate = v1::GetErasureCertificateRequest { tenant, erasure_id: vec![1; 16].into(), ..Default::default() };
    let create = v1::CreateTenantRequest { tenant: "bolt".into(), ..Default::default() };
    let destroy = v1::DestroyTenantRequest {
        tenant: "acme".into(),
        confirmation: "acme".into(),
        reason: "r".into(),
        ..Default::default()
    };
    let cancel = v1::CancelDestroyTenantRequest { tenant: "acme".into(), ..Default::default() };
    let tenants = v1::ListTenantsRequest::default();
    let unary = |method, operation, request| Row { method, operation, request, error_inside: |_| None };
    vec![
        unary("privet.v1.EncryptionService/Encrypt", Operation::Encrypt, bytes_of(&to_encrypt)),
        unary("privet.v1.EncryptionService/Decrypt", Operation::Decrypt, bytes_of(&to_decrypt)),
        unary("privet.v1.EncryptionService/ComputeIndex", Operation::ComputeIndex, bytes_of(&to_index)),
        unary("privet.v1.AuthorizationService/Check", Operation::Check, bytes_of(&about_another)),
        unary("privet.v1.AuthorizationService/Explain", Operation::Explain, bytes_of(&explain_another)),
        unary("privet.v1.AuthorizationService/ListGrantsFor", Operation::ListGrantsFor, bytes_of(&grants_of_another)),
        unary("privet.v1.AuthorizationService/WhoCan", Operation::WhoCan, bytes_of(&who_can)),
        unary("privet.v1.PolicyService/BreakGlass", Operation::BreakGlass, bytes_of(&take)),
        unary("privet.v1.PolicyService/EndBreakGlass", Operation::EndBreakGlass, bytes_of(&end)),
        unary("privet.v1.PolicyService/ReviewBreakGlass", Operation::ReviewBreakGlass, bytes_of(&review)),
        unary("privet.v1.PolicyService/ListBreakGlass", Operation::ListBreakGlass, bytes_of(&broken)),
        unary("privet.v1.AuditService/ListEntries", Operation::ListEntries, bytes_of(&entries)),
        unary("privet.v1.AuditService/ExportEntries", Operation::ExportEntries, bytes_of(&export)),
        unary("privet.v1.AuditService/TailEntries", Operation::TailEntries, bytes_of(&tail)),
        unary("privet.v1.PolicyService/GetPolicy", Operation::GetPolicy, bytes_of(&read)),
        unary("privet.v1.PolicyService/ListPolicyVersions", Operation::ListPolicyVersions, bytes_of(&versions)),
        unary("privet.v1.PolicyService/ProposeChange", Operation::ProposeChange, bytes_of(&propose)),
        unary("privet.v1.PolicyService/GetProposal", Operation::GetProposal, bytes_of(&proposal)),
        unary("privet.v1.PolicyService/ListProposals", Operation::ListProposals, bytes_of(&proposals)),
        unary("privet.v1.PolicyService/ApproveProposal", Operation::ApproveProposal, bytes_of(&approve)),
        unary("privet.v1.PolicyService/RejectProposal", Operation::RejectProposal, bytes_of(&reject)),
        unary("privet.v1.PolicyService/Simulate", Operation::Simulate, bytes_of(&simulate)),
        unary("privet.v1.EncryptionService/Rewrap", Operation::Rewrap, bytes_of(&rewrap)),
        unary("privet.v1.EncryptionService/GenerateDataKey", Operation::GenerateDataKey, bytes_of(&generate)),
        unary("privet.v1.EncryptionService/UnwrapDataKey", Operation::UnwrapDataKey, bytes_of(&unwrap)),
        unary("privet.v1.KeyService/GetKeyStatus", Operation::GetKeyStatus, bytes_of(&status)),
        unary("privet.v1.KeyService/RotateSubjectKeys", Operation::RotateSubjectKeys, bytes_of(&rotate)),
        unary("privet.v1.KeyService/RetireKeyVersions", Operation::RetireKeyVersions, bytes_of(&retire)),
        Row {
            method: "privet.v1.EncryptionService/RewrapStream",
            operation: Operation::Rewrap,
            request: bytes_of(&v1::RewrapStreamRequest { sequence: 1, request: Some(rewrap) }),
            error_inside: |answer| match v1::RewrapStreamResponse::decode(answer).unwrap().result {
                Some(v1::rewrap_stream_response::Result::Error(error)) => Some(Code::from_i32(error.code)),
                Some(v1::rewrap_stream_response::Result::Response(_)) | None => None,
            },
        },
        unary("privet.v1.TenantService/CreateTenant", Operation::CreateTenant, bytes_of(&create)),
        unary("privet.v1.TenantService/ListTenants", Operation::ListTenants, bytes_of(&tenants)),
        unary("privet.v1.TenantService/DestroyTenant", Operation::DestroyTenant, bytes_of(&destroy)),
        unary("privet.v1.TenantService/CancelDestroyTenant", Operation::CancelDestroyTenant, bytes_of(&cancel)),
        unary("privet.v1.SubjectService/GetSubject", Operation::GetSubject, bytes_of(&show)),
        unary("privet.v1.SubjectService/EraseSubjects", Operation::EraseSubjects, bytes_of(&erase)),
        unary("privet.v1.SubjectService/ReinstateSubject", Operation::ReinstateSubject, bytes_of(&reinstate)),
        unary("privet.v1.SubjectService/PlaceHold", Operation::PlaceHold, bytes_of(&hold)),
        unary("privet.v1.SubjectService/ReleaseHold", Operation::ReleaseHold, bytes_of(&release)),
        unary("privet.v1.SubjectService/CloseSubject", Operation::CloseSubject, bytes_of(&close)),
        unary("privet.v1.SubjectService/ReportAccess", Operation::ReportAccess, bytes_of(&report)),
        unary("privet.v1.SubjectService/CountDue", Operation::CountDue, bytes_of(&due)),
        unary("privet.v1.SubjectService/ListErasures", Operation::ListErasures, bytes_of(&erasures)),
        unary(
            "privet.v1.SubjectService/GetErasureCertificate",
            Operation::GetErasureCertificate,
            bytes_of(&certificate),
        ),
        Row {
            method: "privet.v1.EncryptionService/EncryptStream",
            operation: Operation::Encrypt,
            request: bytes_of(&v1::EncryptStreamRequest { sequence: 1, request: Some(to_encrypt) }),
            error_inside: |answer| match v1::EncryptStreamResponse::decode(answer).unwrap().result {
                Some(v1::encrypt_stream_response::Result::Error(error)) => Some(Code::from_i32(error.code)),
                Some(v1::encrypt_stream_response::Result::Response(_)) | None => None,
            },
        },
        Row {
            method: "privet.v1.EncryptionService/DecryptStream",
            operation: Operation::Decrypt,
            request: bytes_of(&v1::DecryptStreamRequest { sequence: 1, request: Some(to_decrypt) }),
            error_inside: |answer| match v1::DecryptStreamResponse::decode(answer).unwrap().result {
                Some(v1::decrypt_stream_response::Result::Error(error)) => Some(Code::from_i32(error.code)),
                Some(v1::decrypt_stream_response::Result::Response(_)) | None => None,
            },
        },
    ]
}

#[test]
fn every_rpc_has_a_row_and_every_row_an_rpc() {
    let listed: BTreeSet<String> = rows().iter().map(|row| row.method.to_owned()).collect();
    assert_eq!(methods(), listed, "an RPC that is not listed here is not shown to be authorized and recorded");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_rpc_denies_a_caller_without_grants_and_records_it() {
    let server = Deployment::start().await;
    let stranger = server.client("stranger").await;
    let (tester, auditor) = (server.client("tester").await, server.client("auditor").await);
    for row in rows() {
        // What is about tenants is the deployment's own matter.
        let of_system = row.method.starts_with("privet.v1.TenantService/");
        let (reader, log) = if of_system { (&auditor, "_system") } else { (&tester, "acme") };
        let before = entries_of(reader, log, "spiffe://acme.example/stranger").await;
        assert_eq!(call(&stranger, &row).await, Code::PermissionDenied, "{}", row.method);
        let after = entries_of(reader, log, "spiffe://acme.example/stranger").await;
        let [entry] = &after[before.len()..] else { panic!("{}: {} entries", row.method, after.len() - before.len()) };
        assert_eq!((entry.operation(), entry.verdict()), (row.operation, Verdict::Deny), "{}", row.method);
        assert!(entry.grant_ids.is_empty() && !entry.targets.is_empty(), "{}: what was asked is named", row.method);
        assert!(entry.targets.iter().all(|target| target.outcome() == Outcome::Denied), "{}", row.method);
        assert!(entry.policy_version > 0 && !entry.authentication.is_empty());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_rpc_refuses_a_caller_without_an_identity_and_records_it() {
    let server = Deployment::start().await;
    let nobody = server.client_with(&server.ca.client(&[])).await;
    let auditor = server.client("auditor").await;
    for row in rows() {
        let before = unidentified(&auditor).await;
        assert_eq!(call(&nobody, &row).await, Code::Unauthenticated, "{}", row.method);
        let after = unidentified(&auditor).await;
        let [entry] = &after[before.len()..] else { panic!("{}: {} entries", row.method, after.len() - before.len()) };
        assert_eq!((entry.operation(), entry.verdict(), entry.principal.as_str()), (row.operation, Verdict::Deny, ""));
    }
}

/// What decides and is about the caller alone answers anybody, and is recorded all the same.
#[tokio::test(flavor = "multi_thread")]
async fn a_caller_without_grants_learns_that_it_has_none_and_that_is_recorded() {
    let server = Deployment::start().await;
    let (stranger, tester) = (server.client("stranger").await, server.client("tester").await);
    let items = vec![v1::CheckItem { object: EMAIL.into(), action: "decrypt".into() }];
    let request = v1::CheckRequest { tenant: "acme".into(), purpose: "signup".into(), items, ..Default::default() };
    let answer = stranger.authorization().check(request).await.unwrap().into_inner();
    assert_eq!(answer.results[0].verdict(), Verdict::Deny);
    let entries = entries_of(&tester, "acme", "spiffe://acme.example/stranger").await;
    let [entry] = entries.as_slice() else { panic!("{} entries", entries.len()) };
    let [receipt] = answer.receipts.as_slice() else { panic!("{} receipts", answer.receipts.len()) };
    assert_eq!((entry.operation(), entry.index), (Operation::Check, receipt.entry_index));
    assert_eq!(entry.leaf_hash, receipt.leaf_hash);
}

/// All RPCs of the public API but the exempt ones, as "package.Service/Method".
fn methods() -> BTreeSet<String> {
    let set = FileDescriptorSet::decode(FILE_DESCRIPTOR_SET).unwrap();
    let methods = set.file.iter().flat_map(|file| {
        file.service.iter().flat_map(move |service| {
            let service_name = format!("{}.{}", file.package(), service.name());
            service.method.iter().map(move |method| (service_name.clone(), method.name().to_owned()))
        })
    });
    methods
        .filter(|(service, method)| {
            !EXEMPT_SERVICES.contains(&service.as_str()) && !EXEMPT_METHODS.contains(&method.as_str())
        })
        .map(|(service, method)| format!("{service}/{method}"))
        .collect()
}

/// The code that a call ends with, outside or inside its first answer.
async fn call(client: &Client, row: &Row) -> Code {
    let path = format!("/{}", row.method).parse().unwrap();
    let mut grpc = Grpc::new(client.channel.clone());
    grpc.ready().await.unwrap();
    // One message in one frame is how a unary call looks, too.
    let answers = grpc.streaming(Request::new(tokio_stream::iter([row.request.clone()])), path, Raw).await;
    let first = match answers {
        Ok(answers) => answers.into_inner().message().await,
        Err(status) => Err(status),
    };
    match first {
        Ok(Some(answer)) => (row.error_inside)(&answer).unwrap_or(Code::Ok),
        Ok(None) => Code::Ok,
        Err(status) => status.code(),
    }
}

async fn entries_of(tester: &Client, tenant: &str, principal: &str) -> Vec<v1::AuditEntry> {
    let log = tester.log(tenant).await;
    log.into_iter().filter(|entry| entry.principal == principal).collect()
}

async fn unidentified(auditor: &Client) -> Vec<v1::AuditEntry> {
    auditor.log("_system").await.into_iter().filter(|entry| entry.refusal == "UNIDENTIFIED").collect()
}

fn bytes_of(message: &impl Message) -> Bytes {
    message.encode_to_vec().into()
}

/// Messages as bytes.
pub struct Raw;

impl Codec for Raw {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, message: Bytes, out: &mut EncodeBuf<'_>) -> Result<(), Status> {
        out.put(message);
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        let length = from.remaining();
        Ok(Some(from.copy_to_bytes(length)))
    }
}
