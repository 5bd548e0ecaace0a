//! `privet policy unused` against a whole server: what goes is what nobody needed, and nothing that somebody may.

use std::{collections::BTreeSet, fs, path::Path, sync::Arc, time::Duration};

use privet::{
    cli::serve::Machine,
    clock::{Clock, SystemClock},
    proto::v1::{self, CheckItem, PolicyGrant, policy_change::Change},
    server::Ended,
};
use serde_json::Value;

use super::{ADMINS, PERSONS, approve, change, command::Site, in_force, policy, propose, remove};
use crate::{
    command::{code, stderr, stdout},
    support::{
        clock::TestClock,
        deployment::{Client, Deployment, Setup, encrypt, to_encrypt},
    },
};

/// Somebody who may read and propose.
const CLEANER: &str = "
#: id=cleaner-audit reason=\"tests\"
p, spiffe://acme.example/cleaner, acme, audit, read, operate, 0, 0, allow
#: id=cleaner-reads reason=\"tests\"
p, spiffe://acme.example/cleaner, acme, policy, read, operate, 0, 0, allow
#: id=cleaner-proposes reason=\"tests\"
p, spiffe://acme.example/cleaner, acme, policy, propose, operate, 0, 0, allow
#: id=cleaner-checks reason=\"tests\"
p, spiffe://acme.example/cleaner, acme, policy, check, operate, 0, 0, allow
";

fn setup(more: &str) -> Setup {
    let cleaner = "[[person]]\nid = \"cleaner\"\nprincipals = [\"spiffe://acme.example/cleaner\"]\n";
    let catalogue = [PERSONS, cleaner].concat();
    Setup { policy: [ADMINS, CLEANER, more].concat(), catalogue, ..Default::default() }
}

async fn site(more: &str) -> Site {
    Site::of(Deployment::start_with(setup(more)).await)
}

/// So long that a moment given in seconds lies between.
async fn pass() {
    tokio::time::sleep(Duration::from_millis(2_100)).await;
}

async fn sign_up(client: &Client) {
    let request = encrypt("acme", vec![to_encrypt("anna", "pii/account/email", "anna@mail.example")]);
    client.encryption().encrypt(request).await.unwrap();
}

/// What the command lists: the ids of what goes, and of what stays with why.
#[derive(Debug)]
struct Listed {
    grants: BTreeSet<String>,
    memberships: BTreeSet<String>,
    kept: BTreeSet<(String, String)>,
}

impl Listed {
    fn goes(&self, id: &str) -> bool {
        self.grants.contains(id)
    }

    fn stays(&self, id: &str, because: &str) -> bool {
        self.kept.contains(&(id.to_owned(), because.to_owned()))
    }

    fn names(&self, id: &str) -> bool {
        let ids = self.grants.iter().chain(&self.memberships).chain(self.kept.iter().map(|(id, _)| id));
        ids.into_iter().any(|known| known == id)
    }
}

