//! Whatever changes the life of a customer's keys or of a tenant is there as a whole – the change and its record – or not at all,
//! however the disk fails while it is committed.

use std::{fs, time::Duration};

use privet::{
    proto::{
        stored::{Operation, Verdict},
        v1::{self, TenantState},
    },
    server::Ended,
};
use tonic::{Code, Status};

use super::{
    left::Left,
    load::EMAIL,
    site::{Node, Site},
    unwritable::boot,
};
use crate::support::deployment::{Client, decrypt, opened, to_decrypt};

/// A change that is made while the disk fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Change {
    Hold,
    Close,
    Rotate,
    Retire,
    CreateTenant,
    ConfirmTheEnd,
}

/// What there is of it afterwards.
#[derive(Debug, PartialEq, Eq)]
struct Seen {
    holds: usize,
    closed: bool,
    versions: usize,
    tenants: usize,
    ending: bool,
}

struct Callers {
    tester: Client,
    officer: Client,
    operator: Client,
    approver: Client,
}

impl Callers {
    async fn of(node: &Node, site: &Site) -> Self {
        Self {
            tester: node.client(site, "tester").await,
            officer: node.client(site, "privacy-officer").await,
            operator: node.client(site, "operator").await,
            approver: node.client(site, "policy-approver").await,
        }
    }

    async fn make(&self, change: Change) -> Result<(), Status> {
        let (tenant, subject) = ("acme".to_owned(), "anna".to_owned());
        match change {
            Change::Hold => {
                let (hold_id, reason) = ("CASE-1".to_owned(), "r".to_owned());
                let request = v1::PlaceHoldRequest { tenant, subject, hold_id, reason, ..Default::default() };
                self.officer.subjects().place_hold(request).await.map(drop)
            }
            Change::Close => {
                let request = v1::CloseSubjectRequest { tenant, subject, ..Default::default() };
                self.officer.subjects().close_subject(request).await.map(drop)
            }
            Change::Rotate => {
                let request = v1::RotateSubjectKeysRequest { tenant, subject, ..Default::default() };
                self.operator.keys().rotate_subject_keys(request).await.map(drop)
            }
            Change::Retire => {
                let request = v1::RetireKeyVersionsRequest {
                    tenant,
                    subject,
                    category: "account".into(),
                    up_to_version: 1,
                    rewrapped: true,
                    ..Default::default()
                };
                self.operator.keys().retire_key_versions(request).await.map(drop)
            }
            Change::CreateTenant => {
                let request = v1::CreateTenantRequest { tenant: "bolt".into(), ..Default::default() };
                self.operator.tenants().create_tenant(request).await.map(drop)
            }
            Change::ConfirmTheEnd => {
                let request = v1::DestroyTenantRequest { confirmation: tenant.clone(), tenant, ..Default::default() };
                self.approver.tenants().destroy_tenant(request).await.map(drop)
            }
        }
    }

    /// What has to be there before it.
    async fn prepare(&self, change: Change) -> bytes::Bytes {
        let mut sealed = self.tester.seal("acme", "anna", EMAIL, b"a", b"").await;
        match change {
            Change::Retire => {
                self.make(Change::Rotate).await.unwrap();
                sealed = self.tester.seal("acme", "anna", EMAIL, b"a", b"").await;
            }
            Change::ConfirmTheEnd => {
                let (tenant, reason) = ("acme".to_owned(), "r".to_owned());
                let request =
                    v1::DestroyTenantRequest { confirmation: tenant.clone(), tenant, reason, ..Default::default() };
                self.operator.tenants().destroy_tenant(request).await.unwrap();
            }
            Change::Hold | Change::Close | Change::Rotate | Change::CreateTenant => {}
        }
        sealed
    }

