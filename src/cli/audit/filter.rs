//! Which entries: the filters that list, tail and export share. All are checked before anything is sent.

use std::path::{Path, PathBuf};

use clap::Args;

use super::{
    super::{failure::Failure, input},
    entry,
    when::When,
};
use crate::{
    id::{Object, Principal, Reference, Subject, Tenant},
    proto::v1::{self, ListEntriesRequest, Order, TailEntriesRequest},
};

/// Whose entries, and which of them.
#[derive(Args)]
#[command(next_help_heading = "Entries")]
pub(super) struct Filter {
    /// Whose log (_system: the deployment's own)
    #[arg(long, env = "PRIVET_TENANT", hide_env_values = true, value_parser = Tenant::parse_or_system)]
    pub(super) tenant: Tenant,
    /// Only what this principal did
    #[arg(long, value_parser = Principal::parse)]
    principal: Option<Principal>,
    /// Only this operation, e.g. encrypt, decrypt, check
    #[arg(long, value_parser = entry::operation_named)]
    operation: Option<v1::Operation>,
    /// Only with this verdict: allow, deny or partial
    #[arg(long, value_parser = entry::verdict_named)]
    verdict: Option<v1::Verdict>,
    /// Only what touched this class, or object, e.g. policy or audit
    #[arg(long, value_parser = Object::parse)]
    class: Option<Object>,
    /// Only with this ticket or order
    #[arg(long, value_parser = Reference::parse)]
    reference: Option<Reference>,
    /// Only about the customer whose id is FILE's first line (- for stdin)
    #[arg(long, value_name = "FILE", alias = "subject-file")]
    subject_from: Option<PathBuf>,
    /// Your own id for this request
    #[arg(long, value_name = "ID", value_parser = Reference::parse, default_value = "", hide_default_value = true)]
    pub(super) request_id: Reference,
}

/// From when to when.
#[derive(Args)]
#[command(next_help_heading = "Entries")]
pub(super) struct Span {
    /// Only since 2026-11-23T19:00:00Z, 2026-11-23 (UTC), or 15m, 2h, 7d ago
    #[arg(long, value_name = "TIME")]
    pub(super) since: Option<When>,
    /// Only before that
    #[arg(long, value_name = "TIME")]
    pub(super) until: Option<When>,
}

impl Filter {
    /// Asks for a list, if it is `now_micros`.
    ///
    /// # Errors
    /// [`Failure`] (usage) if the subject's id can't be read; it is not shown.
    pub(super) fn list(&self, span: &Span, order: Order, now_micros: u64) -> Result<ListEntriesRequest, Failure> {
        Ok(ListEntriesRequest {
            tenant: self.tenant.to_string(),
            order: order.into(),
            principal: text(self.principal.as_ref()),
            operation: self.operation.unwrap_or_default().into(),
            verdict: self.verdict.unwrap_or_default().into(),
            class: self.class(),
            reference: text(self.reference.as_ref()),
            start_time: span.since.map(|when| when.at(now_micros)),
            end_time: span.until.map(|when| when.at(now_micros)),
            request_id: self.request_id.to_string(),
            subject: self.subject()?,
            ..Default::default()
        })
    }

    /// Asks to be told from `start_index` on, or from now on.
    ///
    /// # Errors
    /// As for [`list`](Self::list).
    pub(super) fn tail(&self, start_index: Option<u64>) -> Result<TailEntriesRequest, Failure> {
        Ok(TailEntriesRequest {
            tenant: self.tenant.to_string(),
            principal: text(self.principal.as_ref()),
            operation: self.operation.unwrap_or_default().into(),
            verdict: self.verdict.unwrap_or_default().into(),
            class: self.class(),
            reference: text(self.reference.as_ref()),
            subject: self.subject()?,
            start_index,
            request_id: self.request_id.to_string(),
        })
    }

    /// Whether it leaves anything out of the tenant's entries.
    pub(super) fn narrows(&self) -> bool {
        let Self { tenant: _, principal, operation, verdict, class, reference, subject_from, request_id: _ } = self;
        principal.is_some()
            || operation.is_some()
            || verdict.is_some()
            || class.is_some()
            || reference.is_some()
            || subject_from.is_some()
    }

    fn class(&self) -> String {
        self.class.as_ref().map(|object| object.as_str().to_owned()).unwrap_or_default()
    }

    /// A subject id is personal data: it comes from a file, and arguments show only the file's name.
    fn subject(&self) -> Result<String, Failure> {
        self.subject_from.as_deref().map_or(Ok(String::new()), |file| Ok(subject(file)?.expose().to_owned()))
    }
}

impl Span {
    /// Whether it leaves any time out.
    pub(super) fn narrows(&self) -> bool {
        self.since.is_some() || self.until.is_some()
    }
}

fn subject(file: &Path) -> Result<Subject, Failure> {
    let lines = input::Value::read_line(Some(file))?;
    let first = lines.lines().next().unwrap_or_default();
    Subject::parse(first.to_owned()).map_err(|invalid| Failure::usage(format!("--subject-from: {invalid}")))
}

fn text<T: ToString>(name: Option<&T>) -> String {
    name.map(ToString::to_string).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::failure::Exit;

    #[test]
    fn a_subject_is_the_first_line_of_a_file_and_never_shown() {
        let file = tempfile::NamedTempFile::new().unwrap();
        for content in ["cust-1", "cust-1\n", "cust-1\r\n", "cust-1\ncust-2\n"] {
            std::fs::write(file.path(), content).unwrap();
            assert_eq!(subject(file.path()).unwrap().expose(), "cust-1", "{content:?}");
        }
        for content in [String::new(), "\n".into(), "sss".repeat(100)] {
            std::fs::write(file.path(), content).unwrap();
            let failure = subject(file.path()).unwrap_err();
            assert!(failure.exit() == Exit::Usage && !failure.for_people(false).contains("sss"), "{failure:?}");
        }
    }
}
