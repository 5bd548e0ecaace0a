//! ComputeIndex: blind indexes, for looking a value up without storing it. A dictionary oracle by nature, so it has an action
//! of its own.

use std::sync::Arc;

use bytes::Bytes;

use super::{
    FieldError, Halt, Header, Operation, Service, Violation,
    decide::Decisions,
    describe,
    guard::Spending,
    validate::{self, Checked},
};
use crate::{
    audit::{Released, record::Targets},
    catalogue::ClassSpec,
    envelope,
    id::Action,
    identity::Caller,
    keyring::TenantKeys,
    policy::Snapshot,
    proto::stored::{self, Outcome},
};

/// What is asked.
pub struct ComputeIndex {
    /// For whom and why.
    pub header: Header,
    /// The values to index.
    pub values: Vec<Value>,
}

/// A value to index, as it was sent.
pub struct Value {
    /// Its class.
    pub class: String,
    /// The value.
    pub value: Bytes,
}

/// A request for indexes that holds.
pub struct Asked {
    header: Checked,
    values: Vec<(Arc<ClassSpec>, Bytes)>,
}

impl Operation for ComputeIndex {
    type Asked = Asked;
    type Answer = Vec<Result<[u8; 17], FieldError>>;
    const NAME: stored::Operation = stored::Operation::ComputeIndex;

    fn header(&self) -> &Header {
        &self.header
    }

    fn validate(self, service: &Service, policy: &Snapshot, caller: &Caller) -> Result<Asked, Violation> {
        let header = validate::header(&self.header, policy, caller)?;
        validate::count("values", self.values.len(), service.limits.fields_max)?;
        let values = self.values.into_iter().enumerate().map(|(i, value)| {
            let class = validate::class(policy, &value.class, "values", i)?;
            let bytes_max = class.max_bytes.min(service.limits.field_bytes_max);
            validate::length(value.value.len(), bytes_max, "values", i, "value")?;
            Ok((class, value.value))
        });
        Ok(Asked { header, values: values.collect::<Result<_, _>>()? })
    }

    async fn attempt(service: &Service, caller: &Caller, asked: &Asked) -> Result<Released<Self::Answer>, Halt> {
        let Asked { header, values } = asked;
        let at = service.log.read_point();

        // Decide.
        let policy = service.policy.load_full();
        let now = service.log.now_secs();
        let mut decisions = Decisions::new(policy, &caller.principal, &header.tenant, &header.purpose, now);
        let allowed: Vec<bool> =
            values.iter().map(|(class, _)| decisions.allows(&class.class, Action::Index)).collect();
        let mut targets = Targets::default();
        if !allowed.contains(&true) {
            values.iter().for_each(|(class, _)| targets.add(class.class.as_str(), "", Outcome::Denied, None));
            return Err(describe::denied(service, Self::NAME, caller, header, &decisions, targets));
        }

        // Compute, within the budget.
        let keys = service.tenant_keys(&header.tenant, at).await?;
        let spending = service.guard.account(&caller.principal, decisions.budget(), service.log.monotonic().as_secs());
        let mut answer = Vec::with_capacity(values.len());
        for ((class, value), allowed) in values.iter().zip(allowed) {
            let result = if allowed { index(&keys, &spending, class, value) } else { Err(FieldError::DENIED) };
            let outcome = result.as_ref().map_or_else(|error| error.outcome(), |_| Outcome::Indexed);
            targets.add(class.class.as_str(), "", outcome, None);
            answer.push(result);
        }

        // Record, and with it release.
        let record = describe::decided(service, Self::NAME, caller, header, &decisions, targets)?;
        service.release(record, (decisions.basis(), keys.rests()), answer).await
    }
}

/// The blind index of a value, for whoever may reach one more customer: it is what finds them.
///
/// # Errors
/// The value is not one of its class, or the budget is spent.
pub(super) fn index(
    keys: &TenantKeys,
    spending: &Spending,
    class: &ClassSpec,
    value: &[u8],
) -> Result<[u8; 17], FieldError> {
    let normalised =
        envelope::normalise(class.kind, value).map_err(|invalid| FieldError::invalid_value(invalid.rule))?;
    let index = envelope::blind_index(&keys.index_key(&class.class), &normalised);
    let [_version, id @ ..] = index;
    spending.spend(id)?;
    Ok(index)
}
