//! GenerateDataKey and UnwrapDataKey: keys for data too big to send. A data key is sealed like a field of its subject and class,
//! so that erasing them reaches what it has encrypted; but never opened as one.

use bytes::Bytes;
use zeroize::Zeroizing;

use super::{
    FieldError, Halt, Header, Operation, Service, Violation,
    decrypt::{self, Form, Openable, Opened},
    encrypt::{self, Sealable, Sealed},
    validate::{self, Checked},
};
use crate::{
    audit::Released,
    envelope::{Content, OVERHEAD},
    identity::Caller,
    policy::Snapshot,
    proto::stored,
    secret::Plaintext,
};

/// How long a data key is, in bytes.
pub const DATA_KEY_BYTES: usize = 32;

/// What is asked: fresh keys.
pub struct GenerateDataKey {
    /// For whom and why.
    pub header: Header,
    /// What they are for.
    pub keys: Vec<ToGenerate>,
}

/// What a fresh key is for, as it was sent.
pub struct ToGenerate {
    /// The customer.
    pub subject: String,
    /// The class.
    pub class: String,
    /// Bound to the wrapped key.
    pub context: Bytes,
}

/// What is asked: keys that were wrapped before.
pub struct UnwrapDataKey {
    /// For whom and why.
    pub header: Header,
    /// The wrapped keys.
    pub keys: Vec<ToUnwrap>,
}

/// A wrapped key, as it was sent.
pub struct ToUnwrap {
    /// The customer.
    pub subject: String,
    /// The class.
    pub class: String,
    /// As [`GenerateDataKey`] gave it.
    pub wrapped: Bytes,
    /// What it was bound to.
    pub context: Bytes,
}

/// A fresh key, and what to keep of it.
pub struct Generated {
    /// The key.
    pub key: Plaintext,
    /// The key, wrapped.
    pub wrapped: Sealed,
}

/// A request for fresh keys that holds.
pub struct Generating {
    header: Checked,
    keys: Vec<Sealable>,
}

/// A request to unwrap that holds.
pub struct Unwrapping {
    header: Checked,
    keys: Vec<Openable>,
}

impl Operation for GenerateDataKey {
    type Asked = Generating;
    type Answer = Vec<Result<Generated, FieldError>>;
    const NAME: stored::Operation = stored::Operation::GenerateDataKey;

    fn header(&self) -> &Header {
        &self.header
    }

    fn validate(self, service: &Service, policy: &Snapshot, caller: &Caller) -> Result<Generating, Violation> {
        let header = validate::header(&self.header, policy, caller)?;
        validate::count("keys", self.keys.len(), service.limits.fields_max)?;
        let keys = self.keys.into_iter().enumerate().map(|(at, key)| {
            validate::length(key.context.len(), validate::CONTEXT_BYTES_MAX, "keys", at, "context")?;
            Ok(Sealable {
                class: validate::class(policy, &key.class, "keys", at)?,
                subject: validate::subject(key.subject, "keys", at)?,
                plaintext: Bytes::new(),
                context: key.context,
                index: false,
            })
        });
        Ok(Generating { header, keys: keys.collect::<Result<_, _>>()? })
    }

    async fn attempt(service: &Service, caller: &Caller, asked: &Generating) -> Result<Released<Self::Answer>, Halt> {
        let Generating { header, keys } = asked;
        let mut drawn = Zeroizing::new(vec![[0; DATA_KEY_BYTES]; keys.len()]);
        service.entropy.fill(drawn.as_flattened_mut()).map_err(|error| Halt::unreadable(&error))?;
        let answered = |sealed: Vec<Result<Sealed, FieldError>>| {
            let key = |key: &[u8; DATA_KEY_BYTES]| Plaintext::new(key.to_vec());
            let one = |(sealed, fresh)| Result::map(sealed, |wrapped| Generated { key: key(fresh), wrapped });
            sealed.into_iter().zip(drawn.iter()).map(one).collect()
        };
        encrypt::seal(service, (caller, header, Self::NAME), keys, Some(&drawn), answered).await
    }
}

impl Operation for UnwrapDataKey {
    type Asked = Unwrapping;
    type Answer = Vec<Result<Opened, FieldError>>;
    const NAME: stored::Operation = stored::Operation::UnwrapDataKey;

    fn header(&self) -> &Header {
        &self.header
    }

    fn validate(self, service: &Service, policy: &Snapshot, caller: &Caller) -> Result<Unwrapping, Violation> {
        let header = validate::header(&self.header, policy, caller)?;
        validate::count("keys", self.keys.len(), service.limits.fields_max)?;
        let keys = self.keys.into_iter().enumerate().map(|(at, key)| {
            validate::length(key.wrapped.len(), DATA_KEY_BYTES + OVERHEAD, "keys", at, "wrapped")?;
            validate::length(key.context.len(), validate::CONTEXT_BYTES_MAX, "keys", at, "context")?;
            Ok(Openable {
                class: validate::class(policy, &key.class, "keys", at)?,
                subject: validate::subject(key.subject, "keys", at)?,
                ciphertext: key.wrapped,
                context: key.context,
                form: Form::Plaintext,
            })
        });
        Ok(Unwrapping { header, keys: keys.collect::<Result<_, _>>()? })
    }

    async fn attempt(service: &Service, caller: &Caller, asked: &Unwrapping) -> Result<Released<Self::Answer>, Halt> {
        decrypt::open(service, (caller, &asked.header, Self::NAME), Content::DataKey, &asked.keys).await
    }
}
