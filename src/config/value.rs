//! Values as the file writes them, checked where they are read, so that an error points at the value.

use std::{collections::BTreeSet, fmt::Display, time::Duration};

use serde::{Deserialize, Deserializer, de::Error};

use super::TenantsNamed;
use crate::{
    id::{Invalid, Region, Tenant},
    identity::TrustDomain,
};

/// A whole number in `MIN..=MAX`.
pub(super) fn number<'de, D, T, const MIN: u64, const MAX: u64>(value: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: TryFrom<u64>,
{
    let number = u64::deserialize(value)?;
    if !(MIN..=MAX).contains(&number) {
        return Err(D::Error::custom(format_args!("must be {MIN} to {MAX}")));
    }
    T::try_from(number).map_err(|_| D::Error::custom("must fit this machine"))
}

/// Seconds, in `MIN..=MAX`.
pub(super) fn secs<'de, D: Deserializer<'de>, const MIN: u64, const MAX: u64>(value: D) -> Result<Duration, D::Error> {
    number::<D, u64, MIN, MAX>(value).map(Duration::from_secs)
}

/// Days, in `MIN..=MAX`.
pub(super) fn days<'de, D: Deserializer<'de>, const MIN: u64, const MAX: u64>(value: D) -> Result<Duration, D::Error> {
    number::<D, u64, MIN, MAX>(value).map(|days| Duration::from_secs(days.saturating_mul(86_400)))
}

pub(super) fn tenant<'de, D: Deserializer<'de>>(value: D) -> Result<Tenant, D::Error> {
    checked(value, Tenant::parse)
}

/// Tenants, `_system`, and `*` for all but that.
pub(super) fn tenants_named<'de, D: Deserializer<'de>>(value: D) -> Result<TenantsNamed, D::Error> {
    let mut names = BTreeSet::<String>::deserialize(value)?;
    let all = names.remove("*");
    let parse = |name: &String| Tenant::parse_or_system(name).map_err(D::Error::custom);
    Ok(TenantsNamed { all, named: names.iter().map(parse).collect::<Result<_, _>>()? })
}

pub(super) fn trust_domain<'de, D: Deserializer<'de>>(value: D) -> Result<TrustDomain, D::Error> {
    checked(value, TrustDomain::parse)
}

pub(super) fn trust_domains<'de, D: Deserializer<'de>>(value: D) -> Result<BTreeSet<TrustDomain>, D::Error> {
    all_checked(value, TrustDomain::parse)
}

pub(super) fn region<'de, D: Deserializer<'de>>(value: D) -> Result<Option<Region>, D::Error> {
    checked(value, Region::parse).map(Some)
}

pub(super) fn origin<'de, D: Deserializer<'de>>(value: D) -> Result<String, D::Error> {
    checked(value, parse_origin)
}

/// The name of a log, as C2SP signed notes want it (no blank, no `+`): `[A-Za-z0-9._/-]{1,128}`.
///
/// # Errors
/// The rule.
pub fn parse_origin(text: &str) -> Result<String, Invalid> {
    let accepts = |b: u8| b.is_ascii_alphanumeric() || b"._/-".contains(&b);
    if (1..=128).contains(&text.len()) && text.bytes().all(accepts) {
        Ok(text.to_owned())
    } else {
        Err(Invalid { rule: "an origin: [A-Za-z0-9._/-]{1,128}, e.g. privet.acme.example/log" })
    }
}

fn checked<'de, D: Deserializer<'de>, T, E: Display>(
    value: D,
    parse: impl Fn(&str) -> Result<T, E>,
) -> Result<T, D::Error> {
    parse(&String::deserialize(value)?).map_err(D::Error::custom)
}

fn all_checked<'de, D: Deserializer<'de>, T: Ord, E: Display>(
    value: D,
    parse: impl Fn(&str) -> Result<T, E>,
) -> Result<BTreeSet<T>, D::Error> {
    Vec::<String>::deserialize(value)?.iter().map(|text| parse(text).map_err(D::Error::custom)).collect()
}