    async fn see(&self) -> Seen {
        let request = v1::GetSubjectRequest { tenant: "acme".into(), subject: "anna".into(), ..Default::default() };
        let subject = self.officer.subjects().get_subject(request).await.unwrap().into_inner().subject.unwrap();
        let list = self.operator.tenants().list_tenants(v1::ListTenantsRequest::default()).await.unwrap();
        let tenants = list.into_inner().tenants;
        Seen {
            holds: subject.holds.len(),
            closed: subject.close_time.is_some(),
            versions: subject.categories[0].versions.len(),
            tenants: tenants.len(),
            ending: tenants.iter().any(|tenant| tenant.state() == TenantState::Ending),
        }
    }
}

fn operation(change: Change) -> Operation {
    match change {
        Change::Hold => Operation::PlaceHold,
        Change::Close => Operation::CloseSubject,
        Change::Rotate => Operation::RotateSubjectKeys,
        Change::Retire => Operation::RetireKeyVersions,
        Change::CreateTenant => Operation::CreateTenant,
        Change::ConfirmTheEnd => Operation::DestroyTenant,
    }
}

/// What is seen once the change is there.
fn after(change: Change, before: &Seen) -> Seen {
    let Seen { holds, closed, versions, tenants, ending } = *before;
    match change {
        Change::Hold => Seen { holds: 1, closed, versions, tenants, ending },
        Change::Close => Seen { holds, closed: true, versions, tenants, ending },
        Change::Rotate => Seen { holds, closed, versions: 2, tenants, ending },
        Change::Retire => Seen { holds, closed, versions: 1, tenants, ending },
        Change::CreateTenant => Seen { holds, closed, versions, tenants: tenants + 1, ending },
        Change::ConfirmTheEnd => Seen { holds, closed, versions, tenants, ending: true },
    }
}

/// How many entries tell of it.
async fn recorded(site: &Site, change: Change) -> usize {
    let left = Left::read(site.dir.path(), &site.store()).await.unwrap();
    let tells = |entry: &&privet::proto::stored::Entry| {
        entry.operation() == operation(change) && entry.verdict() == Verdict::Allow
    };
    left.entries().filter(tells).count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_change_whose_commit_fails_is_fully_before_or_fully_after() {
    let changes =
        [Change::Hold, Change::Close, Change::Rotate, Change::Retire, Change::CreateTenant, Change::ConfirmTheEnd];
    let faults = ["sync EIO", "write EIO", "write ENOSPC", "all EROFS"];
    for (n, change) in changes.into_iter().enumerate() {
        // Two of the four each, so that each fault meets three changes.
        for fault in [faults[n % 4], faults[(n + 2) % 4]] {
            let site = Site::new();
            let (node, trigger) = boot(&site, "store");
            let callers = Callers::of(&node, &site).await;
            let sealed = callers.prepare(change).await;
            let before = callers.see().await;
            node.stop();
            let told = recorded(&site, change).await;

            // Anew, so that nothing of it is in memory.
            let (node, _) = boot(&site, "store");
            let callers = Callers::of(&node, &site).await;
            fs::write(&trigger, fault).unwrap();
            let refused = callers.make(change).await.unwrap_err();
            assert_eq!(refused.code(), Code::Unavailable, "{change:?}, {fault}: {refused:?}");
            assert_eq!(node.ended(Duration::from_secs(60)), Ended::Fault, "{change:?}, {fault}");
            fs::remove_file(&trigger).unwrap();

            let is_there = match recorded(&site, change).await - told {
                0 => false,
                1 => true,
                more => panic!("{change:?}, {fault}: {more} entries"),
            };
            let node = site.boot(&[]);
            let callers = Callers::of(&node, &site).await;
            let expected = if is_there { after(change, &before) } else { before };
            assert_eq!(callers.see().await, expected, "{change:?}, {fault}: recorded {is_there}");
            if !expected.ending {
                let field = to_decrypt("anna", EMAIL, &sealed);
                let answer = callers.tester.encryption().decrypt(decrypt("acme", vec![field])).await.unwrap();
                assert_eq!(opened(&answer.into_inner(), 0).unwrap(), b"a", "{change:?}, {fault}: no key is lost");
            }
            node.stop();
        }
    }
}
