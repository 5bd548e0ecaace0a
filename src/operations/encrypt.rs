//! Encrypt: seals each field under the key of its (tenant, subject, category).

use std::sync::Arc;

use bytes::Bytes;

use super::{
    Failure, FieldError, Halt, Header, Operation, Service, Violation,
    compute_index::index,
    data_keys::DATA_KEY_BYTES,
    decide::Decisions,
    describe,
    guard::Spending,
    tags::Tags,
    validate::{self, Checked},
};
use crate::{
    audit::{Effects, Released, record::Targets},
    catalogue::ClassSpec,
    envelope::{self, Binding, Content, KeyId},
    id::{Action, Subject},
    identity::Caller,
    keyring::{NoKey, TenantKeys, WantSeal},
    policy::Snapshot,
    proto::stored::{self, Outcome},
};

/// What is asked.
pub struct Encrypt {
    /// For whom and why.
    pub header: Header,
    /// What to seal.
    pub fields: Vec<Field>,
}

/// A field to seal, as it was sent.
pub struct Field {
    /// The customer.
    pub subject: String,
    /// The class.
    pub class: String,
    /// The value.
    pub plaintext: Bytes,
    /// Bound to the ciphertext.
    pub context: Bytes,
    /// Whether to index the value too.
    pub index: bool,
}

/// A sealed field.
#[derive(Debug)]
pub struct Sealed {
    /// Field format v1.
    pub ciphertext: Vec<u8>,
    /// The blind index, where asked for.
    pub index: Option<[u8; 17]>,
    /// Names the key and commits to it.
    pub key_id: KeyId,
    /// The key's version in its category.
    pub key_version: u32,
}

/// A request to seal that holds.
pub struct Asked {
    header: Checked,
    fields: Vec<Sealable>,
}

/// A field to seal that holds.
pub(super) struct Sealable {
    pub(super) subject: Subject,
    pub(super) class: Arc<ClassSpec>,
    pub(super) plaintext: Bytes,
    pub(super) context: Bytes,
    pub(super) index: bool,
}

impl Operation for Encrypt {
    type Asked = Asked;
    type Answer = Vec<Result<Sealed, FieldError>>;
    const NAME: stored::Operation = stored::Operation::Encrypt;

    fn header(&self) -> &Header {
        &self.header
    }

    fn validate(self, service: &Service, policy: &Snapshot, caller: &Caller) -> Result<Asked, Violation> {
        let header = validate::header(&self.header, policy, caller)?;
        validate::count("fields", self.fields.len(), service.limits.fields_max)?;
        let fields = self.fields.into_iter().enumerate().map(|(i, field)| {
            let class = validate::class(policy, &field.class, "fields", i)?;
            let bytes_max = class.max_bytes.min(service.limits.field_bytes_max);
            validate::length(field.plaintext.len(), bytes_max, "fields", i, "plaintext")?;
            validate::length(field.context.len(), validate::CONTEXT_BYTES_MAX, "fields", i, "context")?;
            Ok(Sealable {
                subject: validate::subject(field.subject, "fields", i)?,
                class,
                plaintext: field.plaintext,
                context: field.context,
                index: field.index,
            })
        });
        Ok(Asked { header, fields: fields.collect::<Result<_, _>>()? })
    }

    async fn attempt(service: &Service, caller: &Caller, asked: &Asked) -> Result<Released<Self::Answer>, Halt> {
        let Asked { header, fields } = asked;
        seal(service, (caller, header, Self::NAME), fields, None, |sealed| sealed).await
    }
}

