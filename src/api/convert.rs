//! Public messages to and from the domain. Nothing is checked here: `operations` checks what it is given.

// Before the modules that use them.
macro_rules! header {
    ($request:ident) => {
        Header {
            tenant: $request.tenant,
            purpose: $request.purpose,
            request_id: $request.request_id,
            reference: $request.reference,
            actor: $request.actor,
        }
    };
}

/// The header of a request about subjects or their keys, whose purpose is always `operate`.
macro_rules! control_header {
    ($request:ident) => {
        Header {
            tenant: $request.tenant,
            request_id: $request.request_id,
            reference: $request.reference,
            ..Header::default()
        }
    };
}

pub(super) mod audit;
pub(super) mod authorization;
pub(super) mod glass;
pub(super) mod keys;
pub(super) mod policy;
pub(super) mod subject;
pub(super) mod tenants;

use prost_types::Timestamp;

use super::call::receipts;
use crate::{
    audit::Released,
    operations::{
        FieldError, Header, Operation, Reason, check, compute_index as indexes,
        decrypt::{self as opens, Form, Opened},
        encrypt::{self as seals, Sealed},
    },
    policy::Verdict,
    proto::v1::{self, decrypted_field, encrypted_field, indexed_value},
};

/// The header of a request for data: these messages share its fields, not a type.
type Answer<O> = Released<<O as Operation>::Answer>;

pub(super) fn encrypt(request: v1::EncryptRequest) -> seals::Encrypt {
    let field = |field: v1::FieldToEncrypt| seals::Field {
        subject: field.subject,
        class: field.class,
        plaintext: field.plaintext,
        context: field.context,
        index: field.index,
    };
    seals::Encrypt { header: header!(request), fields: request.fields.into_iter().map(field).collect() }
}

pub(super) fn encrypted(released: Answer<seals::Encrypt>) -> v1::EncryptResponse {
    let (fields, evidence) = released.into_parts();
    let field = |result| match result {
        Ok(Sealed { ciphertext, index, key_id, key_version }) => v1::EncryptedField {
            result: Some(encrypted_field::Result::Ciphertext(ciphertext.into())),
            index: index.map(|index| index.to_vec().into()).unwrap_or_default(),
            key_id: key_id.as_bytes().to_vec().into(),
            key_version,
        },
        Err(error) => v1::EncryptedField {
            result: Some(encrypted_field::Result::Error(field_error(error))),
            ..Default::default()
        },
    };
    v1::EncryptResponse { fields: fields.into_iter().map(field).collect(), receipts: receipts(evidence) }
}

pub(super) fn decrypt(request: v1::DecryptRequest) -> opens::Decrypt {
    let field = |field: v1::FieldToDecrypt| opens::Field {
        form: match field.form() {
            v1::Form::Unspecified => None,
            v1::Form::Plaintext => Some(Form::Plaintext),
            v1::Form::Masked => Some(Form::Masked),
            v1::Form::BestAllowed => Some(Form::BestAllowed),
        },
        subject: field.subject,
        class: field.class,
        ciphertext: field.ciphertext,
        context: field.context,
    };
    opens::Decrypt { header: header!(request), fields: request.fields.into_iter().map(field).collect() }
}

pub(super) fn decrypted(released: Answer<opens::Decrypt>) -> v1::DecryptResponse {
    let (fields, evidence) = released.into_parts();
    let field = |result| match result {
        Ok(Opened::Plaintext(plaintext)) => decrypted_field::Result::Plaintext(plaintext.expose_into().into()),
        Ok(Opened::Masked(masked)) => decrypted_field::Result::Masked(masked),
        Err(error) => decrypted_field::Result::Error(field_error(error)),
    };
    let fields = fields.into_iter().map(|result| v1::DecryptedField { result: Some(field(result)) }).collect();
    v1::DecryptResponse { fields, receipts: receipts(evidence) }
}

pub(super) fn compute_index(request: v1::ComputeIndexRequest) -> indexes::ComputeIndex {
    let value = |value: v1::ValueToIndex| indexes::Value { class: value.class, value: value.value };
    indexes::ComputeIndex { header: header!(request), values: request.values.into_iter().map(value).collect() }
}

