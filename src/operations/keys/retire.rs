//! RetireKeyVersions: destroys old versions of a subject's key. Whatever is still under them is lost, so the caller has to say
//! that nothing is.

use crate::{
    audit::Released,
    id::{Action, Category, ControlObject},
    identity::Caller,
    keyring::Unretired,
    operations::{
        Halt, Header, Operation, Service, Violation,
        attempt::Attempt,
        subjects::{About, about, refusal::Refusal},
        validate,
    },
    policy::Snapshot,
    proto::stored,
};

/// What is asked.
pub struct RetireKeyVersions {
    /// The tenant, and the request's id.
    pub header: Header,
    /// The customer.
    pub subject: String,
    /// The category.
    pub category: String,
    /// This version and all before it.
    pub up_to_version: u32,
    /// Nothing is left under them.
    pub rewrapped: bool,
}

/// A request that holds.
pub struct Asked {
    about: About,
    category: Category,
    up_to_version: u32,
}

impl Operation for RetireKeyVersions {
    type Asked = Asked;
    /// The versions that were destroyed.
    type Answer = Vec<u32>;
    const NAME: stored::Operation = stored::Operation::RetireKeyVersions;

    fn header(&self) -> &Header {
        &self.header
    }

    fn validate(self, _: &Service, policy: &Snapshot, caller: &Caller) -> Result<Asked, Violation> {
        let about = about(&self.header, self.subject, caller)?;
        // Also of a category that the catalogue has no more.
        let category = Category::parse(&self.category).map_err(validate::broken("category"))?;
        let retention = policy.catalogue().retention(category.as_str());
        if retention.is_some_and(|retention| retention.seals_for_secs().is_some()) {
            let rule = "must not be kept by the age of its keys: rewrapping leaves what is under them, and retention ends them";
            return Err(Violation::new("category", rule));
        }
        if self.up_to_version == 0 {
            return Err(Violation::new("up_to_version", "must be at least 1"));
        }
        if !self.rewrapped {
            let rule = "must be true: what is still under these versions never opens again";
            return Err(Violation::new("rewrapped", rule));
        }
        Ok(Asked { about, category, up_to_version: self.up_to_version })
    }

    async fn attempt(service: &Service, caller: &Caller, asked: &Asked) -> Result<Released<Vec<u32>>, Halt> {
        let Asked { about, category, up_to_version } = asked;
        let operation = (ControlObject::Keys, Action::Retire);
        let attempt = Attempt::decide_on(service, caller, about.header(), Self::NAME, operation)?;
        let (_, mut subjects, _turn) = attempt.read(std::slice::from_ref(about.subject())).await?;
        let retired = match subjects.retire(0, category, *up_to_version) {
            Ok(retired) => retired,
            Err(Unretired::Unknown) => return Err(attempt.refuse(Refusal::Unknown)),
            Err(Unretired::Newest) => return Err(attempt.refuse_of(&subjects, Refusal::NewestVersion)),
            Err(Unretired::Held(hold)) => return Err(attempt.refuse_of(&subjects, Refusal::Held { hold })),
        };
        let effect = format!("{category}: {} versions up to {up_to_version} destroyed", retired.len());
        let record = attempt.record(attempt.one(&subjects), effect)?;
        attempt.commit(record, subjects, Vec::new(), retired).await
    }
}
