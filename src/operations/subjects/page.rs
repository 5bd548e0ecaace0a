//! A tenant's subjects in the order of their tags, some at a time: for counting, and for sweeping.

use std::sync::Arc;

use crate::{
    keyring::{Subjects, Tag, TenantKeys, View},
    operations::{Halt, Service},
};

/// Subjects that are counted for one answer.
pub(in crate::operations) const COUNTED: usize = 1_000;

/// Some subjects.
pub(in crate::operations) struct Page {
    /// The subjects.
    pub(in crate::operations) subjects: Subjects,
    /// How many they are.
    pub(in crate::operations) count: usize,
    /// Where to go on; `None` at the end.
    pub(in crate::operations) next: Option<Tag>,
}

impl Page {
    /// Reads at most `max` subjects of a tenant, from a tag on, with its keys.
    pub(in crate::operations) async fn read(
        service: &Service,
        keys: &Arc<TenantKeys>,
        from: Option<Tag>,
        max: usize,
    ) -> Result<Self, Halt> {
        let at = service.log.read_point();
        // One more than is wanted: it says where the next page begins.
        let tags = Subjects::tags(&*service.store, keys.tenant(), from, max + 1).await;
        let mut tags = tags.map_err(|error| Halt::unreadable(&error))?;
        let next = (tags.len() > max).then(|| tags.pop()).flatten();
        let count = tags.len();
        let subjects = service.keyring.subjects(&*service.store, keys, tags, at).await;
        Ok(Self { subjects: subjects.map_err(|error| Halt::unreadable(&error))?, count, next })
    }

    /// What is stored for each.
    pub(in crate::operations) fn views(&self) -> impl Iterator<Item = View<'_>> {
        (0..self.count).filter_map(|at| self.subjects.view(at))
    }
}
