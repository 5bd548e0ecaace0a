//! The shipped policy as a table for people, kept in `tests/golden/access.md`: a change to the policy shows there as what it
//! changes for whom. `UPDATE_GOLDEN=1 cargo test access` writes it anew.

use std::{collections::BTreeMap, fmt::Write as _, fs, path::Path};

use super::*;
use crate::id::ControlObject;

const NOW: u64 = 1_800_000_000;

fn shipped() -> (Sources, Snapshot) {
    let sources = Sources::read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("policies")).unwrap();
    let snapshot = Snapshot::build(1, &sources).unwrap_or_else(|problems| panic!("{problems:#?}"));
    (sources, snapshot)
}

#[test]
fn access_under_the_shipped_policy_is_the_golden_matrix() {
    let (_, snapshot) = shipped();
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/access.md");
    let found = matrix(&snapshot);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(&path, &found).unwrap();
    }
    let golden = fs::read_to_string(&path).unwrap();
    let differs = golden.lines().zip(found.lines()).position(|(a, b)| a != b);
    assert!(
        golden == found,
        "differs from line {:?} on; if meant so: UPDATE_GOLDEN=1 cargo test access",
        differs.map(|n| n + 1)
    );
}

#[test]
fn a_shipped_grant_for_another_purpose_breaks_an_assertion() {
    let (sources, _) = shipped();
    let policy = sources.policy.replace("pii/account/*, mask, support-ticket", "pii/account/*, mask, signup");
    let problems = Snapshot::build(2, &Sources { policy, ..sources }).unwrap_err();
    assert_eq!(problems.len(), 1, "{problems:?}");
    assert!(problems[0].to_string().starts_with("policies/assertions.toml:"), "{problems:?}");
    assert!(
        problems[0].message.starts_with("6 of 6 questions fail; the first: spiffe://acme.example/support-desk: mask")
    );
}

#[test]
fn nobody_who_is_not_named_has_any_access() {
    let (_, snapshot) = shipped();
    let stranger = Principal::parse("spiffe://acme.example/nobody").unwrap();
    assert_eq!(allowed(&snapshot, &stranger), BTreeMap::new());
}

/// (tenant, purpose) → object → action → the grants that allow it.
type Access = BTreeMap<(String, String), BTreeMap<String, BTreeMap<&'static str, String>>>;

fn allowed(snapshot: &Snapshot, principal: &Principal) -> Access {
    let mut access = Access::new();
    let tenants = [Tenant::parse("acme").unwrap(), Tenant::parse("another").unwrap(), Tenant::system()];
    for tenant in &tenants {
        for purpose in snapshot.catalogue().purposes().map(|spec| &spec.purpose) {
            for object in objects(snapshot) {
                for (action, name) in Action::ALL {
                    let question = Question { principal, tenant, object: &object, action, purpose };
                    let decision = snapshot.decide(&question, NOW);
                    if decision.verdict == Verdict::Allow {
                        let ids: Vec<&str> = decision.grant_ids.iter().map(GrantId::as_str).collect();
                        let of_purpose = access.entry((tenant.to_string(), purpose.to_string())).or_default();
                        of_purpose.entry(object.as_str().into()).or_default().insert(name, ids.join(", "));
                    }
                }
            }
        }
    }
    access
}

fn objects(snapshot: &Snapshot) -> Vec<Object> {
    let classes = snapshot.catalogue().classes().map(|spec| Object::Class(spec.class.clone()));
    classes.chain(ControlObject::ALL.map(Object::Control)).collect()
}

fn matrix(snapshot: &Snapshot) -> String {
    let mut text = String::from(
        "# Who may do what\n\n\
         Written from `policies/` by a test, which fails when the two differ. Each table is one purpose of one principal in one \
         tenant. **yes** is allowed; everything without a **yes**, and every table that isn't here, is denied.\n",
    );
    let mut principals: Vec<&Principal> = Vec::new();
    for membership in snapshot.memberships() {
        match &membership.member {
            Grantee::Principal(principal) if !principals.contains(&principal) => principals.push(principal),
            Grantee::Principal(_) | Grantee::Role(_) => {}
        }
    }
    for principal in principals {
        write!(text, "\n## {principal}\n").unwrap();
        let access = allowed(snapshot, principal);
        let everything: Vec<String> = objects(snapshot).iter().map(|object| object.as_str().to_owned()).collect();
        for ((tenant, purpose), by_object) in &access {
            let data = by_object.keys().any(|object| object.starts_with("pii/"));
            let columns: Vec<&str> = Action::ALL
                .into_iter()
                .filter(|(action, name)| {
                    if data {
                        action.is_on_data()
                    } else {
                        by_object.values().any(|actions| actions.contains_key(name))
                    }
                })
                .map(|(_, name)| name)
                .collect();
            write!(text, "\n### for {purpose}, in {tenant}\n\n| | {} |\n", columns.join(" | ")).unwrap();
            writeln!(text, "|---|{}", ":---:|".repeat(columns.len())).unwrap();
            for object in everything.iter().filter(|object| object.starts_with("pii/") == data) {
                let actions = by_object.get(object);
                if !data && actions.is_none() {
                    continue;
                }
                let cells: Vec<&str> = columns
                    .iter()
                    .map(|name| if actions.is_some_and(|actions| actions.contains_key(name)) { "**yes**" } else { "–" })
                    .collect();
                writeln!(text, "| {object} | {} |", cells.join(" | ")).unwrap();
            }
        }
        if access.is_empty() {
            text.push_str("\nNothing.\n");
        }
    }
    text.push_str("\n## Roles that nobody has until they take them\n\n");
    for role in snapshot.catalogue().roles().filter(|spec| spec.emergency) {
        writeln!(text, "* {}: {}", role.role, role.about).unwrap();
        for grant in snapshot.grants().filter(|grant| grant.grantee.as_str() == role.role.as_str()) {
            let (effect, purpose) = (grant.effect.as_str(), grant.purposes.as_str());
            let tenant = grant.tenants.as_str();
            writeln!(text, "  * {effect}: {} {} for {purpose}, in {tenant}", grant.action, grant.pattern).unwrap();
        }
    }
    text
}
