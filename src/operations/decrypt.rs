//! Decrypt: opens each field in the form asked for, or says why not.

use std::sync::Arc;

use bytes::Bytes;

use super::{
    FieldError, Halt, Header, Operation, Service, Violation,
    decide::Decisions,
    describe,
    guard::Spending,
    tags::Tags,
    validate::{self, Checked},
};
use crate::{
    audit::{Released, record::Targets},
    catalogue::ClassSpec,
    envelope::{self, Binding, Content},
    id::{Action, Subject},
    identity::Caller,
    keyring::{NoKey, TenantKeys, WantOpen},
    policy::Snapshot,
    proto::stored::{self, Outcome},
    secret::Plaintext,
};

/// What is asked.
pub struct Decrypt {
    /// For whom and why.
    pub header: Header,
    /// What to open.
    pub fields: Vec<Field>,
}

/// A field to open, as it was sent.
pub struct Field {
    /// The customer.
    pub subject: String,
    /// The class.
    pub class: String,
    /// Field format v1.
    pub ciphertext: Bytes,
    /// What the ciphertext was bound to.
    pub context: Bytes,
    /// How to serve it; `None`: no known form.
    pub form: Option<Form>,
}

/// How an opened field is served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// As it was sealed. Action `decrypt`.
    Plaintext,
    /// Masked. Action `mask`.
    Masked,
    /// Plaintext if allowed, else masked if allowed, else denied.
    BestAllowed,
}

/// An opened field, in the form it is served.
pub enum Opened {
    /// As it was sealed.
    Plaintext(Plaintext),
    /// Masked.
    Masked(String),
}

/// A request to open that holds.
pub struct Asked {
    header: Checked,
    fields: Vec<Openable>,
}

/// A field to open that holds.
pub(super) struct Openable {
    pub(super) subject: Subject,
    pub(super) class: Arc<ClassSpec>,
    pub(super) ciphertext: Bytes,
    pub(super) context: Bytes,
    pub(super) form: Form,
}

/// What the policy lets a field be served as.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Served {
    Plaintext,
    Masked,
}

impl Operation for Decrypt {
    type Asked = Asked;
    type Answer = Vec<Result<Opened, FieldError>>;
    const NAME: stored::Operation = stored::Operation::Decrypt;

    fn header(&self) -> &Header {
        &self.header
    }

    fn validate(self, service: &Service, policy: &Snapshot, caller: &Caller) -> Result<Asked, Violation> {
        let header = validate::header(&self.header, policy, caller)?;
        validate::count("fields", self.fields.len(), service.limits.fields_max)?;
        let ciphertext_bytes_max = service.limits.field_bytes_max + envelope::OVERHEAD;
        let fields = self.fields.into_iter().enumerate().map(|(i, field)| {
            validate::length(field.ciphertext.len(), ciphertext_bytes_max, "fields", i, "ciphertext")?;
            validate::length(field.context.len(), validate::CONTEXT_BYTES_MAX, "fields", i, "context")?;
            let form = field.form.ok_or_else(|| {
                Violation::new(format!("fields[{i}].form"), "must be FORM_PLAINTEXT, FORM_MASKED or FORM_BEST_ALLOWED")
            })?;
            Ok(Openable {
                class: validate::class(policy, &field.class, "fields", i)?,
                subject: validate::subject(field.subject, "fields", i)?,
                ciphertext: field.ciphertext,
                context: field.context,
                form,
            })
        });
        Ok(Asked { header, fields: fields.collect::<Result<_, _>>()? })
    }

    async fn attempt(service: &Service, caller: &Caller, asked: &Asked) -> Result<Released<Self::Answer>, Halt> {
        open(service, (caller, &asked.header, Self::NAME), Content::Field, &asked.fields).await
    }
}

