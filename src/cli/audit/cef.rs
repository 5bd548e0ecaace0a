//! Entries in the ArcSight Common Event Format, version 0, one a line:
//!
//! ```text
//! CEF:0|Privet|privet|version|operation|name|severity|key=value key=value …
//! ```
//!
//! Header fields escape backslash and pipe and have no line breaks; extension values escape backslash, equals sign and line
//! breaks. Every other control character, and each that changes the direction of text, is spelled out, so that no entry can
//! forge a line, a field or a key. Values longer than the format's dictionary allows are cut. A subject id is nowhere in an
//! entry, so none is here.

use super::{
    super::terminal::printable,
    entry::{operation, verdict, what},
    ocsf::is_emergency,
};
use crate::proto::v1::{AuditEntry, Verdict};

/// An entry as a line.
pub(super) fn line(entry: &AuditEntry) -> String {
    let action = operation(entry.operation());
    let verdict_name = verdict(entry.verdict());
    let header = [
        "Privet",
        "privet",
        // The log does not hold the server's version; this is the one that wrote the line.
        env!("CARGO_PKG_VERSION"),
        &action,
        &format!("{action} {verdict_name}"),
        severity(entry),
    ];
    let mut line = String::from("CEF:0");
    for field in header {
        line.push('|');
        line.push_str(&in_header(field));
    }
    line.push('|');
    let pairs: Vec<String> = extension(entry, &action, &verdict_name)
        .into_iter()
        .filter(|(_, value, _)| !value.is_empty())
        .map(|(key, value, bytes_max)| format!("{key}={}", in_extension(cut(&value, bytes_max))))
        .collect();
    line.push_str(&pairs.join(" "));
    line.push('\n');
    line
}

/// Keys of the format's dictionary with their values and the most bytes that they may have. Custom fields come with a label,
/// and without either if there is no value.
fn extension(entry: &AuditEntry, action: &str, verdict_name: &str) -> Vec<(&'static str, String, usize)> {
    let millis = entry
        .time
        .as_ref()
        .map(|time| time.seconds.saturating_mul(1_000).saturating_add(i64::from(time.nanos) / 1_000_000).to_string());
    let mut objects: Vec<&str> = entry.targets.iter().map(|target| target.object.as_str()).collect();
    objects.dedup();
    let mut pairs = vec![
        ("rt", millis.unwrap_or_default(), 40),
        ("externalId", entry.index.to_string(), 40),
        ("suser", entry.principal.clone(), 1_023),
        ("act", action.to_owned(), 63),
        ("outcome", verdict_name.to_owned(), 63),
        ("reason", entry.refusal.clone(), 1_023),
        ("cnt", if entry.count > 0 { entry.count.to_string() } else { String::new() }, 40),
        ("msg", what(entry), 1_023),
    ];
    for (label_key, label, key, value) in [
        ("cs1Label", "tenant", "cs1", entry.tenant.clone()),
        ("cs2Label", "purpose", "cs2", entry.purpose.clone()),
        ("cs3Label", "objects", "cs3", objects.join(",")),
        ("cs4Label", "grants", "cs4", entry.grant_ids.join(",")),
        ("cs5Label", "reference", "cs5", entry.reference.clone()),
        ("cs6Label", "leafHash", "cs6", hex::encode(&entry.leaf_hash)),
        ("cn1Label", "policyVersion", "cn1", entry.policy_version.to_string()),
        ("cn2Label", "tenantSeq", "cn2", entry.tenant_seq.to_string()),
        ("flexString1Label", "requestId", "flexString1", entry.request_id.clone()),
        ("flexString2Label", "assertedActor", "flexString2", entry.actor.clone()),
    ] {
        if !value.is_empty() {
            pairs.push((label_key, label.to_owned(), 1_023));
            pairs.push((key, value, if key.starts_with("cs") { 4_000 } else { 1_023 }));
        }
    }
    pairs
}

/// 0 to 10: what is allowed is low, a refusal medium, a flood of them high, and so is broken glass.
fn severity(entry: &AuditEntry) -> &'static str {
    match (entry.verdict(), entry.count) {
        _ if is_emergency(entry) => "8",
        (_, 2..) => "7",
        (Verdict::Deny, _) => "5",
        (Verdict::Partial, _) => "4",
        (Verdict::Allow | Verdict::Unspecified, _) => "1",
    }
}

fn in_header(text: &str) -> String {
    let one_line: String = text.replace("\r\n", " ").replace(['\n', '\r'], " ");
    printable(&one_line).replace('\\', "\\\\").replace('|', "\\|")
}

fn in_extension(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    let mut buffer = [0; 4];
    for c in text.chars() {
        match c {
            '\\' => escaped.push_str("\\\\"),
            '=' => escaped.push_str("\\="),
            '\n' => escaped.push_str("\\n"),
            '\r' => escaped.push_str("\\r"),
            // Spelled out with a backslash of its own, which is one to escape.
            c => escaped.push_str(&printable(c.encode_utf8(&mut buffer)).replace('\\', "\\\\")),
        }
    }
    escaped
}

