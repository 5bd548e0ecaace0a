//! How long a client waits: the `grpc-timeout` header (gRPC over HTTP/2, "Requests").

use std::time::Duration;

use http::HeaderMap;

/// The client's patience; none if it sent no header, or one that can't be read.
pub(super) fn of(headers: &HeaderMap) -> Option<Duration> {
    parse(headers.get("grpc-timeout")?.to_str().ok()?)
}

fn parse(text: &str) -> Option<Duration> {
    let unit = text.chars().last()?;
    let digits = text.strip_suffix(unit)?;
    if !(1..=DIGITS_MAX).contains(&digits.len()) || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let count: u64 = digits.parse().ok()?;
    match unit {
        'H' => Some(Duration::from_secs(count * 3_600)),
        'M' => Some(Duration::from_secs(count * 60)),
        'S' => Some(Duration::from_secs(count)),
        'm' => Some(Duration::from_millis(count)),
        'u' => Some(Duration::from_micros(count)),
        'n' => Some(Duration::from_nanos(count)),
        _ => None,
    }
}

/// By the specification; no count of a unit overflows below it.
const DIGITS_MAX: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_unit_is_read_up_to_eight_digits() {
        assert_eq!(parse("0n"), Some(Duration::ZERO));
        assert_eq!(parse("5u"), Some(Duration::from_micros(5)));
        assert_eq!(parse("250m"), Some(Duration::from_millis(250)));
        assert_eq!(parse("3S"), Some(Duration::from_secs(3)));
        assert_eq!(parse("2M"), Some(Duration::from_secs(120)));
        assert_eq!(parse("99999999H"), Some(Duration::from_secs(99_999_999 * 3_600)));
    }

    #[test]
    fn anything_else_is_no_deadline() {
        for bad in ["", "S", "5", "5s", "100000000S", "+5S", "-5S", "5.0S", "5 S", "5é", "é"] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }
}
