//! The tags of a request's subjects: fields come in runs of one customer, so each run is computed once.

use crate::{
    id::Subject,
    keyring::{Tag, TenantKeys},
};

/// Tags by field.
pub(super) struct Tags<'a> {
    keys: &'a TenantKeys,
    last: Option<(&'a Subject, Tag)>,
}

impl<'a> Tags<'a> {
    pub(super) fn new(keys: &'a TenantKeys) -> Self {
        Self { keys, last: None }
    }

    /// The tag of a subject.
    pub(super) fn tag(&mut self, subject: &'a Subject) -> Tag {
        if let Some((last, tag)) = &self.last
            && last.expose() == subject.expose()
        {
            return *tag;
        }
        let tag = self.keys.tag(subject);
        self.last = Some((subject, tag));
        tag
    }
}
