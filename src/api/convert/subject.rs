//! The messages of subjects.

use prost_types::Timestamp;

use super::{super::call::receipts, Answer, audit::header, timestamp};
use crate::{
    keyring::Unerased,
    operations::{
        Header,
        subjects::{
            close::CloseSubject,
            due::{Count, CountDue},
            erase::{EraseSubjects, Erasure},
            get::{self, GetSubject, Summary},
            hold::{PlaceHold, ReleaseHold},
            list::{GetErasureCertificate, ListErasures},
            refusal::Refusal,
            reinstate::ReinstateSubject,
            report::{Access, ReportAccess},
        },
    },
    proto::{stored, v1},
};

pub(in super::super) fn get(request: v1::GetSubjectRequest) -> GetSubject {
    GetSubject { header: control_header!(request), subject: request.subject }
}

pub(in super::super) fn got(released: Answer<GetSubject>) -> v1::GetSubjectResponse {
    let (summary, evidence) = released.into_parts();
    v1::GetSubjectResponse { subject: Some(subject(summary)), receipts: receipts(evidence) }
}

pub(in super::super) fn erase(request: v1::EraseSubjectsRequest) -> EraseSubjects {
    EraseSubjects { header: control_header!(request), subjects: request.subjects, categories: request.categories }
}

pub(in super::super) fn erased(released: Answer<EraseSubjects>) -> v1::EraseSubjectsResponse {
    use v1::{
        ErasureReason,
        erasure_result::Result::{Erased, Error},
    };
    let (results, evidence) = released.into_parts();
    let error =
        |reason: ErasureReason, why: &Refusal| v1::ErasureError { reason: reason.into(), message: why.to_string() };
    let result = |result| match result {
        Ok(erasures) => Erased(v1::Erasures { erasures: Vec::into_iter(erasures).map(erasure).collect() }),
        Err(Unerased::Unknown) => Error(error(ErasureReason::UnknownSubject, &Refusal::Unknown)),
        Err(Unerased::Held(hold)) => Error(error(ErasureReason::Held, &Refusal::Held { hold })),
    };
    let results = results.into_iter().map(|one| v1::ErasureResult { result: Some(result(one)) }).collect();
    v1::EraseSubjectsResponse { results, receipts: receipts(evidence) }
}

pub(in super::super) fn reinstate(request: v1::ReinstateSubjectRequest) -> ReinstateSubject {
    ReinstateSubject { header: control_header!(request), subject: request.subject }
}

pub(in super::super) fn reinstated(released: Answer<ReinstateSubject>) -> v1::ReinstateSubjectResponse {
    let ((), evidence) = released.into_parts();
    v1::ReinstateSubjectResponse { receipts: receipts(evidence) }
}

pub(in super::super) fn place(request: v1::PlaceHoldRequest) -> PlaceHold {
    PlaceHold {
        header: control_header!(request),
        subject: request.subject,
        hold_id: request.hold_id,
        reason: request.reason,
    }
}

pub(in super::super) fn placed(released: Answer<PlaceHold>) -> v1::PlaceHoldResponse {
    let (placed, evidence) = released.into_parts();
    v1::PlaceHoldResponse { hold: Some(hold(placed)), receipts: receipts(evidence) }
}

pub(in super::super) fn release(request: v1::ReleaseHoldRequest) -> ReleaseHold {
    ReleaseHold { header: control_header!(request), subject: request.subject, hold_id: request.hold_id }
}

pub(in super::super) fn released(released: Answer<ReleaseHold>) -> v1::ReleaseHoldResponse {
    let (was, evidence) = released.into_parts();
    v1::ReleaseHoldResponse { hold: Some(hold(was)), receipts: receipts(evidence) }
}

pub(in super::super) fn close(request: v1::CloseSubjectRequest) -> CloseSubject {
    let unix_secs = request.close_time.map(|time| time.seconds);
    CloseSubject { header: control_header!(request), subject: request.subject, unix_secs }
}

pub(in super::super) fn closed(released: Answer<CloseSubject>) -> v1::CloseSubjectResponse {
    let (closed, evidence) = released.into_parts();
    v1::CloseSubjectResponse { close_time: Some(secs(closed)), receipts: receipts(evidence) }
}

pub(in super::super) fn report(request: v1::ReportAccessRequest) -> ReportAccess {
    ReportAccess {
        header: control_header!(request),
        subject: request.subject,
        page_size: request.page_size,
        page_token: request.page_token,
    }
}

pub(in super::super) fn reported(released: Answer<ReportAccess>) -> v1::ReportAccessResponse {
    let (report, evidence) = released.into_parts();
    v1::ReportAccessResponse {
        subject: Some(subject(report.summary)),
        accesses: report.accesses.into_iter().map(access).collect(),
        checkpoint: report.checkpoint.to_string(),
        kept_since: report.kept_since_micros.map(timestamp),
        next_page_token: report.next_page_token,
        receipts: receipts(evidence),
    }
}

