//! The messages of keys: sealing anew, data keys, versions.

use super::{super::call::receipts, Answer, audit::header, field_error, subject};
use crate::{
    operations::{
        FieldError, Header,
        data_keys::{GenerateDataKey, Generated, ToGenerate, ToUnwrap, UnwrapDataKey},
        decrypt::Opened,
        keys::{
            retire::RetireKeyVersions,
            rotate::{RotateSubjectKeys, Rotated},
            status::GetKeyStatus,
        },
        rewrap::{Field, Rewrap, Rewrapped},
    },
    proto::v1::{self, generated_data_key, rewrapped_field, unwrapped_data_key},
};

pub(in super::super) fn rewrap(request: v1::RewrapRequest) -> Rewrap {
    let field = |field: v1::FieldToRewrap| Field {
        subject: field.subject,
        class: field.class,
        ciphertext: field.ciphertext,
        context: field.context,
        data_key: field.data_key,
    };
    Rewrap { header: header!(request), fields: request.fields.into_iter().map(field).collect() }
}

pub(in super::super) fn rewrapped(released: Answer<Rewrap>) -> v1::RewrapResponse {
    let (fields, evidence) = released.into_parts();
    let field = |result: Result<Rewrapped, FieldError>| match result {
        Ok(rewrapped) => v1::RewrappedField {
            result: Some(rewrapped_field::Result::Ciphertext(rewrapped.ciphertext)),
            changed: rewrapped.changed,
            key_id: rewrapped.key_id.as_bytes().to_vec().into(),
            key_version: rewrapped.key_version,
        },
        Err(error) => v1::RewrappedField {
            result: Some(rewrapped_field::Result::Error(field_error(error))),
            ..Default::default()
        },
    };
    v1::RewrapResponse { fields: fields.into_iter().map(field).collect(), receipts: receipts(evidence) }
}

pub(in super::super) fn generate(request: v1::GenerateDataKeyRequest) -> GenerateDataKey {
    let key = |key: v1::DataKeyToGenerate| ToGenerate { subject: key.subject, class: key.class, context: key.context };
    GenerateDataKey { header: header!(request), keys: request.keys.into_iter().map(key).collect() }
}

pub(in super::super) fn generated(released: Answer<GenerateDataKey>) -> v1::GenerateDataKeyResponse {
    let (keys, evidence) = released.into_parts();
    let key = |result: Result<Generated, FieldError>| match result {
        Ok(Generated { key, wrapped }) => generated_data_key::Result::Key(v1::DataKey {
            plaintext: key.expose_into().into(),
            wrapped: wrapped.ciphertext.into(),
            key_id: wrapped.key_id.as_bytes().to_vec().into(),
            key_version: wrapped.key_version,
        }),
        Err(error) => generated_data_key::Result::Error(field_error(error)),
    };
    let keys = keys.into_iter().map(|one| v1::GeneratedDataKey { result: Some(key(one)) }).collect();
    v1::GenerateDataKeyResponse { keys, receipts: receipts(evidence) }
}

pub(in super::super) fn unwrap(request: v1::UnwrapDataKeyRequest) -> UnwrapDataKey {
    let key = |key: v1::DataKeyToUnwrap| ToUnwrap {
        subject: key.subject,
        class: key.class,
        wrapped: key.wrapped,
        context: key.context,
    };
    UnwrapDataKey { header: header!(request), keys: request.keys.into_iter().map(key).collect() }
}

pub(in super::super) fn unwrapped(released: Answer<UnwrapDataKey>) -> v1::UnwrapDataKeyResponse {
    let (keys, evidence) = released.into_parts();
    let key = |result: Result<Opened, FieldError>| match result {
        Ok(Opened::Plaintext(key)) => unwrapped_data_key::Result::Plaintext(key.expose_into().into()),
        // A data key is never asked for in another form.
        Ok(Opened::Masked(_)) => unwrapped_data_key::Result::Error(v1::FieldError::default()),
        Err(error) => unwrapped_data_key::Result::Error(field_error(error)),
    };
    let keys = keys.into_iter().map(|one| v1::UnwrappedDataKey { result: Some(key(one)) }).collect();
    v1::UnwrapDataKeyResponse { keys, receipts: receipts(evidence) }
}

pub(in super::super) fn status(request: v1::GetKeyStatusRequest) -> GetKeyStatus {
    GetKeyStatus {
        header: header(request.tenant, request.request_id),
        subject: request.subject,
        page_token: request.page_token,
    }
}

pub(in super::super) fn told(released: Answer<GetKeyStatus>) -> v1::GetKeyStatusResponse {
    let (status, evidence) = released.into_parts();
    v1::GetKeyStatusResponse {
        categories: status.categories.into_iter().map(subject::category).collect(),
        counts: status
            .counts
            .into_iter()
            .map(|(counted, count)| v1::KeyCount {
                category: counted.category.to_string(),
                version: counted.version,
                days: u32::try_from(counted.days).unwrap_or(u32::MAX),
                newest: counted.newest,
                count,
            })
            .collect(),
        subjects: u32::try_from(status.subjects).unwrap_or(u32::MAX),
        rotate_time: status.rotated_unix_secs.map(subject::secs),
        next_page_token: status.next_page_token,
        receipts: receipts(evidence),
    }
}

pub(in super::super) fn rotate(request: v1::RotateSubjectKeysRequest) -> RotateSubjectKeys {
    RotateSubjectKeys { header: control_header!(request), subject: request.subject, categories: request.categories }
}

pub(in super::super) fn rotated(released: Answer<RotateSubjectKeys>) -> v1::RotateSubjectKeysResponse {
    let (rotated, evidence) = released.into_parts();
    let (versions, until) = match rotated {
        Rotated::Subject(versions) => (versions, None),
        Rotated::Tenant(until) => (Vec::new(), Some(subject::secs(until))),
    };
    let version =
        |(category, version): (crate::id::Category, u32)| v1::NewKeyVersion { category: category.to_string(), version };
    v1::RotateSubjectKeysResponse {
        versions: versions.into_iter().map(version).collect(),
        rotate_time: until,
        receipts: receipts(evidence),
    }
}

pub(in super::super) fn retire(request: v1::RetireKeyVersionsRequest) -> RetireKeyVersions {
    RetireKeyVersions {
        header: control_header!(request),
        subject: request.subject,
        category: request.category,
        up_to_version: request.up_to_version,
        rewrapped: request.rewrapped,
    }
}

pub(in super::super) fn retired(released: Answer<RetireKeyVersions>) -> v1::RetireKeyVersionsResponse {
    let (versions, evidence) = released.into_parts();
    v1::RetireKeyVersionsResponse { versions, receipts: receipts(evidence) }
}
