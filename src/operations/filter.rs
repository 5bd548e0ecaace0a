//! Which entries a listing or a tail shows.

use super::{Halt, Service, Violation, tenants::refusal::Refusal, validate};
use crate::{
    audit::record::ALIAS_BYTES,
    id::{Class, ControlObject, Principal, Reference, Subject, Tenant},
    keyring::Alias,
    policy::date,
    proto::stored::{self, Verdict},
    store::{ReadPoint, Rests},
};

/// Which entries; `None`, 0 and empty match all.
#[derive(Clone, Default)]
pub struct Filter {
    /// Who asked.
    pub principal: String,
    /// What was asked: a number of [`stored::Operation`].
    pub operation: i32,
    /// What was answered: a number of [`stored::Verdict`].
    pub verdict: i32,
    /// A class or control-plane object among the targets.
    pub class: String,
    /// The ticket or order.
    pub reference: String,
    /// From this time on, microseconds since 1970.
    pub start_micros: Option<u64>,
    /// Up to but not including this time, microseconds since 1970.
    pub end_micros: Option<u64>,
    /// Whose data was touched: a subject's id.
    pub subject: String,
}

/// A filter that holds.
pub(super) struct Checked {
    pub(super) filter: Filter,
    subject: Option<Subject>,
}

/// Whose entries are wanted, once the caller may read any.
pub(super) enum Whose {
    /// Everybody's.
    Any,
    /// One subject's.
    Alias(Alias),
    /// A subject's of whom the log knows nothing.
    Nobody,
}

impl Filter {
    /// What was asked; `None` matches all.
    pub(super) fn operation(&self) -> Option<stored::Operation> {
        stored::Operation::try_from(self.operation)
            .ok()
            .filter(|operation| *operation != stored::Operation::Unspecified)
    }

    /// What was answered; `None` matches all.
    pub(super) fn verdict(&self) -> Option<Verdict> {
        Verdict::try_from(self.verdict).ok().filter(|verdict| *verdict != Verdict::Unspecified)
    }

    /// Checks each part by the rule of its kind.
    pub(super) fn check(mut self) -> Result<Checked, Violation> {
        if !self.principal.is_empty() {
            Principal::parse(&self.principal).map_err(validate::broken("principal"))?;
        }
        if !self.class.is_empty() && ControlObject::ALL.iter().all(|object| object.as_str() != self.class) {
            Class::parse(&self.class).map_err(validate::broken("class"))?;
        }
        Reference::parse(&self.reference).map_err(validate::broken("reference"))?;
        stored::Operation::try_from(self.operation)
            .map_err(|_| Violation::new("operation", "must be a known operation"))?;
        Verdict::try_from(self.verdict).map_err(|_| Violation::new("verdict", "must be a known verdict"))?;
        if let (Some(start), Some(end)) = (self.start_micros, self.end_micros)
            && start >= end
        {
            return Err(Violation::new("end_time", "must be after start_time"));
        }
        let subject = match std::mem::take(&mut self.subject) {
            none if none.is_empty() => None,
            id => Some(Subject::parse(id).map_err(validate::broken("subject"))?),
        };
        Ok(Checked { filter: self, subject })
    }
}

impl Checked {
    /// The subject whose entries are wanted, if one is.
    pub(super) fn subject(&self) -> Option<&Subject> {
        self.subject.as_ref()
    }

    /// The name that the log has for the subject, and what that stands on.
    pub(super) async fn whose(
        &self,
        service: &Service,
        tenant: &Tenant,
        at: ReadPoint,
    ) -> Result<(Whose, Rests), Halt> {
        let Some(subject) = &self.subject else { return Ok((Whose::Any, Rests::default())) };
        // The deployment itself has no customers.
        if *tenant == Tenant::system() {
            return Ok((Whose::Nobody, Rests::default()));
        }
        let keys = match service.keys_of(tenant, at).await {
            // Nothing leads to its customers any more.
            Err(Halt::Tenant(Refusal::Destroyed)) => return Ok((Whose::Nobody, Rests::default())),
            keys => keys?,
        };
        let found = service.keyring.alias(&*service.store, &keys, keys.tag(subject), at).await;
        let (alias, rests) = found.map_err(|error| Halt::unreadable(&error))?;
        Ok((alias.map_or(Whose::Nobody, Whose::Alias), rests))
    }

    /// What was asked for, for the record: the subject by the name that the log has for it.
    pub(super) fn describe(&self, whose: &Whose) -> String {
        let Filter { principal, class, reference, start_micros, end_micros, .. } = &self.filter;
        let named =
            |name: &str, value: &str| if value.is_empty() { String::new() } else { format!(", {name} {value}") };
        let time = |name: &str, micros: &Option<u64>| {
            micros.map_or(String::new(), |at| format!(", {name} {}", date(at / 1_000_000)))
        };
        let parts = [
            match whose {
                Whose::Any => String::new(),
                Whose::Alias(alias) => named("subject", &hex::encode(alias.as_bytes())),
                Whose::Nobody => ", of an unknown subject".to_owned(),
            },
            named("principal", principal),
            named("operation", self.filter.operation().map_or("", |operation| operation.as_str_name())),
            named("verdict", self.filter.verdict().map_or("", |verdict| verdict.as_str_name())),
            named("class", class),
            named("reference", reference),
            time("since", start_micros),
            time("until", end_micros),
        ];
        parts.concat()
    }

    /// Whether an entry of any time is one of those.
    pub(super) fn matches(&self, tenant: &Tenant, whose: &Whose, entry: &stored::Entry) -> bool {
        let Filter { principal, operation, verdict, class, reference, .. } = &self.filter;
        entry.tenant == tenant.as_str()
            && (principal.is_empty() || *principal == entry.principal)
            && (*operation == 0 || entry.operation == *operation)
            && (*verdict == 0 || entry.verdict == *verdict)
            && (class.is_empty() || entry.targets.iter().any(|target| target.object == *class))
            && (reference.is_empty() || *reference == entry.reference)
            && whose.touched(entry)
    }
}

impl Whose {
    fn touched(&self, entry: &stored::Entry) -> bool {
        match self {
            Self::Any => true,
            Self::Nobody => false,
            Self::Alias(alias) => {
                let mut targets = entry.targets.iter();
                targets.any(|target| target.aliases.chunks(ALIAS_BYTES).any(|named| named == alias.as_bytes()))
            }
        }
    }
}