pub(super) fn computed_index(released: Answer<indexes::ComputeIndex>) -> v1::ComputeIndexResponse {
    let (values, evidence) = released.into_parts();
    let value = |result: Result<[u8; 17], FieldError>| match result {
        Ok(index) => indexed_value::Result::Index(index.to_vec().into()),
        Err(error) => indexed_value::Result::Error(field_error(error)),
    };
    let values = values.into_iter().map(|result| v1::IndexedValue { result: Some(value(result)) }).collect();
    v1::ComputeIndexResponse { values, receipts: receipts(evidence) }
}

pub(super) fn check(request: v1::CheckRequest) -> check::Check {
    let item = |item: v1::CheckItem| check::Item { object: item.object, action: item.action };
    check::Check {
        header: Header {
            tenant: request.tenant,
            purpose: request.purpose,
            request_id: request.request_id,
            reference: request.reference,
            actor: String::new(),
        },
        principal: request.principal,
        items: request.items.into_iter().map(item).collect(),
    }
}

pub(super) fn checked(released: Answer<check::Check>) -> v1::CheckResponse {
    let (answer, evidence) = released.into_parts();
    let result = |decision: crate::policy::Decision| v1::CheckResult {
        verdict: match decision.verdict {
            Verdict::Allow => v1::Verdict::Allow,
            Verdict::Deny => v1::Verdict::Deny,
        }
        .into(),
        grant_ids: decision.grant_ids.iter().map(ToString::to_string).collect(),
        valid_until: decision.valid_until.map(|secs| timestamp(secs.saturating_mul(1_000_000))),
    };
    v1::CheckResponse {
        results: answer.decisions.into_iter().map(result).collect(),
        policy_version: answer.policy_version,
        receipts: receipts(evidence),
    }
}

fn field_error(error: FieldError) -> v1::FieldError {
    let reason = match error.reason {
        Reason::Denied => v1::Reason::Denied,
        Reason::InvalidCiphertext => v1::Reason::InvalidCiphertext,
        Reason::Erased => v1::Reason::SubjectErased,
        Reason::UnknownSubject => v1::Reason::UnknownSubject,
        Reason::InvalidValue => v1::Reason::InvalidValue,
        Reason::OverBudget => v1::Reason::OverBudget,
        Reason::Closed => v1::Reason::SubjectClosed,
    };
    v1::FieldError { reason: reason.into(), message: error.message.to_owned() }
}

/// Microseconds since 1970; 0 is no time.
pub(super) fn timestamp_if_any(micros: u64) -> Option<Timestamp> {
    (micros > 0).then(|| timestamp(micros))
}

pub(super) fn timestamp(micros: u64) -> Timestamp {
    let secs = i64::try_from(micros / 1_000_000).unwrap_or(i64::MAX);
    let nanos = i32::try_from(micros % 1_000_000).unwrap_or_default().saturating_mul(1_000);
    Timestamp { seconds: secs, nanos }
}

/// Microseconds since 1970, and 0 for any time before.
pub(super) fn micros(time: Timestamp) -> u64 {
    let secs = u64::try_from(time.seconds).unwrap_or_default();
    secs.saturating_mul(1_000_000).saturating_add(u64::try_from(time.nanos / 1_000).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::stored;

    #[test]
    fn stored_enums_are_numbered_as_the_public_ones() {
        for n in 0..100 {
            let operation = v1::Operation::try_from(n).ok().map(|o| o.as_str_name());
            assert_eq!(operation, stored::Operation::try_from(n).ok().map(|o| o.as_str_name()));
            let verdict = v1::Verdict::try_from(n).ok().map(|o| o.as_str_name());
            assert_eq!(verdict, stored::Verdict::try_from(n).ok().map(|o| o.as_str_name()));
            let outcome = v1::Outcome::try_from(n).ok().map(|o| o.as_str_name());
            assert_eq!(outcome, stored::Outcome::try_from(n).ok().map(|o| o.as_str_name()));
        }
    }

    #[test]
    fn times_survive_both_ways() {
        for value in [0, 1, 999_999, 1_000_000, 1_800_000_000_123_456] {
            assert_eq!(micros(timestamp(value)), value);
        }
        assert_eq!(micros(Timestamp { seconds: -5, nanos: 0 }), 0);
    }
}