fn access(access: Access) -> v1::Access {
    let Access { index, entry, leaf_hash, proof } = access;
    // Stored and public enums are numbered alike.
    let data = |target: stored::Target| v1::AccessedData {
        object: target.object,
        action: target.action,
        outcome: target.outcome,
    };
    v1::Access {
        time: Some(timestamp(entry.time_unix_micros)),
        principal: entry.principal,
        roles: entry.roles,
        actor: entry.actor,
        operation: entry.operation,
        purpose: entry.purpose,
        reference: entry.reference,
        verdict: entry.verdict,
        data: entry.targets.into_iter().map(data).collect(),
        entry_index: index,
        leaf_hash: leaf_hash.to_vec().into(),
        proof: proof.into_iter().map(|hash| hash.to_vec().into()).collect(),
    }
}

pub(in super::super) fn count_due(request: v1::CountDueRequest) -> CountDue {
    let whole = |time: prost_types::Timestamp| u64::try_from(time.seconds).ok().filter(|secs| *secs > 0);
    CountDue {
        header: header(request.tenant, request.request_id),
        before_unix_secs: request.before.and_then(whole),
        page_token: request.page_token,
    }
}

pub(in super::super) fn counted_due(released: Answer<CountDue>) -> v1::CountDueResponse {
    let (page, evidence) = released.into_parts();
    let count = |(category, count): (crate::id::Category, Count)| v1::DueCount {
        category: category.to_string(),
        closed: count.closed,
        versions: count.versions,
        held: count.held,
        earliest: Some(secs(count.earliest)),
    };
    v1::CountDueResponse {
        counts: page.counts.into_iter().map(count).collect(),
        subjects: u32::try_from(page.subjects).unwrap_or(u32::MAX),
        next_page_token: page.next_page_token,
        receipts: receipts(evidence),
    }
}

pub(in super::super) fn list(request: v1::ListErasuresRequest) -> ListErasures {
    ListErasures {
        header: header(request.tenant, request.request_id),
        page_size: request.page_size,
        page_token: request.page_token,
    }
}

pub(in super::super) fn listed(released: Answer<ListErasures>) -> v1::ListErasuresResponse {
    let (page, evidence) = released.into_parts();
    let summary = |one: crate::audit::certificate::Certificate| v1::ErasureSummary {
        id: one.erasure.to_vec().into(),
        categories: one.categories.iter().map(ToString::to_string).collect(),
        time: Some(secs(one.unix_secs)),
    };
    v1::ListErasuresResponse {
        erasures: page.erasures.into_iter().map(summary).collect(),
        next_page_token: page.next_page_token,
        receipts: receipts(evidence),
    }
}

pub(in super::super) fn certificate(request: v1::GetErasureCertificateRequest) -> GetErasureCertificate {
    GetErasureCertificate { header: header(request.tenant, request.request_id), id: request.erasure_id.into() }
}

pub(in super::super) fn certified(released: Answer<GetErasureCertificate>) -> v1::GetErasureCertificateResponse {
    let (certificate, evidence) = released.into_parts();
    v1::GetErasureCertificateResponse { certificate, receipts: receipts(evidence) }
}

pub(super) fn category(held: get::HeldCategory) -> v1::SubjectCategory {
    let version =
        |(version, created, seals)| v1::SubjectKeyVersion { version, create_time: Some(secs(created)), seals };
    v1::SubjectCategory {
        category: held.category.to_string(),
        versions: held.versions.into_iter().map(version).collect(),
    }
}

fn subject(summary: Summary) -> v1::Subject {
    v1::Subject {
        categories: summary.categories.into_iter().map(category).collect(),
        holds: summary.holds.into_iter().map(hold).collect(),
        close_time: summary.closed_unix_secs.map(secs),
        erased: summary
            .erased
            .into_iter()
            .map(|erased| v1::ErasedCategory {
                category: erased.category.map(|category| category.to_string()).unwrap_or_default(),
                erasure_id: erased.erasure.0.to_vec().into(),
            })
            .collect(),
    }
}

fn erasure(erasure: Erasure) -> v1::Erasure {
    v1::Erasure { id: erasure.id.0.to_vec().into(), certificate: erasure.certificate, now: erasure.now }
}

fn hold(hold: stored::Hold) -> v1::Hold {
    v1::Hold {
        id: hold.id,
        reason: hold.reason,
        place_time: Some(secs(hold.placed_unix_secs)),
        placed_by: hold.placed_by,
    }
}

pub(super) fn secs(unix_secs: u64) -> Timestamp {
    timestamp(unix_secs.saturating_mul(1_000_000))
}
