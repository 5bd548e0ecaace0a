//! ReinstateSubject: lets a subject that was erased or closed be sealed for again. What was erased stays so.

use super::{About, about, refusal::Refusal};
use crate::{
    audit::Released,
    id::Action,
    identity::Caller,
    operations::{Halt, Header, Operation, Service, Violation, attempt::Attempt},
    policy::Snapshot,
    proto::stored,
};

/// What is asked.
pub struct ReinstateSubject {
    /// The tenant, and the request's id.
    pub header: Header,
    /// The customer.
    pub subject: String,
}

impl Operation for ReinstateSubject {
    type Asked = About;
    type Answer = ();
    const NAME: stored::Operation = stored::Operation::ReinstateSubject;

    fn header(&self) -> &Header {
        &self.header
    }

    fn validate(self, _: &Service, _: &Snapshot, caller: &Caller) -> Result<About, Violation> {
        about(&self.header, self.subject, caller)
    }

    async fn attempt(service: &Service, caller: &Caller, asked: &About) -> Result<Released<()>, Halt> {
        let attempt = Attempt::decide(service, caller, &asked.header, Self::NAME, Action::Reinstate)?;
        let (_, mut subjects, _turn) = attempt.read(std::slice::from_ref(&asked.subject)).await?;
        let Some(changed) = subjects.reinstate(0) else { return Err(attempt.refuse(Refusal::Unknown)) };
        let effect = if changed { "reinstated" } else { "neither erased nor closed" };
        let record = attempt.record(attempt.one(&subjects), effect.to_owned())?;
        attempt.commit(record, subjects, Vec::new(), ()).await
    }
}
