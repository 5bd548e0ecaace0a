//! Rewrap: seals what is under an old key version under the newest one, for the same tenant, subject, class and context. The
//! caller never sees the value, and what is under the newest version comes back as it was, proved to open.
//!
//! The guard does not count it: nothing of a value is given.

use std::sync::Arc;

use bytes::Bytes;

use super::{
    FieldError, Halt, Header, Operation, Service, Violation,
    decide::Decisions,
    describe,
    tags::Tags,
    validate::{self, Checked},
};
use crate::{
    audit::{Effects, Released, record::Targets},
    catalogue::ClassSpec,
    envelope::{self, Binding, Content, KeyId},
    id::{Action, Subject},
    identity::Caller,
    keyring::{Alias, NoKey, SubjectKey, WantOpen, WantSeal},
    policy::Snapshot,
    proto::stored::{self, Outcome},
    secret::Plaintext,
    store::Rests,
};

/// What is asked.
pub struct Rewrap {
    /// For whom and why.
    pub header: Header,
    /// What to seal anew.
    pub fields: Vec<Field>,
}

/// A ciphertext to seal anew, as it was sent.
pub struct Field {
    /// The customer.
    pub subject: String,
    /// The class.
    pub class: String,
    /// Field format v1.
    pub ciphertext: Bytes,
    /// What it was bound to, and stays bound to.
    pub context: Bytes,
    /// Whether it is a wrapped data key.
    pub data_key: bool,
}

/// A ciphertext under the newest version.
#[derive(Debug)]
pub struct Rewrapped {
    /// Field format v1.
    pub ciphertext: Bytes,
    /// Whether it is another than was sent.
    pub changed: bool,
    /// Names the key and commits to it.
    pub key_id: KeyId,
    /// The key's version in its category.
    pub key_version: u32,
}

/// A request that holds.
pub struct Asked {
    header: Checked,
    fields: Vec<AskedField>,
}

struct AskedField {
    subject: Subject,
    class: Arc<ClassSpec>,
    ciphertext: Bytes,
    context: Bytes,
    content: Content,
}

/// What became of one field before it is sealed anew.
enum Stage {
    /// It is a ciphertext, and stays as it is.
    Stays(Arc<SubjectKey>),
    /// It was opened.
    Opened(Plaintext, Arc<SubjectKey>),
    /// It has no result, and perhaps a subject.
    Failed(FieldError, Option<Alias>),
}

impl Operation for Rewrap {
    type Asked = Asked;
    type Answer = Vec<Result<Rewrapped, FieldError>>;
    const NAME: stored::Operation = stored::Operation::Rewrap;

    fn header(&self) -> &Header {
        &self.header
    }

    fn validate(self, service: &Service, policy: &Snapshot, caller: &Caller) -> Result<Asked, Violation> {
        let header = validate::header(&self.header, policy, caller)?;
        validate::count("fields", self.fields.len(), service.limits.fields_max)?;
        let ciphertext_bytes_max = service.limits.field_bytes_max + envelope::OVERHEAD;
        let fields = self.fields.into_iter().enumerate().map(|(at, field)| {
            validate::length(field.ciphertext.len(), ciphertext_bytes_max, "fields", at, "ciphertext")?;
            validate::length(field.context.len(), validate::CONTEXT_BYTES_MAX, "fields", at, "context")?;
            Ok(AskedField {
                class: validate::class(policy, &field.class, "fields", at)?,
                subject: validate::subject(field.subject, "fields", at)?,
                ciphertext: field.ciphertext,
                context: field.context,
                content: if field.data_key { Content::DataKey } else { Content::Field },
            })
        });
        Ok(Asked { header, fields: fields.collect::<Result<_, _>>()? })
    }

