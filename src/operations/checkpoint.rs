//! GetCheckpoint: what the log has signed, and with which keys. Open to every authenticated caller: it shows no entry.

use super::{
    Halt, Header, Operation, Service, Violation, describe,
    validate::{self, Checked},
};
use crate::{
    audit::{Basis, Effects, Released, Unreleased, keys},
    identity::Caller,
    policy::Snapshot,
    proto::stored,
};

/// What is asked.
pub struct GetCheckpoint {
    /// In whose log the call is recorded.
    pub header: Header,
}

/// The keys that have signed the log, as C2SP verifier keys, and the announcements of all but the first. The checkpoint
/// itself comes with the receipt: it covers this call's own record.
#[derive(Debug)]
pub struct Keys {
    /// Oldest first.
    pub verifier_keys: Vec<String>,
    /// C2SP signed notes, oldest first.
    pub announcements: Vec<String>,
}

impl Operation for GetCheckpoint {
    type Asked = Checked;
    type Answer = Keys;
    const NAME: stored::Operation = stored::Operation::GetCheckpoint;

    fn header(&self) -> &Header {
        &self.header
    }

    fn validate(self, _: &Service, _: &Snapshot, caller: &Caller) -> Result<Checked, Violation> {
        validate::control(&self.header, caller)
    }

    async fn attempt(service: &Service, caller: &Caller, asked: &Checked) -> Result<Released<Keys>, Halt> {
        let keys = signing_keys(service).await?;
        let record = describe::open(service, Self::NAME, caller, asked, String::new())?;
        Ok(service.log.commit(record, Basis::default(), Effects::default(), Unreleased::new(keys)).await?)
    }
}

/// All keys that have signed the log.
pub(super) async fn signing_keys(service: &Service) -> Result<Keys, Halt> {
    let stored = keys::all(&*service.store).await.map_err(|error| Halt::unreadable(&error))?;
    Ok(Keys {
        verifier_keys: stored.iter().map(|key| key.verifier_key.clone()).collect(),
        announcements: stored.into_iter().map(|key| key.announcement).filter(|note| !note.is_empty()).collect(),
    })
}