/// Opens fields or data keys on record, and releases them.
pub(super) async fn open(
    service: &Service,
    (caller, header, operation): (&Caller, &Checked, stored::Operation),
    content: Content,
    fields: &[Openable],
) -> Result<Released<Vec<Result<Opened, FieldError>>>, Halt> {
    let at = service.log.read_point();

    // Decide.
    let policy = service.policy.load_full();
    let now = service.log.now_secs();
    let mut decisions = Decisions::new(policy, &caller.principal, &header.tenant, &header.purpose, now);
    let mut served: Vec<Result<Served, FieldError>> =
        fields.iter().map(|field| serve(&mut decisions, field).ok_or(FieldError::DENIED)).collect();
    let mut targets = Targets::default();
    if served.iter().all(Result::is_err) {
        fields
            .iter()
            .for_each(|field| targets.add(field.class.class.as_str(), asked_for(field), Outcome::Denied, None));
        return Err(describe::denied(service, operation, caller, header, &decisions, targets));
    }

    // Guard, and find the keys. What is not even shaped like a ciphertext needs none.
    let tenant_keys = service.tenant_keys(&header.tenant, at).await?;
    let spending = service.guard.account(&caller.principal, decisions.budget(), service.log.monotonic().as_secs());
    let wanted = wanted(&spending, &tenant_keys, fields, &mut served);
    let opening = service
        .keyring
        .for_opening(&*service.store, &tenant_keys, &wanted, at)
        .await
        .map_err(|error| Halt::unreadable(&error))?;

    // Open.
    let mut keys = opening.keys.iter();
    let mut answer = Vec::with_capacity(fields.len());
    for (field, served) in fields.iter().zip(&served) {
        let (result, alias) = match served {
            Err(refused) => (Err(*refused), None),
            Ok(served) => {
                let key = envelope::key_id(&field.ciphertext).ok().and_then(|_| keys.next());
                match key {
                    None => (Err(FieldError::INVALID_CIPHERTEXT), None),
                    Some(Ok(key)) => {
                        let binding = Binding {
                            tenant: &header.tenant,
                            subject: &field.subject,
                            class: &field.class.class,
                            context: &field.context,
                        };
                        let opened = envelope::open_as(content, key.sealing(), &binding, &field.ciphertext)
                            .map_err(|_| FieldError::INVALID_CIPHERTEXT)
                            .map(|plaintext| in_form(*served, &field.class, plaintext));
                        (opened, Some(*key.alias().as_bytes()))
                    }
                    Some(Err(NoKey::UnknownSubject)) => (Err(FieldError::UNKNOWN_SUBJECT), None),
                    Some(Err(NoKey::NoSuchKey { alias })) => {
                        (Err(FieldError::INVALID_CIPHERTEXT), Some(*alias.as_bytes()))
                    }
                    Some(Err(NoKey::Erased)) => (Err(FieldError::ERASED), None),
                    // Opening spends no budget, and what is closed opens.
                    Some(Err(NoKey::OverBudget | NoKey::Closed)) => (Err(FieldError::OVER_BUDGET), None),
                }
            }
        };
        let outcome = match &result {
            Ok(Opened::Plaintext(_)) => Outcome::Opened,
            Ok(Opened::Masked(_)) => Outcome::Masked,
            Err(error) => error.outcome(),
        };
        targets.add(field.class.class.as_str(), asked_for(field), outcome, alias);
        answer.push(result);
    }

    // Record, and with it release.
    let record = describe::decided(service, operation, caller, header, &decisions, targets)?;
    service.release(record, (decisions.basis(), opening.rests), answer).await
}

/// The keys of what is served, within the budget; what is past it, is not.
fn wanted<'a>(
    spending: &Spending,
    keys: &'a TenantKeys,
    fields: &'a [Openable],
    served: &mut [Result<Served, FieldError>],
) -> Vec<WantOpen<'a>> {
    let mut tags = Tags::new(keys);
    let mut wanted = Vec::with_capacity(fields.len());
    for (field, served) in fields.iter().zip(served).filter(|(_, served)| served.is_ok()) {
        let tag = tags.tag(&field.subject);
        if let Err(spent) = spending.spend(*tag.as_bytes()) {
            *served = Err(spent);
        } else if let Ok(key_id) = envelope::key_id(&field.ciphertext) {
            wanted.push(WantOpen { tag, category: &field.class.category, key_id });
        }
    }
    wanted
}

/// What the policy lets a field be served as.
fn serve(decisions: &mut Decisions<'_>, field: &Openable) -> Option<Served> {
    let class = &field.class.class;
    match field.form {
        Form::Plaintext => decisions.allows(class, Action::Decrypt).then_some(Served::Plaintext),
        Form::Masked => decisions.allows(class, Action::Mask).then_some(Served::Masked),
        Form::BestAllowed => {
            if decisions.allows(class, Action::Decrypt) {
                Some(Served::Plaintext)
            } else {
                decisions.allows(class, Action::Mask).then_some(Served::Masked)
            }
        }
    }
}

/// The form asked for, as the log names it.
fn asked_for(field: &Openable) -> &'static str {
    match field.form {
        Form::Plaintext => "decrypt",
        Form::Masked => "mask",
        Form::BestAllowed => "best-allowed",
    }
}

fn in_form(served: Served, class: &ClassSpec, plaintext: Plaintext) -> Opened {
    match served {
        Served::Plaintext => Opened::Plaintext(plaintext),
        Served::Masked => Opened::Masked(envelope::mask(class.kind, plaintext.expose())),
    }
}
