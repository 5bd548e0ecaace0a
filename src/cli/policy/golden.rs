//! What the commands say of directories, held against `tests/golden/policy`: whoever changes an output sees it there.

use std::{fs, path::Path};

use tempfile::TempDir;

use super::{diff, lint, problems, test};
use crate::{
    catalogue::Problem,
    cli::{files::POLICIES, golden},
    policy::Assertions,
};

const NOW: u64 = 1_800_000_000;

/// Holds a text against its golden file.
#[track_caller]
fn check(file: &str, text: &str) {
    golden::check(&format!("policy/{file}"), text);
}

/// The shipped files in a directory, with some texts replaced.
fn dir(edits: &[(&str, &str, &str)]) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (name, text) in POLICIES {
        let edits = edits.iter().filter(|(file, ..)| *file == name);
        let text = edits.fold(text.to_owned(), |text, (_, from, to)| {
            assert!(text.contains(from), "{name} has no {from:?}");
            text.replacen(from, to, 1)
        });
        fs::write(dir.path().join(name), text).unwrap();
    }
    dir
}

/// Without the directory's name, which is another each time.
fn relative(dir: &TempDir, text: &str) -> String {
    text.replace(&format!("{}/", dir.path().display()), "DIR/")
}

fn pretty(value: &serde_json::Value) -> String {
    format!("{}\n", serde_json::to_string_pretty(value).unwrap())
}

/// Something wrong in each file.
const BROKEN: [(&str, &str, &str); 6] = [
    ("policy.csv", ", mask, support-ticket,", ", peek, support-ticket,"),
    ("policy.csv", "id=support-decrypts-email reason", "id=support-decrypts-email expires=tomorrow reason"),
    ("policy.csv", "g, spiffe://acme.example/auditor, role:auditor, acme", "g, *, role:auditor, acme"),
    ("policy.csv", "g, spiffe://acme.example/operator, role:operator, _system", "g, spiffe://acme.example/operator"),
    ("catalogue.toml", "kind = \"email\"", "kind = \"e-mail\""),
    ("model.conf", "&& !some", "|| !some"),
];

/// As somebody might edit a policy in a day.
const EDITED: [(&str, &str, &str); 5] = [
    (
        "policy.csv",
        "#: id=support-decrypts-email reason=\"support answers tickets by e-mail\"\n\
         p, role:support, acme, pii/account/email, decrypt, support-ticket, 0, 0, allow\n",
        "",
    ),
    (
        "policy.csv",
        "#: id=billing-decrypts-email reason=\"invoices are sent by e-mail\"\n\
         p, role:billing, acme, pii/account/email, decrypt, invoicing, 0, 0, allow\n",
        "#: id=billing-decrypts-email expires=2028-01-01T00:00:00Z reason=\"invoices are sent by e-mail\"\n\
         p, role:billing, acme, pii/account/email, decrypt, invoicing, 0, 1830297600, allow\n",
    ),
    (
        "policy.csv",
        "#: id=auditor-in-acme",
        "#: id=kim-in-acme expires=2027-06-01T00:00:00Z reason=\"covers for billing\"\n\
         g, user:okta/kim, role:billing, acme\n#: id=auditor-in-acme",
    ),
    ("catalogue.toml", "days = 400", "days = 200"),
    ("catalogue.toml", "days = 400", "days = 200"),
];

#[test]
fn lint_says_every_problem_with_its_place_or_what_there_is() {
    let broken = dir(&BROKEN);
    let found = lint::look(broken.path(), NOW).unwrap_err();
    check("lint-broken.txt", &relative(&broken, &problems::text(&found)));
    check("lint-broken.json", &relative(&broken, &pretty(&problems::values(&found))));
    let shipped = dir(&[]);
    let snapshot = lint::look(shipped.path(), NOW).unwrap();
    assert!(lint::text(&snapshot).starts_with("sound: 51 grants, 12 memberships, 11 classes, 7 purposes, 9 roles, "));
    assert_eq!(lint::value(&snapshot)["grants"], 51);
    assert_eq!(lint::value(&snapshot)["sound"], true);
}

#[test]
fn lint_says_what_only_a_change_would_be_refused_for() {
    let says = |edits: &[(&str, &str, &str)]| {
        let dir = dir(edits);
        let found = lint::look(dir.path(), NOW).unwrap_err();
        relative(&dir, &problems::text(&found))
    };
    let expired =
        [("policy.csv", "id=auditor-in-system reason", "id=auditor-in-system expires=2027-01-01T00:00:00Z reason")];
    assert!(says(&expired).contains("field expires: is in the past: the line does nothing\n1 problem\n"));
    let alone = [("catalogue.toml", "\"spiffe://acme.example/policy-approver\"", "\"user:okta/kim\"")];
    assert!(says(&alone).starts_with("DIR/policy.csv: leaves tenant _system without a person"), "{}", says(&alone));
    let asserted = [("assertions.toml", "action = [\"mask\"]", "action = [\"rewrap\"]")];
    assert!(says(&asserted).contains("DIR/assertions.toml:33: 6 of 6 questions fail"), "{}", says(&asserted));
}

#[test]
fn test_says_of_each_assertion_whether_it_holds() {
    let run = |edits: &[(&str, &str, &str)]| {
        let dir = dir(edits);
        Assertions::run(&problems::read(dir.path()).unwrap()).unwrap()
    };
    let holds = run(&[]);
    check("test.txt", &test::text(&holds, false, false));
    assert_eq!(test::text(&holds, true, false).lines().count(), 1);
    assert_eq!(test::value(&holds)["holds"], true);
    let fails = run(&[("policy.csv", "pii/account/*, mask, support-ticket", "pii/account/*, mask, signup")]);
    check("test-failed.txt", &test::text(&fails, true, false));
    check("test-failed.json", &pretty(&test::value(&fails)));
    assert!(test::text(&fails, false, true).contains("\x1b[31m✗"));
}

#[test]
fn diff_says_what_differs_whether_that_widens_and_for_whom() {
    let compare = |edits: &[(&str, &str, &str)]| {
        let (before, after) = (dir(&[]), dir(edits));
        diff::compare(&problems::read(before.path()).unwrap(), &problems::read(after.path()).unwrap())
    };
    let (widens, impact) = compare(&EDITED);
    check("diff-widens.txt", &diff::text(&widens, &impact));
    check("diff-widens.json", &pretty(&diff::value(&widens, &impact)));
    let (narrows, impact) = compare(&EDITED[..2]);
    check("diff-narrows.txt", &diff::text(&narrows, &impact));
    let (nothing, impact) = compare(&[]);
    assert_eq!(diff::text(&nothing, &impact), "no difference\n");
}

#[test]
fn what_can_not_be_read_is_said_by_its_name() {
    let dir = dir(&[]);
    fs::remove_file(dir.path().join("model.conf")).unwrap();
    let found = problems::read(dir.path()).unwrap_err();
    assert_eq!(relative(&dir, &problems::text(&found)), "DIR/model.conf: can't be read: entity not found\n1 problem\n");
    let nowhere: Vec<Problem> = problems::read(Path::new("/nowhere/at/all")).unwrap_err();
    assert_eq!(nowhere.len(), 4);
}