async fn listed(site: &Site, since: &str) -> Listed {
    let text = site.done("cleaner", "acme", &["unused", "--since", since, "--json"]).await;
    let mut listed = Listed { grants: BTreeSet::new(), memberships: BTreeSet::new(), kept: BTreeSet::new() };
    for line in text.lines() {
        let line: Value = serde_json::from_str(line).unwrap();
        let id = |of: &Value| of["id"].as_str().map(str::to_owned);
        let (gone, kept) = (&line["remove"], &line["keep"]);
        listed.grants.extend(id(&gone["grant"]));
        listed.memberships.extend(id(&gone["membership"]));
        listed.kept.extend(id(&kept["grant"]).map(|id| (id, kept["because"].as_str().unwrap().to_owned())));
    }
    listed
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_has_needed_is_listed_and_what_is_rarely_needed_stays() {
    let site = site("").await;
    // As old as the policy and used, as old and unused, and younger than asked about.
    let sign_up_service = site.server.client("signup-service").await;
    sign_up(&sign_up_service).await;
    let young = site.policy("auditor", "acme", &["unused", "--since", "1h"]).await;
    assert!(stdout(&young).starts_with("nothing to remove: "), "no grant is an hour old: {}", stdout(&young));
    assert_eq!(stdout(&young).lines().count(), 1, "{}", stdout(&young));
    for moment in ["0s", "2100-01-01"] {
        let ahead = site.policy("auditor", "acme", &["unused", "--since", moment]).await;
        assert_eq!((code(&ahead), stderr(&ahead).contains("in the past")), (2, true), "{}", stderr(&ahead));
    }
    pass().await;
    sign_up(&sign_up_service).await;
    let unused = listed(&site, "1s").await;
    assert!(!unused.names("signup-encrypts-account"), "{unused:?}");
    assert!(unused.goes("billing-decrypts-email") && unused.goes("privacy-decrypts-all"), "{unused:?}");
    assert!(!unused.names("support-never-decrypts-billing"), "a deny is needed by not being tried: {unused:?}");
    // Nobody broke the glass or erased anybody, which is well.
    assert!(unused.stays("break-glass-decrypts-account", "emergency"), "{unused:?}");
    for id in ["privacy-erases-subjects", "operator-rotates-keys", "policy-approver-approves", "operator-breaks-glass"]
    {
        assert!(unused.stays(id, "control"), "{id}: {unused:?}");
    }
    assert!(!unused.names("cleaner-audit"), "it has just been used");
    assert!(!unused.names("operator-takes-backups") && !unused.names("other-test-masks"), "other tenants'");

    // Roles that have nothing else lose their members; those that a deny is for, or the control plane, keep them.
    assert!(unused.memberships.contains("billing-service-in-acme"), "{unused:?}");
    for id in ["support-desk-in-acme", "privacy-officer-in-acme", "signup-service-in-acme"] {
        assert!(!unused.names(id), "{id}: {unused:?}");
    }
    let text = site.done("auditor", "acme", &["unused", "--since", "1s"]).await;
    assert!(text.starts_with("unused since ") && text.contains("\nkept: emergency – whoever"), "{text}");
    assert!(text.contains("\nkept: control – "), "{text}");

    // Who can't propose can't by this way either.
    let refused = site.policy("auditor", "acme", &["unused", "--since", "1s", "--propose", "r"]).await;
    assert_eq!(code(&refused), 1, "{}", stderr(&refused));
}

#[tokio::test(flavor = "multi_thread")]
async fn all_of_it_is_in_force_at_once_and_nothing_is_left_to_propose() {
    let site = site("").await;
    pass().await;
    sign_up(&site.server.client("signup-service").await).await;
    let file = site.path("unused.json");
    site.done("cleaner", "acme", &["unused", "--since", "1s", "--changes", file.to_str().unwrap()]).await;
    let unused = listed(&site, "1s").await;
    let proposed = site.done("cleaner", "acme", &["unused", "--since", "1s", "--propose", "nobody needed it"]).await;
    assert!(proposed.contains("It only narrows") && proposed.contains("policy version 2 in force"), "{proposed}");
    let after = policy(&site.server.client("cleaner").await, "acme", 0).await.unwrap();
    let left: BTreeSet<&str> = after
        .grants
        .iter()
        .map(|grant| grant.id.as_str())
        .chain(after.memberships.iter().map(|membership| membership.id.as_str()))
        .collect();
    assert!(unused.grants.iter().chain(&unused.memberships).all(|id| !left.contains(id.as_str())), "{left:?}");
    assert!(unused.kept.iter().all(|(id, _)| left.contains(id.as_str())), "{left:?}");
    assert!(left.contains("signup-encrypts-account") && left.contains("break-glass-decrypts-account"), "{left:?}");

    // Somebody else would have proposed the same.
    let changes: Vec<Value> = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
    let removed: BTreeSet<String> = changes.iter().map(|change| change["remove"].as_str().unwrap().into()).collect();
    assert_eq!(removed, unused.grants.union(&unused.memberships).cloned().collect());
    let stale = ["propose", "--change", file.to_str().unwrap(), "--reason", "the same"];
    let stale = site.policy("policy-admin", "acme", &stale).await;
    assert_eq!((code(&stale), stderr(&stale).contains("there is no grant")), (2, true), "{}", stderr(&stale));
    let again = site.done("cleaner", "acme", &["unused", "--since", "1s", "--propose", "again"]).await;
    assert!(again.starts_with("nothing to remove: "), "{again}");
    site.done("cleaner", "acme", &["unused", "--since", "1s", "--changes", file.to_str().unwrap()]).await;
    assert_eq!(fs::read_to_string(&file).unwrap(), "[]\n", "what was written is of no use any more");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_only_asked_about_was_not_used() {
    let site = site("").await;
    let clients = [site.server.client("billing-service").await, site.server.client("cleaner").await];
    let [billing, cleaner] = &clients;
    pass().await;
    let unused = listed(&site, "1s").await;
    assert!(unused.goes("billing-decrypts-email") && unused.stays("cleaner-checks", "control"), "{unused:?}");
    let (object, action) = ("pii/account/email".to_owned(), "decrypt".to_owned());
    let items = vec![CheckItem { object: object.clone(), action: action.clone() }];
    for (client, principal) in [(billing, ""), (cleaner, "spiffe://acme.example/billing-service")] {
        let (tenant, purpose, principal) = ("acme".to_owned(), "invoicing".to_owned(), principal.to_owned());
        let check = v1::CheckRequest {
            tenant: tenant.clone(),
            purpose: purpose.clone(),
            principal: principal.clone(),
            items: items.clone(),
            ..Default::default()
        };
        let explain = v1::ExplainRequest { tenant, purpose, principal, items: items.clone(), ..Default::default() };
        client.authorization().check(check).await.unwrap();
        client.authorization().explain(explain).await.unwrap();
    }
    let (tenant, purpose) = ("acme".to_owned(), "invoicing".to_owned());
    let who_can = v1::WhoCanRequest { tenant, object, action, purpose, ..Default::default() };
    cleaner.authorization().who_can(who_can).await.unwrap();
    let changes = vec![remove("billing-decrypts-email")];
    let simulate = v1::SimulateRequest { tenant: "acme".into(), base_version: 1, changes, ..Default::default() };
    cleaner.policy().simulate(simulate).await.unwrap();
    let unused = listed(&site, "1s").await;
    assert!(unused.goes("billing-decrypts-email"), "{unused:?}");
    assert!(!unused.names("cleaner-checks"), "that let somebody ask: {unused:?}");
}

/// A role that only sees masks: one of its lines is used, the other is not.
fn mask(object: &str, reason: &str) -> PolicyGrant {
    PolicyGrant {
        grantee: "role:billing".into(),
        action: "mask".into(),
        object: object.into(),
        reason: reason.into(),
        ..super::allow("billing-masks", "acme")
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_id_that_was_given_to_another_grant_is_as_young_as_that_and_other_words_are_no_other_grant() {
    let site = site("").await;
    let clients = [site.server.client("cleaner").await, site.server.client("policy-approver").await];
    let [cleaner, approver] = &clients;
    let put = async |version: u64, what: Change| {
        let waits = propose(cleaner, "acme", version, vec![change(what)]).await.unwrap().proposal.unwrap();
        approve(approver, "acme", waits.id).await.unwrap();
    };
    put(1, Change::AddGrant(mask("pii/usage/*", "usage is billed"))).await;
    pass().await;
    assert!(listed(&site, "1s").await.goes("billing-masks"));
    put(2, Change::ReplaceGrant(mask("pii/usage/*", "usage is billed by the unit"))).await;
    assert!(listed(&site, "1s").await.goes("billing-masks"), "it says the same");
    put(3, Change::ReplaceGrant(mask("pii/account/*", "addresses are billed"))).await;
    assert!(!listed(&site, "1s").await.names("billing-masks"), "it says something else since less than a second");
    // Gone for a while and back is as young as what came back.
    let narrowed = propose(cleaner, "acme", 4, vec![remove("privacy-decrypts-all")]).await.unwrap().proposal.unwrap();
    assert_eq!(narrowed.version, 5);
    let was = policy(cleaner, "acme", 1).await.unwrap().grants;
    let was = was.into_iter().find(|grant| grant.id == "privacy-decrypts-all").unwrap();
    put(5, Change::AddGrant(was)).await;
    assert!(!listed(&site, "1s").await.names("privacy-decrypts-all"));
    pass().await;
    let unused = listed(&site, "1s").await;
    assert!(unused.goes("privacy-decrypts-all") && unused.goes("billing-masks"), "{unused:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn more_than_a_proposal_takes_becomes_several() {
    let mut more = String::new();
    for n in 0..1_100 {
        more.push_str(&format!(
            "#: id=clerk-{n}-masks reason=\"tests\"\n\
             p, spiffe://acme.example/clerk-{n}, acme, pii/usage/*, mask, support-ticket, 0, 0, allow\n"
        ));
    }
    let site = site(&more).await;
    pass().await;
    let file = site.path("many.json");
    site.done("cleaner", "acme", &["unused", "--since", "1s", "--changes", file.to_str().unwrap()]).await;
    let size = |file: &Path| serde_json::from_slice::<Vec<Value>>(&fs::read(file).unwrap()).unwrap().len();
    let (first, second) = (size(&file), size(&file.with_extension("json.2")));
    assert!(first == 1_000 && (100..200).contains(&second), "{first} {second}");

    let proposed = site.done("cleaner", "acme", &["unused", "--since", "1s", "--propose", "nobody needed them"]).await;
    assert!(proposed.contains("on version 1: policy version 2 in force"), "{proposed}");
    assert!(proposed.contains("on version 2: policy version 3 in force"), "{proposed}");
    let cleaner = site.server.client("cleaner").await;
    assert_eq!(in_force(&cleaner, "acme").await, 3);
    let left = policy(&cleaner, "acme", 0).await.unwrap().grants;
    assert!(!left.iter().any(|grant| grant.id.starts_with("clerk-")), "{left:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn emergency_roles_are_told_on_every_page_to_whoever_sees_a_line_of_them() {
    let server = Deployment::start_with(setup("")).await;
    let roles = async |who: &str, tenant: &str, page_size: i32| {
        let request = v1::GetPolicyRequest { tenant: tenant.into(), page_size, ..Default::default() };
        server.client(who).await.policy().get_policy(request).await.unwrap().into_inner().emergency_roles
    };
    for page_size in [0, 1] {
        assert_eq!(roles("cleaner", "acme", page_size).await, ["role:break-glass"]);
        assert_eq!(roles("other-admin", "other", page_size).await, [""; 0], "none of its lines names one");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_used_before_the_logs_first_entry_left_is_nobodys_guess() {
    const DAY: Duration = Duration::from_secs(86_400);
    const SINCE: &str = "14370m";
    // The command goes by the machine's clock, to which this is ten days ago.
    let clock = Arc::new(TestClock::at(SystemClock::start().wall_micros() / 1_000_000 - 240 * 3_600));
    let machine = || Machine { clock: clock.clone(), ..Machine::this() };
    let setup = Setup { config: "retention_days = 1\nsegment_age_max_days = 1".into(), ..setup("") };
    let mut server = Deployment::start_on(machine(), &std::env::temp_dir(), setup).await;
    let signs_up = server.client("signup-service").await;
    clock.advance(DAY / 24);
    for _ in 0..300 {
        sign_up(&signs_up).await;
    }
    let mut site = Site::of(server);
    let whole = listed(&site, SINCE).await;
    assert!(!whole.names("signup-encrypts-account") && whole.goes("billing-decrypts-email"), "{whole:?}");

    // Sealed at once after a start, and deleted once that was due for a day.
    server = site.server;
    assert_eq!(server.stop().await, Ended::Shutdown);
    clock.advance(3 * DAY);
    server.run_at(machine()).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    clock.advance(2 * DAY);
    let tester = server.client("tester").await;
    let first = async || tester.log("acme").await.first().map(|entry| entry.tenant_seq);
    for _ in 0..60 {
        if first().await > Some(0) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    assert!(first().await > Some(200), "{:?}", first().await);
    site = Site::of(server);
    // By what is left, sign-up would not be needed.
    let cut = site.policy("cleaner", "acme", &["unused", "--since", SINCE, "--propose", "r"]).await;
    let told = stderr(&cut);
    assert_eq!((code(&cut), told.contains("no longer has all entries since then")), (2, true), "{told}");
    let earliest = told.split("--since ").last().unwrap().split(' ').next().unwrap();
    site.done("cleaner", "acme", &["unused", "--since", earliest]).await;
    assert_eq!(in_force(&site.server.client("cleaner").await, "acme").await, 1);
}