/// At most so many bytes of a text, whole characters.
fn cut(text: &str, bytes_max: usize) -> &str {
    text.get(..text.floor_char_boundary(bytes_max)).unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::proto::v1::Operation;

    /// Reads a line as a SIEM does, knowing nothing of how it was written.
    fn read(line: &str) -> (Vec<String>, BTreeMap<String, String>) {
        let body = line.strip_suffix('\n').unwrap();
        assert!(!body.contains(['\n', '\r']), "one line: {body:?}");
        let mut header = vec![String::new()];
        let mut chars = body.chars();
        while header.len() < 8 {
            match chars.next().unwrap() {
                '\\' => header.last_mut().unwrap().push(chars.next().filter(|c| "\\|".contains(*c)).unwrap()),
                '|' => header.push(String::new()),
                c => header.last_mut().unwrap().push(c),
            }
        }
        // A key is what stands between a space and an equals sign that is not escaped.
        let (mut pairs, mut key, mut value) = (BTreeMap::new(), String::new(), String::new());
        while let Some(c) = chars.next() {
            match c {
                '\\' => value.push(match chars.next().unwrap() {
                    'n' => '\n',
                    'r' => '\r',
                    c @ ('\\' | '=') => c,
                    c => panic!("\\{c} escapes nothing"),
                }),
                '=' => {
                    let (before, next) =
                        value.rsplit_once(' ').map_or((String::new(), value.clone()), |(a, b)| (a.into(), b.into()));
                    assert!(!next.is_empty() && next.bytes().all(|b| b.is_ascii_alphanumeric()), "key {next:?}");
                    if !key.is_empty() {
                        assert!(pairs.insert(std::mem::take(&mut key), before).is_none());
                    }
                    (key, value) = (next, String::new());
                }
                c => value.push(c),
            }
        }
        pairs.insert(key, value);
        header.pop();
        (header, pairs)
    }

    #[test]
    fn escapes_are_exactly_those_of_the_format() {
        for (text, header, extension) in [
            ("plain", "plain", "plain"),
            ("a|b", "a\\|b", "a|b"),
            ("a\\b", "a\\\\b", "a\\\\b"),
            ("a=b", "a=b", "a\\=b"),
            ("a\nb", "a b", "a\\nb"),
            ("a\r\nb", "a b", "a\\r\\nb"),
            ("\\|", "\\\\\\|", "\\\\|"),
            ("\\=", "\\\\=", "\\\\\\="),
            ("\\n", "\\\\n", "\\\\n"),
            ("a\x1bb", "a\\\\u{1b}b", "a\\\\u{1b}b"),
            ("a\u{2028}b", "a\\\\u{2028}b", "a\\\\u{2028}b"),
            ("Zoë", "Zoë", "Zoë"),
        ] {
            assert_eq!((in_header(text).as_str(), in_extension(text).as_str()), (header, extension), "{text:?}");
        }
    }

    #[test]
    fn an_entry_can_not_forge_a_field_a_key_or_a_line() {
        let hostile = "x|9| act=none\\ outcome=allow\nCEF:0|a|b|c|d|e|10|suser=root\\";
        let entry = AuditEntry {
            principal: hostile.into(),
            refusal: hostile.into(),
            effect: hostile.into(),
            reference: hostile.into(),
            grant_ids: vec![hostile.into(); 2],
            verdict: Verdict::Deny.into(),
            ..Default::default()
        };
        let (header, pairs) = read(&line(&entry));
        assert_eq!(
            header,
            ["CEF:0", "Privet", "privet", env!("CARGO_PKG_VERSION"), "unspecified", "unspecified deny", "5"]
        );
        for key in ["suser", "reason", "cs5"] {
            assert_eq!(pairs[key], hostile, "{key}");
        }
        assert_eq!(pairs["outcome"], "deny");
        assert_eq!(pairs["cs4"], format!("{hostile},{hostile}"));
    }

    #[test]
    fn values_keep_to_the_lengths_of_the_dictionary() {
        let entry = AuditEntry { principal: "é".repeat(2_000), tenant: "x".repeat(5_000), ..Default::default() };
        let (_, pairs) = read(&line(&entry));
        assert_eq!((pairs["suser"].len(), pairs["cs1"].len()), (1_022, 4_000));
    }

    #[test]
    fn severity_rises_with_refusals() {
        let of =
            |verdict: Verdict, count| severity(&AuditEntry { verdict: verdict.into(), count, ..Default::default() });
        assert_eq!(
            [of(Verdict::Allow, 0), of(Verdict::Partial, 0), of(Verdict::Deny, 1), of(Verdict::Deny, 2)],
            ["1", "4", "5", "7"]
        );
        let glass = AuditEntry {
            operation: Operation::BreakGlass.into(),
            verdict: Verdict::Allow.into(),
            ..Default::default()
        };
        let refused = AuditEntry { verdict: Verdict::Deny.into(), ..glass.clone() };
        assert_eq!([severity(&glass), severity(&refused)], ["8", "5"]);
    }

    proptest! {
        #[test]
        fn whatever_an_entry_says_is_read_back(text in "(?s)[^\u{0}-\u{9}\u{b}\u{c}\u{e}-\u{1f}\u{7f}-\u{9f}\u{2028}\u{2029}\u{202a}-\u{202e}\u{2066}-\u{2069}]{1,200}") {
            let (_, pairs) = read(&line(&AuditEntry { refusal: text.clone(), ..Default::default() }));
            prop_assert_eq!(&pairs["reason"], &text);
        }

        #[test]
        fn no_text_at_all_breaks_the_line(text in "(?s).{0,100}") {
            let entry = AuditEntry { principal: text.clone(), tenant: text.clone(), actor: text, ..Default::default() };
            read(&line(&entry));
        }
    }
}
