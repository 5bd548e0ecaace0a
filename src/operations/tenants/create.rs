//! CreateTenant: a tenant with its keys, in the deployment's own region.

use super::{About, TENANTS_MAX, about, refusal::Refusal};
use crate::{
    audit::Released,
    id::{Action, ControlObject, Region},
    identity::Caller,
    keyring::{Changes, Life},
    operations::{Halt, Header, Operation, Service, Violation, attempt::Attempt, validate},
    policy::Snapshot,
    proto::stored,
};

/// What is asked.
pub struct CreateTenant {
    /// `_system`, and the request's id.
    pub header: Header,
    /// Its name.
    pub tenant: String,
    /// Where its data must lie; empty: where this deployment is.
    pub region: String,
}

/// A request that holds.
pub struct Asked {
    about: About,
    region: Option<Region>,
}

impl Operation for CreateTenant {
    type Asked = Asked;
    type Answer = Life;
    const NAME: stored::Operation = stored::Operation::CreateTenant;

    fn header(&self) -> &Header {
        &self.header
    }

    fn validate(self, _: &Service, _: &Snapshot, caller: &Caller) -> Result<Asked, Violation> {
        let about = about(&self.header, &self.tenant, caller)?;
        let region = match self.region.as_str() {
            "" => None,
            region => Some(Region::parse(region).map_err(validate::broken("region"))?),
        };
        Ok(Asked { about, region })
    }

    async fn attempt(service: &Service, caller: &Caller, asked: &Asked) -> Result<Released<Life>, Halt> {
        let Asked { about, region } = asked;
        let on = (ControlObject::Tenants, Action::Create);
        let said = format!("tenant {}", about.tenant);
        let attempt = Attempt::decide_about(service, caller, &about.header, Self::NAME, (on, said))?;
        if region.is_some() && *region != service.region {
            return Err(attempt.refuse_tenant(Refusal::OtherRegion));
        }
        if service.tenants.all().len() >= TENANTS_MAX {
            return Err(attempt.refuse_tenant(Refusal::Full(TENANTS_MAX)));
        }
        let at = service.log.read_point();
        let there = service.keyring.life(&*service.store, &about.tenant).await;
        if there.map_err(|error| Halt::unreadable(&error))?.is_some() {
            return Err(attempt.refuse_tenant(Refusal::Exists));
        }
        let created = service.keyring.create_tenant(&about.tenant, service.region.as_ref(), at).await;
        let (life, changes) =
            created.and_then(|new| Changes::of_new(&about.tenant, new)).map_err(|error| Halt::unreadable(&error))?;
        let effect = format!("tenant {} created with its lookup, index and bucket keys", about.tenant);
        let record = attempt.record(attempt.all(), effect)?;
        let released = attempt.commit_changes(record, changes, Vec::new(), life).await?;
        service.tenants.add([(about.tenant.clone(), service.region().to_owned())]);
        Ok(released)
    }
}
