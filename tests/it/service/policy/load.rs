//! A revocation under load: once it is in the log, nothing is released that it forbids.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use privet::proto::v1::{Operation, Verdict};
use tokio::task::JoinSet;
use tonic::Code;

use super::{deployment, propose, remove};
use crate::support::deployment::{decrypt, to_decrypt};

const EMAIL: &str = "pii/account/email";

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nothing_is_released_after_an_acknowledged_revocation() {
    let server = deployment().await;
    let admin = server.client("policy-admin").await;
    let tester = server.client("tester").await;
    let sealed = tester.seal("acme", "anna", EMAIL, b"a@mail.example", b"").await;
    let revoked = Arc::new(AtomicBool::new(false));
    let mut readers = JoinSet::new();
    for _ in 0..16 {
        let (client, sealed, revoked) = (server.client("tester").await, sealed.clone(), revoked.clone());
        readers.spawn(async move {
            let mut opened = 0_u64;
            loop {
                let was_revoked = revoked.load(Ordering::SeqCst);
                let request = decrypt("acme", vec![to_decrypt("anna", EMAIL, &sealed)]);
                match client.encryption().decrypt(request).await {
                    Ok(_) => {
                        assert!(!was_revoked, "asked after the revocation was acknowledged, and answered");
                        opened += 1;
                    }
                    Err(status) => {
                        // Stale answers are decided again, not failed: there was one change, and its ground is known at once.
                        assert_eq!(status.code(), Code::PermissionDenied, "{status:?}");
                        return opened;
                    }
                }
            }
        });
    }
    tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    let answer = propose(&admin, "acme", 1, vec![remove("acme-test-decrypts")]).await.unwrap();
    revoked.store(true, Ordering::SeqCst);
    let entry = answer.receipts[0].entry_index;
    let opened: u64 = readers.join_all().await.into_iter().sum();
    assert!(opened > 16, "there was load: {opened}");

    let log = tester.log("acme").await;
    let released: Vec<_> =
        log.iter().filter(|e| e.operation() == Operation::Decrypt && e.verdict() == Verdict::Allow).collect();
    assert_eq!(released.len() as u64, opened);
    for released in released {
        assert!(released.index < entry && released.policy_version == 1, "entry {} after {entry}", released.index);
    }
    let after = log.iter().filter(|e| e.index > entry && e.operation() == Operation::Decrypt);
    assert!(after.clone().all(|e| e.policy_version == 2 && e.verdict() == Verdict::Deny) && after.count() == 16);
}
