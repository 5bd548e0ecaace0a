//! CancelDestroyTenant: a tenant that was to be destroyed is used again.

use super::{About, about, life, refusal::Refusal};
use crate::{
    audit::Released,
    id::{Action, ControlObject},
    identity::Caller,
    keyring::{Life, Standing},
    operations::{Halt, Header, Operation, Service, Violation, attempt::Attempt},
    policy::Snapshot,
    proto::stored,
};

/// What is asked.
pub struct CancelDestroyTenant {
    /// `_system`, and the request's id.
    pub header: Header,
    /// The tenant.
    pub tenant: String,
}

impl Operation for CancelDestroyTenant {
    type Asked = About;
    type Answer = Life;
    const NAME: stored::Operation = stored::Operation::CancelDestroyTenant;

    fn header(&self) -> &Header {
        &self.header
    }

    fn validate(self, _: &Service, _: &Snapshot, caller: &Caller) -> Result<About, Violation> {
        about(&self.header, &self.tenant, caller)
    }

    async fn attempt(service: &Service, caller: &Caller, asked: &About) -> Result<Released<Life>, Halt> {
        let on = (ControlObject::Tenants, Action::Destroy);
        let said = format!("tenant {}", asked.tenant);
        let attempt = Attempt::decide_about(service, caller, &asked.header, Self::NAME, (on, said))?;
        let at = service.log.read_point();
        let before = life(service, &attempt, &asked.tenant).await?;
        match before.standing() {
            Standing::Active => return Err(attempt.refuse_tenant(Refusal::NotEnding)),
            Standing::Destroyed => return Err(attempt.refuse_tenant(Refusal::Destroyed)),
            Standing::Wanted | Standing::Ending(_) => {}
        }
        let (after, changes) = before.with(None, at);
        let record = attempt.record(attempt.all(), format!("tenant {}: destruction cancelled", asked.tenant))?;
        attempt.commit_changes(record, changes, Vec::new(), after).await
    }
}
