//! Assertions that are malformed, that fail, or that ask too much.

use super::*;

const ALLOW: &str = "[[allow]]\nwhy = \"clerks work\"\nwho = [\"user:idp/anna\"]\ntenant = \"acme\"\n\
                     purpose = [\"signup\"]\naction = [\"decrypt\"]\nobject = [\"pii/account/email\"]\n";

fn with(assertions: &str) -> Sources {
    Sources { assertions: assertions.into(), ..sources(GOOD) }
}

#[track_caller]
fn refused(from: &str, to: &str, expected: &str) {
    assert!(ALLOW.contains(from));
    let found = problems(&with(&ALLOW.replacen(from, to, 1)));
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].starts_with(&format!("policies/assertions.toml:{expected}")), "{found:?}");
}

#[test]
fn an_assertion_that_fails_refuses_the_document_and_says_where() {
    assert!(Snapshot::build(1, &with(ALLOW)).is_ok());
    refused(
        "pii/account/email",
        "pii/account/*",
        "2: 5 of 6 questions fail; the first: a user: decrypt pii/account/name",
    );
    refused("[[allow]]", "[[deny]]", "2: 1 of 1 questions fail; the first: a user: decrypt pii/account/email");
    refused(
        "user:idp/anna",
        "anyone",
        "2: 1 of 2 questions fail; the first: spiffe://stranger.invalid/nobody: decrypt",
    );
    refused("\"signup\"", "\"any\"", "2: 6 of 7 questions fail");
}

#[test]
fn a_malformed_assertion_is_refused_by_line_and_field() {
    refused("user:idp/anna", "anna", "3: field who: must be a principal");
    refused("\"user:idp/anna\"", "", "2: field who: must not be empty");
    refused("acme", "*", "4: field tenant: must be a tenant");
    refused("signup", "sign-up", "5: field purpose: must be purposes of the catalogue");
    refused("decrypt", "peek", "6: field action: must be an action");
    refused("pii/account/email", "pii/fax/*", "7: field object: pii/fax/* matches no class");
    refused("pii/account/email", "audit", "2: asks nothing");
    refused("clerks work", " ", "2: field why: must say");
    refused("why", "wy", "2: unknown field `wy`");
    refused("[[allow]]", "[[maybe]]", "1: unknown field `maybe`");
    refused("action", "at = 2027-01-01\naction", "6: field at: must be a date in UTC");
    refused("[\"signup\"]", "\"s3cret\"", "5: invalid type: string, expected a sequence");
}

#[test]
fn an_assertion_without_a_date_holds_at_every_moment_and_one_with_a_date_then() {
    let policy = GOOD.replace("reason=\"she is\"", "expires=2027-01-01T00:00:00Z reason=\"she is\"");
    let at = |date: &str| {
        let assertions = ALLOW.replace("action", &format!("{date}\naction"));
        Snapshot::build(1, &Sources { assertions, ..sources(&policy) }).map_err(|problems| problems[0].to_string())
    };
    assert!(at("at = 2026-12-31T23:59:59Z").is_ok());
    assert!(at("at = 2027-01-01T00:00:00Z").is_err());
    assert!(at("").unwrap_err().ends_with("is denied from 2027-01-01T00:00:00Z on"));
}

#[test]
fn assertions_that_would_take_forever_are_refused() {
    let principals: Vec<String> = (0..3_000).map(|at| format!("\"spiffe://a/{at}\"")).collect();
    let deny = ALLOW.replace("[[allow]]", "[[deny]]").replace("\"user:idp/anna\"", &principals.join(","));
    let many =
        deny.replace("\"signup\"", "\"any\"").replace("\"decrypt\"", "\"any\"").replace("pii/account/email", "pii/*");
    let found = problems(&with(&many));
    assert_eq!(found.len(), 1);
    assert!(found[0].contains("take more than 250000 decisions"), "{found:?}");
}
