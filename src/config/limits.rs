//! The sections of `privet.toml` that say how much: every bound has a unit, a default, and a bound of its own.

use std::time::Duration;

use serde::Deserialize;

use super::value;

/// `[limits]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Fields in one request, 1 to 10,000. Default 1,000.
    #[serde(deserialize_with = "value::number::<_, _, 1, 10_000>")]
    pub fields_max: usize,
    /// Bytes of one field's value, 1 to 1 MiB. Default 65,536.
    #[serde(deserialize_with = "value::number::<_, _, 1, 1_048_576>")]
    pub field_bytes_max: usize,
    /// Bytes of one message, 1 KiB to 64 MiB. Default 4 MiB.
    #[serde(deserialize_with = "value::number::<_, _, 1_024, 67_108_864>")]
    pub message_bytes_max: usize,
    /// Requests under way on one connection, 1 to 4,096. Default 256.
    #[serde(deserialize_with = "value::number::<_, _, 1, 4_096>")]
    pub in_flight_per_connection: usize,
    /// Requests under way in all, 1 to 1,000,000. Default 8,192.
    #[serde(deserialize_with = "value::number::<_, _, 1, 1_000_000>")]
    pub in_flight_max: usize,
    /// Open connections, 1 to 65,536; one more is closed at once. Default 1,024.
    #[serde(deserialize_with = "value::number::<_, _, 1, 65_536>")]
    pub connections_max: usize,
    /// Connections that have not proved who they are yet, 1 to 65,536; they count as open connections as well, so a
    /// lower value keeps room for those who have. Default 256.
    #[serde(deserialize_with = "value::number::<_, _, 1, 65_536>")]
    pub handshakes_max: usize,
    /// Bytes of requests under way in all, 1 MiB to 64 GiB. Default 256 MiB.
    #[serde(deserialize_with = "value::number::<_, _, 1_048_576, 68_719_476_736>")]
    pub bytes_in_flight_max: u64,
    /// Seconds after which a connection is asked to end, so that new certificates and bindings reach everybody, 1 to
    /// 86,400. Default 600. Spread over the last fifth, so that clients don't come back all at once.
    #[serde(deserialize_with = "value::secs::<_, 1, 86_400>")]
    pub connection_age_secs: Duration,
    /// Seconds that requests under way then get to finish, 1 to 3,600. Default 60.
    #[serde(deserialize_with = "value::secs::<_, 1, 3_600>")]
    pub connection_grace_secs: Duration,
    /// Seconds for the TLS handshake, 1 to 60. Default 10.
    #[serde(deserialize_with = "value::secs::<_, 1, 60>")]
    pub handshake_secs_max: Duration,
    /// Seconds from there to the HTTP/2 preface, 1 to 60. Default 10.
    #[serde(deserialize_with = "value::secs::<_, 1, 60>")]
    pub preface_secs_max: Duration,
    /// Seconds that a connection may be open without a request, 1 to 86,400. Default 300.
    #[serde(deserialize_with = "value::secs::<_, 1, 86_400>")]
    pub idle_secs_max: Duration,
    /// Seconds that one message may take to arrive, 1 to 600. Default 30.
    #[serde(deserialize_with = "value::secs::<_, 1, 600>")]
    pub message_secs_max: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            fields_max: 1_000,
            field_bytes_max: 64 << 10,
            message_bytes_max: 4 << 20,
            in_flight_per_connection: 256,
            in_flight_max: 8_192,
            connections_max: 1_024,
            handshakes_max: 256,
            bytes_in_flight_max: 256 << 20,
            connection_age_secs: Duration::from_secs(600),
            connection_grace_secs: Duration::from_secs(60),
            handshake_secs_max: Duration::from_secs(10),
            preface_secs_max: Duration::from_secs(10),
            idle_secs_max: Duration::from_secs(300),
            message_secs_max: Duration::from_secs(30),
        }
    }
}

/// `[keys]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Keys {
    /// Subjects whose unwrapped keys are kept in memory, 100 to 10,000,000. Default 10,000.
    #[serde(deserialize_with = "value::number::<_, _, 100, 10_000_000>")]
    pub cache_subjects: u64,
    /// Seconds that they are kept, 1 to 300. Default 300.
    #[serde(deserialize_with = "value::secs::<_, 1, 300>")]
    pub cache_ttl_secs: Duration,
    /// Days after which a subject key seals no more and a new version is made, 1 to 3,650. Default 365.
    #[serde(rename = "subject_key_max_age_days", deserialize_with = "value::days::<_, 1, 3_650>")]
    pub subject_key_age_max: Duration,
    /// Days between the confirmation that a tenant be destroyed and its destruction, 7 to 365. Default 30.
    #[serde(deserialize_with = "value::days::<_, 7, 365>")]
    pub tenant_destroy_wait_days: Duration,
}

impl Default for Keys {
    fn default() -> Self {
        Self {
            cache_subjects: 10_000,
            cache_ttl_secs: Duration::from_secs(300),
            subject_key_age_max: Duration::from_secs(365 * 86_400),
            tenant_destroy_wait_days: Duration::from_secs(30 * 86_400),
        }
    }
}
