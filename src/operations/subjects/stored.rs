//! Certificates as they lie in the store: by tenant and erasure. An erasure's id begins with its day, so they lie by day.

use crate::{
    id::Tenant,
    keyring::ErasureId,
    store::{Effect, Slot, Space},
};

/// How long an erasure's id is, in bytes.
pub(super) const ID_BYTES: usize = 16;

pub(super) fn slot(tenant: &Tenant, erasure: ErasureId) -> Slot {
    Slot::new(Space::Erasure, &[tenant.as_str().as_bytes(), &[0], &erasure.0])
}

pub(super) fn effect(tenant: &Tenant, erasure: ErasureId, certificate: &str) -> Effect {
    Effect { slot: slot(tenant, erasure), value: Some(certificate.as_bytes().to_vec()) }
}

/// The erasure that lies at a slot of this tenant's.
pub(super) fn erasure(tenant: &Tenant, slot: &Slot) -> Option<ErasureId> {
    let rest = slot.key.strip_prefix(tenant.as_str().as_bytes())?.strip_prefix(&[0])?;
    Some(ErasureId(rest.try_into().ok()?))
}

/// A subject's record names an erasure whose certificate is not there.
#[derive(Debug, thiserror::Error)]
#[error("the certificate of an erasure is missing")]
pub(super) struct Lost;
