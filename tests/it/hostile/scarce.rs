//! A server whose disk is nearly full: what makes data or keys waits for room, and what destroys them, or stops that, goes through.

use std::{fs, path::Path};

use privet::proto::v1;
use tonic::{Code, Status};

use super::{load::EMAIL, site::Site};
use crate::support::{
    deployment::{Setup, decrypt, encrypt, opened, to_decrypt, to_encrypt},
    shim,
};

const ROTATES: &str = "
#: id=tester-rotates reason=\"tests\"
p, spiffe://acme.example/tester, acme, keys, rotate, operate, 0, 0, allow
#: id=tester-retires reason=\"tests\"
p, spiffe://acme.example/tester, acme, keys, retire, operate, 0, 0, allow
";

/// Bytes that the files below a directory have.
fn length(dir: &Path) -> u64 {
    let entries = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap());
    entries
        .map(|entry| if entry.path().is_dir() { length(&entry.path()) } else { entry.metadata().unwrap().len() })
        .sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_nearly_full_disk_keeps_nobody_from_erasing_holding_and_retiring() {
    let site = Site::with(Setup { policy: ROTATES.into(), ..Setup::default() });
    // A first start makes the directory, so that its path is what the shim compares.
    site.boot(&[]).kill();
    let store = fs::canonicalize(site.store()).unwrap();
    let bytes = site.dir.path().join("bytes");
    let node = site.boot(&[
        ("LD_PRELOAD", shim::compile("fulldisk").as_os_str()),
        ("PRIVET_DISK_DIR", store.as_os_str()),
        ("PRIVET_DISK_BYTES", bytes.as_os_str()),
    ]);
    let (tester, officer) = (node.client(&site, "tester").await, node.client(&site, "privacy-officer").await);
    let gone = tester.seal("acme", "gone", EMAIL, b"a", b"").await;
    let old = tester.seal("acme", "kept", EMAIL, b"a", b"").await;
    let rotate = async || {
        let request =
            v1::RotateSubjectKeysRequest { tenant: "acme".into(), subject: "kept".into(), ..Default::default() };
        tester.keys().rotate_subject_keys(request).await.map(drop)
    };
    rotate().await.unwrap();
    let open = async |subject: &str, ciphertext: &bytes::Bytes| -> Result<Result<Vec<u8>, v1::Reason>, Status> {
        let request = decrypt("acme", vec![to_decrypt(subject, EMAIL, ciphertext)]);
        Ok(opened(&tester.encryption().decrypt(request).await?.into_inner(), 0))
    };

    // As much as there is, and 8 MiB: less than what counts as room.
    fs::write(&bytes, (length(&store) + (8 << 20)).to_string()).unwrap();
    let full = |status: Status| {
        assert_eq!(status.code(), Code::Unavailable);
        assert!(status.message().contains("nearly full"), "{status:?}");
    };
    let sealed = encrypt("acme", vec![to_encrypt("new", EMAIL, "a")]);
    full(tester.encryption().encrypt(sealed.clone()).await.unwrap_err());
    full(rotate().await.unwrap_err());
    full(open("kept", &old).await.unwrap_err());

    let erase = v1::EraseSubjectsRequest { tenant: "acme".into(), subjects: vec!["gone".into()], ..Default::default() };
    officer.subjects().erase_subjects(erase).await.unwrap();
    let hold = v1::PlaceHoldRequest {
        tenant: "acme".into(),
        subject: "kept".into(),
        hold_id: "CASE-1".into(),
        reason: "r".into(),
        ..Default::default()
    };
    officer.subjects().place_hold(hold).await.unwrap();
    let release = v1::ReleaseHoldRequest {
        tenant: "acme".into(),
        subject: "kept".into(),
        hold_id: "CASE-1".into(),
        ..Default::default()
    };
    officer.subjects().release_hold(release).await.unwrap();
    let retire = v1::RetireKeyVersionsRequest {
        tenant: "acme".into(),
        subject: "kept".into(),
        category: "account".into(),
        up_to_version: 1,
        rewrapped: true,
        ..Default::default()
    };
    assert_eq!(tester.keys().retire_key_versions(retire).await.unwrap().into_inner().versions, [1]);

    fs::remove_file(&bytes).unwrap();
    rotate().await.unwrap();
    tester.encryption().encrypt(sealed).await.unwrap();
    assert_eq!(open("gone", &gone).await.unwrap(), Err(v1::Reason::SubjectErased));
    assert_eq!(open("kept", &old).await.unwrap(), Err(v1::Reason::InvalidCiphertext));
    node.stop();
}
