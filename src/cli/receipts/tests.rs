//! Receipts, true and false, against a log in memory.

use super::*;
use crate::{
    audit::note,
    cli::{
        client::fake::audit::{self as fake, Log, Tamper},
        failure::Exit,
    },
    proto::v1::AuditEntry,
};

const SIZE: u64 = 13;

fn log() -> Log {
    Log::of(vec![AuditEntry::default(); SIZE as usize])
}

fn acme() -> Tenant {
    Tenant::parse("acme").unwrap()
}

async fn proved(log: &Log, receipt: &Receipt) -> Result<u64, Unproved> {
    prove(&log.clients().await, &acme(), &log.keys(), receipt).await
}

#[tokio::test]
async fn a_receipt_of_any_time_is_proved_against_the_log_of_now() {
    let log = log();
    for index in 0..SIZE {
        for size in index + 1..=SIZE {
            assert_eq!(proved(&log, &log.receipt(index, size)).await, Ok(SIZE), "entry {index} at {size}");
        }
    }
}

#[tokio::test]
async fn whoever_was_given_the_key_before_needs_no_other() {
    let log = log();
    let proved = prove(&log.clients().await, &acme(), &log.first_key(), &log.receipt(5, 9)).await;
    assert_eq!(proved, Ok(SIZE));
    let forked = prove(&log.clients().await, &acme(), &log.first_key(), &log.forked_receipt(5, 9)).await;
    assert_eq!(forked, Err(Unproved::Inconsistent(9, SIZE)));
}

#[tokio::test]
async fn each_lie_is_found_by_the_check_that_is_for_it() {
    let log = log();
    let receipt = log.receipt(5, 9);
    let now = |error| Unproved::Checkpoint("the checkpoint of now", error);
    for (tamper, unproved) in [
        (Tamper::OtherIndex, Unproved::Elsewhere(6)),
        (Tamper::Inclusion, Unproved::NotIncluded),
        (Tamper::Consistency, Unproved::Inconsistent(9, SIZE)),
        (Tamper::OtherKey, now(note::Error::Unsigned.into())),
        (Tamper::OtherOrigin, now(note::Error::Unsigned.into())),
        (Tamper::Unsigned, now(note::Error::Malformed.into())),
        (Tamper::Denied, Unproved::NoProof("inclusion", "no grant".into())),
    ] {
        log.set(tamper);
        assert_eq!(proved(&log, &receipt).await, Err(unproved), "{tamper:?}");
    }
}

#[tokio::test]
async fn a_log_that_was_changed_after_the_receipt_is_inconsistent() {
    let log = log();
    for size in 6..=SIZE {
        let unproved = proved(&log, &log.forked_receipt(5, size)).await.unwrap_err();
        assert_eq!(unproved, Unproved::Inconsistent(size, SIZE), "at {size}");
    }
}

#[tokio::test]
async fn a_log_that_was_cut_off_after_the_receipt_can_not_prove_it() {
    let (longer, log) = (Log::of(vec![AuditEntry::default(); 20]), log());
    // The entry is still there; what the checkpoint promised besides is not.
    let unproved = proved(&log, &longer.receipt(5, 20)).await.unwrap_err();
    assert!(matches!(unproved, Unproved::NoProof("consistency", _)), "{unproved:?}");
    let unproved = proved(&log, &longer.receipt(19, 20)).await.unwrap_err();
    assert!(matches!(unproved, Unproved::NoProof("inclusion", _)), "{unproved:?}");
}

#[tokio::test]
async fn a_receipt_that_is_wrong_in_itself_is_refused_without_asking() {
    let log = log();
    log.set(Tamper::Denied);
    let good = log.receipt(5, 9);
    let own = |error| Unproved::Checkpoint("the receipt's checkpoint", error);
    for (receipt, unproved) in [
        (Receipt::default(), Unproved::Origin(String::new())),
        (Receipt { origin: "other.example".into(), ..good.clone() }, Unproved::Origin("other.example".into())),
        (Receipt { leaf_hash: vec![0; 31].into(), ..good.clone() }, Unproved::LeafHash),
        (Receipt { checkpoint: String::new(), ..good.clone() }, own(note::Error::Malformed.into())),
        (
            Receipt { checkpoint: good.checkpoint.replacen('9', "8", 1), ..good.clone() },
            own(note::Error::Forged.into()),
        ),
        (Receipt { entry_index: 9, ..good.clone() }, Unproved::Uncovered),
        (Receipt { entry_index: u64::MAX, ..good.clone() }, Unproved::Uncovered),
    ] {
        assert_eq!(proved(&log, &receipt).await, Err(unproved), "{receipt:?}");
    }
    let clients = log.clients().await;
    let stranger = prove(&clients, &acme(), &fake::stranger(fake::ORIGIN), &good).await;
    assert_eq!(stranger, Err(own(note::Error::Unsigned.into())));
}

#[tokio::test]
async fn a_receipt_for_another_entry_of_the_same_log_does_not_pass_for_this_one() {
    let log = log();
    let receipt = Receipt { entry_index: 4, ..log.receipt(5, 9) };
    assert_eq!(proved(&log, &receipt).await, Err(Unproved::Elsewhere(5)));
}

#[tokio::test]
async fn an_answer_is_held_back_unless_all_its_receipts_are_proved() {
    let log = log();
    let clients = log.clients().await;
    let asked = VerifyReceipt { verify_receipt: Some(log.keys()) };
    let (good, bad) = (log.receipt(5, 9), log.forked_receipt(5, 9));
    let held = asked.hold(&clients, &acme(), &[good.clone(), good.clone()]).await.unwrap();
    assert_eq!(held.with("sealed".into()), "sealed; receipt proved against a log of 13 entries");
    for receipts in [&[][..], &[good.clone(), bad.clone()], &[bad.clone(), good]] {
        let failure = asked.hold(&clients, &acme(), receipts).await.unwrap_err();
        assert_eq!(failure.exit(), Exit::Refused);
        assert!(failure.for_machines().contains("RECEIPT_NOT_PROVED"), "{failure}");
    }
    let not_asked = VerifyReceipt { verify_receipt: None };
    assert_eq!(not_asked.hold(&clients, &acme(), &[bad]).await.unwrap().with("sealed".into()), "sealed");
    assert!(asked.refuse_bulk().is_err() && not_asked.refuse_bulk().is_ok());
}

#[test]
fn hashes_are_32_bytes_and_not_too_many() {
    let of = |bytes: usize, count: usize| hashes(&vec![vec![0; bytes].into(); count]).map(|hashes| hashes.len());
    assert_eq!([of(32, 0), of(32, HASHES_MAX)], [Some(0), Some(HASHES_MAX)]);
    assert_eq!([of(31, 1), of(33, 1), of(32, HASHES_MAX + 1)], [None; 3]);
}