/// Seals on record: the values of the fields, or in their place these data keys, one for each. Releases what is made of them.
pub(super) async fn seal<T>(
    service: &Service,
    (caller, header, operation): (&Caller, &Checked, stored::Operation),
    fields: &[Sealable],
    data_keys: Option<&[[u8; DATA_KEY_BYTES]]>,
    answered: impl FnOnce(Vec<Result<Sealed, FieldError>>) -> T,
) -> Result<Released<T>, Halt> {
    let at = service.log.read_point();

    // Decide.
    let policy = service.policy.load_full();
    let now = service.log.now_secs();
    let mut decisions = Decisions::new(policy, &caller.principal, &header.tenant, &header.purpose, now);
    let allowed: Vec<bool> = fields
        .iter()
        .map(|field| {
            let class = &field.class.class;
            decisions.allows(class, Action::Encrypt) && (!field.index || decisions.allows(class, Action::Index))
        })
        .collect();
    let mut targets = Targets::default();
    if !allowed.contains(&true) {
        fields.iter().for_each(|field| targets.add(field.class.class.as_str(), "", Outcome::Denied, None));
        return Err(describe::denied(service, operation, caller, header, &decisions, targets));
    }

    // Find or make the keys.
    let tenant_keys = service.tenant_keys(&header.tenant, at).await?;
    // Sealing reaches nobody; an index does, and so does being told of an erasure: that bounds how often it is said why.
    let spending = service.guard.account(&caller.principal, decisions.budget(), service.log.monotonic().as_secs());
    let mut tags = Tags::new(&tenant_keys);
    let permitted = || fields.iter().zip(&allowed).filter_map(|(field, allowed)| allowed.then_some(field));
    let wanted: Vec<WantSeal<'_>> = permitted()
        .map(|field| WantSeal {
            tag: tags.tag(&field.subject),
            category: &field.class.category,
            seals: 1,
            age_max_secs: field.class.retention.seals_for_secs(),
            // Closure starts no clock for what is kept from its sealing on.
            outlives_closure: field.class.retention.seals_for_secs().is_some(),
        })
        .collect();
    let (sealing, _turn) = service.sealing(&tenant_keys, &wanted, at).await?;

    // Seal.
    let mut nonces = vec![envelope::Nonce::default(); wanted.len()];
    service.entropy.fill(nonces.as_flattened_mut()).map_err(|error| Halt::unreadable(&error))?;
    let mut keys = sealing.keys.iter().zip(&nonces);
    let mut answer = Vec::with_capacity(fields.len());
    for (at, (field, allowed)) in fields.iter().zip(&allowed).enumerate() {
        let (content, value): (_, &[u8]) = match data_keys.map(|keys| keys.get(at)) {
            None => (Content::Field, &field.plaintext),
            Some(key) => (Content::DataKey, key.ok_or(Halt::Failed(Failure::Internal))?),
        };
        let class = &field.class;
        let (result, alias) = match allowed.then(|| keys.next()).flatten() {
            None => (Err(FieldError::DENIED), None),
            Some((Ok(key), nonce)) => {
                let binding = Binding {
                    tenant: &header.tenant,
                    subject: &field.subject,
                    class: &class.class,
                    context: &field.context,
                };
                let index = field.index.then(|| index(&tenant_keys, &spending, class, &field.plaintext));
                let result = index.transpose().and_then(|index| {
                    let ciphertext = envelope::seal_as(content, key.sealing(), nonce, &binding, value)
                        .map_err(|_| FieldError::invalid_value("the value is too long to seal"))?;
                    Ok(Sealed { ciphertext, index, key_id: key.sealing().id(), key_version: key.version() })
                });
                (result, Some(*key.alias().as_bytes()))
            }
            Some((Err(no_key), _)) => match no_key {
                NoKey::OverBudget => (Err(FieldError::OVER_BUDGET), None),
                // That somebody was erased, or has left, is charged: it tells that there was somebody.
                NoKey::Erased => (Err(charged(&spending, &tenant_keys, field).unwrap_or(FieldError::ERASED)), None),
                NoKey::Closed => (Err(charged(&spending, &tenant_keys, field).unwrap_or(FieldError::CLOSED)), None),
                // Sealing makes the key that is not there.
                NoKey::UnknownSubject | NoKey::NoSuchKey { .. } => (Err(FieldError::UNKNOWN_SUBJECT), None),
            },
        };
        let outcome = match &result {
            Ok(Sealed { index: None, .. }) => Outcome::Sealed,
            Ok(Sealed { index: Some(_), .. }) => Outcome::SealedAndIndexed,
            Err(error) => error.outcome(),
        };
        targets.add(class.class.as_str(), "", outcome, alias);
        answer.push(result);
    }

    // Record, and with it release.
    let record = describe::decided(service, operation, caller, header, &decisions, targets)?;
    let effects = Effects { writes: sealing.effects, ..Effects::default() };
    let (grounds, changes) = ((decisions.basis(), sealing.rests), (effects, sealing.pending));
    service.settle(record, grounds, changes, answered(answer)).await
}

/// Spends on a customer of whom something is told; why that is not so, if the budget is spent.
fn charged(spending: &Spending, keys: &TenantKeys, field: &Sealable) -> Option<FieldError> {
    spending.spend(*keys.tag(&field.subject).as_bytes()).err()
}
