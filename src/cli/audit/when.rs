//! Times as people type them.

use std::str::FromStr;

use prost_types::Timestamp;
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

/// A point in time, or how long ago it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::cli) enum When {
    At(Timestamp),
    SecsAgo(u64),
}

/// Text that is no time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be a time like 2026-11-23T19:00:00Z, a date, or 90s, 15m, 2h, 7d ago")]
pub(in crate::cli) struct NoTime;

impl When {
    /// The point in time, if it is `now_micros`.
    pub(in crate::cli) fn at(self, now_micros: u64) -> Timestamp {
        match self {
            Self::At(at) => at,
            Self::SecsAgo(secs) => {
                let micros = now_micros.saturating_sub(secs.saturating_mul(1_000_000));
                let nanos = i32::try_from(micros % 1_000_000).unwrap_or_default().saturating_mul(1_000);
                Timestamp { seconds: i64::try_from(micros / 1_000_000).unwrap_or(i64::MAX), nanos }
            }
        }
    }
}

impl FromStr for When {
    type Err = NoTime;

    fn from_str(text: &str) -> Result<Self, NoTime> {
        if let Some(secs) = secs(text) {
            return Ok(Self::SecsAgo(secs));
        }
        let time = OffsetDateTime::parse(text, &Rfc3339)
            .or_else(|_| OffsetDateTime::parse(&format!("{text}T00:00:00Z"), &Rfc3339))
            .map_err(|_| NoTime)?;
        let nanos = i32::try_from(time.nanosecond()).map_err(|_| NoTime)?;
        Ok(Self::At(Timestamp { seconds: time.unix_timestamp(), nanos }))
    }
}

fn secs(text: &str) -> Option<u64> {
    let (at, unit) = text.char_indices().next_back()?;
    let unit = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3_600,
        'd' => 86_400,
        _ => return None,
    };
    let digits = text.get(..at)?;
    digits.bytes().all(|b| b.is_ascii_digit()).then(|| digits.parse::<u64>().ok()?.checked_mul(unit)).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_795_461_365_000_000;

    fn at(text: &str) -> Option<i64> {
        text.parse::<When>().ok().map(|when| when.at(NOW).seconds)
    }

    #[test]
    fn times_are_points_dates_or_ages() {
        assert_eq!(at("2026-11-23T19:16:05Z"), Some(1_795_461_365));
        assert_eq!(at("2026-11-23T20:16:05+01:00"), Some(1_795_461_365));
        assert_eq!(at("2026-11-23"), Some(1_795_392_000));
        assert_eq!(at("90s"), Some(1_795_461_275));
        assert_eq!(at("15m"), Some(1_795_460_465));
        assert_eq!(at("2h"), Some(1_795_454_165));
        assert_eq!(at("7d"), Some(1_794_856_565));
        assert_eq!(at("99999999999d"), Some(0));
    }

    #[test]
    fn anything_else_is_no_time() {
        for bad in [
            "",
            "d",
            "yesterday",
            "-1d",
            "+1d",
            "1.5h",
            "1w",
            "1 d",
            "2026-13-01",
            "2026-W48-1",
            "19:00",
            "1é",
            "99999999999999999999d",
        ] {
            assert_eq!(at(bad), None, "{bad}");
        }
    }
}
