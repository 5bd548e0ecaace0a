//! A revocation under load, and the server killed about when it is acknowledged: what the log then says, and what the next
//! server answers, is that nothing was released after it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use privet::proto::{
    stored::{Operation, Verdict},
    v1::{self, policy_change::Change},
};
use tokio::task::JoinSet;
use tonic::Code;

use super::{left::Left, load::EMAIL, site::Site};
use crate::support::deployment::{decrypt, to_decrypt};

const READERS: usize = 12;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_kill_about_a_revocation_releases_nothing_after_it_and_brings_nothing_back() {
    let mut acknowledged = 0;
    for round in 0..8_u64 {
        let site = Site::new();
        let node = site.boot(&[]);
        let tester = node.client(&site, "tester").await;
        let sealed = tester.seal("acme", "anna", EMAIL, b"a@mail.example", b"").await;
        let answered = Arc::new(AtomicU64::new(0));
        let mut readers = JoinSet::new();
        for _ in 0..READERS {
            let (client, sealed, answered) =
                (node.client(&site, "tester").await, sealed.clone(), Arc::clone(&answered));
            readers.spawn(async move {
                let mut newest = 0;
                loop {
                    let request = decrypt("acme", vec![to_decrypt("anna", EMAIL, &sealed)]);
                    let Ok(answer) = client.encryption().decrypt(request).await else { return newest };
                    newest = answer.into_inner().receipts[0].entry_index;
                    answered.fetch_add(1, Ordering::SeqCst);
                }
            });
        }
        while answered.load(Ordering::SeqCst) < 100 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let admin = node.client(&site, "policy-admin").await;
        let revoking = tokio::spawn(async move {
            let request = v1::ProposeChangeRequest {
                tenant: "acme".into(),
                base_version: 1,
                changes: vec![v1::PolicyChange { change: Some(Change::Remove("acme-test-decrypts".into())) }],
                reason: "a test".into(),
                ..Default::default()
            };
            let answer = admin.policy().propose_change(request).await.ok()?.into_inner();
            Some(answer.receipts[0].entry_index)
        });
        // Before it is written, while it is, and after it was acknowledged.
        let revoked = if round < 5 {
            tokio::time::sleep(Duration::from_millis(round * 8)).await;
            node.kill();
            revoking.await.unwrap()
        } else {
            let revoked = revoking.await.unwrap();
            assert!(revoked.is_some());
            tokio::time::sleep(Duration::from_millis(round - 5)).await;
            node.kill();
            revoked
        };
        acknowledged += u64::from(revoked.is_some());
        let newest = readers.join_all().await.into_iter().max().unwrap();

        let left = Left::read(site.dir.path(), &site.store()).await.unwrap();
        let of = |operation: Operation| left.entries().filter(move |entry| entry.operation() == operation);
        let in_log = of(Operation::ProposeChange).next().map(|entry| entry.policy_version);
        assert!(revoked.is_none() || in_log.is_some(), "round {round}: an acknowledged revocation is there");
        let at = left.whole.entries.iter().find(|(_, entry)| entry.operation() == Operation::ProposeChange);
        if let Some((at, _)) = at {
            assert!(revoked.is_none_or(|revoked| revoked == *at));
            let after = left.whole.entries.range(at + 1..).map(|(_, entry)| entry);
            let released =
                after.filter(|entry| entry.operation() == Operation::Decrypt && entry.verdict() == Verdict::Allow);
            assert_eq!(released.count(), 0, "round {round}");
            assert!(newest < *at, "round {round}: nothing that was answered lies behind it");
        }

        let node = site.boot(&[]);
        let tester = node.client(&site, "tester").await;
        let request = decrypt("acme", vec![to_decrypt("anna", EMAIL, &sealed)]);
        let outcome = tester.encryption().decrypt(request).await.map(drop).map_err(|status| status.code());
        let expected = if at.is_some() { Err(Code::PermissionDenied) } else { Ok(()) };
        assert_eq!(outcome, expected, "round {round}");
        node.stop();
    }
    assert!(acknowledged >= 3, "{acknowledged}");
}