    async fn attempt(service: &Service, caller: &Caller, asked: &Asked) -> Result<Released<Self::Answer>, Halt> {
        let Asked { header, fields } = asked;
        let at = service.log.read_point();

        // Decide.
        let policy = service.policy.load_full();
        let now = service.log.now_secs();
        let mut decisions = Decisions::new(policy, &caller.principal, &header.tenant, &header.purpose, now);
        let allowed: Vec<bool> =
            fields.iter().map(|field| decisions.allows(&field.class.class, Action::Rewrap)).collect();
        let mut targets = Targets::default();
        if !allowed.contains(&true) {
            fields.iter().for_each(|field| targets.add(field.class.class.as_str(), "", Outcome::Denied, None));
            return Err(describe::denied(service, Self::NAME, caller, header, &decisions, targets));
        }

        // Open.
        let tenant_keys = service.tenant_keys(&header.tenant, at).await?;
        let mut tags = Tags::new(&tenant_keys);
        let named = fields.iter().map(|field| envelope::key_id(&field.ciphertext).ok()).collect::<Vec<_>>();
        // Whoever moves a customer's values learns that there is one.
        let spending = service.guard.account(&caller.principal, decisions.budget(), service.log.monotonic().as_secs());
        let reached: Vec<Result<(), FieldError>> = fields
            .iter()
            .zip(allowed)
            .map(|(field, allowed)| match allowed {
                true => spending.spend(*tags.tag(&field.subject).as_bytes()),
                false => Err(FieldError::DENIED),
            })
            .collect();
        let wanted: Vec<WantOpen<'_>> = fields
            .iter()
            .zip(&named)
            .zip(&reached)
            .filter_map(|((field, named), reached)| {
                let key_id = reached.is_ok().then_some(*named).flatten()?;
                Some(WantOpen { tag: tags.tag(&field.subject), category: &field.class.category, key_id })
            })
            .collect();
        let opening = service.keyring.for_opening(&*service.store, &tenant_keys, &wanted, at).await;
        let opening = opening.map_err(|error| Halt::unreadable(&error))?;
        let mut keys = opening.keys.into_iter();
        let stages: Vec<Stage> = fields
            .iter()
            .zip(&named)
            .zip(&reached)
            .map(|((field, named), reached)| match (reached, named) {
                (Err(error), _) => Stage::Failed(*error, None),
                (Ok(()), None) => Stage::Failed(FieldError::INVALID_CIPHERTEXT, None),
                (Ok(()), Some(_)) => match open(header, field, keys.next()) {
                    Stage::Opened(_, key) if stays(field) => Stage::Stays(key),
                    stage @ (Stage::Opened(..) | Stage::Stays(_) | Stage::Failed(..)) => stage,
                },
            })
            .collect();

        // Find or make the newest keys, one after the other with others who make some for the same subjects.
        let opened = || fields.iter().zip(&stages).filter(|(_, stage)| matches!(stage, Stage::Opened(..)));
        let wanted: Vec<WantSeal<'_>> = opened()
            .map(|(field, _)| WantSeal {
                tag: tags.tag(&field.subject),
                category: &field.class.category,
                seals: 1,
                age_max_secs: field.class.retention.seals_for_secs(),
                outlives_closure: true,
            })
            .collect();
        let (sealing, _turn) = service.sealing(&tenant_keys, &wanted, at).await?;

        // Seal anew what is not under the newest.
        let mut nonces = vec![envelope::Nonce::default(); wanted.len()];
        service.entropy.fill(nonces.as_flattened_mut()).map_err(|error| Halt::unreadable(&error))?;
        let mut newest = sealing.keys.iter().zip(&nonces);
        let mut answer = Vec::with_capacity(fields.len());
        for (field, stage) in fields.iter().zip(stages) {
            let (result, alias) = match stage {
                Stage::Failed(error, alias) => (Err(error), alias),
                Stage::Stays(key) => (
                    Ok(Rewrapped {
                        ciphertext: field.ciphertext.clone(),
                        changed: false,
                        key_id: key.sealing().id(),
                        key_version: key.version(),
                    }),
                    Some(key.alias()),
                ),
                Stage::Opened(plaintext, key) => match newest.next() {
                    Some((Ok(newest), nonce)) => {
                        (seal(header, field, &plaintext, (&key, newest), nonce), Some(newest.alias()))
                    }
                    Some((Err(no_key), _)) => (Err(failed(no_key).0), Some(key.alias())),
                    None => (Err(FieldError::OVER_BUDGET), Some(key.alias())),
                },
            };
            let outcome = result.as_ref().map_or_else(|error| error.outcome(), |_| Outcome::Rewrapped);
            targets.add(field.class.class.as_str(), "", outcome, alias.map(|alias| *alias.as_bytes()));
            answer.push(result);
        }

        // Record, and with it release.
        let record = describe::decided(service, Self::NAME, caller, header, &decisions, targets)?;
        let Rests { mut relied, rewritten } = sealing.rests;
        relied.extend(opening.rests.relied);
        let effects = Effects { writes: sealing.effects, ..Effects::default() };
        let grounds = (decisions.basis(), Rests { relied, rewritten });
        service.settle(record, grounds, (effects, sealing.pending), answer).await
    }
}

/// Whether a field is kept by the age of its key: under a newer one it would be kept longer than it may be.
fn stays(field: &AskedField) -> bool {
    field.class.retention.seals_for_secs().is_some()
}

fn open(header: &Checked, field: &AskedField, key: Option<Result<Arc<SubjectKey>, NoKey>>) -> Stage {
    match key {
        Some(Ok(key)) => {
            match envelope::open_as(field.content, key.sealing(), &field.binding(header), &field.ciphertext) {
                Ok(plaintext) => Stage::Opened(plaintext, key),
                Err(_) => Stage::Failed(FieldError::INVALID_CIPHERTEXT, Some(key.alias())),
            }
        }
        Some(Err(no_key)) => {
            let (error, alias) = failed(&no_key);
            Stage::Failed(error, alias)
        }
        None => Stage::Failed(FieldError::INVALID_CIPHERTEXT, None),
    }
}

fn seal(
    header: &Checked,
    field: &AskedField,
    plaintext: &Plaintext,
    (key, newest): (&SubjectKey, &SubjectKey),
    nonce: &envelope::Nonce,
) -> Result<Rewrapped, FieldError> {
    let changed = key.sealing().id() != newest.sealing().id();
    let ciphertext = if changed {
        let binding = field.binding(header);
        let sealed = envelope::seal_as(field.content, newest.sealing(), nonce, &binding, plaintext.expose());
        sealed.map_err(|_| FieldError::invalid_value("the value is too long to seal"))?.into()
    } else {
        field.ciphertext.clone()
    };
    Ok(Rewrapped { ciphertext, changed, key_id: newest.sealing().id(), key_version: newest.version() })
}

fn failed(no_key: &NoKey) -> (FieldError, Option<Alias>) {
    match no_key {
        NoKey::UnknownSubject => (FieldError::UNKNOWN_SUBJECT, None),
        NoKey::NoSuchKey { alias } => (FieldError::INVALID_CIPHERTEXT, Some(*alias)),
        NoKey::Erased => (FieldError::ERASED, None),
        NoKey::Closed => (FieldError::CLOSED, None),
        NoKey::OverBudget => (FieldError::OVER_BUDGET, None),
    }
}

impl AskedField {
    fn binding<'a>(&'a self, header: &'a Checked) -> Binding<'a> {
        Binding { tenant: &header.tenant, subject: &self.subject, class: &self.class.class, context: &self.context }
    }
}
