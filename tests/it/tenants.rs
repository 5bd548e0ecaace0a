//! Tenants from the command line.

use crate::command::{Dev, call, code, stderr, stdout};

const SEAL: [&str; 7] = ["encrypt", "--purpose", "signup", "--subject", "cust-1", "--class", "pii/account/email"];

#[test]
fn a_tenant_is_made_listed_and_ended_by_two_persons_who_mean_it() {
    let scratch = tempfile::tempdir().unwrap();
    let dir = scratch.path().join("dev");
    let _dev = Dev::start(&dir);
    let operator = |args: &[&str]| call(&dir, "operator", b"", &[&["tenant"], args].concat());
    let approver = |args: &[&str]| call(&dir, "policy-approver", b"", &[&["tenant"], args].concat());

    let made = operator(&["create", "bolt"]);
    assert_eq!((code(&made), stdout(&made).as_str()), (0, "bolt: active\n"), "{}", stderr(&made));
    let again = operator(&["create", "bolt"]);
    assert!(code(&again) == 1 && stderr(&again).contains("a name is used once"), "{}", stderr(&again));
    assert_eq!(code(&operator(&["create", "Bolt"])), 2);
    let elsewhere = operator(&["create", "volt", "--region", "eu-west"]);
    assert!(code(&elsewhere) == 1 && stderr(&elsewhere).contains("another region"), "{}", stderr(&elsewhere));
    let list = stdout(&operator(&["list"]));
    assert_eq!(list.lines().count(), 3, "{list}");
    assert!(list.lines().all(|line| line.chars().count() <= 100) && list.contains("bolt"), "{list}");

    // Whoever ends a tenant means it: the name is typed, and a reason given.
    let untyped = operator(&["destroy", "acme", "--reason", "the contract ended"]);
    assert!(code(&untyped) == 2 && stderr(&untyped).contains("--confirm"), "{}", stderr(&untyped));
    let mistyped = operator(&["destroy", "acme", "--confirm", "acne", "--reason", "the contract ended"]);
    assert!(code(&mistyped) == 2 && stderr(&mistyped).contains("nothing was asked"), "{}", stderr(&mistyped));
    let silent = operator(&["destroy", "acme", "--confirm", "acme"]);
    assert!(code(&silent) == 2 && stderr(&silent).contains("says why"), "{}", stderr(&silent));
    let asked = operator(&["destroy", "acme", "--confirm", "acme", "--reason", "the contract ended"]);
    let said = "acme: active; spiffe://acme.example/operator asks that it be destroyed (the contract ended)";
    assert!(code(&asked) == 0 && stdout(&asked).starts_with(said), "{}{}", stdout(&asked), stderr(&asked));
    let alone = operator(&["destroy", "acme", "--confirm", "acme"]);
    assert!(code(&alone) == 1 && stderr(&alone).contains("another listed person"), "{}", stderr(&alone));
    assert!(!stderr(&alone).contains("can grant it"), "no grant is missing: {}", stderr(&alone));
    assert_eq!(code(&call(&dir, "signup-service", b"a@b.example", &SEAL)), 0);

    let confirmed = approver(&["destroy", "acme", "--confirm", "acme"]);
    assert!(stdout(&confirmed).starts_with("acme: ending: nothing is sealed or opened"), "{}", stderr(&confirmed));
    let refused = call(&dir, "signup-service", b"a@b.example", &SEAL);
    assert!(code(&refused) == 1 && stderr(&refused).contains("TENANT_ENDING"), "{}", stderr(&refused));
    let json = operator(&["list", "--json"]);
    let json: serde_json::Value = serde_json::from_slice(&json.stdout).unwrap();
    let acme = &json["tenants"][0];
    assert_eq!((acme["id"].as_str(), acme["state"].as_str()), (Some("acme"), Some("ending")), "{json}");
    assert_eq!(acme["destruction"]["confirmed_by"], "spiffe://acme.example/policy-approver");

    let kept = operator(&["cancel", "acme"]);
    assert_eq!((code(&kept), stdout(&kept).as_str()), (0, "acme: active\n"), "{}", stderr(&kept));
    assert_eq!(code(&call(&dir, "signup-service", b"a@b.example", &SEAL)), 0);
}
