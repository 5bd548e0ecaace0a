//! GetSubject: what is held about a subject, without any of it.

use super::{About, about, refusal::Refusal};
use crate::{
    audit::Released,
    id::{Action, Category},
    identity::Caller,
    keyring::{Erased, View},
    operations::{Halt, Header, Operation, Service, Violation, attempt::Attempt},
    policy::Snapshot,
    proto::stored::{self, Hold},
};

/// What is asked.
pub struct GetSubject {
    /// The tenant, and the request's id.
    pub header: Header,
    /// The customer.
    pub subject: String,
}

/// What is held about a subject.
#[derive(Debug)]
pub struct Summary {
    /// Each category that has keys.
    pub categories: Vec<HeldCategory>,
    /// Its holds.
    pub holds: Vec<Hold>,
    /// When it was closed, since 1970.
    pub closed_unix_secs: Option<u64>,
    /// What was erased and not reinstated.
    pub erased: Vec<Erased>,
}

/// What is held in a category.
#[derive(Debug)]
pub struct HeldCategory {
    /// The category.
    pub category: Category,
    /// The versions of its key, oldest first: number, second of its making since 1970, and seals.
    pub versions: Vec<(u32, u64, u64)>,
}

impl Operation for GetSubject {
    type Asked = About;
    type Answer = Summary;
    const NAME: stored::Operation = stored::Operation::GetSubject;

    fn header(&self) -> &Header {
        &self.header
    }

    fn validate(self, _: &Service, _: &Snapshot, caller: &Caller) -> Result<About, Violation> {
        about(&self.header, self.subject, caller)
    }

    async fn attempt(service: &Service, caller: &Caller, asked: &About) -> Result<Released<Summary>, Halt> {
        let attempt = Attempt::decide(service, caller, &asked.header, Self::NAME, Action::Read)?;
        let (keys, subjects, _turn) = attempt.read(std::slice::from_ref(&asked.subject)).await?;
        attempt.reach(&keys, &asked.subject)?;
        let Some(view) = subjects.view(0) else { return Err(attempt.refuse(Refusal::Unknown)) };
        let summary = summary(&view);
        let effect = format!("{} categories", summary.categories.len());
        let record = attempt.record(attempt.one(&subjects), effect)?;
        attempt.commit(record, subjects, Vec::new(), summary).await
    }
}

/// What is held, of what is stored.
pub(in crate::operations) fn summary(view: &View<'_>) -> Summary {
    let held = |(category, versions): (&Category, _)| HeldCategory { category: category.clone(), versions };
    Summary {
        categories: view.categories().map(held).collect(),
        holds: view.holds().to_vec(),
        closed_unix_secs: view.closed_unix_secs(),
        erased: view.erased().to_vec(),
    }
}
