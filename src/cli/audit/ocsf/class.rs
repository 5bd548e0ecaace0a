//! What each operation is in the terms of OCSF: its class, its activity, and the service that has it.

use crate::proto::v1::Operation;

/// The class of an event, with what was done in its terms.
#[derive(Clone, Copy)]
pub(super) enum Class {
    /// 6003.
    Api(Activity),
    /// 3004.
    Entity(Activity, Kind),
}

/// The activities of both classes that entries come to.
#[derive(Clone, Copy)]
pub(super) enum Activity {
    Unknown,
    Create,
    Read,
    Update,
    Delete,
    /// Of 3004 only.
    Activate,
}

/// What kind of entity was managed.
#[derive(Clone, Copy)]
pub(super) enum Kind {
    Tenant,
    Policy,
    Service,
    LogKey,
    Segment,
    Subject,
    SubjectKey,
}

pub(super) fn class(operation: Operation) -> Class {
    match operation {
        Operation::Encrypt | Operation::GenerateDataKey => Class::Api(Activity::Create),
        Operation::Rewrap => Class::Api(Activity::Update),
        Operation::Decrypt
        | Operation::ComputeIndex
        | Operation::Check
        | Operation::ListEntries
        | Operation::GetCheckpoint
        | Operation::GetInclusionProof
        | Operation::GetConsistencyProof
        | Operation::TailEntries
        | Operation::ExportEntries
        | Operation::Explain
        | Operation::ListGrantsFor
        | Operation::WhoCan
        | Operation::GetPolicy
        | Operation::ListPolicyVersions
        | Operation::GetProposal
        | Operation::ListProposals
        | Operation::ListBreakGlass
        | Operation::Simulate
        | Operation::GetSubject
        | Operation::ListErasures
        | Operation::UnwrapDataKey
        | Operation::GetKeyStatus
        | Operation::CountDue
        | Operation::ReportAccess
        | Operation::ListTenants
        | Operation::GetErasureCertificate => Class::Api(Activity::Read),
        Operation::Unspecified | Operation::Refuse => Class::Api(Activity::Unknown),
        Operation::CreateTenant => Class::Entity(Activity::Create, Kind::Tenant),
        Operation::DestroyTenant => Class::Entity(Activity::Delete, Kind::Tenant),
        Operation::CancelDestroyTenant => Class::Entity(Activity::Update, Kind::Tenant),
        Operation::AdoptPolicy
        | Operation::ProposeChange
        | Operation::ApproveProposal
        | Operation::RejectProposal
        | Operation::BreakGlass
        | Operation::EndBreakGlass
        | Operation::ReviewBreakGlass
        | Operation::RecoverPolicy => Class::Entity(Activity::Update, Kind::Policy),
        Operation::RotateSubjectKeys => Class::Entity(Activity::Update, Kind::SubjectKey),
        Operation::RetireKeyVersions => Class::Entity(Activity::Delete, Kind::SubjectKey),
        Operation::EraseSubjects | Operation::Sweep => Class::Entity(Activity::Delete, Kind::Subject),
        Operation::ReinstateSubject | Operation::PlaceHold | Operation::ReleaseHold | Operation::CloseSubject => {
            Class::Entity(Activity::Update, Kind::Subject)
        }
        Operation::Start => Class::Entity(Activity::Activate, Kind::Service),
        Operation::RotateLogKey => Class::Entity(Activity::Update, Kind::LogKey),
        Operation::SealSegment => Class::Entity(Activity::Create, Kind::Segment),
        Operation::DeleteEntries => Class::Entity(Activity::Delete, Kind::Segment),
    }
}

impl Class {
    pub(super) fn uid(self) -> i64 {
        match self {
            Self::Api(_) => 6_003,
            Self::Entity(..) => 3_004,
        }
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Api(_) => "API Activity",
            Self::Entity(..) => "Entity Management",
        }
    }

    pub(super) fn category(self) -> (i64, &'static str) {
        match self {
            Self::Api(_) => (6, "Application Activity"),
            Self::Entity(..) => (3, "Identity & Access Management"),
        }
    }

    pub(super) fn activity(self) -> (i64, &'static str) {
        match self {
            Self::Api(activity) | Self::Entity(activity, _) => match activity {
                Activity::Unknown => (0, "Unknown"),
                Activity::Create => (1, "Create"),
                Activity::Read => (2, "Read"),
                Activity::Update => (3, "Update"),
                Activity::Delete => (4, "Delete"),
                Activity::Activate => (10, "Activate"),
            },
        }
    }
}

/// The service that an operation belongs to.
pub(super) fn service(operation: Operation) -> &'static str {
    match operation {
        Operation::Encrypt
        | Operation::Decrypt
        | Operation::ComputeIndex
        | Operation::Rewrap
        | Operation::GenerateDataKey
        | Operation::UnwrapDataKey => "privet.v1.EncryptionService",
        Operation::RotateSubjectKeys | Operation::RetireKeyVersions | Operation::GetKeyStatus => "privet.v1.KeyService",
        Operation::Check | Operation::Explain | Operation::ListGrantsFor | Operation::WhoCan => {
            "privet.v1.AuthorizationService"
        }
        Operation::ListEntries
        | Operation::GetCheckpoint
        | Operation::GetInclusionProof
        | Operation::GetConsistencyProof
        | Operation::TailEntries
        | Operation::ExportEntries => "privet.v1.AuditService",
        Operation::GetPolicy
        | Operation::ListPolicyVersions
        | Operation::ProposeChange
        | Operation::GetProposal
        | Operation::ListProposals
        | Operation::ApproveProposal
        | Operation::RejectProposal
        | Operation::Simulate
        | Operation::BreakGlass
        | Operation::EndBreakGlass
        | Operation::ReviewBreakGlass
        | Operation::ListBreakGlass => "privet.v1.PolicyService",
        Operation::EraseSubjects
        | Operation::ReinstateSubject
        | Operation::PlaceHold
        | Operation::ReleaseHold
        | Operation::CloseSubject
        | Operation::GetSubject
        | Operation::ListErasures
        | Operation::CountDue
        | Operation::ReportAccess
        | Operation::GetErasureCertificate => "privet.v1.SubjectService",
        Operation::CreateTenant
        | Operation::ListTenants
        | Operation::DestroyTenant
        | Operation::CancelDestroyTenant => "privet.v1.TenantService",
        Operation::Unspecified
        | Operation::Refuse
        | Operation::Sweep
        | Operation::AdoptPolicy
        | Operation::RecoverPolicy
        | Operation::Start
        | Operation::RotateLogKey
        | Operation::SealSegment
        | Operation::DeleteEntries => "privet.v1",
    }
}
