//! The rights of the people whose data it is: what is held, erasure, holds, closure. No value is opened here.
//!
//! All of them go the same way: the caller may do it to subjects of this tenant; the subjects are read anew, in turn with
//! whoever else writes them; what changes is committed with the record.

pub mod close;
pub mod due;
pub mod erase;
pub mod get;
pub mod hold;
pub mod list;
pub(super) mod page;
pub mod refusal;
pub mod reinstate;
pub mod report;
mod stored;
pub mod sweep;

use super::{
    Header, Violation,
    validate::{self, Checked},
};
use crate::{
    id::{Category, Reference, Subject},
    identity::Caller,
    policy::Snapshot,
};

/// A request about one subject that holds.
pub struct About {
    header: Checked,
    subject: Subject,
}

impl About {
    pub(super) fn header(&self) -> &Checked {
        &self.header
    }

    pub(super) fn subject(&self) -> &Subject {
        &self.subject
    }
}

/// Checks the header of a request about subjects, whose purpose is always `operate`.
pub(super) fn header(header: &Header, caller: &Caller) -> Result<Checked, Violation> {
    validate::tenant(&header.tenant, caller)?;
    let reference = Reference::parse(&header.reference).map_err(validate::broken("reference"))?;
    Ok(Checked { reference, ..validate::control(header, caller)? })
}

/// Checks the categories of a request: `None` for all, if it names none.
pub(super) fn categories(sent: &[String], policy: &Snapshot) -> Result<Option<Vec<Category>>, Violation> {
    let categories = sent.iter().enumerate().map(|(at, name)| {
        let rule = "must be one of the catalogue's categories";
        let known = policy.catalogue().has_category(name).then(|| Category::parse(name).ok()).flatten();
        known.ok_or_else(|| Violation::new(format!("categories[{at}]"), rule))
    });
    let mut categories: Vec<Category> = categories.collect::<Result<_, _>>()?;
    categories.sort_unstable();
    categories.dedup();
    Ok(Some(categories).filter(|some| !some.is_empty()))
}

/// Checks a request about one subject.
pub(super) fn about(sent: &Header, subject: String, caller: &Caller) -> Result<About, Violation> {
    let header = header(sent, caller)?;
    Ok(About { header, subject: Subject::parse(subject).map_err(validate::broken("subject"))? })
}
