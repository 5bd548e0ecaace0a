//! Tenants: made, listed, and ended by two persons and a waiting period. All of it is the deployment's own matter, so the policy
//! of `_system` decides, and its log has the records.
//!
//! What is asked is about a tenant; the header's own tenant is always `_system`.

pub mod cancel;
pub mod create;
pub mod destroy;
pub(super) mod end;
pub mod list;
pub mod refusal;

use super::{
    Halt, Header, Service, Violation,
    attempt::Attempt,
    validate::{self, Checked},
};
use crate::{
    id::{Reference, Tenant},
    identity::Caller,
    keyring::Life,
};

/// Tenants of a deployment, at most, those that were destroyed among them.
pub const TENANTS_MAX: usize = 10_000;

/// A request about one tenant that holds.
pub struct About {
    header: Checked,
    tenant: Tenant,
}

/// Checks the header of a request about tenants.
fn header(header: &Header, caller: &Caller) -> Result<Checked, Violation> {
    if !caller.may_name(&Tenant::system()) {
        let rule = "tenants are the deployment's matter: the caller's trust domain must be bound to _system";
        return Err(Violation::new("tenant", rule));
    }
    let reference = Reference::parse(&header.reference).map_err(validate::broken("reference"))?;
    Ok(Checked { reference, ..validate::control(header, caller)? })
}

/// Checks a request about one tenant.
fn about(sent: &Header, tenant: &str, caller: &Caller) -> Result<About, Violation> {
    let header = header(sent, caller)?;
    Ok(About { header, tenant: Tenant::parse(tenant).map_err(validate::broken("tenant"))? })
}

/// The tenant as it is.
async fn life(service: &Service, attempt: &Attempt<'_>, tenant: &Tenant) -> Result<Life, Halt> {
    let life = service.keyring.life(&*service.store, tenant).await.map_err(|error| Halt::unreadable(&error))?;
    let life = life.ok_or_else(|| attempt.refuse_tenant(refusal::Refusal::Unknown))?;
    if life.region() == service.region() { Ok(life) } else { Err(attempt.refuse_tenant(refusal::Refusal::OtherRegion)) }
}
