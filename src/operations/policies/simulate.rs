//! Simulate: what a change would come to. Nothing is kept of it but the record that it was asked.

use super::{
    asked::{self, Sent, Wanted},
    candidate,
    plan::Plan,
    rights::Rights,
};
use crate::{
    audit::{Basis, Effects, Released, Unreleased},
    catalogue::Problem,
    id::Action,
    identity::Caller,
    operations::{
        Halt, Header, Operation, Service, Violation,
        validate::{self, Checked},
    },
    policy::Snapshot,
    proto::stored,
};

/// What is asked.
pub struct Simulate {
    /// The tenant, and the request's id.
    pub header: Header,
    /// The version that the change was made from.
    pub base_version: u64,
    /// What would be otherwise.
    pub changes: Vec<Sent>,
}

/// A change that is one.
pub struct Asked {
    header: Checked,
    base_version: u64,
    wanted: Wanted,
}

/// What it would come to, or what is wrong with it.
pub type Simulated = Result<Plan, Vec<Problem>>;

impl Operation for Simulate {
    type Asked = Asked;
    type Answer = Simulated;
    const NAME: stored::Operation = stored::Operation::Simulate;

    fn header(&self) -> &Header {
        &self.header
    }

    fn validate(self, _: &Service, _: &Snapshot, caller: &Caller) -> Result<Asked, Violation> {
        let header = validate::control(&self.header, caller)?;
        Ok(Asked { header, base_version: self.base_version, wanted: asked::wanted(self.changes)? })
    }

    async fn attempt(service: &Service, caller: &Caller, asked: &Asked) -> Result<Released<Simulated>, Halt> {
        let Asked { header, base_version, wanted } = asked;

        // Decide, and find out what the change comes to: whom it touches decides who may ask.
        let mut rights = Rights::now(service, caller);
        let may = candidate::Asking { operation: Self::NAME, header };
        let simulated = match candidate::candidate(service, &mut rights, &may, *base_version, wanted).await? {
            Ok(candidate) => {
                let simulation = candidate.simulate(service).await?;
                Ok(candidate.shown(&mut rights, &simulation))
            }
            Err(problems) => Err(problems),
        };

        // Record, and with it release.
        let effect = match &simulated {
            Ok(plan) => {
                format!("a change of version {base_version}: {} differences", plan.differences.len() + plan.hidden)
            }
            Err(problems) => format!("a change of version {base_version}: {} problems", problems.len()),
        };
        let record = rights.record(service, Self::NAME, header, Action::Propose, effect)?;
        let basis = Basis { policy: Some(rights.basis()), ..Basis::default() };
        Ok(service.log.commit(record, basis, Effects::default(), Unreleased::new(simulated)).await?)
    }
}
