//! Keys to open with: exactly the one that each field names, or the reason why there is none.

use std::sync::Arc;

use super::{
    Error, Keyring, NoKey, Rests, SubjectKey, Tag, TenantKeys,
    load::{Found, Seen, distinct},
    slots,
    version::Place,
};
use crate::{
    envelope::KeyId,
    id::Category,
    store::{ReadPoint, Store},
};

/// A field to be opened.
#[derive(Clone, Copy, Debug)]
pub struct WantOpen<'a> {
    /// Whose field it is.
    pub tag: Tag,
    /// Its class's category.
    pub category: &'a Category,
    /// The key that its ciphertext names.
    pub key_id: KeyId,
}

/// Keys to open with.
#[derive(Debug)]
pub struct Opening {
    /// One answer for each want, in order.
    pub keys: Vec<Result<Arc<SubjectKey>, NoKey>>,
    /// What the keys stand on.
    pub rests: Rests,
}

impl Keyring {
    /// The keys that `wanted` names. Nothing but the exact key id in the exact category is ever tried.
    ///
    /// That there is none is answered only from what was read at `at` or later: a record in memory may lack a key that was
    /// added since.
    ///
    /// # Errors
    /// [`Error::Store`], [`Error::Root`]; [`Error::Damaged`] if any of the records or keys is.
    pub async fn for_opening(
        &self,
        store: &dyn Store,
        tenant: &TenantKeys,
        wanted: &[WantOpen<'_>],
        at: ReadPoint,
    ) -> Result<Opening, Error> {
        let (tags, places) = distinct(wanted.iter().map(|want| want.tag));
        let mut seen = self.recall(tenant, tags);
        for (want, place) in wanted.iter().zip(&places) {
            if let Some(one) = seen.get_mut(*place).filter(|one| one.loaded_at < at && one.lacks(want)) {
                one.found = Found::Unread;
            }
        }
        self.load(store, tenant, &mut seen, at).await?;

        let key = |(want, place): (&WantOpen<'_>, &usize)| match seen.get(*place) {
            Some(one) => one.open(tenant, want),
            None => Ok(Err(NoKey::UnknownSubject)),
        };
        let keys = wanted.iter().zip(&places).map(key).collect::<Result<_, _>>()?;
        let known = seen.iter().filter(|one| matches!(one.found, Found::Record(_)));
        let subjects = known.map(|one| (slots::subject(tenant.tenant(), one.tag), one.loaded_at));
        let own = (slots::tenant(tenant.tenant()), tenant.loaded_at());
        let relied = std::iter::once(own).chain(subjects).collect();
        Ok(Opening { keys, rests: Rests { relied, rewritten: Vec::new() } })
    }
}

impl Seen {
    fn lacks(&self, want: &WantOpen<'_>) -> bool {
        match &self.found {
            Found::Record(record) => record.find(want.category, want.key_id).is_none(),
            Found::Unread | Found::Absent(_) => true,
        }
    }

    fn open(&self, tenant: &TenantKeys, want: &WantOpen<'_>) -> Result<Result<Arc<SubjectKey>, NoKey>, Error> {
        let record = match &self.found {
            Found::Record(record) => record,
            Found::Unread | Found::Absent(_) => return Ok(Err(NoKey::UnknownSubject)),
        };
        let Some(version) = record.find(want.category, want.key_id) else {
            return Ok(Err(NoKey::NoSuchKey { alias: record.alias }));
        };
        let place = Place { tenant: tenant.tenant(), tag: self.tag, bucket: &record.bucket };
        version.key(place, want.category, record.alias).map(Ok)
    }
}
