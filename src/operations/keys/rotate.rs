//! RotateSubjectKeys: new versions, of one subject's keys at once, or of a whole tenant's by one marker.

use crate::{
    audit::Released,
    id::{Action, Category, ControlObject, Subject},
    identity::Caller,
    keyring::Unrotated,
    operations::{
        Halt, Header, Operation, Service, Violation,
        attempt::Attempt,
        subjects::{categories, header, refusal::Refusal},
        validate::{self, Checked},
    },
    policy::{Snapshot, date},
    proto::stored,
};

/// What is asked.
pub struct RotateSubjectKeys {
    /// The tenant, and the request's id.
    pub header: Header,
    /// The customer; empty: all.
    pub subject: String,
    /// The categories; none: all that have a key.
    pub categories: Vec<String>,
}

/// A request that holds.
pub struct Asked {
    header: Checked,
    subject: Option<Subject>,
    categories: Option<Vec<Category>>,
}

/// What is new.
#[derive(Debug)]
pub enum Rotated {
    /// The subject's new versions.
    Subject(Vec<(Category, u32)>),
    /// Versions of the tenant's made until this second since 1970 seal no more.
    Tenant(u64),
}

impl Operation for RotateSubjectKeys {
    type Asked = Asked;
    type Answer = Rotated;
    const NAME: stored::Operation = stored::Operation::RotateSubjectKeys;

    fn header(&self) -> &Header {
        &self.header
    }

    fn validate(self, _: &Service, policy: &Snapshot, caller: &Caller) -> Result<Asked, Violation> {
        let header = header(&self.header, caller)?;
        let categories = categories(&self.categories, policy)?;
        let subject = match self.subject {
            none if none.is_empty() => None,
            id => Some(Subject::parse(id).map_err(validate::broken("subject"))?),
        };
        if subject.is_none() && categories.is_some() {
            return Err(Violation::new("categories", "must be none for a whole tenant"));
        }
        Ok(Asked { header, subject, categories })
    }

    async fn attempt(service: &Service, caller: &Caller, asked: &Asked) -> Result<Released<Rotated>, Halt> {
        let Asked { header, subject, categories } = asked;
        let attempt = Attempt::decide_on(service, caller, header, Self::NAME, (ControlObject::Keys, Action::Rotate))?;
        let Some(subject) = subject else { return tenant(service, &attempt).await };
        let (_, mut subjects, _turn) = attempt.read(std::slice::from_ref(subject)).await?;
        let versions = match service.keyring.rotate(&mut subjects, 0, categories.as_deref()) {
            Ok(versions) => versions,
            Err(Unrotated::Unknown) => return Err(attempt.refuse(Refusal::Unknown)),
            Err(Unrotated::Full(category)) => {
                return Err(attempt.refuse_of(&subjects, Refusal::NoVersionLeft { category }));
            }
        };
        let said: Vec<String> = versions.iter().map(|(category, number)| format!("{category} {number}")).collect();
        let record = attempt.record(attempt.one(&subjects), format!("new versions: {}", said.join(", ")))?;
        attempt.commit(record, subjects, Vec::new(), Rotated::Subject(versions)).await
    }
}

/// One marker: every answer that stands on the tenant's keys as they were goes stale.
async fn tenant(service: &Service, attempt: &Attempt<'_>) -> Result<Released<Rotated>, Halt> {
    let at = service.log.read_point();
    service.tenant_keys(attempt.tenant(), at).await?;
    let rotated = service.keyring.rotate_tenant(&*service.store, attempt.tenant(), at).await;
    let (changes, until) = match rotated.map_err(|error| Halt::unreadable(&error))? {
        Some(rotated) => rotated,
        None => return Err(attempt.refuse(Refusal::Unknown)),
    };
    let record = attempt.record(attempt.all(), format!("versions made until {} seal no more", date(until)))?;
    attempt.commit_changes(record, changes, Vec::new(), Rotated::Tenant(until)).await
}
