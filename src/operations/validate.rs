//! Is it a request? Each id is checked once, here; from here on it is a type.
//!
//! Bad input gets the field and the rule, never its value back. A tenant that a caller may not name and one that does not
//! exist get the same answer, so nobody learns who the other tenants are.

use std::sync::Arc;

use crate::{
    catalogue::ClassSpec,
    id::{Invalid, Principal, Purpose, Reference, Subject, Tenant},
    identity::Caller,
    policy::Snapshot,
};

/// The longest context of a field, in bytes.
pub const CONTEXT_BYTES_MAX: usize = 1_024;

/// Bounds on one request.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Fields, values or items in a request.
    pub fields_max: usize,
    /// Bytes in a field's value.
    pub field_bytes_max: usize,
    /// Bytes in a message: answers that list things keep within it.
    pub message_bytes_max: usize,
}

/// What every request carries beside its fields, as it was sent.
#[derive(Clone, Debug, Default)]
pub struct Header {
    /// For whom.
    pub tenant: String,
    /// Why.
    pub purpose: String,
    /// Recorded and echoed.
    pub request_id: String,
    /// The ticket or order.
    pub reference: String,
    /// The human behind a service.
    pub actor: String,
}

/// A field of a request that breaks a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Its path, e.g. `fields[3].class`.
    pub field: String,
    /// What is asked of it.
    pub rule: String,
}

impl Violation {
    pub(super) fn new(field: impl Into<String>, rule: impl Into<String>) -> Self {
        Self { field: field.into(), rule: rule.into() }
    }
}

/// A header that holds.
pub struct Checked {
    pub(super) tenant: Tenant,
    pub(super) purpose: Purpose,
    pub(super) request_id: Reference,
    pub(super) reference: Reference,
    pub(super) actor: Option<Principal>,
}

/// Checks the header of a request for a tenant's data.
pub(super) fn header(header: &Header, policy: &Snapshot, caller: &Caller) -> Result<Checked, Violation> {
    let tenant = tenant(&header.tenant, caller)?;
    header_of(tenant, header, policy)
}

/// Checks the header of a request that may be about the deployment itself.
pub(super) fn header_or_system(header: &Header, policy: &Snapshot, caller: &Caller) -> Result<Checked, Violation> {
    let tenant = tenant_or_system(&header.tenant, caller)?;
    header_of(tenant, header, policy)
}

/// Checks the header of a request about the log itself, whose purpose is always `operate`.
pub(super) fn control(header: &Header, caller: &Caller) -> Result<Checked, Violation> {
    Ok(Checked {
        tenant: tenant_or_system(&header.tenant, caller)?,
        purpose: Purpose::operate(),
        request_id: Reference::parse(&header.request_id).map_err(broken("request_id"))?,
        reference: Reference::empty(),
        actor: None,
    })
}

fn header_of(tenant: Tenant, header: &Header, policy: &Snapshot) -> Result<Checked, Violation> {
    let purpose = purpose(&header.purpose, policy)?;
    let actor = match header.actor.as_str() {
        "" => None,
        actor => Some(Principal::parse_external(actor).map_err(broken("actor"))?),
    };
    Ok(Checked {
        tenant,
        purpose,
        request_id: Reference::parse(&header.request_id).map_err(broken("request_id"))?,
        reference: Reference::parse(&header.reference).map_err(broken("reference"))?,
        actor,
    })
}

/// Finds a purpose.
pub(super) fn purpose(text: &str, policy: &Snapshot) -> Result<Purpose, Violation> {
    let found = policy.catalogue().purpose(text).cloned();
    found.ok_or_else(|| Violation::new("purpose", "must be one of the catalogue's purposes"))
}

/// Checks a tenant that owns data.
pub(super) fn tenant(text: &str, caller: &Caller) -> Result<Tenant, Violation> {
    // Named differently, `_system` breaks the rule of a tenant's name.
    Tenant::parse(text).map_err(broken("tenant"))?;
    tenant_or_system(text, caller)
}

/// Checks a tenant, or the deployment itself.
pub(super) fn tenant_or_system(text: &str, caller: &Caller) -> Result<Tenant, Violation> {
    let tenant = Tenant::parse_or_system(text).map_err(broken("tenant"))?;
    if caller.may_name(&tenant) { Ok(tenant) } else { Err(Violation::new("tenant", UNKNOWN_TENANT)) }
}

/// The one answer for a tenant that does not exist and for one that is none of the caller's business.
const UNKNOWN_TENANT: &str = "must be a tenant that the caller's trust domain is bound to";

/// Checks whom a question is about: `None` for the caller itself, which may name itself or nobody.
pub(super) fn other(text: &str, caller: &Caller) -> Result<Option<Principal>, Violation> {
    match text {
        "" => Ok(None),
        text => {
            let principal = Principal::parse_external(text).map_err(broken("principal"))?;
            Ok(Some(principal).filter(|principal| *principal != caller.principal))
        }
    }
}

/// The tenant whose log a refusal belongs to: the one named, if the caller may name it.
pub(super) fn tenant_for_log(caller: &Caller, header: &Header) -> Tenant {
    tenant_or_system(&header.tenant, caller).unwrap_or_else(|_| Tenant::system())
}

/// Checks how many there are of something.
pub(super) fn count(field: &str, count: usize, max: usize) -> Result<(), Violation> {
    if (1..=max).contains(&count) {
        Ok(())
    } else {
        Err(Violation::new(field, format!("must have 1 to {max} elements; this has {count}")))
    }
}

/// Finds a class.
pub(super) fn class(policy: &Snapshot, name: &str, list: &str, index: usize) -> Result<Arc<ClassSpec>, Violation> {
    match policy.catalogue().class(name) {
        Some(class) => Ok(Arc::clone(class)),
        None => Err(Violation::new(format!("{list}[{index}].class"), "must be one of the catalogue's classes")),
    }
}

/// Checks a subject id, taking it over.
pub(super) fn subject(text: String, list: &str, index: usize) -> Result<Subject, Violation> {
    Subject::parse(text).map_err(|invalid| broken(&format!("{list}[{index}].subject"))(invalid))
}

/// Checks a length in bytes.
pub(super) fn length(bytes: usize, max: usize, list: &str, index: usize, field: &str) -> Result<(), Violation> {
    if bytes <= max {
        Ok(())
    } else {
        Err(Violation::new(
            format!("{list}[{index}].{field}"),
            format!("must be at most {max} bytes; this has {bytes}"),
        ))
    }
}

/// Turns a broken rule into a violation of `field`.
pub(super) fn broken(field: &str) -> impl Fn(Invalid) -> Violation {
    move |invalid| Violation::new(field, invalid.to_string())
}
