//! The messages of broken glass.

use super::{super::call::receipts, Answer, audit::header, timestamp_if_any};
use crate::{
    operations::policies::glass::{
        end::EndBreakGlass, list::ListBreakGlass, review::ReviewBreakGlass, take::BreakGlass,
    },
    proto::{stored, v1},
};

pub(in super::super) fn break_glass(request: v1::BreakGlassRequest) -> BreakGlass {
    BreakGlass {
        header: header(request.tenant, request.request_id),
        role: request.role,
        seconds: request.seconds,
        reason: request.reason,
    }
}

pub(in super::super) fn broke(released: Answer<BreakGlass>) -> v1::BreakGlassResponse {
    let (glass, evidence) = released.into_parts();
    v1::BreakGlassResponse { broken: Some(broken(glass)), receipts: receipts(evidence) }
}

pub(in super::super) fn end(request: v1::EndBreakGlassRequest) -> EndBreakGlass {
    EndBreakGlass { header: header(request.tenant, request.request_id), number: request.number }
}

pub(in super::super) fn ended(released: Answer<EndBreakGlass>) -> v1::EndBreakGlassResponse {
    let (glass, evidence) = released.into_parts();
    v1::EndBreakGlassResponse { broken: Some(broken(glass)), receipts: receipts(evidence) }
}

pub(in super::super) fn review(request: v1::ReviewBreakGlassRequest) -> ReviewBreakGlass {
    ReviewBreakGlass { header: header(request.tenant, request.request_id), number: request.number, note: request.note }
}

pub(in super::super) fn reviewed(released: Answer<ReviewBreakGlass>) -> v1::ReviewBreakGlassResponse {
    let (glass, evidence) = released.into_parts();
    v1::ReviewBreakGlassResponse { broken: Some(broken(glass)), receipts: receipts(evidence) }
}

pub(in super::super) fn list(request: v1::ListBreakGlassRequest) -> ListBreakGlass {
    ListBreakGlass {
        header: header(request.tenant, request.request_id),
        unreviewed: request.unreviewed,
        page_size: request.page_size,
        page_token: request.page_token,
    }
}

pub(in super::super) fn listed(released: Answer<ListBreakGlass>) -> v1::ListBreakGlassResponse {
    let (page, evidence) = released.into_parts();
    v1::ListBreakGlassResponse {
        broken: page.broken.into_iter().map(broken).collect(),
        next_page_token: page.next_page_token,
        receipts: receipts(evidence),
    }
}

fn broken(glass: stored::BrokenGlass) -> v1::BrokenGlass {
    v1::BrokenGlass {
        number: glass.number,
        principal: glass.principal,
        role: glass.role,
        tenant: glass.tenant,
        reason: glass.reason,
        time: timestamp_if_any(glass.time_unix_micros),
        expires: timestamp_if_any(glass.expires_unix_secs.saturating_mul(1_000_000)),
        policy_version: glass.version,
        end_time: timestamp_if_any(glass.end_time_unix_micros),
        ended_by: glass.ended_by,
        reviewer: glass.reviewer,
        review_time: timestamp_if_any(glass.review_time_unix_micros),
        review_note: glass.review_note,
    }
}
