//! CloseSubject: the relation with a subject has ended, and the retention clock of what is kept for some time after starts.

use super::{about, refusal::Refusal};
use crate::{
    audit::Released,
    id::Action,
    identity::Caller,
    operations::{Halt, Header, Operation, Service, Violation, attempt::Attempt},
    policy::{Snapshot, date},
    proto::stored,
};

/// What is asked.
pub struct CloseSubject {
    /// The tenant, and the request's id.
    pub header: Header,
    /// The customer.
    pub subject: String,
    /// When it ended, since 1970; `None`: now.
    pub unix_secs: Option<i64>,
}

/// A request that holds.
pub struct Asked {
    about: super::About,
    unix_secs: Option<u64>,
}

impl Operation for CloseSubject {
    type Asked = Asked;
    /// When the subject was closed, since 1970.
    type Answer = u64;
    const NAME: stored::Operation = stored::Operation::CloseSubject;

    fn header(&self) -> &Header {
        &self.header
    }

    fn validate(self, service: &Service, _: &Snapshot, caller: &Caller) -> Result<Asked, Violation> {
        let about = about(&self.header, self.subject, caller)?;
        let now = service.log.believed_secs();
        let rule = || Violation::new("close_time", "must be after 1970 and not in the future");
        let unix_secs = self
            .unix_secs
            .map(|secs| u64::try_from(secs).ok().filter(|secs| (1..=now).contains(secs)).ok_or_else(rule));
        Ok(Asked { about, unix_secs: unix_secs.transpose()? })
    }

    async fn attempt(service: &Service, caller: &Caller, asked: &Asked) -> Result<Released<u64>, Halt> {
        let Asked { about, unix_secs } = asked;
        let attempt = Attempt::decide(service, caller, &about.header, Self::NAME, Action::Close)?;
        let (_, mut subjects, _turn) = attempt.read(std::slice::from_ref(&about.subject)).await?;
        let now = service.log.believed_secs();
        let closed = subjects.close(0, unix_secs.unwrap_or(now), now);
        let Some(closed) = closed else { return Err(attempt.refuse(Refusal::Unknown)) };
        let record = attempt.record(attempt.one(&subjects), format!("closed since {}", date(closed)))?;
        attempt.commit(record, subjects, Vec::new(), closed).await
    }
}
