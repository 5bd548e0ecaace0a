//! The messages of tenants.

use super::{super::call::receipts, Answer, timestamp_if_any};
use crate::{
    id::Tenant,
    keyring::{Life, Standing},
    operations::{
        Header,
        tenants::{cancel::CancelDestroyTenant, create::CreateTenant, destroy::DestroyTenant, list::ListTenants},
    },
    proto::{stored, v1},
};

/// The header of a request about tenants: the policy of `_system` decides, whichever tenant it is about.
fn header(request_id: String, reference: String) -> Header {
    Header { tenant: Tenant::system().to_string(), request_id, reference, ..Header::default() }
}

pub(in super::super) fn create(request: v1::CreateTenantRequest) -> CreateTenant {
    let v1::CreateTenantRequest { tenant, region, request_id, reference } = request;
    CreateTenant { header: header(request_id, reference), tenant, region }
}

pub(in super::super) fn created(released: Answer<CreateTenant>) -> v1::CreateTenantResponse {
    let (life, evidence) = released.into_parts();
    v1::CreateTenantResponse { tenant: Some(tenant(&life)), receipts: receipts(evidence) }
}

pub(in super::super) fn list(request: v1::ListTenantsRequest) -> ListTenants {
    let v1::ListTenantsRequest { page_size, page_token, request_id } = request;
    ListTenants { header: header(request_id, String::new()), page_size, page_token }
}

pub(in super::super) fn listed(released: Answer<ListTenants>) -> v1::ListTenantsResponse {
    let (page, evidence) = released.into_parts();
    v1::ListTenantsResponse {
        tenants: page.tenants.iter().map(tenant).collect(),
        next_page_token: page.next_page_token,
        receipts: receipts(evidence),
    }
}

pub(in super::super) fn destroy(request: v1::DestroyTenantRequest) -> DestroyTenant {
    let v1::DestroyTenantRequest { tenant, confirmation, reason, request_id, reference } = request;
    DestroyTenant { header: header(request_id, reference), tenant, confirmation, reason }
}

pub(in super::super) fn destroyed(released: Answer<DestroyTenant>) -> v1::DestroyTenantResponse {
    let (life, evidence) = released.into_parts();
    v1::DestroyTenantResponse { tenant: Some(tenant(&life)), receipts: receipts(evidence) }
}

pub(in super::super) fn cancel(request: v1::CancelDestroyTenantRequest) -> CancelDestroyTenant {
    let v1::CancelDestroyTenantRequest { tenant, request_id, reference } = request;
    CancelDestroyTenant { header: header(request_id, reference), tenant }
}

pub(in super::super) fn cancelled(released: Answer<CancelDestroyTenant>) -> v1::CancelDestroyTenantResponse {
    let (life, evidence) = released.into_parts();
    v1::CancelDestroyTenantResponse { tenant: Some(tenant(&life)), receipts: receipts(evidence) }
}

fn tenant(life: &Life) -> v1::Tenant {
    let state = match life.standing() {
        Standing::Active => v1::TenantState::Active,
        Standing::Wanted => v1::TenantState::DestructionRequested,
        Standing::Ending(_) => v1::TenantState::Ending,
        Standing::Destroyed => v1::TenantState::Destroyed,
    };
    v1::Tenant {
        id: life.tenant().to_string(),
        region: life.region().to_owned(),
        state: state.into(),
        create_time: secs(life.created_unix_secs()),
        destruction: life.destruction().cloned().map(destruction),
    }
}

fn destruction(wanted: stored::TenantDestruction) -> v1::TenantDestruction {
    v1::TenantDestruction {
        requested_by: wanted.requested_by,
        request_time: secs(wanted.requested_unix_secs),
        reason: wanted.reason,
        confirmed_by: wanted.confirmed_by,
        confirm_time: secs(wanted.confirmed_unix_secs),
        due_time: secs(wanted.due_unix_secs),
        destroy_time: secs(wanted.destroyed_unix_secs),
    }
}

/// Seconds since 1970; 0 is no time.
fn secs(unix_secs: u64) -> Option<prost_types::Timestamp> {
    timestamp_if_any(unix_secs.saturating_mul(1_000_000))
}
